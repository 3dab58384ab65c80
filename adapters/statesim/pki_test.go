package statesim_test

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/harness/tool"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

func (s *stage) get(path string) []byte {
	s.t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("%s: status %d, %v", path, resp.StatusCode, err)
	}
	return body
}

func TestOpenSSLReadsTheResponder(t *testing.T) {
	tool.Path(t, "openssl", "openssl")
	s := newStage(t, nil)
	s.hop(time.Now()) // openssl judges the answer by the machine's clock
	dir := t.TempDir()
	root := file(t, dir, "root.pem", s.pki.Must("root").CertificatePEM)
	issuing := file(t, dir, "issuing.pem", s.pki.Must("issuing").CertificatePEM)
	ask := func(id, issuer string, args ...string) string {
		cert := file(t, dir, id+".pem", s.pki.Must(id).CertificatePEM)
		out, _ := run(t, "openssl", append([]string{"ocsp", "-sha256", "-issuer", issuer, "-cert", cert, "-url", s.url + "/ocsp", "-CAfile", root, "-verify_other", issuing}, args...)...)
		return out
	}
	tests := []struct{ id, issuer, want string }{
		{"citizen-01", issuing, "citizen-01.pem: good"},
		{"citizen-revoked", issuing, "Reason: keyCompromise"},
		{"citizen-suspended", issuing, "Reason: certificateHold"},
		{"citizen-never-issued", issuing, "Jan  1 00:00:00 1970 GMT"},
		{"citizen-unknown", issuing, "citizen-unknown.pem: unknown"},
		{"issuing", root, "issuing.pem: good"},
		{"issuing-revoked", root, "Reason: CACompromise"},
	}
	for _, tt := range tests {
		t.Run(tt.id, func(t *testing.T) {
			out := ask(tt.id, tt.issuer)
			if !strings.Contains(out, "Response verify OK") || !strings.Contains(strings.ToLower(out), strings.ToLower(tt.want)) || strings.Contains(out, "Nonce") {
				t.Errorf("want %q: %s", tt.want, out)
			}
		})
	}
	for _, tt := range []struct {
		fault statesim.FaultKind
		want  string
	}{
		{statesim.NoNonce, "no nonce in response"},
		{statesim.WrongNonce, "Nonce Verify error"},
		{statesim.BadSignature, "Response Verify Failure"},
		{statesim.ForeignSigner, "Response Verify Failure"},
		{statesim.WrongCertID, "No Status found"},
		{statesim.TryLater, "trylater"},
		{statesim.Stale, "Status times invalid"},
		{statesim.Future, "Status times invalid"},
	} {
		t.Run("fault "+string(tt.fault), func(t *testing.T) {
			if err := s.SetFaults(statesim.TargetOCSP, statesim.Fault{Kind: tt.fault, Calls: 1}); err != nil {
				t.Fatal(err)
			}
			if out := ask("citizen-01", issuing, "-status_age", "300"); !strings.Contains(out, tt.want) {
				t.Errorf("want %q: %s", tt.want, out)
			}
			if out := ask("citizen-01", issuing, "-status_age", "300"); !strings.Contains(out, "citizen-01.pem: good") || !strings.Contains(out, "Response verify OK") {
				t.Errorf("the next call still fails: %s", out)
			}
		})
	}
	t.Run("a revocation counts at once", func(t *testing.T) {
		if err := s.Revoke(statesim.Revocation{Serial: s.pki.Must("citizen-02").Serial, State: statesim.Revoked, Reason: "superseded"}); err != nil {
			t.Fatal(err)
		}
		if out := ask("citizen-02", issuing); !strings.Contains(out, "superseded") {
			t.Error(out)
		}
	})
	t.Run("a certificate of nobody's is not answered", func(t *testing.T) {
		other := file(t, dir, "other.pem", s.pki.Must("other-issuing").CertificatePEM)
		if out := ask("citizen-other-ca", other); !strings.Contains(out, "unauthorized") {
			t.Error(out)
		}
	})
}

func TestOpenSSLReadsTheCRLs(t *testing.T) {
	tool.Path(t, "openssl", "openssl")
	s := newStage(t, nil)
	dir := t.TempDir()
	issuing := file(t, dir, "issuing.pem", s.pki.Must("issuing").CertificatePEM)
	text := func(name string, der []byte) string {
		out, err := run(t, "openssl", "crl", "-inform", "DER", "-in", file(t, dir, name, der), "-noout", "-text", "-CAfile", issuing)
		if err != nil || !strings.Contains(out, "verify OK") {
			t.Errorf("%s: %s", name, out)
		}
		return out
	}
	out := text("base.crl", s.get("/crl/base.crl"))
	for _, want := range []string{"Version 2", "X509v3 CRL Number", "X509v3 Authority Key Identifier", "Key Compromise", "Certificate Hold", "Next Update: Nov  3 06:00:00 2026 GMT",
		strings.ToUpper(s.pki.Must("citizen-revoked").Serial), strings.ToUpper(s.pki.Must("citizen-suspended").Serial)} {
		if !strings.Contains(out, want) {
			t.Errorf("the CRL lacks %q:\n%s", want, out)
		}
	}
	for _, id := range []string{"citizen-01", "citizen-unknown", "citizen-never-issued"} {
		if strings.Contains(out, strings.ToUpper(s.pki.Must(id).Serial)) {
			t.Errorf("%s is on the CRL", id)
		}
	}
	if out := text("delta.crl", s.get("/crl/issuing/delta.crl")); !strings.Contains(out, "Delta CRL Indicator: critical") || !strings.Contains(out, "No Revoked Certificates") {
		t.Errorf("the empty delta: %s", out)
	}
	rootFile := file(t, dir, "root.pem", s.pki.Must("root").CertificatePEM)
	if out, _ := run(t, "openssl", "crl", "-inform", "DER", "-in", file(t, dir, "r.crl", s.get("/crl/root/base.crl")), "-noout", "-text", "-CAfile", rootFile); !strings.Contains(out, "verify OK") || !strings.Contains(out, "CA Compromise") {
		t.Errorf("the root's CRL: %s", out)
	}
}

func TestDeltaTellsWhatChangedSinceTheFullCRL(t *testing.T) {
	s := newStage(t, nil)
	list := func(path string) (*x509.RevocationList, map[string]int) {
		l, err := x509.ParseRevocationList(s.get(path))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.CheckSignatureFrom(s.pki.Must("issuing").X509()); err != nil {
			t.Error(err)
		}
		m := map[string]int{}
		for _, e := range l.RevokedCertificateEntries {
			m[e.SerialNumber.Text(16)] = e.ReasonCode
		}
		return l, m
	}
	fresh, held := s.pki.Must("citizen-02").Serial, s.pki.Must("citizen-suspended").Serial
	base, _ := list("/crl/base.crl")
	first, _ := list("/crl/delta.crl")
	if err := s.Revoke(statesim.Revocation{Serial: fresh, State: statesim.Revoked, Reason: "keyCompromise"}, statesim.Revocation{Serial: held, State: statesim.Good}); err != nil {
		t.Fatal(err)
	}
	same, onBase := list("/crl/base.crl")
	delta, onDelta := list("/crl/delta.crl")
	if same.Number.Cmp(base.Number) != 0 || !same.ThisUpdate.Equal(base.ThisUpdate) {
		t.Error("the full CRL changed before it was published")
	}
	if _, ok := onBase[fresh]; ok {
		t.Error("the full CRL knows what came after it")
	}
	if reason, ok := onDelta[fresh]; !ok || reason != 1 {
		t.Errorf("the delta lacks the new revocation: %v", onDelta)
	}
	if onDelta[held] != 8 || len(onDelta) != 2 {
		t.Errorf("the delta does not take the hold off (removeFromCRL): %v", onDelta)
	}
	if delta.Number.Cmp(first.Number) <= 0 {
		t.Error("the delta's number did not grow")
	}
	indicator := false
	for _, e := range delta.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}) {
			var n int64
			if _, err := asn1.Unmarshal(e.Value, &n); err != nil || n != base.Number.Int64() || !e.Critical {
				t.Errorf("delta CRL indicator %d, critical %v", n, e.Critical)
			}
			indicator = true
		}
	}
	if !indicator {
		t.Error("no delta CRL indicator")
	}

	s.hop(testpki.At.Add(13 * time.Hour))
	base2, on2 := list("/crl/base.crl")
	delta2, onDelta2 := list("/crl/delta.crl")
	if base2.Number.Cmp(base.Number) <= 0 || on2[fresh] != 1 || len(onDelta2) != 0 {
		t.Errorf("after half its life the full CRL %v does not hold what the delta held: %v", base2.Number, onDelta2)
	}
	if _, ok := on2[held]; ok {
		t.Error("the lifted hold is still on the full CRL")
	}
	if !delta2.NextUpdate.After(s.Now()) || !base2.NextUpdate.After(s.Now()) {
		t.Error("a CRL is past its next update")
	}

	for _, tt := range []struct {
		fault statesim.FaultKind
		bad   func(*x509.RevocationList) bool
	}{
		{statesim.Stale, func(l *x509.RevocationList) bool { return l.NextUpdate.Before(s.Now()) }},
		{statesim.Future, func(l *x509.RevocationList) bool { return l.ThisUpdate.After(s.Now()) }},
		{statesim.BadSignature, func(l *x509.RevocationList) bool { return l.CheckSignatureFrom(s.pki.Must("issuing").X509()) != nil }},
	} {
		if err := s.SetFaults(statesim.TargetCRL, statesim.Fault{Kind: tt.fault}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/crl/base.crl", "/crl/delta.crl"} {
			l, err := x509.ParseRevocationList(s.get(path))
			if err != nil || !tt.bad(l) {
				t.Errorf("%s under fault %s is not bad: %v", path, tt.fault, err)
			}
		}
	}
}
