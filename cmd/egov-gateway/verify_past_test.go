package main

import (
	"strings"
	"testing"

	"egov-gateway/gateway"
)

// A list from after the instant judges it, and the verdict says what has become of the certificate since.
func TestVerifyOfThePast(t *testing.T) {
	d := newDesk(t) // lists of 05:00 that revoke at 04:00
	for _, tt := range []struct {
		name, at, file string
		code           int
		reason         gateway.Reason
		detail         string
	}{
		{"an hour before it was revoked", "2026-11-02T03:00:00Z", "citizen-revoked.xml", 0, "", "good at the instant judged; revoked or on hold since 2026-11-02T04:00:00Z, reason 1"},
		{"half an hour after it was revoked, before the list", "2026-11-02T04:30:00Z", "citizen-revoked.xml", 1, gateway.Revoked, "revoked at 2026-11-02T04:00:00Z"},
		{"never revoked", "2026-11-02T03:00:00Z", "citizen-01.xml", 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := d.run("verify --at " + tt.at + " --trust @anchors --crl @issuing.crl --crl @root.crl --purpose sign-person @" + tt.file)
			if code != tt.code {
				t.Fatalf("exit %d: %s%s", code, out, errs)
			}
			r := d.reports(t, out)[0]
			c := r.Checks[5]
			if r.Reason != tt.reason || c.Evidence != "crl" || !strings.Contains(c.Detail, tt.detail) || tt.detail == "" && c.Detail != "" {
				t.Errorf("%+v", c)
			}
		})
	}
}
