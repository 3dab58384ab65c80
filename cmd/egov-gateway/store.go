package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/redisjournal"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/plainyaml"
	"egov-gateway/gateway/sealing"
)

// JournalConfig says where requests are kept when not in the data directory.
type JournalConfig struct {
	// Redis is redis://user@host:port/db, or a list of some of a cluster's; "" keeps the journal in
	// the data directory. With Redis several gateways share one journal; each has a data directory
	// of its own for what it accepted.
	Redis Addresses `yaml:"redis"`
	// PasswordFile holds the password of Redis.
	PasswordFile string `yaml:"password_file" file:"secret"`
	// Name tells the journals in one Redis apart.
	Name string `yaml:"name"`
	// Archive is a directory that all gateways of the journal share, for finished bodies.
	Archive      string   `yaml:"archive"`
	ArchiveAfter Duration `yaml:"archive_after"`
	// Keep is how long a gateway remembers what it accepted, to put it back after a failover.
	Keep Duration `yaml:"keep"`
	// Settle is how long after Redis was restarted or replaced an unknown request is answered 503,
	// because another gateway may still put it back. 0 means 1m; where there is one gateway, 1s will do.
	Settle Duration `yaml:"settle"`
	// Replicas must have received a write before it is acknowledged.
	Replicas int `yaml:"replicas"`
	// AcceptLoss works on a Redis that may lose what was acknowledged.
	AcceptLoss bool `yaml:"accept_loss"`
}

// Addresses are one or several.
type Addresses []string

// First is the first choice; "" when there is none.
func (a Addresses) First() string {
	if len(a) == 0 {
		return ""
	}
	return a[0]
}

// Others are all but the first.
func (a Addresses) Others() []string { return a[min(1, len(a)):] }

// UnmarshalYAML reads a text or a list of texts.
func (a *Addresses) UnmarshalYAML(b []byte) error {
	var one string
	if err := plainyaml.Unmarshal(b, &one); err == nil {
		*a = nil
		if one != "" {
			*a = Addresses{one}
		}
		return nil
	}
	var all []string
	if err := plainyaml.Unmarshal(b, &all); err != nil {
		return errors.New("an address or a list of addresses is expected")
	}
	*a = all
	return nil
}

func (j *JournalConfig) check() error {
	switch {
	case len(j.Redis) == 0 && (j.PasswordFile != "" || j.Name != "" || j.Archive != "" || j.ArchiveAfter != 0 || j.Keep != 0 || j.Replicas != 0 || j.AcceptLoss):
		return errors.New("journal: its settings are for Redis, and journal.redis is missing")
	case j.Replicas < 0:
		return errors.New("journal.replicas: a number from 0 is expected")
	}
	return nil
}

// redisJournal is the configuration of the journal in Redis.
func (c *Config) redisJournal() (redisjournal.Config, error) {
	password, err := c.secretFile("journal.password_file", c.Journal.PasswordFile)
	j := &c.Journal
	return redisjournal.Config{Redis: j.Redis, Password: password, Name: j.Name, Dir: c.path(c.Data), Archive: c.path(j.Archive), ArchiveAfter: time.Duration(j.ArchiveAfter), Settle: time.Duration(j.Settle),
		RefusalsKeep: time.Duration(c.Audit.Refusals), ActionsKeep: time.Duration(c.Audit.Actions), Keep: time.Duration(j.Keep), Replicas: j.Replicas, AcceptLoss: j.AcceptLoss}, err
}

// A store is the journal, wherever it lies.
type store interface {
	journal.Store
	journal.Audit
}

// openStore opens the journal that the configuration names.
func (b *builder) openStore(keys *sealing.Keyring) (store, error) {
	if len(b.c.Journal.Redis) == 0 {
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: b.c.path(b.c.Data), Committed: b.m.committed, Synced: b.m.synced, MinFree: b.c.Limits.DiskFree,
			RefusalsKeep: time.Duration(b.c.Audit.Refusals), ActionsKeep: time.Duration(b.c.Audit.Actions), Keys: keys, Log: b.log})
		if err != nil {
			return nil, err
		}
		b.m.embeddedJournal(s)
		b.disk = s.SetMinFree
		return s, nil
	}
	redis.SetLogger(clientLog{b.log})
	rc, err := b.c.redisJournal()
	if err != nil {
		return nil, err
	}
	rc.Now, rc.CallersClock, rc.Log = b.now, b.shiftedClock, b.log
	s, err := redisjournal.Open(rc)
	if err != nil {
		return nil, err
	}
	b.m.sharedJournal(s)
	b.setPassword = s.SetPassword
	return s, nil
}

// clientLog is what the Redis client says of its connections; every error reaches a caller too.
type clientLog struct{ log *slog.Logger }

func (l clientLog) Printf(_ context.Context, format string, v ...any) {
	l.log.Debug("redis client", "message", fmt.Sprintf(format, v...))
}

// An operated journal is one that an operator looks at while gateways use it.
type operated interface {
	Get(ctx context.Context, id gateway.RequestID) (journal.Item, error)
	List(ctx context.Context, q journal.Query) ([]journal.Item, string, error)
	Stats(ctx context.Context) (journal.Stats, error)
	Stuck(ctx context.Context, t time.Time, limit int) ([]journal.Item, error)
	Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) error
	Backup(ctx context.Context, to string) error
	Verify(ctx context.Context) (*journalReport, error)
	Close() error
}

// A journalReport is what a verification found.
type journalReport struct {
	Items  int      `json:"items"`
	Bodies int      `json:"bodies"`
	Bytes  int64    `json:"bytes"`
	Faults []string `json:"faults"`
}

type embedded struct{ *sqlitejournal.Attached }

// Verify reads and checks everything.
func (e embedded) Verify(ctx context.Context) (*journalReport, error) {
	r, err := e.Attached.Verify(ctx)
	return (*journalReport)(r), err
}

type shared struct{ *redisjournal.Attached }

// Verify reads and checks everything.
func (s shared) Verify(ctx context.Context) (*journalReport, error) {
	r, err := s.Attached.Verify(ctx)
	return (*journalReport)(r), err
}

// attachData attaches to the journal in a data directory.
func attachData(dir string, keys *sealing.Keyring) (operated, error) {
	a, err := sqlitejournal.Attach(dir, keys)
	if err != nil {
		return nil, err
	}
	return embedded{a}, nil
}

// attachConfigured attaches to the journal that a configuration names.
func attachConfigured(c *Config, keys *sealing.Keyring) (operated, error) {
	if len(c.Journal.Redis) == 0 {
		return attachData(c.path(c.Data), keys)
	}
	rc, err := c.redisJournal()
	if err != nil {
		return nil, err
	}
	a, err := redisjournal.Attach(rc)
	if err != nil {
		return nil, err
	}
	return shared{a}, nil
}
