package httpserver

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Probe does one part of the job in the small and says whether that works now.
type Probe struct {
	Name  string
	Shard string                      // "" for what every shard needs
	Check func(context.Context) error // nil always works
	// Note, if set, is what stands in the place of "ok".
	Note func() string
}

// ProbeTimeout bounds all probes of one readiness check.
const ProbeTimeout = 3 * time.Second

// A Finding is what one probe found.
type Finding struct {
	Probe, Shard string
	Note         string // instead of "ok"
	Err          error
}

// Readiness makes the probes. It is safe for concurrent use.
type Readiness struct {
	probes []Probe
	log    *slog.Logger

	checking sync.Mutex // held during a check
	began    time.Time  // guarded by checking: the last one

	mu   sync.Mutex
	last []Finding // guarded by mu
}

// NewReadiness takes the probes; log may be nil.
func NewReadiness(probes []Probe, log *slog.Logger) *Readiness {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Readiness{probes: probes, log: log}
}

// Check makes all probes side by side, at most [ProbeTimeout] long, so that one that hangs hides
// no other. Those who wait for a check under way share the next one.
func (r *Readiness) Check(ctx context.Context) []Finding {
	came := time.Now()
	r.checking.Lock()
	defer r.checking.Unlock()
	if r.began.After(came) {
		return r.Last()
	}
	r.began = time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ProbeTimeout)
	defer cancel()
	type numbered struct {
		n   int
		err error
	}
	answers := make(chan numbered, len(r.probes))
	found := make([]Finding, len(r.probes))
	for i, p := range r.probes {
		found[i] = Finding{Probe: p.Name, Shard: p.Shard, Note: "ok", Err: context.DeadlineExceeded}
		if p.Note != nil {
			found[i].Note = p.Note()
		}
		if p.Check == nil {
			answers <- numbered{i, nil}
			continue
		}
		go func() { answers <- numbered{i, p.Check(ctx)} }()
	}
wait:
	for range r.probes {
		select {
		case a := <-answers:
			found[a.n].Err = a.err
		case <-ctx.Done():
			break wait
		}
	}
	was := r.Last()
	for i, f := range found {
		if f.Err != nil && (len(was) == 0 || was[i].Err == nil || was[i].Err.Error() != f.Err.Error()) {
			r.log.Warn("not ready", "probe", f.Probe, "shard", f.Shard, "error", f.Err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = found
	return found
}

// Last is what the last check found; nothing before the first.
func (r *Readiness) Last() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Register answers /healthz (alive), /readyz (every shard can do its job now, with the name of
// what it cannot) and /readyz/{shard} (that one can). The answer holds names and short words, no
// personal data.
func (r *Readiness) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"status":"alive"}` + "\n")) //nolint:errcheck // the client may be gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) { r.answer(w, req, "") })
	mux.HandleFunc("GET /readyz/{shard}", func(w http.ResponseWriter, req *http.Request) {
		shard := req.PathValue("shard")
		if !slices.ContainsFunc(r.probes, func(p Probe) bool { return p.Shard == shard }) {
			http.Error(w, `{"status":"unknown shard"}`, http.StatusNotFound)
			return
		}
		r.answer(w, req, shard)
	})
}

// answer tells of one shard and what it shares with the others, or of all.
func (r *Readiness) answer(w http.ResponseWriter, req *http.Request, shard string) {
	ready, common, shards := true, map[string]string{}, map[string]map[string]string{}
	for _, f := range r.Check(req.Context()) {
		if shard != "" && f.Shard != "" && f.Shard != shard {
			continue
		}
		word := f.Note
		if f.Err != nil {
			ready, word = false, f.Err.Error()
		}
		if f.Shard == "" {
			common[f.Probe] = word
			continue
		}
		if shards[f.Shard] == nil {
			shards[f.Shard] = map[string]string{}
		}
		shards[f.Shard][f.Probe] = word
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	status := "ready"
	if !ready {
		status = "not ready"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(map[string]any{"status": status, "probes": common, "shards": shards}) //nolint:errcheck // the client may be gone
}
