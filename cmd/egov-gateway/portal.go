package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/plainyaml"
	"egov-gateway/schemas"
)

//go:embed portal
var portalFiles embed.FS

// demoPassword is everybody's at the demonstration's portal. TEST ONLY.
const demoPassword = "test"

// A demoPortal stands in for the e-government portal: it signs a citizen in, fills the form,
// signs it with a test key, sends it to the gateway and opens the cabinet. TEST ONLY: it holds
// everybody's keys, which no real portal does.
type demoPortal struct {
	l     *lab
	texts *message.Catalogue
	words map[string]gateway.Texts
	pages map[gateway.Language]*template.Template

	mu   sync.Mutex
	open map[string]string // citizen by session; guarded by mu
	time sync.Mutex        // one hop at a time
}

// portalPerson is one of those who may sign in.
type portalPerson struct{ ID, IIN, Name, Story string }

func (p *demoPortal) people() (all []portalPerson) {
	stories := map[string]string{"citizen-02": "story_income", "citizen-03": "story_mistaken"}
	for n := 1; n <= 8; n++ {
		e := p.l.pki.Must(fmt.Sprintf("citizen-%02d", n))
		story := "story_good"
		if s, ok := stories[e.ID]; ok {
			story = s
		}
		all = append(all, portalPerson{e.ID, e.IIN, e.Surname + " " + e.Name, story})
	}
	return all
}

type portalPage struct {
	Lang      gateway.Language
	Languages []gateway.Language
	Path      string
	Password  string
	People    []portalPerson
	Person    *portalPerson
	Refusal   string
	Receipt   *intake.Receipt
	Problem   *intake.Problem
	Cabinet   string // where the token is sent
	Token     string
	Clock     string
}

// servePortal starts the demonstration's portal and returns its address.
func (l *lab) servePortal() (string, error) {
	p := &demoPortal{l: l, open: map[string]string{}, pages: map[gateway.Language]*template.Template{}}
	raw, err := portalFiles.ReadFile("portal/texts.yaml")
	if err == nil {
		err = plainyaml.Unmarshal(raw, &p.words)
	}
	if err != nil {
		return "", err
	}
	if p.texts, err = message.Load(schemas.FS, time.FixedZone("Almaty", 5*3600)); err != nil {
		return "", err
	}
	for _, lang := range gateway.Languages {
		if p.pages[lang], err = template.New("").Funcs(template.FuncMap{
			"t":    func(key string) string { return p.words[key].In(lang) },
			"word": func(key string) string { return p.texts.Text(lang, key) },
			"date": func(at time.Time) string { return p.texts.DateTime(lang, at) },
		}).ParseFS(portalFiles, "portal/portal.html"); err != nil {
			return "", err
		}
	}
	ln, err := net.Listen("tcp", l.portal)
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { p.show(w, r, http.StatusOK, portalPage{}) })
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("POST /sign-out", p.signOut)
	mux.HandleFunc("POST /apply", p.apply)
	mux.HandleFunc("POST /time", p.hop)
	mux.HandleFunc("GET /portal.css", func(w http.ResponseWriter, _ *http.Request) {
		css, _ := portalFiles.ReadFile("portal/portal.css")
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write(css) //nolint:errcheck // the client may be gone
	})
	l.serve(ln, http.NewCrossOriginProtection().Handler(mux))
	return "http://" + ln.Addr().String() + "/", nil
}

// person is who is signed in; nil is nobody.
func (p *demoPortal) person(r *http.Request) *portalPerson {
	cookie, err := r.Cookie("portal")
	if err != nil {
		return nil
	}
	p.mu.Lock()
	id := p.open[cookie.Value]
	p.mu.Unlock()
	for _, one := range p.people() {
		if one.ID == id {
			return &one
		}
	}
	return nil
}

func (p *demoPortal) language(w http.ResponseWriter, r *http.Request) gateway.Language {
	if l := message.Negotiate(r.URL.Query().Get("lang"), ""); l != "" {
		http.SetCookie(w, &http.Cookie{Name: "portal_language", Value: string(l), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		return l
	}
	if cookie, err := r.Cookie("portal_language"); err == nil {
		if l := message.Negotiate(cookie.Value, ""); l != "" {
			return l
		}
	}
	return message.Negotiate(r.Header.Get("Accept-Language"), gateway.Kazakh)
}

func (p *demoPortal) show(w http.ResponseWriter, r *http.Request, status int, page portalPage) {
	page.Lang, page.Languages, page.Path, page.Password = p.language(w, r), gateway.Languages, "/", demoPassword
	if page.Person == nil {
		page.Person = p.person(r)
	}
	if page.Person == nil {
		page.People = p.people()
	} else {
		token, err := p.l.citizenToken(page.Person.IIN, 30*time.Minute)
		if err != nil {
			http.Error(w, "the token was not made", http.StatusInternalServerError)
			return
		}
		page.Cabinet, page.Token, page.Clock = p.l.base+"/cabinet/session", token, p.texts.DateTime(page.Lang, p.l.clock.Now())
	}
	var b bytes.Buffer
	if err := p.pages[page.Lang].ExecuteTemplate(&b, "page", page); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' "+p.l.base+"; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the client may be gone
}

// signIn is «процесс 1» and «условие 1»; a failed one gives the refusal of «процесс 2».
func (p *demoPortal) signIn(w http.ResponseWriter, r *http.Request) {
	for _, one := range p.people() {
		if r.PostFormValue("iin") == one.IIN && r.PostFormValue("password") == demoPassword {
			session := rand.Text()
			p.mu.Lock()
			p.open[session] = one.ID
			p.mu.Unlock()
			http.SetCookie(w, &http.Cookie{Name: "portal", Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
	}
	p.show(w, r, http.StatusUnauthorized, portalPage{Refusal: p.texts.Reason(p.language(w, r), gateway.CitizenUnauthenticated)})
}

func (p *demoPortal) signOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie("portal"); err == nil {
		p.mu.Lock()
		delete(p.open, cookie.Value)
		p.mu.Unlock()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// apply is «процесс 3» and «процесс 4»: the form, the signature, and what the gateway answers.
func (p *demoPortal) apply(w http.ResponseWriter, r *http.Request) {
	person := p.person(r)
	if person == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	lang := p.language(w, r)
	territory, ok := map[string]string{"petropavl": petropavl, "taraz": taraz, "kordaj": kordaj}[r.PostFormValue("territory")]
	cost, err := strconv.Atoi(r.PostFormValue("cost"))
	if !ok || err != nil {
		http.Error(w, "the form was not filled in", http.StatusBadRequest)
		return
	}
	d := p.l.draft(person.ID, territory)
	d.Documents = nil
	if r.PostFormValue("documents") != "" {
		d.Documents = harness.RequiredDocuments(person.ID)
	}
	d.Language, d.MonthlyCost, d.IBAN, d.Tenure, d.NoConsent = string(lang), cost, r.PostFormValue("iban"), r.PostFormValue("tenure"), r.PostFormValue("consent") == ""
	answer, err := p.send(d, person.ID, r.PostFormValue("key"), lang)
	if err != nil {
		p.l.log.Error("portal", "error", err)
		http.Error(w, "the gateway did not answer", http.StatusBadGateway)
		return
	}
	if answer.status == http.StatusAccepted {
		p.show(w, r, http.StatusOK, portalPage{Receipt: &answer.receipt})
		return
	}
	p.show(w, r, answer.status, portalPage{Problem: &answer.problem})
}

func (p *demoPortal) send(d harness.Draft, person, with string, lang gateway.Language) (answer, error) {
	signer := person
	switch with {
	case "other":
		if signer = "citizen-07"; person == signer {
			signer = "citizen-06"
		}
	case "revoked":
		signer = "citizen-revoked"
	}
	key, err := p.l.key(signer)
	if err != nil {
		return answer{}, err
	}
	signed, err := d.Sign(key)
	if err != nil {
		return answer{}, err
	}
	if with == "changed" {
		signed = bytes.Replace(signed, []byte("<monthlyCost>"), []byte("<monthlyCost>9"), 1)
	}
	header := map[string]string{"Accept-Language": string(lang)}
	if len(d.Documents) == 0 {
		return p.l.post("application/xml", signed, header)
	}
	contentType, body := harness.Multipart(signed, d.Documents)
	return p.l.post(contentType, body, header)
}

// hop moves the world's clock to the next piece of the providers' work.
func (p *demoPortal) hop(w http.ResponseWriter, r *http.Request) {
	p.time.Lock()
	defer p.time.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if next, ok := p.l.world.NextDue(); ok {
		p.l.clock.HopTo(next.Add(time.Millisecond))
		if err := p.l.svc.checker.Refresh(ctx); err != nil {
			p.l.log.Warn("refresh", "error", err)
		}
		p.l.world.Work(ctx)
		p.l.svc.engine.Kick()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
