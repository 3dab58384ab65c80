//go:build !race

package cabinet_test

const raceEnabled = false
