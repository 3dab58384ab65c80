package revocation

import (
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
)

const (
	// clockTolerance is how far the wall clock may run away from the monotonic one between two
	// looks. Slewing by NTP stays far below it.
	clockTolerance = 30 * time.Second
	// clockSettles is how long after a jump nothing is decided.
	clockSettles = time.Minute
	clockEvery   = 30 * time.Second
)

// A clock compares the wall clock with the monotonic one. Freshness and validity are judged by
// the wall clock alone, so one that jumps would let old evidence count again, or refuse good
// certificates for good. It is safe for concurrent use.
type clock struct {
	start     time.Time
	monotonic func() time.Duration // nil: the reading that comes with start, if any
	zero      time.Duration        // what monotonic said at start
	offset    atomic.Int64         // wall minus monotonic at the last look, nanoseconds
	unsteady  atomic.Int64         // monotonic instant until which nothing is decided, nanoseconds
}

func newClock(start time.Time, monotonic func() time.Duration) *clock {
	c := &clock{start: start, monotonic: monotonic}
	if monotonic != nil {
		c.zero = monotonic()
	}
	return c
}

// look returns [gateway.ClockUnreliable] while the clock is not steady. Of readings without a
// monotonic part nothing can be said, so they are believed.
func (c *clock) look(now time.Time) error {
	wall := now.Round(0)
	var passed time.Duration
	switch {
	case c.monotonic != nil:
		passed = c.monotonic() - c.zero
	case wall != now && c.start.Round(0) != c.start: // both carry a monotonic reading
		passed = now.Sub(c.start)
	default:
		return nil
	}
	offset := int64(wall.Sub(c.start.Round(0)) - passed)
	last := c.offset.Load()
	if moved := offset - last; moved > int64(clockTolerance) || moved < -int64(clockTolerance) {
		c.offset.Store(offset)
		c.unsteady.Store(int64(passed + clockSettles))
	} else if moved != 0 {
		c.offset.CompareAndSwap(last, offset)
	}
	if int64(passed) < c.unsteady.Load() {
		return gateway.Errorf(gateway.ClockUnreliable, "the clock jumped; nothing is decided until it has been steady for %v", clockSettles)
	}
	return nil
}

// Steady returns nil, or [gateway.ClockUnreliable] for a minute after the wall clock jumped
// against the monotonic one. [Checker.Check] says the same.
func (c *Checker) Steady() error { return c.clock.look(c.now()) }
