package gost_test

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"egov-gateway/gateway/xmlsig/gost"
)

// ncaCertificate reads real material of the National Certification Authority, which is never
// part of this repository: NCA names its folder, or it lies beside the repository.
func ncaCertificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	dir := os.Getenv("NCA")
	if dir == "" {
		dir = "../../../../shared/nca"
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		if os.Getenv("NCA") != "" {
			t.Fatal(err)
		}
		t.Skip("no real material; set NCA to its folder")
	}
	if b, _ := pem.Decode(data); b != nil {
		data = b.Bytes
	}
	c, err := x509.ParseCertificate(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ncaKey(t *testing.T, c *x509.Certificate) *gost.PublicKey {
	t.Helper()
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	var raw []byte
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(spki.Key.Bytes, &raw); err != nil {
		t.Fatal(err)
	}
	curve := gost.Curve512A()
	if len(raw) == 64 {
		curve = gost.Curve256A()
	}
	k, err := gost.ParsePublicKey(curve, raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// R3: the signatures of real CAs, and no neighbour of them.
func TestRealCertificates(t *testing.T) {
	const production, test = "ca-production/", "ca-test/"
	tests := []struct{ name, cert, issuer string }{
		{"production root of 2022, 512 bits", production + "root_gost_2022.pem", production + "root_gost_2022.pem"},
		{"production issuing CA of 2022", production + "nca_gost_2022.pem", production + "root_gost_2022.pem"},
		{"test root of 2022", test + "root_test_gost_2022.cer", test + "root_test_gost_2022.cer"},
		{"test issuing CA of 2022", test + "nca_gost2022_test.cer", test + "root_test_gost_2022.cer"},
		{"legal entity under the test CA", test + "mitwork_legal_test.cer", test + "nca_gost2022_test.cer"},
		{"production root of 2020, 256 bits", production + "root_gost_2020.cer", production + "root_gost_2020.cer"},
		{"CA of the state bodies, 256 bits", production + "ucgo_gost.cer", production + "root_gost_2020.cer"},
		{"CA of the treasury, 256 bits", production + "btsd_gost.cer", production + "root_gost_2020.cer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, k := ncaCertificate(t, tt.cert), ncaKey(t, ncaCertificate(t, tt.issuer))
			h := gost.NewStreebog512()
			if k.Curve() == gost.Curve256A() {
				h = gost.NewGOST94()
			}
			h.Write(c.RawTBSCertificate)
			digest := h.Sum(nil)
			for range 2 {
				if !k.Verify(digest, c.Signature) {
					t.Fatal("does not verify")
				}
				for i := 0; i < len(c.Signature); i += 7 {
					c.Signature[i] ^= 0x10
					if k.Verify(digest, c.Signature) {
						t.Errorf("verifies with byte %d of the signature changed", i)
					}
					c.Signature[i] ^= 0x10
				}
				k.Precompute()
			}
			digest[0] ^= 1
			if k.Verify(digest, c.Signature) {
				t.Error("verifies with another digest")
			}
		})
	}
}
