// Package channel is the gateway's end of SHEP: the door at which portals and other gateways
// call SyncChannel and AsyncChannel, and the outbox from which messages reach them.
//
// A citizen's request that comes here goes to the same desk as one at the REST door, and gets
// the same receipt. The signature of the SOAP message is the transport's matter (SCE005 to
// SCE007), those of citizen and provider inside it are the business's (SCE015 to SCE017): two
// verdicts that never stand in for each other.
package channel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/identity"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

// Defaults of Config.
const (
	// DefaultWindow is how old a message may be by its own date. It may be FutureWindow ahead.
	DefaultWindow = time.Hour
	FutureWindow  = 10 * time.Minute
	// KeepRelayed is how long after its receipt a request may be relayed: for so long an operator may
	// try.
	KeepRelayed = 365 * 24 * time.Hour
	// DefaultInFlight bounds the bytes of all messages at hand of known participants. Each needs about
	// four times its size while it is worked on. Strangers have half as much beside it.
	DefaultInFlight = 64 << 20
	// DefaultPlaces bounds the messages at hand of all participants; strangersPlaces those of senders
	// who are known by neither certificate nor address, until their message proves who they are.
	DefaultPlaces   = 512
	strangersPlaces = 64
	// growth is what a body may have allocated beyond its length while it comes.
	growth = 5 << 20
	// replays is how many message ids are remembered.
	replays = 100_000
)

// A Desk admits requests and tells how they stand; [intake.Desk] is one.
type Desk interface {
	Take(ctx context.Context, s intake.Submission) (*intake.Admission, error)
	Progress(ctx context.Context, portal, id string) (intake.Progress, error)
	Document(ctx context.Context, portal, id, name string) ([]byte, error)
}

// Results takes a provider's signed steps and results; [dispatch.Counter] is one.
type Results interface {
	Take(ctx context.Context, provider, kind string, doc []byte) (fresh bool, err error)
}

// Verifier judges a transport certificate; [verification.Verifier] is one.
type Verifier interface {
	JudgeCertificate(ctx context.Context, c *trust.Certificate, w verification.Want) verification.Outcome
}

// Config is what a Door needs. All fields without a default are required.
type Config struct {
	Directory *Directory
	Outbox    *Outbox
	Desk      Desk
	Results   Results
	Journal   journal.Store
	Verifier  Verifier
	Key       *xmlsig.Key // signs answers to participants who sign
	SenderID  string      // under which participants know this gateway
	Texts     *message.Catalogue
	Contracts fs.FS  // schemas.FS
	BaseURL   string // how participants reach this gateway; stands in the WSDL

	Window   time.Duration // 0 means DefaultWindow
	MaxBytes int           // of the largest message; 0 means DefaultMaxBytes
	InFlight int64         // bytes; 0 means DefaultInFlight
	// House lends the processors that all doors share; nil means one of its own.
	House         *admission.House
	AllowGOST2004 bool // accept transport signatures of GOST 34.310-2004

	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
	// Observe, if set, is told how each message ended: "" is well.
	Observe func(participant string, op shep.Operation, r gateway.Reason, took time.Duration)
}

// A Door serves the channels. It is safe for concurrent use.
type Door struct {
	c            Config
	room         *admission.Door
	replay       *replay
	certificates *xmlsig.CertificateCache
}

// New checks the configuration.
func New(c Config) (*Door, error) {
	if c.Directory == nil || c.Outbox == nil || c.Desk == nil || c.Results == nil || c.Journal == nil || c.Verifier == nil || c.Key == nil || c.SenderID == "" || c.Texts == nil || c.Contracts == nil || c.BaseURL == "" {
		return nil, errors.New("channel: every field of Config without a default is required")
	}
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.InFlight == 0 {
		c.InFlight = DefaultInFlight
	}
	if c.InFlight < int64(c.MaxBytes) {
		return nil, errors.New("channel: InFlight must have room for one message of MaxBytes")
	}
	if c.House == nil {
		c.House = admission.New(admission.Config{})
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	room := c.House.NewDoor(admission.DoorConfig{Name: "shep", Known: admission.Room{Places: DefaultPlaces, Bytes: c.InFlight},
		Strangers: admission.Room{Places: strangersPlaces, Bytes: max(c.InFlight/2, int64(c.MaxBytes)+growth)}})
	d := &Door{c: c, room: room, replay: newReplay(c.Window+FutureWindow, replays), certificates: xmlsig.NewCertificateCache(0)}
	d.ShareRoom()
	return d, nil
}

// ShareRoom gives each participant of the directory, as it is now, a share of the door's room.
func (d *Door) ShareRoom() {
	var parties []admission.Party
	for _, p := range d.c.Directory.now.Load().all {
		parties = append(parties, admission.Party{Name: p.Name})
	}
	d.room.SetParties(parties)
}

// Report tells how full the door is, and for whom.
func (d *Door) Report() admission.Report { return d.room.Report() }

// Register adds the door's routes to mux: SyncChannel, AsyncChannel, and the participant's end of
// AsyncChannel, at which other gateways push.
func (d *Door) Register(mux *http.ServeMux) {
	for path, first := range map[string]shep.Operation{"/shep/sync": shep.SendMessage, "/shep/async": shep.AsyncSendMessage, "/shep/client": shep.AsyncSendMessage} {
		mux.HandleFunc("POST "+path, d.post(strings.TrimPrefix(path, "/shep/"), first))
		mux.HandleFunc("GET "+path, d.contract(strings.TrimPrefix(path, "/shep/")))
	}
}

// offered says which operations an address has.
func offered(address string, op shep.Operation) bool {
	switch op {
	case shep.SendMessage:
		return address == "sync"
	case shep.AsyncSendMessage:
		return address == "async" || address == "client"
	case shep.ChangeStatusNotification:
		return address == "client"
	}
	return address == "async" && op != ""
}

// A call is one message at the door.
type call struct {
	*Door
	address string
	op      shep.Operation // before the message is read, that of its address
	lang    gateway.Language
	now     time.Time

	place *admission.Place // nil before it is let in

	remote  string       // address of the connection
	caller  *Participant // whose connection it is, nil for a stranger's
	claimed *Participant // who called, or who the message says sent it; for logs and metrics only
	party   *Participant // nil until it is proven
	service string       // code in the passports
	cause   string       // of [errUnproven], for the log alone
	status  int          // of the answer, if it is decided already
}

func (d *Door) post(address string, first shep.Operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		c := &call{Door: d, address: address, op: first, lang: message.Negotiate(r.Header.Get("Accept-Language"), gateway.Kazakh), now: d.c.Now().UTC()}
		answer, err := c.run(w, r)
		if c.place != nil {
			defer c.place.Leave()
		}
		name := "none"
		if c.claimed != nil {
			name = c.claimed.Name
		}
		reason := gateway.ReasonOf(err)
		if d.c.Observe != nil {
			d.c.Observe(name, c.op, reason, time.Since(start))
		}
		if err != nil {
			line := []any{"door", "shep", "participant", name, "remote", r.RemoteAddr, "operation", string(c.op),
				"reason", string(reason), "error", err}
			if c.cause != "" {
				line = append(line, "cause", c.cause)
			}
			d.c.Log.Info("refused", line...)
			answer = c.fault(err)
			if seconds, ok := admission.RetryAfter(err); ok {
				w.Header().Set("Retry-After", strconv.Itoa(seconds))
			}
		}
		c.reply(w, r, answer, reason)
	}
}

// inUTF8 reports whether a charset is UTF-8 or a part of it. The header goes before what the document says
// of itself (RFC 7303 §3.2), and everything here is read as UTF-8.
func inUTF8(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "us-ascii":
		return true
	}
	return false
}

// run works on one message: who calls, room for what the message brings, then the work.
func (c *call) run(w http.ResponseWriter, r *http.Request) (shep.Payload, error) {
	if err := admission.CheckEncoding(r); err != nil {
		admission.Dismiss(w, r)
		c.status = http.StatusUnsupportedMediaType
		return nil, err
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "text/xml" && kind != "application/xml" || !inUTF8(parameters["charset"]) {
		admission.Dismiss(w, r)
		return nil, gateway.Errorf(gateway.MediaType, "send SOAP 1.1 as text/xml in UTF-8")
	}
	limit, name := c.c.MaxBytes, ""
	c.remote, c.caller = r.RemoteAddr, c.c.Directory.caller(r)
	if c.claimed = c.caller; c.claimed != nil {
		limit, name = min(limit, c.claimed.MaxBytes), c.claimed.Name
	}
	if c.place, err = c.room.Enter(name, r.RemoteAddr); err != nil {
		admission.HangUp(w, r)
		return nil, err
	}
	body, err := c.place.Read(w, r, int64(limit))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, gateway.Errorf(gateway.BodyEmpty, "a SOAP envelope is expected")
	}
	if err := c.place.Reserve(admission.Weight(body)); err != nil {
		return nil, err
	}
	var opened shep.Opened
	if err := c.place.Work(r.Context(), func() (err error) {
		opened, err = shep.Open(body, shep.OpenOptions{MaxBytes: c.c.MaxBytes, Known: c.c.Directory.now.Load().known,
			Certificates: c.certificates, AllowGOST2004: c.c.AllowGOST2004})
		return err
	}); err != nil {
		return nil, err
	}
	op := shep.OperationOf(opened.Payload)
	if !offered(c.address, op) {
		return nil, malformed("the operation is not offered at this address")
	}
	c.op = op
	h := headerOf(opened.Payload)
	if h.longest() > maxID {
		return nil, malformed("an id of a message has at most 256 bytes")
	}
	if err := c.identify(r.Context(), h, opened.Signer, len(body)); err != nil {
		return nil, err
	}
	if err := c.place.Prove(c.party.Name); err != nil {
		return nil, err
	}
	if err := c.fresh(h, &opened); err != nil {
		return nil, err
	}
	if h.service != "" {
		var ok bool
		if c.service, ok = c.party.Services[h.service]; !ok {
			return nil, gateway.Errorf(gateway.ServiceUnknown, "this sender has no service of that id")
		}
	}
	if h.once != "" && !c.replay.fits(c.party.Name+"\x00"+h.once, h.content, c.now) {
		return nil, gateway.Errorf(gateway.ReplayConflict, "the message id was used before with other data")
	}
	return c.perform(r.Context(), opened.Payload)
}

func (c *call) perform(ctx context.Context, p shep.Payload) (shep.Payload, error) {
	switch p := p.(type) {
	case *shep.Message:
		return c.sendMessage(ctx, p)
	case *shep.AsyncMessage:
		return c.asyncMessage(ctx, p)
	case *shep.MessagesQuery:
		return c.getMessages(ctx, p)
	case *shep.DeliveryNotification:
		return c.confirm(ctx, p)
	case *shep.StatusQuery:
		return c.messageStatus(ctx, p)
	case *shep.StatusChange:
		return c.statusChanged(p)
	}
	return nil, malformed("the operation is unknown")
}

// errUnproven is the one refusal of everybody who did not prove to be the participant that he names:
// an unknown sender, a wrong password, no signature or somebody else's. It does not tell which, so that
// nobody can ask for the register of senders and their proofs. The operator's log does.
var errUnproven = gateway.Errorf(gateway.PortalUnauthenticated,
	"the sender is unknown, or the message lacks the proof agreed with it: password, signature, or both")

// nobody is compared with when the sender is unknown, so that this takes as long.
var nobody = &Participant{PasswordSHA256: [32]byte{1}}

// identify finds the participant and lets it prove itself, by password, signature or both.
func (c *call) identify(ctx context.Context, h header, signer *trust.Certificate, size int) error {
	p := c.c.Directory.find(h.sender.ID, signer)
	// A missing or foreign signature counts as a guess like a wrong password does, so that it looks the same.
	unproven := func(cause string) error {
		c.cause = cause
		return c.c.House.Guesses().Refuse("shep", c.remote, errUnproven)
	}
	if p == nil {
		return c.checkPassword(nil, h)
	}
	c.claimed = p
	if p.signs() {
		if signer == nil {
			return unproven("the message is not signed")
		}
		if err := c.judge(ctx, p, signer); err != nil {
			if gateway.ReasonOf(err) == gateway.TransportWrong {
				return unproven(gateway.DetailOf(err))
			}
			return err
		}
	}
	if err := c.checkPassword(p, h); err != nil {
		return err
	}
	c.party = p
	if size > p.MaxBytes {
		return errTooLarge(p.MaxBytes)
	}
	if !c.c.Directory.take(p, c.now) {
		return gateway.Errorf(gateway.PortalLimit, "more than %v messages a second", p.Rate)
	}
	return nil
}

// checkPassword compares the password of a message from p, nil for nobody who is known, unless its address
// guesses. That of the participant whose connection it is, or whose signature the message carries, is
// compared in any case.
func (c *call) checkPassword(p *Participant, h header) error {
	shown := admission.Credential{Door: "shep", Address: c.remote, Claimed: h.sender.ID, Digest: sha256.Sum256([]byte(h.sender.Password))}
	if p != nil && (p.PasswordSHA256 == [32]byte{} || (p == c.caller || p.signs()) && p.passwordHolds(shown.Digest)) {
		return nil
	}
	return c.c.House.Guesses().Compare(shown, func() error {
		switch {
		case p == nil:
			nobody.passwordHolds(shown.Digest)
			c.cause = "no participant has that sender id"
			return errUnproven
		case !p.passwordHolds(shown.Digest):
			c.cause = "the password is wrong"
			return errUnproven
		}
		return nil
	})
}

// judge is the transport's verdict on a signer. Whoever is not this participant is
// [gateway.TransportWrong]; other reasons are for its own certificate.
func (c *call) judge(ctx context.Context, p *Participant, signer *trust.Certificate) error {
	for _, pinned := range p.Certificates {
		if !signer.Equal(pinned) {
			continue
		}
		if !signer.ValidAt(c.now) {
			return gateway.Errorf(gateway.TransportStale, "the signer's certificate is outside its validity")
		}
		return nil
	}
	// A certificate that does not even name the organisation is refused for the price of a pinned one.
	if p.Organisation.IsZero() || identity.BindOrganisation(signer, p.Organisation, true) != nil {
		return gateway.Errorf(gateway.TransportWrong, "the signer is not this sender")
	}
	out := c.c.Verifier.JudgeCertificate(ctx, signer, verification.Want{At: c.now, Purpose: trust.PurposeInformationSystem, Organisation: p.Organisation})
	err := out.Verdict.Err()
	switch r := gateway.ReasonOf(err); {
	case err == nil || r.Class() != gateway.Permanent:
		return err
	case r == gateway.CertificateExpired || r == gateway.CertificateNotYetValid || r == gateway.IssuerExpired:
		if issued(out.Verdict) {
			return gateway.Errorf(gateway.TransportStale, "the signer's certificate is outside its validity: %w", err)
		}
	}
	return gateway.Errorf(gateway.TransportWrong, "the signer is not this sender: %s", gateway.ReasonOf(err))
}

// issued reports whether a trusted authority issued the certificate, to whom it had to.
func issued(v gateway.Verdict) bool {
	holds := 0
	for _, k := range v.Checks {
		if (k.Name == gateway.CheckPath || k.Name == gateway.CheckIdentity) && k.Status == gateway.Verified {
			holds++
		}
	}
	return holds == 2
}

// oldZone is a word for who is off by just one hour: Almaty's clocks stood at +06:00 until 1 March 2024.
func oldZone(date, now time.Time) string {
	for _, hour := range []time.Duration{-time.Hour, time.Hour} {
		if off := now.Add(hour); date.After(off.Add(-5*time.Minute)) && date.Before(off.Add(5*time.Minute)) {
			return "; it is off by an hour: is the sender's clock still in the zone +06:00, which ended on 1 March 2024?"
		}
	}
	return ""
}

// fresh wants every date that a message states inside the window: its own, and that of its WS-Security
// header. A signed message has one of the two under its signature, or it would be good for ever; one by
// password alone may leave it out.
func (c *call) fresh(h header, opened *shep.Opened) error {
	stamp := opened.Timestamp
	if h.undated && opened.Signer != nil && (!stamp.Signed || stamp.Created.IsZero()) {
		return gateway.Errorf(gateway.TransportStale, "a signed message needs a date, its own or a signed wsu:Created")
	}
	// Instants are compared: a difference of centuries does not fit into a duration.
	from, until := c.now.Add(-c.c.Window), c.now.Add(FutureWindow)
	if !h.undated && (h.date.Before(from) || h.date.After(until)) {
		return gateway.Errorf(gateway.TransportStale, "the message's date may lie at most %v before and %v after the time of receipt%s",
			c.c.Window, FutureWindow, oldZone(h.date, c.now))
	}
	if !stamp.Created.IsZero() && (stamp.Created.Before(from) || stamp.Created.After(until)) {
		return gateway.Errorf(gateway.TransportStale, "wsu:Created may lie at most %v before and %v after the time of receipt",
			c.c.Window, FutureWindow)
	}
	if !stamp.Expires.IsZero() && (!c.now.Before(stamp.Expires) || stamp.Expires.Before(stamp.Created)) {
		return gateway.Errorf(gateway.TransportStale, "the message expired by its wsu:Timestamp")
	}
	return nil
}

// reply writes the answer. A client's mistake is a fault under status 200, which every SOAP
// stack reads (WS-I Basic Profile R1107); 500 is kept for troubles of our own, so that the
// operator's alert on it means what it says. Other statuses make common stacks hide the fault; a coded
// body gets 415 all the same, for it is the stack that coded it.
func (c *call) reply(w http.ResponseWriter, r *http.Request, answer shep.Payload, reason gateway.Reason) {
	doc, err := shep.Encode(answer)
	if err == nil && c.party != nil && c.party.signs() {
		doc, err = shep.Seal(doc, c.c.Key)
	}
	if err != nil {
		c.c.Log.Error("write an answer", "operation", string(c.op), "error", err)
		reason = gateway.Internal
		doc, _ = shep.Encode(c.fault(gateway.Errorf(gateway.Internal, "write the answer")))
	}
	h := w.Header()
	h.Set("Content-Type", "text/xml; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	status := http.StatusOK
	if reason != "" && reason.Class() != gateway.Permanent {
		h.Set("Retry-After", strconv.Itoa(int(intake.RetryAfter/time.Second)))
		if reason != gateway.PortalLimit {
			status = http.StatusInternalServerError
		}
	}
	status = cmp.Or(c.status, status)
	if reason == gateway.BodyTooLarge || reason == gateway.BodyTruncated || reason == gateway.Overload {
		admission.HangUp(w, r)
	}
	w.WriteHeader(status)
	w.Write(doc) //nolint:errcheck // the client may be gone; it repeats and gets the same receipt
}

// fault says in the contract's words what a refusal is. errorData holds the reason and, for a
// client's mistake, its detail; each fault of a form is a subError.
func (c *call) fault(err error) *shep.Fault {
	p := intake.ProblemOf(c.c.Texts, c.lang, err)
	if p.Reason == gateway.HeaderNotUnderstood {
		return &shep.Fault{Operation: c.op, Code: shep.FaultMustUnderstand, String: p.Title} // no detail: SOAP 1.1 §4.4
	}
	code, session := shep.CodeOf(p.Reason), shep.NewSession()
	data := string(p.Reason)
	if p.Detail != "" {
		data += ": " + p.Detail
	}
	info := &shep.ErrorInfo{Code: code, Message: p.Title, Data: data, Date: c.now, SessionID: session}
	for at, i := info, 0; i < min(len(p.Faults), 7); i++ {
		f := p.Faults[i]
		at.SubError = &shep.ErrorInfo{Code: code, Message: f.Title, Data: f.Path + " " + f.Rule, Date: c.now}
		at = at.SubError
	}
	return &shep.Fault{Operation: c.op, Code: code, String: p.Title, Info: info}
}
