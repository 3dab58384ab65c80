package revocation_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	testpki "egov-gateway/certs-testdata"
)

// A responder is a certificate for signing OCSP answers, to be issued for one test.
type responder struct {
	from, to                          time.Time
	eku, usage, noCheck, ca, critical bool
}

func (r responder) make(t testing.TB, p *testpki.PKI) *testpki.Entry {
	t.Helper()
	key := p.Must("citizen-08").Signer
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "TEST ONLY responder"}, NotBefore: r.from, NotAfter: r.to,
		KeyUsage: x509.KeyUsageKeyEncipherment, BasicConstraintsValid: r.ca, IsCA: r.ca,
	}
	if r.usage {
		tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if r.eku {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	}
	if r.noCheck {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: null})
	}
	if r.critical {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: null})
	}
	ca := p.Must("issuing")
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.X509(), key.Public(), ca.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return &testpki.Entry{ID: "responder", DER: der, Signer: key}
}
