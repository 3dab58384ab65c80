package pkcs12_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/xmlsig/pkcs12"
	"egov-gateway/gateway/xmlsig/pkcs12/pkcs12test"
)

const password = "TEST only 1"

// identity returns an RSA key as PrivateKeyInfo and a certificate.
func identity(t testing.TB) (key, cert []byte) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TEST ONLY"}, NotBefore: time.Unix(1767225600, 0), NotAfter: time.Unix(2082758400, 0)}
	if cert, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k); err != nil {
		t.Fatal(err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// openssl writes a key file with the given options of `openssl pkcs12 -export`.
func openssl(t testing.TB, key, cert []byte, pass string, options ...string) []byte {
	t.Helper()
	path := tool.Path(t, "openssl", "openssl")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pem"), filepath.Join(dir, "out.p12")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	if err := os.WriteFile(in, both, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"pkcs12", "-export", "-in", in, "-out", out, "-passout", "pass:" + pass}, options...)
	if msg, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(options, " "), err, msg)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantContents(t *testing.T, file []byte, pass string, key, cert []byte) {
	t.Helper()
	c, err := pkcs12.Open(file, pass)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Keys) != 1 || len(c.Certificates) != 1 {
		t.Fatalf("%d keys, %d certificates", len(c.Keys), len(c.Certificates))
	}
	if !bytes.Equal(c.Keys[0], key) {
		t.Error("another private key")
	}
	if !bytes.Equal(c.Certificates[0], cert) {
		t.Error("another certificate")
	}
	if _, err := pkcs12.Open(file, pass+"x"); gateway.ReasonOf(err) != gateway.ConfigInvalid || !strings.Contains(gateway.DetailOf(err), "password") {
		t.Errorf("a wrong password: %v", err)
	}
}

// What OpenSSL writes is read, with its ciphers of all ages, in DER and in BER.
func TestFilesOfOpenSSL(t *testing.T) {
	key, cert := identity(t)
	tests := []struct {
		name, password string
		options        []string
	}{
		{"RC2-40 and triple DES, as the NCA", password, []string{"-legacy"}},
		{"RC2-128", password, []string{"-legacy", "-certpbe", "PBE-SHA1-RC2-128", "-keypbe", "PBE-SHA1-RC2-128"}},
		{"triple DES for both", password, []string{"-legacy", "-descert"}},
		{"one iteration", password, []string{"-legacy", "-noiter", "-nomaciter"}},
		{"certificates in the clear", password, []string{"-legacy", "-certpbe", "NONE"}},
		{"the key in the clear", password, []string{"-legacy", "-keypbe", "NONE"}},
		{"AES-256 and SHA-256", password, nil},
		{"AES-128", password, []string{"-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC"}},
		{"a SHA-512 MAC", password, []string{"-macalg", "sha512"}},
		{"a SHA-384 MAC", password, []string{"-macalg", "sha384"}},
		{"a long password", strings.Repeat("long", 50), []string{"-legacy"}},
		{"an empty password", "", []string{"-legacy"}},
		{"a Kazakh password", "құпия", []string{"-legacy"}},
		{"a friendly name", password, []string{"-legacy", "-name", "TEST ONLY"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := openssl(t, key, cert, tt.password, tt.options...)
			wantContents(t, file, tt.password, key, cert)
			wantContents(t, pkcs12test.Indefinite(file), tt.password, key, cert)
		})
	}
	t.Run("no MAC", func(t *testing.T) {
		_, err := pkcs12.Open(openssl(t, key, cert, password, "-legacy", "-nomac"), password)
		if gateway.ReasonOf(err) != gateway.ConfigInvalid || !strings.Contains(gateway.DetailOf(err), "no MAC") {
			t.Error(err)
		}
	})
}

// Files in the NCA's shape, which is BER inside and out.
func TestFilesInTheShapeOfTheNCA(t *testing.T) {
	key, cert := identity(t)
	for _, ber := range []bool{false, true} {
		f := pkcs12test.File{Password: password, Keys: [][]byte{key}, Certificates: [][]byte{cert}, BER: ber}
		wantContents(t, f.Encode(), password, key, cert)
	}
	two := pkcs12test.File{Password: password, Keys: [][]byte{key, key}, Certificates: [][]byte{cert, cert, cert}, BER: true}
	c, err := pkcs12.Open(two.Encode(), password)
	if err != nil || len(c.Keys) != 2 || len(c.Certificates) != 3 {
		t.Errorf("%v %+v", err, c)
	}
}

func TestOpenRefuses(t *testing.T) {
	key, cert := identity(t)
	f := pkcs12test.File{Password: password, Keys: [][]byte{key}, Certificates: [][]byte{cert}, BER: true}
	good := f.Encode()
	tests := []struct {
		name string
		file []byte
	}{
		{"nothing", nil},
		{"text", []byte("-----BEGIN CERTIFICATE-----")},
		{"a certificate", cert},
		{"bytes after the file", append(slices.Clone(good), 0)},
		{"a file cut short", good[:len(good)-10]},
		{"a file too long", append(slices.Clone(good), make([]byte, pkcs12.MaxBytes)...)},
		{"no MAC", pkcs12test.File{Password: password, NoMAC: true}.Encode()},
		{"nesting without end", append(bytes.Repeat([]byte{0x30, 0x80}, 1000), make([]byte, 2000)...)},
		{"an indefinite length of a primitive", []byte{0x30, 0x80, 0x02, 0x80, 3, 0, 0, 0, 0}},
		{"a length beyond the end", []byte{0x30, 0x84, 0x7F, 0xFF, 0xFF, 0xFF}},
		{"a negative length", []byte{0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF}},
		{"version 1", bytes.Replace(good, []byte{2, 1, 3}, []byte{2, 1, 1}, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := pkcs12.Open(tt.file, password); gateway.ReasonOf(err) != gateway.ConfigInvalid {
				t.Errorf("%v", err)
			}
		})
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		c, err := pkcs12.Open(bad, password)
		if err == nil && (len(c.Keys) != 1 || !bytes.Equal(c.Keys[0], key) || len(c.Certificates) != 1 || !bytes.Equal(c.Certificates[0], cert)) {
			t.Fatalf("octet %d changed: other contents are accepted", i)
		}
	}
}

// An iteration count that would take hours is refused before it is begun.
func TestIterationsAreBounded(t *testing.T) {
	f := pkcs12test.File{Password: password, Iterations: 3}
	file := bytes.ReplaceAll(f.Encode(), []byte("salt of 20 octets ..\x02\x01\x03"), []byte("salt of 20 octe\x02\x06\x7F\xFF\xFF\xFF\xFF\xFF"))
	file = bytes.ReplaceAll(file, []byte("\x04\x14salt of 20 octe\x02"), []byte("\x04\x0Fsalt of 20 octe\x02"))
	start := time.Now()
	_, err := pkcs12.Open(file, password)
	if gateway.ReasonOf(err) != gateway.ConfigInvalid || !strings.Contains(gateway.DetailOf(err), "iterations") || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func FuzzOpen(f *testing.F) {
	key, cert := identity(f)
	for _, ber := range []bool{false, true} {
		f.Add(pkcs12test.File{Password: password, Keys: [][]byte{key}, Certificates: [][]byte{cert}, BER: ber, Iterations: 1}.Encode(), password)
	}
	f.Add([]byte{0x30, 0x80, 0x24, 0x80, 0x04, 0x01, 0x00, 0, 0, 0, 0}, "")
	f.Fuzz(func(t *testing.T, file []byte, pass string) {
		c, err := pkcs12.Open(file, pass)
		if err != nil {
			if gateway.ReasonOf(err) != gateway.ConfigInvalid {
				t.Fatalf("reason %q: %v", gateway.ReasonOf(err), err)
			}
			return
		}
		if len(c.Keys)+len(c.Certificates) > len(file) {
			t.Fatal("more contents than bytes")
		}
	})
}
