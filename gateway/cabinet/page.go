package cabinet

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/browser"
	"egov-gateway/gateway/diagram"
)

//go:embed page.html
var files embed.FS

//go:embed assets/style.css
var style string

// templates parses the pages once for each language, whose words the functions give.
func (c *Cabinet) templates() (map[gateway.Language]*template.Template, error) {
	all := map[gateway.Language]*template.Template{}
	for _, l := range gateway.Languages {
		t, err := template.New("").Funcs(template.FuncMap{
			"t":      func(key string) string { return c.c.Texts.Text(l, key) },
			"date":   func(at time.Time) string { return c.c.Texts.DateTime(l, at) },
			"iso":    func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
			"amount": func(decimal string) string { return c.c.Texts.Amount(l, decimal) },
			"hex":    func(b [32]byte) string { return fmt.Sprintf("%x", b) },
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
	Cards     []Card
	Next      string
	Case      *view
	Print     bool   // the result, to be printed
	Live      string // where the page hears of news; "" when there will be none
	Refusal   string
	PortalURL string
	SignedIn  bool
}

func (c *Cabinet) render(w http.ResponseWriter, r *http.Request, l gateway.Language, status int, p page) {
	p.Lang, p.Languages, p.Path, p.PortalURL = l, gateway.Languages, r.URL.Path, c.c.PortalURL
	if r.Method != http.MethodGet || p.Refusal != "" {
		p.Path = "/cabinet/" // what was typed may be anybody's number: a refusal does not repeat it
	}
	var b bytes.Buffer
	if err := c.pages[l].ExecuteTemplate(&b, "page", p); err != nil {
		c.c.Problem(w, r, gateway.Errorf(gateway.Internal, "render: %w", err))
		return
	}
	h := w.Header()
	browser.Headers(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(l))
	w.WriteHeader(status)
	w.Write(b.Bytes()) //nolint:errcheck // the client may be gone
}

// refuse shows the refusal of «процесс 2», or what else is wrong, as a page. Who has not signed in, or no more, is
// told so: «процесс 2» says that something is wrong with the citizen's data.
func (c *Cabinet) refuse(w http.ResponseWriter, r *http.Request, err error) {
	reason := gateway.ReasonOf(err)
	status := http.StatusServiceUnavailable
	switch reason {
	case gateway.CitizenUnauthenticated:
		status = http.StatusUnauthorized
	case gateway.GuessLimit:
		status = http.StatusTooManyRequests
		if seconds, ok := admission.RetryAfter(err); ok {
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
		}
	case gateway.Overload:
		w.Header().Set("Retry-After", strconv.Itoa(busyFor))
	case gateway.FormForged:
		status = http.StatusForbidden
	case gateway.NotFound:
		status = http.StatusNotFound
	case gateway.Erased:
		status = http.StatusGone
	case gateway.BodyTooLarge:
		status = http.StatusRequestEntityTooLarge
	case gateway.MediaType:
		status = http.StatusUnsupportedMediaType
	default:
		c.c.Log.Error("cabinet", "reason", string(reason), "error", err)
	}
	l := c.language.Of(w, r)
	text := c.c.Texts.Reason(l, reason)
	if errors.Is(err, errSignIn) { // nobody has looked at any data of a citizen
		text = c.c.Texts.Text(l, "cabinet.sign_in")
	}
	c.render(w, r, l, status, page{Refusal: text, SignedIn: c.running(r) != nil})
}

// busyFor is after how many seconds a full cabinet may be tried again.
const busyFor = 5

// Refuse answers a request that did not get into the cabinet, as for want of room: programs with a problem,
// people with a page.
func (c *Cabinet) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if strings.HasPrefix(r.URL.Path, "/cabinet/api/") {
		c.c.Problem(w, r, err)
		return
	}
	c.refuse(w, r, err)
}

// pageNone answers for all other addresses.
func (c *Cabinet) pageNone(w http.ResponseWriter, r *http.Request) {
	l := c.language.Of(w, r)
	c.render(w, r, l, http.StatusNotFound, page{Refusal: c.c.Texts.Text(l, "cabinet.no_page"), SignedIn: c.running(r) != nil})
}

func (c *Cabinet) pageList(w http.ResponseWriter, r *http.Request) {
	cards, next, err := c.list(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.render(w, r, c.language.Of(w, r), http.StatusOK, page{Cards: cards, Next: next, SignedIn: true})
}

func (c *Cabinet) pageRequest(w http.ResponseWriter, r *http.Request) {
	k, err := c.one(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	l := c.language.Of(w, r)
	c.render(w, r, l, http.StatusOK, page{Case: c.view(l, k), Live: "/cabinet/requests/" + string(k.ID) + "/live", SignedIn: true})
}

// pageResult is the result with the verdict about its signature, to be printed.
func (c *Cabinet) pageResult(w http.ResponseWriter, r *http.Request) {
	k, err := c.one(r)
	switch {
	case err == nil && k.State == gateway.StateErased:
		err = gateway.Errorf(gateway.Erased, "the time to keep it has passed")
	case err == nil && k.Decision == nil:
		err = gateway.Errorf(gateway.NotFound, "the request has no result yet")
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	l := c.language.Of(w, r)
	c.render(w, r, l, http.StatusOK, page{Case: c.view(l, k), Print: true, SignedIn: true})
}

// way draws the request's way on the decree's diagram (R22).
func (c *Cabinet) way(w http.ResponseWriter, r *http.Request) {
	k, err := c.one(r)
	if err != nil {
		c.c.Problem(w, r, err)
		return
	}
	l := c.language.Of(w, r)
	way := diagram.Way{Marks: diagram.Marks(k.State, k.Decision != nil), Notes: map[string][]string{}, Text: func(key string) string { return c.c.Texts.Text(l, key) }}
	for node, at := range diagram.Times(k.source, k.events) {
		way.Notes[node] = []string{c.c.Texts.DateTime(l, at)}
	}
	h := w.Header()
	browser.Headers(h)
	h.Set("Content-Type", "image/svg+xml; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Write([]byte(diagram.Draw(way))) //nolint:errcheck // the client may be gone
}

// live tells the page of one request that it changed.
func (c *Cabinet) live(w http.ResponseWriter, r *http.Request) {
	who, err := c.citizen(r)
	if err != nil {
		w.WriteHeader(http.StatusNoContent) // the browser stops asking
		return
	}
	c.news.Serve(w, r, string(who), func() (string, bool) {
		it, err := c.item(r)
		return strconv.FormatInt(it.Version, 10), err == nil
	})
}
