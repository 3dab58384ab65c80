package sqlitejournal_test

import (
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// Refusals and actions go when their own time is over, by the clock of the gateway and not of the machine.
func TestTheAuditIsKeptForItsTime(t *testing.T) {
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir(), RefusalsKeep: 24 * time.Hour, ActionsKeep: 72 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, at := range []time.Time{journaltest.T0, journaltest.T0.Add(40 * time.Hour)} {
		for range 1500 {
			if err := s.Record(t.Context(), journal.AuditEntry{At: at, Door: "rest", Party: "egov.kz", Reason: gateway.DigestMismatch}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Record(t.Context(), journal.AuditEntry{At: at, Door: "console", Party: "operator-1", Action: "look"}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() [2]int {
		refusals, err := s.Recent(t.Context(), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		actions, err := s.Actions(t.Context(), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		return [2]int{len(refusals), len(actions)}
	}
	for _, tt := range []struct {
		name string
		now  time.Time
		want [2]int
	}{
		{"before any time is over all are there", journaltest.T0.Add(23 * time.Hour), [2]int{3000, 2}},
		{"old refusals go, actions stay", journaltest.T0.Add(48 * time.Hour), [2]int{1500, 2}},
		{"old actions go", journaltest.T0.Add(80 * time.Hour), [2]int{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: tt.now, Lease: time.Minute, Max: 1}); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(2 * time.Minute); count() != tt.want; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%v refusals and actions are left, want %v", count(), tt.want)
				}
			}
		})
	}
}

// Without room for more than the work on what was accepted a refusal is not written down; what operators
// do is.
func TestTheReserveIsNotForRefusals(t *testing.T) {
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir(), MinFree: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Record(t.Context(), journal.AuditEntry{At: journaltest.T0, Door: "rest", Reason: gateway.DigestMismatch}); gateway.ReasonOf(err) != gateway.JournalFull {
		t.Errorf("a refusal: %v", err)
	}
	if err := s.Record(t.Context(), journal.AuditEntry{At: journaltest.T0, Door: "console", Party: "operator-1", Action: "look"}); err != nil {
		t.Errorf("an action: %v", err)
	}
}

// The audit is looked at once a minute, and while there is much to take away, again and again.
func TestTheAuditIsPrunedOnceAMinute(t *testing.T) {
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir(), RefusalsKeep: 24 * time.Hour, ActionsKeep: 72 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := journaltest.T0.Add(48 * time.Hour)
	look := func(after time.Duration) int {
		t.Helper()
		now = now.Add(after)
		if _, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: now, Lease: time.Minute, Max: 1}); err != nil {
			t.Fatal(err)
		}
		if err := s.PruneAudit(); err != nil {
			t.Fatal(err)
		}
		left, err := s.Recent(t.Context(), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		return len(left)
	}
	refuse := func(n int) {
		t.Helper()
		for range n {
			if err := s.Record(t.Context(), journal.AuditEntry{At: journaltest.T0, Door: "rest", Party: "egov.kz", Reason: gateway.DigestMismatch}); err != nil {
				t.Fatal(err)
			}
		}
	}
	look(0)
	refuse(3)
	for range 3 {
		if left := look(15 * time.Second); left != 3 {
			t.Fatalf("%d are left before the minute is over", left)
		}
	}
	if left := look(15 * time.Second); left != 0 {
		t.Errorf("%d are left after a minute", left)
	}
	look(0)
	refuse(4500)
	left := look(time.Minute)
	for range 2 {
		left = look(0)
	}
	if left != 0 {
		t.Errorf("%d of many are left", left)
	}
	look(0)
	refuse(1)
	if left := look(-time.Hour); left != 0 {
		t.Errorf("a clock that was set back: %d are left", left)
	}
}
