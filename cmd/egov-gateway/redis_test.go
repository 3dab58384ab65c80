package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/redis/go-redis/v9"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/intake"
)

// newRedis starts a redis-server of this test alone, with the settings a journal needs.
func newRedis(t testing.TB) (string, *redis.Client) {
	t.Helper()
	tool.Path(t, "redis-server", "redis-server")
	redis.SetLogger(clientLog{slog.New(slog.DiscardHandler)})
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	c := redis.NewClient(&redis.Options{Addr: address})
	t.Cleanup(func() { c.Close() })
	for end := time.Now().Add(2 * time.Minute); c.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("redis-server does not answer")
		}
	}
	return "redis://" + address, c
}

// onRedis moves the lab's journal into Redis.
func (l *lab) onRedis(t testing.TB, url string) {
	t.Helper()
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	c.Journal = JournalConfig{Redis: Addresses{url}, Archive: "archive"}
	c.Attachments = "attachments"
	l.write(t, c, l.config)
}

func (l *lab) write(t testing.TB, c *Config, file string) {
	t.Helper()
	raw, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// second is another gateway of the same journal, with doors and a data directory of its own.
func (l *lab) second(t testing.TB) *lab {
	t.Helper()
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []*string{&c.Listen, &c.Admin, &c.Console.Listen} {
		if *a, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	c.Data = "data of the second"
	o := &lab{dir: l.dir, config: filepath.Join(l.dir, "second.yaml"), base: "http://" + c.Listen, admin: "http://" + c.Admin, clock: l.clock, log: l.log, token: l.token, keys: l.keys, pki: l.pki}
	l.write(t, c, o.config)
	return o
}

// ran says how many steps a gateway has run.
func (l *lab) ran(t *testing.T) (n int) {
	t.Helper()
	_, _, metrics := get(t, l.admin+"/metrics")
	for _, m := range regexp.MustCompile(`(?m)^egov_gateway_step_duration_seconds_count\{.*\} (\d+)$`).FindAllSubmatch(metrics, -1) {
		k, _ := strconv.Atoi(string(m[1]))
		n += k
	}
	return n
}

// Two gateways share one journal's work. One is killed while it holds requests: the other takes
// them over when their leases end, not before, and the provider sees each request once.
func TestTwoGatewaysOnOneRedis(t *testing.T) {
	l, err := newLab(t.TempDir(), time.Now(), nil, slog.New(slog.DiscardHandler), func(c *statesim.Config) { c.Factor = 1e6 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	go l.world.Run(t.Context()) //nolint:errcheck // ends with the test
	url, r := newRedis(t)
	l.onRedis(t, url)
	other := l.second(t)
	first, second := l.process(t), other.process(t)

	var ids []gateway.RequestID
	finished := func() {
		t.Helper()
		for _, id := range ids {
			var p intake.Progress
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && !closed(p); time.Sleep(50 * time.Millisecond) {
				p, _ = l.progress(id)
			}
			if !closed(p) || p.Result == nil {
				t.Errorf("request %s: state %s", id, p.State)
			}
			if n := l.world.State().Requests[string(id)].Effects; n != 1 {
				t.Errorf("request %s: %d effects at the provider", id, n)
			}
		}
	}
	for n := range 8 {
		citizen := fmt.Sprintf("citizen-%02d", n%4+1)
		ids = append(ids, []*lab{l, other}[n%2].mustAccept(t, l.draft(citizen, taraz), citizen).ID)
	}
	finished()
	if a, b := l.ran(t), other.ran(t); a == 0 || b == 0 {
		t.Errorf("the gateways ran %d and %d steps", a, b)
	}

	// The provider hangs, the second gateway alone holds the requests, and is killed.
	if err := l.world.SetFaults("taraz", statesim.Fault{Kind: statesim.Hang}); err != nil {
		t.Fatal(err)
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	const held = 4
	for n := range held {
		citizen := fmt.Sprintf("citizen-%02d", n+1)
		ids = append(ids, other.mustAccept(t, l.draft(citizen, taraz), citizen).ID)
	}
	leased := func() int {
		n, err := r.ZCard(t.Context(), "eg:{journal}:lse:zhambyl").Result()
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	for end := time.Now().Add(2 * time.Minute); leased() < held; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests are held", leased())
		}
	}
	if err := second.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second.Wait()
	taken := leased()
	if err := l.world.SetFaults("taraz"); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if n := leased(); n != taken || n == 0 {
		t.Errorf("%d of %d leases are left before they ended", n, taken)
	}
	l.clock.HopTo(l.clock.Now().Add(2 * time.Minute))
	if err := l.svc.checker.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	finished()
	if n := len(l.world.Notices()); n != len(ids) {
		t.Errorf("the portal was told of %d results, want %d", n, len(ids))
	}
}

// /readyz names the setting that makes Redis unsafe, and nothing is acknowledged meanwhile.
func TestReadyzSaysWhyRedisIsNotWrittenTo(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	url, r := newRedis(t)
	l.onRedis(t, url)
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	ready := func(want int, words string) {
		t.Helper()
		var status int
		var body []byte
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if status, _, body = get(t, l.admin+"/readyz"); status == want && strings.Contains(string(body), words) {
				return
			}
		}
		t.Errorf("/readyz: %d %s", status, body)
	}
	ready(http.StatusOK, `"journal":"ok"`)
	if err := r.ConfigSet(t.Context(), "appendfsync", "everysec").Err(); err != nil {
		t.Fatal(err)
	}
	ready(http.StatusServiceUnavailable, "appendfsync always")
	if a := l.mustSubmit(t, l.draft("citizen-01", taraz), "citizen-01"); a.status != http.StatusServiceUnavailable {
		t.Errorf("a request: %d %s", a.status, a.body)
	}
	if err := r.ConfigSet(t.Context(), "appendfsync", "always").Err(); err != nil {
		t.Fatal(err)
	}
	ready(http.StatusOK, `"journal":"ok"`)
	l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
}

// The journal commands work on a journal in Redis as on one in a directory.
func TestJournalCommandsOnRedis(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	url, _ := newRedis(t)
	l.onRedis(t, url)
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	if err := l.world.SetFaults("taraz", statesim.Fault{Kind: statesim.Reject}); err != nil {
		t.Fatal(err)
	}
	id := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01").ID
	l.await(t, id, func(p intake.Progress) bool { return p.State == gateway.StateParked })
	command := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		args = append([]string{"journal", args[0], "--config", l.config}, args[1:]...)
		if code := run(args, &out, &errs); code != want {
			t.Fatalf("%v exits %d: %s%s", args, code, &out, &errs)
		}
		return out.String() + errs.String()
	}
	if out := command(0, "stats"); !strings.Contains(out, "parked") {
		t.Errorf("stats: %s", out)
	}
	var stuck []card
	if err := json.Unmarshal([]byte(command(0, "stuck", "--json")), &stuck); err != nil || len(stuck) != 1 || stuck[0].ID != id || stuck[0].Reason != gateway.ProviderRejected {
		t.Errorf("stuck: %+v, %v", stuck, err)
	}
	if out := command(0, "show", string(id)); !strings.Contains(out, "provider.rejected") || strings.Contains(out, l.pki.Must("citizen-01").IIN) {
		t.Errorf("show: %s", out)
	}
	if out := command(exitFailed, "backup", "--to", t.TempDir()); !strings.Contains(out, "OPERATING.md") {
		t.Errorf("backup: %s", out)
	}
	if err := l.world.SetFaults("taraz"); err != nil {
		t.Fatal(err)
	}
	command(0, "redrive", string(id))
	if p := l.await(t, id, closed); p.Result == nil {
		t.Error("no result after the redrive")
	}
	if out := command(0, "verify"); !strings.Contains(out, "requests   1") || !strings.Contains(out, "faults     0") {
		t.Errorf("verify: %s", out)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"journal", "stats"}, &out, &errs); code != exitUsage {
		t.Errorf("neither --data nor --config: %d %s", code, &errs)
	}
	if code := run([]string{"journal", "stats", "--config", l.config, "--data", l.dir}, &out, &errs); code != exitUsage {
		t.Errorf("both --data and --config: %d %s", code, &errs)
	}
}

func TestJournalSettingsThatMakeNoSense(t *testing.T) {
	tests := []struct{ name, section, want string }{
		{"settings without Redis", "journal: {archive: here}", "journal.redis is missing"},
		{"fewer than no replicas", "journal: {redis: 'redis://127.0.0.1', replicas: -1}", "journal.replicas"},
		{"a map of addresses", "journal: {redis: {a: b}}", "address"},
		{"a field nobody knows", "journal: {reddis: x}", "reddis"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(file, []byte(tt.section+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadConfig(file); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v does not say %s", err, tt.want)
			}
		})
	}
}
