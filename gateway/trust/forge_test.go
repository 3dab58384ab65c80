package trust_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/trust"
)

var now = testpki.At

// load reads the test PKI once; checking forty private keys takes milliseconds.
var load = sync.OnceValues(testpki.Load)

func pki(t testing.TB) *testpki.PKI {
	t.Helper()
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func entry(t testing.TB, id string) *trust.Certificate {
	t.Helper()
	return parse(t, pki(t).Must(id).DER)
}

func parse(t testing.TB, der []byte) *trust.Certificate {
	t.Helper()
	c, err := trust.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A node is a certificate made for one test, with the key of some entry of the test PKI.
type node struct {
	x   *x509.Certificate
	c   *trust.Certificate
	key crypto.Signer
}

// A forge issues certificates with keys of the test PKI; generating keys would take minutes.
type forge struct {
	t    testing.TB
	keys []crypto.Signer
	n    int64
}

func newForge(t testing.TB) *forge {
	f := &forge{t: t}
	for _, e := range pki(t).OfKind(testpki.RSA) {
		f.keys = append(f.keys, e.Signer)
	}
	return f
}

func (f *forge) issue(cn string, issuer *node, edit func(*x509.Certificate)) *node {
	f.t.Helper()
	f.n++
	key := f.keys[int(f.n)%len(f.keys)]
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + f.n), Subject: pkix.Name{CommonName: cn, Country: []string{"KZ"}},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), SubjectKeyId: []byte{byte(f.n >> 8), byte(f.n), 1},
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	if edit != nil {
		edit(t)
	}
	parent, signer := t, key
	if issuer != nil {
		parent, signer = issuer.x, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		f.t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := trust.ParseCertificate(der)
	if err != nil {
		f.t.Fatalf("%s: %v", cn, err)
	}
	return &node{x, c, key}
}

func (f *forge) ca(cn string, issuer *node, edits ...func(*x509.Certificate)) *node {
	f.t.Helper()
	return f.issue(cn, issuer, func(t *x509.Certificate) {
		t.BasicConstraintsValid, t.IsCA, t.KeyUsage, t.MaxPathLen = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, -1
		for _, e := range edits {
			e(t)
		}
	})
}

var (
	ekuPerson = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 1}
	ekuLegal  = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2}
)

func (f *forge) person(issuer *node, edits ...func(*x509.Certificate)) *node {
	f.t.Helper()
	return f.issue("TEST ONLY person", issuer, func(t *x509.Certificate) {
		t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
		t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekuPerson}
		t.ExtraExtensions = []pkix.Extension{policy(1, 2, 398, 3, 3, 2, 3)}
		for _, e := range edits {
			e(t)
		}
	})
}

func policy(arcs ...int) pkix.Extension {
	v, _ := asn1.Marshal([]struct{ ID asn1.ObjectIdentifier }{{arcs}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: v}
}

func extension(critical bool, value []byte, arcs ...int) func(*x509.Certificate) {
	return func(t *x509.Certificate) {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: arcs, Critical: critical, Value: value})
	}
}

func validity(from, to time.Time) func(*x509.Certificate) {
	return func(t *x509.Certificate) { t.NotBefore, t.NotAfter = from, to }
}

// parts takes a certificate apart; the elements of the TBS keep their headers.
type parts struct {
	tbs            [][]byte
	alg, signature []byte
}

func split(t testing.TB, der []byte) parts {
	t.Helper()
	in := cryptobyte.String(der)
	var outer, tbs, alg, sig cryptobyte.String
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!outer.ReadASN1Element(&alg, cbasn1.SEQUENCE) || !outer.ReadASN1Element(&sig, cbasn1.BIT_STRING) {
		t.Fatal("not a certificate")
	}
	p := parts{alg: alg, signature: sig}
	for !tbs.Empty() {
		var e cryptobyte.String
		var tag cbasn1.Tag
		if !tbs.ReadAnyASN1Element(&e, &tag) {
			t.Fatal("not a certificate")
		}
		p.tbs = append(p.tbs, e)
	}
	return p
}

func der(tag byte, elements ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
	return b.BytesOrPanic()
}

// sealed puts the parts together with a fresh, valid signature of key.
func (p parts) sealed(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	tbs := der(0x30, p.tbs...)
	sum := sha256.Sum256(tbs)
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return der(0x30, tbs, p.alg, der(0x03, []byte{0}, sig))
}

// Positions in a v3 TBS.
const (
	atVersion = iota
	atSerial
	atAlgorithm
	atIssuer
	atValidity
	atSubject
	atKey
	atExtensions
)
