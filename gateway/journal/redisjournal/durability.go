package redisjournal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// A rule is a setting without which Redis may lose what it acknowledged.
type rule struct{ setting, want, why string }

// rules are asked of every master. Source: the settings under which no acknowledged write was
// lost in power cuts; each other value of each lost some, or may.
func rules() []rule {
	return []rule{
		{"appendonly", "yes", "without it nothing written since the last snapshot survives a restart"},
		{"appendfsync", "always", "anything else acknowledges before the write is on disk, and a power cut takes it"},
		{"no-appendfsync-on-rewrite", "no", "while the file is rewritten nothing would be synced"},
		{"maxmemory-policy", "noeviction", "any other policy deletes requests when the memory is full"},
	}
}

// A server is what a look at one Redis found.
type server struct {
	identity string // changes when its memory may be another: run id and replication id
	cluster  bool
	broken   []string // it cannot be written to now
	unsafe   []string // it may lose what it acknowledged
	used     int64    // bytes
	limit    int64    // maxmemory in bytes, 0 for none
}

type pipelined interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// look asks a server, or one connection to it, for all that matters.
func look(ctx context.Context, c pipelined) (server, error) {
	var info, conf, clock *redis.Cmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		info = p.Do(ctx, "INFO", "server", "persistence", "replication", "memory", "cluster")
		conf = p.Do(ctx, "CONFIG", "GET", "append*", "no-appendfsync-on-rewrite", "maxmemory-policy")
		clock = p.Do(ctx, "TIME")
		return nil
	})
	var s server
	if info.Err() != nil {
		return s, errors.Join(err, info.Err())
	}
	raw, err := info.Text()
	if err != nil {
		return s, err
	}
	i := map[string]string{}
	for line := range strings.SplitSeq(raw, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			i[k] = v
		}
	}
	s.identity, s.cluster = i["run_id"]+"/"+i["master_replid"], i["cluster_enabled"] == "1"
	s.used, _ = strconv.ParseInt(i["used_memory"], 10, 64)
	s.limit, _ = strconv.ParseInt(i["maxmemory"], 10, 64)
	if major, _, _ := strings.Cut(i["redis_version"], "."); len(major) == 1 && major < "7" {
		s.broken = append(s.broken, "it is Redis "+i["redis_version"]+", and 7.0 is the oldest that can hold a journal")
	}
	if err := clock.Err(); err != nil {
		s.broken = append(s.broken, "TIME is refused ("+err.Error()+"), and its clock decides what is due: allow it to the gateway's user (ACL +time)")
	}
	if i["role"] != "master" {
		s.broken = append(s.broken, "it is a replica (ROLE): name the master's address, or let the address follow it")
	}
	if i["loading"] != "0" {
		s.broken = append(s.broken, "it is still loading its data")
	}
	if i["aof_last_write_status"] != "ok" {
		s.broken = append(s.broken, "its last write to the append-only file failed (aof_last_write_status): look at its disk and its log")
	}
	if i["aof_enabled"] != "1" {
		s.unsafe = append(s.unsafe, "the append-only file is not in use (aof_enabled): CONFIG SET appendonly yes, and the same in redis.conf")
	}
	list, err := conf.Slice()
	if err != nil {
		s.unsafe = append(s.unsafe, "CONFIG GET is refused ("+err.Error()+"), so that nobody can say whether it is durable: allow it to the gateway's user (ACL +config|get)")
		return s, nil
	}
	c2 := texts(list)
	for _, r := range rules() {
		if have := c2[r.setting]; have != r.want {
			s.unsafe = append(s.unsafe, fmt.Sprintf("%s is %q, and %s: set \"%s %s\" in redis.conf, and CONFIG SET %s %s", r.setting, have, r.why, r.setting, r.want, r.setting, r.want))
		}
	}
	return s, nil
}

// A guard decides whether the journal may be written to. It knows the servers whose memory is
// known to hold all that this gateway accepted; to any other no connection is used.
type guard struct {
	acceptLoss bool
	kick       chan struct{} // asks for an examination

	mu       sync.Mutex
	admitted []string // identities; guarded by mu
	refusal  error    // why nothing may be written now, nil when it may; guarded by mu
	unsafe   string   // what the operator accepted; guarded by mu
	full     error    // why nothing more may be accepted; guarded by mu
	lossy    bool     // some master may lose what it acknowledged; guarded by mu
	used     int64    // bytes; guarded by mu
	limit    int64    // maxmemory in bytes, 0 for none; guarded by mu

	unsettled time.Time // until then another gateway may be putting back; guarded by mu
}

// writable returns why nothing may be written now.
func (g *guard) writable() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal
}

// room returns why nothing more may be accepted now.
func (g *guard) room() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.full
}

// missing is the answer about an item that is not there. Shortly after a failover another gateway
// may not have put it back yet, and nobody must be told that it does not exist.
func (g *guard) missing() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.unsettled) {
		return gateway.Errorf(gateway.JournalUnavailable, "Redis was restarted or replaced a moment ago; another gateway may still put this back")
	}
	return journal.ErrNotFound
}

func (g *guard) refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusal = err
}

func (g *guard) knows(identity string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.admitted, identity)
}

// judge turns what was found into a refusal, nil if there is none.
func (g *guard) judge(s server) error {
	faults := s.broken
	if !g.acceptLoss {
		faults = slices.Concat(s.broken, s.unsafe)
	}
	if len(faults) == 0 {
		return nil
	}
	return gateway.Errorf(gateway.JournalUnavailable, "the Redis of the journal is not durable: %s", strings.Join(faults, "; "))
}

// connected is asked of each new connection before anything is sent over it.
func (g *guard) connected(ctx context.Context, c *redis.Conn) error {
	s, err := look(ctx, c)
	if err != nil {
		return err
	}
	if err := g.judge(s); err != nil {
		g.refuse(err)
		return fmt.Errorf("%w: %w", errNotAdmitted, err)
	}
	if !g.knows(s.identity) {
		select {
		case g.kick <- struct{}{}:
		default:
		}
		return fmt.Errorf("%w: it was restarted or replaced, and what this gateway accepted is put back first", errNotAdmitted)
	}
	return nil
}

// shareOfMemory is how much of maxmemory may be in use before nothing more is accepted, in
// percent. The rest is for the work on what was accepted.
const shareOfMemory = 80

// weigh keeps whether there is room.
func (g *guard) weigh(s server) {
	var full error
	if s.limit > 0 && s.used >= s.limit/100*shareOfMemory {
		full = gateway.Errorf(gateway.JournalFull, "Redis uses %d MB, more than %d %% of its maxmemory of %d MB", s.used>>20, shareOfMemory, s.limit>>20)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.full, g.used, g.limit = full, s.used, s.limit
}

// survey notes whether all masters keep what they acknowledge.
func (g *guard) survey(all []server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lossy = slices.ContainsFunc(all, func(s server) bool { return len(s.unsafe) > 0 })
}

// Health is what the last look at Redis found.
type Health struct {
	// Refusal is why nothing may be written now, nil when it may.
	Refusal error
	// Durable is false while Redis is set so that it may lose what it acknowledged, whether or not
	// the operator accepts that.
	Durable bool
	// Used and Limit are bytes of memory; Limit is 0 for none.
	Used, Limit int64
	// Queue are callers that wait for this gateway's own disk, of at most MaxQueue.
	Queue, MaxQueue int
}

// Health tells what the last look at Redis found. It asks nobody.
func (s *Store) Health() Health {
	g := s.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	return Health{Refusal: g.refusal, Durable: !g.lossy, Used: g.used, Limit: g.limit, Queue: len(s.accepts.queue), MaxQueue: cap(s.accepts.queue)}
}

// examine looks at every master.
func (l *link) examine(ctx context.Context) ([]server, error) {
	var mu sync.Mutex
	var all []server
	err := l.masters(ctx, func(ctx context.Context, c *redis.Client) error {
		s, err := look(ctx, c)
		if err != nil { // once more over another connection: this one may have been idle too long
			s, err = look(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("look at Redis %s: %w", c.Options().Addr, err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = errors.New("the cluster has no masters")
	}
	return all, err
}

// isCluster asks the first server that answers.
func (c *Config) isCluster(ctx context.Context) (bool, error) {
	var errs []error
	for _, address := range c.Redis {
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
			return false, errors.New("journal: an address of Redis is not like redis://host:port/0")
		}
		one := *c
		one.Redis = []string{address}
		l, err := one.dial(false, nil)
		if err != nil {
			return false, err
		}
		all, err := l.examine(ctx)
		l.Close()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !all[0].cluster && len(c.Redis) > 1 {
			return false, fmt.Errorf("journal: %d addresses of Redis are given, and it is not a cluster", len(c.Redis))
		}
		return all[0].cluster, nil
	}
	return false, fmt.Errorf("journal: Redis cannot be reached: %w", errors.Join(errs...))
}
