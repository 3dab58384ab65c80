package monitoring_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A reader of the README sees pictures, not broken links, and does not wait for them.
func TestThePicturesOfTheREADMEAreThere(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	pictures := regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllSubmatch(readme, -1)
	if len(pictures) < 2 {
		t.Fatalf("the README has %d pictures", len(pictures))
	}
	for _, p := range pictures {
		b, err := os.ReadFile(filepath.Join("../..", string(p[1])))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")) || len(b) > 200<<10 {
			t.Errorf("%s is no PNG of at most 200 KB: %d bytes", p[1], len(b))
		}
	}
}
