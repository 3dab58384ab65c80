//go:build !race

package verification_test

const raceEnabled = false
