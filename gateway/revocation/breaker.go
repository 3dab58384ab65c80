package revocation

import (
	"sync"
	"time"
)

// A breaker spares a responder that does not answer: after five failures in a row it lets one
// request through every five seconds, until one succeeds.
type breaker struct {
	mu       sync.Mutex // guards all below
	failures int
	asked    bool
	answered bool      // the last request succeeded
	probe    time.Time // when the next request may pass
}

const (
	breakerFailures = 5
	breakerPause    = 5 * time.Second
)

func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakerFailures {
		return true
	}
	if now.Before(b.probe) {
		return false
	}
	b.probe = now.Add(breakerPause)
	return true
}

func (b *breaker) record(ok bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.answered = true, ok
	if ok {
		b.failures = 0
		return
	}
	if b.failures++; b.failures == breakerFailures {
		b.probe = now.Add(breakerPause)
	}
}

func (b *breaker) open() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= breakerFailures
}

// answers reports whether the last request succeeded; first is the answer for a responder that
// was never asked.
func (b *breaker) answers(first bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.asked {
		return first
	}
	return b.answered
}
