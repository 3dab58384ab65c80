package powerloss_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/journal/powerloss"
)

// mount mounts a disk on a fresh directory, or skips the test where the machine has no FUSE.
func mount(t *testing.T, c powerloss.Config) (*powerloss.Disk, string) {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	c.At = filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(c.At, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := powerloss.Mount(c)
	if errors.Is(err, powerloss.ErrUnavailable) {
		tool.Missing(t, "the loss of power is not tested on this machine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, c.At
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// put writes a file, and syncs it and its directory if so wished.
func put(t *testing.T, file, text string, sync, syncDirectory bool) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
	if syncDirectory {
		syncDir(t, filepath.Dir(file))
	}
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	must(t, f.Sync(), f.Close())
}

// What POSIX promises is kept, and nothing else.
func TestWhatOutlivesACut(t *testing.T) {
	const none = "(no file)"
	tests := []struct {
		name string
		do   func(t *testing.T, at string)
		want map[string]string
	}{
		{"written, synced, directory synced", func(t *testing.T, at string) { put(t, at+"/a", "1", true, true) }, map[string]string{"a": "1"}},
		{"written, not synced", func(t *testing.T, at string) { put(t, at+"/a", "1", false, true) }, map[string]string{"a": ""}},
		{"synced, but not its directory", func(t *testing.T, at string) { put(t, at+"/a", "1", true, false) }, map[string]string{"a": none}},
		{"overwritten without a sync", func(t *testing.T, at string) {
			put(t, at+"/a", "first", true, true)
			f, err := os.OpenFile(at+"/a", os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte("second"), 0)
			must(t, err, f.Close())
		}, map[string]string{"a": "first"}},
		{"appended without a sync", func(t *testing.T, at string) {
			put(t, at+"/a", "first", true, true)
			f, err := os.OpenFile(at+"/a", os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
			_, err = f.WriteString("second")
			must(t, err, f.Sync())
			_, err = f.WriteString("third")
			must(t, err, f.Close())
		}, map[string]string{"a": "firstsecond"}},
		{"cut short and grown again, then synced", func(t *testing.T, at string) {
			put(t, at+"/a", "secret", true, true)
			f, err := os.OpenFile(at+"/a", os.O_WRONLY, 0)
			must(t, err, f.Truncate(2), f.Truncate(4), f.Sync(), f.Close())
		}, map[string]string{"a": "se\x00\x00"}},
		{"cut short without a sync", func(t *testing.T, at string) {
			put(t, at+"/a", "first", true, true)
			must(t, os.Truncate(at+"/a", 0))
		}, map[string]string{"a": "first"}},
		{"renamed without a sync of the directory", func(t *testing.T, at string) {
			put(t, at+"/a", "old", true, true)
			put(t, at+"/a.new", "new", true, false)
			must(t, os.Rename(at+"/a.new", at+"/a"))
		}, map[string]string{"a": "old", "a.new": none}},
		{"renamed, directory synced", func(t *testing.T, at string) {
			put(t, at+"/a", "old", true, true)
			put(t, at+"/a.new", "new", true, false)
			must(t, os.Rename(at+"/a.new", at+"/a"))
			syncDir(t, at)
		}, map[string]string{"a": "new", "a.new": none}},
		{"removed without a sync of the directory", func(t *testing.T, at string) {
			put(t, at+"/a", "1", true, true)
			must(t, os.Remove(at+"/a"))
		}, map[string]string{"a": "1"}},
		{"a directory that nobody synced", func(t *testing.T, at string) {
			must(t, os.Mkdir(at+"/d", 0o700))
			put(t, at+"/d/a", "1", true, true)
		}, map[string]string{"d/a": none}},
		{"a directory that its parent knows", func(t *testing.T, at string) {
			must(t, os.Mkdir(at+"/d", 0o700))
			syncDir(t, at)
			put(t, at+"/d/a", "1", true, true)
		}, map[string]string{"d/a": "1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			back := t.TempDir()
			d, at := mount(t, powerloss.Config{Dir: back})
			tt.do(t, at)
			must(t, d.Cut())
			for name, want := range tt.want {
				b, err := os.ReadFile(filepath.Join(back, name))
				if errors.Is(err, os.ErrNotExist) {
					b, err = []byte(none), nil
				}
				if err != nil || string(b) != want {
					t.Errorf("%s holds %q, %v; want %q", name, b, err, want)
				}
			}
			if _, err := os.Stat(at + "/anything"); !strings.Contains(err.Error(), "input/output error") {
				t.Errorf("after the cut the disk answers %v", err)
			}
		})
	}
}

func TestACloseWithoutACutKeepsAll(t *testing.T) {
	back := t.TempDir()
	at := filepath.Join(t.TempDir(), "disk")
	must(t, os.Mkdir(at, 0o700))
	d, err := powerloss.Mount(powerloss.Config{Dir: back, At: at})
	if errors.Is(err, powerloss.ErrUnavailable) {
		tool.Missing(t, "%v", err)
	}
	must(t, err, os.Mkdir(at+"/d", 0o700))
	put(t, at+"/d/a", "1", false, false)
	must(t, d.Close())
	if b, err := os.ReadFile(back + "/d/a"); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
}

// With a share above 0 single pages outlive the cut, in no order, and one is torn.
func TestSomePagesOutliveACut(t *testing.T) {
	const pages = 64
	survived := func(seed uint64) (whole, torn, gone int) {
		back := t.TempDir()
		d, at := mount(t, powerloss.Config{Dir: back, Survive: 0.5, Seed: seed})
		put(t, at+"/a", strings.Repeat("\x00", pages*4096), true, true)
		f, err := os.OpenFile(at+"/a", os.O_WRONLY, 0)
		must(t, err)
		_, err = f.Write(bytes.Repeat([]byte("x"), pages*4096))
		must(t, err, f.Close(), d.Cut())
		b, err := os.ReadFile(back + "/a")
		must(t, err)
		for p := range pages {
			switch n := bytes.Count(b[p*4096:(p+1)*4096], []byte("x")); n {
			case 4096:
				whole++
			case 0:
				gone++
			default:
				torn++
			}
		}
		return whole, torn, gone
	}
	torn := 0
	for seed := range uint64(8) {
		w, n, g := survived(seed)
		if w < pages/8 || g < pages/8 || n > 1 {
			t.Errorf("seed %d: %d whole, %d torn, %d gone", seed, w, n, g)
		}
		torn += n
	}
	if torn == 0 {
		t.Error("no page was ever torn")
	}
	w1, n1, g1 := survived(3)
	if w2, n2, g2 := survived(3); w1 != w2 || n1 != n2 || g1 != g2 {
		t.Error("the same seed keeps other pages")
	}
}

// The disk can lie about single files.
func TestALyingDisk(t *testing.T) {
	back := t.TempDir()
	d, at := mount(t, powerloss.Config{Dir: back, Syncing: func(name string) bool { return name != "liar" }})
	put(t, at+"/honest", "1", true, true)
	put(t, at+"/liar", "1", true, true)
	must(t, d.Cut())
	honest, _ := os.ReadFile(back + "/honest")
	liar, _ := os.ReadFile(back + "/liar")
	if string(honest) != "1" || string(liar) != "" || d.Syncs() != 2 {
		t.Errorf("honest %q, liar %q, %d syncs", honest, liar, d.Syncs())
	}
}
