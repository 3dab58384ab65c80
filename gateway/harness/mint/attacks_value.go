package mint

import (
	"encoding/base64"
	"math/big"
	"regexp"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

func values() []attack {
	return []attack{
		{"wrapped base64", in(`<ds:SignatureValue>`, "<ds:SignatureValue>\r\n\t &#13;\n&#9;&#32;"), ""},
		{"no base64", func(s seed) string { s.value = `<ds:SignatureValue/>`; return s.String() }, gateway.SignatureEncoding},
		{"only white space", func(s seed) string {
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
		{"unused bits set", func(s seed) string {
			i := strings.Index(s.value, "=") - 1
			return replace(s.String(), s.value, s.value[:i]+string(s.value[i]+1)+s.value[i+1:])
		}, gateway.SignatureEncoding},
		{"a value of a megabyte", in(`<ds:SignatureValue>`, `<ds:SignatureValue>`+strings.Repeat("AAAA", 100_000)), gateway.SignatureEncoding},
		{"a truncated digest", func(s seed) string {
			i := strings.Index(s.signedInfo, `<ds:DigestValue>`) + len(`<ds:DigestValue>`)
			s.signedInfo = s.signedInfo[:i+4] + s.signedInfo[strings.Index(s.signedInfo, `</ds:DigestValue>`):]
			return s.resign().String()
		}, gateway.DigestMismatch},
		{"another digest, not signed", func(s seed) string {
			sum := s.by.sum(canonicalize(s.method, s.start+evil+s.end))
			i := strings.Index(s.signedInfo, `<ds:DigestValue>`) + len(`<ds:DigestValue>`)
			s.signedInfo = s.signedInfo[:i] + base64.StdEncoding.EncodeToString(sum) + s.signedInfo[strings.Index(s.signedInfo, `</ds:DigestValue>`):]
			return s.around(s.start, evil, s.signature(), s.end)
		}, gateway.SignatureInvalid},
		{"another certificate", func(s seed) string {
			return replace(s.String(), s.by.certBase64(), s.by.other.certBase64())
		}, gateway.SignatureInvalid},
		{"one bit of the signature", func(s seed) string {
			return s.withSignature(func(b []byte) []byte { b[17] ^= 4; return b })
		}, gateway.SignatureInvalid},
		{"a zero signature", func(s seed) string {
			return s.withSignature(func(b []byte) []byte { clear(b); return b })
		}, gateway.SignatureInvalid},
		{"a signature of one byte", func(s seed) string { return s.withSignature(func(b []byte) []byte { return b[:1] }) }, gateway.SignatureInvalid},
		{"a signature with a leading zero more", func(s seed) string {
			return s.withSignature(func(b []byte) []byte { return append([]byte{0}, b...) })
		}, gateway.SignatureInvalid},
		{"a signature with a trailing zero more", func(s seed) string {
			return s.withSignature(func(b []byte) []byte { return append(b, 0) })
		}, gateway.SignatureInvalid},
	}
}

func rsaValues() []attack {
	return []attack{
		{"s + N", func(s seed) string {
			return s.withSignature(func(b []byte) []byte {
				return new(big.Int).Add(new(big.Int).SetBytes(b), s.by.modulus()).Bytes()
			})
		}, gateway.SignatureInvalid},
		{"N itself", func(s seed) string {
			return s.withSignature(func([]byte) []byte { return s.by.modulus().Bytes() })
		}, gateway.SignatureInvalid},
		{"a signature without its leading zero", func(s seed) string {
			for i := range 20000 {
				s = seed{content: strings.Repeat("x", i), first: s.first, by: s.by}.sign()
				if raw := s.raw(); raw[0] == 0 {
					return s.withSignature(func(b []byte) []byte { return b[1:] })
				}
			}
			return ""
		}, gateway.SignatureInvalid},
	}
}

func (s seed) raw() []byte {
	b64 := strings.TrimSuffix(strings.TrimPrefix(s.value, `<ds:SignatureValue>`), `</ds:SignatureValue>`)
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		panic("mint: " + err.Error())
	}
	return raw
}

func (s seed) withSignature(f func([]byte) []byte) string {
	s.value = `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(f(s.raw())) + `</ds:SignatureValue>`
	return s.String()
}

func algorithm(uri string) func(seed) string { return resigned(xmlsig.RSASHA256, uri) }
func digest(uri string) func(seed) string    { return resigned(xmlsig.DigestSHA256, uri) }

func algorithms() []attack {
	return []attack{
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
}

func keyInfo(xml string) func(seed) string {
	return func(s seed) string {
		xml := strings.ReplaceAll(xml, "CERT", `<ds:X509Certificate>`+s.by.certBase64()+`</ds:X509Certificate>`)
		s.keyInfo = `<ds:KeyInfo>` + xml + `</ds:KeyInfo>`
		return s.String()
	}
}

const keyValue = `<ds:KeyValue><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue>`

func keyInfos() []attack {
	return []attack{
		{"no KeyInfo", func(s seed) string { s.keyInfo = ""; return s.String() }, gateway.SignatureKeyInfo},
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
		out = append(out, attack{"the method of " + other.kind, func(s seed) string {
			sum := other.sum(canonicalize(s.method, s.start+s.content+s.end))
			stated := regexp.MustCompile(`<ds:DigestValue>[^<]*`)
			s.signedInfo = strings.NewReplacer(own.method(), other.method(), own.digest(), other.digest()).Replace(s.signedInfo)
			s.signedInfo = stated.ReplaceAllString(s.signedInfo, `<ds:DigestValue>`+base64.StdEncoding.EncodeToString(sum))
			return s.resign().String()
		}, gateway.SignatureKeyMismatch})
		out = append(out, attack{"the certificate of " + other.kind, func(s seed) string {
			return replace(s.String(), own.certBase64(), other.certBase64())
		}, gateway.SignatureKeyMismatch})
		out = append(out, attack{"the method of " + other.kind + " over its own digest", func(s seed) string {
			s.signedInfo = replace(s.signedInfo, own.method(), other.method())
			return s.resign().String()
		}, gateway.SignatureAlgorithm})
		out = append(out, attack{"its own method over the digest of " + other.kind, func(s seed) string {
			s.signedInfo = replace(s.signedInfo, own.digest(), other.digest())
			return s.resign().String()
		}, gateway.SignatureAlgorithm})
	}
	return out
}
