package channel

import (
	"crypto/sha256"
	"time"

	"egov-gateway/gateway/shep"
)

// A header is what every request says of itself, where its operation has a place for it.
type header struct {
	sender  shep.Sender
	service string    // "" for operations that name none
	date    time.Time // zero where it is optional and was left out
	// once is an id that the sender makes and must not use for other content.
	once    string
	content [32]byte
}

func headerOf(p shep.Payload) header {
	switch p := p.(type) {
	case *shep.Message:
		return header{sender: shep.Sender{ID: p.SenderID, Password: p.Password}, service: p.ServiceID, date: p.Date, once: p.ID, content: sha256.Sum256(p.Data.Document)}
	case *shep.AsyncMessage:
		return header{sender: p.Sender, service: p.ServiceID, date: p.Date}
	case *shep.MessagesQuery:
		return header{sender: p.Sender, service: p.ServiceID, date: p.Date}
	case *shep.DeliveryNotification:
		return header{sender: p.Sender, service: p.ServiceID, date: p.RequestDate}
	case *shep.StatusQuery:
		return header{sender: p.Sender, date: p.Date}
	case *shep.StatusChange:
		return header{date: p.RequestDate}
	}
	return header{}
}
