package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A tap stands in front of the simulated world, sees what arrives at the providers and the
// portal, and loses or delays answers after the world has acted.
type tap struct {
	world http.Handler
	lose  atomic.Int64 // so many of the next answers are lost after the effect
	late  atomic.Int64 // nanoseconds between the effect and the answer; 0 at once

	mu       sync.Mutex
	order    int                 // guarded by mu: arrivals so far
	arrived  map[string]*arrival // guarded by mu: by request id
	notified map[string]bool     // guarded by mu: ids whose result the portal was told of
	told     chan struct{}       // one token for each of them
}

// An arrival is a request as the providers' systems saw it.
type arrival struct {
	order    int
	bodies   map[[32]byte]int // deliveries taken, by SHA-256 of their bytes
	original string           // hex SHA-256 of the citizen's signed bytes inside
}

func newTap(world http.Handler) *tap {
	return &tap{world: world, arrived: map[string]*arrival{}, notified: map[string]bool{}, told: make(chan struct{}, 1<<20)}
}

func (t *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/providers/"):
		t.delivery(w, r)
	case r.URL.Path == "/portal/notices":
		t.answer(w, r, func(rec *httptest.ResponseRecorder) {
			if rec.Code/100 == 2 {
				t.notice(r.Header.Get("Idempotency-Key"))
			}
		})
	case strings.HasPrefix(r.URL.Path, "/shep/"):
		t.answer(w, r, func(*httptest.ResponseRecorder) {})
	default:
		t.world.ServeHTTP(w, r)
	}
}

func (t *tap) notice(key string) {
	id, _, _ := strings.Cut(key, "/")
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.notified[id] {
		t.notified[id] = true
		t.told <- struct{}{}
	}
}

func (t *tap) delivery(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	t.answer(w, r, func(rec *httptest.ResponseRecorder) {
		if rec.Code != http.StatusOK && rec.Code != http.StatusCreated && rec.Code != http.StatusConflict {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		a := t.arrived[id]
		if a == nil {
			t.order++
			a = &arrival{order: t.order, bodies: map[[32]byte]int{}, original: originalIn(body)}
			t.arrived[id] = a
		}
		a.bodies[sha256.Sum256(body)]++
	})
}

// originalIn is the SHA-256 of the signed request inside a delivery.
func originalIn(delivery []byte) string {
	_, rest, _ := bytes.Cut(delivery, []byte("<signedRequest>"))
	text, _, ok := bytes.Cut(rest, []byte("</signedRequest>"))
	if !ok {
		return "no signed request"
	}
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return "no base64"
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// answer lets the world act, notes what it did, and then answers, late or not at all. Faults that
// the world plays itself, a cut connection or one that hangs, need the real connection.
func (t *tap) answer(w http.ResponseWriter, r *http.Request, note func(*httptest.ResponseRecorder)) {
	rec := &hijackable{ResponseRecorder: httptest.NewRecorder(), real: w}
	t.world.ServeHTTP(rec, r)
	if rec.taken || !rec.wrote {
		return // the world cut the connection, or the caller left
	}
	note(rec.ResponseRecorder)
	if t.lose.Load() > 0 && t.lose.Add(-1) >= 0 {
		if h, ok := w.(http.Hijacker); ok {
			if c, _, err := h.Hijack(); err == nil {
				reset(c)
				return
			}
		}
	}
	if d := time.Duration(t.late.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return
		}
	}
	if r.Context().Err() != nil {
		return
	}
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes()) //nolint:errcheck // the gateway repeats
}

// A hijackable recorder gives the real connection to whom asks for it.
type hijackable struct {
	*httptest.ResponseRecorder
	real         http.ResponseWriter
	taken, wrote bool
}

func (h *hijackable) WriteHeader(code int) {
	h.wrote = true
	h.ResponseRecorder.WriteHeader(code)
}

func (h *hijackable) Write(b []byte) (int, error) {
	h.wrote = true
	return h.ResponseRecorder.Write(b)
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.taken = true
	return h.real.(http.Hijacker).Hijack()
}
