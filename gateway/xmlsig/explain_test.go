package xmlsig_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// digestOf makes a document whose signer digested content instead of what the reference names.
func digestOf(t *testing.T, s seed, content []byte) string {
	t.Helper()
	s = s.sign(t)
	sum := sha256.Sum256(content)
	i := strings.Index(s.signedInfo, `<ds:DigestValue>`) + len(`<ds:DigestValue>`)
	j := strings.Index(s.signedInfo, `</ds:DigestValue>`)
	s.signedInfo = s.signedInfo[:i] + base64.StdEncoding.EncodeToString(sum[:]) + s.signedInfo[j:]
	return s.resign(t).String()
}

// The commonest reasons why a digest differs are named, with proof: undone, the digest is right.
func TestExplainFindsTheCause(t *testing.T) {
	const form = `<a>1</a><b>2</b>`
	sign := func(t *testing.T, content string) string { return seed{content: content}.sign(t).String() }
	tests := []struct {
		name  string
		make  func(t *testing.T) string
		cause string
	}{
		{"indented after signing", func(t *testing.T) string {
			return strings.NewReplacer(`<a>`, "\n  <a>", `<b>`, "\n  <b>", `<ds:Signature `, "\n  <ds:Signature ", `</r>`, "\n</r>").Replace(sign(t, form))
		}, "indented after signing"},
		{"a new line before the signature", func(t *testing.T) string {
			return replace(t, sign(t, form), `<ds:Signature `, "\n<ds:Signature ")
		}, "before the signature"},
		{"a new line behind the signature", func(t *testing.T) string {
			return replace(t, sign(t, form), `</ds:Signature>`, "</ds:Signature>\n")
		}, "behind the signature"},
		{"new lines around the signature of an indented document", func(t *testing.T) string {
			s := sign(t, "\n  <a>1</a>\n")
			return replace(t, replace(t, s, `<ds:Signature `, "  <ds:Signature "), `</ds:Signature>`, "</ds:Signature>\n")
		}, "signature was added"},
		{"white space inside fields", func(t *testing.T) string { return replace(t, sign(t, form), `<a>1</a>`, "<a>\n    1\n  </a>") }, "text of fields"},
		{"a carriage return reference added", func(t *testing.T) string {
			return replace(t, sign(t, "<a>1\n2</a>"), "1\n2", "1&#13;\n2")
		}, "carriage returns"},
		{"CR LF digested as it stands", func(t *testing.T) string {
			s := seed{content: "<a>1\r\n2</a>"}
			return digestOf(t, s, []byte("<r><a>1&#xD;\n2</a></r>"))
		}, "CR LF at the ends of lines"},
		{"TAB in an attribute kept", func(t *testing.T) string {
			return digestOf(t, seed{content: "<a b=\"1\t2\"></a>"}, []byte(`<r><a b="1&#x9;2"></a></r>`))
		}, "TAB or LF in an attribute"},
		{"a namespace added at the root", func(t *testing.T) string {
			return replace(t, sign(t, form), `<r>`, `<r xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'>`)
		}, "declaration xmlns:xsi was added"},
		{"a default namespace declared at the root again", func(t *testing.T) string {
			return replace(t, seed{content: `<a xmlns="urn:a"/>`}.sign(t).String(), `<r>`, `<r xmlns = "urn:x">`)
		}, "declaration xmlns was added"},
		{"comments digested", func(t *testing.T) string {
			return digestOf(t, seed{content: `<a/><!-- c -->`}, []byte(`<r><a></a><!-- c --></r>`))
		}, "comments"},
		{"another canonicalization than the named one", func(t *testing.T) string {
			return digestOf(t, seed{content: `<a xmlns:u="urn:u"></a>`}, []byte(`<r><a></a></r>`))
		}, xmlsig.ExcC14N},
		{"bytes digested instead of canonical XML", func(t *testing.T) string {
			return digestOf(t, seed{content: `<a b='1'/>`}, []byte(`<r><a b='1'/></r>`))
		}, "bytes of the document"},
		{"bytes digested with the XML declaration", func(t *testing.T) string {
			const decl = `<?xml version="1.0"?>`
			return decl + digestOf(t, seed{content: form}, []byte(decl+`<r>`+form+`</r>`))
		}, "XML declaration included"},
		{"bytes digested with the byte order mark", func(t *testing.T) string {
			return "\uFEFF" + digestOf(t, seed{content: form}, []byte("\uFEFF<r>"+form+"</r>"))
		}, "byte order mark included"},
		{"the content of a field changed", func(t *testing.T) string { return replace(t, sign(t, form), `<a>1`, `<a>3`) }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, err := xmlsig.Explain([]byte(tt.make(t)), xmlsig.Options{})
			if gateway.ReasonOf(err) != gateway.DigestMismatch || x == nil {
				t.Fatalf("%v, %v", x, err)
			}
			if tt.cause == "" && x.Cause != "" || !strings.Contains(x.Cause, tt.cause) {
				t.Errorf("cause %q, want %q", x.Cause, tt.cause)
			}
			if !strings.Contains(x.String(), x.Cause) {
				t.Error("the text does not say the cause")
			}
		})
	}
}

// Where nothing can be proven, the first construct that often breaks digests is named.
func TestExplainNamesTheFirstSuspect(t *testing.T) {
	tests := []struct{ name, before, content, suspect string }{
		{"nothing suspicious", "", `<a/>`, ""},
		{"a byte order mark", "\uFEFF", `<a/>`, "line 1: a byte order mark"},
		{"an XML declaration", `<?xml version="1.0" encoding="UTF-8"?>`, `<a/>`, "line 1: the XML declaration"},
		{"an XML declaration is less suspicious than CDATA", `<?xml version="1.0"?>`, `<![CDATA[x]]>`, "line 1: a CDATA section"},
		{"CR LF", "", "<a>\n\n1\r\n2</a>", "line 3: CR LF"},
		{"CR LF between elements", "", "<a/>\r\n<b/>", "line 1: CR LF"},
		{"a reference to CR", "", "<a>\n&#13;\n2</a>", "line 1: a carriage return written as a reference"},
		{"a reference", "", `<a>&quot;</a>`, "line 1: a character that canonical XML writes"},
		{"a bare >", "", `<a>></a>`, "line 1: a character that canonical XML writes"},
		{"a CDATA section", "", "<a>\n1</a><b><![CDATA[1]]></b>", "line 2: a CDATA section"},
		{"a comment", "", `<a><!-- --></a>`, "line 1: a comment"},
		{"TAB in an attribute", "", "<a b='1\t'/>", "line 1: TAB or the end of a line in an attribute"},
		{"a reference in an attribute", "", `<a b="&apos;"/>`, "line 1: an attribute with a character"},
		{"an unused namespace", "", `<a xmlns:xsd="http://www.w3.org/2001/XMLSchema"/>`, "no name uses (xmlns:xsd)"},
		{"a repeated namespace", "", `<p:a xmlns:p="urn:p"><p:b xmlns:p="urn:p"/></p:a>`, "repeats the one in force"},
		{"a default namespace taken back", "", `<a xmlns="urn:a"><b xmlns=""/></a>`, "taken back"},
		{"indentation", "", "<a>1</a>\n  <b/>", "line 1: white space between elements"},
		{"white space as the content of a field", "", "<a> \n </a>", ""},
		{"the first of two", "", "<a/><!-- --><b>\r\n</b>", "a comment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := tt.before + replace(t, seed{content: `<iin>000000000000</iin>` + tt.content}.sign(t).String(), "000000000000", "000000000001")
			x, err := xmlsig.Explain([]byte(doc), xmlsig.Options{})
			if gateway.ReasonOf(err) != gateway.DigestMismatch || x == nil {
				t.Fatalf("%v, %v", x, err)
			}
			if x.Cause != "" || tt.suspect == "" && x.Suspect != "" || !strings.Contains(x.Suspect, tt.suspect) {
				t.Errorf("cause %q, suspect %q, want %q", x.Cause, x.Suspect, tt.suspect)
			}
			if strings.Contains(x.String(), "000000000001") {
				t.Error("the explanation quotes the document")
			}
		})
	}
}

// The explanation's figures are those of the canonical content.
func TestExplainShowsTheDigest(t *testing.T) {
	s := seed{method: xmlsig.ExcC14NComments}.sign(t)
	doc := replace(t, s.String(), "000000000000", "111111111111")
	x, err := xmlsig.Explain([]byte(doc), xmlsig.Options{})
	if gateway.ReasonOf(err) != gateway.DigestMismatch {
		t.Fatal(err)
	}
	was := sha256.Sum256(canonicalize(t, xmlsig.ExcC14N, s.start+s.content+s.end))
	now := canonicalize(t, xmlsig.ExcC14N, s.start+strings.Replace(s.content, "000000000000", "111111111111", 1)+s.end)
	sum := sha256.Sum256(now)
	if x.Length != len(now) || x.SHA256 != sum || !bytes.Equal(x.Computed, sum[:]) || !bytes.Equal(x.Stated, was[:]) ||
		x.Digest != xmlsig.DigestSHA256 || x.Canonicalization != xmlsig.ExcC14N || x.Line != 1 {
		t.Errorf("%+v", x)
	}
	for _, part := range []string{base64.StdEncoding.EncodeToString(was[:]), base64.StdEncoding.EncodeToString(sum[:]), xmlsig.DigestSHA256, xmlsig.ExcC14N} {
		if !strings.Contains(x.String(), part) {
			t.Errorf("the text lacks %s:\n%s", part, x)
		}
	}
	for name, doc := range map[string]string{"verifies": s.String(), "is no XML": "<r>", "has another fault": replace(t, s.String(), "<ds:KeyInfo>", "<ds:KeyInfo>x")} {
		_, want := xmlsig.Verify([]byte(doc), xmlsig.Options{})
		if x, err := xmlsig.Explain([]byte(doc), xmlsig.Options{}); x != nil || gateway.ReasonOf(err) != gateway.ReasonOf(want) {
			t.Errorf("a document that %s: %v, %v", name, x, err)
		}
	}
	envelope := replace(t, string(mustSign(t, message, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})), "</S:Body>", "\n</S:Body>")
	if x, err := xmlsig.Explain([]byte(envelope), xmlsig.Options{Profile: xmlsig.ProfileWSSE}); x == nil || !strings.Contains(x.Cause, "indented") {
		t.Errorf("a message: %v, %v", x, err)
	}
	two := mustSign(t, string(mustSign(t, "<r><a/></r>", bob(), xmlsig.SignOptions{})), alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileCoSigned})
	if x, err := xmlsig.Explain([]byte(replace(t, string(two), "<a/>", "\n<a/>")), xmlsig.Options{Profile: xmlsig.ProfileCoSigned}); x == nil || !strings.Contains(x.Cause, "indented") {
		t.Errorf("two signatures: %v, %v", x, err)
	}
}
