package redisjournal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// An Attached journal is one that gateways may be using: an operator looks at it, checks it, or
// leaves an order. It accepts and claims nothing and has no accept journal.
type Attached struct{ s *Store }

// Attach opens the journal for an operator. Of the configuration Redis, Password, Name, Archive
// and AcceptLoss matter.
func Attach(c Config) (*Attached, error) {
	c.Dir = "none"
	if err := c.fill(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	cluster, err := c.isCluster(ctx)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: c, prefix: c.prefix(), guard: &guard{acceptLoss: c.AcceptLoss}}
	if s.lua, err = loadScripts(); err != nil {
		return nil, err
	}
	if s.redis, err = c.dial(cluster, nil); err != nil {
		return nil, err
	}
	if c.Archive != "" {
		if s.archive, err = openArchive(c.Archive); err != nil {
			return nil, errors.Join(err, s.shut())
		}
	}
	return &Attached{s}, nil
}

// Close ends the attachment.
func (a *Attached) Close() error { return a.s.shut() }

// Get returns an item with all its events.
func (a *Attached) Get(ctx context.Context, id gateway.RequestID) (journal.Item, error) {
	return a.s.Get(ctx, id)
}

// Body returns one of an item's bodies, checked against its SHA-256.
func (a *Attached) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	return a.s.Body(ctx, id, name)
}

// List returns items, newest first.
func (a *Attached) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	return a.s.List(ctx, q)
}

// Stats counts items; unlike that of [Store] it writes nothing.
func (a *Attached) Stats(ctx context.Context) (journal.Stats, error) { return a.s.count(ctx) }

// Signal leaves an order for an item; some gateway's engine sees it at its next look. It is
// durable when it returns nil: a Redis that is not is refused.
func (a *Attached) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) error {
	all, err := a.s.redis.examine(ctx)
	if err != nil {
		return unavailable("signal", err)
	}
	for _, one := range all {
		if err := a.s.guard.judge(one); err != nil {
			return err
		}
	}
	_, _, _, err = a.s.signal(ctx, a.s.redis, id, g, "")
	return err
}

// Stuck returns at most limit items that are parked, whose work has been due since before t, or
// that have been tried again and again since before t; those changed longest ago first. It
// reads all open items.
func (a *Attached) Stuck(ctx context.Context, t time.Time, limit int) ([]journal.Item, error) {
	var found []journal.Item
	for _, state := range gateway.States {
		q := journal.Query{State: state, Limit: 500}
		if state == gateway.StateClosed || state == gateway.StateErased {
			q.DueBefore = t // of what is finished, only work that waits
		}
		_, err := a.s.walk(ctx, q, 1<<52, func(_ int64, it journal.Item) bool {
			due := !it.Wake.IsZero() && it.Wake.Before(t)
			if it.State == gateway.StateParked || due || it.Attempt > 2 && it.Created.Before(t) {
				found = append(found, it)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b journal.Item) int { return a.Updated.Compare(b.Updated) })
	found = found[:min(limit, len(found))]
	var all []journal.Item
	for _, it := range found {
		whole, err := a.s.Get(ctx, it.ID)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, whole)
	}
	return all, nil
}

// Backup says how it is done: Redis copies itself, and a copy made over its commands would not
// be of one instant.
func (a *Attached) Backup(context.Context, string) error {
	return errors.New("a journal in Redis is backed up with Redis itself: on a replica, CONFIG SET auto-aof-rewrite-percentage 0, wait until INFO persistence says aof_rewrite_in_progress:0, copy its appenddirname, set the percentage back; copy the archive directory after that. gateway/journal/OPERATING.md says it step by step")
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

// Verify reads everything: every item with its events and messages, its places in the queues
// and indexes, and every body, in Redis or in the archive, against its SHA-256. What changes
// meanwhile may be looked at between two of its states, so a fault is looked at twice. The
// error is for what stops the reading; faults are in the report.
func (a *Attached) Verify(ctx context.Context) (*Report, error) {
	r := &Report{Faults: []string{}}
	shards, err := a.s.redis.SMembers(ctx, a.s.key(keyShards)).Result()
	if err != nil {
		return nil, unavailable("verify", err)
	}
	for _, shard := range shards {
		for _, state := range gateway.States {
			next := a.s.pages(ctx, journal.Query{Limit: 499}, 1<<52, []string{a.s.key(keyState, string(state), ":", shard)})
			for more := true; more; {
				var members []string
				if members, more, err = next(); err != nil {
					return nil, err
				}
				for _, m := range members {
					r.Items++
					faults, err := a.faults(ctx, m, string(state), shard, r)
					if len(faults) > 0 && err == nil {
						faults, err = a.faults(ctx, m, string(state), shard, &Report{})
					}
					if err != nil {
						return nil, err
					}
					for _, f := range faults {
						if len(r.Faults) < MaxFaults {
							r.Faults = append(r.Faults, fmt.Sprintf("%s: %s", memberID(m), f))
						}
					}
				}
			}
		}
	}
	return r, nil
}

// faults are those of one item that an index says is in state and shard.
func (a *Attached) faults(ctx context.Context, member, state, shard string, r *Report) ([]string, error) {
	s, id := a.s, memberID(member)
	var item, bodies, inbox *redis.MapStringStringCmd
	var due, leased *redis.FloatCmd
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		item, bodies, inbox = p.HGetAll(ctx, s.key(keyItem, string(id))), p.HGetAll(ctx, s.key(keyBodies, string(id))), p.HGetAll(ctx, s.key(keyInbox, string(id)))
		due, leased = p.ZScore(ctx, s.key(keyDue, shard), member), p.ZScore(ctx, s.key(keyLeased, shard), member)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable("verify", err)
	}
	h := item.Val()
	if len(h) == 0 {
		return []string{"an index names it, and it is not there"}, nil
	}
	it, err := decodeItem(id, h)
	if err != nil {
		return []string{err.Error()}, nil
	}
	var all []string
	fault := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if h["state"] != state || h["shard"] != shard || h["seq"] != member[:memberSeq] {
		fault("it is %s in %s, and stands in the index of %s in %s", h["state"], h["shard"], state, shard)
	}
	queue, other := due, leased
	if h["token"] != "" {
		queue, other = leased, due
	}
	if want, err := strconv.ParseInt(h["wake"], 10, 64); (err == nil) != (queue.Err() == nil) || err == nil && want != int64(queue.Val()) || other.Err() == nil {
		fault("its wake time and its place in the queues are not the same")
	}
	waits := 0
	for field, v := range inbox.Val() {
		key, ok := strings.CutPrefix(field, "n:")
		if !ok {
			continue
		}
		g, _, err := decodeSignal(key, v)
		if err != nil {
			fault("message %s: %v", key, err)
		}
		if body, ok := inbox.Val()["b:"+key]; ok {
			waits++
			if sha256.Sum256([]byte(body)) != g.SHA256 {
				fault("message %s: its SHA-256 is another", key)
			}
		}
	}
	if strconv.Itoa(waits) != h["pending"] {
		fault("%d messages wait, and %s are counted", waits, h["pending"])
	}
	for name, kept := range it.Bodies {
		r.Bodies++
		if kept.Erased {
			continue
		}
		r.Bytes += kept.Size
		n, _ := parseNote(h["b:"+name]) // decodeItem read it
		data, ok := bodies.Val()[name]
		if n.file != "" {
			raw, err := s.readArchived(n.file)
			if err != nil {
				fault("body %s: %v", name, err)
				continue
			}
			data, ok = string(raw), true
		}
		if !ok || sha256.Sum256([]byte(data)) != n.SHA256 {
			fault("body %s: it is not there or its SHA-256 is another", name)
		}
	}
	return all, nil
}
