package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	span "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"egov-gateway/gateway"
)

// A receiver takes spans as a collector does.
type receiver struct {
	mu    sync.Mutex
	spans []*span.Span // guarded by mu
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	raw, err := io.ReadAll(req.Body)
	var in collector.ExportTraceServiceRequest
	if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &in) != nil {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range in.ResourceSpans {
		for _, scope := range s.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
}

// names are those of a trace's spans, and everything that is written in them.
func (r *receiver) names(id string) (names []string, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		text += s.String() + "\n"
		if hex.EncodeToString(s.TraceId) == id {
			names = append(names, s.Name)
		}
	}
	return names, text
}

func newTracedLab(t *testing.T, sample float64) (*lab, *receiver) {
	t.Helper()
	r := &receiver{}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.reconfigure(func(c *Config) { c.Tracing = &Tracing{Endpoint: srv.URL, Sample: sample} }); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	return l, r
}

// A portal's trace goes on through door, journal, every later step and the calls of other systems,
// also after a restart; nothing in it is personal.
func TestATraceFollowsTheRequest(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	l, r := newTracedLab(t, 0.000001)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := l.draft("citizen-01", taraz).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := call(t, http.MethodPost, l.base+"/v1/requests", signed, "Content-Type", "application/xml", "Authorization", "Bearer "+l.token,
		"Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	request := gateway.RequestID(body[bytes.Index(body, []byte(`"id":"`))+6:][:32])
	eventually(t, "delivered", func() bool { p, err := l.progress(request); return err == nil && p.State == gateway.StateDelivered })
	_, _, metrics := get(t, l.admin+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.Contains(string(metrics), `trace_id="`+id+`"`) {
		t.Error("no exemplar names the trace")
	}
	l.svc.Close()
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	l.await(t, request, closed)
	want := []string{"door", "step enrich", "call gbdfl", "call gbdrn", "step dispatch", "call taraz", "step follow", "step notify", "call portal"}
	var names []string
	var text string
	eventually(t, "every span", func() bool {
		names, text = r.names(id)
		return !slices.ContainsFunc(want, func(n string) bool { return !slices.Contains(names, n) })
	})
	for _, e := range l.pki.Entries() {
		if e.IIN != "" && strings.Contains(text, e.IIN) || len(e.Surname) > 6 && strings.Contains(text, e.Surname) {
			t.Errorf("%s stands in a span", e.ID)
		}
	}
}

// A collector that is away holds up nothing, and what is no traceparent is no reason to refuse.
func TestACollectorThatIsAway(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.reconfigure(func(c *Config) { c.Tracing = &Tracing{Endpoint: "http://127.0.0.1:1", Sample: 1} }); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	l.await(t, r.ID, closed)
	l.svc.Close()
	if took := time.Since(start); took > 2*time.Minute {
		t.Errorf("it took %v", took)
	}
}
