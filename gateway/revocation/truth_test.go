package revocation_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// What one responder does, as the truth table sees it.
type ocspCase struct {
	name    string
	respond func(s *stage, at time.Time) func(context.Context, []byte) ([]byte, error)
	// says: "good", "revoked", "hold", "never", "unknown", or "" when it proves nothing; then reason.
	says   string
	reason gateway.Reason
}

// What is held of the lists.
type crlCase struct {
	name        string
	full, delta func(me []byte, at time.Time) *list
	// says: "clean", "revoked", "hold" or "" when nothing can be learned; usable: clean proves good.
	says   string
	usable bool
	reason gateway.Reason // why it is not usable
}

// The expected verdict, written as the rules are, not as the code is:
// a permanent revocation from anywhere wins; then what the responder proves; good lifts a hold
// only when it is newer, as every good answer here is; a hold in a list stands when the
// responder proves nothing; a fresh clean list proves good; else the first thing that went wrong.
func expected(o ocspCase, c crlCase) gateway.Reason {
	switch {
	case c.says == "revoked" || o.says == "revoked":
		return gateway.Revoked
	case o.says == "good":
		return ""
	case o.says == "hold":
		return gateway.Suspended
	case o.says == "never":
		return gateway.NeverIssued
	case c.says == "hold":
		return gateway.Suspended
	case c.usable:
		return ""
	case o.says == "unknown":
		return gateway.StatusUnknown
	case o.reason == gateway.StatusUnavailable:
		return c.reason
	}
	return o.reason
}

// R4c: OCSP × CRL × clock, one verdict each.
func TestTruthTable(t *testing.T) {
	p := pki(t)
	me := serialOf(p.Must("citizen-01"))
	made := func(a func(at time.Time) answer) func(*stage, time.Time) func(context.Context, []byte) ([]byte, error) {
		return func(s *stage, at time.Time) func(context.Context, []byte) ([]byte, error) {
			return func(_ context.Context, nonce []byte) ([]byte, error) { return a(at).make(s.pki, nonce), nil }
		}
	}
	said := func(one single) func(at time.Time) answer {
		return func(at time.Time) answer {
			this := one
			this.thisUpdate = at
			return answer{producedAt: at, singles: []single{this}}
		}
	}
	with := func(edit func(a *answer, at time.Time)) func(at time.Time) answer {
		return func(at time.Time) answer {
			a := said(single{status: 'g'})(at)
			edit(&a, at)
			return a
		}
	}
	responders := []ocspCase{
		{name: "good", respond: made(said(single{status: 'g'})), says: "good"},
		{name: "revoked", respond: made(said(single{status: 'r', reason: 1, at: now.AddDate(0, -1, 0)})), says: "revoked"},
		{name: "hold", respond: made(said(single{status: 'r', reason: 6, at: now.AddDate(0, -1, 0)})), says: "hold"},
		{name: "unknown", respond: made(said(single{status: 'u'})), says: "unknown"},
		{name: "never issued", respond: made(func(at time.Time) answer {
			a := said(single{status: 'r', reason: 6, at: time.Unix(0, 0)})(at)
			a.extendedRevoke = true
			return a
		}), says: "never"},
		{name: "malformed", respond: made(with(func(a *answer, _ time.Time) { a.mangle = func(b []byte) []byte { return b[:len(b)-3] } })), reason: gateway.EvidenceUntrusted},
		{name: "stale", respond: made(with(func(a *answer, at time.Time) { a.singles[0].thisUpdate = at.Add(-time.Hour) })), reason: gateway.EvidenceStale},
		{name: "future", respond: made(with(func(a *answer, at time.Time) {
			a.producedAt, a.singles[0].thisUpdate = at.Add(time.Hour), at.Add(time.Hour)
		})), reason: gateway.EvidenceFuture},
		{name: "unsigned", respond: made(with(func(a *answer, _ time.Time) {
			a.signer, a.noEmbedded = p.Must("issuing"), true
			a.mangle = func(b []byte) []byte { clear(b[len(b)-64:]); return b }
		})), reason: gateway.EvidenceUntrusted},
		{name: "wrong signer", respond: made(with(func(a *answer, _ time.Time) { a.signer = p.Must("citizen-02") })), reason: gateway.EvidenceUntrusted},
		{name: "wrong certificate", respond: made(with(func(a *answer, _ time.Time) { a.singles[0].serial = []byte{9} })), reason: gateway.EvidenceUntrusted},
		{name: "replayed", respond: made(with(func(a *answer, _ time.Time) { a.nonce = make([]byte, 32) })), reason: gateway.NonceMismatch},
		{name: "absent", respond: func(*stage, time.Time) func(context.Context, []byte) ([]byte, error) {
			return func(context.Context, []byte) ([]byte, error) { return nil, errAway }
		}, reason: gateway.StatusUnavailable},
		{name: "hanging", respond: func(*stage, time.Time) func(context.Context, []byte) ([]byte, error) {
			return func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
		}, reason: gateway.StatusUnavailable},
	}
	full := func(edit func(l *list, at time.Time)) func([]byte, time.Time) *list {
		return func(_ []byte, at time.Time) *list {
			l := &list{thisUpdate: at.Add(-time.Hour), nextUpdate: at.AddDate(0, 0, 180)}
			if edit != nil {
				edit(l, at)
			}
			return l
		}
	}
	delta := func(reason int) func([]byte, time.Time) *list {
		return func(me []byte, at time.Time) *list {
			return &list{base: 5, thisUpdate: at.Add(-time.Minute * 30), nextUpdate: at.AddDate(0, 0, 1), revoked: []item{{serial: me, reason: reason}}}
		}
	}
	listing := func(reason int) func(*list, time.Time) {
		return func(l *list, _ time.Time) { l.revoked = []item{{serial: me, reason: reason}} }
	}
	old := func(l *list, at time.Time) { l.thisUpdate = at.AddDate(0, 0, -9) }
	held := []crlCase{
		{name: "fresh clean", full: full(nil), says: "clean", usable: true},
		{name: "fresh listed", full: full(listing(1)), says: "revoked"},
		{name: "fresh hold", full: full(listing(6)), says: "hold"},
		{name: "stale clean", full: full(old), says: "clean", reason: gateway.EvidenceStale},
		{name: "stale listed", full: full(func(l *list, at time.Time) { old(l, at); listing(1)(l, at) }), says: "revoked"},
		{name: "forged clean", full: full(func(l *list, _ time.Time) { l.key = p.Must("same-name-issuing").Signer }), reason: gateway.EvidenceUntrusted},
		{name: "forged listed", full: full(func(l *list, at time.Time) { l.key = p.Must("same-name-issuing").Signer; listing(1)(l, at) }), reason: gateway.EvidenceUntrusted},
		{name: "absent", reason: gateway.StatusUnavailable},
		{name: "delta adds", full: full(old), delta: delta(1), says: "revoked"},
		{name: "delta holds", full: full(old), delta: delta(6), says: "hold"},
		{name: "delta removes hold", full: full(func(l *list, at time.Time) { old(l, at); listing(6)(l, at) }), delta: delta(8), says: "clean", usable: true},
	}
	clocks := []struct {
		name string
		off  time.Duration // of the world's clock against ours
	}{{"right", 0}, {"ours 100 s behind", 100 * time.Second}, {"ours 100 s ahead", -100 * time.Second}}

	rows := 0
	for _, o := range responders {
		for _, c := range held {
			for _, clock := range clocks {
				rows++
				name := fmt.Sprintf("OCSP %s, CRL %s, clock %s", o.name, c.name, clock.name)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					s := newStage(t)
					at := now.Add(clock.off)
					s.respond(ocspURL, o.respond(s, at))
					if c.full != nil {
						s.publish(crlURL, c.full(me, at).make(p))
					}
					if c.delta != nil {
						s.publish(deltaURL, c.delta(me, at).make(p))
					}
					k := s.refreshed(func(c *revocation.Config) {
						if o.name == "hanging" {
							c.OCSPTimeout = 200 * time.Millisecond
						}
					})
					_, err := s.check(k)
					wantReason(t, err, expected(o, c))
				})
			}
		}
	}
	if rows < 200 {
		t.Errorf("only %d rows", rows)
	}
}
