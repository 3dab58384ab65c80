// Package cabinet is the citizen's view of the requests: an API and plain pages. It reads
// the journal and runs no step. A citizen sees only the own requests, and of results only
// those whose signature was verified.
package cabinet

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/browser"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/token"
)

// Audience is the "aud" that a portal puts into a citizen's token.
const Audience = "egov-gateway-cabinet"

// MaxTokenLife bounds exp − iat of a token: a stolen one is soon worth nothing.
const MaxTokenLife = time.Hour

// Config is what a Cabinet needs; every field without a default is required.
type Config struct {
	// Portals are the keys by which portals sign citizens' tokens (EdDSA).
	Portals Keys
	Journal journal.Store
	Forms   *passport.Register
	Texts   *message.Catalogue
	Secret  []byte // of the journal's citizen keys
	Problem func(http.ResponseWriter, *http.Request, error)
	// SecureCookie marks the session cookie for https only; false on plain loopback.
	SecureCookie bool
	// PortalURL is where a citizen without a session is sent to sign in; "" shows the refusal alone.
	PortalURL string
	// Origins are the sites, like https://egov.kz, whose pages may sign citizens in and out, beside
	// the cabinet's own and that of PortalURL.
	Origins []string
	Now     func() time.Time // nil means time.Now
	// TokenNow judges the age of tokens; nil means Now.
	TokenNow func() time.Time
	// Guesses is where all doors count wrong credentials; nil means a count of its own.
	Guesses *admission.Guesses
	Log     *slog.Logger // nil discards
}

// Keys are those of each portal, by its name, which is the token's "iss". Each is good.
type Keys map[string][]ed25519.PublicKey

// A Cabinet is safe for concurrent use.
type Cabinet struct {
	c        Config
	portals  atomic.Pointer[Keys]
	sessions *sessions
	origins  *http.CrossOriginProtection
	parser   *jwt.Parser
	pages    map[gateway.Language]*template.Template
	language browser.LanguageChoice
	news     *browser.Live
}

// MaxStreams bounds the live pages; beyond, a page looks for itself now and then.
const MaxStreams = 500

// Close ends the live pages' streams; everything else goes on.
func (c *Cabinet) Close() { c.news.Close() }

// New checks the configuration.
func New(c Config) (*Cabinet, error) {
	if len(c.Portals) == 0 || c.Journal == nil || c.Forms == nil || c.Texts == nil || len(c.Secret) < 32 || c.Problem == nil {
		return nil, errors.New("cabinet: every field of Config without a default is required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TokenNow == nil {
		c.TokenNow = c.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Guesses == nil {
		c.Guesses = admission.New(admission.Config{}).Guesses()
	}
	cab := &Cabinet{c: c, language: browser.LanguageChoice{Cookie: "cabinet_language", Path: "/cabinet/", Secure: c.SecureCookie}, news: browser.NewLive(MaxStreams), parser: jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience(Audience), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithTimeFunc(c.TokenNow), jwt.WithLeeway(30*time.Second))}
	cab.portals.Store(&c.Portals)
	cab.sessions = newSessions(c.TokenNow)
	var err error
	if cab.origins, err = originsOf(c); err != nil {
		return nil, err
	}
	if cab.pages, err = cab.templates(); err != nil {
		return nil, err
	}
	return cab, nil
}

// Register adds the cabinet's routes to mux.
func (c *Cabinet) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /cabinet/api/requests", c.apiList)
	mux.HandleFunc("GET /cabinet/api/requests/{id}", c.apiGet)
	mux.HandleFunc("GET /cabinet/api/requests/{id}/receipt", c.document(gateway.BodyReceipt, "receipt"))
	mux.HandleFunc("GET /cabinet/api/requests/{id}/result", c.document(gateway.BodyResult, "result"))
	mux.HandleFunc("GET /cabinet/{$}", c.pageList)
	mux.HandleFunc("GET /cabinet/requests/{id}", c.pageRequest)
	mux.HandleFunc("GET /cabinet/requests/{id}/way.svg", c.way)
	mux.HandleFunc("GET /cabinet/requests/{id}/result", c.pageResult)
	mux.HandleFunc("GET /cabinet/requests/{id}/live", c.live)
	mux.HandleFunc("GET /cabinet/style.css", browser.Asset(style, browser.Style))
	mux.HandleFunc("GET /cabinet/live.js", browser.Asset(browser.Script, browser.Code))
	mux.HandleFunc("POST /cabinet/session", c.signIn)
	// Who loads the page anew that a form led to asks for the form's address.
	mux.Handle("GET /cabinet/session", http.RedirectHandler("/cabinet/", http.StatusSeeOther))
	mux.Handle("GET /cabinet/sign-out", http.RedirectHandler("/cabinet/", http.StatusSeeOther))
	mux.HandleFunc("/cabinet/", c.pageNone)
	mux.HandleFunc("/cabinet/api/", func(w http.ResponseWriter, r *http.Request) {
		c.c.Problem(w, r, gateway.Errorf(gateway.NotFound, "nothing is served at this address with this method"))
	})
	mux.HandleFunc("POST /cabinet/sign-out", c.signOut)
}

// Claims are those of a citizen's token.
type Claims struct {
	jwt.RegisteredClaims
	IIN string `json:"iin"`
}

// SetPortals replaces the portals' keys. A session that was begun with a key that is no longer good
// ends at once; SetPortals returns how many did.
func (c *Cabinet) SetPortals(keys Keys) (ended int) {
	c.portals.Store(&keys)
	ended = c.sessions.endWhere(func(s *session) bool { return !keys.has(s.portal, s.key) })
	c.news.Look()
	return ended
}

func (k Keys) has(portal string, key ed25519.PublicKey) bool {
	return slices.ContainsFunc(k[portal], func(one ed25519.PublicKey) bool { return one.Equal(key) })
}

// citizen returns who asks, from the bearer token of a portal's program or the browser's session. A
// token that has been exchanged for a session counts no more.
func (c *Cabinet) citizen(r *http.Request) (journal.CitizenKey, error) {
	if bearer, ok := admission.BearerToken(r); ok {
		p, err := c.check(r, bearer)
		if err == nil && c.sessions.isSpent(p) {
			err = errSignIn
		}
		return p.who, err
	}
	s := c.running(r)
	if s == nil {
		return "", errSignIn
	}
	return s.who, nil
}

// Refusals of citizens; programs see no difference.
var (
	// errSignIn is that of who has neither token nor session, or none any more.
	errSignIn = gateway.Errorf(gateway.CitizenUnauthenticated, "sign in at the portal")
	// errToken is that of who shows a token that proves nothing.
	errToken = gateway.Errorf(gateway.CitizenUnauthenticated, "sign in at the portal")
)

// A proof is what a portal's token says.
type proof struct {
	who    journal.CitizenKey
	portal string
	key    ed25519.PublicKey // that verified it
	until  time.Time
	once   [sha256.Size]byte // tells tokens apart
}

// check reads a token. One that no portal signed counts as a guess of the request's address; one that has
// ended, or says what it must not, does not: portals show such by mistake.
func (c *Cabinet) check(r *http.Request, raw string) (proof, error) {
	if token.Check(raw) != nil {
		return proof{}, errToken
	}
	var claims Claims
	parsed, err := c.parser.ParseWithClaims(raw, &claims, func(t *jwt.Token) (any, error) {
		iss, err := t.Claims.GetIssuer()
		if err != nil {
			return nil, err
		}
		keys := (*c.portals.Load())[iss]
		if len(keys) == 0 {
			return nil, errors.New("unknown issuer")
		}
		set := jwt.VerificationKeySet{}
		for _, key := range keys {
			set.Keys = append(set.Keys, key)
		}
		return set, nil
	})
	if err != nil && !errors.Is(err, jwt.ErrTokenInvalidClaims) {
		return proof{}, c.c.Guesses.Refuse("cabinet", r.RemoteAddr, errToken)
	}
	if err != nil || claims.IssuedAt == nil || claims.ExpiresAt.After(claims.IssuedAt.Add(MaxTokenLife)) {
		return proof{}, errToken
	}
	iin, err := gateway.ParseIIN(claims.IIN)
	if err != nil {
		return proof{}, errToken
	}
	p := proof{who: journal.KeyOf(c.c.Secret, iin), portal: claims.Issuer, until: claims.ExpiresAt.Time}
	// What is signed, not the letters of the token: the same signature can be written in several ways.
	signed := raw[:strings.LastIndexByte(raw, '.')]
	for _, key := range (*c.portals.Load())[claims.Issuer] {
		if ed25519.Verify(key, []byte(signed), parsed.Signature) {
			p.key = key
		}
	}
	if p.key == nil { // it was taken back in this very moment
		return proof{}, errToken
	}
	p.once = sha256.Sum256([]byte(claims.Issuer + "\x00" + cmp.Or(claims.ID, signed)))
	return p, nil
}

// A Card is one request in the list.
type Card struct {
	ID           gateway.RequestID     `json:"id"`
	Service      gateway.Texts         `json:"service"`
	Provider     gateway.Texts         `json:"provider"`
	State        gateway.State         `json:"state"`
	StateText    gateway.Texts         `json:"state_text"`
	RegisteredAt time.Time             `json:"registered_at"`
	DueAt        time.Time             `json:"due_at"`
	Provisional  bool                  `json:"provisional,omitempty"` // see [gateway.Dossier]
	Result       gateway.ResultKind    `json:"result,omitempty"`
	Deadline     gateway.DeadlineState `json:"deadline"`
}

// A Case is one request with all that the citizen may see.
type Case struct {
	Card
	MessageID string `json:"message_id"`
	// AnswerPlace is where the result is given, when the passport says (R19).
	AnswerPlace gateway.Texts      `json:"answer_place,omitempty"`
	Notice      gateway.Texts      `json:"notice"` // acceptance, with date and time of the result (R10)
	Steps       []Step             `json:"steps"`
	Records     []gateway.FactNote `json:"records"`
	Decision    *gateway.Result    `json:"decision,omitempty"`
	Timeline    []gateway.Event    `json:"timeline"`

	bodies map[string]journal.BodyNote
	events []gateway.Event
	source *gateway.Dossier
}

// A Step is one of the provider's steps with its name.
type Step struct {
	gateway.StepPlan
	Name     gateway.Texts         `json:"name"`
	Deadline gateway.DeadlineState `json:"deadline"`
}

func (c *Cabinet) card(it journal.Item) (Card, *gateway.Dossier, *passport.Passport, error) {
	d, err := gateway.ReadDossier(it.Doc)
	if err != nil {
		return Card{}, nil, nil, err
	}
	p, err := c.c.Forms.Version(d.Passport, d.Version)
	if err != nil {
		return Card{}, nil, nil, err
	}
	zone := c.c.Forms.Calendar().Zone()
	card := Card{
		ID: it.ID, Service: p.Name, State: it.State, StateText: c.c.Texts.All("state." + string(it.State)),
		RegisteredAt: d.RegisteredAt.In(zone), DueAt: d.DueAt.In(zone), Provisional: d.Provisional, Deadline: d.DeadlineAt(c.c.Now()),
	}
	if q, ok := p.ProviderByID(it.Provider); ok {
		card.Provider = q.Name
	}
	if d.Result != nil {
		card.Result = d.Result.Kind
	}
	return card, d, p, nil
}

func (c *Cabinet) list(r *http.Request) ([]Card, string, error) {
	who, err := c.citizen(r)
	if err != nil {
		return nil, "", err
	}
	items, next, err := c.c.Journal.List(r.Context(), journal.Query{Citizen: who, Cursor: r.URL.Query().Get("cursor"), Limit: 50})
	if err != nil {
		return nil, "", err
	}
	cards := make([]Card, 0, len(items))
	for _, it := range items {
		card, _, _, err := c.card(it)
		if err != nil {
			return nil, "", err
		}
		cards = append(cards, card)
	}
	return cards, next, nil
}

// item returns a request of the asking citizen; anybody else's is not found.
func (c *Cabinet) item(r *http.Request) (journal.Item, error) {
	who, err := c.citizen(r)
	if err != nil {
		return journal.Item{}, err
	}
	id, err := gateway.ParseRequestID(r.PathValue("id"))
	if err != nil {
		return journal.Item{}, err
	}
	it, err := c.c.Journal.Get(r.Context(), id)
	if errors.Is(err, journal.ErrNotFound) || err == nil && it.Citizen != who {
		return journal.Item{}, gateway.Errorf(gateway.NotFound, "no request of this citizen has that id")
	}
	return it, err
}

// shown are the events that mean something to a citizen; retries and orders are the operator's.
var shown = []gateway.EventKind{gateway.EventAccepted, gateway.EventRecord, gateway.EventEnriched, gateway.EventDelivered, gateway.EventStep,
	gateway.EventStepOverdue, gateway.EventResult, gateway.EventErased}

func (c *Cabinet) one(r *http.Request) (*Case, error) {
	it, err := c.item(r)
	if err != nil {
		return nil, err
	}
	card, d, p, err := c.card(it)
	if err != nil {
		return nil, err
	}
	k := &Case{Card: card, MessageID: it.MessageID, Records: d.Records, Decision: d.Result, Notice: gateway.Texts{}, bodies: it.Bodies, events: it.Events, source: d}
	for _, l := range gateway.Languages {
		k.Notice[l] = c.c.Texts.Acceptance(l, d)
	}
	states := d.StepStates(c.c.Now())
	for i, s := range d.Steps {
		step, _ := p.Step(s.Code)
		k.Steps = append(k.Steps, Step{s, step.Name, states[i]})
	}
	k.AnswerPlace = p.AnswerPlace
	for _, e := range it.Events {
		if slices.Contains(shown, e.Kind) {
			e.Reason = ""
			k.Timeline = append(k.Timeline, e)
		}
	}
	if k.Records == nil {
		k.Records = []gateway.FactNote{}
	}
	return k, nil
}

func (c *Cabinet) apiList(w http.ResponseWriter, r *http.Request) {
	cards, next, err := c.list(r)
	if err != nil {
		c.c.Problem(w, r, err)
		return
	}
	writeJSON(w, map[string]any{"requests": cards, "next": next})
}

func (c *Cabinet) apiGet(w http.ResponseWriter, r *http.Request) {
	k, err := c.one(r)
	if err != nil {
		c.c.Problem(w, r, err)
		return
	}
	writeJSON(w, k)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the client may be gone
}

// document serves one of the request's signed documents as the bytes that were signed.
func (c *Cabinet) document(body, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		it, err := c.item(r)
		if err != nil {
			c.c.Problem(w, r, err)
			return
		}
		b, err := c.c.Journal.Body(r.Context(), it.ID, body)
		switch {
		case errors.Is(err, journal.ErrNotFound):
			err = gateway.Errorf(gateway.NotFound, "the request has no such document yet")
		case errors.Is(err, journal.ErrErased):
			err = gateway.Errorf(gateway.Erased, "the time to keep it has passed")
		}
		if err != nil {
			c.c.Problem(w, r, err)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/xml; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="`+name+"-"+string(it.ID)+`.xml"`)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		w.Write(b) //nolint:errcheck // the client may be gone
	}
}
