package cabinet_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/schemas"
)

var (
	now    = journaltest.T0.Add(time.Hour)
	secret = []byte(strings.Repeat("s", 32))
)

// A place is a cabinet over a real journal, with a citizen signed in.
type place struct {
	t      *testing.T
	store  *sqlitejournal.Store
	cab    *cabinet.Cabinet
	server *httptest.Server
	key    ed25519.PrivateKey
}

func newPlace(t *testing.T) *place {
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
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, store: s, key: key}
	p.cab, err = cabinet.New(cabinet.Config{Portals: cabinet.Keys{"egov.kz": {pub}}, Journal: s, Forms: forms, Texts: texts, Secret: secret, Now: func() time.Time { return now },
		Problem: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, string(gateway.ReasonOf(err)), http.StatusTeapot)
		}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	p.cab.Register(mux)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	t.Cleanup(p.cab.Close)
	return p
}

// as is a browser in which the citizen is signed in.
func (p *place) as(iin string) *http.Client {
	p.t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, cabinet.Claims{IIN: iin, RegisteredClaims: jwt.RegisteredClaims{Issuer: "egov.kz", Audience: jwt.ClaimStrings{cabinet.Audience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(10 * time.Minute))}}).SignedString(p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar}
	resp, err := c.PostForm(p.server.URL+"/cabinet/session", url.Values{"token": {token}})
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return c
}

func (p *place) get(c *http.Client, path string) (int, string) {
	p.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, p.server.URL+path, nil)
	req.Header.Set("Accept-Language", "en")
	resp, err := c.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const citizen, stranger = "900101300007", "900101300811"

// decided keeps a request with its result.
func (p *place) decided() gateway.RequestID {
	p.t.Helper()
	iin, err := gateway.ParseIIN(citizen)
	if err != nil {
		p.t.Fatal(err)
	}
	it := journaltest.NewItem(1)
	it.Citizen = journal.KeyOf(secret, iin)
	verdict := gateway.Verdict{Status: gateway.Verified, At: now, ContentSHA256: "00ff", Checks: []gateway.Check{{Name: gateway.CheckSignature, Status: gateway.Verified}}, Signers: []gateway.Signer{{Serial: "77aa", Algorithm: "rsa"}}}
	d := gateway.Dossier{Passport: "housing-aid-zhambyl", Version: "106-2016.1", RegisteredAt: journaltest.T0, DueAt: now.Add(72 * time.Hour), Steps: []gateway.StepPlan{{Code: "register", DueAt: now, CompletedAt: now}},
		Records: []gateway.FactNote{{Kind: gateway.RecordIncome, Person: "member-1", Source: "income", Status: gateway.FactFound, ObservedAt: journaltest.T0.Add(time.Minute)},
			{Kind: gateway.RecordIdentity, Person: "applicant", Source: "gbdfl", Status: gateway.FactFound, ObservedAt: journaltest.T0}},
		Result: &gateway.Result{Kind: gateway.ResultAssignment, Number: "N-1", DecidedAt: now, ReceivedAt: now, Amount: "9894.40", Provider: gateway.Texts{gateway.Kazakh: "Тараз"}, Verdict: verdict}}
	it.Doc = d.Encode()
	it.Bodies = map[string][]byte{gateway.BodyReceipt: []byte("<receipt/>")}
	if _, err := p.store.Create(p.t.Context(), it); err != nil {
		p.t.Fatal(err)
	}
	p.advance(it.ID, func(st *journal.Step) {
		st.State, st.Bodies = gateway.StateClosed, map[string][]byte{gateway.BodyResult: []byte("<result/>")}
		st.Events = []gateway.Event{{At: now, Kind: gateway.EventDelivered, Subject: "taraz"}, {At: now, Kind: gateway.EventResult, Subject: "assignment"}}
	})
	return it.ID
}

func (p *place) advance(id gateway.RequestID, change func(*journal.Step)) {
	p.t.Helper()
	leases, err := p.store.Claim(p.t.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: now, Lease: time.Minute, Max: 1})
	if err != nil || len(leases) != 1 || leases[0].Item.ID != id {
		p.t.Fatalf("%v, %v", leases, err)
	}
	st := journal.Step{State: leases[0].Item.State, Doc: leases[0].Item.Doc, Wake: now, At: now}
	change(&st)
	if err := p.store.Advance(p.t.Context(), leases[0], st); err != nil {
		p.t.Fatal(err)
	}
}

func mustSay(t *testing.T, page string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// R7, R10, R14: the citizen sees the result with the verdict, and who looked at which data, when and why.
func TestR7TheCitizenSeesResultAndWhoLooked(t *testing.T) {
	p := newPlace(t)
	id := p.decided()
	c := p.as(citizen)
	status, page := p.get(c, "/cabinet/requests/"+string(id))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, page)
	}
	mustSay(t, page, "Notice of assignment", "9,894.40", "Verified", "/cabinet/api/requests/"+string(id)+"/result", "Who looked at my data and why",
		"State database of natural persons", "about family member 1", "To decide on your request", "To examine your request")
	if strings.Index(page, "State database of natural persons") > strings.Index(page, "Register of state revenue bodies") {
		t.Error("who looked is not in the order of time")
	}
	status, page = p.get(c, "/cabinet/requests/"+string(id)+"/result")
	if status != http.StatusOK {
		t.Fatalf("to print: %d", status)
	}
	mustSay(t, page, "N-1", "77aa", "00ff", "Verified")
	for _, path := range []string{"", "/result", "/way.svg", "/live"} {
		if status, body := p.get(p.as(stranger), "/cabinet/requests/"+string(id)+path); status == http.StatusOK || strings.Contains(body, "N-1") {
			t.Errorf("somebody else sees %s: %d %s", path, status, body)
		}
	}
}

// R10, R21: a provisional date is called so in the list, at the request and at the step that rests on
// it, in the citizen's language; the notice says why. No other date is.
func TestAProvisionalDateIsCalledSo(t *testing.T) {
	p := newPlace(t)
	iin, err := gateway.ParseIIN(citizen)
	if err != nil {
		t.Fatal(err)
	}
	var ids []gateway.RequestID
	for n, provisional := range []bool{true, false} {
		it := journaltest.NewItem(n + 1)
		it.Citizen = journal.KeyOf(secret, iin)
		due := now.Add(72 * time.Hour)
		d := gateway.Dossier{
			Passport: "housing-aid-zhambyl", Version: "106-2016.1", RegisteredAt: now, DueAt: due, Provisional: provisional,
			Steps: []gateway.StepPlan{{Code: "register", DueAt: now.Add(time.Hour)}, {Code: "draft", DueAt: due, Provisional: provisional}},
		}
		it.Doc = d.Encode()
		if _, err := p.store.Create(t.Context(), it); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	c := p.as(citizen)
	for lang, words := range map[string]struct{ mark, why string }{
		"kk": {"алдын ала есептелген", "демалыс күндерін ауыстыру"},
		"ru": {"предварительно", "о переносе выходных дней"},
		"en": {"provisional", "moving days off"},
	} {
		for _, tt := range []struct {
			path       string
			marks, why int
		}{
			{"/cabinet/", 1, 0},
			{"/cabinet/requests/" + string(ids[0]), 2, 1},
			{"/cabinet/requests/" + string(ids[1]), 0, 0},
		} {
			status, page := p.get(c, tt.path+"?lang="+lang)
			marks := strings.Count(page, ">"+words.mark+"<") + strings.Count(page, "("+words.mark+")")
			if status != http.StatusOK || marks != tt.marks || strings.Count(page, words.why) != tt.why {
				t.Errorf("%s in %s: %d, %d marks:\n%s", tt.path, lang, status, marks, page)
			}
			if lang != "en" && strings.Contains(strings.ToLower(page), "provisional") {
				t.Errorf("%s in %s speaks English:\n%s", tt.path, lang, page)
			}
		}
	}
}

// When the time to keep the documents has passed, the page says so, offers nothing that is gone,
// and shows the digests that remain.
func TestAnErasedRequestIsShownAsSuch(t *testing.T) {
	p := newPlace(t)
	id := p.decided()
	p.advance(id, func(st *journal.Step) {
		d, err := gateway.ReadDossier(st.Doc)
		if err != nil {
			t.Fatal(err)
		}
		d.Forget()
		st.State, st.Doc, st.Erase = gateway.StateErased, d.Encode(), []string{gateway.BodyReceipt, gateway.BodyResult}
		st.Events = []gateway.Event{{At: now, Kind: gateway.EventErased}}
	})
	c := p.as(citizen)
	status, page := p.get(c, "/cabinet/requests/"+string(id))
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, page)
	}
	mustSay(t, page, "they were erased", "Notice of assignment", "Verified", fmt.Sprintf("%x", sha256.Sum256([]byte("<result/>"))), fmt.Sprintf("%x", sha256.Sum256([]byte("<receipt/>"))))
	for _, gone := range []string{"9,894", "/result\"", "/receipt\""} {
		if strings.Contains(page, gone) {
			t.Errorf("the page still has %s", gone)
		}
	}
	if status, page := p.get(c, "/cabinet/requests/"+string(id)+"/result"); status != http.StatusGone {
		t.Errorf("to print: %d %s", status, page)
	}
	if status, page := p.get(c, "/cabinet/"); status != http.StatusOK || !strings.Contains(page, string(id)[:8]) {
		t.Errorf("the list: %d %s", status, page)
	}
}

// The open page of a request hears of news, and of nothing else; the stream ends with the service.
func TestTheOpenPageHearsOfNews(t *testing.T) {
	p := newPlace(t)
	id := p.decided()
	resp, err := p.as(citizen).Get(p.server.URL + "/cabinet/requests/" + string(id) + "/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("%s", got)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if s.Text() != "" && !strings.HasPrefix(s.Text(), "retry:") {
				lines <- s.Text()
			}
		}
	}()
	select {
	case l := <-lines:
		t.Fatalf("without news: %q", l)
	case <-time.After(1500 * time.Millisecond):
	}
	p.advance(id, func(st *journal.Step) { st.Events = []gateway.Event{{At: now, Kind: gateway.EventNotified}} })
	select {
	case l := <-lines:
		if l != "event: changed" {
			t.Errorf("heard %q", l)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the news never came")
	}
	p.cab.Close()
	for end := time.After(2 * time.Minute); ; {
		select {
		case l, more := <-lines:
			if !more {
				return
			}
			if l != "data: {}" {
				t.Errorf("heard %q", l)
			}
		case <-end:
			t.Fatal("the stream outlives the service")
		}
	}
}

// A citizen reads what happened, in words and on a page, wherever a link or a key press led.
func TestEveryAddressIsAPage(t *testing.T) {
	p := newPlace(t)
	in, out := p.as(citizen), &http.Client{}
	wrong := func(req *http.Request) {
		req.Method, req.Body = http.MethodPost, io.NopCloser(strings.NewReader("token=a.b.c"))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	tests := []struct {
		name, path, language string
		who                  *http.Client
		change               func(*http.Request)
		status               int
		says, hides          string
	}{
		{"nobody has signed in", "/cabinet/", "en", out, nil, 401, "You are not signed in", "refused"},
		{"nobody has signed in, in Russian", "/cabinet/", "ru", out, nil, 401, "сеанс завершён", "нарушения"},
		{"nobody has signed in, in Kazakh", "/cabinet/", "kk", out, nil, 401, "сеанс аяқталды", "қате"},
		{"the portal's token is wrong", "/cabinet/session", "ru", out, wrong, 401, "имеются нарушения", "сеанс завершён"},
		{"no such page", "/cabinet/nothing", "en", out, nil, 404, "There is no such page", "404 page"},
		{"no such page, in Russian, signed in", "/cabinet/nothing/at/all", "ru", in, nil, 404, `href="/cabinet/">Вернуться`, "404 page"},
		{"no such page, in Kazakh", "/cabinet/nothing", "kk", out, nil, 404, "Мұндай бет жоқ", "404 page"},
		{"the address of the form, loaded anew", "/cabinet/session", "ru", out, nil, 401, "сеанс завершён", "Method Not Allowed"},
		{"the address of the sign-out, loaded anew", "/cabinet/sign-out", "en", in, nil, 200, "My requests", "Method Not Allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, p.server.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Language", tt.language)
			if tt.change != nil {
				tt.change(req)
			}
			resp, err := tt.who.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			page, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status || !strings.Contains(string(page), "<h1>") || !strings.Contains(string(page), tt.says) ||
				strings.Contains(string(page), tt.hides) {
				t.Errorf("%d %s", resp.StatusCode, page)
			}
		})
	}
}

// A full cabinet is a page to people and a problem to programs, and says when to come again.
func TestWhoFindsTheCabinetFullIsToldSo(t *testing.T) {
	p := newPlace(t)
	tests := []struct {
		name, path, language string
		status               int
		again, says          string
	}{
		{"a page, in Kazakh", "/cabinet/", "kk", 503, "5", "Кейінірек қайталаңыз"},
		{"a page, in Russian", "/cabinet/requests/1", "ru", 503, "5", "Повторите позже"},
		{"a program", "/cabinet/api/requests", "ru", http.StatusTeapot, "", "door.overload"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.Header.Set("Accept-Language", tt.language)
			p.cab.Refuse(w, r, gateway.Errorf(gateway.Overload, "full"))
			page := strings.Contains(w.Body.String(), "<h1>")
			if w.Code != tt.status || w.Header().Get("Retry-After") != tt.again || !strings.Contains(w.Body.String(), tt.says) || page != (tt.status == 503) {
				t.Errorf("%d, again after %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
			}
		})
	}
}

// Somebody types a number into the address: the page that refuses does not say it again.
func TestARefusalDoesNotRepeatWhatWasTyped(t *testing.T) {
	p := newPlace(t)
	const typed = "900101300007"
	for name, c := range map[string]*http.Client{"signed in": p.as(typed), "not signed in": {}} {
		if status, page := p.get(c, "/cabinet/requests/"+typed); status < 400 || status >= 500 || strings.Contains(page, typed) {
			t.Errorf("%s: %d %s", name, status, page)
		}
	}
}
