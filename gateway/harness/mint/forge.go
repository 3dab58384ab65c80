package mint

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

const dsig = "http://www.w3.org/2000/09/xmldsig#"

// Algorithms of a manifest.
const (
	RSA  = "RSA"
	GOST = "GOST"
)

// A signer signs by itself, so that it can sign what no library would.
type signer struct {
	kind  string // RSA or GOST
	iin   string
	cert  []byte // DER
	key   crypto.Signer
	other *signer // somebody else with a key of the same kind
}

func signerOf(e *testpki.Entry) *signer {
	s := &signer{kind: RSA, cert: e.DER, key: e.Signer}
	if _, err := gateway.ParseIIN(e.IIN); err == nil { // one is wrong on purpose
		s.iin = e.IIN
	}
	if e.Algorithm == testpki.GOST2015 {
		s.kind = GOST
	}
	return s
}

// with is the same signer with another certificate.
func (s *signer) with(cert []byte) *signer {
	c := *s
	c.cert = cert
	return &c
}

func (s *signer) method() string {
	if s.kind == GOST {
		return xmlsig.GOST2015
	}
	return xmlsig.RSASHA256
}

func (s *signer) digest() string {
	if s.kind == GOST {
		return xmlsig.DigestGOST2015
	}
	return xmlsig.DigestSHA256
}

func (s *signer) sum(b []byte) []byte {
	if s.kind == GOST {
		h := testpki.NewGOSTDigest()
		h.Write(b)
		return h.Sum(nil)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// value is a signature value over msg.
func (s *signer) value(msg []byte) []byte {
	hash := crypto.SHA256
	if s.kind == GOST {
		hash = 0
	}
	v, err := s.key.Sign(rand.Reader, s.sum(msg), hash)
	if err != nil {
		panic("mint: a key of the test PKI does not sign: " + err.Error())
	}
	return v
}

func (s *signer) modulus() *big.Int {
	if k, ok := s.key.Public().(*rsa.PublicKey); ok {
		return k.N
	}
	panic("mint: not an RSA key")
}

func (s *signer) certBase64() string { return base64.StdEncoding.EncodeToString(s.cert) }

// A seed is a document signed here, independently of xmlsig.Sign, and kept in pieces, so that an
// attack can rearrange them. Empty fields mean the usual.
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

func (s seed) sign() seed {
	def := func(f *string, v string) {
		if *f == "" {
			*f = v
		}
	}
	def(&s.start, `<r`+s.scope+`>`)
	def(&s.content, plainContent)
	def(&s.end, `</r>`)
	def(&s.info, xmlsig.C14N10)
	def(&s.method, xmlsig.C14N10)
	def(&s.transforms, transform(xmlsig.Enveloped)+transform(s.method))
	// A reference to the document itself leaves comments out, whatever the method (XMLDSig §4.4.3.3).
	sum := s.by.sum(canonicalize(withoutComments(s.method), s.start+s.content+s.end))
	s.signedInfo = `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + s.info + `"/><ds:SignatureMethod Algorithm="` + s.by.method() + `"/>` +
		`<ds:Reference URI="` + s.uri + `"><ds:Transforms>` + s.transforms + `</ds:Transforms><ds:DigestMethod Algorithm="` + s.by.digest() + `"/>` +
		`<ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	s.prefix = `<ds:Signature xmlns:ds="` + dsig + `">`
	s.keyInfo = `<ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + s.by.certBase64() + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`
	return s.resign()
}

func withoutComments(method string) string {
	switch method {
	case xmlsig.C14N10Comments:
		return xmlsig.C14N10
	case xmlsig.C14N11Comments:
		return xmlsig.C14N11
	case xmlsig.ExcC14NComments:
		return xmlsig.ExcC14N
	}
	return method
}

// plainContent has the places that the attacks change.
const plainContent = `<iin>000000000000</iin><note a="1">жер</note>`

// resign makes the signature value anew, for SignedInfo as it is now.
func (s seed) resign() seed {
	s.value = `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(s.by.value(s.canonicalInfo())) + `</ds:SignatureValue>`
	return s
}

// canonicalInfo is SignedInfo as a document of its own that declares what it would inherit.
func (s seed) canonicalInfo() []byte {
	return canonicalize(s.info, strings.Replace(s.signedInfo, `<ds:SignedInfo`, `<ds:SignedInfo xmlns:ds="`+dsig+`"`+s.scope, 1))
}

func canonicalize(method, doc string) []byte {
	b, err := xmlsig.Canonicalize(method, []byte(doc))
	if err != nil {
		panic(fmt.Sprintf("mint: canonicalise: %v", err))
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
func replace(s, old, new string) string {
	if !strings.Contains(s, old) {
		panic(fmt.Sprintf("mint: %q is not in the document", old))
	}
	return strings.Replace(s, old, new, 1)
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
