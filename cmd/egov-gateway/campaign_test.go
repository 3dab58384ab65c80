package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/sealing"
	"egov-gateway/schemas"
)

// The campaign proves the promise above all others: what was acknowledged with 202 is never lost
// and never done twice. Real processes, a portal that repeats itself as real ones do, and faults
// at random instants; beside them a model of what must be true when all work is done.

// A plan is what a campaign does.
type plan struct {
	store    string        // "sqlite" or "redis"
	gateways int           // instances
	seed     uint64        // of every dice
	length   time.Duration // of the time with faults
	drain    time.Duration // at most, until all work is done
	machine  []string      // kinds of faults of the machines, one after the other
	world    []string      // kinds of faults of network and world, beside them
	broken   string        // a control: what the journal of the gateways does wrong
	open     int           // undelivered requests at most; 0 means 300
	lease    time.Duration // of the gateways; 0 means 3s: short, so that a paused one outlives its leases
	patient  bool          // the clocks are left alone until all work is done
	slow     time.Duration // each provider's answer takes that long
	rest     int           // milliseconds between two faults of one row, on average; 0 means 200
}

// sealed tells whether the gateways have a data key: of half of all seeds, the odd ones.
func (p plan) sealed() bool { return p.seed%2 == 1 }

// An accepted request is what the portal knows of it.
type accepted struct {
	id      gateway.RequestID
	citizen string
	message string
	doc     string // hex SHA-256 of the signed bytes
	receipt string
	stream  int
	order   int // within the stream: the 202 of one came before the next was sent
}

// A campaign is one run.
type campaign struct {
	plan
	t     testing.TB
	l     *lab
	world *statesim.World
	tap   *tap
	// net are the pieces of network between portal and gateways, gateways and providers,
	// gateways and state systems.
	net      map[string]*proxy
	machines []*machine
	redis    *redisServer // nil for SQLite
	client   *http.Client
	started  time.Time
	running  atomic.Bool
	until    context.Context // ends when the drain takes too long

	mu       sync.Mutex
	acks     map[gateway.RequestID]*accepted
	byDoc    map[string]*accepted
	streams  [][]*accepted
	findings map[string][]string
	faults   map[string]int
	repeats  int
	answers  map[string]int // of the door, that were not 202
	history  *os.File
}

// always are the faults that providers have all the time: most report only the result, which keeps
// the machine free for requests.
func (c *campaign) always() []statesim.Fault {
	all := []statesim.Fault{{Kind: statesim.NoSteps, Rate: 0.85}}
	if c.slow > 0 {
		all = append(all, statesim.Fault{Kind: statesim.Latency, DelayMS: int(c.slow.Milliseconds())})
	}
	return all
}

// note writes a line of history.
func (c *campaign) note(kind string, fields ...any) {
	line := map[string]any{"t": time.Since(c.started).Round(time.Millisecond).Seconds(), "kind": kind}
	for i := 0; i+1 < len(fields); i += 2 {
		line[fields[i].(string)] = fields[i+1]
	}
	b, _ := json.Marshal(line)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.Write(append(b, '\n')) //nolint:errcheck // a full disk of the test shows elsewhere
}

// find notes something that must not be.
func (c *campaign) find(kind, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.note("finding", "finding", kind, "text", text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings[kind] = append(c.findings[kind], text)
}

// newCampaign builds the world, the network and the gateways' configuration.
func newCampaign(t testing.TB, p plan) *campaign {
	t.Helper()
	if p.open == 0 {
		p.open = 300
	}
	if p.lease == 0 {
		p.lease = 3 * time.Second
	}
	if p.rest == 0 {
		p.rest = 200
	}
	c := &campaign{plan: p, t: t, net: map[string]*proxy{}, acks: map[gateway.RequestID]*accepted{}, byDoc: map[string]*accepted{},
		findings: map[string][]string{}, faults: map[string]int{}, answers: map[string]int{}, started: time.Now()}
	dir := t.TempDir()
	var err error
	if c.history, err = os.Create(filepath.Join(dir, "history.jsonl")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.history.Close() })
	c.l, err = newLab(dir, time.Now(), nil, slog.New(slog.DiscardHandler), func(w *statesim.Config) {
		w.Factor, w.Seed, w.Client = 1e6, p.seed, &http.Client{Timeout: 2 * time.Second}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.l.Close)
	c.world = c.l.world
	c.healWorld()
	c.tap = newTap(c.world.Handler())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.l.serve(ln, c.tap)
	c.net["providers"] = newProxy(t, "127.0.0.1:0", ln.Addr().String())
	c.net["sources"] = newProxy(t, "127.0.0.1:0", ln.Addr().String())
	if p.store == "redis" {
		disk := c.ownDisk(filepath.Join(dir, "redis"))
		c.redis = newRedisServer(t, filepath.Join(dir, "redis"), "always")
		c.redis.disk = disk
		c.net["redis"] = newProxy(t, "127.0.0.1:0", c.redis.address)
	}
	var doors []string
	for n := range p.gateways {
		m, door := c.newMachine(n)
		c.machines = append(c.machines, m)
		doors = append(doors, door)
	}
	c.net["door"] = newProxy(t, strings.TrimPrefix(c.l.base, "http://"), doors...)
	c.client = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// campaignSchemas copies the passports with a wide range for clocks that differ: a gateway whose
// clock is an hour off must not refuse what providers date rightly.
func campaignSchemas(dir string) error {
	return fs.WalkDir(schemas.FS, "passports", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(schemas.FS, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, bytes.ReplaceAll(b, []byte("future: 10m"), []byte("future: 3h")), 0o600)
	})
}

// campaignKey is the data key of all campaigns.
func campaignKey() sealing.InstallationKey {
	k, err := sealing.ParseInstallationKey(bytes.Repeat([]byte{1}, sealing.KeySize))
	if err != nil {
		panic(err)
	}
	return k
}

// configure writes the configuration of gateway n and returns its file, admin address and door.
func (c *campaign) configure(n int) (file, admin, door string, err error) {
	conf, err := LoadConfig(c.l.config)
	if err != nil {
		return "", "", "", err
	}
	if door, err = freeAddress(); err != nil {
		return "", "", "", err
	}
	if admin, err = freeAddress(); err != nil {
		return "", "", "", err
	}
	if err := campaignSchemas(filepath.Join(c.l.dir, "schemas")); err != nil {
		return "", "", "", err
	}
	if conf.Console != nil {
		if conf.Console.Listen, err = freeAddress(); err != nil {
			return "", "", "", err
		}
	}
	conf.Listen, conf.Admin, conf.Schemas, conf.Log, conf.Data = door, admin, "schemas", "warn", fmt.Sprintf("data-%d", n)
	if c.redis != nil {
		conf.Journal = JournalConfig{Redis: Addresses{"redis://" + c.net["redis"].address()}, Archive: "archive", Settle: Duration(2 * time.Second)}
		conf.Attachments = "attachments"
	}
	if c.sealed() {
		conf.DataKey = "data.key"
		if err := os.WriteFile(filepath.Join(c.l.dir, conf.DataKey), []byte(campaignKey().Reveal()), 0o600); err != nil {
			return "", "", "", err
		}
	}
	conf.Pipeline = Pipeline{Lease: Duration(c.lease)}
	for i := range conf.Providers {
		conf.Providers[i].URL = strings.Replace(conf.Providers[i].URL, c.l.sim, c.net["providers"].url(), 1)
		conf.Providers[i].Timeout = Duration(time.Second)
	}
	for i := range conf.Portals {
		conf.Portals[i].NotifyURL = strings.Replace(conf.Portals[i].NotifyURL, c.l.sim, c.net["providers"].url(), 1)
	}
	conf.Sources.Deadline = Duration(1500 * time.Millisecond)
	for _, s := range []*Source{conf.Sources.GBDFL, conf.Sources.GBDRN, conf.Sources.SocialPayments, conf.Sources.Income, conf.Sources.Alimony, conf.Sources.Employment} {
		s.URL, s.Timeout = strings.Replace(s.URL, c.l.sim, c.net["sources"].url(), 1), Duration(time.Second)
	}
	b, err := yaml.Marshal(conf)
	if err != nil {
		return "", "", "", err
	}
	file = filepath.Join(c.l.dir, fmt.Sprintf("gateway-%d.yaml", n))
	return file, "http://" + admin, door, os.WriteFile(file, b, 0o600)
}

// run is the campaign: work under faults, drain, check.
func (c *campaign) run() *campaignReport {
	ctx, cancel := context.WithTimeout(context.Background(), c.length+c.drain)
	defer cancel()
	c.until = ctx
	worldCtx, endWorld := context.WithCancel(ctx)
	defer endWorld()
	go c.world.Run(worldCtx) //nolint:errcheck // ends with its context
	for _, m := range c.machines {
		if err := m.start(); err != nil {
			c.t.Fatal(err)
		}
	}
	c.started = time.Now()
	c.running.Store(true)
	var portal, faults sync.WaitGroup
	for i, s := range portalStreams() {
		c.streams = append(c.streams, nil)
		portal.Go(func() { c.portal(i, s, rand.New(rand.NewPCG(c.seed, uint64(100+i)))) })
	}
	faults.Go(func() { c.inject(c.plan.machine, merged(machineFaults, redisFaults), rand.New(rand.NewPCG(c.seed, 1))) })
	faults.Go(func() { c.inject(c.plan.world, worldFaults, rand.New(rand.NewPCG(c.seed, 2))) })
	time.Sleep(c.length)
	c.running.Store(false)
	faults.Wait()
	c.heal()
	portal.Wait()
	worked := time.Since(c.started)
	c.finish()
	c.check()
	return c.report(worked)
}

// A portalStream is one citizen who asks for one service again and again, one request after the other.
type portalStream struct {
	citizen, territory string
	complaint          bool
}

func portalStreams() (all []portalStream) {
	for n := 1; n <= 8; n++ {
		citizen := fmt.Sprintf("citizen-%02d", n)
		all = append(all, portalStream{citizen, petropavl, true})
		if n <= 4 { // with records from six state systems
			all = append(all, portalStream{citizen, taraz, false})
		}
		if n <= 2 { // and with documents
			all = append(all, portalStream{citizen, petropavl, false})
		}
	}
	return all
}

// portal sends requests of one stream until the time is over.
func (c *campaign) portal(stream int, s portalStream, dice *rand.Rand) {
	key, err := c.l.key(s.citizen)
	if err != nil {
		c.find("test", "%v", err)
		return
	}
	for n := 0; c.running.Load(); n++ {
		for c.running.Load() && c.undelivered() >= c.open {
			time.Sleep(10 * time.Millisecond)
		}
		d := c.l.draft(s.citizen, s.territory)
		d.MessageID = harness.NewMessageID()
		if s.complaint {
			d.Documents, d.Complaint = nil, fmt.Sprintf("Шағым: өтінішім қаралмады. TAG-%d-%d", stream, n)
		} else {
			d.MonthlyCost = 20000 + n%5000
		}
		signed, err := d.Sign(key)
		if err != nil {
			c.find("test", "%v", err)
			return
		}
		contentType, body := "application/xml", signed
		if len(d.Documents) > 0 {
			contentType, body = harness.Multipart(signed, d.Documents)
		}
		sum := sha256.Sum256(signed)
		a := &accepted{citizen: s.citizen, message: d.MessageID, doc: hex.EncodeToString(sum[:]), stream: stream, order: n}
		if !c.submit(a, contentType, body, dice) {
			return
		}
		// Portals repeat themselves even when they were answered, sometimes at the same time.
		if dice.IntN(10) == 0 {
			var wg sync.WaitGroup
			for range 1 + dice.IntN(2) {
				again := rand.New(rand.NewPCG(dice.Uint64(), 0))
				wg.Go(func() { c.submit(a, contentType, body, again) })
			}
			wg.Wait()
		}
	}
}

// undelivered are the acknowledged requests that no provider has yet.
func (c *campaign) undelivered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	return len(c.acks) - len(c.tap.arrived)
}

// onTheWay are the acknowledged requests of whose end the portal was not told yet.
func (c *campaign) onTheWay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	return len(c.acks) - len(c.tap.notified)
}

// submit sends the same bytes until they are acknowledged; it reports false when the campaign
// is over before.
func (c *campaign) submit(a *accepted, contentType string, body []byte, dice *rand.Rand) bool {
	for c.until.Err() == nil {
		status, answer, err := c.post(contentType, body)
		switch {
		case err == nil && status == http.StatusAccepted:
			c.acknowledged(a, answer)
			return true
		case err == nil && status != http.StatusTooManyRequests && status < 500:
			c.find("refused", "%d %.300s", status, answer)
			return true
		}
		word := "no answer"
		if err == nil {
			var p intake.Problem
			json.Unmarshal(answer, &p) //nolint:errcheck // the status says enough
			word = fmt.Sprintf("%d %s", status, p.Reason)
		}
		c.mu.Lock()
		c.repeats++
		c.answers[word]++
		c.mu.Unlock()
		time.Sleep(20*time.Millisecond + time.Duration(dice.IntN(230))*time.Millisecond)
	}
	c.find("lost", "the portal's request %s was never acknowledged", a.message)
	return false
}

func (c *campaign) post(contentType string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(http.MethodPost, c.l.base+"/v1/requests", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+c.l.token)
	return c.do(req)
}

func (c *campaign) do(req *http.Request) (int, []byte, error) {
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// acknowledged takes a 202 into the model.
func (c *campaign) acknowledged(a *accepted, answer []byte) {
	var r intake.Receipt
	if err := json.Unmarshal(answer, &r); err != nil {
		c.find("refused", "202 with %.100s: %v", answer, err)
		return
	}
	c.mu.Lock()
	first := c.byDoc[a.doc]
	if first == nil {
		a.id, a.receipt = r.ID, r.SignedReceipt
		c.acks[a.id], c.byDoc[a.doc] = a, a
		c.streams[a.stream] = append(c.streams[a.stream], a)
	} else {
		c.repeats++
	}
	c.mu.Unlock()
	switch {
	case first == nil:
		c.note("ack", "id", r.ID, "message", a.message, "stream", a.stream, "order", a.order)
	case first.id != r.ID:
		c.find("doubled", "message %s has the ids %s and %s", a.message, first.id, r.ID)
	case first.receipt != r.SignedReceipt:
		c.find("doubled", "request %s has two receipts", r.ID)
	}
	if r.MessageID != a.message {
		c.find("mixed", "message %s was answered with the receipt of %s", a.message, r.MessageID)
	}
}

// finish waits until everything acknowledged has its result. Wake times that faults have put far
// off are brought near by moving the clocks of gateways and world together.
func (c *campaign) finish() {
	last, hop := c.onTheWay(), 10*time.Second
	for c.until.Err() == nil && last > 0 {
		time.Sleep(500 * time.Millisecond)
		n := c.onTheWay()
		if last-n < 5 && !c.patient {
			c.note("hop", "left", n, "by", hop.Seconds())
			c.l.clock.HopTo(c.l.clock.Now().Add(hop))
			c.setClocks()
			hop = min(hop*5/4, 5*time.Minute)
		}
		last = n
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func merged(all ...map[string]fault) map[string]fault {
	out := map[string]fault{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}
