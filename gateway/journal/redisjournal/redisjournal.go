// Package redisjournal keeps the journal in Redis, for several gateways that share its work.
// OPERATING.md beside package journal tells an operator how to run it.
//
// # What is promised
//
// A write is acknowledged when it is in Redis' append-only file on disk (appendfsync always);
// [Open] and every new connection refuse a Redis that is set otherwise, unless the operator
// accepts loss. So kill -9 and a power cut of gateway or Redis lose nothing acknowledged.
//
// A failover may lose more: Redis copies to its replicas after it has answered. Create and
// Signal are therefore first on the disk of the gateway that took them (a SQLite file, one
// fsync for those that come together), and before anything new is answered by a Redis that was
// restarted or replaced, each gateway compares its entries of the last Config.Keep with it and
// sends what is missing. What a failover can still lose: the outcomes of steps (Advance), which
// are then done again from the item's older state; consumed marks, so that a message is seen
// again; erasures and removals, which their step repeats; refusals in the audit; and the
// acknowledged requests of a gateway whose own disk is lost in the same failure. Config.Replicas
// closes that window for everything but the audit, at the price of waiting.
//
// A gateway's check between two failovers sees each new connection and looks every
// Config.CheckEvery; a server that is demoted and promoted again while its connections stay open
// is noticed at that look.
//
// # How it lies in Redis
//
// All keys carry one hash tag, the journal's name: every script stays in one slot, and a cluster
// needs nothing else. A region that outgrows one server has a journal of its own. Each change is
// one script, which Redis runs and writes to its file as a whole; it decides before its first
// write and says as data what it decided. Keys that a caller can know are declared. An item's
// own places — the queue of its shard, the index of its state — are built in the script from
// what the item says, because only then is it the item's state that decides and not the
// caller's memory of it; they carry the same tag, so a cluster routes them alike.
//
// A claim goes through the queues in the order of waiting time, past items that wait for an older
// one, a thousand in a script. A lease is the item's version and a random token: after a
// failover a version may be given a second time, a token is not. Bodies in the archive are a
// file each, not one file an item, so that erasing one rewrites nothing. Times are microseconds
// in digits; as numbers they are exact in a double until the year 2255.
package redisjournal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/private"
)

// Defaults of Config.
const (
	DefaultName         = "journal"
	DefaultTimeout      = 5 * time.Second // an fsync on a busy disk may take long; a dead server is found sooner
	DefaultConnections  = 64
	DefaultReplicaWait  = time.Second
	DefaultKeep         = 48 * time.Hour
	DefaultArchiveAfter = 24 * time.Hour
	DefaultCheckEvery   = 5 * time.Second
	DefaultSettle       = time.Minute
	dialTimeout         = time.Second
	openTimeout         = 30 * time.Second
)

// Config says where the journal lies.
type Config struct {
	// Redis are addresses like redis://user@host:6379/0 or rediss://host: one server, or some of a
	// cluster's. Required.
	Redis []string
	// Password of Redis; it takes the place of one in the addresses.
	Password string
	// Name tells the journals in one Redis apart. "" means DefaultName.
	Name string
	// Timeout bounds each wait for Redis. 0 means DefaultTimeout.
	Timeout time.Duration
	// Connections bounds those to each server. 0 means DefaultConnections.
	Connections int
	// Replicas is how many replicas must have received a write before it counts (WAIT); set it to
	// the number of those that may be promoted. 0 waits for none.
	Replicas int
	// ReplicaWait bounds that wait. 0 means DefaultReplicaWait.
	ReplicaWait time.Duration
	// Dir is a directory on this gateway's own disk for its accept journal; one process at a time.
	// Required.
	Dir string
	// Keep is how long this gateway remembers what it accepted. 0 means DefaultKeep.
	Keep time.Duration
	// CheckEvery is how often Redis' durability is examined, beside each new connection. 0 means
	// DefaultCheckEvery.
	CheckEvery time.Duration
	// Settle is how long after Redis was restarted or replaced an unknown id is answered with
	// gateway.JournalUnavailable: another gateway may not have put it back yet. 0 means
	// DefaultSettle.
	Settle time.Duration
	// AcceptLoss lets the journal work on a Redis that may lose what it acknowledged. It is the
	// operator's choice, and the log says so.
	AcceptLoss bool
	// Archive is a directory on storage that all gateways of this journal share. The bodies of
	// finished requests go there. "" keeps them in Redis.
	Archive string
	// ArchiveAfter is how long a request must be closed, and no work be planned for. 0 means
	// DefaultArchiveAfter.
	ArchiveAfter time.Duration
	// RefusalsKeep and ActionsKeep are how long entries of the audit are kept, by Redis' clock. 0 means
	// journal.DefaultRefusalsKeep and journal.DefaultActionsKeep.
	RefusalsKeep, ActionsKeep time.Duration

	// CallersClock says that the gateways of this journal share the clock that they call with, as in a
	// laboratory or a replay: then it is the journal's. Else the Redis server's clock is.
	CallersClock bool

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards

	password *atomic.Pointer[string] // that is good now
}

func (c *Config) prefix() string { return "eg:{" + word(c.Name) + "}:" }

// A Store is a journal.Store and a journal.Audit.
type Store struct {
	cfg    Config
	prefix string
	lua    scripts
	redis  *link // for the calls: its connections are checked
	probe  *link // for the watch, which checks
	guard  *guard

	accepts  *accepts
	archive  *archive      // nil without one
	restored atomic.Int64  // entries put back since the start
	told     atomic.Int64  // the instant of the last call that told one, in microseconds
	stop     chan struct{} // closed to end the watch
	watched  chan struct{} // closed when it has ended

	mu     sync.Mutex // guards closed against new calls
	closed bool
	calls  sync.WaitGroup
}

var (
	_ journal.Store = (*Store)(nil)
	_ journal.Audit = (*Store)(nil)

	errNotAdmitted = errors.New("a server that was not checked")
)

func (c *Config) fill() error {
	if len(c.Redis) == 0 {
		return errors.New("journal: Config.Redis is required")
	}
	if c.Dir == "" {
		return errors.New("journal: Config.Dir is required")
	}
	c.password = new(atomic.Pointer[string])
	c.password.Store(&c.Password)
	setDefault(&c.Name, DefaultName)
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.Connections, DefaultConnections)
	setDefault(&c.ReplicaWait, DefaultReplicaWait)
	setDefault(&c.ArchiveAfter, DefaultArchiveAfter)
	setDefault(&c.Settle, DefaultSettle)
	setDefault(&c.CheckEvery, DefaultCheckEvery)
	setDefault(&c.Keep, DefaultKeep)
	setDefault(&c.RefusalsKeep, journal.DefaultRefusalsKeep)
	setDefault(&c.ActionsKeep, journal.DefaultActionsKeep)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// SetPassword makes new connections to Redis use another password; those that are open go on.
func (s *Store) SetPassword(password string) { s.cfg.password.Store(&password) }

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Open opens the journal. It asks Redis whether it is durable, and compares what this gateway
// accepted in the last Config.Keep with what Redis holds if that is not the Redis of the last
// time. The errors are sentences for an operator: Redis cannot be reached, may lose what it
// acknowledges, and which setting says so.
func Open(c Config) (_ *Store, err error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	s := &Store{cfg: c, prefix: c.prefix(), stop: make(chan struct{}), watched: make(chan struct{}),
		guard: &guard{acceptLoss: c.AcceptLoss, kick: make(chan struct{}, 1)}}
	if s.lua, err = loadScripts(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			s.shut() //nolint:errcheck // the first error is the one to tell
		}
	}()
	cluster, err := c.isCluster(ctx)
	if err != nil {
		return nil, err
	}
	if s.probe, err = c.dial(cluster, nil); err != nil {
		return nil, err
	}
	if s.redis, err = c.dial(cluster, s.guard.connected); err != nil {
		return nil, err
	}
	accepted := filepath.Join(c.Dir, "accept.db")
	private.Keep(c.Log, c.Dir, c.Archive, accepted, accepted+"-wal", accepted+"-shm")
	if s.accepts, err = openAccepts(c.Dir, c.Now); err != nil {
		return nil, err
	}
	if c.Archive != "" {
		if s.archive, err = openArchive(c.Archive); err != nil {
			return nil, err
		}
	}
	if s.guard.admitted, err = s.accepts.admitted(ctx); err != nil {
		return nil, fmt.Errorf("journal: the accept journal in %s: %w", c.Dir, err)
	}
	if err := s.check(context.Background()); err != nil {
		return nil, err
	}
	if err := s.putBack(context.Background(), true, c.Now()); err != nil {
		return nil, fmt.Errorf("journal: put back what was accepted: %w", err)
	}
	s.weigh(ctx)
	go s.watch()
	return s, nil
}

func (s *Store) shut() error {
	var errs []error
	if s.redis != nil {
		errs = append(errs, s.redis.Close())
	}
	if s.accepts != nil {
		errs = append(errs, s.accepts.close())
	}
	if s.probe != nil {
		errs = append(errs, s.probe.Close())
	}
	if s.archive != nil {
		errs = append(errs, s.archive.root.Close())
	}
	return errors.Join(errs...)
}

// key is one of the journal's keys.
func (s *Store) key(parts ...string) string {
	k := s.prefix
	for _, p := range parts {
		k += p
	}
	return k
}

// begin lets a call in; its context is for the wait before anything is sent. What was sent is
// answered by Redis alone: giving up in between would leave the caller not knowing.
func (s *Store) begin(ctx context.Context) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, journal.ErrClosed
	}
	s.calls.Add(1)
	return context.WithoutCancel(ctx), s.calls.Done, nil
}

// Close waits for the calls in flight.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	close(s.stop)
	<-s.watched
	return s.shut()
}
