package private_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"egov-gateway/gateway/private"
)

func modeOf(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	tests := []struct {
		name  string
		umask int
		made  fs.FileMode // of one that is there already; 0 for none
	}{
		{"a new file", 0o022, 0},
		{"a new file without a umask", 0, 0},
		{"a new file with a umask that leaves nothing", 0o777, 0},
		{"one that everybody may read", 0, 0o644},
		{"one that everybody may change", 0, 0o666},
		{"one that is right", 0, 0o600},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "file")
			if tt.made != 0 {
				if err := os.WriteFile(name, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(name, tt.made); err != nil {
					t.Fatal(err)
				}
			}
			before := syscall.Umask(tt.umask)
			f, err := private.OpenFile(name, os.O_CREATE|os.O_RDWR)
			syscall.Umask(before)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if got := modeOf(t, name); got != 0o600 {
				t.Errorf("the mode is %04o", got)
			}
		})
	}
}

func TestWhatIsThereIsNarrowed(t *testing.T) {
	for was, want := range map[fs.FileMode]fs.FileMode{0o755: 0o700, 0o777: 0o700, 0o750: 0o700, 0o700: 0o700, 0o500: 0o500} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, was); err != nil {
			t.Fatal(err)
		}
		var logs bytes.Buffer
		private.Keep(slog.New(slog.NewJSONHandler(&logs, nil)), dir, filepath.Join(dir, "none"))
		if got := modeOf(t, dir); got != want {
			t.Errorf("%04o became %04o, want %04o", was, got, want)
		}
		if said := strings.Contains(logs.String(), "mode_before"); said != (was != want) {
			t.Errorf("%04o: the log says %q", was, &logs)
		}
	}
}
