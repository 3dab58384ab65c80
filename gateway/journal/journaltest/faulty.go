package journaltest

import (
	"context"
	"sync"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// A Mode says when a Faulty store fails.
type Mode string

const (
	// Before: nothing was written.
	Before Mode = "failed before the write"
	// After: it was written, and the caller is not told.
	After Mode = "written but not acknowledged"
)

// A Faulty store fails the next call of a method once, before or after the write.
type Faulty struct {
	journal.Store
	mu   sync.Mutex
	next map[string]Mode // guarded by mu
	skip map[string]int  // guarded by mu: calls that still pass before the one that fails
}

// FailNth lets n calls of method pass and fails the one after them, once.
func (f *Faulty) FailNth(method string, n int, m Mode) {
	f.Fail(method, m)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.skip == nil {
		f.skip = map[string]int{}
	}
	f.skip[method] = n
}

// Fail makes the next call of method ("Create", "Claim", "Advance", "Signal", "Get") fail once.
func (f *Faulty) Fail(method string, m Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = map[string]Mode{}
	}
	f.next[method] = m
}

func (f *Faulty) fault(method string, do func()) error {
	f.mu.Lock()
	m, armed := f.next[method]
	if armed && f.skip[method] > 0 {
		f.skip[method]--
		armed = false
	} else {
		delete(f.next, method)
	}
	f.mu.Unlock()
	if !armed {
		do()
		return nil
	}
	if m == After {
		do()
	}
	return gateway.Errorf(gateway.JournalUnavailable, "injected: %s", m)
}

func (f *Faulty) Create(ctx context.Context, n journal.New) (it journal.Item, err error) {
	if fault := f.fault("Create", func() { it, err = f.Store.Create(ctx, n) }); fault != nil {
		return journal.Item{}, fault
	}
	return it, err
}

func (f *Faulty) Claim(ctx context.Context, o journal.ClaimOptions) (ls []journal.Lease, err error) {
	if fault := f.fault("Claim", func() { ls, err = f.Store.Claim(ctx, o) }); fault != nil {
		return nil, fault
	}
	return ls, err
}

func (f *Faulty) Advance(ctx context.Context, l journal.Lease, s journal.Step) (err error) {
	if fault := f.fault("Advance", func() { err = f.Store.Advance(ctx, l, s) }); fault != nil {
		return fault
	}
	return err
}

func (f *Faulty) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) (first journal.Signal, fresh bool, err error) {
	if fault := f.fault("Signal", func() { first, fresh, err = f.Store.Signal(ctx, id, g) }); fault != nil {
		return journal.Signal{}, false, fault
	}
	return first, fresh, err
}

func (f *Faulty) Get(ctx context.Context, id gateway.RequestID) (it journal.Item, err error) {
	if fault := f.fault("Get", func() { it, err = f.Store.Get(ctx, id) }); fault != nil {
		return journal.Item{}, fault
	}
	return it, err
}
