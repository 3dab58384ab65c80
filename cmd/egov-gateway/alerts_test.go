package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/harness/tool"
)

// A watcher is a real Prometheus that scrapes labs every second under the shipped rules, whose
// windows and waits are seconds in place of minutes.
type watcher struct{ url string }

// quick makes minutes seconds: windows of five, no wait before an alert fires.
func quick(rules string) string {
	rules = regexp.MustCompile(`\[[0-9]+[mhd]\]`).ReplaceAllString(rules, "[5s]")
	rules = regexp.MustCompile(`offset [0-9]+[mhd]`).ReplaceAllString(rules, "offset 30s")
	rules = regexp.MustCompile(`for: [0-9]+[smh]`).ReplaceAllString(rules, "for: 1s")
	return strings.ReplaceAll(rules, "interval: 30s", "interval: 1s")
}

func startPrometheus(t *testing.T, targets map[string]string) *watcher {
	t.Helper()
	tool.Path(t, "prometheus", "prometheus")
	dir := t.TempDir()
	var c strings.Builder
	c.WriteString("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yaml, records.yaml]\nscrape_configs:\n")
	for job, url := range targets {
		fmt.Fprintf(&c, "  - {job_name: egov-gateway-%s, static_configs: [{targets: [%q]}]}\n", job, strings.TrimPrefix(url, "http://"))
	}
	files := map[string]string{"prometheus.yml": c.String()}
	for _, name := range []string{"alerts.yaml", "records.yaml"} {
		raw, err := os.ReadFile("../../gateway/monitoring/rules/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = quick(string(raw))
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it is ours
	return &watcher{"http://" + address}
}

// firing are the alerts of a lab.
func (w *watcher) firing(job string) map[string]bool {
	out := map[string]bool{}
	resp, err := http.Get(w.url + "/api/v1/alerts")
	if err != nil {
		return out
	}
	defer resp.Body.Close()
	var a struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if json.NewDecoder(resp.Body).Decode(&a) != nil {
		return out
	}
	for _, one := range a.Data.Alerts {
		if one.State == "firing" && one.Labels["job"] == "egov-gateway-"+job {
			out[one.Labels["alertname"]] = true
		}
	}
	return out
}

// await waits until all alerts of a lab fire, or none of them does; again is done in between.
func (w *watcher) await(t *testing.T, job string, fire bool, again func(), alerts ...string) {
	t.Helper()
	var left []string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if again != nil {
			again()
		}
		now := w.firing(job)
		left = nil
		for _, a := range alerts {
			if now[a] != fire {
				left = append(left, a)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%s: after 2 min, firing is not %v: %s", job, fire, strings.Join(left, ", "))
}

func newAlertLab(t *testing.T, change func(*lab)) *lab {
	t.Helper()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if change != nil {
		change(l)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) fault(t *testing.T, target string, f ...statesim.Fault) {
	t.Helper()
	if err := l.world.SetFaults(target, f...); err != nil {
		t.Fatal(err)
	}
}

// Faults are brought into running gateways; a real Prometheus sees the alerts fire and clear.
func TestAlertsFireAndClear(t *testing.T) {
	if testing.Short() {
		t.Skip("a Prometheus and four gateways; left out with -short")
	}
	tool.Path(t, "prometheus", "prometheus")
	evidence := newAlertLab(t, func(l *lab) {
		if err := l.withSynthetic(time.Second); err != nil {
			t.Fatal(err)
		}
	})
	outside, door := newAlertLab(t, nil), newAlertLab(t, nil)
	url, redis := newRedis(t)
	shared := newAlertLab(t, func(l *lab) { l.onRedis(t, url) })
	w := startPrometheus(t, map[string]string{"evidence": evidence.admin, "outside": outside.admin, "door": door.admin, "shared": shared.admin})
	submit := func(l *lab, citizen, signer, territory string) answer {
		a, err := l.submit(l.draft(citizen, territory), signer)
		if err != nil {
			t.Error(err)
		}
		return a
	}
	var wg sync.WaitGroup
	defer wg.Wait()

	wg.Go(func() { // no revocation evidence
		l := evidence
		alerts := []string{"GatewayNotReady", "AcceptanceBudgetBurnsFast", "AcceptanceBudgetBurnsSlowly", "UnknownVerdicts", "ResponderBreakerOpen", "EvidenceTooOld", "EvidenceAgeing",
			"CRLAboutToExpire", "CRLDownloadsFail", "SyntheticCitizenFails"}
		again := func() {
			submit(l, "citizen-01", "citizen-01", taraz)
			l.svc.checker.Refresh(t.Context()) //nolint:errcheck // it fails while there is a fault
		}
		w.await(t, "evidence", false, again, alerts...)
		for _, target := range []string{statesim.TargetOCSP, statesim.TargetCRL} {
			l.fault(t, target, statesim.Fault{Kind: statesim.Unavailable})
		}
		l.clock.HopTo(l.clock.Now().Add(72 * time.Hour))
		w.await(t, "evidence", true, again, alerts...)
		for _, target := range []string{statesim.TargetOCSP, statesim.TargetCRL} {
			l.fault(t, target)
		}
		w.await(t, "evidence", false, again, alerts...)
	})

	wg.Go(func() { // a provider and a state system are away, another provider rejects
		l := outside
		alerts := []string{"ProviderBreakerOpen", "RegisterBreakerOpen", "UpstreamErrors", "OldestUndelivered", "DeadlinesOverdue", "StepsOverdue", "RequestsParked", "ProviderDocumentsRefused"}
		w.await(t, "outside", false, nil, alerts...)
		l.fault(t, "petropavl", statesim.Fault{Kind: statesim.Unavailable})
		l.fault(t, "kordaj", statesim.Fault{Kind: statesim.Reject})
		late := submit(l, "citizen-01", "citizen-01", petropavl).receipt
		submit(l, "citizen-02", "citizen-02", kordaj)
		token, err := os.ReadFile(filepath.Join(l.dir, "taraz.token"))
		if err != nil {
			t.Error(err)
		}
		w.await(t, "outside", true, nil, "ProviderBreakerOpen", "RequestsParked")
		l.fault(t, "gbdfl", statesim.Fault{Kind: statesim.Unavailable})
		l.clock.HopTo(late.DueAt.Add(time.Hour))
		again := func() {
			l.svc.checker.Refresh(t.Context()) //nolint:errcheck // its alerts are another lab's
			l.svc.engine.Kick()
			submit(l, "citizen-03", "citizen-03", taraz)
			req, _ := http.NewRequest(http.MethodPost, l.base+"/v1/providers/taraz/results", strings.NewReader("<result/>"))
			req.Header.Set("Authorization", "Bearer "+string(token))
			req.Header.Set("Content-Type", "application/xml")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		w.await(t, "outside", true, again, alerts...)
		for _, target := range []string{"petropavl", "kordaj", "gbdfl"} {
			l.fault(t, target)
		}
		var out, errs strings.Builder
		if code := run([]string{"journal", "redrive", "--all", "--config", l.config}, &out, &errs); code != 0 {
			t.Errorf("redrive: %s %s", out.String(), errs.String())
		}
		// The providers do what they are late with; time passes in hops.
		again = func() {
			l.world.Work(t.Context())
			if next, ok := l.world.NextDue(); ok {
				l.clock.HopTo(next.Add(time.Millisecond))
			} else {
				l.clock.HopTo(l.clock.Now().Add(time.Minute))
			}
			l.svc.checker.Refresh(t.Context()) //nolint:errcheck // see above
			l.svc.engine.Kick()
		}
		w.await(t, "outside", false, again, alerts...)
	})

	wg.Go(func() { // what comes to the door, the disk, the clock, the configuration
		l := door
		alerts := []string{"ReplayConflicts", "RefusalRatioJump", "PortalUnauthenticated", "JournalDiskFull", "JournalDiskLow", "ConfigNeedsRestart", "ClockSkew"}
		w.await(t, "door", false, nil, append(alerts, "ConfigReloadFailed")...)
		l.skew.Store(int64(-5 * time.Minute))
		id := harness.NewMessageID()
		first := l.draft("citizen-01", taraz)
		first.MessageID = id
		if a, err := l.submit(first, "citizen-01"); err != nil || a.status != http.StatusAccepted {
			t.Errorf("%d %v", a.status, err)
		}
		again := func() {
			for range 3 {
				d := l.draft("citizen-01", taraz)
				d.MessageID, d.MonthlyCost = id, 1000+time.Now().Nanosecond()%9000
				l.submit(d, "citizen-01") //nolint:errcheck // refused as it should be
				submit(l, "citizen-02", "citizen-01", taraz)
				resp, err := http.Post(l.base+"/v1/requests", "application/xml", strings.NewReader("<request/>"))
				if err == nil {
					resp.Body.Close()
				}
			}
			submit(l, "citizen-03", "citizen-03", taraz)
		}
		w.await(t, "door", true, again, "ReplayConflicts", "RefusalRatioJump", "PortalUnauthenticated", "ClockSkew")
		kept, err := os.ReadFile(l.config)
		if err != nil {
			t.Error(err)
		}
		if err := l.reconfigure(func(c *Config) { c.Limits.DiskFree, c.Pipeline.Workers = 1<<60, 3 }); err != nil {
			t.Error(err)
		}
		l.svc.reloader.take()
		w.await(t, "door", true, nil, "JournalDiskFull", "JournalDiskLow", "ConfigNeedsRestart")
		if err := os.WriteFile(l.config, []byte("listen: ["), 0o600); err != nil {
			t.Error(err)
		}
		l.svc.reloader.take()
		w.await(t, "door", true, nil, "ConfigReloadFailed")
		if err := os.WriteFile(l.config, kept, 0o600); err != nil {
			t.Error(err)
		}
		l.svc.reloader.take()
		l.skew.Store(0)
		again = func() {
			submit(l, "citizen-01", "citizen-01", taraz)
			l.svc.checker.Refresh(t.Context()) //nolint:errcheck // calls somebody
		}
		w.await(t, "door", false, again, append(alerts, "ConfigReloadFailed")...)
	})

	wg.Go(func() { // Redis, and a gateway that is gone
		alerts := []string{"RedisNotDurable", "RedisNotWritable", "RedisMemoryFills"}
		w.await(t, "shared", false, nil, append(alerts, "GatewayDown")...)
		set := func(name, value string) {
			if err := redis.ConfigSet(t.Context(), name, value).Err(); err != nil {
				t.Error(err)
			}
		}
		set("appendfsync", "everysec")
		set("maxmemory", "1mb")
		w.await(t, "shared", true, nil, alerts...)
		set("appendfsync", "always")
		set("maxmemory", "0")
		w.await(t, "shared", false, nil, alerts...)
		shared.svc.Close()
		w.await(t, "shared", true, nil, "GatewayDown")
		if err := shared.startGateway(); err != nil {
			t.Error(err)
		}
		w.await(t, "shared", false, nil, "GatewayDown")
	})
}
