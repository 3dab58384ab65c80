// Package growth tests that what nobody believes yet costs time and memory by its length alone.
package growth

import (
	"runtime"
	"testing"
	"time"
)

// A Shape is one kind of hostile input, and what working on it may cost.
type Shape struct {
	// Inputs are of the same kind, each twice as long as the one before.
	Inputs [4][]byte
	// Work reads one of them.
	Work func(input []byte)
	// Memory is how many octets the work may allocate for an input of so many.
	Memory func(octets int) int
	// Runs is of how many the fastest counts, Floor what is too short to be told apart.
	Runs  int
	Floor time.Duration
}

// Check fails t when the work allocates more than it may, or takes more than twenty times as long for the
// longest input, which is eight times as long as the shortest. Under the race detector it skips t.
func Check(t *testing.T, s Shape) {
	t.Helper()
	if RaceDetector {
		t.Skip("times and memory mean nothing under the race detector")
	}
	for _, input := range s.Inputs {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC() // what the pools kept from before the first
		runtime.ReadMemStats(&before)
		s.Work(input)
		runtime.ReadMemStats(&after)
		if octets := int(after.TotalAlloc - before.TotalAlloc); octets > s.Memory(len(input)) {
			t.Errorf("%d octets of memory for %d", octets, len(input))
		}
	}
	fastest := func(input []byte) time.Duration {
		best := time.Hour
		for range s.Runs {
			start := time.Now()
			s.Work(input)
			best = min(best, time.Since(start))
		}
		return best
	}
	shortest, longest := s.Inputs[0], s.Inputs[3]
	var small, large time.Duration
	for range 8 { // a busy machine gets more than one chance
		if small, large = fastest(shortest), fastest(longest); large < 20*max(small, s.Floor) {
			return
		}
	}
	t.Errorf("%v for %d octets, %v for %d", small, len(shortest), large, len(longest))
}
