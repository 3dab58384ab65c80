package sqlitejournal

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/sealing"
)

const itemColumns = "seq, id, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc, pending, events, bodies, key_segment, key_offset"

type scanner interface{ Scan(...any) error }

// A row is an item as the database keeps it.
type row struct {
	seq     int64
	item    journal.Item
	pending int
	events  []byte
	bodies  []byte
	slot    slot
	// key is the one in the slot once the row was unsealed; before, item.Doc and events are sealed
	// if there is a slot. A row without a slot is in clear.
	key *sealing.Key
}

func scanItem(from scanner) (row, error) {
	var (
		r                row
		it               = &r.item
		content          []byte
		created, updated int64
		wake             sql.NullInt64
	)
	err := from.Scan(&r.seq, (*string)(&it.ID), &it.Portal, &it.MessageID, &content, (*string)(&it.Citizen), &it.Service, &it.Shard, &it.Provider, (*string)(&it.State),
		&it.Version, &it.Attempt, &created, &updated, &wake, &it.Doc, &r.pending, &r.events, &r.bodies, &r.slot.segment, &r.slot.offset)
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

// full returns the item with its events and what its bodies are. It shares nothing with the row.
func (r *row) full() (journal.Item, error) {
	all, err := readPlaces(r.bodies)
	if err != nil {
		return r.item, fmt.Errorf("bodies of item %d: %w", r.seq, err)
	}
	return r.with(all)
}

// with is full for places that were read.
func (r *row) with(all places) (journal.Item, error) {
	it := r.item
	it.Doc = slices.Clone(it.Doc)
	var err error
	if it.Events, err = readEvents(r.events); err != nil {
		return it, fmt.Errorf("events of item %d: %w", r.seq, err)
	}
	it.Bodies = make(map[string]journal.BodyNote, len(all))
	for _, n := range all {
		it.Bodies[n.name] = journal.BodyNote{SHA256: n.SHA256, Size: n.Length, Erased: n.Erased}
	}
	return it, nil
}

func fromMicro(n int64) time.Time { return time.UnixMicro(n).UTC() }

func toWake(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// encodeEvents numbers events on from those before and writes them as the elements of a JSON
// array, without its brackets.
func encodeEvents(before int, add []gateway.Event) ([]byte, error) {
	var b []byte
	for i, e := range add {
		e.Seq = before + i + 1
		one, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, one...)
	}
	return b, nil
}

// Create implements journal.Store; it is durable when it returns nil or ErrDuplicate.
func (s *Store) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	if s.full.Load() {
		return journal.Item{}, gateway.Errorf(gateway.JournalFull, "less than %d MB are free", s.minFree.Load()>>20)
	}
	// What can be prepared is, so that the one writer only writes.
	message := sha256.Sum256([]byte(n.Portal + "\x00" + n.MessageID))
	elements, err := encodeEvents(0, n.Events)
	if err != nil {
		return journal.Item{}, gateway.Errorf(gateway.Internal, "encode events: %w", err)
	}
	events := append(append([]byte{'['}, elements...), ']')
	at := n.Created.UnixMicro()
	s.tell(n.Created)
	it := journal.Item{ID: n.ID, Portal: n.Portal, MessageID: n.MessageID, Content: n.Content, Citizen: n.Citizen, Service: n.Service, Shard: n.Shard, Provider: n.Provider,
		State: gateway.StateAccepted, Version: 1, Created: fromMicro(at), Updated: fromMicro(at), Doc: slices.Clone(n.Doc)}
	kept := row{item: it, events: events}
	wrapped := s.newKey(&kept)
	on := s.sheet()
	defer s.used(on)
	bodies := prepare(n.Bodies, kept.key, on)
	storedDoc, storedEvents := kept.sealed(n.Doc, on)
	if it.Events, err = readEvents(events); err != nil {
		return it, gateway.Errorf(gateway.Internal, "encode events: %w", err)
	}
	if !n.Wake.IsZero() {
		it.Wake = fromMicro(n.Wake.UnixMicro())
	}
	it.Doc = n.Doc
	var (
		first   row
		another bool
	)
	err = s.admit(ctx, func(w *writing) error {
		another = false
		kept.slot = w.slot(wrapped)
		places := w.placed(nil, bodies, len(wrapped))
		object, err := places.encode()
		if err != nil {
			return engineError{err}
		}
		res, err := w.exec(`INSERT INTO item(id, message, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc, events, bodies, key_segment, key_offset)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(message) DO NOTHING`,
			string(n.ID), message[:], n.Portal, n.MessageID, n.Content[:], string(n.Citizen), n.Service, n.Shard, n.Provider,
			string(gateway.StateAccepted), at, at, toWake(n.Wake), storedDoc, storedEvents, object, kept.slot.segment, kept.slot.offset)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return engineError{err}
		} else if n == 1 {
			if kept.seq, err = res.LastInsertId(); err != nil {
				return engineError{err}
			}
			w.know(&known{row: kept, places: places})
			w.stirred = true
			w.under(at)
			w.bodies.put(wrapped)
			w.bodies.take(bodies)
			w.count(kept.item.Shard, gateway.StateAccepted, 1)
			return nil
		}
		another = true
		if first, err = scanItem(w.row("SELECT "+itemColumns+" FROM item WHERE message = ?", message[:])); err != nil {
			return engineError{err}
		}
		return nil
	})
	if err != nil {
		return journal.Item{}, err
	}
	if another {
		if first.item.Content != n.Content {
			return journal.Item{}, journal.ErrReplay
		}
		if err := s.unseal(&first); err != nil {
			return journal.Item{}, s.readErr("create", err)
		}
		it, err := first.full()
		if err != nil {
			return journal.Item{}, s.readErr("create", err)
		}
		return it, journal.ErrDuplicate
	}
	return it, nil
}

// Claim implements journal.Store; the leases are durable when it returns.
func (s *Store) Claim(ctx context.Context, o journal.ClaimOptions) ([]journal.Lease, error) {
	if len(o.Shards) == 0 || o.Max <= 0 {
		return nil, nil
	}
	now, until := o.Now.UnixMicro(), o.Now.Add(o.Lease)
	s.tell(o.Now)
	if err := s.setBack(ctx, o.Now, o.Lease); err != nil {
		return nil, err
	}
	// An idle look costs no transaction; where work was just left, none is needed.
	if !s.stirred.Swap(false) {
		if due, err := s.anyDue(ctx, o.Shards, now); err != nil || !due {
			return nil, err
		}
	}
	query, args := dueQuery(o, now)
	var claimed []claimed
	err := s.submit(ctx, func(w *writing) error {
		claimed = nil
		w.under(now)
		seqs, err := w.seqs(query, args...)
		if err != nil {
			return err
		}
		for _, seq := range seqs {
			c, err := w.claim(seq, until)
			if err != nil {
				return err
			}
			claimed = append(claimed, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(claimed) == o.Max {
		s.stirred.Store(true) // there may be more
	}
	leases := make([]journal.Lease, 0, len(claimed))
	for _, c := range claimed {
		l := journal.Lease{Until: until}
		if l.Item, err = c.item(); err == nil {
			l.Inbox, err = s.openAll(c.row.item.ID, c.inbox)
		}
		if err != nil {
			// It stays leased: one damaged row must not stop the others.
			s.cfg.Log.Error("a damaged request is left aside; journal verify names it", "request", string(c.row.item.ID), "error", err)
			continue
		}
		leases = append(leases, l)
	}
	return leases, nil
}

// A claimed item is one that was leased, with its messages.
type claimed struct {
	row   row
	known *known // nil when the row is damaged
	wrong error  // what is damaged
	inbox []left
}

// item is what the lease is for.
func (c *claimed) item() (journal.Item, error) {
	if c.wrong != nil {
		return c.row.item, c.wrong
	}
	if c.known == nil {
		return c.row.full()
	}
	return c.row.with(c.known.places)
}

// leaseItem leases an item. What of it another process may have changed is answered.
const leaseItem = "UPDATE item SET version = version + 1, wake = ?, leased = 1 WHERE seq = ? RETURNING "

// claim leases one item.
func (w *writing) claim(seq int64, until time.Time) (c claimed, err error) {
	if k := w.knownSeq(seq); k != nil {
		c.row = k.row
		c.known = &known{places: k.places}
		err = w.row(leaseItem+"version, pending", until.UnixMicro(), seq).Scan(&c.row.item.Version, &c.row.pending)
		if err == nil && c.row.item.Version != k.item.Version+1 {
			err = fmt.Errorf("item %d has the version %d, not %d", seq, c.row.item.Version, k.item.Version+1)
		}
		c.row.item.Wake = fromMicro(until.UnixMicro())
	} else {
		c.row, err = scanItem(w.row(leaseItem+itemColumns, until.UnixMicro(), seq))
		if c.wrong = w.s.unseal(&c.row); c.wrong == nil {
			c.known = remembered(c.row)
		}
	}
	if err != nil {
		return c, engineError{err}
	}
	if c.row.pending > 0 {
		if c.inbox, err = w.inbox(seq); err != nil {
			return c, err
		}
	}
	if c.known != nil {
		c.known.row, c.known.leased, c.known.inbox = c.row, true, c.inbox
		w.know(c.known)
	}
	return c, nil
}

// dueQuery selects due work: from the head of each shard's queue, of those that wait and of
// those whose lease has ended, so that a long queue is never sorted. A limit that is a bare
// parameter would be part of SQLite's plan, which it then makes anew for each claim.
func dueQuery(o journal.ClaimOptions, now int64) (string, []any) {
	ordered := ""
	if len(o.Ordered) > 0 {
		var quoted []string
		for _, st := range o.Ordered {
			quoted = append(quoted, "'"+strings.ReplaceAll(string(st), "'", "''")+"'")
		}
		states := "(" + strings.Join(quoted, ", ") + ")"
		// Only with the index's own words can it be used.
		early := ""
		if !slices.ContainsFunc(o.Ordered, func(st gateway.State) bool { return st != gateway.StateAccepted && st != gateway.StateEnriched }) {
			early = " AND older.state IN ('accepted', 'enriched')"
		}
		ordered = " AND (state NOT IN " + states + " OR NOT EXISTS (SELECT 1 FROM item older WHERE older.citizen = item.citizen AND older.seq < item.seq" +
			" AND older.service = item.service AND older.shard = item.shard AND older.state IN " + states + early + "))"
	}
	var (
		heads []string
		args  []any
	)
	for _, shard := range o.Shards {
		for leased := range 2 {
			heads = append(heads, "SELECT * FROM (SELECT seq, wake FROM item WHERE shard = ? AND leased = "+strconv.Itoa(leased)+" AND wake IS NOT NULL AND wake <= ?"+ordered+" ORDER BY wake LIMIT ?+0)")
			args = append(args, shard, now, o.Max)
		}
	}
	return "SELECT seq FROM (" + strings.Join(heads, " UNION ALL ") + ") ORDER BY wake LIMIT ?+0", append(args, o.Max)
}

func (s *Store) openAll(id gateway.RequestID, all []left) ([]journal.Signal, error) {
	var out []journal.Signal
	for _, m := range all {
		g, err := s.openMessage(id, m)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

func (s *Store) anyDue(ctx context.Context, shards []string, now int64) (bool, error) {
	for _, shard := range shards {
		var one int
		err := s.reader(ctx, "SELECT 1 FROM item WHERE shard = ? AND leased IN (0, 1) AND wake IS NOT NULL AND wake <= ? LIMIT 1", shard, now).Scan(&one)
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
	var all []int64
	err := w.query(query, func(from scanner) error {
		var seq int64
		if err := from.Scan(&seq); err != nil {
			return engineError{err}
		}
		all = append(all, seq)
		return nil
	}, args...)
	return all, err
}
