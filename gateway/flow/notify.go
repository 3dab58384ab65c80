package flow

import (
	"context"
	"encoding/json"
	"net/http"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
)

// An HTTPNotifier posts notices to the portals' addresses.
type HTTPNotifier struct {
	Client *upstream.Client
	// URLs by portal; a portal without one is not told.
	URLs map[string]string
	// Tokens by portal: the bearer token by which the portal knows the gateway.
	Tokens map[string]string
}

// Notify implements [Notifier].
func (h *HTTPNotifier) Notify(ctx context.Context, portal string, id gateway.RequestID, n Notice) error {
	url := h.URLs[portal]
	if url == "" || n.State != gateway.StateDecided || n.Step != "" { // what happens before is read at the status address
		return nil
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	resp, err := h.Client.Do(ctx, upstream.Request{Method: http.MethodPost, URL: url, Body: body, Idempotent: true, Header: map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": string(id) + "/" + string(n.State), "Authorization": "Bearer " + h.Tokens[portal]}})
	if err != nil {
		return err
	}
	if resp.Status/100 != 2 {
		return gateway.Errorf(gateway.PortalUnavailable, "the portal answered %d", resp.Status)
	}
	return nil
}
