package synthetic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// A Provider answers the walks' requests: it is the dispatch.Sender of the provider Name. The
// result goes over the network to the providers' door like everybody's.
type Provider struct {
	Base     string
	Client   *http.Client // reaches Base
	Token    string       // of the provider Name
	Key      *xmlsig.Key  // of somebody who may sign for BIN
	BIN      gateway.BIN
	Verifier Verifier
	Now      func() time.Time
}

// Send takes a delivery: it verifies the gateway's signature and brings the signed result before it
// returns, so that no walk is left half-way when the gateway ends. It is safe to call again.
func (p *Provider) Send(ctx context.Context, id gateway.RequestID, delivery []byte) error {
	if _, err := p.Verifier.Open(delivery, len(delivery)); err != nil {
		return gateway.Errorf(gateway.ProviderRejected, "the delivery does not verify: %w", err)
	}
	name := "<kk>egov-gateway</kk><ru>egov-gateway</ru>"
	doc := fmt.Appendf(nil, `<result xmlns="urn:egov-gateway:result:1"><requestId>%s</requestId><number>%s</number><decidedAt>%s</decidedAt><providerBin>%s</providerBin><providerName>%s</providerName><answer><outcome>satisfied</outcome><explanation>%s</explanation></answer></result>`,
		id, id[:8], p.Now().UTC().Format(time.RFC3339), p.BIN, name, name)
	signed, err := xmlsig.Sign(doc, p.Key, xmlsig.SignOptions{})
	if err != nil {
		return gateway.Errorf(gateway.ConfigInvalid, "sign the result: %w", err)
	}
	err = ask(ctx, p.Client, question{p.Base + "/v1/providers/" + Name + "/results", p.Token, signed}, http.StatusOK, nil)
	if gateway.ReasonOf(err) == gateway.ResultConflict {
		return nil // brought before the gateway could note it, with another time of decision
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return gateway.Errorf(gateway.ProviderUnavailable, "bring the result: %w", err)
	}
	return err
}
