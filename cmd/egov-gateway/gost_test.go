package main

import (
	"net/http"
	"testing"

	"egov-gateway/gateway"
)

// Citizens sign with the GOST-2015 keys that the NCA has issued since 2024, and every refusal
// has the same reason as with RSA.
func TestCitizensSignWithGOST(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	for _, tt := range []struct {
		citizen, signer string
		want            gateway.Reason
	}{
		{"citizen-01", "gost-citizen-01", ""},
		{"citizen-02", "gost-citizen-02", ""},
		{"citizen-02", "gost-citizen-01", gateway.IINMismatch},
		{"citizen-expired", "gost-citizen-expired", gateway.CertificateExpired},
		{"citizen-revoked", "gost-citizen-revoked", gateway.Revoked},
		{"citizen-suspended", "gost-citizen-suspended", gateway.Suspended},
		{"citizen-never-issued", "gost-citizen-never-issued", gateway.NeverIssued},
		{"citizen-01", "gost-citizen-authentication", gateway.KeyUsage},
		{"citizen-01", "gost-citizen-other-ca", gateway.NoIssuer},
	} {
		a := l.mustSubmit(t, l.draft(tt.citizen, taraz), tt.signer)
		if tt.want == "" && a.status != http.StatusAccepted || tt.want != "" && problemOf(t, a.body).Reason != tt.want {
			t.Errorf("%s signed by %s: %d %s, want %q", tt.citizen, tt.signer, a.status, a.body, tt.want)
		}
	}
}
