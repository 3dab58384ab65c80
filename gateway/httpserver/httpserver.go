// Package httpserver is the outside of every HTTP door: timeouts, request ids, access log,
// panics, health, metrics and draining.
package httpserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Timeouts of a connection. A client that dribbles its request is cut off by ReadTimeout.
const (
	ReadHeaderTimeout = 5 * time.Second
	ReadTimeout       = 30 * time.Second
	WriteTimeout      = 60 * time.Second
	IdleTimeout       = 2 * time.Minute
	MaxHeaderBytes    = 32 << 10
	// DrainTimeout is how long Close waits for the requests at hand.
	DrainTimeout = 10 * time.Second
)

// Config of a Server.
type Config struct {
	Address string // host:port; required
	Handler http.Handler
	TLS     *tls.Config  // nil serves plain HTTP
	Log     *slog.Logger // nil discards
	Metrics prometheus.Registerer
	// Trusted are the networks of balancers whose word about a client's address counts (Forwarded,
	// X-Forwarded-For). None means that every caller is the client.
	Trusted []netip.Prefix
	// ProxyProtocol says that the balancers in Trusted pass connections on as they are, each with a header
	// of the PROXY protocol before anything else (haproxy.org, version 1 or 2): one of theirs without is
	// closed, and nobody else's header counts. What Forwarded and X-Forwarded-For say is then the client's
	// own word, and is not looked at.
	ProxyProtocol bool
	// Connections bounds those at once, and the requests at hand.
	Connections Connections
	// Draining, if set, is called when Close begins: what streams without an end should end.
	Draining func()
	// Now judges when a client's certificate ends, and its connection with it; nil means time.Now.
	Now func() time.Time
}

// A Server serves until Close.
type Server struct {
	srv     *http.Server
	ln      *boundedListener
	done    chan error
	clients *connections
	atHand  *requests
}

// Start binds and serves. The error names the address, "already in use" say.
func Start(c Config) (*Server, error) {
	if c.ProxyProtocol && len(c.Trusted) == 0 {
		return nil, errors.New("httpserver: ProxyProtocol needs Trusted")
	}
	ln, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Address, err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var balancers []netip.Prefix
	if c.ProxyProtocol {
		balancers, c.Trusted = c.Trusted, nil
	}
	bounded := bound(ln, c.Connections, balancers, c.Log)
	atHand := newRequests(c.Connections)
	s := &Server{ln: bounded, atHand: atHand, done: make(chan error, 1), srv: &http.Server{
		Handler: addressed(atHand.guard(observe(secure(c.Handler, c.TLS != nil), c.Log, c.Metrics)), c.Trusted), TLSConfig: c.TLS,
		ReadHeaderTimeout: ReadHeaderTimeout, ReadTimeout: ReadTimeout, WriteTimeout: WriteTimeout, IdleTimeout: IdleTimeout, MaxHeaderBytes: MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: MaxStreams, MaxReceiveBufferPerConnection: connectionBuffer,
			MaxReceiveBufferPerStream: streamBuffer},
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}}
	if c.Now == nil {
		c.Now = time.Now
	}
	s.clients = &connections{now: c.Now, all: map[net.Conn]*shown{}}
	s.srv.ConnState = func(conn net.Conn, state http.ConnState) {
		bounded.noteState(conn, state)
		s.clients.note(conn, state)
	}
	if c.Draining != nil {
		s.srv.RegisterOnShutdown(c.Draining)
	}
	go func() {
		if c.TLS != nil {
			s.done <- s.srv.ServeTLS(bounded, "", "")
		} else {
			s.done <- s.srv.Serve(bounded)
		}
	}()
	return s, nil
}

// Addr is the address in use.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Connections tells how many there are, and what was refused.
func (s *Server) Connections() ConnectionReport {
	r := s.ln.state()
	r.RefusedRequests = s.atHand.refusals()
	return r
}

// Done delivers the error that ended serving.
func (s *Server) Done() <-chan error { return s.done }

// Close stops accepting and waits for the requests at hand, at most DrainTimeout.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
	defer cancel()
	if err := s.srv.Shutdown(ctx); err != nil {
		return errors.Join(err, s.srv.Close())
	}
	return nil
}

// transportLife is how long a browser that came by https comes by https alone, in seconds: two years.
const transportLife = "max-age=63072000"

// secure binds whoever reads any answer: no kind is guessed, no other site loads it, and a browser stays
// with https. What a page needs beside that is the page's own.
func secure(next http.Handler, https bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if https {
			h.Set("Strict-Transport-Security", transportLife)
		}
		next.ServeHTTP(w, r)
	})
}

// recorder notes the status and size of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	size   int64
}

func (r *recorder) WriteHeader(s int) {
	if r.status == 0 {
		r.status = s
	}
	r.ResponseWriter.WriteHeader(s)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.size += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the real writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// observe logs the route's pattern, never the path or query as sent: they may hold anything.
func observe(next http.Handler, log *slog.Logger, reg prometheus.Registerer) http.Handler {
	requests := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "egov_gateway_http_request_duration_seconds", Help: "Time to answer an HTTP request, by route pattern and status code.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "code"})
	if reg != nil {
		reg.MustRegister(requests)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := requestID()
		w.Header().Set("X-Request-Id", id)
		rec := &recorder{ResponseWriter: w}
		defer func() {
			p := recover()
			begun := rec.status != 0
			if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the documented sentinel
				log.Error("panic in a handler", "http_request", id, "route", r.Pattern, "stack", string(debug.Stack()))
				if !begun {
					rec.Header().Set("Retry-After", "5")
					http.Error(rec, `{"reason":"internal"}`, http.StatusServiceUnavailable)
				}
			}
			if p == nil && !begun {
				rec.status = http.StatusOK // what net/http answers for a handler that says nothing
			}
			took := time.Since(start)
			route := r.Pattern
			if route == "" {
				route = "none"
			}
			requests.WithLabelValues(route, strconv.Itoa(rec.status)).Observe(took.Seconds())
			line := []any{"http_request", id, "method", methodOf(r), "route", route, "status", rec.status, "bytes", rec.size, "seconds", took.Seconds()}
			switch rec.status {
			case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests: // who tries has a face
				line = append(line, "remote", r.RemoteAddr)
			}
			log.Info("http", line...)
			if p != nil && (begun || p == http.ErrAbortHandler) { //nolint:errorlint // the documented sentinel
				panic(http.ErrAbortHandler) // breaks the connection, so that half an answer is not taken for all of it
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// methodOf is the method of a request if it is one of HTTP (RFC 9110 §9, RFC 5789). Any other is "other": what
// a stranger calls it may be anything.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return r.Method
	}
	return "other"
}

func requestID() string {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}
