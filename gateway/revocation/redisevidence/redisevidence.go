// Package redisevidence keeps signed OCSP answers and CRLs in Redis, where the other gateways
// of a shard find them (revocation.Shared). Redis is not trusted: what is read is verified
// again by the reader, and losing everything in it costs questions to the responders, no more.
package redisevidence

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DefaultPrefix begins every key, so that evidence and journal may share a server.
const DefaultPrefix = "egov-gateway:"

// Config of a [Store].
type Config struct {
	// Client is any client of go-redis: of one server, of sentinels or of a cluster. Required;
	// the caller closes it.
	Client redis.UniversalClient
	// Prefix begins every key. "" means [DefaultPrefix].
	Prefix string
}

// A Store is the shared layer of evidence. It is safe for concurrent use, and each call ends
// with its context.
type Store struct {
	client redis.UniversalClient
	prefix string
}

// New asks nobody: a Redis that is away is no reason not to start.
func New(c Config) (*Store, error) {
	if c.Client == nil {
		return nil, errors.New("redisevidence: Config.Client is required")
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	return &Store{c.Client, c.Prefix}, nil
}

// Open makes a client for one server, redis://[user:password@]host:port[/database] or rediss://,
// that never waits longer than the caller and does not repeat what failed.
func Open(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redisevidence: %w", err)
	}
	o.ContextTimeoutEnabled = true
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout = time.Second
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o), nil
}

// Get returns the octets under key, nil when there are none.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	raw, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("redisevidence: get: %w", err)
	}
	return raw, nil
}

// Put keeps octets for at most life, and never forever.
func (s *Store) Put(ctx context.Context, key string, raw []byte, life time.Duration) error {
	if life <= 0 {
		return errors.New("redisevidence: put: evidence without an end")
	}
	if err := s.client.Set(ctx, s.prefix+key, raw, life).Err(); err != nil {
		return fmt.Errorf("redisevidence: put: %w", err)
	}
	return nil
}

// Lease takes key if nobody holds it (SET NX PX).
func (s *Store) Lease(ctx context.Context, key string, life time.Duration) (bool, error) {
	_, err := s.client.SetArgs(ctx, s.prefix+key, 1, redis.SetArgs{Mode: "NX", TTL: life}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("redisevidence: lease: %w", err)
	}
	return true, nil
}
