package channel

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/shep"
)

// DefaultAmount is how many messages getMessages answers when it is not told.
const DefaultAmount = 20

// asyncMessage is sendMessage of the AsyncChannel. A REQUEST is a citizen's request; the other
// types are how a gateway hands over what a provider sent.
func (c *call) asyncMessage(ctx context.Context, m *shep.AsyncMessage) (shep.Payload, error) {
	if m.Type != shep.TypeRequest {
		return c.returned(ctx, m)
	}
	what, err := c.readBusiness(ctx, m.Data)
	if err != nil {
		return nil, err
	}
	if what.submission == nil {
		return nil, malformed("a REQUEST holds a citizen's request; status and result are asked for by SendMessage or come by themselves")
	}
	ad, err := c.admit(ctx, what.submission)
	if err != nil {
		return nil, err
	}
	return &shep.AsyncReceipt{ID: string(ad.Item.ID), CorrelationID: shep.Chain(ad.Item.ID), Date: c.now, SessionID: shep.NewSession()}, nil
}

// returned takes a step or a result of a provider that is reached through the sender.
func (c *call) returned(ctx context.Context, m *shep.AsyncMessage) (shep.Payload, error) {
	id, err := shep.RequestOf(m.CorrelationID)
	if err != nil {
		return nil, err
	}
	if err := c.c.hand(ctx, c.party, id, m); err != nil {
		return nil, err
	}
	message := m.ID
	if message == "" {
		message = string(id)
	}
	return &shep.AsyncReceipt{ID: message, CorrelationID: shep.Chain(id), Date: c.now, SessionID: shep.NewSession()}, nil
}

// hand gives a provider's document to the counter, if the request was given to a provider that
// is reached through p.
func (c *Config) hand(ctx context.Context, p *Participant, id gateway.RequestID, m *shep.AsyncMessage) error {
	it, err := c.Journal.Get(ctx, id)
	if errors.Is(err, journal.ErrNotFound) || err == nil && !slices.Contains(p.Providers, it.Provider) {
		return gateway.Errorf(gateway.ResultMismatch, "no request of that chain was given to this participant")
	}
	if err != nil {
		return err
	}
	kind := dispatch.SignalStep
	if m.Type == shep.TypeResponse {
		kind = dispatch.SignalResult
	}
	_, err = c.Results.Take(ctx, it.Provider, kind, m.Data.Document)
	return err
}

// getMessages answers what waits for the participant, the oldest first. They wait until they are
// confirmed.
func (c *call) getMessages(ctx context.Context, q *shep.MessagesQuery) (shep.Payload, error) {
	amount := q.Amount
	if amount == 0 {
		amount = DefaultAmount
	}
	all, err := c.c.Outbox.waiting(ctx, c.party, q, answerRoom{amount: min(amount, 10*DefaultAmount), bytes: c.party.MaxBytes * 3 / 4,
		reserve: c.place.Reserve, pace: func(ctx context.Context) error { return c.c.Directory.await(ctx, c.party, c.c.Now) }})
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Sender = shep.Sender{ID: c.c.SenderID}
	}
	return &shep.MessagesAnswer{Date: c.now, SessionID: shep.NewSession(), Messages: all}, nil
}

// confirm is sendDeliveryNotification.
func (c *call) confirm(ctx context.Context, n *shep.DeliveryNotification) (shep.Payload, error) {
	if err := c.c.Outbox.confirm(ctx, c.party, n); err != nil {
		return nil, err
	}
	return &shep.DeliveryReceipt{NotificationID: shep.NewID(), Date: c.now, SessionID: shep.NewSession()}, nil
}

// messageStatus is getMessageStatus: of a request that the participant sent, or of a message that
// waits for it.
func (c *call) messageStatus(ctx context.Context, q *shep.StatusQuery) (shep.Payload, error) {
	answer := func(s shep.MessageStatus) shep.Payload {
		return &shep.StatusAnswer{MessageStatus: s, AnswerDate: c.now, SessionID: shep.NewSession()}
	}
	for _, portal := range c.party.Portals {
		p, err := c.c.Desk.Progress(ctx, portal, q.MessageID)
		if gateway.ReasonOf(err) == gateway.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		last := p.ReceivedAt
		if n := len(p.Timeline); n > 0 {
			last = p.Timeline[n-1].At
		}
		return answer(shep.MessageStatus{State: stateOf(p.State), Code: string(p.State), Message: p.StateText.In(c.lang), Date: last}), nil
	}
	it, err := c.c.Outbox.item(ctx, c.party, q.MessageID)
	if err != nil {
		return nil, err
	}
	s := shep.MessageStatus{State: shep.OnDelivery, Code: string(it.State), Date: it.Updated}
	var l letter
	if json.Unmarshal(it.Doc, &l) == nil {
		s.Message = string(l.Type)
	}
	switch it.State {
	case gateway.StateClosed:
		s.State = shep.Delivered
	case gateway.StateParked:
		s.State = shep.DeliveryStopped
	}
	return answer(s), nil
}

// stateOf says in SHEP's words how far a request is on its way to the provider.
func stateOf(s gateway.State) shep.MessageState {
	switch s {
	case gateway.StateDelivered, gateway.StateDecided, gateway.StateClosed, gateway.StateErased:
		return shep.Delivered
	case gateway.StateParked:
		return shep.DeliveryStopped
	}
	return shep.OnDelivery
}

// statusChanged is changeMassageStatusNotification: another gateway tells of a message's state.
// The journal knows by the receipt what was taken, so it is only noted.
func (c *call) statusChanged(s *shep.StatusChange) (shep.Payload, error) {
	c.c.Log.Info("message status", "participant", c.party.Name, "state", string(s.State))
	session := s.SessionID
	if session == "" {
		session = shep.NewSession()
	}
	return &shep.StatusChangeReceipt{Date: c.now, SessionID: session}, nil
}
