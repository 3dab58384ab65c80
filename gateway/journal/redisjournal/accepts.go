package redisjournal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"egov-gateway/gateway"
	"egov-gateway/gateway/private"
)

// An entry's kind, and how it ended.
const (
	entryCreate = 0
	entrySignal = 1

	entryOpen = 0 // Redis has not answered, or has to be asked again
	entryKept = 1 // Redis has it
	entryVoid = 2 // Redis has it not and must not get it: the caller was told so
)

const acceptSchema = `
CREATE TABLE IF NOT EXISTS entry (
  n    INTEGER PRIMARY KEY AUTOINCREMENT,
  kind INTEGER NOT NULL,
  id   TEXT    NOT NULL,
  key  TEXT    NOT NULL,           -- of a signal
  at   INTEGER NOT NULL,           -- microseconds
  done INTEGER NOT NULL DEFAULT 0,
  data BLOB    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entry_open ON entry(n) WHERE done = 0;
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) STRICT;`

// acceptQueue bounds the callers that wait for the local disk.
const acceptQueue = 1024

// An accepts is this gateway's own memory of what it accepted, in a SQLite file on its own
// disk: Redis copies to its replicas after it has answered, so that a failover may lose what
// was acknowledged, and this brings it back. One goroutine writes; callers that come together
// share an fsync.
type accepts struct {
	db    *sql.DB
	lock  *os.File
	now   func() time.Time
	queue chan *accepting
	done  chan struct{} // closed when the writer has ended
	wal   string

	mu      sync.Mutex
	closed  bool         // guarded by mu, against sends on queue
	settled []settlement // guarded by mu: not yet written
}

// An accepting is one entry on its way to the disk.
type accepting struct {
	kind    int
	id, key string
	data    []byte
	n       int64
	err     error
	done    chan struct{}
}

type settlement struct {
	n     int64
	state int
}

// openAccepts opens or makes the file in dir; one process at a time.
func openAccepts(dir string, now func() time.Time) (*accepts, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("journal: the directory of the accept journal %s cannot be made: %w", dir, err)
	}
	lock, err := private.OpenFile(filepath.Join(dir, "ACCEPT.LOCK"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("journal: the directory of the accept journal %s is not writable: %w", dir, err)
	}
	a := &accepts{lock: lock, now: now, queue: make(chan *accepting, acceptQueue), done: make(chan struct{}), wal: filepath.Join(dir, "accept.db-wal")}
	if err := a.open(dir); err != nil {
		if a.db != nil {
			a.db.Close()
		}
		lock.Close()
		return nil, err
	}
	go a.write()
	return a, nil
}

func (a *accepts) open(dir string) (err error) {
	if err := syscall.Flock(int(a.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("journal: the accept journal in %s is in use by another process", dir)
	}
	file := filepath.Join(dir, "accept.db")
	// SQLite would let others read it, and its companions get the mode that it has.
	made, err := private.OpenFile(file, os.O_CREATE|os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("journal: the accept journal %s cannot be made: %w", file, err)
	}
	if err := made.Close(); err != nil {
		return err
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "secure_delete(1)", "wal_autocheckpoint(0)", "journal_size_limit(67108864)"}, "_txlock": {"immediate"}}
	if a.db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?"+q.Encode()); err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	a.db.SetMaxOpenConns(3) // the writer, a reader, the checkpoints
	if _, err := a.db.Exec(acceptSchema); err != nil {
		return fmt.Errorf("journal: the accept journal %s is damaged or not one of this gateway: %w", file, err)
	}
	return syncDir(dir)
}

// makeDir makes a directory and those above it, and syncs the entries that name them: what lies
// in a directory that the disk does not know is gone with the power.
func makeDir(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	above := filepath.Dir(dir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err := makeDir(above); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return syncDir(above)
	case err != nil:
		return err
	case !info.IsDir():
		return &os.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	// It may be there since a process that was ended before it could sync. Where the directory
	// above cannot be read, an operator made this one.
	if err := syncDir(above); !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// keep writes an entry; it is on disk when keep returns nil. Nobody waits when the queue is
// full: wait says whether the caller would rather.
func (a *accepts) keep(kind int, id, key string, data []byte, wait bool) (int64, error) {
	e := &accepting{kind: kind, id: id, key: key, data: data, done: make(chan struct{})}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return 0, errors.New("the accept journal is closed")
	}
	select {
	case a.queue <- e:
		a.mu.Unlock()
	default:
		a.mu.Unlock()
		if !wait {
			return 0, gateway.Errorf(gateway.Overload, "the accept journal's queue is full")
		}
		return 0, gateway.Errorf(gateway.JournalUnavailable, "the accept journal's queue is full")
	}
	<-e.done
	if e.err != nil {
		return 0, gateway.Errorf(gateway.JournalUnavailable, "the accept journal on this gateway's disk: %w", e.err)
	}
	return e.n, nil
}

// settle notes how an entry ended. It need not be on disk: an entry of which the note is lost
// is compared with Redis again.
func (a *accepts) settle(n int64, state int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settled = append(a.settled, settlement{n, state})
}

func (a *accepts) write() {
	defer close(a.done)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var group []*accepting
		select {
		case e, ok := <-a.queue:
			if !ok {
				a.commit(nil) //nolint:errcheck // only notes, see settle
				return
			}
			group = append(group, e)
		case <-tick.C:
		}
	gather:
		for len(group) > 0 && len(group) < 256 {
			select {
			case e, ok := <-a.queue:
				if !ok {
					break gather
				}
				group = append(group, e)
			default:
				break gather
			}
		}
		err := a.commit(group)
		for _, e := range group {
			e.err = err
			close(e.done)
		}
	}
}

func (a *accepts) commit(group []*accepting) error {
	a.mu.Lock()
	notes := a.settled
	a.settled = nil
	a.mu.Unlock()
	if len(group) == 0 && len(notes) == 0 {
		return nil
	}
	tx, err := a.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if len(group) > 0 {
		insert, err := tx.Prepare("INSERT INTO entry(kind, id, key, at, data) VALUES (?, ?, ?, ?, ?)")
		if err != nil {
			return err
		}
		defer insert.Close()
		at := a.now().UnixMicro()
		for _, e := range group {
			res, err := insert.Exec(e.kind, e.id, e.key, at, e.data)
			if err != nil {
				return err
			}
			if e.n, err = res.LastInsertId(); err != nil {
				return err
			}
		}
	}
	byState := map[int][]string{}
	for _, s := range notes {
		byState[s.state] = append(byState[s.state], fmt.Sprint(s.n))
	}
	for state, numbers := range byState {
		if _, err := tx.Exec("UPDATE entry SET done = ? WHERE n IN ("+strings.Join(numbers, ",")+")", state); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// An accepted is an entry without its data.
type accepted struct {
	n       int64
	kind    int
	id, key string
	at      int64
	done    int
}

// after returns the entries behind n in order, those that are void left out; with open only
// those of which Redis has not answered and that were written before the instant given.
func (a *accepts) after(ctx context.Context, n int64, open bool, before time.Time, limit int) ([]accepted, error) {
	query := "SELECT n, kind, id, key, at, done FROM entry WHERE n > ? AND at <= ? AND done <> 2 ORDER BY n LIMIT ?"
	if open {
		query = "SELECT n, kind, id, key, at, done FROM entry WHERE n > ? AND at <= ? AND done = 0 ORDER BY n LIMIT ?"
	}
	rows, err := a.db.QueryContext(ctx, query, n, before.UnixMicro(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []accepted
	for rows.Next() {
		var e accepted
		if err := rows.Scan(&e.n, &e.kind, &e.id, &e.key, &e.at, &e.done); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

func (a *accepts) data(ctx context.Context, n int64) (data []byte, err error) {
	err = a.db.QueryRowContext(ctx, "SELECT data FROM entry WHERE n = ?", n).Scan(&data)
	return data, err
}

// admitted returns the servers that hold all that is here; empty at the first start.
func (a *accepts) admitted(ctx context.Context) ([]string, error) {
	var v string
	err := a.db.QueryRowContext(ctx, "SELECT v FROM meta WHERE k = 'servers'").Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return strings.Fields(v), err
}

// admit remembers them, durably.
func (a *accepts) admit(ctx context.Context, servers []string) error {
	_, err := a.db.ExecContext(ctx, "INSERT INTO meta(k, v) VALUES ('servers', ?) ON CONFLICT(k) DO UPDATE SET v = excluded.v", strings.Join(servers, " "))
	return err
}

// prune forgets what was written before the instant given; it returns how many of them Redis
// has never answered.
func (a *accepts) prune(ctx context.Context, before time.Time) (open int64, err error) {
	for {
		var n, unanswered int64
		if err := a.db.QueryRowContext(ctx, "SELECT count(*), count(*) FILTER (WHERE done = 0) FROM (SELECT at, done FROM entry ORDER BY n LIMIT 500) WHERE at < ?", before.UnixMicro()).Scan(&n, &unanswered); err != nil || n == 0 {
			return open, err
		}
		if _, err := a.db.ExecContext(ctx, "DELETE FROM entry WHERE n IN (SELECT n FROM entry ORDER BY n LIMIT 500) AND at < ?", before.UnixMicro()); err != nil {
			return open, err
		}
		open += unanswered
		if n < 500 {
			return open, nil
		}
	}
}

// checkpointFrom is the size of the log from which it is folded into the file.
const checkpointFrom = 16 << 20

// fold folds the log into the file, beside the writer.
func (a *accepts) fold(ctx context.Context) {
	if info, err := os.Stat(a.wal); err == nil && info.Size() >= checkpointFrom {
		// A failure leaves the log as it is: nothing is lost, the next one tries again.
		a.db.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)") //nolint:errcheck // see above
	}
}

// close writes what is left and frees the directory.
func (a *accepts) close() error {
	a.mu.Lock()
	a.closed = true
	close(a.queue)
	a.mu.Unlock()
	<-a.done
	return errors.Join(a.db.Close(), a.lock.Close())
}
