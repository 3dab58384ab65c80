package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/private"
	"egov-gateway/gateway/sealing"
)

// An Attached journal is one that another process may be using: an operator looks at it, backs
// it up, checks it, or leaves an order. It accepts and claims nothing.
type Attached struct {
	dir string
	db  *sql.DB
	own *segments
	s   *Store // for the shared readers; has no writer
}

// Attach opens the journal in dir without taking its lock. Without keys, what is sealed is not
// opened: that is said when it is asked for.
func Attach(dir string, keys *sealing.Keyring) (*Attached, error) {
	file := filepath.Join(dir, "journal.db")
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("journal: there is none in %s: %w", dir, err)
	}
	q := url.Values{"_pragma": {"busy_timeout(10000)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", file, err)
	}
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version != schemaVersion {
		db.Close()
		return nil, fmt.Errorf("journal: %s is damaged or of another version (%d): %w", file, version, err)
	}
	segs := &segments{dir: filepath.Join(dir, "bodies"), open: map[int]*os.File{}}
	return &Attached{dir: dir, db: db, own: segs, s: &Store{cfg: Config{Dir: dir, Keys: keys}, read: db, segs: segs}}, nil
}

// Close ends the attachment.
func (a *Attached) Close() error {
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	for _, f := range a.own.open {
		f.Close()
	}
	return a.db.Close()
}

// Get, Body and List are those of [Store].
func (a *Attached) Get(ctx context.Context, id gateway.RequestID) (journal.Item, error) {
	return a.s.Get(ctx, id)
}

// Body returns one of an item's bodies, checked against its SHA-256.
func (a *Attached) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	return a.s.Body(ctx, id, name)
}

// List returns items in the order of q.
func (a *Attached) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	return a.s.List(ctx, q)
}

// Stats counts items; unlike that of [Store] it writes nothing.
func (a *Attached) Stats(ctx context.Context) (journal.Stats, error) {
	counts, err := a.s.counted(ctx)
	if err != nil {
		return journal.Stats{}, err
	}
	var t tally
	t.apply(counts)
	st := journal.Stats{ByShard: t.copy()}
	var shards []string
	for shard := range st.ByShard {
		shards = append(shards, shard)
	}
	st.OldestDue, err = a.s.oldestDue(ctx, shards)
	return st, err
}

// Stuck returns at most limit items that are parked, whose work has been due since before t, or
// that have been tried again and again since before t. Attached without keys, it returns sealed ones without
// record and events.
func (a *Attached) Stuck(ctx context.Context, t time.Time, limit int) ([]journal.Item, error) {
	rows, err := a.db.QueryContext(ctx, "SELECT "+itemColumns+" FROM item WHERE state = ? OR wake IS NOT NULL AND wake < ? OR attempt > 2 AND created < ? ORDER BY updated LIMIT ?", string(gateway.StateParked), t.UnixMicro(), t.UnixMicro(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []journal.Item
	for rows.Next() {
		r, err := scanItem(rows)
		if err != nil {
			return nil, err
		}
		if a.s.cfg.Keys == nil && r.slot.segment != 0 {
			r.item.Doc, r.events = nil, []byte("[]")
		} else if err := a.s.unseal(&r); err != nil {
			return nil, err
		}
		it, err := r.full()
		if err != nil {
			return nil, err
		}
		all = append(all, it)
	}
	return all, rows.Err()
}

// Signal leaves an order without a body for an item; the engine of the process that holds the
// journal sees it at its next look. It is durable when it returns nil.
func (a *Attached) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) error {
	if len(g.Body) > 0 {
		return errors.New("journal: only the gateway itself leaves messages with a body")
	}
	tx, err := a.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	var seq, updated int64
	err = tx.QueryRowContext(ctx, "SELECT seq, updated FROM item WHERE id = ?", string(id)).Scan(&seq, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return journal.ErrNotFound
	}
	if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, leaveSignal,
		seq, g.Key, seq, g.Kind, g.At.UnixMicro(), placeOf(nil).append(nil))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	// The operator's clock may be ahead of the gateway's, which has passed the item's last change.
	wake := min(g.At.UnixMicro(), updated)
	if _, err := tx.ExecContext(ctx, wakeForSignal, wake, wake, seq); err != nil {
		return err
	}
	return tx.Commit()
}

// Backup writes a consistent copy into the empty or missing directory to, while the journal
// is in use: a snapshot of the database, then the bodies, which were on disk before anything
// named them. The copy is verified before Backup returns nil.
func (a *Attached) Backup(ctx context.Context, to string) error {
	if err := a.keysAtHand(ctx); err != nil {
		return err
	}
	if entries, err := os.ReadDir(to); err == nil && len(entries) > 0 {
		return fmt.Errorf("journal: the backup directory %s is not empty", to)
	}
	if err := os.MkdirAll(filepath.Join(to, "bodies"), 0o700); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, dir := range []string{to, filepath.Join(to, "bodies")} {
		if _, _, err := private.Narrow(dir); err != nil {
			return fmt.Errorf("journal: the backup directory: %w", err)
		}
	}
	if err := makeDatabase(filepath.Join(to, "journal.db")); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	// What is erased while this runs is wiped only afterwards: the snapshot may still name it.
	hold, err := lockWiping(a.dir, syscall.LOCK_SH)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer hold.Close()
	if _, err := a.db.ExecContext(ctx, "VACUUM INTO ?", filepath.Join(to, "journal.db")); err != nil {
		return fmt.Errorf("journal: snapshot: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "bodies", "*.seg"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := copyFile(file, filepath.Join(to, "bodies", filepath.Base(file))); err != nil {
			return fmt.Errorf("journal: copy %s: %w", file, err)
		}
	}
	if err := syncDir(filepath.Join(to, "bodies")); err != nil {
		return err
	}
	if err := syncDir(to); err != nil {
		return err
	}
	copied, err := Attach(to, a.s.cfg.Keys)
	if err != nil {
		return err
	}
	defer copied.Close()
	report, err := copied.Verify(ctx)
	if err == nil && len(report.Faults) > 0 {
		err = fmt.Errorf("journal: the backup is not sound: %s", report.Faults[0])
	}
	return err
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := private.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// A Report is what Verify found.
type Report struct {
	Items  int      `json:"items"`
	Bodies int      `json:"bodies"`
	Bytes  int64    `json:"bytes"`
	Faults []string `json:"faults"` // at most MaxFaults
}

// MaxFaults bounds the list of a Report.
const MaxFaults = 100

// Verify reads everything: the database's own check, every item with its events, and every
// body against its SHA-256. The error is for what stops the reading; faults are in the report.
func (a *Attached) Verify(ctx context.Context) (*Report, error) {
	r := &Report{Faults: []string{}}
	fault := func(format string, args ...any) {
		if len(r.Faults) < MaxFaults {
			r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
		}
	}
	if err := a.keysAtHand(ctx); err != nil {
		return nil, err
	}
	rows, err := a.db.QueryContext(ctx, "PRAGMA integrity_check(20)")
	if err != nil {
		return nil, fmt.Errorf("journal: integrity check: %w", err)
	}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			rows.Close()
			return nil, err
		}
		if line != "ok" {
			fault("database: %s", line)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	items, err := a.db.QueryContext(ctx, "SELECT "+itemColumns+" FROM item ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer items.Close()
	for items.Next() {
		row, err := scanItem(items)
		if err != nil {
			return nil, err
		}
		r.Items++
		if err := a.s.unseal(&row); err != nil {
			fault("%s: %v", row.item.ID, err)
			continue
		}
		it, err := row.full()
		if err != nil {
			fault("%s: %v", it.ID, err)
			continue
		}
		for i, e := range it.Events {
			if e.Seq != i+1 {
				fault("%s: event %d has the number %d", it.ID, i+1, e.Seq)
				break
			}
		}
		if !slices.Contains(gateway.States, it.State) {
			fault("%s: unknown state %q", it.ID, it.State)
		}
		all, err := readPlaces(row.bodies)
		if err != nil {
			fault("%s: bodies: %v", it.ID, err)
			continue
		}
		for _, n := range all {
			if n.Erased {
				continue
			}
			r.Bodies++
			r.Bytes += n.Length
			if _, err := a.s.openBody(&row, n); err != nil {
				fault("%s: body %s: %v", it.ID, n.name, err)
			}
		}
	}
	if err := items.Err(); err != nil {
		return nil, err
	}
	return r, a.verifyInbox(ctx, fault)
}

// verifyInbox reads the messages that were not consumed.
func (a *Attached) verifyInbox(ctx context.Context, fault func(format string, args ...any)) error {
	rows, err := a.db.QueryContext(ctx, "SELECT inbox.key, inbox.kind, inbox.at, inbox.place, item.id FROM inbox JOIN item ON item.seq = inbox.item WHERE consumed = 0 ORDER BY item, n")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id gateway.RequestID
		m, err := scanLeft(withID{rows, &id})
		if err == nil {
			_, err = a.s.openMessage(id, m)
		}
		if err != nil {
			fault("message %s: %v", m.signal.Key, err)
		}
	}
	return rows.Err()
}

// withID scans one column more, the item's id.
type withID struct {
	scanner
	id *gateway.RequestID
}

func (w withID) Scan(dest ...any) error { return w.scanner.Scan(append(dest, (*string)(w.id))...) }
