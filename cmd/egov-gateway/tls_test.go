package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// issue makes a certificate; parent nil makes a CA.
func issue(t *testing.T, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (cert, key []byte, parsed *x509.Certificate, priv *ecdsa.PrivateKey) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "TEST ONLY " + name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if parent == nil {
		tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, parentKey = tmpl, priv
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &priv.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), parsed, priv
}

// R1: over TLS a portal may show its client certificate instead of a token; a certificate of
// the same authority that belongs to somebody else is not the portal's.
func TestR1APortalByItsClientCertificate(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	caPEM, _, ca, caKey := issue(t, "CA", nil, nil)
	serverCert, serverKey, _, _ := issue(t, "gateway", ca, caKey)
	portalCert, portalKey, _, _ := issue(t, "portal", ca, caKey)
	otherCert, otherKey, _, _ := issue(t, "somebody else", ca, caKey)
	for name, b := range map[string][]byte{"ca.pem": caPEM, "tls.crt": serverCert, "tls.key": serverKey, "portal.crt": portalCert} {
		if err := os.WriteFile(filepath.Join(l.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	c.TLS = &TLS{Certificate: "tls.crt", Key: "tls.key", ClientCA: "ca.pem"}
	c.Portals[0].TokenFile, c.Portals[0].ClientCertificate = "", "portal.crt"
	c.BaseURL = strings.Replace(c.BaseURL, "http:", "https:", 1)
	raw, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.config, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := l.draft("citizen-01", taraz).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	post := func(cert, key []byte, header ...string) int {
		conf := &tls.Config{RootCAs: roots}
		if cert != nil {
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			conf.Certificates = []tls.Certificate{pair}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
		defer client.CloseIdleConnections()
		req, err := http.NewRequest(http.MethodPost, c.BaseURL+"/v1/requests", bytes.NewReader(signed))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/xml")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := post(nil, nil); got != http.StatusUnauthorized {
		t.Errorf("no certificate: %d", got)
	}
	if got := post(nil, nil, "Authorization", "Bearer "); got != http.StatusUnauthorized {
		t.Errorf("an empty token where no token is configured: %d", got)
	}
	if got := post(otherCert, otherKey); got != http.StatusUnauthorized {
		t.Errorf("somebody else's certificate: %d", got)
	}
	if got := post(portalCert, portalKey); got != http.StatusAccepted {
		t.Errorf("the portal's certificate: %d", got)
	}
}

// The example configuration names every field, and only fields that exist.
func TestTheExampleConfigurationIsComplete(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"config", "example"}, &out, &errs); code != 0 {
		t.Fatal(&errs)
	}
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(file); err != nil {
		t.Errorf("the example is not a configuration: %v", err)
	}
	source, err := os.ReadFile("config.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(source), "\n") {
		_, tag, ok := strings.Cut(line, "`yaml:\"")
		if !ok {
			continue
		}
		field, _, _ := strings.Cut(tag, "\"")
		if field != "public_key" && field != "route_id" && field != "client_certificate" && !strings.Contains(out.String(), field+":") {
			t.Errorf("the example does not show %s", field)
		}
	}
}
