// Package dispatch delivers requests to providers and receives their steps and their signed
// results. What a provider sends is verified before it is kept; what does not verify is
// quarantined, counted and never shown.
package dispatch

import (
	"context"
	"encoding/base64"
	"errors"
	"sync/atomic"
	"time"

	"github.com/beevik/etree"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/xmlsig"
)

// A Provider is the way to one provider's information system.
type Provider struct {
	ID string
	// BIN is the organisation whose head and executors may sign steps and results.
	BIN gateway.BIN
	// TokenSHA256 is the SHA-256 of the bearer token with which the provider calls back.
	TokenSHA256 [32]byte
	// FormerSHA256 are tokens that were replaced and are still good beside it.
	FormerSHA256 [][32]byte
	// Sender puts a delivery to the provider. It must be safe to call again with the same
	// id and bytes; the provider does the work once. The error carries
	// [gateway.ProviderUnavailable] (again later) or [gateway.ProviderRejected] (an operator decides).
	Sender Sender
	// Relayed says that the provider is reached through the gateway of its region: Sender carries
	// a [Bundle], records are fetched there, and the provider calls back there.
	Relayed bool
}

// A Sender carries a signed delivery to a provider.
type Sender interface {
	Send(ctx context.Context, id gateway.RequestID, delivery []byte) error
}

// A Parcel is everything that goes into a delivery.
type Parcel struct {
	Item        journal.Item
	Dossier     *gateway.Dossier
	Request     []byte // the citizen's signed bytes
	Facts       []gateway.Fact
	Attachments map[string][]byte // by SHA-256
}

// Pack builds the delivery document (schemas/delivery.xsd) and signs it with the gateway's
// key. The same parcel gives the same bytes under an RSA key.
func Pack(p Parcel, calendar *passport.Calendar, key *xmlsig.Key) ([]byte, error) {
	local := func(t time.Time) string { return t.In(calendar.Zone()).Format(time.RFC3339) }
	doc := etree.NewDocument()
	root := doc.CreateElement("delivery")
	root.CreateAttr("xmlns", "urn:egov-gateway:delivery:1")
	put := func(e *etree.Element, name, value string) { e.CreateElement(name).SetText(value) }
	put(root, "requestId", string(p.Item.ID))
	put(root, "serviceCode", p.Item.Service)
	put(root, "passportVersion", p.Dossier.Version)
	put(root, "providerId", p.Item.Provider)
	put(root, "shard", p.Item.Shard)
	put(root, "registeredAt", local(p.Dossier.RegisteredAt))
	put(root, "dueAt", local(p.Dossier.DueAt))
	steps := root.CreateElement("steps")
	for _, s := range p.Dossier.Steps {
		e := steps.CreateElement("step")
		put(e, "code", s.Code)
		put(e, "dueAt", local(s.DueAt))
	}
	put(root, "signedRequest", base64.StdEncoding.EncodeToString(p.Request))
	records := root.CreateElement("records")
	for _, f := range p.Facts {
		e := records.CreateElement("record")
		put(e, "kind", string(f.Kind))
		put(e, "person", f.Person)
		put(e, "source", f.Source)
		put(e, "status", string(f.Status))
		put(e, "observedAt", local(f.ObservedAt))
		put(e, "messageId", f.MessageID)
		if f.Status == gateway.FactFound {
			put(e, "data", base64.StdEncoding.EncodeToString(f.Data))
		}
	}
	attachments := root.CreateElement("attachments")
	for _, a := range p.Dossier.Attachments {
		e := attachments.CreateElement("attachment")
		put(e, "name", a.Name)
		put(e, "kind", a.Kind)
		put(e, "mediaType", a.MediaType)
		put(e, "sha256", a.SHA256)
		put(e, "data", base64.StdEncoding.EncodeToString(p.Attachments[a.SHA256]))
	}
	b, err := doc.WriteToBytes()
	if err != nil {
		return nil, err
	}
	signed, err := xmlsig.Sign(b, key, xmlsig.SignOptions{})
	if err != nil {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "sign the delivery: %w", err)
	}
	return signed, nil
}

// errNoProvider is what a missing provider comes to: somebody took it out of the configuration.
func errNoProvider(id string) error {
	return gateway.Errorf(gateway.ConfigInvalid, "the provider %s is not configured", id)
}

// A Directory holds the configured providers. It is safe for concurrent use.
type Directory struct {
	byID atomic.Pointer[map[string]Provider]
}

// NewDirectory checks that every provider can send, be recognised and be bound to a BIN.
func NewDirectory(all []Provider) (*Directory, error) {
	byID := map[string]Provider{}
	for _, p := range all {
		if p.ID == "" || p.Sender == nil || p.BIN.IsZero() || p.TokenSHA256 == [32]byte{} && !p.Relayed {
			return nil, errors.New("dispatch: a provider needs ID, Sender, BIN and TokenSHA256")
		}
		byID[p.ID] = p
	}
	d := new(Directory)
	d.byID.Store(&byID)
	return d, nil
}

// Replace makes d hold what next holds. Deliveries and documents at hand end as they began.
func (d *Directory) Replace(next *Directory) { d.byID.Store(next.byID.Load()) }

func (d *Directory) find(id string) (Provider, bool) {
	p, ok := (*d.byID.Load())[id]
	return p, ok
}

// Has reports whether a provider is configured.
func (d *Directory) Has(id string) bool { _, ok := d.find(id); return ok }

// Relayed reports whether a provider is reached through another gateway; see [Provider.Relayed].
func (d *Directory) Relayed(id string) bool { p, _ := d.find(id); return p.Relayed }

// Send carries a delivery to a provider; see [Provider.Sender].
func (d *Directory) Send(ctx context.Context, provider string, id gateway.RequestID, delivery []byte) error {
	p, ok := d.find(provider)
	if !ok {
		return errNoProvider(provider)
	}
	return p.Sender.Send(ctx, id, delivery)
}
