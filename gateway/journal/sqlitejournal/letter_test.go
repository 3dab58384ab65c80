package sqlitejournal_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// A data directory from before messages had an index of their own is taken over, and its messages are
// found by it: by the plan of the very statement that a list runs.
func TestMessagesOfADirectoryOfBeforeAreIndexed(t *testing.T) {
	dir := t.TempDir()
	schema, err := os.ReadFile("testdata/schema5.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(string(schema) + "PRAGMA user_version = 5"); err != nil {
		t.Fatal(err)
	}
	for n, shard := range []string{"shep:egov", "zhambyl", "shep:egov"} {
		if _, err := db.Exec(`INSERT INTO item(id, message, portal, message_id, content, citizen, service, shard, provider, state, version, attempt, created, updated, doc, events, bodies)
			VALUES (?, ?, 'p', 'm', zeroblob(32), 'c', 'land', ?, 'egov', 'accepted', 1, 0, ?, ?, x'7b7d', x'5b5d', x'7b7d')`,
			string(journaltest.NewItem(n).ID), []byte{byte(n)}, shard, journaltest.T0.UnixMicro(), journaltest.T0.UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time there is nothing left to do
		s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		all, next, err := s.List(t.Context(), journal.Query{Shard: "shep:egov", State: gateway.StateAccepted, Service: "land", Oldest: true})
		if err != nil || next != "" || len(all) != 2 || all[0].ID != journaltest.NewItem(0).ID || all[1].ID != journaltest.NewItem(2).ID {
			t.Errorf("listed %+v, %q, %v", all, next, err)
		}
		s.Close()
	}
	tests := []struct {
		name, cursor string
		oldest       bool
		shard        string
		want         string
	}{
		{"the oldest messages", "", true, "shep:egov", "USING INDEX item_letter (shard=? AND state=? AND service=?)"},
		{"those after them", "1", true, "shep:egov", "USING INDEX item_letter (shard=? AND state=? AND service=? AND rowid>?)"},
		{"the newest messages", "", false, "shep:egov", "USING INDEX item_letter (shard=? AND state=? AND service=?)"},
		{"requests have none of it", "", true, "zhambyl", "USING INDEX item_state (shard=? AND state=?)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			query, args, err := sqlitejournal.ListQuery(journal.Query{Shard: tt.shard, State: gateway.StateAccepted, Service: "land", Oldest: tt.oldest, Cursor: tt.cursor, Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			if plan := planOf(t, db, query, args); !strings.Contains(plan, tt.want) || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("the plan is %s, want %s and no sorting", plan, tt.want)
			}
		})
	}
	var made string
	if err := db.QueryRow("SELECT sql FROM sqlite_schema WHERE name = 'item_letter'").Scan(&made); err != nil {
		t.Fatal(err)
	}
	fresh := t.TempDir()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: fresh})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	other, err := sql.Open("sqlite", "file:"+filepath.Join(fresh, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var same string
	if err := other.QueryRow("SELECT sql FROM sqlite_schema WHERE name = 'item_letter'").Scan(&same); err != nil || strings.Join(strings.Fields(same), " ") != strings.Join(strings.Fields(made), " ") {
		t.Errorf("a new directory has %q, an old one %q: %v", same, made, err)
	}
}

func planOf(t *testing.T, db *sql.DB, query string, args []any) string {
	t.Helper()
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		all = append(all, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(all)
}
