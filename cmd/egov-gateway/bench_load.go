package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/mint"
	"egov-gateway/gateway/harness/replay"
	"egov-gateway/gateway/journal"
)

// idleStore gives the engine nothing to do: what is measured is the door.
type idleStore struct{ store }

func (idleStore) Claim(context.Context, journal.ClaimOptions) ([]journal.Lease, error) {
	return nil, nil
}

// benchLab is a gateway in a world whose state systems need delay for each answer and whose
// providers answer at once.
func (b *bench) benchLab(delay time.Duration, work bool, change func(*Config)) (l *lab, end func(), err error) {
	dir, err := os.MkdirTemp(b.dir, "lab-")
	if err != nil {
		return nil, nil, err
	}
	if l, err = newLab(dir, corpusClock.Add(time.Minute), testworld.Levels(), slog.New(slog.DiscardHandler), func(c *statesim.Config) {
		c.Factor, c.Desks = 1e9, 128
		c.Client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	}); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	end = func() { cancel(); l.Close(); os.RemoveAll(dir) }
	if delay > 0 {
		for _, system := range []string{"gbdfl", "gbdrn", "socialpayments", "income", "alimony", "employment"} {
			if err := l.world.SetFaults(system, statesim.Fault{Kind: statesim.Latency, DelayMS: int(delay / time.Millisecond)}); err != nil {
				end()
				return nil, nil, err
			}
		}
	}
	if change != nil {
		err = l.reconfigure(change)
	}
	var c *Config
	if err == nil {
		c, err = LoadConfig(l.config)
	}
	if err == nil {
		var wrap func(store) store
		if !work {
			wrap = func(s store) store { return idleStore{s} }
		}
		l.svc, err = start(c, l.clock.Now, l.log, wrap)
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	if work {
		go l.world.Run(ctx) //nolint:errcheck // ends with ctx
	}
	return l, end, nil
}

func (l *lab) replayTarget() *replay.Target {
	return &replay.Target{Name: "gateway", URL: l.base, Token: l.token, CabinetKey: l.portalKey, Portal: "egov.kz", SenderID: "EGOV", Password: l.password,
		Services: map[string]string{"housing-aid": "EGOV-S-HOUSING", "complaint": "EGOV-S-COMPLAINT"}}
}

// load writes a corpus of n good requests of many people; the same for each run of a bench.
func (b *bench) load(n int) (string, error) {
	name := filepath.Join(b.dir, fmt.Sprintf("load-%d", n))
	if _, err := os.Stat(filepath.Join(name, corpus.HeaderFile)); err == nil {
		return name, nil
	}
	gen, err := mint.New(mint.Config{PKI: b.pki, Clock: corpusClock, Seed: 5, Citizens: b.n(2000)})
	if err != nil {
		return "", err
	}
	w, err := corpus.Create(name)
	if err != nil {
		return "", err
	}
	enough := errors.New("enough")
	made := 0
	m := &corpusMaking{w: w, pki: b.pki, shared: map[[32]byte]corpus.Part{}}
	err = gen.Requests(1<<30, runtime.GOMAXPROCS(0), func(r mint.Request) error {
		e := &r.Entry
		if e.Admission.Status != gateway.Verified || e.Awaited || e.After != "" || e.Class != "valid" {
			return nil
		}
		if made++; made > n {
			return enough
		}
		return m.request(r)
	})
	if err != nil && !errors.Is(err, enough) {
		return "", err
	}
	return name, w.Finish(corpus.Header{Clock: corpusClock, Lasts: corpus.Duration(corpusLasts)})
}

func (b *bench) replay(l *lab, name string, c replay.Config) (*replay.Report, error) {
	r, err := corpus.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t := l.replayTarget()
	t.SetClock(l.clock.Now())
	c.Corpus, c.Targets = r, []*replay.Target{t}
	return replay.Run(context.Background(), c)
}

// benchIntake is the whole admission over HTTP: parse, verify, decide, durable, signed receipt.
func benchIntake(b *bench) error {
	n := b.n(6000)
	name, err := b.load(n)
	if err != nil {
		return err
	}
	for _, kind := range []string{"system-gateway", "gost-system-gateway"} {
		receipts := map[string]string{"system-gateway": "RSA receipts", "gost-system-gateway": "GOST receipts"}[kind]
		l, end, err := b.benchLab(0, false, b.signsWith(kind))
		if err != nil {
			return err
		}
		r, err := b.replay(l, name, replay.Config{})
		end()
		if err == nil && r.Mismatches > 0 {
			err = fmt.Errorf("%d mismatches, the first %+v", r.Mismatches, r.Listed[0])
		}
		if err != nil {
			return err
		}
		b.add("admissions, 16 clients, "+receipts, r.Reached, "/s", 0, true)
		b.add("… processor time of one, client and responder included, "+receipts, 1e3*r.ClientCPU*r.Seconds/float64(r.Sent), "ms", 0, false)
		// Half of it, in an open loop, at a fresh gateway.
		if l, end, err = b.benchLab(0, false, b.signsWith(kind)); err != nil {
			return err
		}
		half, err := b.replay(l, name, replay.Config{Rate: r.Reached / 2})
		end()
		if err != nil {
			return err
		}
		b.add("… at half of that, open loop: p50, "+receipts, half.Gateways[0].Accepted.P50, "ms", 0, false)
		b.add("… at half of that, open loop: p99, "+receipts, half.Gateways[0].Accepted.P99, "ms", 0, false)
	}
	return nil
}

// signsWith gives the gateway another key of the test PKI.
func (b *bench) signsWith(id string) func(*Config) {
	return func(c *Config) {
		e := b.pki.Must(id)
		os.WriteFile(c.path(c.Key), slices.Concat(e.KeyPEM, e.CertificatePEM), 0o600) //nolint:errcheck // the gateway would not start
	}
}

// benchOverload offers ten times what the door takes.
func benchOverload(b *bench) error {
	n := b.n(20000)
	name, err := b.load(n)
	if err != nil {
		return err
	}
	l, end, err := b.benchLab(0, false, nil)
	if err != nil {
		return err
	}
	peak, err := b.replay(l, name, replay.Config{Limit: int64(n / 5)})
	end()
	if err != nil {
		return err
	}
	if l, end, err = b.benchLab(0, false, nil); err != nil {
		return err
	}
	defer end()
	r, err := b.replay(l, name, replay.Config{Rate: 10 * peak.Reached, Concurrency: 512})
	if err != nil {
		return err
	}
	g := r.Gateways[0]
	b.add("offered, of the peak", r.Reached/peak.Reached, "×", 0, true)
	b.add("goodput of the peak", 100*float64(g.Accepted.Count)/r.SendSeconds/peak.Reached, "%", 90, true)
	if g.Busy.Count > 0 {
		b.add("sent away: p50", g.BusySelf.P50, "ms", 5, false)
		b.add("sent away: p99", g.BusySelf.P99, "ms", 0, false)
	}
	b.add("sent away", 100*float64(g.Busy.Count)/float64(r.Sent), "%", 0, false)
	return nil
}

// simulated is how long a state system takes.
const simulated = 20 * time.Millisecond

// benchJourneys is the whole way: accepted, records of seven kinds, delivered to the provider, its
// steps and its signed result verified, shown in the cabinet.
func benchJourneys(b *bench) error {
	n := b.n(4000)
	name, err := b.load(n)
	if err != nil {
		return err
	}
	l, end, err := b.benchLab(simulated, true, func(c *Config) { c.Pipeline.Workers = 64 })
	if err != nil {
		return err
	}
	before := heap()
	r, err := b.replay(l, name, replay.Config{Concurrency: 64, Follow: true})
	grown := heap() - before
	if err == nil && r.Mismatches > 0 {
		err = fmt.Errorf("%d mismatches, the first %+v", r.Mismatches, r.Listed[0])
	}
	end()
	if err != nil {
		return err
	}
	rate := float64(r.Gateways[0].Outcomes) / r.Seconds
	b.add("journeys until the cabinet shows the result", rate, "/s", 400, true)
	b.add("… processor time of one, client and simulated world included", 1e3*r.ClientCPU*r.Seconds/float64(r.Sent), "ms", 0, false)
	b.add("heap for each open journey and its world", grown/1024/float64(r.Sent), "KB", 0, false)
	// At half load: what the gateway adds to the simulated latency until the provider has it.
	if l, end, err = b.benchLab(simulated, true, func(c *Config) { c.Pipeline.Workers = 64 }); err != nil {
		return err
	}
	defer end()
	half, err := b.replay(l, name, replay.Config{Rate: rate / 2, Limit: int64(n / 2), Follow: true})
	if err != nil {
		return err
	}
	added, err := l.overheads()
	if err != nil {
		return err
	}
	if len(added) == 0 {
		return errors.New("no journey was measured")
	}
	b.add("at half load, added to 20 ms of state systems until delivered: p50", added[len(added)/2], "ms", 3, false)
	b.add("at half load, added to 20 ms of state systems until delivered: p99", added[len(added)*99/100], "ms", 25, false)
	b.add("at half load, the door's answer: p99", half.Gateways[0].Accepted.P99, "ms", 0, false)
	return nil
}

// overheads are the milliseconds between acceptance and delivery of every journey in the journal,
// less the simulated latency, in order.
func (l *lab) overheads() ([]float64, error) {
	var added []float64
	ctx := context.Background()
	for _, shard := range []string{"north-kazakhstan", "zhambyl"} {
		for cursor := ""; ; {
			items, next, err := l.svc.store.List(ctx, journal.Query{Shard: shard, Cursor: cursor, Limit: 500})
			if err != nil {
				return nil, err
			}
			for _, it := range items {
				if it.Service == "complaint" {
					continue // it asks for no records
				}
				full, err := l.svc.store.Get(ctx, it.ID)
				if err != nil {
					return nil, err
				}
				var accepted, delivered time.Time
				for _, e := range full.Events {
					switch e.Kind {
					case gateway.EventAccepted:
						accepted = e.At
					case gateway.EventDelivered:
						delivered = e.At
					}
				}
				if !accepted.IsZero() && !delivered.IsZero() {
					added = append(added, float64((delivered.Sub(accepted)-simulated).Microseconds())/1000)
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
	}
	slices.Sort(added)
	return added, nil
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// benchStart measures start to ready, empty and with work left over.
func benchStart(b *bench) error {
	l, end, err := b.benchLab(0, false, nil)
	if err != nil {
		return err
	}
	defer end()
	again := func() (time.Duration, error) {
		if err := l.svc.Close(); err != nil {
			return 0, err
		}
		c, err := LoadConfig(l.config)
		if err != nil {
			return 0, err
		}
		begin := time.Now()
		if l.svc, err = start(c, l.clock.Now, l.log, func(s store) store { return idleStore{s} }); err != nil {
			return 0, err
		}
		for time.Since(begin) < 30*time.Second {
			resp, err := http.Get(l.admin + "/readyz")
			if err == nil {
				io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the status counts
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return time.Since(begin), nil
				}
			}
			time.Sleep(time.Millisecond)
		}
		return 0, errors.New("not ready within 30 s")
	}
	took, err := again()
	if err != nil {
		return err
	}
	b.add("start to ready, empty journal", took.Seconds(), "s", 1, false)
	n := b.n(6000)
	name, err := b.load(n)
	if err != nil {
		return err
	}
	if _, err := b.replay(l, name, replay.Config{}); err != nil {
		return err
	}
	if took, err = again(); err != nil {
		return err
	}
	b.add(fmt.Sprintf("recovery: start to ready with %d requests at work", n), took.Seconds(), "s", 1, false)
	return nil
}
