//go:build !race

package xmlsig_test

const raceEnabled = false
