package flow

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
)

// An HTTPNotifier posts notices to the portals' addresses. It is safe for concurrent use.
type HTTPNotifier struct {
	client    *upstream.Client
	addresses atomic.Pointer[map[string]Address]
}

// An Address is where a portal is told.
type Address struct {
	URL   string // "" is told nothing
	Token string // the bearer token by which the portal knows the gateway
}

// NewHTTPNotifier makes a notifier for the portals with these names.
func NewHTTPNotifier(c *upstream.Client, addresses map[string]Address) *HTTPNotifier {
	h := &HTTPNotifier{client: c}
	h.SetAddresses(addresses)
	return h
}

// SetAddresses replaces all addresses. Notices under way end as they began.
func (h *HTTPNotifier) SetAddresses(all map[string]Address) { h.addresses.Store(&all) }

// Notify implements [Notifier].
func (h *HTTPNotifier) Notify(ctx context.Context, portal string, id gateway.RequestID, n Notice) error {
	to := (*h.addresses.Load())[portal]
	if to.URL == "" || n.State != gateway.StateDecided || n.Step != "" { // what happens before is read at the status address
		return nil
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	resp, err := h.client.Do(ctx, upstream.Request{Method: http.MethodPost, URL: to.URL, Body: body, Idempotent: true, Header: map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": string(id) + "/" + string(n.State), "Authorization": "Bearer " + to.Token}})
	if err != nil {
		return err
	}
	if resp.Status/100 != 2 {
		return gateway.Errorf(gateway.PortalUnavailable, "the portal answered %d", resp.Status)
	}
	return nil
}
