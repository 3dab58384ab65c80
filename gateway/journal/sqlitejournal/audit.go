package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// Record implements journal.Audit; the entry is durable when it returns nil.
func (s *Store) Record(ctx context.Context, e journal.AuditEntry) error {
	if e.Action == "" && s.full.Load() {
		return gateway.Errorf(gateway.JournalFull, "less than %d MB are free", s.minFree.Load()>>20)
	}
	return s.submit(ctx, func(w *writing) error {
		_, err := w.exec("INSERT INTO audit(at, door, party, reason, content, action, subject, shard) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			e.At.UnixMicro(), e.Door, e.Party, string(e.Reason), e.ContentSHA256, e.Action, e.Subject, e.Shard)
		return err
	})
}

// pruneBatch bounds the entries that one look takes away, so that no caller waits long behind it.
const pruneBatch = 2000

// refusalsMax is how many entries may come after a refusal before it goes although its time is not over: a
// party that is refused all day fills no disk. No entry drives an action out.
const refusalsMax = 1_000_000

// pruneEvery is how often pruneAudit looks, by the clock that the store was told last.
const pruneEvery = time.Minute

// pruneAudit takes away the entries whose time is over by the clock that the store was told last. Only
// the oldest of each kind is looked at, by an index. While there are more than one look takes away, it goes
// on with every call.
func (s *Store) pruneAudit() error {
	now, last := s.told.Load(), s.pruned.Load()
	if now == 0 || now >= last && now-last < pruneEvery.Microseconds() {
		return nil
	}
	more := false
	var newest int64
	if err := s.read.QueryRow("SELECT coalesce(max(n), 0) FROM audit").Scan(&newest); err != nil {
		return err
	}
	for _, kind := range []struct {
		which        string
		before, upTo int64 // entries from before that instant go, and those of numbers up to that
	}{
		{"action = ''", now - s.cfg.RefusalsKeep.Microseconds(), newest - refusalsMax},
		{"action <> ''", now - s.cfg.ActionsKeep.Microseconds(), 0},
	} {
		var n, at int64
		err := s.read.QueryRow("SELECT n, at FROM audit WHERE "+kind.which+" ORDER BY at LIMIT 1").Scan(&n, &at)
		if errors.Is(err, sql.ErrNoRows) || err == nil && at >= kind.before && n > kind.upTo {
			continue
		}
		if err != nil {
			return err
		}
		query := "DELETE FROM audit WHERE n IN (SELECT n FROM audit WHERE " + kind.which + " ORDER BY at LIMIT ?+0) AND (at < ? OR n <= ?)"
		if err := s.submit(background, func(w *writing) error {
			_, err := w.exec(query, pruneBatch, kind.before, kind.upTo)
			return err
		}); err != nil {
			return err
		}
		more = true
	}
	if !more {
		s.pruned.Store(now)
	}
	return nil
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
