package revocation

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// metrics counts what the checker decided. Labels are methods, reasons and configured names.
type metrics struct {
	checks    *prometheus.CounterVec
	proven    map[string]prometheus.Counter // of checks, by method, for the reason ""
	age       prometheus.Histogram
	questions *prometheus.HistogramVec
	loads     *prometheus.CounterVec
	late      *prometheus.CounterVec
	shared    *prometheus.CounterVec
	checker   *Checker

	usable, nextUpdate, listAge, entries, ledger, unsaved, breakerOpen, expiry, steady *prometheus.Desc
}

const prefix = "egov_gateway_revocation_"

func newMetrics(r prometheus.Registerer, c *Checker) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &metrics{
		checker: c,
		checks:  counter("checks_total", "Paths checked, by what proved it and the reason of a refusal (empty: good).", "method", "reason"),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "evidence_age_seconds", Help: "Age of the evidence behind a decision, from its thisUpdate.",
			Buckets: []float64{1, 10, 60, 300, 600, 3600, 7200, 43200, 86400}}),
		questions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "ocsp_duration_seconds", Help: "OCSP exchanges, by issuer, number of the responder in the configuration and reason of failure (empty: answered).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 1.5}}, []string{"issuer", "responder", "reason"}),
		loads:  counter("crl_loads_total", "CRL downloads, by issuer, kind and reason of refusal (empty: loaded, or nothing newer).", "issuer", "kind", "reason"),
		late:   counter("late_total", "Certificates decided good that newer evidence shows to have been revoked by then.", "issuer"),
		shared: counter("shared_total", "Operations on the shared layer: ok, failed, or refused because what was there did not verify.", "operation", "outcome"),

		usable:     desc(prefix+"crl_usable_seconds", "Seconds until the CRLs held prove nothing any more; negative when they do not now.", "issuer"),
		nextUpdate: desc(prefix+"crl_next_update_seconds", "Seconds until the CA promised the next CRL; negative when it is overdue.", "issuer", "kind"),
		listAge:    desc(prefix+"crl_age_seconds", "Seconds since the thisUpdate of the CRL held.", "issuer", "kind"),
		entries:    desc(prefix+"crl_entries", "Entries in the CRL held.", "issuer", "kind"),
		ledger: desc(prefix+"ledger_entries",
			"Certificates of which more is known than the CRLs held say: revoked or on hold by answers, and by lists that are gone.", "issuer"),
		unsaved: desc(prefix+"ledger_unsaved",
			"1 while the disk does not have all that is known of certificates: a restart would forget it.", "issuer"),
		breakerOpen: desc(prefix+"breaker_open", "1 while a responder is spared after repeated failures, by its number in the configuration.", "issuer", "responder"),
		expiry:      desc("egov_gateway_certificate_expiry_timestamp_seconds", "When a certificate that the gateway depends on ends, seconds since 1970.", "role", "name"),
		steady:      desc("egov_gateway_clock_steady", "0 while nothing is decided because the clock jumped."),
	}
	m.proven = map[string]prometheus.Counter{}
	for _, method := range []string{MethodOCSP, MethodCRL, MethodDelta} {
		m.proven[method] = m.checks.WithLabelValues(method, "")
	}
	if r == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.checks, m.age, m.questions, m.loads, m.late, m.shared, m} {
		if err := r.Register(collector); err != nil {
			return nil, fmt.Errorf("revocation: %w", err)
		}
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.usable, m.nextUpdate, m.listAge, m.entries, m.ledger, m.unsaved, m.breakerOpen, m.expiry, m.steady} {
		ch <- d
	}
}

// Collect reads the state of lists, responders and certificates when it is asked for.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	now := m.checker.now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ends := func(role, name string, c *trust.Certificate) {
		gauge(m.expiry, float64(c.NotAfter.Unix()), role, name)
	}
	for _, s := range *m.checker.sources.Load() {
		l := s.lists.Load()
		if l.base != nil {
			until, _ := l.fresh(s.ages, s.clock.since(&l.confirmed, now))
			gauge(m.usable, until.Sub(now).Seconds(), s.label)
		}
		for kind, list := range map[string]*CRL{"full": l.base, "delta": l.delta} {
			if list != nil {
				gauge(m.nextUpdate, list.NextUpdate.Sub(now).Seconds(), s.label, kind)
				gauge(m.listAge, now.Sub(list.ThisUpdate).Seconds(), s.label, kind)
				gauge(m.entries, float64(list.Len()), s.label, kind)
			}
		}
		gauge(m.ledger, float64(s.ledger.len()), s.label)
		unsaved := 0.
		if !s.ledger.saved() {
			unsaved = 1
		}
		gauge(m.unsaved, unsaved, s.label)
		for i, b := range s.breakers {
			open := 0.
			if b.open() {
				open = 1
			}
			gauge(m.breakerOpen, open, s.label, number(i))
		}
		ends("ca", s.label, s.issuer.Certificate)
		if r := s.responder.Load(); r != nil {
			ends("responder", s.label, r)
		}
	}
	for name, c := range m.checker.config.Watch {
		ends("own", name, c)
	}
	if m.checker.config.Watching != nil {
		for _, w := range m.checker.config.Watching() {
			gauge(m.expiry, float64(w.NotAfter.Unix()), w.Role, w.Name)
		}
	}
	steady := 1.
	if m.checker.Steady() != nil {
		steady = 0
	}
	gauge(m.steady, steady)
}

func number(i int) string { return strconv.Itoa(i + 1) }

func (m *metrics) checked(e Evidence, err error, now time.Time) {
	if good := m.proven[e.Method]; good != nil && err == nil {
		good.Inc()
	} else {
		m.checks.WithLabelValues(e.Method, string(gateway.ReasonOf(err))).Inc()
	}
	if e.Method != "" {
		m.age.Observe(now.Sub(e.ThisUpdate).Seconds())
	}
}

func (m *metrics) asked(s *source, responder int, err error, took time.Duration) {
	m.questions.WithLabelValues(s.label, number(responder), string(gateway.ReasonOf(err))).Observe(took.Seconds())
}

func (m *metrics) loaded(s *source, kind string, err error) {
	m.loads.WithLabelValues(s.label, kind, string(gateway.ReasonOf(err))).Inc()
}
