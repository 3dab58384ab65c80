package xmlsig_test

import (
	"bytes"
	"crypto/x509"
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

func slicesRepeat(b []byte, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}
