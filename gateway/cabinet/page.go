package cabinet

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/diagram"
	"egov-gateway/gateway/message"
)

//go:embed page.html style.css
var files embed.FS

// templates parses the pages once for each language, whose words the functions give.
func (c *Cabinet) templates() (map[gateway.Language]*template.Template, error) {
	all := map[gateway.Language]*template.Template{}
	for _, l := range gateway.Languages {
		t, err := template.New("").Funcs(template.FuncMap{
			"t":      func(key string) string { return c.c.Texts.Text(l, key) },
			"date":   func(at time.Time) string { return c.c.Texts.DateTime(l, at) },
			"amount": func(decimal string) string { return c.c.Texts.Amount(l, decimal) },
			"left": func(due time.Time) string {
				days := int(due.Sub(c.c.Now()) / (24 * time.Hour))
				return c.c.Texts.Plural(l, "cabinet.days_left", max(days, 0))
			},
			"in": func(t gateway.Texts) string { return t.In(l) },
		}).ParseFS(files, "page.html")
		if err != nil {
			return nil, err
		}
		all[l] = t
	}
	return all, nil
}

type page struct {
	Lang      gateway.Language
	Languages []gateway.Language
	Path      string
	Title     string
	Cards     []Card
	Next      string
	Case      *Case
	Refusal   string
	PortalURL string
	SignedIn  bool
}

func language(r *http.Request) gateway.Language {
	l := message.Negotiate(r.URL.Query().Get("lang"), "")
	if l == "" {
		l = message.Negotiate(r.Header.Get("Accept-Language"), gateway.Kazakh)
	}
	return l
}

func (c *Cabinet) render(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.Lang, p.Languages, p.Path, p.PortalURL = language(r), gateway.Languages, r.URL.Path, c.c.PortalURL
	var b bytes.Buffer
	if err := c.pages[p.Lang].ExecuteTemplate(&b, "page", p); err != nil {
		c.c.Problem(w, r, gateway.Errorf(gateway.Internal, "render: %w", err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(p.Lang))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the client may be gone
}

// refuse shows the refusal of «процесс 2», or what else is wrong, as a page.
func (c *Cabinet) refuse(w http.ResponseWriter, r *http.Request, err error) {
	reason := gateway.ReasonOf(err)
	status := http.StatusServiceUnavailable
	switch reason {
	case gateway.CitizenUnauthenticated:
		status = http.StatusUnauthorized
	case gateway.NotFound:
		status = http.StatusNotFound
	default:
		c.c.Log.Error("cabinet", "reason", string(reason), "error", err)
	}
	c.render(w, r, status, page{Refusal: c.c.Texts.Reason(language(r), reason), SignedIn: reason != gateway.CitizenUnauthenticated})
}

func (c *Cabinet) pageList(w http.ResponseWriter, r *http.Request) {
	cards, next, err := c.list(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.render(w, r, http.StatusOK, page{Cards: cards, Next: next, SignedIn: true})
}

func (c *Cabinet) pageRequest(w http.ResponseWriter, r *http.Request) {
	k, err := c.one(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.render(w, r, http.StatusOK, page{Case: k, SignedIn: true})
}

// way draws the request's way on the decree's diagram (R22).
func (c *Cabinet) way(w http.ResponseWriter, r *http.Request) {
	k, err := c.one(r)
	if err != nil {
		c.c.Problem(w, r, err)
		return
	}
	l := language(r)
	svg := diagram.SVG(diagram.Marks(k.State, k.Decision != nil), func(key string) string { return c.c.Texts.Text(l, key) })
	h := w.Header()
	h.Set("Content-Type", "image/svg+xml; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Write([]byte(svg)) //nolint:errcheck // the client may be gone
}

func (c *Cabinet) style(w http.ResponseWriter, _ *http.Request) {
	b, _ := files.ReadFile("style.css")
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Write(b) //nolint:errcheck // the client may be gone
}

// signIn takes the portal's token from a form, so that it stands in no address, and keeps it
// in a cookie for this session.
func (c *Cabinet) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	token := r.PostFormValue("token")
	if _, err := c.check(token); err != nil {
		c.refuse(w, r, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: token, Path: "/cabinet/", HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/cabinet/", http.StatusSeeOther)
}

func (c *Cabinet) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/cabinet/", MaxAge: -1, HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/cabinet/", http.StatusSeeOther)
}
