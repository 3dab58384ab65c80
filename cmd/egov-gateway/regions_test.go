package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
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

// The instant of receipt is that of the first gateway, however long the region is away, and
// whatever became of the citizen's certificate since.
func TestR6ARegionMayBeAwayForDays(t *testing.T) {
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
	citizen := l.portal.pki.Must("citizen-01")
	if err := l.zhambyl.world.Revoke(statesim.Revocation{Authority: citizen.Issuer, Serial: citizen.Serial, State: statesim.Revoked, At: monday.Add(24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*lab{l.north, l.zhambyl} {
		if err := one.startGateway(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var p intake.Progress
	if err := l.pass(ctx, func() bool {
		p, err = l.portal.progress(r.ID)
		return err == nil && closed(p)
	}); err != nil {
		t.Fatalf("%v: %s %+v", err, p.State, p.Timeline)
	}
	// The same citizen directly at the region is refused.
	d := l.zhambyl.draft("citizen-01", taraz)
	got := l.zhambyl.ask(t, "async", "system-gateway", &shep.AsyncMessage{ServiceID: housing, Type: shep.TypeRequest, Date: l.zhambyl.clock.Now(), Sender: shep.Sender{ID: "PORTAL-GATEWAY"}, Data: text(l.zhambyl.mustSigned(t, d, "citizen-01"))})
	if f, ok := got.(*shep.Fault); !ok || !strings.HasPrefix(f.Info.Data, string(gateway.Revoked)) {
		t.Errorf("a new request with the revoked key: %+v", got)
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
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

// A gateway that relays, and one that hands results back, are believed what they prove and
// nothing else.
func TestR6WhatAnotherGatewayMustProve(t *testing.T) {
	l, err := newLand(t.TempDir(), newHopClock(monday), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.portal.startGateway(); err != nil {
		t.Fatal(err)
	}
	if err := l.north.startGateway(); err != nil {
		t.Fatal(err)
	}
	draft := l.portal.draft("citizen-01", petropavl)
	signed := l.portal.mustSigned(t, draft, "citizen-01")
	other := l.portal.mustSigned(t, l.portal.draft("citizen-02", petropavl), "citizen-02")
	key := func(id string) *xmlsig.Key {
		k, err := l.portal.key(id)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	receiptFor := func(request, at string) string {
		s, err := xmlsig.Verify([]byte(request), xmlsig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`<receipt xmlns="urn:egov-gateway:receipt:1"><receivedAt>%s</receivedAt><contentSha256>%x</contentSha256></receipt>`, at, s.ContentSHA256())
	}
	now := l.portal.clock.Now()
	good := string(mustSign(t, key("system-gateway"), []byte(receiptFor(signed, now.Format(time.RFC3339)))))
	bundle := func(portal, request, receipt string) shep.Data {
		b := dispatch.Bundle{Portal: portal, Request: []byte(request), Receipt: []byte(receipt)}
		for _, d := range draft.Documents {
			b.Documents = append(b.Documents, dispatch.Copy{Name: d.Name, Data: d.Data})
		}
		doc, err := b.Write()
		if err != nil {
			t.Fatal(err)
		}
		return shep.Data{Form: shep.FormString, Document: doc}
	}
	send := func(at *lab, sender, keyID string, kind shep.MessageType, chain string, d shep.Data) shep.Payload {
		return at.ask(t, "async", keyID, &shep.AsyncMessage{ServiceID: housing, Type: kind, CorrelationID: chain, Date: now, Sender: shep.Sender{ID: sender}, Data: d})
	}
	refused := func(name string, got shep.Payload, code string, want gateway.Reason) {
		t.Helper()
		f, ok := got.(*shep.Fault)
		if !ok || f.Code != code || !strings.HasPrefix(f.Info.Data, string(want)) {
			t.Errorf("%s: %+v, want %s for %s", name, got, code, want)
		}
	}
	relay := func(keyID string, d shep.Data) shep.Payload {
		return send(l.north, "PORTAL-GATEWAY", keyID, shep.TypeRequest, "", d)
	}
	refused("a message signed by somebody else", relay("system-portal", bundle("egov.kz", signed, good)), "SCE004", gateway.PortalUnauthenticated)
	refused("no receipt", relay("system-gateway", bundle("egov.kz", signed, "")), "SCE001", gateway.DocumentMalformed)
	refused("a receipt that is not signed", relay("system-gateway", bundle("egov.kz", signed, receiptFor(signed, now.Format(time.RFC3339)))), "SCE017", gateway.SignatureMissing)
	refused("a receipt signed by somebody else", relay("system-gateway", bundle("egov.kz", signed, string(mustSign(t, key("system-portal"), []byte(receiptFor(signed, now.Format(time.RFC3339))))))), "SCE016", gateway.NotAnchored)
	refused("the receipt of another request", relay("system-gateway", bundle("egov.kz", other, good)), "SCE016", gateway.DigestMismatch)
	refused("a receipt from the future", relay("system-gateway", bundle("egov.kz", signed, string(mustSign(t, key("system-gateway"), []byte(receiptFor(signed, now.Add(time.Hour).Format(time.RFC3339))))))), "SCE001", gateway.DocumentMalformed)
	refused("a receipt from before the request", relay("system-gateway", bundle("egov.kz", signed, string(mustSign(t, key("system-gateway"), []byte(receiptFor(signed, now.Add(-time.Hour).Format(time.RFC3339))))))), "SCE001", gateway.CreatedAtRange)
	for name, at := range centuries() {
		receipt := string(mustSign(t, key("system-gateway"), []byte(receiptFor(signed, at.Format(time.RFC3339)))))
		refused("a receipt of "+name, relay("system-gateway", bundle("egov.kz", signed, receipt)), "SCE001", gateway.DocumentMalformed)
	}
	refused("a portal that it does not relay for", relay("system-gateway", bundle("bank.kz", signed, good)), "SCE004", gateway.PortalUnauthenticated)
	refused("a request that no citizen signed", relay("system-gateway", bundle("egov.kz", string(draft.XML()), good)), "SCE017", gateway.SignatureMissing)
	if st, err := l.north.svc.store.Stats(t.Context()); err != nil || len(st.ByShard) != 0 {
		t.Errorf("something was kept: %+v, %v", st, err)
	}

	r := l.portal.mustAccept(t, draft, "citizen-01")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for {
		if p, err := l.portal.progress(r.ID); err == nil && p.State == gateway.StateDelivered {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("not delivered")
		}
		time.Sleep(10 * time.Millisecond)
	}
	result := fmt.Sprintf(`<result xmlns="urn:egov-gateway:result:1"><requestId>%s</requestId></result>`, r.ID)
	back := func(sender, keyID, chain, doc string) shep.Payload {
		return send(l.portal, sender, keyID, shep.TypeResponse, chain, shep.Data{Form: shep.FormString, Document: []byte(doc)})
	}
	refused("a result that the region signed, not the provider", back("north-kazakhstan", "system-state", shep.Chain(r.ID), string(mustSign(t, key("system-state"), []byte(result)))), "SCE016", gateway.ExtendedKeyUsage)
	refused("a result of another provider", back("north-kazakhstan", "system-state", shep.Chain(r.ID), string(mustSign(t, key("provider-zhambyl-head"), []byte(result)))), "SCE016", gateway.BINMismatch)
	refused("a result from another region", back("zhambyl", "system-portal", shep.Chain(r.ID), string(mustSign(t, key("provider-sko-head"), []byte(result)))), "SCE001", gateway.ResultMismatch)
	refused("a result of no request", back("north-kazakhstan", "system-state", shep.Chain("0123456789abcdef0123456789abcdef"), result), "SCE001", gateway.ResultMismatch)
	if p, err := l.portal.progress(r.ID); err != nil || p.Result != nil {
		t.Errorf("a result came of it: %+v, %v", p.Result, err)
	}
}
