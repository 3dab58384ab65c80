package sqlitejournal_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

func openIn(t *testing.T, dir string, keys *sealing.Keyring) *sqlitejournal.Store {
	t.Helper()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// query runs a statement on a closed or idle journal, as a hand with SQLite's shell would.
func query(t *testing.T, dir, text string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text, args...); err != nil {
		t.Fatal(err)
	}
}

// slotOf is what lies in the slot of an item's key.
func slotOf(t *testing.T, dir string, id gateway.RequestID) (file string, offset int64, content []byte) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var segment int
	if err := db.QueryRow("SELECT key_segment, key_offset FROM item WHERE id = ?", string(id)).Scan(&segment, &offset); err != nil || segment == 0 {
		t.Fatal(segment, err)
	}
	file = filepath.Join(dir, "bodies", fmt.Sprintf("%08d.seg", segment))
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, offset, all[offset : offset+sealing.WrappedSize]
}

// canaries are what no file may hold in clear; each stands where the field has it.
var canaries = []string{"850101300007", "Сынақов", "жалдау-шарты.pdf", "Official Ospanov", "the provider's message", "the receipt of"}

// aRequest has canaries everywhere.
func aRequest(n int) journal.New {
	it := journaltest.NewItem(n)
	it.Doc = fmt.Appendf(nil, `{"iin":"850101300007","attachments":[{"name":"жалдау-шарты.pdf"}],"n":%d}`, n)
	it.Events = []gateway.Event{{At: journaltest.T0, Kind: gateway.EventStep, Subject: "Official Ospanov"}}
	it.Bodies = map[string][]byte{"request": []byte("<surname>Сынақов</surname>"), "receipt": fmt.Appendf(nil, "the receipt of %d", n)}
	return it
}

func TestNothingLiesInClear(t *testing.T) {
	dir := t.TempDir()
	key := sealing.NewInstallationKey()
	s := openIn(t, dir, ring(t, key))
	for n := range 3 {
		if _, err := s.Create(t.Context(), aRequest(n)); err != nil {
			t.Fatal(err)
		}
	}
	id := aRequest(0).ID
	if _, _, err := s.Signal(t.Context(), id, journal.Signal{Key: "k", Kind: "result", At: journaltest.T0, Body: []byte("the provider's message")}); err != nil {
		t.Fatal(err)
	}
	l := claimOne(t, s, journaltest.T0.Add(time.Hour))
	if len(l.Inbox) != 1 || string(l.Inbox[0].Body) != "the provider's message" {
		t.Fatalf("inbox: %+v", l.Inbox)
	}
	err := s.Advance(t.Context(), l, journal.Step{State: gateway.StateEnriched, Doc: []byte(`{"surname":"Сынақов"}`), At: journaltest.T0,
		Events: []gateway.Event{{At: journaltest.T0, Kind: gateway.EventStep, Note: "Official Ospanov decided"}}, Bodies: map[string][]byte{"result": []byte("850101300007")}})
	if err != nil {
		t.Fatal(err)
	}
	look := func(s *sqlitejournal.Store) {
		t.Helper()
		for _, canary := range canaries {
			if onDisk(t, dir, canary) {
				t.Errorf("%q lies on the disk", canary)
			}
		}
		it, err := s.Get(t.Context(), id)
		if err != nil || string(it.Doc) != `{"surname":"Сынақов"}` || len(it.Events) != 2 || it.Events[1].Note != "Official Ospanov decided" {
			t.Errorf("got %s %+v, %v", it.Doc, it.Events, err)
		}
		if b, err := s.Body(t.Context(), id, "result"); err != nil || string(b) != "850101300007" {
			t.Errorf("result: %q, %v", b, err)
		}
		if it.Bodies["result"].Size != 12 {
			t.Errorf("note: %+v", it.Bodies["result"])
		}
		if all, _, err := s.List(t.Context(), journal.Query{}); err != nil || len(all) != 3 || !bytes.Contains(all[0].Doc, []byte("жалдау-шарты.pdf")) {
			t.Errorf("listed %+v, %v", all, err)
		}
	}
	look(s)
	s.Close()
	look(openIn(t, dir, ring(t, sealing.NewInstallationKey(), key)))
}

// After an erasure or a removal the key is gone from the disk, and with it all that the database's
// log and freed pages still have under it; what the contract keeps is readable.
func TestAnErasedKeyLeavesTheDisk(t *testing.T) {
	tests := []struct {
		name string
		step journal.Step
	}{
		{"erased", journal.Step{State: gateway.StateErased, Doc: []byte(`{"proof":true}`), At: journaltest.T0, Erase: []string{"request"}, Consumed: []string{"k"},
			Events: []gateway.Event{{At: journaltest.T0, Kind: gateway.EventErased}}}},
		{"removed", journal.Step{Remove: true, At: journaltest.T0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, keys := t.TempDir(), ring(t, sealing.NewInstallationKey())
			s := openIn(t, dir, keys)
			id := aRequest(0).ID
			for n := range 2 {
				if _, err := s.Create(t.Context(), aRequest(n)); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := s.Signal(t.Context(), id, journal.Signal{Key: "k", Kind: "step", At: journaltest.T0, Body: []byte("the provider's message")}); err != nil {
				t.Fatal(err)
			}
			// The message's own key lies before it.
			_, _, wrapped := slotOf(t, dir, id)
			neighbour, _, kept := slotOf(t, dir, aRequest(1).ID)
			segment, err := os.ReadFile(neighbour)
			if err != nil {
				t.Fatal(err)
			}
			prefix := wrapped[:8] // the installation key's id
			var message []byte
			for at := 0; ; at++ {
				i := bytes.Index(segment[at:], prefix)
				if i < 0 {
					break
				}
				at += i
				if slot := segment[at : at+sealing.WrappedSize]; !bytes.Equal(slot, wrapped) && !bytes.Equal(slot, kept) {
					message = slot
				}
			}
			if message == nil || !onDisk(t, dir, string(wrapped)) {
				t.Fatal("nothing is there to erase")
			}
			if err := s.Advance(t.Context(), claimOne(t, s, journaltest.T0.Add(time.Hour)), tt.step); err != nil {
				t.Fatal(err)
			}
			s.Close() // before housekeeping came round
			s = openIn(t, dir, keys)
			defer s.Close()
			gone := func() bool { return !onDisk(t, dir, string(wrapped)) && !onDisk(t, dir, string(message)) }
			for deadline := time.Now().Add(2 * time.Minute); !gone() && time.Now().Before(deadline); {
				time.Sleep(50 * time.Millisecond)
			}
			if !gone() {
				t.Error("a key is still there")
			}
			if b, err := s.Body(t.Context(), aRequest(1).ID, "request"); err != nil || string(b) != "<surname>Сынақов</surname>" {
				t.Errorf("a neighbour was hurt: %q, %v", b, err)
			}
			it, err := s.Get(t.Context(), id)
			if tt.step.Remove {
				if !errors.Is(err, journal.ErrNotFound) {
					t.Errorf("removed: %v", err)
				}
				return
			}
			if err != nil || string(it.Doc) != `{"proof":true}` || len(it.Events) != 2 || it.Bodies["request"] != (journal.BodyNote{SHA256: it.Bodies["request"].SHA256, Size: 33, Erased: true}) {
				t.Errorf("the proof: %s %+v %+v, %v", it.Doc, it.Events, it.Bodies, err)
			}
			if b, err := s.Body(t.Context(), id, "receipt"); err != nil || string(b) != "the receipt of 0" {
				t.Errorf("the receipt: %q, %v", b, err)
			}
			if _, err := s.Body(t.Context(), id, "request"); !errors.Is(err, journal.ErrErased) {
				t.Errorf("the erased body: %v", err)
			}
		})
	}
}

// What was sealed opens where it was put and nowhere else, whole and not otherwise.
func TestWhatIsSealedOpensOnlyInItsPlace(t *testing.T) {
	first, other := aRequest(0).ID, aRequest(1).ID
	swap := func(column string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			query(t, dir, "UPDATE item SET "+column+" = (SELECT i."+column+" FROM item i WHERE i.id = ?) WHERE id = ?", string(other), string(first))
		}
	}
	flip := func(column string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var b []byte
			if err := db.QueryRow("SELECT "+column+" FROM item WHERE id = ?", string(first)).Scan(&b); err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 0x10
			if _, err := db.Exec("UPDATE item SET "+column+" = ? WHERE id = ?", b, string(first)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// inSegment changes the bytes of the first item: its key, and what follows it.
	inSegment := func(change func(b []byte)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			file, offset, _ := slotOf(t, dir, first)
			all, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			change(all[offset:])
			if err := os.WriteFile(file, all, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
	}{
		{"another item's record", swap("doc")},
		{"another item's events", swap("events")},
		{"another item's bodies", swap("bodies")},
		{"another item's key", func(t *testing.T, dir string) { swap("key_segment")(t, dir); swap("key_offset")(t, dir) }},
		{"one body under the other's name", func(t *testing.T, dir string) {
			query(t, dir, `UPDATE item SET bodies = CAST(replace(replace(replace(CAST(bodies AS TEXT), '"receipt"', '"x"'), '"request"', '"receipt"'), '"x"', '"request"') AS BLOB)`)
		}},
		{"the record in the place of the events", func(t *testing.T, dir string) { query(t, dir, "UPDATE item SET events = doc") }},
		{"a flipped bit in the record", flip("doc")},
		{"a flipped bit in the events", flip("events")},
		{"another state", func(t *testing.T, dir string) { query(t, dir, "UPDATE item SET state = 'closed'") }},
		{"another citizen", func(t *testing.T, dir string) { query(t, dir, "UPDATE item SET citizen = 'somebody'") }},
		{"another number of tries", func(t *testing.T, dir string) { query(t, dir, "UPDATE item SET attempt = 7") }},
		{"said to be in clear", func(t *testing.T, dir string) { query(t, dir, "UPDATE item SET key_segment = 0") }},
		{"a flipped bit in the key", inSegment(func(b []byte) { b[30] ^= 1 })},
		{"a wiped key", inSegment(func(b []byte) { clear(b[:2*sealing.WrappedSize]) })},
		{"flipped bits in the bodies", inSegment(func(b []byte) {
			for i := 2 * sealing.WrappedSize; i < min(len(b), 2*sealing.WrappedSize+98); i += 20 {
				b[i] ^= 1
			}
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, keys := t.TempDir(), ring(t, sealing.NewInstallationKey())
			s := openIn(t, dir, keys)
			for n := range 2 {
				if _, err := s.Create(t.Context(), aRequest(n)); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
			tt.change(t, dir)
			s = openIn(t, dir, keys)
			defer s.Close()
			_, get := s.Get(t.Context(), first)
			_, request := s.Body(t.Context(), first, "request")
			_, receipt := s.Body(t.Context(), first, "receipt")
			if get == nil && request == nil && receipt == nil {
				t.Error("all of it is readable")
			}
			if err := errors.Join(get, request, receipt); gateway.ReasonOf(errors.Join(get, request, receipt)) != gateway.JournalUnavailable {
				t.Errorf("got %v", err)
			}
			a, err := sqlitejournal.Attach(dir, keys)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if r, err := a.Verify(t.Context()); err != nil || len(r.Faults) == 0 {
				t.Errorf("verified: %+v, %v", r, err)
			}
			if ls, err := s.Claim(t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Minute, Max: 9}); err != nil || get != nil && len(ls) == 2 {
				t.Errorf("claimed %d, %v", len(ls), err)
			}
		})
	}
}

func TestOpenAsksForTheRightKey(t *testing.T) {
	key, other := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	dir := t.TempDir()
	s := openIn(t, dir, ring(t, key))
	if _, err := s.Create(t.Context(), aRequest(0)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	tests := []struct {
		name string
		keys *sealing.Keyring
		want []string
	}{
		{"none", nil, []string{key.ID().String(), "none is configured", "data_key"}},
		{"another", ring(t, other), []string{key.ID().String(), other.ID().String(), "data_key_old"}},
		{"the right one", ring(t, key), nil},
		{"a new one, and the right one as the old", ring(t, other, key), nil},
		{"the right one without the new one that came since", ring(t, key), []string{other.ID().String()}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir, Keys: tt.keys})
			if err == nil {
				defer s.Close()
				if _, err := s.Get(t.Context(), aRequest(0).ID); err != nil {
					t.Error(err)
				}
			}
			if (err != nil) != (tt.want != nil) {
				t.Fatalf("opened: %v", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
		})
	}
	// An operator without the key sees what is not sealed, and is told which key is missing.
	a, err := sqlitejournal.Attach(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if st, err := a.Stats(t.Context()); err != nil || st.ByShard["zhambyl"][gateway.StateAccepted] != 1 {
		t.Errorf("stats: %+v, %v", st, err)
	}
	_, get := a.Get(t.Context(), aRequest(0).ID)
	_, verify := a.Verify(t.Context())
	backup := a.Backup(t.Context(), filepath.Join(t.TempDir(), "backup"))
	if all, err := a.Stuck(t.Context(), journaltest.T0.Add(time.Hour), 9); err != nil || len(all) != 1 || all[0].ID != aRequest(0).ID || all[0].Doc != nil {
		t.Errorf("stuck: %+v, %v", all, err)
	}
	_, _, list := a.List(t.Context(), journal.Query{})
	for what, err := range map[string]error{"get": get, "verify": verify, "backup": backup, "list": list} {
		var missing *sealing.MissingKeyError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), key.ID().String()) && !strings.Contains(err.Error(), other.ID().String()) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A data directory from before there were keys is taken over: what is in it stays readable in clear
// until it goes, what comes is sealed.
func TestADataDirectoryFromBeforeTheKeys(t *testing.T) {
	dir := t.TempDir()
	schema, err := os.ReadFile("testdata/schema4.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	old := aRequest(0).ID
	body := "a body of before"
	note, err := sqlitejournal.WritePlaces(map[string]sqlitejournal.Place{"request": sqlitejournal.PlaceIn(1, 0, body)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(string(schema)+`PRAGMA user_version = 4;
		INSERT INTO item(id, message, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, wake, doc, events, bodies)
		VALUES (?, x'00', 'egov.kz', 'm', zeroblob(32), 'c', 's', 'zhambyl', 'taraz', 'delivered', 4, 0, ?, ?, ?, CAST('{"old":true}' AS BLOB), x'5b5d', ?);`,
		string(old), journaltest.T0.UnixMicro(), journaltest.T0.UnixMicro(), journaltest.T0.UnixMicro(), note)
	if err := errors.Join(err, db.Close(), os.Mkdir(filepath.Join(dir, "bodies"), 0o700), os.WriteFile(filepath.Join(dir, "bodies", "00000001.seg"), []byte(body), 0o600)); err != nil {
		t.Fatal(err)
	}
	keys := ring(t, sealing.NewInstallationKey())
	s := openIn(t, dir, keys)
	if _, err := s.Create(t.Context(), aRequest(1)); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Body(t.Context(), old, "request"); err != nil || string(b) != body {
		t.Errorf("the old body: %q, %v", b, err)
	}
	l := claimOne(t, s, journaltest.T0.Add(time.Hour))
	if l.Item.ID != old || string(l.Item.Doc) != `{"old":true}` {
		t.Fatalf("claimed %+v", l.Item)
	}
	if err := s.Advance(t.Context(), l, journal.Step{State: gateway.StateClosed, Doc: []byte(`{"still":"in clear"}`), At: journaltest.T0, Bodies: map[string][]byte{"new": []byte("another")}, Erase: []string{"request"}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openIn(t, dir, keys)
	defer s.Close()
	if it, err := s.Get(t.Context(), old); err != nil || string(it.Doc) != `{"still":"in clear"}` {
		t.Errorf("got %s, %v", it.Doc, err)
	}
	if b, err := s.Body(t.Context(), old, "new"); err != nil || string(b) != "another" {
		t.Errorf("its new body: %q, %v", b, err)
	}
	if b, err := s.Body(t.Context(), aRequest(1).ID, "request"); err != nil || !bytes.Contains(b, []byte("Сынақов")) || onDisk(t, dir, "Сынақов") {
		t.Errorf("the new item: %q, %v", b, err)
	}
}
