package xmlsig_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/gateway/xmlsig/pkcs12/pkcs12test"
)

// A key file in the NCA's shape signs; which certificate is the signer's is found by the key.
func TestLoadPKCS12(t *testing.T) {
	const password = "TEST only 1"
	pkcs8, err := x509.MarshalPKCS8PrivateKey(alice().rsa)
	if err != nil {
		t.Fatal(err)
	}
	gostRSA := bytes.Replace(pkcs8, []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x02"), 1)
	keys := func(k ...[]byte) [][]byte { return k }
	tests := []struct {
		name     string
		keys     [][]byte
		certs    [][]byte
		password string
		want     gateway.Reason
	}{
		{"a key and its certificate", keys(pkcs8), keys(alice().cert), password, ""},
		{"the issuer's certificate first", keys(pkcs8), keys(bob().cert, alice().cert), password, ""},
		{"a wrong password", keys(pkcs8), keys(alice().cert), "TEST only 2", gateway.ConfigInvalid},
		{"no password", keys(pkcs8), keys(alice().cert), "", gateway.ConfigInvalid},
		{"no key", nil, keys(alice().cert), password, gateway.ConfigInvalid},
		{"two keys", keys(pkcs8, pkcs8), keys(alice().cert), password, gateway.ConfigInvalid},
		{"no certificate", keys(pkcs8), nil, password, gateway.ConfigInvalid},
		{"another's certificate", keys(pkcs8), keys(bob().cert), password, gateway.ConfigInvalid},
		{"a certificate that is none", keys(pkcs8), keys([]byte("x")), password, gateway.CertificateMalformed},
		{"too many certificates", keys(pkcs8), slicesRepeat(bob().cert, 17), password, gateway.ConfigInvalid},
		{"a key that is none", keys([]byte("x")), keys(alice().cert), password, gateway.ConfigInvalid},
		{"a key of another algorithm", keys(gostRSA), keys(alice().cert), password, gateway.ConfigInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := pkcs12test.File{Password: password, Keys: tt.keys, Certificates: tt.certs, BER: true}.Encode()
			k, err := xmlsig.LoadPKCS12(file, tt.password)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(k.Certificate().Raw, alice().cert) {
				t.Error("another certificate")
			}
			out, err := xmlsig.Sign([]byte(`<r/>`), k, xmlsig.SignOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := xmlsig.Verify(out, xmlsig.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := xmlsig.LoadPKCS12(nil, ""); gateway.ReasonOf(err) != gateway.ConfigInvalid {
		t.Errorf("no file: %v", err)
	}
}

// privateKeyInfo is a GOST key as the NCA's key files hold it: the little-endian number in an
// octet string inside the octet string of PrivateKeyInfo.
func (s *signer) privateKeyInfo(t testing.TB) []byte {
	t.Helper()
	marshal := func(v any) asn1.RawValue {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: der}
	}
	algorithm := marshal([]asn1.RawValue{marshal(s.gen.key), marshal([]asn1.ObjectIdentifier{s.gen.set, s.gen.digest})})
	return marshal([]asn1.RawValue{marshal(0), algorithm, marshal(marshal(s.gost.Bytes()).FullBytes)}).FullBytes
}

// GOST keys come out of key files and PEM alike, and sign under their own names.
func TestLoadGOSTKeys(t *testing.T) {
	const password = "TEST only 1"
	for _, s := range []*signer{gulnar(), oral()} {
		info := s.privateKeyInfo(t)
		size := len(s.gost.Bytes())
		end := len(info) - size
		other := bytes.Clone(info)
		other[len(other)-1] ^= 1
		zero := append(bytes.Clone(info[:end]), make([]byte, size)...)
		high := append(bytes.Clone(info[:end]), bytes.Repeat([]byte{0xFF}, size)...)
		bare := bytes.Replace(info, []byte{4, byte(size + 2), 4, byte(size)}, []byte{4, byte(size + 2), 5, byte(size)}, 1)
		tests := []struct {
			name string
			key  []byte
			want gateway.Reason
		}{
			{"its own key", info, ""},
			{"another key", other, gateway.ConfigInvalid},
			{"zero", zero, gateway.ConfigInvalid},
			{"a number above the order", high, gateway.ConfigInvalid},
			{"a key cut short", info[:len(info)-1], gateway.ConfigInvalid},
			{"no octet string inside", bare, gateway.ConfigInvalid},
		}
		for _, tt := range tests {
			t.Run(s.kind()+"/"+tt.name, func(t *testing.T) {
				file := pkcs12test.File{Password: password, Keys: [][]byte{tt.key}, Certificates: [][]byte{alice().cert, s.cert}, BER: true}.Encode()
				inPEM := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: tt.key}), s.certPEM()...)
				for form, load := range map[string]func() (*xmlsig.Key, error){
					"PKCS #12": func() (*xmlsig.Key, error) { return xmlsig.LoadPKCS12(file, password) },
					"PEM":      func() (*xmlsig.Key, error) { return xmlsig.LoadPEM(inPEM) },
				} {
					k, err := load()
					if got := gateway.ReasonOf(err); got != tt.want {
						t.Fatalf("%s: got %q (%v), want %q", form, got, err, tt.want)
					}
					if err != nil {
						continue
					}
					out, err := xmlsig.Sign([]byte(`<r/>`), k, xmlsig.SignOptions{})
					if err != nil {
						t.Fatal(err)
					}
					v, err := xmlsig.Verify(out, xmlsig.Options{AllowGOST2004: true})
					if err != nil || v.Signatures()[0].Algorithm != s.method() {
						t.Errorf("%s: %v", form, err)
					}
				}
			})
		}
	}
}

func slicesRepeat(b []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}
