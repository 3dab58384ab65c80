package main

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway/harness/replay"
	"egov-gateway/gateway/httpserver"
)

// ClockConfig shifts the gateway's clock, so that requests of another time can be replayed to it
// whose certificates have expired since. Never in production: a revoked or expired certificate of
// today may be good at that time.
type ClockConfig struct {
	// Replay says that the operator means it; without it no other clock is taken.
	Replay bool `yaml:"replay"`
	// At is the instant at which the gateway starts to live, RFC 3339.
	At string `yaml:"at"`
}

func (c *ClockConfig) instant() (time.Time, error) {
	switch {
	case c == nil || *c == ClockConfig{}:
		return time.Time{}, nil
	case !c.Replay:
		return time.Time{}, errors.New("clock.at shifts the gateway's clock, which only replay mode may: say clock.replay: true too, never in production")
	case c.At == "":
		return time.Time{}, errors.New("clock.replay: true needs clock.at")
	}
	at, err := time.Parse(time.RFC3339, c.At)
	if err != nil {
		return at, errors.New("clock.at: an instant like 2026-11-23T05:00:00Z is expected")
	}
	return at, nil
}

// shifted is the clock that the configuration asks for. It runs at the pace of now, or of the machine's
// own clock when now is nil.
func (c *ClockConfig) shifted(now func() time.Time) (func() time.Time, error) {
	at, err := c.instant()
	if err != nil || at.IsZero() {
		return now, err
	}
	if now == nil {
		now = time.Now
	}
	offset := at.Sub(now())
	return func() time.Time { return now().Add(offset).Round(0) }, nil
}

// loudly says in every answer, the log, /readyz and the metrics that the clock is another.
func (c *ClockConfig) loudly(next http.Handler, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) (http.Handler, []httpserver.Probe) {
	if c == nil || !c.Replay {
		return next, nil
	}
	log.Warn("REPLAY MODE: the clock is shifted, so certificates are judged at another time. Not for production.", "clock", now().UTC().Format(time.RFC3339))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "egov_gateway_replay_clock_offset_seconds", Help: "Replay mode: how far the gateway's clock is ahead of the real one. Absent in production."},
		func() float64 { return time.Until(now()).Seconds() }))
	probe := httpserver.Probe{Name: "clock", Note: func() string { return "REPLAY MODE: the clock says " + now().UTC().Format(time.RFC3339) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(replay.ClockHeader, now().UTC().Format(time.RFC3339Nano))
		next.ServeHTTP(w, r)
	}), []httpserver.Probe{probe}
}
