//go:build race

package intake_test

// The race detector empties pools at random and slows down: allocations and times mean nothing.
const raceEnabled = true
