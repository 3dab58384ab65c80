package channel

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"egov-gateway/gateway/trust"
)

// Whose room a message takes is known from its connection, before it is read.
func TestWhoCalls(t *testing.T) {
	secret := sha256.Sum256([]byte("password"))
	pinned := &trust.Certificate{Raw: []byte("pinned")}
	d, err := NewDirectory([]Participant{
		{Name: "by address", SenderID: "A", PasswordSHA256: secret, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("2001:db8::/32")}},
		{Name: "by client certificate", SenderID: "B", PasswordSHA256: secret, CertificateSHA256: sha256.Sum256([]byte("client"))},
		{Name: "by pinned certificate", SenderID: "C", Certificates: []*trust.Certificate{pinned}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, address, certificate string
		verified                   bool
		want                       string
	}{
		{"an address of a participant", "192.0.2.14:4000", "", false, "by address"},
		{"the same, as IPv6 writes it", "[::ffff:192.0.2.14]:4000", "", false, "by address"},
		{"an IPv6 address", "[2001:db8:1::1]:4000", "", false, "by address"},
		{"a neighbour", "192.0.2.16:4000", "", false, ""},
		{"no address", "pipe", "", false, ""},
		{"a client certificate", "198.51.100.1:4000", "client", true, "by client certificate"},
		{"a pinned certificate", "198.51.100.1:4000", "pinned", true, "by pinned certificate"},
		{"a certificate goes before the address", "192.0.2.14:4000", "client", true, "by client certificate"},
		{"a certificate that nobody verified", "198.51.100.1:4000", "client", false, ""},
		{"a certificate of somebody else", "198.51.100.1:4000", "other", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/shep/sync", nil)
			r.RemoteAddr = tt.address
			if tt.certificate != "" {
				c := &x509.Certificate{Raw: []byte(tt.certificate)}
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
				if tt.verified {
					r.TLS.VerifiedChains = [][]*x509.Certificate{{c}}
				}
			}
			got := ""
			if p := d.caller(r); p != nil {
				got = p.Name
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	_, err = NewDirectory([]Participant{
		{Name: "a", SenderID: "A", PasswordSHA256: secret, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Name: "b", SenderID: "B", PasswordSHA256: secret, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.8/32")}},
	})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.8/32") {
		t.Errorf("two participants share an address: %v", err)
	}
}
