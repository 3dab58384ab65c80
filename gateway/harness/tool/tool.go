// Package tool says what a test does on a machine that lacks what the test needs: it is left out where
// somebody develops, and fails in continuous integration, where nothing may be left out in silence. TEST ONLY.
package tool

import (
	"os"
	"os/exec"
	"testing"
)

// Path is where a program is. Without it the test ends as [Missing] says; debian is the package to install.
func Path(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is missing: apt-get install %s", name, debian)
	}
	return path
}

// Missing ends the test, which needs what this machine has not: it fails when CI is "true" in the
// environment, and is skipped else.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}
