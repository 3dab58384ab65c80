package sqlitejournal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

const itemColumns = "seq, id, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc, pending, events, bodies"

type scanner interface{ Scan(...any) error }

// A row is an item as the database keeps it.
type row struct {
	seq     int64
	item    journal.Item
	pending int
	events  []byte
	bodies  []byte
}

func scanItem(from scanner) (row, error) {
	var (
		r                row
		it               = &r.item
		content          []byte
		created, updated int64
		wake             sql.NullInt64
	)
	err := from.Scan(&r.seq, &it.ID, &it.Portal, &it.MessageID, &content, &it.Citizen, &it.Service, &it.Shard, &it.Provider, &it.State,
		&it.Version, &it.Attempt, &created, &updated, &wake, &it.Doc, &r.pending, &r.events, &r.bodies)
	if errors.Is(err, sql.ErrNoRows) {
		return r, journal.ErrNotFound
	}
	if err != nil {
		return r, err
	}
	copy(it.Content[:], content)
	it.Created, it.Updated = fromMicro(created), fromMicro(updated)
	if wake.Valid {
		it.Wake = fromMicro(wake.Int64)
	}
	return r, nil
}

// full returns the item with its events and what its bodies are.
func (r *row) full() (journal.Item, error) {
	if err := json.Unmarshal(r.events, &r.item.Events); err != nil {
		return r.item, fmt.Errorf("events of item %d: %w", r.seq, err)
	}
	places := map[string]place{}
	if err := json.Unmarshal(r.bodies, &places); err != nil {
		return r.item, fmt.Errorf("bodies of item %d: %w", r.seq, err)
	}
	r.item.Bodies = make(map[string]journal.BodyNote, len(places))
	for name, p := range places {
		n := journal.BodyNote{Size: p.Length, Erased: p.Erased}
		copy(n.SHA256[:], p.SHA256)
		r.item.Bodies[name] = n
	}
	return r.item, nil
}

func fromMicro(n int64) time.Time { return time.UnixMicro(n).UTC() }

func toWake(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// appendEvents adds events to a JSON array, numbering on from what it holds.
func appendEvents(array []byte, add []gateway.Event) ([]byte, error) {
	var all []gateway.Event
	if len(array) > 0 {
		if len(add) == 0 {
			return array, nil
		}
		if err := json.Unmarshal(array, &all); err != nil {
			return nil, err
		}
	}
	for _, e := range add {
		e.Seq = len(all) + 1
		all = append(all, e)
	}
	if all == nil {
		return []byte("[]"), nil
	}
	return json.Marshal(all)
}

// addBodies puts bodies into the batch and their places into the JSON object.
func (w *writing) addBodies(object []byte, add map[string][]byte) ([]byte, error) {
	if len(add) == 0 && len(object) > 0 {
		return object, nil
	}
	places := map[string]place{}
	if len(object) > 0 {
		if err := json.Unmarshal(object, &places); err != nil {
			return nil, err
		}
	}
	for name, data := range add {
		places[name] = w.bodies.add(data)
	}
	return json.Marshal(places)
}

// Create implements journal.Store; it is durable when it returns nil or ErrDuplicate.
func (s *Store) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	message := sha256.Sum256([]byte(n.Portal + "\x00" + n.MessageID))
	var it journal.Item
	if s.full.Load() {
		return it, gateway.Errorf(gateway.JournalFull, "less than %d MB are free", s.cfg.MinFree>>20)
	}
	err := s.admit(ctx, func(w *writing) error {
		r, err := scanItem(w.row("SELECT "+itemColumns+" FROM item WHERE message = ?", message[:]))
		if err == nil {
			if r.item.Content != n.Content {
				return journal.ErrReplay
			}
			if it, err = r.full(); err != nil {
				return engineError{err}
			}
			return journal.ErrDuplicate
		}
		if !errors.Is(err, journal.ErrNotFound) {
			return engineError{err}
		}
		events, err := appendEvents(nil, n.Events)
		if err != nil {
			return engineError{err}
		}
		bodies, err := w.addBodies(nil, n.Bodies)
		if err != nil {
			return engineError{err}
		}
		at := n.Created.UnixMicro()
		_, err = w.exec(`INSERT INTO item(id, message, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc, events, bodies)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, ?, ?, ?, ?)`,
			string(n.ID), message[:], n.Portal, n.MessageID, n.Content[:], string(n.Citizen), n.Service, n.Shard, n.Provider,
			string(gateway.StateAccepted), at, at, toWake(n.Wake), n.Doc, events, bodies)
		if err != nil {
			return err
		}
		it = journal.Item{ID: n.ID, Portal: n.Portal, MessageID: n.MessageID, Content: n.Content, Citizen: n.Citizen, Service: n.Service, Shard: n.Shard, Provider: n.Provider,
			State: gateway.StateAccepted, Version: 1, Created: fromMicro(at), Updated: fromMicro(at), Doc: n.Doc}
		if !n.Wake.IsZero() {
			it.Wake = fromMicro(n.Wake.UnixMicro())
		}
		if err := json.Unmarshal(events, &it.Events); err != nil {
			return engineError{err}
		}
		w.count(n.Shard, it.State, 1)
		return nil
	})
	if err != nil && !errors.Is(err, journal.ErrDuplicate) {
		return journal.Item{}, err
	}
	return it, err
}

// Claim implements journal.Store; the leases are durable when it returns.
func (s *Store) Claim(ctx context.Context, o journal.ClaimOptions) ([]journal.Lease, error) {
	if len(o.Shards) == 0 || o.Max <= 0 {
		return nil, nil
	}
	now, until := o.Now.UnixMicro(), o.Now.Add(o.Lease)
	// An idle look costs no transaction.
	due, err := s.anyDue(ctx, o.Shards, now)
	if err != nil || !due {
		return nil, err
	}
	query := "SELECT seq FROM item WHERE shard IN (" + marks(len(o.Shards)) + ") AND wake IS NOT NULL AND wake <= ?"
	var args []any
	for _, sh := range o.Shards {
		args = append(args, sh)
	}
	args = append(args, now)
	if n := len(o.Ordered); n > 0 {
		query += " AND (state NOT IN (" + marks(n) + ") OR NOT EXISTS (SELECT 1 FROM item older WHERE older.citizen = item.citizen AND older.seq < item.seq AND older.service = item.service AND older.shard = item.shard AND older.state IN (" + marks(n) + ")))"
		for range 2 {
			for _, st := range o.Ordered {
				args = append(args, string(st))
			}
		}
	}
	query += " ORDER BY wake LIMIT ?"
	args = append(args, o.Max)
	var (
		leases []journal.Lease
		inbox  [][]left
	)
	err = s.submit(ctx, func(w *writing) error {
		seqs, err := w.seqs(query, args...)
		if err != nil {
			return err
		}
		for _, seq := range seqs {
			if _, err := w.exec("UPDATE item SET version = version + 1, wake = ?, leased = 1 WHERE seq = ?", until.UnixMicro(), seq); err != nil {
				return err
			}
			r, err := scanItem(w.row("SELECT "+itemColumns+" FROM item WHERE seq = ?", seq))
			if err != nil {
				return engineError{err}
			}
			l := journal.Lease{Until: until}
			if l.Item, err = r.full(); err != nil {
				s.cfg.Log.Error("a damaged row is left aside; journal verify names it", "request", string(r.item.ID), "error", err)
				continue
			}
			var messages []left
			if r.pending > 0 {
				if messages, err = w.inbox(seq); err != nil {
					return err
				}
			}
			leases, inbox = append(leases, l), append(inbox, messages)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	whole := leases[:0]
	for i, l := range leases {
		if l.Inbox, err = s.openAll(inbox[i]); err != nil {
			s.cfg.Log.Error("a damaged message is left aside; journal verify names it", "request", string(l.Item.ID), "error", err)
			continue // it stays leased: one damaged row must not stop the others
		}
		whole = append(whole, l)
	}
	return whole, nil
}

func (s *Store) openAll(all []left) ([]journal.Signal, error) {
	var out []journal.Signal
	for _, m := range all {
		g, err := m.open(s.segs)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

func marks(n int) string { return strings.Repeat(", ?", n)[2:] }

func (s *Store) anyDue(ctx context.Context, shards []string, now int64) (bool, error) {
	for _, shard := range shards {
		var one int
		err := s.look.QueryRowContext(ctx, shard, now).Scan(&one)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return false, s.readErr("look for due work", err)
		}
	}
	return false, nil
}

func (w *writing) seqs(query string, args ...any) ([]int64, error) {
	st, err := w.prepared(query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(background, args...)
	if err != nil {
		return nil, engineError{err}
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, engineError{err}
		}
		all = append(all, seq)
	}
	if err := rows.Err(); err != nil {
		return nil, engineError{err}
	}
	return all, nil
}
