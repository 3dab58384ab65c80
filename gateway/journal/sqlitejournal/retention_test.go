package sqlitejournal_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// onDisk reports whether any file of the journal still holds the text.
func onDisk(t *testing.T, dir, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What retention erases must not lie about on the disk, even if the process dies between.
func TestErasedBytesLeaveTheDisk(t *testing.T) {
	tests := []struct {
		name string
		step journal.Step
	}{
		{"an erased body", journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: journaltest.T0, Erase: []string{"request"}, Consumed: []string{"k"}}},
		{"a removed item", journal.Step{Remove: true, At: journaltest.T0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			open := func() *sqlitejournal.Store {
				s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			n := journaltest.NewItem(0)
			n.Bodies["request"] = []byte("the person's document")
			if _, err := s.Create(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Signal(t.Context(), n.ID, journal.Signal{Key: "k", Kind: "step", At: journaltest.T0, Body: []byte("the provider's message")}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Create(t.Context(), journaltest.NewItem(1)); err != nil {
				t.Fatal(err)
			}
			ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0, Lease: time.Minute, Max: 1})
			if err != nil || len(ls) != 1 {
				t.Fatal(ls, err)
			}
			if !onDisk(t, dir, "the person's document") || !onDisk(t, dir, "the provider's message") {
				t.Fatal("nothing was there to erase")
			}
			if err := s.Advance(t.Context(), ls[0], tt.step); err != nil {
				t.Fatal(err)
			}
			s.Close() // before housekeeping came round
			s = open()
			defer s.Close()
			gone := func() bool {
				return !onDisk(t, dir, "the person's document") && !onDisk(t, dir, "the provider's message")
			}
			for deadline := time.Now().Add(2 * time.Minute); !gone() && time.Now().Before(deadline); {
				time.Sleep(50 * time.Millisecond)
			}
			if !gone() {
				t.Error("the bytes are still there")
			}
			if b, err := s.Body(t.Context(), journaltest.NewItem(1).ID, "request"); err != nil || !bytes.Equal(b, journaltest.NewItem(1).Bodies["request"]) {
				t.Errorf("a neighbour was hurt: %q, %v", b, err)
			}
		})
	}
}

// A file of the first schema, with messages inside the database, is taken over whole.
func TestAnOlderFileIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	schema, err := os.ReadFile("testdata/schema1.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	id := journaltest.NewItem(0).ID
	_, err = db.Exec(string(schema)+`PRAGMA user_version = 1;
		INSERT INTO item(id, message, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, pending, doc, events, bodies)
		VALUES (?, x'00', 'egov.kz', 'm', zeroblob(32), 'c', 's', 'zhambyl', 'taraz', 'delivered', 4, 0, ?, ?, ?, 1, x'7b7d', x'5b5d', x'7b7d');
		INSERT INTO inbox(item, key, n, kind, at, body, consumed) VALUES (1, 'old', 1, 'step', 5, CAST('a consumed message' AS BLOB), 1), (1, 'new', 2, 'result', 6, CAST('a waiting message' AS BLOB), 0);`,
		string(id), journaltest.T0.UnixMicro(), journaltest.T0.UnixMicro(), journaltest.T0.UnixMicro())
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	for range 2 { // the second time there is nothing left to do
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if first, fresh, err := s.Signal(t.Context(), id, journal.Signal{Key: "old", Body: []byte("x")}); err != nil || fresh || len(first.Body) != 0 || first.SHA256 == [32]byte{} {
			t.Errorf("consumed: %+v, %v, %v", first, fresh, err)
		}
		if first, fresh, err := s.Signal(t.Context(), id, journal.Signal{Key: "new", Body: []byte("x")}); err != nil || fresh || string(first.Body) != "a waiting message" {
			t.Errorf("waiting: %+v, %v, %v", first, fresh, err)
		}
		s.Close()
	}
	if onDisk(t, dir, "a consumed message") {
		t.Error("the consumed message still lies in the file")
	}
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0, Lease: time.Minute, Max: 1})
	if err != nil || len(ls) != 1 || len(ls[0].Inbox) != 1 || string(ls[0].Inbox[0].Body) != "a waiting message" {
		t.Errorf("claimed %+v, %v", ls, err)
	}
}

func TestANewerFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir}); err == nil {
		s.Close()
		t.Error("opened")
	}
	if _, err := sqlitejournal.Attach(dir, nil); err == nil {
		t.Error("attached")
	}
}

// A backup taken while bodies are being erased is sound, and after it the bytes go.
func TestABackupHoldsBackTheWiping(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range 200 {
		if _, err := s.Create(t.Context(), journaltest.NewItem(n)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := sqlitejournal.Attach(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	done := make(chan error, 1)
	go func() {
		for {
			ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Minute, Max: 1})
			if err != nil || len(ls) == 0 {
				done <- err
				return
			}
			if err := s.Advance(t.Context(), ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: journaltest.T0, Erase: []string{"request"}}); err != nil {
				done <- err
				return
			}
		}
	}()
	for n := range 3 {
		if err := a.Backup(t.Context(), filepath.Join(t.TempDir(), "backup")); err != nil {
			t.Errorf("backup %d: %v", n, err)
		}
	}
	if err := <-done; err != nil && !errors.Is(err, t.Context().Err()) {
		t.Error(err)
	}
}
