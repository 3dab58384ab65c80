package dispatch

import (
	"context"
	"encoding/base64"
	"errors"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
)

// Exchange is the namespace of schemas/exchange.xsd.
const Exchange = "urn:egov-gateway:exchange:1"

// A Bundle is a request on its way to another gateway (schemas/exchange.xsd, submission): the
// citizen's signed bytes untouched, this gateway's receipt for them, and the documents by their
// names in the signed list.
type Bundle struct {
	Portal    string // "" when the portal itself sends
	Request   []byte
	Receipt   []byte // nil when the portal itself sends
	Documents []Copy
}

// A Copy is an attached document.
type Copy struct {
	Name string
	Data []byte
}

// Write writes the bundle as business data.
func (b Bundle) Write() ([]byte, error) {
	var w shep.Writer
	w.Start("submission", "xmlns", Exchange)
	w.Optional("portal", b.Portal)
	w.Leaf("request", base64.StdEncoding.EncodeToString(b.Request))
	if len(b.Receipt) > 0 {
		w.Leaf("receipt", base64.StdEncoding.EncodeToString(b.Receipt))
	}
	for _, d := range b.Documents {
		w.Start("attachment")
		w.Leaf("name", d.Name)
		w.Leaf("data", base64.StdEncoding.EncodeToString(d.Data))
		w.End()
	}
	w.End()
	return w.Bytes()
}

// A RegionSender relays requests to the gateway of a region over AsyncChannel (R6). That one
// verifies and journals them under the same id, and only then answers.
type RegionSender struct {
	client  *shep.AsyncClient
	service func(ctx context.Context, id gateway.RequestID) (string, error)
}

// NewRegionSender makes a sender; service tells under which id of SHEP's register a request goes.
func NewRegionSender(c *shep.AsyncClient, service func(ctx context.Context, id gateway.RequestID) (string, error)) (*RegionSender, error) {
	if c == nil || service == nil {
		return nil, errors.New("dispatch: a RegionSender needs client and service")
	}
	return &RegionSender{c, service}, nil
}

// Send implements [Sender].
func (s *RegionSender) Send(ctx context.Context, id gateway.RequestID, bundle []byte) error {
	service, err := s.service(ctx, id)
	if err != nil {
		return err
	}
	got, err := s.client.Send(ctx, shep.AsyncMessage{ServiceID: service, Type: shep.TypeRequest, Data: shep.Data{Form: shep.FormString, Document: bundle}})
	if err != nil {
		return err
	}
	if got.CorrelationID != shep.Chain(id) {
		return gateway.Errorf(gateway.ProviderRejected, "the other gateway took the request under another id")
	}
	return nil
}
