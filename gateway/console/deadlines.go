package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// The journal has no index of the date and time of a result, and a request that is late in
// everything has no wake time either. So the open requests are walked through in the
// background, and the pages show the last walk with its time: what a page costs does not grow
// with what is stored, and a walk takes at most a twentieth of one core.
const (
	// WatchEvery is the least time between the ends of two walks.
	WatchEvery = 30 * time.Second
	watchShare = 20
	watchPage  = 200
	// MaxLate is how many requests of a region are remembered by name, the most urgent ones.
	MaxLate = 200
)

// lateness is what one walk found.
type lateness struct {
	At     time.Time // of its end, zero before the first
	Took   time.Duration
	Shards map[string]*lateShard
}

type lateShard struct {
	Overdue, DueSoon int
	StepsOverdue     int   // requests in time whose step at hand is late
	Rows             []Row // the most urgent first
}

// Run keeps the deadlines fresh until ctx ends.
func (c *Console) Run(ctx context.Context) {
	for {
		start := time.Now()
		if err := c.Watch(ctx); err != nil && ctx.Err() == nil {
			c.c.Log.Warn("console deadlines", "reason", string(gateway.ReasonOf(err)), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(WatchEvery, watchShare*time.Since(start))):
		}
	}
}

// Watch walks through the open requests once.
func (c *Console) Watch(ctx context.Context) error {
	start := time.Now()
	found := &lateness{Shards: map[string]*lateShard{}}
	for _, shard := range c.c.Shards {
		s := &lateShard{}
		found.Shards[shard] = s
		for _, state := range gateway.OpenStates {
			if err := journal.Each(ctx, c.c.Journal, journal.Query{Shard: shard, State: state, Limit: watchPage}, func(it journal.Item) error {
				now := c.c.Now()
				s.add(rowOf(it, now), now)
				return nil
			}); err != nil {
				return err
			}
		}
		s.trim()
	}
	found.At, found.Took = c.c.Now(), time.Since(start)
	c.late.Store(found)
	return nil
}

func (s *lateShard) add(row Row, now time.Time) {
	late := !row.StepDue.IsZero() && !now.Before(row.StepDue)
	switch {
	case row.Deadline == gateway.Overdue:
		s.Overdue++
	case row.Deadline == gateway.DueSoon:
		s.DueSoon++
	case late:
		s.StepsOverdue++
	default:
		return
	}
	if s.Rows = append(s.Rows, row); len(s.Rows) >= 4*MaxLate {
		s.trim()
	}
}

func (s *lateShard) trim() {
	slices.SortFunc(s.Rows, func(a, b Row) int { return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID)) })
	s.Rows = s.Rows[:min(len(s.Rows), MaxLate)]
}

type deadlinesPage struct {
	Shard  string
	Shards []string
	At     time.Time
	*lateShard
}

func (c *Console) deadlines(v visit) error {
	shards := c.visible(v.operator)
	shard := v.r.URL.Query().Get("shard")
	if shard == "" && len(shards) > 0 {
		shard = shards[0]
	}
	if !slices.Contains(shards, shard) {
		return gateway.Errorf(gateway.OperatorForbidden, "the region is not visible to this operator")
	}
	if err := c.note(v, ActionLook, "deadlines", shard, ""); err != nil {
		return err
	}
	late := c.late.Load()
	p := deadlinesPage{Shard: shard, Shards: shards, At: late.At, lateShard: late.Shards[shard]}
	if p.lateShard == nil {
		p.lateShard = &lateShard{}
	}
	c.render(v, http.StatusOK, page{Name: "deadlines", Live: "deadlines", Data: p})
	return nil
}
