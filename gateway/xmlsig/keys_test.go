package xmlsig_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway/xmlsig"
)

// A signer is a test identity: an RSA key and its self-made certificate.
type signer struct {
	rsa  *rsa.PrivateKey
	cert []byte // DER
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
	return &signer{key, der}
}

// The identities that most tests use; keys are made once, on first use.
var (
	alice   = sync.OnceValue(func() *signer { return newSigner(1001, 2048) })
	bob     = sync.OnceValue(func() *signer { return newSigner(1002, 2048) })
	mallory = sync.OnceValue(func() *signer { return newSigner(1003, 2048) })
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
	k, err := xmlsig.NewKey(s.cert, s.rsa)
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
