package admission

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// turns hands out the processors. Among those who wait, parties take turns, however many
// computations each of them has; strangers have one at a time, all together.
type turns struct {
	mu        sync.Mutex                 // guards all below
	free      int                        // processors
	strangers int                        // computations of strangers under way
	waiting   map[string][]chan struct{} // by party, the first first
	order     []string                   // parties with somebody waiting; the next one to have a turn first
}

// Work runs f when it is the place's turn. The error is that of f, or [gateway.Overload] when ctx
// ended before.
func (p *Place) Work(ctx context.Context, f func() error) error {
	return p.door.house.Work(ctx, p.account.name, f)
}

// Work runs f, which only computes, when it is the party's turn. The error is that of f, or carries
// [gateway.Overload] when ctx ended before. It must not be called from within f.
func (h *House) Work(ctx context.Context, party string, f func() error) error {
	start := time.Now()
	if err := h.turns.await(ctx, party); err != nil {
		return err
	}
	defer h.turns.pass(party)
	h.c.Waited(time.Since(start))
	return f()
}

// Waiting is how many computations wait for a processor.
func (h *House) Waiting() int {
	h.turns.mu.Lock()
	defer h.turns.mu.Unlock()
	n := 0
	for _, all := range h.turns.waiting {
		n += len(all)
	}
	return n
}

func (t *turns) await(ctx context.Context, party string) error {
	t.mu.Lock()
	if t.free > 0 && t.may(party) {
		t.start(party)
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(t.waiting[party]) == 0 {
		t.order = append(t.order, party)
	}
	t.waiting[party] = append(t.waiting[party], turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leaveQueue(party, turn) {
		return gateway.Errorf(gateway.Overload, "nobody waited for the processor any more: %w", context.Cause(ctx))
	}
	return nil // the turn came at the same moment
}

// may needs mu.
func (t *turns) may(party string) bool { return party != Stranger || t.strangers == 0 }

// start needs mu.
func (t *turns) start(party string) {
	t.free--
	if party == Stranger {
		t.strangers++
	}
}

// leaveQueue reports whether turn was still waiting; it needs mu.
func (t *turns) leaveQueue(party string, turn chan struct{}) bool {
	i := slices.Index(t.waiting[party], turn)
	if i < 0 {
		return false
	}
	t.waiting[party] = slices.Delete(t.waiting[party], i, i+1)
	t.tidy(party)
	return true
}

// tidy forgets a party with nobody waiting; it needs mu.
func (t *turns) tidy(party string) {
	if len(t.waiting[party]) > 0 {
		return
	}
	delete(t.waiting, party)
	if i := slices.Index(t.order, party); i >= 0 {
		t.order = slices.Delete(t.order, i, i+1)
	}
}

// pass gives the processor to the next party whose turn it is.
func (t *turns) pass(party string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if party == Stranger {
		t.strangers--
	}
	for t.free > 0 {
		i := slices.IndexFunc(t.order, t.may)
		if i < 0 {
			return
		}
		next := t.order[i]
		turn := t.waiting[next][0]
		t.waiting[next] = t.waiting[next][1:]
		t.order = append(slices.Delete(t.order, i, i+1), next)
		t.tidy(next)
		t.start(next)
		close(turn)
	}
}

// Memory of a scanned document, measured: an element or an attribute takes at most so many bytes.
const perToken = 128

// usual is how many times its own size a document may take without being counted: what rooms are
// made for.
const usual = 4

// Weight is how many bytes the scanner of a document allocates beyond four times its size. It is 0
// for ordinary ones; one that is made of empty elements takes thirty times its size.
func Weight(doc []byte) int64 {
	return max(0, int64(Markup(doc))*perToken-usual*int64(len(doc)))
}

// Markup is how many tags and attributes a document can have at most; counting is as quick as memory.
func Markup(doc []byte) int { return bytes.Count(doc, []byte{'<'}) + bytes.Count(doc, []byte{'='}) }
