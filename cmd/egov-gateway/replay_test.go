package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/replay"
)

// shippedCorpus has one entry of every kind.
const shippedCorpus = "testdata/corpus.zip"

// replayLab is a fresh gateway at a corpus' clock, in a world whose providers answer at once.
func replayLab(t *testing.T, at time.Time, change ...func(*Config)) *lab {
	t.Helper()
	l, err := newLab(t.TempDir(), at.Add(time.Minute), testworld.Levels(), slog.New(slog.DiscardHandler), func(c *statesim.Config) { c.Factor = 1e9 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	err = l.reconfigure(func(c *Config) {
		c.Clock = &ClockConfig{Replay: true, At: at.Format(time.RFC3339)}
		c.SHEP.Participants[0].Rate = 100_000
		for _, f := range change {
			f(c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go l.world.Run(ctx) //nolint:errcheck // ends with ctx
	key, err := x509.MarshalPKCS8PrivateKey(l.portalKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "cabinet.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// replayArgs is the command line of a replay to the lab's gateway.
func (l *lab) replayArgs(corpus string, more ...string) []string {
	return append([]string{"replay", "--url", l.base, "--token-file", filepath.Join(l.dir, "portal.token"), "--password-file", filepath.Join(l.dir, "shep.password"),
		"--cabinet-key", filepath.Join(l.dir, "cabinet.key"), corpus}, more...)
}

func readReport(t *testing.T, file string) *replay.Report {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := new(replay.Report)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The shipped corpus through both doors of a fresh gateway: every verdict, reason and outcome is
// the expected one (R3, R4a, R4b, R4c, R5, R7).
func TestTheShippedCorpusIsReplayed(t *testing.T) {
	if info, err := os.Stat(shippedCorpus); err != nil || info.Size() > 1<<20 {
		t.Fatalf("%v, %v", info, err)
	}
	for _, door := range []string{"rest", "shep"} {
		t.Run(door, func(t *testing.T) {
			l := replayLab(t, corpusClock)
			file := filepath.Join(t.TempDir(), "report")
			out, errs := mustRun(t, 0, l.replayArgs(shippedCorpus, "--door", door, "--json", file+".json", "--junit", file+".xml", "--html", file+".html")...)
			if !strings.Contains(out, "entries as expected") || !strings.Contains(errs, "replay mode") {
				t.Errorf("%s%s", out, errs)
			}
			r := readReport(t, file+".json")
			g := r.Gateways[0]
			if !r.OK() || r.Sent != r.Corpus.Entries || g.Outcomes < 5 || g.Accepted.Count < 5 || g.Refused.Count < 90 || g.Accepted.P99 < g.Accepted.P50 || g.Journey.P50 <= g.Accepted.P50 {
				t.Errorf("%+v", r)
			}
			raw, err := os.ReadFile(file + ".xml")
			if err != nil {
				t.Fatal(err)
			}
			var suite struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
			}
			if err := xml.Unmarshal(raw, &suite); err != nil || suite.Tests != len(r.Classes) || suite.Failures != 0 {
				t.Errorf("%+v %v", suite, err)
			}
			html, err := os.ReadFile(file + ".html")
			if err != nil || !bytes.Contains(html, []byte("<polyline")) || bytes.Contains(html, []byte("http://www")) || bytes.Contains(html, []byte("<script")) {
				t.Errorf("the page is not whole by itself: %v", err)
			}
			// What it says of itself: header, /readyz, metric.
			if _, header, body := get(t, l.admin+"/readyz"); !strings.Contains(string(body), "REPLAY MODE") || header == nil {
				t.Errorf("/readyz: %s", body)
			}
			if _, _, metrics := get(t, l.admin+"/metrics"); !strings.Contains(string(metrics), "egov_gateway_replay_clock_offset_seconds") {
				t.Error("no metric tells of the replay mode")
			}
		})
	}
}

// A manifest that is wrong is reported as mismatch, in every report and by the exit code.
func TestAWrongManifestFailsTheReplay(t *testing.T) {
	l := replayLab(t, corpusClock)
	dir := filepath.Join(t.TempDir(), "c")
	mustRun(t, 0, "corpus", "generate", "-n", "110", "--loose", dir)
	manifest := filepath.Join(dir, corpus.ManifestFile)
	good, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][3]string{
		"verdict": {`"admission":{"status":"refused","reason":"revocation.revoked"}`, `"admission":{"status":"verified"}`, "want verified, got refused revocation.revoked"},
		"reason":  {`"admission":{"status":"refused","reason":"signature.digest_mismatch"}`, `"admission":{"status":"refused","reason":"signature.invalid"}`, "got refused signature.digest_mismatch"},
		"outcome": {`"outcome":"assignment"`, `"outcome":"answer"`, "want answer, got assignment"},
	} {
		if !bytes.Contains(good, []byte(change[0])) {
			t.Fatalf("%s: nothing to change", name)
		}
		if err := os.WriteFile(manifest, bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "report")
		out, _ := mustRun(t, exitFailed, l.replayArgs(dir, "--json", file+".json", "--junit", file+".xml", "--html", file+".html")...)
		r := readReport(t, file+".json")
		if r.Mismatches != 1 || r.Kinds[name] != 1 || len(r.Listed) != 1 || !strings.Contains(out, change[2]) || !strings.Contains(out, "1 mismatches") {
			t.Errorf("%s: %+v %v\n%s", name, r.Listed, r.Kinds, out)
		}
		for _, f := range []string{".xml", ".html"} {
			if b, err := os.ReadFile(file + f); err != nil || !bytes.Contains(b, []byte(r.Listed[0].ID)) {
				t.Errorf("%s: report%s does not name the entry: %v", name, f, err)
			}
		}
	}
}

// Two gateways that differ in one setting are told apart; two that do not, are not.
func TestTwoGatewaysAreCompared(t *testing.T) {
	first, same := replayLab(t, corpusClock), replayLab(t, corpusClock)
	strict := replayLab(t, corpusClock, func(c *Config) { c.Limits.Document = 20 << 10 })
	against := func(l *lab, code int) *replay.Report {
		file := filepath.Join(t.TempDir(), "report.json")
		mustRun(t, code, "replay", "--url", first.base, "--token-file", filepath.Join(first.dir, "portal.token"), shippedCorpus,
			"--against", l.base, "--against-token-file", filepath.Join(l.dir, "portal.token"), "--json", file)
		return readReport(t, file)
	}
	if r := against(same, 0); r.Different != 0 || r.Mismatches != 0 || len(r.Gateways) != 2 || r.Gateways[1].Accepted.Count != r.Gateways[0].Accepted.Count || r.Slower == 0 {
		t.Errorf("the same gateway twice: %+v", r)
	}
	r := against(strict, exitFailed)
	if r.Different == 0 || r.Mismatches == 0 || !strings.Contains(r.Differences[0].Second, "document.too_large") || strings.Contains(r.Differences[0].First, "document.too_large") {
		t.Errorf("a gateway that takes less: %d different, %+v", r.Different, r.Differences)
	}
}

// An open loop counts from the instant at which an entry was due: a gateway that hangs for a
// while is seen by every entry that was due meanwhile, not by the one that met it.
func TestCoordinatedOmission(t *testing.T) {
	const stall = 400 * time.Millisecond
	start := time.Now()
	slow := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if d := time.Until(start.Add(stall)); d > 0 {
			time.Sleep(d)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(422)
		io.WriteString(w, `{"reason":"signature.missing"}`)
	})}
	l, err := newLab(t.TempDir(), corpusClock, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	slow.Addr = address
	go slow.ListenAndServe()
	t.Cleanup(func() { slow.Close() })
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if resp, err := http.Get("http://" + address); err == nil {
			resp.Body.Close()
			break
		}
	}
	r, err := corpus.Open(shippedCorpus)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	start = time.Now()
	// One connection: whoever waits for it waits longer than the gateway ever took for one answer.
	report, err := replay.Run(t.Context(), replay.Config{Corpus: r, Targets: []*replay.Target{{Name: "slow", URL: "http://" + address}}, Rate: 200, Concurrency: 1, Limit: 80})
	if err != nil {
		t.Fatal(err)
	}
	// Eighty entries at 200 a second are due within the stall: their median waited for about half of it.
	if p50 := report.Gateways[0].Refused.P50; p50 < 120 {
		t.Errorf("median %v ms: the stall is hidden", p50)
	}
}

// A gateway at another time is not sent anything, and a shifted clock needs the operator's word.
func TestTheClockOfAReplay(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	args := []string{"replay", "--url", l.base, "--token-file", filepath.Join(l.dir, "portal.token"), shippedCorpus}
	if _, errs := mustRun(t, exitFailed, append(args, "--at", "2027-03-01T00:00:00Z")...); !strings.Contains(errs, "clock: {replay: true, at: 2026-11-23T05:00:00Z}") {
		t.Errorf("%s", errs)
	}
	if _, header, _ := get(t, l.base+"/v1/requests"); header.Get(replay.ClockHeader) != "" {
		t.Error("a gateway by the real clock says that it is in replay mode")
	}
	for name, clock := range map[string]*ClockConfig{"clock.replay": {At: "2020-01-01T00:00:00Z"}, "clock.at": {Replay: true}, "like 2026": {Replay: true, At: "yesterday"}} {
		if err := l.reconfigure(func(c *Config) { c.Clock = clock }); err != nil {
			t.Fatal(err)
		}
		if _, errs := mustRun(t, exitFailed, "config", "check", l.config); !strings.Contains(errs, name) {
			t.Errorf("%+v: %s", clock, errs)
		}
		if err := l.reconfigure(func(c *Config) { c.Clock = nil }); err == nil {
			t.Error("a configuration that cannot be used was read")
		}
		raw, err := os.ReadFile(l.config)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(raw), "clock:")
		if err := os.WriteFile(l.config, []byte(head), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	shifted, err := (&ClockConfig{Replay: true, At: "2026-11-23T05:00:00Z"}).shifted(now)
	if err != nil || !shifted().Equal(corpusClock) {
		t.Errorf("%v, %v", shifted(), err)
	}
}
