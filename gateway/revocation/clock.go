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

// clockSlew is how fast the wall clock may drift from the monotonic one: twice what NTP slews at most.
// What is faster adds up to a jump, however small its steps are.
const clockSlew = 1000 // one second in so many

// A clock compares the wall clock with the monotonic one. Freshness and validity are judged by
// the wall clock alone, so one that jumps would let old evidence count again, or refuse good
// certificates for good. It is safe for concurrent use.
type clock struct {
	start     time.Time
	carries   bool                 // start carries a monotonic reading
	monotonic func() time.Duration // nil: the reading that comes with start, if any
	zero      time.Duration        // what monotonic said at start
	offset    atomic.Int64         // wall minus monotonic as it is expected to be, nanoseconds
	slewed    atomic.Int64         // monotonic instant at which offset was brought up to date, nanoseconds
	unsteady  atomic.Int64         // monotonic instant until which nothing is decided, nanoseconds
}

func newClock(start time.Time, monotonic func() time.Duration) *clock {
	c := &clock{start: start, carries: start.Round(0) != start, monotonic: monotonic}
	if monotonic != nil {
		c.zero = monotonic()
	}
	return c
}

// passed is the time since the start that nobody can set back; ok is false when now has no such reading.
func (c *clock) passed(now time.Time) (passed time.Duration, ok bool) {
	switch {
	case c.monotonic != nil:
		return c.monotonic() - c.zero, true
	case c.carries && now.Round(0) != now: // both carry a monotonic reading
		return now.Sub(c.start), true
	}
	return 0, false
}

// look returns [gateway.ClockUnreliable] while the clock is not steady. Of readings without a
// monotonic part nothing can be said, so they are believed.
func (c *clock) look(now time.Time) error {
	passed, ok := c.passed(now)
	if !ok {
		return nil
	}
	offset := int64(now.Round(0).Sub(c.start.Round(0)) - passed)
	expected := c.offset.Load()
	moved := offset - expected
	if moved > int64(clockTolerance) || moved < -int64(clockTolerance) {
		c.offset.Store(offset)
		c.slewed.Store(int64(passed))
		c.unsteady.Store(int64(passed + clockSettles))
	} else if at := c.slewed.Load(); moved != 0 && int64(passed)-at >= int64(time.Second) && c.slewed.CompareAndSwap(at, int64(passed)) {
		most := (int64(passed) - at) / clockSlew
		c.offset.CompareAndSwap(expected, expected+max(-most, min(most, moved)))
	}
	if int64(passed) < c.unsteady.Load() {
		return gateway.Errorf(gateway.ClockUnreliable, "the clock jumped; nothing is decided until it has been steady for %v", clockSettles)
	}
	return nil
}

// A stamp is when something was learned, by both clocks.
type stamp struct {
	wall   int64 // nanoseconds since 1970
	passed int64 // nanoseconds; below 0 without a monotonic reading
}

func (c *clock) stamp(now time.Time) stamp {
	passed, ok := c.passed(now)
	if !ok {
		passed = -1
	}
	return stamp{now.UnixNano(), int64(passed)}
}

// since is now, but never earlier than s and the time that has passed since: what was learned does not
// get younger when the wall clock goes back.
func (c *clock) since(s *stamp, now time.Time) time.Time {
	if s.passed < 0 {
		return now
	}
	if passed, ok := c.passed(now); ok {
		if ahead := s.wall + int64(passed) - s.passed - now.UnixNano(); ahead > 0 {
			return now.Round(0).Add(time.Duration(ahead))
		}
	}
	return now
}

// Steady returns nil, or [gateway.ClockUnreliable] for a minute after the wall clock jumped
// against the monotonic one. [Checker.Check] says the same.
func (c *Checker) Steady() error { return c.clock.look(c.now()) }
