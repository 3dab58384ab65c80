package revocation_test

import (
	"context"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// #93: what was decided good and had been revoked by then is told once, by whichever evidence.
func TestARevocationPublishedAfterTheDecisionIsTold(t *testing.T) {
	s := newStage(t)
	me := serialOf(s.pki.Must("citizen-01"))
	at := func(d time.Duration) []single {
		return []single{{status: 'r', reason: 1, at: now.Add(d), thisUpdate: now.Add(30 * time.Minute)}}
	}
	full := list{number: 6, thisUpdate: now.Add(20 * time.Minute), revoked: []item{{serial: me, reason: 1}}}.make(s.pki) // revoked a month ago
	hold := list{number: 6, thisUpdate: now.Add(20 * time.Minute), revoked: []item{{serial: me, reason: 6}}}.make(s.pki)
	clean := list{number: 6, thisUpdate: now.Add(20 * time.Minute)}.make(s.pki)
	later := now.Add(30 * time.Minute)
	tests := []struct {
		name   string
		answer []single // nil: the responder is away
		list   []byte
		want   revocation.CRLReason // 0: nothing is told
		at     time.Duration
	}{
		{"the responder says revoked since before the decision", at(-time.Hour), nil, 1, -time.Hour},
		{"the responder says revoked since after the decision", at(10 * time.Minute), nil, 0, 0},
		{"a new list says so", nil, full, 1, now.AddDate(0, -1, 0).Sub(now)},
		{"a new list puts it on hold", nil, hold, 6, now.AddDate(0, -1, 0).Sub(now)},
		{"a new list is clean", nil, clean, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(crlURL, list{}.make(s.pki))
			s.answer(ocspURL, answer{})
			var told []revocation.Late
			k := s.refreshed(func(c *revocation.Config) { c.Late = func(l revocation.Late) { told = append(told, l) } })
			for range 3 {
				if _, err := s.check(k); err != nil {
					t.Fatal(err)
				}
			}
			s.set(later)
			if tt.answer != nil {
				s.answer(ocspURL, answer{producedAt: later, singles: tt.answer})
				_, err := s.check(k)
				wantReason(t, err, gateway.Revoked)
			}
			if tt.list != nil {
				s.publish(crlURL, tt.list)
			}
			for range 2 {
				_ = k.Refresh(context.Background())
			}
			if tt.want == 0 {
				if len(told) > 0 {
					t.Errorf("told %+v", told)
				}
				return
			}
			if len(told) != 1 || told[0].Reason != tt.want || string(told[0].Serial) != string(me) || told[0].Issuer != "issuing" ||
				!told[0].First.Equal(now) || !told[0].Last.Equal(now) || !told[0].RevokedAt.Equal(now.Add(tt.at)) || len(told[0].Evidence.Raw) == 0 {
				t.Errorf("told %+v", told)
			}
		})
	}
}

func TestADecisionIsForgottenAfterTheWindow(t *testing.T) {
	s := newStage(t)
	s.answer(ocspURL, answer{})
	told := 0
	k := s.refreshed(func(c *revocation.Config) {
		c.Late, c.LateWindow = func(revocation.Late) { told++ }, 10*time.Minute
	})
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ { // others are decided while the windows pass
		at := now.Add(time.Duration(i) * 11 * time.Minute)
		s.set(at)
		s.answer(ocspURL, answer{subject: s.pki.Must("citizen-02"), producedAt: at, singles: []single{{status: 'g', thisUpdate: at}}})
		if _, err := s.check(k, "citizen-02", "issuing", "root"); err != nil {
			t.Fatal(err)
		}
	}
	s.answer(ocspURL, answer{producedAt: s.now(), singles: []single{{status: 'r', reason: 1, at: now.Add(-time.Hour), thisUpdate: s.now()}}})
	_, err := s.check(k)
	wantReason(t, err, gateway.Revoked)
	if told != 0 {
		t.Error("a decision of half an hour ago was remembered for ten minutes")
	}
}

// #91: the clock jumps against the monotonic one.
func TestNothingIsDecidedWhileTheClockIsUnsteady(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump time.Duration
		want gateway.Reason
	}{
		{"#91 back by an hour", -time.Hour, gateway.ClockUnreliable},
		{"#91 ahead by a day", 24 * time.Hour, gateway.ClockUnreliable},
		{"ahead by five seconds, as after a slow slew", 5 * time.Second, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.answer(ocspURL, answer{})
			var monotonic time.Duration
			k := s.refreshed(func(c *revocation.Config) {
				c.Issuers[1].CRLMaxAge = 100 * time.Hour
				c.Monotonic = func() time.Duration { return monotonic }
			})
			pass := func(d, jump time.Duration) {
				monotonic += d
				s.set(s.now().Add(d + jump))
				at := s.now()
				s.answer(ocspURL, answer{producedAt: at, singles: []single{{status: 'g', thisUpdate: at}}})
			}
			if _, err := s.check(k); err != nil {
				t.Fatal(err)
			}
			pass(time.Second, tt.jump)
			_, err := s.check(k)
			wantReason(t, err, tt.want)
			wantReason(t, k.Steady(), tt.want)
			pass(50*time.Second, 0)
			_, err = s.check(k)
			wantReason(t, err, tt.want)
			pass(11*time.Second, 0)
			if tt.jump == -time.Hour {
				pass(2*time.Hour, 0) // the lists of the future are believed again later
			}
			if _, err := s.check(k); err != nil {
				t.Errorf("after a steady minute: %v", err)
			}
		})
	}
}

// #38: what is proven to have been signed before counts, unless the key was compromised by then.
func TestARevocationAfterAProvenInstant(t *testing.T) {
	s := newStage(t)
	me := serialOf(s.pki.Must("citizen-01"))
	invalidity := func(d time.Duration) [][]byte {
		return [][]byte{extension(false, oid(2, 5, 29, 24), general(now.Add(d)))}
	}
	revokedAt := now.Add(-24 * time.Hour)
	said := func(reason int, extensions [][]byte) []single {
		return []single{{status: 'r', reason: reason, at: revokedAt, extensions: extensions}}
	}
	const before, after = -48 * time.Hour, -12 * time.Hour
	tests := []struct {
		name   string
		proven time.Duration
		answer []single
		list   *list
		want   gateway.Reason
	}{
		{"superseded since", before, said(4, nil), nil, ""},
		{"superseded by then", after, said(4, nil), nil, gateway.Revoked},
		{"suspended since", before, said(6, nil), nil, ""},
		{"suspended by then", after, said(6, nil), nil, gateway.Suspended},
		{"compromised since, nothing said of before", before, said(1, nil), nil, ""},
		{"compromised, and invalid from after the proof", before, said(1, invalidity(-36*time.Hour)), nil, ""},
		{"compromised, and invalid from before the proof", before, said(1, invalidity(-72*time.Hour)), nil, gateway.Revoked},
		{"a CA's key compromised, and invalid from before the proof", before, said(2, invalidity(-72*time.Hour)), nil, gateway.Revoked},
		{"superseded; an invalidity date means nothing then", before, said(4, invalidity(-72*time.Hour)), nil, ""},
		{"a proof of tomorrow proves nothing", 24 * time.Hour, said(4, nil), nil, gateway.Revoked},
		{"a list: revoked a month ago, before the proof", before, nil, &list{revoked: []item{{serial: me, reason: 4}}}, gateway.Revoked},
		{"a list: revoked a month ago, the proof is older", -60 * 24 * time.Hour, nil, &list{revoked: []item{{serial: me, reason: 4}}}, ""},
		{"a list: compromised, invalid from before the proof", -60 * 24 * time.Hour, nil, &list{revoked: []item{{serial: me, reason: 1, extensions: invalidity(-90 * 24 * time.Hour)}}}, gateway.Revoked},
		{"good", before, []single{{status: 'g'}}, nil, ""},
		{"unknown", before, []single{{status: 'u'}}, nil, gateway.StatusUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			if tt.answer != nil {
				s.answer(ocspURL, answer{singles: tt.answer})
			}
			if tt.list != nil {
				s.publish(crlURL, tt.list.make(s.pki))
			}
			k := s.refreshed(nil)
			path := pathOf(t, s.pki, "citizen-01", "issuing", "root")
			_, err := k.CheckProven(context.Background(), path, now, now.Add(tt.proven))
			wantReason(t, err, tt.want)
			_, err = k.Check(context.Background(), path, now)
			if (err == nil) != (tt.name == "good") {
				t.Errorf("without the proof: %v", err)
			}
		})
	}
	t.Run("evidence from after the certificate's end", func(t *testing.T) {
		s.answer(ocspURL, answer{subject: s.pki.Must("citizen-expired")})
		k := s.refreshed(nil)
		_, err := k.CheckProven(context.Background(), pathOf(t, s.pki, "citizen-expired", "issuing", "root"), now, now.AddDate(-2, 0, 0))
		wantReason(t, err, gateway.StatusUnknown)
	})
}

func TestIssuersAreReplacedWhileTheCheckerRuns(t *testing.T) {
	s := newStage(t)
	s.answer(ocspURL, answer{})
	var config revocation.Config
	k := s.refreshed(func(c *revocation.Config) { config = *c })
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	asked := s.asked.Load()
	if err := k.SetIssuers(config.Issuers); err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(k); err != nil || s.asked.Load() != asked {
		t.Errorf("after the same configuration again: %v, %d more questions", err, s.asked.Load()-asked)
	}
	if k.SetIssuers(nil) == nil || k.SetIssuers([]revocation.Issuer{{}}) == nil {
		t.Error("a configuration that cannot work was taken")
	}
	if err := k.SetIssuers(config.Issuers[1:]); err != nil {
		t.Fatal(err)
	}
	_, err := s.check(k)
	wantReason(t, err, gateway.ConfigInvalid)
	if err := k.SetIssuers(config.Issuers); err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(k); err != nil {
		t.Error(err)
	}
}

func TestAListIsFetchedOnlyWhenThePublisherHasANewerOne(t *testing.T) {
	s := newStage(t)
	type asked struct{ url, tag string }
	var log []asked
	etag, away := `"v1"`, false
	s.publish(crlURL, list{}.make(s.pki))
	k := s.checker(func(c *revocation.Config) {
		c.Issuers[0].OCSP, c.Issuers[0].DeltaCRL = nil, ""
		c.FetchCRL = func(ctx context.Context, url, tag string) ([]byte, string, bool, error) {
			if url == crlURL {
				log = append(log, asked{url, tag})
				switch {
				case away:
					return nil, "", false, errAway
				case tag == etag:
					return nil, tag, true, nil
				}
			}
			raw, err := s.fetch(ctx, url, nil)
			return raw, etag, false, err
		}
	})
	refresh := func(want string, reason gateway.Reason) {
		t.Helper()
		log = nil
		err := k.Refresh(context.Background())
		wantReason(t, err, reason)
		if len(log) != 1 || log[0].tag != want {
			t.Errorf("asked %v, want the tag %s", log, want)
		}
	}
	refresh("", "")
	refresh(`"v1"`, "")
	if _, err := s.check(k); err != nil {
		t.Fatal(err)
	}
	away = true
	refresh(`"v1"`, gateway.StatusUnavailable)
	away, etag = false, `"v2"`
	s.publish(crlURL, list{mangle: func(b []byte) []byte { return b[:9] }}.make(s.pki))
	refresh(`"v1"`, gateway.EvidenceUntrusted)
	refresh(`"v1"`, gateway.EvidenceUntrusted) // the tag of what was refused is not kept
	s.publish(crlURL, list{number: 6, revoked: []item{{serial: serialOf(s.pki.Must("citizen-01")), reason: 4}}}.make(s.pki))
	refresh(`"v1"`, "")
	_, err := s.check(k)
	wantReason(t, err, gateway.Revoked)
	s.set(now.AddDate(0, 0, 30)) // what is held proves nothing any more: it is asked for whole
	refresh("", "")
}
