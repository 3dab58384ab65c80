// Package peer runs programs of others in tests, at the instant at which the test lives. TEST ONLY.
package peer

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// tolerance is how far a test's instant may lie from the machine's clock without a difference for a peer.
const tolerance = time.Minute

// Command is [exec.CommandContext] for a program that reads the clock: where at is not the machine's own
// time it runs under Debian's faketime, from at on at the pace of the real clock. Programs that are not
// linked dynamically, such as Go's, keep the machine's time.
func Command(ctx context.Context, at time.Time, name string, args ...string) *exec.Cmd {
	if at.Sub(machineTime()).Abs() < tolerance {
		return exec.CommandContext(ctx, name, args...)
	}
	return exec.CommandContext(ctx, "faketime", append([]string{"-f", at.UTC().Format("@2006-01-02 15:04:05"), name}, args...)...)
}

// machineTime asks the kernel, because a test binary may have been built with another time.Now.
func machineTime() time.Time {
	var t syscall.Timeval
	if err := syscall.Gettimeofday(&t); err != nil {
		return time.Now()
	}
	return time.Unix(t.Unix())
}
