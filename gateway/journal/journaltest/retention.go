package journaltest

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// runRetention checks what goes and what stays: consumed signals, erased bodies, removed items.
func runRetention(t *testing.T, make Maker) {
	ctx := context.Background()
	lease := func(t *testing.T, s journal.Store, at time.Time) journal.Lease {
		t.Helper()
		ls, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at, Lease: time.Minute, Max: 1})
		if err != nil || len(ls) != 1 {
			t.Fatalf("Claim: %d, %v", len(ls), err)
		}
		return ls[0]
	}
	// begun is an item with a request and a receipt, under a lease.
	begun := func(t *testing.T, s journal.Store) journal.Lease {
		t.Helper()
		n := NewItem(0)
		n.Bodies["receipt"] = []byte("<receipt/>")
		if _, err := s.Create(ctx, n); err != nil {
			t.Fatal(err)
		}
		return lease(t, s, T0)
	}
	request := NewItem(0).Bodies["request"]

	t.Run("an item says what its bodies were", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		l := begun(t, s)
		it, err := s.Get(ctx, l.Item.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, bodies := range []map[string]journal.BodyNote{it.Bodies, l.Item.Bodies} {
			if n := bodies["request"]; len(bodies) != 2 || n.SHA256 != sha256.Sum256(request) || n.Size != int64(len(request)) || n.Erased {
				t.Errorf("notes %+v", bodies)
			}
		}
	})
	t.Run("an erased body is gone for good, its digest and the others stay", func(t *testing.T) {
		s, reopen := make(t)
		l := begun(t, s)
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: T0, Erase: []string{"request", "never there"}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := s.Body(ctx, l.Item.ID, "request"); !errors.Is(err, journal.ErrErased) {
				t.Errorf("erased: %v", err)
			}
			if b, err := s.Body(ctx, l.Item.ID, "receipt"); err != nil || string(b) != "<receipt/>" {
				t.Errorf("kept: %q, %v", b, err)
			}
			it, err := s.Get(ctx, l.Item.ID)
			if n := it.Bodies["request"]; err != nil || !n.Erased || n.SHA256 != sha256.Sum256(request) || n.Size != int64(len(request)) {
				t.Errorf("note %+v, %v", n, err)
			}
			s.Close()
			s = reopen()
		}
		s.Close()
	})
	t.Run("the same submission is a duplicate after erasure too", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		l := begun(t, s)
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: T0, Erase: []string{"request"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(ctx, NewItem(0)); !errors.Is(err, journal.ErrDuplicate) {
			t.Errorf("again: %v", err)
		}
	})
	t.Run("a removed item leaves nothing, and its message may come again", func(t *testing.T) {
		s, reopen := make(t)
		l := begun(t, s)
		if _, _, err := s.Signal(ctx, l.Item.ID, journal.Signal{Key: "k", Kind: "step", At: T0, Body: []byte("b")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Advance(ctx, l, journal.Step{Remove: true, At: T0}); err != nil {
			t.Fatal(err)
		}
		if err := s.Advance(ctx, l, journal.Step{Remove: true, At: T0}); !errors.Is(err, journal.ErrLeaseLost) {
			t.Errorf("removed twice: %v", err)
		}
		s.Close()
		s = reopen()
		defer s.Close()
		if _, err := s.Get(ctx, l.Item.ID); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		if _, err := s.Body(ctx, l.Item.ID, "request"); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("body: %v", err)
		}
		if page, _, err := s.List(ctx, journal.Query{Citizen: "citizen-0"}); err != nil || len(page) != 0 {
			t.Errorf("list: %v, %v", page, err)
		}
		if st, err := s.Stats(ctx); err != nil || st.ByShard["zhambyl"][gateway.StateAccepted] != 0 {
			t.Errorf("stats: %+v, %v", st, err)
		}
		if ls, err := s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: T0.Add(time.Hour), Lease: time.Minute, Max: 9}); err != nil || len(ls) != 0 {
			t.Errorf("claim: %v, %v", messages(ls), err)
		}
		if _, err := s.Create(ctx, NewItem(0)); err != nil {
			t.Errorf("create: %v", err)
		}
		if l := lease(t, s, T0.Add(time.Hour)); len(l.Inbox) != 0 {
			t.Errorf("the inbox of the removed item came back: %+v", l.Inbox)
		}
	})
	t.Run("a stale holder removes and erases nothing", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		old := begun(t, s)
		lease(t, s, T0.Add(2*time.Minute))
		for _, st := range []journal.Step{{Remove: true, At: T0}, {State: gateway.StateClosed, Doc: []byte("{}"), At: T0, Erase: []string{"request"}}} {
			if err := s.Advance(ctx, old, st); !errors.Is(err, journal.ErrLeaseLost) {
				t.Errorf("stale: %v", err)
			}
		}
		if b, err := s.Body(ctx, old.Item.ID, "request"); err != nil || string(b) != string(request) {
			t.Errorf("body %q, %v", b, err)
		}
	})
	t.Run("a consumed signal keeps its key and digest, not its body", func(t *testing.T) {
		s, reopen := make(t)
		l := begun(t, s)
		sig := journal.Signal{Key: "result", Kind: "result", At: T0, Body: []byte("the provider's document")}
		first, fresh, err := s.Signal(ctx, l.Item.ID, sig)
		if err != nil || !fresh || first.SHA256 != sha256.Sum256(sig.Body) {
			t.Fatalf("%+v, %v, %v", first, fresh, err)
		}
		if first, _, err := s.Signal(ctx, l.Item.ID, sig); err != nil || string(first.Body) != string(sig.Body) || first.SHA256 != sha256.Sum256(sig.Body) {
			t.Errorf("before it is consumed: %+v, %v", first, err)
		}
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateDelivered, Doc: []byte("{}"), At: T0}); err != nil {
			t.Fatal(err)
		}
		l = lease(t, s, T0)
		if len(l.Inbox) != 1 || l.Inbox[0].SHA256 != sha256.Sum256(sig.Body) {
			t.Fatalf("inbox %+v", l.Inbox)
		}
		if err := s.Advance(ctx, l, journal.Step{State: gateway.StateDecided, Doc: []byte("{}"), At: T0, Consumed: []string{"result"}}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		s = reopen()
		defer s.Close()
		first, fresh, err = s.Signal(ctx, l.Item.ID, journal.Signal{Key: "result", Kind: "result", At: T0, Body: []byte("another")})
		if err != nil || fresh || len(first.Body) != 0 || first.SHA256 != sha256.Sum256(sig.Body) || first.Kind != "result" {
			t.Errorf("after: %+v, fresh %v, %v", first, fresh, err)
		}
	})
	t.Run("what should have been worked on long ago is listed", func(t *testing.T) {
		s, _ := make(t)
		defer s.Close()
		for n := range 5 {
			if _, err := s.Create(ctx, NewItem(n)); err != nil {
				t.Fatal(err)
			}
		}
		page, next, err := s.List(ctx, journal.Query{Shard: "zhambyl", DueBefore: T0.Add(3 * time.Second)})
		if err != nil || next != "" || len(page) != 3 || page[0].MessageID != "message-2" {
			t.Errorf("%d items, next %q, %v", len(page), next, err)
		}
	})
}
