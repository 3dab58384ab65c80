// Package console is the operators' view of the regions: what flows, what stands, what will be
// late, and the one order an operator gives, to set parked work going again. Pages are made on
// the server and work without scripts; a small script keeps them fresh.
//
// The console reads the journal and runs no step. It shows no documents and no personal data,
// and nothing is shown or done before the journal holds who asked for it.
package console

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/browser"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
)

// Every region, in a role.
const Everywhere = "*"

// A Journal is what the console reads.
type Journal interface {
	// Get returns an item with its events; [journal.ErrNotFound] for an unknown id.
	Get(ctx context.Context, id gateway.RequestID) (journal.Item, error)
	// List returns a page of items, newest first.
	List(ctx context.Context, q journal.Query) ([]journal.Item, string, error)
	// Stats counts items by shard and state.
	Stats(ctx context.Context) (journal.Stats, error)
}

// An Operator may sign in. One of TokenSHA256, CertificateSHA256 and Subject is needed.
type Operator struct {
	Name string // in the audit
	// View and Act are shards, or [Everywhere]; who may act may view.
	View, Act []string

	CertificateSHA256 [32]byte // of the client certificate
	Subject           string   // what the ID token's claim says
	TokenSHA256       [32]byte // TEST ONLY
}

func reaches(shards []string, shard string) bool {
	return slices.Contains(shards, Everywhere) || shard != "" && slices.Contains(shards, shard)
}

// MayView reports whether the operator sees the shard.
func (o *Operator) MayView(shard string) bool { return reaches(o.View, shard) || o.MayAct(shard) }

// MayAct reports whether the operator gives orders in the shard.
func (o *Operator) MayAct(shard string) bool { return reaches(o.Act, shard) }

// A System is one system that the gateway calls, as its last call left it.
type System struct {
	Name   string
	Role   string         // register, provider, portal, region, revocation: part of a text's key
	Shard  string         // "" when all regions use it
	Open   bool           // spared: its breaker is open
	At     time.Time      // of the last call, zero when there was none
	Reason gateway.Reason // of the last call, "" for success
	Status int            // HTTP status of the last answer
	Took   time.Duration
	Failed int // calls in a row that failed
	Calls  int // since the start
}

// A RevocationSource is where evidence about one issuer's certificates comes from.
type RevocationSource struct {
	Issuer     string
	Responders []Responder
	Lists      []List
	UsableTill time.Time      // the lists prove nothing after it; zero without lists
	Trouble    gateway.Reason // why the lists prove nothing now
}

// A Responder is one of OCSP.
type Responder struct {
	Host string
	Open bool // spared after failures
}

// A List is a CRL that is held.
type List struct {
	Kind       string // full, delta
	ThisUpdate time.Time
	NextUpdate time.Time
	Entries    int
}

// A Certificate is one that the gateway depends on.
type Certificate struct {
	Role     string // anchor, intermediate, own, partner, tls: part of a text's key
	Name     string // of the configuration: no personal data
	Serial   string
	NotAfter time.Time
}

// Config is what a Console needs; every field without a default is required.
type Config struct {
	Journal Journal
	Audit   journal.Audit
	Forms   *passport.Register
	Texts   *message.Catalogue
	Shards  []string // regions, in the order they are shown
	// Queues are shards that hold messages to participants; who sees everything sees them.
	Queues []string
	// Redrive sets a parked item going again if it still has that version. The order is durable
	// when it returns nil.
	Redrive func(ctx context.Context, id gateway.RequestID, version int64) error

	Systems      func() []System
	Revocation   func() []RevocationSource
	Certificates func() []Certificate

	Operators []Operator
	OIDC      *OIDC // nil: no such sign-in
	// SignInRefused, if set, is told of each refused sign-in by its way, one of Ways.
	SignInRefused func(way string)
	// House is where all doors count wrong credentials, and who is sent away; nil means one of its own.
	House *admission.House
	// SecureCookie marks cookies for https only; false on plain loopback.
	SecureCookie bool

	Now func() time.Time // nil means time.Now
	// Steady measures how long sessions last. nil means time.Now, with its monotonic reading: a
	// clock that is set right signs nobody out.
	Steady func() time.Time
	Log    *slog.Logger // nil discards
}

// A Console is safe for concurrent use.
type Console struct {
	c        Config
	pages    map[gateway.Language]*template.Template
	sessions *sessions
	admitted atomic.Pointer[admitted]
	forgery  *http.CrossOriginProtection
	late     atomic.Pointer[lateness]
	counted  counted
	language browser.LanguageChoice
	news     *browser.Live
	signIns  *admission.Door // those for whom the identity provider is being called
}

// MaxStreams bounds the live pages; beyond, pages are fresh when they are loaded.
const MaxStreams = 200

// New checks the configuration. Call [Console.Run] to keep the deadlines fresh.
func New(c Config) (*Console, error) {
	if c.Journal == nil || c.Audit == nil || c.Forms == nil || c.Texts == nil || len(c.Shards) == 0 || c.Redrive == nil || c.Systems == nil || c.Revocation == nil || c.Certificates == nil {
		return nil, errors.New("console: every field of Config without a default is required")
	}
	if err := CheckOperators(c.Operators, c.OIDC); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Steady == nil {
		c.Steady = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.House == nil {
		c.House = admission.New(admission.Config{})
	}
	con := &Console{c: c, sessions: newSessions(c.Steady), forgery: http.NewCrossOriginProtection(),
		language: browser.LanguageChoice{Cookie: "console_language", Path: "/console/", Secure: c.SecureCookie}, news: browser.NewLive(MaxStreams),
		signIns: c.House.NewDoor(admission.DoorConfig{Name: "sign-in", Strangers: admission.Room{Places: SignInsAtOnce}})}
	con.late.Store(&lateness{})
	con.admitted.Store(admit(c.Operators, c.OIDC, c.Now))
	var err error
	if con.pages, err = con.templates(); err != nil {
		return nil, err
	}
	return con, nil
}

// Close ends the live streams; pages go on.
func (c *Console) Close() { c.news.Close() }

// SignIns tells for how many the identity provider is being called, and who is sent away because of them.
func (c *Console) SignIns() admission.Report { return c.signIns.Report() }

// Register adds the console's routes to mux.
func (c *Console) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /console/{$}", c.seen(c.regions))
	mux.HandleFunc("GET /console/requests", c.seen(c.requests))
	mux.HandleFunc("POST /console/requests/find", c.order(c.find))
	mux.HandleFunc("GET /console/requests/{id}", c.seen(c.request))
	mux.HandleFunc("GET /console/requests/{id}/way.svg", c.way)
	mux.HandleFunc("GET /console/parked", c.seen(c.parked))
	mux.HandleFunc("POST /console/redrive/preview", c.order(c.preview))
	mux.HandleFunc("POST /console/redrive", c.order(c.redrive))
	mux.HandleFunc("GET /console/deadlines", c.seen(c.deadlines))
	mux.HandleFunc("GET /console/systems", c.seen(c.systems))
	mux.HandleFunc("GET /console/revocation", c.seen(c.revocation))
	mux.HandleFunc("GET /console/certificates", c.seen(c.certificates))
	mux.HandleFunc("GET /console/refusals", c.seen(c.refusals))
	mux.HandleFunc("GET /console/actions", c.seen(c.actions))
	mux.HandleFunc("GET /console/live", c.live)

	mux.HandleFunc("GET /console/sign-in", c.signInPage)
	mux.HandleFunc("POST /console/session", c.signInWithToken)
	mux.HandleFunc("GET /console/oidc", c.startOIDC)
	mux.HandleFunc("GET /console/oidc/callback", c.endOIDC)
	mux.HandleFunc("POST /console/sign-out", c.signOut)
	// Who loads the page anew that a form led to asks for the form's address.
	for address, page := range map[string]string{"session": "sign-in", "sign-out": "sign-in", "redrive": "parked",
		"redrive/preview": "parked"} {
		mux.Handle("GET /console/"+address, http.RedirectHandler("/console/"+page, http.StatusSeeOther))
	}
	mux.HandleFunc("/console/", c.pageNone)
	mux.HandleFunc("GET /console/console.css", browser.Asset(style, browser.Style))
	mux.HandleFunc("GET /console/live.js", browser.Asset(browser.Script, browser.Code))
}

// A visit is one request of a signed-in operator.
type visit struct {
	*session
	w    http.ResponseWriter
	r    *http.Request
	lang gateway.Language
}

// seen serves a page to a signed-in operator.
func (c *Console) seen(page func(v visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := visit{w: w, r: r, lang: c.language.Of(w, r)}
		var err error
		if v.session, err = c.session(w, r); err != nil {
			if r.Header.Get("X-Live") != "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, "/console/sign-in", http.StatusSeeOther)
			return
		}
		if err := page(v); err != nil {
			c.refuse(v, err)
		}
	}
}

// order serves a form; it must come from a page of this session.
func (c *Console) order(do func(v visit) error) http.HandlerFunc {
	return c.seen(func(v visit) error {
		if err := c.forgery.Check(v.r); err != nil {
			return gateway.Errorf(gateway.FormForged, "the order comes from another site")
		}
		if err := admission.BoundForm(v.w, v.r, 64<<10); err != nil {
			return err
		}
		if err := v.r.ParseForm(); err != nil {
			return gateway.Errorf(gateway.FormForged, "the order cannot be read")
		}
		if !v.session.proves(v.r.PostForm.Get("csrf")) {
			return gateway.Errorf(gateway.FormForged, "the order lacks the page's token")
		}
		return do(v)
	})
}

// Ways to sign in.
const (
	WayToken = "token"
	WayOIDC  = "oidc"
)

// Ways lists them.
var Ways = []string{WayToken, WayOIDC}

// Actions in the audit.
const (
	ActionSignIn  = "sign-in"
	ActionSignOut = "sign-out"
	ActionLook    = "look" // at a page
	ActionView    = "view" // one request
	ActionFind    = "find"
	ActionPreview = "preview"
	ActionRedrive = "redrive"
)

// Actions lists them; catalogues have a text for each.
var Actions = []string{ActionSignIn, ActionSignOut, ActionLook, ActionView, ActionFind, ActionPreview, ActionRedrive}

// note writes down what the operator does, before it is done. A page that keeps itself fresh is
// written down once in a while.
func (c *Console) note(v visit, action, subject, shard string, reason gateway.Reason) error {
	now := c.c.Now()
	if (action == ActionLook || action == ActionView) && reason == "" && !v.session.news(action+" "+subject+" "+shard, now, v.r.Header.Get("X-Live") != "") {
		return nil
	}
	return c.c.Audit.Record(v.r.Context(), journal.AuditEntry{At: now.UTC().Truncate(time.Microsecond), Door: "console", Party: v.operator.Name, Reason: reason, Action: action, Subject: subject, Shard: shard})
}

// visible are the regions that the operator sees.
func (c *Console) visible(o *Operator) (shards []string) {
	for _, s := range c.c.Shards {
		if o.MayView(s) {
			shards = append(shards, s)
		}
	}
	return shards
}

// queues are the message queues that the operator sees.
func (c *Console) queues(o *Operator) []string {
	if o.MayView(Everywhere) {
		return c.c.Queues
	}
	return nil
}
