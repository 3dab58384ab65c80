package main

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openTo lists what is below a folder, and the folder, that others than the owner may look at.
func openTo(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			all = append(all, strings.TrimPrefix(path, filepath.Dir(dir))+" "+info.Mode().Perm().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// F14: whatever the umask is, and whoever made the directories, what the gateway keeps is its owner's
// alone: journal, bodies, attached documents, accept journal, archive, backups, the support bundle.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	for _, where := range []string{"in the data directory", "in Redis"} {
		t.Run(where, func(t *testing.T) {
			var logs logBuffer
			l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(&logs, nil)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			if where == "in Redis" {
				address, _ := newRedis(t)
				l.onRedis(t, address)
			}
			defer syscall.Umask(syscall.Umask(0))
			data, backup := filepath.Join(l.dir, "data"), filepath.Join(l.dir, "backup")
			dirs := []string{data, backup, filepath.Join(l.dir, "attachments"), filepath.Join(l.dir, "archive")}
			for _, dir := range dirs {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			bundle := filepath.Join(l.dir, "bundle.tar.gz")
			if err := os.WriteFile(bundle, []byte("an older one"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := l.startGateway(); err != nil {
				t.Fatal(err)
			}
			l.mustAccept(t, l.draft("citizen-01", petropavl), "citizen-01") // with documents
			var out, errs bytes.Buffer
			if code := run([]string{"journal", "backup", "--config", l.config, "--to", backup}, &out, &errs); code != 0 && where != "in Redis" {
				t.Fatalf("backup: %d %s", code, &errs)
			}
			if code := run([]string{"support-bundle", "--config", l.config, "--out", bundle}, &out, &errs); code != 0 {
				t.Fatalf("support-bundle: %d %s", code, &errs)
			}
			if where == "in Redis" {
				dirs = []string{data, dirs[2], dirs[3]}
			} else {
				dirs = dirs[:2]
			}
			for _, dir := range append(dirs, bundle) {
				if open := openTo(t, dir); len(open) > 0 {
					t.Errorf("others may look at %q", open)
				}
			}
			if !strings.Contains(logs.String(), `"msg":"taken away from other users of this machine","name":"`+data+`","mode_before":"0755"`) {
				t.Error("the log does not say what was narrowed")
			}
		})
	}
}

// F14: a journal of an older gateway, which SQLite made for everybody to read, is narrowed.
func TestAnOlderJournalIsNarrowed(t *testing.T) {
	l := harmless(t)
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	l.svc.Close()
	file := filepath.Join(l.dir, "data", "journal.db")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	if open := openTo(t, filepath.Join(l.dir, "data")); len(open) > 0 {
		t.Errorf("others may look at %q", open)
	}
}
