package revocation

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
)

// metrics counts what the checker decided. Labels are methods, reasons and configured issuers.
type metrics struct {
	checks    *prometheus.CounterVec
	age       prometheus.Histogram
	questions *prometheus.HistogramVec
	loads     *prometheus.CounterVec
	issuers   *Checker

	nextUpdate, entries, breakerOpen *prometheus.Desc
}

func newMetrics(r prometheus.Registerer, c *Checker) (*metrics, error) {
	m := &metrics{
		issuers: c,
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "egov_revocation_checks_total", Help: "Paths checked, by what proved it and the reason of a refusal (empty: good)."}, []string{"method", "reason"}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "egov_revocation_evidence_age_seconds", Help: "Age of the evidence behind a decision, from its thisUpdate.",
			Buckets: []float64{1, 10, 60, 300, 600, 3600, 7200, 43200, 86400}}),
		questions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "egov_revocation_ocsp_seconds", Help: "OCSP exchanges, by issuer and reason of failure (empty: answered).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 1.5}}, []string{"issuer", "reason"}),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "egov_revocation_crl_loads_total", Help: "CRL downloads, by issuer, kind and reason of refusal (empty: loaded)."}, []string{"issuer", "kind", "reason"}),
		nextUpdate:  prometheus.NewDesc("egov_revocation_crl_usable_seconds", "Seconds until the CRLs held prove nothing any more; negative when they do not now.", []string{"issuer"}, nil),
		entries:     prometheus.NewDesc("egov_revocation_crl_entries", "Entries in the full CRL held.", []string{"issuer"}, nil),
		breakerOpen: prometheus.NewDesc("egov_revocation_responders_failing", "Responders that are spared after repeated failures.", []string{"issuer"}, nil),
	}
	if r == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.checks, m.age, m.questions, m.loads, m} {
		if err := r.Register(collector); err != nil {
			return nil, fmt.Errorf("revocation: %w", err)
		}
	}
	return m, nil
}

// Describe and Collect read the state of the lists when they are asked for.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.nextUpdate
	ch <- m.entries
	ch <- m.breakerOpen
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	now := m.issuers.now()
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	for _, s := range m.issuers.sources {
		if l := s.lists.Load(); l.base != nil {
			until, _ := l.fresh(s.ages, now)
			gauge(m.nextUpdate, until.Sub(now).Seconds(), s.label)
			gauge(m.entries, float64(l.base.Len()), s.label)
		}
		open := 0
		for _, b := range s.breakers {
			if b.open() {
				open++
			}
		}
		gauge(m.breakerOpen, float64(open), s.label)
	}
}

func (m *metrics) checked(e Evidence, err error, now time.Time) {
	m.checks.WithLabelValues(e.Method, string(gateway.ReasonOf(err))).Inc()
	if e.Method != "" {
		m.age.Observe(now.Sub(e.ThisUpdate).Seconds())
	}
}

func (m *metrics) asked(s *source, err error, took time.Duration) {
	m.questions.WithLabelValues(s.label, string(gateway.ReasonOf(err))).Observe(took.Seconds())
}

func (m *metrics) loaded(s *source, kind string, err error) {
	m.loads.WithLabelValues(s.label, kind, string(gateway.ReasonOf(err))).Inc()
}
