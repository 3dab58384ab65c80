package sqlitejournal_test

import (
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// Each opening is the same gateway after its clock was set.
func TestAClockThatWasSetPutsNothingOff(t *testing.T) {
	journaltest.RunClocks(t, func(t *testing.T) journaltest.AheadOpener {
		dir, s := t.TempDir(), journal.Store(nil)
		return func(time.Duration) journal.Store {
			if s != nil {
				s.Close()
			}
			var err error
			if s, err = sqlitejournal.Open(sqlitejournal.Config{Dir: dir}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		}
	})
}

// An operator's order comes from another process, whose clock may be any.
func TestAnOrderWakesAtOnceWhateverTheOperatorsClockSays(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour, 7 * 24 * time.Hour} {
		t.Run(ahead.String()+" ahead", func(t *testing.T) {
			dir := t.TempDir()
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			it, err := s.Create(t.Context(), journaltest.NewItem(0))
			if err != nil {
				t.Fatal(err)
			}
			o := journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0, Lease: time.Minute, Max: 1}
			ls, err := s.Claim(t.Context(), o)
			if err != nil || len(ls) != 1 {
				t.Fatal(ls, err)
			}
			if err := s.Advance(t.Context(), ls[0], journal.Step{State: gateway.StateParked, At: journaltest.T0, Doc: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
			a, err := sqlitejournal.Attach(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if err := a.Signal(t.Context(), it.ID, journal.Signal{Key: "redrive/1", Kind: "redrive", At: journaltest.T0.Add(ahead)}); err != nil {
				t.Fatal(err)
			}
			o.Now = journaltest.T0.Add(time.Second)
			if ls, err = s.Claim(t.Context(), o); err != nil || len(ls) != 1 || len(ls[0].Inbox) != 1 {
				t.Errorf("claimed %+v, %v", ls, err)
			}
		})
	}
}
