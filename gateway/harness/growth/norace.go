//go:build !race

package growth

// RaceDetector says that the program runs under it.
const RaceDetector = false
