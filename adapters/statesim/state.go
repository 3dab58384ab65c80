package statesim

import (
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"
)

// A State is what has happened in the world so far.
type State struct {
	Now     time.Time  `json:"now"`
	NextDue *time.Time `json:"next_due,omitempty"`
	// Doors counts calls of every door: state systems, "ocsp", "crl", providers, "portal".
	Doors map[string]int `json:"doors"`
	// Kinds counts records asked for, of all state systems together.
	Kinds map[string]int `json:"kinds"`
	// Records counts them for each request (correlationId) and kind.
	Records map[string]map[string]int `json:"records"`
	// Requests are the deliveries, by request id.
	Requests map[string]RequestState `json:"requests"`
	// Notices counts the portal's notices by Idempotency-Key.
	Notices map[string]int `json:"notices"`
}

// A Notice is what the portal was told under one Idempotency-Key.
type Notice struct {
	Count       int
	ContentType string
	Body        []byte // of the last one
}

// State returns a copy of what has happened.
func (w *World) State() State {
	s := State{Now: w.c.Now(), Kinds: make(map[string]int), Records: make(map[string]map[string]int), Requests: make(map[string]RequestState), Notices: make(map[string]int)}
	if due, ok := w.NextDue(); ok {
		s.NextDue = &due
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Doors = maps.Clone(w.seen)
	for _, c := range w.calls {
		s.Kinds[c.Kind]++
		if s.Records[c.Correlation] == nil {
			s.Records[c.Correlation] = make(map[string]int)
		}
		s.Records[c.Correlation][c.Kind]++
	}
	for _, p := range w.providers {
		for id, j := range p.taken {
			r := j.state
			r.Steps, r.GivenUp = slices.Clone(r.Steps), slices.Clone(r.GivenUp)
			s.Requests[id] = r
		}
	}
	for key, n := range w.notices {
		s.Notices[key] = n.Count
	}
	return s
}

// Calls returns every question that state systems were asked, in order.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// Notices returns what the portal was told, by Idempotency-Key.
func (w *World) Notices() map[string]Notice {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string]Notice, len(w.notices))
	for key, n := range w.notices {
		out[key] = *n
	}
	return out
}

func (w *World) serveNotice(rw http.ResponseWriter, r *http.Request) {
	if _, ok := w.door(rw, r, TargetPortal, anyFaults, TargetPortal); !ok {
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		refuse(rw, http.StatusBadRequest, "no Idempotency-Key")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<20))
	if err != nil {
		return
	}
	w.mu.Lock()
	n := w.notices[key]
	if n == nil {
		n = &Notice{}
		w.notices[key] = n
	}
	n.Count++
	n.Body, n.ContentType = body, r.Header.Get("Content-Type")
	w.mu.Unlock()
	rw.WriteHeader(http.StatusNoContent)
}

func (w *World) serveState(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, http.StatusOK, w.State())
}

// serveRevocations takes {"set": [revocation, …], "publish": bool}.
func (w *World) serveRevocations(rw http.ResponseWriter, r *http.Request) {
	var order struct {
		Set     []Revocation `json:"set"`
		Publish bool         `json:"publish"`
	}
	if !readJSON(rw, r, &order) {
		return
	}
	if err := w.Revoke(order.Set...); err != nil {
		refuse(rw, http.StatusBadRequest, err.Error())
		return
	}
	if order.Publish {
		if err := w.PublishCRLs(); err != nil {
			refuse(rw, http.StatusInternalServerError, err.Error())
			return
		}
	}
	rw.WriteHeader(http.StatusNoContent)
}

// loopbackOnly keeps the controls from anyone on the network, and from a browser that was led to
// this port under another name.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		host, _, hostErr := net.SplitHostPort(r.Host)
		if hostErr != nil {
			host = r.Host
		}
		if err != nil || !loopback(from) || !loopback(host) {
			refuse(rw, http.StatusForbidden, "controls answer on loopback only")
			return
		}
		next.ServeHTTP(rw, r)
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
