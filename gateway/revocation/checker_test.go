package revocation_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
)

func rootListOf(p *testpki.PKI, at time.Time) list {
	return list{issuer: p.Must("root"), thisUpdate: at.Add(-time.Hour)}
}

// R4c: the whole test PKI, with a responder that says what the manifest says.
func TestEveryEntryOfTheTestPKIHasTheStatusOfItsManifest(t *testing.T) {
	s := newStage(t)
	for _, e := range s.pki.Entries() {
		if e.Issuer != "issuing" {
			continue
		}
		t.Run(e.ID, func(t *testing.T) {
			a := answer{subject: e}
			switch e.Status.State {
			case "revoked":
				a.singles = revokedFor(1)
			case "hold":
				a.singles = revokedFor(6)
			case "unknown":
				a.singles = []single{{status: 'u'}}
			case "never-issued":
				a.extendedRevoke, a.singles = true, []single{{status: 'r', reason: 6, at: e.Status.At}}
			}
			s.answer(ocspURL, a)
			s.publish(crlURL, list{}.make(s.pki))
			_, err := s.check(s.refreshed(nil), e.ID, "issuing", "root")
			want := e.Expect
			if !strings.HasPrefix(string(want), "revocation.") {
				want = ""
			}
			wantReason(t, err, want)
		})
	}
}

// #90: however many wait for one certificate, its responder is asked once.
func TestFiveThousandRequestsForOneColdCertificateAskOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer answer
		want   gateway.Reason
	}{{"good", answer{}, ""}, {"revoked", answer{singles: revokedFor(1)}, gateway.Revoked}, {"unknown", answer{singles: []single{{status: 'u'}}}, gateway.StatusUnknown}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.respond(ocspURL, func(_ context.Context, nonce []byte) ([]byte, error) {
				time.Sleep(20 * time.Millisecond)
				return tt.answer.make(s.pki, nonce), nil
			})
			k := s.refreshed(func(c *revocation.Config) { c.OCSPTimeout = 20 * time.Second })
			path := pathOf(t, s.pki, "citizen-01", "issuing", "root")
			var wg sync.WaitGroup
			var wrong atomic.Int64
			for range 5000 {
				wg.Go(func() {
					if _, err := k.Check(context.Background(), path, now); gateway.ReasonOf(err) != tt.want {
						wrong.Add(1)
					}
				})
			}
			wg.Wait()
			if asked := s.asked.Load(); asked != 1 || wrong.Load() != 0 {
				t.Errorf("%d questions, %d wrong verdicts", asked, wrong.Load())
			}
		})
	}
}

// Verdicts stay right while lists are swapped and answers change under many callers.
func TestChecksWhileListsAreSwapped(t *testing.T) {
	s := newStage(t)
	others := []item{{serial: []byte{7}, reason: 1}}
	s.publish(crlURL, list{revoked: others}.make(s.pki))
	s.answer(ocspURL, answer{singles: []single{{status: 'u'}}})
	k := s.refreshed(func(c *revocation.Config) { c.OCSPTimeout = 20 * time.Second })
	listed := pathOf(t, s.pki, "citizen-revoked", "issuing", "root")
	clean := pathOf(t, s.pki, "citizen-01", "issuing", "root")
	var wg sync.WaitGroup
	var published atomic.Bool
	done := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				known := published.Load()
				if _, err := k.Check(context.Background(), clean, now); err != nil {
					t.Errorf("clean: %v", err)
					return
				}
				if _, err := k.Check(context.Background(), listed, now); known && gateway.ReasonOf(err) != gateway.Revoked {
					t.Errorf("listed: %v", err)
					return
				}
			}
		})
	}
	for i := range 30 {
		l := list{number: 6 + i, revoked: others}
		if i >= 10 {
			l.revoked = append(l.revoked, item{serial: serialOf(s.pki.Must("citizen-revoked")), reason: 1})
		}
		s.publish(crlURL, l.make(s.pki))
		_ = k.Refresh(context.Background())
		if i >= 10 {
			published.Store(true)
		}
	}
	close(done)
	wg.Wait()
}

// What was learned is not unlearned by an older answer.
func TestNewerEvidenceReplacesOlderAndNeverTheReverse(t *testing.T) {
	type step struct {
		after  time.Duration
		single single
		want   gateway.Reason
	}
	minute := time.Minute
	tests := []struct {
		name  string
		steps []step
	}{
		{"#64 revoked, then an old good", []step{
			{0, single{status: 'r', reason: 1, at: now}, gateway.Revoked},
			{11 * minute, single{status: 'g', thisUpdate: now.Add(-minute)}, gateway.Revoked}}},
		{"revoked, then even a newer good", []step{
			{0, single{status: 'r', reason: 1, at: now}, gateway.Revoked},
			{11 * minute, single{status: 'g', thisUpdate: now.Add(11 * minute)}, gateway.Revoked}}},
		{"hold, then a good from before", []step{
			{0, single{status: 'r', reason: 6, at: now}, gateway.Suspended},
			{2 * minute, single{status: 'g', thisUpdate: now.Add(-minute)}, gateway.Suspended}}},
		{"hold, then a good of the same instant", []step{
			{0, single{status: 'r', reason: 6, at: now}, gateway.Suspended},
			{2 * minute, single{status: 'g', thisUpdate: now}, gateway.Suspended}}},
		{"hold, then a newer good", []step{
			{0, single{status: 'r', reason: 6, at: now}, gateway.Suspended},
			{2 * minute, single{status: 'g', thisUpdate: now.Add(2 * minute)}, ""}}},
		{"hold is remembered for less than a minute and then asked again", []step{
			{0, single{status: 'r', reason: 6, at: now}, gateway.Suspended},
			{minute / 2, single{status: 'g', thisUpdate: now.Add(minute / 2)}, gateway.Suspended},
			{minute + time.Second, single{status: 'g', thisUpdate: now.Add(minute)}, ""}}},
		{"good is remembered for ten minutes and then asked again", []step{
			{0, single{status: 'g'}, ""},
			{9 * minute, single{status: 'r', reason: 1, at: now, thisUpdate: now.Add(9 * minute)}, ""},
			{10*minute + time.Second, single{status: 'r', reason: 1, at: now, thisUpdate: now.Add(10 * minute)}, gateway.Revoked}}},
		{"unknown, then good", []step{
			{0, single{status: 'u'}, gateway.StatusUnknown},
			{31 * time.Second, single{status: 'g', thisUpdate: now.Add(31 * time.Second)}, ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			k := s.refreshed(nil)
			for i, step := range tt.steps {
				at := now.Add(step.after)
				s.set(at)
				if step.single.thisUpdate.IsZero() {
					step.single.thisUpdate = at
				}
				s.answer(ocspURL, answer{producedAt: at, singles: []single{step.single}})
				_, err := s.check(k)
				if gateway.ReasonOf(err) != step.want {
					t.Fatalf("step %d: %v, want %q", i+1, err, step.want)
				}
			}
		})
	}
}

func TestAListThatRevokesWinsOverAGoodAnswerInMemory(t *testing.T) {
	s := newStage(t)
	s.answer(ocspURL, answer{})
	k := s.refreshed(nil)
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	s.publish(crlURL, list{revoked: []item{{serial: serialOf(s.pki.Must("citizen-01")), reason: 1}}}.make(s.pki))
	_ = k.Refresh(context.Background())
	_, err := s.check(k)
	wantReason(t, err, gateway.Revoked)
	if s.asked.Load() != 1 {
		t.Error("the responder was asked about what the list revokes")
	}
}

// The memory of answers is bounded: what does not fit is asked again and never guessed.
func TestGoodIsRememberedInBounds(t *testing.T) {
	s := newStage(t)
	var all []*testpki.Entry
	for _, e := range s.pki.Entries() {
		if e.Issuer == "issuing" {
			all = append(all, e)
		}
	}
	var everybody []single
	for _, e := range all[:16] {
		everybody = append(everybody, single{status: 'g', serial: serialOf(e)})
	}
	s.answer(ocspURL, answer{singles: everybody})
	for _, tt := range []struct {
		name        string
		memory      int
		least, most int64
	}{{"room for all", 0, 16, 16}, {"room for one in each part", 1, 17, 32}} {
		t.Run(tt.name, func(t *testing.T) {
			s.asked.Store(0)
			k := s.refreshed(func(c *revocation.Config) { c.Memory = tt.memory })
			for range 2 {
				for _, e := range all[:16] {
					if _, err := s.check(k, e.ID, "issuing", "root"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n := s.asked.Load(); n < tt.least || n > tt.most {
				t.Errorf("%d questions about 16 certificates, each checked twice", n)
			}
		})
	}
}

func TestAnInstantAfterNowIsRefused(t *testing.T) {
	s := newStage(t)
	s.answer(ocspURL, answer{})
	k := s.refreshed(nil)
	_, err := k.Check(context.Background(), pathOf(t, s.pki, "citizen-01", "issuing", "root"), now.Add(3*time.Minute))
	wantReason(t, err, gateway.ClockUnreliable)
}

func TestAPinnedLeafIsCheckedWithItsConfiguredIssuer(t *testing.T) {
	s := newStage(t)
	s.answer(ocspURL, answer{singles: revokedFor(1)})
	k := s.refreshed(nil)
	_, err := s.check(k, "citizen-01")
	wantReason(t, err, gateway.Revoked)
	_, err = s.check(k, "citizen-same-name-ca")
	wantReason(t, err, gateway.ConfigInvalid)
}

func TestRunKeepsTheListsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		start := time.Now()
		var loads, deltas atomic.Int64
		k := s.checker(func(c *revocation.Config) {
			c.Now = time.Now
			c.Issuers[0].OCSP = nil
			c.Fetch = func(_ context.Context, url string, _ []byte) ([]byte, error) {
				switch url {
				case crlURL:
					if n := loads.Add(1); n == 1 {
						return nil, errAway // the first try fails and is repeated within a minute
					}
					return list{thisUpdate: time.Now()}.make(s.pki), nil
				case deltaURL:
					deltas.Add(1)
					return list{base: 5, thisUpdate: time.Now()}.make(s.pki), nil
				}
				return list{issuer: s.pki.Must("root"), thisUpdate: time.Now()}.make(s.pki), nil
			}
		})
		if k.Ready() == nil {
			t.Error("ready before anything was loaded")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		if err := k.Ready(); err != nil {
			t.Errorf("after the second try: %v", err)
		}
		time.Sleep(4*time.Hour - time.Since(start))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if loads.Load() < 4 || loads.Load() > 6 || deltas.Load() < 23 || deltas.Load() > 25 {
			t.Errorf("%d full and %d delta lists in four hours", loads.Load(), deltas.Load())
		}
	})
}

func TestReady(t *testing.T) {
	s := newStage(t)
	k := s.refreshed(nil)
	if err := k.Ready(); err == nil {
		t.Error("ready with a list that cannot be had and a responder that was never asked")
	}
	s.answer(ocspURL, answer{signer: s.pki.Must("ocsp-responder")})
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	if err := k.Ready(); err != nil {
		t.Errorf("the responder has answered: %v", err)
	}
	s.set(now.AddDate(0, 0, 30))
	if err := k.Ready(); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("the root's list is a month old: %v", err)
	}
}

// What the rules of monitoring/ alert on.
func TestMetricsThatAlertsHangOn(t *testing.T) {
	s := newStage(t)
	r := prometheus.NewPedanticRegistry()
	s.publish(crlURL, list{thisUpdate: now.Add(-25 * time.Hour), revoked: []item{{serial: []byte{1}, reason: 1}}}.make(s.pki))
	s.answer(ocspURL, answer{signer: s.pki.Must("citizen-02")})
	k := s.refreshed(func(c *revocation.Config) {
		c.Metrics = r
		c.Watch = map[string]*trust.Certificate{"gateway": certificate(t, s.pki.Must("system-gateway").DER)}
	})
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	s.set(now.Add(2 * time.Hour))
	_, err := s.check(k)
	wantReason(t, err, gateway.EvidenceUntrusted)
	for range 3 { // five failures in a row are enough to spare it
		_, err = s.check(k)
		wantReason(t, err, gateway.EvidenceUntrusted)
	}
	want := `
# HELP egov_gateway_revocation_breaker_open 1 while a responder is spared after repeated failures, by its number in the configuration.
# TYPE egov_gateway_revocation_breaker_open gauge
egov_gateway_revocation_breaker_open{issuer="issuing",responder="1"} 1
# HELP egov_gateway_revocation_checks_total Paths checked, by what proved it and the reason of a refusal (empty: good).
# TYPE egov_gateway_revocation_checks_total counter
egov_gateway_revocation_checks_total{method="",reason="revocation.untrusted"} 4
egov_gateway_revocation_checks_total{method="crl",reason=""} 1
egov_gateway_revocation_checks_total{method="crl+delta",reason=""} 0
egov_gateway_revocation_checks_total{method="ocsp",reason=""} 0
# HELP egov_gateway_revocation_crl_entries Entries in the CRL held.
# TYPE egov_gateway_revocation_crl_entries gauge
egov_gateway_revocation_crl_entries{issuer="issuing",kind="full"} 1
egov_gateway_revocation_crl_entries{issuer="root",kind="full"} 0
# HELP egov_gateway_revocation_crl_loads_total CRL downloads, by issuer, kind and reason of refusal (empty: loaded, or nothing newer).
# TYPE egov_gateway_revocation_crl_loads_total counter
egov_gateway_revocation_crl_loads_total{issuer="issuing",kind="delta",reason="revocation.unavailable"} 1
egov_gateway_revocation_crl_loads_total{issuer="issuing",kind="full",reason=""} 1
egov_gateway_revocation_crl_loads_total{issuer="root",kind="full",reason=""} 1
# HELP egov_gateway_revocation_crl_next_update_seconds Seconds until the CA promised the next CRL; negative when it is overdue.
# TYPE egov_gateway_revocation_crl_next_update_seconds gauge
egov_gateway_revocation_crl_next_update_seconds{issuer="issuing",kind="full"} 507600
egov_gateway_revocation_crl_next_update_seconds{issuer="root",kind="full"} 594000
# HELP egov_gateway_revocation_crl_usable_seconds Seconds until the CRLs held prove nothing any more; negative when they do not now.
# TYPE egov_gateway_revocation_crl_usable_seconds gauge
egov_gateway_revocation_crl_usable_seconds{issuer="issuing"} -3600
egov_gateway_revocation_crl_usable_seconds{issuer="root"} 82800
# HELP egov_gateway_clock_steady 0 while nothing is decided because the clock jumped.
# TYPE egov_gateway_clock_steady gauge
egov_gateway_clock_steady 1
# HELP egov_gateway_certificate_expiry_timestamp_seconds When a certificate that the gateway depends on ends, seconds since 1970.
# TYPE egov_gateway_certificate_expiry_timestamp_seconds gauge
egov_gateway_certificate_expiry_timestamp_seconds{name="gateway",role="own"} 2.0827584e+09
egov_gateway_certificate_expiry_timestamp_seconds{name="issuing",role="ca"} 2.366841600e+09
egov_gateway_certificate_expiry_timestamp_seconds{name="root",role="ca"} 2.3668416e+09
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "egov_gateway_revocation_breaker_open", "egov_gateway_revocation_checks_total",
		"egov_gateway_revocation_crl_entries", "egov_gateway_revocation_crl_loads_total", "egov_gateway_revocation_crl_next_update_seconds",
		"egov_gateway_revocation_crl_usable_seconds", "egov_gateway_clock_steady", "egov_gateway_certificate_expiry_timestamp_seconds"); err != nil {
		t.Error(err)
	}
	s.answer(ocspURL, answer{producedAt: s.now(), singles: []single{{status: 'g', thisUpdate: s.now()}}})
	s.set(now.Add(2*time.Hour + time.Minute))
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "egov_gateway_") {
			t.Errorf("%s has not the prefix of the gateway", f.GetName())
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == "responder" {
					got["responder"] = m.GetGauge().GetValue()
				}
			}
			if f.GetName() == "egov_gateway_revocation_breaker_open" {
				got["breaker"] = m.GetGauge().GetValue()
			}
			if f.GetName() == "egov_gateway_revocation_evidence_age_seconds" {
				got["ages"], got["age"] = float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()
			}
			if f.GetName() == "egov_gateway_revocation_ocsp_duration_seconds" {
				got["exchanges"] += float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	for name, want := range map[string]float64{"responder": float64(s.pki.Must("ocsp-responder").X509().NotAfter.Unix()), "breaker": 0, "ages": 2, "age": 25*3600 + 60, "exchanges": 6} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	s := newStage(t)
	ca := certificate(t, s.pki.Must("issuing").DER)
	issuer := func(i revocation.Issuer) []revocation.Issuer { return []revocation.Issuer{i} }
	tests := []struct {
		name   string
		config revocation.Config
	}{
		{"no Fetch", revocation.Config{Issuers: issuer(revocation.Issuer{Certificate: ca, CRL: crlURL})}},
		{"no issuers", revocation.Config{Fetch: s.fetch}},
		{"an issuer without certificate", revocation.Config{Fetch: s.fetch, Issuers: issuer(revocation.Issuer{CRL: crlURL})}},
		{"no source", revocation.Config{Fetch: s.fetch, Issuers: issuer(revocation.Issuer{Certificate: ca})}},
		{"a delta alone", revocation.Config{Fetch: s.fetch, Issuers: issuer(revocation.Issuer{Certificate: ca, OCSP: []string{ocspURL}, DeltaCRL: deltaURL})}},
		{"two issuers of one name", revocation.Config{Fetch: s.fetch, Issuers: append(issuer(revocation.Issuer{Certificate: ca, Label: "a", CRL: crlURL}), revocation.Issuer{Certificate: ca, Label: "a", CRL: otherCRL})}},
		{"a nonce of four octets", revocation.Config{Fetch: s.fetch, Issuers: issuer(revocation.Issuer{Certificate: ca, CRL: crlURL, NonceSize: 4})}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := revocation.New(tt.config); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestTheNonceHasTheConfiguredSize(t *testing.T) {
	for _, size := range []int{0, 8, 16, 32} {
		s := newStage(t)
		var got int
		s.respond(ocspURL, func(_ context.Context, nonce []byte) ([]byte, error) {
			got = len(nonce)
			return answer{}.make(s.pki, nonce), nil
		})
		if _, err := s.check(s.refreshed(func(c *revocation.Config) { c.Issuers[0].NonceSize = size })); err != nil {
			t.Fatal(err)
		}
		if want := size; size == 0 && got != 32 || size != 0 && got != want {
			t.Errorf("configured %d, sent %d octets", size, got)
		}
	}
}

// A good answer is renewed in the background from half of its life on, once and not by all.
func TestAGoodAnswerIsRenewedAheadOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // the clock of the test starts long before its certificates
		s := newStage(t)
		s.respond(ocspURL, func(_ context.Context, nonce []byte) ([]byte, error) {
			time.Sleep(100 * time.Millisecond)
			at := time.Now()
			return answer{producedAt: at, singles: []single{{status: 'g', thisUpdate: at}}}.make(s.pki, nonce), nil
		})
		s.publish(rootCRL, rootListOf(s.pki, time.Now()).make(s.pki))
		k := s.refreshed(func(c *revocation.Config) { c.Now = time.Now })
		path := pathOf(t, s.pki, "citizen-01", "issuing", "root")
		check := func() time.Duration {
			start := time.Now()
			if _, err := k.Check(t.Context(), path, start); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if check() == 0 {
			t.Error("the first check did not wait for the responder")
		}
		for range 60 { // an hour, a check a minute: nobody waits again
			time.Sleep(time.Minute)
			for range 10 {
				if took := check(); took > 0 {
					t.Errorf("waited %v", took)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if n := s.asked.Load(); n < 8 || n > 13 {
			t.Errorf("%d questions in an hour", n)
		}
	})
}

func TestAnIncidentWidensTheAgeOfListsForAWhile(t *testing.T) {
	s := newStage(t)
	s.publish(crlURL, list{thisUpdate: now.Add(-40 * time.Hour), nextUpdate: now.Add(10 * time.Hour)}.make(s.pki))
	k := s.refreshed(func(c *revocation.Config) { c.Issuers[0].OCSP, c.Issuers[1].CRLMaxAge = nil, 1000*time.Hour })
	want := func(reason gateway.Reason, degraded bool) {
		t.Helper()
		e, err := s.check(k)
		wantReason(t, err, reason)
		if e.Degraded != degraded {
			t.Errorf("degraded is %t", e.Degraded)
		}
	}
	want(gateway.EvidenceStale, false)
	if k.Widen("issuing", 72*time.Hour, now.Add(25*time.Hour)) == nil || k.Widen("nobody", time.Hour, now) == nil {
		t.Error("an endless incident, or one of nobody's, was accepted")
	}
	if err := k.Widen("issuing", 72*time.Hour, now.Add(12*time.Hour)); err != nil {
		t.Fatal(err)
	}
	want("", true)
	s.set(now.Add(11 * time.Hour)) // past nextUpdate
	want(gateway.EvidenceStale, false)
	s.set(now.Add(13 * time.Hour))
	want(gateway.EvidenceStale, false)
	s.set(now)
	if err := k.Widen("issuing", 0, now); err != nil {
		t.Fatal(err)
	}
	want(gateway.EvidenceStale, false)
}
