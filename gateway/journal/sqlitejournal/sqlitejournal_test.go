package sqlitejournal_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

func TestStore(t *testing.T) {
	inClearAndSealed(t, func(t *testing.T, keys *sealing.Keyring) {
		journaltest.Run(t, func(t *testing.T) (journal.Store, func() journal.Store) {
			dir := t.TempDir()
			open := func() journal.Store {
				s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: keys})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			return open(), open
		})
	})
}

// inClearAndSealed runs a test without a key of the installation and with one.
func inClearAndSealed(t *testing.T, run func(t *testing.T, keys *sealing.Keyring)) {
	t.Run("in clear", func(t *testing.T) { run(t, nil) })
	t.Run("sealed", func(t *testing.T) { run(t, ring(t, sealing.NewInstallationKey())) })
}

func ring(t testing.TB, current sealing.InstallationKey, old ...sealing.InstallationKey) *sealing.Keyring {
	t.Helper()
	r, err := sealing.NewKeyring(current, old...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, dir string) string // returns the directory to open
		want string
	}{
		{"the directory is a file", func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "file")
			os.WriteFile(file, nil, 0o600)
			return file
		}, "cannot be made"},
		{"another process holds it", func(t *testing.T, dir string) string {
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return dir
		}, "in use by another process"},
		{"the file is not SQLite", func(t *testing.T, dir string) string {
			os.WriteFile(filepath.Join(dir, "journal.db"), []byte(strings.Repeat("not a database ", 500)), 0o600)
			return dir
		}, "damaged or not a journal"},
		{"the file is an empty SQLite file of somebody else", func(t *testing.T, dir string) string {
			os.WriteFile(filepath.Join(dir, "journal.db"), nil, 0o600)
			return dir
		}, "not a journal of this gateway"},
		{"the file is cut short", func(t *testing.T, dir string) string {
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for n := range 50 {
				if _, err := s.Create(t.Context(), journaltest.NewItem(n)); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			file := filepath.Join(dir, "journal.db")
			info, _ := os.Stat(file)
			if err := os.Truncate(file, info.Size()/2/4096*4096); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: tt.make(t, t.TempDir())})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want a sentence with %q", err, tt.want)
			}
		})
	}
}

func TestABodyDamagedOnDiskIsNotServed(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	n := journaltest.NewItem(1)
	n.Bodies["request"] = []byte(strings.Repeat("MARK", 10))
	if _, err := s.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	s.Close()
	file := filepath.Join(dir, "bodies", "00000001.seg")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), "MARKMARK", "MARKNARK", 1)
	if changed == string(b) {
		t.Fatal("the body is not in the file")
	}
	os.WriteFile(file, []byte(changed), 0o600)
	if s, err = sqlitejournal.Open(sqlitejournal.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Body(t.Context(), n.ID, "request"); err == nil {
		t.Errorf("served %q", got)
	}
}

// A gateway that was killed must not make citizens wait for the end of its leases.
func TestLeasesOfADeadProcessAreFreeAtOnce(t *testing.T) {
	dir := t.TempDir()
	claim := func(s journal.Store) []journal.Lease {
		ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0, Lease: time.Hour, Max: 10})
		if err != nil {
			t.Fatal(err)
		}
		return ls
	}
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), journaltest.NewItem(0)); err != nil {
		t.Fatal(err)
	}
	old := claim(s)
	s.Close()
	if s, err = sqlitejournal.Open(sqlitejournal.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Advance(t.Context(), old[0], journal.Step{State: "enriched", Doc: []byte("{}"), At: journaltest.T0}); !errors.Is(err, journal.ErrLeaseLost) {
		t.Errorf("the dead holder's lease: %v", err)
	}
	if ls := claim(s); len(ls) != 1 {
		t.Errorf("%d items can be claimed after the restart", len(ls))
	}
}

// What a crash left at the end of a segment is never read and never in the way.
func TestATornSegmentIsNoHarm(t *testing.T) {
	dir := t.TempDir()
	open := func() *sqlitejournal.Store {
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if _, err := s.Create(t.Context(), journaltest.NewItem(1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	f, err := os.OpenFile(filepath.Join(dir, "bodies", "00000001.seg"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("half a body that no transaction names")
	f.Close()
	s = open()
	defer s.Close()
	if _, err := s.Create(t.Context(), journaltest.NewItem(2)); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		if b, err := s.Body(t.Context(), journaltest.NewItem(n).ID, "request"); err != nil || string(b) != string(journaltest.NewItem(n).Bodies["request"]) {
			t.Errorf("body %d: %q, %v", n, b, err)
		}
	}
}

// A disk without room, or a full queue, refuses at once; what was accepted goes on.
func TestBoundsAreAnsweredAtOnce(t *testing.T) {
	t.Run("no room on the disk", func(t *testing.T) {
		dir := t.TempDir()
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), journaltest.NewItem(1)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if s, err = sqlitejournal.Open(sqlitejournal.Config{Dir: dir, MinFree: 1 << 60}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Create(t.Context(), journaltest.NewItem(2)); gateway.ReasonOf(err) != gateway.JournalFull {
			t.Errorf("create: %v", err)
		}
		if _, err := s.Stats(t.Context()); gateway.ReasonOf(err) != gateway.JournalFull {
			t.Errorf("readiness does not see it: %v", err)
		}
		ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Minute, Max: 1})
		if err != nil || len(ls) != 1 {
			t.Fatalf("claim: %d, %v", len(ls), err)
		}
		if err := s.Advance(t.Context(), ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: journaltest.T0}); err != nil {
			t.Errorf("advance: %v", err)
		}
	})
	t.Run("a full queue", func(t *testing.T) {
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir(), Group: 2, Queue: 8})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var wg sync.WaitGroup
		var accepted, refused atomic.Int32
		for n := range 400 {
			wg.Go(func() {
				_, err := s.Create(t.Context(), journaltest.NewItem(n))
				switch {
				case err == nil:
					accepted.Add(1)
				case gateway.ReasonOf(err) == gateway.Overload:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if accepted.Load() == 0 || refused.Load() == 0 {
			t.Errorf("%d accepted, %d refused", accepted.Load(), refused.Load())
		}
	})
}

// A clock that was ahead and is set right again leaves no work asleep until the wrong hour.
func TestAClockThatWasAheadPutsNothingOff(t *testing.T) {
	const ahead = time.Hour
	for _, tt := range []struct {
		name    string
		restart bool
		leased  bool // the work was claimed under the wrong clock and never recorded
	}{
		{"in one process", false, false},
		{"with a restart between", true, false},
		{"claimed under the wrong clock", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			claim := func(at time.Time) []journal.Lease {
				ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at, Lease: time.Minute, Max: 10})
				if err != nil {
					t.Fatal(err)
				}
				return ls
			}
			for n := range 3 {
				if _, err := s.Create(t.Context(), journaltest.NewItem(n)); err != nil {
					t.Fatal(err)
				}
			}
			wrong := journaltest.T0.Add(ahead)
			ls := claim(wrong)
			if len(ls) != 3 {
				t.Fatalf("claimed %d", len(ls))
			}
			// One goes on at once, one waits for its timer, one for a signal alone.
			for i, wake := range []time.Time{wrong, wrong.Add(48 * time.Hour), {}} {
				if tt.leased {
					continue
				}
				if err := s.Advance(t.Context(), ls[i], journal.Step{State: gateway.StateEnriched, Doc: []byte("{}"), At: wrong, Wake: wake}); err != nil {
					t.Fatal(err)
				}
			}
			if tt.restart {
				s.Close()
				if s, err = sqlitejournal.Open(sqlitejournal.Config{Dir: dir}); err != nil {
					t.Fatal(err)
				}
			}
			defer s.Close()
			right, want := journaltest.T0.Add(2*time.Minute), 2
			if tt.leased {
				if ls := claim(right); len(ls) != 0 {
					t.Fatalf("claimed %d that are leased", len(ls))
				}
				right, want = right.Add(time.Minute), 3
			}
			if ls := claim(right); len(ls) != want {
				t.Errorf("%d can be claimed under the right clock, want %d", len(ls), want)
			}
			// An admission that began under the wrong clock ends when it is right again.
			late := journaltest.NewItem(9)
			late.Created, late.Wake = wrong, wrong
			if _, err := s.Create(t.Context(), late); err != nil {
				t.Fatal(err)
			}
			if ls := claim(right.Add(time.Second)); len(ls) != 1 {
				t.Errorf("%d can be claimed of what was begun under the wrong clock", len(ls))
			}
		})
	}
}

// One citizen who floods the gateway must not slow the work for the others: whether an older
// request is on the way is found in an index, not by reading all that the citizen ever sent.
func TestTheOrderOfACitizensRequestsIsFoundInAnIndex(t *testing.T) {
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
	defer db.Close()
	rows, err := db.Query(`EXPLAIN QUERY PLAN SELECT seq FROM item WHERE shard = 's' AND leased = 0 AND wake <= 9 AND NOT EXISTS (SELECT 1 FROM item older WHERE older.citizen = item.citizen
		AND older.seq < item.seq AND older.service = item.service AND older.shard = item.shard AND older.state IN ('accepted', 'enriched')) ORDER BY wake LIMIT 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, none int
		var text string
		if err := rows.Scan(&id, &parent, &none, &text); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, text)
	}
	if all := strings.Join(plan, "; "); !strings.Contains(all, "USING INDEX item_early (citizen=? AND seq<?)") {
		t.Errorf("the plan is %s", all)
	}
}

// On a disk without any room everything is refused and nothing acknowledged is lost; when there is
// room again the journal goes on, and has not strewn the disk with files meanwhile.
func TestADiskThatIsFullForAWhile(t *testing.T) {
	if os.Getuid() != 0 {
		tool.Missing(t, "mounting a small disk needs root")
	}
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	open := func() *sqlitejournal.Store {
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	var kept []int
	item := func(n int) journal.New {
		it := journaltest.NewItem(n)
		it.Bodies["request"] = []byte(strings.Repeat(fmt.Sprintf("%08d", n), 4000))
		return it
	}
	accept := func(from, to int) (refused int) {
		for n := from; n < to; n++ {
			_, err := s.Create(t.Context(), item(n))
			switch {
			case err == nil:
				kept = append(kept, n)
			case gateway.ReasonOf(err).Class() == gateway.Retry:
				refused++
			default:
				t.Fatal(err)
			}
		}
		return refused
	}
	if refused := accept(0, 400); refused < 50 {
		t.Fatalf("only %d were refused", refused)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "bodies", "*.seg")); len(files) > 3 {
		t.Errorf("%d segments after a while without room", len(files))
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := s.Stats(t.Context()); err == nil {
			break // the journal has seen that there is room
		}
	}
	if refused := accept(400, 450); refused != 0 {
		t.Errorf("%d were refused when there was room again", refused)
	}
	s.Close()
	s = open()
	defer s.Close()
	for _, n := range kept {
		if b, err := s.Body(t.Context(), item(n).ID, "request"); err != nil || string(b) != string(item(n).Bodies["request"]) {
			t.Errorf("item %d: %v", n, err)
		}
	}
}
