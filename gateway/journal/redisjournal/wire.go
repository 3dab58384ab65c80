package redisjournal

import (
	"bytes"
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"egov-gateway/gateway"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// A script runs whole or not at all: it decides before its first write, and says what it
// decided as data.
type script struct{ name, source, sha string }

// loadScript reads a script and puts the reading of clocks behind its first line, which must stay the first.
func loadScript(name string) (script, error) {
	source, err := scriptFiles.ReadFile("scripts/" + name + ".lua")
	if err != nil {
		return script{}, err
	}
	clock, err := scriptFiles.ReadFile("scripts/clock.lua")
	if err != nil {
		return script{}, err
	}
	first, rest, _ := bytes.Cut(source, []byte("\n"))
	source = slices.Concat(first, []byte("\n"), clock, rest)
	sum := sha1.Sum(source) //nolint:gosec // the name Redis gives a script, not a protection
	return script{name, string(source), hex.EncodeToString(sum[:])}, nil
}

// scripts are all of them.
type scripts struct{ create, claim, advance, remove, signal, archived script }

func loadScripts() (s scripts, err error) {
	for name, to := range map[string]*script{"create": &s.create, "claim": &s.claim, "advance": &s.advance, "remove": &s.remove, "signal": &s.signal, "archived": &s.archived} {
		if *to, err = loadScript(name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// A link is a client, of one server or of a cluster, that repeats nothing by itself: whether a
// call whose connection broke was done is for the caller to find out, by repeating it.
type link struct {
	redis.UniversalClient
	replicas int           // that must have a write before it counts
	wait     time.Duration // for them
	beat     string        // the key that is written before the wait
}

// dial makes a link; connected is asked of each new connection before it is used.
func (c *Config) dial(cluster bool, connected func(context.Context, *redis.Conn) error) (*link, error) {
	first, err := redis.ParseURL(c.Redis[0])
	if err != nil {
		return nil, fmt.Errorf("journal: the address of Redis: %w", err)
	}
	o := &redis.UniversalOptions{Addrs: []string{first.Addr}, DB: first.DB, Username: first.Username, Password: first.Password, TLSConfig: first.TLSConfig,
		OnConnect: connected, MaxRetries: -1, MaxRedirects: -1, DialerRetries: 1, DialTimeout: dialTimeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
		Protocol: 2, PoolSize: c.Connections, PoolTimeout: c.Timeout, DisableIdentity: true, ContextTimeoutEnabled: true, IsClusterMode: cluster,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}}
	// Each new connection asks for the password that is good now.
	inAddress := first.Password
	o.CredentialsProvider = func() (string, string) {
		if p := c.password.Load(); p != nil && *p != "" {
			return first.Username, *p
		}
		return first.Username, inAddress
	}
	for _, address := range c.Redis[1:] {
		more, err := redis.ParseURL(address)
		if err != nil {
			return nil, fmt.Errorf("journal: the address of Redis: %w", err)
		}
		o.Addrs = append(o.Addrs, more.Addr)
	}
	if cluster {
		o.DB = 0
	}
	return &link{redis.NewUniversalClient(o), c.Replicas, c.ReplicaWait, c.prefix() + "beat"}, nil
}

// node is the client of the server that holds key now.
func (l *link) node(ctx context.Context, key string) (*redis.Client, error) {
	switch c := l.UniversalClient.(type) {
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	case *redis.Client:
		return c, nil
	}
	return nil, errors.New("redis: a client of an unknown kind")
}

// masters calls do for each of them.
func (l *link) masters(ctx context.Context, do func(context.Context, *redis.Client) error) error {
	switch c := l.UniversalClient.(type) {
	case *redis.ClusterClient:
		c.ReloadState(ctx)
		return c.ForEachMaster(ctx, do)
	case *redis.Client:
		return do(ctx, c)
	}
	return errors.New("redis: a client of an unknown kind")
}

// run runs a script at the server that holds keys[0]. A server that does not know the script,
// because it was restarted, is told it; one that does not hold the key any more has done
// nothing, so its successor is asked.
func (l *link) run(ctx context.Context, s script, keys []string, args ...any) ([]any, error) {
	for turn := 0; ; turn++ {
		answer, err := l.once(ctx, s, keys, args)
		if err == nil {
			return answer, nil
		}
		if !redis.HasErrorPrefix(err, "MOVED") || turn == 3 {
			return nil, unavailable(s.name, err)
		}
		if c, ok := l.UniversalClient.(*redis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
		time.Sleep(time.Duration(turn) * 50 * time.Millisecond)
	}
}

func (l *link) once(ctx context.Context, s script, keys []string, args []any) ([]any, error) {
	n, err := l.node(ctx, keys[0])
	if err != nil {
		return nil, err
	}
	if l.replicas == 0 {
		answer, err := n.EvalSha(ctx, s.sha, keys, args...).Slice()
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			answer, err = n.Eval(ctx, s.source, keys, args...).Slice()
		}
		return answer, err
	}
	send := func(eval func(p redis.Pipeliner) *redis.Cmd) ([]any, error) {
		p := n.Pipeline()
		answer := eval(p)
		// A repetition that finds the work done writes nothing, and WAIT would not wait: the beat
		// comes after the first writing on the way to every replica.
		p.Incr(ctx, l.beat)
		have := p.Do(ctx, "WAIT", l.replicas, l.wait.Milliseconds())
		if _, err := p.Exec(ctx); err != nil && answer.Err() == nil {
			return nil, err
		}
		if err := answer.Err(); err != nil {
			return nil, err
		}
		if n, err := have.Int(); err != nil || n < l.replicas {
			return nil, errors.Join(fmt.Errorf("%d of %d replicas have it after %v", n, l.replicas, l.wait), err)
		}
		return answer.Slice()
	}
	answer, err := send(func(p redis.Pipeliner) *redis.Cmd { return p.EvalSha(ctx, s.sha, keys, args...) })
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		answer, err = send(func(p redis.Pipeliner) *redis.Cmd { return p.Eval(ctx, s.source, keys, args...) })
	}
	return answer, err
}

// unavailable names a failure of Redis; what already has a Reason keeps it.
func unavailable(doing string, err error) error {
	if _, ok := errors.AsType[*gateway.Error](err); ok {
		return err
	}
	if redis.HasErrorPrefix(err, "OOM") {
		return gateway.Errorf(gateway.JournalFull, "%s: the memory of Redis is used up (maxmemory): %w", doing, err)
	}
	return gateway.Errorf(gateway.JournalUnavailable, "%s: %w", doing, err)
}

// unwritten says whether a failed call certainly wrote nothing: Redis answered with an error,
// or no connection was there to send it over.
func unwritten(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); ok {
		return true
	}
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, errNotAdmitted) {
		return true
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial"
}

// texts turns Redis' list of fields and values into a map.
func texts(v any) map[string]string {
	list, _ := v.([]any)
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		k, _ := list[i].(string)
		m[k], _ = list[i+1].(string)
	}
	return m
}

func text(list []any, i int) string {
	if i >= len(list) {
		return ""
	}
	s, _ := list[i].(string)
	return s
}
