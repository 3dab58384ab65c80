//go:build race

package growth

// RaceDetector says that the program runs under it: it empties pools at random and slows down, so that
// allocations and times mean nothing.
const RaceDetector = true
