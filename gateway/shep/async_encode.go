package shep

import (
	"strconv"
	"time"
)

func (m *AsyncMessage) check() error {
	switch {
	case m.ServiceID == "" || m.Sender.ID == "" || m.Date.IsZero():
		return lacks("a message needs service, sender and date")
	case m.Type != TypeRequest && m.Type != TypeUpdate && m.Type != TypeNotification && m.Type != TypeResponse:
		return lacks("a message needs one of the four types")
	case m.Type != TypeRequest && m.CorrelationID == "":
		return lacks("only a REQUEST may come without the id of its chain")
	case m.Data.Form == FormNone:
		return lacks("a message needs data")
	}
	return nil
}

func (m *AsyncMessage) write(w *Writer) error {
	w.Start("request")
	if err := m.parts(w); err != nil {
		return err
	}
	w.End()
	return nil
}

func (m *AsyncMessage) parts(w *Writer) error {
	w.Start("messageInfo")
	w.Optional("messageId", m.ID)
	w.Optional("correlationId", m.CorrelationID)
	w.Leaf("serviceId", m.ServiceID)
	w.Leaf("messageType", string(m.Type))
	w.Optional("routeId", m.RouteID)
	w.date("messageDate", m.Date)
	w.sender(m.Sender)
	w.properties(m.Properties)
	w.Optional("sessionId", m.SessionID)
	w.End()
	w.Start("messageData")
	if err := m.Data.write(w); err != nil {
		return err
	}
	w.End()
	return nil
}

func (r *AsyncReceipt) check() error {
	if r.ID == "" || r.CorrelationID == "" || r.Date.IsZero() {
		return lacks("a receipt needs message, chain and date")
	}
	return nil
}

func (r *AsyncReceipt) write(w *Writer) error {
	w.Start("response")
	w.Leaf("messageId", r.ID)
	w.Leaf("correlationId", r.CorrelationID)
	w.date("responseDate", r.Date)
	w.Optional("sessionId", r.SessionID)
	w.End()
	return nil
}

func (q *MessagesQuery) check() error {
	if q.ServiceID == "" {
		return lacks("a query needs the service")
	}
	return nil
}

func (q *MessagesQuery) write(w *Writer) error {
	w.Start("request")
	w.Optional("messageId", q.ID)
	w.Optional("correlationId", q.CorrelationID)
	if !q.Date.IsZero() {
		w.date("requestDate", q.Date)
	}
	w.Leaf("serviceId", q.ServiceID)
	if q.Sender.ID != "" {
		w.sender(q.Sender)
	}
	if q.Amount != 0 {
		w.Leaf("amount", strconv.Itoa(q.Amount))
	}
	w.properties(q.Properties)
	w.End()
	return nil
}

func (a *MessagesAnswer) check() error {
	if a.Date.IsZero() || a.SessionID == "" {
		return lacks("an answer needs date and session")
	}
	for i := range a.Messages {
		if err := a.Messages[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (a *MessagesAnswer) write(w *Writer) error {
	w.Start("response")
	w.date("responseDate", a.Date)
	w.Leaf("sessionId", a.SessionID)
	for i := range a.Messages {
		w.Start("messages")
		if err := a.Messages[i].parts(w); err != nil {
			return err
		}
		w.End()
	}
	w.End()
	return nil
}

func (n *DeliveryNotification) check() error {
	if n.MessageID == "" || n.ServiceID == "" || n.Date.IsZero() || n.StatusDate.IsZero() || n.RequestDate.IsZero() {
		return lacks("a delivery notification needs message, service and dates")
	}
	return nil
}

func (n *DeliveryNotification) write(w *Writer) error {
	w.Start("request")
	w.Start("notification")
	w.Leaf("messageId", n.MessageID)
	w.Leaf("serviceId", n.ServiceID)
	w.date("notificationDate", n.Date)
	w.Start("deliveryStatus")
	w.Leaf("receiveStatus", either(n.Accepted, accepted, notAccepted))
	w.date("statusDate", n.StatusDate)
	w.Leaf("resendMessage", either(n.Resend, resend, notResend))
	w.errorInfo("error", n.Error)
	w.End()
	w.End()
	w.date("requestDate", n.RequestDate)
	if n.Sender.ID != "" {
		w.sender(n.Sender)
	}
	w.End()
	return nil
}

func (r *DeliveryReceipt) check() error {
	if r.NotificationID == "" || r.Date.IsZero() || r.SessionID == "" {
		return lacks("a receipt needs id, date and session")
	}
	return nil
}

func (r *DeliveryReceipt) write(w *Writer) error {
	w.Start("response")
	w.Leaf("notificationId", r.NotificationID)
	w.date("responseDate", r.Date)
	w.Leaf("sessionId", r.SessionID)
	w.End()
	return nil
}

func (q *StatusQuery) check() error {
	if q.MessageID == "" || q.Date.IsZero() || q.Sender.ID == "" {
		return lacks("a query needs message, date and sender")
	}
	return nil
}

func (q *StatusQuery) write(w *Writer) error {
	w.Start("request")
	w.Leaf("messageId", q.MessageID)
	w.date("requestDate", q.Date)
	w.sender(q.Sender)
	w.properties(q.Properties)
	w.End()
	return nil
}

func (s *MessageStatus) check() error {
	switch s.State {
	case OnDelivery, Delivered, NotDelivered, DeliveryStopped:
	default:
		return lacks("a status needs one of the four states")
	}
	if s.Code == "" || s.Date.IsZero() {
		return lacks("a status needs code and date")
	}
	return nil
}

func (s *MessageStatus) parts(w *Writer) {
	w.Leaf("messageState", string(s.State))
	w.Start("status")
	w.Leaf("statusCode", s.Code)
	w.Leaf("statusMessage", s.Message)
	w.date("statusDate", s.Date)
	w.End()
}

func (a *StatusAnswer) check() error {
	if a.AnswerDate.IsZero() {
		return lacks("an answer needs a date")
	}
	return a.MessageStatus.check()
}

func (a *StatusAnswer) write(w *Writer) error {
	w.Start("response")
	a.parts(w)
	w.date("responseDate", a.AnswerDate)
	w.Optional("sessionId", a.SessionID)
	w.End()
	return nil
}

func (c *StatusChange) check() error {
	if c.NotificationID == "" || c.MessageID == "" || c.Date.IsZero() || c.RequestDate.IsZero() {
		return lacks("a notification needs ids and dates")
	}
	return c.MessageStatus.check()
}

func (c *StatusChange) write(w *Writer) error {
	w.Start("request")
	w.Start("notification")
	w.Leaf("notificationId", c.NotificationID)
	w.Leaf("messageId", c.MessageID)
	w.date("notificationDate", c.Date)
	c.parts(w)
	w.errorInfo("error", c.Error)
	w.End()
	w.date("requestDate", c.RequestDate)
	w.Optional("sessionId", c.SessionID)
	w.End()
	return nil
}

func (r *StatusChangeReceipt) check() error {
	if r.Date.IsZero() || r.SessionID == "" {
		return lacks("a receipt needs date and session")
	}
	return nil
}

func (r *StatusChangeReceipt) write(w *Writer) error {
	w.Start("response")
	w.date("responseDate", r.Date)
	w.Leaf("sessionId", r.SessionID)
	w.End()
	return nil
}

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func (w *Writer) date(name string, t time.Time) { w.Leaf(name, FormatDate(t)) }

func (w *Writer) sender(s Sender) {
	w.Start("sender")
	w.Leaf("senderId", s.ID)
	w.Optional("password", s.Password)
	w.End()
}

func (w *Writer) properties(all []Property) {
	for _, p := range all {
		w.Start("properties")
		w.Leaf("key", p.Key)
		w.Leaf("value", p.Value)
		w.End()
	}
}

func (w *Writer) errorInfo(name string, e *ErrorInfo) {
	if e == nil {
		return
	}
	w.Start(name)
	e.write(w)
	w.End()
}
