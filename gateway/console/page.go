package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/browser"
)

//go:embed pages
var files embed.FS

//go:embed assets/console.css
var style string

// Paths lists the pages of the menu; catalogues have a title for each.
var Paths = []string{"regions", "requests", "parked", "deadlines", "systems", "revocation", "certificates", "refusals", "actions"}

// A page is what a template gets.
type page struct {
	Name      string // of the template, and of the menu's entry
	Title     string // "" is the menu's
	Lang      gateway.Language
	Languages []gateway.Language
	Menu      []string
	Path      string // with the query, for the language links
	Operator  string
	CSRF      string
	Live      string // what the page watches; "" when it does not change by itself
	At        time.Time
	Data      any
}

// templates parses the pages once for each language, whose words the functions give.
func (c *Console) templates() (map[gateway.Language]*template.Template, error) {
	all := map[gateway.Language]*template.Template{}
	for _, l := range gateway.Languages {
		t, err := template.New("").Funcs(template.FuncMap{
			"t":        func(key string, args ...any) string { return c.c.Texts.Text(l, key, args...) },
			"n":        func(key string, n int) string { return c.c.Texts.Plural(l, key, n) },
			"date":     func(at time.Time) string { return c.c.Texts.DateTime(l, at) },
			"iso":      func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
			"in":       func(t gateway.Texts) string { return t.In(l) },
			"reason":   func(r gateway.Reason) string { return c.c.Texts.Reason(l, r) },
			"span":     func(d time.Duration) string { return c.span(l, d) },
			"until":    func(at time.Time) string { return c.distance(l, at) },
			"days":     func(at time.Time) int { return int(at.Sub(c.c.Now()).Hours() / 24) },
			"group":    func(n int) string { return c.c.Texts.Amount(l, fmt.Sprint(n)) },
			"region":   func(shard string) string { return c.regionName(l, shard) },
			"short":    func(id gateway.RequestID) string { return string(id)[:min(8, len(id))] },
			"hex":      func(b [32]byte) string { return fmt.Sprintf("%x", b) },
			"provider": func(id string) string { return c.providerName(l, id) },
			"service":  func(code string) string { return c.serviceName(l, code) },
			"list":     func(v ...any) []any { return v },
			"langlink": langLink,
			"state":    func(s gateway.State) string { return c.stateName(l, s) },
			"subject":  func(e gateway.Event) string { return c.subject(l, e) },
		}).ParseFS(files, "pages/*.html")
		if err != nil {
			return nil, err
		}
		all[l] = t
	}
	return all, nil
}

// regionName is a region's name of the texts, or its shard as one: west-kazakhstan is West Kazakhstan.
func (c *Console) regionName(l gateway.Language, shard string) string {
	if strings.Contains(shard, ":") {
		return shard
	}
	if key := "region." + shard; c.c.Texts.Text(l, key) != key {
		return c.c.Texts.Text(l, key)
	}
	words := strings.Split(shard, "-")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// stateName is a state's name; what a citizen reads as being looked into is stopped here.
func (c *Console) stateName(l gateway.Language, s gateway.State) string {
	if s == gateway.StateParked {
		return c.c.Texts.Text(l, "console.stopped")
	}
	return c.c.Texts.Text(l, "state."+string(s))
}

// subject names what an event is about.
func (c *Console) subject(l gateway.Language, e gateway.Event) string {
	switch e.Kind {
	case gateway.EventRecord:
		return c.c.Texts.Text(l, "record."+e.Subject)
	case gateway.EventResult:
		return c.c.Texts.Text(l, "result."+e.Subject)
	case gateway.EventParked, gateway.EventRedriven:
		return c.stateName(l, gateway.State(e.Subject))
	case gateway.EventDelivered:
		return c.providerName(l, e.Subject)
	}
	return e.Subject
}

// langLink is the address of the same page in another language.
func langLink(path string, l gateway.Language) string {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + "lang=" + string(l)
}

// goesBy are the parameters that a page goes by, beside the language.
var goesBy = map[string][]string{
	"/console/requests":  {"shard", "state", "cursor"},
	"/console/parked":    {"shard", "provider", "reason", "cursor"},
	"/console/deadlines": {"shard"},
}

// maxAddress bounds, in bytes, the address that a page repeats of itself.
const maxAddress = 512

// ownAddress is the address of a page without its language, for the page's links. It holds only what the page
// goes by, for anybody may send a browser here with anything in the address. A form's answer has none of its own.
func ownAddress(r *http.Request) string {
	path := r.URL.Path
	if strings.HasPrefix(path, "/console/oidc") {
		return "/console/sign-in" // the address itself begins or ends a sign-in, whatever the language
	}
	if r.Method != http.MethodGet || len(path) > maxAddress {
		return "/console/"
	}
	given, kept := r.URL.Query(), url.Values{}
	for _, name := range goesBy[path] {
		if value := given.Get(name); value != "" {
			kept.Set(name, value)
		}
	}
	if with := path + "?" + kept.Encode(); len(kept) > 0 && len(with) <= maxAddress {
		return with
	}
	return path
}

func (c *Console) providerName(l gateway.Language, id string) string {
	for _, p := range c.c.Forms.All() {
		if q, ok := p.ProviderByID(id); ok {
			return q.Name.In(l)
		}
	}
	return id
}

func (c *Console) serviceName(l gateway.Language, code string) string {
	for _, p := range c.c.Forms.All() {
		if p.Service == code {
			return p.Name.In(l)
		}
	}
	return code
}

// span writes a duration by its largest unit.
func (c *Console) span(l gateway.Language, d time.Duration) string {
	d = max(d, -d)
	switch {
	case d < time.Second:
		return c.c.Texts.Text(l, "console.milliseconds", d.Milliseconds())
	case d < time.Minute:
		return c.c.Texts.Text(l, "console.seconds", int(d/time.Second))
	case d < time.Hour:
		return c.c.Texts.Text(l, "console.minutes", int(d/time.Minute))
	case d < 48*time.Hour:
		return c.c.Texts.Text(l, "console.hours", int(d/time.Hour))
	}
	return c.c.Texts.Plural(l, "console.days", int(d/(24*time.Hour)))
}

// distance writes how far an instant is: in 2 h, 5 min ago.
func (c *Console) distance(l gateway.Language, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	d := at.Sub(c.c.Now())
	if d >= 0 {
		return c.c.Texts.Text(l, "console.ahead", c.span(l, d))
	}
	return c.c.Texts.Text(l, "console.ago", c.span(l, d))
}

func (c *Console) render(v visit, status int, p page) {
	p.Lang, p.Languages, p.At = v.lang, gateway.Languages, c.c.Now()
	p.Path = ownAddress(v.r)
	if p.Name == "none" { // what was typed is not repeated
		p.Path = "/console/"
	}
	if v.session != nil {
		p.Operator, p.CSRF, p.Menu = v.operator.Name, v.csrf, Paths
	}
	if p.Live != "" {
		p.Live = "/console/live?" + url.Values{"of": {p.Live}}.Encode()
	}
	if p.Title == "" {
		p.Title = c.c.Texts.Text(v.lang, "console.page."+strings.ReplaceAll(p.Name, "-", "_"))
	}
	var b bytes.Buffer
	t := c.pages[v.lang]
	err := t.ExecuteTemplate(&b, "top", p)
	if err == nil {
		err = t.ExecuteTemplate(&b, p.Name, p)
	}
	if err == nil {
		err = t.ExecuteTemplate(&b, "bottom", p)
	}
	if err != nil {
		c.c.Log.Error("console", "page", p.Name, "error", err)
		http.Error(v.w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h := v.w.Header()
	browser.Headers(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", string(v.lang))
	v.w.WriteHeader(status)
	v.w.Write(b.Bytes()) //nolint:errcheck // the client may be gone
}

// refuse shows why a page is not shown.
func (c *Console) refuse(v visit, err error) {
	reason := gateway.ReasonOf(err)
	status := http.StatusServiceUnavailable
	switch reason {
	case gateway.OperatorUnauthenticated:
		status = http.StatusUnauthorized
	case gateway.GuessLimit:
		status = http.StatusTooManyRequests
		if seconds, ok := admission.RetryAfter(err); ok {
			v.w.Header().Set("Retry-After", strconv.Itoa(seconds))
		}
	case gateway.Overload:
		v.w.Header().Set("Retry-After", strconv.Itoa(busyFor))
	case gateway.OperatorForbidden, gateway.FormForged:
		status = http.StatusForbidden
	case gateway.NotFound:
		status = http.StatusNotFound
	case gateway.BodyTooLarge:
		status = http.StatusRequestEntityTooLarge
	case gateway.MediaType:
		status = http.StatusUnsupportedMediaType
	default:
		c.c.Log.Error("console", "reason", string(reason), "error", err)
	}
	c.render(v, status, page{Name: "refusal", Data: reason})
}

// busyFor is after how many seconds full pages may be tried again.
const busyFor = 5

// Refuse answers a request that did not get to the pages, as for want of room.
func (c *Console) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	c.refuse(visit{w: w, r: r, lang: c.language.Of(w, r)}, err)
}

// pageNone answers for all other addresses; it says nothing that a stranger may not know.
func (c *Console) pageNone(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	c.render(v, http.StatusNotFound, page{Name: "none", Title: c.c.Texts.Text(v.lang, "console.page.refusal")})
}
