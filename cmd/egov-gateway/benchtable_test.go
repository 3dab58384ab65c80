package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bench measures every part, stores what it found, and tells a later run from an earlier one.
func TestBenchPrintsTheTable(t *testing.T) {
	t.Setenv(runAsGateway, "1") // the measured gateway is this program
	parts := "decision,journal,journeys,start"
	if testing.Short() {
		parts = "decision,start"
	}
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
	for _, f := range r.Figures {
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
