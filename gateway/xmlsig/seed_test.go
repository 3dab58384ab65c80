package xmlsig_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"egov-gateway/gateway/xmlsig"
)

const dsig = "http://www.w3.org/2000/09/xmldsig#"

// A seed is a document signed by the test itself, independently of xmlsig.Sign, and kept in
// pieces, so that an attack can rearrange them. Empty fields mean the usual.
type seed struct {
	start, content, end string // the document around and inside the root element
	scope               string // declarations and xml:* attributes of the root that SignedInfo inherits
	info                string // canonicalisation of SignedInfo
	method              string // canonicalisation of the content
	transforms          string // the Transform elements
	uri                 string
	first               bool // Signature is the first child, else the last
	by                  *signer

	// Made by sign; attacks change them.
	prefix                      string // Signature start tag
	signedInfo, value, keyInfo  string
	afterKeyInfo, beforeKeyInfo string
}

func transform(uri string) string { return `<ds:Transform Algorithm="` + uri + `"/>` }

func (s seed) sign(t testing.TB) seed {
	t.Helper()
	def := func(f *string, v string) {
		if *f == "" {
			*f = v
		}
	}
	def(&s.start, `<r`+s.scope+`>`)
	def(&s.content, `<iin>000000000000</iin><note a="1">жер</note>`)
	def(&s.end, `</r>`)
	def(&s.info, xmlsig.C14N10)
	def(&s.method, xmlsig.C14N10)
	def(&s.transforms, transform(xmlsig.Enveloped)+transform(s.method))
	if s.by == nil {
		s.by = alice()
	}
	sum := s.by.sum(canonicalize(t, s.method, s.start+s.content+s.end))
	s.signedInfo = `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + s.info + `"/><ds:SignatureMethod Algorithm="` + s.by.method() + `"/>` +
		`<ds:Reference URI="` + s.uri + `"><ds:Transforms>` + s.transforms + `</ds:Transforms><ds:DigestMethod Algorithm="` + s.by.digest() + `"/>` +
		`<ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	s.prefix = `<ds:Signature xmlns:ds="` + dsig + `">`
	s.keyInfo = `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + s.by.certBase64() + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
	return s.resign(t)
}

// resign makes the signature value anew, for SignedInfo as it is now.
func (s seed) resign(t testing.TB) seed {
	t.Helper()
	s.value = `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(s.by.value(t, s.canonicalInfo(t))) + `</ds:SignatureValue>`
	return s
}

// canonicalInfo is SignedInfo as a document of its own that declares what it would inherit.
func (s seed) canonicalInfo(t testing.TB) []byte {
	t.Helper()
	return canonicalize(t, s.info, strings.Replace(s.signedInfo, `<ds:SignedInfo`, `<ds:SignedInfo xmlns:ds="`+dsig+`"`+s.scope, 1))
}

func canonicalize(t testing.TB, method, doc string) []byte {
	t.Helper()
	b, err := xmlsig.Canonicalize(method, []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s seed) signature() string {
	return s.prefix + s.signedInfo + s.value + s.beforeKeyInfo + s.keyInfo + s.afterKeyInfo + `</ds:Signature>`
}

// around puts the signature into the root beside the given content.
func (s seed) around(start, content, signature, end string) string {
	if s.first {
		return start + signature + content + end
	}
	return start + content + signature + end
}

func (s seed) String() string { return s.around(s.start, s.content, s.signature(), s.end) }

// replace changes one place and insists that it was there.
func replace(t testing.TB, s, old, new string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("%q is not in %s", old, s)
	}
	return strings.Replace(s, old, new, 1)
}
