package journaltest

import (
	"context"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// An AheadOpener opens a journal, always the same one, as a process whose clock is ahead of the right
// one. A store of one process closes the one that it opened before.
type AheadOpener func(ahead time.Duration) journal.Store

// RunClocks checks that what one process plans is due for another by the journal's clock, whoever's clock
// is wrong. It runs in real time.
func RunClocks(t *testing.T, make func(t *testing.T) AheadOpener) {
	const soon, wrong = 200 * time.Millisecond, time.Hour
	ctx := context.Background()
	claim := func(t *testing.T, s journal.Store, ahead time.Duration) []journal.Lease {
		t.Helper()
		o := journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: time.Now().Add(ahead), Lease: soon, Max: 1}
		ls, err := s.Claim(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		return ls
	}
	// due waits for work as a gateway does, for much longer than it may take and much shorter than an hour.
	due := func(t *testing.T, s journal.Store, ahead time.Duration) []journal.Lease {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if ls := claim(t, s, ahead); len(ls) > 0 {
				return ls
			}
		}
		t.Fatal("the work is not due")
		return nil
	}
	create := func(t *testing.T, s journal.Store, ahead time.Duration) gateway.RequestID {
		t.Helper()
		n := NewItem(0)
		n.Created = time.Now().Add(ahead)
		n.Wake = n.Created
		it, err := s.Create(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		return it.ID
	}
	advance := func(t *testing.T, s journal.Store, l journal.Lease, ahead, wake time.Duration) {
		t.Helper()
		now := time.Now().Add(ahead)
		st := journal.Step{State: gateway.StateDelivered, At: now, Doc: []byte("{}")}
		if wake > 0 {
			st.Wake = now.Add(wake)
		}
		if err := s.Advance(ctx, l, st); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("what a gateway that was ahead accepted is due for one whose clock is right", func(t *testing.T) {
		open := make(t)
		create(t, open(wrong), wrong)
		due(t, open(0), 0)
	})
	t.Run("what it put off for a moment is due after that moment", func(t *testing.T) {
		open := make(t)
		s := open(wrong)
		create(t, s, wrong)
		advance(t, s, due(t, s, wrong)[0], wrong, soon)
		due(t, open(0), 0)
	})
	t.Run("its lease ends when it was meant to", func(t *testing.T) {
		open := make(t)
		s := open(wrong)
		create(t, s, wrong)
		due(t, s, wrong)
		due(t, open(0), 0)
	})
	t.Run("a report that it took wakes the request for the others", func(t *testing.T) {
		open := make(t)
		s := open(0)
		id := create(t, s, 0)
		advance(t, s, due(t, s, 0)[0], 0, 0)
		s = open(wrong)
		if _, _, err := s.Signal(ctx, id, journal.Signal{Key: "result", Kind: "result", At: time.Now().Add(wrong)}); err != nil {
			t.Fatal(err)
		}
		due(t, open(0), 0)
	})
	t.Run("a gateway that is behind does not take up at once what it put off", func(t *testing.T) {
		open := make(t)
		s := open(-wrong)
		create(t, s, -wrong)
		l := due(t, s, -wrong)[0]
		advance(t, s, l, -wrong, time.Minute)
		if ls := claim(t, s, -wrong); len(ls) > 0 {
			t.Fatal("what was put off for a minute is due at once")
		}
	})
}
