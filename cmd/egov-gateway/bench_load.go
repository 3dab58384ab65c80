package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/mint"
	"egov-gateway/gateway/harness/replay"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// idleStore gives the engine nothing to do: what is measured is the door.
type idleStore struct{ store }

func (idleStore) Claim(context.Context, journal.ClaimOptions) ([]journal.Lease, error) {
	return nil, nil
}

// What a load consists of.
type mixture string

const (
	housingAid mixture = "aid"   // good requests of every size by many people
	smallOnes  mixture = "small" // the same without the tenth of them that are of 100 KB and more
	everyKind  mixture = "every" // entries of every kind, as corpus generate makes them
)

// load writes a corpus of n entries; the same for each run of a bench.
func (b *bench) load(n int, of mixture) (string, error) {
	name := filepath.Join(b.dir, fmt.Sprintf("load-%d-%s", n, of))
	if _, err := os.Stat(filepath.Join(name, corpus.HeaderFile)); err == nil {
		return name, nil
	}
	gen, err := mint.New(mint.Config{PKI: b.pki, Clock: corpusClock, Seed: 5, Citizens: max(b.n(2000), n/20)})
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
	most := 1 << 30
	if of == everyKind {
		most = n
	}
	err = gen.Requests(most, runtime.GOMAXPROCS(0), func(r mint.Request) error {
		e := &r.Entry
		// Those of one person wait for each other, so only the crowd's are taken; the simulated
		// providers of a rig assign to everybody.
		if of != everyKind && (e.Admission.Status != gateway.Verified || e.Awaited || e.After != "" || e.Comment != "housing aid" || e.Outcome != gateway.ResultAssignment || of == smallOnes && len(r.Document) > 32<<10) {
			return nil
		}
		if made++; made > n && of != everyKind {
			return enough
		}
		return m.request(r)
	})
	if err != nil && !errors.Is(err, enough) {
		return "", err
	}
	return name, w.Finish(corpus.Header{Clock: corpusClock, Lasts: corpus.Duration(corpusLasts)})
}

// A loaded run is a replay to a rig, with what it cost each process.
type loaded struct {
	*replay.Report
	gateway, world time.Duration // processor time
}

// each is a processor time in milliseconds for each entry.
func (l *loaded) each(d time.Duration) float64 { return 1e3 * d.Seconds() / float64(l.Sent) }

// add records what one entry cost every process.
func (l *loaded) add(b *bench, of string) {
	b.add("… processor time of the gateway for one"+of, l.each(l.gateway), "ms", 0, false)
	b.add("… of all the processor time used, the client's part"+of, 100*l.ClientCPU*l.Seconds/(l.ClientCPU*l.Seconds+(l.gateway+l.world).Seconds()), "%", 30, false)
}

// replay sends a corpus to the rig's gateway.
func (r *rig) replay(name string, c replay.Config) (*loaded, error) {
	reader, err := corpus.Open(name)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	c.Corpus, c.Targets = reader, []*replay.Target{r.target()}
	g, w := r.gateway.spent(), r.world.spent()
	report, err := replay.Run(context.Background(), c)
	if err != nil {
		return nil, err
	}
	return &loaded{report, r.gateway.spent().cpu - g.cpu, r.world.spent().cpu - w.cpu}, nil
}

// asExpected refuses to measure what went wrong.
func asExpected(l *loaded, err error) error {
	if err == nil && l.Mismatches > 0 {
		err = fmt.Errorf("%d mismatches, the first %+v", l.Mismatches, l.Listed[0])
	}
	return err
}

// run starts a rig with a gateway, changed, and lets f measure it.
func (b *bench) run(delay time.Duration, idle bool, change func(*Config), f func(*rig) error) error {
	r, err := b.newRig(delay, change)
	if err != nil {
		return err
	}
	defer r.close()
	if _, err := r.start(idle); err != nil {
		return err
	}
	return f(r)
}

// signsWith gives the gateway another key of the test PKI.
func (b *bench) signsWith(id string) func(*Config) {
	return func(c *Config) {
		e := b.pki.Must(id)
		os.WriteFile(c.path(c.Key), slices.Concat(e.KeyPEM, e.CertificatePEM), 0o600) //nolint:errcheck // the gateway would not start
	}
}

// benchIntake is the whole admission over HTTP: parse, verify, decide, durable, signed receipt.
func benchIntake(b *bench) error {
	name, err := b.load(b.n(6000), housingAid)
	if err != nil {
		return err
	}
	for _, kind := range []struct{ id, of string }{{"gost-system-gateway", ", GOST receipts"}, {"system-gateway", ", RSA receipts"}} {
		var full *loaded
		if err := b.run(0, true, b.signsWith(kind.id), func(r *rig) (err error) {
			full, err = r.replay(name, replay.Config{})
			return asExpected(full, err)
		}); err != nil {
			return err
		}
		b.add("admissions, 16 clients"+kind.of, full.Reached, "/s", 0, true)
		full.add(b, kind.of)
		// Half of it, in an open loop, at a fresh gateway.
		if err := b.run(0, true, b.signsWith(kind.id), func(r *rig) error {
			half, err := r.replay(name, replay.Config{Rate: full.Reached / 2})
			if err := asExpected(half, err); err != nil {
				return err
			}
			b.add("… at half of that, open loop: p50"+kind.of, half.Gateways[0].Accepted.P50, "ms", 0, false)
			b.add("… at half of that, open loop: p99"+kind.of, half.Gateways[0].Accepted.P99, "ms", 0, false)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// benchOverload offers ten times what the door takes. On a machine that the client shares, much of
// the time goes into offering; so what the gateway alone spends on who is sent away is measured too.
func benchOverload(b *bench) error {
	n := b.n(40000)
	name, err := b.load(n, smallOnes)
	if err != nil {
		return err
	}
	var peak *loaded
	if err := b.run(0, true, nil, func(r *rig) (err error) {
		peak, err = r.replay(name, replay.Config{Limit: int64(n / 10)})
		return asExpected(peak, err)
	}); err != nil {
		return err
	}
	return b.run(0, true, nil, func(r *rig) error {
		over, err := r.replay(name, replay.Config{Rate: 10 * peak.Reached, Concurrency: 256})
		if err != nil {
			return err
		}
		g := over.Gateways[0]
		if g.Accepted.Count+g.Busy.Count != over.Sent || g.Busy.Count == 0 {
			return fmt.Errorf("of %d, %d were accepted and %d sent away", over.Sent, g.Accepted.Count, g.Busy.Count)
		}
		b.add("offered, of the peak", over.Reached/peak.Reached, "×", 0, true)
		b.add("goodput of the peak", 100*float64(g.Accepted.Count)/over.SendSeconds/peak.Reached, "%", 90, true)
		b.add("sent away, as 256 connections see it: p50", g.BusySelf.P50, "ms", 5, false)
		b.add("sent away, as 256 connections see it: p99", g.BusySelf.P99, "ms", 0, false)
		within, err := r.sentAwayWithin(0.005)
		if err != nil {
			return err
		}
		b.add("… answered by the gateway within 5 ms of reading the head", 100*within, "%", 0, true)
		good := time.Duration(float64(peak.gateway) / float64(peak.Sent) * float64(g.Accepted.Count))
		b.add("… processor time of the gateway for one", 1e3*(over.gateway-good).Seconds()/float64(g.Busy.Count), "ms", 0, false)
		b.add("… and for one that it takes", peak.each(peak.gateway), "ms", 0, false)
		return nil
	})
}

// sentAwayWithin is the share of the 503 at the portal's door that took at most le seconds, a
// bucket of the gateway's own metrics.
func (r *rig) sentAwayWithin(le float64) (float64, error) {
	resp, err := http.Get(r.facts.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return 0, err
	}
	for _, m := range families["egov_gateway_http_request_duration_seconds"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["code"] != "503" || labels["route"] != "POST /v1/requests" {
			continue
		}
		for _, bucket := range m.GetHistogram().GetBucket() {
			if bucket.GetUpperBound() == le {
				return float64(bucket.GetCumulativeCount()) / float64(m.GetHistogram().GetSampleCount()), nil
			}
		}
	}
	return 0, errors.New("the metrics know nobody who was sent away")
}

// benchReplay replays a hundred thousand entries of every kind at the door and compares.
func benchReplay(b *bench) error {
	n := b.n(100_000)
	name, err := b.load(n, everyKind)
	if err != nil {
		return err
	}
	defer os.RemoveAll(name) // it is large
	return b.run(0, true, nil, func(r *rig) error {
		l, err := r.replay(name, replay.Config{Door: corpus.REST})
		if err != nil {
			return err
		}
		b.add("100,000 requests of every kind, verdicts compared", l.Seconds*100_000/float64(l.Sent), "s", 300, false)
		b.add("… verdicts that are not as expected", float64(l.Mismatches), "", 0, false)
		l.add(b, "")
		return nil
	})
}

// simulated is how long a state system takes.
const simulated = 20 * time.Millisecond

// workers is what the gateway's engine has for journeys.
func workers(c *Config) { c.Pipeline.Workers = 64 }

// benchJourneys is the whole way: accepted, records of seven kinds, delivered to the provider, its
// steps and its signed result verified, shown in the cabinet.
func benchJourneys(b *bench) error {
	n := b.n(4000)
	name, err := b.load(n, housingAid)
	if err != nil {
		return err
	}
	var full *loaded
	if err := b.run(simulated, false, workers, func(r *rig) (err error) {
		full, err = r.replay(name, replay.Config{Concurrency: 64, Follow: true, FollowTimeout: 5 * time.Minute})
		return asExpected(full, err)
	}); err != nil {
		return err
	}
	rate := float64(full.Gateways[0].Outcomes) / full.Seconds
	b.add("journeys until the cabinet shows the result", rate, "/s", 400, true)
	full.add(b, "")
	b.add("… processor time of the simulated world for one", full.each(full.world), "ms", 0, false)
	b.add("… what the gateway alone could do with all processors", 1e3*float64(runtime.NumCPU())/full.each(full.gateway), "/s", 0, true)
	// At half load: what the gateway adds to the simulated latency until the provider has it.
	return b.run(simulated, false, workers, func(r *rig) error {
		half, err := r.replay(name, replay.Config{Rate: rate / 2, Limit: int64(n / 2), Follow: true})
		if err := asExpected(half, err); err != nil {
			return err
		}
		r.stop(false)
		added, err := r.overheads()
		if err != nil {
			return err
		}
		if len(added) < n/2 {
			return fmt.Errorf("%d of %d journeys were delivered", len(added), n/2)
		}
		b.add("at half load, added to 20 ms of state systems until delivered: p50", added[len(added)/2], "ms", 3, false)
		b.add("at half load, added to 20 ms of state systems until delivered: p99", added[len(added)*99/100], "ms", 25, false)
		b.add("at half load, the door's answer: p99", half.Gateways[0].Accepted.P99, "ms", 0, false)
		b.add("at half load, from sending to the cabinet: p50", half.Gateways[0].Journey.P50, "ms", 0, false)
		return nil
	})
}

// overheads are the milliseconds between acceptance and delivery of every journey in the journal
// of a stopped gateway, less the simulated latency, in order.
func (r *rig) overheads() ([]float64, error) {
	c, err := LoadConfig(r.facts.Config)
	if err != nil {
		return nil, err
	}
	keys, err := c.keyring()
	if err != nil {
		return nil, err
	}
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: c.path(c.Data), Keys: keys})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var added []float64
	ctx := context.Background()
	for _, shard := range []string{"north-kazakhstan", "zhambyl"} {
		if err := journal.Each(ctx, s, journal.Query{Shard: shard, Limit: 500}, func(it journal.Item) error {
			full, err := s.Get(ctx, it.ID)
			if err != nil {
				return err
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
			return nil
		}); err != nil {
			return nil, err
		}
	}
	slices.Sort(added)
	return added, nil
}

// benchMemory is ten minutes of journeys at a steady rate: once what is kept of a bounded size is
// full, the rows that the journal remembers above all, the resident memory of the gateway's process
// must not grow.
func benchMemory(b *bench) error {
	const rate = 60
	long := 10 * time.Minute
	if b.quick {
		long = time.Minute
	}
	name, err := b.load(int(long.Seconds()*rate), housingAid)
	if err != nil {
		return err
	}
	defer os.RemoveAll(name)
	return b.run(simulated, false, workers, func(r *rig) error {
		type sample struct{ minute, mb float64 }
		var samples []sample
		done := make(chan struct{})
		begin := time.Now()
		go func() {
			defer close(done)
			for time.Since(begin) < long {
				time.Sleep(time.Second)
				samples = append(samples, sample{time.Since(begin).Minutes(), float64(r.gateway.spent().resident) / (1 << 20)})
			}
		}()
		l, err := r.replay(name, replay.Config{Rate: rate, Follow: true})
		if err := asExpected(l, err); err != nil {
			return err
		}
		<-done
		samples = samples[len(samples)/2:] // the rest is warm-up
		var sx, sy, sxx, sxy float64
		for _, s := range samples {
			sx, sy, sxx, sxy = sx+s.minute, sy+s.mb, sxx+s.minute*s.minute, sxy+s.minute*s.mb
		}
		n := float64(len(samples))
		b.add("resident memory, last five of ten minutes of 60 journeys/s", sy/n, "MB", 0, false)
		b.add("… its slope", (n*sxy-sx*sy)/(n*sxx-sx*sx), "MB/min", 1, false)
		return nil
	})
}

// benchStart measures start to ready, empty and with work left over by a kill.
func benchStart(b *bench) error {
	n := b.n(6000)
	name, err := b.load(n, housingAid)
	if err != nil {
		return err
	}
	r, err := b.newRig(0, nil)
	if err != nil {
		return err
	}
	defer r.close()
	took, err := r.start(true)
	if err != nil {
		return err
	}
	b.add("start of the process to ready, empty journal", took.Seconds(), "s", 1, false)
	if err := asExpected(r.replay(name, replay.Config{})); err != nil {
		return err
	}
	r.stop(true)
	if took, err = r.start(true); err != nil {
		return err
	}
	b.add("killed with 6,000 requests at work, start to ready", took.Seconds(), "s", 1, false)
	return nil
}
