//go:build !race

package shep_test

const raceEnabled = false
