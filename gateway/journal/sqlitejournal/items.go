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

const itemColumns = "seq, id, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc"

// background: a statement inside the shared transaction is never cut short by one caller's
// context, because an interrupted statement may roll back the whole group.
var background = context.Background()

type scanner interface{ Scan(...any) error }

func scanItem(row scanner) (int64, journal.Item, error) {
	var (
		seq              int64
		it               journal.Item
		content          []byte
		created, updated int64
		wake             sql.NullInt64
	)
	err := row.Scan(&seq, &it.ID, &it.Portal, &it.MessageID, &content, &it.Citizen, &it.Service, &it.Shard, &it.Provider, &it.State,
		&it.Version, &it.Attempt, &created, &updated, &wake, &it.Doc)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, it, journal.ErrNotFound
	}
	if err != nil {
		return 0, it, err
	}
	copy(it.Content[:], content)
	it.Created, it.Updated = fromMicro(created), fromMicro(updated)
	if wake.Valid {
		it.Wake = fromMicro(wake.Int64)
	}
	return seq, it, nil
}

func fromMicro(n int64) time.Time { return time.UnixMicro(n).UTC() }

func toWake(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

type querier interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func events(ctx context.Context, q querier, seq int64) ([]gateway.Event, error) {
	rows, err := q.QueryContext(ctx, "SELECT data FROM event WHERE item = ? ORDER BY n", seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []gateway.Event
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		var e gateway.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, fmt.Errorf("event of item %d: %w", seq, err)
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

func addEvents(tx *sql.Tx, seq int64, add []gateway.Event) error {
	if len(add) == 0 {
		return nil
	}
	var last int
	if err := tx.QueryRow("SELECT coalesce(max(n), 0) FROM event WHERE item = ?", seq).Scan(&last); err != nil {
		return err
	}
	for _, e := range add {
		last++
		e.Seq = last
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO event(item, n, data) VALUES (?, ?, ?)", seq, last, string(data)); err != nil {
			return err
		}
	}
	return nil
}

func addBodies(tx *sql.Tx, seq int64, bodies map[string][]byte) error {
	for name, data := range bodies {
		sum := sha256.Sum256(data)
		if data == nil {
			data = []byte{}
		}
		_, err := tx.Exec(`INSERT INTO body(item, name, sha256, data) VALUES (?, ?, ?, ?)
			ON CONFLICT(item, name) DO UPDATE SET sha256 = excluded.sha256, data = excluded.data`, seq, name, sum[:], data)
		if err != nil {
			return err
		}
	}
	return nil
}

// Create implements journal.Store; it is durable when it returns nil or ErrDuplicate.
func (s *Store) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	message := sha256.Sum256([]byte(n.Portal + "\x00" + n.MessageID))
	var it journal.Item
	err := s.submit(ctx, func(tx *sql.Tx) error {
		seq, first, err := scanItem(tx.QueryRow("SELECT "+itemColumns+" FROM item WHERE message = ?", message[:]))
		if err == nil {
			if first.Content != n.Content {
				return journal.ErrReplay
			}
			it = first
			it.Events, err = events(background, tx, seq)
			if err != nil {
				return err
			}
			return journal.ErrDuplicate
		}
		if !errors.Is(err, journal.ErrNotFound) {
			return err
		}
		at := n.Created.UnixMicro()
		res, err := tx.Exec(`INSERT INTO item(id, message, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, ?, ?)`,
			string(n.ID), message[:], n.Portal, n.MessageID, n.Content[:], string(n.Citizen), n.Service, n.Shard, n.Provider,
			string(gateway.StateAccepted), at, at, toWake(n.Wake), n.Doc)
		if err != nil {
			return err
		}
		if seq, err = res.LastInsertId(); err != nil {
			return err
		}
		if err := addEvents(tx, seq, n.Events); err != nil {
			return err
		}
		if err := addBodies(tx, seq, n.Bodies); err != nil {
			return err
		}
		if _, it, err = scanItem(tx.QueryRow("SELECT "+itemColumns+" FROM item WHERE seq = ?", seq)); err != nil {
			return err
		}
		it.Events, err = events(background, tx, seq)
		return err
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
	marks := strings.Repeat(", ?", len(o.Shards))[2:]
	args := make([]any, 0, len(o.Shards)+2)
	for _, sh := range o.Shards {
		args = append(args, sh)
	}
	args = append(args, o.Now.UnixMicro(), o.Max)
	due := "SELECT seq FROM item WHERE shard IN (" + marks + ") AND wake IS NOT NULL AND wake <= ? ORDER BY wake LIMIT ?"

	// An idle look costs no transaction.
	var any int64
	switch err := s.read.QueryRowContext(ctx, due, args...).Scan(&any); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, gateway.Errorf(gateway.JournalUnavailable, "look for due work: %w", err)
	}

	until := o.Now.Add(o.Lease)
	var leases []journal.Lease
	err := s.submit(ctx, func(tx *sql.Tx) error {
		leases = nil
		rows, err := tx.Query(due, args...)
		if err != nil {
			return err
		}
		var seqs []int64
		for rows.Next() {
			var seq int64
			if err := rows.Scan(&seq); err != nil {
				rows.Close()
				return err
			}
			seqs = append(seqs, seq)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, seq := range seqs {
			if _, err := tx.Exec("UPDATE item SET version = version + 1, wake = ?, leased = 1 WHERE seq = ?", until.UnixMicro(), seq); err != nil {
				return err
			}
			_, it, err := scanItem(tx.QueryRow("SELECT "+itemColumns+" FROM item WHERE seq = ?", seq))
			if err != nil {
				return err
			}
			if it.Events, err = events(background, tx, seq); err != nil {
				return err
			}
			l := journal.Lease{Item: it, Until: until}
			if l.Inbox, err = inbox(tx, seq); err != nil {
				return err
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

func inbox(tx *sql.Tx, seq int64) ([]journal.Signal, error) {
	rows, err := tx.Query("SELECT key, kind, at, body FROM inbox WHERE item = ? AND consumed = 0 ORDER BY n", seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []journal.Signal
	for rows.Next() {
		var (
			g  journal.Signal
			at int64
		)
		if err := rows.Scan(&g.Key, &g.Kind, &at, &g.Body); err != nil {
			return nil, err
		}
		g.At = fromMicro(at)
		all = append(all, g)
	}
	return all, rows.Err()
}

// Advance implements journal.Store; all of the step is durable when it returns nil.
func (s *Store) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
	return s.submit(ctx, func(tx *sql.Tx) error {
		var seq int64
		err := tx.QueryRow("SELECT seq FROM item WHERE id = ? AND version = ? AND leased = 1", string(l.Item.ID), l.Item.Version).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return journal.ErrLeaseLost
		}
		if err != nil {
			return err
		}
		for _, key := range st.Consumed {
			if _, err := tx.Exec("UPDATE inbox SET consumed = 1 WHERE item = ? AND key = ?", seq, key); err != nil {
				return err
			}
		}
		// A signal that arrived while the step ran must not wait for the planned wake time.
		wake := toWake(st.Wake)
		var unseen int
		if err := tx.QueryRow("SELECT count(*) FROM inbox WHERE item = ? AND consumed = 0", seq).Scan(&unseen); err != nil {
			return err
		}
		seen := len(l.Inbox) - len(st.Consumed)
		if unseen > seen {
			wake = st.At.UnixMicro()
		}
		_, err = tx.Exec("UPDATE item SET state = ?, attempt = ?, wake = ?, doc = ?, updated = ?, version = version + 1, leased = 0 WHERE seq = ?",
			string(st.State), st.Attempt, wake, st.Doc, st.At.UnixMicro(), seq)
		if err != nil {
			return err
		}
		if err := addEvents(tx, seq, st.Events); err != nil {
			return err
		}
		return addBodies(tx, seq, st.Bodies)
	})
}

// Signal implements journal.Store; the message is durable when it returns nil.
func (s *Store) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) (journal.Signal, bool, error) {
	first, fresh := g, false
	err := s.submit(ctx, func(tx *sql.Tx) error {
		first, fresh = g, false
		var seq int64
		err := tx.QueryRow("SELECT seq FROM item WHERE id = ?", string(id)).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return journal.ErrNotFound
		}
		if err != nil {
			return err
		}
		var at int64
		err = tx.QueryRow("SELECT kind, at, body FROM inbox WHERE item = ? AND key = ?", seq, g.Key).Scan(&first.Kind, &at, &first.Body)
		if err == nil {
			first.At = fromMicro(at)
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		body := g.Body
		if body == nil {
			body = []byte{}
		}
		if _, err := tx.Exec(`INSERT INTO inbox(item, key, n, kind, at, body) VALUES (?, ?, (SELECT coalesce(max(n), 0) + 1 FROM inbox WHERE item = ?), ?, ?, ?)`,
			seq, g.Key, seq, g.Kind, g.At.UnixMicro(), body); err != nil {
			return err
		}
		// A leased item is not woken here: its Advance sees the unseen message.
		_, err = tx.Exec("UPDATE item SET wake = ? WHERE seq = ? AND leased = 0 AND (wake IS NULL OR wake > ?)", g.At.UnixMicro(), seq, g.At.UnixMicro())
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
	seq, it, err := scanItem(s.read.QueryRowContext(ctx, "SELECT "+itemColumns+" FROM item WHERE id = ?", string(id)))
	if err != nil {
		return journal.Item{}, s.readErr("get", err)
	}
	if it.Events, err = events(ctx, s.read, seq); err != nil {
		return journal.Item{}, s.readErr("get events", err)
	}
	return it, nil
}

// Body implements journal.Store; it reads what was durable at the call.
func (s *Store) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	var sum, data []byte
	err := s.read.QueryRowContext(ctx, "SELECT b.sha256, b.data FROM body b JOIN item i ON i.seq = b.item WHERE i.id = ? AND b.name = ?", string(id), name).Scan(&sum, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, journal.ErrNotFound
	}
	if err != nil {
		return nil, s.readErr("body", err)
	}
	if got := sha256.Sum256(data); string(got[:]) != string(sum) {
		return nil, gateway.Errorf(gateway.JournalUnavailable, "the body %s of request %s is damaged on disk: restore it from a backup", name, id)
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
		seq, it, err := scanItem(rows)
		if err != nil {
			return nil, "", s.readErr("list", err)
		}
		if len(all) == q.Limit {
			return all, strconv.FormatInt(last, 10), nil
		}
		all, last = append(all, it), seq
	}
	if err := rows.Err(); err != nil {
		return nil, "", s.readErr("list", err)
	}
	return all, "", nil
}

// Stats implements journal.Store: it writes one row through the writer before it counts.
func (s *Store) Stats(ctx context.Context) (journal.Stats, error) {
	err := s.submit(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE heartbeat SET n = n + 1")
		return err
	})
	if err != nil {
		return journal.Stats{}, err
	}
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
	return s.submit(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO audit(at, door, party, reason, content) VALUES (?, ?, ?, ?, ?)",
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
