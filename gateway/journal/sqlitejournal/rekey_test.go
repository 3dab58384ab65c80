package sqlitejournal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

func begin(t *testing.T, dir string, keys *sealing.Keyring) (*sqlitejournal.Rekeying, error) {
	t.Helper()
	a, err := sqlitejournal.Attach(dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a.Rekey(t.Context())
}

func rekey(t *testing.T, dir string, keys *sealing.Keyring, ask func(string) error) (int, error) {
	t.Helper()
	r, err := begin(t, dir, keys)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	r.About(ask)
	n, err := r.Run(t.Context())
	if err == nil {
		err = r.Finish(t.Context())
	}
	return n, err
}

// aJournal has two requests, one with a message that waits, and what was removed.
func aJournal(t *testing.T, keys *sealing.Keyring) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := openIn(t, dir, keys)
	defer s.Close()
	for n := range 3 {
		if _, err := s.Create(t.Context(), aRequest(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Advance(t.Context(), claimOne(t, s, journaltest.T0.Add(time.Hour)), journal.Step{Remove: true, At: journaltest.T0}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Signal(t.Context(), aRequest(1).ID, journal.Signal{Key: "k", Kind: "step", At: journaltest.T0, Body: []byte("the provider's message")}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// readable looks for all that aJournal has.
func readable(t *testing.T, dir string, keys *sealing.Keyring) {
	t.Helper()
	s := openIn(t, dir, keys)
	defer s.Close()
	for n := 1; n < 3; n++ {
		id := aRequest(n).ID
		if it, err := s.Get(t.Context(), id); err != nil || string(it.Doc) != string(aRequest(n).Doc) {
			t.Fatalf("request %d: %s, %v", n, it.Doc, err)
		}
		if b, err := s.Body(t.Context(), id, "receipt"); err != nil || string(b) != fmt.Sprintf("the receipt of %d", n) {
			t.Fatalf("request %d: %q, %v", n, b, err)
		}
	}
	first, fresh, err := s.Signal(t.Context(), aRequest(1).ID, journal.Signal{Key: "k", Body: []byte("x")})
	if err != nil || fresh || string(first.Body) != "the provider's message" {
		t.Fatalf("the message: %+v, %v", first, err)
	}
}

// A rekeying that is cut off before any of its changes leaves everything readable, and ends when it
// is begun again.
func TestRekeyCutOffAnywhere(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	cut := errors.New("killed")
	for after := 0; ; after++ {
		dir := aJournal(t, ring(t, first))
		left := after
		_, err := rekey(t, dir, ring(t, second, first), func(string) error {
			if left--; left < 0 {
				return cut
			}
			return nil
		})
		if err != nil && !errors.Is(err, cut) {
			t.Fatal(err)
		}
		if err != nil {
			// Neither key alone will do, and a start says so.
			for _, key := range []sealing.InstallationKey{first, second} {
				if s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: ring(t, key)}); err == nil {
					s.Close()
					t.Errorf("cut after %d changes: opened with one key", after)
				}
			}
			readable(t, dir, ring(t, first, second))
			readable(t, dir, ring(t, second, first))
			if _, err := rekey(t, dir, ring(t, second, first), nil); err != nil {
				t.Fatal(err)
			}
		}
		readable(t, dir, ring(t, second))
		id := first.ID()
		for _, trace := range []string{string(id[:]), id.String()} {
			if left := onDisk(t, filepath.Join(dir, "bodies"), trace); left {
				t.Errorf("cut after %d changes: something is left under the old key", after)
			}
		}
		if err == nil {
			if after < 10 {
				t.Errorf("only %d changes", after)
			}
			return
		}
	}
}

func TestRekeyAndBack(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	dir := aJournal(t, ring(t, first))
	for range 2 {
		if n, err := rekey(t, dir, ring(t, second, first), nil); err != nil || n != 3 {
			t.Fatalf("rewrapped %d, %v", n, err)
		}
		if n, err := rekey(t, dir, ring(t, second), nil); err != nil || n != 0 {
			t.Fatalf("rewrapped again %d, %v", n, err)
		}
		readable(t, dir, ring(t, second))
		first, second = second, first
	}
}

func TestRekeyRefuses(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	dir := aJournal(t, ring(t, first))
	if _, err := begin(t, dir, nil); err == nil {
		t.Error("without a key")
	}
	var missing *sealing.MissingKeyError
	if _, err := begin(t, dir, ring(t, second)); !errors.As(err, &missing) || missing.ID != first.ID() {
		t.Errorf("without the old key: %v", err)
	}
	s := openIn(t, dir, ring(t, first))
	if _, err := begin(t, dir, ring(t, second, first)); err == nil || !strings.Contains(err.Error(), "data_key_old") {
		t.Errorf("beside a gateway that does not know the new key: %v", err)
	}
	s.Close()
	r, err := begin(t, dir, ring(t, second, first))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: ring(t, second, first)}); err == nil {
		s.Close()
		t.Error("a gateway was started beside a rekeying that counts on there being none")
	}
	r.Close()
	// A gateway that was restarted meanwhile may have sealed under anything.
	s = openIn(t, dir, ring(t, second, first))
	if r, err = begin(t, dir, ring(t, second, first)); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openIn(t, dir, ring(t, second, first))
	defer s.Close()
	if err := r.Finish(t.Context()); err == nil {
		t.Error("finished over a restart")
	}
}

// A key that nothing opens is named, the others are changed, and the old key is not forgotten: a
// backup may bring back what it opens.
func TestRekeyNamesADamagedKey(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	dir := aJournal(t, ring(t, first))
	file, offset, _ := slotOf(t, dir, aRequest(1).ID)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(whole)
	broken[offset+40] ^= 1
	if err := os.WriteFile(file, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := rekey(t, dir, ring(t, second, first), nil)
	if err == nil || !strings.Contains(err.Error(), string(aRequest(1).ID)) || n != 2 {
		t.Errorf("rewrapped %d, %v", n, err)
	}
	if s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: ring(t, second)}); err == nil {
		s.Close()
		t.Error("the old key is forgotten")
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	after[offset+40] ^= 1
	if err := os.WriteFile(file, after, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := rekey(t, dir, ring(t, second, first), nil); err != nil || n != 1 {
		t.Errorf("rewrapped %d, %v", n, err)
	}
	readable(t, dir, ring(t, second))
}

// A running gateway takes, works on, erases and removes while its journal's keys are changed, and a backup is taken.
func TestRekeyBesideARunningGateway(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	dir := aJournal(t, ring(t, first))
	s := openIn(t, dir, ring(t, first))
	for n := 10; n < 200; n++ {
		if _, err := s.Create(t.Context(), aRequest(n)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	both := ring(t, second, first)
	s = openIn(t, dir, both)
	s.Remember(0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 200; n < 300; n++ {
			if _, err := s.Create(t.Context(), aRequest(n)); err != nil {
				t.Error(err)
			}
			if _, _, err := s.Signal(t.Context(), aRequest(n).ID, journal.Signal{Key: "k", Kind: "step", At: journaltest.T0, Body: []byte("the provider's message")}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for n := range 150 {
			ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Minute, Max: 1})
			if err != nil || len(ls) != 1 {
				t.Error(len(ls), err)
				return
			}
			st := journal.Step{State: gateway.StateClosed, Doc: ls[0].Item.Doc, At: journaltest.T0, Erase: []string{"request"}}
			if st.Remove = n%2 == 0; st.Remove {
				st = journal.Step{Remove: true, At: journaltest.T0}
			}
			if err := s.Advance(t.Context(), ls[0], st); err != nil {
				t.Error(err)
			}
		}
	})
	backup := filepath.Join(t.TempDir(), "backup")
	a, err := sqlitejournal.Attach(dir, both)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	wg.Go(func() {
		if err := a.Backup(t.Context(), backup); err != nil {
			t.Error(err)
		}
	})
	if _, err := rekey(t, dir, both, nil); err != nil {
		t.Error(err)
	}
	wg.Wait()
	s.Close()
	openIn(t, dir, ring(t, second)).Close()
	for _, where := range []string{dir, backup} {
		a, err := sqlitejournal.Attach(where, both)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := a.Verify(t.Context()); err != nil || len(r.Faults) > 0 || r.Items < 100 {
			t.Errorf("%s: %+v, %v", where, r, err)
		}
		a.Close()
	}
}
