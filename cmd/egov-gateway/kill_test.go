package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/peer"
	"egov-gateway/gateway/intake"
)

// runAsGateway makes the test binary behave as the command, so that a test can start and
// kill a real process.
const runAsGateway = "EGOV_GATEWAY_TEST_RUN"

// process starts `serve` as a process of its own and waits until it is ready.
func (l *lab) process(t testing.TB) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "serve", "--config", l.config)
	cmd.Env = append(os.Environ(), runAsGateway+"=1")
	if peer.Differs(time.Now()) { // then a server's clock, Redis' say, cannot be the journal's
		cmd.Env = append(cmd.Env, crashHooks+"={}")
	}
	var logs bytes.Buffer
	cmd.Stderr = &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(l.admin + "/readyz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return cmd
		}
	}
	t.Fatalf("the gateway is not ready: %s", logs.String())
	return nil
}

// Between 202 and delivery the gateway is killed: after a restart the request finishes, once.
func TestKilledBetween202AndDelivery(t *testing.T) {
	l, err := newLab(t.TempDir(), time.Now(), nil, slog.New(slog.DiscardHandler), func(c *statesim.Config) { c.Factor = 1e6 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go l.world.Run(ctx) //nolint:errcheck // ends with ctx
	cmd := l.process(t)

	// The provider does not answer: what was accepted waits between 202 and delivery.
	if err := l.world.SetFaults("taraz", statesim.Fault{Kind: statesim.Hang}); err != nil {
		t.Fatal(err)
	}
	const requests = 5
	var ids []gateway.RequestID
	for n := range requests {
		r := l.mustAccept(t, l.draft(fmt.Sprintf("citizen-%02d", n+1), taraz), fmt.Sprintf("citizen-%02d", n+1))
		ids = append(ids, r.ID)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := l.world.SetFaults("taraz"); err != nil {
		t.Fatal(err)
	}
	cmd = l.process(t)
	for _, id := range ids {
		var p intake.Progress
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if p, err = l.progress(id); err == nil && closed(p) {
				break
			}
		}
		if !closed(p) || p.Result == nil {
			t.Errorf("request %s: state %s after the restart", id, p.State)
		}
		if n := l.world.State().Requests[string(id)].Effects; n != 1 {
			t.Errorf("request %s: %d effects at the provider", id, n)
		}
	}
	if n := len(l.world.Notices()); n != requests {
		t.Errorf("the portal was told of %d results", n)
	}
	// SIGTERM ends it in order, with nothing left to do.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestHelpIsComplete(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"--help"}, &out, &errs); code != 0 {
		t.Errorf("--help exits %d: %s", code, &errs)
	}
	for _, command := range []string{"serve", "config check", "config example", "demo", "verify", "corpus generate", "corpus check", "corpus adapter", "replay", "record", "bench", "canonicalize", "sign", "certs check", "certs generate", "passport check", "journal stats", "journal show", "journal stuck", "journal redrive", "journal backup", "journal verify"} {
		if !strings.Contains(out.String(), command) {
			t.Errorf("--help does not name %s", command)
		}
		var help bytes.Buffer
		if code := run(append(strings.Fields(command), "--help"), &help, &errs); code != 0 || !strings.Contains(help.String(), "Usage: egov-gateway "+command) {
			t.Errorf("%s --help: %d\n%s", command, code, &help)
		}
		for _, line := range strings.Split(help.String(), "\n") {
			if f := strings.Fields(line); len(f) == 1 && strings.HasPrefix(f[0], "--") {
				t.Errorf("%s: the flag %s has no help", command, f[0])
			}
		}
	}
	if code := run([]string{"verify"}, &out, &errs); code != exitUsage {
		t.Errorf("usage exits %d", code)
	}
	if code := run([]string{"serve", "--config", filepath.Join(t.TempDir(), "none.yaml")}, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "none.yaml") {
		t.Errorf("a missing file: %d %s", code, &errs)
	}
}
