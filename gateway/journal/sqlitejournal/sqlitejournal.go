// Package sqlitejournal keeps the journal in one SQLite file: the embedded default.
//
// One goroutine writes, grouping the calls that wait into one transaction; readers have
// connections of their own. WAL with synchronous=FULL: a commit returns after fsync. Bodies
// lie in append-only segment files beside the database and are synced before the
// transaction that names them. With a key of the installation each item's bodies, record and events
// are sealed under a key of its own; see keys.go. The rows written last are remembered in memory, about 32 MB of
// them, as the last COMMIT left them.
package sqlitejournal

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/private"
	"egov-gateway/gateway/sealing"
)

//go:embed schema.sql
var schema string

// DefaultGroup is how many waiting calls share one transaction at most.
const DefaultGroup = 256

// DefaultQueue bounds the calls that wait for the writer.
const DefaultQueue = 1024

// readers are the connections that read beside the writer.
const readers = 4

// DefaultMinFree leaves room for the work on what was accepted.
const DefaultMinFree = 256 << 20

// Config says where the journal lies.
type Config struct {
	// Dir is the data directory, made if missing; one process at a time. Required.
	Dir string
	// Group bounds the calls in one transaction. 0 means DefaultGroup.
	Group int
	// Queue bounds the calls that wait; new requests are refused when three quarters of it are
	// taken, so that the work on accepted ones goes on. 0 means DefaultQueue.
	Queue int
	// MinFree is the room on the disk, in bytes, below which nothing more is accepted; what was
	// accepted goes on. 0 means DefaultMinFree.
	MinFree uint64
	// RefusalsKeep and ActionsKeep are how long entries of the audit are kept, by the instant that they
	// bear. 0 means journal.DefaultRefusalsKeep and journal.DefaultActionsKeep.
	RefusalsKeep, ActionsKeep time.Duration
	// Committed, if set, is told of each commit: how many calls it held and how long it took.
	Committed func(calls int, took time.Duration)
	// Synced, if set, is told of each wait for the disk: the bodies' file, or the COMMIT.
	Synced func(took time.Duration)
	// Keys seals new items, each under a key of its own, and opens those that are sealed. nil keeps
	// new ones in clear, and opens no journal in which something was ever sealed.
	Keys *sealing.Keyring
	// Log is told of damage and of housekeeping that failed. nil discards.
	Log *slog.Logger
}

// A Store is a journal.Store and a journal.Audit.
type Store struct {
	cfg   Config
	lock  *os.File
	write *sql.DB
	read  *sql.DB
	segs  *segments

	conn *sql.Conn            // the writer's connection; used by the writer alone
	stmt map[string]statement // prepared on conn; used by the writer alone
	args []driver.NamedValue  // of one statement; used by the writer alone
	buf  []byte               // the bodies of one group; used by the writer alone

	sheets sync.Pool // of *sheet

	readsMu sync.Mutex
	reads   map[string]*sql.Stmt // guarded by readsMu: prepared for the readers

	calls chan *call
	done  chan struct{} // closed when the writer has ended
	stop  chan struct{} // closed to end the checkpoints

	full    atomic.Bool   // less than MinFree is left
	free    atomic.Uint64 // bytes left on the disk at the last look
	minFree atomic.Uint64
	latest  atomic.Int64 // as the database remembers it; see clock.go
	told    atomic.Int64 // by the last call that told an instant, in microseconds; see clock.go
	pruned  atomic.Int64 // when the audit was pruned last, by that clock
	tally   tally
	memory  memory
	stirred atomic.Bool // a transaction since the last look has left work that is due, perhaps

	mu     sync.RWMutex // guards closed against sends on calls
	closed bool
}

var (
	_ journal.Store = (*Store)(nil)
	_ journal.Audit = (*Store)(nil)
)

// A call is one write. do answers what the contract names before its first write; an error
// after that is one of the engine and fails the whole group.
type call struct {
	do   func(w *writing) error
	err  error
	done chan struct{}
}

// A writing is the transaction that a group shares.
type writing struct {
	s       *Store
	conn    driver.ConnPrepareContext
	bodies  batch
	changes []change // to the tally
	news    map[gateway.RequestID]*known
	stirred bool  // something may be due now
	latest  int64 // of the instants that something is written under
	reset   bool  // latest goes back: the clock was set right
}

// engineError marks what fails a whole group.
type engineError struct{ error }

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
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.MinFree == 0 {
		c.MinFree = DefaultMinFree
	}
	c.RefusalsKeep = cmp.Or(c.RefusalsKeep, journal.DefaultRefusalsKeep)
	c.ActionsKeep = cmp.Or(c.ActionsKeep, journal.DefaultActionsKeep)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(c.Dir); err != nil {
		return nil, fmt.Errorf("journal: the data directory %s cannot be made: %w", c.Dir, err)
	}
	database := filepath.Join(c.Dir, "journal.db")
	private.Keep(c.Log, c.Dir, filepath.Join(c.Dir, "bodies"), database, database+"-wal", database+"-shm")
	lock, err := private.OpenFile(filepath.Join(c.Dir, "LOCK"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("journal: the data directory %s is not writable: %w", c.Dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("journal: the data directory %s is in use by another process", c.Dir)
	}
	s := &Store{cfg: c, lock: lock, stmt: map[string]statement{}, calls: make(chan *call, c.Queue), done: make(chan struct{}), stop: make(chan struct{}), memory: memory{limit: memorySize}}
	if err := s.open(database); err != nil {
		s.shut()
		return nil, err
	}
	s.minFree.Store(c.MinFree)
	s.measure()
	go s.writer()
	go s.housekeeping()
	return s, nil
}

func (s *Store) open(file string) error {
	_, statErr := os.Stat(file)
	fresh := errors.Is(statErr, os.ErrNotExist)
	dsn := func(mode string) string {
		q := url.Values{"_pragma": {"busy_timeout(5000)", "foreign_keys(1)"}}
		if mode == "rw" {
			q["_pragma"] = append(q["_pragma"], "journal_mode(WAL)", "synchronous(FULL)", "cache_size(-16384)", "journal_size_limit(67108864)", "wal_autocheckpoint(0)")
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
	s.write.SetMaxOpenConns(2) // the writer and the checkpoints
	s.write.SetMaxIdleConns(2)
	var version int
	if err := s.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("journal: the file %s is damaged or not a journal: %w", file, err)
	}
	switch {
	case version == 0 && fresh:
		if _, err := s.write.Exec("BEGIN IMMEDIATE;" + schema + fmt.Sprintf("PRAGMA user_version=%d; COMMIT", schemaVersion)); err != nil {
			return fmt.Errorf("journal: the schema cannot be written to %s: %w", file, err)
		}
		// SQLite lets others read what it makes; until here the directory kept them out. Companions made
		// later get the mode of the file.
		for _, name := range []string{file, file + "-wal", file + "-shm"} {
			if _, _, err := private.Narrow(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("journal: %w", err)
			}
		}
		if err := syncDir(s.cfg.Dir); err != nil {
			return fmt.Errorf("journal: sync %s: %w", s.cfg.Dir, err)
		}
	case version == 0:
		return fmt.Errorf("journal: the file %s is not a journal of this gateway", file)
	case version > schemaVersion:
		return fmt.Errorf("journal: the file %s was written by a newer gateway (schema %d, this one knows %d)", file, version, schemaVersion)
	}
	if err := s.check(file); err != nil {
		return err
	}
	if s.segs, err = openSegments(filepath.Join(s.cfg.Dir, "bodies")); err != nil {
		return fmt.Errorf("journal: the bodies in %s cannot be opened: %w", s.cfg.Dir, err)
	}
	if version != 0 {
		if err := s.migrate(version); err != nil {
			return err
		}
	}
	if err := s.takeKeys(); err != nil {
		return err
	}
	// The lock proves that whoever held a lease is gone; the version fences them off all the same.
	// The heartbeat makes sure that there is a commit: a process that was killed may have left a
	// last one in the WAL that it did not sync any more, and nobody must be served what the power
	// can still take.
	if _, err := s.write.Exec("BEGIN IMMEDIATE; UPDATE item SET leased = 0, version = version + 1, wake = updated WHERE shard IN (SELECT DISTINCT shard FROM item) AND leased = 1 AND wake IS NOT NULL; UPDATE heartbeat SET n = n + 1; COMMIT"); err != nil {
		return fmt.Errorf("journal: free the leases in %s: %w", file, err)
	}
	if s.read, err = sql.Open("sqlite", dsn("ro")); err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers) // what was prepared on a connection goes with it
	counts, err := s.counted(background)
	if err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	s.tally.apply(counts)
	var latest int64
	if err := s.read.QueryRow("SELECT latest FROM heartbeat").Scan(&latest); err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	s.latest.Store(latest)
	if s.conn, err = s.write.Conn(background); err != nil {
		return fmt.Errorf("journal: open %s: %w", file, err)
	}
	return nil
}

// checkBelow is the size of the file, in bytes, up to which Open reads all of it: beyond, a
// restart would take longer than citizens should wait, and `journal verify` is for that.
const checkBelow = 64 << 20

// check reads a file of moderate size for damage.
func (s *Store) check(file string) error {
	if info, err := os.Stat(file); err != nil || info.Size() > checkBelow {
		return nil // a file that is away or unreadable has failed before
	}
	var answer string
	if err := s.write.QueryRow("PRAGMA quick_check(1)").Scan(&answer); err != nil || answer != "ok" {
		return fmt.Errorf("journal: the file %s is damaged (%s): restore a backup", file, firstOf(err, answer))
	}
	return nil
}

func firstOf(err error, s string) string {
	if err != nil {
		return err.Error()
	}
	return s
}

// makeDir makes a directory and those above it, and syncs the entries that name them: a journal
// in a directory that the disk does not know is gone with the power.
func makeDir(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return syncDir(filepath.Dir(dir))
	}
	if err == nil && !info.IsDir() {
		return &os.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return err
	}
	// It may be there since a process that was ended before it could sync. Where the directory
	// above cannot be read, an operator made this one.
	if err := syncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}

// makeDatabase makes an empty database that is the owner's alone: SQLite would let others read it.
func makeDatabase(file string) error {
	f, err := private.OpenFile(file, os.O_CREATE|os.O_WRONLY)
	if err != nil {
		return err
	}
	return f.Close()
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
func (s *Store) submit(ctx context.Context, do func(w *writing) error) error {
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

// admit is submit for new work: when the queue is full it refuses at once instead of letting
// callers pile up.
func (s *Store) admit(ctx context.Context, do func(w *writing) error) error {
	if len(s.calls) >= cap(s.calls)*3/4 {
		return gateway.Errorf(gateway.Overload, "the journal's queue is full")
	}
	return s.submit(ctx, do)
}

func (s *Store) writer() {
	defer close(s.done)
	group := make([]*call, 0, s.cfg.Group)
	var (
		took    time.Duration
		callers int // who waited when the last commit ended, answered ones included
	)
	for first := range s.calls {
		group = s.gather(append(group[:0], first), callers, took/4)
		start := time.Now()
		var err error
		if e := s.conn.Raw(func(conn any) error {
			err = s.commit(conn.(driver.ConnPrepareContext), group)
			return nil
		}); e != nil {
			err = e
		}
		took, callers = time.Since(start), len(group)+len(s.calls)
		for _, c := range group {
			if err != nil {
				c.err = gateway.Errorf(gateway.JournalUnavailable, "commit: %w", err)
			}
			close(c.done)
		}
		if s.cfg.Committed != nil {
			s.cfg.Committed(len(group), took)
		}
	}
}

// gather takes the calls that wait into the group. Those who were answered by the last commit
// are about to come again: for a small part of a commit's time it waits for them until as many
// are here, or a half-empty group would pay for a whole fsync.
func (s *Store) gather(group []*call, callers int, patience time.Duration) []*call {
	var patient <-chan time.Time
	for len(group) < s.cfg.Group {
		select {
		case c, ok := <-s.calls:
			if !ok {
				return group
			}
			group = append(group, c)
			continue
		default:
		}
		if len(group) >= callers {
			return group
		}
		if patient == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			patient = timer.C
		}
		select {
		case c, ok := <-s.calls:
			if !ok {
				return group
			}
			group = append(group, c)
		case <-patient:
			return group
		}
	}
	return group
}

// commit runs a group in one transaction. Nobody is answered before COMMIT returned; when
// the engine or a body's file fails, all of the group fail.
func (s *Store) commit(conn driver.ConnPrepareContext, group []*call) (err error) {
	w := &writing{s: s, conn: conn, bodies: batch{s: s.segs, buf: s.buf[:0]}}
	if _, err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.memory.forget()
			w.exec("ROLLBACK") //nolint:errcheck // SQLite may have rolled back by itself
		}
	}()
	for _, c := range group {
		c.err = c.do(w)
		if e, ok := errors.AsType[engineError](c.err); ok {
			return e.error
		}
	}
	if err := w.remember(); err != nil {
		return err
	}
	if err := s.timed(w.bodies.flush); err != nil {
		return err
	}
	s.buf = w.bodies.buf
	if err = s.timed(func() error { _, err := w.exec("COMMIT"); return err }); err == nil {
		s.tally.apply(w.changes)
		s.memory.learn(w.news)
		if w.stirred {
			s.stirred.Store(true)
		}
		if w.latest != 0 {
			s.latest.Store(w.latest)
		}
	}
	return err
}

// checkpointAt is the size of the WAL from which it is folded into the database.
const checkpointAt = 16 << 20

// timed tells Config.Synced how long a wait for the disk took.
func (s *Store) timed(do func() error) error {
	start := time.Now()
	err := do()
	if s.cfg.Synced != nil {
		s.cfg.Synced(time.Since(start))
	}
	return err
}

// A Load is how near the store is to its bounds.
type Load struct {
	Queue, MaxQueue int    // calls that wait for the writer, and how many may
	Free, MinFree   uint64 // bytes on the disk at the last look, and below which nothing is accepted
}

// Load tells how near the store is to its bounds. It asks nobody and never waits.
func (s *Store) Load() Load {
	return Load{Queue: len(s.calls), MaxQueue: cap(s.calls), Free: s.free.Load(), MinFree: s.minFree.Load()}
}

// SetMinFree changes Config.MinFree while the store runs; 0 means DefaultMinFree.
func (s *Store) SetMinFree(bytes uint64) {
	if bytes == 0 {
		bytes = DefaultMinFree
	}
	s.minFree.Store(bytes)
	s.measure()
}

// measure looks at the room on the disk.
func (s *Store) measure() {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.Dir, &st); err == nil {
		s.free.Store(st.Bavail * uint64(st.Bsize))
		s.full.Store(s.free.Load() < s.minFree.Load())
	}
}

// housekeeping folds the WAL into the database beside the writer, so that no commit waits for
// it, watches the room on the disk, and wipes what was erased.
func (s *Store) housekeeping() {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	wal := filepath.Join(s.cfg.Dir, "journal.db-wal")
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.measure()
		if err := s.wipePlanned(); err != nil && !errors.Is(err, journal.ErrClosed) {
			s.cfg.Log.Error("wipe erased bodies; it is tried again", "error", err)
		}
		if err := s.pruneAudit(); err != nil && !errors.Is(err, journal.ErrClosed) {
			s.cfg.Log.Error("prune the audit; it is tried again", "error", err)
		}
		if info, err := os.Stat(wal); err == nil && info.Size() >= checkpointAt {
			// A failure leaves the WAL as it is: nothing is lost, the next one tries again.
			s.write.ExecContext(background, "PRAGMA wal_checkpoint(PASSIVE)") //nolint:errcheck // see above
		}
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
	close(s.stop)
	return s.shut()
}

func (s *Store) shut() error {
	s.memory.forget() // a closed store answers nothing
	var errs []error
	for _, st := range s.stmt {
		errs = append(errs, st.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	s.readsMu.Lock() // somebody may still be reading; the database's own end tells them
	for _, st := range s.reads {
		errs = append(errs, st.Close())
	}
	s.reads = nil
	s.readsMu.Unlock()
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.segs != nil {
		errs = append(errs, s.segs.close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
