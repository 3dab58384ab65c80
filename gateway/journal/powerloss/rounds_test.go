package powerloss_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/journal/powerloss"
	"egov-gateway/gateway/journal/redisjournal"
	"egov-gateway/gateway/journal/sqlitejournal"
)

var (
	rounds = flag.Int("powerloss.rounds", 3, "power losses for each journal")
	seed   = flag.Uint64("powerloss.seed", 0, "seed of the rounds; 0 takes one from the clock")
)

// generation is how many power losses one journal lives through before a fresh one is begun.
const generation = 5

// A child is a writer process and what it has said.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	acks chan ack
}

func spawn(t *testing.T, o order) *child {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	text, err := json.Marshal(o)
	must(t, err)
	c := &child{cmd: exec.Command(exe), acks: make(chan ack, 1<<16)}
	c.cmd.Env = append(os.Environ(), runAsWriter+"="+string(text))
	c.cmd.Stderr = os.Stderr
	pipe, err := c.cmd.StdoutPipe()
	must(t, err)
	c.in, err = c.cmd.StdinPipe()
	must(t, err, c.cmd.Start())
	go func() {
		defer close(c.acks)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			var a ack
			if json.Unmarshal(lines.Bytes(), &a) == nil { // the last line may be cut off
				c.acks <- a
			}
		}
	}()
	t.Cleanup(c.kill)
	return c
}

// goOn lets a child that waits begin.
func (c *child) goOn() error { return c.in.Close() }

func (c *child) kill() {
	c.cmd.Process.Kill() //nolint:errcheck // it may have ended
	c.cmd.Wait()         //nolint:errcheck // it was killed
}

// first waits for the child's first word.
func (c *child) first(t *testing.T) ack {
	t.Helper()
	select {
	case a := <-c.acks:
		return a
	case <-time.After(2 * time.Minute):
		t.Fatal("the writer says nothing")
		return ack{}
	}
}

// A redisServer is a redis-server of one round.
type redisServer struct {
	address string
	cmd     *exec.Cmd
}

// startRedis starts a server in dir. A file that the cut has torn is mended first, as its manual
// says: what was acknowledged is never in the torn part.
func startRedis(t *testing.T, dir string, o order) *redisServer {
	t.Helper()
	tool.Path(t, "redis-server", "redis-server")
	must(t, os.MkdirAll(dir, 0o700))
	if files, _ := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.manifest")); len(files) == 1 {
		mend := exec.Command("redis-check-aof", "--fix", files[0])
		mend.Stdin = strings.NewReader("y\ny\ny\n")
		if out, err := mend.CombinedOutput(); err != nil {
			t.Logf("redis-check-aof: %v\n%s", err, out)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := ln.Addr().String()
	ln.Close()
	_, port, _ := strings.Cut(address, ":")
	appendfsync := "always"
	if o.Normal {
		appendfsync = "everysec"
	}
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", appendfsync,
		"--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction")
	var log bytes.Buffer
	cmd.Stdout = &log
	must(t, cmd.Start())
	s := &redisServer{address, cmd}
	t.Cleanup(s.kill)
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	for end := time.Now().Add(2 * time.Minute); client.Ping(t.Context()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.kill()
			t.Fatalf("redis-server does not start: %s", log.String())
		}
	}
	return s
}

func (s *redisServer) kill() {
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	s.cmd.Wait()         //nolint:errcheck // it was killed
}

// A trial is one kind of journal on one kind of disk.
type trial struct {
	order   order
	survive float64
	syncing func(name string) bool
	gone    bool // Redis comes back with nothing at all, so that only the accept journal remembers
	try     int  // each has dice of its own, or it would be cut as early as the one before
}

// cutWhileWriting lets sixteen writers work on a disk and takes the power away, again and again;
// it returns what was acknowledged and is not there any more.
func cutWhileWriting(t *testing.T, tr trial, rounds int) (lost []string, checks int) {
	t.Helper()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", *seed)
	dice := rand.New(rand.NewPCG(*seed, 1+uint64(tr.try)))
	var back string
	var acks []ack
	for round := range rounds {
		if round%generation == 0 {
			back, acks = t.TempDir(), nil
		}
		d, at := mount(t, powerloss.Config{Dir: back, Survive: tr.survive, Seed: dice.Uint64(), Syncing: tr.syncing})
		o := tr.order
		o.Where, o.Seed, o.First, o.Writers = filepath.Join(at, "data"), dice.Uint64(), 1_000_000*(round+1), 16
		var server *redisServer
		if o.Store == "redis" {
			dir := filepath.Join(at, "redis")
			if tr.gone {
				dir = t.TempDir()
			}
			server = startRedis(t, dir, o)
			o.Redis = server.address
			if !tr.gone { // a server that has run for a while: its directories are known to the disk
				syncDir(t, at)
				syncDir(t, dir)
				syncDir(t, filepath.Join(dir, "appendonlydir"))
			}
		}
		w := spawn(t, o)
		if a := w.first(t); a.Op != "ready" {
			t.Fatalf("round %d: %s", round, a.Note)
		}
		// The instant is random, and so is how much must have been acknowledged: a busy machine takes longer.
		timer := time.After(50*time.Millisecond + time.Duration(dice.IntN(900))*time.Millisecond)
		for waiting, least := true, len(acks)+dice.IntN(200); waiting || len(acks) < least; {
			select {
			case a, ok := <-w.acks:
				if !ok {
					t.Fatalf("round %d: the writer ended by itself", round)
				}
				acks = append(acks, a)
			case <-timer:
				waiting = false
			}
		}
		must(t, d.Cut())
		w.kill()
		if server != nil {
			server.kill()
		}
		for a := range w.acks {
			acks = append(acks, a)
		}
		must(t, d.Close())
		if tr.gone {
			acks = slices.DeleteFunc(acks, func(a ack) bool { return a.Op != "create" })
		}
		found := reopened(t, filepath.Join(back, "data"), tr.order, acks)
		lost = append(lost, found...)
		checks += len(acks)
		if len(found) > 0 { // what is missing would be found missing again
			acks = nil
			back = t.TempDir()
		}
	}
	return lost, checks
}

// reopened opens what the cut has left and looks for all that was acknowledged.
func reopened(t *testing.T, dir string, o order, acks []ack) []string {
	t.Helper()
	o.Where = dir
	if o.Store == "attachments" {
		s, err := attachment.Open(dir, o.keyring())
		must(t, err)
		return lostDocuments(s, acks)
	}
	if o.Store == "redis" {
		// Where Redis itself was not on the disk, an empty one takes its place.
		server := startRedis(t, filepath.Join(filepath.Dir(dir), "redis"), o)
		defer server.kill()
		o.Redis = server.address
	}
	s, err := openStore(o)
	if err != nil { // then all of it is lost
		return slices.Repeat([]string{err.Error()}, max(1, len(acks)))
	}
	lost := losses(t.Context(), s, acks)
	must(t, s.Close())
	if o.Store == "redis" {
		a, err := redisjournal.Attach(redisjournal.Config{Redis: []string{"redis://" + o.Redis}, AcceptLoss: o.Normal})
		must(t, err)
		defer a.Close()
		report, err := a.Verify(t.Context())
		must(t, err)
		lost = append(lost, report.Faults...)
	}
	if o.Store == "sqlite" {
		a, err := sqlitejournal.Attach(dir, o.keyring())
		must(t, err)
		defer a.Close()
		report, err := a.Verify(t.Context())
		must(t, err)
		lost = append(lost, report.Faults...)
	}
	return lost
}

// Nothing acknowledged is lost with the power, whether nothing or something unsynced outlives it.
func TestPowerLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("other processes at work; the run without -short has it")
	}
	for _, o := range []order{{Store: "sqlite"}, {Store: "sqlite", Sealed: true}, {Store: "redis"}, {Store: "attachments"}, {Store: "attachments", Sealed: true}} {
		for _, survive := range []float64{0, 0.5} {
			store := o.Store
			if o.Sealed {
				store += " sealed"
			}
			t.Run(fmt.Sprintf("%s, %v of the unsynced pages survive", store, survive), func(t *testing.T) {
				n := max(1, *rounds/2)
				if survive == 0 {
					n = *rounds - *rounds/2
				}
				var lost []string
				checks, cuts, enough := 0, 0, 100*n
				for try := 0; try < 10 && checks < enough; try++ { // a busy machine acknowledges little before the cut
					l, some := cutWhileWriting(t, trial{order: o, survive: survive, try: try}, n)
					lost, checks, cuts = append(lost, l...), checks+some, cuts+n
				}
				t.Logf("%s: %d power losses, %d checks of acknowledged calls, %d findings", store, cuts, checks, len(lost))
				for _, l := range lost[:min(10, len(lost))] {
					t.Errorf("lost, seed %d: %s", *seed, l)
				}
				if checks < enough {
					t.Errorf("only %d calls were acknowledged", checks)
				}
			})
		}
	}
}

// A Redis that comes back with nothing, say because a replica without data was promoted, gets what
// every gateway acknowledged from that gateway's accept journal, the power loss notwithstanding.
func TestPowerLossOfTheAcceptJournal(t *testing.T) {
	var lost []string
	checks := 0
	for try := 0; try < 10 && checks < 50; try++ { // a busy machine acknowledges little before the cut
		l, n := cutWhileWriting(t, trial{order: order{Store: "redis"}, gone: true, try: try}, max(1, *rounds/2))
		lost, checks = append(lost, l...), checks+n
	}
	t.Logf("accept journal: %d acknowledged requests, %d findings", checks, len(lost))
	for _, l := range lost[:min(10, len(lost))] {
		t.Errorf("lost, seed %d: %s", *seed, l)
	}
	if checks < 50 {
		t.Errorf("only %d requests were acknowledged", checks)
	}
}

// The controls: a journal that syncs too little must be found out, or the rounds prove nothing.
func TestPowerLossFindsAMissingSync(t *testing.T) {
	if testing.Short() {
		t.Skip("other processes at work; the run without -short has it")
	}
	tests := []struct {
		name string
		trial
	}{
		{"synchronous=NORMAL", trial{order: order{Store: "sqlite", Normal: true}}},
		{"appendfsync everysec", trial{order: order{Store: "redis", Normal: true}}},
		{"bodies without a sync", trial{order: order{Store: "sqlite"}, syncing: func(name string) bool { return !strings.HasSuffix(name, ".seg") }}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var lost []string
			checks := 0
			for try := 0; try < 5 && len(lost) == 0; try++ { // a cut may follow a sync at once
				l, n := cutWhileWriting(t, tt.trial, max(1, *rounds/2))
				lost, checks = append(lost, l...), checks+n
			}
			t.Logf("%s: %d findings in %d acknowledged calls", tt.name, len(lost), checks)
			if len(lost) == 0 {
				t.Error("nothing is found missing: the rounds do not see a missing sync")
			}
		})
	}
}

// A process that is killed between writing its commit and syncing it leaves a request that the
// next process can read. Before that one answers for it, it must be on disk: the portal that
// repeats itself gets a receipt for it.
func TestWhatAKilledProcessLeftIsOnDiskBeforeItIsServed(t *testing.T) {
	var armed atomic.Bool
	reached, release := make(chan struct{}), make(chan struct{})
	back := t.TempDir()
	d, at := mount(t, powerloss.Config{Dir: back, Syncing: func(name string) bool {
		if name != "journal.db-wal" || !armed.CompareAndSwap(true, false) {
			return true
		}
		close(reached)
		<-release
		return false
	}})
	o := order{Store: "sqlite", Where: filepath.Join(at, "data"), First: 1, Once: true}
	killed := spawn(t, o)
	if a := killed.first(t); a.Op != "ready" {
		t.Fatalf("%+v", a)
	}
	armed.Store(true)
	must(t, killed.goOn())
	select {
	case <-reached:
	case <-time.After(2 * time.Minute):
		t.Fatal("the commit was not synced")
	}
	must(t, killed.cmd.Process.Kill())
	close(release)
	killed.kill()
	for a := range killed.acks {
		t.Fatalf("acknowledged before it was synced: %+v", a)
	}

	id := item(1).ID
	next := spawn(t, order{Store: "sqlite", Where: o.Where, Look: &id})
	served := next.first(t)
	must(t, d.Cut())
	next.kill()
	if served.Op != "found" {
		t.Fatalf("the next process does not see what was written, so the test proves nothing: %+v", served)
	}
	s, err := openStore(order{Store: "sqlite", Where: filepath.Join(back, "data")})
	must(t, err)
	defer s.Close()
	if _, err := s.Get(t.Context(), id); err != nil {
		t.Errorf("it was served, and the power took it: %v", err)
	}
}

// The same of a segment file that a killed process has made and not named durably: the bodies
// that the next process puts there must not go with its name.
func TestASegmentThatAKilledProcessMadeIsNamedDurably(t *testing.T) {
	back := t.TempDir()
	d, at := mount(t, powerloss.Config{Dir: back})
	bodies := filepath.Join(at, "data", "bodies")
	must(t, os.MkdirAll(bodies, 0o700))
	syncDir(t, at)
	syncDir(t, filepath.Dir(bodies))
	put(t, filepath.Join(bodies, "00000001.seg"), "", false, false)
	w := spawn(t, order{Store: "sqlite", Where: filepath.Join(at, "data"), First: 1, Once: true})
	must(t, w.goOn())
	if a, b := w.first(t), w.first(t); a.Op != "ready" || b.Op != "create" {
		t.Fatalf("%+v, %+v", a, b)
	}
	must(t, d.Cut())
	w.kill()
	if lost := reopened(t, filepath.Join(back, "data"), order{Store: "sqlite"}, []ack{{Op: "create", N: 1}}); len(lost) > 0 {
		t.Error(lost)
	}
}
