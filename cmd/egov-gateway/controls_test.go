package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// controls are journals that break their contract on purpose. The campaign must find each of
// them out, or its silence proves nothing. They exist in the test binary alone.
var controls = map[string]func(s store, h hooks) store{
	"answers before commit": func(s store, _ hooks) store { return &hasty{s} },
	"forgets messages":      func(s store, _ hooks) store { return &forgetful{s} },
	"no fence":              func(s store, h hooks) store { return &unfenced{s, h} },
}

// A hasty journal acknowledges a request before it is on disk.
type hasty struct{ store }

func (s *hasty) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	if it, err := s.Get(ctx, n.ID); err == nil {
		return it, journal.ErrDuplicate
	}
	time.AfterFunc(150*time.Millisecond, func() { s.store.Create(context.Background(), n) }) //nolint:errcheck // that is the fault
	it := journal.Item{ID: n.ID, Portal: n.Portal, MessageID: n.MessageID, Content: n.Content, Citizen: n.Citizen, Service: n.Service, Shard: n.Shard, Provider: n.Provider,
		State: gateway.StateAccepted, Version: 1, Created: n.Created, Updated: n.Created, Doc: n.Doc, Events: slices.Clone(n.Events)}
	return it, nil
}

// A forgetful journal takes every message for a new one.
type forgetful struct{ store }

func (s *forgetful) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	n.ID, n.MessageID = gateway.RequestID(hex.EncodeToString(b[:])), n.MessageID+"#"+hex.EncodeToString(b[:4])
	return s.store.Create(ctx, n)
}

// An unfenced journal takes the outcome of work from whoever brings it, whether or not the lease
// is still theirs. It reaches past the contract to make an item look leased.
type unfenced struct {
	store
	h hooks
}

func (s *unfenced) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
	err := s.store.Advance(ctx, l, st)
	for range 5 {
		if !errors.Is(err, journal.ErrLeaseLost) {
			return err
		}
		if s.h.Redis != "" {
			err = s.leaseInRedis(ctx, &l)
		} else {
			err = s.leaseInSQLite(ctx, &l)
		}
		if err == nil {
			err = s.store.Advance(ctx, l, st)
		}
	}
	return err
}

func (s *unfenced) leaseInSQLite(ctx context.Context, l *journal.Lease) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.h.Data, "journal.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	return db.QueryRowContext(ctx, "UPDATE item SET leased = 1 WHERE id = ? RETURNING version", string(l.Item.ID)).Scan(&l.Item.Version)
}

func (s *unfenced) leaseInRedis(ctx context.Context, l *journal.Lease) error {
	c := redis.NewClient(&redis.Options{Addr: s.h.Redis})
	defer c.Close()
	key := "eg:{journal}:it:" + string(l.Item.ID)
	if err := c.HSetNX(ctx, key, "token", "stolen").Err(); err != nil {
		return err
	}
	l.Token = c.HGet(ctx, key, "token").Val()
	version, err := c.HGet(ctx, key, "version").Int64()
	l.Item.Version = version
	return err
}

// The campaign finds every control out. Each is bad in its own way and is looked for by its own faults.
func TestTheCampaignFindsBrokenJournals(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: the controls of the crash campaign take half a minute; they run without")
	}
	tests := []struct {
		broken string
		plan   plan
		want   string // the kind of finding
	}{
		{"answers before commit", plan{store: "sqlite", gateways: 1, machine: []string{"kill"}}, "lost"},
		{"forgets messages", plan{store: "sqlite", gateways: 1, world: []string{"network-cut"}}, "doubled"},
		{"no fence", plan{store: "sqlite", gateways: 1, machine: []string{"clock-jump"}, slow: 600 * time.Millisecond}, "history"},
		{"no fence", plan{store: "redis", gateways: 2, machine: []string{"pause", "clock-jump"}, slow: 500 * time.Millisecond, lease: time.Second}, "history"},
	}
	for _, tt := range tests {
		t.Run(tt.broken+" on "+tt.plan.store, func(t *testing.T) {
			t.Parallel() // mostly they wait
			p := tt.plan
			p.broken, p.seed, p.length, p.drain, p.open = tt.broken, fromClock(*crashSeed), 5*time.Second, 5*time.Second, 60
			for range 3 { // the faults are few, and may strike beside the point
				c := newCampaign(t, p)
				r := c.run()
				c.finished(t, r)
				if r.Findings[tt.want] > 0 {
					return
				}
				p.seed++
			}
			t.Errorf("to seed %d: the control %q goes through without a finding of the kind %q", p.seed, tt.broken, tt.want)
		})
	}
}
