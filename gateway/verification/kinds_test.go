package verification_test

import (
	"context"
	"strings"
	"testing"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
)

// #1, #2: every citizen of the test PKI, RSA and GOST, gets the verdict of the manifest: by
// OCSP, by the lists alone while the responder is away, and again when remembered.
func TestCitizensOfBothKindsOfKeys(t *testing.T) {
	s := newStage(t, nil)
	good := map[testpki.Algorithm]int{}
	for _, away := range []bool{false, true} {
		s.away.Store(away)
		// A checker of its own: what OCSP said before must not be remembered.
		fresh := newStage(t, nil)
		fresh.away.Store(away)
		for _, e := range s.pki.Entries() {
			if e.Role != testpki.RoleCitizen || e.IIN == "" || e.Expect == gateway.IINChecksum {
				continue
			}
			want := e.Expect
			switch {
			case e.Issuer == "issuing-revoked":
				want = gateway.NoIssuer // that CA is not configured here
			case away && e.Expect == gateway.NeverIssued:
				want = "" // no list can know what was never issued
			case e.Expect == gateway.CertificateSignature:
				want = gateway.CertificateSignature
			}
			for range 3 {
				out := fresh.judge(e.ID)
				if got := out.Verdict.Reason; got != want {
					t.Errorf("%s, responder away %t: %q (%s), want %q", e.ID, away, got, out.Verdict.Detail, want)
				}
				if want == "" {
					good[e.Algorithm]++
					byList := away || e.Status.State == testpki.Unknown
					if byList == (out.Evidence.Method == revocation.MethodOCSP) {
						t.Errorf("%s, responder away %t: proven by %q", e.ID, away, out.Evidence.Method)
					}
				}
			}
		}
	}
	if good[testpki.RSA] < 20 || good[testpki.GOST2015] < 20 {
		t.Errorf("good decisions: %v", good)
	}
}

// The anchors, lists and responders of one kind say nothing about the other.
func TestKindsOfKeysDoNotMix(t *testing.T) {
	s := newStage(t, nil)
	only := func(anchor string) *verification.Verifier {
		v, err := verification.New(verification.Config{Trust: s.store(anchor), Revocation: s.checker})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		anchor, id string
		want       gateway.Reason
	}{
		{"root", "citizen-01", ""}, {"root", "gost-citizen-01", gateway.NotAnchored},
		{"gost-root", "citizen-01", gateway.NotAnchored}, {"gost-root", "gost-citizen-01", ""},
	} {
		s.expect(only(tt.anchor).JudgeCertificate(context.Background(), s.certificate(tt.id), s.want(tt.id)), tt.want)
	}
	// The RSA responder's answer about a GOST certificate, and the other way round.
	for _, tt := range []struct{ id, issuer string }{{"citizen-01", "issuing"}, {"gost-citizen-01", "gost-issuing"}} {
		var answers, lists [][]byte
		ask := func(ctx context.Context, url string, body []byte) ([]byte, error) {
			raw, err := s.fetch(ctx, url, body)
			if body != nil && err == nil {
				answers = append(answers, raw)
			} else if err == nil {
				lists = append(lists, raw)
			}
			return raw, err
		}
		other := "gost-citizen-01"
		if strings.HasPrefix(tt.id, "gost-") {
			other = "citizen-01"
		}
		k, err := revocation.New(revocation.Config{Fetch: ask, Now: s.now, Issuers: s.issuers()})
		if err != nil {
			t.Fatal(err)
		}
		judge := s.store("root", "gost-root").Judge(s.certificate(other), trust.JudgeOptions{At: s.now(), Purpose: trust.PurposeSignPerson})
		if _, err := k.Check(context.Background(), judge.Path, s.now()); err != nil && gateway.ReasonOf(err).Class() == gateway.Permanent {
			t.Fatal(err)
		}
		path := s.store("root", "gost-root").Judge(s.certificate(tt.id), trust.JudgeOptions{At: s.now(), Purpose: trust.PurposeSignPerson}).Path
		_, err = revocation.Offline(path, s.now(), lists, answers, revocation.OfflineOptions{Scope: revocation.ScopeLeaf})
		if err == nil || len(answers) == 0 {
			t.Errorf("%s was proven good by %d answers about %s", tt.id, len(answers), other)
		}
	}
}
