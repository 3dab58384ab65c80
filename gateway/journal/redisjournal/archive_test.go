package redisjournal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

// A shelf is a journal with an archive, under a clock of the test.
type shelf struct {
	t     *testing.T
	redis *server
	dir   string
	now   time.Time
	j     *redisjournal.Store
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{t: t, redis: newServer(t), dir: t.TempDir(), now: journaltest.T0}
	s.j = mustOpen(t, redisjournal.Config{Redis: []string{s.redis.url()}, Archive: s.dir, ArchiveAfter: time.Hour, CheckEvery: time.Hour, Now: func() time.Time { return s.now }})
	return s
}

// finished is a closed request with two bodies.
func (s *shelf) finished(n int, wake time.Time) gateway.RequestID {
	s.t.Helper()
	it := journaltest.NewItem(n)
	it.Wake = s.now
	it.Bodies["result"] = []byte("<result/>")
	if _, err := s.j.Create(s.t.Context(), it); err != nil {
		s.t.Fatal(err)
	}
	s.step(journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: s.now, Wake: wake})
	return it.ID
}

// step claims the one item that is due and advances it.
func (s *shelf) step(st journal.Step) {
	s.t.Helper()
	if err := s.j.Advance(s.t.Context(), s.lease(), st); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) lease() journal.Lease {
	s.t.Helper()
	ls, err := s.j.Claim(s.t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: s.now, Lease: time.Minute, Max: 9})
	if err != nil || len(ls) != 1 {
		s.t.Fatalf("claimed %d, %v", len(ls), err)
	}
	return ls[0]
}

func (s *shelf) wake(id gateway.RequestID, key string) {
	s.t.Helper()
	if _, _, err := s.j.Signal(s.t.Context(), id, journal.Signal{Key: key, At: s.now}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) sweep(want int) {
	s.t.Helper()
	n, err := s.j.Sweep(s.t.Context())
	if err != nil || n != want {
		s.t.Errorf("archived %d, want %d: %v", n, want, err)
	}
}

func (s *shelf) files() (all []string) {
	s.t.Helper()
	err := filepath.WalkDir(s.dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func (s *shelf) inRedis() int { return s.redis.count("eg:{journal}:bo:*") }

func (s *shelf) body(id gateway.RequestID, name, want string, wantErr error) {
	s.t.Helper()
	got, err := s.j.Body(s.t.Context(), id, name)
	if string(got) != want || !errors.Is(err, wantErr) {
		s.t.Errorf("body %s: %q, %v", name, got, err)
	}
}

func TestFinishedBodiesLeaveRedisAndStayReadable(t *testing.T) {
	s := newShelf(t)
	id := s.finished(1, time.Time{})
	s.now = s.now.Add(59 * time.Minute)
	s.sweep(0)
	if len(s.files()) != 0 || s.inRedis() != 1 {
		t.Errorf("too early: %v", s.files())
	}
	s.now = s.now.Add(2 * time.Minute)
	s.sweep(1)
	if len(s.files()) != 2 || s.inRedis() != 0 {
		t.Errorf("files %v, %d hashes of bodies in Redis", s.files(), s.inRedis())
	}
	s.body(id, "request", "<request>1</request>", nil)
	s.body(id, "result", "<result/>", nil)
	s.body(id, "other", "", journal.ErrNotFound)
	it, err := s.j.Get(t.Context(), id)
	if err != nil || len(it.Bodies) != 2 || it.Bodies["result"].Size != 9 || it.State != gateway.StateClosed {
		t.Errorf("%+v, %v", it, err)
	}
	s.sweep(0)
	if _, err := s.j.Create(t.Context(), journaltest.NewItem(1)); !errors.Is(err, journal.ErrDuplicate) {
		t.Errorf("again: %v", err)
	}
}

func TestWhatWillBeWorkedOnSoonIsNotArchived(t *testing.T) {
	s := newShelf(t)
	id := s.finished(1, s.now.Add(90*time.Minute))
	s.now = s.now.Add(61 * time.Minute)
	s.sweep(0)
	s.now = s.now.Add(30 * time.Minute)
	l := s.lease()
	s.sweep(0) // it is worked on
	if err := s.j.Advance(t.Context(), l, journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: s.now, Wake: s.now.Add(1000 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	s.sweep(0)
	s.now = s.now.Add(61 * time.Minute)
	s.sweep(1)
	s.body(id, "result", "<result/>", nil)
	if s.inRedis() != 0 {
		t.Error("it is still in Redis")
	}
}

func TestWhatIsErasedOrRemovedLeavesTheArchive(t *testing.T) {
	s := newShelf(t)
	erased, removed := s.finished(1, time.Time{}), s.finished(2, time.Time{})
	s.now = s.now.Add(2 * time.Hour)
	s.sweep(2)
	s.wake(erased, "retention")
	s.step(journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: s.now, Erase: []string{"request"}, Consumed: []string{"retention"}})
	s.body(erased, "request", "", journal.ErrErased)
	s.body(erased, "result", "<result/>", nil)
	if n := len(s.files()); n != 3 {
		t.Errorf("%d files after the erasure", n)
	}
	s.wake(removed, "retention")
	s.step(journal.Step{Remove: true, At: s.now})
	s.body(removed, "result", "", journal.ErrNotFound)
	if n := len(s.files()); n != 1 {
		t.Errorf("%d files after the removal", n)
	}
	// A body that comes again after the archiving takes the place of the archived one.
	s.wake(erased, "again")
	s.step(journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: s.now, Bodies: map[string][]byte{"result": []byte("<second/>")}, Consumed: []string{"again"}})
	s.body(erased, "result", "<second/>", nil)
	if n := len(s.files()); n != 0 {
		t.Errorf("%d files after the replacement", n)
	}
	s.now = s.now.Add(2 * time.Hour)
	s.sweep(1)
	s.body(erased, "result", "<second/>", nil)
	s.body(erased, "request", "", journal.ErrErased)
}

// What a gateway that ended in the middle left behind is deleted, and nothing that is named.
func TestLeftoversOfTheArchiveAreDeleted(t *testing.T) {
	s := newShelf(t)
	id := s.finished(1, time.Time{})
	s.now = s.now.Add(2 * time.Hour)
	s.sweep(1)
	named := s.files()
	// Ended between the file and the note: the file is on the staged list.
	staged := filepath.Join(string(id[:2]), string(id)+"-staged")
	// Forgotten by a failover, whole or halfway.
	lost, half := filepath.Join(string(id[:2]), string(id)+"-lost"), filepath.Join(string(id[:2]), string(id)+"-half.tmp")
	for _, f := range []string{staged, lost, half} {
		if err := os.WriteFile(filepath.Join(s.dir, f), []byte("leftover"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := s.redis.client()
	defer c.Close()
	if err := c.Do(t.Context(), "ZADD", "eg:{journal}:staged", s.now.UnixMicro(), staged).Err(); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.files() {
		if err := os.Chtimes(f, s.now, s.now); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.j.Orphans(t.Context()); err != nil || n != 0 || len(s.files()) != 5 {
		t.Errorf("young files: %d, %v", n, err)
	}
	s.now = s.now.Add(2 * time.Hour)
	s.sweep(0)
	if n := len(s.files()); n != 4 {
		t.Errorf("%d files: the staged one was not given up", n)
	}
	s.now = s.now.Add(48 * time.Hour)
	if n, err := s.j.Orphans(t.Context()); err != nil || n != 2 {
		t.Errorf("orphans: %d, %v", n, err)
	}
	if got := s.files(); len(got) != 2 || got[0] != named[0] || got[1] != named[1] {
		t.Errorf("left %v, want %v", got, named)
	}
	s.body(id, "request", "<request>1</request>", nil)
}

// A file that changed on its disk is never served.
func TestADamagedArchiveIsNotServed(t *testing.T) {
	s := newShelf(t)
	id := s.finished(1, time.Time{})
	s.now = s.now.Add(2 * time.Hour)
	s.sweep(1)
	for _, f := range s.files() {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, bytes.ToUpper(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.j.Body(t.Context(), id, "result"); gateway.ReasonOf(err) != gateway.JournalUnavailable {
		t.Errorf("got %v", err)
	}
}

// An archive that cannot be written leaves the bodies where they are.
func TestAnArchiveThatCannotBeWrittenLosesNothing(t *testing.T) {
	s := newShelf(t)
	id := s.finished(1, time.Time{})
	s.now = s.now.Add(2 * time.Hour)
	if err := os.WriteFile(filepath.Join(s.dir, string(id[:2])), nil, 0o600); err != nil { // where the folder should be
		t.Fatal(err)
	}
	if _, err := s.j.Sweep(t.Context()); err == nil {
		t.Error("no error")
	}
	s.body(id, "request", "<request>1</request>", nil)
	if err := os.Remove(filepath.Join(s.dir, string(id[:2]))); err != nil {
		t.Fatal(err)
	}
	s.sweep(1)
	s.body(id, "request", "<request>1</request>", nil)
}
