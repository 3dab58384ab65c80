package channel

import (
	"crypto/sha256"
	"time"

	"egov-gateway/gateway/shep"
)

// A header is what every request says of itself, where its operation has a place for it.
type header struct {
	sender  shep.Sender
	service string // "" for operations that name none
	date    time.Time
	undated bool // the date is optional and was left out
	// once is an id that the sender makes and must not use for other content.
	once    string
	content [32]byte
	ids     []string // all ids whose length the sender chooses
}

// longest is the length of the longest id, in bytes.
func (h header) longest() (n int) {
	for _, id := range h.ids {
		n = max(n, len(id))
	}
	return n
}

func headerOf(p shep.Payload) header {
	switch p := p.(type) {
	case *shep.Message:
		return header{sender: shep.Sender{ID: p.SenderID, Password: p.Password}, service: p.ServiceID,
			date: p.Date, once: p.ID, content: sha256.Sum256(p.Data.Document),
			ids: []string{p.ID, p.CorrelationID, p.ServiceID, p.RouteID, p.SenderID, p.SessionID}}
	case *shep.AsyncMessage:
		return header{sender: p.Sender, service: p.ServiceID, date: p.Date,
			ids: []string{p.ID, p.CorrelationID, p.ServiceID, p.Sender.ID, p.SessionID}}
	case *shep.MessagesQuery:
		return header{sender: p.Sender, service: p.ServiceID, date: p.Date, undated: p.Date.IsZero(),
			ids: []string{p.ID, p.CorrelationID, p.ServiceID, p.Sender.ID}}
	case *shep.DeliveryNotification:
		return header{sender: p.Sender, service: p.ServiceID, date: p.RequestDate, ids: []string{p.MessageID, p.ServiceID, p.Sender.ID}}
	case *shep.StatusQuery:
		return header{sender: p.Sender, date: p.Date, ids: []string{p.MessageID, p.Sender.ID}}
	case *shep.StatusChange:
		return header{date: p.RequestDate, ids: []string{p.NotificationID, p.MessageID, p.SessionID}}
	}
	return header{}
}
