package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/redisjournal"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/revocation"
)

// probeEvery is how often the gateway asks itself whether it can do its job.
const probeEvery = 10 * time.Second

// monitor adds what is read when the metrics are: items, deadlines, calendar, readiness. Queues hold
// messages to participants.
func (b *builder) monitor(shards, queues []string, ready *httpserver.Readiness) {
	b.m.gauge("calendar_end_seconds",
		"Seconds until the end of the working calendar's data, below 0 after it: terms that reach it are provisional.",
		func() float64 { return b.forms.Calendar().End().Sub(b.now()).Seconds() })
	b.m.reg.MustRegister(newItemsCollector(b.store, slices.Concat(shards, queues), b.now), newOpenCollector(b.store, shards, b.now), readyCollector{ready,
		prometheus.NewDesc("egov_gateway_ready", "1 while a part of the job can be done, as /readyz found it last; shard is \"all\" for what all of them need.", []string{"shard", "probe"}, nil)})
}

// watch asks /readyz's questions although nobody looks, so that an alert can tell.
func watch(ctx context.Context, ready *httpserver.Readiness) {
	for {
		ready.Check(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeEvery):
		}
	}
}

// readyCollector tells what the last readiness check found.
type readyCollector struct {
	ready *httpserver.Readiness
	desc  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c readyCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c readyCollector) Collect(ch chan<- prometheus.Metric) {
	for _, f := range c.ready.Last() {
		v := 1.
		if f.Err != nil {
			v = 0
		}
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, v, or(f.Shard, "all"), f.Probe)
	}
}

// embeddedMetrics tells how near the journal in the data directory is to its bounds.
func (m *metrics) embeddedJournal(s *sqlitejournal.Store) {
	m.gauge("journal_queue_calls", "Calls that wait for the journal's writer.", func() float64 { return float64(s.Load().Queue) })
	m.gauge("journal_queue_limit", "Calls that may wait for the journal's writer; new requests are refused from three quarters of it.", func() float64 { return float64(s.Load().MaxQueue) })
	m.gauge("journal_disk_free_bytes", "Room on the journal's disk.", func() float64 { return float64(s.Load().Free) })
	m.gauge("journal_disk_min_free_bytes", "Room on the journal's disk below which nothing more is accepted.", func() float64 { return float64(s.Load().MinFree) })
}

// sharedJournal tells how the journal's Redis is.
func (m *metrics) sharedJournal(s *redisjournal.Store) {
	flag := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	m.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "egov_gateway_journal_put_back_total", Help: "Requests and messages that Redis had lost, or never got, and that this gateway put back."},
		func() float64 { return float64(s.Restored()) }))
	m.gauge("journal_queue_calls", "Calls that wait for the journal's writer.", func() float64 { return float64(s.Health().Queue) })
	m.gauge("journal_queue_limit", "Calls that may wait for the journal's writer; new requests are refused from three quarters of it.", func() float64 { return float64(s.Health().MaxQueue) })
	m.gauge("redis_writable", "1 while the journal's Redis may be written to.", func() float64 { return flag(s.Health().Refusal == nil) })
	m.gauge("redis_durable", "1 while the journal's Redis is set to keep what it acknowledges.", func() float64 { return flag(s.Health().Durable) })
	m.gauge("redis_memory_used_bytes", "Memory that the journal's Redis uses.", func() float64 { return float64(s.Health().Used) })
	m.gauge("redis_memory_limit_bytes", "maxmemory of the journal's Redis; 0 without one. From four fifths of it nothing more is accepted.", func() float64 { return float64(s.Health().Limit) })
}

// watched are the certificates whose end is in the metrics beside those of authorities and the
// gateway: anchors, intermediates, and those by which providers signed last.
func (b *builder) watched() (all []revocation.Watched) {
	if w := b.certificates.Load(); w != nil {
		all = append(all, *w...)
	}
	all = append(all, b.walkers...)
	all = append(all, revocation.Watched{Role: "own", Name: "gateway", NotAfter: b.key.Certificate().NotAfter})
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	for provider, until := range b.m.signed {
		all = append(all, revocation.Watched{Role: roleProvider, Name: provider, NotAfter: until})
	}
	return all
}

// noteCertificates keeps when anchors and intermediates end.
func (b *builder) noteCertificates(c *Config) error {
	var all []revocation.Watched
	note := func(role string, n int, file string) error {
		name := role + "-" + strconv.Itoa(n+1)
		cert, err := c.certificate(name, file)
		if err == nil {
			all = append(all, revocation.Watched{Role: role, Name: name, NotAfter: cert.NotAfter})
		}
		return err
	}
	for i, a := range c.Trust {
		if err := note("anchor", i, a.Certificate); err != nil {
			return err
		}
	}
	for i, file := range c.Intermediates {
		if err := note("intermediate", i, file); err != nil {
			return err
		}
	}
	b.certificates.Store(&all)
	return nil
}

// itemsCollector counts the journal's items when it is scraped.
type itemsCollector struct {
	store  journal.Store
	shards []string
	now    func() time.Time
	items  *prometheus.Desc
	oldest *prometheus.Desc
}

func newItemsCollector(s journal.Store, shards []string, now func() time.Time) *itemsCollector {
	return &itemsCollector{s, shards, now,
		prometheus.NewDesc("egov_gateway_items", "Requests in the journal by shard and state; a shard shep:NAME holds the messages that wait for that participant.", []string{"shard", "state"}, nil),
		prometheus.NewDesc("egov_gateway_oldest_due_seconds", "How long the longest waiting due work has been waiting.", nil, nil)}
}

// Describe implements prometheus.Collector.
func (c *itemsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.items; ch <- c.oldest }

// Collect implements prometheus.Collector.
func (c *itemsCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	st, err := c.store.Stats(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.items, err)
		return
	}
	for _, shard := range c.shards {
		for _, state := range gateway.States {
			ch <- prometheus.MustNewConstMetric(c.items, prometheus.GaugeValue, float64(st.ByShard[shard][state]), shard, string(state))
		}
	}
	waiting := 0.0
	if !st.OldestDue.IsZero() {
		waiting = max(0, c.now().Sub(st.OldestDue).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, waiting)
}
