package revocation_test

import (
	"context"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// R4c: what was once said by verified evidence, and the ways in which it could be forgotten. In each row
// the world says one thing after the other; what is left unsaid stays as it was.
func TestNothingLearnedOfACertificateIsForgotten(t *testing.T) {
	p := pki(t)
	me := serialOf(p.Must("citizen-01"))
	is := func(reason int) []item { return []item{{serial: me, reason: reason}} }
	idp := func(parts ...[]byte) [][]byte {
		return [][]byte{extension(true, oid(2, 5, 29, 28), tlv(0x30, parts...))}
	}
	forUsers := idp(tlv(0x81, []byte{0xff}))
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	said := func(status byte, reason int, at time.Time) *answer {
		return &answer{producedAt: at, noNonce: true, singles: []single{{status: status, reason: reason, at: ago(500), thisUpdate: at}}}
	}
	type step struct {
		at          time.Time // the clock; zero: now
		full, delta *list
		away        bool    // the publisher of the full list
		answer      *answer // of the responder, asked at once; it is away otherwise
		settings    bool    // the issuer's settings change, as by SIGHUP
		want        gateway.Reason
	}
	unchecked := gateway.Reason("unchecked")
	tests := []struct {
		name  string
		edit  func(*revocation.Config)
		steps []step
	}{
		{"A1 a delta revokes, the next delta completes a newer full list, which cannot be had", nil, []step{
			{full: &list{thisUpdate: ago(60)}, delta: &list{base: 5, number: 20, thisUpdate: ago(20), revoked: is(1)}, want: gateway.Revoked},
			{delta: &list{base: 6, number: 21, thisUpdate: ago(10)}, away: true, want: gateway.Revoked}}},
		{"A1 a delta suspends, the next delta completes a newer full list, which cannot be had", nil, []step{
			{full: &list{thisUpdate: ago(60)}, delta: &list{base: 5, number: 20, thisUpdate: ago(20), revoked: is(6)}, want: gateway.Suspended},
			{delta: &list{base: 6, number: 21, thisUpdate: ago(10)}, away: true, want: gateway.Suspended}}},
		{"A1 and the newer full list names it when it comes", nil, []step{
			{full: &list{thisUpdate: ago(60)}, delta: &list{base: 5, number: 20, thisUpdate: ago(20), revoked: is(6)}, want: gateway.Suspended},
			{delta: &list{base: 6, number: 21, thisUpdate: ago(10)}, away: true, want: gateway.Suspended},
			{full: &list{number: 6, thisUpdate: ago(10), revoked: is(6)}, want: gateway.Suspended},
			{delta: &list{base: 6, number: 22, thisUpdate: ago(5), revoked: is(8)}, want: ""}}},
		{"A1 and the newer full list shows that the hold was lifted", nil, []step{
			{full: &list{thisUpdate: ago(60)}, delta: &list{base: 5, number: 20, thisUpdate: ago(20), revoked: is(6)}, want: gateway.Suspended},
			{delta: &list{base: 6, number: 21, thisUpdate: ago(10)}, away: true, want: gateway.Suspended},
			{full: &list{number: 6, thisUpdate: ago(10)}, want: ""}}},
		{"A2 a hold that stands only in a delta for a newer full list", nil, []step{
			{full: &list{thisUpdate: ago(60)}, delta: &list{base: 6, number: 20, thisUpdate: ago(20), revoked: is(6)}, want: gateway.Suspended}}},
		{"A2 a responder on hold in a delta for a newer full list says nothing", nil, []step{
			{full: &list{thisUpdate: ago(60)}, delta: &list{base: 6, number: 20, thisUpdate: ago(20), revoked: append([]item{{serial: serialOf(p.Must("ocsp-responder")), reason: 6}}, is(6)...)},
				answer: said('g', 0, now), want: gateway.Suspended}}},
		{"A5 a delta of another scope that came first lifts no hold", nil, []step{
			{delta: &list{base: 5, number: 20, thisUpdate: ago(20), revoked: is(8), extensions: forUsers}, away: true, want: unchecked},
			{full: &list{thisUpdate: ago(60), revoked: is(6)}, want: gateway.Suspended}}},
		{"A5 a delta lifts no hold of a full list that changed its scope", nil, []step{
			{full: &list{thisUpdate: ago(60), revoked: is(6)}, delta: &list{base: 5, number: 20, thisUpdate: ago(20), revoked: is(8)}, want: ""},
			{full: &list{number: 6, thisUpdate: ago(30), revoked: is(6), extensions: forUsers}, want: gateway.Suspended}}},
		{"A5 a full list of another scope lifts no hold by leaving it out", nil, []step{
			{full: &list{thisUpdate: ago(60), revoked: is(6)}, want: gateway.Suspended},
			{full: &list{number: 6, thisUpdate: ago(30), extensions: forUsers}, want: gateway.Suspended},
			{full: &list{number: 7, thisUpdate: ago(20)}, want: ""}}},
		{"A7 on hold, then unknown, then a good answer from before the hold", nil, []step{
			{at: ago(9), full: &list{thisUpdate: ago(60)}, answer: said('r', 6, ago(9)), want: gateway.Suspended},
			{at: ago(7), answer: said('u', 0, ago(7)), want: gateway.Suspended},
			{at: ago(6), answer: said('g', 0, ago(10)), want: gateway.Suspended},
			{at: ago(4), answer: said('g', 0, ago(4)), want: ""}}},
		{"A7 on hold, and a minute later the responder is away and a list from before is fresh", nil, []step{
			{at: ago(9), full: &list{thisUpdate: ago(60)}, answer: said('r', 6, ago(9)), want: gateway.Suspended},
			{want: gateway.Suspended},
			{full: &list{number: 6, thisUpdate: ago(1)}, want: ""}}},
		{"A8 a full list revokes, the next one leaves it out", nil, []step{
			{full: &list{thisUpdate: ago(60), revoked: is(1)}, want: gateway.Revoked},
			{full: &list{number: 6, thisUpdate: ago(30)}, want: gateway.Revoked},
			{full: &list{number: 7, thisUpdate: ago(20)}, answer: said('g', 0, ago(1)), want: gateway.Revoked}}},
		{"A8 the responder revokes, and the settings of the issuer change", nil, []step{
			{at: ago(5), full: &list{thisUpdate: ago(60)}, answer: said('r', 1, ago(5)), want: gateway.Revoked},
			{settings: true, answer: said('g', 0, ago(6)), want: gateway.Revoked}}},
		{"A8 a full list revokes, and the settings change while the publisher is away", nil, []step{
			{full: &list{thisUpdate: ago(60), revoked: is(1)}, want: gateway.Revoked},
			{settings: true, away: true, answer: said('g', 0, ago(6)), want: gateway.Revoked}}},
		{"A8 the responder revokes, and answers about others fill the memory", func(c *revocation.Config) { c.Memory = 1 }, []step{
			{at: ago(5), full: &list{thisUpdate: ago(60)}, answer: said('r', 1, ago(5)), want: gateway.Revoked},
			{answer: said('g', 0, ago(6)), want: gateway.Revoked}}},
		{"A10 good under the name asked for, revoked under the one by SHA-1", nil, []step{
			{full: &list{thisUpdate: ago(60)}, answer: &answer{singles: append([]single{{status: 'g'}}, single{status: 'r', reason: 1, at: ago(500), sha1: true})}, want: gateway.Revoked}}},
		{"A10 good under the name asked for, on hold under the one by SHA-1", nil, []step{
			{full: &list{thisUpdate: ago(60)}, answer: &answer{singles: append([]single{{status: 'r', reason: 6, at: ago(500), sha1: true}}, single{status: 'g'})}, want: gateway.Suspended}}},
		{"A10 good under the name by SHA-1 alone proves nothing", nil, []step{
			{answer: &answer{singles: []single{{status: 'g', sha1: true}}}, want: gateway.EvidenceUntrusted}}},
		{"B2 a list that has ended gives way to a newer one with a lower number", nil, []step{
			{at: ago(120), full: &list{number: 100, thisUpdate: ago(180), nextUpdate: ago(60)}, want: ""},
			{full: &list{number: 5, thisUpdate: ago(30)}, want: ""}}},
		{"B2 what the list that has ended revoked stays revoked", nil, []step{
			{at: ago(120), full: &list{number: 100, thisUpdate: ago(180), nextUpdate: ago(60), revoked: is(1)}, want: gateway.Revoked},
			{full: &list{number: 5, thisUpdate: ago(30)}, want: gateway.Revoked}}},
		{"B2 a list that is still fresh does not", nil, []step{
			{full: &list{number: 100, thisUpdate: ago(180), revoked: is(6)}, want: gateway.Suspended},
			{full: &list{number: 5, thisUpdate: ago(30)}, want: gateway.Suspended}}},
		{"B2 a list that has ended does not give way to an older one", nil, []step{
			{at: ago(120), full: &list{number: 100, thisUpdate: ago(180), nextUpdate: ago(60), revoked: is(6)}, want: gateway.Suspended},
			{full: &list{number: 101, thisUpdate: ago(190)}, want: gateway.Suspended}}},
		{"B5 revoked by the full list for good, while an older delta removes the hold before", nil, []step{
			{full: &list{thisUpdate: ago(60), revoked: is(6)}, delta: &list{base: 5, number: 20, thisUpdate: ago(30), revoked: is(8)}, want: ""},
			{full: &list{number: 6, thisUpdate: ago(20), revoked: is(1)}, want: gateway.Revoked}}},
		{"a delta for an older full list is still read with the newer one", nil, []step{
			{full: &list{number: 7, thisUpdate: ago(60), revoked: is(6)}, delta: &list{base: 5, number: 20, thisUpdate: ago(30), revoked: is(8)}, want: ""}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(rootCRL, list{issuer: p.Must("root"), thisUpdate: ago(300)}.make(p))
			var config revocation.Config
			k := s.checker(func(c *revocation.Config) {
				if tt.edit != nil {
					tt.edit(c)
				}
				config = *c
			})
			for i, step := range tt.steps {
				if step.at.IsZero() {
					step.at = now
				}
				s.set(step.at)
				if step.full != nil {
					s.publish(crlURL, step.full.make(p))
				}
				if step.delta != nil {
					s.publish(deltaURL, step.delta.make(p))
				}
				if step.away {
					s.publish(crlURL, nil)
				}
				if step.settings {
					config.Issuers[0].CRLMaxAge += 25 * time.Hour
					if err := k.SetIssuers(config.Issuers); err != nil {
						t.Fatal(err)
					}
				}
				s.respond(ocspURL, nil)
				if step.answer != nil {
					s.answer(ocspURL, *step.answer)
				}
				_ = k.Refresh(context.Background())
				if tt.edit != nil && i > 0 { // somebody else's answer takes the place
					s.answer(ocspURL, answer{subject: p.Must("citizen-02"), noNonce: true})
					for _, other := range []string{"citizen-02", "citizen-03", "citizen-04", "citizen-05", "citizen-06", "citizen-07", "citizen-08"} {
						s.answer(ocspURL, answer{subject: p.Must(other), noNonce: true})
						_, _ = s.check(k, other, "issuing", "root")
					}
					s.answer(ocspURL, *step.answer)
				}
				_, err := s.check(k)
				if step.want != unchecked && gateway.ReasonOf(err) != step.want {
					t.Fatalf("step %d: %v, want %q", i+1, err, step.want)
				}
			}
		})
	}
}

// A6: evidence does not become younger when the clock goes back, at once or in steps too small to notice.
func TestEvidenceDoesNotGrowYoungerWithTheClock(t *testing.T) {
	tests := []struct {
		name  string
		pass  []time.Duration // by the clock that nobody sets, and each time
		jump  []time.Duration // by that much the wall clock goes otherwise
		want  gateway.Reason
		lists bool
	}{
		{"31 minutes pass, and the clock goes back by 25 and is steady again", []time.Duration{31*time.Minute - 62*time.Second, 62 * time.Second}, []time.Duration{-25 * time.Minute, 0}, gateway.EvidenceStale, false},
		{"nine minutes pass, and the clock goes back by five", []time.Duration{9*time.Minute - 62*time.Second, 62 * time.Second}, []time.Duration{-5 * time.Minute, 0}, "", false},
		{"steps of 29 seconds back every half a minute", repeat(30*time.Second, 40), repeat(-29*time.Second, 40), gateway.ClockUnreliable, false},
		{"a clock that is slewed by NTP", repeat(10*time.Second, 50), repeat(-5*time.Millisecond, 50), "", false},
		{"a list ends, and the clock goes back before its end", []time.Duration{27*time.Hour - 62*time.Second, 62 * time.Second}, []time.Duration{-3 * time.Hour, 0}, gateway.EvidenceStale, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(rootCRL, list{issuer: s.pki.Must("root"), thisUpdate: now}.make(s.pki))
			s.publish(crlURL, list{thisUpdate: now.Add(-26 * time.Hour)}.make(s.pki)) // a second later it proves nothing
			if tt.lists {
				s.publish(crlURL, list{thisUpdate: now}.make(s.pki))
			} else {
				s.answer(ocspURL, answer{singles: []single{{status: 'g', thisUpdate: now}}})
			}
			var monotonic time.Duration
			k := s.refreshed(func(c *revocation.Config) {
				c.Issuers[1].CRLMaxAge = 100 * time.Hour
				c.Monotonic = func() time.Duration { return monotonic }
			})
			if _, err := s.check(k); err != nil {
				t.Fatal(err)
			}
			s.respond(ocspURL, nil)
			for i, d := range tt.pass {
				monotonic += d
				s.set(s.now().Add(d + tt.jump[i]))
				if len(tt.pass) == 2 && i == 0 {
					wantReason(t, k.Steady(), gateway.ClockUnreliable)
				} else {
					_ = k.Steady()
				}
			}
			_, err := s.check(k)
			wantReason(t, err, tt.want)
		})
	}
}

func repeat(d time.Duration, n int) (all []time.Duration) {
	for range n {
		all = append(all, d)
	}
	return all
}
