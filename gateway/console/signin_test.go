package console_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/console"
)

// An issuer is an identity provider in the test: discovery, keys, authorisation and token.
type issuer struct {
	t      *testing.T
	server *httptest.Server
	key    *rsa.PrivateKey
	// change spoils the claims; sign replaces the key.
	change func(map[string]any)
	sign   *rsa.PrivateKey
	crit   []string      // of the header; nil leaves it out
	hold   chan struct{} // codes are looked at when it is closed; nil is at once
	asked  atomic.Int64  // codes that were shown

	challenge, nonce string
}

var issuerKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newIssuer(t *testing.T) *issuer {
	key := issuerKey()
	i := &issuer{t: t, key: key, sign: key}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v) //nolint:errcheck // a test
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		u := i.server.URL
		answer(w, map[string]any{"issuer": u, "authorization_endpoint": u + "/authorize", "token_endpoint": u + "/token", "jwks_uri": u + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		b64 := base64.RawURLEncoding.EncodeToString
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		i.challenge, i.nonce = q.Get("code_challenge"), q.Get("nonce")
		if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || !strings.Contains(q.Get("scope"), "openid") {
			t.Errorf("asked with %v", q)
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {"the-code"}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if i.asked.Add(1); i.hold != nil {
			<-i.hold
		}
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if r.PostFormValue("code") != "the-code" || base64.RawURLEncoding.EncodeToString(sum[:]) != i.challenge {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": i.token()})
	})
	i.server = httptest.NewServer(mux)
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) token() string {
	claims := map[string]any{"iss": i.server.URL, "aud": "console-client", "sub": "subject-1", "nonce": i.nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "email": "subject-1", "email_verified": true}
	if i.change != nil {
		i.change(claims)
	}
	header := map[string]any{"alg": "RS256", "kid": "1"}
	if i.crit != nil {
		header["crit"] = i.crit
	}
	part := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.sign, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestSignInByOpenIDConnect(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		claim  string
		change func(map[string]any)
		key    *rsa.PrivateKey
		in     bool
	}{
		{"a known subject", "", nil, nil, true},
		{"by e-mail", "email", nil, nil, true},
		{"an e-mail address that nobody verified", "email", func(c map[string]any) { c["email_verified"] = false }, nil, false},
		{"an unknown subject", "", func(c map[string]any) { c["sub"] = "subject-2" }, nil, false},
		{"no subject", "", func(c map[string]any) { c["sub"] = "" }, nil, false},
		{"a token for another client", "", func(c map[string]any) { c["aud"] = "another" }, nil, false},
		{"a token for several that names us", "", func(c map[string]any) { c["aud"], c["azp"] = []string{"console-client", "another"}, "console-client" }, nil, true},
		{"a token for several that names another", "", func(c map[string]any) { c["aud"], c["azp"] = []string{"console-client", "another"}, "another" }, nil, false},
		{"a token for several that names nobody", "", func(c map[string]any) { c["aud"] = []string{"console-client", "another"} }, nil, false},
		{"a token of another issuer", "", func(c map[string]any) { c["iss"] = "https://evil.example" }, nil, false},
		{"an old token", "", func(c map[string]any) { c["exp"] = now.Add(-time.Minute).Unix() }, nil, false},
		{"a token of another sign-in", "", func(c map[string]any) { c["nonce"] = "another" }, nil, false},
		{"a token without a nonce", "", func(c map[string]any) { delete(c, "nonce") }, nil, false},
		{"a token signed by somebody else", "", nil, other, false},
		{"an end that is a string", "", func(c map[string]any) { c["exp"] = fmt.Sprint(now.Add(5 * time.Minute).Unix()) }, nil, false},
		{"an end after the year 9999", "", func(c map[string]any) { c["exp"] = 253402300800 }, nil, false},
		{"an end beyond all clocks", "", func(c map[string]any) { c["exp"] = 1e300 }, nil, false},
		{"a beginning that is a string", "", func(c map[string]any) { c["nbf"] = fmt.Sprint(now.Unix()) }, nil, false},
		{"an issue that is a string", "", func(c map[string]any) { c["iat"] = fmt.Sprint(now.Unix()) }, nil, false},
		{"an issue before the year 1", "", func(c map[string]any) { c["iat"] = -62135596801 }, nil, false},
		{"a token that demands nothing, in so many words", "", func(c map[string]any) { c["critical"] = []string{} }, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t)
			i.change = tt.change
			if tt.key != nil {
				i.sign = tt.key
			}
			// The console's address is known only when it serves.
			var con *console.Console
			var refused atomic.Int64
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mux := http.NewServeMux()
				con.Register(mux)
				mux.ServeHTTP(w, r)
			}))
			defer front.Close()
			p := newPlace(t, func(c *console.Config) {
				c.OIDC = &console.OIDC{Issuer: i.server.URL, ClientID: "console-client", RedirectURL: front.URL + "/console/oidc/callback", Claim: tt.claim}
				c.SignInRefused = func(string) { refused.Add(1) }
			})
			con, p.server = p.con, front
			v := p.visitor()
			status := v.get("/console/oidc")
			if in := status == http.StatusOK && strings.Contains(v.last, "by-oidc"); in != tt.in {
				t.Errorf("%d, signed in %v\n%s", status, in, v.last)
			}
			// What was refused is counted and leaves nothing durable: a stranger may come as often as he likes.
			all := p.actions()
			if written := strings.Contains(strings.Join(all, "\n"), "sign-in"); written != tt.in || tt.in && !contains(all, "by-oidc sign-in") {
				t.Errorf("the audit holds %q", all)
			}
			if n := refused.Load(); (n == 1) == tt.in || n > 1 {
				t.Errorf("%d refused sign-ins were counted", n)
			}
		})
	}
}

// Whoever guesses beside an operator, at the same address, waits; the operator does not, if he was sent to
// the identity provider from here.
func TestASignInBesideGuesses(t *testing.T) {
	i := newIssuer(t)
	var con *console.Console
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux := http.NewServeMux()
		con.Register(mux)
		mux.ServeHTTP(w, r)
	}))
	defer front.Close()
	p := newPlace(t, func(c *console.Config) {
		c.OIDC = &console.OIDC{Issuer: i.server.URL, ClientID: "console-client", RedirectURL: front.URL + "/console/oidc/callback"}
		at := time.Now()
		c.House = admission.New(admission.Config{Now: func() time.Time { return at }})
	})
	con, p.server = p.con, front
	for n := range 8 {
		want := http.StatusUnauthorized
		if n >= admission.FreeMistakes {
			want = http.StatusTooManyRequests
		}
		if got := p.visitor().get("/console/oidc/callback?state=a&code=b"); got != want {
			t.Errorf("guess %d: %d, want %d", n, got, want)
		}
	}
	if n := i.asked.Load(); n != 0 {
		t.Errorf("the identity provider was asked %d times about guesses", n)
	}
	v := p.visitor()
	if got := v.get("/console/oidc"); got != http.StatusOK || !strings.Contains(v.last, "by-oidc") {
		t.Errorf("the operator: %d", got)
	}
}

// Whoever begins sign-ins himself and comes back with any code makes the gateway call the identity provider. Few of
// these calls are under way at once, of one address fewer still; who finds no place has lost nothing.
func TestCallsOfTheIdentityProviderAreBounded(t *testing.T) {
	const stranger, operator = "198.51.100.1:4000", "203.0.113.7:4000"
	tests := []struct {
		name   string
		inside []string // addresses whose codes the identity provider is looking at
		asks   string
		in     bool
	}{
		{"one beside one of the same address", []string{stranger}, stranger, true},
		{"a third of one address", []string{stranger, "198.51.100.1:4001"}, stranger, false},
		{"a third of one IPv6 network", []string{"[2001:db8::1]:1", "[2001:db8::2]:1"}, "[2001:db8::3]:1", false},
		{"another address beside a greedy one", []string{stranger, stranger}, operator, true},
		{"the eighth", []string{"192.0.2.1:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.3:1", "192.0.2.4:1"}, operator, true},
		{"the ninth", []string{"192.0.2.1:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.3:1", "192.0.2.4:1", "192.0.2.4:1"}, operator, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer(t)
			i.hold = make(chan struct{})
			release := sync.OnceFunc(func() { close(i.hold) })
			defer release()
			var refused atomic.Int64
			p := newPlace(t, func(c *console.Config) {
				c.OIDC = &console.OIDC{Issuer: i.server.URL, ClientID: "console-client", RedirectURL: "http://console.invalid/console/oidc/callback"}
				c.SignInRefused = func(string) { refused.Add(1) }
			})
			mux := http.NewServeMux()
			p.con.Register(mux)
			ask := func(address, path string, cookies ...*http.Cookie) *http.Response {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.RemoteAddr = address
				for _, c := range cookies {
					r.AddCookie(c)
				}
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				return w.Result()
			}
			begin := func(address string) (back string, cookies []*http.Cookie) {
				resp := ask(address, "/console/oidc")
				u, err := resp.Location()
				if err != nil {
					t.Fatal(err)
				}
				i.nonce, i.challenge = u.Query().Get("nonce"), u.Query().Get("code_challenge")
				return "/console/oidc/callback?state=" + u.Query().Get("state") + "&code=", resp.Cookies()
			}
			type begun struct {
				back    string
				cookies []*http.Cookie
			}
			var all []begun
			for _, address := range tt.inside {
				back, cookies := begin(address)
				all = append(all, begun{back, cookies})
			}
			back, cookies := begin(tt.asks) // the last: its challenge is the one that the identity provider knows
			var wg sync.WaitGroup
			for n, address := range tt.inside {
				wg.Go(func() {
					if got := ask(address, all[n].back+"wrong", all[n].cookies...).StatusCode; got != http.StatusUnauthorized && got != http.StatusTooManyRequests {
						t.Errorf("a wrong code: %d", got)
					}
				})
			}
			asked := func(want int64) {
				t.Helper()
				for end := time.Now().Add(20 * time.Second); i.asked.Load() != want; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("the identity provider was asked %d times, want %d", i.asked.Load(), want)
					}
				}
			}
			asked(int64(len(tt.inside)))
			answer := make(chan *http.Response, 1)
			wg.Go(func() { answer <- ask(tt.asks, back+"the-code", cookies...) })
			if tt.in {
				asked(int64(len(tt.inside)) + 1)
			} else {
				select {
				case resp := <-answer:
					body, _ := io.ReadAll(resp.Body)
					if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "door.overload") {
						t.Errorf("%d, to come again after %q\n%s", resp.StatusCode, resp.Header.Get("Retry-After"), body)
					}
					if !strings.Contains(string(body), `href="/console/sign-in?lang=ru"`) {
						t.Errorf("in another language the page would be another sign-in\n%s", body)
					}
					if set := resp.Cookies(); len(set) != 0 {
						t.Errorf("cookies %v", set)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("no answer while the identity provider is busy with others")
				}
				if n := i.asked.Load(); n != int64(len(tt.inside)) {
					t.Errorf("the identity provider was asked %d times", n)
				}
				if n := refused.Load(); n != 0 {
					t.Errorf("%d counted as refused", n)
				}
			}
			release()
			wg.Wait()
			var resp *http.Response
			if tt.in {
				resp = <-answer
			} else {
				resp = ask(tt.asks, back+"the-code", cookies...)
			}
			if resp.StatusCode != http.StatusSeeOther {
				t.Errorf("when the others are gone: %d, want the console", resp.StatusCode)
			}
			// A state counts once, however it came to be asked again.
			if got := ask(tt.asks, back+"the-code", cookies...).StatusCode; got == http.StatusSeeOther {
				t.Error("a second time: signed in")
			}
		})
	}
}

// A token whose header demands an extension signs nobody in, known or not, and however few it lists.
func TestATokenThatDemandsAnExtension(t *testing.T) {
	for _, crit := range [][]string{{}, {"exp"}, {"b64"}, {"urn:unknown"}} {
		i := newIssuer(t)
		i.crit = crit
		front := httptest.NewUnstartedServer(nil)
		p := newPlace(t, func(c *console.Config) {
			c.OIDC = &console.OIDC{Issuer: i.server.URL, ClientID: "console-client", RedirectURL: "http://" + front.Listener.Addr().String() + "/console/oidc/callback"}
		})
		mux := http.NewServeMux()
		p.con.Register(mux)
		front.Config.Handler = mux
		front.Start()
		defer front.Close()
		p.server = front
		v := p.visitor()
		if status := v.get("/console/oidc"); status == http.StatusOK && strings.Contains(v.last, "by-oidc") {
			t.Errorf("crit %q: signed in", crit)
		}
	}
}

// A callback that this browser did not begin signs nobody in; nor does one twice.
func TestASignInBelongsToTheBrowserThatBegan(t *testing.T) {
	i := newIssuer(t)
	p := newPlace(t, func(c *console.Config) {
		c.OIDC = &console.OIDC{Issuer: i.server.URL, ClientID: "console-client", RedirectURL: "http://console.invalid/console/oidc/callback"}
	})
	begin := func() (v *visitor, state string) {
		v = p.visitor()
		v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := v.client.Get(p.server.URL + "/console/oidc")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		u, err := resp.Location()
		if err != nil {
			t.Fatal(err)
		}
		i.nonce, i.challenge = u.Query().Get("nonce"), u.Query().Get("code_challenge")
		return v, u.Query().Get("state")
	}
	v, state := begin()
	back := "/console/oidc/callback?code=the-code&state=" + state
	if got := p.visitor().get(back); got != http.StatusUnauthorized {
		t.Errorf("another browser: %d", got)
	}
	if got := v.get(back); got != http.StatusSeeOther {
		t.Errorf("the browser that began: %d %s", got, v.last)
	}
	if got := v.get(back); got != http.StatusUnauthorized {
		t.Errorf("a second time: %d", got)
	}
	// The cookie from before is worth nothing either.
	v, state = begin()
	kept := v.client.Jar.Cookies(mustParse(t, p.server.URL+"/console/oidc"))
	if got := v.get("/console/oidc/callback?code=the-code&state=" + state); got != http.StatusSeeOther {
		t.Errorf("the browser that began: %d %s", got, v.last)
	}
	thief := p.visitor()
	thief.client.Jar.SetCookies(mustParse(t, p.server.URL+"/console/oidc"), kept)
	if got := thief.get("/console/oidc/callback?code=the-code&state=" + state); got != http.StatusUnauthorized {
		t.Errorf("the cookie a second time: %d", got)
	}
	// However many begin, who began before is not pushed out.
	v, state = begin()
	nonce, challenge := i.nonce, i.challenge
	for range 1500 {
		begin()
	}
	i.nonce, i.challenge = nonce, challenge
	if got := v.get("/console/oidc/callback?code=the-code&state=" + state); got != http.StatusSeeOther {
		t.Errorf("after fifteen hundred others: %d %s", got, v.last)
	}
	v, state = begin()
	if got := v.get("/console/oidc/callback?code=stolen&state=" + state); got != http.StatusUnauthorized {
		t.Errorf("another code: %d", got)
	}
}

func mustParse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSignInByClientCertificate(t *testing.T) {
	ca, caKey := certificate(t, "operators CA", nil, nil)
	known, knownKey := certificate(t, "operator", ca, caKey)
	stranger, strangerKey := certificate(t, "stranger", ca, caKey)
	p := newPlace(t, func(c *console.Config) {
		c.Operators = []console.Operator{{Name: "by-certificate", Act: []string{"zhambyl"}, CertificateSHA256: sha256.Sum256(known.Raw)}}
	})
	mux := http.NewServeMux()
	p.con.Register(mux)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	server.StartTLS()
	defer server.Close()
	p.server = server
	visit := func(certs ...tls.Certificate) *visitor {
		v := p.visitor()
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certs
		v.client.Transport = transport
		return v
	}
	v := visit(tls.Certificate{Certificate: [][]byte{known.Raw}, PrivateKey: knownKey})
	if got := v.get("/console/"); got != http.StatusOK || !strings.Contains(v.last, "by-certificate") {
		t.Errorf("a known certificate: %d %s", got, v.last)
	}
	if got := visit(tls.Certificate{Certificate: [][]byte{stranger.Raw}, PrivateKey: strangerKey}); got.get("/console/") != http.StatusOK || strings.Contains(got.last, "by-certificate") {
		t.Error("a stranger's certificate signs in")
	}
	// The session's cookie is worth nothing without the certificate.
	thief := visit()
	thief.client.Jar = v.client.Jar
	if thief.get("/console/"); strings.Contains(thief.last, "by-certificate") {
		t.Error("the cookie alone signs in")
	}
	if all := p.actions(); !contains(all, "by-certificate sign-in") {
		t.Errorf("the audit holds %q", all)
	}
}

func certificate(t *testing.T, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: parent == nil}
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}
