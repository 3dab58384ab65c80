package replay

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
)

// MaxListed bounds the mismatches and differences that a report lists; all are counted.
const MaxListed = 1000

// A Mismatch is an entry that did not end as the manifest says.
type Mismatch struct {
	ID      string      `json:"id"`
	Class   string      `json:"class"`
	Door    corpus.Door `json:"door,omitempty"`
	Target  string      `json:"target"`
	Kind    string      `json:"kind"` // transport, verdict, reason, receipt, outcome
	Want    string      `json:"want"`
	Got     string      `json:"got"`
	Comment string      `json:"comment,omitempty"`
}

// A Difference is an entry that two gateways answered differently.
type Difference struct {
	ID      string `json:"id"`
	Class   string `json:"class"`
	First   string `json:"first"`
	Second  string `json:"second"`
	Comment string `json:"comment,omitempty"`
}

// Latency in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

// A Class counts entries of one class.
type Class struct {
	Sent     int64 `json:"sent"`
	Mismatch int64 `json:"mismatch"`
}

// A Second is one second of the replay, for plots.
type Second struct {
	At       int     `json:"at_s"`
	Answered int64   `json:"answered"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

// A Gateway is what one target did.
type Gateway struct {
	Name     string  `json:"name"`
	URL      string  `json:"url"`
	Accepted Latency `json:"accepted"`
	Refused  Latency `json:"refused"`
	Busy     Latency `json:"busy"`         // sent away for want of room, or not to be checked
	BusySelf Latency `json:"busy_service"` // the same from the moment of sending: what the gateway needed for it
	Journey  Latency `json:"journey"`      // from sending until the cabinet shows the result
	Outcomes int64   `json:"outcomes"`
	// Percentiles of all answers, for the plot: percentile and milliseconds.
	Percentiles [][2]float64 `json:"percentiles"`
	Seconds     []Second     `json:"seconds"`

	accepted, refused, busy, busySelf, journey, all *hdrhistogram.Histogram
	seconds                                         []*hdrhistogram.Histogram
}

// A Report is what a replay found.
type Report struct {
	Corpus      corpus.Header     `json:"corpus"`
	Started     time.Time         `json:"started"`
	Seconds     float64           `json:"seconds"`
	SendSeconds float64           `json:"send_seconds"`
	Rate        float64           `json:"rate,omitempty"` // intended, a second
	Reached     float64           `json:"reached"`        // answered a second while sending
	Concurrency int               `json:"concurrency"`
	Sent        int64             `json:"sent"`
	Skipped     int64             `json:"skipped,omitempty"` // entries for verifiers only
	Mismatches  int64             `json:"mismatches"`
	Kinds       map[string]int64  `json:"mismatch_kinds,omitempty"`
	Listed      []Mismatch        `json:"listed,omitempty"`
	Classes     map[string]*Class `json:"classes"`
	Gateways    []*Gateway        `json:"gateways"`
	// Differences between two gateways.
	Different   int64        `json:"different,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
	// Slower counts entries that the second gateway answered later than the first.
	Slower int64 `json:"slower,omitempty"`
	// ClientCPU is the share of one processor that this client used; MachineCPU of all of them.
	ClientCPU  float64 `json:"client_cpu"`
	MachineCPU float64 `json:"client_cpu_of_machine"`

	mu    sync.Mutex // guards all above while the replay runs
	start time.Time
}

func histogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}

func newReport(c Config) *Report {
	r := &Report{Corpus: c.Corpus.Header, Started: time.Now().UTC().Truncate(time.Second), Rate: c.Rate, Concurrency: c.Concurrency, Classes: map[string]*Class{}, Kinds: map[string]int64{}, start: time.Now()}
	for _, t := range c.Targets {
		r.Gateways = append(r.Gateways, &Gateway{Name: t.Name, URL: t.URL, accepted: histogram(), refused: histogram(), busy: histogram(), busySelf: histogram(), journey: histogram(), all: histogram()})
	}
	return r
}

func (r *Report) skip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Skipped++
}

func words(s gateway.Status, why string) string {
	if why == "" {
		return string(s)
	}
	return string(s) + " " + why
}

func (a Answer) String() string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return words(a.Status, string(a.Reason))
}

// answered records an answer; word is what is wrong with it.
func (r *Report) answered(target int, e *corpus.Entry, door corpus.Door, a Answer, took, served time.Duration, word string) {
	us := max(took.Microseconds(), 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.Gateways[target]
	h := g.refused
	switch a.Status {
	case gateway.Verified:
		h = g.accepted
	case gateway.Indeterminate, "":
		h = g.busy
		record(g.busySelf, max(served.Microseconds(), 1))
	}
	record(h, us)
	record(g.all, us)
	second := int(time.Since(r.start) / time.Second)
	for len(g.seconds) <= second {
		g.seconds = append(g.seconds, nil)
	}
	if g.seconds[second] == nil {
		g.seconds[second] = hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 2)
	}
	record(g.seconds[second], us)
	if second > 1 && g.seconds[second-2] != nil {
		g.fold(second - 2)
	}
	c := r.class(e.Class)
	if target == 0 {
		r.Sent++
		c.Sent++
	}
	if word != "" {
		c.Mismatch++
		r.mismatch(Mismatch{ID: e.ID, Class: e.Class, Door: door, Target: g.Name, Kind: word, Want: words(e.Admission.Status, string(e.Admission.Reason)), Got: a.String(), Comment: e.Comment})
	}
}

// fold turns a second that is over into its row, so that a long replay needs little memory.
func (g *Gateway) fold(n int) {
	h := g.seconds[n]
	g.seconds[n] = nil
	g.Seconds = append(g.Seconds, Second{At: n, Answered: h.TotalCount(), P50: ms(h.ValueAtQuantile(50)), P99: ms(h.ValueAtQuantile(99)), Max: ms(h.Max())})
}

func record(h *hdrhistogram.Histogram, us int64) {
	h.RecordValue(min(us, h.HighestTrackableValue())) //nolint:errcheck // it is in range
}

func (r *Report) class(name string) *Class {
	c := r.Classes[name]
	if c == nil {
		c = &Class{}
		r.Classes[name] = c
	}
	return c
}

func (r *Report) mismatch(m Mismatch) {
	r.Mismatches++
	r.Kinds[m.Kind]++
	if len(r.Listed) < MaxListed {
		r.Listed = append(r.Listed, m)
	}
}

// outcome records what a cabinet shows in the end.
func (r *Report) outcome(target int, e *corpus.Entry, kind gateway.ResultKind, ground string, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.Gateways[target]
	if kind != "" {
		g.Outcomes++
		record(g.journey, max(took.Microseconds(), 1))
	}
	if kind == e.Outcome && ground == e.Ground {
		return
	}
	got := words(gateway.Status(kind), ground)
	switch {
	case err != nil:
		got = err.Error()
	case kind == "":
		got = "nothing in time"
	}
	r.class(e.Class).Mismatch++
	r.mismatch(Mismatch{ID: e.ID, Class: e.Class, Target: g.Name, Kind: "outcome", Want: words(gateway.Status(e.Outcome), e.Ground), Got: got, Comment: e.Comment})
}

// compared records how two gateways answered one entry.
func (r *Report) compared(e *corpus.Entry, a, b Answer, tookA, tookB time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tookB > tookA {
		r.Slower++
	}
	if a.Status == b.Status && a.Reason == b.Reason && (a.Err == nil) == (b.Err == nil) {
		return
	}
	r.Different++
	if len(r.Differences) < MaxListed {
		r.Differences = append(r.Differences, Difference{e.ID, e.Class, a.String(), b.String(), e.Comment})
	}
}

func ms(us int64) float64 { return float64(us) / 1000 }

func latency(h *hdrhistogram.Histogram) Latency {
	return Latency{h.TotalCount(), h.Mean() / 1000, ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(90)), ms(h.ValueAtQuantile(99)), ms(h.ValueAtQuantile(99.9)), ms(h.Max())}
}

// processor is the processor time of this process so far.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *Report) finish(took, cpu time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Seconds = took.Seconds()
	if r.SendSeconds > 0 {
		r.Reached = float64(r.Sent) / r.SendSeconds
	}
	r.ClientCPU = cpu.Seconds() / took.Seconds()
	r.MachineCPU = r.ClientCPU / float64(runtime.NumCPU())
	for _, g := range r.Gateways {
		g.Accepted, g.Refused, g.Busy, g.BusySelf, g.Journey = latency(g.accepted), latency(g.refused), latency(g.busy), latency(g.busySelf), latency(g.journey)
		for n, h := range g.seconds {
			if h != nil {
				g.fold(n)
			}
		}
		slices.SortFunc(g.Seconds, func(a, b Second) int { return cmp.Compare(a.At, b.At) })
		for _, p := range []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100} {
			g.Percentiles = append(g.Percentiles, [2]float64{p, ms(g.all.ValueAtQuantile(p))})
		}
	}
	slices.SortFunc(r.Listed, func(a, b Mismatch) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Target, b.Target)) })
}
