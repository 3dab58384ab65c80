package gost_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The generated files are what generate.go and point512.go say.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	source, err := os.ReadFile("point512.go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "point512.go"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	generator, err := filepath.Abs("generate.go")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", generator)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"field256.go", "field512.go", "point256.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not current; run go generate", name)
		}
	}
}
