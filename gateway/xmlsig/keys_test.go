package xmlsig_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway/xmlsig"
	"egov-gateway/gateway/xmlsig/gost"
)

// A signer is a test identity: an RSA or GOST key and its self-made certificate.
type signer struct {
	rsa  *rsa.PrivateKey
	gost *gost.PrivateKey
	gen  gostGeneration // of the GOST key
	cert []byte         // DER
}

func newGOSTSigner(g gostGeneration) *signer {
	k, err := gost.GenerateKey(g.curve, nil)
	if err != nil {
		panic(err)
	}
	cert, err := g.certificateOf(k)
	if err != nil {
		panic(err)
	}
	return &signer{gost: k, gen: g, cert: cert}
}

func (s *signer) kind() string {
	if s.gost != nil {
		return string(s.gen.kind)
	}
	return "RSA"
}

// method and digest are the names that go with the key.
func (s *signer) method() string {
	if s.gost != nil {
		return s.gen.method
	}
	return xmlsig.RSASHA256
}

func (s *signer) digest() string {
	if s.gost != nil {
		return s.gen.digestMethod
	}
	return xmlsig.DigestSHA256
}

func (s *signer) sum(b []byte) []byte {
	h := sha256.New()
	if s.gost != nil {
		h = s.gen.hash.New()
	}
	h.Write(b)
	return h.Sum(nil)
}

// value is a signature value over msg.
func (s *signer) value(t testing.TB, msg []byte) []byte {
	t.Helper()
	if s.gost == nil {
		return s.sign(t, crypto.SHA256, msg)
	}
	v, err := s.gost.Sign(nil, s.sum(msg), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// stranger is somebody else with a key of the same kind.
func (s *signer) stranger() *signer {
	if s.gost == nil {
		return mallory()
	}
	return newGOSTSigner(s.gen)
}

func newSigner(serial int64, bits int) *signer {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "TEST ONLY"},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &signer{rsa: key, cert: der}
}

// The identities that most tests use; keys are made once, on first use.
var (
	alice   = sync.OnceValue(func() *signer { return newSigner(1001, 2048) })
	bob     = sync.OnceValue(func() *signer { return newSigner(1002, 2048) })
	mallory = sync.OnceValue(func() *signer { return newSigner(1003, 2048) })
	gulnar  = sync.OnceValue(func() *signer { return newGOSTSigner(generations[0]) }) // GOST-2015
	oral    = sync.OnceValue(func() *signer { return newGOSTSigner(generations[1]) }) // GOST-2004
)

func (s *signer) certBase64() string { return base64.StdEncoding.EncodeToString(s.cert) }

func (s *signer) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert})
}

func (s *signer) keyPEM(t testing.TB) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(s.rsa)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (s *signer) key(t testing.TB) *xmlsig.Key {
	t.Helper()
	var private crypto.Signer = s.rsa
	if s.gost != nil {
		private = s.gost
	}
	k, err := xmlsig.NewKey(s.cert, private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *signer) sign(t testing.TB, hash crypto.Hash, msg []byte) []byte {
	t.Helper()
	h := hash.New()
	h.Write(msg)
	sig, err := rsa.SignPKCS1v15(nil, s.rsa, hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return sig
}
