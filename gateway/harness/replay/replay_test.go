package replay_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/replay"
)

// One entry through one door: what differs from the manifest is a mismatch of its kind, and says
// what was wanted and what came.
func TestWhatIsNotAsExpectedIsAMismatch(t *testing.T) {
	assigned := corpus.Entry{Admission: accepted(), Outcome: gateway.ResultAssignment, Applicant: citizen}
	denied := corpus.Entry{Admission: accepted(), Outcome: gateway.ResultRefusal, Ground: "income", Applicant: citizen}
	tests := []struct {
		name      string
		entry     corpus.Entry
		reply     reply
		kind      string // "" is none
		want, got string // got by a part of it
	}{
		{"what was to be accepted is", corpus.Entry{Admission: accepted()}, reply{}, "", "", ""},
		{"what was to be refused is, for that reason", corpus.Entry{Admission: refused(gateway.DigestMismatch)}, reply{status: 422, reason: gateway.DigestMismatch}, "", "", ""},
		{"what could not be checked is not refused", corpus.Entry{Admission: refused(gateway.StatusUnknown)}, reply{status: 503, reason: gateway.StatusUnknown}, "", "", ""},
		{"a document to be refused is accepted", corpus.Entry{Admission: refused(gateway.DigestMismatch)}, reply{}, "verdict", "refused signature.digest_mismatch", "verified"},
		{"a document to be accepted is refused", corpus.Entry{Admission: accepted()}, reply{status: 422, reason: gateway.Revoked}, "verdict", "verified", "refused revocation.revoked"},
		{"a document to be refused cannot be checked", corpus.Entry{Admission: refused(gateway.Revoked)}, reply{status: 503, reason: gateway.StatusUnknown}, "verdict", "refused revocation.revoked", "indeterminate revocation.status_unknown"},
		{"a status that says neither", corpus.Entry{Admission: accepted()}, reply{status: 500, reason: gateway.Internal}, "verdict", "verified", "internal"},
		{"refused for another reason", corpus.Entry{Admission: refused(gateway.DigestMismatch)}, reply{status: 422, reason: gateway.Revoked}, "reason", "refused signature.digest_mismatch", "refused revocation.revoked"},
		{"refused without a reason", corpus.Entry{Admission: refused(gateway.DigestMismatch)}, reply{status: 422}, "reason", "refused signature.digest_mismatch", "refused"},
		{"accepted without an id on the receipt", corpus.Entry{Admission: accepted()}, reply{id: "-"}, "receipt", "verified", "verified"},
		{"the connection breaks", corpus.Entry{Admission: accepted()}, reply{breaks: true}, "transport", "verified", "EOF"},
		{"no answer within the time of a call", corpus.Entry{Admission: accepted()}, reply{hangs: time.Second}, "transport", "verified", "Timeout"},
		{"an answer that is no JSON", corpus.Entry{Admission: accepted()}, reply{raw: "<html>"}, "transport", "verified", "202 is no JSON"},

		{"the outcome comes", assigned, reply{decided: decision("assignment", "", "verified")}, "", "", ""},
		{"the refusal comes on its ground", denied, reply{decided: decision("refusal", "income", "verified")}, "", "", ""},
		{"the outcome never comes", assigned, reply{}, "outcome", "assignment", "nothing in time"},
		{"the outcome is of another kind", assigned, reply{decided: decision("refusal", "income", "verified")}, "outcome", "assignment", "refusal income"},
		{"the refusal has another ground", denied, reply{decided: decision("refusal", "debt", "verified")}, "outcome", "refusal income", "refusal debt"},
		{"the cabinet fails", assigned, reply{cabinet: 500}, "outcome", "assignment", "the cabinet answers 500"},
		{"the cabinet shows a result whose signature is not verified", assigned, reply{decided: decision("assignment", "", "refused")}, "outcome", "assignment", "a result that is refused"},
		{"the cabinet's answer is no JSON", assigned, reply{decided: "<html>"}, "outcome", "assignment", "the cabinet's answer"},
		{"what the door should have refused is not followed", corpus.Entry{Admission: accepted(), Outcome: gateway.ResultAssignment, Applicant: citizen}, reply{status: 422, reason: gateway.Revoked}, "verdict", "verified", "refused"},

		{"SHEP: accepted", corpus.Entry{Door: corpus.SHEP, Admission: accepted()}, reply{}, "", "", ""},
		{"SHEP: refused for that reason", corpus.Entry{Door: corpus.SHEP, Admission: refused(gateway.DigestMismatch)}, reply{reason: gateway.DigestMismatch}, "", "", ""},
		{"SHEP: another verdict", corpus.Entry{Door: corpus.SHEP, Admission: accepted()}, reply{reason: gateway.StatusUnknown}, "verdict", "verified", "indeterminate revocation.status_unknown"},
		{"SHEP: another reason", corpus.Entry{Door: corpus.SHEP, Admission: refused(gateway.DigestMismatch)}, reply{reason: gateway.Revoked}, "reason", "refused signature.digest_mismatch", "refused revocation.revoked"},
		{"SHEP: no id on the receipt", corpus.Entry{Door: corpus.SHEP, Admission: accepted()}, reply{id: "-"}, "receipt", "verified", "verified"},
		{"SHEP: no envelope", corpus.Entry{Door: corpus.SHEP, Admission: accepted()}, reply{raw: "{}"}, "transport", "verified", "envelope"},
		{"SHEP: the connection breaks", corpus.Entry{Door: corpus.SHEP, Admission: accepted()}, reply{breaks: true}, "transport", "verified", "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := tt.entry
			e.ID, e.Class, e.Comment = "one", "the/class", "why"
			f := newFake(t, map[string]reply{"<one/>": tt.reply})
			target := f.target()
			// Only who waits in vain is given little time: the machine may be busy.
			patience := 10 * time.Second
			if tt.kind == "outcome" && !strings.HasPrefix(tt.got, "refusal") {
				patience = 100 * time.Millisecond
			}
			if target.Timeout = 10 * time.Second; tt.reply.hangs > 0 {
				target.Timeout = 300 * time.Millisecond
			}
			r := run(t, replay.Config{Corpus: read(t, e), Targets: []*replay.Target{target}, Follow: true, FollowTimeout: patience})
			c := r.Classes["the/class"]
			if r.Sent != 1 || c == nil || c.Sent != 1 {
				t.Fatalf("sent %d, class %+v", r.Sent, c)
			}
			if tt.kind == "" {
				if !r.OK() || len(r.Listed) != 0 || c.Mismatch != 0 {
					t.Fatalf("%s: %+v", r.Verdict(), r.Listed)
				}
				if wants := e.Outcome != ""; wants != (r.Gateways[0].Outcomes == 1) || wants != (r.Gateways[0].Journey.Count == 1) {
					t.Errorf("%d outcomes, %d journeys", r.Gateways[0].Outcomes, r.Gateways[0].Journey.Count)
				}
				return
			}
			if r.OK() || r.Mismatches != 1 || !maps.Equal(r.Kinds, map[string]int64{tt.kind: 1}) || len(r.Listed) != 1 || c.Mismatch != 1 {
				t.Fatalf("%d mismatches %v in %+v", r.Mismatches, r.Kinds, r.Listed)
			}
			m := r.Listed[0]
			if m.ID != "one" || m.Class != "the/class" || m.Target != "gateway" || m.Comment != "why" || m.Kind != tt.kind || m.Want != tt.want || !strings.Contains(m.Got, tt.got) {
				t.Errorf("%+v, want %s: %q, got %q", m, tt.kind, tt.want, tt.got)
			}
		})
	}
}

// The same submission again has the first receipt, and is not sent before that is there.
func TestADuplicateHasTheFirstReceipt(t *testing.T) {
	first, again := corpus.Entry{ID: "first", Admission: accepted(), Awaited: true}, corpus.Entry{ID: "again", Admission: accepted(), After: "first"}
	used := corpus.Entry{ID: "again", Admission: refused(gateway.ReplayConflict), After: "first"}
	tests := []struct {
		name    string
		entries []corpus.Entry
		replies map[string]reply
		kinds   map[string]int64
	}{
		{"the first receipt again", []corpus.Entry{first, again}, map[string]reply{"<first/>": {id: "a", hangs: 100 * time.Millisecond}, "<again/>": {id: "a"}}, map[string]int64{}},
		{"another receipt", []corpus.Entry{first, again}, map[string]reply{"<first/>": {id: "a", hangs: 100 * time.Millisecond}, "<again/>": {id: "b"}}, map[string]int64{"receipt": 1}},
		{"other content under a used message id", []corpus.Entry{first, used}, map[string]reply{"<first/>": {id: "a", hangs: 100 * time.Millisecond}, "<again/>": {status: 409, reason: gateway.ReplayConflict}}, map[string]int64{}},
		{"a first that was refused by mistake leaves nothing to compare with", []corpus.Entry{first, again},
			map[string]reply{"<first/>": {status: 422, reason: gateway.Revoked, hangs: 100 * time.Millisecond}, "<again/>": {id: "b"}}, map[string]int64{"verdict": 1}},
	}
	for _, tt := range tests {
		for _, rate := range []float64{0, 1000} {
			t.Run(fmt.Sprintf("%s, rate %.0f", tt.name, rate), func(t *testing.T) {
				t.Parallel()
				f := newFake(t, tt.replies)
				r := run(t, replay.Config{Corpus: read(t, tt.entries...), Targets: []*replay.Target{f.target()}, Rate: rate})
				if r.Sent != 2 || !maps.Equal(r.Kinds, tt.kinds) {
					t.Errorf("sent %d: %v, want %v: %+v", r.Sent, r.Kinds, tt.kinds, r.Listed)
				}
				if got := f.arrived(); !slices.Equal(got, []string{"<first/>", "<again/>"}) {
					t.Errorf("sent in the order %v", got)
				}
			})
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	entry := func(id string) corpus.Entry { return corpus.Entry{ID: id, Admission: accepted()} }
	verifier := corpus.Entry{ID: "b", Verdict: refused(gateway.Revoked)}
	copied := corpus.Entry{ID: "a", Admission: accepted(), Attachments: []corpus.Attachment{{Name: "bill.pdf", MediaType: "application/pdf", Part: corpus.Part{File: "copy.pdf"}}}}
	shepOnly := corpus.Entry{ID: "a", Door: corpus.SHEP, Admission: accepted()}
	tests := []struct {
		name    string
		entries []corpus.Entry
		config  replay.Config
		want    []string
		skipped int64
		doors   map[corpus.Door]int // of the mismatches that the fake's refusal of everything gives
	}{
		{"entries for verifiers only are skipped", []corpus.Entry{entry("a"), verifier, entry("c")}, replay.Config{}, []string{"<a/>", "<c/>"}, 1, nil},
		{"no more than the limit", []corpus.Entry{entry("a"), entry("b"), entry("c")}, replay.Config{Limit: 2}, []string{"<a/>", "<b/>"}, 0, nil},
		{"the limit counts what is skipped", []corpus.Entry{entry("a"), verifier, entry("c")}, replay.Config{Limit: 2}, []string{"<a/>"}, 1, nil},
		{"the limit holds in an open loop too", []corpus.Entry{entry("a"), entry("b"), entry("c")}, replay.Config{Limit: 1, Rate: 1000}, []string{"<a/>"}, 0, nil},
		{"a limit above all is none", []corpus.Entry{entry("a")}, replay.Config{Limit: 5}, []string{"<a/>"}, 0, nil},
		{"copies go with their document", []corpus.Entry{copied}, replay.Config{}, []string{"<a/>"}, 0, nil},
		{"each to its own door", []corpus.Entry{entry("b"), shepOnly}, replay.Config{}, []string{"<a/>", "<b/>"}, 0, map[corpus.Door]int{corpus.REST: 1, corpus.SHEP: 1}},
		{"all to the door that is asked for", []corpus.Entry{entry("b"), shepOnly}, replay.Config{Door: corpus.REST}, []string{"<a/>", "<b/>"}, 0, map[corpus.Door]int{corpus.REST: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			replies := map[string]reply{}
			if tt.doors != nil {
				replies = map[string]reply{"<a/>": {status: 422, reason: gateway.Revoked}, "<b/>": {status: 422, reason: gateway.Revoked}}
			}
			f := newFake(t, replies)
			sent := 0
			c := tt.config
			c.Corpus, c.Targets, c.Concurrency, c.Sent = read(t, tt.entries...), []*replay.Target{f.target()}, 1, func() { sent++ }
			r := run(t, c)
			got := f.arrived()
			slices.Sort(got)
			if !slices.Equal(got, tt.want) || r.Sent != int64(len(tt.want)) || sent != len(tt.want) || r.Skipped != tt.skipped {
				t.Errorf("%v arrived, %d sent, %d told, %d skipped; want %v and %d", got, r.Sent, sent, r.Skipped, tt.want, tt.skipped)
			}
			doors := map[corpus.Door]int{}
			for _, m := range r.Listed {
				doors[m.Door]++
			}
			if tt.doors != nil && !maps.Equal(doors, tt.doors) {
				t.Errorf("mismatches at %v, want %v", doors, tt.doors)
			}
			if n := len(tt.entries[0].Attachments); len(f.parts["<a/>"]) != n || n > 0 && f.parts["<a/>"][0] != len("%PDF bill") {
				t.Errorf("copies of %v bytes arrived, want %d", f.parts["<a/>"], n)
			}
		})
	}
}

// Two gateways are sent the same; what they answer differently is counted and listed, whatever
// the manifest says of it.
func TestTwoGatewaysAreCompared(t *testing.T) {
	slow := map[string]reply{}
	var entries []corpus.Entry
	for _, id := range []string{"a", "b", "c", "d"} {
		entries = append(entries, corpus.Entry{ID: id, Class: "class-" + id, Admission: accepted(), Comment: "why " + id})
		slow["<"+id+"/>"] = reply{hangs: 50 * time.Millisecond}
	}
	revoked, unknown := reply{status: 422, reason: gateway.Revoked}, reply{status: 503, reason: gateway.StatusUnknown}
	tests := []struct {
		name          string
		first, second map[string]reply
		different     []replay.Difference
		mismatches    int64
		slower        int64 // at least
	}{
		{"the same everywhere", nil, nil, nil, 0, 0},
		{"the second is slower", nil, slow, nil, 0, 4},
		{"both are wrong in the same way", map[string]reply{"<b/>": revoked}, map[string]reply{"<b/>": revoked}, nil, 2, 0},
		{"another verdict", nil, map[string]reply{"<b/>": revoked}, []replay.Difference{{ID: "b", Class: "class-b", First: "verified", Second: "refused revocation.revoked", Comment: "why b"}}, 1, 0},
		{"both refuse, for other reasons", map[string]reply{"<c/>": revoked}, map[string]reply{"<c/>": {status: 422, reason: gateway.DigestMismatch}},
			[]replay.Difference{{ID: "c", Class: "class-c", First: "refused revocation.revoked", Second: "refused signature.digest_mismatch", Comment: "why c"}}, 2, 0},
		{"two entries", map[string]reply{"<a/>": unknown}, map[string]reply{"<d/>": revoked},
			[]replay.Difference{{ID: "a", Class: "class-a", First: "indeterminate revocation.status_unknown", Second: "verified", Comment: "why a"}, {ID: "d", Class: "class-d", First: "verified", Second: "refused revocation.revoked", Comment: "why d"}}, 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first, second := newFake(t, tt.first).target(), newFake(t, tt.second).target()
			second.Name = "the other"
			r := run(t, replay.Config{Corpus: read(t, entries...), Targets: []*replay.Target{first, second}, Concurrency: 1})
			if r.Different != int64(len(tt.different)) || !slices.Equal(r.Differences, tt.different) {
				t.Errorf("%d different: %+v, want %+v", r.Different, r.Differences, tt.different)
			}
			if r.Mismatches != tt.mismatches || r.Sent != 4 || r.Slower < tt.slower || r.OK() != (tt.mismatches == 0) {
				t.Errorf("%d mismatches, %d sent, %d slower, OK %t; want %d, 4, %d", r.Mismatches, r.Sent, r.Slower, r.OK(), tt.mismatches, tt.slower)
			}
			if len(r.Gateways) != 2 || r.Gateways[1].Name != "the other" || r.Gateways[0].Accepted.Count+r.Gateways[0].Refused.Count+r.Gateways[0].Busy.Count != 4 {
				t.Errorf("%+v", r.Gateways)
			}
		})
	}
}

// Mismatches beyond the list are counted all the same.
func TestTheListIsBounded(t *testing.T) {
	var entries []corpus.Entry
	for i := range replay.MaxListed + 10 {
		entries = append(entries, corpus.Entry{ID: fmt.Sprint("e", i), Admission: refused(gateway.Revoked)})
	}
	r := run(t, replay.Config{Corpus: read(t, entries...), Targets: []*replay.Target{newFake(t, nil).target()}})
	if r.Mismatches != replay.MaxListed+10 || len(r.Listed) != replay.MaxListed || r.Kinds["verdict"] != r.Mismatches {
		t.Errorf("%d mismatches, %d listed", r.Mismatches, len(r.Listed))
	}
}

// A gateway that stalls once for 200 ms. In an open loop the entries that had their instant
// meanwhile were late too, although the client could not even send them; a closed loop sends
// nothing meanwhile, and sees one slow answer.
func TestAStallIsNotHidden(t *testing.T) {
	const n, stall = 30, 200 * time.Millisecond
	var entries []corpus.Entry
	replies, busy := map[string]reply{}, map[string]reply{}
	for i := range n {
		id := fmt.Sprint("e", i)
		entries = append(entries, corpus.Entry{ID: id, Admission: accepted()})
		busy["<"+id+"/>"] = reply{status: 503, reason: gateway.Overload}
	}
	replies["<e2/>"], busy["<e2/>"] = reply{stalls: stall}, reply{status: 503, reason: gateway.Overload, stalls: stall}
	stallMS := float64(stall.Milliseconds())
	t.Run("open loop", func(t *testing.T) {
		r := run(t, replay.Config{Corpus: read(t, entries...), Targets: []*replay.Target{newFake(t, replies).target()}, Rate: 100, Concurrency: 1})
		// The entries at 30, 40 … 200 ms waited for 190, 180 … 20 ms: more than half of all.
		if l := r.Gateways[0].Accepted; l.Count != n || l.P50 < stallMS/5 || l.P90 < stallMS/2 || l.Max < stallMS-1 {
			t.Errorf("%+v: the stall is hidden", l)
		}
		if r.SendSeconds < 0.28 || r.Rate != 100 || r.Reached > 110 {
			t.Errorf("%d entries at 100 a second took %.3f s", n, r.SendSeconds)
		}
	})
	t.Run("open loop, sent away", func(t *testing.T) {
		r := run(t, replay.Config{Corpus: read(t, entries...), Targets: []*replay.Target{newFake(t, busy).target()}, Rate: 100, Concurrency: 1})
		if l := r.Gateways[0].Busy; l.Count != n || l.P50 < stallMS/5 || l.Max < stallMS-1 {
			t.Errorf("%+v: the stall is hidden", l)
		}
		// What the gateway needed for each is the time from the moment of sending.
		if l := r.Gateways[0].BusySelf; l.Count != n || l.P50 >= stallMS/5 || l.Max < stallMS-1 {
			t.Errorf("the gateway's own time is %+v", l)
		}
	})
	t.Run("closed loop", func(t *testing.T) {
		r := run(t, replay.Config{Corpus: read(t, entries...), Targets: []*replay.Target{newFake(t, replies).target()}, Concurrency: 1})
		if l := r.Gateways[0].Accepted; l.Count != n || l.P50 >= stallMS/5 || l.Max < stallMS-1 {
			t.Errorf("%+v: one slow answer was expected", l)
		}
	})
}

// Whoever stops a replay need not wait for the entries that are to come.
func TestAReplayIsStopped(t *testing.T) {
	var entries []corpus.Entry
	for i := range 50 {
		entries = append(entries, corpus.Entry{ID: fmt.Sprint("e", i), Admission: accepted(), Outcome: gateway.ResultAssignment, Applicant: citizen})
	}
	for name, c := range map[string]replay.Config{
		"an open loop between two entries": {Rate: 0.5},
		"a closed loop in an answer":       {Concurrency: 1},
		"while an outcome is awaited":      {Limit: 1, Follow: true, FollowTimeout: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replies := map[string]reply{}
			if c.Concurrency == 1 {
				replies["<e0/>"] = reply{hangs: 8 * time.Second}
			}
			c.Corpus, c.Targets = read(t, entries...), []*replay.Target{newFake(t, replies).target()}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			r, err := replay.Run(ctx, c)
			if took := time.Since(start); took > 7*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it ended after %s with %v", took, err)
			}
			// What was cut off is not the gateway's mistake.
			if r == nil || r.Sent > 1 || r.Mismatches != 0 {
				t.Errorf("%d sent, %d mismatches", r.Sent, r.Mismatches)
			}
		})
	}
}

func TestRunChecksItsConfig(t *testing.T) {
	target := &replay.Target{}
	for name, c := range map[string]replay.Config{
		"no corpus":      {Targets: []*replay.Target{target}},
		"no gateway":     {Corpus: read(t)},
		"three gateways": {Corpus: read(t), Targets: []*replay.Target{target, target, target}},
	} {
		if _, err := replay.Run(t.Context(), c); err == nil {
			t.Errorf("%s: it ran", name)
		}
	}
	if _, err := replay.Run(t.Context(), replay.Config{Corpus: read(t, corpus.Entry{ID: "a", Admission: accepted(), Part: corpus.Part{File: "missing.xml"}}), Targets: []*replay.Target{newFake(t, nil).target()}}); err == nil {
		t.Error("a corpus without one of its documents was replayed")
	}
}
