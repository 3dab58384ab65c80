package shep

import (
	"strconv"
	"time"

	"egov-gateway/gateway/xmlsig"
)

func (b *reader) asyncMessage() AsyncMessage {
	var m AsyncMessage
	info, data := b.must("messageInfo"), b.must("messageData")
	i := b.into(info)
	m.ID = i.optional("messageId")
	m.CorrelationID = i.optional("correlationId")
	m.ServiceID = i.text("serviceId")
	m.Type = MessageType(i.oneOf("messageType", string(TypeRequest), string(TypeUpdate), string(TypeNotification), string(TypeResponse)))
	m.RouteID = i.optional("routeId")
	m.Date = i.date("messageDate")
	m.Sender = i.sender(i.must("sender"))
	m.Properties = i.properties()
	m.SessionID = i.optional("sessionId")
	i.done()
	m.Data = b.data(data)
	if m.Data.Form == FormNone {
		b.wrong(data, "holds no data")
	}
	if m.Type != TypeRequest && m.CorrelationID == "" {
		b.wrong(info, "lacks the correlationId that every message but a REQUEST needs")
	}
	return m
}

func readAsyncReceipt(b *reader) Payload {
	return &AsyncReceipt{ID: b.text("messageId"), CorrelationID: b.text("correlationId"), Date: b.date("responseDate"), SessionID: b.optional("sessionId")}
}

func readMessagesQuery(b *reader) Payload {
	q := &MessagesQuery{ID: b.optional("messageId"), CorrelationID: b.optional("correlationId"), Date: b.optionalDate("requestDate"), ServiceID: b.text("serviceId")}
	if s, ok := b.next("sender"); ok && !nilled(s) {
		q.Sender = b.sender(s)
	}
	if a, ok := b.next("amount"); ok && !nilled(a) {
		n, err := strconv.ParseInt(b.leaf(a), 10, 32)
		if err != nil || n < 0 {
			b.wrong(a, "is not a number of messages")
		}
		q.Amount = int(n)
	}
	q.Properties = b.properties()
	return q
}

func readMessagesAnswer(b *reader) Payload {
	a := &MessagesAnswer{Date: b.date("responseDate"), SessionID: b.text("sessionId")}
	for {
		m, ok := b.next("messages")
		if !ok {
			return a
		}
		r := b.into(m)
		a.Messages = append(a.Messages, r.asyncMessage())
		r.done()
	}
}

func readDeliveryNotification(b *reader) Payload {
	d := &DeliveryNotification{}
	n := b.into(b.must("notification"))
	d.MessageID, d.ServiceID, d.Date = n.text("messageId"), n.text("serviceId"), n.date("notificationDate")
	s := n.into(n.must("deliveryStatus"))
	d.Accepted = s.oneOf("receiveStatus", accepted, notAccepted) == accepted
	d.StatusDate = s.date("statusDate")
	d.Resend = s.oneOf("resendMessage", resend, notResend) == resend
	d.Error = s.optionalError("error")
	s.done()
	n.done()
	d.RequestDate = b.date("requestDate")
	if s, ok := b.next("sender"); ok && !nilled(s) {
		d.Sender = b.sender(s)
	}
	return d
}

func readDeliveryReceipt(b *reader) Payload {
	return &DeliveryReceipt{NotificationID: b.text("notificationId"), Date: b.date("responseDate"), SessionID: b.text("sessionId")}
}

func readStatusQuery(b *reader) Payload {
	return &StatusQuery{MessageID: b.text("messageId"), Date: b.date("requestDate"), Sender: b.sender(b.must("sender")), Properties: b.properties()}
}

func (b *reader) messageStatus() MessageStatus {
	m := MessageStatus{State: MessageState(b.oneOf("messageState", string(OnDelivery), string(Delivered), string(NotDelivered), string(DeliveryStopped)))}
	s := b.into(b.must("status"))
	m.Code, m.Message, m.Date = s.text("statusCode"), s.must("statusMessage").Text(), s.date("statusDate")
	s.done()
	return m
}

func readStatusAnswer(b *reader) Payload {
	return &StatusAnswer{MessageStatus: b.messageStatus(), AnswerDate: b.date("responseDate"), SessionID: b.optional("sessionId")}
}

func readStatusChange(b *reader) Payload {
	c := &StatusChange{}
	n := b.into(b.must("notification"))
	c.NotificationID, c.MessageID, c.Date = n.text("notificationId"), n.text("messageId"), n.date("notificationDate")
	c.MessageStatus = n.messageStatus()
	c.Error = n.optionalError("error")
	n.done()
	c.RequestDate, c.SessionID = b.date("requestDate"), b.optional("sessionId")
	return c
}

func readStatusChangeReceipt(b *reader) Payload {
	return &StatusChangeReceipt{Date: b.date("responseDate"), SessionID: b.text("sessionId")}
}

func (r *reader) sender(el xmlsig.Element) Sender {
	s := r.into(el)
	out := Sender{ID: s.text("senderId"), Password: s.optional("password")}
	s.done()
	return out
}

func (r *reader) properties() []Property {
	var all []Property
	for {
		p, ok := r.next("properties")
		if !ok {
			return all
		}
		if nilled(p) {
			continue
		}
		pr := r.into(p)
		all = append(all, Property{pr.must("key").Text(), pr.must("value").Text()})
		pr.done()
	}
}

func (r *reader) oneOf(name string, words ...string) string {
	el := r.must(name)
	got := r.leaf(el)
	for _, w := range words {
		if got == w {
			return w
		}
	}
	r.wrong(el, "is none of the contract's words")
	return ""
}

// optionalDate is zero when there is none. The zero instant itself is no message's date: who sends it
// must not seem to have sent none.
func (r *reader) optionalDate(name string) time.Time {
	el, ok := r.next(name)
	if !ok || nilled(el) {
		return time.Time{}
	}
	t, err := ParseDate(r.leaf(el))
	if err != nil || t.IsZero() {
		r.wrong(el, "is not a date and time")
	}
	return t
}

func (r *reader) optionalError(name string) *ErrorInfo {
	el, ok := r.next(name)
	if !ok || nilled(el) {
		return nil
	}
	return r.errorInfo(el, maxSubErrors)
}
