package shep

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

// Reasons are the words for an [upstream.Client] that carries calls to state systems.
var reasons = upstream.Reasons{Unavailable: gateway.SourceUnavailable, Timeout: gateway.SourceTimeout, TooLarge: gateway.SourceMalformed}

// ClientConfig of a [Client].
type ClientConfig struct {
	Name      string // label of the called system in metrics and errors; required
	URL       string // of the service's SyncChannel; required
	ServiceID string // from SHEP's register of interactions; required
	SenderID  string // of the gateway; required
	Password  string // of the sender; "" sends none
	RouteID   string // "" sends none
	// Key signs every message (WS-Security); nil signs none.
	Key *xmlsig.Key
	// Partners are pinned: one of them must have signed every answer. Empty takes unsigned ones.
	Partners []*trust.Certificate
	// Idempotent: the service only reads, so a broken call may be repeated.
	Idempotent bool
	// Upstream holds timeouts, limits, TLS and the metrics hook; Name and Reasons are set here.
	Upstream upstream.Config

	Now func() time.Time // nil means time.Now
}

// A Client sends messages to one service. It is safe for concurrent use.
type Client struct {
	c    ClientConfig
	http *upstream.Client
}

// NewClient checks c and makes a Client.
func NewClient(c ClientConfig) (*Client, error) {
	if c.Name == "" || c.URL == "" || c.ServiceID == "" || c.SenderID == "" {
		return nil, errors.New("shep: ClientConfig needs Name, URL, ServiceID and SenderID")
	}
	c.Upstream.Name, c.Upstream.Reasons = c.Name, reasons
	u, err := upstream.New(c.Upstream)
	if err != nil {
		return nil, fmt.Errorf("shep: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{c: c, http: u}, nil
}

// SenderID is the id under which SHEP knows the gateway.
func (c *Client) SenderID() string { return c.c.SenderID }

// Now is the client's clock.
func (c *Client) Now() time.Time { return c.c.Now() }

// Close drops idle connections.
func (c *Client) Close() { c.http.Close() }

// NewID makes a message id, a random UUID (RFC 9562 version 4).
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Send sends m and waits for the answer, whatever its status says. It fills in service, sender
// and route, and id and date when m has none.
//
// The error carries [gateway.SourceUnavailable] when no SOAP answer came, [gateway.SourceTimeout]
// when none came in time, [gateway.SourceFault] for a fault, and [gateway.SourceMalformed] for an
// answer outside the contract or of another chain of messages.
func (c *Client) Send(ctx context.Context, m Message) (Response, error) {
	m.ServiceID, m.SenderID, m.Password, m.RouteID = c.c.ServiceID, c.c.SenderID, c.c.Password, c.c.RouteID
	if m.ID == "" {
		m.ID = NewID()
	}
	if m.Date.IsZero() {
		m.Date = c.c.Now()
	}
	body, err := EncodeSendMessage(m)
	if err == nil && c.c.Key != nil {
		body, err = Seal(body, c.c.Key)
	}
	if err != nil {
		return Response{}, &gateway.Error{Reason: gateway.Internal, Err: err}
	}
	got, err := c.http.Do(ctx, upstream.Request{
		Method: "POST", URL: c.c.URL, Body: body, Idempotent: c.c.Idempotent,
		Header: map[string]string{"Content-Type": "text/xml; charset=utf-8", "SOAPAction": `""`},
	})
	if err != nil {
		return Response{}, err
	}
	if got.Status != 200 && got.Status != 500 {
		return Response{}, gateway.Errorf(gateway.SourceUnavailable, "%s: answered %d", c.c.Name, got.Status)
	}
	r, err := c.response(got.Body)
	switch fault, isFault := errors.AsType[*Fault](err); {
	case isFault:
		return Response{}, gateway.Errorf(gateway.SourceFault, "%s: %w", c.c.Name, fault)
	case got.Status == 500:
		// Status 500 is for faults; anything else in it is a server that broke.
		return Response{}, gateway.Errorf(gateway.SourceUnavailable, "%s: answered 500 without a fault", c.c.Name)
	case err != nil:
		return Response{}, gateway.Errorf(gateway.SourceMalformed, "%s: %w", c.c.Name, err)
	case r.CorrelationID != "" && m.CorrelationID != "" && r.CorrelationID != m.CorrelationID:
		return Response{}, gateway.Errorf(gateway.SourceMalformed, "%s: the answer belongs to another chain of messages", c.c.Name)
	}
	return r, nil
}

// response reads an answer, which a pinned partner must have signed if there is one. A fault is
// believed unsigned: it only means that there is no answer.
func (c *Client) response(body []byte) (Response, error) {
	if len(c.c.Partners) == 0 {
		return DecodeSendMessageResponse(body)
	}
	opened, err := Open(body, OpenOptions{MaxBytes: upstream.DefaultMaxResponse, Known: c.c.Partners})
	if err != nil {
		return Response{}, err
	}
	switch p := opened.Payload.(type) {
	case *Fault:
		return Response{}, &gateway.Error{Reason: gateway.SourceFault, Err: p}
	case *Response:
		if !pinned(opened.Signer, c.c.Partners, c.c.Now()) {
			return Response{}, gateway.Errorf(gateway.TransportWrong, "the answer is not signed by the configured partner")
		}
		return *p, nil
	}
	return Response{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the Body holds something else than SendMessageResponse")
}
