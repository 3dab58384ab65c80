package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/shep"
)

var evening = time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)

// A countedStore counts what is read from it.
type countedStore struct {
	journal.Store
	pages, items, bodies int
}

func (c *countedStore) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	page, next, err := c.Store.List(ctx, q)
	c.pages, c.items = c.pages+1, c.items+len(page)
	return page, next, err
}

func (c *countedStore) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	c.bodies++
	return c.Store.Body(ctx, id, name)
}

func requestID(n int) gateway.RequestID { return gateway.RequestID(fmt.Sprintf("%032x", n+1)) }

// anOutbox is a participant and the outbox with its queue, in a new journal.
func anOutbox(t testing.TB) (*Outbox, *Participant, *countedStore) {
	t.Helper()
	d, err := NewDirectory([]Participant{{Name: "egov", SenderID: "EGOV", PasswordSHA256: [32]byte{1}, Portals: []string{"egov.kz"},
		Services: map[string]string{"S-HOUSING": "housing-aid", "S-LAND": "land"}}})
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	counted := &countedStore{Store: store}
	o, err := NewOutbox(d, counted, func() time.Time { return evening }, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return o, d.named("egov"), counted
}

// notify makes the letters from..to wait, the older ones first where one calls at a time.
func notify(t testing.TB, o *Outbox, service string, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		err := o.Notify(context.Background(), "egov.kz", requestID(n), flow.Notice{Door: DoorAsync, Service: service, Step: "1", At: evening, Document: fmt.Appendf(nil, "<step>%06d</step>", n)})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func roomFor(amount int) answerRoom {
	return answerRoom{amount: amount, bytes: 1 << 20, reserve: func(int64) error { return nil }, pace: func(ctx context.Context) error { return ctx.Err() }}
}

// However long a queue is, a question costs what it is answered.
func TestAQueueIsReadNoFurtherThanItIsAnswered(t *testing.T) {
	o, p, store := anOutbox(t)
	notify(t, o, "housing-aid", 0, 300)
	notify(t, o, "land", 300, 310)
	notify(t, o, "housing-aid", 310, 320)
	span := func(from, to int) (all []int) {
		for n := from; n < to; n++ {
			all = append(all, n)
		}
		return all
	}
	errRoom := gateway.Errorf(gateway.Overload, "no room")
	tests := []struct {
		name    string
		q       shep.MessagesQuery
		amount  int
		bytes   int // 0: as many as there are
		rooms   int // messages that there is memory for; 0: for all
		want    []int
		items   int // read at most
		bodies  int
		paced   int
		wantErr gateway.Reason
	}{
		{"one message", shep.MessagesQuery{ServiceID: "S-HOUSING"}, 1, 0, 0, span(0, 1), 1, 1, 0, ""},
		{"as many as are asked for", shep.MessagesQuery{ServiceID: "S-HOUSING"}, 20, 0, 0, span(0, 20), 20, 20, 0, ""},
		{"one page more than there is", shep.MessagesQuery{ServiceID: "S-LAND"}, 20, 0, 0, span(300, 310), 10, 10, 0, ""},
		{"the bytes of two", shep.MessagesQuery{ServiceID: "S-HOUSING"}, 20, 50, 0, span(0, 2), 20, 3, 0, ""},
		{"one in any case", shep.MessagesQuery{ServiceID: "S-HOUSING"}, 20, 1, 0, span(0, 1), 20, 2, 0, ""},
		{"memory for three", shep.MessagesQuery{ServiceID: "S-HOUSING"}, 20, 0, 3, span(0, 3), 20, 4, 0, ""},
		{"memory for none", shep.MessagesQuery{ServiceID: "S-HOUSING"}, 20, 0, -1, nil, 20, 1, 0, gateway.Overload},
		{"the chain at the head", shep.MessagesQuery{ServiceID: "S-HOUSING", CorrelationID: shep.Chain(requestID(0))}, 1, 0, 0, span(0, 1), 1, 1, 0, ""},
		{"the chain at the end is walked to, by paced pages", shep.MessagesQuery{ServiceID: "S-HOUSING", CorrelationID: shep.Chain(requestID(319))}, 20, 0, 0, span(319, 320), 310, 1, 2, ""},
		{"another service's chain", shep.MessagesQuery{ServiceID: "S-LAND", CorrelationID: shep.Chain(requestID(0))}, 20, 0, 0, nil, 10, 0, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store.pages, store.items, store.bodies = 0, 0, 0
			room, reserved, paced := roomFor(tt.amount), 0, 0
			if tt.bytes > 0 {
				room.bytes = tt.bytes
			}
			room.reserve = func(int64) error {
				if reserved++; tt.rooms != 0 && reserved > tt.rooms {
					return errRoom
				}
				return nil
			}
			room.pace = func(context.Context) error { paced++; return nil }
			all, err := o.waiting(t.Context(), p, &tt.q, room)
			if gateway.ReasonOf(err) != tt.wantErr {
				t.Fatal(err)
			}
			var got []int
			for _, m := range all {
				id, err := shep.RequestOf(m.CorrelationID)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, slices.IndexFunc(span(0, 320), func(n int) bool { return requestID(n) == id }))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("answered %v, want %v", got, tt.want)
			}
			if store.items > tt.items || store.bodies > tt.bodies || paced != tt.paced {
				t.Errorf("%d items and %d bodies were read in %d pages, %d paced; want at most %d, %d, and %d", store.items, store.bodies, store.pages, paced, tt.items, tt.bodies, tt.paced)
			}
		})
	}
}

// Whoever asks for a chain that does not wait is told so, at his own cost; a walk ends with its time.
func TestAWalkIsPacedByTheParticipantsRate(t *testing.T) {
	o, p, _ := anOutbox(t)
	notify(t, o, "housing-aid", 0, 5)
	q := &shep.MessagesQuery{ServiceID: "S-HOUSING", CorrelationID: shep.Chain(requestID(99))}
	room := roomFor(1)
	room.pace = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.waiting(ctx, p, q, room); gateway.ReasonOf(err) != gateway.PortalLimit {
		t.Errorf("a walk whose time is over: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		d, err := NewDirectory([]Participant{{Name: "egov", SenderID: "EGOV", PasswordSHA256: [32]byte{1}, Rate: 4}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 8 + 20 { // the bucket holds eight
			if err := d.await(t.Context(), d.named("egov"), time.Now); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("20 tokens at 4 a second came in %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := d.await(ctx, d.named("egov"), time.Now); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a token after the time: %v", err)
		}
		empty, err := NewDirectory(nil)
		if err != nil {
			t.Fatal(err)
		}
		gone := d.named("egov")
		d.Replace(empty)
		if err := d.await(t.Context(), gone, time.Now); gateway.ReasonOf(err) != gateway.PortalUnauthenticated {
			t.Errorf("one who was taken out: %v", err)
		}
	})
}

// The cost of one message out of a queue, and what it is of that of an empty queue in the same run.
func BenchmarkGetOneMessage(b *testing.B) {
	const letters = 100_000
	full, p, _ := anOutbox(b)
	var wg sync.WaitGroup
	const writers = 200
	for w := range writers {
		wg.Go(func() { notify(b, full, "housing-aid", w*letters/writers, (w+1)*letters/writers) })
	}
	wg.Wait()
	empty, nobody, _ := anOutbox(b)
	q := &shep.MessagesQuery{ServiceID: "S-HOUSING"}
	ask := func(o *Outbox, p *Participant, want int) time.Duration {
		start := time.Now()
		all, err := o.waiting(b.Context(), p, q, roomFor(1))
		if err != nil || len(all) != want {
			b.Fatalf("%d messages, %v", len(all), err)
		}
		return time.Since(start)
	}
	var took, base time.Duration
	for b.Loop() {
		took += ask(full, p, 1)
		base += ask(empty, nobody, 0)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/full")
	b.ReportMetric(float64(base.Nanoseconds())/float64(b.N), "ns/empty")
	b.ReportMetric(float64(took)/float64(base), "times")
}
