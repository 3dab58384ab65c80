package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"egov-gateway/adapters/statesim"
)

// A land is three gateways on loopback, each with a journal, a key and a world of its own: the
// portal's, which relays, and those of two regions, which deliver. TEST ONLY.
type land struct {
	portal, north, zhambyl *lab
}

func (l *land) all() []*lab { return []*lab{l.portal, l.north, l.zhambyl} }

// newLand writes the configurations and starts the worlds; each gateway is started by itself.
// Zhambyl's messages are fetched, North Kazakhstan's are pushed.
func newLand(dir string, clock *hopClock, log *slog.Logger, change ...func(*statesim.Config)) (_ *land, err error) {
	l := &land{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	for _, one := range []struct {
		lab          **lab
		name, system string
	}{{&l.portal, "portal", "system-gateway"}, {&l.north, "north", "system-state"}, {&l.zhambyl, "zhambyl", "system-portal"}} {
		sub := filepath.Join(dir, one.name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			return nil, err
		}
		if *one.lab, err = newLabAs(one.system, sub, clock, nil, log.With("gateway", one.name), change...); err != nil {
			return nil, err
		}
	}
	for _, one := range l.all() {
		for _, other := range l.all() {
			if err := os.WriteFile(filepath.Join(one.dir, other.system+".crt"), one.pki.Must(other.system).CertificatePEM, 0o600); err != nil {
				return nil, err
			}
		}
	}
	err = l.portal.reconfigure(func(c *Config) {
		c.SHEP = &SHEP{SenderID: "PORTAL-GATEWAY", Participants: c.SHEP.Participants}
		c.Sources = Sources{}
		region := func(shard string, at *lab, fetch time.Duration) Region {
			return Region{Shard: shard, URL: at.base + "/shep/async", SenderID: shard, Certificates: []string{at.system + ".crt"}, Services: labServices(), Fetch: Duration(fetch), Timeout: Duration(5 * time.Second)}
		}
		c.Regions = []Region{region("north-kazakhstan", l.north, 0), region("zhambyl", l.zhambyl, 200*time.Millisecond)}
		c.Shards = []string{"north-kazakhstan", "zhambyl"}
		for i, p := range c.Providers {
			shard := "zhambyl"
			if p.ID == "petropavl" {
				shard = "north-kazakhstan"
			}
			c.Providers[i] = Provider{ID: p.ID, BIN: p.BIN, Region: shard}
		}
	})
	if err != nil {
		return nil, err
	}
	for shard, one := range map[string]*lab{"north-kazakhstan": l.north, "zhambyl": l.zhambyl} {
		err := one.reconfigure(func(c *Config) {
			c.Shards, c.Portals, c.Console = []string{shard}, nil, nil // the portal-side gateway has one
			p := Participant{Name: "portal-gateway", SenderID: "PORTAL-GATEWAY", Certificates: []string{l.portal.system + ".crt"}, Services: labServices(), Gateway: true, Portals: []string{"egov.kz"}}
			if shard == "north-kazakhstan" {
				p.PushURL, p.PushTimeout = l.portal.base+"/shep/client", Duration(5*time.Second)
			}
			c.SHEP = &SHEP{SenderID: shard, Participants: []Participant{p}}
		})
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Close ends everything.
func (l *land) Close() {
	for _, one := range l.all() {
		if one != nil {
			one.Close()
		}
	}
}

// pass lets time go on in all three gateways until done holds.
func (l *land) pass(ctx context.Context, done func() bool) error {
	for {
		for _, one := range l.all() {
			one.world.Work(ctx)
		}
		for range 60 {
			if done() {
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("time passes, but what is awaited does not happen: %w", err)
		}
		var next time.Time
		for _, one := range l.all() {
			if due, ok := one.world.NextDue(); ok && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
		if next.IsZero() {
			next = l.portal.clock.Now().Add(time.Minute)
		}
		l.portal.clock.HopTo(next.Add(time.Millisecond))
		for _, one := range l.all() {
			if err := one.svc.checker.Refresh(ctx); err != nil {
				one.log.Warn("refresh", "error", err)
			}
			one.svc.engine.Kick()
			if one.svc.mail != nil {
				one.svc.mail.Kick()
			}
		}
	}
}

// start starts the three gateways in this process.
func (l *land) start() error {
	for _, one := range l.all() {
		if err := one.startGateway(); err != nil {
			return err
		}
	}
	return nil
}
