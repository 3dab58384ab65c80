package sqlitejournal_test

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

// BenchmarkJourney is what one request costs the journal from its acceptance to its closing: a
// Create, eight Claims and Advances, four Signals, twelve Bodies and six Gets. 64 requests are on
// their way at once, or 8, and as many workers serve them. It reports processor time, which a busy machine
// changes less than the time of the clock.
func BenchmarkJourney(b *testing.B) {
	for _, travellers := range []int{64, 8} {
		b.Run(strconv.Itoa(travellers), func(b *testing.B) { journeys(b, travellers, nil) })
		b.Run(strconv.Itoa(travellers)+" sealed", func(b *testing.B) { journeys(b, travellers, ring(b, sealing.NewInstallationKey())) })
	}
}

func journeys(b *testing.B, travellers int, keys *sealing.Keyring) {
	s, group := opened(b, sqlitejournal.Config{Keys: keys})
	w := &wayfarers{b: b, s: s, resting: map[gateway.RequestID]chan struct{}{}}
	stop, kick := make(chan struct{}), make(chan struct{}, 1)
	w.kick = func() {
		select {
		case kick <- struct{}{}:
		default:
		}
	}
	var engine sync.WaitGroup
	engine.Go(func() { w.engine(stop, kick, travellers) })
	b.ResetTimer()
	before := processorTime(b)
	each(travellers, b.N, w.travel)
	used := processorTime(b) - before
	b.StopTimer()
	close(stop)
	engine.Wait()
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/journey")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "journeys/s")
	b.ReportMetric(group(), "calls/commit")
}

// wayfarers are requests on their way, and those who work on them.
type wayfarers struct {
	b    *testing.B
	s    *sqlitejournal.Store
	kick func()

	mu      sync.Mutex
	resting map[gateway.RequestID]chan struct{} // guarded by mu: told when the request has nothing planned any more
}

var (
	journeyRequest  = bytes.Repeat([]byte("0123456789abcdef"), 20<<10/16)
	journeyDelivery = bytes.Repeat([]byte("fedcba9876543210"), 40<<10/16)
	journeyFact     = bytes.Repeat([]byte("record "), 220)
	journeyMessage  = bytes.Repeat([]byte("message"), 100)
	journeyDoc      = bytes.Repeat([]byte(`{"kind":"registration","status":"found"},`), 75)
)

// travel sees one request through.
func (w *wayfarers) travel(n int) {
	ctx := w.b.Context()
	it := journaltest.NewItem(n)
	it.Bodies = map[string][]byte{gateway.BodyRequest: journeyRequest, gateway.BodyReceipt: journeyFact}
	it.Citizen = journal.CitizenKey(fmt.Sprintf("%032d", n/2)) // some have a second request
	it.Doc, it.Created, it.Wake = journeyDoc, time.Now(), time.Now()
	rest := make(chan struct{}, 1)
	w.mu.Lock()
	w.resting[it.ID] = rest
	w.mu.Unlock()
	look := func() {
		if got, err := w.s.Get(ctx, it.ID); err != nil || got.ID != it.ID {
			w.b.Error(got.ID, err)
		}
	}
	if _, err := w.s.Create(ctx, it); err != nil {
		w.b.Error(err)
		return
	}
	w.kick()
	look()
	<-rest
	look()
	for i := range 4 {
		g := journal.Signal{Key: fmt.Sprintf("provider-message-%d", i), Kind: "step", At: time.Now(), Body: journeyMessage}
		if i == 3 {
			g.Kind = "result"
		}
		if _, _, err := w.s.Signal(ctx, it.ID, g); err != nil {
			w.b.Error(err)
			return
		}
		w.kick()
		<-rest
		look()
	}
	w.mu.Lock()
	delete(w.resting, it.ID)
	w.mu.Unlock()
}

// engine claims and works as package pipeline does.
func (w *wayfarers) engine(stop, kick chan struct{}, workers int) {
	free := make(chan struct{}, workers)
	for range workers {
		free <- struct{}{}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		<-free
		idle := 1
		for more := true; more && idle < workers; {
			select {
			case <-free:
				idle++
			default:
				more = false
			}
		}
		ls, err := w.s.Claim(w.b.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: time.Now(), Lease: time.Minute, Max: idle, Ordered: []gateway.State{gateway.StateAccepted, gateway.StateEnriched}})
		if err != nil {
			w.b.Error(err)
			return
		}
		for range idle - len(ls) {
			free <- struct{}{}
		}
		for _, l := range ls {
			wg.Go(func() {
				w.work(l)
				free <- struct{}{}
				w.kick()
			})
		}
		if len(ls) > 0 {
			continue
		}
		select {
		case <-stop:
			return
		case <-kick:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// work is one step.
func (w *wayfarers) work(l journal.Lease) {
	ctx := w.b.Context()
	read := func(name string, size int) bool {
		data, err := w.s.Body(ctx, l.Item.ID, name)
		if err != nil && err != journal.ErrNotFound || len(data) != size {
			w.b.Error(name, len(data), err)
		}
		return err == nil
	}
	now := time.Now()
	st := journal.Step{State: l.Item.State, Doc: l.Item.Doc, At: now, Bodies: map[string][]byte{}}
	note := func(kind gateway.EventKind, subject string) {
		st.Events = append(st.Events, gateway.Event{At: now, Kind: kind, Subject: subject})
	}
	switch _, packed := l.Item.Bodies[gateway.BodyDelivery]; {
	case l.Item.State == gateway.StateAccepted:
		read(gateway.BodyRequest, len(journeyRequest))
		for i := range 7 {
			st.Bodies[fmt.Sprintf("%sapplicant/record-%d", gateway.BodyFact, i)] = journeyFact
			st.Events = append(st.Events, gateway.Event{At: now, Kind: gateway.EventRecord, Subject: "registration", Source: "address-register", Note: "found"})
		}
		note(gateway.EventEnriched, "")
		st.State, st.Wake = gateway.StateEnriched, now
	case l.Item.State == gateway.StateEnriched && !packed:
		w.s.Body(ctx, l.Item.ID, gateway.BodyDelivery) //nolint:errcheck // it is not there, as the step finds out
		read(gateway.BodyRequest, len(journeyRequest))
		for i := range 7 {
			read(fmt.Sprintf("%sapplicant/record-%d", gateway.BodyFact, i), len(journeyFact))
		}
		st.Bodies[gateway.BodyDelivery] = journeyDelivery
		st.Wake = now
	case l.Item.State == gateway.StateEnriched:
		read(gateway.BodyDelivery, len(journeyDelivery))
		note(gateway.EventDelivered, "akimat")
		st.State = gateway.StateDelivered
	case l.Item.State == gateway.StateDelivered:
		for _, g := range l.Inbox {
			st.Consumed = append(st.Consumed, g.Key)
			st.Bodies["step/"+g.Key] = g.Body
			note(gateway.EventStep, g.Key)
			if g.Kind == "result" {
				st.Bodies[gateway.BodyResult] = g.Body
				st.State, st.Wake = gateway.StateDecided, now
			}
		}
	case l.Item.State == gateway.StateDecided:
		read(gateway.BodyResult, len(journeyMessage))
		note(gateway.EventNotified, l.Item.Portal)
		st.State, st.Wake = gateway.StateClosed, now.AddDate(1, 0, 0)
	}
	if err := w.s.Advance(ctx, l, st); err != nil {
		w.b.Error(err)
	}
	if st.Wake.IsZero() || st.State == gateway.StateClosed {
		w.mu.Lock()
		rest := w.resting[l.Item.ID]
		w.mu.Unlock()
		rest <- struct{}{}
	}
}

// processorTime is what the process has used of the processors so far, its own and the kernel's.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
