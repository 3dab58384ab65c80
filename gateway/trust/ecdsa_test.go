package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

var (
	ecKeyOID   = unhex("06072a8648ce3d0201")
	ecP256     = unhex("06082a8648ce3d030107")
	ecP384     = unhex("06052b81040022")
	ecP521     = unhex("06052b81040023")
	ecSecp256k = unhex("06052b8104000a")
)

func ecKey(t testing.TB, c elliptic.Curve) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return k, point
}

func TestECDSAKeysAreReadInOneForm(t *testing.T) {
	_, p256 := ecKey(t, elliptic.P256())
	_, p384 := ecKey(t, elliptic.P384())
	_, p521 := ecKey(t, elliptic.P521())
	spki := func(curve, point []byte) []byte {
		return der(0x30, der(0x30, ecKeyOID, curve), der(0x03, []byte{0}, point))
	}
	off := append([]byte(nil), p256...)
	off[40] ^= 1
	compressed := append([]byte{2 + p256[64]&1}, p256[1:33]...)
	tests := []struct {
		name string
		spki []byte
		want gateway.Reason
	}{
		{"P-256", spki(ecP256, p256), ""},
		{"P-384", spki(ecP384, p384), ""},
		{"P-521", spki(ecP521, p521), gateway.KeyWeak},
		{"secp256k1", spki(ecSecp256k, p256), gateway.KeyWeak},
		{"a P-256 point under the name of P-384", spki(ecP384, p256), gateway.KeyWeak},
		{"off the curve", spki(ecP256, off), gateway.KeyWeak},
		{"a compressed point", spki(ecP256, compressed), gateway.KeyWeak},
		{"the point at infinity", spki(ecP256, []byte{0}), gateway.KeyWeak},
		{"no point", spki(ecP256, nil), gateway.KeyWeak},
		{"no curve", spki(nil, p256), gateway.KeyWeak},
		{"parameters written out", spki(der(0x30, []byte{2, 1, 1}), p256), gateway.KeyWeak},
		{"bytes after the curve", spki(append(append([]byte(nil), ecP256...), 5, 0), p256), gateway.CertificateMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := trust.ParsePublicKey(tt.spki)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && k.Kind() != trust.ECDSA {
				t.Errorf("kind %s", k.Kind())
			}
		})
	}
}

func TestPathsOfECDSAKeys(t *testing.T) {
	root, _ := ecKey(t, elliptic.P384())
	issuing, _ := ecKey(t, elliptic.P256())
	person, _ := ecKey(t, elliptic.P256())
	issue := func(n int64, cn string, of crypto.Signer, parent *x509.Certificate, signer crypto.Signer, alg x509.SignatureAlgorithm, ca bool) *x509.Certificate {
		t.Helper()
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: cn}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), SubjectKeyId: []byte{byte(n)}, SignatureAlgorithm: alg}
		if ca {
			tmpl.BasicConstraintsValid, tmpl.IsCA, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
		} else {
			tmpl.KeyUsage, tmpl.UnknownExtKeyUsage = x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment, []asn1.ObjectIdentifier{ekuPerson}
		}
		if parent == nil {
			parent = tmpl
		}
		raw, err := x509.CreateCertificate(rand.Reader, tmpl, parent, of.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := issue(1, "root", root, nil, root, x509.ECDSAWithSHA384, true)
	i := issue(2, "issuing", issuing, r, root, x509.ECDSAWithSHA512, true)
	p := issue(3, "person", person, i, issuing, x509.ECDSAWithSHA256, false)
	s, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: parse(t, r.Raw)}}, Intermediates: []*trust.Certificate{parse(t, i.Raw)}, Policies: []trust.OID{}})
	if err != nil {
		t.Fatal(err)
	}
	judge := func(raw []byte) gateway.Reason {
		t.Helper()
		c, err := trust.ParseCertificate(raw)
		if err != nil {
			return gateway.ReasonOf(err)
		}
		j := s.Judge(c, trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson})
		for _, err := range []error{j.PathErr, j.ValidityErr, j.PurposeErr} {
			if err != nil {
				return gateway.ReasonOf(err)
			}
		}
		return ""
	}
	// resign puts another algorithm, key or form of signature under the person's certificate.
	resign := func(alg []byte, key *ecdsa.PrivateKey, form func([]byte) []byte) []byte {
		x := split(t, p.Raw)
		x.alg = alg
		x.tbs[atAlgorithm] = alg
		tbs := der(0x30, x.tbs...)
		sum := sha256.Sum256(tbs)
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			sig = form(sig)
		}
		return der(0x30, tbs, alg, der(0x03, []byte{0}, sig))
	}
	withSHA256 := unhex("06082a8648ce3d040302")
	plain := der(0x30, withSHA256)
	tests := []struct {
		name string
		raw  []byte
		want gateway.Reason
	}{
		{"as issued", p.Raw, ""},
		{"signed again", resign(plain, issuing, nil), ""},
		{"signed by another key", resign(plain, person, nil), gateway.CertificateSignature},
		{"with NULL parameters", resign(der(0x30, withSHA256, []byte{5, 0}), issuing, nil), gateway.AlgorithmForbidden},
		{"ECDSA with SHA-1", resign(der(0x30, unhex("06072a8648ce3d0401")), issuing, nil), gateway.AlgorithmForbidden},
		{"#17 the identifier of RSA", resign(der(0x30, unhex("06092a864886f70d01010b"), []byte{5, 0}), issuing, nil), gateway.CertificateSignature},
		{"of another hash", resign(der(0x30, unhex("06082a8648ce3d040303")), issuing, nil), gateway.CertificateSignature},
		{"r and s without DER", resign(plain, issuing, func([]byte) []byte { return make([]byte, 64) }), gateway.CertificateSignature},
		{"#16 r of zero", resign(plain, issuing, func([]byte) []byte { return der(0x30, []byte{2, 1, 0}, []byte{2, 1, 1}) }), gateway.CertificateSignature},
		{"a byte after the signature's sequence", resign(plain, issuing, func(s []byte) []byte { return append(s, 0) }), gateway.CertificateSignature},
		{"an integer with a zero before it", resign(plain, issuing, func(s []byte) []byte {
			var v struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(s, &v); err != nil {
				t.Fatal(err)
			}
			pad := func(n *big.Int) []byte { return der(2, append([]byte{0, 0}, n.Bytes()...)) }
			return der(0x30, pad(v.R), pad(v.S))
		}), gateway.CertificateSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.raw); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
