package main

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
)

// A credentialDoor is one at which something is shown to prove who calls.
type credentialDoor struct {
	name, metric string
	// show shows a right or a wrong credential from an address. The answer says whether it was taken, or
	// "wrong", or "late" and after how many seconds to come again.
	show func(t *testing.T, address string, right bool) (answer string, retry int)
	// signed credentials cannot be guessed: a right one is taken during a delay as well. At an address of
	// strangers nothing is right.
	signed, strangers bool
}

// answerOf reads an answer by its status; right is that of one whose credential was taken.
func answerOf(t *testing.T, resp *http.Response, right int) (string, int) {
	t.Helper()
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body) //nolint:errcheck // the status tells
	retry, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	switch resp.StatusCode {
	case right:
		return "taken", 0
	case http.StatusUnauthorized:
		return "wrong", 0
	case http.StatusTooManyRequests:
		return "late", retry
	}
	return resp.Status, retry
}

// credentialDoors are all doors of a lab that compare or verify a credential.
func (l *lab) credentialDoors(t *testing.T) []credentialDoor {
	t.Helper()
	do := func(t *testing.T, address, method, url string, body []byte, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		client := clientAt(address)
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		defer client.CloseIdleConnections()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	bearer := func(token string, right bool) string {
		if !right {
			token = "a-guess-of-a-token"
		}
		return "Bearer " + token
	}
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	callback, err := os.ReadFile(filepath.Join(l.dir, c.Providers[0].CallbackTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	citizen := func(right bool) string {
		token, err := l.citizenToken(l.pki.Must("citizen-01").IIN, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !right {
			token = token[:strings.LastIndexByte(token, '.')+1] + strings.Repeat("A", 86)
		}
		return token
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	return []credentialDoor{
		{name: "portals, status", metric: "rest", show: func(t *testing.T, address string, right bool) (string, int) {
			return answerOf(t, do(t, address, http.MethodGet, l.base+"/v1/requests/"+strings.Repeat("0", 32), nil, "Authorization", bearer(l.token, right)), http.StatusNotFound)
		}},
		{name: "portals, requests", metric: "rest", show: func(t *testing.T, address string, right bool) (string, int) {
			return answerOf(t, do(t, address, http.MethodPost, l.base+"/v1/requests", []byte("<a/>"), "Content-Type", "application/xml", "Authorization", bearer(l.token, right)),
				http.StatusUnprocessableEntity)
		}},
		{name: "providers", metric: "provider", show: func(t *testing.T, address string, right bool) (string, int) {
			return answerOf(t, do(t, address, http.MethodPost, l.base+"/v1/providers/"+c.Providers[0].ID+"/steps", []byte("<a/>"), "Content-Type", "application/xml",
				"Authorization", bearer(strings.TrimSpace(string(callback)), right)), http.StatusUnprocessableEntity)
		}},
		{name: "SHEP", metric: "shep", show: func(t *testing.T, address string, right bool) (string, int) {
			m := l.message(text("<a/>"))
			if !right {
				m.Password = "a guess of a password"
			}
			resp := do(t, address, http.MethodPost, l.base+"/shep/sync", l.envelope(t, "", m), "Content-Type", "text/xml")
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := shep.Open(body, shep.OpenOptions{MaxBytes: 1 << 20})
			if err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			f, ok := opened.Payload.(*shep.Fault)
			if !ok {
				return "taken", 0
			}
			reason, _, _ := strings.Cut(f.Info.Data, ":")
			retry, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
			switch gateway.Reason(reason) {
			case gateway.PortalUnauthenticated:
				return "wrong", retry
			case gateway.GuessLimit:
				if f.Code != shep.CodeNoService || resp.StatusCode != http.StatusOK {
					t.Errorf("the fault is %s under %d", f.Code, resp.StatusCode)
				}
				return "late", retry
			}
			return "taken", 0
		}},
		{name: "operators, by token", metric: "console", show: func(t *testing.T, address string, right bool) (string, int) {
			token := "a-guess-of-a-token"
			if right {
				token = l.operator
			}
			return answerOf(t, do(t, address, http.MethodPost, l.console+"session", []byte(url.Values{"token": {token}}.Encode()), form...), http.StatusSeeOther)
		}},
		{name: "operators, back from the identity provider", metric: "console", strangers: true, show: func(t *testing.T, address string, _ bool) (string, int) {
			return answerOf(t, do(t, address, http.MethodGet, l.console+"oidc/callback?state=a&code=b", nil), http.StatusSeeOther)
		}},
		{name: "citizens, by a portal's program", metric: "cabinet", signed: true, show: func(t *testing.T, address string, right bool) (string, int) {
			return answerOf(t, do(t, address, http.MethodGet, l.base+"/cabinet/api/requests", nil, "Authorization", "Bearer "+citizen(right)), http.StatusOK)
		}},
		{name: "citizens, by a form", metric: "cabinet", signed: true, show: func(t *testing.T, address string, right bool) (string, int) {
			return answerOf(t, do(t, address, http.MethodPost, l.base+"/cabinet/session", []byte(url.Values{"token": {citizen(right)}}.Encode()), form...), http.StatusSeeOther)
		}},
	}
}

// guessLab is a lab whose guesses wait by a clock that the test moves.
func guessLab(t *testing.T) (l *lab, pass func(time.Duration)) {
	t.Helper()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	var ahead atomic.Int64
	begun := time.Now()
	l.guessNow = func() time.Time { return begun.Add(time.Duration(ahead.Load())) }
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	return l, func(d time.Duration) { ahead.Add(int64(d)) }
}

// F15: at every door a few mistakes are free, then guesses are refused unread for a growing time. Who was
// right before from the same address comes in during it, and so does what nobody can guess.
func TestGuessesWaitAtEveryDoor(t *testing.T) {
	l, pass := guessLab(t)
	for i, door := range l.credentialDoors(t) {
		t.Run(door.name, func(t *testing.T) {
			mine, other := "127.0.7."+strconv.Itoa(10+i), "127.0.7."+strconv.Itoa(110+i)
			wrongs := `egov_gateway_credentials_refused_total{door="` + door.metric + `",reason="`
			before := max(0, l.sample(t, wrongs+string(gateway.GuessLimit)+`"}`))
			lates := 0.
			show := func(what, address string, right bool, want string, retry int) {
				t.Helper()
				got, after := door.show(t, address, right)
				if got != want || after != retry {
					t.Errorf("%s: %s, again after %d s; want %s, after %d s", what, got, after, want, retry)
				}
				if got == "late" {
					lates++
				}
			}
			guess := func(n int) {
				t.Helper()
				for range n {
					show("a free mistake", mine, false, "wrong", 0)
				}
			}
			guess(5)
			show("one more", mine, false, "late", 1)
			show("from elsewhere", other, false, "wrong", 0)
			pass(time.Second)
			show("a second later", mine, false, "wrong", 0)
			show("and the delay has grown", mine, false, "late", 2)
			switch {
			case door.strangers:
			case door.signed:
				show("a right one, signed", mine, true, "taken", 0)
			default:
				show("a right one that nobody knows", mine, true, "late", 2)
				pass(2 * time.Second)
				show("a right one, in time", mine, true, "taken", 0)
				guess(5)
				show("a right one that is known", mine, true, "taken", 0)
				show("a guess beside it", mine, false, "late", 1)
			}
			if got := l.sample(t, wrongs+string(gateway.GuessLimit)+`"}`); got != before+lates {
				t.Errorf("%v were counted as late, want %v", got, before+lates)
			}
		})
	}
	if got := l.sample(t, "egov_gateway_guessing_addresses"); got < 12 {
		t.Errorf("%v addresses guess", got)
	}
}

// An address that is listed for a party lets its own credential through whoever guesses from there, and
// nobody else's.
func TestListedAddressesAreNotShutOut(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	begun := time.Now()
	l.guessNow = func() time.Time { return begun }
	const shared = "127.0.7.1"
	l.mustReconfigure(t, func(c *Config) {
		c.Portals[0].Addresses = []netip.Prefix{netip.MustParsePrefix(shared + "/32")}
		for i := range c.SHEP.Participants {
			if c.SHEP.Participants[i].SenderID == "EGOV" {
				c.SHEP.Participants[i].Addresses = c.Portals[0].Addresses
			}
		}
	})
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	doors := map[string]credentialDoor{}
	for _, d := range l.credentialDoors(t) {
		doors[d.name] = d
	}
	for range 5 {
		if got, _ := doors["providers"].show(t, shared, false); got != "wrong" {
			t.Fatal(got)
		}
	}
	for name, want := range map[string]string{"portals, status": "taken", "SHEP": "taken", "providers": "late", "operators, by token": "late"} {
		if got, _ := doors[name].show(t, shared, true); got != want {
			t.Errorf("%s, right: %s, want %s", name, got, want)
		}
		if got, _ := doors[name].show(t, shared, false); got != "late" {
			t.Errorf("%s, wrong: %s", name, got)
		}
	}
}

// Behind a balancer of TCP the client whom it announces is counted and logged, and not the balancer: neither
// do all wait for one who guesses, nor has anybody another address by what he writes into Forwarded.
func TestProxyProtocolAtTheDoors(t *testing.T) {
	var logs logBuffer
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	begun := time.Now()
	l.guessNow = func() time.Time { return begun }
	const balancer = "127.0.0.9"
	l.mustReconfigure(t, func(c *Config) {
		c.Balancers, c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix(balancer + "/32")}, true
	})
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	ask := func(client, forwarded, token string) int {
		t.Helper()
		c := begin(t, l, balancer, "PROXY TCP4 "+client+" 127.0.0.1 4711 443\r\nGET /v1/requests/"+strings.Repeat("0", 32)+
			" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: "+forwarded+"\r\nAuthorization: Bearer "+token+"\r\n\r\n")
		c.SetDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // the read tells
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for i := range 5 {
		if got := ask("203.0.113.7", "198.51.100."+strconv.Itoa(i), "a-guess-of-a-token"); got != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d", i, got)
		}
	}
	for _, tt := range []struct {
		name, client, token string
		want                int
	}{
		{"the client who guessed", "203.0.113.7", "a-guess-of-a-token", http.StatusTooManyRequests},
		{"and the right token from there, which nobody knows", "203.0.113.7", l.token, http.StatusTooManyRequests},
		{"another client of the same balancer", "203.0.113.8", l.token, http.StatusNotFound},
	} {
		if got := ask(tt.client, "198.51.100.9", tt.token); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if !strings.Contains(logs.String(), `"remote":"203.0.113.7:4711"`) || strings.Contains(logs.String(), `"remote":"198.51.100.`) {
		t.Error("the log does not name the announced client")
	}
	if status, _, _ := get(t, l.admin+"/readyz"); status != http.StatusOK && status != http.StatusServiceUnavailable {
		t.Errorf("health: %d", status)
	}
	c := begin(t, l, balancer, "PROXY UNKNOWN\r\nGET /v1/requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	c.SetDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // the read tells
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("the balancer's own connection: %v", err)
	}
}
