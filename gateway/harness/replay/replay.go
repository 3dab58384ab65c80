// Package replay sends a corpus to running gateways, follows what was accepted to the citizen's
// cabinet, and compares verdicts, reasons and outcomes with the manifest. The service never
// imports it.
//
// With a rate it is an open loop: an entry has its instant, and its latency counts from that
// instant, not from the moment at which a busy client got round to sending it, so that a gateway
// that stalls cannot hide it (coordinated omission). Without one, a number of clients send one
// entry after the other.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
)

// Config of a replay.
type Config struct {
	Corpus *corpus.Reader // required
	// Targets are one gateway, or two that are compared. Required.
	Targets []*Target
	Door    corpus.Door // "" sends each entry to its own door, REST if it has none
	// Rate is entries a second, of an open loop; 0 is a closed one.
	Rate float64
	// Concurrency is the clients of a closed loop, and bounds the entries under way of an open one.
	// 0 means 16 and 2048.
	Concurrency int
	Limit       int64 // entries; 0 is all
	// Follow goes to the cabinet with every accepted entry that has an outcome, for FollowTimeout
	// after it was accepted at most; 0 means 2 minutes.
	Follow        bool
	FollowTimeout time.Duration
	// Sent, if set, is told after each entry.
	Sent func()
}

// An Answer is what a door said.
type Answer struct {
	Status gateway.Status // "" when nothing was understood
	Reason gateway.Reason
	ID     gateway.RequestID
	HTTP   int
	Err    error // of the transport
}

// A sending is one entry on its way.
type sending struct {
	e        *corpus.Entry
	doc      []byte
	files    [][]byte
	intended time.Time
	// first is the entry that this one waits for.
	first *awaited
}

// awaited is an entry that later ones wait for; its answers are there when done is closed.
type awaited struct {
	done    chan struct{}
	answers []Answer
}

// A run is a replay under way.
type run struct {
	c       Config
	report  *Report
	start   time.Time
	awaited map[string]*awaited // of the feeder alone
	follow  *follower
}

// Run replays. The error is that of the corpus, or of ctx; what gateways do wrong is in the report.
// When ctx ends, it returns at once with what was answered until then.
func Run(ctx context.Context, c Config) (*Report, error) {
	if c.Corpus == nil || len(c.Targets) < 1 || len(c.Targets) > 2 {
		return nil, errors.New("replay: Config needs a Corpus and one or two Targets")
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 16
		if c.Rate > 0 {
			c.Concurrency = 2048
		}
	}
	if c.FollowTimeout == 0 {
		c.FollowTimeout = 2 * time.Minute
	}
	for _, t := range c.Targets {
		t.prepare(c.Concurrency)
		defer t.close()
	}
	r := &run{c: c, report: newReport(c), awaited: map[string]*awaited{}}
	r.follow = newFollower(r)
	before := processor()
	r.start = time.Now()
	err := r.send(ctx)
	r.report.SendSeconds = time.Since(r.start).Seconds()
	if ferr := r.follow.wait(ctx); err == nil {
		err = ferr
	}
	r.report.finish(time.Since(r.start), processor()-before)
	return r.report, err
}

// send feeds the clients. One goroutine reads the corpus, as its format demands, some entries ahead.
func (r *run) send(ctx context.Context) error {
	ahead := make(chan *sending, 512)
	var failure error
	go func() {
		defer close(ahead)
		failure = r.read(ctx, ahead)
	}()
	var wg sync.WaitGroup
	if r.c.Rate <= 0 {
		for range r.c.Concurrency {
			wg.Go(func() {
				for s := range ahead {
					r.one(ctx, s)
				}
			})
		}
		wg.Wait()
		return failure
	}
	// A worker is started only when none is idle, so that a quick gateway is met by few.
	tasks := make(chan *sending)
	workers := 0
	each := time.Duration(float64(time.Second) / r.c.Rate)
	begin := time.Now()
	for n := int64(0); ; n++ {
		s, ok := <-ahead
		if !ok {
			break
		}
		s.intended = begin.Add(time.Duration(n) * each)
		if wait := time.Until(s.intended); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			continue // until the reader has noticed it too
		}
		select {
		case tasks <- s:
			continue
		default:
		}
		if workers < r.c.Concurrency {
			workers++
			wg.Go(func() {
				r.one(ctx, s)
				for s := range tasks {
					r.one(ctx, s)
				}
			})
			continue
		}
		tasks <- s // late, and its latency says so
	}
	close(tasks)
	wg.Wait()
	return failure
}

// read brings entries with their bytes.
func (r *run) read(ctx context.Context, ahead chan<- *sending) error {
	for n := int64(0); r.c.Limit == 0 || n < r.c.Limit; n++ {
		e, err := r.c.Corpus.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Admission == nil {
			r.report.skip()
			continue
		}
		s := &sending{e: e}
		if s.doc, err = r.c.Corpus.Bytes(e.Part, nil); err != nil {
			return fmt.Errorf("entry %s: %w", e.ID, err)
		}
		for _, a := range e.Attachments {
			b, err := r.c.Corpus.Bytes(a.Part, nil)
			if err != nil {
				return fmt.Errorf("entry %s: %w", e.ID, err)
			}
			s.files = append(s.files, b)
		}
		if e.Awaited {
			r.awaited[e.ID] = &awaited{done: make(chan struct{})}
			s.first = r.awaited[e.ID]
		}
		if e.After != "" {
			if s.first = r.awaited[e.After]; s.first == nil {
				return fmt.Errorf("entry %s is sent after %s, which is not awaited or comes later", e.ID, e.After)
			}
		}
		select {
		case ahead <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// one sends an entry to every target and compares. What was cut off by the end of ctx is no answer
// of a gateway and is not in the report.
func (r *run) one(ctx context.Context, s *sending) {
	if ctx.Err() != nil {
		return
	}
	if s.e.After != "" {
		select {
		case <-s.first.done:
		case <-ctx.Done():
			return
		}
		s.intended = time.Time{} // it could not be sent earlier
	}
	if s.intended.IsZero() {
		s.intended = time.Now()
	}
	answers := make([]Answer, len(r.c.Targets))
	took, served := make([]time.Duration, len(r.c.Targets)), make([]time.Duration, len(r.c.Targets))
	ask := func(i int) {
		begin := time.Now()
		answers[i] = r.c.Targets[i].send(ctx, r.door(s.e), s)
		took[i], served[i] = time.Since(s.intended), time.Since(begin)
	}
	if len(r.c.Targets) == 1 {
		ask(0)
	} else {
		var wg sync.WaitGroup
		for i := range r.c.Targets {
			wg.Go(func() { ask(i) })
		}
		wg.Wait()
	}
	if ctx.Err() != nil && slices.ContainsFunc(answers, func(a Answer) bool { return a.Err != nil }) {
		return
	}
	if s.e.Awaited {
		s.first.answers = answers
		close(s.first.done)
	}
	for i, a := range answers {
		word := r.compare(s, i, a)
		r.report.answered(i, s.e, r.door(s.e), a, took[i], served[i], word)
		if word == "" && a.Status == gateway.Verified && s.e.Outcome != "" && r.c.Follow {
			r.follow.add(i, s.e, a.ID, s.intended)
		}
	}
	if len(answers) == 2 {
		r.report.compared(s.e, answers[0], answers[1], took[0], took[1])
	}
	if r.c.Sent != nil {
		r.c.Sent()
	}
}

func (r *run) door(e *corpus.Entry) corpus.Door {
	switch {
	case r.c.Door != "":
		return r.c.Door
	case e.Door != "":
		return e.Door
	}
	return corpus.REST
}

// compare says what is not as expected, "" for nothing.
func (r *run) compare(s *sending, target int, a Answer) string {
	want := s.e.Admission
	switch {
	case a.Err != nil:
		return "transport"
	case a.Status != want.Status:
		return "verdict"
	case a.Reason != want.Reason:
		return "reason"
	case a.Status == gateway.Verified && a.ID == "":
		return "receipt"
	}
	if s.e.After != "" && a.Status == gateway.Verified {
		if first := s.first.answers[target]; first.Status == gateway.Verified && first.ID != a.ID {
			return "receipt"
		}
	}
	return ""
}
