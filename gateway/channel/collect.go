package channel

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
)

// Collect fetches from other gateways what they hold for this one, until ctx ends: for a
// participant with Fetch, every so often. What was fetched is confirmed once it is durable here;
// what is refused for good is confirmed as not taken, and an operator over there decides.
func (d *Door) Collect(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range d.c.Directory.now.Load().all {
		if p.Fetch == nil || p.FetchEvery <= 0 {
			continue
		}
		name, every := p.Name, p.FetchEvery
		wg.Go(func() {
			for {
				// The directory may have been replaced since the last turn.
				if p := d.c.Directory.named(name); p != nil && p.Fetch != nil {
					for d.collect(ctx, p) {
					}
					every = cmp.Or(p.FetchEvery, every)
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(every):
				}
			}
		})
	}
}

// collect asks once for every service, and reports whether it took something: then there may be
// more.
func (d *Door) collect(ctx context.Context, p *Participant) (more bool) {
	services := make([]string, 0, len(p.Services))
	for id := range p.Services {
		services = append(services, id)
	}
	slices.Sort(services)
	for _, id := range services {
		answer, err := p.Fetch.Messages(ctx, shep.MessagesQuery{ServiceID: id})
		if err != nil {
			if ctx.Err() == nil {
				d.c.Log.Warn("fetch", "participant", p.Name, "reason", string(gateway.ReasonOf(err)), "error", err)
			}
			return false
		}
		for i := range answer.Messages {
			if d.fetched(ctx, p, &answer.Messages[i]) {
				more = true
			}
		}
	}
	return more
}

// fetched takes one message in and confirms it; one that may pass later is left for the next time.
func (d *Door) fetched(ctx context.Context, p *Participant, m *shep.AsyncMessage) bool {
	id, err := shep.RequestOf(m.CorrelationID)
	if err == nil {
		err = d.c.hand(ctx, p, id, m)
	}
	reason := gateway.ReasonOf(err)
	if d.c.Observe != nil {
		d.c.Observe(p.Name, shep.GetMessages, reason, 0)
	}
	if err != nil {
		d.c.Log.Warn("fetched message", "participant", p.Name, "reason", string(reason), "error", err)
		if reason.Class() != gateway.Permanent {
			return false
		}
	}
	_, confirmErr := p.Fetch.Confirm(ctx, shep.DeliveryNotification{MessageID: m.ID, ServiceID: m.ServiceID, Accepted: err == nil})
	return err == nil && confirmErr == nil
}
