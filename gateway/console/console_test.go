package console_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/schemas"
)

var now = journaltest.T0.Add(time.Hour)

// A place is a console over a real journal, served over HTTP.
type place struct {
	t       *testing.T
	store   *sqlitejournal.Store
	audit   *breakable
	con     *console.Console
	server  *httptest.Server
	redrive []string // orders that came through
}

// breakable is an audit that can be made to fail.
type breakable struct {
	journal.Audit
	broken bool
}

func (b *breakable) Record(ctx context.Context, e journal.AuditEntry) error {
	if b.broken {
		return gateway.Errorf(gateway.JournalUnavailable, "the disk is away")
	}
	return b.Audit.Record(ctx, e)
}

func token(s string) [32]byte { return sha256.Sum256([]byte(s)) }

var operators = []console.Operator{
	{Name: "all", Act: []string{console.Everywhere}, TokenSHA256: token("all")},
	{Name: "zhambyl-view", View: []string{"zhambyl"}, TokenSHA256: token("zhambyl-view")},
	{Name: "north-act", Act: []string{"north-kazakhstan"}, TokenSHA256: token("north-act")},
	{Name: "by-oidc", View: []string{"zhambyl"}, Subject: "subject-1"},
}

func newPlace(t *testing.T, change ...func(*console.Config)) *place {
	t.Helper()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	forms, err := passport.Load(schemas.FS)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := message.Load(schemas.FS, forms.Calendar().Zone())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, store: s, audit: &breakable{Audit: s}}
	c := console.Config{Journal: s, Audit: p.audit, Forms: forms, Texts: texts, Shards: []string{"north-kazakhstan", "zhambyl"}, Queues: []string{"shep:bank"}, Operators: operators,
		Redrive: func(_ context.Context, id gateway.RequestID, version int64) error {
			p.redrive = append(p.redrive, fmt.Sprintf("%s/%d", id, version))
			return nil
		},
		Systems: func() []console.System {
			return []console.System{{Name: "gbdrn", Role: "register", Open: true, At: now, Reason: gateway.SourceTimeout, Failed: 7}}
		},
		Revocation:   func() []console.RevocationSource { return nil },
		Certificates: func() []console.Certificate { return nil },
		Now:          func() time.Time { return now }}
	for _, f := range change {
		f(&c)
	}
	if p.con, err = console.New(c); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.con.Register(mux)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	t.Cleanup(p.con.Close)
	return p
}

// add keeps a request in a state; a parked one stopped for the reason.
func (p *place) add(n int, shard string, state gateway.State, reason gateway.Reason) gateway.RequestID {
	p.t.Helper()
	it := journaltest.NewItem(n)
	provider := map[string]string{"zhambyl": "taraz", "north-kazakhstan": "petropavl"}[shard]
	it.Shard, it.Provider, it.Wake = shard, provider, it.Created
	d := gateway.Dossier{Passport: "housing-aid-zhambyl", Version: "106-2016.1", RegisteredAt: journaltest.T0, DueAt: now.Add(time.Duration(n-3) * 24 * time.Hour), Steps: []gateway.StepPlan{
		{Code: "register", DueAt: now.Add(time.Hour), CompletedAt: now, Registration: &gateway.Registration{Number: "77", AcceptedBy: "ОФИЦИАЛОВ О."}}, {Code: "draft", DueAt: now.Add(48 * time.Hour)}}}
	it.Doc = d.Encode()
	if _, err := p.store.Create(p.t.Context(), it); err != nil {
		p.t.Fatal(err)
	}
	p.advance(it.ID, shard, state, reason)
	return it.ID
}

func (p *place) advance(id gateway.RequestID, shard string, state gateway.State, reason gateway.Reason) {
	p.t.Helper()
	leases, err := p.store.Claim(p.t.Context(), journal.ClaimOptions{Shards: []string{shard}, Now: now, Lease: time.Minute, Max: 1})
	if err != nil || len(leases) != 1 || leases[0].Item.ID != id {
		p.t.Fatalf("%v, %v", leases, err)
	}
	st := journal.Step{State: state, Doc: leases[0].Item.Doc, At: now}
	if state == gateway.StateParked {
		st.Events = []gateway.Event{{At: now, Kind: gateway.EventParked, Subject: "enriched", Reason: reason}}
	}
	if err := p.store.Advance(p.t.Context(), leases[0], st); err != nil {
		p.t.Fatal(err)
	}
}

// A visitor is a browser without scripts.
type visitor struct {
	p      *place
	client *http.Client
	last   string // the last page
}

func (p *place) visitor() *visitor {
	jar, _ := cookiejar.New(nil)
	client := *p.server.Client()
	client.Jar = jar
	return &visitor{p: p, client: &client}
}

// as signs in.
func (p *place) as(token string) *visitor {
	p.t.Helper()
	v := p.visitor()
	if status := v.post("/console/session", url.Values{"token": {token}}); status != http.StatusOK {
		p.t.Fatalf("sign-in: %d %s", status, v.last)
	}
	return v
}

func (v *visitor) do(r *http.Request) int {
	v.p.t.Helper()
	r.Header.Set("Accept-Language", "en")
	resp, err := v.client.Do(r)
	if err != nil {
		v.p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.p.t.Fatal(err)
	}
	v.last = string(b)
	if csp := resp.Header.Get("Content-Security-Policy"); resp.StatusCode/100 != 3 && csp == "" || strings.Contains(csp, "unsafe") && !strings.HasSuffix(r.URL.Path, ".svg") {
		v.p.t.Errorf("%s: policy %q", r.URL.Path, csp)
	}
	return resp.StatusCode
}

func (v *visitor) get(path string) int {
	v.p.t.Helper()
	r, _ := http.NewRequest(http.MethodGet, v.p.server.URL+path, nil)
	return v.do(r)
}

func (v *visitor) post(path string, form url.Values, header ...string) int {
	v.p.t.Helper()
	r, _ := http.NewRequest(http.MethodPost, v.p.server.URL+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return v.do(r)
}

// csrf is the token of the last page.
func (v *visitor) csrf() string {
	m := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(v.last)
	if m == nil {
		v.p.t.Fatalf("no token on %s", v.last)
	}
	return m[1]
}

func (p *place) actions() (all []string) {
	p.t.Helper()
	entries, err := p.store.Actions(p.t.Context(), 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, fmt.Sprint(e.Party, " ", e.Action, " ", e.Subject, " ", e.Shard, " ", e.Reason))
	}
	return all
}

func contains(all []string, want string) bool {
	for _, s := range all {
		if strings.TrimSpace(s) == want {
			return true
		}
	}
	return false
}

func TestRolesReachOnlyTheirRegions(t *testing.T) {
	p := newPlace(t)
	zhambyl := p.add(1, "zhambyl", gateway.StateParked, gateway.ProviderRejected)
	north := p.add(2, "north-kazakhstan", gateway.StateDelivered, "")
	tests := []struct {
		name, who, path string
		want            int
		says, hides     string
	}{
		{"a stranger is sent to the sign-in", "", "/console/requests/" + string(north), http.StatusOK, "TEST ONLY", string(north)},
		{"all regions", "all", "/console/", http.StatusOK, "North Kazakhstan", ""},
		{"who sees everything sees the queues", "all", "/console/", http.StatusOK, "shep:bank", ""},
		{"one region", "zhambyl-view", "/console/", http.StatusOK, "Zhambyl", "North Kazakhstan"},
		{"no queues for one region", "zhambyl-view", "/console/", http.StatusOK, "Zhambyl", "shep:bank"},
		{"a request of the region", "zhambyl-view", "/console/requests/" + string(zhambyl), http.StatusOK, string(zhambyl), ""},
		{"a request of another region is not found", "zhambyl-view", "/console/requests/" + string(north), http.StatusNotFound, "door.not_found", "petropavl"},
		{"nor is its picture", "zhambyl-view", "/console/requests/" + string(north) + "/way.svg", http.StatusNotFound, "", "<svg"},
		{"the list of another region", "zhambyl-view", "/console/requests?shard=north-kazakhstan", http.StatusForbidden, "door.operator_forbidden", string(north)[:8]},
		{"the deadlines of another region", "zhambyl-view", "/console/deadlines?shard=north-kazakhstan", http.StatusForbidden, "door.operator_forbidden", ""},
		{"a queue", "zhambyl-view", "/console/parked?shard=shep:bank", http.StatusForbidden, "door.operator_forbidden", ""},
		{"who only looks sees no button", "zhambyl-view", "/console/parked?shard=zhambyl", http.StatusOK, "provider.rejected", "type=\"checkbox\""},
		{"who acts sees one", "all", "/console/parked?shard=zhambyl", http.StatusOK, "type=\"checkbox\"", ""},
		{"an unknown id", "all", "/console/requests/00000000000000000000000000000000", http.StatusNotFound, "door.not_found", ""},
		{"no such page", "all", "/console/900101300007", http.StatusNotFound, "There is no such page", "900101300007"},
		{"no such page for a stranger", "", "/console/nothing/at/all", http.StatusNotFound, "There is no such page", "404 page"},
		{"a form's address, loaded anew", "all", "/console/redrive/preview", http.StatusOK, "Waiting for an operator", "not allowed"},
		{"the sign-in's address, loaded anew", "", "/console/session", http.StatusOK, "TEST ONLY", "not allowed"},
		{"regions have names in Kazakh", "all", "/console/?lang=kk", http.StatusOK, "Солтүстік Қазақстан облысы", "North Kazakhstan"},
		{"regions have names in Russian", "all", "/console/?lang=ru", http.StatusOK, "Северо-Казахстанская область", "North Kazakhstan"},
		{"what is no id", "all", "/console/requests/900101300007", http.StatusNotFound, "door.not_found", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := p.visitor()
			if tt.who != "" {
				v = p.as(tt.who)
			}
			if got := v.get(tt.path); got != tt.want || !strings.Contains(v.last, tt.says) || tt.hides != "" && strings.Contains(v.last, tt.hides) {
				t.Errorf("%d\n%s", got, v.last)
			}
		})
	}
	if all := p.actions(); !contains(all, "zhambyl-view view "+string(north)+" north-kazakhstan door.operator_forbidden") || !contains(all, "zhambyl-view view "+string(zhambyl)+" zhambyl") {
		t.Errorf("the audit holds %q", all)
	}
}

func TestAnOrderComesFromAPageOfTheSession(t *testing.T) {
	p := newPlace(t)
	id := p.add(1, "zhambyl", gateway.StateParked, gateway.ProviderRejected)
	it, err := p.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	order := fmt.Sprintf("%s/%d", id, it.Version)
	other := p.as("all")
	other.get("/console/parked?shard=zhambyl")
	foreign := other.csrf()
	tests := []struct {
		name, who, csrf string
		header          []string
		want            int
		reason          gateway.Reason
	}{
		{"without the page's token", "all", "", nil, http.StatusForbidden, gateway.FormForged},
		{"with another session's token", "all", foreign, nil, http.StatusForbidden, gateway.FormForged},
		{"from another site", "all", "own", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, gateway.FormForged},
		{"from another origin", "all", "own", []string{"Origin", "https://evil.example"}, http.StatusForbidden, gateway.FormForged},
		{"by one who only looks", "zhambyl-view", "own", nil, http.StatusOK, gateway.OperatorForbidden},
		{"by one of another region, who does not learn that it is there", "north-act", "own", nil, http.StatusOK, gateway.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := p.as(tt.who)
			v.get("/console/")
			if tt.csrf == "own" {
				tt.csrf = v.csrf()
			}
			got := v.post("/console/redrive", url.Values{"csrf": {tt.csrf}, "order": {order}}, tt.header...)
			if text := p.reasonText(tt.reason); got != tt.want || !strings.Contains(v.last, text) {
				t.Errorf("%d, without %q in\n%s", got, text, v.last)
			}
		})
	}
	if len(p.redrive) > 0 {
		t.Errorf("set going: %q", p.redrive)
	}
}

func (p *place) reasonText(r gateway.Reason) string {
	texts, err := message.Load(schemas.FS, time.UTC)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.ReplaceAll(texts.Reason(gateway.English, r), "'", "&#39;")
}

func TestParkedRequestsAreSetGoingOnceAfterAPreview(t *testing.T) {
	p := newPlace(t)
	rejected := p.add(1, "zhambyl", gateway.StateParked, gateway.ProviderRejected)
	exhausted := p.add(2, "zhambyl", gateway.StateParked, gateway.BudgetExhausted)
	v := p.as("all")
	v.get("/console/parked?shard=zhambyl&reason=provider.rejected")
	if !strings.Contains(v.last, string(rejected)) || strings.Contains(v.last, string(exhausted)) {
		t.Fatalf("the selection by reason: %s", v.last)
	}
	selection := url.Values{"csrf": {v.csrf()}, "shard": {"zhambyl"}, "reason": {"provider.rejected"}, "all": {"1"}}
	if got := v.post("/console/redrive/preview", selection); got != http.StatusOK || !strings.Contains(v.last, "1 request will go on") || strings.Contains(v.last, string(exhausted)) {
		t.Fatalf("%d %s", got, v.last)
	}
	if len(p.redrive) != 0 {
		t.Fatal("a preview gave an order")
	}
	order := regexp.MustCompile(`name="order" value="([^"]+)"`).FindStringSubmatch(v.last)
	if order == nil || !strings.HasPrefix(order[1], string(rejected)+"/") {
		t.Fatalf("order %q", order)
	}
	give := url.Values{"csrf": {v.csrf()}, "order": {order[1], string(exhausted) + "/1"}}
	if got := v.post("/console/redrive", give); got != http.StatusOK || len(p.redrive) != 1 || p.redrive[0] != order[1] {
		t.Fatalf("%d, %q, %s", got, p.redrive, v.last)
	}
	if !strings.Contains(v.last, p.reasonText(gateway.ReplayConflict)) {
		t.Errorf("an order for another version was not refused: %s", v.last)
	}
	all := p.actions()
	if !contains(all, "all redrive "+string(rejected)+" zhambyl") || !contains(all, "all redrive "+string(exhausted)+" zhambyl door.replay_conflict") || !contains(all, "all preview  zhambyl") {
		t.Errorf("the audit holds %q", all)
	}
	v.get("/console/parked?shard=zhambyl")
	for name, form := range map[string]url.Values{
		"nothing": {}, "no id": {"order": {"x/1"}}, "no version": {"order": {string(rejected)}}, "too many": {"order": strings.Split(strings.Repeat("x/1 ", console.MaxOrder+1), " ")},
	} {
		form.Set("csrf", v.csrf())
		if got := v.post("/console/redrive", form); got != http.StatusForbidden {
			t.Errorf("%s: %d", name, got)
		}
		v.get("/console/parked?shard=zhambyl")
	}
}

// What cannot be written down is not shown and not done.
func TestNothingWithoutTheAudit(t *testing.T) {
	p := newPlace(t)
	id := p.add(1, "zhambyl", gateway.StateParked, gateway.ProviderRejected)
	v := p.as("all")
	v.get("/console/parked?shard=zhambyl")
	csrf := v.csrf()
	p.audit.broken = true
	for _, path := range []string{"/console/", "/console/requests?shard=zhambyl", "/console/requests/" + string(id), "/console/parked", "/console/deadlines", "/console/systems", "/console/revocation", "/console/certificates", "/console/refusals", "/console/actions"} {
		if got := v.get(path); got != http.StatusServiceUnavailable || strings.Contains(v.last, "provider.rejected") || strings.Contains(v.last, "Taraz") {
			t.Errorf("%s: %d", path, got)
		}
	}
	if got := v.post("/console/redrive", url.Values{"csrf": {csrf}, "order": {string(id) + "/3"}}); got != http.StatusServiceUnavailable || len(p.redrive) > 0 {
		t.Errorf("redrive: %d %q", got, p.redrive)
	}
	if got := p.visitor().post("/console/session", url.Values{"token": {"all"}}); got != http.StatusServiceUnavailable {
		t.Errorf("sign-in: %d", got)
	}
}

// The search takes an id and nothing else; what was typed is kept nowhere.
func TestAnIINIsNotSearched(t *testing.T) {
	p := newPlace(t)
	v := p.as("all")
	v.get("/console/")
	if got := v.post("/console/requests/find", url.Values{"csrf": {v.csrf()}, "id": {"900101300007"}}); got != http.StatusNotFound || strings.Contains(v.last, "900101300007") {
		t.Errorf("%d %s", got, v.last)
	}
	if all := strings.Join(p.actions(), "\n"); strings.Contains(all, "900101300007") || !strings.Contains(all, "all find   door.not_found") {
		t.Errorf("the audit holds %s", all)
	}
	id := p.add(1, "zhambyl", gateway.StateDelivered, "")
	v.get("/console/")
	if got := v.post("/console/requests/find", url.Values{"csrf": {v.csrf()}, "id": {" " + strings.ToUpper(string(id)) + " "}}); got != http.StatusOK || !strings.Contains(v.last, string(id)) {
		t.Errorf("%d %s", got, v.last)
	}
	// Neither the documents nor the names of officials are shown.
	for _, hidden := range []string{"&lt;request&gt;", "<request>", "ОФИЦИАЛОВ"} {
		if strings.Contains(v.last, hidden) {
			t.Errorf("the page shows %s", hidden)
		}
	}
	if !strings.Contains(v.last, fmt.Sprintf("%x", sha256.Sum256([]byte("<request>1</request>")))) {
		t.Error("the digest of the request is missing")
	}
}

// R12: what is late and what soon will be, the most urgent first, as the last walk found it.
func TestR12DeadlinesAreCountedInTheBackground(t *testing.T) {
	p := newPlace(t)
	var ids []gateway.RequestID
	for n := range 5 { // due three days ago up to one day ahead
		ids = append(ids, p.add(n, "zhambyl", gateway.StateDelivered, ""))
	}
	v := p.as("zhambyl-view")
	if v.get("/console/deadlines?shard=zhambyl"); !strings.Contains(v.last, "still being counted") {
		t.Errorf("before the first walk: %s", v.last)
	}
	if err := p.con.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	v.get("/console/deadlines?shard=zhambyl")
	if !regexp.MustCompile(`Overdue</dt><dd>4<`).MatchString(v.last) {
		t.Errorf("not four overdue: %s", v.last)
	}
	at := -1
	for _, id := range ids[:4] {
		i := strings.Index(v.last, "/console/requests/"+string(id))
		if i < at || i < 0 {
			t.Errorf("%s stands at %d, after %d", id, i, at)
		}
		at = i
	}
	if strings.Contains(v.last, string(ids[4])) {
		t.Error("what is in time is shown as late")
	}
}

func TestSessionsEnd(t *testing.T) {
	clock := now
	p := newPlace(t, func(c *console.Config) { c.Steady = func() time.Time { return clock } })
	signedIn := func(v *visitor) bool { v.get("/console/"); return strings.Contains(v.last, "North Kazakhstan") }
	v := p.as("all")
	clock = clock.Add(console.SessionIdle - time.Second)
	if !signedIn(v) {
		t.Error("ended before its time")
	}
	clock = clock.Add(console.SessionIdle + time.Second)
	if signedIn(v) {
		t.Error("an idle session goes on")
	}
	v = p.as("all")
	for range int(console.SessionLife/(20*time.Minute)) + 1 {
		clock = clock.Add(20 * time.Minute)
		v.get("/console/")
	}
	if signedIn(v) {
		t.Error("a session goes on for ever")
	}
	v = p.as("all")
	v.get("/console/")
	if v.post("/console/sign-out", url.Values{"csrf": {v.csrf()}}); signedIn(v) {
		t.Error("signed out and still in")
	}
	if got := p.visitor().post("/console/session", url.Values{"token": {"nobody's"}}); got != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", got)
	}
	if got := p.visitor().post("/console/session", url.Values{"token": {""}}); got != http.StatusUnauthorized {
		t.Errorf("an empty token: %d", got)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	for name, change := range map[string]func(*console.Config){
		"nobody may sign in": func(c *console.Config) { c.Operators = nil },
		"no way to sign in":  func(c *console.Config) { c.Operators = []console.Operator{{Name: "x"}} },
		"two of the same name": func(c *console.Config) {
			c.Operators = append(c.Operators[:1:1], console.Operator{Name: "all", Subject: "y"})
		},
		"two of the same token": func(c *console.Config) {
			c.Operators = append(c.Operators[:1:1], console.Operator{Name: "y", TokenSHA256: token("all")})
		},
		"no journal":                  func(c *console.Config) { c.Journal = nil },
		"an identity without address": func(c *console.Config) { c.OIDC = &console.OIDC{ClientID: "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			c := console.Config{Journal: nothing{}, Audit: &breakable{}, Forms: new(passport.Register), Texts: new(message.Catalogue), Shards: []string{"zhambyl"}, Operators: operators,
				Redrive: func(context.Context, gateway.RequestID, int64) error { return nil }, Systems: func() []console.System { return nil },
				Revocation: func() []console.RevocationSource { return nil }, Certificates: func() []console.Certificate { return nil }}
			change(&c)
			if _, err := console.New(c); err == nil {
				t.Error("taken")
			}
		})
	}
}

type nothing struct{}

func (nothing) Get(context.Context, gateway.RequestID) (journal.Item, error) {
	return journal.Item{}, journal.ErrNotFound
}
func (nothing) List(context.Context, journal.Query) ([]journal.Item, string, error) {
	return nil, "", nil
}
func (nothing) Stats(context.Context) (journal.Stats, error) {
	return journal.Stats{}, errors.New("none")
}

// F10: what a page does by itself, its stream and the reload of what the stream tells, does not keep a
// session from falling asleep; what the operator does, does. The stream ends with the session.
func TestAnUnattendedConsoleFallsAsleep(t *testing.T) {
	clock := &atomic.Int64{}
	clock.Store(now.UnixNano())
	p := newPlace(t, func(c *console.Config) { c.Steady = func() time.Time { return time.Unix(0, clock.Load()) } })
	byItself := func(v *visitor) int {
		req, _ := http.NewRequest(http.MethodGet, p.server.URL+"/console/", nil)
		req.Header.Set("X-Live", "1")
		resp, err := v.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	stream := func(v *visitor) (int, chan struct{}) {
		resp, err := v.client.Get(p.server.URL + "/console/live?of=deadlines")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
		}()
		return resp.StatusCode, ended
	}
	v := p.as("all")
	_, open := stream(v)
	for range 3 {
		clock.Add(int64(console.SessionIdle / 4))
		if got := byItself(v); got != http.StatusOK {
			t.Fatalf("before its time: %d", got)
		}
		if got, _ := stream(v); got != http.StatusOK {
			t.Fatalf("the stream before its time: %d", got)
		}
	}
	clock.Add(int64(console.SessionIdle/4) + int64(time.Second))
	if got := byItself(v); got != http.StatusUnauthorized {
		t.Errorf("the page goes on by itself: %d", got)
	}
	if got, _ := stream(v); got != http.StatusNoContent {
		t.Errorf("a new stream: %d", got)
	}
	within(t, "the open stream of a session that fell asleep", open)
}

func within(t *testing.T, what string, ended chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Errorf("%s goes on", what)
	}
}

// F4, F10: open pages hear nothing more when the operator signs out, is taken out, or gets other rights;
// the other operators stay.
func TestAStreamEndsWithItsSession(t *testing.T) {
	changed := slices.Clone(operators)
	changed[0].Act = []string{"zhambyl"}
	tests := []struct {
		name  string
		end   func(p *place, v *visitor)
		ended int
	}{
		{"signed out", func(_ *place, v *visitor) {
			v.get("/console/")
			v.post("/console/sign-out", url.Values{"csrf": {v.csrf()}})
		}, 0},
		{"taken out", func(p *place, _ *visitor) { p.con.SetOperators(operators[1:], nil) }, 1},
		{"with other rights", func(p *place, _ *visitor) { p.con.SetOperators(changed, nil) }, 1},
		{"all are taken out", func(p *place, _ *visitor) { p.con.SetOperators(nil, nil) }, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			v, other := p.as("all"), p.as("zhambyl-view")
			resp, err := v.client.Get(p.server.URL + "/console/live?of=deadlines")
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%v %v", resp, err)
			}
			defer resp.Body.Close()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				io.Copy(io.Discard, resp.Body)
			}()
			tt.end(p, v)
			within(t, "the stream", ended)
			if v.get("/console/"); strings.Contains(v.last, "North Kazakhstan") {
				t.Error("the session goes on")
			}
			other.get("/console/")
			if in := strings.Contains(other.last, "Zhambyl"); in == (tt.ended == 2) {
				t.Errorf("the other operator is in: %v", in)
			}
		})
	}
}

// A link repeats what its page goes by, and nothing else of what an address brought: a page is not made long, or
// to carry what somebody wrote into a link, by who sends an operator there.
func TestLinksRepeatOnlyWhatThePageGoesBy(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	tests := []struct{ name, as, path, want string }{
		{"the sign-in page goes by nothing", "", "/console/sign-in?a=1&shard=zhambyl", "/console/sign-in?lang=ru"},
		{"a long query", "", "/console/sign-in?" + long, "/console/sign-in?lang=ru"},
		{"a long value of a known name", "", "/console/sign-in?cursor=" + long, "/console/sign-in?lang=ru"},
		{"many values", "", "/console/sign-in?" + strings.Repeat("a=1&", 5000), "/console/sign-in?lang=ru"},
		{"a refusal of a sign-in", "", "/console/oidc/callback?code=" + long, "/console/sign-in?lang=ru"},
		{"the language itself", "", "/console/sign-in?lang=en", "/console/sign-in?lang=ru"},
		{"a list's region and state", "all", "/console/requests?shard=zhambyl&state=parked&x=1", "/console/requests?shard=zhambyl&amp;state=parked&amp;lang=ru"},
		{"a region twice", "all", "/console/requests?shard=zhambyl&shard=north-kazakhstan", "/console/requests?shard=zhambyl&amp;lang=ru"},
		{"what the parked are chosen by", "all", "/console/parked?shard=zhambyl&provider=taraz&reason=source.timeout",
			"/console/parked?provider=taraz&amp;reason=source.timeout&amp;shard=zhambyl&amp;lang=ru"},
		{"a region with a value that no page has", "all", "/console/requests?shard=zhambyl&state=" + long, "/console/requests?lang=ru"},
		{"an id without an end", "all", "/console/requests/" + long, "/console/?lang=ru"},
		{"a region that the operator does not see", "zhambyl-view", "/console/requests?shard=almaty&x=1", "/console/requests?shard=almaty&amp;lang=ru"},
		{"the deadlines of a region", "all", "/console/deadlines?shard=zhambyl&state=parked", "/console/deadlines?shard=zhambyl&amp;lang=ru"},
	}
	p := newPlace(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := p.visitor()
			if tt.as != "" {
				v = p.as(tt.as)
			}
			v.get(tt.path)
			m := regexp.MustCompile(`href="([^"]*)" lang="ru"`).FindStringSubmatch(v.last)
			if m == nil || m[1] != tt.want {
				t.Errorf("the link is %.200q, want %q", m, tt.want)
			}
			if n := len(v.last); n > 30_000 {
				t.Errorf("the page has %d bytes", n)
			}
		})
	}
}
