package shep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

// AsyncConfig of an [AsyncClient].
type AsyncConfig struct {
	Name   string // label of the partner in metrics and errors; required
	URL    string // of the partner's AsyncChannel, or of the participant's end of it; required
	Sender Sender // the gateway, as the partner knows it; required
	// Key signs every message (WS-Security); nil signs none.
	Key *xmlsig.Key
	// Partners are pinned: one of them must have signed every answer. Empty takes unsigned ones.
	Partners []*trust.Certificate
	// MaxBytes bounds an answer. 0 means [upstream.DefaultMaxResponse].
	MaxBytes int
	// Upstream holds timeouts, limits, TLS and the metrics hook; Name is set here. Every call may be
	// repeated: a message is known by what it holds.
	Upstream upstream.Config

	Now func() time.Time // nil means time.Now
}

// An AsyncClient speaks AsyncChannel with one partner: to SHEP or another gateway, or to a
// participant who has messages pushed. It is safe for concurrent use.
type AsyncClient struct {
	c    AsyncConfig
	http *upstream.Client
}

// NewAsyncClient checks c and makes a client. Upstream.Reasons says which words its errors carry
// when no answer comes; nil words are those for providers.
func NewAsyncClient(c AsyncConfig) (*AsyncClient, error) {
	if c.Name == "" || c.URL == "" || c.Sender.ID == "" {
		return nil, errors.New("shep: AsyncConfig needs Name, URL and Sender")
	}
	c.Upstream.Name = c.Name
	if c.Upstream.Reasons.Unavailable == "" {
		c.Upstream.Reasons.Unavailable = gateway.ProviderUnavailable
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = upstream.DefaultMaxResponse
	}
	c.Upstream.MaxResponse = c.MaxBytes
	u, err := upstream.New(c.Upstream)
	if err != nil {
		return nil, fmt.Errorf("shep: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &AsyncClient{c: c, http: u}, nil
}

// Close drops idle connections.
func (c *AsyncClient) Close() { c.http.Close() }

// Send sends a message (sendMessage). It fills in sender and date.
//
// Errors of this client carry Upstream's Unavailable when no answer came or the partner has
// trouble of its own, and [gateway.ProviderRejected] when it refuses the message for good; then a
// [*Fault] is in the chain.
func (c *AsyncClient) Send(ctx context.Context, m AsyncMessage) (AsyncReceipt, error) {
	m.Sender, m.Date = c.c.Sender, c.c.Now()
	return ask[*AsyncReceipt](ctx, c, &m)
}

// Messages asks for waiting messages (getMessages). It fills in sender and date.
func (c *AsyncClient) Messages(ctx context.Context, q MessagesQuery) (MessagesAnswer, error) {
	q.Sender, q.Date = c.c.Sender, c.c.Now()
	return ask[*MessagesAnswer](ctx, c, &q)
}

// Confirm tells what became of a message that was fetched (sendDeliveryNotification).
func (c *AsyncClient) Confirm(ctx context.Context, n DeliveryNotification) (DeliveryReceipt, error) {
	now := c.c.Now()
	n.Sender, n.Date, n.StatusDate, n.RequestDate = c.c.Sender, now, now, now
	return ask[*DeliveryReceipt](ctx, c, &n)
}

// Status asks how far a message is (getMessageStatus).
func (c *AsyncClient) Status(ctx context.Context, messageID string) (StatusAnswer, error) {
	return ask[*StatusAnswer](ctx, c, &StatusQuery{MessageID: messageID, Date: c.c.Now(), Sender: c.c.Sender})
}

// Changed tells a participant of a message's new state (changeMassageStatusNotification).
func (c *AsyncClient) Changed(ctx context.Context, s StatusChange) (StatusChangeReceipt, error) {
	s.Date, s.RequestDate = c.c.Now(), c.c.Now()
	return ask[*StatusChangeReceipt](ctx, c, &s)
}

// ask sends a request and reads an answer of kind *T.
func ask[P interface {
	*T
	Payload
}, T any](ctx context.Context, c *AsyncClient, request Payload) (T, error) {
	var none T
	doc, err := Encode(request)
	if err == nil && c.c.Key != nil {
		doc, err = Seal(doc, c.c.Key)
	}
	if err != nil {
		return none, &gateway.Error{Reason: gateway.Internal, Err: err}
	}
	got, err := c.http.Do(ctx, upstream.Request{Method: "POST", URL: c.c.URL, Body: doc, Idempotent: true,
		Header: map[string]string{"Content-Type": "text/xml; charset=utf-8", "SOAPAction": `""`}})
	if err != nil {
		return none, err
	}
	unavailable := c.c.Upstream.Reasons.Unavailable
	opened, err := Open(got.Body, OpenOptions{MaxBytes: c.c.MaxBytes, Known: c.c.Partners})
	if err != nil || got.Status != 200 && got.Status != 500 {
		return none, gateway.Errorf(unavailable, "%s: answered %d without a message of the contract: %w", c.c.Name, got.Status, err)
	}
	if fault, ok := opened.Payload.(*Fault); ok {
		// An unsigned refusal is believed: it only makes us wait or ask an operator.
		if r := ReasonOf(fault.code()); r == gateway.Internal || r == gateway.SourceFault || r == gateway.TransportStale {
			return none, gateway.Errorf(unavailable, "%s: %w", c.c.Name, fault)
		}
		return none, gateway.Errorf(gateway.ProviderRejected, "%s: %w", c.c.Name, fault)
	}
	if len(c.c.Partners) > 0 && !pinned(opened.Signer, c.c.Partners, c.c.Now()) {
		return none, gateway.Errorf(unavailable, "%s: the answer is not signed by the configured partner", c.c.Name)
	}
	answer, ok := opened.Payload.(P)
	if !ok {
		return none, gateway.Errorf(unavailable, "%s: answered with another operation", c.c.Name)
	}
	return *answer, nil
}

// code is the fault's code in the contract's detail, else the SOAP one.
func (f *Fault) code() string {
	if f.Info != nil {
		return f.Info.Code
	}
	return f.Code
}

func pinned(signer *trust.Certificate, partners []*trust.Certificate, now time.Time) bool {
	for _, p := range partners {
		if signer != nil && signer.Equal(p) && signer.ValidAt(now) {
			return true
		}
	}
	return false
}
