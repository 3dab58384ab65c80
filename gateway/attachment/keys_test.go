package attachment_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/sealing"
)

func ring(t *testing.T, current sealing.InstallationKey, old ...sealing.InstallationKey) *sealing.Keyring {
	t.Helper()
	r, err := sealing.NewKeyring(current, old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// onDisk reports whether a name or the content of a file below dir holds the text.
func onDisk(t *testing.T, dir string, text []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, text) || strings.Contains(path, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "??", "*", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSealedDocumentsTellNothing(t *testing.T) {
	_, dir := open(t)
	key := sealing.NewInstallationKey()
	s := reopen(t, dir, ring(t, key))
	put(t, s, one, "a person's lease", "a receipt")
	put(t, s, one, "a receipt") // again
	put(t, s, two, "a person's lease")
	if got := files(t, dir, "*.sealed"); len(got) != 3 || filepath.Base(got[0]) == filepath.Base(got[2]) || filepath.Base(got[1]) == filepath.Base(got[2]) {
		t.Errorf("files: %v", got)
	}
	for _, canary := range []string{"person", "receipt", sumOf("a person's lease"), sumOf("a receipt")} {
		if onDisk(t, dir, []byte(canary)) {
			t.Errorf("%q lies on the disk", canary)
		}
	}
	for _, same := range []*attachment.Store{s, reopen(t, dir, ring(t, key)), reopen(t, dir, ring(t, sealing.NewInstallationKey(), key))} {
		if b, err := same.Get(one, sumOf("a person's lease")); err != nil || string(b) != "a person's lease" {
			t.Errorf("got %q, %v", b, err)
		}
		if sums, err := same.Sums(one); err != nil || len(sums) != 2 {
			t.Errorf("sums: %v, %v", sums, err)
		}
	}
	for name, without := range map[string]*attachment.Store{"no key": reopen(t, dir, nil), "another key": reopen(t, dir, ring(t, sealing.NewInstallationKey()))} {
		var missing *sealing.MissingKeyError
		if _, err := without.Get(one, sumOf("a receipt")); !errors.As(err, &missing) || missing.ID != key.ID() {
			t.Errorf("with %s: %v", name, err)
		}
		if err := without.Put(one, [][]byte{[]byte("more")}); !errors.As(err, &missing) {
			t.Errorf("put with %s: %v", name, err)
		}
	}
}

func TestDocumentsFromBeforeTheKeyStayReadable(t *testing.T) {
	s, dir := open(t)
	put(t, s, one, "in clear")
	s = reopen(t, dir, ring(t, sealing.NewInstallationKey()))
	put(t, s, one, "in clear", "sealed")
	if got := files(t, dir, "*.sealed"); len(got) != 1 {
		t.Errorf("sealed: %v", got)
	}
	to, _ := open(t)
	if err := s.Copy(to); err != nil {
		t.Fatal(err)
	}
	for _, from := range []*attachment.Store{s, to} {
		for _, text := range []string{"in clear", "sealed"} {
			if b, err := from.Get(one, sumOf(text)); err != nil || string(b) != text {
				t.Errorf("got %q, %v", b, err)
			}
		}
	}
}

func TestASealedFileIsOnlyItself(t *testing.T) {
	tests := []struct {
		name string
		do   func(ones, twos []string, dir string) error
	}{
		{"a flipped bit", func(ones, _ []string, _ string) error {
			b, err := os.ReadFile(ones[0])
			b[len(b)/2] ^= 1
			return errors.Join(err, os.WriteFile(ones[0], b, 0o600))
		}},
		{"cut short", func(ones, _ []string, _ string) error { return os.Truncate(ones[0], 20) }},
		{"another request's document in its place", func(ones, twos []string, _ string) error {
			b, err := os.ReadFile(twos[0])
			return errors.Join(err, os.WriteFile(ones[0], b, 0o600))
		}},
		{"another request's key in its place", func(ones, twos []string, _ string) error {
			from, _ := filepath.Glob(filepath.Join(filepath.Dir(twos[0]), "*.key"))
			to, _ := filepath.Glob(filepath.Join(filepath.Dir(ones[0]), "*.key"))
			b, err := os.ReadFile(from[0])
			return errors.Join(err, os.WriteFile(to[0], b, 0o600))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, dir := open(t)
			s := reopen(t, dir, ring(t, sealing.NewInstallationKey()))
			put(t, s, one, "a document of the first")
			put(t, s, two, "a document of the other")
			all := func(id gateway.RequestID) []string {
				names, _ := filepath.Glob(filepath.Join(dir, string(id[:2]), string(id), "*.sealed"))
				return names
			}
			if err := tt.do(all(one), all(two), dir); err != nil {
				t.Fatal(err)
			}
			if b, err := s.Get(one, sumOf("a document of the first")); !errors.Is(err, attachment.ErrDamaged) && !errors.Is(err, sealing.ErrDamaged) {
				t.Errorf("got %q, %v", b, err)
			}
			if err := s.Copy(reopen(t, t.TempDir(), nil)); err == nil {
				t.Error("copied")
			}
		})
	}
}

// Whatever the disk still has of a file that was erased, its key is overwritten where it lay.
func TestEraseOverwritesTheKey(t *testing.T) {
	_, dir := open(t)
	s := reopen(t, dir, ring(t, sealing.NewInstallationKey()))
	put(t, s, one, "a document")
	keys := files(t, dir, "*.key")
	if len(keys) != 1 {
		t.Fatal(keys)
	}
	wrapped, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(t.TempDir(), "the same blocks")
	if err := os.Link(keys[0], kept); err != nil {
		tool.Missing(t, "the folder for temporary files takes no second name of a file: %v", err)
	}
	if err := s.Erase(one); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(kept); err != nil || bytes.Contains(b, wrapped[8:16]) || onDisk(t, dir, wrapped) {
		t.Errorf("the key is still there: %x, %v", b, err)
	}
}

// A rekeying that is cut off before any of its changes leaves every document readable, and ends
// when it is begun again.
func TestRekeyCutOffAnywhere(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	cut := errors.New("killed")
	for after := 0; ; after++ {
		_, dir := open(t)
		put(t, reopen(t, dir, ring(t, first)), one, "a document of the first")
		put(t, reopen(t, dir, ring(t, first)), two, "a document of the other")
		both := reopen(t, dir, ring(t, second, first))
		left := after
		both.About(func(string) error {
			if left--; left < 0 {
				return cut
			}
			return nil
		})
		_, err := both.Rekey()
		if err != nil && !errors.Is(err, cut) {
			t.Fatal(err)
		}
		readable := func(s *attachment.Store) {
			t.Helper()
			for id, text := range map[gateway.RequestID]string{one: "a document of the first", two: "a document of the other"} {
				if b, err := s.Get(id, sumOf(text)); err != nil || string(b) != text {
					t.Fatalf("cut after %d changes: %q, %v", after, b, err)
				}
			}
		}
		readable(both)
		if _, e := reopen(t, dir, ring(t, second, first)).Rekey(); e != nil {
			t.Fatal(e)
		}
		readable(reopen(t, dir, ring(t, second)))
		id := first.ID()
		if onDisk(t, dir, id[:]) {
			t.Errorf("something is left under the old key")
		}
		if err == nil {
			if after < 4 {
				t.Errorf("only %d changes", after)
			}
			return
		}
	}
}

func TestRekeyNamesADamagedKey(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	_, dir := open(t)
	s := reopen(t, dir, ring(t, first))
	put(t, s, one, "hurt")
	put(t, s, two, "whole")
	keys, err := filepath.Glob(filepath.Join(dir, string(one[:2]), string(one), "*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	b, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	b[30] ^= 1
	if err := os.WriteFile(keys[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := reopen(t, dir, ring(t, second, first)).Rekey()
	if n != 1 || !errors.Is(err, sealing.ErrDamaged) || !strings.Contains(err.Error(), string(one)) {
		t.Errorf("rewrapped %d, %v", n, err)
	}
	if b, err := reopen(t, dir, ring(t, second)).Get(two, sumOf("whole")); err != nil || string(b) != "whole" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestRekeyBesidePutAndErase(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	_, dir := open(t)
	put(t, reopen(t, dir, ring(t, first)), two, "stays")
	s := reopen(t, dir, ring(t, second, first))
	var wg sync.WaitGroup
	stop := time.Now().Add(300 * time.Millisecond)
	wg.Go(func() {
		for time.Now().Before(stop) {
			if err := s.Put(one, [][]byte{[]byte("comes"), []byte("and goes")}); err != nil {
				t.Error(err)
			}
			if err := s.Erase(one); err != nil {
				t.Error(err)
			}
		}
	})
	for time.Now().Before(stop) {
		if _, err := reopen(t, dir, ring(t, second, first)).Rekey(); err != nil {
			t.Error(err)
		}
		if _, err := reopen(t, dir, ring(t, first, second)).Rekey(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if b, err := s.Get(two, sumOf("stays")); err != nil || string(b) != "stays" {
		t.Errorf("got %q, %v", b, err)
	}
}
