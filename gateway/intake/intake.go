// Package intake is the portal's door: it takes a citizen's signed request, admits or
// refuses it, and answers with a receipt or a problem. A 202 is sent only for what the
// journal holds durably.
package intake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/route"
	"egov-gateway/gateway/tracing"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

// Defaults of Config.
const (
	// DefaultMaxDocument bounds the signed XML.
	DefaultMaxDocument = 1 << 20
	// DefaultMaxBody bounds the whole HTTP body; a service's own limit is usually lower.
	DefaultMaxBody = 8 << 20
	// DefaultConcurrent bounds the admissions worked on at once. Beyond, a portal is told within
	// milliseconds to come again, so that what was let in is answered soon.
	DefaultConcurrent = 128
	// DefaultInFlight bounds the bytes of bodies being read or worked on.
	DefaultInFlight = 256 << 20
	// readers is how many requests may be inside the REST door for each one that is worked on: their
	// bodies come slowly, and cost nothing but the memory that they brought.
	readers = 8
)

// Verifier makes the six checks; [verification.Verifier] is one.
type Verifier interface {
	Open(doc []byte, maxBytes int) (*verification.Document, error)
	Judge(ctx context.Context, d *verification.Document, w verification.Want) verification.Outcome
}

// Documents keeps the copies that come with a request. When Put returns nil they are on disk;
// putting the same again is harmless. [attachment.Store] is one.
type Documents interface {
	Put(id gateway.RequestID, documents [][]byte) error
	// Erase takes away the copies of a request that was never accepted.
	Erase(id gateway.RequestID) error
}

// Config is what a Desk needs. All fields without a default are required.
type Config struct {
	Portals  []Portal
	Verifier Verifier
	Forms    *passport.Register
	Routes   *route.Table
	Journal  journal.Store
	Audit    journal.Audit
	// Documents keeps attached copies durably before the request is accepted.
	Documents Documents
	Key       *xmlsig.Key // signs receipts
	Secret    []byte      // of the journal's citizen keys
	Texts     *message.Catalogue
	// BaseURL is the address portals reach this gateway at; status URLs start with it.
	BaseURL string
	// Synthetic, if set, is the portal whose requests are for the service of the same name; nobody
	// else's are.
	Synthetic   string
	MaxDocument int   // bytes; 0 means DefaultMaxDocument
	MaxBody     int64 // bytes; 0 means DefaultMaxBody
	Concurrent  int   // admissions at once; 0 means DefaultConcurrent
	InFlight    int64 // bytes of bodies at once; 0 means DefaultInFlight
	// PerCitizen holds citizens to the bounds of the passports (per_citizen).
	PerCitizen bool
	// Guests, if set, names the parties of other doors, as [Submission].Party does. They have a share of the
	// admissions as well. It is asked by [New] and [Desk.SetPortals].
	Guests func() []string
	// House lends the processors that all doors share; nil means one of its own.
	House *admission.House

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
	// Accepted, if set, is called after each acceptance.
	Accepted func()
	// Taken, if set, is given every submission that was decided about, with nil or the refusal. It
	// must not block and must not keep the bytes.
	Taken func(s Submission, err error)
	// Observe, if set, is told how each request at the door ended.
	Observe func(context.Context, Observation)
}

// An Observation is one request at the door, for metrics.
type Observation struct {
	Portal         string         // "none" when nobody knows
	Shard, Service string         // "" when it got not so far
	Reason         gateway.Reason // "" is accepted
	Duplicate      bool
	Duration       time.Duration
}

// A Desk admits requests. It is safe for concurrent use.
type Desk struct {
	c       Config
	portals atomic.Pointer[[]Portal]
	rest    *admission.Door // requests at the REST door, from their first byte to their answer
	desk    *admission.Door // admissions under way, from whatever door
	answers *admission.Door // questions for statuses and documents, until their answers are taken
	quotas  quotas
	// busy are the answers to who is sent away, by reason and language: they must cost nothing.
	busy map[gateway.Reason]map[gateway.Language][]byte
}

// New checks the configuration.
func New(c Config) (*Desk, error) {
	if c.Verifier == nil || c.Forms == nil || c.Routes == nil || c.Journal == nil || c.Audit == nil || c.Documents == nil || c.Key == nil ||
		len(c.Secret) < 32 || c.Texts == nil || c.BaseURL == "" {
		return nil, errors.New("intake: every field of Config without a default is required")
	}
	if c.MaxDocument == 0 {
		c.MaxDocument = DefaultMaxDocument
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.Concurrent == 0 {
		c.Concurrent = DefaultConcurrent
	}
	if c.InFlight == 0 {
		c.InFlight = DefaultInFlight
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	if c.House == nil {
		c.House = admission.New(admission.Config{})
	}
	d := &Desk{c: c, busy: map[gateway.Reason]map[gateway.Language][]byte{},
		rest:    c.House.NewDoor(admission.DoorConfig{Name: "rest", Known: admission.Room{Places: readers * c.Concurrent, Bytes: c.InFlight}}),
		desk:    c.House.NewDoor(admission.DoorConfig{Name: "desk", Known: admission.Room{Places: c.Concurrent}}),
		answers: c.House.NewDoor(admission.DoorConfig{Name: "answers", Known: admission.Room{Places: readers * c.Concurrent, Bytes: c.InFlight}})}
	for _, reason := range []gateway.Reason{gateway.Overload, gateway.PortalLimit} {
		d.busy[reason] = map[gateway.Language][]byte{}
		for _, lang := range gateway.Languages {
			var err error
			if d.busy[reason][lang], err = json.Marshal(ProblemOf(c.Texts, lang, gateway.Errorf(reason, ""))); err != nil {
				return nil, err
			}
		}
	}
	d.SetPortals(c.Portals)
	return d, nil
}

// SetPortals replaces the portals that are let in, and all shares, those of the guests too. Requests at hand
// go on.
func (d *Desk) SetPortals(all []Portal) {
	d.portals.Store(&all)
	var parties []admission.Party
	for _, p := range all { // one whose credentials overlap stands twice
		if !slices.ContainsFunc(parties, func(q admission.Party) bool { return q.Name == p.Name }) {
			parties = append(parties, admission.Party{Name: p.Name, Most: p.Concurrent})
		}
	}
	d.rest.SetParties(parties)
	asking := slices.Clone(parties)
	for i := range asking {
		asking[i].Most = 0 // that bounds what is handed in
	}
	d.answers.SetParties(asking)
	if d.c.Guests != nil {
		for _, name := range d.c.Guests() {
			if !slices.ContainsFunc(parties, func(p admission.Party) bool { return p.Name == name }) {
				parties = append(parties, admission.Party{Name: name})
			}
		}
	}
	d.desk.SetParties(parties)
}

// Report tells how full the REST door is, or the desk behind it, and for whom.
func (d *Desk) Report() admission.Report { return d.rest.Report().Merge(d.desk.Report()) }

// Rooms are the REST door, its answers, and the desk behind all doors.
func (d *Desk) Rooms() []func() admission.Report {
	return []func() admission.Report{d.rest.Report, d.answers.Report, d.desk.Report}
}

// Busy returns [gateway.Overload] while portals are being sent away for want of room.
func (d *Desk) Busy() error { return d.Report().Err() }

// A File is an attached document as it was sent.
type File struct {
	Name string
	Data []byte
}

// An Admission is an accepted request.
type Admission struct {
	Item      journal.Item
	Dossier   *gateway.Dossier
	Receipt   []byte // signed XML
	Duplicate bool   // accepted before; the receipt is the first one
}

// A Submission is what a door hands over.
type Submission struct {
	Door   string // of log, audit and dossier: rest, shep-sync, shep-async
	Portal string
	// Party is whom the door recognised. Room and turns are its, whatever portals it speaks for. "" means
	// the portal itself.
	Party    string
	Document []byte
	Files    []File
	// Relayed, when set, says that another gateway accepted the request before.
	Relayed *Relayed
}

// Relayed is what another gateway's signed receipt proves. Its instant is then that of receipt:
// age, terms and validity are judged by it, and a certificate revoked since is still good.
type Relayed struct {
	At            time.Time
	ContentSHA256 string // hex, of the canonical signed bytes; other content is refused
}

// Admit is [Desk.Take] for the REST door.
func (d *Desk) Admit(ctx context.Context, portal string, doc []byte, files []File) (*Admission, error) {
	return d.Take(ctx, Submission{Door: "rest", Portal: portal, Document: doc, Files: files})
}

// Take decides about one submission. The error is a [Refusal]. When it returns nil the
// request is durable; the same submission again returns the first receipt.
func (d *Desk) Take(ctx context.Context, s Submission) (*Admission, error) {
	start := time.Now()
	portal := s.Portal
	place, err := d.desk.Enter(cmp.Or(s.Party, portal), "")
	if err != nil {
		// No audit entry: under a flood it would be one more write for each.
		d.observe(ctx, portal, nil, err, false, start)
		return nil, err
	}
	defer place.Leave()
	a := &decision{Desk: d, place: place,
		door: s.Door, portal: portal, doc: s.Document, files: s.Files, relayed: s.Relayed, at: d.c.Now().UTC().Truncate(time.Microsecond)}
	a.now = a.at
	if a.relayed != nil {
		a.now = s.Relayed.At.UTC().Truncate(time.Microsecond)
	}
	out, err := a.run(ctx)
	d.observe(ctx, portal, a.route.Passport, err, out != nil && out.Duplicate, start)
	if d.c.Taken != nil {
		d.c.Taken(s, err)
	}
	if err != nil {
		reason := gateway.ReasonOf(err)
		d.c.Log.Info("refused", "door", s.Door, "portal", portal, "reason", string(reason), "error", err)
		// A client that hangs up does not avoid the entry.
		if aerr := d.c.Audit.Record(context.WithoutCancel(ctx), journal.AuditEntry{At: a.at, Door: s.Door, Party: portal, Reason: reason, ContentSHA256: a.content()}); aerr != nil {
			d.c.Log.Error("audit", "error", aerr)
		}
		return nil, err
	}
	d.c.Log.Info("accepted", "request", string(out.Item.ID), "portal", portal, "shard", out.Item.Shard, "provider", out.Item.Provider, "duplicate", out.Duplicate)
	if d.c.Accepted != nil && !out.Duplicate {
		d.c.Accepted()
	}
	return out, nil
}

func (d *Desk) observe(ctx context.Context, portal string, p *passport.Passport, err error, duplicate bool, start time.Time) {
	if d.c.Observe == nil {
		return
	}
	o := Observation{Portal: portal, Reason: gateway.ReasonOf(err), Duplicate: duplicate, Duration: time.Since(start)}
	if p != nil {
		o.Shard, o.Service = p.Shard, p.Service
	}
	d.c.Observe(ctx, o)
}

// A decision is the work on one submission, in the order of the checks.
type decision struct {
	*Desk
	place  *admission.Place
	door   string
	portal string
	doc    []byte
	files  []File
	now    time.Time // of receipt, here or at the gateway that relayed it
	at     time.Time // here

	relayed *Relayed

	opened  *verification.Document
	request *gateway.Request
	outcome verification.Outcome
	route   route.Route
}

func (a *decision) content() string {
	if a.opened == nil {
		return ""
	}
	sum := a.opened.Content()
	return hex.EncodeToString(sum[:])
}

func (a *decision) refuse(err error) error {
	r := &Refusal{Err: err}
	for _, k := range a.outcome.Verdict.Checks {
		if k.Reason.Class() != gateway.Permanent {
			k.Detail = "" // what ails our sources is for the log
		}
		r.Checks = append(r.Checks, k)
	}
	return r
}

func (a *decision) run(ctx context.Context) (*Admission, error) {
	if len(a.doc) == 0 {
		return nil, a.refuse(gateway.Errorf(gateway.BodyEmpty, "a signed XML document is expected"))
	}
	if err := a.place.Work(ctx, func() (err error) {
		a.opened, err = a.c.Verifier.Open(a.doc, a.c.MaxDocument)
		return err
	}); err != nil {
		a.outcome = verification.SignatureFailed(err, a.now)
		return nil, a.refuse(err)
	}
	if a.relayed != nil && a.relayed.ContentSHA256 != a.content() {
		return nil, a.refuse(gateway.Errorf(gateway.DigestMismatch, "the other gateway's receipt is for other content"))
	}
	out, err := a.decide(ctx)
	if err == nil {
		return out, nil
	}
	// What was accepted before stays accepted, whatever became of the certificate since. A fresh
	// request is spared the look into the journal.
	if first, ferr := a.again(ctx); ferr == nil && first != nil {
		return first, nil
	}
	return nil, err
}

// decide makes the checks in their order and accepts what passes them all.
func (a *decision) decide(ctx context.Context) (*Admission, error) {
	root := a.opened.Root()
	form, err := a.c.Forms.Form(root.Space(), root.Local(), a.now)
	if err != nil {
		return nil, a.refuse(err)
	}
	// The territory says whose rules the form must meet; without one, those of the first passport
	// with this form, so that the sender learns of other faults at once.
	routeErr := a.findRoute(root)
	if routeErr == nil {
		form = a.route.Passport.Form()
	}
	faults := form.Check(root)
	signatory, known := passport.Signatory(root)
	if !known && len(faults) > 0 {
		return nil, &Refusal{Err: formInvalid(faults), Faults: faults}
	}
	// R4a–R4c: who signed, and may that key still sign.
	a.outcome = a.c.Verifier.Judge(ctx, a.opened, a.want(signatory))
	if err := a.outcome.Verdict.Err(); err != nil {
		return nil, a.refuse(err)
	}
	if len(faults) > 0 {
		return nil, &Refusal{Err: formInvalid(faults), Faults: faults, Checks: a.outcome.Verdict.Checks}
	}
	if a.request, err = passport.Read(a.opened.Root()); err != nil {
		return nil, a.refuse(err)
	}
	if routeErr != nil {
		return nil, a.refuse(routeErr)
	}
	for _, check := range []func() error{a.checkForm, a.checkConsent, a.checkDocuments} {
		if err := check(); err != nil {
			return nil, a.refuse(err)
		}
	}
	return a.accept(ctx)
}

func (a *decision) want(signatory gateway.IIN) verification.Want {
	w := verification.Want{At: a.at, Purpose: trust.PurposeSignPerson, Citizen: signatory}
	if a.relayed != nil {
		w.Proven = a.now
	}
	return w
}

func formInvalid(faults []passport.Fault) error {
	return gateway.Errorf(gateway.FormInvalid, "%d faults, the first at %s", len(faults), faults[0].Path)
}

// findRoute finds passport and provider by service code and territory.
func (a *decision) findRoute(root xmlsig.Element) error {
	service, _ := passport.Field(root, "serviceCode")
	territory, _ := passport.Field(root, "provider/territory")
	kato, err := gateway.ParseKATO(strings.TrimSpace(territory))
	if err != nil {
		return err
	}
	if a.c.Synthetic != "" && (strings.TrimSpace(service) == a.c.Synthetic) != (a.portal == a.c.Synthetic) {
		return gateway.Errorf(gateway.ServiceUnknown, "that service is not for this portal")
	}
	rt, err := a.c.Routes.Find(&gateway.Request{Service: strings.TrimSpace(service), Territory: kato}, a.now)
	if err != nil {
		return err
	}
	if f := rt.Passport.Form(); f.Space() != root.Space() || f.Local() != root.Local() {
		return gateway.Errorf(gateway.FormNamespace, "the form is not that of the service code")
	}
	a.route = rt
	return nil
}

// again returns the first admission when these very bytes were accepted before, whatever became
// of the certificate since. The same content under another signature is judged like any other.
func (a *decision) again(ctx context.Context) (*Admission, error) {
	message, _ := passport.Field(a.opened.Root(), "messageId")
	id := gateway.NewRequestID(a.portal, strings.TrimSpace(message), a.opened.Content())
	it, err := a.c.Journal.Get(ctx, id)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, a.refuse(err)
	}
	if it.Bodies[gateway.BodyRequest].SHA256 != sha256.Sum256(a.doc) {
		return nil, nil
	}
	return a.first(ctx, it)
}

func (a *decision) first(ctx context.Context, it journal.Item) (*Admission, error) {
	dossier, err := gateway.ReadDossier(it.Doc)
	if err != nil {
		return nil, a.refuse(err)
	}
	receipt, err := a.c.Journal.Body(ctx, it.ID, gateway.BodyReceipt)
	if err != nil {
		return nil, a.refuse(err)
	}
	if p, err := a.c.Forms.Version(dossier.Passport, dossier.Version); err == nil {
		a.route.Passport = p
	}
	return &Admission{Item: it, Dossier: dossier, Receipt: receipt, Duplicate: true}, nil
}

func (a *decision) checkForm() error {
	r, p := a.request, a.route.Passport
	if r.Portal != a.portal {
		return gateway.Errorf(gateway.PortalMismatch, "the element portal does not name the portal that sent the request")
	}
	// Instants are compared: a difference of centuries does not fit into a duration.
	past, future := time.Duration(p.CreatedAt.Past), time.Duration(p.CreatedAt.Future)
	if r.CreatedAt.Before(a.now.Add(-past)) || r.CreatedAt.After(a.now.Add(future)) {
		return gateway.Errorf(gateway.CreatedAtRange, "createdAt may lie at most %v before and %v after the time of receipt", past, future)
	}
	if !r.Representative.IsZero() && !p.Representative.Allowed {
		return gateway.Errorf(gateway.AttorneyMissing, "nobody may act for the applicant of this service")
	}
	// The power of attorney holds to the end of its last day (R16).
	if !r.Representative.IsZero() && !a.now.In(a.c.Forms.Calendar().Zone()).Before(r.AttorneyEnd(a.c.Forms.Calendar().Zone())) {
		return gateway.Errorf(gateway.AttorneyMissing, "the power of attorney is no longer in force")
	}
	return nil
}

// checkConsent wants the signed consent for every record the service cannot do without (R14).
func (a *decision) checkConsent() error {
	for _, rule := range a.route.Passport.Records {
		if rule.Need != passport.Optional && !slices.Contains(a.request.Consent, rule.Kind) {
			return gateway.Errorf(gateway.ConsentMissing, "consent/record: %s is needed for this service", rule.Kind)
		}
	}
	return nil
}

// accept computes the plan, signs the receipt and makes all of it durable.
func (a *decision) accept(ctx context.Context) (*Admission, error) {
	r, p := a.request, a.route.Passport
	giveBack, err := a.checkQuota()
	if err != nil {
		return nil, err
	}
	// What passed every check is kept although the portal hung up: it repeats and gets the first receipt. Its
	// hanging up is no trouble of the gateway's, and a write whose end nobody awaits is not known to have failed.
	ctx = context.WithoutCancel(ctx)
	accepted := false
	defer func() {
		if !accepted {
			giveBack()
		}
	}()
	registered := p.Registration(a.now)
	steps := p.Plan(registered)
	due := steps[len(steps)-1].DueAt
	content := a.opened.Content()
	id := gateway.NewRequestID(a.portal, r.MessageID, content)
	dossier := &gateway.Dossier{
		Door: a.door, Trace: tracing.Parent(ctx), Passport: p.ID, Version: p.Version, Language: r.Language, ReceivedAt: a.now,
		RegisteredAt: registered.UTC(), DueAt: due.UTC(), Provisional: a.c.Forms.Calendar().Provisional(a.now, due),
		Admission: a.outcome.Verdict, Consent: r.Consent, Attachments: r.Attachments, Steps: steps,
	}
	var receipt []byte
	if err := a.place.Work(ctx, func() (err error) {
		receipt, err = a.receipt(id, dossier, a.route)
		return err
	}); err != nil {
		return nil, a.refuse(gateway.Errorf(gateway.ConfigInvalid, "sign the receipt: %w", err))
	}
	bodies := map[string][]byte{gateway.BodyRequest: a.doc, gateway.BodyReceipt: receipt}
	if len(a.outcome.Evidence.Raw) > 0 {
		dossier.Evidence = a.outcome.Evidence.Method
		bodies[gateway.BodyEvidence] = a.outcome.Evidence.Raw
	}
	documents := make([][]byte, 0, len(a.files))
	for _, f := range a.files {
		documents = append(documents, f.Data)
	}
	if err := a.c.Documents.Put(id, documents); err != nil {
		return nil, a.refuse(gateway.Errorf(gateway.JournalUnavailable, "keep the attached documents: %w", err))
	}
	it, err := a.c.Journal.Create(ctx, journal.New{
		ID: id, Portal: a.portal, MessageID: r.MessageID, Content: content, Citizen: journal.KeyOf(a.c.Secret, r.Applicant),
		Service: r.Service, Shard: p.Shard, Provider: a.route.Provider.ID, Created: a.at, Wake: a.at, Doc: dossier.Encode(),
		Events: []gateway.Event{{At: a.at, Kind: gateway.EventAccepted, Subject: a.portal}}, Bodies: bodies,
	})
	switch {
	case errors.Is(err, journal.ErrDuplicate):
		return a.first(ctx, it)
	case errors.Is(err, journal.ErrReplay):
		// Its message id has other content, so this request cannot be accepted meanwhile.
		if err := a.c.Documents.Erase(id); err != nil {
			a.c.Log.Error("erase the copies of a refused request; the daily sweep does", "request", string(id), "error", err)
		}
		return nil, a.refuse(gateway.Errorf(gateway.ReplayConflict, "use a new messageId for new content"))
	case err != nil:
		return nil, a.refuse(fmt.Errorf("keep the request: %w", err))
	}
	accepted = true
	return &Admission{Item: it, Dossier: dossier, Receipt: receipt}, nil
}
