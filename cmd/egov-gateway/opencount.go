package main

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// How the open requests are counted for the metrics.
const (
	// countRest is how many times as long as a count took its outcome is used: counting costs at
	// most a thirtieth of one core, however many requests are open.
	countRest = 30
	// countKept is the longest that it is used.
	countKept = 5 * time.Minute
	// countWait is how long a scrape waits for a count; then it is told the one before.
	countWait = 50 * time.Millisecond
	// countTimeout bounds one count.
	countTimeout = 2 * time.Minute
	countPage    = 500
)

// openCollector tells how the open requests stand to their limits. It reads them in the
// background, so that a scrape takes no longer with more of them.
type openCollector struct {
	store  journal.Store
	shards []string
	now    func() time.Time

	requests, steps, undelivered, took *prometheus.Desc

	mu      sync.Mutex
	last    *openCount    // guarded by mu; nil before the first
	running chan struct{} // guarded by mu: closed when the count under way ends; nil without one
}

type openRequest struct{ shard, service, provider, deadline string }
type openStep struct{ shard, service, provider, step, deadline string }

// An openCount is what one look at the open requests found.
type openCount struct {
	at          time.Time // by the gateway's clock
	took        time.Duration
	requests    map[openRequest]int
	steps       map[openStep]int
	undelivered map[string]time.Time // by shard: when the oldest one was accepted that no provider has
	err         error
}

func newOpenCollector(s journal.Store, shards []string, now func() time.Time) *openCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("egov_gateway_"+name, help, labels, nil)
	}
	return &openCollector{store: s, shards: shards, now: now,
		requests:    desc("deadlines", "Open requests by how they stand to the date and time of their result.", "shard", "service", "provider", "deadline"),
		steps:       desc("step_deadlines", "Steps at hand of open requests by how they stand to their limits.", "shard", "service", "provider", "step", "deadline"),
		undelivered: desc("oldest_undelivered_seconds", "Age of the oldest accepted request that no provider has yet; 0 without one.", "shard"),
		took:        desc("open_count_duration_seconds", "Time of the last count of the open requests; it is repeated after thirty times as long.")}
}

// Describe implements prometheus.Collector.
func (c *openCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.steps, c.undelivered, c.took} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *openCollector) Collect(ch chan<- prometheus.Metric) {
	n := c.latest()
	if n == nil {
		return // the first count of many requests is still under way
	}
	if n.err != nil {
		ch <- prometheus.NewInvalidMetric(c.requests, n.err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for k, count := range n.requests {
		gauge(c.requests, float64(count), k.shard, k.service, k.provider, k.deadline)
	}
	for k, count := range n.steps {
		gauge(c.steps, float64(count), k.shard, k.service, k.provider, k.step, k.deadline)
	}
	now := c.now()
	for _, shard := range c.shards {
		age := 0.
		if at, ok := n.undelivered[shard]; ok {
			age = max(0, now.Sub(at).Seconds())
		}
		gauge(c.undelivered, age, shard)
	}
	gauge(c.took, n.took.Seconds())
}

// latest returns a count that is young enough, or starts another one and waits a little for it.
func (c *openCollector) latest() *openCount {
	c.mu.Lock()
	if n := c.last; n != nil {
		age := c.now().Sub(n.at)
		if age >= 0 && age < min(n.took*countRest, countKept) {
			c.mu.Unlock()
			return n
		}
	}
	if c.running == nil {
		c.running = make(chan struct{})
		go c.recount(c.running)
	}
	running := c.running
	c.mu.Unlock()
	t := time.NewTimer(countWait)
	defer t.Stop()
	select {
	case <-running:
	case <-t.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *openCollector) recount(done chan struct{}) {
	n := c.count()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.running = n, nil
	close(done)
}

// count reads every open request.
func (c *openCollector) count() *openCount {
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	n := &openCount{at: c.now(), requests: map[openRequest]int{}, steps: map[openStep]int{}, undelivered: map[string]time.Time{}}
	start := time.Now()
	for _, shard := range c.shards {
		for _, state := range gateway.OpenStates {
			if n.err = journal.Each(ctx, c.store, journal.Query{Shard: shard, State: state, Limit: countPage}, func(it journal.Item) error {
				n.add(shard, it)
				return nil
			}); n.err != nil {
				return n
			}
		}
	}
	n.took = time.Since(start)
	return n
}

// openPlan is what of a dossier is needed here; reading no more saves most of the time.
type openPlan struct {
	RegisteredAt time.Time          `json:"registered_at"`
	DueAt        time.Time          `json:"due_at"`
	Steps        []gateway.StepPlan `json:"steps"`
	Result       *struct {
		ReceivedAt time.Time `json:"received_at"`
	} `json:"result"`
}

func (n *openCount) add(shard string, it journal.Item) {
	if it.State == gateway.StateAccepted || it.State == gateway.StateEnriched {
		if at, ok := n.undelivered[shard]; !ok || it.Created.Before(at) {
			n.undelivered[shard] = it.Created
		}
	}
	var p openPlan
	if json.Unmarshal(it.Doc, &p) != nil {
		return // the pipeline parks it, and says why
	}
	d := gateway.Dossier{RegisteredAt: p.RegisteredAt, DueAt: p.DueAt, Steps: p.Steps}
	if p.Result != nil {
		d.Result = &gateway.Result{ReceivedAt: p.Result.ReceivedAt}
	}
	n.requests[openRequest{shard, it.Service, it.Provider, string(d.DeadlineAt(n.at))}]++
	for i, s := range d.StepStates(n.at) {
		if d.Steps[i].CompletedAt.IsZero() {
			n.steps[openStep{shard, it.Service, it.Provider, d.Steps[i].Code, string(s)}]++
			break
		}
	}
}
