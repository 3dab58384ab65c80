package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/enrich"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/shep"
)

// settingsOf lists the settings of a type and the kinds of those that name files, "" for others.
func settingsOf(t reflect.Type, at string) map[string]string {
	all := map[string]string{}
	switch t.Kind() {
	case reflect.Pointer:
		return settingsOf(t.Elem(), at)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return settingsOf(t.Elem(), at+"[]")
		}
		all[at] = ""
	case reflect.Struct:
		for field := range t.Fields() {
			if !field.IsExported() {
				continue
			}
			name := strings.TrimPrefix(at+"."+field.Tag.Get("yaml"), ".")
			for k, v := range settingsOf(field.Type, name) {
				all[k] = v
			}
			if kind := field.Tag.Get("file"); kind != "" {
				all[name] = kind
			}
		}
	default:
		all[at] = ""
	}
	return all
}

// A bystander is everybody whom the gateway calls: it remembers what it was told.
type bystander struct {
	t *testing.T
	l *lab

	mu     sync.Mutex
	bodies map[string]string // guarded by mu, by path: the last one's credentials and body
	signer string            // guarded by mu: who signs the registers' answers
}

func (b *bystander) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	user, password, _ := r.BasicAuth()
	b.mu.Lock()
	b.bodies[r.URL.Path] = r.Header.Get("Authorization") + " " + user + " " + password + " " + string(raw)
	signer := b.signer
	b.mu.Unlock()
	base := "http://" + r.Host
	switch {
	case r.URL.Path == "/idp/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]string{"issuer": base + "/idp", "authorization_endpoint": base + "/idp/auth",
			"token_endpoint": base + "/idp/token", "jwks_uri": base + "/idp/keys"})
	case strings.HasPrefix(r.URL.Path, "/signed/"):
		resp, err := http.Post(b.l.sim+"/shep/"+strings.TrimPrefix(r.URL.Path, "/signed/"), "text/xml; charset=utf-8", bytes.NewReader(raw))
		if err != nil {
			b.t.Error(err)
			return
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		key, err := b.l.key(signer)
		if err == nil {
			answer, err = shep.Seal(answer, key)
		}
		if err != nil {
			b.t.Errorf("%v: %.300s", err, answer)
		}
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		w.Write(answer)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

func (b *bystander) heard(path string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bodies[path]
}

func (b *bystander) signs(as string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.signer = as
}

// A changing gateway is one whose secrets are replaced.
type changing struct {
	*lab
	t       *testing.T
	logs    *logBuffer
	others  *bystander
	address string // of the bystander
	client  *http.Client
	ahead   atomic.Int64 // nanoseconds by which the clock of guesses is moved
}

// forget lets the mistakes at the doors be forgotten: those of one row are not guesses of the next.
func (w *changing) forget() { w.ahead.Add(int64(admission.MistakesLife + time.Minute)) }

// sources are the registers with a record that each holds.
var sources = map[string]gateway.RecordKind{"gbdfl": gateway.RecordIdentity, "gbdrn": gateway.RecordProperty,
	"social_payments": gateway.RecordSocialPayments,
	"income":          gateway.RecordIncome, "alimony": gateway.RecordAlimony, "employment": gateway.RecordUnemployment}

func newChanging(t *testing.T, change ...func(*changing, *Config)) *changing {
	t.Helper()
	w := &changing{t: t, logs: new(logBuffer), client: &http.Client{}}
	var err error
	if w.lab, err = newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(w.logs, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	w.guessNow = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	w.others = &bystander{t: t, l: w.lab, bodies: map[string]string{}, signer: "system-state"}
	server := httptest.NewServer(w.others)
	t.Cleanup(server.Close)
	w.address = server.URL
	w.mustReconfigure(t, func(c *Config) {
		c.Intermediates[0], c.Revocation[0].Certificate = w.file("between.pem", w.pem("issuing")), w.file("issuer.pem", w.pem("issuing"))
		p := &c.Portals[0]
		p.NotifyURL, p.NotifyTokenFile = w.address+"/notices", w.file("notify.token", secret())
		for i := range c.Providers {
			if q := &c.Providers[i]; q.ID == "taraz" {
				q.URL, q.TokenFile, q.CallbackTokenFile = w.address+"/taraz", w.file("out.token", secret()), w.file("in.token", secret())
			}
		}
		for name, s := range map[string]*Source{"gbdfl": c.Sources.GBDFL, "gbdrn": c.Sources.GBDRN, "social_payments": c.Sources.SocialPayments,
			"income":  c.Sources.Income,
			"alimony": c.Sources.Alimony, "employment": c.Sources.Employment} {
			s.URL, s.PasswordFile = w.address+"/signed/"+strings.ReplaceAll(name, "_", ""), w.file(name+".password", secret())
			s.Certificates = []string{w.file(name+".crt", w.pem("system-state"))}
		}
		c.SHEP.Participants = append(c.SHEP.Participants, Participant{Name: "pushed.kz", SenderID: "PUSHED",
			PasswordFile: w.file("pushed.password", secret()), Services: labServices(),
			PushURL: w.address + "/push", PushPasswordFile: w.file("push.password", secret())})
		c.Regions = []Region{{Shard: "zhambyl", URL: w.address + "/region", SenderID: "ZHAMBYL",
			Certificates: []string{w.file("region.crt", w.pem("system-state"))}, Services: labServices()}}
		for i := range c.Providers {
			if c.Providers[i].ID == "kordaj" {
				c.Providers[i] = Provider{ID: "kordaj", BIN: c.Providers[i].BIN, Region: "zhambyl"}
			}
		}
		c.Console.BaseURL = w.lab.console
		c.Console.OIDC = &OIDC{Issuer: w.address + "/idp", ClientID: "console", ClientSecretFile: w.file("oidc.secret", secret())}
		schemas := filepath.Join(w.dir, "contracts")
		if err := os.CopyFS(schemas, os.DirFS("../../schemas")); err != nil {
			t.Fatal(err)
		}
		c.Schemas = "contracts"
		for _, f := range change {
			f(w, c)
		}
	})
	if err := w.startGateway(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *changing) pem(id string) string { return string(w.pki.Must(id).CertificatePEM) }

// file writes a file of the configuration and returns its name.
func (w *changing) file(name, content string) string {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *changing) content(name string) string {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(raw)
}

// replace replaces what a file holds, and tells the gateway. It returns what the file held.
func (w *changing) replace(name, content string) (old string) {
	w.t.Helper()
	old = w.content(name)
	w.file(name, content)
	waiting, err := w.svc.reloader.reload()
	if err != nil || len(waiting) > 0 {
		w.t.Fatalf("replacing %s: %q waits, %v", name, waiting, err)
	}
	return old
}

func (w *changing) do(method, address string, body []byte, header ...string) int {
	w.t.Helper()
	req, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// turned wants an answer for the old secret and another for the new.
func (w *changing) turned(old, now, wantOld, wantNew int) {
	w.t.Helper()
	if old != wantOld || now != wantNew {
		w.t.Errorf("the old one is answered %d, the new one %d; want %d and %d", old, now, wantOld, wantNew)
	}
}

// wait holds a changed setting that waits for a restart against all that must name it.
func (w *changing) waits(setting string, change func()) {
	w.t.Helper()
	change()
	w.svc.reloader.take()
	if !strings.Contains(w.logs.String(), `"settings":"`+setting+`"`) {
		w.t.Errorf("the log does not name %s", setting)
	}
	if w.sample(w.t, `egov_gateway_config_setting_waits{setting="`+setting+`"}`) != 1 ||
		w.sample(w.t, "egov_gateway_config_restart_needed") != 1 {
		w.t.Errorf("the metrics do not name %s", setting)
	}
	if _, _, body := get(w.t, w.admin+"/readyz"); !strings.Contains(string(body), "waits for a restart: "+setting) {
		w.t.Errorf("/readyz does not name %s: %s", setting, body)
	}
}

// restored puts a waiting setting back, so that nothing waits.
func (w *changing) restored(file, content string) {
	w.t.Helper()
	w.file(file, content)
	if waiting, err := w.svc.reloader.reload(); err != nil || len(waiting) > 0 {
		w.t.Fatalf("%q waits although it is as before, %v", waiting, err)
	}
}

const someRequest = "/v1/requests/0123456789abcdef0123456789abcdef"

func (w *changing) byToken(token string) int {
	return w.do(http.MethodGet, w.base+someRequest, nil, "Authorization", "Bearer "+token)
}

// byCertificate opens a connection with a client certificate, and asks for what only a portal gets.
func (w *changing) browserWith(cert, key string, roots *x509.CertPool) *http.Client {
	conf := &tls.Config{RootCAs: roots}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			w.t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	jar, _ := cookiejar.New(nil)
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// stream opens a page's stream and returns what is closed when it ends.
func (w *changing) stream(c *http.Client, address string) chan struct{} {
	w.t.Helper()
	resp, err := c.Get(address)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%v, %v", resp, err)
	}
	first := bufio.NewReader(resp.Body)
	if _, err := first.ReadString('\n'); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer resp.Body.Close()
		io.Copy(io.Discard, first)
	}()
	return ended
}

func (w *changing) ends(what string, ended chan struct{}) {
	w.t.Helper()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		w.t.Errorf("%s goes on", what)
	}
}

// operator signs in by a test token and returns the status.
func (w *changing) operatorBy(token string) (*http.Client, int) {
	w.t.Helper()
	jar, _ := cookiejar.New(nil)
	c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.PostForm(w.lab.console+"session", url.Values{"token": {token}})
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	return c, resp.StatusCode
}

func (w *changing) statusOf(c *http.Client, address string) int {
	w.t.Helper()
	// A pooled connection may be the one the change has just ended; the answer asked for is that of a new one.
	c.CloseIdleConnections()
	resp, err := c.Get(address)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// fact asks a register.
func (w *changing) fact(name string) gateway.Fact {
	w.t.Helper()
	iin, err := gateway.ParseIIN(w.pki.Must("citizen-01").IIN)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.svc.reloader.b.parts.enricher.Fetch(w.t.Context(), "request", "consent", gateway.RecordKinds,
		[]enrich.Question{{Kind: sources[name], Person: "applicant", Subject: iin}})[0]
}

// citizen is a token by a portal's key.
func (w *changing) citizen(key ed25519.PrivateKey) string {
	w.t.Helper()
	was := w.portalKey
	defer func() { w.portalKey = was }()
	w.portalKey = key
	token, err := w.citizenToken(w.pki.Must("citizen-01").IIN, 10*time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func publicPEM(t *testing.T, key ed25519.PrivateKey) string {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
}

// asks whether SHEP's door believes a sender; "" is yes.
func (w *changing) believes(key string, sender shep.Sender) string {
	w.t.Helper()
	got := w.ask(w.t, "async", key, &shep.MessagesQuery{ServiceID: housing, Sender: sender, Date: w.clock.Now()})
	if fault, ok := got.(*shep.Fault); ok {
		return fault.Info.Code
	}
	return ""
}

// refused wants the door to take the new one and not the old.
func (w *changing) refused(old, now string) {
	w.t.Helper()
	if old == "" || now != "" {
		w.t.Errorf("the old one is answered %q, the new one %q", old, now)
	}
}

// plainRows are the settings of a gateway without TLS, each with what shows that the old file is dead.
var plainRows = map[string]func(w *changing){
	"secret": func(w *changing) {
		old := w.content("secret")
		w.waits("secret", func() { w.file("secret", secret()) })
		w.restored("secret", old)
	},
	"schemas": func(w *changing) {
		name := "contracts/messages/en.yaml"
		old := w.content(name)
		w.waits("schemas", func() { w.file(name, old+"# edited\n") })
		w.restored(name, old)
	},
	"key": func(w *changing) {
		signer := func() string {
			resp, err := http.Post(w.base+"/shep/sync", "text/xml", strings.NewReader(string(w.envelope(w.t, "system-portal",
				&shep.MessagesQuery{ServiceID: housing, Sender: shep.Sender{ID: "BANK"}}))))
			if err != nil {
				w.t.Fatal(err)
			}
			resp.Body.Close()
			id := w.mustAccept(w.t, w.draft("citizen-01", taraz), "citizen-01").ID
			_, _, receipt := get(w.t, w.base+"/v1/requests/"+string(id)+"/receipt", "Authorization", "Bearer "+w.token)
			return string(receipt)
		}
		holds := func(doc, id string) bool {
			return strings.Contains(strings.NewReplacer("\n", "", "\r", "", " ", "").Replace(doc),
				base64.StdEncoding.EncodeToString(w.pki.Must(id).DER))
		}
		if !holds(signer(), "system-gateway") {
			w.t.Error("the receipt is not signed by the gateway's key")
		}
		w.clock.HopTo(w.clock.Now().Add(time.Second)) // another request
		other := w.pki.Must("system-state")
		old := w.replace("gateway.pem", string(other.KeyPEM)+string(other.CertificatePEM))
		if doc := signer(); holds(doc, "system-gateway") || !holds(doc, "system-state") {
			w.t.Error("receipts are signed by the old key")
		}
		w.replace("gateway.pem", old)
	},
	"trust[].certificate": func(w *changing) {
		old := w.replace("root.pem", w.pem("other-root"))
		if a := w.mustSubmit(w.t, w.draft("citizen-02", taraz), "citizen-02"); problemOf(w.t, a.body).Reason != gateway.NotAnchored {
			w.t.Errorf("%d %s", a.status, a.body)
		}
		w.replace("root.pem", old)
	},
	"intermediates[]": func(w *changing) {
		old := w.replace("between.pem", w.pem("issuing-revoked"))
		if a := w.mustSubmit(w.t, w.draft("citizen-03", taraz), "citizen-03"); a.status == http.StatusAccepted {
			w.t.Error("a path goes over an intermediate that was taken out")
		}
		w.replace("between.pem", old)
	},
	"revocation[].certificate": func(w *changing) {
		old := w.replace("issuer.pem", w.pem("issuing-revoked"))
		if a := w.mustSubmit(w.t, w.draft("citizen-04", taraz), "citizen-04"); a.status == http.StatusAccepted {
			w.t.Error("evidence of an issuer that was taken out counts")
		}
		w.replace("issuer.pem", old)
	},
	"portals[].token_file": func(w *changing) {
		next := secret()
		old := w.replace("portal.token", next)
		w.token = next
		w.turned(w.byToken(old), w.byToken(next), http.StatusUnauthorized, http.StatusNotFound)
	},
	"portals[].cabinet_key": func(w *changing) {
		_, next, err := ed25519.GenerateKey(nil)
		if err != nil {
			w.t.Fatal(err)
		}
		id := w.mustAccept(w.t, w.draft("citizen-01", petropavl), "citizen-01").ID
		jar, _ := cookiejar.New(nil)
		c := &http.Client{Jar: jar}
		if resp, err := c.PostForm(w.base+"/cabinet/session", url.Values{"token": {w.citizen(w.portalKey)}}); err != nil ||
			resp.StatusCode != http.StatusOK {
			w.t.Fatalf("%v %v", resp, err)
		}
		open := w.stream(c, w.base+"/cabinet/requests/"+string(id)+"/live")
		list := func(key ed25519.PrivateKey) int {
			return w.do(http.MethodGet, w.base+"/cabinet/api/requests", nil, "Authorization", "Bearer "+w.citizen(key))
		}
		w.replace("portal.pem", publicPEM(w.t, next))
		w.turned(list(w.portalKey), list(next), http.StatusUnauthorized, http.StatusOK)
		w.ends("the stream of a citizen whom the old key vouched for", open)
		if got := w.statusOf(c, w.base+"/cabinet/"); got != http.StatusUnauthorized {
			w.t.Errorf("the session of a citizen whom the old key vouched for: %d", got)
		}
		w.portalKey = next
	},
	"portals[].notify_token_file": func(w *changing) {
		next := secret()
		old := w.replace("notify.token", next)
		if err := w.svc.reloader.b.parts.notices.Notify(w.t.Context(), "egov.kz", "id", flow.Notice{State: gateway.StateDecided}); err != nil {
			w.t.Fatal(err)
		}
		w.tells("/notices", old, next)
	},
	"providers[].token_file": func(w *changing) {
		next := secret()
		old := w.replace("out.token", next)
		if err := w.svc.reloader.b.parts.providers.Send(w.t.Context(), "taraz", "id", []byte("<delivery/>")); err != nil {
			w.t.Fatal(err)
		}
		w.tells("/taraz/requests/id", old, next)
	},
	"providers[].callback_token_file": func(w *changing) {
		next := secret()
		old := w.replace("in.token", next)
		by := func(token string) int {
			return w.do(http.MethodPost, w.base+"/v1/providers/taraz/results", []byte("<result/>"), "Content-Type", "application/xml",
				"Authorization", "Bearer "+token)
		}
		if refused, taken := by(old), by(next); refused != http.StatusUnauthorized || taken == http.StatusUnauthorized {
			w.t.Errorf("the old one is answered %d, the new one %d", refused, taken)
		}
	},
	"shep.participants[].password_file": func(w *changing) {
		next := secret()
		old := w.replace("shep.password", next)
		w.refused(w.believes("", shep.Sender{ID: "EGOV", Password: old}), w.believes("", shep.Sender{ID: "EGOV", Password: next}))
		w.password = next
	},
	"shep.participants[].certificates": func(w *changing) {
		bank := shep.Sender{ID: "BANK"}
		if got := w.believes("system-portal", bank); got != "" {
			w.t.Fatalf("before: %s", got)
		}
		old := w.replace("system-portal.crt", w.pem("gost-system-gateway"))
		w.refused(w.believes("system-portal", bank), w.believes("gost-system-gateway", bank))
		w.replace("system-portal.crt", old)
	},
	"shep.participants[].push_password_file": func(w *changing) {
		next := secret()
		old := w.replace("push.password", next)
		for _, p := range w.svc.reloader.current.participants {
			if p.Push != nil {
				p.Push.Send(w.t.Context(), shep.AsyncMessage{ServiceID: housing, Type: shep.TypeRequest, Data: text("<a/>")}) // the answer is nonsense
			}
		}
		w.tells("/push", old, next)
	},
	"regions[].certificates": func(w *changing) {
		region := shep.Sender{ID: "ZHAMBYL"}
		if got := w.believes("system-state", region); got != "" {
			w.t.Fatalf("before: %s", got)
		}
		old := w.replace("region.crt", w.pem("system-portal"))
		w.refused(w.believes("system-state", region), w.believes("system-portal", region))
		w.replace("region.crt", old)
	},
	"console.operators[].test_token_file": func(w *changing) {
		old := w.content("operator.token")
		c, _ := w.operatorBy(old)
		open := w.stream(c, w.lab.console+"live?of=")
		next := secret()
		w.replace("operator.token", next)
		_, refused := w.operatorBy(old)
		_, taken := w.operatorBy(next)
		w.turned(refused, taken, http.StatusUnauthorized, http.StatusSeeOther)
		w.ends("the operator's stream", open)
		if got := w.statusOf(c, w.lab.console); got != http.StatusSeeOther {
			w.t.Errorf("the operator's session: %d", got)
		}
	},
	"console.oidc.client_secret_file": func(w *changing) {
		next := secret()
		old := w.replace("oidc.secret", next)
		jar, _ := cookiejar.New(nil)
		c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := c.Get(w.lab.console + "oidc")
		if err != nil {
			w.t.Fatal(err)
		}
		resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			w.t.Fatal(err)
		}
		w.statusOf(c, w.lab.console+"oidc/callback?code=x&state="+to.Query().Get("state"))
		w.tells("/idp/token", old, next)
	},
}

// tells wants the gateway to have shown the new secret and not the old.
func (w *changing) tells(path, old, next string) {
	w.t.Helper()
	if heard := w.others.heard(path); strings.Contains(heard, old) || !strings.Contains(heard, next) {
		w.t.Errorf("%s heard %.300q", path, heard)
	}
}

// sourceRow is that of a register's password and pinned certificate.
func sourceRows(rows map[string]func(*changing)) {
	for name := range sources {
		path := "/signed/" + strings.ReplaceAll(name, "_", "")
		rows["sources."+name+".password_file"] = func(w *changing) {
			next := secret()
			old := w.replace(name+".password", next)
			w.fact(name)
			w.tells(path, old, next)
		}
		rows["sources."+name+".certificates"] = func(w *changing) {
			if f := w.fact(name); f.Status == gateway.FactUnavailable {
				w.t.Fatalf("before: %+v", f)
			}
			old := w.replace(name+".crt", w.pem("system-portal"))
			if f := w.fact(name); f.Status != gateway.FactUnavailable {
				w.t.Errorf("an answer signed by the old certificate: %+v", f)
			}
			w.others.signs("system-portal")
			if f := w.fact(name); f.Status == gateway.FactUnavailable {
				w.t.Errorf("an answer signed by the new certificate: %+v", f)
			}
			w.others.signs("system-state")
			w.replace(name+".crt", old)
		}
	}
}

// A pki of the web, made anew for each test.
type webPKI struct {
	roots              *x509.CertPool
	serverCA, clientCA string
	issue              func(name string, client bool) (cert, key string)
}

func newWebPKI(t *testing.T) webPKI {
	serverPEM, _, serverCA, serverKey := issue(t, "server CA", nil, nil)
	clientPEM, _, clientCA, clientKey := issue(t, "client CA", nil, nil)
	p := webPKI{roots: x509.NewCertPool(), serverCA: string(serverPEM), clientCA: string(clientPEM)}
	p.roots.AddCert(serverCA)
	p.issue = func(name string, client bool) (string, string) {
		parent, key := serverCA, serverKey
		if client {
			parent, key = clientCA, clientKey
		}
		c, k, _, _ := issue(t, name, parent, key)
		return string(c), string(k)
	}
	return p
}

// tlsRows are the settings of the listeners and of those who show certificates there.
func tlsRows(web webPKI, held map[string][2]string) map[string]func(*changing) {
	pairRow := func(file, address string) func(w *changing) {
		return func(w *changing) {
			serial := func() string {
				conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: web.roots})
				if err != nil {
					w.t.Fatal(err)
				}
				defer conn.Close()
				return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
			}
			before := serial()
			cert, key := web.issue("new", false)
			w.file(file+".key", key)
			w.replace(file+".crt", cert)
			if serial() == before {
				w.t.Error("the old certificate is served")
			}
		}
	}
	// caRow replaces the authority: who has a certificate of the old one is cut off.
	caRow := func(file, held string, address func(w *changing) string, pairs map[string][2]string, good int) func(w *changing) {
		return func(w *changing) {
			pair := pairs[held]
			c := w.browserWith(pair[0], pair[1], web.roots)
			if got := w.statusOf(c, address(w)); got != good {
				w.t.Fatalf("before: %d", got)
			}
			other, _, _, _ := issue(w.t, "another CA", nil, nil)
			old := w.replace(file, string(other))
			if got := w.statusOf(c, address(w)); got == good {
				w.t.Errorf("a certificate of the old authority: %d", got)
			}
			w.replace(file, old)
			if got := w.statusOf(w.browserWith(pair[0], pair[1], web.roots), address(w)); got != good {
				w.t.Errorf("a certificate of the new authority: %d", got)
			}
		}
	}
	portal := func(w *changing) string { return w.base + someRequest }
	operator := func(w *changing) string { return w.lab.console }
	rows := map[string]func(*changing){
		"tls.client_ca":         caRow("clients.crt", "portal.crt", portal, held, http.StatusNotFound),
		"console.tls.client_ca": caRow("operators.crt", "operator.crt", operator, held, http.StatusOK),
		"portals[].client_certificate": func(w *changing) {
			cert, key := web.issue("portal's next", true)
			before := w.browserWith(held["portal.crt"][0], held["portal.crt"][1], web.roots)
			if got := w.statusOf(before, portal(w)); got != http.StatusNotFound {
				w.t.Fatalf("before: %d", got)
			}
			w.replace("portal.crt", cert)
			held["portal.crt"] = [2]string{cert, key}
			w.turned(w.statusOf(before, portal(w)), w.statusOf(w.browserWith(cert, key, web.roots), portal(w)), http.StatusUnauthorized,
				http.StatusNotFound)
		},
		"shep.participants[].client_certificate": func(w *changing) {
			// Who is recognised before the message is read stands in the count of messages.
			recognised := func(pair [2]string) bool {
				series := `egov_gateway_shep_messages_total{operation="SendMessage",participant="pushed.kz",reason="` + string(gateway.BodyEmpty) + `"}`
				before := max(0, w.sample(w.t, series))
				resp, err := w.browserWith(pair[0], pair[1], web.roots).Post(w.base+"/shep/sync", "text/xml", nil)
				if err != nil {
					w.t.Fatal(err)
				}
				resp.Body.Close()
				return w.sample(w.t, series) == before+1
			}
			if !recognised(held["pushed.crt"]) {
				w.t.Fatal("before: the participant is a stranger")
			}
			cert, key := web.issue("participant's next", true)
			w.replace("pushed.crt", cert)
			if recognised(held["pushed.crt"]) || !recognised([2]string{cert, key}) {
				w.t.Error("the participant is recognised by the certificate of before, or not by the new one")
			}
			held["pushed.crt"] = [2]string{cert, key}
		},
		"console.operators[].client_certificate": func(w *changing) {
			cert, key := web.issue("operator's next", true)
			before := w.browserWith(held["operator.crt"][0], held["operator.crt"][1], web.roots)
			if got := w.statusOf(before, operator(w)); got != http.StatusOK {
				w.t.Fatalf("before: %d", got)
			}
			open := w.stream(before, operator(w)+"live?of=")
			w.replace("operator.crt", cert)
			held["operator.crt"] = [2]string{cert, key}
			w.ends("the operator's stream", open)
			w.turned(w.statusOf(before, operator(w)), w.statusOf(w.browserWith(cert, key, web.roots), operator(w)), http.StatusSeeOther,
				http.StatusOK)
		},
	}
	for _, one := range []string{"certificate", "key"} { // a pair is replaced as one
		rows["tls."+one] = func(w *changing) { pairRow("doors", strings.TrimPrefix(w.base, "https://"))(w) }
		rows["console.tls."+one] = func(w *changing) {
			pairRow("pages", strings.TrimSuffix(strings.TrimPrefix(w.lab.console, "https://"), "/console/"))(w)
		}
	}
	return rows
}

// F4: every file that a configuration names is replaced, one after the other. At the next reload the
// old secret is dead and the new one is good, or log, metric and /readyz say that it waits.
func TestEveryReplacedSecretIsDead(t *testing.T) {
	sourceRows(plainRows)
	w := newChanging(t, func(w *changing, c *Config) {
		key := func(id string) string { e := w.pki.Must(id); return string(e.KeyPEM) + string(e.CertificatePEM) }
		c.Synthetic = &Synthetic{Key: w.file("walker.pem", key("citizen-05")),
			ProviderKey: w.file("walker-provider.pem", key("provider-sko-head")), Every: Duration(time.Hour)}
	})
	waitRow := func(file, id string) func(w *changing) {
		return func(w *changing) {
			old, e := w.content(file), w.pki.Must(id)
			w.waits("synthetic", func() { w.file(file, string(e.KeyPEM)+string(e.CertificatePEM)) })
			w.restored(file, old)
		}
	}
	plainRows["synthetic.key"], plainRows["synthetic.provider_key"] = waitRow("walker.pem", "citizen-06"), waitRow("walker-provider.pem",
		"provider-zhambyl-head")
	web, held := newWebPKI(t), map[string][2]string{}
	secure := tlsRows(web, held)
	seen := map[string]bool{"journal.password_file": true} // TestAReplacedPasswordOfRedis
	run := func(rows map[string]func(*changing), w *changing) {
		for setting, row := range rows {
			seen[setting] = true
			t.Run(setting, func(t *testing.T) {
				w.t = t
				w.forget()
				row(w)
			})
		}
	}
	run(plainRows, w)
	run(secure, newSecure(t, web, held))
	run(map[string]func(*changing){"data_key": dataKeyRow("data.key", "data_key"), "data_key_old": dataKeyRow("old.key", "data_key_old")},
		newChanging(t, func(w *changing, c *Config) {
			c.DataKey, c.DataKeyOld = w.file("data.key", secret()), w.file("old.key", secret())
		}))
	outgoing, change := outgoingRows(t, web)
	run(outgoing, newChanging(t, change))
	run(map[string]func(*changing){"revocation[].responders[]": respondersRow}, newChanging(t, answersByAnother(t)))

	looksLikeAFile := regexp.MustCompile(`(_file|key|secret|certificates?|client_ca|intermediates|schemas)$`)
	for setting, kind := range settingsOf(reflect.TypeFor[Config](), "") {
		setting = strings.Replace(strings.Replace(setting, "intermediates", "intermediates[]", 1), "responders", "responders[]", 1)
		if kind == "" && looksLikeAFile.MatchString(setting) && !strings.HasSuffix(setting, ".public_key") {
			t.Errorf(`the setting %s looks like the name of a file; give its field the tag "file"`, setting)
		}
		if kind != "" && !seen[setting] {
			t.Errorf("the setting %s names a file, and nothing shows that its old content is dead after a reload", setting)
		}
	}
}

// answersByAnother has the issuing CA's evidence come from OCSP alone, signed by a responder that the CA did not
// certify and the configuration trusts.
func answersByAnother(t *testing.T) func(*changing, *Config) {
	return func(w *changing, c *Config) {
		wc := w.worldConfig(nil, nil)
		wc.Providers = nil
		wc.Authorities[0].Responder = w.identity("ocsp-responder-other")
		world, err := statesim.New(wc)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(world.Handler())
		t.Cleanup(server.Close)
		r := &c.Revocation[0]
		r.CRL, r.DeltaCRL, r.OCSP, r.Responders = nil, nil, Addresses{server.URL + "/ocsp"}, []string{w.file("responder.pem", w.pem("ocsp-responder-other"))}
	}
}

// respondersRow takes the trusted responder out: what it signs is evidence no more.
func respondersRow(w *changing) {
	w.mustAccept(w.t, w.draft("citizen-02", taraz), "citizen-02")
	old := w.replace("responder.pem", w.pem("ocsp-responder-root"))
	if a := w.mustSubmit(w.t, w.draft("citizen-03", taraz), "citizen-03"); a.status == http.StatusAccepted {
		w.t.Error("an answer of a responder that was taken out counts")
	}
	w.replace("responder.pem", old)
}

// dataKeyRow replaces a key that what is kept is sealed under: that takes a start, and a journal rekey.
func dataKeyRow(file, setting string) func(*changing) {
	return func(w *changing) {
		old := w.content(file)
		w.waits(setting, func() { w.file(file, secret()) })
		w.restored(file, old)
	}
}

// newSecure is a gateway with TLS at both listeners, and a portal and an operator with certificates.
func newSecure(t *testing.T, web webPKI, held map[string][2]string) *changing {
	t.Helper()
	w := newChanging(t, func(w *changing, c *Config) {
		pair := func(name string, client bool) (cert, key string) {
			crt, k := web.issue(name, client)
			held[name+".crt"] = [2]string{crt, k}
			w.file(name+".key", k)
			return w.file(name+".crt", crt), name + ".key"
		}
		c.TLS, c.Console.TLS = &TLS{ClientCA: w.file("clients.crt", web.clientCA)}, &TLS{ClientCA: w.file("operators.crt", web.clientCA)}
		c.TLS.Certificate, c.TLS.Key = pair("doors", false)
		c.Console.TLS.Certificate, c.Console.TLS.Key = pair("pages", false)
		c.Portals[0].TokenFile = ""
		c.Portals[0].ClientCertificate, _ = pair("portal", true)
		c.SHEP.Participants[len(c.SHEP.Participants)-1].ClientCertificate, _ = pair("pushed", true)
		c.Console.Operators[0].TestTokenFile = ""
		c.Console.Operators[0].ClientCertificate, _ = pair("operator", true)
	})
	w.base, w.lab.console = strings.Replace(w.base, "http:", "https:", 1), strings.Replace(w.lab.console, "http:", "https:", 1)
	return w
}

// F4: the password of Redis is asked for at each new connection.
func TestAReplacedPasswordOfRedis(t *testing.T) {
	address, admin := newRedis(t)
	w := &changing{t: t, logs: new(logBuffer)}
	var err error
	if w.lab, err = newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(w.logs, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	first, second := secret(), secret()
	ctx := context.Background()
	set := func(password string) {
		t.Helper()
		if err := admin.ConfigSet(ctx, "requirepass", password).Err(); err != nil {
			t.Fatal(err)
		}
	}
	admin.Options().Password = first
	set(first)
	w.onRedis(t, address)
	w.mustReconfigure(t, func(c *Config) { c.Journal.PasswordFile = w.file("redis.password", first) })
	if err := w.startGateway(); err != nil {
		t.Fatal(err)
	}
	w.mustAccept(t, w.draft("citizen-01", taraz), "citizen-01")
	set(second)
	w.replace("redis.password", second)
	if err := admin.Do(ctx, "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if a := w.mustSubmit(t, w.draft("citizen-02", taraz), "citizen-02"); a.status == http.StatusAccepted {
			break
		} else if time.Now().After(end) {
			t.Fatalf("after the password was replaced: %d %s", a.status, a.body)
		}
	}
}

// F4: an operator who is taken out of the configuration is out at once: session, open pages and the
// connection of his certificate. The others stay.
func TestARemovedOperatorIsOutAtOnce(t *testing.T) {
	web, held := newWebPKI(t), map[string][2]string{}
	w := newSecure(t, web, held)
	c := w.browserWith(held["operator.crt"][0], held["operator.crt"][1], web.roots)
	if got := w.statusOf(c, w.lab.console); got != http.StatusOK {
		t.Fatalf("before: %d", got)
	}
	open := w.stream(c, w.lab.console+"live?of=")
	viewer := w.browserWith("", "", web.roots)
	if resp, err := viewer.PostForm(w.lab.console+"session", url.Values{"token": {w.viewer}}); err != nil ||
		resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("%v %v", resp, err)
	}
	w.mustReconfigure(t, func(c *Config) { c.Console.Operators = c.Console.Operators[1:] })
	if waiting, err := w.svc.reloader.reload(); err != nil || len(waiting) > 0 {
		t.Fatalf("%q waits, %v", waiting, err)
	}
	w.ends("the removed operator's stream", open)
	if got := w.statusOf(c, w.lab.console); got != http.StatusSeeOther {
		t.Errorf("the removed operator: %d", got)
	}
	if got := w.statusOf(viewer, w.lab.console); got != http.StatusOK {
		t.Errorf("the other operator: %d", got)
	}
	for _, said := range []string{`"sessions_ended":1`, `"connections_ended":1`, "operator (console.operators)"} {
		if !strings.Contains(w.logs.String(), said) {
			t.Errorf("the log does not say %s", said)
		}
	}
}

// F4: with an overlap the old one is good beside the new until its time is over; what was taken out is
// dead at once, and so is everything when the overlap is taken back.
func TestReplacedCredentialsOverlapForAWhile(t *testing.T) {
	w := newChanging(t)
	overlap := func(d time.Duration) { w.mustReconfigure(t, func(c *Config) { c.Credentials.Overlap = Duration(d) }) }
	overlap(time.Hour)
	provider := func(token string) int {
		return w.do(http.MethodPost, w.base+"/v1/providers/taraz/results", []byte("<result/>"), "Content-Type", "application/xml",
			"Authorization", "Bearer "+token)
	}
	_, nextKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cabinet := func(key ed25519.PrivateKey) int {
		return w.do(http.MethodGet, w.base+"/cabinet/api/requests", nil, "Authorization", "Bearer "+w.citizen(key))
	}
	tokens, callbacks, passwords := []string{w.content("portal.token"), secret()}, []string{w.content("in.token"),
		secret()}, []string{w.content("shep.password"), secret()}
	certs := []string{"system-portal", "gost-system-gateway"}
	keys := []ed25519.PrivateKey{w.portalKey, nextKey}
	w.file("in.token", callbacks[1])
	w.file("shep.password", passwords[1])
	w.file("system-portal.crt", w.pem(certs[1]))
	w.file("portal.pem", publicPEM(t, nextKey))
	w.replace("portal.token", tokens[1])
	good := func(i int) []bool {
		return []bool{w.byToken(tokens[i]) == http.StatusNotFound, provider(callbacks[i]) != http.StatusUnauthorized,
			w.believes("", shep.Sender{ID: "EGOV", Password: passwords[i]}) == "",
			w.believes(certs[i], shep.Sender{ID: "BANK"}) == "", cabinet(keys[i]) == http.StatusOK}
	}
	all, none := []bool{true, true, true, true, true}, make([]bool, 5)
	if old, now := good(0), good(1); !slices.Equal(old, all) || !slices.Equal(now, all) {
		t.Errorf("during the overlap: old %v, new %v", old, now)
	}
	if n := w.sample(t, "egov_gateway_config_overlapping"); n != 5 || !strings.Contains(w.logs.String(), "still good for a while") {
		t.Errorf("%v are told of", n)
	}
	if strings.Contains(w.logs.String(), "were taken back") {
		t.Errorf("what is still good is said to be taken back:\n%s", w.logs)
	}
	r := w.svc.reloader
	r.mu.Lock()
	r.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	r.mu.Unlock()
	r.endOverlap()
	if old, now := good(0), good(1); !slices.Equal(old, none) || !slices.Equal(now, all) {
		t.Errorf("after the overlap: old %v, new %v", old, now)
	}
	if w.sample(t, "egov_gateway_config_overlapping") != 0 {
		t.Error("the metric does not tell of the end")
	}
	if !strings.Contains(w.logs.String(), "were taken back") {
		t.Errorf("the log does not tell of the end:\n%s", w.logs)
	}
	// Who is taken out is out, whatever the overlap.
	third := w.replace("portal.token", secret())
	w.mustReconfigure(t, func(c *Config) { c.Portals[0].Name = "somebody-else" })
	if _, err := r.reload(); err != nil {
		t.Fatal(err)
	}
	if got := w.byToken(third); got != http.StatusUnauthorized {
		t.Errorf("a token of a portal that was taken out: %d", got)
	}
	// And an overlap that is taken back ends at once.
	fourth := w.replace("in.token", secret())
	if got := provider(fourth); got == http.StatusUnauthorized {
		t.Error("no overlap")
	}
	overlap(0)
	if _, err := r.reload(); err != nil {
		t.Fatal(err)
	}
	if got := provider(fourth); got != http.StatusUnauthorized {
		t.Errorf("after the overlap was taken back: %d", got)
	}
	noSecrets(t, w.logs.String(), tokens, callbacks, passwords)
}

// The timer ends an overlap by itself.
func TestAnOverlapEndsByItself(t *testing.T) {
	w := newChanging(t)
	w.mustReconfigure(t, func(c *Config) { c.Credentials.Overlap = Duration(100 * time.Millisecond) })
	old := w.replace("portal.token", secret())
	for end := time.Now().Add(2 * time.Minute); w.byToken(old) != http.StatusUnauthorized; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the old token is good for ever")
		}
	}
}

func noSecrets(t *testing.T, logs string, all ...[]string) {
	t.Helper()
	for _, secret := range slices.Concat(all...) {
		if strings.Contains(logs, secret) {
			t.Error("the log holds a secret")
		}
	}
}

// A file that cannot be used changes nothing, whichever it is: neither it nor those beside it.
func TestAFaultyFileChangesNothing(t *testing.T) {
	w := newChanging(t)
	for _, tt := range []struct{ name, file, content string }{
		{"a token that is too short", "in.token", "short"},
		{"a cabinet key that is none", "portal.pem", "nonsense"},
		{"a pinned certificate that is none", "region.crt", "nonsense"},
		{"the gateway's own key without its certificate", "gateway.pem", string(w.pki.Must("system-gateway").KeyPEM)},
		{"an index secret that is too short", "secret", "0123456789abcdef0123"},
		{"two portals' tokens that are the same are refused with the rest", "gateway.yaml", "listen: ["},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, was := w.content("portal.token"), w.content(tt.file)
			w.file("portal.token", secret())
			w.file(tt.file, tt.content)
			if _, err := w.svc.reloader.reload(); err == nil {
				t.Fatal("taken")
			}
			if got := w.byToken(token); got != http.StatusNotFound {
				t.Errorf("the token from before: %d", got)
			}
			w.file(tt.file, was)
			w.file("portal.token", token)
		})
	}
	if _, err := w.svc.reloader.reload(); err != nil {
		t.Error(err)
	}
}
