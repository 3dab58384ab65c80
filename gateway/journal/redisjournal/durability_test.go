package redisjournal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

// mustOpen opens a journal that lives by the test's instants.
func mustOpen(t testing.TB, c redisjournal.Config) *redisjournal.Store {
	t.Helper()
	c.CallersClock = true
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := redisjournal.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// until waits for what must happen soon.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A Redis that may lose what it acknowledged is refused, in a sentence that names the setting.
func TestARedisThatMayLoseIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		names string
	}{
		{"no append-only file", []string{"--appendonly", "no"}, `set "appendonly yes" in redis.conf`},
		{"an fsync every second", []string{"--appendfsync", "everysec"}, `set "appendfsync always" in redis.conf`},
		{"the system's own fsync", []string{"--appendfsync", "no"}, `set "appendfsync always" in redis.conf`},
		{"no fsync during a rewrite", []string{"--no-appendfsync-on-rewrite", "yes"}, `set "no-appendfsync-on-rewrite no"`},
		{"eviction", []string{"--maxmemory-policy", "allkeys-lru"}, `set "maxmemory-policy noeviction"`},
		{"eviction of what expires", []string{"--maxmemory-policy", "volatile-ttl"}, `set "maxmemory-policy noeviction"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, tt.args...)
			_, err := redisjournal.Open(redisjournal.Config{Redis: []string{s.url()}, Dir: t.TempDir()})
			if gateway.ReasonOf(err) != gateway.JournalUnavailable || !contains(fmt.Sprint(err), tt.names) {
				t.Errorf("%v does not say %s", err, tt.names)
			}
			j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}, AcceptLoss: true})
			if _, err := j.Create(t.Context(), journaltest.NewItem(1)); err != nil {
				t.Errorf("with accept_loss: %v", err)
			}
		})
	}
}

func TestAReplicaIsRefused(t *testing.T) {
	master, replica := newServer(t), newServer(t)
	replica.follow(master)
	_, err := redisjournal.Open(redisjournal.Config{Redis: []string{replica.url()}, Dir: t.TempDir(), AcceptLoss: true})
	if gateway.ReasonOf(err) != gateway.JournalUnavailable || !contains(fmt.Sprint(err), "replica") {
		t.Errorf("got %v", err)
	}
}

// Its clock decides what is due, so a Redis that does not tell it is of no use.
func TestARedisThatDoesNotTellTheTimeIsRefused(t *testing.T) {
	s := newServer(t)
	c := s.client()
	defer c.Close()
	if err := c.Do(t.Context(), "ACL", "SETUSER", "gateway", "on", ">a-password-of-redis", "~*", "+@all", "-time").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := redisjournal.Open(redisjournal.Config{Redis: []string{"redis://gateway@" + s.address}, Password: "a-password-of-redis", Dir: t.TempDir(), AcceptLoss: true})
	if gateway.ReasonOf(err) != gateway.JournalUnavailable || !contains(fmt.Sprint(err), "+time") {
		t.Errorf("got %v", err)
	}
}

func TestEveryMasterOfAClusterIsExamined(t *testing.T) {
	all := newCluster(t)
	all[2].set("appendfsync", "everysec")
	_, err := redisjournal.Open(redisjournal.Config{Redis: []string{all[0].url()}, Dir: t.TempDir()})
	if gateway.ReasonOf(err) != gateway.JournalUnavailable || !contains(fmt.Sprint(err), "appendfsync") {
		t.Errorf("got %v", err)
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	s, other := newServer(t), newServer(t)
	tests := []struct {
		name string
		c    redisjournal.Config
	}{
		{"no address", redisjournal.Config{Dir: t.TempDir()}},
		{"no directory", redisjournal.Config{Redis: []string{s.url()}}},
		{"not an address", redisjournal.Config{Redis: []string{"127.0.0.1:6379"}, Dir: t.TempDir()}},
		{"nobody there", redisjournal.Config{Redis: []string{fmt.Sprintf("redis://127.0.0.1:%d", freePort(t))}, Dir: t.TempDir()}},
		{"two servers that are no cluster", redisjournal.Config{Redis: []string{s.url(), other.url()}, Dir: t.TempDir()}},
		{"a directory that is a file", redisjournal.Config{Redis: []string{s.url()}, Dir: filepath.Join(s.dir, "log")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := redisjournal.Open(tt.c); err == nil {
				t.Error("opened")
			}
		})
	}
}

// What an operator changes at run time is noticed, named, and taken back when it is mended.
func TestASettingChangedAtRunTimeIsNoticed(t *testing.T) {
	s := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}, CheckEvery: 50 * time.Millisecond})
	ctx := t.Context()
	it, err := j.Create(ctx, journaltest.NewItem(1))
	if err != nil {
		t.Fatal(err)
	}
	ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Hour, Max: 1})
	if err != nil || len(ls) != 1 {
		t.Fatal(err)
	}
	s.set("appendfsync", "everysec")
	until(t, "Stats says why", func() bool {
		_, err := j.Stats(ctx)
		return gateway.ReasonOf(err) == gateway.JournalUnavailable && contains(err.Error(), "appendfsync")
	})
	for name, err := range map[string]error{
		"Create":  second(j.Create(ctx, journaltest.NewItem(2))),
		"Signal":  third(j.Signal(ctx, it.ID, journal.Signal{Key: "k"})),
		"Advance": j.Advance(ctx, ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}")}),
		"Claim":   second(j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(9 * time.Hour), Max: 1})),
		"Record":  j.Record(ctx, journal.AuditEntry{}),
	} {
		if gateway.ReasonOf(err) != gateway.JournalUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := j.Get(ctx, it.ID); err != nil {
		t.Errorf("reading: %v", err)
	}
	s.set("appendfsync", "always")
	until(t, "it is written again", func() bool { _, err := j.Stats(ctx); return err == nil })
	if err := j.Advance(ctx, ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}")}); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// Nothing that was acknowledged is lost when Redis is killed, and the scripts are there again.
func TestRedisKilledAndStartedAgain(t *testing.T) {
	s := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}, CheckEvery: 50 * time.Millisecond})
	ctx := t.Context()
	var mu sync.Mutex
	kept := map[gateway.RequestID]bool{}
	n := 0
	for range 3 {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					n++
					mine := n
					mu.Unlock()
					it, err := j.Create(ctx, journaltest.NewItem(mine))
					mu.Lock()
					switch {
					case err == nil:
						kept[it.ID] = true
					case gateway.ReasonOf(err) != gateway.JournalUnavailable:
						t.Errorf("create: %v", err)
					}
					mu.Unlock()
					if err != nil {
						time.Sleep(5 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(300 * time.Millisecond)
		s.kill()
		time.Sleep(100 * time.Millisecond)
		s.start()
		until(t, "the journal is written to again", func() bool { _, err := j.Stats(ctx); return err == nil })
		close(stop)
		wg.Wait()
	}
	if len(kept) < 50 {
		t.Fatalf("only %d were acknowledged", len(kept))
	}
	for id := range kept {
		if _, err := j.Get(ctx, id); err != nil {
			t.Errorf("%s was acknowledged: %v", id, err)
		}
	}
	// Whatever the server has beside those was sent and not answered; each is there once.
	listed := map[gateway.RequestID]bool{}
	if err := journal.Each(ctx, j, journal.Query{Limit: 100}, func(it journal.Item) error {
		if listed[it.ID] {
			t.Errorf("%s is listed twice", it.ID)
		}
		listed[it.ID] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acknowledged, %d there, of %d tried", len(kept), len(listed), n)
}

// The replica was behind when the master died. What this gateway accepted comes back before
// anything new is answered; what was removed does not.
func TestAFailoverLosesNothingThatThisGatewayAccepted(t *testing.T) {
	tests := []struct {
		name string
		own  bool // the accept journal is the one that was there before
		lost bool
	}{
		{"with the accept journal", true, false},
		{"control: with another gateway's", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			master, replica := newServer(t), newServer(t)
			wire := newProxy(t, master.address) // between the two
			replica.followAt(wire.l.Addr().String())
			p := newProxy(t, master.address)
			c := redisjournal.Config{Redis: []string{p.url()}, Dir: t.TempDir(), CheckEvery: 100 * time.Millisecond, Settle: time.Millisecond}
			j := mustOpen(t, c)
			var ids []gateway.RequestID
			accept := func(from, to int) {
				for n := from; n < to; n++ {
					it, err := j.Create(ctx, journaltest.NewItem(n))
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, it.ID)
				}
			}
			accept(0, 20)
			// One is removed meanwhile: that must not be undone.
			ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0, Lease: time.Minute, Max: 1})
			if err != nil || len(ls) != 1 {
				t.Fatalf("%d, %v", len(ls), err)
			}
			if err := j.Advance(ctx, ls[0], journal.Step{Remove: true, At: journaltest.T0}); err != nil {
				t.Fatal(err)
			}
			until(t, "the replica has what was written", func() bool { return replica.count("eg:{journal}:it:*") == 19 })
			wire.l.Close()
			wire.cut()
			accept(20, 60)
			if _, fresh, err := j.Signal(ctx, ids[5], journal.Signal{Key: "result", Kind: "result", At: journaltest.T0, Body: []byte("of an old one")}); err != nil || !fresh {
				t.Fatal(fresh, err)
			}
			if _, fresh, err := j.Signal(ctx, ids[50], journal.Signal{Key: "result", Kind: "result", At: journaltest.T0, Body: []byte("of a new one")}); err != nil || !fresh {
				t.Fatal(fresh, err)
			}
			master.kill()
			replica.promote()
			if replica.count("eg:{journal}:it:*") != 19 {
				t.Fatal("the replica was not behind")
			}
			p.to(replica.address)
			if !tt.own {
				j.Close()
				c.Dir = t.TempDir()
				j = mustOpen(t, c)
			}
			until(t, "the journal is written to again", func() bool { _, err := j.Stats(ctx); return err == nil })
			lost := 0
			for _, id := range ids[1:] {
				_, err := j.Get(ctx, id)
				if errors.Is(err, journal.ErrNotFound) {
					lost++
				} else if err != nil {
					t.Error(err)
				}
			}
			if _, err := j.Get(ctx, ids[0]); !errors.Is(err, journal.ErrNotFound) {
				t.Errorf("what was removed is back: %v", err)
			}
			signals := 0
			for _, id := range []gateway.RequestID{ids[5], ids[50]} {
				first, fresh, err := j.Signal(ctx, id, journal.Signal{Key: "result", Kind: "result", At: journaltest.T0, Body: []byte("again")})
				if err == nil && !fresh && contains(string(first.Body), "of a") {
					signals++
				}
			}
			if tt.lost != (lost == 40) || tt.lost == (lost == 0) || tt.lost != (signals == 0) || !tt.lost && signals != 2 {
				t.Errorf("%d requests are lost, %d signals are there", lost, signals)
			}
		})
	}
}

// Shortly after a failover nobody is told that a request does not exist: the gateway that
// accepted it may come back later. What was left for it is kept for then.
func TestAnotherGatewayPutsItsPartBackLater(t *testing.T) {
	ctx := t.Context()
	old := newServer(t)
	p := newProxy(t, old.address)
	c := redisjournal.Config{Redis: []string{p.url()}, Dir: t.TempDir(), CheckEvery: 100 * time.Millisecond, Timeout: 200 * time.Millisecond}
	other := c
	other.Dir = t.TempDir()
	a, b := mustOpen(t, c), mustOpen(t, other)
	it, err := a.Create(ctx, journaltest.NewItem(1))
	if err != nil {
		t.Fatal(err)
	}
	unknown := gateway.RequestID("ffffffffffffffffffffffffffffffff")
	if _, err := b.Get(ctx, unknown); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	a.Close()
	old.kill()
	p.to(newServer(t).address) // an empty one
	until(t, "the journal is written to again", func() bool { _, err := b.Stats(ctx); return err == nil })
	result := journal.Signal{Key: "result", Kind: "result", At: journaltest.T0, Body: []byte("result")}
	_, _, signalErr := b.Signal(ctx, it.ID, result)
	for name, err := range map[string]error{"Get": second(b.Get(ctx, it.ID)), "Body": second(b.Body(ctx, it.ID, "request")), "Signal": signalErr} {
		if gateway.ReasonOf(err) != gateway.JournalUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	a = mustOpen(t, c)
	if _, err := a.Get(ctx, it.ID); err != nil {
		t.Errorf("put back: %v", err)
	}
	until(t, "the message is there too", func() bool {
		ls, err := a.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Max: 1})
		return err == nil && len(ls) == 1 && len(ls[0].Inbox) == 1 && string(ls[0].Inbox[0].Body) == "result"
	})
}

// A gateway that ends between its own disk and Redis finishes at its next start.
func TestWhatRedisNeverAnsweredIsSettledAtTheStart(t *testing.T) {
	s := newServer(t)
	p := newProxy(t, s.address)
	c := redisjournal.Config{Redis: []string{p.url()}, Dir: t.TempDir(), Timeout: 300 * time.Millisecond, CheckEvery: time.Hour}
	j := mustOpen(t, c)
	if _, err := j.Stats(t.Context()); err != nil { // a connection is there
		t.Fatal(err)
	}
	p.hold(true) // nothing reaches Redis, and nobody is told
	if _, err := j.Create(t.Context(), journaltest.NewItem(1)); gateway.ReasonOf(err) != gateway.JournalUnavailable {
		t.Fatalf("create: %v", err)
	}
	j.Close()
	p.hold(false)
	p.cut()
	j = mustOpen(t, c)
	if _, err := j.Get(t.Context(), journaltest.NewItem(1).ID); err != nil {
		t.Errorf("get: %v", err)
	}
	if _, err := j.Create(t.Context(), journaltest.NewItem(1)); !errors.Is(err, journal.ErrDuplicate) {
		t.Errorf("again: %v", err)
	}
}

// The local disk's fault closes the door: nothing is accepted that a failover could lose.
func TestAnAcceptJournalThatCannotBeWrittenClosesTheDoor(t *testing.T) {
	s := newServer(t)
	c := redisjournal.Config{Redis: []string{s.url()}, Dir: t.TempDir()}
	j := mustOpen(t, c)
	if _, err := redisjournal.Open(c); err == nil {
		t.Error("a second process took the same directory")
	}
	damage(t, filepath.Join(c.Dir, "accept.db"))
	if _, err := j.Create(t.Context(), journaltest.NewItem(1)); gateway.ReasonOf(err) != gateway.JournalUnavailable {
		t.Errorf("create: %v", err)
	}
	if _, err := j.Get(t.Context(), journaltest.NewItem(1).ID); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("Redis got it all the same: %v", err)
	}
}

// #full: at 80 % of its memory nothing more is accepted, and the work on the rest goes on.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	s := newServer(t, "--maxmemory", "24mb")
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}, CheckEvery: 50 * time.Millisecond})
	ctx := t.Context()
	body := make([]byte, 64<<10)
	accepted := 0
	until(t, "it is full", func() bool {
		it := journaltest.NewItem(accepted)
		it.Bodies["request"] = body
		_, err := j.Create(ctx, it)
		if err == nil {
			accepted++
			return false
		}
		return gateway.ReasonOf(err) == gateway.JournalFull
	})
	if _, err := j.Stats(ctx); gateway.ReasonOf(err) != gateway.JournalFull {
		t.Errorf("stats: %v", err)
	}
	ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Hour, Max: accepted})
	if err != nil || len(ls) != accepted || accepted < 100 {
		t.Fatalf("claimed %d of %d, %v", len(ls), accepted, err)
	}
	for _, l := range ls {
		if err := j.Advance(ctx, l, journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: journaltest.T0, Erase: []string{"request"}}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "there is room again", func() bool { _, err := j.Create(ctx, journaltest.NewItem(1_000_000)); return err == nil })
}

// When all memory is used a script that adds is refused before its first write, and those that
// free memory run.
func TestNoScriptStopsHalfway(t *testing.T) {
	s := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}, CheckEvery: time.Hour})
	ctx := t.Context()
	it, err := j.Create(ctx, journaltest.NewItem(1))
	if err != nil {
		t.Fatal(err)
	}
	before := s.dump()
	s.set("maxmemory", "1mb")
	if _, err := j.Create(ctx, journaltest.NewItem(2)); gateway.ReasonOf(err) != gateway.JournalFull {
		t.Errorf("create: %v", err)
	}
	if _, _, err := j.Signal(ctx, it.ID, journal.Signal{Key: "k"}); gateway.ReasonOf(err) != gateway.JournalFull {
		t.Errorf("signal: %v", err)
	}
	if after := s.dump(); after != before {
		t.Errorf("a refused script wrote:\n%s\n%s", before, after)
	}
	ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Hour, Max: 1})
	if err != nil || len(ls) != 1 {
		t.Fatalf("claim: %d, %v", len(ls), err)
	}
	if err := j.Advance(ctx, ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: journaltest.T0}); err != nil {
		t.Errorf("advance: %v", err)
	}
}

// A write counts when the replicas that may be promoted have it.
func TestAWriteWaitsForReplicas(t *testing.T) {
	master, replica := newServer(t), newServer(t)
	replica.follow(master)
	j := mustOpen(t, redisjournal.Config{Redis: []string{master.url()}, Replicas: 1, ReplicaWait: 2 * time.Second})
	ctx := context.Background()
	if _, err := j.Create(ctx, journaltest.NewItem(1)); err != nil {
		t.Fatal(err)
	}
	replica.stall()
	for range 2 { // the repetition finds the item, and that does not count either
		if _, err := j.Create(ctx, journaltest.NewItem(2)); gateway.ReasonOf(err) != gateway.JournalUnavailable {
			t.Errorf("create: %v", err)
		}
	}
	replica.resume()
	until(t, "the replica has it", func() bool {
		_, err := j.Create(ctx, journaltest.NewItem(2))
		return errors.Is(err, journal.ErrDuplicate)
	})
}

// A failover may give a version twice; the token tells the leases apart. Neither is enough alone.
func TestALeaseWithAnotherTokenOrVersionIsRefused(t *testing.T) {
	s := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}})
	ctx := t.Context()
	if _, err := j.Create(ctx, journaltest.NewItem(0)); err != nil {
		t.Fatal(err)
	}
	ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0, Lease: time.Minute, Max: 1})
	if err != nil || len(ls) != 1 {
		t.Fatal(err)
	}
	for _, token := range []string{"", "00000000000000000000000000000000", ls[0].Token} {
		stale := ls[0]
		if stale.Token = token; token == ls[0].Token {
			stale.Item.Version--
		}
		for _, st := range []journal.Step{{State: gateway.StateClosed, Doc: []byte("{}")}, {Remove: true}} {
			if err := j.Advance(ctx, stale, st); !errors.Is(err, journal.ErrLeaseLost) {
				t.Errorf("token %q: %v", token, err)
			}
		}
	}
	if err := j.Advance(ctx, ls[0], journal.Step{State: gateway.StateClosed, Doc: []byte("{}")}); err != nil {
		t.Error(err)
	}
}

// Two gateways on one Redis share the work and never an item.
func TestTwoGatewaysNeverShareAnItem(t *testing.T) {
	s := newServer(t)
	a := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}})
	b := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}})
	ctx := t.Context()
	const items = 300
	for n := range items {
		if _, err := a.Create(ctx, journaltest.NewItem(n)); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	seen := map[gateway.RequestID]int{}
	var wg sync.WaitGroup
	for _, j := range []*redisjournal.Store{a, b, a, b} {
		wg.Go(func() {
			for {
				ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(time.Hour), Lease: time.Minute, Max: 7})
				if err != nil {
					t.Error(err)
				}
				if len(ls) == 0 {
					return
				}
				for _, l := range ls {
					mu.Lock()
					seen[l.Item.ID]++
					mu.Unlock()
					if err := j.Advance(ctx, l, journal.Step{State: gateway.StateClosed, Doc: []byte("{}"), At: journaltest.T0}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != items {
		t.Errorf("%d items were worked on, want %d", len(seen), items)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was worked on %d times", id, n)
		}
	}
}

// A backlog of items that wait for older ones does not keep others waiting.
func TestBlockedWorkStarvesNobody(t *testing.T) {
	s := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{s.url()}})
	ctx := t.Context()
	const items = 1500 // more than one script looks at
	var wg sync.WaitGroup
	at := journaltest.T0
	create := func(n int, citizen journal.CitizenKey, wake time.Time) {
		it := journaltest.NewItem(n)
		it.Citizen, it.Wake = citizen, wake
		if _, err := j.Create(ctx, it); err != nil {
			t.Error(err)
		}
	}
	create(0, "one", at.Add(time.Hour)) // the oldest, tried again later
	for w := range 10 {
		wg.Go(func() {
			for n := w + 1; n <= items; n += 10 {
				citizen := journal.CitizenKey("one")
				if n%10 == 0 {
					citizen = journal.CitizenKey(fmt.Sprint("another ", n))
				}
				create(n, citizen, at.Add(time.Duration(n)*time.Millisecond))
			}
		})
	}
	wg.Wait()
	claim := func(most int) []journal.Lease {
		ls, err := j.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: at.Add(time.Minute), Lease: time.Minute, Max: most, Ordered: []gateway.State{gateway.StateAccepted}})
		if err != nil {
			t.Fatal(err)
		}
		return ls
	}
	last := journal.CitizenKey("another 10")
	if ls := claim(1); len(ls) != 1 || ls[0].Item.Citizen != last {
		t.Errorf("claimed %d", len(ls))
	}
	ls := claim(items)
	if len(ls) != items/10-1 {
		t.Errorf("claimed %d of %d that wait for nobody", len(ls), items/10-1)
	}
	for i, l := range ls {
		if want := journal.CitizenKey(fmt.Sprint("another ", 20+10*i)); l.Item.Citizen != want {
			t.Fatalf("claimed %s, want %s", l.Item.Citizen, want)
		}
	}
}

// Just after a restart of Redis an unknown request may still be put back by another gateway. A
// known one that has no such body has none: the work on it goes on.
func TestAfterARestartWorkOnKnownRequestsGoesOn(t *testing.T) {
	ctx := t.Context()
	server := newServer(t)
	j := mustOpen(t, redisjournal.Config{Redis: []string{server.url()}, Dir: t.TempDir(), CheckEvery: 50 * time.Millisecond, Settle: time.Minute})
	it, err := j.Create(ctx, journaltest.NewItem(1))
	if err != nil {
		t.Fatal(err)
	}
	server.kill()
	server.start()
	until(t, "the journal is written to again", func() bool { _, err := j.Stats(ctx); return err == nil })
	if _, err := j.Get(ctx, journaltest.NewItem(2).ID); gateway.ReasonOf(err) != gateway.JournalUnavailable {
		t.Errorf("an unknown request: %v", err)
	}
	if _, err := j.Body(ctx, journaltest.NewItem(2).ID, "request"); gateway.ReasonOf(err) != gateway.JournalUnavailable {
		t.Errorf("a body of an unknown request: %v", err)
	}
	if _, err := j.Body(ctx, it.ID, "delivery"); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("a body that a known request does not have: %v", err)
	}
}
