package revocation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// What may be known of a certificate, and what may come and say something of it, as in the table of
// ledger.go.
type saidOf struct {
	by   string // full, delta, ocsp; "" for nothing
	what string // revoked, hold, absent, removed, good, unknown, never
}

func (s saidOf) String() string {
	if s.by == "" {
		return "nothing"
	}
	return s.by + " says " + s.what
}

// knownAfter is the table, written as it stands in the documentation.
func knownAfter(known, arriving saidOf, later bool) string {
	state := map[string]string{"": "nothing", "revoked": "revoked", "hold": "hold"}[known.what]
	switch arriving.what {
	case "revoked":
		return "revoked"
	case "hold":
		if state == "revoked" {
			return "revoked"
		}
		return "hold"
	case "absent":
		if arriving.by == "full" && state == "hold" && later {
			return "nothing"
		}
	case "removed", "good":
		if state == "hold" && later {
			return "nothing"
		}
	}
	return state // a delta that does not name it, unknown, never issued
}

// R4c: every cell of the table of what is known and what arrives; under RSA and GOST keys; live, after a
// restart with everybody away, and offline.
func TestWhatIsKnownOfACertificateChangesByTheTable(t *testing.T) {
	p := pki(t)
	knowns := []saidOf{{}, {"full", "hold"}, {"delta", "hold"}, {"ocsp", "hold"}, {"full", "revoked"}, {"delta", "revoked"}, {"ocsp", "revoked"}}
	arrivals := []saidOf{{"full", "revoked"}, {"full", "hold"}, {"full", "absent"}, {"delta", "revoked"}, {"delta", "hold"}, {"delta", "absent"},
		{"delta", "removed"}, {"ocsp", "revoked"}, {"ocsp", "hold"}, {"ocsp", "good"}, {"ocsp", "unknown"}, {"ocsp", "never"}}
	reasons := map[string]gateway.Reason{"nothing": "", "hold": gateway.Suspended, "revoked": gateway.Revoked}
	first, then := now.Add(-2*time.Hour), now.Add(-90*time.Minute)
	for _, keys := range []string{"RSA", "GOST"} {
		own := func(id string) string { return map[string]string{"GOST": "gost-"}[keys] + id }
		me := serialOf(p.Must(own("citizen-01")))
		for _, known := range knowns {
			for _, arriving := range arrivals {
				for _, later := range []bool{true, false} {
					when := map[bool]string{true: "later", false: "dated before"}[later]
					t.Run(fmt.Sprintf("%s: %s, then %s, %s", keys, known, arriving, when), func(t *testing.T) {
						t.Parallel()
						s := newStage(t)
						s.publish(rootCRL, list{issuer: p.Must(own("root")), thisUpdate: first}.make(p))
						configure := func(c *revocation.Config) {
							c.Issuers = []revocation.Issuer{
								{Certificate: certificate(t, p.Must(own("issuing")).DER), Label: "issuing", OCSP: []string{ocspURL}, CRL: crlURL, DeltaCRL: deltaURL},
								{Certificate: certificate(t, p.Must(own("root")).DER), Label: "root", CRL: rootCRL},
							}
						}
						dir := t.TempDir()
						k := s.checker(configure)
						if err := k.Keep(dir); err != nil {
							t.Fatal(err)
						}
						path := pathOf(t, p, own("citizen-01"), own("issuing"), own("root"))
						var crls, answers [][]byte
						// say lets one piece of evidence, dated at, come at the time arrives.
						say := func(one saidOf, number int, at, arrives time.Time) (refused error) {
							s.set(arrives)
							reason := map[string]int{"revoked": 1, "hold": 6, "removed": 8}[one.what]
							var named []item
							if reason != 0 {
								named = []item{{serial: me, reason: reason}}
							}
							switch one.by {
							case "full":
								raw := list{issuer: p.Must(own("issuing")), number: number, thisUpdate: at, revoked: named}.make(p)
								s.publish(crlURL, raw)
								crls = append(crls, raw)
							case "delta":
								raw := list{issuer: p.Must(own("issuing")), number: number, base: 5, thisUpdate: at, revoked: named}.make(p)
								s.publish(deltaURL, raw)
								crls = append(crls, raw)
							case "ocsp":
								a := answer{issuer: p.Must(own("issuing")), subject: p.Must(own("citizen-01")), signer: p.Must(own("ocsp-responder")), producedAt: at}
								a.singles = []single{{status: one.what[0], thisUpdate: at}}
								switch one.what {
								case "revoked", "hold":
									a.singles[0].status, a.singles[0].reason, a.singles[0].at = 'r', reason, first
								case "never":
									a.singles[0].status, a.singles[0].reason, a.singles[0].at, a.extendedRevoke = 'r', 6, time.Unix(0, 0), true
								}
								s.answer(ocspURL, a)
								answers = append(answers, a.make(p, nil))
								_, err := k.Check(context.Background(), path, arrives)
								s.respond(ocspURL, nil)
								return err
							}
							return k.Refresh(context.Background())
						}
						_ = say(saidOf{"full", "absent"}, 5, first, first)
						if known.by != "" {
							_ = say(known, 10, then, then)
						}
						dated, arrives := now, now
						if !later {
							dated, arrives = then.Add(-5*time.Minute), then.Add(2*time.Minute)
						}
						said := say(arriving, 11, dated, arrives)
						want := reasons[knownAfter(known, arriving, later)]
						live := want
						switch {
						case !later && known.by == arriving.by && known.by != "ocsp":
							// An older list than the one held says nothing.
							live = reasons[knownAfter(known, saidOf{}, false)]
							if !strings.Contains(fmt.Sprint(said), "CRL number") {
								t.Errorf("an older list was not refused: %v", said)
							}
						case later && known.what == "hold" && arriving.what == "good":
							if said != nil {
								t.Errorf("a later good answer did not lift the hold: %v", said)
							}
							if known.by != "ocsp" { // footnote 4
								want, live = gateway.Suspended, gateway.Suspended
							}
						case later && known == (saidOf{"full", "revoked"}) && arriving.what == "removed":
							want, live = gateway.EvidenceConflict, gateway.EvidenceConflict
						}
						end := arrives.Add(15 * time.Minute) // no answer is remembered any more
						s.set(end)
						_, err := k.Check(context.Background(), path, end)
						if gateway.ReasonOf(err) != live {
							t.Errorf("live: %v, want %q", err, live)
						}
						s.publish(crlURL, nil)
						s.publish(deltaURL, nil)
						again := s.checker(configure)
						if err := again.Keep(dir); err != nil {
							t.Fatal(err)
						}
						_ = again.Refresh(context.Background())
						if _, err = again.Check(context.Background(), path, end); gateway.ReasonOf(err) != live {
							t.Errorf("after a restart: %v, want %q", err, live)
						}
						_, err = revocation.Offline(path, end, crls, answers, revocation.OfflineOptions{Scope: revocation.ScopeLeaf})
						if gateway.ReasonOf(err) != want {
							t.Errorf("offline: %v, want %q", err, want)
						}
					})
				}
			}
		}
	}
}
