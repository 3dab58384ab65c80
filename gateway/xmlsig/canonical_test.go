package xmlsig_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/xmlsig"
)

// The canonical bytes of generated documents are those of libxml2. XMLSIG_CORPUS sets the
// number of documents, XMLSIG_SEED the first seed.
func TestCanonicalBytesAreThoseOfXMLLint(t *testing.T) {
	xmllint := tool.Path(t, "xmllint", "libxml2-utils")
	n, first := envInt(t, "XMLSIG_CORPUS", 2000), envInt(t, "XMLSIG_SEED", 1)
	const batch = 100
	methods := []struct{ flag, with, without string }{
		{"--c14n", xmlsig.C14N10Comments, xmlsig.C14N10},
		{"--c14n11", xmlsig.C14N11Comments, xmlsig.C14N11},
		{"--exc-c14n", xmlsig.ExcC14NComments, xmlsig.ExcC14N},
	}
	dir := t.TempDir()
	for from := 0; from < n; from += batch {
		var files []string
		var docs [][]byte
		for i := from; i < min(from+batch, n); i++ {
			file := filepath.Join(dir, fmt.Sprintf("%d.xml", first+i))
			doc := []byte(generate(uint64(first+i), true))
			if err := os.WriteFile(file, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			files, docs = append(files, file), append(docs, doc)
		}
		for _, m := range methods {
			var got []byte
			for i, doc := range docs {
				with, err := xmlsig.Canonicalize(m.with, doc)
				if err != nil {
					t.Fatalf("seed %d, %s: %v\n%s", first+from+i, m.with, err, doc)
				}
				got = append(got, with...)
				// What remains without comments is the canonical form of the document that never had any.
				bare, err := xmlsig.Canonicalize(m.with, []byte(generate(uint64(first+from+i), false)))
				if err != nil {
					t.Fatal(err)
				}
				without, err := xmlsig.Canonicalize(m.without, doc)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(bare, without) {
					t.Fatalf("seed %d, %s: comments leave a trace\n%q\n%q", first+from+i, m.without, bare, without)
				}
			}
			// xmllint writes the canonical forms of all files one after the other.
			want, err := exec.Command(xmllint, append([]string{m.flag}, files...)...).Output()
			if err != nil {
				t.Fatalf("xmllint: %v", err)
			}
			if bytes.Equal(got, want) {
				continue
			}
			for i, file := range files {
				want, _ := exec.Command(xmllint, m.flag, file).Output()
				if got, _ := xmlsig.Canonicalize(m.with, docs[i]); !bytes.Equal(got, want) {
					t.Fatalf("seed %d, %s\ndocument %q\ngot      %q\nxmllint  %q", first+from+i, m.flag, docs[i], got, want)
				}
			}
			t.Fatal("the batch differs, its documents do not")
		}
	}
}

func TestCanonicalForm(t *testing.T) {
	tests := []struct{ name, method, doc, want string }{
		{"escapes", xmlsig.C14N10, "<a b='\"&#9;&#10;&#13;&gt;\t'>&quot;&gt;&#13;\r\n</a>", "<a b=\"&quot;&#x9;&#xA;&#xD;> \">\"&gt;&#xD;\n</a>"},
		{"attributes are sorted by namespace name, not by prefix", xmlsig.C14N10, `<e z:b="1" a:b="2" b="3" a="4" xmlns:z="urn:1" xmlns:a="urn:2"/>`, `<e xmlns:a="urn:2" xmlns:z="urn:1" a="4" b="3" z:b="1" a:b="2"></e>`},
		{"an empty default at the top says nothing", xmlsig.C14N10, `<a xmlns=""><b xmlns="urn:b"><c xmlns=""/></b></a>`, `<a><b xmlns="urn:b"><c xmlns=""></c></b></a>`},
		{"a repeated declaration says nothing", xmlsig.C14N10, `<a xmlns:p="urn:p"><b xmlns:p="urn:p"/></a>`, `<a xmlns:p="urn:p"><b></b></a>`},
		{"exclusive: only where it is used", xmlsig.ExcC14N, `<a xmlns:p="urn:p" xmlns="urn:d"><p:b><p:c d="1"/></p:b><p:b/></a>`, `<a xmlns="urn:d"><p:b xmlns:p="urn:p"><p:c d="1"></p:c></p:b><p:b xmlns:p="urn:p"></p:b></a>`},
		{"exclusive: a prefix rebound and bound back", xmlsig.ExcC14N, `<p:a xmlns:p="urn:1"><p:b xmlns:p="urn:2"><p:c xmlns:p="urn:1"/></p:b><p:d/></p:a>`, `<p:a xmlns:p="urn:1"><p:b xmlns:p="urn:2"><p:c xmlns:p="urn:1"></p:c></p:b><p:d></p:d></p:a>`},
		{"exclusive: the default undone", xmlsig.ExcC14N, `<a xmlns="urn:a"><b xmlns=""><c xmlns="urn:a"/></b></a>`, `<a xmlns="urn:a"><b xmlns=""><c xmlns="urn:a"></c></b></a>`},
		{"an ampersand in a namespace name stays escaped", xmlsig.C14N10, `<a xmlns="http://example.kz/?a=1&#38;b"/>`, `<a xmlns="http://example.kz/?a=1&amp;b"></a>`},
		{"comments around the root", xmlsig.C14N10Comments, "<!--1--><!--2\r\n-->  <a/>\n<!--3-->", "<!--1-->\n<!--2\n-->\n<a></a>\n<!--3-->"},
		{"comments dropped", xmlsig.C14N10, "<!--1--><a>x<!--2-->y</a><!--3-->", "<a>xy</a>"},
		{"declaration and byte order mark dropped", xmlsig.C14N11, "\xEF\xBB\xBF<?xml version=\"1.0\"?>\n<a/>\n", "<a></a>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := xmlsig.Canonicalize(tt.method, []byte(tt.doc))
			if err != nil || string(got) != tt.want {
				t.Fatalf("%v\ngot  %q\nwant %q", err, got, tt.want)
			}
			again, err := xmlsig.Canonicalize(tt.method, got)
			if err != nil || !bytes.Equal(again, got) {
				t.Fatalf("the canonical form is not its own canonical form: %v\n%q", err, again)
			}
		})
	}
	if _, err := xmlsig.Canonicalize("urn:unknown", []byte(`<a/>`)); gateway.ReasonOf(err) != gateway.SignatureAlgorithm {
		t.Errorf("an unknown method gives %v", err)
	}
}
