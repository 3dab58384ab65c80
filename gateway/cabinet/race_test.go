//go:build race

package cabinet_test

// The race detector empties pools at random and slows down: allocations and times mean nothing.
const raceEnabled = true
