package intake

import (
	"encoding/base64"
	"time"

	"github.com/beevik/etree"

	"egov-gateway/gateway"
	"egov-gateway/gateway/route"
	"egov-gateway/gateway/xmlsig"
)

// A Receipt is the JSON form of the receipt for an accepted request (R10).
type Receipt struct {
	ID            gateway.RequestID `json:"id"`
	MessageID     string            `json:"message_id"`
	Service       string            `json:"service"`
	Status        string            `json:"status"` // always "accepted"
	ReceivedAt    time.Time         `json:"received_at"`
	RegisteredAt  time.Time         `json:"registered_at"`
	DueAt         time.Time         `json:"due_at"`
	Provisional   bool              `json:"provisional,omitempty"` // see [gateway.Dossier]
	Provider      string            `json:"provider"`
	ContentSHA256 string            `json:"content_sha256"`
	StatusURL     string            `json:"status_url"`
	// Notice is the acceptance notice in the language of the request, for the citizen.
	Notice string `json:"notice"`
	// SignedReceipt is the same receipt as XML signed by the gateway (schemas/receipt.xsd), base64.
	SignedReceipt string `json:"signed_receipt"`
}

func (d *Desk) statusURL(id gateway.RequestID) string {
	return d.c.BaseURL + "/v1/requests/" + string(id)
}

func (d *Desk) local(t time.Time) string {
	return t.In(d.c.Forms.Calendar().Zone()).Format(time.RFC3339)
}

func (a *decision) receipt(id gateway.RequestID, dossier *gateway.Dossier, rt route.Route) ([]byte, error) {
	doc := etree.NewDocument()
	root := doc.CreateElement("receipt")
	root.CreateAttr("xmlns", "urn:egov-gateway:receipt:1")
	terms := [][2]string{
		{"requestId", string(id)}, {"messageId", a.request.MessageID}, {"serviceCode", a.request.Service}, {"status", "accepted"},
		{"receivedAt", a.local(dossier.ReceivedAt)}, {"registeredAt", a.local(dossier.RegisteredAt)}, {"dueAt", a.local(dossier.DueAt)},
	}
	if dossier.Provisional {
		terms = append(terms, [2]string{"provisional", "true"})
	}
	for _, kv := range append(terms, [][2]string{
		{"provider", rt.Provider.ID}, {"contentSha256", dossier.Admission.ContentSHA256}, {"statusUrl", a.statusURL(id)},
	}...) {
		root.CreateElement(kv[0]).SetText(kv[1])
	}
	b, err := doc.WriteToBytes()
	if err != nil {
		return nil, err
	}
	return xmlsig.Sign(b, a.c.Key, xmlsig.SignOptions{})
}

func (d *Desk) jsonReceipt(ad *Admission) Receipt {
	zone := d.c.Forms.Calendar().Zone()
	lang := ad.Dossier.Language
	return Receipt{
		ID: ad.Item.ID, MessageID: ad.Item.MessageID, Service: ad.Item.Service, Status: "accepted",
		ReceivedAt: ad.Dossier.ReceivedAt.In(zone), RegisteredAt: ad.Dossier.RegisteredAt.In(zone),
		DueAt: ad.Dossier.DueAt.In(zone), Provisional: ad.Dossier.Provisional,
		Provider: ad.Item.Provider, ContentSHA256: ad.Dossier.Admission.ContentSHA256, StatusURL: d.statusURL(ad.Item.ID),
		Notice:        d.c.Texts.Acceptance(lang, ad.Dossier),
		SignedReceipt: base64.StdEncoding.EncodeToString(ad.Receipt),
	}
}
