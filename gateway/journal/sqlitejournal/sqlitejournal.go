// Package sqlitejournal keeps the journal in one SQLite file: the embedded default.
//
// One goroutine writes, grouping the calls that wait into one transaction; readers have
// connections of their own. WAL with synchronous=FULL: a commit returns after fsync.
package sqlitejournal

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

//go:embed schema.sql
var schema string

// schemaVersion is PRAGMA user_version of a file this code can use.
const schemaVersion = 1

// DefaultGroup is how many waiting calls share one transaction at most.
const DefaultGroup = 256

// Config says where the journal lies.
type Config struct {
	// Dir is the data directory, made if missing; one process at a time. Required.
	Dir string
	// Group bounds the calls in one transaction. 0 means DefaultGroup.
	Group int
	// Committed, if set, is told of each commit: how many calls it held and how long it took.
	Committed func(calls int, took time.Duration)
}

// A Store is a journal.Store and a journal.Audit.
type Store struct {
	cfg   Config
	lock  *os.File
	write *sql.DB
	read  *sql.DB

	calls chan *call
	done  chan struct{} // closed when the writer has ended

	mu     sync.RWMutex // guards closed against sends on calls
	closed bool
}

var (
	_ journal.Store = (*Store)(nil)
	_ journal.Audit = (*Store)(nil)
)

type call struct {
	do   func(tx *sql.Tx) error
	err  error
	done chan struct{}
}

// Open opens or makes the journal in c.Dir, and frees the leases that a process which ended
// without recording its work has left. The errors are sentences for an operator: the
// directory cannot be written, another process holds it, the file is not a journal, is
// damaged, or is of a newer version.
func Open(c Config) (*Store, error) {
	if c.Dir == "" {
		return nil, errors.New("journal: Config.Dir is required")
	}
	if c.Group == 0 {
		c.Group = DefaultGroup
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: the data directory %s cannot be made: %w", c.Dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(c.Dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: the data directory %s is not writable: %w", c.Dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("journal: the data directory %s is in use by another process", c.Dir)
	}
	s := &Store{cfg: c, lock: lock, calls: make(chan *call, 4*c.Group), done: make(chan struct{})}
	if err := s.open(filepath.Join(c.Dir, "journal.db")); err != nil {
		s.shut()
		return nil, err
	}
	go s.writer()
	return s, nil
}

func (s *Store) open(file string) error {
	_, statErr := os.Stat(file)
	fresh := errors.Is(statErr, os.ErrNotExist)
	dsn := func(mode string) string {
		q := url.Values{"_pragma": {"busy_timeout(5000)", "foreign_keys(1)"}}
		if mode == "rw" {
			q["_pragma"] = append(q["_pragma"], "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-65536)", "journal_size_limit(67108864)")
			q.Set("_txlock", "immediate")
		} else {
			q["_pragma"] = append(q["_pragma"], "query_only(1)")
		}
		return "file:" + (&url.URL{Path: file}).EscapedPath() + "?" + q.Encode()
	}
	var err error
	if s.write, err = sql.Open("sqlite", dsn("rw")); err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	s.write.SetMaxOpenConns(1)
	var version int
	if err := s.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("journal: the file %s is damaged or not a journal: %w", file, err)
	}
	switch {
	case version == 0 && fresh:
		if _, err := s.write.Exec("BEGIN IMMEDIATE;" + schema + fmt.Sprintf("PRAGMA user_version=%d; COMMIT", schemaVersion)); err != nil {
			return fmt.Errorf("journal: the schema cannot be written to %s: %w", file, err)
		}
		if err := syncDir(s.cfg.Dir); err != nil {
			return fmt.Errorf("journal: sync %s: %w", s.cfg.Dir, err)
		}
	case version == 0:
		return fmt.Errorf("journal: the file %s is not a journal of this gateway", file)
	case version > schemaVersion:
		return fmt.Errorf("journal: the file %s was written by a newer gateway (schema %d, this one knows %d)", file, version, schemaVersion)
	}
	var answer string
	if err := s.write.QueryRow("PRAGMA quick_check(1)").Scan(&answer); err != nil || answer != "ok" {
		return fmt.Errorf("journal: the file %s is damaged (%s): restore a backup", file, firstOf(err, answer))
	}
	// The lock proves that whoever held a lease is gone; the version fences them off all the same.
	if _, err := s.write.Exec("UPDATE item SET leased = 0, version = version + 1, wake = updated WHERE leased = 1"); err != nil {
		return fmt.Errorf("journal: free the leases in %s: %w", file, err)
	}
	if s.read, err = sql.Open("sqlite", dsn("ro")); err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	s.read.SetMaxOpenConns(4)
	return nil
}

func firstOf(err error, s string) string {
	if err != nil {
		return err.Error()
	}
	return s
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// submit hands one call to the writer and waits until its transaction is on disk.
func (s *Store) submit(ctx context.Context, do func(tx *sql.Tx) error) error {
	c := &call{do: do, done: make(chan struct{})}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return journal.ErrClosed
	}
	select {
	case s.calls <- c:
		s.mu.RUnlock()
	case <-ctx.Done():
		s.mu.RUnlock()
		return ctx.Err()
	}
	// A call once handed over is answered by its commit alone: giving up here would leave
	// the caller not knowing.
	<-c.done
	return c.err
}

func (s *Store) writer() {
	defer close(s.done)
	for first := range s.calls {
		group := []*call{first}
	gather:
		for len(group) < s.cfg.Group {
			select {
			case c, ok := <-s.calls:
				if !ok {
					break gather
				}
				group = append(group, c)
			default:
				break gather
			}
		}
		start := time.Now()
		s.commit(group)
		if s.cfg.Committed != nil {
			s.cfg.Committed(len(group), time.Since(start))
		}
	}
}

// commit runs a group in one transaction, each call in a savepoint of its own. Nobody is
// answered before COMMIT returned; when the engine itself fails, all of the group fail.
func (s *Store) commit(group []*call) {
	fail := func(err error) {
		for _, c := range group {
			c.err = gateway.Errorf(gateway.JournalUnavailable, "commit: %w", err)
			close(c.done)
		}
	}
	tx, err := s.write.Begin()
	if err != nil {
		fail(err)
		return
	}
	for _, c := range group {
		if _, err := tx.Exec("SAVEPOINT c"); err != nil {
			tx.Rollback()
			fail(err)
			return
		}
		c.err = c.do(tx)
		end := "RELEASE c"
		if c.err != nil {
			end = "ROLLBACK TO c; RELEASE c"
		}
		if _, err := tx.Exec(end); err != nil {
			tx.Rollback()
			fail(err)
			return
		}
	}
	if err := tx.Commit(); err != nil {
		tx.Rollback()
		fail(err)
		return
	}
	for _, c := range group {
		close(c.done)
	}
}

// Close waits for the calls in flight, folds the WAL into the file and frees the directory.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.calls)
	s.mu.Unlock()
	<-s.done
	return s.shut()
}

func (s *Store) shut() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
