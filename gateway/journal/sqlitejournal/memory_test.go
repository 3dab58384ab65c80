package sqlitejournal_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

// forgetful opens a store that remembers so many bytes of items.
func forgetful(keys *sealing.Keyring, bytes int) journaltest.Maker {
	return func(t *testing.T) (journal.Store, func() journal.Store) {
		dir := filepath.Join(t.TempDir(), "data")
		open := func() journal.Store {
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: keys})
			if err != nil {
				t.Fatal(err)
			}
			s.Remember(bytes)
			return s
		}
		return open(), open
	}
}

// What the store remembers must make no difference: the suite holds for one that remembers the
// last item only, the model for one that forgets in the middle of everything.
func TestAStoreThatForgets(t *testing.T) {
	inClearAndSealed(t, func(t *testing.T, keys *sealing.Keyring) {
		journaltest.Run(t, forgetful(keys, 0))
	})
	journaltest.RunModel(t, forgetful(ring(t, sealing.NewInstallationKey()), 6000))
}

// claimOne leases the one item that is due.
func claimOne(t *testing.T, s *sqlitejournal.Store, at time.Time) journal.Lease {
	t.Helper()
	ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at, Lease: time.Minute, Max: 1})
	if err != nil || len(ls) != 1 {
		t.Fatalf("claimed %d, %v", len(ls), err)
	}
	return ls[0]
}

// An operator's order comes from another process, of which the store's memory learns nothing.
func TestAnOrderForARememberedItemIsSeen(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	operator, err := sqlitejournal.Attach(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	it := journaltest.NewItem(1)
	if _, err := s.Create(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	at := it.Created.Add(time.Second)
	order := func(key string) {
		t.Helper()
		if err := operator.Signal(t.Context(), it.ID, journal.Signal{Key: key, Kind: "redrive", At: at}); err != nil {
			t.Fatal(err)
		}
	}
	rest := func(l journal.Lease, consumed ...string) {
		t.Helper()
		if err := s.Advance(t.Context(), l, journal.Step{State: gateway.StateParked, Doc: l.Item.Doc, At: at, Consumed: consumed}); err != nil {
			t.Fatal(err)
		}
	}
	l := claimOne(t, s, at)
	order("while it was leased")
	rest(l)
	l = claimOne(t, s, at)
	if len(l.Inbox) != 1 || l.Inbox[0].Key != "while it was leased" {
		t.Fatalf("the lease has the messages %+v", l.Inbox)
	}
	rest(l, "while it was leased")
	if got, err := s.Get(t.Context(), it.ID); err != nil || !got.Wake.IsZero() {
		t.Fatalf("it is to wake at %v, %v", got.Wake, err)
	}
	order("while it rested")
	if got, err := s.Get(t.Context(), it.ID); err != nil || !got.Wake.Equal(at) {
		t.Errorf("the order is to wake it at %v, %v", got.Wake, err)
	}
	// The second message is not among those that the lease saw, and may be consumed all the same.
	l = claimOne(t, s, at)
	order("while it was leased again")
	rest(l, "while it rested", "while it was leased again")
	if ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at, Lease: time.Minute, Max: 1}); err != nil || len(ls) != 0 && len(ls[0].Inbox) != 0 {
		t.Errorf("claimed %+v, %v", ls, err)
	}
}

// Whoever holds a lease may do with it what they like: the journal keeps what it was given.
func TestWhatAWorkerDoesToItsLeaseIsNotRemembered(t *testing.T) {
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	it := journaltest.NewItem(1)
	it.Doc = []byte(`{"doc":1}`)
	if _, err := s.Create(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	copy(it.Doc, "#########")
	at := it.Created.Add(time.Second)
	spoil := func(l journal.Lease) {
		copy(l.Item.Doc, "#########")
		l.Item.Events[0].Kind = "spoilt"
		l.Item.Bodies["request"] = journal.BodyNote{Erased: true}
		l.Item.Bodies["spoilt"] = journal.BodyNote{}
	}
	claim := func() journal.Lease {
		t.Helper()
		l := claimOne(t, s, at)
		if string(l.Item.Doc) != `{"doc":1}` || l.Item.Events[0].Kind != gateway.EventAccepted || len(l.Item.Bodies) != 1 || l.Item.Bodies["request"].Erased {
			t.Fatalf("the lease has %+v", l.Item)
		}
		return l
	}
	var want journal.Item
	for range 3 {
		spoil(claim()) // and is late with it
		at = at.Add(2 * time.Minute)
		l := claim()
		doc := []byte(`{"doc":1}`)
		spoil(l)
		if err := s.Advance(t.Context(), l, journal.Step{State: gateway.StateAccepted, Wake: at, Doc: doc, At: it.Created}); err != nil {
			t.Fatal(err)
		}
		copy(doc, "#########")
		got, err := s.Get(t.Context(), it.ID)
		if err != nil {
			t.Fatal(err)
		}
		got.Version, got.Wake = 0, time.Time{}
		if want.ID != "" && !reflect.DeepEqual(got, want) {
			t.Errorf("it became %+v", got)
		}
		want = got
	}
}

// The database gives the number of the newest item again when that was removed.
func TestAnItemWithTheNumberOfARemovedOne(t *testing.T) {
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range 4 {
		it := journaltest.NewItem(n)
		if _, err := s.Create(t.Context(), it); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			if _, err := s.Body(t.Context(), journaltest.NewItem(n-1).ID, "request"); err != journal.ErrNotFound {
				t.Errorf("the body of a removed item: %v", err)
			}
		}
		l := claimOne(t, s, it.Created.Add(time.Second))
		body, err := s.Body(t.Context(), it.ID, "request")
		if l.Item.ID != it.ID || l.Item.Version != 2 || err != nil || string(body) != string(it.Bodies["request"]) {
			t.Errorf("item %d: the lease has %s in version %d, its body is %q, %v", n, l.Item.ID, l.Item.Version, body, err)
		}
		if err := s.Advance(t.Context(), l, journal.Step{Remove: true}); err != nil {
			t.Fatal(err)
		}
	}
}
