package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bench measures every part, stores what it found, and tells a later run from an earlier one.
func TestBenchPrintsTheTable(t *testing.T) {
	if testing.Short() {
		t.Skip("other processes at work; the run without -short has it")
	}
	t.Setenv(runAsGateway, "1") // the measured gateway is this program
	parts := "decision,journal,journeys,start"
	file := filepath.Join(t.TempDir(), "bench.json")
	out, _ := mustRun(t, 0, "bench", "--quick", "--runs", "1", "--only", parts, "--json", file)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r benchResult
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	if r.Machine.Cores == 0 || r.Machine.Go == "" || !r.Quick {
		t.Errorf("%+v", r.Machine)
	}
	for part := range strings.SplitSeq(parts, ",") {
		if !strings.Contains(out, "| "+part) {
			t.Errorf("no line of %s:\n%s", part, out)
		}
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Figures {
		if row := regexp.MustCompile(`\| ` + f.Part + ` +\| ` + regexp.QuoteMeta(f.Name) + ` +\|`); !row.Match(readme) {
			t.Errorf("the README's table has no line %q of %s", f.Name, f.Part)
		}
		if f.Runs == 0 || f.Least > f.Value || f.Most < f.Value {
			t.Errorf("%+v", f)
		}
	}
	// Against an earlier result a thousand times better, the same part is worse.
	for i := range r.Figures {
		f := &r.Figures[i]
		f.Value, f.Least, f.Most = f.Value/1000, f.Least/1000, f.Most/1000
	}
	if raw, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := mustRun(t, 0, "bench", "--quick", "--runs", "1", "--only", "decision", "--compare", file); !strings.Contains(out, "worse") || strings.Contains(out, "better") {
		t.Errorf("%s", out)
	}
	mustRun(t, exitUsage, "bench", "--only", "nothing")
}

// The README's table is what was measured: testdata/bench.json, which a later run is compared with,
// printed. What is measured now is in it.
func TestTheTableOfTheREADMEIsTheStoredResult(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var stored benchResult
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := stored.print(&out, nil); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if stored.Quick || !strings.Contains(string(readme), out.String()) {
		t.Errorf("the README has not this:\n%s", out.String())
	}
	for _, p := range benchParts {
		if !slices.ContainsFunc(stored.Figures, func(f figure) bool { return f.Part == p.name }) {
			t.Errorf("the README has nothing of %s", p.name)
		}
	}
}

// A target that is missed is called missed.
func TestABenchTargetCanBeMissed(t *testing.T) {
	for _, tt := range []struct {
		f   figure
		met bool
	}{
		{figure{Value: 5, Target: 3}, false}, {figure{Value: 2, Target: 3}, true}, {figure{Value: 5, Target: 3, Higher: true}, true}, {figure{Value: 2, Target: 3, Higher: true}, false}, {figure{Value: 2}, true},
	} {
		if tt.f.met() != tt.met {
			t.Errorf("%+v", tt.f)
		}
	}
}
