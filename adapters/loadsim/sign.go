package loadsim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"errors"

	"egov-gateway/adapters/statesim"
)

// A provider writes its documents in canonical form, so that they need not be parsed to be signed.
type provider struct {
	Provider
	name           string // escaped
	head, executor signer
}

func newProvider(p Provider) (*provider, error) {
	if p.Token == "" || p.BIN == "" {
		return nil, errors.New("a token and a BIN are required")
	}
	var name bytes.Buffer
	if err := xml.EscapeText(&name, []byte(p.Name)); err != nil {
		return nil, err
	}
	out := &provider{Provider: p, name: string(bytes.ReplaceAll(name.Bytes(), []byte("&#34;"), []byte(`"`)))}
	for _, s := range []struct {
		to   *signer
		from statesim.Identity
	}{{&out.head, p.Head}, {&out.executor, p.Executor}} {
		if s.from.Digest == nil || s.from.Signer == nil {
			return nil, errors.New("head and executor need GOST keys")
		}
		*s.to = signer{s.from, base64.StdEncoding.EncodeToString(s.from.Certificate)}
	}
	return out, nil
}

func (p *provider) step(id, code, at string) []byte {
	return p.executor.sign(`<step xmlns="urn:egov-gateway:step:1"><requestId>`+id+`</requestId><code>`+code+`</code><completedAt>`+at+`</completedAt>`, "</step>")
}

func (p *provider) result(id, at string) []byte {
	return p.head.sign(`<result xmlns="urn:egov-gateway:result:1"><requestId>`+id+`</requestId><number>TEST-`+id[:8]+`</number><decidedAt>`+at+`</decidedAt><providerBin>`+p.BIN+
		`</providerBin><providerName><kk>`+p.name+`</kk><ru>`+p.name+`</ru></providerName><assignment><monthlyAmount>12500.00</monthlyAmount><periodFrom>`+at[:10]+`</periodFrom><periodTo>`+
		at[:10]+`</periodTo></assignment>`, "</result>")
}

// A signer has a GOST key of 512 bits.
type signer struct {
	statesim.Identity
	cert string // base64
}

// Names of algorithms in signatures with the NCA's GOST keys.
const (
	dsNamespace = `http://www.w3.org/2000/09/xmldsig#`
	inclusive   = `http://www.w3.org/TR/2001/REC-xml-c14n-20010315`
	gostSign    = `urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:gostr34102015-gostr34112015-512`
	gostDigest  = `urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:gostr34112015-512`
)

// sign puts an enveloped signature between a document's start and its end, both canonical.
func (s *signer) sign(start, end string) []byte {
	h := s.Digest()
	h.Write([]byte(start + end))
	inside := `<ds:CanonicalizationMethod Algorithm="` + inclusive + `"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="` + gostSign + `"></ds:SignatureMethod><ds:Reference URI=""><ds:Transforms>` +
		`<ds:Transform Algorithm="` + dsNamespace + `enveloped-signature"></ds:Transform><ds:Transform Algorithm="` + inclusive + `"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="` + gostDigest +
		`"></ds:DigestMethod><ds:DigestValue>` + base64.StdEncoding.EncodeToString(h.Sum(nil)) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	// Canonical, SignedInfo carries the namespaces of what it lies in; the default one comes first.
	namespace := start[bytes.IndexByte([]byte(start), ' ')+1 : bytes.IndexByte([]byte(start), '>')]
	h = s.Digest()
	h.Write([]byte(`<ds:SignedInfo ` + namespace + ` xmlns:ds="` + dsNamespace + `">` + inside))
	value, err := s.Signer.Sign(rand.Reader, h.Sum(nil), crypto.Hash(0))
	if err != nil {
		panic("loadsim: a key of the test PKI does not sign: " + err.Error())
	}
	return []byte(start + `<ds:Signature xmlns:ds="` + dsNamespace + `"><ds:SignedInfo>` + inside + `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(value) +
		`</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + s.cert + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>` + end)
}
