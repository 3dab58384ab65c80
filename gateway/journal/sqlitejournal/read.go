package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/sealing"
)

// reader reads one row with a statement that is prepared once.
func (s *Store) reader(ctx context.Context, query string, args ...any) scanner {
	s.readsMu.Lock()
	st, ok := s.reads[query]
	if !ok {
		var err error
		if st, err = s.read.PrepareContext(ctx, query); err != nil {
			s.readsMu.Unlock()
			return failed{err}
		}
		if s.reads == nil {
			s.reads = map[string]*sql.Stmt{}
		}
		s.reads[query] = st
	}
	s.readsMu.Unlock()
	return st.QueryRowContext(ctx, args...)
}

// Get implements journal.Store; it reads what was durable at the call.
func (s *Store) Get(ctx context.Context, id gateway.RequestID) (journal.Item, error) {
	if k := s.memory.of(id); k != nil {
		it, ok, err := s.unchanged(ctx, k)
		if err != nil {
			return journal.Item{}, s.readErr("get", err)
		}
		if ok {
			return it, nil
		}
	}
	r, err := scanItem(s.reader(ctx, "SELECT "+itemColumns+" FROM item WHERE id = ?", string(id)))
	if err == nil {
		err = s.unseal(&r)
	}
	if err != nil {
		return journal.Item{}, s.readErr("get", err)
	}
	it, err := r.full()
	if err != nil {
		return journal.Item{}, s.readErr("get", err)
	}
	return it, nil
}

// unchanged is a remembered item with its wake time, if the database has it in that version.
func (s *Store) unchanged(ctx context.Context, k *known) (it journal.Item, ok bool, err error) {
	var wake sql.NullInt64
	err = s.reader(ctx, "SELECT wake FROM item WHERE seq = ? AND id = ? AND version = ?", k.seq, string(k.item.ID), k.item.Version).Scan(&wake)
	if errors.Is(err, sql.ErrNoRows) {
		return it, false, nil
	}
	if err != nil {
		return it, false, err
	}
	if it, err = k.with(k.places); wake.Valid {
		it.Wake = fromMicro(wake.Int64)
	}
	return it, true, err
}

// Body implements journal.Store; it reads what was durable at the call.
func (s *Store) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	var was place
	for {
		r, all, err := s.placesOf(ctx, id)
		if err != nil {
			return nil, err
		}
		i, ok := all.at(name)
		if !ok {
			return nil, journal.ErrNotFound
		}
		if all[i].Erased {
			return nil, journal.ErrErased
		}
		data, err := s.openBody(&r, all[i])
		if err == nil {
			return data, nil
		}
		if all[i].place == was {
			return nil, damaged(id, "body "+name, err)
		}
		was = all[i].place // it may have been wiped, or sealed under a new key, since
	}
}

// placesOf are the places of an item's bodies, and the item's key or where it lies.
func (s *Store) placesOf(ctx context.Context, id gateway.RequestID) (row, places, error) {
	if k := s.memory.of(id); k != nil {
		return k.row, k.places, nil
	}
	var (
		object []byte
		r      row
	)
	err := s.reader(ctx, "SELECT bodies, key_segment, key_offset FROM item WHERE id = ?", string(id)).Scan(&object, &r.slot.segment, &r.slot.offset)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil, journal.ErrNotFound
	}
	if err != nil {
		return r, nil, s.readErr("body", err)
	}
	all, err := readPlaces(object)
	if err != nil {
		return r, nil, s.readErr("body", err)
	}
	r.item.ID = id
	return r, all, nil
}

func damaged(id gateway.RequestID, what string, err error) error {
	if _, ok := errors.AsType[*sealing.MissingKeyError](err); ok {
		return gateway.Errorf(gateway.JournalUnavailable, "the %s of request %s cannot be opened: %w", what, id, err)
	}
	return gateway.Errorf(gateway.JournalUnavailable, "the %s of request %s is damaged on disk, restore it from a backup: %w", what, id, err)
}

// letters is the condition of the index item_letter: shards that begin with [journal.LetterPrefix].
const letters = "shard >= 'shep:' AND shard < 'shep;'"

// List implements journal.Store; it reads what was durable at the call.
func (s *Store) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	if q.Limit <= 0 {
		q.Limit = 50
	}
	query, args, err := listQuery(q)
	if err != nil {
		return nil, "", err
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
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
		if err := s.unseal(&r); err != nil {
			return nil, "", s.readErr("list", err)
		}
		all, last = append(all, r.item), r.seq
	}
	if err := rows.Err(); err != nil {
		return nil, "", s.readErr("list", err)
	}
	return all, "", nil
}

// listQuery selects one item more than q.Limit, which tells whether there is a next page.
func listQuery(q journal.Query) (query string, args []any, err error) {
	where := []string{"1"}
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
	if q.Service != "" {
		add("service = ?", q.Service)
	}
	from := "item"
	if strings.HasPrefix(q.Shard, journal.LetterPrefix) && q.State != "" && q.Service != "" {
		// SQLite takes a partial index only for a query that states its condition word for word. Without
		// statistics it may prefer one that has not the service, so this one is named.
		from, where = "item INDEXED BY item_letter", append(where, letters)
	}
	if !q.DueBefore.IsZero() {
		add("wake IS NOT NULL AND wake < ?", q.DueBefore.UnixMicro())
	}
	than, order := "<", "DESC"
	if q.Oldest {
		than, order = ">", "ASC"
	}
	if q.Cursor != "" {
		last, err := strconv.ParseInt(q.Cursor, 10, 64)
		if err != nil {
			return "", nil, gateway.Errorf(gateway.NotFound, "the cursor is not one of this list")
		}
		add("seq "+than+" ?", last)
	}
	query = "SELECT " + itemColumns + " FROM " + from + " WHERE " + strings.Join(where, " AND ") + " ORDER BY seq " + order + " LIMIT ?"
	return query, append(args, q.Limit+1), nil
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
		return journal.Stats{}, gateway.Errorf(gateway.JournalFull, "less than %d MB are free", s.minFree.Load()>>20)
	}
	st := journal.Stats{ByShard: s.tally.copy()}
	var shards []string
	for shard := range st.ByShard {
		shards = append(shards, shard)
	}
	st.OldestDue, err = s.oldestDue(ctx, shards)
	return st, err
}

// counted is the tally as the database has it.
func (s *Store) counted(ctx context.Context) ([]change, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT shard, state, count(*) FROM item GROUP BY shard, state")
	if err != nil {
		return nil, s.readErr("count", err)
	}
	defer rows.Close()
	var all []change
	for rows.Next() {
		var c change
		if err := rows.Scan(&c.shard, &c.state, &c.by); err != nil {
			return nil, s.readErr("count", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, s.readErr("count", err)
	}
	return all, nil
}

// oldestDue looks at the head of each shard's queue.
func (s *Store) oldestDue(ctx context.Context, shards []string) (oldest time.Time, err error) {
	for _, shard := range shards {
		var wake int64
		err := s.reader(ctx, "SELECT wake FROM item WHERE shard = ? AND wake IS NOT NULL AND leased = 0 ORDER BY wake LIMIT 1", shard).Scan(&wake)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return oldest, s.readErr("look for the oldest", err)
		}
		if at := fromMicro(wake); oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	return oldest, nil
}

func (s *Store) readErr(doing string, err error) error {
	if errors.Is(err, journal.ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return gateway.Errorf(gateway.JournalUnavailable, "%s: %w", doing, err)
}
