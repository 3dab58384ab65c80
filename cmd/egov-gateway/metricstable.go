package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A catalogue is a registry that knows what was registered, for the table of metrics.
type catalogue struct {
	*prometheus.Registry

	mu       sync.Mutex
	families map[string]family // guarded by mu
}

// A family is one metric of the table.
type family struct {
	name, kind, help string
	labels           []string
}

func newCatalogue() *catalogue {
	return &catalogue{Registry: prometheus.NewRegistry(), families: map[string]family{}}
}

// Register implements prometheus.Registerer.
func (c *catalogue) Register(one prometheus.Collector) error {
	if err := c.Registry.Register(one); err != nil {
		return err
	}
	ch := make(chan *prometheus.Desc)
	go func() { one.Describe(ch); close(ch) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	for d := range ch {
		if f, ok := familyOf(d, one); ok {
			c.families[f.name] = f
		}
	}
	return nil
}

// MustRegister implements prometheus.Registerer.
func (c *catalogue) MustRegister(all ...prometheus.Collector) {
	for _, one := range all {
		if err := c.Register(one); err != nil {
			panic(err)
		}
	}
}

// described is how client_golang writes a Desc.
var described = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*")(?:, unit: "[^"]*")?, constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

// familyOf reads a description; one that another version of client_golang writes otherwise is
// left out of the table, which a test notices.
func familyOf(d *prometheus.Desc, c prometheus.Collector) (f family, ok bool) {
	m := described.FindStringSubmatch(d.String())
	if m == nil {
		return f, false
	}
	var nameErr, helpErr error
	f.name, nameErr = strconv.Unquote(m[1])
	f.help, helpErr = strconv.Unquote(m[2])
	if m[3] != "" {
		f.labels = strings.Split(m[3], ",")
	}
	_, vector := c.(*prometheus.HistogramVec)
	_, single := c.(prometheus.Histogram)
	switch {
	case vector || single:
		f.kind = "histogram"
	case strings.HasSuffix(f.name, "_total"):
		f.kind = "counter"
	default:
		f.kind = "gauge"
	}
	return f, nameErr == nil && helpErr == nil
}

// own are the gateway's own families, by name; those of Go and the process are left out.
func (c *catalogue) own() []family {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []family
	for f := range maps.Values(c.families) {
		if strings.HasPrefix(f.name, "egov_gateway_") {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b family) int { return cmp.Compare(a.name, b.name) })
	return all
}

// unit is the unit of a family by its name.
func (f family) unit() string {
	name := strings.TrimSuffix(f.name, "_total")
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "seconds since 1970"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	case strings.HasSuffix(name, "_info"), strings.HasSuffix(name, "_hash"), strings.HasSuffix(name, "_generation"):
		return "none"
	}
	switch name {
	case "egov_gateway_ready", "egov_gateway_clock_steady", "egov_gateway_upstream_breaker_open", "egov_gateway_revocation_breaker_open", "egov_gateway_redis_writable", "egov_gateway_redis_durable",
		"egov_gateway_config_reload_ok", "egov_gateway_config_restart_needed":
		return "0 or 1"
	}
	return "number"
}

// labelled says for each label where its values come from. Every list is closed.
func labelled() [][2]string {
	return [][2]string{
		{"bound", "total, address, header (of the PROXY protocol)"},
		{"code", "HTTP status"},
		{"deadline", "on-time, due-soon, overdue, met, missed"},
		{"door", "rest, desk (admissions from any door), shep, provider, cabinet, console, sign-in (operators whose code the identity provider is asked about)"},
		{"duplicate", "true, false"},
		{"goversion", "of the program"},
		{"issuer", "the first eight digits of the serial of a configured issuer"},
		{"kind", "record kinds of the decree; step, result; full, delta"},
		{"method", "ocsp, crl, crl+delta, empty for none"},
		{"name", "anchor-N, intermediate-N by place in the configuration, gateway, synthetic-citizen, synthetic-provider, the label of an issuer, a provider"},
		{"operation", "operations of SHEP's channels"},
		{"outcome", "ok, failed, refused"},
		{"participant", "configured participants and regions, none"},
		{"party", "configured portals, participants, regions and providers; stranger"},
		{"portal", "configured portals, none"},
		{"probe", "the probes of /readyz"},
		{"provider", "configured providers, none"},
		{"reason", "the reasons of the catalogue (gateway/reason.go); accepted, recorded, answered, none, empty for success"},
		{"responder", "place in the configuration of the issuer"},
		{"role", "provider, register, portal, region, participant, revocation; own, ca, responder, anchor, intermediate of a certificate"},
		{"room", "known, strangers"},
		{"route", "patterns of the program's own addresses, none"},
		{"server", "doors, admin, console"},
		{"service", "service codes of the passports, none"},
		{"setting", "first words of the settings of the configuration"},
		{"shard", "shards of the passports, shep:PARTICIPANT for queues of messages, none, all"},
		{"source", "the state systems' adapters"},
		{"stage", "door, journal, result, cabinet, removal, none"},
		{"state", "states of a request"},
		{"status", "verified, refused, indeterminate"},
		{"step", "steps of the flow and of the passports"},
		{"system", "configured systems that are called"},
		{"version", "of the program"},
		{"way", "token, oidc"},
	}
}

// write writes the table.
func (c *catalogue) write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Metrics of egov-gateway\n\nServed at `/metrics` of the admin address, and printed by `egov-gateway monitoring metrics`. " +
		"Every label's values come from a closed list; none is personal. Families `go_*` and `process_*` are those of the Prometheus client.\n\n" +
		"| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n")
	used := map[string]bool{}
	for _, f := range c.own() {
		labels := make([]string, 0, len(f.labels))
		for _, l := range f.labels {
			labels, used[l] = append(labels, "`"+l+"`"), true
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.name, f.kind, strings.Join(labels, ", "), f.unit(), f.help)
	}
	b.WriteString("\n## Labels\n\n| label | values |\n|---|---|\n")
	for _, l := range labelled() {
		if used[l[0]] {
			fmt.Fprintf(&b, "| `%s` | %s |\n", l[0], l[1])
		}
	}
	b.WriteString("\nAn exemplar of a histogram carries `trace_id` when tracing is on (OpenMetrics).\n")
	_, err := io.WriteString(w, b.String())
	return err
}
