package journaltest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// RunModel drives a store with random sequences of calls and compares every answer with a
// simple model in memory.
func RunModel(t *testing.T, make Maker) {
	rapid.Check(t, func(rt *rapid.T) {
		s, _ := make(t)
		defer s.Close()
		m := &model{t: rt, s: s, now: T0, told: T0, items: map[gateway.RequestID]*modelItem{}}
		rt.Repeat(map[string]func(*rapid.T){
			"create":  m.create,
			"claim":   m.claim,
			"advance": m.advance,
			"signal":  m.signal,
			"":        m.compare,
		})
	})
}

// A modelItem is what the contract says of an item.
type modelItem struct {
	new      journal.New
	seq      int
	state    gateway.State
	version  int64
	attempt  int
	updated  time.Time
	wake     time.Time
	leased   bool
	events   int
	doc      string
	bodies   map[string]string
	erased   map[string]bool
	signals  []journal.Signal
	consumed map[string]bool
	pending  int
}

type model struct {
	t     *rapid.T
	s     journal.Store
	now   time.Time
	told  time.Time // by the last call that told an instant: what the journal's clock says
	seq   int
	items map[gateway.RequestID]*modelItem
	held  []journal.Lease // the newest of each item, and stale ones
}

var (
	modelShards   = []string{"zhambyl", journal.LetterPrefix + "egov"}
	modelServices = []string{"housing-aid", "land"}
)

// tick moves the clock so that no two instants of a run are the same.
func (m *model) tick(t *rapid.T) time.Time {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds"))*time.Second + time.Microsecond)
	return m.now
}

// plan is a wake time, or none.
func (m *model) plan(t *rapid.T) time.Time {
	if rapid.IntRange(0, 3).Draw(t, "asleep") == 0 {
		return time.Time{}
	}
	return m.now.Add(time.Duration(rapid.IntRange(-20, 100).Draw(t, "wake")) * time.Second)
}

func (m *model) create(t *rapid.T) {
	k := rapid.IntRange(0, 7).Draw(t, "message")
	n := NewItem(k)
	n.Shard, n.Service = modelShards[k%2], modelServices[k/2%2]
	n.Citizen = journal.CitizenKey(fmt.Sprintf("citizen-%d", k%3))
	n.Created, n.Wake = m.tick(t), m.plan(t)
	other := rapid.IntRange(0, 5).Draw(t, "content") == 0
	if other {
		n.Content[0] ^= 1
		n.ID = gateway.NewRequestID(n.Portal, n.MessageID, n.Content)
	}
	var first *modelItem
	for _, it := range m.items {
		if it.new.MessageID == n.MessageID {
			first = it
		}
	}
	m.told = n.Created
	got, err := m.s.Create(context.Background(), n)
	switch {
	case first == nil && err == nil:
		m.seq++
		m.items[n.ID] = &modelItem{new: n, seq: m.seq, state: gateway.StateAccepted, version: 1, updated: n.Created, wake: n.Wake, events: 1, doc: string(n.Doc),
			bodies: map[string]string{"request": string(n.Bodies["request"])}, erased: map[string]bool{}, consumed: map[string]bool{}}
	case first != nil && first.new.Content == n.Content && errors.Is(err, journal.ErrDuplicate) && got.ID == first.new.ID && got.Version == first.version:
	case first != nil && first.new.Content != n.Content && errors.Is(err, journal.ErrReplay):
	default:
		t.Fatalf("create of message %d, kept before: %t: %v %v", k, first != nil, got.ID, err)
	}
}

func (m *model) claim(t *rapid.T) {
	now := m.tick(t)
	o := journal.ClaimOptions{Shards: []string{rapid.SampledFrom(modelShards).Draw(t, "shard")}, Now: now, Max: rapid.IntRange(1, 4).Draw(t, "max"),
		Lease: time.Duration(rapid.IntRange(1, 60).Draw(t, "lease")) * time.Second}
	if rapid.Bool().Draw(t, "ordered") {
		o.Ordered = []gateway.State{gateway.StateAccepted, gateway.StateEnriched}
	}
	var due []*modelItem
	for _, it := range m.items {
		if it.new.Shard == o.Shards[0] && !it.wake.IsZero() && !it.wake.After(now) && !m.waits(it, o.Ordered) {
			due = append(due, it)
		}
	}
	slices.SortFunc(due, func(a, b *modelItem) int { return cmp.Or(a.wake.Compare(b.wake), a.seq-b.seq) })
	due = due[:min(o.Max, len(due))]
	m.told = now
	ls, err := m.s.Claim(context.Background(), o)
	if err != nil || len(ls) != len(due) {
		t.Fatalf("claimed %v, want %d: %v", messages(ls), len(due), err)
	}
	for i, l := range ls {
		it := due[i]
		it.version++
		it.wake, it.leased = now.Add(o.Lease), true
		var inbox []string
		for _, g := range it.signals {
			if !it.consumed[g.Key] {
				inbox = append(inbox, g.Key+"="+string(g.Body))
			}
		}
		var got []string
		for _, g := range l.Inbox {
			got = append(got, g.Key+"="+string(g.Body))
		}
		if l.Item.ID != it.new.ID || l.Item.Version != it.version || !slices.Equal(got, inbox) || !l.Until.Equal(it.wake) {
			t.Fatalf("claimed %s version %d inbox %v, want %s version %d inbox %v", l.Item.MessageID, l.Item.Version, got, it.new.MessageID, it.version, inbox)
		}
		m.held = append(m.held, l)
	}
}

// waits says whether an older one of the same lane is in one of the ordered states.
func (m *model) waits(it *modelItem, ordered []gateway.State) bool {
	if !slices.Contains(ordered, it.state) {
		return false
	}
	for _, o := range m.items {
		if o.seq < it.seq && o.new.Shard == it.new.Shard && o.new.Citizen == it.new.Citizen && o.new.Service == it.new.Service && slices.Contains(ordered, o.state) {
			return true
		}
	}
	return false
}

func (m *model) advance(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip("nothing is held")
	}
	l := m.held[rapid.IntRange(0, len(m.held)-1).Draw(t, "lease")]
	at := m.tick(t)
	st := journal.Step{State: rapid.SampledFrom(gateway.States).Draw(t, "state"), Attempt: rapid.IntRange(0, 3).Draw(t, "attempt"), Wake: m.plan(t), At: at,
		Doc: fmt.Appendf(nil, "doc %d", rapid.IntRange(0, 9).Draw(t, "doc")), Remove: rapid.IntRange(0, 9).Draw(t, "remove") == 0}
	for range rapid.IntRange(0, 2).Draw(t, "events") {
		st.Events = append(st.Events, gateway.Event{At: at, Kind: gateway.EventStep})
	}
	for _, g := range l.Inbox {
		if rapid.Bool().Draw(t, "consume") {
			st.Consumed = append(st.Consumed, g.Key)
		}
	}
	name := rapid.SampledFrom([]string{"request", "delivery"})
	if rapid.Bool().Draw(t, "add") {
		st.Bodies = map[string][]byte{"delivery": fmt.Appendf(nil, "body %d", at.UnixMicro())}
	}
	if rapid.IntRange(0, 3).Draw(t, "erase") == 0 {
		st.Erase = []string{name.Draw(t, "name")}
	}
	it := m.items[l.Item.ID]
	m.told = at
	err := m.s.Advance(context.Background(), l, st)
	if it == nil || !it.leased || it.version != l.Item.Version {
		if !errors.Is(err, journal.ErrLeaseLost) {
			t.Fatalf("a stale lease of %s: %v", l.Item.MessageID, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("advance %s: %v", l.Item.MessageID, err)
	}
	if st.Remove {
		delete(m.items, l.Item.ID)
		m.held = slices.DeleteFunc(m.held, func(h journal.Lease) bool { return h.Item.ID == l.Item.ID })
		return
	}
	it.state, it.attempt, it.wake, it.updated, it.doc, it.leased = st.State, st.Attempt, st.Wake, at, string(st.Doc), false
	if it.pending > len(l.Inbox) {
		it.wake = at
	}
	it.version++
	it.events += len(st.Events)
	for _, key := range st.Consumed {
		if !it.consumed[key] {
			it.consumed[key] = true
			it.pending--
		}
	}
	for name, b := range st.Bodies {
		it.bodies[name] = string(b)
		delete(it.erased, name)
	}
	for _, name := range st.Erase {
		if _, ok := it.bodies[name]; ok {
			it.erased[name] = true
		}
	}
}

func (m *model) signal(t *rapid.T) {
	id := NewItem(rapid.IntRange(0, 7).Draw(t, "message")).ID
	// Whoever writes a signal may have another clock.
	at := m.tick(t).Add(rapid.SampledFrom([]time.Duration{0, -time.Minute, time.Hour, 7 * 24 * time.Hour}).Draw(t, "ahead"))
	g := journal.Signal{Key: fmt.Sprintf("key %d", rapid.IntRange(0, 3).Draw(t, "key")), Kind: "step", At: at, Body: fmt.Appendf(nil, "signal %d", at.UnixMicro())}
	first, fresh, err := m.s.Signal(context.Background(), id, g)
	it := m.items[id]
	if it == nil {
		if !errors.Is(err, journal.ErrNotFound) {
			t.Fatalf("signal for nobody: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("signal: %v", err)
	}
	i := slices.IndexFunc(it.signals, func(o journal.Signal) bool { return o.Key == g.Key })
	if i >= 0 {
		want := it.signals[i]
		body := string(want.Body)
		if it.consumed[g.Key] {
			body = ""
		}
		if fresh || string(first.Body) != body || first.SHA256 != sha256.Sum256(want.Body) || !first.At.Equal(want.At) {
			t.Fatalf("the key %q again: fresh %t, %q, want %q", g.Key, fresh, first.Body, body)
		}
		return
	}
	if !fresh {
		t.Fatalf("the key %q is new", g.Key)
	}
	it.signals = append(it.signals, g)
	it.pending++
	if at.After(m.told) {
		at = m.told
	}
	if !it.leased && (it.wake.IsZero() || it.wake.After(at)) {
		it.wake = at
	}
}

// compare looks at everything that can be read.
func (m *model) compare(t *rapid.T) {
	ctx := context.Background()
	counts := map[string]map[gateway.State]int{}
	var all []*modelItem
	var due time.Time
	for id, it := range m.items {
		all = append(all, it)
		if counts[it.new.Shard] == nil {
			counts[it.new.Shard] = map[gateway.State]int{}
		}
		counts[it.new.Shard][it.state]++
		if !it.leased && !it.wake.IsZero() && (due.IsZero() || it.wake.Before(due)) {
			due = it.wake
		}
		got, err := m.s.Get(ctx, id)
		if err != nil || got.State != it.state || got.Version != it.version || got.Attempt != it.attempt || !got.Wake.Equal(it.wake) || !got.Updated.Equal(it.updated) ||
			string(got.Doc) != it.doc || len(got.Events) != it.events || len(got.Bodies) != len(it.bodies) {
			t.Fatalf("get: %+v, want %+v: %v", got, it, err)
		}
		for name, want := range it.bodies {
			b, err := m.s.Body(ctx, id, name)
			if n := got.Bodies[name]; n.Erased != it.erased[name] || n.SHA256 != sha256.Sum256([]byte(want)) ||
				it.erased[name] && !errors.Is(err, journal.ErrErased) || !it.erased[name] && (err != nil || string(b) != want) {
				t.Fatalf("body %s: %q, want %q, note %+v, %v", name, b, want, n, err)
			}
		}
	}
	slices.SortFunc(all, func(a, b *modelItem) int { return b.seq - a.seq })
	q := journal.Query{Limit: rapid.IntRange(1, 5).Draw(t, "limit")}
	switch rapid.IntRange(0, 4).Draw(t, "query") {
	case 0:
		q.Citizen = "citizen-1"
	case 1:
		q.Shard = modelShards[0]
	case 2:
		q.State = gateway.StateAccepted
	case 3:
		q.Shard, q.DueBefore = modelShards[1], m.now
	}
	q.Oldest = rapid.Bool().Draw(t, "oldest")
	if q.Oldest {
		slices.Reverse(all)
	}
	if rapid.Bool().Draw(t, "service") {
		q.Service = modelServices[0]
	}
	var want, got []gateway.RequestID
	for _, it := range all {
		if (q.Citizen == "" || it.new.Citizen == q.Citizen) && (q.Shard == "" || it.new.Shard == q.Shard) && (q.State == "" || it.state == q.State) &&
			(q.Service == "" || it.new.Service == q.Service) &&
			(q.DueBefore.IsZero() || !it.wake.IsZero() && it.wake.Before(q.DueBefore)) {
			want = append(want, it.new.ID)
		}
	}
	if err := journal.Each(ctx, m.s, q, func(it journal.Item) error { got = append(got, it.ID); return nil }); err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("list %+v: %v, want %v", q, got, want)
	}
	st, err := m.s.Stats(ctx)
	if err != nil || !st.OldestDue.Equal(due) {
		t.Fatalf("stats: oldest due %v, want %v: %v", st.OldestDue, due, err)
	}
	for _, shard := range modelShards {
		for _, state := range gateway.States {
			if st.ByShard[shard][state] != counts[shard][state] {
				t.Fatalf("stats: %d %s in %s, want %d", st.ByShard[shard][state], state, shard, counts[shard][state])
			}
		}
	}
}
