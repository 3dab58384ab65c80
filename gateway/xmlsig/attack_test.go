package xmlsig_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// An attack turns a validly signed document into another one.
type attack struct {
	name string
	make func(t *testing.T, s seed) string
	want gateway.Reason // "" for a change that is none
}

// in makes an attack of one replacement in the finished document.
func in(old, new string) func(*testing.T, seed) string {
	return func(t *testing.T, s seed) string { return replace(t, s.String(), old, new) }
}

// resigned makes an attack by a signer: SignedInfo is changed and signed again.
func resigned(old, new string) func(*testing.T, seed) string {
	return func(t *testing.T, s seed) string {
		own := strings.NewReplacer(xmlsig.RSASHA256, s.by.method(), xmlsig.DigestSHA256, s.by.digest())
		s.signedInfo = replace(t, s.signedInfo, own.Replace(old), own.Replace(new))
		return s.resign(t).String()
	}
}

// byID signs by the root's Id instead of the empty URI.
func byID(attr string, f func(t *testing.T, s seed) string) func(*testing.T, seed) string {
	return func(t *testing.T, s seed) string {
		s = seed{start: `<r ` + attr + `>`, uri: "#x", first: s.first, by: s.by}.sign(t)
		return f(t, s)
	}
}

func whole(_ *testing.T, s seed) string { return s.String() }

const evil = `<iin>111111111111</iin>`

var wrapping = []attack{
	{"the seed as it is", whole, ""},
	{"the content changed", in(`000000000000`, `111111111111`), gateway.DigestMismatch},
	{"an attribute changed", in(`a="1"`, `a="2"`), gateway.DigestMismatch},
	{"an element added", in(`<note`, `<note/><note`), gateway.DigestMismatch},
	{"a namespace added at the root", in(`<r>`, `<r xmlns="urn:x">`), gateway.DigestMismatch},
	{"an unused namespace added at the root", in(`<r>`, `<r xmlns:p="urn:x">`), gateway.DigestMismatch},
	{"xml:lang added at the root", in(`<r>`, `<r xml:lang="kk">`), gateway.DigestMismatch},
	{"an empty default namespace at the root changes nothing", in(`<r>`, `<r xmlns="">`), ""},
	{"other quotes, order of white space and a CDATA section change nothing", in(`<note a="1">жер</note>`, "<note\r\n a = '&#x31;' ><![CDATA[жер]]></note >"), ""},
	{"a comment around the document changes nothing", func(t *testing.T, s seed) string { return "<!-- 1 -->" + s.String() + "<!-- 2 -->" }, ""},
	{"white space in the root", in(`<r>`, `<r> `), gateway.DigestMismatch},
	{"a CR from a reference", in(`<r>`, `<r>&#13;`), gateway.DigestMismatch},

	{"no signature", func(_ *testing.T, s seed) string { return s.start + s.content + s.end }, gateway.SignatureMissing},
	{"a signature of another namespace only", in(`xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`, `xmlns:ds="http://www.w3.org/2000/09/xmldsig"`), gateway.SignatureMissing},
	{"the signature twice", func(_ *testing.T, s seed) string {
		return s.around(s.start, s.content, s.signature()+s.signature(), s.end)
	}, gateway.SignatureMultiple},
	{"an empty second signature", in(`</note>`, `</note><ds:Signature xmlns:ds="`+dsig+`"/>`), gateway.SignatureMultiple},
	{"a second signature with another prefix", in(`</note>`, `</note><x:Signature xmlns:x="`+dsig+`"/>`), gateway.SignatureMultiple},
	{"a second signature in the default namespace, deep inside", in(`жер`, `<z><Signature xmlns="`+dsig+`"/></z>`), gateway.SignatureMultiple},
	{"a second signature by somebody else", func(t *testing.T, s seed) string {
		other := seed{by: s.by.stranger()}.sign(t)
		return s.around(s.start, s.content, s.signature()+other.signature(), s.end)
	}, gateway.SignatureMultiple},
	{"a signature inside the signature", in(`</ds:KeyInfo>`, `</ds:KeyInfo><ds:Object><ds:Signature/></ds:Object>`), gateway.SignatureMultiple},
	{"the signed document inside a new root", func(_ *testing.T, s seed) string { return `<r>` + evil + s.String() + `</r>` }, gateway.SignatureMisplaced},
	{"the signed document behind a copy of its root", func(_ *testing.T, s seed) string { return s.start + evil + `<w>` + s.String() + `</w>` + s.end }, gateway.SignatureMisplaced},
	{"the signature moved into a child", func(t *testing.T, s seed) string {
		return s.start + replace(t, s.content, `жер`, `жер`+s.signature()) + s.end
	}, gateway.SignatureMisplaced},
	{"the signature as root", func(_ *testing.T, s seed) string { return s.signature() }, gateway.SignatureMisplaced},
	{"the original in ds:Object", func(_ *testing.T, s seed) string {
		s.afterKeyInfo = `<ds:Object>` + s.start + s.content + s.end + `</ds:Object>`
		return s.around(s.start, evil, s.signature(), s.end)
	}, gateway.SignatureStructure},
	{"the original in a wrapper beside the signature", func(_ *testing.T, s seed) string {
		return s.around(s.start, evil+`<w>`+s.start+s.content+s.end+`</w>`, s.signature(), s.end)
	}, gateway.DigestMismatch},

	{"by Id", byID(`Id="x"`, whole), ""},
	{"by ID", byID(`ID="x"`, whole), ""},
	{"by id", byID(`id="x"`, whole), ""},
	{"by an Id of nobody", byID(`Id="y"`, whole), gateway.SignatureReference},
	{"by iD", byID(`iD="x"`, whole), gateway.SignatureReference},
	{"by name", byID(`name="x"`, whole), gateway.SignatureReference},
	{"by an Id with a space", byID(`Id=" x"`, whole), gateway.SignatureReference},
	{"by a foreign Id", byID(`p:Id="x" xmlns:p="urn:p"`, func(t *testing.T, s seed) string { return s.String() }), gateway.SignatureIDAmbiguous},
	{"by xml:id", byID(`xml:id="x"`, whole), gateway.SignatureIDAmbiguous},
	{"by two Ids of the root", byID(`Id="x" id="x"`, whole), gateway.SignatureIDAmbiguous},
	{"by Id, the original in a wrapper", byID(`Id="x"`, func(_ *testing.T, s seed) string {
		return s.around(s.start, evil+`<w>`+s.start+s.content+s.end+`</w>`, s.signature(), s.end)
	}), gateway.SignatureIDAmbiguous},
	{"by Id, the new root without it", byID(`Id="x"`, func(_ *testing.T, s seed) string {
		return s.around(`<r>`, evil+`<w>`+s.start+s.content+s.end+`</w>`, s.signature(), s.end)
	}), gateway.SignatureReference},
	{"by Id, the new root with another", byID(`Id="x"`, func(_ *testing.T, s seed) string {
		return s.around(`<r Id="y">`, evil+s.start+s.content+s.end, s.signature(), s.end)
	}), gateway.SignatureReference},
	{"by Id, the original in ds:Object", byID(`Id="x"`, func(_ *testing.T, s seed) string {
		s.afterKeyInfo = `<ds:Object>` + s.start + s.content + s.end + `</ds:Object>`
		return s.around(`<r>`, evil, s.signature(), s.end)
	}), gateway.SignatureStructure},
	{"by Id, repeated in a foreign attribute", byID(`Id="x"`, func(t *testing.T, s seed) string {
		return replace(t, s.String(), `<note`, `<note p:ID="x" xmlns:p="urn:p"`)
	}), gateway.SignatureIDAmbiguous},
	{"by Id, repeated with a reference", byID(`Id="x"`, func(t *testing.T, s seed) string {
		return replace(t, s.String(), `<note`, `<note Id="&#x78; "`)
	}), gateway.SignatureIDAmbiguous},
	{"by Id, repeated on the signature", byID(`Id="x"`, func(t *testing.T, s seed) string {
		return replace(t, s.String(), `<ds:Signature `, `<ds:Signature Id="x" `)
	}), gateway.SignatureIDAmbiguous},
	{"a document type that makes Ids", func(_ *testing.T, s seed) string {
		return `<!DOCTYPE r [<!ATTLIST w Id ID "x">]>` + s.String()
	}, gateway.DocumentDoctype},
	{"a processing instruction", in(`<note`, `<?x?><note`), gateway.DocumentInstruction},
	{"another encoding", func(_ *testing.T, s seed) string { return `<?xml version="1.0" encoding="UTF-7"?>` + s.String() }, gateway.DocumentEncoding},
}

var octets = []attack{
	{"more bytes than are taken", func(_ *testing.T, s seed) string { return s.String() + strings.Repeat(" ", xmlsig.DefaultMaxBytes) }, gateway.DocumentTooLarge},
	{"an end tag of another name", in(`</note>`, `</nope>`), gateway.DocumentMalformed},
	{"a second root", func(_ *testing.T, s seed) string { return s.String() + s.String() }, gateway.DocumentMalformed},
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
	{"XML 1.1", func(_ *testing.T, s seed) string { return `<?xml version="1.1"?>` + s.String() }, gateway.DocumentEncoding},
	{"windows-1251 declared", func(_ *testing.T, s seed) string {
		return `<?xml version="1.0" encoding="windows-1251"?>` + s.String()
	}, gateway.DocumentEncoding},
	{"UTF-16", func(_ *testing.T, s seed) string { return "\xFF\xFE<\x00r\x00" }, gateway.DocumentEncoding},
	{"an undeclared prefix", in(`<note`, `<p:x/><note`), gateway.DocumentNamespace},
	{"a prefix for nothing", in(`<note`, `<note xmlns:p=""`), gateway.DocumentNamespace},
	{"a relative namespace", in(`<note`, `<note xmlns:p="p"`), gateway.DocumentNamespace},
	{"xml rebound", in(`<note`, `<note xmlns:xml="urn:x"`), gateway.DocumentNamespace},
	{"xmlns rebound", in(`<note`, `<note xmlns:xmlns="urn:x"`), gateway.DocumentNamespace},
	{"too deep", in(`жер`, strings.Repeat("<d>", 64)+strings.Repeat("</d>", 64)), gateway.DocumentLimit},
	{"too many attributes", in(`<note`, "<note"+numbered(` a%d=""`, 65)), gateway.DocumentLimit},
	{"too many namespaces", in(`<note`, "<note"+numbered(` xmlns:a%[1]d="urn:%[1]d"`, 65)), gateway.DocumentLimit},
	{"an entity bomb", func(_ *testing.T, s seed) string {
		return `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>` + s.String()
	}, gateway.DocumentDoctype},
}

var structure = []attack{
	{"no reference", func(t *testing.T, s seed) string {
		i, j := strings.Index(s.signedInfo, `<ds:Reference`), strings.Index(s.signedInfo, `</ds:SignedInfo`)
		s.signedInfo = s.signedInfo[:i] + s.signedInfo[j:]
		return s.resign(t).String()
	}, gateway.SignatureStructure},
	{"two references", func(t *testing.T, s seed) string {
		i, j := strings.Index(s.signedInfo, `<ds:Reference`), strings.Index(s.signedInfo, `</ds:SignedInfo`)
		s.signedInfo = s.signedInfo[:j] + s.signedInfo[i:j] + s.signedInfo[j:]
		return s.resign(t).String()
	}, gateway.SignatureStructure},
	{"no URI", resigned(` URI=""`, ``), gateway.SignatureReference},
	{"an empty fragment", resigned(`URI=""`, `URI="#"`), gateway.SignatureReference},
	{"xpointer of the root", resigned(`URI=""`, `URI="#xpointer(/)"`), gateway.SignatureReference},
	{"xpointer of an id", resigned(`URI=""`, `URI="#xpointer(id('x'))"`), gateway.SignatureReference},
	{"an external document", resigned(`URI=""`, `URI="http://127.0.0.1/r.xml"`), gateway.SignatureReference},
	{"a file", resigned(`URI=""`, `URI="file:///etc/passwd"`), gateway.SignatureReference},
	{"a manifest", resigned(`URI=""`, `URI="" Type="`+dsig+`Manifest"`), gateway.SignatureReference},

	{"XSLT", resigned(xmlsig.C14N10+`"/></ds:Transforms`, `http://www.w3.org/TR/1999/REC-xslt-19991116"/></ds:Transforms`), gateway.SignatureTransform},
	{"XPath", resigned(`<ds:Transform Algorithm="`+xmlsig.C14N10+`"/>`, `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>ancestor-or-self::iin</ds:XPath></ds:Transform>`), gateway.SignatureTransform},
	{"base64", resigned(xmlsig.C14N10+`"/></ds:Transforms`, dsig+`base64"/></ds:Transforms`), gateway.SignatureTransform},
	{"STR transform", resigned(xmlsig.C14N10+`"/></ds:Transforms`, `http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform"/></ds:Transforms`), gateway.SignatureTransform},
	{"enveloped twice", resigned(transform(xmlsig.C14N10), transform(xmlsig.Enveloped)), gateway.SignatureTransform},
	{"enveloped after canonicalisation", resigned(transform(xmlsig.Enveloped)+transform(xmlsig.C14N10), transform(xmlsig.C14N10)+transform(xmlsig.Enveloped)), gateway.SignatureTransform},
	{"two canonicalisations", resigned(transform(xmlsig.Enveloped)+transform(xmlsig.C14N10), transform(xmlsig.C14N10)+transform(xmlsig.C14N10)), gateway.SignatureTransform},
	{"three transforms", resigned(transform(xmlsig.C14N10), transform(xmlsig.C14N10)+transform(xmlsig.C14N10)), gateway.SignatureTransform},
	{"not enveloped", resigned(transform(xmlsig.Enveloped), ``), gateway.SignatureTransform},
	{"no transforms", resigned(`<ds:Transforms>`+transform(xmlsig.Enveloped)+transform(xmlsig.C14N10)+`</ds:Transforms>`, ``), gateway.SignatureTransform},
	{"10,000 transforms", resigned(transform(xmlsig.C14N10), strings.Repeat(transform(xmlsig.Enveloped), 10000)), gateway.SignatureTransform},
	{"enveloped alone means c14n 1.0", resigned(transform(xmlsig.C14N10), ``), ""},
	{"a parameter of enveloped", resigned(transform(xmlsig.Enveloped), `<ds:Transform Algorithm="`+xmlsig.Enveloped+`"><x/></ds:Transform>`), gateway.SignatureTransform},
	{"a prefix list for inclusive canonicalisation", resigned(transform(xmlsig.C14N10), `<ds:Transform Algorithm="`+xmlsig.C14N10+`">`+prefixList("a")+`</ds:Transform>`), gateway.SignatureTransform},
	{"10,000 prefixes", resigned(transform(xmlsig.C14N10), `<ds:Transform Algorithm="`+xmlsig.ExcC14N+`">`+prefixList(strings.Repeat("a ", 10000))+`</ds:Transform>`), gateway.SignatureTransform},
	{"a prefix that is none", resigned(transform(xmlsig.C14N10), `<ds:Transform Algorithm="`+xmlsig.ExcC14N+`">`+prefixList("a:b")+`</ds:Transform>`), gateway.SignatureTransform},
	{"10,000 prefixes for SignedInfo", resigned(`<ds:CanonicalizationMethod Algorithm="`+xmlsig.C14N10+`"/>`, `<ds:CanonicalizationMethod Algorithm="`+xmlsig.ExcC14N+`">`+prefixList(strings.Repeat("a ", 10000))+`</ds:CanonicalizationMethod>`), gateway.SignatureStructure},
	{"something other than a Transform", resigned(`</ds:Transforms>`, `<ds:Object/></ds:Transforms>`), gateway.SignatureTransform},

	{"a second SignedInfo", func(_ *testing.T, s seed) string { // CVE-2025-29774
		s.value += strings.Replace(s.signedInfo, `URI=""`, `URI="#y"`, 1)
		return s.String()
	}, gateway.SignatureStructure},
	{"a second SignedInfo before the first", func(_ *testing.T, s seed) string {
		s.signedInfo += s.signedInfo
		return s.String()
	}, gateway.SignatureStructure},
	{"a SignedInfo inside SignedInfo", func(t *testing.T, s seed) string {
		s.signedInfo = replace(t, s.signedInfo, `<ds:SignedInfo>`, `<ds:SignedInfo>`+s.signedInfo)
		return s.resign(t).String()
	}, gateway.SignatureStructure},
	{"KeyInfo before SignatureValue", func(_ *testing.T, s seed) string {
		s.value, s.keyInfo = s.keyInfo, s.value
		return s.String()
	}, gateway.SignatureStructure},
	{"no SignatureValue", func(_ *testing.T, s seed) string { s.value = ""; return s.String() }, gateway.SignatureStructure},
	{"an empty signature", func(_ *testing.T, s seed) string {
		s.signedInfo, s.value, s.keyInfo = "", "", ""
		return s.String()
	}, gateway.SignatureStructure},
	{"ds:Object", func(_ *testing.T, s seed) string { s.afterKeyInfo = `<ds:Object/>`; return s.String() }, gateway.SignatureStructure},
	{"text in the signature", in(`<ds:KeyInfo>`, `x<ds:KeyInfo>`), gateway.SignatureStructure},
	{"CDATA in the signature", in(`<ds:KeyInfo>`, `<![CDATA[x]]><ds:KeyInfo>`), gateway.SignatureStructure},
	{"text in SignedInfo", resigned(`<ds:Reference`, `x<ds:Reference`), gateway.SignatureStructure},
	{"white space and comments in the signature", in(`<ds:KeyInfo>`, "\r\n&#13;<!-- x --> <ds:KeyInfo>"), ""},
	{"an attribute of the signature", in(`<ds:Signature `, `<ds:Signature a="1" `), gateway.SignatureStructure},
	{"a foreign Id of the signature", in(`<ds:Signature `, `<ds:Signature p:Id="1" xmlns:p="urn:p" `), gateway.SignatureStructure},
	{"an Id of the signature", in(`<ds:Signature `, `<ds:Signature Id="s1" `), ""},
	{"an attribute of SignedInfo", resigned(`<ds:SignedInfo>`, `<ds:SignedInfo xml:lang="kk">`), gateway.SignatureStructure},
	{"no algorithm", resigned(`<ds:SignatureMethod Algorithm="`+xmlsig.RSASHA256+`"/>`, `<ds:SignatureMethod/>`), gateway.SignatureStructure},
	{"HMACOutputLength", resigned(`<ds:SignatureMethod Algorithm="`+xmlsig.RSASHA256+`"/>`, `<ds:SignatureMethod Algorithm="`+xmlsig.RSASHA256+`"><ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>`), gateway.SignatureStructure},
	{"a parameter of the digest", resigned(`<ds:DigestMethod Algorithm="`+xmlsig.DigestSHA256+`"/>`, `<ds:DigestMethod Algorithm="`+xmlsig.DigestSHA256+`"><x/></ds:DigestMethod>`), gateway.SignatureStructure},
	{"a comment in SignedInfo", in(`<ds:Reference`, `<!-- x --><ds:Reference`), ""},

	{"a comment in DigestValue", resigned(`<ds:DigestValue>`, `<ds:DigestValue><!-- AAAA -->`), gateway.SignatureStructure}, // CVE-2025-29775
	{"a comment inside the digest", func(t *testing.T, s seed) string {
		i := strings.Index(s.signedInfo, `</ds:DigestValue>`) - 20
		s.signedInfo = s.signedInfo[:i] + `<!---->` + s.signedInfo[i:]
		return s.String()
	}, gateway.SignatureStructure},
	{"an element in DigestValue", resigned(`</ds:DigestValue>`, `<x/></ds:DigestValue>`), gateway.SignatureStructure},
	{"CDATA in DigestValue", resigned(`</ds:DigestValue>`, `<![CDATA[]]></ds:DigestValue>`), gateway.SignatureStructure},
	{"a comment in SignatureValue", in(`</ds:SignatureValue>`, `<!-- x --></ds:SignatureValue>`), gateway.SignatureStructure},
	{"an element in SignatureValue", in(`</ds:SignatureValue>`, `<ds:SignedInfo/></ds:SignatureValue>`), gateway.SignatureStructure},
	{"a comment in X509Certificate", in(`</ds:X509Certificate>`, `<!-- x --></ds:X509Certificate>`), gateway.SignatureStructure},
	{"a nested X509Certificate", in(`</ds:X509Certificate>`, `<ds:X509Certificate/></ds:X509Certificate>`), gateway.SignatureStructure},
	{"an attribute of X509Certificate", in(`<ds:X509Certificate>`, `<ds:X509Certificate Id="c">`), gateway.SignatureStructure},
}

func prefixList(prefixes string) string {
	return `<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="` + prefixes + `"/>`
}

var values = []attack{
	{"wrapped base64", in(`<ds:SignatureValue>`, "<ds:SignatureValue>\r\n\t &#13;\n&#9;&#32;"), ""},
	{"no base64", func(_ *testing.T, s seed) string { s.value = `<ds:SignatureValue/>`; return s.String() }, gateway.SignatureEncoding},
	{"only white space", func(_ *testing.T, s seed) string {
		s.value = `<ds:SignatureValue> </ds:SignatureValue>`
		return s.String()
	}, gateway.SignatureEncoding},
	{"a foreign digit", in(`<ds:SignatureValue>`, `<ds:SignatureValue>!`), gateway.SignatureEncoding},
	{"the URL alphabet", in(`<ds:SignatureValue>`, `<ds:SignatureValue>-_-_`), gateway.SignatureEncoding},
	{"a no-break space", in(`<ds:SignatureValue>`, "<ds:SignatureValue>\u00A0"), gateway.SignatureEncoding},
	{"missing padding", in(`=</ds:SignatureValue>`, `</ds:SignatureValue>`), gateway.SignatureEncoding},
	{"too much padding", in(`=</ds:SignatureValue>`, `==</ds:SignatureValue>`), gateway.SignatureEncoding},
	{"something after the padding", in(`=</ds:SignatureValue>`, `=AAAA</ds:SignatureValue>`), gateway.SignatureEncoding},
	{"padding in the middle", in(`<ds:SignatureValue>`, `<ds:SignatureValue>AA==`), gateway.SignatureEncoding},
	{"unused bits set", func(t *testing.T, s seed) string {
		i := strings.Index(s.value, "=") - 1
		return replace(t, s.String(), s.value, s.value[:i]+string(s.value[i]+1)+s.value[i+1:])
	}, gateway.SignatureEncoding},
	{"a value of a megabyte", in(`<ds:SignatureValue>`, `<ds:SignatureValue>`+strings.Repeat("AAAA", 100_000)), gateway.SignatureEncoding},
	{"a truncated digest", func(t *testing.T, s seed) string {
		i := strings.Index(s.signedInfo, `<ds:DigestValue>`) + len(`<ds:DigestValue>`)
		s.signedInfo = s.signedInfo[:i+4] + s.signedInfo[strings.Index(s.signedInfo, `</ds:DigestValue>`):]
		return s.resign(t).String()
	}, gateway.DigestMismatch},
	{"another digest, not signed", func(t *testing.T, s seed) string {
		sum := s.by.sum(canonicalize(t, s.method, s.start+evil+s.end))
		i := strings.Index(s.signedInfo, `<ds:DigestValue>`) + len(`<ds:DigestValue>`)
		s.signedInfo = s.signedInfo[:i] + base64.StdEncoding.EncodeToString(sum) + s.signedInfo[strings.Index(s.signedInfo, `</ds:DigestValue>`):]
		return s.around(s.start, evil, s.signature(), s.end)
	}, gateway.SignatureInvalid},
	{"another certificate", func(t *testing.T, s seed) string {
		return replace(t, s.String(), s.by.certBase64(), s.by.stranger().certBase64())
	}, gateway.SignatureInvalid},
	{"one bit of the signature", func(t *testing.T, s seed) string {
		return s.withSignature(t, func(b []byte) []byte { b[17] ^= 4; return b })
	}, gateway.SignatureInvalid},
	{"a zero signature", func(t *testing.T, s seed) string {
		return s.withSignature(t, func(b []byte) []byte { clear(b); return b })
	}, gateway.SignatureInvalid},
	{"a signature of one byte", func(t *testing.T, s seed) string { return s.withSignature(t, func(b []byte) []byte { return b[:1] }) }, gateway.SignatureInvalid},
	{"a signature with a leading zero more", func(t *testing.T, s seed) string {
		return s.withSignature(t, func(b []byte) []byte { return append([]byte{0}, b...) })
	}, gateway.SignatureInvalid},
	{"a signature with a trailing zero more", func(t *testing.T, s seed) string {
		return s.withSignature(t, func(b []byte) []byte { return append(b, 0) })
	}, gateway.SignatureInvalid},
}

var rsaValues = []attack{
	{"s + N", func(t *testing.T, s seed) string {
		return s.withSignature(t, func(b []byte) []byte {
			return new(big.Int).Add(new(big.Int).SetBytes(b), s.by.rsa.N).Bytes()
		})
	}, gateway.SignatureInvalid},
	{"N itself", func(t *testing.T, s seed) string {
		return s.withSignature(t, func([]byte) []byte { return s.by.rsa.N.Bytes() })
	}, gateway.SignatureInvalid},
	{"a signature without its leading zero", func(t *testing.T, s seed) string {
		for i := range 20000 {
			s = seed{content: strings.Repeat("x", i), first: s.first}.sign(t)
			if raw := s.raw(t); raw[0] == 0 {
				return s.withSignature(t, func(b []byte) []byte { return b[1:] })
			}
		}
		t.Fatal("no signature starts with a zero byte")
		return ""
	}, gateway.SignatureInvalid},
}

func (s seed) raw(t *testing.T) []byte {
	t.Helper()
	b64 := strings.TrimSuffix(strings.TrimPrefix(s.value, `<ds:SignatureValue>`), `</ds:SignatureValue>`)
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s seed) withSignature(t *testing.T, f func([]byte) []byte) string {
	t.Helper()
	s.value = `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(f(s.raw(t))) + `</ds:SignatureValue>`
	return s.String()
}

func algorithm(uri string) func(*testing.T, seed) string { return resigned(xmlsig.RSASHA256, uri) }
func digest(uri string) func(*testing.T, seed) string    { return resigned(xmlsig.DigestSHA256, uri) }

var algorithms = []attack{
	{"HMAC-SHA1", algorithm(dsig + "hmac-sha1"), gateway.SignatureAlgorithm},
	{"HMAC-SHA256", algorithm("http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"), gateway.SignatureAlgorithm},
	{"RSA-SHA1", algorithm(dsig + "rsa-sha1"), gateway.SignatureAlgorithm},
	{"RSA-SHA1 of the official library", algorithm("http://www.w3.org/2001/04/xmldsig-more#rsa-sha1"), gateway.SignatureAlgorithm},
	{"RSA-MD5", algorithm("http://www.w3.org/2001/04/xmldsig-more#rsa-md5"), gateway.SignatureAlgorithm},
	{"RSA-PSS", algorithm("http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"), gateway.SignatureAlgorithm},
	{"DSA", algorithm(dsig + "dsa-sha1"), gateway.SignatureAlgorithm},
	{"ECDSA", algorithm("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"), gateway.SignatureAlgorithm},
	{"GOST of 256 bits", algorithm("urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:gostr34102015-gostr34112015-256"), gateway.SignatureAlgorithm},
	{"GOST-2004 where it is not allowed", algorithm(xmlsig.GOST2004), gateway.SignatureAlgorithm},
	{"GOST-2015 over SHA-256", algorithm(xmlsig.GOST2015), gateway.SignatureAlgorithm},
	{"an algorithm name with a space", algorithm(xmlsig.RSASHA256 + " "), gateway.SignatureAlgorithm},
	{"an empty algorithm", algorithm(""), gateway.SignatureAlgorithm},
	{"SHA-1 digest", digest(dsig + "sha1"), gateway.SignatureAlgorithm},
	{"MD5 digest", digest("http://www.w3.org/2001/04/xmldsig-more#md5"), gateway.SignatureAlgorithm},
	{"GOST digest under RSA", digest(xmlsig.DigestGOST2015), gateway.SignatureAlgorithm},
	{"an unknown canonicalisation of SignedInfo", resigned(xmlsig.C14N10+`"/><ds:SignatureMethod`, `urn:c14n"/><ds:SignatureMethod`), gateway.SignatureAlgorithm},
}

func keyInfo(xml string) func(*testing.T, seed) string {
	return func(_ *testing.T, s seed) string {
		xml := strings.ReplaceAll(xml, "CERT", `<ds:X509Certificate>`+s.by.certBase64()+`</ds:X509Certificate>`)
		s.keyInfo = `<ds:KeyInfo>` + xml + `</ds:KeyInfo>`
		return s.String()
	}
}

const keyValue = `<ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue>`

var keyInfos = []attack{
	{"no KeyInfo", func(_ *testing.T, s seed) string { s.keyInfo = ""; return s.String() }, gateway.SignatureKeyInfo},
	{"an empty KeyInfo", keyInfo(``), gateway.SignatureKeyInfo},
	{"an empty X509Data", keyInfo(`<ds:X509Data/>`), gateway.SignatureKeyInfo},
	{"two certificates", keyInfo(`<ds:X509Data>CERTCERT</ds:X509Data>`), gateway.SignatureKeyInfo},
	{"two X509Data", keyInfo(`<ds:X509Data>CERT</ds:X509Data><ds:X509Data>CERT</ds:X509Data>`), gateway.SignatureKeyInfo},
	{"KeyValue and certificate", keyInfo(keyValue + `<ds:X509Data>CERT</ds:X509Data>`), gateway.SignatureKeyInfo},
	{"certificate and KeyValue", keyInfo(`<ds:X509Data>CERT</ds:X509Data>` + keyValue), gateway.SignatureKeyInfo},
	{"KeyValue", keyInfo(keyValue), gateway.SignatureKeyInfo},
	{"KeyName", keyInfo(`<ds:KeyName>x</ds:KeyName>`), gateway.SignatureKeyInfo},
	{"RetrievalMethod", keyInfo(`<ds:RetrievalMethod URI="http://127.0.0.1/"/>`), gateway.SignatureKeyInfo},
	{"a subject name beside the certificate", keyInfo(`<ds:X509Data><ds:X509SubjectName>CN=x</ds:X509SubjectName>CERT</ds:X509Data>`), gateway.SignatureKeyInfo},
	{"a token reference in a document", keyInfo(`<w:SecurityTokenReference xmlns:w="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"/>`), gateway.SignatureKeyInfo},
	{"a certificate that is none", keyInfo(`<ds:X509Data><ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data>`), gateway.CertificateMalformed},
	{"a certificate in bad base64", keyInfo(`<ds:X509Data><ds:X509Certificate>AAA</ds:X509Certificate></ds:X509Data>`), gateway.SignatureEncoding},
}

// confusions are documents of signer n that name the algorithms of the others, signed so and
// with the digest right, and documents of n that carry the certificates of the others.
func confusions(all []*signer, n int) []attack {
	own := all[n]
	var out []attack
	for _, other := range all {
		if other == own {
			continue
		}
		out = append(out, attack{"the method of " + other.kind(), func(t *testing.T, s seed) string {
			sum := other.sum(canonicalize(t, s.method, s.start+s.content+s.end))
			stated := regexp.MustCompile(`<ds:DigestValue>[^<]*`)
			s.signedInfo = strings.NewReplacer(own.method(), other.method(), own.digest(), other.digest()).Replace(s.signedInfo)
			s.signedInfo = stated.ReplaceAllString(s.signedInfo, `<ds:DigestValue>`+base64.StdEncoding.EncodeToString(sum))
			return s.resign(t).String()
		}, gateway.SignatureKeyMismatch})
		out = append(out, attack{"the certificate of " + other.kind(), func(t *testing.T, s seed) string {
			return replace(t, s.String(), own.certBase64(), other.certBase64())
		}, gateway.SignatureKeyMismatch})
		out = append(out, attack{"the method of " + other.kind() + " over its own digest", func(t *testing.T, s seed) string {
			s.signedInfo = replace(t, s.signedInfo, own.method(), other.method())
			return s.resign(t).String()
		}, gateway.SignatureAlgorithm})
		out = append(out, attack{"its own method over the digest of " + other.kind(), func(t *testing.T, s seed) string {
			s.signedInfo = replace(t, s.signedInfo, own.digest(), other.digest())
			return s.resign(t).String()
		}, gateway.SignatureAlgorithm})
	}
	return out
}

func TestEveryAttackHasItsReason(t *testing.T) {
	seen := map[gateway.Reason]bool{}
	cache := xmlsig.NewCertificateCache(0)
	everybody := []*signer{alice(), gulnar(), oral()}
	for _, group := range []struct {
		name    string
		attacks []attack
		by      []*signer
	}{
		{"octets", octets, everybody[:1]}, {"wrapping", wrapping, everybody}, {"structure", structure, everybody}, {"values", values, everybody}, {"key info", keyInfos, everybody},
		{"RSA values", rsaValues, everybody[:1]}, {"RSA algorithms", algorithms, everybody[:1]},
		{"GOST-2015 confused", confusions(everybody, 1), everybody[1:2]}, {"GOST-2004 confused", confusions(everybody, 2), everybody[2:]},
		{"RSA confused", confusions(everybody, 0), everybody[:1]},
	} {
		for place := range 2 * len(group.by) {
			by, first := group.by[place/2], place%2 == 1
			where := ", " + by.kind() + ", signature last"
			if first {
				where = ", " + by.kind() + ", signature first"
			}
			for _, a := range group.attacks {
				t.Run(group.name+"/"+a.name+where, func(t *testing.T) {
					doc := a.make(t, seed{first: first, by: by}.sign(t))
					for _, o := range []xmlsig.Options{{}, {Certificates: cache}, {Profile: xmlsig.ProfileCoSigned, Certificates: cache}} {
						o.AllowGOST2004 = by == oral() || strings.HasSuffix(group.name, "confused")
						s, err := xmlsig.Verify([]byte(doc), o)
						got := gateway.ReasonOf(err)
						if o.Profile == xmlsig.ProfileCoSigned {
							if (got == "") != (a.want == "") {
								t.Errorf("profile co-signed: got %q (%v)", got, err)
							}
							continue
						}
						if got != a.want {
							t.Fatalf("got %q (%v), want %q\n%s", got, err, a.want, doc[:min(len(doc), 3000)])
						}
						seen[got] = true
						if err == nil && strings.TrimSpace(firstText(s.Root())) != "000000000000" && !strings.Contains(a.name, "zero") {
							t.Errorf("the view shows %q", firstText(s.Root()))
						}
					}
				})
			}
		}
	}
	for _, r := range gateway.Reasons() {
		if (strings.HasPrefix(string(r), "signature.") || strings.HasPrefix(string(r), "document.")) && !seen[r] {
			t.Errorf("no attack is refused with %s", r)
		}
	}
}

func firstText(e xmlsig.Element) string {
	c, _ := e.Child("", "iin")
	return c.Text()
}

// A certificate with a key that signs no documents is refused, by its reader or by its kind.
func TestKeyOfAnotherKind(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "TEST ONLY"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := seed{}.sign(t)
	_, err = xmlsig.Verify([]byte(replace(t, s.String(), s.by.certBase64(), base64.StdEncoding.EncodeToString(der))), xmlsig.Options{})
	if got := gateway.ReasonOf(err); got != gateway.SignatureKeyMismatch && got != gateway.AlgorithmForbidden {
		t.Fatalf("got %q (%v)", got, err)
	}
	if _, err := xmlsig.NewKey(der, key); err == nil {
		t.Error("documents can be signed with an ECDSA key")
	}
}

// An RSA certificate under a GOST method, with the digest right: algorithm confusion.
func TestGOSTMethodWithAnRSAKey(t *testing.T) {
	for _, tt := range []struct {
		method, digest string
	}{{xmlsig.GOST2015, xmlsig.DigestGOST2015}, {xmlsig.GOST2004, xmlsig.DigestGOST2004}} {
		s := seed{}.sign(t)
		s.signedInfo = replace(t, replace(t, s.signedInfo, xmlsig.RSASHA256, tt.method), xmlsig.DigestSHA256, tt.digest)
		_, err := xmlsig.Verify([]byte(s.resign(t).String()), xmlsig.Options{AllowGOST2004: true})
		if got := gateway.ReasonOf(err); got != gateway.SignatureKeyMismatch {
			t.Errorf("%s: got %q (%v), want %q", tt.method, got, err, gateway.SignatureKeyMismatch)
		}
	}
}

// The text that was signed is the text that is read, whatever comments were put into it.
func TestCommentsDoNotCutText(t *testing.T) {
	s := seed{content: `<email>admin@example.kz</email>`}.sign(t)
	doc := replace(t, s.String(), `admin@`, `admin<!-- ><x/> -->@`)
	v, err := xmlsig.Verify([]byte(doc), xmlsig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := v.Root().Child("", "email")
	if e.Text() != "admin@example.kz" {
		t.Errorf("text %q", e.Text())
	}
	if got := string(v.Root().Source()); got != s.start+s.content+s.end {
		t.Errorf("source %q", got)
	}
}
