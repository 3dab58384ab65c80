package httpserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"egov-gateway/gateway/httpserver"
)

// client is a certificate that anybody could have made.
func client(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A connection lives no longer than the certificate that its client showed, and ends when the
// certificate is taken back; nobody else's does.
func TestAConnectionEndsWithItsCertificate(t *testing.T) {
	lent := httptest.NewUnstartedServer(nil)
	lent.StartTLS()
	defer lent.Close()
	tests := []struct {
		name     string
		shift    time.Duration // of the clock that judges certificates
		protocol []string
		shows    string // name in the client's certificate; "" shows none
		takeBack string
		ends     bool
	}{
		{"HTTP/1.1: the certificate ends", time.Hour, []string{"http/1.1"}, "operator", "", true},
		{"HTTP/2: the certificate ends", time.Hour, []string{"h2"}, "operator", "", true},
		{"HTTP/1.1: the certificate is taken back", 0, []string{"http/1.1"}, "operator", "operator", true},
		{"HTTP/2: the certificate is taken back", 0, []string{"h2"}, "operator", "operator", true},
		{"somebody else's certificate is taken back", 0, []string{"h2"}, "operator", "other", false},
		{"a client without a certificate", time.Hour, []string{"h2"}, "", "operator", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begun, release := make(chan struct{}, 10), make(chan struct{})
			defer close(release)
			stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).Flush()
				begun <- struct{}{}
				select {
				case <-r.Context().Done():
				case <-release:
				}
			})
			s := start(t, stream, func(c *httpserver.Config) {
				c.Now = func() time.Time { return time.Now().Add(tt.shift) }
				c.TLS = &tls.Config{Certificates: lent.TLS.Certificates, ClientAuth: tls.RequestClientCert, NextProtos: tt.protocol}
			})
			transport := lent.Client().Transport.(*http.Transport).Clone()
			transport.ForceAttemptHTTP2 = tt.protocol[0] == "h2"
			if tt.shows != "" {
				transport.TLSClientConfig.Certificates = []tls.Certificate{client(t, tt.shows)}
			}
			defer transport.CloseIdleConnections()
			ended := make(chan error, 1)
			go func() {
				resp, err := (&http.Client{Transport: transport}).Get("https://" + s.Addr())
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				if err == nil {
					err = errors.New("the answer came to its end")
				}
				ended <- err
			}()
			if !tt.ends {
				<-begun
			}
			n := s.EndConnections(func(c []*x509.Certificate) bool { return c[0].Subject.CommonName == tt.takeBack })
			for tt.ends && tt.takeBack != "" && n == 0 { // the handshake is under way
				time.Sleep(time.Millisecond)
				n = s.EndConnections(func(c []*x509.Certificate) bool { return c[0].Subject.CommonName == tt.takeBack })
			}
			if tt.ends {
				<-ended
				return
			}
			select {
			case err := <-ended:
				t.Errorf("the connection ended: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
		})
	}
}
