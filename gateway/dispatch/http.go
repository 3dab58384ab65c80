package dispatch

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

type element = xmlsig.Element

// An HTTPSender puts deliveries to URL/requests/{id}, with the id as Idempotency-Key.
type HTTPSender struct {
	Client *upstream.Client
	URL    string
	Token  string // the bearer token by which the provider knows the gateway
}

// NewHTTPSender checks that the address and the token are there.
func NewHTTPSender(c *upstream.Client, url, token string) (*HTTPSender, error) {
	if c == nil || url == "" || token == "" {
		return nil, errors.New("dispatch: an HTTPSender needs Client, URL and Token")
	}
	return &HTTPSender{c, strings.TrimRight(url, "/"), token}, nil
}

// Send implements [Sender]. 200 and 201 mean that the provider has it; 408, 425, 429 and
// every 5xx are tried again; any other answer is the provider's refusal.
func (s *HTTPSender) Send(ctx context.Context, id gateway.RequestID, delivery []byte) error {
	resp, err := s.Client.Do(ctx, upstream.Request{
		Method: http.MethodPut, URL: s.URL + "/requests/" + string(id), Body: delivery, Idempotent: true,
		Header: map[string]string{"Content-Type": "application/xml", "Idempotency-Key": string(id), "Authorization": "Bearer " + s.Token},
	})
	if err != nil {
		return err
	}
	switch {
	case resp.Status == http.StatusOK || resp.Status == http.StatusCreated:
		return nil
	case resp.Status >= 500 || resp.Status == http.StatusRequestTimeout || resp.Status == http.StatusTooEarly || resp.Status == http.StatusTooManyRequests:
		return gateway.Errorf(gateway.ProviderUnavailable, "the provider answered %d", resp.Status)
	}
	return gateway.Errorf(gateway.ProviderRejected, "the provider answered %d", resp.Status)
}
