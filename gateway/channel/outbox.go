package channel

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/shep"
)

// Kinds of signals that delivery notifications leave for a message.
const (
	signalTaken   = "shep-taken"
	signalStopped = "shep-stopped"
)

// DoorAsync is the door of requests whose steps and results are sent back as messages.
const DoorAsync = "shep-async"

// answerTimes is how many times its size a message takes while it is answered: read, escaped, signed.
const answerTimes = 3

// bodyLetter is the message's business data in the journal.
const bodyLetter = "letter"

const (
	// KeepTaken is how long a message that was taken is remembered, for participants that confirm
	// it again or ask for its status.
	KeepTaken = 30 * 24 * time.Hour
	// KeepWaiting is how long a message waits for a participant that fetches. Then its data goes,
	// as it may not be kept for ever, and an operator is told; results stay where they are asked for.
	KeepWaiting = 90 * 24 * time.Hour
)

// A letter is what the journal keeps of a message to a participant, beside its data.
type letter struct {
	Request gateway.RequestID `json:"request"`
	Service string            `json:"service"` // SHEP's id
	Type    shep.MessageType  `json:"type"`    // "" for a changed status, which has no data
	At      time.Time         `json:"at"`
}

// An Outbox holds the messages to participants. Each is an item of the journal, in the
// participant's own queue, until the participant has taken it: pushed by the pipeline, with its
// retries, or fetched and confirmed. It is safe for concurrent use.
type Outbox struct {
	directory *Directory
	journal   journal.Store
	now       func() time.Time
	log       *slog.Logger
	kick      func()

	mu   sync.Mutex // guards gone
	gone map[gateway.RequestID]time.Time
}

// NewOutbox makes an outbox; kick wakes the engine of its queues.
func NewOutbox(d *Directory, j journal.Store, now func() time.Time, log *slog.Logger, kick func()) (*Outbox, error) {
	if d == nil || j == nil || kick == nil {
		return nil, errors.New("channel: an Outbox needs directory, journal and kick")
	}
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Outbox{directory: d, journal: j, now: now, log: log, kick: kick, gone: map[gateway.RequestID]time.Time{}}, nil
}

// Notify implements [flow.Notifier]: what a portal is told of a request that came by AsyncChannel
// becomes a message in its queue. When it returns nil the message is durable. Who came by another
// door, and who is no participant, is told nothing here.
func (o *Outbox) Notify(ctx context.Context, portal string, id gateway.RequestID, n flow.Notice) error {
	p := o.directory.portal(portal)
	if p == nil || n.Door != DoorAsync {
		return nil
	}
	service := p.serviceID(n.Service)
	if service == "" {
		return nil
	}
	key, kind := "result", shep.TypeResponse
	switch {
	case n.Step != "":
		key, kind = "step/"+n.Step, shep.TypeNotification
	case n.State == gateway.StateDelivered && p.Push == nil:
		return nil // who fetches asks by getMessageStatus
	case n.State == gateway.StateDelivered:
		key, kind = "delivered", ""
	}
	return o.put(ctx, p, key, letter{Request: id, Service: service, Type: kind, At: n.At}, n.Document)
}

func (o *Outbox) put(ctx context.Context, p *Participant, key string, l letter, data []byte) error {
	doc, err := json.Marshal(l)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	from, message := queue(p), string(l.Request)+"/"+key
	now := o.now().UTC()
	it := journal.New{
		ID: gateway.NewRequestID(from, message, sum), Portal: from, MessageID: message, Content: sum,
		Citizen: journal.CitizenKey(message), Service: l.Service, Shard: from, Provider: p.Name, Created: now, Doc: doc,
		Events: []gateway.Event{{At: now, Kind: gateway.EventAccepted, Subject: string(l.Type)}}, Bodies: map[string][]byte{bodyLetter: data},
	}
	it.Wake = now.Add(KeepWaiting)
	if p.Push != nil {
		// One chain's messages are pushed in their order; fetched ones are confirmed in any.
		it.Wake, it.Citizen = now, journal.CitizenKey(l.Request)
	}
	_, err = o.journal.Create(ctx, it)
	if errors.Is(err, journal.ErrDuplicate) {
		return nil
	}
	if err == nil {
		o.kick()
	}
	return err
}

// Steps are what the pipeline does with messages, over the shards [Directory.Queues].
func (o *Outbox) Steps() map[gateway.State]pipeline.Step {
	return map[gateway.State]pipeline.Step{
		gateway.StateAccepted: {Name: "push", Run: o.push},
		gateway.StateParked:   {Name: "push-parked", Run: o.confirmed},
		gateway.StateClosed:   {Name: "push-forget", Run: o.forget},
	}
}

// Ordered is the state in which a chain's messages keep their order.
func (o *Outbox) Ordered() []gateway.State { return []gateway.State{gateway.StateAccepted} }

// push gives a message to a participant who has it pushed.
func (o *Outbox) push(ctx context.Context, l journal.Lease) (journal.Step, error) {
	p := o.directory.of(l.Item.Shard)
	if p == nil {
		return journal.Step{}, gateway.Errorf(gateway.ConfigInvalid, "the participant of the queue %s is not configured", l.Item.Shard)
	}
	if len(l.Inbox) > 0 {
		return o.confirmed(ctx, l)
	}
	if p.Push == nil {
		if due := l.Item.Created.Add(KeepWaiting); o.now().Before(due) {
			return journal.Step{State: l.Item.State, Doc: l.Item.Doc, Wake: due}, nil
		}
		return journal.Step{State: gateway.StateParked, Doc: l.Item.Doc, Erase: []string{bodyLetter},
			Events: []gateway.Event{{At: o.now(), Kind: gateway.EventParked, Subject: string(l.Item.State), Reason: gateway.PortalUnavailable}}}, nil
	}
	m, err := o.message(ctx, l.Item)
	if err != nil {
		return journal.Step{}, err
	}
	if m.Type == "" {
		err = o.changed(ctx, p, l.Item)
	} else {
		_, err = p.Push.Send(ctx, m)
	}
	if err != nil {
		return journal.Step{}, err
	}
	return o.taken(l), nil
}

// changed tells that the participant's REQUEST reached its provider.
func (o *Outbox) changed(ctx context.Context, p *Participant, it journal.Item) error {
	var l letter
	if err := json.Unmarshal(it.Doc, &l); err != nil {
		return gateway.Errorf(gateway.Internal, "read a letter: %w", err)
	}
	_, err := p.Push.Changed(ctx, shep.StatusChange{NotificationID: string(it.ID), MessageID: string(l.Request),
		MessageStatus: shep.MessageStatus{State: shep.Delivered, Code: string(gateway.StateDelivered), Date: l.At}, SessionID: shep.NewSession()})
	return err
}

func (o *Outbox) taken(l journal.Lease) journal.Step {
	return journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc, Wake: o.now().Add(KeepTaken), Erase: []string{bodyLetter},
		Events: []gateway.Event{{At: o.now(), Kind: gateway.EventDelivered, Subject: l.Item.Provider}}}
}

// confirmed records what the participant said of a message that it fetched.
func (o *Outbox) confirmed(_ context.Context, l journal.Lease) (journal.Step, error) {
	out := journal.Step{State: l.Item.State, Doc: l.Item.Doc}
	if out.State == gateway.StateAccepted {
		out.Wake = l.Item.Created.Add(KeepWaiting)
	}
	for _, s := range l.Inbox {
		switch s.Kind {
		case signalTaken:
			taken := o.taken(l)
			taken.Consumed = append(out.Consumed, s.Key)
			out = taken
		case signalStopped:
			out.Consumed = append(out.Consumed, s.Key)
			if out.State == gateway.StateAccepted {
				out.State, out.Wake = gateway.StateParked, time.Time{}
				out.Events = []gateway.Event{{At: o.now(), Kind: gateway.EventParked, Subject: string(l.Item.State), Reason: gateway.ProviderRejected}}
			}
		}
	}
	return out, nil
}

func (o *Outbox) forget(_ context.Context, l journal.Lease) (journal.Step, error) {
	out := journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc, Wake: l.Item.Created.Add(2 * KeepTaken)}
	for _, s := range l.Inbox {
		out.Consumed = append(out.Consumed, s.Key)
	}
	if len(l.Inbox) == 0 {
		out.Remove = true
	}
	return out, nil
}

// message is an item of a queue as SHEP carries it.
func (o *Outbox) message(ctx context.Context, it journal.Item) (shep.AsyncMessage, error) {
	var l letter
	if err := json.Unmarshal(it.Doc, &l); err != nil {
		return shep.AsyncMessage{}, gateway.Errorf(gateway.Internal, "read a letter: %w", err)
	}
	data, err := o.journal.Body(ctx, it.ID, bodyLetter)
	if err != nil {
		return shep.AsyncMessage{}, err
	}
	return shep.AsyncMessage{ID: string(it.ID), CorrelationID: shep.Chain(l.Request), ServiceID: l.Service, Type: l.Type, Date: l.At, SessionID: shep.NewSession(),
		Data: shep.Data{Form: shep.FormString, Document: data}}, nil
}

// Bounds of a walk over a participant's queue.
const (
	// nextPage is how many messages one token of the participant's rate pays for. The first page holds
	// as many as are asked for, and mostly all of them fit.
	nextPage = 200
	// walkTime is how long a question may look for messages. It ends before the answer's connection does.
	walkTime = 20 * time.Second
)

// errAnswered ends a walk that has all it was asked for.
var errAnswered = errors.New("channel: the answer is full")

// An answerRoom says how much one answer may hold.
type answerRoom struct {
	amount, bytes int               // messages, and bytes of their data
	reserve       func(int64) error // takes the memory that one of them needs
	pace          func(context.Context) error
}

// waiting returns a participant's oldest messages that fit a query, at most as many as room has place
// for, but one in any case. When there is no memory for more, the others wait for the next question.
//
// The walk ends with the last message that is answered. A chain has no index, so a question for one
// may have to walk over the whole queue: each page but the first is paced.
func (o *Outbox) waiting(ctx context.Context, p *Participant, q *shep.MessagesQuery, room answerRoom) ([]shep.AsyncMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	var out []shep.AsyncMessage
	take := func(it journal.Item) error {
		if !o.fits(it, q) {
			return nil
		}
		m, err := o.message(ctx, it)
		if errors.Is(err, journal.ErrErased) || errors.Is(err, journal.ErrNotFound) {
			return nil // confirmed in this very moment
		}
		if err != nil {
			return err
		}
		if room.bytes -= len(m.Data.Document); room.bytes < 0 && len(out) > 0 {
			return errAnswered
		}
		if err := room.reserve(answerTimes * int64(len(m.Data.Document))); err != nil {
			if len(out) > 0 {
				return errAnswered
			}
			return err
		}
		if out = append(out, m); len(out) >= room.amount {
			return errAnswered
		}
		return nil
	}
	err := o.visitWaiting(ctx, p, q, room, take)
	switch {
	case err == nil || errors.Is(err, errAnswered):
		return out, nil
	case ctx.Err() != nil && len(out) > 0:
		return out, nil // the others are had by the next question
	case ctx.Err() != nil:
		return nil, gateway.Errorf(gateway.PortalLimit,
			"the queue is too long for a question about one chain; ask without correlationId and confirm what came")
	}
	return nil, err
}

// visitWaiting visits what a query may mean, the oldest first.
func (o *Outbox) visitWaiting(ctx context.Context, p *Participant, q *shep.MessagesQuery, room answerRoom,
	visit func(journal.Item) error) error {
	if q.ID != "" {
		it, err := o.item(ctx, p, q.ID)
		if gateway.ReasonOf(err) == gateway.NotFound || err == nil && it.State != gateway.StateAccepted {
			return nil
		}
		if err != nil {
			return err
		}
		return visit(it)
	}
	return journal.Each(ctx, pacedList{o.journal, room.pace}, journal.Query{Shard: queue(p), State: gateway.StateAccepted,
		Service: q.ServiceID, Oldest: true, Limit: room.amount}, visit)
}

// A pacedList waits before each page but the first.
type pacedList struct {
	from journal.Lister
	pace func(context.Context) error
}

// List implements journal.Lister.
func (l pacedList) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	if q.Cursor != "" {
		if err := l.pace(ctx); err != nil {
			return nil, "", err
		}
		q.Limit = nextPage
	}
	return l.from.List(ctx, q)
}

func (o *Outbox) fits(it journal.Item, q *shep.MessagesQuery) bool {
	var l letter
	if o.isGone(it.ID) || json.Unmarshal(it.Doc, &l) != nil || l.Type == "" || l.Service != q.ServiceID || q.ID != "" && q.ID != string(it.ID) {
		return false
	}
	if q.CorrelationID == "" {
		return true
	}
	id, err := shep.RequestOf(q.CorrelationID)
	return err == nil && id == l.Request
}

// confirm takes a delivery notification. It is durable when it returns nil.
func (o *Outbox) confirm(ctx context.Context, p *Participant, n *shep.DeliveryNotification) error {
	it, err := o.item(ctx, p, n.MessageID)
	if err != nil {
		return err
	}
	if n.Resend {
		return nil // it stays where it is, and comes again
	}
	s := journal.Signal{Key: signalTaken, Kind: signalTaken, At: o.now().UTC()}
	if !n.Accepted {
		s.Key, s.Kind = signalStopped, signalStopped
	}
	if _, _, err := o.journal.Signal(ctx, it.ID, s); err != nil {
		return err
	}
	o.mu.Lock()
	for id, at := range o.gone {
		if o.now().Sub(at) > time.Minute { // the engine has long taken it in
			delete(o.gone, id)
		}
	}
	o.gone[it.ID] = o.now()
	o.mu.Unlock()
	o.kick()
	return nil
}

func (o *Outbox) isGone(id gateway.RequestID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.gone[id]
	return ok
}

// item returns a message of the participant; any other is not found.
func (o *Outbox) item(ctx context.Context, p *Participant, id string) (journal.Item, error) {
	parsed, err := gateway.ParseRequestID(id)
	if err != nil {
		return journal.Item{}, err
	}
	it, err := o.journal.Get(ctx, parsed)
	if errors.Is(err, journal.ErrNotFound) || err == nil && it.Shard != queue(p) {
		return journal.Item{}, gateway.Errorf(gateway.NotFound, "no message to this participant has that id")
	}
	return it, err
}
