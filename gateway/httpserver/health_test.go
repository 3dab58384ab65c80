package httpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway/httpserver"
)

func TestReadiness(t *testing.T) {
	well := func(context.Context) error { return nil }
	ill := func(context.Context) error { return errors.New("cannot") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return errors.New("it took too long") }
	deaf := func(context.Context) error { time.Sleep(time.Hour); return nil }
	type words map[string]string
	type answer struct {
		Status string           `json:"status"`
		Probes words            `json:"probes"`
		Shards map[string]words `json:"shards"`
	}
	probe := func(name, shard string, check func(context.Context) error) httpserver.Probe {
		return httpserver.Probe{Name: name, Shard: shard, Check: check}
	}
	north, zhambyl := probe("journal", "north", well), probe("journal", "zhambyl", well)
	tests := []struct {
		name   string
		probes []httpserver.Probe
		path   string
		code   int
		want   answer
		took   time.Duration
	}{
		{"nothing to look at", nil, "/readyz", 200, answer{"ready", words{}, map[string]words{}}, 0},
		{"all is well", []httpserver.Probe{probe("trust", "", well), north, zhambyl}, "/readyz", 200, answer{"ready", words{"trust": "ok"}, map[string]words{"north": {"journal": "ok"}, "zhambyl": {"journal": "ok"}}}, 0},
		{"what all need fails", []httpserver.Probe{probe("trust", "", ill), north}, "/readyz", 503, answer{"not ready", words{"trust": "cannot"}, map[string]words{"north": {"journal": "ok"}}}, 0},
		{"what all need fails for a shard too", []httpserver.Probe{probe("trust", "", ill), north, zhambyl}, "/readyz/north", 503, answer{"not ready", words{"trust": "cannot"}, map[string]words{"north": {"journal": "ok"}}}, 0},
		{"a shard fails, and is named", []httpserver.Probe{north, probe("journal", "zhambyl", ill)}, "/readyz", 503, answer{"not ready", words{}, map[string]words{"north": {"journal": "ok"}, "zhambyl": {"journal": "cannot"}}}, 0},
		{"a shard fails, and says so", []httpserver.Probe{north, probe("journal", "zhambyl", ill)}, "/readyz/zhambyl", 503, answer{"not ready", words{}, map[string]words{"zhambyl": {"journal": "cannot"}}}, 0},
		{"a shard fails, and another is ready", []httpserver.Probe{north, probe("journal", "zhambyl", ill)}, "/readyz/north", 200, answer{"ready", words{}, map[string]words{"north": {"journal": "ok"}}}, 0},
		{"a probe that has only a note", []httpserver.Probe{{Name: "clock", Note: func() string { return "another one" }}}, "/readyz", 200, answer{"ready", words{"clock": "another one"}, map[string]words{}}, 0},
		{"one that hangs hides no other", []httpserver.Probe{probe("slow", "", deaf), probe("trust", "", ill), north}, "/readyz", 503,
			answer{"not ready", words{"slow": "context deadline exceeded", "trust": "cannot"}, map[string]words{"north": {"journal": "ok"}}}, httpserver.ProbeTimeout},
		{"a probe may last, within bounds", []httpserver.Probe{probe("slow", "", func(context.Context) error { time.Sleep(httpserver.ProbeTimeout - time.Second); return nil })}, "/readyz", 200,
			answer{"ready", words{"slow": "ok"}, map[string]words{}}, httpserver.ProbeTimeout - time.Second},
		{"alive, whatever hangs", []httpserver.Probe{probe("slow", "", hangs)}, "/healthz", 200, answer{Status: "alive"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				httpserver.NewReadiness(tt.probes, nil).Register(mux)
				began := time.Now()
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
				time.Sleep(2 * time.Hour) // until the last of them has ended
				var got answer
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatalf("%s: %v", w.Body, err)
				}
				if w.Code != tt.code || got.Status != tt.want.Status || !maps.Equal(got.Probes, tt.want.Probes) || !maps.EqualFunc(got.Shards, tt.want.Shards, func(a, b words) bool { return maps.Equal(a, b) }) {
					t.Errorf("%d %+v, want %d %+v", w.Code, got, tt.code, tt.want)
				}
			})
		})
	}
	t.Run("a shard that nobody has", func(t *testing.T) {
		mux := http.NewServeMux()
		httpserver.NewReadiness([]httpserver.Probe{north}, nil).Register(mux)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz/nowhere", nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%d", w.Code)
		}
	})
}

// However many ask at once, the probes are made for the first and once more for all the others.
func TestThoseWhoWaitShareAProbe(t *testing.T) {
	var made atomic.Int32
	began, release := make(chan struct{}, 8), make(chan struct{})
	r := httpserver.NewReadiness([]httpserver.Probe{{Name: "slow", Check: func(context.Context) error {
		made.Add(1)
		began <- struct{}{}
		<-release
		return nil
	}}}, nil)
	if len(r.Last()) != 0 {
		t.Error("something was found before anybody looked")
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.Check(t.Context()) })
	<-began
	var waiting atomic.Int32
	for range 5 {
		wg.Go(func() {
			waiting.Add(1)
			if f := r.Check(t.Context()); len(f) != 1 || f[0].Err != nil {
				t.Errorf("found %+v", f)
			}
		})
	}
	eventually(t, "nobody waits", func() bool { return waiting.Load() == 5 })
	time.Sleep(100 * time.Millisecond) // from there to the lock
	close(release)
	wg.Wait()
	if n := made.Load(); n != 2 {
		t.Errorf("the probes were made %d times", n)
	}
}

// The same trouble is logged once, not at every look.
func TestTroubleIsLoggedWhenItIsNew(t *testing.T) {
	log := &logbook{}
	var now atomic.Value
	now.Store("the disk is full")
	r := httpserver.NewReadiness([]httpserver.Probe{{Name: "journal", Shard: "north", Check: func(context.Context) error {
		if s := now.Load().(string); s != "" {
			return errors.New(s)
		}
		return nil
	}}}, slog.New(slog.NewJSONHandler(log, nil)))
	for _, step := range []struct {
		trouble string
		lines   int
	}{{"the disk is full", 1}, {"the disk is full", 1}, {"the disk is gone", 2}, {"", 2}, {"the disk is full", 3}} {
		now.Store(step.trouble)
		r.Check(t.Context())
		if lines := log.lines(t, "not ready"); len(lines) != step.lines {
			t.Fatalf("%q: %d lines in the log, want %d", step.trouble, len(lines), step.lines)
		}
	}
}
