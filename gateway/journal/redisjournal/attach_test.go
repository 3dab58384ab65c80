package redisjournal_test

import (
	"os"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

func attach(t *testing.T, s *shelf) *redisjournal.Attached {
	t.Helper()
	a, err := redisjournal.Attach(redisjournal.Config{Redis: []string{s.redis.url()}, Archive: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// An operator sees what is stuck, and leaves an order that the gateway finds.
func TestAnOperatorLooksAndOrders(t *testing.T) {
	s := newShelf(t)
	ctx := t.Context()
	s.finished(1, time.Time{})
	parked := journaltest.NewItem(2)
	if _, err := s.j.Create(ctx, parked); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Minute)
	s.step(journal.Step{State: gateway.StateParked, Doc: []byte("{}"), At: s.now})
	late, fine := journaltest.NewItem(3), journaltest.NewItem(4)
	fine.Wake = s.now.Add(time.Hour)
	for _, n := range []journal.New{late, fine} {
		if _, err := s.j.Create(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	a := attach(t, s)
	items, err := a.Stuck(ctx, s.now, 10)
	if err != nil || len(items) != 2 || items[0].ID != late.ID || items[1].ID != parked.ID || len(items[1].Events) != 1 {
		t.Errorf("stuck: %+v, %v", items, err)
	}
	if items, err := a.Stuck(ctx, s.now, 1); err != nil || len(items) != 1 {
		t.Errorf("stuck, one: %d, %v", len(items), err)
	}
	if err := a.Signal(ctx, parked.ID, journal.Signal{Key: "redrive/1", Kind: "redrive", At: s.now}); err != nil {
		t.Fatal(err)
	}
	ls, err := s.j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: s.now, Lease: time.Minute, Max: 9})
	if err != nil || len(ls) != 2 || len(ls[1].Inbox) != 1 || ls[1].Inbox[0].Kind != "redrive" {
		t.Errorf("claimed %+v, %v", ls, err)
	}
	if st, err := a.Stats(ctx); err != nil || st.ByShard["zhambyl"][gateway.StateAccepted] != 2 {
		t.Errorf("stats: %+v, %v", st, err)
	}
	if err := a.Backup(ctx, t.TempDir()); err == nil || !contains(err.Error(), "OPERATING.md") {
		t.Errorf("backup: %v", err)
	}
	s.redis.set("appendfsync", "everysec")
	if err := a.Signal(ctx, parked.ID, journal.Signal{Key: "redrive/2", Kind: "redrive", At: s.now}); gateway.ReasonOf(err) != gateway.JournalUnavailable {
		t.Errorf("an order on a Redis that may lose it: %v", err)
	}
}

func TestVerifyNamesWhatIsDamaged(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, s *shelf, id gateway.RequestID)
		want  string
	}{
		{"a body", command("HSET", "bo:ID", "request", "<other/>"), "body request"},
		{"a body that is gone", command("HDEL", "bo:ID", "request"), "body request"},
		{"a body in the archive", func(t *testing.T, s *shelf, _ gateway.RequestID) {
			if err := os.Remove(s.files()[0]); err != nil {
				t.Fatal(err)
			}
		}, "body re"},
		{"events", command("HSET", "it:ID", "events", "{"), "event 1"},
		{"a state", command("HSET", "it:ID", "state", "delivered"), "index"},
		{"an item that is gone", command("DEL", "it:ID"), "not there"},
		{"a place in the queue", command("DEL", "due:zhambyl"), "queues"},
		{"a message", command("HSET", "in:ID", "b:k", "other"), "message k"},
		{"a count", command("HSET", "it:ID", "pending", "7"), "7 are counted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf(t)
			s.finished(1, time.Time{})
			s.now = s.now.Add(2 * time.Hour)
			s.sweep(1)
			open := journaltest.NewItem(2)
			if _, err := s.j.Create(t.Context(), open); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.j.Signal(t.Context(), open.ID, journal.Signal{Key: "k", At: s.now, Body: []byte("b")}); err != nil {
				t.Fatal(err)
			}
			a := attach(t, s)
			if r, err := a.Verify(t.Context()); err != nil || len(r.Faults) != 0 || r.Items != 2 || r.Bodies != 3 {
				t.Fatalf("before: %+v, %v", r, err)
			}
			tt.spoil(t, s, open.ID)
			r, err := a.Verify(t.Context())
			if err != nil || len(r.Faults) != 1 || !contains(r.Faults[0], tt.want) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// command spoils by a command of Redis; ID stands for the item's id.
func command(args ...string) func(*testing.T, *shelf, gateway.RequestID) {
	return func(t *testing.T, s *shelf, id gateway.RequestID) {
		c := s.redis.client()
		defer c.Close()
		all := []any{args[0], "eg:{journal}:" + replaceID(args[1], id)}
		for _, a := range args[2:] {
			all = append(all, a)
		}
		if err := c.Do(t.Context(), all...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
