// Package pipeline drives accepted requests: it claims due work from the journal under a
// lease, runs the step for the state it is in, and records the outcome. It is the slow and
// durable one of the two places that retry; the quick one is package upstream.
package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// SignalRedrive is the kind of signal by which an operator sets a parked item going again.
const SignalRedrive = "redrive"

// Defaults of Config.
const (
	DefaultWorkers    = 16
	DefaultLease      = time.Minute
	DefaultPoll       = 200 * time.Millisecond
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = 15 * time.Minute
	// DefaultAttempts lets a provider be away for about two and a half days.
	DefaultAttempts = 500
)

// A Step does the work of one state. Run gets the item under a lease and returns its next
// step; it may run again from the start at any time, and must reach the same outcome.
// An error is judged by its Reason's class: retried with back-off, or parked for an operator.
type Step struct {
	Name string
	Run  func(ctx context.Context, l journal.Lease) (journal.Step, error)
}

// Config is what an Engine needs.
type Config struct {
	Store  journal.Store          // required
	Shards []string               // the shards this instance works; required
	Steps  map[gateway.State]Step // required
	// Ordered are the states in which one citizen's requests for one service keep their order.
	Ordered []gateway.State
	// Workers bounds the items worked on at once. 0 means DefaultWorkers.
	Workers int
	// Lease is how long an item belongs to a worker; a step's context ends a little earlier. 0 means DefaultLease.
	Lease time.Duration
	// Poll is the longest rest between two looks for due work. 0 means DefaultPoll.
	Poll time.Duration
	// Budgets say, by provider, how often and how slowly a step is tried before the item is
	// parked. What a provider has not of its own, or has as zero, is as in Budget.
	Budgets map[string]Budget
	// Budget is for all that have none of their own.
	Budget Budget

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
	// Observe, if set, is told of every step run.
	Observe func(context.Context, Observation)
}

// An Observation is one run of a step, for metrics.
type Observation struct {
	Step, Shard, Service, Provider string
	Reason                         gateway.Reason // "" for success
	Parked                         bool           // the item was put aside for an operator
	Duration                       time.Duration
}

// A Budget bounds the tries of one step.
type Budget struct {
	// Attempts is how often the step is tried. 0 means DefaultAttempts.
	Attempts int
	// Longest is the longest rest between two tries. 0 means DefaultMaxBackoff.
	Longest time.Duration
}

// An Engine works until its context ends.
type Engine struct {
	c    Config
	kick chan struct{}
	free chan struct{} // one token per idle worker
}

// New checks the configuration.
func New(c Config) (*Engine, error) {
	if c.Store == nil || len(c.Shards) == 0 || len(c.Steps) == 0 {
		return nil, errors.New("pipeline: Config.Store, Shards and Steps are required")
	}
	setDefault(&c.Workers, DefaultWorkers)
	setDefault(&c.Lease, DefaultLease)
	setDefault(&c.Poll, DefaultPoll)
	setDefault(&c.Budget.Attempts, DefaultAttempts)
	setDefault(&c.Budget.Longest, DefaultMaxBackoff)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{c: c, kick: make(chan struct{}, 1), free: make(chan struct{}, c.Workers)}
	for range c.Workers {
		e.free <- struct{}{}
	}
	return e, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Kick makes the engine look for work at once. It never blocks.
func (e *Engine) Kick() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Run claims and works until ctx ends, then lets the steps at hand finish: their own
// contexts end with their leases, not with ctx. What is not finished stays in the journal.
func (e *Engine) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(e.c.Poll)
	defer timer.Stop()
	for {
		n, err := e.claim(ctx, &wg)
		if err != nil && ctx.Err() == nil {
			e.c.Log.Error("claim", "reason", gateway.ReasonOf(err), "error", err)
		}
		if n > 0 {
			continue
		}
		timer.Reset(e.c.Poll)
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-timer.C:
		}
	}
}

// claim takes as many items as there are idle workers, at least one, and starts them.
func (e *Engine) claim(ctx context.Context, wg *sync.WaitGroup) (int, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-e.free:
	}
	idle := 1
	for more := true; more && idle < e.c.Workers; {
		select {
		case <-e.free:
			idle++
		default:
			more = false
		}
	}
	leases, err := e.c.Store.Claim(ctx, journal.ClaimOptions{Shards: e.c.Shards, Now: e.c.Now(), Lease: e.c.Lease, Max: idle, Ordered: e.c.Ordered})
	for range idle - len(leases) {
		e.free <- struct{}{}
	}
	for _, l := range leases {
		wg.Go(func() {
			defer func() { e.free <- struct{}{}; e.Kick() }()
			e.work(context.WithoutCancel(ctx), l)
		})
	}
	return len(leases), err
}

func (e *Engine) work(ctx context.Context, l journal.Lease) {
	inLease, cancel := context.WithTimeout(ctx, e.c.Lease*9/10)
	defer cancel()
	log := e.c.Log.With("request", string(l.Item.ID), "shard", l.Item.Shard, "state", string(l.Item.State))
	next := e.next(inLease, l)
	next.At = e.c.Now()
	for _, s := range l.Inbox {
		if s.Kind == SignalRedrive { // an order is for the parking that it found, never for a later one
			next.Consumed = append(next.Consumed, s.Key)
		}
	}
	if err := e.c.Store.Advance(ctx, l, next); err != nil {
		// Nothing was recorded: the lease ends by itself and the step runs again.
		log.Warn("advance", "reason", gateway.ReasonOf(err), "error", err)
		return
	}
	log.Info("advanced", "to", string(next.State), "events", len(next.Events))
}

// next runs the step and turns its outcome, whatever it is, into a journal.Step.
func (e *Engine) next(ctx context.Context, l journal.Lease) journal.Step {
	if st, ok := e.redrive(l); ok {
		return st
	}
	step, ok := e.c.Steps[l.Item.State]
	if !ok {
		return e.park(l, gateway.Errorf(gateway.Internal, "no step for the state %s", l.Item.State))
	}
	start := time.Now()
	out, err := e.run(ctx, step, l)
	took := time.Since(start)
	// A step that ran out of time is no fault of the request's, whatever its error is called.
	if err != nil && ctx.Err() != nil && gateway.ReasonOf(err).Class() == gateway.Operator {
		err = gateway.Errorf(gateway.StepTimeout, "%w", err)
	}
	if err != nil {
		out = e.failed(step, l, err)
	}
	if e.c.Observe != nil {
		e.c.Observe(ctx, Observation{Step: step.Name, Shard: l.Item.Shard, Service: l.Item.Service, Provider: l.Item.Provider, Reason: gateway.ReasonOf(err),
			Parked: out.State == gateway.StateParked && l.Item.State != gateway.StateParked, Duration: took})
	}
	return out
}

// failed retries or parks.
func (e *Engine) failed(step Step, l journal.Lease, err error) journal.Step {
	reason := gateway.ReasonOf(err)
	e.c.Log.Warn("step", "step", step.Name, "request", string(l.Item.ID), "attempt", l.Item.Attempt+1, "reason", string(reason), "error", err)
	if reason.Class() != gateway.Retry {
		return e.park(l, err)
	}
	budget := e.budget(l.Item.Provider)
	if l.Item.Attempt+1 >= budget.Attempts {
		return e.park(l, gateway.Errorf(gateway.BudgetExhausted, "%w", err))
	}
	st := journal.Step{State: l.Item.State, Attempt: l.Item.Attempt + 1, Doc: l.Item.Doc, Wake: e.c.Now().Add(backoff(l.Item.Attempt, budget.Longest))}
	if l.Item.Attempt == 0 || lastReason(l.Item) != reason {
		st.Events = []gateway.Event{{At: e.c.Now(), Kind: gateway.EventRetry, Subject: step.Name, Reason: reason}}
	}
	return st
}

// run is the only place where steps are called; a panic is an error of class Operator.
func (e *Engine) run(ctx context.Context, s Step, l journal.Lease) (out journal.Step, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.c.Log.Error("panic in a step", "step", s.Name, "request", string(l.Item.ID), "stack", string(debug.Stack()))
			err = gateway.Errorf(gateway.Internal, "panic in step %s", s.Name)
		}
	}()
	return s.Run(ctx, l)
}

// lastReason is the Reason of the newest retry event, "" when something else happened since.
func lastReason(it journal.Item) gateway.Reason {
	if n := len(it.Events); n > 0 && it.Events[n-1].Kind == gateway.EventRetry {
		return it.Events[n-1].Reason
	}
	return ""
}

// park takes an item out of the way until an operator decides. One whose parked step fails too
// keeps the state that it was parked from. Messages at hand are taken in by the parked step.
func (e *Engine) park(l journal.Lease, err error) journal.Step {
	st := journal.Step{State: gateway.StateParked, Attempt: l.Item.Attempt, Doc: l.Item.Doc}
	from, reason := l.Item.State, gateway.ReasonOf(err)
	if from != gateway.StateParked {
		if len(l.Inbox) > 0 {
			st.Wake = e.c.Now()
		}
	} else if was, ok := parking(l.Item); ok {
		if from = gateway.State(was.Subject); was.Reason == reason {
			return st
		}
	}
	st.Events = []gateway.Event{{At: e.c.Now(), Kind: gateway.EventParked, Subject: string(from), Reason: reason}}
	return st
}

// parking is the newest event that says from which state the item was parked.
func parking(it journal.Item) (gateway.Event, bool) {
	for _, ev := range slices.Backward(it.Events) {
		if ev.Kind == gateway.EventParked && ev.Subject != string(gateway.StateParked) {
			return ev, true
		}
	}
	return gateway.Event{}, false
}

// redrive puts a parked item back into the state it was parked from, if an operator asked.
func (e *Engine) redrive(l journal.Lease) (journal.Step, bool) {
	if l.Item.State != gateway.StateParked || !slices.ContainsFunc(l.Inbox, func(s journal.Signal) bool { return s.Kind == SignalRedrive }) {
		return journal.Step{}, false
	}
	was, ok := parking(l.Item)
	if !ok {
		return journal.Step{}, false
	}
	return journal.Step{State: gateway.State(was.Subject), Doc: l.Item.Doc, Wake: e.c.Now(),
		Events: []gateway.Event{{At: e.c.Now(), Kind: gateway.EventRedriven, Subject: was.Subject}}}, true
}

func (e *Engine) budget(provider string) Budget {
	b := e.c.Budgets[provider]
	setDefault(&b.Attempts, e.c.Budget.Attempts)
	setDefault(&b.Longest, e.c.Budget.Longest)
	return b
}

// backoff is full jitter: anywhere up to DefaultBackoff·2^attempt, at most longest.
func backoff(attempt int, longest time.Duration) time.Duration {
	limit := longest
	if attempt < 20 {
		limit = min(limit, DefaultBackoff<<attempt)
	}
	return limit/10 + rand.N(limit*9/10)
}
