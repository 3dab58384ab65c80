package httpserver

import (
	"net/http"
	"net/netip"
	"sync"

	"egov-gateway/gateway/admission"
)

// requests bounds those at hand by the numbers that bound connections. Over HTTP/1.1 a connection has one at
// a time; over HTTP/2 it has up to MaxStreams, and each keeps its header fields and a goroutine until the
// client took the answer, which one that gives no window never does.
type requests struct {
	c Connections

	mu        sync.Mutex // guards all below
	open      int
	strangers int // of open, those of others than the known
	addresses map[netip.Prefix]int
	refused   int64
}

func newRequests(c Connections) *requests {
	return &requests{c: c.withDefaults(), addresses: map[netip.Prefix]int{}}
}

// enter takes a place for a request from address; leave gives it back. Ok is false for one that is too many.
func (q *requests) enter(address string) (leave func(), ok bool) {
	ip, _ := hostOf(address)
	prefix, known := admission.PrefixOf(ip), within(ip, q.c.Known)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open >= q.c.Total || !known && (q.strangers >= q.c.strangers() || q.addresses[prefix] >= q.c.PerAddress) {
		q.refused++
		return nil, false
	}
	q.open++
	if !known {
		q.strangers++
		q.addresses[prefix]++
	}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.open--
		if known {
			return
		}
		q.strangers--
		if q.addresses[prefix]--; q.addresses[prefix] == 0 {
			delete(q.addresses, prefix)
		}
	}, true
}

// guard ends requests that are too many. Over HTTP/2 the stream is reset, for an answer might wait for the
// client as the others do.
func (q *requests) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, ok := q.enter(r.RemoteAddr)
		switch {
		case !ok && r.ProtoMajor >= 2:
			panic(http.ErrAbortHandler)
		case !ok:
			w.Header().Set("Connection", "close")
			w.Header().Set("Retry-After", "5")
			http.Error(w, `{"reason":"door.overload"}`, http.StatusServiceUnavailable)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
		if r.ProtoMajor >= 2 {
			// What is left of the answer would be written after the place is given back.
			http.NewResponseController(w).Flush() //nolint:errcheck // the client may be gone
		}
	})
}

func (q *requests) refusals() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused
}
