package gateway_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every line of the table of trust names tests that exist, and has the line of the README that it proves.
func TestTheTableOfTrustIsProven(t *testing.T) {
	architecture, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(architecture), "| trusted | proven by |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	_, promised, _ := strings.Cut(string(readme), "| | is trusted with |")
	promised, _, _ = strings.Cut(promised, "\n\n")
	lines := strings.Split(table, "\n")
	if n := strings.Count(promised, "\n|") - 1; len(lines) != n || n < 10 {
		t.Errorf("%d lines are promised, %d are proven", n, len(lines))
	}
	exist := map[string]bool{}
	named := regexp.MustCompile(`func (Test[A-Za-z0-9]+)\(`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
			exist[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		tests := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("nothing proves %s", line)
		}
		for _, m := range tests {
			if !exist[m[1]] {
				t.Errorf("there is no test %s", m[1])
			}
		}
	}
}
