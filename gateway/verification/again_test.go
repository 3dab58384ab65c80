package verification_test

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/growth"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
)

// Every entry of the test PKI is judged three times: a decision that is remembered must be the
// one that was made.
func TestADecisionIsTheSameWhenItComesAgain(t *testing.T) {
	s := newStage(t, nil)
	for _, e := range s.pki.Entries() {
		for _, w := range []verification.Want{
			{At: s.now(), Purpose: trust.PurposeSignPerson}, {At: s.now(), Purpose: trust.PurposeSignLegal},
			{At: s.now(), Purpose: trust.PurposeInformationSystem}, {At: s.now(), Purpose: trust.PurposeAny},
		} {
			c := s.certificate(e.ID)
			first := s.verifier.JudgeCertificate(context.Background(), c, w)
			for range 2 {
				again := s.verifier.JudgeCertificate(context.Background(), s.certificate(e.ID), w)
				if !reflect.DeepEqual(again, first) {
					t.Errorf("%s as %s: %+v, then %+v", e.ID, w.Purpose, first, again)
				}
			}
		}
	}
}

// What is remembered never outlives what it rests on.
func TestARememberedDecisionEndsWithItsGrounds(t *testing.T) {
	tests := []struct {
		name   string
		change func(s *stage)
		want   gateway.Reason
	}{
		{"nothing changed", func(s *stage) {}, ""},
		{"a minute passed", func(s *stage) { s.set(s.now().Add(time.Minute)) }, ""},
		{"the responder says revoked, the old answer has ended", func(s *stage) {
			s.revoke("citizen-01", statesim.Revoked)
			s.set(s.now().Add(11 * time.Minute))
		}, gateway.Revoked},
		{"the new delta says revoked, the old answer has not ended", func(s *stage) {
			s.revoke("citizen-01", statesim.Revoked)
			s.refresh()
		}, gateway.Revoked},
		{"the new list says on hold, the old answer has ended", func(s *stage) {
			s.revoke("citizen-01", statesim.Hold)
			s.set(s.now().Add(11 * time.Minute))
			s.refresh()
		}, gateway.Suspended},
		{"the issuing CA was revoked", func(s *stage) {
			s.revoke("issuing", statesim.Revoked)
			if err := s.world.PublishCRLs(); err != nil {
				s.t.Fatal(err)
			}
			s.refresh()
		}, gateway.IssuerRevoked},
		{"the certificate ended", func(s *stage) { s.set(s.certificate("citizen-01").NotAfter.Add(time.Second)) }, gateway.CertificateExpired},
		{"the issuing CA ended", func(s *stage) { s.set(s.certificate("issuing").NotAfter.Add(time.Second)) }, gateway.IssuerExpired},
		{"evidence ended and nobody answers", func(s *stage) {
			s.away.Store(true)
			s.set(s.now().AddDate(0, 0, 3))
		}, gateway.EvidenceStale},
		{"#92 the anchor was removed", func(s *stage) { s.verifier.SetTrust(s.store("other-root")) }, gateway.NotAnchored},
		{"#92 the anchor was removed and came back", func(s *stage) {
			s.verifier.SetTrust(s.store("other-root"))
			s.judge("citizen-01")
			s.verifier.SetTrust(s.store("root"))
		}, ""},
		{"the accepted policies changed", func(s *stage) {
			st, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: s.certificate("root")}}, Intermediates: []*trust.Certificate{s.certificate("issuing")}, Policies: []trust.OID{"1.2.3"}})
			if err != nil {
				s.t.Fatal(err)
			}
			s.verifier.SetTrust(st)
		}, gateway.CertificatePolicy},
		{"the issuer of revocations was removed", func(s *stage) {
			if err := s.checker.SetIssuers(s.issuers()[1:]); err != nil {
				s.t.Fatal(err)
			}
		}, gateway.ConfigInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, nil)
			for range 3 {
				s.expect(s.judge("citizen-01"), "")
			}
			asked := s.asked.Load()
			tt.change(s)
			out := s.judge("citizen-01")
			if tt.want == gateway.IssuerExpired {
				// The citizen's own end is the earlier one and is told as well.
				if out.Verdict.Checks[1].Reason != gateway.CertificateExpired {
					t.Errorf("validity: %+v", out.Verdict.Checks[1])
				}
			}
			s.expect(out, tt.want)
			if tt.name == "nothing changed" && s.asked.Load() != asked {
				t.Error("the responder was asked again")
			}
		})
	}
}

func (s *stage) revoke(id string, state statesim.RevocationState) {
	s.t.Helper()
	e := s.pki.Must(id)
	if err := s.world.Revoke(statesim.Revocation{Authority: e.Issuer, Serial: e.Serial, State: state, Reason: "keyCompromise"}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) refresh() {
	s.t.Helper()
	if err := s.checker.Refresh(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

func TestARememberedCertificateIsStillBoundToWhoIsNamed(t *testing.T) {
	s := newStage(t, nil)
	s.expect(s.judge("citizen-01"), "")
	c := s.certificate("citizen-01")
	judge := func(w verification.Want) verification.Outcome {
		w.At = s.now()
		return s.verifier.JudgeCertificate(context.Background(), c, w)
	}
	other := s.want("citizen-02").Citizen
	bin, err := gateway.ParseBIN(s.pki.Must("provider-sko-head").BIN)
	if err != nil {
		t.Fatal(err)
	}
	s.expect(judge(verification.Want{Purpose: trust.PurposeSignPerson, Citizen: other}), gateway.IINMismatch)
	s.expect(judge(verification.Want{Purpose: trust.PurposeSignLegal, Organisation: bin}), gateway.ExtendedKeyUsage)
	s.expect(judge(verification.Want{Purpose: trust.PurposeAny, Organisation: bin}), gateway.BINMissing)
	s.expect(judge(verification.Want{Purpose: trust.PurposeSignPerson, Citizen: other, Pinned: s.certificate("citizen-02")}), gateway.NotAnchored)

	head := s.certificate("provider-sko-head")
	for range 2 {
		w := verification.Want{At: s.now(), Purpose: trust.PurposeSignLegal, Organisation: bin}
		s.expect(s.verifier.JudgeCertificate(context.Background(), head, w), "")
		w.Organisation, w.Citizen, w.Purpose = gateway.BIN{}, s.want("provider-sko-head").Citizen, trust.PurposeAny
		s.expect(s.verifier.JudgeCertificate(context.Background(), head, w), gateway.NotACitizen)
	}
}

func TestADecisionThatComesAgainAllocatesNothing(t *testing.T) {
	if growth.RaceDetector {
		t.Skip("the race detector allocates")
	}
	s := newStage(t, nil)
	c, w := s.certificate("citizen-01"), s.want("citizen-01")
	judge := func() {
		if out := s.verifier.JudgeCertificate(context.Background(), c, w); out.Verdict.Status != gateway.Verified {
			t.Fatal(out.Verdict.Reason)
		}
	}
	judge()
	if n := testing.AllocsPerRun(1000, judge); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// #37, #38: the time of truth is that of receipt, or an earlier one that is proven.
func TestTheTimeOfTruth(t *testing.T) {
	s := newStage(t, nil)
	signed := s.now()
	kept, err := s.fetch(context.Background(), "http://sim/crl/issuing/base.crl", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := s.certificate("citizen-01")
	s.set(ended.NotAfter.AddDate(0, 1, 0))
	s.refresh()
	judge := func(v *verification.Verifier, proven time.Time) verification.Outcome {
		w := s.want("citizen-01")
		w.Proven = proven
		return v.JudgeCertificate(context.Background(), ended, w)
	}
	s.expect(judge(s.verifier, time.Time{}), gateway.CertificateExpired) // #37: nobody asks when it says it was signed
	// What is said today is no evidence of what was before the certificate's end.
	s.expect(judge(s.verifier, signed), gateway.StatusUnknown)

	// #38: with the evidence that was kept at the time.
	v, err := verification.New(verification.Config{Trust: s.store("root"), Revocation: archive{kept}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.expect(judge(v, signed), "")
		s.expect(judge(v, time.Time{}), gateway.CertificateExpired)
		s.expect(judge(v, ended.NotBefore.Add(-time.Second)), gateway.CertificateNotYetValid)
		s.expect(judge(v, signed.AddDate(1, 0, 0)), gateway.EvidenceStale)
	}
	admission, err := verification.New(verification.Config{Trust: s.store("root"), Revocation: admissionOnly{s.checker}})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(judge(admission, signed), gateway.ConfigInvalid)
}

// archive judges by kept lists alone.
type archive struct{ crl []byte }

func (a archive) Check(_ context.Context, path *trust.Path, at time.Time) (revocation.Evidence, error) {
	return revocation.Offline(path, at, [][]byte{a.crl}, nil, revocation.OfflineOptions{Scope: revocation.ScopeLeaf})
}

func (a archive) CheckProven(ctx context.Context, path *trust.Path, _, proven time.Time) (revocation.Evidence, error) {
	return a.Check(ctx, path, proven)
}

type admissionOnly struct{ c *revocation.Checker }

func (a admissionOnly) Check(ctx context.Context, path *trust.Path, at time.Time) (revocation.Evidence, error) {
	return a.c.Check(ctx, path, at)
}

// #91: while the clock is unsteady nobody is told that their certificate has ended.
func TestAnUnsteadyClockRefusesNobodyForGood(t *testing.T) {
	var mu sync.Mutex
	monotonic := time.Duration(0)
	s := newStage(t, func(c *revocation.Config) {
		c.Monotonic = func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return monotonic
		}
	})
	s.expect(s.judge("citizen-01"), "")
	s.set(s.now().AddDate(30, 0, 0))
	s.expect(s.judge("citizen-01"), gateway.ClockUnreliable)
	s.set(s.now().AddDate(-30, 0, 0))
	s.expect(s.judge("citizen-01"), gateway.ClockUnreliable)
	s.expect(s.judge("citizen-other-ca"), gateway.NoIssuer)
	s.set(s.now().Add(2 * time.Minute))
	mu.Lock()
	monotonic += 2 * time.Minute
	mu.Unlock()
	s.expect(s.judge("citizen-01"), "")
}

// Anchors change while everybody decides.
func TestAnchorsAreReplacedUnderLoad(t *testing.T) {
	s := newStage(t, nil)
	ours, others := s.store("root"), s.store("other-root")
	c, w := s.certificate("citizen-01"), s.want("citizen-01")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				out := s.verifier.JudgeCertificate(context.Background(), c, w)
				if r := out.Verdict.Reason; r != "" && r != gateway.NotAnchored {
					t.Errorf("%q", r)
					return
				}
			}
		})
	}
	for range 200 {
		s.verifier.SetTrust(others)
		s.expect(s.verifier.JudgeCertificate(context.Background(), c, w), gateway.NotAnchored)
		s.verifier.SetTrust(ours)
		s.expect(s.verifier.JudgeCertificate(context.Background(), c, w), "")
	}
	close(stop)
	wg.Wait()
}
