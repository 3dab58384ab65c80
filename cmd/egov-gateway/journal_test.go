package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// An operator looks at the journal of a running gateway, sets parked work going again, and
// takes a backup from which everything can be read.
func TestJournalCommands(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	if err := l.world.SetFaults("petropavl", statesim.Fault{Kind: statesim.Reject}); err != nil {
		t.Fatal(err)
	}
	r := l.mustAccept(t, l.draft("citizen-01", petropavl), "citizen-01")
	l.await(t, r.ID, func(p intake.Progress) bool { return p.State == gateway.StateParked })
	data := filepath.Join(l.dir, "data")
	command := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(append([]string{"journal"}, args...), &out, &errs); code != want {
			t.Fatalf("%v exits %d: %s%s", args, code, &out, &errs)
		}
		return out.String() + errs.String()
	}
	if out := command(0, "stats", "--data", data); !strings.Contains(out, "parked") {
		t.Errorf("stats: %s", out)
	}
	var stuck []card
	if err := json.Unmarshal([]byte(command(0, "stuck", "--data", data, "--json")), &stuck); err != nil || len(stuck) != 1 || stuck[0].ID != r.ID || stuck[0].Reason != gateway.ProviderRejected {
		t.Errorf("stuck: %+v, %v", stuck, err)
	}
	if out := command(0, "show", "--data", data, string(r.ID)); !strings.Contains(out, "provider.rejected") || strings.Contains(out, l.pki.Must("citizen-01").IIN) {
		t.Errorf("show: %s", out)
	}
	command(exitFailed, "show", "--data", data, strings.Repeat("0", 32))
	command(exitUsage, "show", "--data", data, "x")
	command(exitFailed, "stats", "--data", t.TempDir())

	if err := l.world.SetFaults("petropavl"); err != nil {
		t.Fatal(err)
	}
	command(exitUsage, "redrive", "--data", data)
	if out := command(0, "redrive", "--data", data, "--all", "--provider", "taraz"); out != "" {
		t.Errorf("redrive of another provider's: %s", out)
	}
	if out := command(0, "redrive", "--data", data, "--all", "--reason", "internal"); out != "" {
		t.Errorf("redrive for another reason: %s", out)
	}
	if out := command(0, "redrive", "--data", data, "--all", "--provider", "petropavl", "--reason", "provider.rejected", "--dry-run"); !strings.Contains(out, string(r.ID)) {
		t.Errorf("dry run: %s", out)
	}
	if out := command(0, "show", "--data", data, string(r.ID), "--json"); !strings.Contains(out, `"state":"parked"`) {
		t.Errorf("after the dry run: %s", out)
	}
	command(0, "redrive", "--data", data, "--all", "--provider", "petropavl", "--reason", "provider.rejected")
	l.svc.engine.Kick()
	p := l.await(t, r.ID, closed)
	if p.Result == nil {
		t.Error("no result after the redrive")
	}
	if out := command(exitFailed, "redrive", "--data", data, string(r.ID)); !strings.Contains(out, "not parked") {
		t.Errorf("redrive of a closed one: %s", out)
	}

	// A backup of the running gateway, then the loss of everything else.
	backup := filepath.Join(t.TempDir(), "backup")
	command(0, "backup", "--data", data, "--to", backup)
	if out := command(exitFailed, "backup", "--data", data, "--to", backup); !strings.Contains(out, "not empty") {
		t.Errorf("backup over a backup: %s", out)
	}
	command(0, "verify", "--data", backup)
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: backup})
	if err != nil {
		t.Fatal(err)
	}
	it, err := s.Get(t.Context(), r.ID)
	if err != nil || it.State != gateway.StateClosed {
		t.Errorf("the backup has it as %s, %v", it.State, err)
	}
	if b, err := s.Body(t.Context(), r.ID, gateway.BodyResult); err != nil || len(b) == 0 {
		t.Errorf("the backup's result: %v", err)
	}
	s.Close()

	// verify sees an attached document that is away.
	copies, err := filepath.Glob(filepath.Join(backup, "attachments", "??", string(r.ID), "*"))
	if err != nil || len(copies) == 0 {
		t.Fatalf("the backup has no attached documents: %v", err)
	}
	if err := os.Rename(copies[0], copies[0]+".away"); err != nil {
		t.Fatal(err)
	}
	if out := command(exitFailed, "verify", "--data", backup); !strings.Contains(out, "not found") || !strings.Contains(out, string(r.ID)) {
		t.Errorf("verify without a document: %s", out)
	}
	if err := os.Rename(copies[0]+".away", copies[0]); err != nil {
		t.Fatal(err)
	}
	command(0, "verify", "--data", backup)

	// verify sees a flipped byte.
	seg := filepath.Join(backup, "bodies", "00000001.seg")
	b, err := os.ReadFile(seg)
	if err != nil {
		t.Fatal(err)
	}
	b[10] ^= 1 // inside one of the bodies that came with the request
	if err := os.WriteFile(seg, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := command(exitFailed, "verify", "--data", backup); !strings.Contains(out, "damaged") {
		t.Errorf("verify of a damaged backup: %s", out)
	}
}
