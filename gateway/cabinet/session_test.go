package cabinet_test

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/schemas"
)

// A doorstep is a cabinet whose clock moves, with a portal.
type doorstep struct {
	t   *testing.T
	cab *cabinet.Cabinet
	mux *http.ServeMux
	key ed25519.PrivateKey

	mu sync.Mutex
	at time.Time // guarded by mu
}

func (d *doorstep) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *doorstep) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = d.at.Add(by)
}

func newDoorstep(t *testing.T, change func(*cabinet.Config)) *doorstep {
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
	d := &doorstep{t: t, at: now, mux: http.NewServeMux()}
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	d.key = key
	c := cabinet.Config{Portals: cabinet.Keys{"egov.kz": {pub}}, Journal: s, Forms: forms, Texts: texts, Secret: secret, Now: d.now,
		PortalURL: "https://egov.kz/sign-in",
		Problem: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, string(gateway.ReasonOf(err)), http.StatusTeapot)
		}}
	if change != nil {
		change(&c)
	}
	if d.cab, err = cabinet.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.cab.Close)
	d.cab.Register(d.mux)
	return d
}

func (d *doorstep) token(id string) string {
	d.t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, cabinet.Claims{IIN: citizen,
		RegisteredClaims: jwt.RegisteredClaims{ID: id, Issuer: "egov.kz",
			Audience: jwt.ClaimStrings{cabinet.Audience}, IssuedAt: jwt.NewNumericDate(d.now()),
			ExpiresAt: jwt.NewNumericDate(d.now().Add(10 * time.Minute))}}).SignedString(d.key)
	if err != nil {
		d.t.Fatal(err)
	}
	return token
}

// send posts a form, as a browser on the page of a site would.
func (d *doorstep) send(path string, form url.Values, cookie *http.Cookie, header ...string) *http.Response {
	d.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://gateway.example.kz"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return d.answer(r, cookie, header...)
}

func (d *doorstep) answer(r *http.Request, cookie *http.Cookie, header ...string) *http.Response {
	if cookie != nil {
		r.AddCookie(cookie)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.mux.ServeHTTP(w, r)
	return w.Result()
}

func (d *doorstep) enter(token string, header ...string) (int, *http.Cookie) {
	d.t.Helper()
	resp := d.send("/cabinet/session", url.Values{"token": {token}}, nil, header...)
	for _, c := range resp.Cookies() {
		if strings.HasSuffix(c.Name, "cabinet") && c.Value != "" {
			return resp.StatusCode, c
		}
	}
	return resp.StatusCode, nil
}

func (d *doorstep) page(cookie *http.Cookie) int {
	return d.answer(httptest.NewRequest(http.MethodGet, "https://gateway.example.kz/cabinet/", nil), cookie).StatusCode
}

func (d *doorstep) api(token string) int {
	return d.answer(httptest.NewRequest(http.MethodGet, "https://gateway.example.kz/cabinet/api/requests", nil), nil, "Authorization",
		"Bearer "+token).StatusCode
}

// F11: a portal's token enters once. The browser keeps nothing of it, and after sign-out what it kept
// opens nothing, and the token neither.
func TestATokenEntersOnce(t *testing.T) {
	d := newDoorstep(t, nil)
	token := d.token("1")
	if got := d.api(token); got != http.StatusOK {
		t.Fatalf("the portal's own program: %d", got)
	}
	status, cookie := d.enter(token)
	if status != http.StatusSeeOther || cookie == nil || cookie.Value == token || strings.Contains(cookie.Value, ".") {
		t.Fatalf("%d %v", status, cookie)
	}
	if got := d.page(cookie); got != http.StatusOK {
		t.Errorf("the cabinet: %d", got)
	}
	if status, again := d.enter(token); status != http.StatusUnauthorized || again != nil {
		t.Errorf("the token a second time: %d %v", status, again)
	}
	if got := d.api(token); got != http.StatusTeapot {
		t.Errorf("the exchanged token at the API: %d", got)
	}
	// The same signature written in another way is the same token.
	head, sig := token[:strings.LastIndexByte(token, '.')+1], token[strings.LastIndexByte(token, '.')+1:]
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if status, again := d.enter(head + sig[:len(sig)-1] + string(last)); status == http.StatusSeeOther || again != nil {
			t.Fatalf("the token ending in %c: %d", last, status)
		}
	}
	if resp := d.send("/cabinet/sign-out", nil, cookie); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("sign-out: %d", resp.StatusCode)
	}
	if got := d.page(cookie); got != http.StatusUnauthorized {
		t.Errorf("after sign-out: %d", got)
	}
	if status, _ := d.enter(token); status != http.StatusUnauthorized {
		t.Errorf("the token after sign-out: %d", status)
	}
	if status, _ := d.enter(d.token("2")); status != http.StatusSeeOther {
		t.Errorf("another token: %d", status)
	}
}

// F11: a session ends when the token would have, and is forgotten with it.
func TestASessionEndsWithTheTokensTime(t *testing.T) {
	d := newDoorstep(t, nil)
	_, cookie := d.enter(d.token("1"))
	d.pass(10*time.Minute - time.Second)
	if got := d.page(cookie); got != http.StatusOK {
		t.Errorf("before its time: %d", got)
	}
	d.pass(2 * time.Second)
	if got := d.page(cookie); got != http.StatusUnauthorized {
		t.Errorf("after its time: %d", got)
	}
}

// F11: nobody but the portal's pages, and the cabinet's own, signs a citizen in or out.
func TestOnlyThePortalsPagesSignIn(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		in     int
		out    int
	}{
		{"the portal's page", []string{"Origin", "https://egov.kz", "Sec-Fetch-Site", "cross-site"}, 303, 303},
		{"the portal's page, in a browser that does not say where it fetches", []string{"Origin", "https://egov.kz"}, 303, 303},
		{"a further portal's page", []string{"Origin", "https://portal.example.kz", "Sec-Fetch-Site", "cross-site"}, 303, 303},
		{"the cabinet's own page, which names no origin", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, 303, 303},
		{"any other page", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, 403},
		{"another page of the portal's domain", []string{"Origin", "https://blog.egov.kz", "Sec-Fetch-Site", "same-site"}, 403, 403},
		{"the portal's page without TLS", []string{"Origin", "http://egov.kz", "Sec-Fetch-Site", "cross-site"}, 403, 403},
		{"a page that hides its origin", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403, 403},
		{"a page that hides its origin, in an old browser", []string{"Origin", "null"}, 403, 403},
		{"a program, which is no browser", nil, 303, 303},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoorstep(t, func(c *cabinet.Config) { c.Origins = []string{"https://portal.example.kz"} })
			if status, _ := d.enter(d.token(fmt.Sprint(i)), tt.header...); status != tt.in {
				t.Errorf("sign-in: %d, want %d", status, tt.in)
			}
			_, cookie := d.enter(d.token(fmt.Sprint(i, "again")))
			if resp := d.send("/cabinet/sign-out", nil, cookie, tt.header...); resp.StatusCode != tt.out {
				t.Errorf("sign-out: %d, want %d", resp.StatusCode, tt.out)
			}
			if got := d.page(cookie); (got == http.StatusOK) != (tt.out == 403) {
				t.Errorf("the cabinet afterwards: %d", got)
			}
		})
	}
}

// F11: over https the cookie is one that no other site of the domain can set.
func TestTheCookieBelongsToTheHost(t *testing.T) {
	for secure, want := range map[bool]string{true: "__Host-cabinet", false: "cabinet"} {
		d := newDoorstep(t, func(c *cabinet.Config) { c.SecureCookie = secure })
		_, cookie := d.enter(d.token("1"))
		if cookie == nil || cookie.Name != want || cookie.Secure != secure || !cookie.HttpOnly || cookie.Domain != "" || secure &&
			cookie.Path != "/" ||
			cookie.SameSite != http.SameSiteLaxMode {
			t.Errorf("over https %v: %v", secure, cookie)
			continue
		}
		if got := d.page(cookie); got != http.StatusOK {
			t.Errorf("over https %v: %d", secure, got)
		}
	}
}

// F4: a session ends when the key is taken back by which the portal vouched for the citizen; one that is
// still good for a while keeps it.
func TestASessionEndsWithThePortalsKey(t *testing.T) {
	d := newDoorstep(t, nil)
	_, old := d.enter(d.token("1"))
	was := d.key.Public().(ed25519.PublicKey)
	next, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if ended := d.cab.SetPortals(cabinet.Keys{"egov.kz": {next, was}}); ended != 0 {
		t.Errorf("%d sessions ended while both keys are good", ended)
	}
	if got := d.page(old); got != http.StatusOK {
		t.Errorf("while both keys are good: %d", got)
	}
	d.key = key
	_, now := d.enter(d.token("2"))
	if ended := d.cab.SetPortals(cabinet.Keys{"egov.kz": {next}}); ended != 1 {
		t.Errorf("%d sessions are said to end with the key, not the one of it", ended)
	}
	if was, is := d.page(old), d.page(now); was != http.StatusUnauthorized || is != http.StatusOK {
		t.Errorf("after the old key was taken back: %d by the old one, %d by the new one", was, is)
	}
}

// F11: an open page hears nothing more after sign-out.
func TestTheOpenPageEndsWithTheSession(t *testing.T) {
	p := newPlace(t)
	id := p.decided()
	c := p.as(citizen)
	resp, err := c.Get(p.server.URL + "/cabinet/requests/" + string(id) + "/live")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	defer resp.Body.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, resp.Body)
	}()
	out, err := c.PostForm(p.server.URL+"/cabinet/sign-out", nil)
	if err != nil {
		t.Fatal(err)
	}
	out.Body.Close()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on")
	}
}
