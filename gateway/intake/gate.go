package intake

import (
	"sync"
	"time"

	"egov-gateway/gateway"
)

// Defaults of Config: what the door takes on at once. Beyond, a portal is told within
// milliseconds to come again, so that what was let in is answered soon.
const (
	// DefaultConcurrent bounds the admissions worked on at once.
	DefaultConcurrent = 128
	// DefaultInFlight bounds the bytes of bodies being read or worked on.
	DefaultInFlight = 256 << 20
)

// busyFor is how long after its last refusal for want of room the door calls itself busy.
const busyFor = 5 * time.Second

// A gate counts what is inside the door. It never waits.
type gate struct {
	concurrent int
	bytes      int64

	mu       sync.Mutex
	share    map[string]int // guarded by mu, by portal; 0 is no share of its own
	inside   int            // guarded by mu
	reading  int64          // guarded by mu
	byPortal map[string]int // guarded by mu
	refused  time.Time      // guarded by mu: when somebody was last sent away
}

func newGate(concurrent int, bytes int64) *gate {
	return &gate{concurrent: concurrent, bytes: bytes, byPortal: map[string]int{}}
}

func (g *gate) setShares(portals []Portal) {
	share := map[string]int{}
	for _, p := range portals {
		share[p.Name] = p.Concurrent
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.share = share
}

// read takes room for a body of n bytes; leave gives it back. The error carries
// [gateway.Overload].
func (g *gate) read(n int64, now time.Time) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reading > 0 && g.reading+n > g.bytes {
		g.refused = now
		return nil, gateway.Errorf(gateway.Overload, "%d MB of requests are being read", g.reading>>20)
	}
	g.reading += n
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.reading -= n
	}, nil
}

// room says whether a request would be let in now, so that one that would not be is sent away
// before its body is read. The error is that of enter.
func (g *gate) room(portal string, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.full(portal, now)
}

// full needs mu.
func (g *gate) full(portal string, now time.Time) error {
	if share := g.share[portal]; share > 0 && g.byPortal[portal] >= share {
		return gateway.Errorf(gateway.PortalLimit, "%d requests of this portal are being worked on; it may have %d", g.byPortal[portal], share)
	}
	if g.inside >= g.concurrent {
		g.refused = now
		return gateway.Errorf(gateway.Overload, "%d requests are being worked on", g.inside)
	}
	return nil
}

// enter takes a place for one admission; leave gives it back. The error carries
// [gateway.Overload], or [gateway.PortalLimit] when the portal's own share is used up.
func (g *gate) enter(portal string, now time.Time) (leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.full(portal, now); err != nil {
		return nil, err
	}
	g.inside++
	g.byPortal[portal]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inside--
		g.byPortal[portal]--
	}, nil
}

// Busy returns [gateway.Overload] while requests are being sent away for want of room.
func (d *Desk) Busy() error {
	g := d.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.refused.IsZero() && d.c.Now().Sub(g.refused) < busyFor {
		return gateway.Errorf(gateway.Overload, "requests are sent away: %d are being worked on, %d MB are being read", g.inside, g.reading>>20)
	}
	return nil
}

// compute runs f, which only computes, when a processor is free for it: were all admissions
// computed at once, who is sent away would wait behind them for the processor.
func (d *Desk) compute(f func() error) error {
	d.processors <- struct{}{}
	defer func() { <-d.processors }()
	return f()
}
