// Package loadsim is the world outside the gateway for measurements. TEST ONLY.
//
// It answers as package statesim would, but from patterns that it took from there, so that it
// costs a small part of what the gateway costs on the same machine: state systems know everybody
// and answer after a fixed delay, providers take every delivery, report their steps at once and
// assign the aid, signed with GOST keys. It checks nothing; that the gateway asks and delivers
// rightly is for statesim to say.
package loadsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"egov-gateway/adapters/statesim"
)

// A Provider reports with its own token and keys; both keys are GOST R 34.10-2012 of 512 bits.
type Provider struct {
	ID, Name, BIN, Token string
	Head, Executor       statesim.Identity
}

// Config of a World. Fields without a default are required.
type Config struct {
	// Outside answers OCSP requests and publishes CRLs, and gives the patterns of records.
	Outside    *statesim.World
	GatewayURL string // no path, no slash at the end
	Providers  []Provider
	// Delay is how long a state system takes, 0 for none.
	Delay time.Duration
	// Desks is how many requests providers report about at once. 0 means 16.
	Desks int
	Now   func() time.Time // nil means time.Now
}

// A World is the outside under load. It is safe for concurrent use.
type World struct {
	c         Config
	providers map[string]*provider
	systems   map[string]*patterns
	client    *http.Client
	work      chan delivery
	taken     sync.Map // request id → nothing
	// Reported counts results that the gateway took, Refused reports that it refused.
	Reported, Refused atomic.Int64
}

// New takes the patterns.
func New(c Config) (*World, error) {
	if c.Outside == nil || c.GatewayURL == "" || len(c.Providers) == 0 {
		return nil, errors.New("loadsim: Config needs Outside, GatewayURL and Providers")
	}
	if c.Desks == 0 {
		c.Desks = 16
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	w := &World{c: c, providers: map[string]*provider{}, systems: map[string]*patterns{}, work: make(chan delivery, 1<<16),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: c.Desks, DisableCompression: true}}}
	for _, p := range c.Providers {
		made, err := newProvider(p)
		if err != nil {
			return nil, fmt.Errorf("loadsim: provider %s: %w", p.ID, err)
		}
		w.providers[p.ID] = made
	}
	for _, name := range statesim.Systems() {
		p, err := takePatterns(c.Outside, name)
		if err != nil {
			return nil, fmt.Errorf("loadsim: %s: %w", name, err)
		}
		w.systems[name] = p
	}
	return w, nil
}

// Handler returns the doors of statesim's that a gateway calls.
func (w *World) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /shep/{system}", w.serveSHEP)
	mux.HandleFunc("PUT /providers/{provider}/requests/{request}", w.serveDelivery)
	mux.HandleFunc("POST /portal/notices", func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the gateway tells again
		rw.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("/", w.c.Outside.Handler())
	return mux
}

// Run reports what was delivered until ctx ends.
func (w *World) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range w.c.Desks {
		wg.Go(func() {
			for {
				select {
				case d := <-w.work:
					w.report(ctx, d)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (w *World) serveSHEP(rw http.ResponseWriter, r *http.Request) {
	p := w.systems[r.PathValue("system")]
	in := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(in)
	in.Reset()
	if _, err := in.ReadFrom(r.Body); err != nil || p == nil {
		rw.WriteHeader(http.StatusNotFound)
		return
	}
	answer := p.answer(in.Bytes())
	if answer == nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	if w.c.Delay > 0 {
		time.Sleep(w.c.Delay)
	}
	rw.Header()["Content-Type"] = []string{"text/xml; charset=utf-8"}
	rw.Write(answer) //nolint:errcheck // the gateway asks again
}

// A delivery is what a provider has to report about.
type delivery struct {
	provider *provider
	id       string
	steps    []string
}

func (w *World) serveDelivery(rw http.ResponseWriter, r *http.Request) {
	p, id := w.providers[r.PathValue("provider")], r.PathValue("request")
	in := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(in)
	in.Reset()
	if _, err := in.ReadFrom(r.Body); err != nil || p == nil {
		rw.WriteHeader(http.StatusNotFound)
		return
	}
	if _, again := w.taken.LoadOrStore(id, nil); again {
		rw.WriteHeader(http.StatusOK)
		return
	}
	d := delivery{provider: p, id: id}
	_, steps, _ := bytes.Cut(in.Bytes(), []byte("<steps>"))
	steps, _, _ = bytes.Cut(steps, []byte("</steps>"))
	for {
		code, rest, ok := element(steps, "code")
		if !ok {
			break
		}
		d.steps, steps = append(d.steps, string(code)), rest
	}
	rw.WriteHeader(http.StatusCreated)
	w.work <- d
}

// report sends every step and the result, in order.
func (w *World) report(ctx context.Context, d delivery) {
	now := w.c.Now().UTC().Format(time.RFC3339)
	for _, code := range d.steps {
		if !w.send(ctx, d.provider, "steps", d.provider.step(d.id, code, now)) {
			return
		}
	}
	if w.send(ctx, d.provider, "results", d.provider.result(d.id, now)) {
		w.Reported.Add(1)
	}
}

// send posts a report until the gateway takes it or refuses it for good.
func (w *World) send(ctx context.Context, p *provider, door string, doc []byte) bool {
	for pause := 10 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.c.GatewayURL+"/v1/providers/"+p.ID+"/"+door, bytes.NewReader(doc))
		if err != nil {
			return false
		}
		req.Header["Content-Type"], req.Header["Authorization"] = []string{"application/xml"}, []string{"Bearer " + p.Token}
		resp, err := w.client.Do(req)
		if err == nil {
			io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) //nolint:errcheck // only the status counts
			resp.Body.Close()
			switch status := resp.StatusCode; {
			case status/100 == 2:
				return true
			case status != http.StatusRequestTimeout && status != http.StatusTooManyRequests && status < 500:
				w.Refused.Add(1)
				return false
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return false
}
