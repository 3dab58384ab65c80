package powerloss_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"modernc.org/sqlite"

	"egov-gateway/gateway"
	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

// runAsWriter makes the test binary a process that writes to a journal until it is killed.
const runAsWriter = "POWERLOSS_WRITER"

// An order is what a writer process is to do.
type order struct {
	Store   string // "sqlite", "redis" or "attachments"
	Where   string // directory of the journal, or of the accept journal
	Redis   string // address
	Seed    uint64
	First   int // number of the first new item
	Writers int
	Normal  bool               // a broken control: PRAGMA synchronous=NORMAL, or appendfsync everysec
	Look    *gateway.RequestID // look for this item instead, and say whether it is there
	Once    bool               // wait for the end of the input, then create one item
	Sealed  bool               // under the tests' data key
}

// keyring holds the tests' data keys, which take turns, or is nil where nothing is sealed.
func (o order) keyring() *sealing.Keyring {
	if !o.Sealed {
		return nil
	}
	var keys [2]sealing.InstallationKey
	for i := range keys {
		var err error
		if keys[i], err = sealing.ParseInstallationKey(bytes.Repeat([]byte{byte(7 + i)}, sealing.KeySize)); err != nil {
			panic(err)
		}
	}
	turn := o.First / 1_000_000 % 2
	ring, err := sealing.NewKeyring(keys[turn], keys[1-turn])
	if err != nil {
		panic(err)
	}
	return ring
}

// rekey wraps what earlier rounds sealed under the round's own key, beside the writers.
func (o order) rekey(ctx context.Context) error {
	a, err := sqlitejournal.Attach(o.Where, o.keyring())
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.Rekey(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Run(ctx); err != nil {
		return err
	}
	return r.Finish(ctx)
}

// An ack is one call that a store has answered, so that it must outlive everything.
type ack struct {
	Op   string `json:"op"` // ready, create, advance, signal, found, missing, failed
	N    int    `json:"n,omitempty"`
	Key  string `json:"key,omitempty"` // of an advance or a signal, unique
	Note string `json:"note,omitempty"`
	// Version of the lease under which an advance was made.
	Version int64 `json:"version,omitempty"`
}

func TestMain(m *testing.M) {
	if text := os.Getenv(runAsWriter); text != "" {
		var o order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			panic(err)
		}
		write(o, os.Stdout)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// body makes content that is known from its name, 1 to 8 KB.
func body(name string) []byte {
	var seed [32]byte
	copy(seed[:], name)
	r := rand.NewChaCha8(seed)
	b := make([]byte, 1024+int(r.Uint64()%7168))
	r.Read(b) //nolint:errcheck // never fails
	return append([]byte(name), b...)
}

// item is request n; one citizen has many.
func item(n int) journal.New {
	it := journaltest.NewItem(n)
	it.Citizen = journal.CitizenKey(fmt.Sprintf("citizen-%d", n%50))
	it.Bodies["request"] = body(fmt.Sprintf("request-%d", n))
	return it
}

func openStore(o order) (journal.Store, error) {
	switch o.Store {
	case "sqlite":
		return sqlitejournal.Open(sqlitejournal.Config{Dir: o.Where, Keys: o.keyring()})
	case "redis":
		redis.SetLogger(quiet{})
		return redisjournal.Open(redisjournal.Config{Redis: []string{"redis://" + o.Redis}, Dir: o.Where, AcceptLoss: o.Normal, Timeout: time.Second})
	}
	return nil, fmt.Errorf("no store %q", o.Store)
}

// quiet keeps the client's talk about lost connections out of the test's output.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// write is the writer process: it tells out of every call that the store has answered.
func write(o order, out io.Writer) {
	var mu sync.Mutex
	say := func(a ack) {
		b, _ := json.Marshal(a)
		mu.Lock()
		defer mu.Unlock()
		out.Write(append(b, '\n')) //nolint:errcheck // who asked is gone
	}
	if o.Normal && o.Store == "sqlite" {
		sqlite.RegisterConnectionHook(func(c sqlite.ExecQuerierContext, _ string) error {
			_, err := c.ExecContext(context.Background(), "PRAGMA synchronous=NORMAL", nil)
			return err
		})
	}
	if o.Store == "attachments" {
		putDocuments(o, say)
		return
	}
	s, err := openStore(o)
	if err != nil {
		say(ack{Op: "failed", Note: err.Error()})
		return
	}
	ctx := context.Background()
	switch {
	case o.Look != nil:
		if _, err := s.Get(ctx, *o.Look); err != nil {
			say(ack{Op: "missing", Note: err.Error()})
		} else {
			say(ack{Op: "found"})
		}
		select {} // until it is killed
	case o.Once:
		say(ack{Op: "ready"})
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is all that counts
		if _, err := s.Create(ctx, item(o.First)); err == nil {
			say(ack{Op: "create", N: o.First})
		}
		return
	}
	say(ack{Op: "ready"})
	w := &writers{s: s, say: say}
	w.next.Store(int64(o.First))
	var wg sync.WaitGroup
	if o.Sealed {
		wg.Go(func() {
			if err := o.rekey(ctx); err != nil {
				fmt.Fprintln(os.Stderr, "rekey:", err) // the power may be gone
			}
		})
	}
	for i := range o.Writers {
		wg.Go(func() { w.run(ctx, rand.New(rand.NewPCG(o.Seed, uint64(i))), fmt.Sprintf("%d-%d", o.First, i)) })
	}
	wg.Wait()
}

// putDocuments is the writer process for the documents that come with requests.
func putDocuments(o order, say func(ack)) {
	s, err := attachment.Open(o.Where, o.keyring())
	if err != nil {
		say(ack{Op: "failed", Note: err.Error()})
		return
	}
	say(ack{Op: "ready"})
	var wg sync.WaitGroup
	if o.Sealed {
		wg.Go(func() {
			if _, err := s.Rekey(); err != nil {
				fmt.Fprintln(os.Stderr, "rekey:", err) // the power may be gone
			}
		})
	}
	for i := range o.Writers {
		wg.Go(func() {
			for n := o.First + i; ; n += o.Writers {
				if err := s.Put(item(n).ID, documents(n)); err != nil {
					return
				}
				say(ack{Op: "documents", N: n})
			}
		})
	}
	wg.Wait()
}

func documents(n int) [][]byte {
	return [][]byte{body(fmt.Sprintf("first-%d", n)), body(fmt.Sprintf("second-%d", n))}
}

// lostDocuments looks for every document that was kept.
func lostDocuments(s *attachment.Store, acks []ack) (lost []string) {
	for _, a := range acks {
		for _, d := range documents(a.N) {
			sum := sha256.Sum256(d)
			if got, err := s.Get(item(a.N).ID, hex.EncodeToString(sum[:])); err != nil || !bytes.Equal(got, d) {
				lost = append(lost, fmt.Sprintf("a document of request %d: %v", a.N, err))
			}
		}
	}
	return lost
}

type writers struct {
	s    journal.Store
	say  func(ack)
	next atomic.Int64

	mu      sync.Mutex
	created []int // guarded by mu
}

// run calls the store until a call fails, which it does when the power is gone.
func (w *writers) run(ctx context.Context, dice *rand.Rand, name string) {
	for k := 0; ; k++ {
		var err error
		key := fmt.Sprintf("%s-%d", name, k)
		switch p := dice.IntN(10); {
		case p < 5:
			err = w.create(ctx)
		case p < 8:
			err = w.advance(ctx, key)
		default:
			err = w.signal(ctx, dice, key)
		}
		if err != nil {
			return
		}
	}
}

func (w *writers) create(ctx context.Context) error {
	n := int(w.next.Add(1)) - 1
	if _, err := w.s.Create(ctx, item(n)); err != nil {
		return err
	}
	w.say(ack{Op: "create", N: n})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.created = append(w.created, n)
	return nil
}

// advance works on what is due: each lease adds an event and a body and makes the item due again.
func (w *writers) advance(ctx context.Context, key string) error {
	ls, err := w.s.Claim(ctx, journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(1 << 50), Lease: time.Hour, Max: 2})
	if err != nil {
		return err
	}
	for i, l := range ls {
		tag := fmt.Sprintf("%s-%d", key, i)
		st := journal.Step{State: gateway.StateEnriched, Doc: []byte(tag), At: journaltest.T0, Wake: journaltest.T0.Add(time.Duration(l.Item.Version) * time.Minute),
			Events: []gateway.Event{{At: journaltest.T0, Kind: gateway.EventRecord, Subject: tag}}, Bodies: map[string][]byte{tag: body(tag)}}
		for _, g := range l.Inbox {
			st.Consumed = append(st.Consumed, g.Key)
		}
		if err := w.s.Advance(ctx, l, st); err != nil {
			return err
		}
		var n int
		fmt.Sscanf(l.Item.MessageID, "message-%d", &n) //nolint:errcheck // our own
		w.say(ack{Op: "advance", N: n, Key: tag, Version: l.Item.Version})
	}
	return nil
}

func (w *writers) signal(ctx context.Context, dice *rand.Rand, key string) error {
	w.mu.Lock()
	if len(w.created) == 0 {
		w.mu.Unlock()
		return nil
	}
	n := w.created[dice.IntN(len(w.created))]
	w.mu.Unlock()
	if _, _, err := w.s.Signal(ctx, item(n).ID, journal.Signal{Key: key, Kind: "step", At: journaltest.T0, Body: body(key)}); err != nil {
		return err
	}
	w.say(ack{Op: "signal", N: n, Key: key})
	return nil
}

// losses looks for everything that was acknowledged and returns what is not there.
func losses(ctx context.Context, s journal.Store, acks []ack) (lost []string) {
	miss := func(a ack, format string, args ...any) {
		lost = append(lost, fmt.Sprintf("%s of request %d %s: %s", a.Op, a.N, a.Key, fmt.Sprintf(format, args...)))
	}
	same := func(a ack, name, content string) {
		if b, err := s.Body(ctx, item(a.N).ID, name); err != nil {
			miss(a, "%v", err)
		} else if !bytes.Equal(b, body(content)) {
			miss(a, "the body %s has other content", name)
		}
	}
	for _, a := range acks {
		id := item(a.N).ID
		switch a.Op {
		case "create":
			if _, err := s.Get(ctx, id); err != nil {
				miss(a, "%v", err)
				continue
			}
			same(a, "request", fmt.Sprintf("request-%d", a.N))
		case "advance":
			it, err := s.Get(ctx, id)
			if err != nil {
				miss(a, "%v", err)
				continue
			}
			events := 0
			for _, e := range it.Events {
				if e.Subject == a.Key {
					events++
				}
			}
			if events != 1 || it.Version <= a.Version {
				miss(a, "%d events, version %d", events, it.Version)
			}
			same(a, a.Key, a.Key)
		case "signal":
			first, fresh, err := s.Signal(ctx, id, journal.Signal{Key: a.Key, Kind: "step", At: journaltest.T0, Body: []byte("again")})
			if err != nil || fresh || len(first.Body) > 0 && !bytes.Equal(first.Body, body(a.Key)) {
				miss(a, "fresh %v, %v", fresh, err)
			}
		}
	}
	return lost
}
