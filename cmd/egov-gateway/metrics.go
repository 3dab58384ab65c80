package main

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/upstream"
)

// metrics hang on the outside of every part; the parts import none. Labels come from closed
// lists: reasons, states, configured names.
type metrics struct {
	reg       *prometheus.Registry
	requests  *prometheus.CounterVec
	admission *prometheus.HistogramVec
	verdicts  *prometheus.CounterVec
	steps     *prometheus.HistogramVec
	sources   *prometheus.HistogramVec
	callbacks *prometheus.CounterVec
	messages  *prometheus.CounterVec
	upstream  *prometheus.HistogramVec
	commit    prometheus.Histogram
	group     prometheus.Histogram
}

func newMetrics() *metrics {
	latency := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	m := &metrics{
		reg:       prometheus.NewRegistry(),
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "egov_gateway_requests_total", Help: "Requests at the portal's door by outcome; reason is \"accepted\" for a 202."}, []string{"portal", "shard", "reason", "duplicate"}),
		admission: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "egov_gateway_admission_duration_seconds", Help: "Time to decide about a request, durable write included.", Buckets: latency}, []string{"status"}),
		verdicts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "egov_gateway_verdicts_total", Help: "Judgements of signed documents by official word and reason."}, []string{"status", "reason"}),
		steps:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "egov_gateway_step_duration_seconds", Help: "Time of one run of a pipeline step.", Buckets: latency}, []string{"step", "shard", "reason"}),
		sources:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "egov_gateway_source_duration_seconds", Help: "Time of one question to a state system.", Buckets: latency}, []string{"source", "kind", "reason"}),
		callbacks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "egov_gateway_provider_documents_total", Help: "Steps and results from providers by outcome."}, []string{"provider", "kind", "reason"}),
		upstream:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "egov_gateway_upstream_duration_seconds", Help: "Time of an outgoing HTTP call, repetitions included.", Buckets: latency}, []string{"system", "reason"}),
		commit:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "egov_gateway_journal_commit_duration_seconds", Help: "Time of one journal transaction, fsync included.", Buckets: latency}),
		group:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "egov_gateway_journal_commit_calls", Help: "Calls that shared one journal transaction.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}}),
	}
	m.messages = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "egov_gateway_shep_messages_total", Help: "Messages at SHEP's channels by outcome."}, []string{"participant", "operation", "reason"})
	m.reg.MustRegister(m.messages, m.requests, m.admission, m.verdicts, m.steps, m.sources, m.callbacks, m.upstream, m.commit, m.group,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func label(r gateway.Reason, none string) string {
	if r == "" {
		return none
	}
	return string(r)
}

func (m *metrics) request(portal, shard string, r gateway.Reason, duplicate bool, took time.Duration) {
	if shard == "" {
		shard = "none"
	}
	m.requests.WithLabelValues(portal, shard, label(r, "accepted"), strconv.FormatBool(duplicate)).Inc()
	m.admission.WithLabelValues(string(gateway.StatusOf(r))).Observe(took.Seconds())
}

func (m *metrics) verdict(v gateway.Verdict, _ time.Duration) {
	m.verdicts.WithLabelValues(string(v.Status), label(v.Reason, "none")).Inc()
}

func (m *metrics) step(step, shard string, r gateway.Reason, took time.Duration) {
	m.steps.WithLabelValues(step, shard, label(r, "none")).Observe(took.Seconds())
}

func (m *metrics) source(source string, kind gateway.RecordKind, r gateway.Reason, took time.Duration) {
	m.sources.WithLabelValues(source, string(kind), label(r, "none")).Observe(took.Seconds())
}

func (m *metrics) callback(provider, kind string, r gateway.Reason, _ time.Duration) {
	if provider == "" {
		provider = "none"
	}
	m.callbacks.WithLabelValues(provider, kind, label(r, "recorded")).Inc()
}

func (m *metrics) shep(participant string, op shep.Operation, r gateway.Reason, _ time.Duration) {
	m.messages.WithLabelValues(participant, string(op), label(r, "answered")).Inc()
}

func (m *metrics) call(o upstream.Observation) {
	m.upstream.WithLabelValues(o.Name, label(o.Reason, "none")).Observe(o.Duration.Seconds())
}

func (m *metrics) committed(calls int, took time.Duration) {
	m.commit.Observe(took.Seconds())
	m.group.Observe(float64(calls))
}

// deadlinesCollector tells, when it is scraped, how the open requests stand to their limits.
type deadlinesCollector struct {
	store    journal.Store
	shards   []string
	now      func() time.Time
	requests *prometheus.Desc
	steps    *prometheus.Desc
}

func newDeadlinesCollector(s journal.Store, shards []string, now func() time.Time) *deadlinesCollector {
	return &deadlinesCollector{s, shards, now,
		prometheus.NewDesc("egov_gateway_deadlines", "Open requests at the providers by how they stand to the date and time of their result.", []string{"shard", "provider", "deadline"}, nil),
		prometheus.NewDesc("egov_gateway_step_deadlines", "Steps at hand of open requests by how they stand to their limits.", []string{"shard", "provider", "step", "deadline"}, nil)}
}

// Describe implements prometheus.Collector.
func (c *deadlinesCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.requests; ch <- c.steps }

// Collect implements prometheus.Collector.
func (c *deadlinesCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	type request struct{ shard, provider, deadline string }
	type step struct{ shard, provider, step, deadline string }
	requests, steps := map[request]int{}, map[step]int{}
	now := c.now()
	for _, shard := range c.shards {
		for _, state := range []gateway.State{gateway.StateAccepted, gateway.StateEnriched, gateway.StateDelivered, gateway.StateParked} {
			for cursor := ""; ; {
				items, next, err := c.store.List(ctx, journal.Query{Shard: shard, State: state, Cursor: cursor, Limit: 500})
				if err != nil {
					ch <- prometheus.NewInvalidMetric(c.requests, err)
					return
				}
				for _, it := range items {
					d, err := gateway.ReadDossier(it.Doc)
					if err != nil {
						continue
					}
					requests[request{shard, it.Provider, string(d.DeadlineAt(now))}]++
					for i, s := range d.StepStates(now) {
						if d.Steps[i].CompletedAt.IsZero() {
							steps[step{shard, it.Provider, d.Steps[i].Code, string(s)}]++
							break
						}
					}
				}
				if cursor = next; cursor == "" {
					break
				}
			}
		}
	}
	for k, n := range requests {
		ch <- prometheus.MustNewConstMetric(c.requests, prometheus.GaugeValue, float64(n), k.shard, k.provider, k.deadline)
	}
	for k, n := range steps {
		ch <- prometheus.MustNewConstMetric(c.steps, prometheus.GaugeValue, float64(n), k.shard, k.provider, k.step, k.deadline)
	}
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
