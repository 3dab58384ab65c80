package main

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// crashHooks says, beside runAsGateway, what a gateway of the campaign does that the real one
// never does.
const crashHooks = "EGOV_GATEWAY_TEST_HOOKS"

var (
	crashTime    = flag.Duration("crash.time", 0, "length of the crash campaign; 0 means the short one")
	crashSeed    = flag.Uint64("crash.seed", 0, "seed of the crash campaign; 0 takes one from the clock")
	crashKinds   = flag.String("crash.kinds", "", "only these kinds of faults, with commas between; empty means all, none none")
	crashOpen    = flag.Int("crash.open", 0, "undelivered requests at most; 0 means 300")
	crashReports = flag.String("crash.reports", "", "file to which reports are appended, a line of JSON each")
)

// runHooked is the gateway with a clock that a test can move and a journal that a test can break.
func runHooked(args []string, text string, stdout, stderr io.Writer) int {
	var h hooks
	if err := json.Unmarshal([]byte(text), &h); err != nil || len(args) != 3 {
		io.WriteString(stderr, "hooks: serve --config FILE is expected\n") //nolint:errcheck // there is no other place
		return exitUsage
	}
	var offset atomic.Int64
	read := func() {
		if b, err := os.ReadFile(h.Clock); err == nil {
			if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
				offset.Store(n)
			}
		}
	}
	read()
	parent := os.Getppid()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			read()
			if os.Getppid() != parent {
				os.Exit(exitFailed) // the test is gone
			}
		}
	}()
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())).Round(0) }
	var wrap func(store) store
	if h.Broken != "" {
		wrap = func(s store) store { return controls[h.Broken](s, h) }
	}
	if err := serve(args[2], streams{stdout, stderr}, now, wrap); err != nil {
		io.WriteString(stderr, err.Error()+"\n") //nolint:errcheck // there is no other place
		return exitFailed
	}
	return 0
}

// kinds are those of faults that the flag leaves.
func kinds(all map[string]fault) (left []string) {
	for _, k := range sortedKeys(all) {
		if *crashKinds == "" || slices.Contains(strings.Split(*crashKinds, ","), k) {
			left = append(left, k)
		}
	}
	return left
}

func fromClock(seed uint64) uint64 {
	if seed != 0 {
		return seed
	}
	return uint64(time.Now().UnixNano()) % 1e12
}

// finished prints a report, appends it to the file of reports, and keeps the history of a run that found something.
func (c *campaign) finished(t *testing.T, r *campaignReport) {
	t.Helper()
	t.Logf("%s\n%s", r.line(), r.table())
	if *crashReports != "" {
		f, err := os.OpenFile(*crashReports, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(r.line() + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if r.found() == 0 || c.broken != "" {
		return
	}
	dir, err := os.MkdirTemp("", "egov-crash-")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"history.jsonl", "gateway-0.log", "gateway-1.log", "gateway-2.log"} {
		if b, err := os.ReadFile(filepath.Join(c.l.dir, name)); err == nil {
			os.WriteFile(filepath.Join(dir, name), b, 0o600) //nolint:errcheck // what can be kept is kept
		}
	}
	t.Errorf("seed %d found %d things that must not be; the history is in %s", c.seed, r.found(), dir)
}

// campaigns are the journals and numbers of gateways under test.
var campaigns = []struct {
	name string
	plan plan
}{
	{"SQLite, one gateway", plan{store: "sqlite", gateways: 1}},
	{"Redis, one gateway", plan{store: "redis", gateways: 1}},
	{"Redis, two gateways", plan{store: "redis", gateways: 2}},
	{"Redis, three gateways", plan{store: "redis", gateways: 3}},
}

// kinds fills in the faults that the journal can have.
func (p *plan) kinds() {
	p.world = kinds(worldFaults)
	p.machine = kinds(machineFaults)
	if p.store == "redis" {
		p.machine = append(slices.DeleteFunc(p.machine, func(k string) bool { return k == "torn-write" }), kinds(redisFaults)...)
	}
}

// Nothing acknowledged is lost, and nothing is done twice, whatever happens. `make test` runs the
// first and the third for a quarter of a minute each, `make crash` all of them for its time.
func TestCrashCampaign(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: the crash campaign takes a minute; it runs without")
	}
	for i, tt := range campaigns {
		if *crashTime == 0 && i%2 != 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			if *crashTime == 0 {
				t.Parallel() // mostly they wait
			}
			p := tt.plan
			p.seed, p.length, p.drain, p.open = fromClock(*crashSeed), 14*time.Second, 2*time.Minute, *crashOpen
			if *crashTime > 0 {
				p.length, p.drain, p.rest = *crashTime/time.Duration(len(campaigns)), 10*time.Minute, 1000
			}
			p.kinds()
			c := newCampaign(t, p)
			r := c.run()
			c.finished(t, r)
			if r.Total < 10 || r.Requests < 50 {
				t.Errorf("only %d faults and %d requests", r.Total, r.Requests)
			}
		})
	}
}

// What campaigns have found, with the faults and the seeds that showed it. Nobody moves the
// clocks here: the work must be done in the time that it needs.
func TestCrashRegressions(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: the crash campaign takes a minute; it runs without")
	}
	for _, tt := range []struct {
		name string
		seed uint64
		plan plan
	}{
		{"a clock that was an hour ahead for a second put all work to sleep for an hour", 60206216532, plan{store: "sqlite", gateways: 1, machine: []string{"clock-jump"}}},
		{"no request reached a provider for a minute after Redis was restarted", 819512530658, plan{store: "redis", gateways: 2, machine: []string{"redis-kill"}}},
		{"a gateway that did not reach Redis at its start was not started again", 533228952655, plan{store: "redis", gateways: 1, machine: []string{"kill"}, world: []string{"network-refuses"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // mostly they wait
			p := tt.plan
			p.seed, p.length, p.drain, p.open, p.patient = tt.seed, 5*time.Second, 40*time.Second, 60, true
			c := newCampaign(t, p)
			c.finished(t, c.run())
		})
	}
}
