package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/httpserver"
)

// pages is the room of citizens' and operators' pages, whose callers are known only once they are
// inside: each answer takes milliseconds.
func pages(name string, places int) admission.DoorConfig {
	return admission.DoorConfig{Name: name, Strangers: admission.Room{Places: places}}
}

const (
	cabinetPlaces = 256
	consolePlaces = 128
	// smallServer bounds the connections of the addresses for health and operators.
	smallServer = 256
)

// small bounds the connections of an address beside the doors'.
func small() httpserver.Connections {
	n := max(8, min(smallServer, httpserver.FileLimit()/8))
	return httpserver.Connections{Total: n, PerAddress: n}
}

// connections bounds those of the doors.
func (c *Config) connections() httpserver.Connections {
	out := httpserver.Connections{Total: c.Limits.Connections, PerAddress: c.Limits.ConnectionsPerAddress}
	for _, p := range c.Portals {
		out.Known = append(out.Known, p.Addresses...)
	}
	for _, r := range c.Regions {
		out.Known = append(out.Known, r.Addresses...)
	}
	if c.SHEP != nil {
		for _, p := range c.SHEP.Participants {
			out.Known = append(out.Known, p.Addresses...)
		}
	}
	slices.SortFunc(out.Known, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// guard puts a room before pages, and the room into the metrics.
func (b *builder) guard(c admission.DoorConfig, pages http.Handler, refused func(http.ResponseWriter, *http.Request, error)) http.Handler {
	door := b.house.NewDoor(c)
	b.m.doors.addDoor(door.Report)
	return door.Guard(pages, refused)
}

// doorsCollector tells how full doors and servers are.
type doorsCollector struct {
	places, placesLimit, bytes, bytesLimit *prometheus.Desc
	open, openLimit, refused, evicted      *prometheus.Desc
	waiting, quarantine, guessers          *prometheus.Desc

	mu          sync.Mutex // guards all below
	doors       []func() admission.Report
	servers     map[string]func() httpserver.ConnectionReport
	turns       func() int
	guessing    func() int
	quarantined func() map[string]int64
}

func newDoorsCollector() *doorsCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("egov_gateway_"+name, help, labels, nil)
	}
	return &doorsCollector{
		places: desc("door_places", "Requests inside a door.", "door", "room"),
		placesLimit: desc("door_places_limit", "Requests for which a door has room; half of it is kept in equal shares for those it knows.",
			"door", "room"),
		bytes:      desc("door_used_bytes", "Memory that bodies inside a door take.", "door", "room"),
		bytesLimit: desc("door_limit_bytes", "Memory for which a door has room; 0 without a bound.", "door", "room"),
		open:       desc("connections", "Open connections.", "server"),
		openLimit:  desc("connections_limit", "Connections that may be open.", "server"),
		refused:    desc("connections_refused_total", "Connections that were closed at once, by the bound that was met; requests: those of HTTP/2 that were reset.", "server", "bound"),
		evicted:    desc("connections_evicted_total", "Idle connections that made way for new ones.", "server"),
		waiting:    desc("turns_waiting", "Computations at the doors that wait for a processor."),
		quarantine: desc("quarantine_used_bytes", "Refused documents of a provider that were kept within a day.", "provider"),
		guessers: desc("guessing_addresses",
			fmt.Sprintf("Addresses from which wrong credentials came lately; at most %d are remembered.", admission.MaxGuessers)),
		servers: map[string]func() httpserver.ConnectionReport{},
	}
}

func (c *doorsCollector) addDoor(report func() admission.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doors = append(c.doors, report)
}

func (c *doorsCollector) addServer(name string, s *httpserver.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[name] = s.Connections
}

func (c *doorsCollector) setTurns(waiting func() int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns = waiting
}

func (c *doorsCollector) setGuessers(n func() int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guessing = n
}

func (c *doorsCollector) setQuarantine(kept func() map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quarantined = kept
}

// connections says whether the server of the doors closes connections; "ok" before it is there.
func (c *doorsCollector) connections(server string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if report := c.servers[server]; report != nil {
		return report().String()
	}
	return "ok"
}

// Describe implements prometheus.Collector.
func (c *doorsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.places, c.placesLimit, c.bytes, c.bytesLimit, c.open, c.openLimit, c.refused, c.evicted,
		c.waiting, c.quarantine, c.guessers} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *doorsCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for _, report := range c.doors {
		r := report()
		for _, room := range []struct {
			name        string
			used, limit admission.Room
		}{{"known", r.Known, r.Config.Known}, {"strangers", r.Strangers, r.Config.Strangers}} {
			if room.limit == (admission.Room{}) {
				continue
			}
			gauge(c.places, int64(room.used.Places), r.Door, room.name)
			gauge(c.placesLimit, int64(room.limit.Places), r.Door, room.name)
			gauge(c.bytes, room.used.Bytes, r.Door, room.name)
			gauge(c.bytesLimit, room.limit.Bytes, r.Door, room.name)
		}
	}
	for name, report := range c.servers {
		r := report()
		gauge(c.open, int64(r.Open), name)
		gauge(c.openLimit, int64(r.Limit), name)
		counter(c.refused, r.RefusedTotal, name, "total")
		counter(c.refused, r.RefusedAddress, name, "address")
		counter(c.refused, r.RefusedHeader, name, "header")
		counter(c.refused, r.RefusedRequests, name, "requests")
		counter(c.evicted, r.Evicted, name)
	}
	if c.turns != nil {
		gauge(c.waiting, int64(c.turns()))
	}
	if c.guessing != nil {
		gauge(c.guessers, int64(c.guessing()))
	}
	if c.quarantined != nil {
		for provider, n := range c.quarantined() {
			gauge(c.quarantine, n, provider)
		}
	}
}

// waited notes how long a computation waited for its turn.
func (m *metrics) waited(d time.Duration) { m.turns.Observe(d.Seconds()) }
