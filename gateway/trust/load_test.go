package trust_test

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"egov-gateway/gateway/trust"
)

func TestLoadFiles(t *testing.T) {
	p := pki(t)
	one, two := p.Must("root"), p.Must("issuing")
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return full
	}
	tests := []struct {
		name  string
		path  string
		count int // -1: an error
	}{
		{"a DER file", write("one.cer", one.DER), 1},
		{"a PEM file with text before", write("one.pem", one.CertificatePEM), 1},
		{"a bundle", write("bundle.crt", append(append([]byte{}, one.CertificatePEM...), two.CertificatePEM...)), 2},
		{"a folder with keys beside", "../../certs-testdata/rsa/authorities", 7},
		{"a folder without certificates", filepath.Dir(write("empty/readme.txt", nil)), -1},
		{"a folder with something broken", filepath.Dir(write("broken/a.pem", []byte("no certificate"))), -1},
		{"a private key", write("key.pem", one.KeyPEM), -1},
		{"a PEM block that is no certificate inside", write("bad.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), -1},
		{"an empty file", write("empty.cer", nil), -1},
		{"a file that is not there", filepath.Join(dir, "nowhere.pem"), -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := trust.LoadFiles(tt.path)
			if tt.count < 0 {
				if err == nil {
					t.Fatalf("%d certificates", len(list))
				}
				return
			}
			if err != nil || len(list) != tt.count {
				t.Errorf("%d certificates, %v", len(list), err)
			}
		})
	}
}
