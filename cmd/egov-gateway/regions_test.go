package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
)

// R6: the portal's gateway gives a request to the gateway of its region, with the citizen's signed
// bytes as they are, and steps and result come back, verified and journalled at every hop.
func TestR6ARequestCrossesGateways(t *testing.T) {
	var logs logBuffer
	l, err := newLand(t.TempDir(), newHopClock(monday), slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, tt := range []struct {
		name, territory, provider string
		region, other             *lab
	}{{"pushed back from North Kazakhstan, with documents", petropavl, "petropavl", l.north, l.zhambyl}, {"fetched from Zhambyl", taraz, "taraz", l.zhambyl, l.north}} {
		t.Run(tt.name, func(t *testing.T) {
			r := l.portal.mustAccept(t, l.portal.draft("citizen-01", tt.territory), "citizen-01")
			var p intake.Progress
			err := l.pass(ctx, func() bool {
				p, err = l.portal.progress(r.ID)
				return err == nil && closed(p)
			})
			if err != nil {
				t.Fatalf("%v; state %s, timeline %+v\n%s", err, p.State, p.Timeline, logs.String())
			}
			if p.Result == nil || p.Provider != tt.provider || len(p.Records) != 0 {
				t.Errorf("result %+v of %s, records %+v", p.Result, p.Provider, p.Records)
			}
			for _, s := range p.Steps {
				if s.CompletedAt.IsZero() {
					t.Errorf("the step %s did not come back", s.Code)
				}
			}
			body := func(at *lab, name string) []byte {
				b, err := at.svc.store.Body(t.Context(), r.ID, name)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return b
			}
			for _, name := range []string{gateway.BodyRequest, gateway.BodyResult} {
				if !bytes.Equal(body(l.portal, name), body(tt.region, name)) {
					t.Errorf("%s is not the same at both gateways", name)
				}
			}
			here, err := l.portal.svc.store.Get(t.Context(), r.ID)
			if err != nil {
				t.Fatal(err)
			}
			there, err := tt.region.svc.store.Get(t.Context(), r.ID)
			if err != nil || there.Portal != "egov.kz" || there.Content != here.Content {
				t.Errorf("at the region: %+v, %v", there, err)
			}
			a, _ := gateway.ReadDossier(here.Doc)
			b, _ := gateway.ReadDossier(there.Doc)
			if a.DueAt.Sub(b.DueAt).Abs() > time.Second || a.RegisteredAt.Sub(b.RegisteredAt).Abs() > time.Second {
				t.Errorf("terms differ: %v and %v", a.DueAt, b.DueAt)
			}
			if len(b.Records) == 0 {
				t.Error("the region fetched no records")
			}
			if _, err := tt.other.svc.store.Get(t.Context(), r.ID); err == nil {
				t.Error("the other region has it too")
			}
			if n := tt.region.world.State().Requests[string(r.ID)].Effects; n != 1 {
				t.Errorf("%d effects at the provider", n)
			}
		})
	}
}

// A certificate revoked between two gateways does not undo what the first one accepted, and a
// gateway that relays cannot make a request out of nothing.
func TestR6WhatARelayedRequestMustProve(t *testing.T) {
	l, err := newLand(t.TempDir(), newHopClock(monday), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.portal.startGateway(); err != nil {
		t.Fatal(err)
	}
	r := l.portal.mustAccept(t, l.portal.draft("citizen-01", taraz), "citizen-01")
	// The region comes up four days later: createdAt alone would be too old by then (72 hours).
	l.portal.clock.HopTo(monday.Add(96 * time.Hour))
	for _, one := range []*lab{l.north, l.zhambyl} {
		if err := one.startGateway(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var p intake.Progress
	if err := l.pass(ctx, func() bool {
		p, err = l.portal.progress(r.ID)
		return err == nil && closed(p)
	}); err != nil {
		t.Fatalf("%v: %s %+v", err, p.State, p.Timeline)
	}
}

// R6: killing any of the three gateways at any time loses nothing and does nothing twice.
func TestR6AnyGatewayMayBeKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	l, err := newLand(t.TempDir(), newHopClock(time.Now()), slog.New(slog.DiscardHandler), func(c *statesim.Config) { c.Factor = 1e5 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	running := map[*lab]*exec.Cmd{}
	for _, one := range l.all() {
		go one.world.Run(ctx) //nolint:errcheck // ends with ctx
		running[one] = one.process(t)
	}
	const requests = 12
	var mu sync.Mutex
	var ids []gateway.RequestID
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := range requests {
			territory, citizen := taraz, fmt.Sprintf("citizen-%02d", n%8+1)
			if n%2 == 1 {
				territory = petropavl
			}
			d := l.portal.draft(citizen, territory)
			key, err := l.portal.key(citizen)
			if err != nil {
				t.Error(err)
				return
			}
			signed, err := d.Sign(key)
			if err != nil {
				t.Error(err)
				return
			}
			// As a portal does: the same bytes until there is an answer.
			for ctx.Err() == nil {
				a, err := l.portal.submitSigned(signed, d.Documents)
				if err == nil && a.status == http.StatusAccepted {
					mu.Lock()
					ids = append(ids, a.receipt.ID)
					mu.Unlock()
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	dice := rand.New(rand.NewPCG(7, 1))
	for round := range 6 {
		time.Sleep(time.Duration(100+dice.IntN(500)) * time.Millisecond)
		one := l.all()[round%3]
		if err := running[one].Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		running[one].Wait()
		running[one] = one.process(t)
	}
	wg.Wait()
	if len(ids) != requests {
		t.Fatalf("%d of %d requests were accepted", len(ids), requests)
	}
	for i, id := range ids {
		var p intake.Progress
		for ctx.Err() == nil {
			if p, err = l.portal.progress(id); err == nil && closed(p) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if !closed(p) || p.Result == nil {
			t.Errorf("request %d: state %s, %+v", i+1, p.State, p.Timeline)
		}
		effects := l.north.world.State().Requests[string(id)].Effects + l.zhambyl.world.State().Requests[string(id)].Effects
		if effects != 1 {
			t.Errorf("request %d: %d effects at the providers", i+1, effects)
		}
	}
}
