package console

import (
	"context"
	"net/http"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// A Region is one card of the first page.
type Region struct {
	Shard            string
	Open             int // accepted, enriched, delivered, decided
	Parked           int
	Finished         int
	Overdue, DueSoon int
	Bars             []Bar
	Well             bool
}

// A Bar is one state's part of a region's requests, in thousandths of the width.
type Bar struct {
	State       gateway.State
	N           int
	From, Width int
}

type regionsPage struct {
	Regions []Region
	Queues  []Region
	// OldestDue is since when the longest waiting work of all regions has been due.
	OldestDue time.Time
	Waiting   time.Duration
	Slow      bool // work waits longer than it should
	Deadlines time.Time
	Troubled  []System
	Sources   []RevocationSource // that prove nothing now
	Ending    []Certificate
}

// slowAfter is how long due work may wait before the page says so.
const slowAfter = 5 * time.Minute

// regions is the first page: does it flow, and where does it not.
func (c *Console) regions(v visit) error {
	if err := c.note(v, ActionLook, "regions", "", ""); err != nil {
		return err
	}
	st, err := c.stats(v.r.Context())
	if err != nil {
		return err
	}
	late := c.late.Load()
	p := regionsPage{OldestDue: st.OldestDue, Deadlines: late.At}
	if !st.OldestDue.IsZero() {
		p.Waiting = max(0, c.c.Now().Sub(st.OldestDue))
		p.Slow = p.Waiting > slowAfter
	}
	for _, shard := range c.visible(v.operator) {
		p.Regions = append(p.Regions, regionOf(shard, st.ByShard[shard], late.Shards[shard]))
	}
	for _, shard := range c.queues(v.operator) {
		p.Queues = append(p.Queues, regionOf(shard, st.ByShard[shard], nil))
	}
	for _, s := range c.c.Systems() {
		if (s.Open || s.Reason != "") && (s.Shard == "" || v.operator.MayView(s.Shard)) {
			p.Troubled = append(p.Troubled, s)
		}
	}
	for _, s := range c.c.Revocation() {
		if s.troubled() {
			p.Sources = append(p.Sources, s)
		}
	}
	for _, one := range c.calendar() {
		if one.NotAfter.Sub(c.c.Now()) < endingSoon {
			p.Ending = append(p.Ending, one)
		}
	}
	c.render(v, http.StatusOK, page{Name: "regions", Live: "regions", Data: p})
	return nil
}

// troubled reports whether nothing of the source is usable, or a part of it fails.
func (s RevocationSource) troubled() bool {
	open := 0
	for _, r := range s.Responders {
		if r.Open {
			open++
		}
	}
	return s.Trouble != "" || open > 0 && open == len(s.Responders)
}

func regionOf(shard string, by map[gateway.State]int, late *lateShard) Region {
	r := Region{Shard: shard, Parked: by[gateway.StateParked], Finished: by[gateway.StateClosed] + by[gateway.StateErased]}
	if late != nil {
		r.Overdue, r.DueSoon = late.Overdue, late.DueSoon
	}
	moving := []gateway.State{gateway.StateAccepted, gateway.StateEnriched, gateway.StateDelivered, gateway.StateDecided}
	for _, s := range moving {
		r.Open += by[s]
	}
	r.Well = r.Parked == 0 && r.Overdue == 0
	total, from := r.Open+r.Parked, 0
	for _, s := range append(moving, gateway.StateParked) {
		if n := by[s]; n > 0 {
			w := max(8, n*1000/total)
			r.Bars = append(r.Bars, Bar{s, n, from, w})
			from += w
		}
	}
	return r
}

// statsLife is how long a count is shown. Live pages ask every second, and a count writes.
const statsLife = time.Second

// counted is the journal's last account of itself.
type counted struct {
	mu sync.Mutex
	at time.Time // of the monotonic clock; guarded by mu
	st journal.Stats
}

func (c *Console) stats(ctx context.Context) (journal.Stats, error) {
	c.counted.mu.Lock()
	defer c.counted.mu.Unlock()
	if !c.counted.at.IsZero() && time.Since(c.counted.at) < statsLife {
		return c.counted.st, nil
	}
	st, err := c.c.Journal.Stats(ctx)
	if err == nil {
		c.counted.at, c.counted.st = time.Now(), st
	}
	return st, err
}
