package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
)

// Kinds of signals that a provider leaves for a request.
const (
	SignalStep       = "step"
	SignalResult     = "result"
	SignalQuarantine = "quarantine"
)

// MaxDocument bounds a provider's document, in bytes.
const MaxDocument = 1 << 20

// MaxMarkup bounds the tags and attributes of a provider's document. A step or a result, its signature
// included, has fewer than two hundred; a megabyte of tags would keep a processor for half a second.
const MaxMarkup = 10_000

// MaxQuarantined bounds the notes of documents that were not taken for one request; further ones are
// refused without a note.
const MaxQuarantined = 20

// What the door has room for, by default.
const (
	// Places bounds the documents at hand of all providers.
	Places = 128
	// DefaultInFlight bounds their bytes, in memory.
	DefaultInFlight = 32 << 20
	// DefaultQuarantine bounds the bytes of one provider's documents that are quarantined within a day.
	DefaultQuarantine = 16 << 20
)

// Verifier makes the six checks; [verification.Verifier] is one.
type Verifier interface {
	Open(doc []byte, maxBytes int) (*verification.Document, error)
	Judge(ctx context.Context, d *verification.Document, w verification.Want) verification.Outcome
}

// Config is what a Counter needs; every field without a default is required.
type Config struct {
	Providers *Directory
	Verifier  Verifier
	Forms     *passport.Register
	Step      *passport.Form // schemas/step.xsd
	Result    *passport.Form // schemas/result.xsd
	Journal   journal.Store
	Problem   func(http.ResponseWriter, *http.Request, error) // writes the public answer

	// House lends the processors that all doors share; nil means one of its own.
	House *admission.House
	// InFlight is how many bytes the documents at hand may take; 0 means DefaultInFlight.
	InFlight int64
	// Quarantine is how many bytes of one provider's documents are kept in quarantine within a day.
	// Of further ones, and of those that nobody of that provider signed, only the digest is kept. 0
	// means DefaultQuarantine.
	Quarantine int64

	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger     // nil discards
	Received func()           // if set, called after a signal was left
	// Observe, if set, is told how each callback ended.
	Observe func(provider, kind string, r gateway.Reason, took time.Duration)
	// Signed, if set, is told until when the certificate is valid by which a provider signed.
	Signed func(provider string, until time.Time)
}

// A Counter is the door for providers. It is safe for concurrent use.
type Counter struct {
	c      Config
	room   *admission.Door
	budget budget
}

// NewCounter checks the configuration.
func NewCounter(c Config) (*Counter, error) {
	if c.Providers == nil || c.Verifier == nil || c.Forms == nil || c.Step == nil || c.Result == nil || c.Journal == nil || c.Problem == nil {
		return nil, errors.New("dispatch: every field of Config without a default is required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.House == nil {
		c.House = admission.New(admission.Config{})
	}
	if c.InFlight == 0 {
		c.InFlight = DefaultInFlight
	}
	if c.Quarantine == 0 {
		c.Quarantine = DefaultQuarantine
	}
	room := c.House.NewDoor(admission.DoorConfig{Name: "provider", Known: admission.Room{Places: Places, Bytes: c.InFlight}})
	counter := &Counter{c: c, room: room, budget: budget{most: c.Quarantine}}
	counter.ShareRoom()
	return counter, nil
}

// ShareRoom gives each provider of the directory, as it is now, a share of the door's room.
func (c *Counter) ShareRoom() {
	var parties []admission.Party
	for id := range *c.c.Providers.byID.Load() {
		parties = append(parties, admission.Party{Name: id})
	}
	c.room.SetParties(parties)
}

// Report tells how full the door is, and for whom.
func (c *Counter) Report() admission.Report { return c.room.Report() }

// Quarantined tells how many bytes of each provider's documents were quarantined within a day.
func (c *Counter) Quarantined() map[string]int64 { return c.budget.taken(c.c.Now()) }

// Register adds the door's routes to mux.
func (c *Counter) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/providers/{provider}/steps", c.handle(SignalStep))
	mux.HandleFunc("POST /v1/providers/{provider}/results", c.handle(SignalResult))
}

// A Message is a verified step or result, as the signal carries it to the flow.
type Message struct {
	Code         string                `json:"code,omitempty"` // of a step
	CompletedAt  time.Time             `json:"completed_at,omitzero"`
	Registration *gateway.Registration `json:"registration,omitempty"`
	Result       *gateway.Result       `json:"result,omitempty"`
	Document     []byte                `json:"document,omitempty"` // the provider's signed bytes
	Evidence     []byte                `json:"evidence,omitempty"` // revocation evidence
	Reason       gateway.Reason        `json:"reason,omitempty"`   // why it is quarantined
	SHA256       string                `json:"sha256,omitempty"`   // hex; of a document that is quarantined
	Size         int                   `json:"size,omitempty"`     // of the same
}

// Note is what is kept of a quarantined document in its place when the document itself is not.
func (m Message) Note() ([]byte, error) {
	return json.Marshal(Message{Reason: m.Reason, SHA256: m.SHA256, Size: m.Size})
}

func (c *Counter) handle(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		name, fresh, err := c.receive(w, r, kind)
		if err == nil {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			json.NewEncoder(w).Encode(map[string]bool{"recorded": true, "duplicate": !fresh}) //nolint:errcheck // the provider repeats
		}
		if c.c.Observe != nil {
			c.c.Observe(name, kind, gateway.ReasonOf(err), time.Since(start))
		}
		if err != nil {
			c.c.Log.Info("refused", "door", "provider", "provider", name, "remote", r.RemoteAddr, "kind", kind,
				"reason", string(gateway.ReasonOf(err)), "error", err)
			c.c.Problem(w, r, err)
		}
	}
}

// receive takes one document: who sends it, room for what comes, then the work.
func (c *Counter) receive(w http.ResponseWriter, r *http.Request, kind string) (provider string, fresh bool, err error) {
	if provider, err = c.authenticate(r); err == nil {
		err = cmp.Or(admission.CheckEncoding(r), wantXML(r))
	}
	var place *admission.Place
	if err == nil {
		place, err = c.room.Enter(provider, r.RemoteAddr)
	}
	if err != nil {
		admission.Dismiss(w, r)
		return provider, false, err
	}
	defer place.Leave()
	body, err := place.Read(w, r, MaxDocument)
	if err == nil && len(body) == 0 {
		err = gateway.Errorf(gateway.BodyEmpty, "a signed XML document is expected")
	}
	if err == nil {
		err = checkMarkup(body)
	}
	if err == nil {
		err = place.Reserve(admission.Weight(body))
	}
	if err != nil {
		return provider, false, err
	}
	fresh, err = c.Take(r.Context(), provider, kind, body)
	return provider, fresh, err
}

// authenticate wants the bearer token of the provider named in the path.
func (c *Counter) authenticate(r *http.Request) (string, error) {
	refused := gateway.Errorf(gateway.ProviderUnauthenticated, "send the provider's bearer token")
	token, bearer := admission.BearerToken(r)
	if !bearer {
		return "", refused
	}
	claimed := r.PathValue("provider")
	shown := admission.Credential{Door: "provider", Address: r.RemoteAddr, Claimed: claimed, Digest: sha256.Sum256([]byte(token))}
	err := c.c.House.Guesses().Compare(shown, func() error {
		p, ok := c.c.Providers.find(claimed)
		known := subtle.ConstantTimeCompare(shown.Digest[:], p.TokenSHA256[:])
		for _, former := range p.FormerSHA256 {
			known |= subtle.ConstantTimeCompare(shown.Digest[:], former[:])
		}
		if !ok || known != 1 {
			return refused
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return claimed, nil
}

func wantXML(r *http.Request) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/xml" && t != "text/xml" {
		return gateway.Errorf(gateway.MediaType, "send application/xml")
	}
	return nil
}

func checkMarkup(doc []byte) error {
	if admission.Markup(doc) > MaxMarkup {
		return gateway.Errorf(gateway.DocumentLimit, "at most %d tags and attributes are taken", MaxMarkup)
	}
	return nil
}

// Take verifies a provider's document and leaves it for its request. When it returns nil the
// document is durable; fresh is false when it was taken before. A document that names a
// request of this provider but does not verify is quarantined, and the error says why. It computes
// when it is the provider's turn.
func (c *Counter) Take(ctx context.Context, provider, kind string, doc []byte) (fresh bool, err error) {
	p, ok := c.c.Providers.find(provider)
	if !ok {
		return false, errNoProvider(provider)
	}
	now := c.c.Now().UTC()
	if err := checkMarkup(doc); err != nil {
		return false, err
	}
	var opened *verification.Document
	if err := c.c.House.Work(ctx, provider, func() (err error) {
		opened, err = c.c.Verifier.Open(doc, MaxDocument)
		return err
	}); err != nil {
		// Which request it was for stands in unsigned text, which is not read.
		return false, err
	}
	form := c.c.Step
	if kind == SignalResult {
		form = c.c.Result
	}
	root := opened.Root()
	if root.Space() != form.Space() || root.Local() != form.Local() {
		return false, gateway.Errorf(gateway.FormNamespace, "the root element is {%s}%s here", form.Space(), form.Local())
	}
	idText, _ := passport.Field(root, "requestId")
	id, err := gateway.ParseRequestID(strings.TrimSpace(idText))
	if err != nil {
		return false, err
	}
	it, err := c.c.Journal.Get(ctx, id)
	if errors.Is(err, journal.ErrNotFound) || err == nil && it.Provider != provider {
		return false, gateway.Errorf(gateway.ResultMismatch, "no request with that id was given to this provider")
	}
	if err != nil {
		return false, err
	}
	var pass *passport.Passport
	dossier, unread := gateway.ReadDossier(it.Doc)
	if unread == nil {
		pass, unread = c.c.Forms.Version(dossier.Passport, dossier.Version)
	}
	out := c.c.Verifier.Judge(ctx, opened, verification.Want{At: now, Purpose: signers(pass, kind), Organisation: p.BIN})
	err = out.Verdict.Err()
	own := err == nil // somebody of the provider signed it
	if own && c.c.Signed != nil {
		c.c.Signed(p.ID, out.Verdict.Signers[0].NotAfter)
	}
	m := Message{Document: doc, Evidence: out.Evidence.Raw}
	if own {
		err = c.c.House.Work(ctx, provider, func() error {
			if unread != nil {
				return unread
			}
			if faults := form.Check(root); len(faults) > 0 {
				return gateway.Errorf(gateway.FormInvalid, "%d faults, the first at %s: %s", len(faults), faults[0].Path, faults[0].Rule)
			}
			return c.read(&m, kind, root, dossier, pass, p, now)
		})
	}
	if err != nil {
		return false, c.quarantine(ctx, it, doc, own, err, now)
	}
	key := "step/" + m.Code
	if kind == SignalResult {
		m.Result.Verdict, m.Result.ReceivedAt = out.Verdict, now
		key = SignalResult
	}
	return c.leave(ctx, it, key, kind, m, now)
}

func (c *Counter) leave(ctx context.Context, it journal.Item, key, kind string, m Message, now time.Time) (bool, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	first, fresh, err := c.c.Journal.Signal(ctx, it.ID, journal.Signal{Key: key, Kind: kind, At: now, Body: body})
	if err != nil {
		return false, err
	}
	if !fresh && kind == SignalResult {
		same, err := c.same(ctx, it.ID, first, m, gateway.BodyResult)
		if err != nil {
			return false, err
		}
		if !same {
			return false, gateway.Errorf(gateway.ResultConflict, "another result was already taken for this request")
		}
	}
	if fresh && c.c.Received != nil {
		c.c.Received()
	}
	return fresh, nil
}

// same tells whether the message that came first brought the same document: by its own bytes,
// or, once the flow has taken it in, by the digest of the body it was kept as.
func (c *Counter) same(ctx context.Context, id gateway.RequestID, first journal.Signal, m Message, name string) (bool, error) {
	if len(first.Body) > 0 {
		var was Message
		if err := json.Unmarshal(first.Body, &was); err != nil {
			return false, gateway.Errorf(gateway.Internal, "read the first message %s: %w", first.Key, err)
		}
		return bytes.Equal(was.Document, m.Document), nil
	}
	it, err := c.c.Journal.Get(ctx, id)
	if err != nil {
		return false, err
	}
	return it.Bodies[name].SHA256 == sha256.Sum256(m.Document), nil
}

// signers is the role of who signs: a step is reported by whoever of the provider's people did it, a result
// is signed by those whom the act names (R24, R25).
func signers(pass *passport.Passport, kind string) trust.Purpose {
	switch {
	case kind != SignalResult || pass != nil && pass.ResultSigners == passport.SignersEmployee:
		return trust.PurposeSignStaff
	case pass != nil && pass.ResultSigners == passport.SignersHead:
		return trust.PurposeSignHead
	}
	return trust.PurposeSignLegal
}

// read takes what the gateway acts on from a verified document.
func (c *Counter) read(m *Message, kind string, root element, dossier *gateway.Dossier, pass *passport.Passport, p Provider, now time.Time) (err error) {
	text := func(path string) string { s, _ := passport.Field(root, path); return strings.TrimSpace(s) }
	// What the provider did lies between the request and now, as far as clocks agree (R12).
	instant := func(path string) (time.Time, error) {
		t, err := time.Parse(time.RFC3339Nano, text(path))
		skew := time.Duration(pass.CreatedAt.Future)
		if err != nil || t.Before(dossier.ReceivedAt.Add(-skew)) || t.After(now.Add(skew)) {
			return t, gateway.Errorf(gateway.FormInvalid, "%s must lie between the receipt of the request and now", path)
		}
		return t, nil
	}
	if kind == SignalStep {
		m.Code = text("code")
		step, ok := pass.Step(m.Code)
		if !ok {
			return gateway.Errorf(gateway.ResultMismatch, "the passport has no step of that code")
		}
		if _, given := root.Child(root.Space(), "registration"); given {
			m.Registration = &gateway.Registration{Number: text("registration/number"), AcceptedBy: text("registration/acceptedBy")}
		}
		// The applicant has a right to number and name (S 9-1; R19).
		if step.Registers && m.Registration == nil {
			return gateway.Errorf(gateway.FormInvalid, "the step %s must give its registration: number and who accepted", m.Code)
		}
		m.CompletedAt, err = instant("completedAt")
		return err
	}
	if text("providerBin") != p.BIN.String() {
		return gateway.Errorf(gateway.BINMismatch, "providerBin is not the BIN bound to this provider")
	}
	res := &gateway.Result{Number: text("number"), Provider: gateway.Texts{}}
	if res.DecidedAt, err = instant("decidedAt"); err != nil {
		return err
	}
	texts := func(path string) gateway.Texts {
		t := gateway.Texts{}
		for _, l := range gateway.Languages {
			if s := text(path + "/" + string(l)); s != "" {
				t[l] = s
			}
		}
		return t
	}
	res.Provider = texts("providerName")
	has := func(name string) bool { _, ok := root.Child(root.Space(), name); return ok }
	switch {
	case has("assignment"):
		res.Kind, res.Amount = gateway.ResultAssignment, text("assignment/monthlyAmount")
		res.PeriodFrom, res.PeriodTo = text("assignment/periodFrom"), text("assignment/periodTo")
	case has("answer"):
		res.Kind, res.Outcome, res.Explanation = gateway.ResultAnswer, text("answer/outcome"), texts("answer/explanation")
	default:
		res.Kind, res.Ground, res.Explanation = gateway.ResultRefusal, text("refusal/ground"), texts("refusal/explanation")
	}
	if !slices.Contains(pass.Results, res.Kind) {
		return gateway.Errorf(gateway.ResultMismatch, "the passport has no result of the kind %s", res.Kind)
	}
	// A refusal must be grounded (R13).
	if _, ok := pass.Ground(res.Ground); res.Kind == gateway.ResultRefusal && !ok {
		return gateway.Errorf(gateway.ResultMismatch, "the passport has no refusal ground of that code")
	}
	m.Result = res
	return nil
}

// quarantine notes a document that was not taken, unless the reason may pass or is ours: then the
// provider is asked to send it again. The note is its digest, size and reason; the document itself is
// kept when somebody of the provider signed it and the provider's budget allows it: anybody else's
// bytes are worth nothing as evidence.
func (c *Counter) quarantine(ctx context.Context, it journal.Item, doc []byte, own bool, cause error, now time.Time) error {
	sum := sha256.Sum256(doc)
	m := Message{Reason: gateway.ReasonOf(cause), SHA256: hex.EncodeToString(sum[:]), Size: len(doc)}
	if m.Reason.Class() != gateway.Permanent {
		return cause
	}
	dossier, err := gateway.ReadDossier(it.Doc)
	if err != nil || dossier.Quarantined >= MaxQuarantined {
		return cause
	}
	if _, known := it.Bodies[gateway.BodyQuarantine+m.SHA256]; known {
		return cause
	}
	if own && c.budget.spend(it.Provider, int64(len(doc)), now) {
		m.Document = doc
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// A place has a number, and is taken once: the bound holds however many come at the same time.
	for n := range MaxQuarantined {
		g := journal.Signal{Key: "quarantine/" + strconv.Itoa(n+1), Kind: SignalQuarantine, At: now, Body: body}
		first, fresh, err := c.c.Journal.Signal(ctx, it.ID, g)
		if err != nil {
			return err
		}
		if fresh && c.c.Received != nil {
			c.c.Received()
		}
		if fresh {
			return cause
		}
		var was Message
		if json.Unmarshal(first.Body, &was) == nil && was.SHA256 == m.SHA256 {
			break
		}
	}
	if len(m.Document) > 0 {
		c.budget.giveBack(it.Provider, int64(len(doc)))
	}
	return cause
}

// A budget bounds what each provider may leave behind within a day. It forgets when the gateway is
// restarted.
type budget struct {
	most int64

	mu    sync.Mutex // guards all below
	until time.Time
	spent map[string]int64
}

// turn begins a new day when the last one is over; it needs mu.
func (b *budget) turn(now time.Time) {
	if b.spent == nil || !now.Before(b.until) {
		b.until, b.spent = now.Add(24*time.Hour), map[string]int64{}
	}
}

func (b *budget) spend(provider string, n int64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turn(now); b.spent[provider]+n > b.most {
		return false
	}
	b.spent[provider] += n
	return true
}

func (b *budget) giveBack(provider string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent[provider] = max(0, b.spent[provider]-n)
}

func (b *budget) taken(now time.Time) map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	return maps.Clone(b.spent)
}
