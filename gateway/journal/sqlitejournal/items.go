package sqlitejournal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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

// full returns the item with its events.
func (r *row) full() (journal.Item, error) {
	if err := json.Unmarshal(r.events, &r.item.Events); err != nil {
		return r.item, fmt.Errorf("events of item %d: %w", r.seq, err)
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
		query += " AND (state NOT IN (" + marks(n) + ") OR NOT EXISTS (SELECT 1 FROM item older WHERE older.citizen = item.citizen AND older.seq < item.seq AND older.service = item.service AND older.state IN (" + marks(n) + ")))"
		for range 2 {
			for _, st := range o.Ordered {
				args = append(args, string(st))
			}
		}
	}
	query += " ORDER BY wake LIMIT ?"
	args = append(args, o.Max)
	var leases []journal.Lease
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
				// One damaged row must not stop the others; it stays leased, and Verify names it.
				continue
			}
			if r.pending > 0 {
				if l.Inbox, err = w.inbox(seq); err != nil {
					return err
				}
			}
			leases = append(leases, l)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return leases, nil
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

func (w *writing) inbox(seq int64) ([]journal.Signal, error) {
	st, err := w.prepared("SELECT key, kind, at, body FROM inbox WHERE item = ? AND consumed = 0 ORDER BY n")
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(background, seq)
	if err != nil {
		return nil, engineError{err}
	}
	defer rows.Close()
	var all []journal.Signal
	for rows.Next() {
		var (
			g  journal.Signal
			at int64
		)
		if err := rows.Scan(&g.Key, &g.Kind, &at, &g.Body); err != nil {
			return nil, engineError{err}
		}
		g.At = fromMicro(at)
		all = append(all, g)
	}
	if err := rows.Err(); err != nil {
		return nil, engineError{err}
	}
	return all, nil
}

// Advance implements journal.Store; all of the step is durable when it returns nil.
func (s *Store) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
	return s.submit(ctx, func(w *writing) error {
		var (
			seq            int64
			pending        int
			events, bodies []byte
		)
		err := w.row("SELECT seq, pending, events, bodies FROM item WHERE id = ? AND version = ? AND leased = 1", string(l.Item.ID), l.Item.Version).Scan(&seq, &pending, &events, &bodies)
		if errors.Is(err, sql.ErrNoRows) {
			return journal.ErrLeaseLost
		}
		if err != nil {
			return engineError{err}
		}
		if events, err = appendEvents(events, st.Events); err != nil {
			return engineError{err}
		}
		if bodies, err = w.addBodies(bodies, st.Bodies); err != nil {
			return engineError{err}
		}
		// A signal that arrived while the step ran must not wait for the planned wake time.
		wake := toWake(st.Wake)
		if pending > len(l.Inbox) {
			wake = st.At.UnixMicro()
		}
		consumed := 0
		for _, key := range st.Consumed {
			res, err := w.exec("UPDATE inbox SET consumed = 1 WHERE item = ? AND key = ? AND consumed = 0", seq, key)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return engineError{err}
			}
			consumed += int(n)
		}
		_, err = w.exec("UPDATE item SET state = ?, attempt = ?, wake = ?, doc = ?, updated = ?, version = version + 1, leased = 0, pending = ?, events = ?, bodies = ? WHERE seq = ?",
			string(st.State), st.Attempt, wake, st.Doc, st.At.UnixMicro(), pending-consumed, events, bodies, seq)
		return err
	})
}

// What leaves a signal, in the store's own process and in an operator's: a leased item is not
// woken, its Advance sees the message that is still pending.
const (
	leaveSignal   = `INSERT INTO inbox(item, key, n, kind, at, body) VALUES (?, ?, (SELECT coalesce(max(n), 0) + 1 FROM inbox WHERE item = ?), ?, ?, ?)`
	wakeForSignal = `UPDATE item SET pending = pending + 1, wake = CASE WHEN leased = 0 AND (wake IS NULL OR wake > ?) THEN ? ELSE wake END WHERE seq = ?`
)

// Signal implements journal.Store; the message is durable when it returns nil.
func (s *Store) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) (journal.Signal, bool, error) {
	first, fresh := g, false
	err := s.submit(ctx, func(w *writing) error {
		first, fresh = g, false
		var seq int64
		err := w.row("SELECT seq FROM item WHERE id = ?", string(id)).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return journal.ErrNotFound
		}
		if err != nil {
			return engineError{err}
		}
		var at int64
		err = w.row("SELECT kind, at, body FROM inbox WHERE item = ? AND key = ?", seq, g.Key).Scan(&first.Kind, &at, &first.Body)
		if err == nil {
			first.At = fromMicro(at)
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return engineError{err}
		}
		body := g.Body
		if body == nil {
			body = []byte{}
		}
		if _, err := w.exec(leaveSignal,
			seq, g.Key, seq, g.Kind, g.At.UnixMicro(), body); err != nil {
			return err
		}
		_, err = w.exec(wakeForSignal,
			g.At.UnixMicro(), g.At.UnixMicro(), seq)
		fresh = err == nil
		return err
	})
	if err != nil {
		return journal.Signal{}, false, err
	}
	return first, fresh, nil
}

// Get implements journal.Store; it reads what was durable at the call.
func (s *Store) Get(ctx context.Context, id gateway.RequestID) (journal.Item, error) {
	r, err := scanItem(s.read.QueryRowContext(ctx, "SELECT "+itemColumns+" FROM item WHERE id = ?", string(id)))
	if err != nil {
		return journal.Item{}, s.readErr("get", err)
	}
	it, err := r.full()
	if err != nil {
		return journal.Item{}, s.readErr("get", err)
	}
	return it, nil
}

// Body implements journal.Store; it reads what was durable at the call.
func (s *Store) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	var object []byte
	err := s.read.QueryRowContext(ctx, "SELECT bodies FROM item WHERE id = ?", string(id)).Scan(&object)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, journal.ErrNotFound
	}
	if err != nil {
		return nil, s.readErr("body", err)
	}
	places := map[string]place{}
	if err := json.Unmarshal(object, &places); err != nil {
		return nil, s.readErr("body", err)
	}
	p, ok := places[name]
	if !ok {
		return nil, journal.ErrNotFound
	}
	data, err := s.segs.read(p)
	if err != nil {
		return nil, gateway.Errorf(gateway.JournalUnavailable, "the body %s of request %s is damaged on disk, restore it from a backup: %w", name, id, err)
	}
	return data, nil
}

// List implements journal.Store; it reads what was durable at the call.
func (s *Store) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	if q.Limit <= 0 {
		q.Limit = 50
	}
	where, args := []string{"1"}, []any{}
	add := func(cond string, v any) { where, args = append(where, cond), append(args, v) }
	if q.Citizen != "" {
		add("citizen = ?", string(q.Citizen))
	}
	if q.Shard != "" {
		add("shard = ?", q.Shard)
	}
	if q.State != "" {
		add("state = ?", string(q.State))
	}
	if q.Cursor != "" {
		before, err := strconv.ParseInt(q.Cursor, 10, 64)
		if err != nil {
			return nil, "", gateway.Errorf(gateway.NotFound, "the cursor is not one of this list")
		}
		add("seq < ?", before)
	}
	args = append(args, q.Limit+1)
	rows, err := s.read.QueryContext(ctx, "SELECT "+itemColumns+" FROM item WHERE "+strings.Join(where, " AND ")+" ORDER BY seq DESC LIMIT ?", args...)
	if err != nil {
		return nil, "", s.readErr("list", err)
	}
	defer rows.Close()
	var (
		all  []journal.Item
		last int64
	)
	for rows.Next() {
		r, err := scanItem(rows)
		if err != nil {
			return nil, "", s.readErr("list", err)
		}
		if len(all) == q.Limit {
			return all, strconv.FormatInt(last, 10), nil
		}
		all, last = append(all, r.item), r.seq
	}
	if err := rows.Err(); err != nil {
		return nil, "", s.readErr("list", err)
	}
	return all, "", nil
}

// Stats implements journal.Store: it writes one row through the writer before it counts.
func (s *Store) Stats(ctx context.Context) (journal.Stats, error) {
	err := s.submit(ctx, func(w *writing) error {
		_, err := w.exec("UPDATE heartbeat SET n = n + 1")
		return err
	})
	if err != nil {
		return journal.Stats{}, err
	}
	if s.full.Load() {
		return journal.Stats{}, gateway.Errorf(gateway.JournalFull, "less than %d MB are free", s.cfg.MinFree>>20)
	}
	return s.count(ctx)
}

func (s *Store) count(ctx context.Context) (journal.Stats, error) {
	st := journal.Stats{ByShard: map[string]map[gateway.State]int{}}
	rows, err := s.read.QueryContext(ctx, "SELECT shard, state, count(*) FROM item GROUP BY shard, state")
	if err != nil {
		return st, s.readErr("stats", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			shard string
			state gateway.State
			n     int
		)
		if err := rows.Scan(&shard, &state, &n); err != nil {
			return st, s.readErr("stats", err)
		}
		if st.ByShard[shard] == nil {
			st.ByShard[shard] = map[gateway.State]int{}
		}
		st.ByShard[shard][state] = n
	}
	if err := rows.Err(); err != nil {
		return st, s.readErr("stats", err)
	}
	var due sql.NullInt64
	if err := s.read.QueryRowContext(ctx, "SELECT min(wake) FROM item WHERE wake IS NOT NULL AND leased = 0").Scan(&due); err != nil {
		return st, s.readErr("stats", err)
	}
	if due.Valid {
		st.OldestDue = fromMicro(due.Int64)
	}
	return st, nil
}

// Record implements journal.Audit; the entry is durable when it returns nil.
func (s *Store) Record(ctx context.Context, e journal.AuditEntry) error {
	return s.submit(ctx, func(w *writing) error {
		_, err := w.exec("INSERT INTO audit(at, door, party, reason, content) VALUES (?, ?, ?, ?, ?)",
			e.At.UnixMicro(), e.Door, e.Party, string(e.Reason), e.ContentSHA256)
		return err
	})
}

// Recent implements journal.Audit.
func (s *Store) Recent(ctx context.Context, limit int) ([]journal.AuditEntry, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT at, door, party, reason, content FROM audit ORDER BY n DESC LIMIT ?", limit)
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
		if err := rows.Scan(&at, &e.Door, &e.Party, &e.Reason, &e.ContentSHA256); err != nil {
			return nil, s.readErr("audit", err)
		}
		e.At = fromMicro(at)
		all = append(all, e)
	}
	return all, rows.Err()
}

func (s *Store) readErr(doing string, err error) error {
	if errors.Is(err, journal.ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return gateway.Errorf(gateway.JournalUnavailable, "%s: %w", doing, err)
}
