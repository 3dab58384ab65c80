package attachment_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/sealing"
)

var (
	one = gateway.NewRequestID("egov.kz", "one", [32]byte{})
	two = gateway.NewRequestID("egov.kz", "two", [32]byte{})
)

func sumOf(s string) string {
	b := sha256.Sum256([]byte(s))
	return hex.EncodeToString(b[:])
}

func open(t *testing.T) (*attachment.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "attachments")
	return reopen(t, dir, nil), dir
}

func reopen(t *testing.T, dir string, keys *sealing.Keyring) *attachment.Store {
	t.Helper()
	s, err := attachment.Open(dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *attachment.Store, id gateway.RequestID, documents ...string) {
	t.Helper()
	var all [][]byte
	for _, d := range documents {
		all = append(all, []byte(d))
	}
	if err := s.Put(id, all); err != nil {
		t.Fatal(err)
	}
}

func TestGet(t *testing.T) {
	s, dir := open(t)
	put(t, s, one, "a receipt", "a lease")
	put(t, s, one, "a lease") // again
	put(t, s, two, "a third")
	file := filepath.Join(dir, string(two[:2]), string(two), sumOf("a third"))
	if err := os.WriteFile(file, []byte("a thirb"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		id   gateway.RequestID
		sum  string
		want string
		err  error
	}{
		{"what was put is there", one, sumOf("a receipt"), "a receipt", nil},
		{"and the second document too", one, sumOf("a lease"), "a lease", nil},
		{"another request's document is not this one's", two, sumOf("a lease"), "", attachment.ErrNotFound},
		{"a digest nobody put", one, sumOf("nothing"), "", attachment.ErrNotFound},
		{"a digest that is a path", one, "../../" + string(two[:2]), "", attachment.ErrNotFound},
		{"a file changed on disk", two, sumOf("a third"), "", attachment.ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Get(tt.id, tt.sum)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestEraseLeavesTheOthers(t *testing.T) {
	s, dir := open(t)
	put(t, s, one, "a", "b")
	put(t, s, two, "c")
	for range 2 {
		if err := s.Erase(one); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(one, sumOf("a")); !errors.Is(err, attachment.ErrNotFound) {
		t.Errorf("erased: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, string(one[:2]), string(one))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if _, err := s.Get(two, sumOf("c")); err != nil {
		t.Error(err)
	}
}

// What a crash left between the documents and the acceptance goes; what was accepted, or is
// just being accepted, stays.
func TestSweep(t *testing.T) {
	s, dir := open(t)
	put(t, s, one, "a")
	put(t, s, two, "b")
	has := func(id gateway.RequestID) (bool, error) { return id == one, nil }
	if n, err := s.Sweep(time.Hour, has); err != nil || n != 0 {
		t.Errorf("young ones: %d, %v", n, err)
	}
	for _, id := range []gateway.RequestID{one, two} {
		folder := filepath.Join(dir, string(id[:2]), string(id))
		info, err := os.Stat(folder)
		if err != nil {
			t.Fatal(err)
		}
		before := info.ModTime().Add(-2 * time.Hour)
		if err := os.Chtimes(folder, before, before); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Sweep(time.Hour, has); err != nil || n != 1 {
		t.Errorf("old ones: %d, %v", n, err)
	}
	if _, err := s.Get(one, sumOf("a")); err != nil {
		t.Error(err)
	}
	if _, err := s.Get(two, sumOf("b")); !errors.Is(err, attachment.ErrNotFound) {
		t.Errorf("swept: %v", err)
	}
	unsure := errors.New("the journal does not answer")
	if _, err := s.Sweep(time.Hour, func(gateway.RequestID) (bool, error) { return false, unsure }); !errors.Is(err, unsure) {
		t.Errorf("unsure: %v", err)
	}
	if _, err := s.Get(one, sumOf("a")); err != nil {
		t.Errorf("an unsure sweep erased: %v", err)
	}
}

func TestCopyChecksWhatItCopies(t *testing.T) {
	s, dir := open(t)
	put(t, s, one, "a", "b")
	to, _ := open(t)
	if err := s.Copy(to); err != nil {
		t.Fatal(err)
	}
	if b, err := to.Get(one, sumOf("b")); err != nil || string(b) != "b" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, string(one[:2]), string(one), sumOf("b")), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Copy(to); !errors.Is(err, attachment.ErrDamaged) {
		t.Errorf("a damaged document: %v", err)
	}
}

func TestConcurrentPutsOfOneRequestAgree(t *testing.T) {
	s, _ := open(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Put(one, [][]byte{[]byte("same"), []byte("other")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sums, err := s.Sums(one); err != nil || len(sums) != 2 {
		t.Errorf("%v, %v", sums, err)
	}
}
