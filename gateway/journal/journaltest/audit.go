package journaltest

import (
	"context"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// runAudit checks journal.Audit.
func runAudit(t *testing.T, make Maker) {
	ctx := context.Background()
	t.Run("refusals and actions are kept apart, newest first, and are there after reopening", func(t *testing.T) {
		s, reopen := make(t)
		refusal := journal.AuditEntry{At: T0, Door: "rest", Party: "egov.kz", Reason: gateway.DigestMismatch, ContentSHA256: "00ff"}
		action := journal.AuditEntry{At: T0.Add(time.Second), Door: "console", Party: "operator-1", Action: "view", Subject: string(NewItem(1).ID), Shard: "zhambyl"}
		refused := journal.AuditEntry{At: T0.Add(2 * time.Second), Door: "console", Party: "operator-2", Reason: gateway.OperatorForbidden, Action: "redrive", Subject: "x", Shard: "north-kazakhstan"}
		all := []journal.AuditEntry{refusal, action, refused}
		for i := range 40 {
			all = append(all, journal.AuditEntry{At: T0.Add(time.Duration(3+i) * time.Second), Door: "rest", Reason: gateway.Overload})
		}
		for _, e := range all {
			if err := s.(journal.Audit).Record(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = reopen()
		defer s.Close()
		a := s.(journal.Audit)
		actions, err := a.Actions(ctx, 10)
		if err != nil || len(actions) != 2 || actions[0] != refused || actions[1] != action {
			t.Errorf("actions %+v, %v", actions, err)
		}
		if newest, err := a.Actions(ctx, 1); err != nil || len(newest) != 1 || newest[0] != refused {
			t.Errorf("the newest action %+v, %v", newest, err)
		}
		refusals, err := a.Recent(ctx, 100)
		if err != nil || len(refusals) != 41 || refusals[40] != refusal || refusals[0].Reason != gateway.Overload {
			t.Errorf("refusals %+v, %v", refusals, err)
		}
	})
}
