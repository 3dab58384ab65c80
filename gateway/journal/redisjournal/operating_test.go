package redisjournal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

// operating returns the fenced block of OPERATING.md that holds a word.
func operating(t *testing.T, word string) string {
	t.Helper()
	page, err := os.ReadFile("../OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(page), "```") {
		if i%2 == 1 && contains(block, word) {
			return block
		}
	}
	t.Fatalf("OPERATING.md has no block with %q", word)
	return ""
}

// The redis.conf and the ACL that OPERATING.md gives are enough for all that a gateway does,
// and keep it out of others' keys.
func TestTheDocumentedSettingsWork(t *testing.T) {
	s := newServer(t) // takes a port and a directory, and skips without redis-server
	s.kill()
	_, port, _ := strings.Cut(s.address, ":")
	acl := filepath.Join(s.dir, "users.acl")
	user := regexp.MustCompile(`(?m)^user gateway .*$`).FindString(operating(t, "user gateway"))
	user = strings.Replace(user, "#<sha256 of the password>", ">a-password-of-redis", 1)
	if err := os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\n"+user+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := operating(t, "maxmemory-policy")
	for from, to := range map[string]string{"bind 10.0.0.5": "bind 127.0.0.1", "port 6379": "port " + port, "dir /var/lib/redis": "dir " + s.dir, "/etc/redis/users.acl": acl,
		"min-replicas-to-write 1": "min-replicas-to-write 0"} {
		if !contains(conf, from) {
			t.Fatalf("redis.conf has no %q", from)
		}
		conf = strings.Replace(conf, from, to, 1)
	}
	file := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = []string{file}
	s.start()

	now := journaltest.T0
	c := redisjournal.Config{Redis: []string{"redis://gateway@" + s.address}, Password: "a-password-of-redis", Name: "zhambyl", Archive: t.TempDir(), Now: func() time.Time { return now }}
	j := mustOpen(t, c)
	ctx := t.Context()
	for n := range 2 {
		if _, err := j.Create(ctx, journaltest.NewItem(n)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := j.Signal(ctx, journaltest.NewItem(n).ID, journal.Signal{Key: "k", At: now}); err != nil {
			t.Fatal(err)
		}
	}
	ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: now.Add(time.Minute), Lease: time.Minute, Max: 2, Ordered: []gateway.State{gateway.StateAccepted}})
	if err != nil || len(ls) != 2 {
		t.Fatal(len(ls), err)
	}
	if err := j.Advance(ctx, ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: now, Consumed: []string{"k"}}); err != nil {
		t.Error(err)
	}
	if err := j.Advance(ctx, ls[1], journal.Step{Remove: true, At: now}); err != nil {
		t.Error(err)
	}
	now = now.Add(48 * time.Hour)
	if n, err := j.Sweep(ctx); err != nil || n != 1 {
		t.Errorf("archived %d, %v", n, err)
	}
	if _, _, err := j.List(ctx, journal.Query{}); err != nil {
		t.Error(err)
	}
	if err := j.Record(ctx, journal.AuditEntry{At: now, Door: "rest"}); err != nil {
		t.Error(err)
	}
	if all, err := j.Recent(ctx, 5); err != nil || len(all) != 1 || all[0].Door != "rest" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := j.Stats(ctx); err != nil {
		t.Error(err)
	}
	a, err := redisjournal.Attach(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if r, err := a.Verify(ctx); err != nil || len(r.Faults) != 0 || r.Items != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	c.Name, c.Dir = "another", t.TempDir()
	foreign, err := redisjournal.Open(c)
	if err == nil {
		_, err = foreign.Create(ctx, journaltest.NewItem(1))
		foreign.Close()
	}
	if err == nil {
		t.Error("the user may write another journal's keys")
	}
}

// A file torn at its end keeps Redis from starting; what OPERATING.md says mends it, and all
// that was acknowledged is there.
func TestATornFileIsMendedAsDocumented(t *testing.T) {
	s := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}, CheckEvery: 50 * time.Millisecond})
	const items = 50
	for n := range items {
		if _, err := j.Create(t.Context(), journaltest.NewItem(n)); err != nil {
			t.Fatal(err)
		}
	}
	s.kill()
	files, err := filepath.Glob(filepath.Join(s.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "*3\r\n$3\r\nSET\r\n", strings.Repeat("\x00", 4096)) // pages that never reached the disk
	f.Close()
	if err := exec.Command("redis-server", s.args...).Run(); err == nil {
		t.Fatal("Redis started on a torn file")
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	if name := regexp.MustCompile(`Bad file format reading the append only file ([^:]+):`).FindSubmatch(log); name == nil || string(name[1]) != filepath.Base(files[0]) {
		t.Errorf("the log does not name the file: %s", log)
	}
	fix := exec.Command("redis-check-aof", "--fix", files[0])
	fix.Stdin = strings.NewReader("y\n")
	if out, err := fix.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.start()
	until(t, "the journal is written to again", func() bool { _, err := j.Stats(t.Context()); return err == nil })
	if j.Restored() != 0 {
		t.Errorf("%d were missing in Redis", j.Restored())
	}
	for n := range items {
		if _, err := j.Get(t.Context(), journaltest.NewItem(n).ID); err != nil {
			t.Errorf("item %d: %v", n, err)
		}
	}
}
