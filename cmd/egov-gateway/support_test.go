package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bundle reads a support bundle.
func bundle(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		parts[strings.TrimPrefix(h.Name, "egov-gateway-support/")] = string(raw)
	}
}

// Nothing personal and no secret leaves the gateway by any way that an operator or a stranger can
// read: metrics, log, errors, readiness, support bundle.
func TestNothingPersonalLeaks(t *testing.T) {
	l, logs := newSyntheticLab(t, time.Second)
	if err := l.reconfigure(func(c *Config) { c.SharedEvidence = "redis://reader:hunter2hunter2@127.0.0.1:1/0" }); err != nil {
		t.Fatal(err)
	}
	busyDay(t, l)
	texts := map[string]string{}
	canary := l.pki.Must("citizen-01")
	for _, q := range []struct{ name, method, url, body string }{
		{"an address that names a citizen", "GET", "/v1/requests/" + canary.IIN, ""},
		{"a form that names a citizen", "POST", "/v1/requests", "<request><iin>" + canary.IIN + "</iin><surname>" + canary.Surname + "</surname></request>"},
		{"a message that names a citizen", "POST", "/shep/sync", "<x>" + canary.IIN + canary.Surname + "</x>"},
		{"a result that names a citizen", "POST", "/v1/providers/" + canary.IIN + "/results", "<x>" + canary.Surname + "</x>"},
	} {
		_, _, body := call(t, q.method, l.base+q.url, []byte(q.body), "Content-Type", "application/xml", "Authorization", "Bearer "+l.token)
		texts["the answer to "+q.name] = string(body)
	}
	a := l.mustSubmit(t, l.draft("citizen-01", taraz), "citizen-02")
	texts["a refusal"] = string(a.body)
	_, _, ready := get(t, l.admin+"/readyz")
	texts["/readyz"] = string(ready)
	_, _, metrics := get(t, l.admin+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	texts["OpenMetrics"], texts["the log"] = string(metrics), logs.String()

	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	var out, errs strings.Builder
	if code := run([]string{"support-bundle", "--config", l.config, "--out", file}, &out, &errs); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	parts := bundle(t, file)
	for _, name := range []string{"versions.txt", "config.yaml", "metrics.txt", "readyz.json", "goroutines.txt", "journal.json"} {
		if len(parts[name]) < 50 {
			t.Errorf("%s: %q", name, parts[name])
		}
		texts["the bundle's "+name] = parts[name]
	}
	if !strings.Contains(parts["config.yaml"], "127.0.0.1") || !strings.Contains(parts["config.yaml"], "egov.kz") {
		t.Errorf("the configuration is of no use: %s", parts["config.yaml"])
	}
	secrets := []string{"hunter2", l.token, l.password, "PRIVATE KEY"}
	for _, f := range []string{"secret", "portal.token", "taraz.token", "shep.password"} {
		raw, err := os.ReadFile(filepath.Join(l.dir, f))
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, string(raw))
	}
	for where, text := range texts {
		for _, e := range l.pki.Entries() {
			if e.IIN != "" && strings.Contains(text, e.IIN) {
				t.Errorf("the IIN of %s stands in %s", e.ID, where)
			}
			if len(e.Surname) > 6 && strings.Contains(text, e.Surname) {
				t.Errorf("the surname of %s stands in %s", e.ID, where)
			}
		}
		for i, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("secret %d stands in %s", i, where)
			}
		}
	}
}

// A gateway that is down can be asked about all the same.
func TestABundleOfAGatewayThatIsDown(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	l.svc.Close()
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	var out, errs strings.Builder
	if code := run([]string{"support-bundle", "--config", l.config, "--out", file}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	parts := bundle(t, file)
	if parts["metrics.txt.error"] == "" || parts["config.yaml"] == "" || parts["journal.json"] == "" {
		t.Errorf("%v", parts)
	}
}

// The program hands out what Prometheus and Grafana read.
func TestMonitoringFilesAreInTheProgram(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "monitoring")
	var out, errs strings.Builder
	if code := run([]string{"monitoring", "write", dir}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	for _, name := range []string{"rules/alerts.yaml", "rules/records.yaml", "dashboards/region.json", "RUNBOOK.md"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 500 {
			t.Errorf("%s: %v", name, err)
		}
	}
	out.Reset()
	if code := run([]string{"monitoring", "metrics"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "`egov_gateway_requests_total` | counter") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}
