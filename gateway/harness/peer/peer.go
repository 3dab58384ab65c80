// Package peer runs programs of others in tests, at the instant at which the test lives. TEST ONLY.
package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tolerance is how far a test's instant may lie from the machine's clock without a difference for a peer.
const tolerance = time.Minute

// Command is [exec.CommandContext] for a program that reads the clock: where at is not the machine's own
// time it runs under Debian's faketime, from at on at the pace of the real clock. It is the command's own
// process that ends when the command is killed. Programs that are not linked dynamically, such as Go's,
// keep the machine's time.
func Command(ctx context.Context, at time.Time, name string, args ...string) *exec.Cmd {
	if !Differs(at) {
		return exec.CommandContext(ctx, name, args...)
	}
	c := exec.CommandContext(ctx, name, args...)
	library, err := library()
	c.Err = errors.Join(c.Err, err)
	c.Env = append(os.Environ(), "LD_PRELOAD="+library, "FAKETIME="+at.UTC().Format("@2006-01-02 15:04:05"), "TZ=UTC")
	return c
}

// library is faketime's, as it would load it itself; it stays between a command and who kills it.
var library = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("faketime", "-f", "+0", "printenv", "LD_PRELOAD").Output()
	if err != nil {
		return "", fmt.Errorf("another time needs faketime (package faketime): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// Differs reports whether an instant is another than the machine's own time. A server that cannot be run
// under faketime, such as Redis with its allocator, keeps that time.
func Differs(at time.Time) bool { return at.Sub(machineTime()).Abs() >= tolerance }

// machineTime asks the kernel, because a test binary may have been built with another time.Now.
func machineTime() time.Time {
	var t syscall.Timeval
	if err := syscall.Gettimeofday(&t); err != nil {
		return time.Now()
	}
	return time.Unix(t.Unix())
}
