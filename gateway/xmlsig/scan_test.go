package xmlsig_test

import (
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

func TestScanNamesWhatIsWrong(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	tests := []struct {
		name, doc string
		want      gateway.Reason
	}{
		{"the smallest document", `<a/>`, ""},
		{"byte order mark and declaration", "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes' ?>\n<a/>", ""},
		{"declaration in single quotes", `<?xml version='1.0' encoding='UTF-8'?><a/>`, ""},
		{"white space and comments around the root", " \n<!-- x --><a/><!-- y -->\r\n", ""},
		{"names of the fifth edition", "<а·б ңә‿=\"1\" \U00010000=\"2\"></а·б>", ""},
		{"every predefined reference", `<a b="&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;">&lt;&gt;&amp;&quot;&apos;&#00000000000000000000000000065;</a>`, ""},
		{"quotes of the other kind", `<a b='"' c="'"/>`, ""},
		{"an Id that looks like markup", `<a b=">"/>`, ""},
		{"CDATA with brackets", `<a><![CDATA[]]]]><![CDATA[>]]></a>`, ""},
		{"brackets apart", `<a>]] > &#93;]> ]&gt;</a>`, ""},
		{"prefix xml without declaration", `<a xml:lang="kk"/>`, ""},
		{"prefix xml declared as what it is", `<a xmlns:xml="http://www.w3.org/XML/1998/namespace" xml:lang="kk"/>`, ""},
		{"default namespace undone", `<a xmlns="urn:a"><b xmlns=""/></a>`, ""},
		{"prefix declared after its use in the tag", `<p:a q:b="1" xmlns:q="urn:q" xmlns:p="urn:p"/>`, ""},
		{"same local name in two namespaces", `<a p:x="1" q:x="2" x="3" xmlns:p="urn:p" xmlns:q="urn:q"/>`, ""},
		{"a byte order mark as character data", "<a>\uFEFF</a>", ""},
		{"NEL and LS as character data", "<a>\u0085\u2028</a>", ""},
		{"depth 64", deep(64), ""},

		{"no bytes", ``, gateway.DocumentMalformed},
		{"only white space", ` `, gateway.DocumentMalformed},
		{"only a comment", `<!-- -->`, gateway.DocumentMalformed},
		{"two roots", `<a/><b/>`, gateway.DocumentMalformed},
		{"text before the root", `x<a/>`, gateway.DocumentMalformed},
		{"text after the root", `<a/>x`, gateway.DocumentMalformed},
		{"a reference after the root", `<a/>&#32;`, gateway.DocumentMalformed},
		{"CDATA after the root", `<a/><![CDATA[]]>`, gateway.DocumentMalformed},
		{"an open element", `<a><b></b>`, gateway.DocumentMalformed},
		{"an open tag", `<a b="1"`, gateway.DocumentMalformed},
		{"an open name", `<a`, gateway.DocumentMalformed},
		{"a lone <", `<`, gateway.DocumentMalformed},
		{"an open value", `<a b="1`, gateway.DocumentMalformed},
		{"an open comment", `<a><!-- </a>`, gateway.DocumentMalformed},
		{"an open CDATA section", `<a><![CDATA[ </a>`, gateway.DocumentMalformed},
		{"tags that cross", `<a><b></a></b>`, gateway.DocumentMalformed},
		{"an end tag of a longer name", `<a></ab>`, gateway.DocumentMalformed},
		{"an end tag with an attribute", `<a></a b="1">`, gateway.DocumentMalformed},
		{"an end tag alone", `</a>`, gateway.DocumentMalformed},
		{"a space before the name", `< a/>`, gateway.DocumentMalformed},
		{"a space before the end tag's name", `<a></ a>`, gateway.DocumentMalformed},
		{"a slash inside a tag", `<a / >`, gateway.DocumentMalformed},
		{"attributes without a space", `<a b="1"c="2"/>`, gateway.DocumentMalformed},
		{"NEL between attributes", "<a\u0085b=\"1\"/>", gateway.DocumentMalformed},
		{"an attribute without quotes", `<a b=1/>`, gateway.DocumentMalformed},
		{"an attribute without a value", `<a b/>`, gateway.DocumentMalformed},
		{"< in an attribute", `<a b="<"/>`, gateway.DocumentMalformed},
		{"]]> in text", `<a>]]></a>`, gateway.DocumentMalformed},
		{"-- in a comment", `<a><!-- -- --></a>`, gateway.DocumentMalformed},
		{"a comment that ends in --->", `<a><!-- x ---></a>`, gateway.DocumentMalformed},
		{"a comment that is too short", `<a><!--></a>`, gateway.DocumentMalformed},
		{"a bare ampersand", `<a>R&D</a>`, gateway.DocumentMalformed},
		{"an undeclared entity", `<a>&nbsp;</a>`, gateway.DocumentMalformed},
		{"an empty character reference", `<a>&#;</a>`, gateway.DocumentMalformed},
		{"an upper-case X in a reference", `<a>&#X41;</a>`, gateway.DocumentMalformed},
		{"a reference to NUL", `<a>&#0;</a>`, gateway.DocumentMalformed},
		{"a reference to a surrogate", `<a>&#xD800;</a>`, gateway.DocumentMalformed},
		{"a reference beyond Unicode", `<a>&#x110000;</a>`, gateway.DocumentMalformed},
		{"a reference that overflows", `<a>&#x100000041;</a>`, gateway.DocumentMalformed},
		{"NUL in text", "<a>\x00</a>", gateway.DocumentMalformed},
		{"a control character in an attribute", "<a b=\"\x01\"/>", gateway.DocumentMalformed},
		{"a control character in a comment", "<a><!--\x0B--></a>", gateway.DocumentMalformed},
		{"U+FFFE", "<a>\uFFFE</a>", gateway.DocumentMalformed},
		{"U+FFFF in CDATA", "<a><![CDATA[\uFFFF]]></a>", gateway.DocumentMalformed},
		{"a second byte order mark", "\uFEFF\uFEFF<a/>", gateway.DocumentMalformed},
		{"a name that starts with a digit", `<1a/>`, gateway.DocumentMalformed},
		{"a name that starts with a combining mark", "<\u0301a/>", gateway.DocumentMalformed},
		{"a multiplication sign in a name", "<a\u00D7/>", gateway.DocumentMalformed},
		{"two colons", `<a:b:c xmlns:a="urn:a"/>`, gateway.DocumentMalformed},
		{"a colon at the end", `<a: xmlns:a="urn:a"/>`, gateway.DocumentMalformed},
		{"a colon at the start", `<:a/>`, gateway.DocumentMalformed},
		{"a digit after the colon", `<a:1 xmlns:a="urn:a"/>`, gateway.DocumentMalformed},
		{"an attribute twice", `<a b="1" b="2"/>`, gateway.DocumentMalformed},
		{"an attribute twice, apart", `<a b="1" c="2" b="3"/>`, gateway.DocumentMalformed},
		{"an attribute twice under two prefixes", `<a xmlns:p="urn:x" xmlns:q="urn:x" p:b="1" q:b="2"/>`, gateway.DocumentMalformed},
		{"one of twenty attributes twice", `<a a="" b="" c="" d="" e="" f="" g="" h="" i="" j="" k="" l="" m="" n="" o="" p="" q="" r="" s="" c=""/>`, gateway.DocumentMalformed},
		{"a declaration twice", `<a xmlns:p="urn:a" xmlns:p="urn:b"/>`, gateway.DocumentMalformed},
		{"a default declaration twice", `<a xmlns="urn:a" xmlns="urn:a"/>`, gateway.DocumentMalformed},
		{"an unknown declaration", `<a><!ELEMENT b></a>`, gateway.DocumentMalformed},
		{"standalone maybe", `<?xml version="1.0" standalone="maybe"?><a/>`, gateway.DocumentMalformed},
		{"a declaration without version", `<?xml encoding="UTF-8"?><a/>`, gateway.DocumentMalformed},
		{"a declaration out of order", `<?xml version="1.0" standalone="yes" encoding="UTF-8"?><a/>`, gateway.DocumentMalformed},

		{"windows-1251 declared", `<?xml version="1.0" encoding="windows-1251"?><a/>`, gateway.DocumentEncoding},
		{"windows-1251 bytes declared as UTF-8", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>\xC0\xC1\xC2</a>", gateway.DocumentEncoding},
		{"UTF-7", `<?xml version="1.0" encoding="UTF-7"?><a>+ADw-</a>`, gateway.DocumentEncoding},
		{"UTF-16 with a mark", "\xFF\xFE<\x00a\x00/\x00>\x00", gateway.DocumentEncoding},
		{"UTF-16 without a mark", "\x00<\x00a\x00/\x00>", gateway.DocumentEncoding},
		{"XML 1.1", `<?xml version="1.1"?><a/>`, gateway.DocumentEncoding},
		{"an overlong slash", "<a>\xC0\xAF</a>", gateway.DocumentEncoding},
		{"an overlong < in an attribute", "<a b=\"\xE0\x80\xBC\"/>", gateway.DocumentEncoding},
		{"an encoded surrogate", "<a>\xED\xA0\x80</a>", gateway.DocumentEncoding},
		{"a truncated sequence", "<a>\xD0</a>", gateway.DocumentEncoding},
		{"a truncated sequence in a name", "<a\xD0/>", gateway.DocumentEncoding},
		{"a truncated sequence in a comment", "<a><!--\xD0--></a>", gateway.DocumentEncoding},

		{"a document type", `<!DOCTYPE a><a/>`, gateway.DocumentDoctype},
		{"a document type with entities", `<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, gateway.DocumentDoctype},
		{"a broken document type", `<!DOCTYPE`, gateway.DocumentDoctype},
		{"billion laughs", `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>`, gateway.DocumentDoctype},
		{"an external subset", `<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>`, gateway.DocumentDoctype},

		{"a processing instruction before", `<?xml-stylesheet href="x"?><a/>`, gateway.DocumentInstruction},
		{"a processing instruction inside", `<a><?x y?></a>`, gateway.DocumentInstruction},
		{"a processing instruction after", `<a/><?x?>`, gateway.DocumentInstruction},
		{"an XML declaration after white space", ` <?xml version="1.0"?><a/>`, gateway.DocumentMalformed},

		{"an undeclared element prefix", `<p:a/>`, gateway.DocumentNamespace},
		{"an undeclared attribute prefix", `<a p:b="1"/>`, gateway.DocumentNamespace},
		{"a prefix out of scope", `<a><b xmlns:p="urn:p"/><p:c/></a>`, gateway.DocumentNamespace},
		{"a prefix bound to nothing", `<a xmlns:p=""/>`, gateway.DocumentNamespace},
		{"a relative namespace", `<a xmlns="forms/request"/>`, gateway.DocumentNamespace},
		{"a relative namespace for a prefix", `<a xmlns:p="1:2"/>`, gateway.DocumentNamespace},
		{"xml bound to something else", `<a xmlns:xml="urn:a"/>`, gateway.DocumentNamespace},
		{"another prefix for xml", `<a xmlns:p="http://www.w3.org/XML/1998/namespace"/>`, gateway.DocumentNamespace},
		{"xml as the default namespace", `<a xmlns="http://www.w3.org/XML/1998/namespace"/>`, gateway.DocumentNamespace},
		{"xmlns declared", `<a xmlns:xmlns="http://www.w3.org/2000/xmlns/"/>`, gateway.DocumentNamespace},
		{"another prefix for xmlns", `<a xmlns:p="http://www.w3.org/2000/xmlns/"/>`, gateway.DocumentNamespace},
		{"xmlns as an element prefix", `<xmlns:a/>`, gateway.DocumentNamespace},
		{"an attribute prefixed with colon only in ASCII", `<a xmlns:а="urn:a" a:b="1"/>`, gateway.DocumentNamespace},

		{"depth 65", deep(65), gateway.DocumentLimit},
		{"65 attributes", "<a" + numbered(` a%d=""`, 65) + "/>", gateway.DocumentLimit},
		{"65 declarations at one element", "<a" + numbered(` xmlns:a%d="urn:a"`, 65) + "/>", gateway.DocumentLimit},
		{"65 declarations in scope", "<a" + numbered(` xmlns:a%d="urn:a"`, 40) + "><b" + numbered(` xmlns:a%d="urn:b"`, 25) + "/></a>", gateway.DocumentLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := xmlsig.Scan([]byte(tt.doc), xmlsig.Limits{})
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestScanKeepsTheConfiguredLimits(t *testing.T) {
	tests := []struct {
		name, doc string
		limits    xmlsig.Limits
		want      gateway.Reason
	}{
		{"as many bytes as allowed", `<abcdef/>`, xmlsig.Limits{MaxBytes: 9}, ""},
		{"one byte more", `<abcdefg/>`, xmlsig.Limits{MaxBytes: 9}, gateway.DocumentTooLarge},
		{"one byte above the default", `<a>` + strings.Repeat("x", xmlsig.DefaultMaxBytes-6) + `</a>`, xmlsig.Limits{}, gateway.DocumentTooLarge},
		{"two levels", `<a><b/></a>`, xmlsig.Limits{Depth: 2}, ""},
		{"three levels", `<a><b><c/></b></a>`, xmlsig.Limits{Depth: 2}, gateway.DocumentLimit},
		{"three elements", `<a><b/><b></b></a>`, xmlsig.Limits{Elements: 3}, ""},
		{"four elements", `<a><b/><b></b><b/></a>`, xmlsig.Limits{Elements: 3}, gateway.DocumentLimit},
		{"one attribute and one declaration", `<a b="" xmlns:c="urn:c"/>`, xmlsig.Limits{Attributes: 1, Namespaces: 1}, ""},
		{"two attributes", `<a b="" c=""/>`, xmlsig.Limits{Attributes: 1}, gateway.DocumentLimit},
		{"declarations that are out of scope again do not count", `<a>` + strings.Repeat(`<b xmlns:c="urn:c"></b><d xmlns:c="urn:c"/>`, 100) + `</a>`, xmlsig.Limits{Namespaces: 1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := xmlsig.Scan([]byte(tt.doc), tt.limits)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}
