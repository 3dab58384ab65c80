package main

import (
	"context"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/upstream"
)

// metrics hang on the outside of every part; the parts import none. Labels come from closed
// lists: reasons, states, configured names. gateway/monitoring/METRICS.md describes each of them.
type metrics struct {
	reg       *catalogue
	now       func() time.Time
	synthetic func(portal, shard string) bool

	requests  *prometheus.CounterVec
	admission *prometheus.HistogramVec
	verdicts  *prometheus.CounterVec
	steps     *prometheus.HistogramVec
	parked    *prometheus.CounterVec
	sources   *prometheus.HistogramVec
	callbacks *prometheus.CounterVec
	messages  *prometheus.CounterVec
	signIns   *prometheus.CounterVec
	upstream  *prometheus.HistogramVec
	breakers  *prometheus.GaugeVec
	skew      *prometheus.GaugeVec
	commit    prometheus.Histogram
	group     prometheus.Histogram
	sync      prometheus.Histogram
	turns     prometheus.Histogram
	sentAway  *prometheus.CounterVec
	guesses   *prometheus.CounterVec
	doors     *doorsCollector

	mu     sync.Mutex
	roles  map[string]string    // guarded by mu: of the systems that are called, by name
	signed map[string]time.Time // guarded by mu: end of the certificate by which a provider signed last
}

// roles of the systems that are called.
const (
	roleProvider    = "provider"
	roleRegister    = "register"
	rolePortal      = "portal"
	roleRegion      = "region"
	roleParticipant = "participant"
	roleRevocation  = "revocation"
)

func newMetrics(now func() time.Time) *metrics {
	latency := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "egov_gateway_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "egov_gateway_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "egov_gateway_" + name, Help: help, Buckets: latency}, labels)
	}
	plain := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "egov_gateway_" + name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		reg: newCatalogue(), now: now, roles: map[string]string{"portal": rolePortal, "revocation": roleRevocation}, signed: map[string]time.Time{},
		synthetic: func(string, string) bool { return false },
		requests:  counter("requests_total", "Requests at the portals' doors by outcome; reason is \"accepted\" for a 202.", "portal", "shard", "service", "reason", "duplicate"),
		admission: histogram("admission_duration_seconds", "Time to decide about a request, durable write included.", "status"),
		verdicts:  counter("verdicts_total", "Judgements of signed documents by official word and reason.", "status", "reason"),
		steps:     histogram("step_duration_seconds", "Time of one run of a pipeline step, by the reason of its failure.", "step", "shard", "service", "reason"),
		parked:    counter("parked_total", "Requests and messages put aside for an operator, by the reason.", "step", "shard", "service", "reason"),
		sources:   histogram("source_duration_seconds", "Time of one question to a state system.", "source", "kind", "reason"),
		callbacks: counter("provider_documents_total", "Steps and results from providers by outcome; reason is \"recorded\" for one that was taken.", "provider", "kind", "reason"),
		messages:  counter("shep_messages_total", "Messages at SHEP's channels by outcome.", "participant", "operation", "reason"),
		signIns:   counter("console_sign_ins_refused_total", "Sign-ins at the operators' pages that were refused, by the way that was tried.", "way"),
		upstream:  histogram("upstream_duration_seconds", "Time of an outgoing HTTP call, repetitions included.", "system", "role", "reason"),
		breakers:  gauge("upstream_breaker_open", "1 while a system is spared after repeated failures, as of the last call.", "system", "role"),
		skew:      gauge("upstream_clock_skew_seconds", "This gateway's clock minus the header Date of a system's last answer.", "system", "role"),
		commit:    plain("journal_commit_duration_seconds", "Time of one journal transaction, waits for the disk included.", latency),
		group:     plain("journal_commit_calls", "Calls that shared one journal transaction.", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256}),
		turns:     plain("turn_wait_seconds", "Time that a computation at the doors waited for a processor.", latency),
		sentAway: counter("door_refused_total",
			"Requests that a door sent away for want of room, or for a body that came too slowly; party \"stranger\" is whom it does not know.",
			"door", "party", "reason"),
		guesses: counter("credentials_refused_total",
			"Wrong credentials, and with reason \"door.guess_limit\" those that were not looked at because too many wrong ones came from "+
				"their address.", "door", "reason"),
		doors: newDoorsCollector(),
		sync:  plain("journal_sync_duration_seconds", "Time of one wait for the journal's disk (fsync).", latency),
	}
	m.reg.MustRegister(m.requests, m.admission, m.verdicts, m.steps, m.parked, m.sources, m.callbacks, m.messages, m.signIns, m.upstream, m.breakers, m.skew,
		m.commit, m.group, m.sync, m.turns, m.sentAway, m.guesses, m.doors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.clock()
	m.build()
	return m
}

func (m *metrics) gauge(name, help string, f func() float64) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "egov_gateway_" + name, Help: help}, f))
}

// clock tells the gateway's own time, by which everything is judged, and how it runs.
func (m *metrics) clock() {
	start := m.now()
	m.gauge("clock_timestamp_seconds", "The gateway's clock, seconds since 1970.", func() float64 { return float64(m.now().UnixNano()) / 1e9 })
	m.gauge("clock_drift_seconds", "How far the wall clock has moved against the monotonic one since the start.", func() float64 {
		now := m.now()
		return (now.Round(0).Sub(start.Round(0)) - now.Sub(start)).Seconds()
	})
}

func (m *metrics) build() {
	version, goVersion := version()
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "egov_gateway_build_info", Help: "1, with the version of the program."}, []string{"version", "goversion"})
	info.WithLabelValues(version, goVersion).Set(1)
	m.reg.MustRegister(info)
}

// version is that of the program and of Go.
func version() (string, string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value[:min(12, len(s.Value))]
		}
	}
	if v == "" || v == "(devel)" {
		v = "unknown"
	}
	return v, info.GoVersion
}

func label(r gateway.Reason, none string) string {
	if r == "" {
		return none
	}
	return string(r)
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// observe puts a value into a histogram, with the trace it belongs to if there is one.
func observe(ctx context.Context, h prometheus.Observer, took time.Duration) {
	if id := traceID(ctx); id != "" {
		if e, ok := h.(prometheus.ExemplarObserver); ok {
			e.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": id})
			return
		}
	}
	h.Observe(took.Seconds())
}

func (m *metrics) request(ctx context.Context, o intake.Observation) {
	if m.synthetic(o.Portal, o.Shard) {
		return
	}
	m.requests.WithLabelValues(o.Portal, or(o.Shard, "none"), or(o.Service, "none"), label(o.Reason, "accepted"), strconv.FormatBool(o.Duplicate)).Inc()
	observe(ctx, m.admission.WithLabelValues(string(gateway.StatusOf(o.Reason))), o.Duration)
}

func (m *metrics) verdict(v gateway.Verdict, _ time.Duration) {
	m.verdicts.WithLabelValues(string(v.Status), label(v.Reason, "none")).Inc()
}

func (m *metrics) step(ctx context.Context, o pipeline.Observation) {
	if m.synthetic("", o.Shard) {
		return
	}
	service := or(o.Service, "none")
	observe(ctx, m.steps.WithLabelValues(o.Step, o.Shard, service, label(o.Reason, "none")), o.Duration)
	if o.Parked {
		m.parked.WithLabelValues(o.Step, o.Shard, service, label(o.Reason, "none")).Inc()
	}
}

func (m *metrics) source(source string, kind gateway.RecordKind, r gateway.Reason, took time.Duration) {
	m.sources.WithLabelValues(source, string(kind), label(r, "none")).Observe(took.Seconds())
}

func (m *metrics) callback(provider, kind string, r gateway.Reason, _ time.Duration) {
	if m.synthetic(provider, "") {
		return
	}
	m.callbacks.WithLabelValues(or(provider, "none"), kind, label(r, "recorded")).Inc()
}

// signedBy remembers until when a provider's certificate is valid.
func (m *metrics) signedBy(provider string, until time.Time) {
	if m.synthetic(provider, "") {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signed[provider] = until
}

func (m *metrics) signInRefused(way string) { m.signIns.WithLabelValues(way).Inc() }

func (m *metrics) shep(participant string, op shep.Operation, r gateway.Reason, _ time.Duration) {
	m.messages.WithLabelValues(participant, string(op), label(r, "answered")).Inc()
}

// setRole says what a system that is called is here.
func (m *metrics) setRole(name, role string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roles[name] = role
}

// refusedAtDoor counts who was sent away.
func (m *metrics) refusedAtDoor(door, party string, r gateway.Reason) {
	if m.synthetic(party, "") {
		return
	}
	m.sentAway.WithLabelValues(door, party, string(r)).Inc()
}

// guessed counts wrong credentials.
func (m *metrics) guessed(door string, r gateway.Reason) {
	m.guesses.WithLabelValues(door, string(r)).Inc()
}

func (m *metrics) call(ctx context.Context, o upstream.Observation) {
	m.mu.Lock()
	role := or(m.roles[o.Name], roleParticipant)
	m.mu.Unlock()
	observe(ctx, m.upstream.WithLabelValues(o.Name, role, label(o.Reason, "none")), o.Duration)
	open := 0.
	if o.Open {
		open = 1
	}
	m.breakers.WithLabelValues(o.Name, role).Set(open)
	if !o.Date.IsZero() {
		m.skew.WithLabelValues(o.Name, role).Set(m.now().Sub(o.Date).Seconds())
	}
}

func (m *metrics) committed(calls int, took time.Duration) {
	m.commit.Observe(took.Seconds())
	m.group.Observe(float64(calls))
}

func (m *metrics) synced(took time.Duration) { m.sync.Observe(took.Seconds()) }
