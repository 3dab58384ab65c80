package statesim

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A job is one delivered request on the provider's desk. Its fields are guarded by World.mu,
// except that only one Work at a time builds and sends reports.
type job struct {
	provider *provider
	content  string
	delivery delivery
	reports  []report // in order
	state    RequestState
}

// A report is one message to the gateway.
type report struct {
	door     string // "steps" or "results"
	code     string // of a step
	second   bool   // a result that contradicts the first
	due      time.Time
	body     []byte // built when it is sent first, the same when sent again
	attempts int
}

// A RequestState is what the world knows of one delivered request.
type RequestState struct {
	Provider string `json:"provider"`
	// Effects counts how often work was begun for the request; anything but 1 is a defect of
	// the provider that the world plays.
	Effects    int `json:"effects"`
	Deliveries int `json:"deliveries"` // with the same content
	Conflicts  int `json:"conflicts"`  // with other content
	// Steps are those that the gateway took, in order.
	Steps []string `json:"steps"`
	// Decision of the provider, once made: "assignment: 12000.00" or "refusal: ground".
	Decision string `json:"decision,omitempty"`
	// Results counts the results that the gateway took.
	Results int `json:"results"`
	// Attempts counts all reports sent, GivenUp lists those that the gateway refused for good.
	Attempts int       `json:"attempts"`
	GivenUp  []GivenUp `json:"given_up,omitempty"`
	Done     bool      `json:"done"` // nothing more to report
}

// GivenUp is a report that the gateway refused.
type GivenUp struct {
	Door   string `json:"door"` // "steps" or "results"
	Code   string `json:"code,omitempty"`
	Status int    `json:"status"`
	Answer string `json:"answer"` // up to 1,000 bytes of the gateway's answer
}

// plan spreads the provider's work over the limits of the passport's steps: each takes Share of
// the time between its predecessor's limit and its own, and everything runs Factor times faster.
func (w *World) plan(p *provider, d delivery, pace FaultKind) *job {
	j := &job{provider: p, content: d.content, delivery: d, state: RequestState{Provider: p.ID, Effects: 1, Deliveries: 1, Steps: []string{}}}
	if pace == Silent {
		j.state.Done = true
		return j
	}
	start := w.c.Now()
	at, before := start, d.registered
	if d.registered.After(at) {
		at = d.registered
	}
	share := w.c.Share
	if pace == Late {
		share = 3
	}
	for _, s := range d.steps {
		if limit := s.due.Sub(before); limit > 0 {
			at = at.Add(time.Duration(share * float64(limit)))
		}
		before = s.due
		due := start.Add(time.Duration(float64(at.Sub(start)) / w.c.Factor))
		if pace != NoSteps {
			j.reports = append(j.reports, report{door: "steps", code: s.code, due: due})
		}
	}
	j.reports = append(j.reports, report{door: "results", due: start.Add(time.Duration(float64(at.Sub(start)) / w.c.Factor))})
	return j
}

// NextDue returns when the next report falls due; false when nothing is left to do.
func (w *World) NextDue() (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var next time.Time
	for _, j := range w.jobs {
		if len(j.reports) > 0 && (next.IsZero() || j.reports[0].due.Before(next)) {
			next = j.reports[0].due
		}
	}
	return next, !next.IsZero()
}

// Work sends every report that is due by the world's clock, each request's in order, and
// returns how many the gateway took. One that the gateway did not take (no answer, 408, 429,
// 5xx) falls due again a little later, by the same clock.
func (w *World) Work(ctx context.Context) int {
	w.working.Lock()
	defer w.working.Unlock()
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	free := make(chan struct{}, w.c.Desks)
	for _, j := range w.dueJobs() {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			for ctx.Err() == nil && w.due(j) && w.report(ctx, j) {
				mu.Lock()
				taken++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = slices.DeleteFunc(w.jobs, func(j *job) bool { return len(j.reports) == 0 })
	return taken
}

func (w *World) dueJobs() []*job {
	now := w.c.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*job
	for _, j := range w.jobs {
		if len(j.reports) > 0 && !j.reports[0].due.After(now) {
			out = append(out, j)
		}
	}
	return out
}

func (w *World) due(j *job) bool {
	now := w.c.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(j.reports) > 0 && !j.reports[0].due.After(now)
}

// report sends the first report of a job and reports whether it is done with, taken or given up.
func (w *World) report(ctx context.Context, j *job) bool {
	w.mu.Lock()
	r := &j.reports[0]
	w.mu.Unlock()
	if r.body == nil {
		if err := w.build(j, r); err != nil {
			w.c.Log.Error("statesim: report cannot be written", "provider", j.provider.ID, "error", err)
			w.finish(j, r, 0, err.Error())
			return true
		}
		w.mu.Lock()
		r = &j.reports[0] // the list may have grown elsewhere
		w.mu.Unlock()
	}
	status, answer := w.send(ctx, j.provider, r)
	if status == 0 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500 {
		w.mu.Lock()
		defer w.mu.Unlock()
		j.state.Attempts++
		r.attempts++
		pause := min(time.Second<<min(r.attempts-1, 10), 5*time.Minute)
		r.due = w.c.Now().Add(time.Duration(float64(pause) / w.c.Factor))
		return false
	}
	w.mu.Lock()
	j.state.Attempts++
	w.mu.Unlock()
	w.finish(j, r, status, answer)
	return true
}

// build writes a report's document; for a result this is when the provider decides.
func (w *World) build(j *job, r *report) (err error) {
	if r.door == "steps" {
		r.body, err = stepXML(j.provider, j.delivery, r.code, w.c.Now())
		return err
	}
	d := w.decide(j.delivery)
	fault := FaultKind("")
	if !r.second {
		fault, _ = w.strike(resultFaults, TargetProviders, j.provider.ID)
	}
	if r.body, err = w.resultXML(j.provider, j.delivery.requestID, d, fault, r.second); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !r.second {
		j.state.Decision = d.word()
	}
	again := report{door: "results", due: r.due}
	switch fault {
	case Twice:
		again.body = r.body
		j.reports = append(j.reports, again)
	case Contradiction:
		again.second = true
		j.reports = append(j.reports, again)
	}
	return nil
}

// send posts a report; status 0 means that no answer came.
func (w *World) send(ctx context.Context, p *provider, r *report) (status int, answer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.c.GatewayURL+"/v1/providers/"+p.ID+"/"+r.door, bytes.NewReader(r.body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/xml")
	req.Header.Set("Authorization", "Bearer "+p.Token)
	resp, err := w.client.Do(req)
	if err != nil {
		w.c.Log.Warn("statesim: the gateway did not answer", "provider", p.ID, "error", err)
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(text)
}

// finish takes a report off the desk.
func (w *World) finish(j *job, r *report, status int, answer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case status < 200 || status > 299:
		w.c.Log.Warn("statesim: report given up", "provider", j.provider.ID, "door", r.door, "status", status)
		j.state.GivenUp = append(j.state.GivenUp, GivenUp{r.door, r.code, status, answer})
	case r.door == "steps":
		j.state.Steps = append(j.state.Steps, r.code)
	default:
		j.state.Results++
	}
	j.reports = j.reports[1:]
	if len(j.reports) == 0 {
		j.state.Done = true
		j.delivery, j.reports = delivery{}, nil // a long load test delivers a lot
	}
}
