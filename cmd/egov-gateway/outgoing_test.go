package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
)

// A system is called by https with the anchors and the certificate that the configuration gives it.
func TestASystemIsCalledWithItsOwnAnchorsAndCertificate(t *testing.T) {
	var shown atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { shown.Store(len(r.TLS.PeerCertificates) > 0) }))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) {
		var raw []byte
		for _, b := range blocks {
			raw = append(raw, pem.EncodeToMemory(b)...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write("ca.pem", &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write("own.pem", &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write("own.key", &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	write("empty.pem")
	tests := []struct {
		name          string
		common, own   *ClientTLS
		faulty        string // the configuration says so
		called, shown bool
	}{
		{"with the machine's anchors another's certificate is not believed", nil, nil, "", false, false},
		{"with the common anchors it is", &ClientTLS{CA: []string{"ca.pem"}}, nil, "", true, false},
		{"with its own anchors it is, and the certificate is shown", nil, &ClientTLS{CA: []string{"ca.pem"}, Certificate: "own.pem", Key: "own.key"}, "", true, true},
		{"its own settings take the place of the common ones", &ClientTLS{CA: []string{"ca.pem"}}, &ClientTLS{}, "", false, false},
		{"anchors that are none", &ClientTLS{CA: []string{"empty.pem"}}, nil, "outgoing.ca[0]: empty.pem holds no certificate", false, false},
		{"a file that is away", nil, &ClientTLS{CA: []string{"away.pem"}}, "x.tls.ca[0]", false, false},
		{"a certificate without its key", nil, &ClientTLS{Certificate: "own.pem"}, "x.tls: certificate and key belong together", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Config{dir: dir, Outgoing: tt.common}
			conf, err := c.clientTLS("x.tls", tt.own)
			if tt.faulty != "" {
				if err == nil || !strings.Contains(err.Error(), tt.faulty) {
					t.Errorf("%v does not say %q", err, tt.faulty)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			client, err := upstream.New(upstream.Config{Name: "x", TLS: conf, Retries: -1, Reasons: upstream.Reasons{Unavailable: gateway.SourceUnavailable}})
			if err != nil {
				t.Fatal(err)
			}
			shown.Store(false)
			_, err = client.Do(t.Context(), upstream.Request{URL: server.URL})
			if (err == nil) != tt.called || shown.Load() != tt.shown {
				t.Errorf("called: %v, certificate shown: %t", err, shown.Load())
			}
		})
	}
}

// A machine without anchors, such as an empty container, is named before every call fails.
func TestAMachineWithoutAnchorsIsNamed(t *testing.T) {
	none := func() (*x509.CertPool, error) { return x509.NewCertPool(), nil }
	some := func() (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		pool.AddCert(server.Certificate())
		return pool, nil
	}
	away := func() (*x509.CertPool, error) { return nil, errors.New("away") }
	tests := []struct {
		name    string
		config  Config
		machine func() (*x509.CertPool, error)
		want    string
	}{
		{"no https address", Config{Providers: []Provider{{URL: "http://127.0.0.1/"}}}, none, ""},
		{"an https address and anchors", Config{Providers: []Provider{{URL: "https://provider.example/"}}}, some, ""},
		{"a provider by https", Config{Providers: []Provider{{URL: "HTTPS://provider.example/"}}}, none, "providers[0].url"},
		{"a register by https", Config{Sources: Sources{Income: &Source{URL: "https://income.example/"}}}, none, "sources.income.url"},
		{"a portal's notices by https", Config{Portals: []Portal{{NotifyURL: "https://portal.example/"}}}, none, "portals[0].notify_url"},
		{"a region by https", Config{Regions: []Region{{URL: "https://region.example/"}}}, none, "regions[0].url"},
		{"pushes by https", Config{SHEP: &SHEP{Participants: []Participant{{PushURL: "https://bank.example/"}}}}, none, "shep.participants[0].push_url"},
		{"anchors in the configuration", Config{Outgoing: &ClientTLS{CA: []string{"ca.pem"}}, Providers: []Provider{{URL: "https://provider.example/"}}}, none, ""},
		{"anchors for another system", Config{Providers: []Provider{{URL: "https://a.example/", TLS: &ClientTLS{CA: []string{"ca.pem"}}}, {URL: "https://b.example/"}}}, none, "providers[1].url"},
		{"anchors that cannot be read", Config{Providers: []Provider{{URL: "https://provider.example/"}}}, away, "away"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.config.checkAnchors(tt.machine)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A responder that answers without end is cut off after what an answer may have; the list decides.
func TestAnAnswerWithoutEndIsNotRead(t *testing.T) {
	var sent atomic.Int64
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/ocsp-response")
		piece := make([]byte, 64<<10)
		for range 16384 { // a gigabyte
			n, err := w.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.mustReconfigure(t, func(c *Config) {
		for i := range c.Revocation {
			if len(c.Revocation[i].OCSP) > 0 {
				c.Revocation[i].OCSP = []string{endless.URL}
			}
		}
	})
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lists are there", func() bool { status, _, _ := get(t, l.admin+"/readyz"); return status == http.StatusOK })
	l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	if n := sent.Load(); n == 0 || n > 32<<20 { // what the connection's buffers take beside it
		t.Errorf("%d MB were sent", n>>20)
	}
}

// A client that has only suites without authenticated encryption is not served.
func TestOnlyAuthenticatedEncryptionIsServed(t *testing.T) {
	lent := httptest.NewUnstartedServer(nil)
	lent.StartTLS()
	defer lent.Close()
	key, err := x509.MarshalPKCS8PrivateKey(lent.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: lent.Certificate().Raw}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf, err := (&Config{dir: dir}).serverTLS("tls", &TLS{Certificate: "tls.crt", Key: "tls.key"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { c.(*tls.Conn).Handshake(); c.Close() }() //nolint:errcheck // the client tells
		}
	}()
	rsa := lent.Certificate().PublicKeyAlgorithm == x509.RSA
	for suite, served := range map[uint16]bool{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: false, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: false,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: !rsa, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: rsa,
	} {
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}) //nolint:gosec // who it is does not matter here
		if err == nil {
			c.Close()
		}
		if (err == nil) != served {
			t.Errorf("%s: %v", tls.CipherSuiteName(suite), err)
		}
	}
}
