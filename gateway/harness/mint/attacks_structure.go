package mint

import (
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

func structure() []attack {
	return []attack{
		{"no reference", func(s seed) string {
			i, j := strings.Index(s.signedInfo, `<ds:Reference`), strings.Index(s.signedInfo, `</ds:SignedInfo`)
			s.signedInfo = s.signedInfo[:i] + s.signedInfo[j:]
			return s.resign().String()
		}, gateway.SignatureStructure},
		{"two references", func(s seed) string {
			i, j := strings.Index(s.signedInfo, `<ds:Reference`), strings.Index(s.signedInfo, `</ds:SignedInfo`)
			s.signedInfo = s.signedInfo[:j] + s.signedInfo[i:j] + s.signedInfo[j:]
			return s.resign().String()
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
		{"1,000 transforms", resigned(transform(xmlsig.C14N10), strings.Repeat(transform(xmlsig.Enveloped), 1000)), gateway.SignatureTransform},
		{"enveloped alone means c14n 1.0", resigned(transform(xmlsig.C14N10), ``), ""},
		{"a parameter of enveloped", resigned(transform(xmlsig.Enveloped), `<ds:Transform Algorithm="`+xmlsig.Enveloped+`"><x/></ds:Transform>`), gateway.SignatureTransform},
		{"a prefix list for inclusive canonicalisation", resigned(transform(xmlsig.C14N10), `<ds:Transform Algorithm="`+xmlsig.C14N10+`">`+prefixList("a")+`</ds:Transform>`), gateway.SignatureTransform},
		{"1,000 prefixes", resigned(transform(xmlsig.C14N10), `<ds:Transform Algorithm="`+xmlsig.ExcC14N+`">`+prefixList(strings.Repeat("a ", 1000))+`</ds:Transform>`), gateway.SignatureTransform},
		{"a prefix that is none", resigned(transform(xmlsig.C14N10), `<ds:Transform Algorithm="`+xmlsig.ExcC14N+`">`+prefixList("a:b")+`</ds:Transform>`), gateway.SignatureTransform},
		{"1,000 prefixes for SignedInfo", resigned(`<ds:CanonicalizationMethod Algorithm="`+xmlsig.C14N10+`"/>`, `<ds:CanonicalizationMethod Algorithm="`+xmlsig.ExcC14N+`">`+prefixList(strings.Repeat("a ", 1000))+`</ds:CanonicalizationMethod>`), gateway.SignatureStructure},
		{"something other than a Transform", resigned(`</ds:Transforms>`, `<ds:Object/></ds:Transforms>`), gateway.SignatureTransform},

		{"a second SignedInfo", func(s seed) string { // CVE-2025-29774
			s.value += strings.Replace(s.signedInfo, `URI=""`, `URI="#y"`, 1)
			return s.String()
		}, gateway.SignatureStructure},
		{"a second SignedInfo before the first", func(s seed) string {
			s.signedInfo += s.signedInfo
			return s.String()
		}, gateway.SignatureStructure},
		{"a SignedInfo inside SignedInfo", func(s seed) string {
			s.signedInfo = replace(s.signedInfo, `<ds:SignedInfo>`, `<ds:SignedInfo>`+s.signedInfo)
			return s.resign().String()
		}, gateway.SignatureStructure},
		{"KeyInfo before SignatureValue", func(s seed) string {
			s.value, s.keyInfo = s.keyInfo, s.value
			return s.String()
		}, gateway.SignatureStructure},
		{"no SignatureValue", func(s seed) string { s.value = ""; return s.String() }, gateway.SignatureStructure},
		{"an empty signature", func(s seed) string {
			s.signedInfo, s.value, s.keyInfo = "", "", ""
			return s.String()
		}, gateway.SignatureStructure},
		{"ds:Object", func(s seed) string { s.afterKeyInfo = `<ds:Object/>`; return s.String() }, gateway.SignatureStructure},
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
		{"a comment inside the digest", func(s seed) string {
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
}

func prefixList(prefixes string) string {
	return `<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="` + prefixes + `"/>`
}
