package xmlsig_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"egov-gateway/gateway/xmlsig"
)

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func scan(t testing.TB, doc string) *xmlsig.Document {
	t.Helper()
	d, err := xmlsig.Scan([]byte(doc), xmlsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestElementText(t *testing.T) {
	tests := []struct {
		name, doc, want string
		has             bool
	}{
		{"plain", `<a>тест</a>`, "тест", true},
		{"empty", `<a></a>`, "", false},
		{"empty tag", `<a/>`, "", false},
		{"white space", "<a> \n\t</a>", " \n\t", false},
		{"white space from references", "<a> &#10;&#x20;<![CDATA[ ]]></a>", " \n  ", false},
		{"references", `<a>&lt;&amp;&gt;&quot;&apos;&#x416;&#1078;</a>`, `<&>"'Жж`, true},
		{"CDATA joined with text", `<a>x<![CDATA[<&]]>y</a>`, "x<&y", true},
		{"an empty CDATA section", `<a><![CDATA[]]></a>`, "", false},
		{"a comment does not cut the text", `<a>admin<!-- -->@example.kz</a>`, "admin@example.kz", true},
		{"line ends", "<a>1\r\n2\r3\n4&#13;5<![CDATA[\r\n]]></a>", "1\n2\n3\n4\r5\n", true},
		{"text around children", `<a>1<b>2</b>3<b/>4</a>`, "134", true},
		{"text only in children", `<a> <b>2</b> </a>`, "  ", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := scan(t, tt.doc).Root()
			if got := e.Text(); got != tt.want {
				t.Errorf("text %q, want %q", got, tt.want)
			}
			if got := string(e.AppendText([]byte("before "))); got != "before "+tt.want {
				t.Errorf("appended %q, want %q", got, tt.want)
			}
			if got := e.HasText(); got != tt.has {
				t.Errorf("has text %v, want %v", got, tt.has)
			}
		})
	}
}

func TestElementNavigation(t *testing.T) {
	d := scan(t, "<?xml version=\"1.0\"?>\r\n<r xmlns=\"urn:d\" xmlns:p=\"urn:p\" b=\"1\" p:b='2\t&#9;\r\n3' xml:lang=\"kk\">\n"+
		"  <x>1</x><!-- <x/> -->\n  <p:x>2</p:x>\r  <y xmlns=\"\"><z p:q=\"w\"/></y>\n</r>")
	r := d.Root()
	if r.Space() != "urn:d" || r.Local() != "r" || r.Line() != 2 {
		t.Errorf("root is {%s}%s in line %d", r.Space(), r.Local(), r.Line())
	}
	var names []string
	for c := range r.Children() {
		names = append(names, fmt.Sprintf("{%s}%s@%d", c.Space(), c.Local(), c.Line()))
	}
	if want := []string{"{urn:d}x@4", "{urn:p}x@5", "{}y@6"}; !slices.Equal(names, want) {
		t.Errorf("children %v, want %v", names, want)
	}
	for _, tt := range []struct{ space, local, want string }{{"urn:p", "x", "2"}, {"*", "x", "1"}, {"urn:d", "x", "1"}} {
		if c, ok := r.Child(tt.space, tt.local); !ok || c.Text() != tt.want {
			t.Errorf("child {%s}%s is %q, want %q", tt.space, tt.local, c.Text(), tt.want)
		}
	}
	if c, ok := r.Child("", "x"); ok || !c.IsZero() {
		t.Error("found a child x in no namespace")
	}
	for _, tt := range []struct{ space, local, want string }{{"", "b", "1"}, {"urn:p", "b", "2 \t 3"}, {"http://www.w3.org/XML/1998/namespace", "lang", "kk"}} {
		if v, ok := r.Attr(tt.space, tt.local); !ok || v != tt.want {
			t.Errorf("attribute {%s}%s is %q, want %q", tt.space, tt.local, v, tt.want)
		}
	}
	if _, ok := r.Attr("", "xmlns"); ok {
		t.Error("a namespace declaration is shown as an attribute")
	}
	var attrs []xmlsig.Name
	for n := range r.Attrs() {
		attrs = append(attrs, n)
	}
	if want := []xmlsig.Name{{"", "b"}, {"urn:p", "b"}, {"http://www.w3.org/XML/1998/namespace", "lang"}}; !slices.Equal(attrs, want) {
		t.Errorf("attributes %v, want %v", attrs, want)
	}
	y, _ := r.Child("", "y")
	z, _ := y.Child("", "z")
	for _, tt := range []struct {
		prefix, want string
		ok           bool
	}{{"p", "urn:p", true}, {"", "", true}, {"q", "", false}, {"xml", "http://www.w3.org/XML/1998/namespace", true}} {
		if uri, ok := z.LookupPrefix(tt.prefix); uri != tt.want || ok != tt.ok {
			t.Errorf("prefix %q stands for %q %v", tt.prefix, uri, ok)
		}
	}
	if got := string(y.Source()); got != `<y xmlns=""><z p:q="w"/></y>` {
		t.Errorf("source %q", got)
	}
	var none xmlsig.Element
	if none.Local()+none.Space()+none.Text() != "" || none.Line() != 0 || none.HasText() || none.Source() != nil {
		t.Error("no element has something")
	}
	for range none.Children() {
		t.Error("no element has a child")
	}
}

func TestReleasedDocumentCannotBeRead(t *testing.T) {
	d := scan(t, `<a>x</a>`)
	r := d.Root()
	d.Release()
	d.Release() // twice is harmless
	defer func() {
		if recover() == nil {
			t.Error("an element of a released document could be read")
		}
	}()
	_ = r.Text()
}
