// Package flow knows the order of the steps, and is the only place that does:
//
//	accepted → enrich → enriched → dispatch → delivered → (steps, result) → decided → notify → closed → (retention) → erased → removed
//
// Every step may run again from its start at any time and reaches the same outcome; what it
// does outside carries the request id as idempotency key.
package flow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/enrich"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/xmlsig"
)

// LaterDeadline is how long records that may come later are asked for again before the
// request goes on without them; mandatory ones are waited for.
const LaterDeadline = 10 * time.Minute

// A Notifier tells a portal that a request was delivered or decided, or that the provider
// reported a step.
// It must be safe to call again; the id, state and step are the idempotency key. The error carries [gateway.PortalUnavailable].
type Notifier interface {
	Notify(ctx context.Context, portal string, id gateway.RequestID, n Notice) error
}

// A Notice is what a portal is told: no content, only where to look.
type Notice struct {
	ID     gateway.RequestID  `json:"id"`
	State  gateway.State      `json:"state"`
	Result gateway.ResultKind `json:"result,omitempty"`
	At     time.Time          `json:"at"`

	// Step is the code of a step that the provider reported, "" for the result.
	Step string `json:"-"`
	// Door is the one by which the request came, Service the service's code, Document the provider's signed bytes: for a Notifier that
	// hands them over instead of telling where they lie.
	Door     string `json:"-"`
	Service  string `json:"-"`
	Document []byte `json:"-"`
}

// Config is what a Flow needs; every field without a default is required.
type Config struct {
	Journal  journal.Store
	Forms    *passport.Register
	Enricher *enrich.Enricher
	Provider *dispatch.Directory
	// Documents keeps the attached copies; it must be safe to erase again.
	Documents Documents
	Key       *xmlsig.Key // signs deliveries
	Notifier  Notifier    // nil: portals ask by themselves
	Now       func() time.Time
	// Open reads the stored request again; its signature is verified each time it is used.
	Open func(doc []byte) (xmlsig.Element, error)
}

// Documents are the copies that came with requests; [attachment.Store] is one.
type Documents interface {
	Get(id gateway.RequestID, sum string) ([]byte, error)
	Erase(id gateway.RequestID) error
}

// A Flow gives the engine its steps.
type Flow struct{ c Config }

// New checks the configuration.
func New(c Config) (*Flow, error) {
	if c.Journal == nil || c.Forms == nil || c.Enricher == nil || c.Provider == nil || c.Documents == nil || c.Key == nil || c.Open == nil {
		return nil, errors.New("flow: every field of Config without a default is required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Flow{c}, nil
}

// Ordered are the states up to the delivery: one citizen's requests for one service reach the
// provider in the order of their acceptance. A parked one is in nobody's way.
var Ordered = []gateway.State{gateway.StateAccepted, gateway.StateEnriched}

// Steps is the order of the way: which step belongs to which state.
func (f *Flow) Steps() map[gateway.State]pipeline.Step {
	return map[gateway.State]pipeline.Step{
		gateway.StateAccepted:  {Name: "enrich", Run: f.with(f.enrich)},
		gateway.StateEnriched:  {Name: "dispatch", Run: f.with(f.dispatch)},
		gateway.StateDelivered: {Name: "follow", Run: f.with(f.follow)},
		gateway.StateDecided:   {Name: "notify", Run: f.with(f.notify)},
		gateway.StateClosed:    {Name: "retain", Run: f.with(f.retain)},
		gateway.StateErased:    {Name: "remove", Run: f.with(f.remove)},
		gateway.StateParked:    {Name: "parked", Run: f.with(f.rest)},
	}
}

// A work is one item under a lease, with what the step adds.
type work struct {
	lease   journal.Lease
	item    journal.Item
	dossier *gateway.Dossier
	pass    *passport.Passport
	now     time.Time
	out     journal.Step
	steps   []Notice          // reported since the step before
	read    map[string][]byte // bodies that the step has read
}

func (w *work) event(e gateway.Event) {
	if e.At.IsZero() {
		e.At = w.now
	}
	w.out.Events = append(w.out.Events, e)
}

func (w *work) keep(name string, body []byte) {
	if w.out.Bodies == nil {
		w.out.Bodies = map[string][]byte{}
	}
	w.out.Bodies[name] = body
}

// with opens the dossier, takes in what the provider sent, runs the step, and closes the dossier.
func (f *Flow) with(step func(context.Context, *work) error) func(context.Context, journal.Lease) (journal.Step, error) {
	return func(ctx context.Context, l journal.Lease) (journal.Step, error) {
		dossier, err := gateway.ReadDossier(l.Item.Doc)
		if err != nil {
			return journal.Step{}, err
		}
		pass, err := f.c.Forms.Version(dossier.Passport, dossier.Version)
		if err != nil {
			return journal.Step{}, err
		}
		w := &work{lease: l, item: l.Item, dossier: dossier, pass: pass, now: f.c.Now().UTC(), out: journal.Step{State: l.Item.State}}
		if err := w.take(); err != nil {
			return journal.Step{}, err
		}
		if err := f.tell(ctx, w); err != nil {
			return journal.Step{}, err
		}
		// A result that overtook its own delivery's acknowledgement ends the way all the same.
		if w.out.State == gateway.StateDecided && l.Item.State != gateway.StateDecided {
			w.out.Wake = w.now
		} else if err := step(ctx, w); err != nil {
			return journal.Step{}, err
		}
		w.out.Doc = w.dossier.Encode()
		return w.out, nil
	}
}

// take puts the provider's messages into the dossier; each was verified at the door. A step
// that is reported twice, or after the result, changes nothing it should not.
func (w *work) take() error {
	for _, s := range w.lease.Inbox {
		if s.Kind != dispatch.SignalStep && s.Kind != dispatch.SignalResult && s.Kind != dispatch.SignalQuarantine {
			continue
		}
		var m dispatch.Message
		if err := json.Unmarshal(s.Body, &m); err != nil {
			return gateway.Errorf(gateway.Internal, "read the signal %s: %w", s.Key, err)
		}
		w.out.Consumed = append(w.out.Consumed, s.Key)
		switch s.Kind {
		case dispatch.SignalStep:
			for i := range w.dossier.Steps {
				if p := &w.dossier.Steps[i]; p.Code == m.Code && p.CompletedAt.IsZero() {
					p.CompletedAt, p.Registration = m.CompletedAt.UTC(), m.Registration
					w.event(gateway.Event{At: s.At, Kind: gateway.EventStep, Subject: m.Code})
					w.steps = append(w.steps, Notice{ID: w.item.ID, State: w.item.State, At: s.At, Step: m.Code, Door: w.dossier.Door, Service: w.item.Service, Document: m.Document})
				}
			}
			w.keep("step/"+m.Code, m.Document)
		case dispatch.SignalResult:
			w.dossier.Result = m.Result
			w.event(gateway.Event{At: s.At, Kind: gateway.EventResult, Subject: string(m.Result.Kind)})
			w.keep(gateway.BodyResult, m.Document)
			if len(m.Evidence) > 0 {
				w.keep(gateway.BodyResultProof, m.Evidence)
			}
			w.out.State = gateway.StateDecided
		case dispatch.SignalQuarantine:
			w.dossier.Quarantined++
			w.event(gateway.Event{At: s.At, Kind: gateway.EventQuarantined, Reason: m.Reason})
			if err := w.quarantine(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// quarantine keeps a document that was not taken, or what the door noted of it, under its digest.
func (w *work) quarantine(m dispatch.Message) error {
	digest, body := m.SHA256, m.Document
	if digest == "" { // of a gateway before 2026-11-28
		sum := sha256.Sum256(m.Document)
		digest = hex.EncodeToString(sum[:])
	}
	if len(body) == 0 {
		var err error
		if body, err = m.Note(); err != nil {
			return err
		}
	}
	w.keep(gateway.BodyQuarantine+digest, body)
	return nil
}

// tell hands the provider's steps on. What is told twice is told once, so it comes before the
// signals are consumed.
func (f *Flow) tell(ctx context.Context, w *work) error {
	if f.c.Notifier == nil {
		return nil
	}
	for _, n := range w.steps {
		if err := f.c.Notifier.Notify(ctx, w.item.Portal, w.item.ID, n); err != nil {
			return err
		}
	}
	return nil
}

// enrich fetches the records that the passport names and the citizen consented to (R8, R14).
// What is there is kept; a mandatory record that is missing is waited for.
func (f *Flow) enrich(ctx context.Context, w *work) error {
	if f.c.Provider.Relayed(w.item.Provider) {
		f.ready(ctx, w) // the region's gateway asks its own sources
		return nil
	}
	signed, err := f.body(ctx, w, gateway.BodyRequest)
	if err != nil {
		return err
	}
	root, err := f.c.Open(signed)
	if err != nil {
		return gateway.Errorf(gateway.Internal, "the stored request does not verify any more: %w", err)
	}
	req, err := passport.Read(root)
	if err != nil {
		return gateway.Errorf(gateway.Internal, "the stored request cannot be read any more: %w", err)
	}
	var missing []enrich.Question
	for _, rule := range w.pass.Records {
		for _, q := range persons(req, rule.Of, f.c.Forms.Calendar().Zone()) {
			if slices.Contains(w.dossier.Consent, rule.Kind) && !w.has(rule.Kind, q.Person, rule.Need) {
				q.Kind = rule.Kind
				missing = append(missing, q)
			}
		}
	}
	var waitFor gateway.Reason
	for _, fact := range f.c.Enricher.Fetch(ctx, string(w.item.ID), w.dossier.Admission.ContentSHA256, w.dossier.Consent, missing) {
		if changed := w.note(fact); changed {
			w.event(gateway.Event{Kind: gateway.EventRecord, Subject: string(fact.Kind), Source: fact.Source, Note: string(fact.Status), Reason: fact.Reason})
		}
		if fact.Status == gateway.FactFound {
			w.keep(factBody(fact.Person, fact.Kind), fact.Data)
		}
		if fact.Status == gateway.FactUnavailable && w.waits(fact.Kind) {
			waitFor = fact.Reason
		}
	}
	if waitFor != "" {
		// What came is kept; the rest is asked for again.
		// Waiting is no failure: it must not use up the budget of the tries.
		w.out.Attempt = min(w.item.Attempt+1, maxWaitAttempt)
		if waitFor.Class() == gateway.Operator {
			return gateway.Errorf(waitFor, "a mandatory record has no source")
		}
		w.out.Wake = w.now.Add(retryWait(w.item.Attempt))
		return nil
	}
	w.event(gateway.Event{Kind: gateway.EventEnriched})
	f.ready(ctx, w)
	return nil
}

// ready ends the step of the records. The delivery is packed at once, while they are at hand, and
// becomes durable with them; what keeps it from being packed is for dispatch to say.
func (f *Flow) ready(ctx context.Context, w *work) {
	w.out.State, w.out.Wake = gateway.StateEnriched, w.now
	if delivery, err := f.pack(ctx, w); err == nil {
		w.keep(gateway.BodyDelivery, delivery)
	}
}

// body is what this step keeps, or the journal has; that is read once.
func (f *Flow) body(ctx context.Context, w *work, name string) ([]byte, error) {
	if b, ok := w.out.Bodies[name]; ok {
		return b, nil
	}
	if b, ok := w.read[name]; ok {
		return b, nil
	}
	b, err := f.c.Journal.Body(ctx, w.item.ID, name)
	if err != nil {
		return nil, err
	}
	if w.read == nil {
		w.read = map[string][]byte{}
	}
	w.read[name] = b
	return b, nil
}

func factBody(person string, k gateway.RecordKind) string {
	return gateway.BodyFact + person + "/" + string(k)
}

// persons are those whose record a rule asks for: the applicant, and, if it says so, every
// adult member of the family that the form names. Birthdays begin at midnight in zone.
func persons(req *gateway.Request, of string, zone *time.Location) []enrich.Question {
	all := []enrich.Question{{Person: "applicant", Subject: req.Applicant}}
	if of != passport.OfAdults {
		return all
	}
	for i, m := range req.Family {
		if m.Consent && m.IIN.Adult(req.CreatedAt, zone) {
			all = append(all, enrich.Question{Person: "member-" + strconv.Itoa(i+1), Subject: m.IIN})
		}
	}
	return all
}

// maxWaitAttempt is where retryWait has long reached its longest.
const maxWaitAttempt = 10

// retryWait grows from a second to a minute: state systems come back, and the provider's
// clock is running.
func retryWait(attempt int) time.Duration {
	return min(time.Second<<min(attempt, 6), time.Minute)
}

// has reports whether a record need not be asked for (again).
func (w *work) has(k gateway.RecordKind, person string, need passport.Need) bool {
	for _, n := range w.dossier.Records {
		if n.Kind == k && n.Person == person {
			return n.Status != gateway.FactUnavailable || need == passport.Optional
		}
	}
	return false
}

// waits reports whether the request waits for the record.
func (w *work) waits(k gateway.RecordKind) bool {
	i := slices.IndexFunc(w.pass.Records, func(r passport.RecordRule) bool { return r.Kind == k })
	if i < 0 {
		return false
	}
	switch w.pass.Records[i].Need {
	case passport.Mandatory:
		return true
	case passport.Later:
		return w.now.Sub(w.dossier.ReceivedAt) < LaterDeadline
	}
	return false
}

// note puts a fact into the dossier and reports whether that is news.
func (w *work) note(fact gateway.Fact) bool {
	n := enrich.Note(fact)
	for i, old := range w.dossier.Records {
		if old.Kind == n.Kind && old.Person == n.Person {
			w.dossier.Records[i] = n
			return old.Status != n.Status || old.Reason != n.Reason
		}
	}
	w.dossier.Records = append(w.dossier.Records, n)
	return true
}

// dispatch gives the request to the provider (R6). The delivery is made durable before it is
// sent, so that a repetition sends the same bytes.
func (f *Flow) dispatch(ctx context.Context, w *work) error {
	delivery, err := f.c.Journal.Body(ctx, w.item.ID, gateway.BodyDelivery)
	if errors.Is(err, journal.ErrNotFound) {
		if delivery, err = f.pack(ctx, w); err != nil {
			return err
		}
		w.keep(gateway.BodyDelivery, delivery)
		w.out.State, w.out.Wake = gateway.StateEnriched, w.now
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.c.Provider.Send(ctx, w.item.Provider, w.item.ID, delivery); err != nil {
		return err
	}
	w.event(gateway.Event{At: f.c.Now().UTC(), Kind: gateway.EventDelivered, Subject: w.item.Provider})
	if f.c.Notifier != nil {
		n := Notice{ID: w.item.ID, State: gateway.StateDelivered, At: w.now, Door: w.dossier.Door, Service: w.item.Service}
		if err := f.c.Notifier.Notify(ctx, w.item.Portal, w.item.ID, n); err != nil {
			return err
		}
	}
	w.out.State = gateway.StateDelivered
	w.out.Wake = w.nextDeadline()
	return nil
}

func (f *Flow) pack(ctx context.Context, w *work) ([]byte, error) {
	p := dispatch.Parcel{Item: w.item, Dossier: w.dossier, Attachments: map[string][]byte{}}
	var err error
	if p.Request, err = f.body(ctx, w, gateway.BodyRequest); err != nil {
		return nil, err
	}
	if f.c.Provider.Relayed(w.item.Provider) {
		return f.bundle(ctx, w, p.Request)
	}
	for _, n := range w.dossier.Records {
		fact := gateway.Fact{Kind: n.Kind, Person: n.Person, Source: n.Source, Status: n.Status, ObservedAt: n.ObservedAt, MessageID: n.MessageID, Reason: n.Reason}
		if n.Status == gateway.FactFound {
			if fact.Data, err = f.body(ctx, w, factBody(n.Person, n.Kind)); err != nil {
				return nil, err
			}
		}
		p.Facts = append(p.Facts, fact)
	}
	for _, a := range w.dossier.Attachments {
		if p.Attachments[a.SHA256], err = f.c.Documents.Get(w.item.ID, a.SHA256); err != nil {
			return nil, err
		}
	}
	return dispatch.Pack(p, f.c.Forms.Calendar(), f.c.Key)
}

// bundle is what another gateway gets instead of a delivery.
func (f *Flow) bundle(ctx context.Context, w *work, request []byte) ([]byte, error) {
	b := dispatch.Bundle{Portal: w.item.Portal, Request: request}
	var err error
	if b.Receipt, err = f.c.Journal.Body(ctx, w.item.ID, gateway.BodyReceipt); err != nil {
		return nil, err
	}
	for _, a := range w.dossier.Attachments {
		data, err := f.c.Documents.Get(w.item.ID, a.SHA256)
		if err != nil {
			return nil, err
		}
		b.Documents = append(b.Documents, dispatch.Copy{Name: a.Name, Data: data})
	}
	return b.Write()
}

// follow waits for the provider and notes every step whose limit has passed (R12). Being
// late never loses or cancels anything.
func (f *Flow) follow(_ context.Context, w *work) error {
	for i := range w.dossier.Steps {
		s := &w.dossier.Steps[i]
		if s.CompletedAt.IsZero() && !s.Overdue && !w.now.Before(s.DueAt) {
			s.Overdue = true
			w.event(gateway.Event{Kind: gateway.EventStepOverdue, Subject: s.Code})
		}
	}
	w.out.Wake = w.nextDeadline()
	return nil
}

// nextDeadline is the next step limit that is not yet met or noted; zero when there is none.
func (w *work) nextDeadline() time.Time {
	var next time.Time
	for _, s := range w.dossier.Steps {
		if s.CompletedAt.IsZero() && !s.Overdue && (next.IsZero() || s.DueAt.Before(next)) {
			next = s.DueAt
		}
	}
	return next
}

// notify tells the portal that the result lies in the cabinet.
func (f *Flow) notify(ctx context.Context, w *work) error {
	if f.c.Notifier != nil {
		n := Notice{ID: w.item.ID, State: gateway.StateDecided, At: w.now, Door: w.dossier.Door, Service: w.item.Service}
		if w.dossier.Result != nil {
			n.Result = w.dossier.Result.Kind
			var err error
			if n.Document, err = f.c.Journal.Body(ctx, w.item.ID, gateway.BodyResult); err != nil {
				return err
			}
		}
		if err := f.c.Notifier.Notify(ctx, w.item.Portal, w.item.ID, n); err != nil {
			return err
		}
		w.event(gateway.Event{Kind: gateway.EventNotified, Subject: w.item.Portal})
	}
	w.dossier.ClosedAt = w.now
	w.out.State, w.out.Wake = gateway.StateClosed, w.keepUntil(w.pass.Retention.DocumentsDays, 1)
	return nil
}

// rest leaves a parked item where it is; what arrived was taken in.
func (f *Flow) rest(context.Context, *work) error { return nil }
