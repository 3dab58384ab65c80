package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/pipeline"
)

// bench is a store, an engine over it, and a clock that tests move.
type bench struct {
	store *journaltest.Faulty
	mu    sync.Mutex
	now   time.Time // guarded by mu
	stop  func()
}

func (b *bench) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }
func (b *bench) hop(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func newBench(t *testing.T, steps map[gateway.State]pipeline.Step, change func(*pipeline.Config)) (*bench, *pipeline.Engine) {
	t.Helper()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{store: &journaltest.Faulty{Store: s}, now: journaltest.T0.Add(time.Minute)}
	c := pipeline.Config{Store: b.store, Shards: []string{"zhambyl"}, Steps: steps, Now: b.clock, Poll: 5 * time.Millisecond, Lease: time.Hour}
	if change != nil {
		change(&c)
	}
	e, err := pipeline.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx) })
	b.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(func() { b.stop(); s.Close() })
	return b, e
}

func (b *bench) create(t *testing.T, n int) gateway.RequestID {
	t.Helper()
	it, err := b.store.Create(t.Context(), journaltest.NewItem(n))
	if err != nil {
		t.Fatal(err)
	}
	return it.ID
}

// wait moves the clock until the item is in the state.
func (b *bench) wait(t *testing.T, id gateway.RequestID, s gateway.State) journal.Item {
	t.Helper()
	var it journal.Item
	for range 1000 {
		var err error
		if it, err = b.store.Store.Get(t.Context(), id); err == nil && it.State == s {
			return it
		}
		b.hop(30 * time.Second)
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the item is %s, not %s: %+v", it.State, s, it.Events)
	return it
}

func to(s gateway.State) func(context.Context, journal.Lease) (journal.Step, error) {
	return func(_ context.Context, l journal.Lease) (journal.Step, error) {
		return journal.Step{State: s, Doc: l.Item.Doc}, nil
	}
}

func kinds(it journal.Item) []gateway.EventKind {
	var all []gateway.EventKind
	for _, e := range it.Events {
		all = append(all, e.Kind)
	}
	return all
}

func TestAPassingFailureIsRetriedAndLosesNothing(t *testing.T) {
	var tries atomic.Int32
	b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(ctx context.Context, l journal.Lease) (journal.Step, error) {
		if tries.Add(1) < 4 {
			return journal.Step{}, gateway.Errorf(gateway.ProviderUnavailable, "away")
		}
		return journal.Step{State: gateway.StateClosed, Doc: []byte("done")}, nil
	}}}, nil)
	it := b.wait(t, b.create(t, 0), gateway.StateClosed)
	if n := tries.Load(); n != 4 || string(it.Doc) != "done" || it.Attempt != 0 {
		t.Errorf("%d tries, document %q, attempt %d", n, it.Doc, it.Attempt)
	}
	// The same cause again and again is one line in the timeline.
	if want := []gateway.EventKind{gateway.EventAccepted, gateway.EventRetry}; !slices.Equal(kinds(it), want) {
		t.Errorf("events %v", kinds(it))
	}
}

func TestWhatCannotPassIsParkedWithItsReason(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want gateway.Reason
	}{
		{"for an operator", gateway.Errorf(gateway.ProviderRejected, "422"), gateway.ProviderRejected},
		{"permanent", gateway.Errorf(gateway.ResultMismatch, "other"), gateway.ResultMismatch},
		{"without a name", errors.New("anything"), gateway.Internal},
		{"the budget is used up", gateway.Errorf(gateway.ProviderUnavailable, "away"), gateway.BudgetExhausted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(context.Context, journal.Lease) (journal.Step, error) {
				return journal.Step{}, tt.err
			}}, gateway.StateParked: {Name: "parked", Run: to(gateway.StateParked)}}, func(c *pipeline.Config) { c.Budgets = map[string]pipeline.Budget{"taraz": {Attempts: 3}} })
			it := b.wait(t, b.create(t, 0), gateway.StateParked)
			last := it.Events[len(it.Events)-1]
			if last.Kind != gateway.EventParked || last.Reason != tt.want || last.Subject != string(gateway.StateAccepted) || !it.Wake.IsZero() {
				t.Errorf("last event %+v, wake %v", last, it.Wake)
			}
		})
	}
}

// A machine so busy that a step finds no end inside its lease must park nothing: what ran out of
// time carries the bare error of its context, from wherever it was.
func TestAStepThatRunsOutOfTimeRunsAgain(t *testing.T) {
	var runs atomic.Int32
	b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(ctx context.Context, l journal.Lease) (journal.Step, error) {
		if runs.Add(1) == 1 {
			<-ctx.Done()
			return journal.Step{}, ctx.Err()
		}
		return journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc}, nil
	}}}, func(c *pipeline.Config) { c.Lease = 200 * time.Millisecond })
	id := b.create(t, 0)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if it, err := b.store.Get(t.Context(), id); err != nil || len(it.Events) > 1 { // the lease ends by the test's clock, which stands still
			break
		}
	}
	it := b.wait(t, id, gateway.StateClosed)
	if i := slices.IndexFunc(it.Events, func(e gateway.Event) bool { return e.Kind == gateway.EventRetry }); i < 0 || it.Events[i].Reason != gateway.StepTimeout {
		t.Errorf("events %+v", it.Events)
	}
}

// A provider's budget is its own: another one's short patience parks nothing here.
func TestBudgetsAreByProvider(t *testing.T) {
	var tries atomic.Int32
	b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(context.Context, journal.Lease) (journal.Step, error) {
		tries.Add(1)
		return journal.Step{}, gateway.Errorf(gateway.ProviderUnavailable, "away")
	}}}, func(c *pipeline.Config) {
		c.Budgets = map[string]pipeline.Budget{"kordaj": {Attempts: 1}, "taraz": {Longest: time.Millisecond}}
	})
	id := b.create(t, 0)
	for deadline := time.Now().Add(2 * time.Minute); tries.Load() < 6 && time.Now().Before(deadline); {
		b.hop(time.Second)
		time.Sleep(5 * time.Millisecond)
	}
	it, err := b.store.Get(t.Context(), id)
	if err != nil || tries.Load() < 6 || it.State != gateway.StateAccepted {
		t.Errorf("%d tries, %s, %v", tries.Load(), it.State, err)
	}
}

func TestAnOperatorSetsParkedWorkGoingAgain(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	b, e := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(_ context.Context, l journal.Lease) (journal.Step, error) {
		if broken.Load() {
			return journal.Step{}, gateway.Errorf(gateway.ProviderRejected, "422")
		}
		return journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc}, nil
	}}, gateway.StateParked: {Name: "parked", Run: to(gateway.StateParked)}}, nil)
	id := b.create(t, 0)
	b.wait(t, id, gateway.StateParked)
	broken.Store(false)
	if _, _, err := b.store.Signal(t.Context(), id, journal.Signal{Key: "redrive/1", Kind: pipeline.SignalRedrive, At: b.clock()}); err != nil {
		t.Fatal(err)
	}
	e.Kick()
	it := b.wait(t, id, gateway.StateClosed)
	if !slices.Contains(kinds(it), gateway.EventRedriven) {
		t.Errorf("events %v", kinds(it))
	}
}

func TestAPanicParksTheItemAndSparesTheOthers(t *testing.T) {
	b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(_ context.Context, l journal.Lease) (journal.Step, error) {
		if l.Item.MessageID == "message-0" {
			panic("a bug")
		}
		return journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc}, nil
	}}}, nil)
	bad, good := b.create(t, 0), b.create(t, 1)
	if it := b.wait(t, bad, gateway.StateParked); it.Events[1].Reason != gateway.Internal {
		t.Errorf("events %+v", it.Events)
	}
	b.wait(t, good, gateway.StateClosed)
}

func TestWorkThatWasNotRecordedIsDoneAgain(t *testing.T) {
	for _, mode := range []journaltest.Mode{journaltest.Before, journaltest.After} {
		t.Run(string(mode), func(t *testing.T) {
			var runs atomic.Int32
			var b *bench
			b, _ = newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(_ context.Context, l journal.Lease) (journal.Step, error) {
				if runs.Add(1) == 1 {
					b.store.Fail("Advance", mode)
				}
				return journal.Step{State: gateway.StateClosed, Doc: []byte("done"), Events: []gateway.Event{{Kind: gateway.EventEnriched}}}, nil
			}}}, nil)
			it := b.wait(t, b.create(t, 0), gateway.StateClosed)
			want := map[journaltest.Mode]int32{journaltest.Before: 2, journaltest.After: 1}[mode]
			if n := runs.Load(); n != want || len(it.Events) != 2 {
				t.Errorf("%d runs, want %d; events %v", n, want, kinds(it))
			}
		})
	}
}

func TestAnEngineWorksItsOwnShardsOnly(t *testing.T) {
	b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: to(gateway.StateClosed)}}, nil)
	foreign := journaltest.NewItem(5)
	foreign.Shard = "north-kazakhstan"
	it, err := b.store.Create(t.Context(), foreign)
	if err != nil {
		t.Fatal(err)
	}
	b.wait(t, b.create(t, 0), gateway.StateClosed)
	if got, _ := b.store.Get(t.Context(), it.ID); got.State != gateway.StateAccepted {
		t.Errorf("the foreign shard's item is %s", got.State)
	}
}

func TestRunFinishesTheStepAtHand(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	b, _ := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(ctx context.Context, l journal.Lease) (journal.Step, error) {
		close(started)
		<-finish
		if ctx.Err() != nil {
			return journal.Step{}, ctx.Err()
		}
		return journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc}, nil
	}}}, nil)
	id := b.create(t, 0)
	<-started
	stopped := make(chan struct{})
	go func() { b.stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("Run returned with a step at hand")
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	<-stopped
	if it, _ := b.store.Get(t.Context(), id); it.State != gateway.StateClosed {
		t.Errorf("the step's outcome was not recorded: %s", it.State)
	}
}

// A message that arrives for a parked item while its cause still stands parks it once more;
// the way back must not be lost over it.
func TestAnItemParkedTwiceIsStillRedriven(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	run := func(to gateway.State) func(context.Context, journal.Lease) (journal.Step, error) {
		return func(_ context.Context, l journal.Lease) (journal.Step, error) {
			if broken.Load() {
				return journal.Step{}, gateway.Errorf(gateway.ConfigInvalid, "the passport is not configured")
			}
			return journal.Step{State: to, Doc: l.Item.Doc}, nil
		}
	}
	b, e := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: run(gateway.StateClosed)}, gateway.StateParked: {Name: "parked", Run: run(gateway.StateParked)}}, nil)
	id := b.create(t, 0)
	b.wait(t, id, gateway.StateParked)
	b.signal(t, id, "step/register", "step")
	e.Kick()
	for range 1000 {
		if it, err := b.store.Get(t.Context(), id); err == nil && it.Version > 3 && it.Wake.IsZero() {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	broken.Store(false)
	b.signal(t, id, "redrive/1", pipeline.SignalRedrive)
	e.Kick()
	b.wait(t, id, gateway.StateClosed)
}

// Two orders for one parking are one: the second must not wait for the next parking.
func TestAnOrderIsUsedUpByTheParkingItWasGivenFor(t *testing.T) {
	var runs atomic.Int32
	resting, wake := make(chan struct{}), make(chan struct{})
	b, e := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(context.Context, journal.Lease) (journal.Step, error) {
		runs.Add(1)
		return journal.Step{}, gateway.Errorf(gateway.ProviderRejected, "422")
	}}, gateway.StateParked: {Name: "parked", Run: func(ctx context.Context, l journal.Lease) (journal.Step, error) {
		if runs.Load() == 1 { // both orders come while the item is held
			close(resting)
			<-wake
		}
		return to(gateway.StateParked)(ctx, l)
	}}}, nil)
	id := b.create(t, 0)
	parkings := func(n int) {
		t.Helper()
		for range 1000 {
			if it := b.wait(t, id, gateway.StateParked); it.Wake.IsZero() && len(it.Events) >= 2*n {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Fatalf("not parked %d times", n)
	}
	parkings(1)
	b.signal(t, id, "quarantine/0", "quarantine")
	<-resting
	b.signal(t, id, "redrive/1", pipeline.SignalRedrive)
	b.signal(t, id, "redrive/2", pipeline.SignalRedrive)
	close(wake)
	parkings(2)
	b.signal(t, id, "quarantine/1", "quarantine")
	e.Kick()
	time.Sleep(100 * time.Millisecond)
	if n := runs.Load(); n != 2 {
		t.Errorf("the step ran %d times for one parking and one redriving", n)
	}
}

// What a provider reported before its request was parked is taken in all the same.
func TestParkingLeavesNoMessageLying(t *testing.T) {
	b, e := newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "s", Run: func(context.Context, journal.Lease) (journal.Step, error) {
		return journal.Step{}, gateway.Errorf(gateway.ProviderRejected, "422")
	}}, gateway.StateParked: {Name: "parked", Run: func(_ context.Context, l journal.Lease) (journal.Step, error) {
		st := journal.Step{State: gateway.StateParked, Doc: []byte("taken")}
		for _, g := range l.Inbox {
			st.Consumed = append(st.Consumed, g.Key)
		}
		return st, nil
	}}}, nil)
	n := journaltest.NewItem(0)
	n.Wake = time.Time{}
	it, err := b.store.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	b.signal(t, it.ID, "step/register", "step")
	e.Kick()
	for range 200 {
		if it, err = b.store.Get(t.Context(), it.ID); err == nil && string(it.Doc) == "taken" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("the message still lies there: %s, %q", it.State, it.Doc)
}

func (b *bench) signal(t *testing.T, id gateway.RequestID, key, kind string) {
	t.Helper()
	if _, _, err := b.store.Signal(t.Context(), id, journal.Signal{Key: key, Kind: kind, At: b.clock()}); err != nil {
		t.Fatal(err)
	}
}

// A clock that was ahead when a step began and is right when it ends puts nothing off.
func TestAClockThatIsSetBackDuringAStep(t *testing.T) {
	var b *bench
	var ran atomic.Int32
	ready := make(chan struct{})
	step := func(_ context.Context, l journal.Lease) (journal.Step, error) {
		<-ready
		if ran.Add(1) > 1 {
			return journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc}, nil
		}
		at := b.clock()
		b.hop(-time.Hour)
		return journal.Step{State: gateway.StateAccepted, Doc: l.Item.Doc, Wake: at}, nil
	}
	b, _ = newBench(t, map[gateway.State]pipeline.Step{gateway.StateAccepted: {Name: "step", Run: step}}, nil)
	b.hop(time.Hour)
	id := b.create(t, 1)
	close(ready)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if it, err := b.store.Store.Get(t.Context(), id); err == nil && it.State == gateway.StateClosed {
			return
		}
	}
	t.Errorf("the step ran %d times and waits for the wrong hour", ran.Load())
}
