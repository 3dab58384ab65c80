package sqlitejournal

import (
	"context"

	"egov-gateway/gateway/journal"
)

// Record implements journal.Audit; the entry is durable when it returns nil.
func (s *Store) Record(ctx context.Context, e journal.AuditEntry) error {
	return s.submit(ctx, func(w *writing) error {
		_, err := w.exec("INSERT INTO audit(at, door, party, reason, content, action, subject, shard) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			e.At.UnixMicro(), e.Door, e.Party, string(e.Reason), e.ContentSHA256, e.Action, e.Subject, e.Shard)
		return err
	})
}

// Recent implements journal.Audit.
func (s *Store) Recent(ctx context.Context, limit int) ([]journal.AuditEntry, error) {
	return s.audit(ctx, "action = ''", limit)
}

// Actions implements journal.Audit.
func (s *Store) Actions(ctx context.Context, limit int) ([]journal.AuditEntry, error) {
	return s.audit(ctx, "action <> ''", limit)
}

func (s *Store) audit(ctx context.Context, which string, limit int) ([]journal.AuditEntry, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT at, door, party, reason, content, action, subject, shard FROM audit WHERE "+which+" ORDER BY n DESC LIMIT ?", limit)
	if err != nil {
		return nil, s.readErr("audit", err)
	}
	defer rows.Close()
	var all []journal.AuditEntry
	for rows.Next() {
		var (
			e  journal.AuditEntry
			at int64
		)
		if err := rows.Scan(&at, &e.Door, &e.Party, &e.Reason, &e.ContentSHA256, &e.Action, &e.Subject, &e.Shard); err != nil {
			return nil, s.readErr("audit", err)
		}
		e.At = fromMicro(at)
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, s.readErr("audit", err)
	}
	return all, nil
}
