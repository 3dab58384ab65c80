package mint

import (
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// in makes an attack of one replacement in the finished document.
func in(old, new string) func(seed) string {
	return func(s seed) string { return replace(s.String(), old, new) }
}

// resigned makes an attack by a signer: SignedInfo is changed and signed again.
func resigned(old, new string) func(seed) string {
	return func(s seed) string {
		own := strings.NewReplacer(xmlsig.RSASHA256, s.by.method(), xmlsig.DigestSHA256, s.by.digest())
		s.signedInfo = replace(s.signedInfo, own.Replace(old), own.Replace(new))
		return s.resign().String()
	}
}

// byID signs by the root's Id instead of the empty URI.
func byID(attr string, f func(s seed) string) func(seed) string {
	return func(s seed) string {
		s = seed{start: `<r ` + attr + `>`, content: s.content, uri: "#x", first: s.first, by: s.by}.sign()
		return f(s)
	}
}

func whole(s seed) string { return s.String() }

const evil = `<iin>111111111111</iin>`

func wrapping() []attack {
	return []attack{
		{"the seed as it is", whole, ""},
		{"the content changed", in(`000000000000`, `111111111111`), gateway.DigestMismatch},
		{"an attribute changed", in(`a="1"`, `a="2"`), gateway.DigestMismatch},
		{"an element added", in(`<note`, `<note/><note`), gateway.DigestMismatch},
		{"a namespace added at the root", in(`<r>`, `<r xmlns="urn:x">`), gateway.DigestMismatch},
		{"an unused namespace added at the root", in(`<r>`, `<r xmlns:p="urn:x">`), gateway.DigestMismatch},
		{"xml:lang added at the root", in(`<r>`, `<r xml:lang="kk">`), gateway.DigestMismatch},
		{"an empty default namespace at the root changes nothing", in(`<r>`, `<r xmlns="">`), ""},
		{"other quotes, order of white space and a CDATA section change nothing", in(`<note a="1">жер</note>`, "<note\r\n a = '&#x31;' ><![CDATA[жер]]></note >"), ""},
		{"a comment around the document changes nothing", func(s seed) string { return "<!-- 1 -->" + s.String() + "<!-- 2 -->" }, ""},
		{"white space in the root", in(`<r>`, `<r> `), gateway.DigestMismatch},
		{"a CR from a reference", in(`<r>`, `<r>&#13;`), gateway.DigestMismatch},

		{"no signature", func(s seed) string { return s.start + s.content + s.end }, gateway.SignatureMissing},
		{"a signature of another namespace only", in(`xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`, `xmlns:ds="http://www.w3.org/2000/09/xmldsig"`), gateway.SignatureMissing},
		{"the signature twice", func(s seed) string {
			return s.around(s.start, s.content, s.signature()+s.signature(), s.end)
		}, gateway.SignatureMultiple},
		{"an empty second signature", in(`</note>`, `</note><ds:Signature xmlns:ds="`+dsig+`"/>`), gateway.SignatureMultiple},
		{"a second signature with another prefix", in(`</note>`, `</note><x:Signature xmlns:x="`+dsig+`"/>`), gateway.SignatureMultiple},
		{"a second signature in the default namespace, deep inside", in(`жер`, `<z><Signature xmlns="`+dsig+`"/></z>`), gateway.SignatureMultiple},
		{"a second signature by somebody else", func(s seed) string {
			other := seed{by: s.by.other}.sign()
			return s.around(s.start, s.content, s.signature()+other.signature(), s.end)
		}, gateway.SignatureMultiple},
		{"a signature inside the signature", in(`</ds:KeyInfo>`, `</ds:KeyInfo><ds:Object><ds:Signature/></ds:Object>`), gateway.SignatureMultiple},
		{"the signed document inside a new root", func(s seed) string { return `<r>` + evil + s.String() + `</r>` }, gateway.SignatureMisplaced},
		{"the signed document behind a copy of its root", func(s seed) string { return s.start + evil + `<w>` + s.String() + `</w>` + s.end }, gateway.SignatureMisplaced},
		{"the signature moved into a child", func(s seed) string {
			return s.start + replace(s.content, `жер`, `жер`+s.signature()) + s.end
		}, gateway.SignatureMisplaced},
		{"the signature as root", func(s seed) string { return s.signature() }, gateway.SignatureMisplaced},
		{"the original in ds:Object", func(s seed) string {
			s.afterKeyInfo = `<ds:Object>` + s.start + s.content + s.end + `</ds:Object>`
			return s.around(s.start, evil, s.signature(), s.end)
		}, gateway.SignatureStructure},
		{"the original in a wrapper beside the signature", func(s seed) string {
			return s.around(s.start, evil+`<w>`+s.start+s.content+s.end+`</w>`, s.signature(), s.end)
		}, gateway.DigestMismatch},

		{"by Id", byID(`Id="x"`, whole), ""},
		{"by ID", byID(`ID="x"`, whole), ""},
		{"by id", byID(`id="x"`, whole), ""},
		{"by an Id of nobody", byID(`Id="y"`, whole), gateway.SignatureReference},
		{"by iD", byID(`iD="x"`, whole), gateway.SignatureReference},
		{"by name", byID(`name="x"`, whole), gateway.SignatureReference},
		{"by an Id with a space", byID(`Id=" x"`, whole), gateway.SignatureReference},
		{"by a foreign Id", byID(`p:Id="x" xmlns:p="urn:p"`, func(s seed) string { return s.String() }), gateway.SignatureIDAmbiguous},
		{"by xml:id", byID(`xml:id="x"`, whole), gateway.SignatureIDAmbiguous},
		{"by two Ids of the root", byID(`Id="x" id="x"`, whole), gateway.SignatureIDAmbiguous},
		{"by Id, the original in a wrapper", byID(`Id="x"`, func(s seed) string {
			return s.around(s.start, evil+`<w>`+s.start+s.content+s.end+`</w>`, s.signature(), s.end)
		}), gateway.SignatureIDAmbiguous},
		{"by Id, the new root without it", byID(`Id="x"`, func(s seed) string {
			return s.around(`<r>`, evil+`<w>`+s.start+s.content+s.end+`</w>`, s.signature(), s.end)
		}), gateway.SignatureReference},
		{"by Id, the new root with another", byID(`Id="x"`, func(s seed) string {
			return s.around(`<r Id="y">`, evil+s.start+s.content+s.end, s.signature(), s.end)
		}), gateway.SignatureReference},
		{"by Id, the original in ds:Object", byID(`Id="x"`, func(s seed) string {
			s.afterKeyInfo = `<ds:Object>` + s.start + s.content + s.end + `</ds:Object>`
			return s.around(`<r>`, evil, s.signature(), s.end)
		}), gateway.SignatureStructure},
		{"by Id, repeated in a foreign attribute", byID(`Id="x"`, func(s seed) string {
			return replace(s.String(), `<note`, `<note p:ID="x" xmlns:p="urn:p"`)
		}), gateway.SignatureIDAmbiguous},
		{"by Id, repeated with a reference", byID(`Id="x"`, func(s seed) string {
			return replace(s.String(), `<note`, `<note Id="&#x78; "`)
		}), gateway.SignatureIDAmbiguous},
		{"by Id, repeated on the signature", byID(`Id="x"`, func(s seed) string {
			return replace(s.String(), `<ds:Signature `, `<ds:Signature Id="x" `)
		}), gateway.SignatureIDAmbiguous},
		{"a document type that makes Ids", func(s seed) string {
			return `<!DOCTYPE r [<!ATTLIST w Id ID "x">]>` + s.String()
		}, gateway.DocumentDoctype},
		{"a processing instruction", in(`<note`, `<?x?><note`), gateway.DocumentInstruction},
		{"another encoding", func(s seed) string { return `<?xml version="1.0" encoding="UTF-7"?>` + s.String() }, gateway.DocumentEncoding},
	}
}

func octets() []attack {
	return []attack{
		{"an end tag of another name", in(`</note>`, `</nope>`), gateway.DocumentMalformed},
		{"a second root", func(s seed) string { return s.String() + s.String() }, gateway.DocumentMalformed},
		{"]]> in text", in(`жер`, `]]>`), gateway.DocumentMalformed},
		{"< in an attribute", in(`a="1"`, `a="<"`), gateway.DocumentMalformed},
		{"-- in a comment", in(`<note`, `<!-- -- --><note`), gateway.DocumentMalformed},
		{"a name with two colons", in(`<note`, `<a:b:c/><note`), gateway.DocumentMalformed},
		{"a name that ends with a colon", in(`<note`, `<a:/><note`), gateway.DocumentMalformed},
		{"an entity", in(`жер`, `&x;`), gateway.DocumentMalformed},
		{"NUL", in(`жер`, "\x00"), gateway.DocumentMalformed},
		{"an attribute twice", in(`a="1"`, `a="1" a="1"`), gateway.DocumentMalformed},
		{"overlong UTF-8", in(`жер`, "\xC0\xBC"), gateway.DocumentEncoding},
		{"a surrogate", in(`жер`, "\xED\xA0\x80"), gateway.DocumentEncoding},
		{"a byte order mark in the middle", in(`жер`, "\uFEFFжер"), gateway.DigestMismatch},
		{"NEL for a line end", in(`<note`, "\u0085<note"), gateway.DigestMismatch},
		{"XML 1.1", func(s seed) string { return `<?xml version="1.1"?>` + s.String() }, gateway.DocumentEncoding},
		{"windows-1251 declared", func(s seed) string {
			return `<?xml version="1.0" encoding="windows-1251"?>` + s.String()
		}, gateway.DocumentEncoding},
		{"UTF-16", func(s seed) string { return "\xFF\xFE<\x00r\x00" }, gateway.DocumentEncoding},
		{"an undeclared prefix", in(`<note`, `<p:x/><note`), gateway.DocumentNamespace},
		{"a prefix for nothing", in(`<note`, `<note xmlns:p=""`), gateway.DocumentNamespace},
		{"a relative namespace", in(`<note`, `<note xmlns:p="p"`), gateway.DocumentNamespace},
		{"xml rebound", in(`<note`, `<note xmlns:xml="urn:x"`), gateway.DocumentNamespace},
		{"xmlns rebound", in(`<note`, `<note xmlns:xmlns="urn:x"`), gateway.DocumentNamespace},
		{"too deep", in(`жер`, strings.Repeat("<d>", 64)+strings.Repeat("</d>", 64)), gateway.DocumentLimit},
		{"too many attributes", in(`<note`, "<note"+numbered(` a%d=""`, 65)), gateway.DocumentLimit},
		{"too many namespaces", in(`<note`, "<note"+numbered(` xmlns:a%[1]d="urn:%[1]d"`, 65)), gateway.DocumentLimit},
		{"an entity bomb", func(s seed) string {
			return `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>` + s.String()
		}, gateway.DocumentDoctype},
	}
}
