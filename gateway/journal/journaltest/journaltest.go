// Package journaltest is the conformance suite of journal.Store, and a wrapper that fails
// before or after the write.
package journaltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// T0 is the instant the suite starts at.
var T0 = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

// A Maker opens a fresh store; reopen opens the same one again after Close.
type Maker func(t *testing.T) (s journal.Store, reopen func() journal.Store)

// NewItem makes a request to keep; n tells them apart.
func NewItem(n int) journal.New {
	content := sha256.Sum256(fmt.Appendf(nil, "content %d", n))
	message := fmt.Sprintf("message-%d", n)
	return journal.New{
		ID: gateway.NewRequestID("egov.kz", message, content), Portal: "egov.kz", MessageID: message, Content: content,
		Citizen: journal.CitizenKey(fmt.Sprintf("citizen-%d", n%3)), Service: "housing-aid", Shard: "zhambyl", Provider: "taraz",
		Created: T0.Add(time.Duration(n) * time.Second), Wake: T0.Add(time.Duration(n) * time.Second),
		Doc: []byte(`{}`), Events: []gateway.Event{{At: T0, Kind: gateway.EventAccepted}},
		Bodies: map[string][]byte{"request": fmt.Appendf(nil, "<request>%d</request>", n)},
	}
}

// Run checks every sentence of the contract against the store that make opens.
func Run(t *testing.T, make Maker) {
	ctx := context.Background()
	create := func(t *testing.T, s journal.Store, n int) journal.Item {
		t.Helper()
		it, err := s.Create(ctx, NewItem(n))
		if err != nil {
			t.Fatalf("Create(%d): %v", n, err)
		}
		return it
	}
	claim := func(t *testing.T, s journal.Store, at time.Time, max int) []journal.Lease {
		t.Helper()
		ls, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at, Lease: time.Minute, Max: max})
		if err != nil {
			t.Fatalf("Claim: %v", err)
		}
		return ls
	}

	runRetention(t, make)
	runAudit(t, make)
	t.Run("what was created is there after reopening", func(t *testing.T) {
		s, reopen := make(t)
		want := create(t, s, 1)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = reopen()
		defer s.Close()
		got, err := s.Get(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != gateway.StateAccepted || got.MessageID != "message-1" || len(got.Events) != 1 || got.Events[0].Seq != 1 || !got.Created.Equal(T0.Add(time.Second)) {
			t.Errorf("got %+v", got)
		}
		body, err := s.Body(ctx, want.ID, "request")
		if err != nil || string(body) != "<request>1</request>" {
			t.Errorf("body %q, %v", body, err)
		}
	})
	t.Run("the same message is the first item again, other content is a replay", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		first := create(t, s, 1)
		again := NewItem(1)
		again.Created = T0.Add(time.Hour)
		got, err := s.Create(ctx, again)
		if !errors.Is(err, journal.ErrDuplicate) || got.ID != first.ID || !got.Created.Equal(first.Created) {
			t.Errorf("got %v created %v, %v", got.ID, got.Created, err)
		}
		other := NewItem(1)
		other.Content[0] ^= 1
		other.ID = "00000000000000000000000000000000"
		if _, err := s.Create(ctx, other); !errors.Is(err, journal.ErrReplay) {
			t.Errorf("replay: %v", err)
		}
		if _, err := s.Get(ctx, other.ID); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("a replay left something behind: %v", err)
		}
	})
	t.Run("concurrent creates of one message make one item", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		fresh := 0
		for range 32 {
			wg.Go(func() {
				_, err := s.Create(ctx, NewItem(7))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					fresh++
				case !errors.Is(err, journal.ErrDuplicate):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if fresh != 1 {
			t.Errorf("%d fresh creates, want 1", fresh)
		}
	})
	t.Run("only due work of the named shards is claimed, the longest waiting first", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		for n := range 5 {
			create(t, s, n)
		}
		foreign := NewItem(9)
		foreign.Shard, foreign.Wake = "north-kazakhstan", T0
		if _, err := s.Create(ctx, foreign); err != nil {
			t.Fatal(err)
		}
		ls := claim(t, s, T0.Add(3*time.Second), 2)
		if len(ls) != 2 || ls[0].Item.MessageID != "message-0" || ls[1].Item.MessageID != "message-1" {
			t.Fatalf("claimed %v", messages(ls))
		}
		if ls = claim(t, s, T0.Add(3*time.Second), 10); len(ls) != 2 || ls[0].Item.MessageID != "message-2" {
			t.Fatalf("claimed %v", messages(ls))
		}
		if ls = claim(t, s, T0.Add(3*time.Second), 10); len(ls) != 0 {
			t.Fatalf("leased work was claimed again: %v", messages(ls))
		}
	})
	t.Run("concurrent claims never share an item", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		for n := range 40 {
			create(t, s, n)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[gateway.RequestID]int{}
		for range 8 {
			wg.Go(func() {
				for range 5 {
					ls, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: T0.Add(time.Hour), Lease: time.Minute, Max: 3})
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					for _, l := range ls {
						seen[l.Item.ID]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != 40 {
			t.Errorf("%d items claimed, want 40", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s claimed %d times", id, n)
			}
		}
	})
	t.Run("one citizen's requests for one service keep their order where it is asked for", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		ordered := []gateway.State{gateway.StateAccepted, gateway.StateEnriched}
		claim := func(at time.Time) []journal.Lease {
			ls, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at, Lease: time.Minute, Max: 10, Ordered: ordered})
			if err != nil {
				t.Fatal(err)
			}
			return ls
		}
		elsewhere := NewItem(9) // of the same citizen and older, in another shard
		elsewhere.Shard = "north-kazakhstan"
		if _, err := s.Create(ctx, elsewhere); err != nil {
			t.Fatal(err)
		}
		for n := range 4 { // 0 and 3 are of one citizen
			create(t, s, n)
		}
		other := NewItem(6) // of the same citizen, for another service
		other.Service, other.Wake = "complaint", T0
		if _, err := s.Create(ctx, other); err != nil {
			t.Fatal(err)
		}
		at := T0.Add(time.Minute)
		ls := claim(at)
		if got := fmt.Sprint(messages(ls)); got != "[message-0 message-6 message-1 message-2]" {
			t.Fatalf("claimed %s", got)
		}
		// The older one is tried again later: the younger one still waits.
		if err := s.Advance(ctx, ls[0], journal.Step{State: gateway.StateEnriched, Doc: []byte("{}"), At: at, Wake: at.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if ls := claim(at.Add(time.Second)); len(ls) != 0 {
			t.Fatalf("claimed %v past an older one", messages(ls))
		}
		ls = claim(at.Add(2 * time.Hour))
		if len(ls) == 0 || ls[0].Item.MessageID == "message-3" {
			t.Fatalf("claimed %v", messages(ls))
		}
		for _, l := range ls {
			if err := s.Advance(ctx, l, journal.Step{State: gateway.StateDelivered, Doc: []byte("{}"), At: at}); err != nil {
				t.Fatal(err)
			}
		}
		if ls := claim(at.Add(2 * time.Hour)); len(ls) != 1 || ls[0].Item.MessageID != "message-3" {
			t.Errorf("claimed %v after the older one was delivered", messages(ls))
		}
	})
	t.Run("one claim never returns an item twice, however much waits behind older requests", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		for n := range 150 { // every sixth is of a citizen of its own, the others wait behind the first
			it := NewItem(n)
			it.Citizen = "one"
			if n%6 == 5 {
				it.Citizen = journal.CitizenKey(fmt.Sprintf("other-%d", n))
			}
			if _, err := s.Create(ctx, it); err != nil {
				t.Fatal(err)
			}
		}
		ls, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: T0.Add(time.Hour), Lease: time.Minute, Max: 16, Ordered: []gateway.State{gateway.StateAccepted}})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[gateway.RequestID]bool{}
		for _, l := range ls {
			if seen[l.Item.ID] {
				t.Errorf("%s is claimed twice", l.Item.MessageID)
			}
			seen[l.Item.ID] = true
		}
		if len(seen) != 16 {
			t.Errorf("%d items claimed, want 16", len(seen))
		}
	})
	t.Run("an expired lease is taken over and its holder fenced off", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		create(t, s, 0)
		old := claim(t, s, T0, 1)[0]
		taken := claim(t, s, T0.Add(2*time.Minute), 1)
		if len(taken) != 1 {
			t.Fatal("the dead holder's work was not taken over")
		}
		step := journal.Step{State: gateway.StateEnriched, Doc: []byte("stale"), At: T0, Events: []gateway.Event{{Kind: gateway.EventEnriched}}}
		if err := s.Advance(ctx, old, step); !errors.Is(err, journal.ErrLeaseLost) {
			t.Errorf("stale holder: %v", err)
		}
		if it, _ := s.Get(ctx, old.Item.ID); it.State != gateway.StateAccepted || len(it.Events) != 1 {
			t.Errorf("the stale holder wrote: %+v", it)
		}
		step.Doc = []byte("new")
		if err := s.Advance(ctx, taken[0], step); err != nil {
			t.Fatal(err)
		}
		if err := s.Advance(ctx, taken[0], step); !errors.Is(err, journal.ErrLeaseLost) {
			t.Errorf("a lease works once: %v", err)
		}
	})
	t.Run("advance keeps state, document, events and bodies together", func(t *testing.T) {
		s, reopen := make(t)
		create(t, s, 0)
		l := claim(t, s, T0, 1)[0]
		err := s.Advance(ctx, l, journal.Step{State: gateway.StateDelivered, Attempt: 2, Doc: []byte("doc"), At: T0.Add(time.Second), Wake: T0.Add(time.Hour),
			Events: []gateway.Event{{Kind: gateway.EventEnriched, At: T0}, {Kind: gateway.EventDelivered, At: T0, Subject: "taraz"}},
			Bodies: map[string][]byte{"delivery": []byte("<delivery/>")}})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		s = reopen()
		defer s.Close()
		it, err := s.Get(ctx, l.Item.ID)
		if err != nil || it.State != gateway.StateDelivered || it.Attempt != 2 || string(it.Doc) != "doc" || !it.Wake.Equal(T0.Add(time.Hour)) {
			t.Fatalf("got %+v, %v", it, err)
		}
		if len(it.Events) != 3 || it.Events[2].Seq != 3 || it.Events[2].Subject != "taraz" {
			t.Errorf("events %+v", it.Events)
		}
		if b, err := s.Body(ctx, it.ID, "delivery"); err != nil || !bytes.Equal(b, []byte("<delivery/>")) {
			t.Errorf("body %q, %v", b, err)
		}
		if _, err := s.Body(ctx, it.ID, "other"); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("missing body: %v", err)
		}
	})
	t.Run("a signal wakes a sleeping item once and its key is once-only", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		it := create(t, s, 0)
		l := claim(t, s, T0, 1)[0]
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateDelivered, At: T0, Doc: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		if ls := claim(t, s, T0.Add(time.Hour), 1); len(ls) != 0 {
			t.Fatal("an item without wake time was claimed")
		}
		sig := journal.Signal{Key: "result", Kind: "result", At: T0.Add(time.Hour), Body: []byte("first")}
		if _, fresh, err := s.Signal(ctx, it.ID, sig); err != nil || !fresh {
			t.Fatalf("fresh %v, %v", fresh, err)
		}
		sig.Body = []byte("second")
		first, fresh, err := s.Signal(ctx, it.ID, sig)
		if err != nil || fresh || string(first.Body) != "first" {
			t.Fatalf("repeat: fresh %v, body %q, %v", fresh, first.Body, err)
		}
		ls := claim(t, s, T0.Add(time.Hour), 1)
		if len(ls) != 1 || len(ls[0].Inbox) != 1 || string(ls[0].Inbox[0].Body) != "first" {
			t.Fatalf("claimed %+v", ls)
		}
		if err := s.Advance(ctx, ls[0], journal.Step{State: gateway.StateDecided, At: T0, Doc: []byte("{}"), Consumed: []string{"result"}}); err != nil {
			t.Fatal(err)
		}
		if ls := claim(t, s, T0.Add(2*time.Hour), 1); len(ls) != 0 {
			t.Error("a consumed signal woke the item again")
		}
		if _, fresh, _ := s.Signal(ctx, it.ID, sig); fresh {
			t.Error("a consumed key was taken again")
		}
		if _, _, err := s.Signal(ctx, "ffffffffffffffffffffffffffffffff", sig); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("unknown id: %v", err)
		}
	})
	t.Run("a signal during a step is not slept through", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		it := create(t, s, 0)
		l := claim(t, s, T0, 1)[0]
		if _, _, err := s.Signal(ctx, it.ID, journal.Signal{Key: "k", Kind: "step", At: T0.Add(time.Second)}); err != nil {
			t.Fatal(err)
		}
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateDelivered, At: T0.Add(2 * time.Second), Wake: T0.Add(time.Hour), Doc: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		if ls := claim(t, s, T0.Add(3*time.Second), 1); len(ls) != 1 || len(ls[0].Inbox) != 1 {
			t.Errorf("claimed %+v", ls)
		}
	})
	for _, ahead := range []time.Duration{time.Hour, 7 * 24 * time.Hour} {
		t.Run(fmt.Sprintf("a signal wakes its item at once although its writer's clock is %v ahead", ahead), func(t *testing.T) {
			s, _ := make(t)
			defer s.Close()
			it := create(t, s, 0)
			l := claim(t, s, T0, 1)[0]
			sleep := journal.Step{State: gateway.StateDelivered, At: T0.Add(time.Second), Wake: T0.Add(30 * 24 * time.Hour), Doc: []byte("{}")}
			if err := s.Advance(ctx, l, sleep); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Signal(ctx, it.ID, journal.Signal{Key: "asleep", Kind: "step", At: T0.Add(ahead)}); err != nil {
				t.Fatal(err)
			}
			ls := claim(t, s, T0.Add(2*time.Second), 1)
			if len(ls) != 1 || len(ls[0].Inbox) != 1 || !ls[0].Inbox[0].At.Equal(T0.Add(ahead)) {
				t.Fatalf("claimed %+v", ls)
			}
			// And one that comes while a step runs.
			if _, _, err := s.Signal(ctx, it.ID, journal.Signal{Key: "at work", Kind: "step", At: T0.Add(ahead)}); err != nil {
				t.Fatal(err)
			}
			sleep.Consumed = []string{"asleep"}
			sleep.At = T0.Add(3 * time.Second)
			if err := s.Advance(ctx, ls[0], sleep); err != nil {
				t.Fatal(err)
			}
			if ls := claim(t, s, T0.Add(4*time.Second), 1); len(ls) != 1 || len(ls[0].Inbox) != 1 || ls[0].Inbox[0].Key != "at work" {
				t.Fatalf("claimed %+v", ls)
			}
		})
	}
	t.Run("a citizen's requests are listed newest first in pages", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		for n := range 10 {
			create(t, s, n)
		}
		var got []string
		if err := journal.Each(ctx, s, journal.Query{Citizen: "citizen-1", Limit: 2}, func(it journal.Item) error { got = append(got, it.MessageID); return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != "[message-7 message-4 message-1]" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("messages of one service are listed oldest first in pages", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		var want []string
		for n := range 40 {
			it := NewItem(n)
			it.Shard = journal.LetterPrefix + "egov"
			switch {
			case n%4 == 1:
				it.Service = "land"
			case n%4 == 2:
				it.Shard += ".kz"
			case n%4 == 3:
				it.Shard = "zhambyl"
			default:
				want = append(want, it.MessageID)
			}
			if _, err := s.Create(ctx, it); err != nil {
				t.Fatal(err)
			}
		}
		l, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{journal.LetterPrefix + "egov"}, Now: T0, Lease: time.Minute, Max: 1})
		if err != nil || len(l) != 1 {
			t.Fatalf("claimed %v, %v", messages(l), err)
		}
		if err := s.Advance(ctx, l[0], journal.Step{State: gateway.StateClosed, At: T0, Doc: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		want = want[1:]
		q := journal.Query{Shard: journal.LetterPrefix + "egov", State: gateway.StateAccepted, Service: "housing-aid", Oldest: true, Limit: 2}
		var got []string
		visit := func(it journal.Item) error { got = append(got, it.MessageID); return nil }
		if err := journal.Each(ctx, s, q, visit); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("oldest first: %v, %v, want %v", got, err, want)
		}
		q.Oldest, got = false, nil
		slices.Reverse(want)
		if err := journal.Each(ctx, s, q, visit); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("newest first: %v, %v, want %v", got, err, want)
		}
	})
	t.Run("a page of one service is had although thousands of others stand before it", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		const others = 2500
		var wg sync.WaitGroup
		for from := range 10 {
			wg.Go(func() {
				for n := from; n < others; n += 10 {
					if _, err := s.Create(ctx, NewItem(n)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		last := NewItem(others)
		last.Service = "land"
		if _, err := s.Create(ctx, last); err != nil {
			t.Fatal(err)
		}
		for _, q := range []journal.Query{{Shard: "zhambyl", State: gateway.StateAccepted}, {Shard: "zhambyl", DueBefore: T0.Add(24 * time.Hour)}, {}} {
			q.Service, q.Oldest, q.Limit = "land", true, 5
			var got []string
			err := journal.Each(ctx, s, q, func(it journal.Item) error { got = append(got, it.MessageID); return nil })
			if err != nil || len(got) != 1 || got[0] != last.MessageID {
				t.Errorf("%+v: %v, %v", q, got, err)
			}
		}
	})
	t.Run("stats count by shard and state", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		for n := range 3 {
			create(t, s, n)
		}
		l := claim(t, s, T0, 1)[0]
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateParked, At: T0, Doc: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(ctx)
		if err != nil || st.ByShard["zhambyl"][gateway.StateAccepted] != 2 || st.ByShard["zhambyl"][gateway.StateParked] != 1 {
			t.Errorf("got %+v, %v", st, err)
		}
		if !st.OldestDue.Equal(T0.Add(time.Second)) {
			t.Errorf("oldest due %v", st.OldestDue)
		}
	})
	t.Run("an unknown id is not found", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		if _, err := s.Get(ctx, "ffffffffffffffffffffffffffffffff"); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a caller who gives up does not harm the others", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				c, cancel := context.WithTimeout(ctx, time.Duration(n%5)*100*time.Microsecond)
				defer cancel()
				if n%2 == 0 {
					c = ctx
				}
				_, err := s.Create(c, NewItem(n))
				if n%2 == 0 && err != nil {
					t.Errorf("create %d: %v", n, err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("after Close every call fails", func(t *testing.T) {
		s, _ := make(t)
		s.Close()
		if _, err := s.Create(ctx, NewItem(1)); !errors.Is(err, journal.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a write that failed before or after it happened can be repeated", func(t *testing.T) {
		for _, mode := range []Mode{Before, After} {
			inner, _ := make(t)
			f := &Faulty{Store: inner}
			f.Fail("Create", mode)
			if _, err := f.Create(ctx, NewItem(1)); gateway.ReasonOf(err) != gateway.JournalUnavailable {
				t.Fatalf("%v: %v", mode, err)
			}
			it, err := f.Create(ctx, NewItem(1))
			if mode == After && !errors.Is(err, journal.ErrDuplicate) || mode == Before && err != nil {
				t.Errorf("%v, repeated: %v", mode, err)
			}
			if it.ID != NewItem(1).ID {
				t.Errorf("%v: id %v", mode, it.ID)
			}
			inner.Close()
		}
	})
}

func messages(ls []journal.Lease) []string {
	var all []string
	for _, l := range ls {
		all = append(all, l.Item.MessageID)
	}
	return all
}
