package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal/redisjournal"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

// check compares what the gateways, the providers and the cabinets say with what was acknowledged.
func (c *campaign) check() {
	c.checkProviders()
	work := make(chan *accepted)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for a := range work {
				c.checkRequest(a)
			}
		})
	}
	for _, a := range c.acks {
		work <- a
	}
	close(work)
	wg.Wait()
	c.checkCabinets()
	for _, m := range c.machines {
		m.end()
	}
	c.checkJournals()
}

// checkJournals lets every journal read all that it holds.
func (c *campaign) checkJournals() {
	sound := func(faults []string, err error) {
		if err != nil {
			faults = append(faults, err.Error())
		}
		for _, f := range faults {
			c.find("journal", "%s", f)
		}
	}
	if c.redis != nil {
		a, err := redisjournal.Attach(redisjournal.Config{Redis: []string{"redis://" + c.redis.address}, Archive: filepath.Join(c.l.dir, "archive")})
		if err != nil {
			sound(nil, err)
			return
		}
		defer a.Close()
		r, err := a.Verify(c.t.Context())
		if err != nil {
			r = &redisjournal.Report{}
		}
		sound(r.Faults, err)
		return
	}
	var keys *sealing.Keyring
	if c.sealed() {
		var err error
		if keys, err = sealing.NewKeyring(campaignKey()); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, m := range c.machines {
		a, err := sqlitejournal.Attach(m.data, keys)
		if err != nil {
			sound(nil, err)
			continue
		}
		r, err := a.Verify(c.t.Context())
		if err != nil {
			r = &sqlitejournal.Report{}
		}
		sound(r.Faults, err)
		a.Close()
	}
}

// checkProviders: every request arrived, once in effect, byte for byte the same each time, with
// exactly the citizen's bytes inside, and in the order of its stream.
func (c *campaign) checkProviders() {
	state := c.world.State().Requests
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	for id, a := range c.tap.arrived {
		known := c.acks[gateway.RequestID(id)]
		if known == nil {
			c.find("doubled", "the provider has the request %s, which nobody was told of", id)
			continue
		}
		if a.original != known.doc {
			c.find("mixed", "request %s was delivered with other signed bytes", id)
		}
		if len(a.bodies) != 1 {
			c.find("doubled", "request %s was delivered with %d different contents", id, len(a.bodies))
		}
		if s := state[id]; s.Effects != 1 || s.Conflicts != 0 || s.Results > 1 || len(s.GivenUp) != 0 {
			c.find("doubled", "request %s at the provider: %d effects, %d conflicts, %d results, given up %v", id, s.Effects, s.Conflicts, s.Results, s.GivenUp)
		}
	}
	for _, stream := range c.streams {
		for i, a := range stream[min(1, len(stream)):] {
			before, after := c.tap.arrived[string(stream[i].id)], c.tap.arrived[string(a.id)]
			if before != nil && after != nil && before.order > after.order {
				c.find("order", "request %s reached the provider before the older %s", a.id, stream[i].id)
			}
		}
	}
}

func (c *campaign) get(path, token string, into any) (int, []byte, error) {
	var status int
	var answer []byte
	var err error
	for range 20 { // connections that faults have killed are found out one by one
		var req *http.Request
		if req, err = http.NewRequest(http.MethodGet, c.l.base+path, nil); err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if status, answer, err = c.do(req); err == nil && status < 500 {
			if into != nil && status == http.StatusOK {
				err = json.Unmarshal(answer, into)
			}
			return status, answer, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return status, answer, err
}

// checkRequest: the request is closed with its own result, and its history is one that can be.
func (c *campaign) checkRequest(a *accepted) {
	var p intake.Progress
	status, answer, err := c.get("/v1/requests/"+string(a.id), c.l.token, &p)
	for wait := 0; err == nil && status == http.StatusOK && p.State == gateway.StateDecided && wait < 50; wait++ {
		time.Sleep(100 * time.Millisecond) // the portal was told; the journal is next
		p = intake.Progress{}
		status, answer, err = c.get("/v1/requests/"+string(a.id), c.l.token, &p)
	}
	if err != nil || status != http.StatusOK {
		c.find("lost", "request %s of message %s: %d %.200s %v", a.id, a.message, status, answer, err)
		return
	}
	if p.MessageID != a.message {
		c.find("mixed", "request %s has the message id %s, not %s", a.id, p.MessageID, a.message)
	}
	done := p.State == gateway.StateClosed && p.Result != nil
	if why := illegal(p.Timeline, done); why != "" {
		c.find("history", "request %s: %s in %s", a.id, why, words(p.Timeline))
	}
	if !done {
		c.find("undone", "request %s is %s, result %v, timeline %s", a.id, p.State, p.Result != nil, words(p.Timeline))
		return
	}
	status, answer, err = c.get("/v1/requests/"+string(a.id)+"/result", c.l.token, nil)
	if err != nil || status != http.StatusOK || !strings.Contains(string(answer), "<requestId>"+string(a.id)+"</requestId>") {
		c.find("mixed", "the result of request %s: %d %.200s %v", a.id, status, answer, err)
	}
}

func words(events []gateway.Event) string {
	var all []string
	for _, e := range events {
		w := string(e.Kind)
		if e.Reason != "" {
			w += "(" + string(e.Reason) + ")"
		}
		all = append(all, w)
	}
	return strings.Join(all, " ")
}

// illegal says why a history cannot be that of one request worked on by one worker at a time; of
// one that is not done yet, only what happened too often.
func illegal(events []gateway.Event, done bool) string {
	count := map[gateway.EventKind]int{}
	steps := map[string]int{}
	at := map[gateway.EventKind]int{}
	for i, e := range events {
		if e.Seq != i+1 {
			return fmt.Sprintf("event %d has the number %d", i+1, e.Seq)
		}
		count[e.Kind]++
		at[e.Kind] = i
		if e.Kind == gateway.EventStep {
			steps[e.Subject]++
		}
	}
	for kind, want := range map[gateway.EventKind]int{gateway.EventAccepted: 1, gateway.EventEnriched: 1, gateway.EventResult: 1, gateway.EventNotified: 1, gateway.EventParked: 0, gateway.EventQuarantined: 0} {
		if count[kind] > want || done && count[kind] != want {
			return fmt.Sprintf("%d times %s", count[kind], kind)
		}
	}
	for code, n := range steps {
		if n > 1 {
			return fmt.Sprintf("%d times the step %s", n, code)
		}
	}
	// A result can overtake the acknowledgement of its own delivery, never follow its end.
	if count[gateway.EventDelivered] > 1 || done && count[gateway.EventDelivered] == 1 && at[gateway.EventDelivered] > at[gateway.EventNotified] {
		return "delivered out of order"
	}
	if done && at[gateway.EventEnriched] > at[gateway.EventResult] || done && at[gateway.EventResult] > at[gateway.EventNotified] {
		return "the order of the way"
	}
	return ""
}

// checkCabinets: each citizen sees each own request once, and nothing else.
func (c *campaign) checkCabinets() {
	want := map[string]map[gateway.RequestID]bool{}
	for id, a := range c.acks {
		if want[a.citizen] == nil {
			want[a.citizen] = map[gateway.RequestID]bool{}
		}
		want[a.citizen][id] = true
	}
	for citizen, ids := range want {
		token, err := c.l.citizenToken(c.l.pki.Must(citizen).IIN, 50*time.Minute)
		if err != nil {
			c.find("test", "%v", err)
			continue
		}
		seen := map[gateway.RequestID]int{}
		for cursor := ""; ; {
			var page struct {
				Requests []cabinet.Card `json:"requests"`
				Next     string         `json:"next"`
			}
			status, answer, err := c.get("/cabinet/api/requests?cursor="+cursor, token, &page)
			if err != nil || status != http.StatusOK {
				c.find("cabinet", "%s: %d %.200s %v", citizen, status, answer, err)
				break
			}
			for _, card := range page.Requests {
				seen[card.ID]++
				if card.Result == "" {
					c.find("undone", "request %s has no result in the cabinet", card.ID)
				}
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		for id, n := range seen {
			if n != 1 || !ids[id] {
				c.find("cabinet", "request %s is %d times in the cabinet of %s, acknowledged: %v", id, n, citizen, ids[id])
			}
		}
		for id := range ids {
			if seen[id] == 0 {
				c.find("lost", "request %s is not in the cabinet of %s", id, citizen)
			}
		}
	}
}

// A campaignReport is the outcome of a campaign, one line of JSON.
type campaignReport struct {
	At       string         `json:"at"`
	Store    string         `json:"store"`
	Gateways int            `json:"gateways"`
	Broken   string         `json:"broken,omitempty"`
	Seed     uint64         `json:"seed"`
	Seconds  int            `json:"seconds"`
	Drained  int            `json:"drained_seconds"`
	Requests int            `json:"requests"`
	Repeats  int            `json:"repeats"`
	Arrivals int            `json:"deliveries_taken"`
	Faults   map[string]int `json:"faults"`
	Total    int            `json:"faults_total"`
	Answers  map[string]int `json:"answers"`
	Findings map[string]int `json:"findings"`
	LeftOut  []string       `json:"left_out,omitempty"`
	Cores    int            `json:"cores"`

	texts map[string][]string
}

// findingKinds are those that a report always names, found or not: acknowledged requests that
// nobody knows any more; such that are known, and not closed with a result in time; several ids,
// receipts, contents or effects for one message; a request that a cabinet has twice or wrongly;
// requests that overtook older ones; contents that belong to another request; histories that one
// worker at a time cannot make; faults that a journal's own check reports; requests refused;
// gateways that did not start or end; failures of the test itself.
var findingKinds = []string{"lost", "undone", "doubled", "cabinet", "order", "mixed", "history", "journal", "refused", "start", "test"}

func (c *campaign) report(worked time.Duration) *campaignReport {
	r := &campaignReport{At: c.started.UTC().Format(time.RFC3339), Store: c.store, Gateways: c.gateways, Broken: c.broken, Seed: c.seed, Seconds: int(worked.Seconds()),
		Drained: int((time.Since(c.started) - worked).Seconds()), Requests: len(c.acks), Repeats: c.repeats, Faults: c.faults, Answers: c.answers, Findings: map[string]int{}, Cores: runtime.NumCPU(), texts: c.findings}
	for _, n := range c.faults {
		r.Total += n
	}
	c.tap.mu.Lock()
	for _, a := range c.tap.arrived {
		for _, n := range a.bodies {
			r.Arrivals += n
		}
	}
	c.tap.mu.Unlock()
	for _, k := range findingKinds {
		r.Findings[k] = 0
	}
	for k, f := range c.findings {
		r.Findings[k] = len(f)
	}
	if os.Getuid() != 0 {
		r.LeftOut = append(r.LeftOut, "disk-full: mounting a small disk needs root")
	}
	return r
}

func (r *campaignReport) found() int {
	n := 0
	for _, k := range r.Findings {
		n += k
	}
	return n
}

func (r *campaignReport) line() string {
	b, _ := json.Marshal(r)
	return string(b)
}

// table is the report for people.
func (r *campaignReport) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d gateway(s), seed %d: %d s under faults, %d s until all was done and checked\n", r.Store, r.Gateways, r.Seed, r.Seconds, r.Drained)
	fmt.Fprintf(&b, "  %d requests acknowledged, %d repeats by the portal, %d deliveries taken by providers, %d faults\n", r.Requests, r.Repeats, r.Arrivals, r.Total)
	for _, k := range sortedKeys(r.Faults) {
		fmt.Fprintf(&b, "  %6d  %s\n", r.Faults[k], k)
	}
	for _, k := range findingKinds {
		fmt.Fprintf(&b, "  %6d  FINDINGS %s\n", r.Findings[k], k)
	}
	for _, k := range sortedKeys(r.texts) {
		for _, text := range r.texts[k][:min(5, len(r.texts[k]))] {
			fmt.Fprintf(&b, "    %s: %s\n", k, text)
		}
	}
	for _, what := range r.LeftOut {
		fmt.Fprintf(&b, "  left out: %s\n", what)
	}
	return b.String()
}
