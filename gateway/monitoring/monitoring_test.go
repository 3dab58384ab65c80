package monitoring_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/monitoring"
)

type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T, file string) (all []rule) {
	t.Helper()
	raw, err := fs.ReadFile(monitoring.FS, "rules/"+file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	tool.Path(t, "promtool", "prometheus")
	out, err := exec.Command("promtool", args...).CombinedOutput()
	return string(out), err
}

// Every alert is silent while all is well, fires after its fault, and is silent again.
func TestRules(t *testing.T) {
	if out, err := promtool(t, "check", "rules", "rules/alerts.yaml", "rules/records.yaml"); err != nil {
		t.Fatal(out)
	}
	if out, err := promtool(t, "test", "rules", "rules/rules_test.yaml"); err != nil {
		t.Fatal(out)
	}
}

// A rule that is broken is noticed by the rules' own tests.
func TestABrokenRuleFails(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"alerts.yaml", "records.yaml", "rules_test.yaml"} {
		raw, err := os.ReadFile("rules/" + name)
		if err != nil {
			t.Fatal(err)
		}
		raw = []byte(strings.Replace(string(raw), "egov_gateway_oldest_due_seconds > 300", "egov_gateway_oldest_due_seconds > 3000", 1))
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := promtool(t, "test", "rules", filepath.Join(dir, "rules_test.yaml")); err == nil || !strings.Contains(out, "WorkNotTaken") {
		t.Errorf("nobody noticed: %s", out)
	}
}

// Every alert has a severity, words, a paragraph in the runbook, and a test.
func TestEveryAlertIsExplained(t *testing.T) {
	runbook, err := fs.ReadFile(monitoring.FS, "RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("rules/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	paragraphs := map[string]string{}
	for _, part := range strings.Split(string(runbook), "\n## ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		paragraphs[name] = strings.TrimSpace(text)
	}
	alerts := rules(t, "alerts.yaml")
	if len(alerts) < 25 || len(paragraphs) != len(alerts) {
		t.Errorf("%d alerts, %d paragraphs", len(alerts), len(paragraphs))
	}
	for _, a := range alerts {
		if len(paragraphs[a.Alert]) < 80 {
			t.Errorf("%s: no paragraph in the runbook", a.Alert)
		}
		if a.Annotations["runbook_url"] != "gateway/monitoring/RUNBOOK.md#"+strings.ToLower(a.Alert) {
			t.Errorf("%s: runbook_url %q", a.Alert, a.Annotations["runbook_url"])
		}
		if !slices.Contains([]string{"page", "ticket", "info"}, a.Labels["severity"]) || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: severity, summary or description is missing", a.Alert)
		}
		if !strings.Contains(string(tests), `alertname="`+a.Alert+`",alertstate="firing"`) {
			t.Errorf("%s: no unit test", a.Alert)
		}
	}
}

// table reads METRICS.md: labels by family, and which are histograms.
func table(t *testing.T) (labels map[string][]string, histograms map[string]bool) {
	t.Helper()
	raw, err := fs.ReadFile(monitoring.FS, "METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	labels, histograms = map[string][]string{}, map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(egov_gateway_[a-z0-9_]+)` \\| (\\w+) \\| (.*?) \\|").FindAllStringSubmatch(string(raw), -1) {
		labels[m[1]] = []string{}
		for _, l := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			labels[m[1]] = append(labels[m[1]], l[1])
		}
		histograms[m[1]] = m[2] == "histogram"
	}
	if len(labels) < 40 {
		t.Fatalf("%d families", len(labels))
	}
	return labels, histograms
}

var (
	selector = regexp.MustCompile(`\b((?:egov_gateway_|egov:)[a-z0-9_:]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|ignoring|group_left) \(([a-z_, ]*)\)`)
)

// faults names what an expression asks for that does not exist.
func faults(expr string, labels map[string][]string, histograms, records map[string]bool) (all []string) {
	every := []string{"job", "instance", "le", "config"}
	for _, l := range labels {
		every = append(every, l...)
	}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		name := m[1]
		if strings.HasPrefix(name, "egov:") {
			if !records[name] {
				all = append(all, "no rule records "+name)
			}
			continue
		}
		allowed := []string{"job", "instance"}
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && histograms[base] {
				name, allowed = base, append(allowed, "le")
				break
			}
		}
		own, ok := labels[name]
		if !ok || histograms[m[1]] {
			all = append(all, "no metric is called "+m[1])
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(append(allowed, own...), l[1]) {
				all = append(all, name+" has no label "+l[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); l != "" && !slices.Contains(every, l) {
				all = append(all, "nothing has the label "+l)
			}
		}
	}
	return all
}

// Rules and dashboards name only metrics and labels that exist.
func TestRulesAndDashboardsNameWhatExists(t *testing.T) {
	labels, histograms := table(t)
	records := map[string]bool{}
	for _, r := range rules(t, "records.yaml") {
		records[r.Record] = true
	}
	used := 0
	check := func(where, expr string) {
		for _, f := range faults(expr, labels, histograms, records) {
			t.Errorf("%s: %s", where, f)
		}
		used += len(selector.FindAllString(expr, -1))
	}
	for _, r := range slices.Concat(rules(t, "records.yaml"), rules(t, "alerts.yaml")) {
		check(r.Alert+r.Record, r.Expr)
	}
	files, err := fs.Glob(monitoring.FS, "dashboards/*.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	uids := map[string]bool{}
	for _, file := range files {
		raw, err := fs.ReadFile(monitoring.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID, Title string
			Panels     []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(raw, &d); err != nil || d.UID == "" || uids[d.UID] || len(d.Panels) < 5 {
			t.Errorf("%s: %+v %v", file, d, err)
		}
		uids[d.UID] = true
		for _, p := range d.Panels {
			if len(p.Targets) == 0 {
				t.Errorf("%s: %s shows nothing", file, p.Title)
			}
			for _, q := range p.Targets {
				check(file+": "+p.Title, q.Expr)
			}
		}
	}
	if used < 100 {
		t.Errorf("only %d selectors were found", used)
	}
	for expr, want := range map[string]string{
		`egov_gateway_nothing > 1`:                    "no metric is called egov_gateway_nothing",
		`egov_gateway_items{colour="red"}`:            "egov_gateway_items has no label colour",
		`egov:nothing > 1`:                            "no rule records egov:nothing",
		`sum by (colour) (egov_gateway_items)`:        "nothing has the label colour",
		`egov_gateway_admission_duration_seconds > 1`: "no metric is called egov_gateway_admission_duration_seconds",
	} {
		if got := faults(expr, labels, histograms, records); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", expr, got)
		}
	}
}
