// Package redisjournal keeps the journal in Redis, for several gateways that share its work.
package redisjournal

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway/journal"
)

// Defaults of Config.
const (
	DefaultName        = "journal"
	DefaultTimeout     = 5 * time.Second // an fsync on a busy disk may take long; a dead server is found sooner
	DefaultConnections = 64
	DefaultReplicaWait = time.Second
	DefaultAuditKeep   = 100_000
	DefaultKeep        = 48 * time.Hour
	dialTimeout        = time.Second
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
	// Keep is how long this gateway remembers what it accepted. 0 means DefaultKeep.
	Keep time.Duration
	// AuditKeep is how many refusals at the door are kept. 0 means DefaultAuditKeep.
	AuditKeep int64

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

func (c *Config) prefix() string { return "eg:{" + word(c.Name) + "}:" }

// A Store is a journal.Store and a journal.Audit.
type Store struct {
	cfg    Config
	prefix string
	lua    scripts
	redis  *link

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
	setDefault(&c.Name, DefaultName)
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.Connections, DefaultConnections)
	setDefault(&c.ReplicaWait, DefaultReplicaWait)
	setDefault(&c.Keep, DefaultKeep)
	setDefault(&c.AuditKeep, DefaultAuditKeep)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Open opens the journal.
func Open(c Config) (*Store, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	lua, err := loadScripts()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: c, prefix: c.prefix(), lua: lua}
	if s.redis, err = c.dial(len(c.Redis) > 1, func(context.Context, *redis.Conn) error { return nil }); err != nil {
		return nil, err
	}
	return s, nil
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
	return s.redis.Close()
}
