package xmlsig_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/growth"
	"egov-gateway/gateway/xmlsig"
)

// parses tells whether the cache knew the certificate of doc: parsing it makes allocations.
func parses(t *testing.T, doc string, cache *xmlsig.CertificateCache) bool {
	t.Helper()
	n := testing.AllocsPerRun(1, func() {
		if s, err := xmlsig.Verify([]byte(doc), xmlsig.Options{Certificates: cache}); err == nil {
			s.Release()
		}
	})
	return n > 20
}

// A certificate is remembered once a signature of its key was right, not before: strangers fill no
// cache with what they make up.
func TestOnlyCertificatesOfSignersAreRemembered(t *testing.T) {
	if growth.RaceDetector {
		t.Skip("pools are emptied at random under the race detector")
	}
	good := seed{}.sign(t).String()
	tests := []struct {
		name, doc string
		want      gateway.Reason
	}{
		{"a wrong digest", replace(t, good, "000000000000", "1"), gateway.DigestMismatch},
		{"a wrong signature", func() string {
			s := seed{}.sign(t)
			s.value = strings.Replace(s.value, `<ds:SignatureValue>`, `<ds:SignatureValue>AAAA`, 1)
			s.value = s.value[:len(s.value)-len(`</ds:SignatureValue>`)-8] + `AA==</ds:SignatureValue>`
			return s.String()
		}(), gateway.SignatureInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cache := xmlsig.NewCertificateCache(0)
			if _, err := xmlsig.Verify([]byte(tt.doc), xmlsig.Options{Certificates: cache}); gateway.ReasonOf(err) != tt.want {
				t.Fatalf("%v, want %s", err, tt.want)
			}
			if !parses(t, tt.doc, cache) {
				t.Error("the certificate was remembered")
			}
		})
	}
	cache := xmlsig.NewCertificateCache(0)
	if s, err := xmlsig.Verify([]byte(good), xmlsig.Options{Certificates: cache}); err != nil {
		t.Fatal(err)
	} else {
		s.Release()
	}
	if parses(t, good, cache) {
		t.Error("the certificate of a right signature was not remembered")
	}
	if parses(t, tests[0].doc, cache) {
		t.Error("what is remembered is not used for another document")
	}
}

// However many signers come and however long their certificates are, the cache keeps some
// megabytes.
func TestTheCertificateCacheIsBoundedInOctets(t *testing.T) {
	cache := xmlsig.NewCertificateCache(0)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 450 {
		by := alice().certified(t, int64(i), 20<<10)
		s, err := xmlsig.Verify([]byte(seed{by: by}.sign(t).String()), xmlsig.Options{Certificates: cache})
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int(after.HeapAlloc) - int(before.HeapAlloc); kept > 6<<20 {
		t.Errorf("%d octets are kept", kept)
	}
	runtime.KeepAlive(cache)
}

// certified has the same key and another certificate, which is longer by so many octets.
func (s *signer) certified(t testing.TB, serial int64, octets int) *signer {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial + 1), Subject: pkix.Name{CommonName: "TEST ONLY"},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, octets)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, s.rsa.Public(), s.rsa)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{rsa: s.rsa, cert: der}
}
