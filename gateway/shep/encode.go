package shep

import (
	"fmt"
	"time"

	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

// almaty is the offset of the whole country since 2024-03-01; messages carry local time.
var almaty = time.FixedZone("+05", 5*60*60)

// FormatDate writes an xs:dateTime the way SHEP's participants do: local, with offset.
func FormatDate(t time.Time) string { return t.In(almaty).Format("2006-01-02T15:04:05.000-07:00") }

// EncodeSendMessage writes the envelope of SendMessage. It refuses a message without an id,
// service, sender or date, and data that is not one well-formed document.
func EncodeSendMessage(m Message) ([]byte, error) { return Encode(&m) }

func (m *Message) check() error {
	if m.ID == "" || m.ServiceID == "" || m.SenderID == "" || m.Date.IsZero() {
		return lacks("a message needs id, service, sender and date")
	}
	return nil
}

func (m *Message) write(w *Writer) error {
	w.Start("request")
	w.Start("requestInfo")
	w.Leaf("messageId", m.ID)
	w.Optional("correlationId", m.CorrelationID)
	w.Leaf("serviceId", m.ServiceID)
	w.date("messageDate", m.Date)
	w.Optional("routeId", m.RouteID)
	w.sender(Sender{m.SenderID, m.Password})
	w.properties(m.Properties)
	w.Optional("sessionId", m.SessionID)
	w.End()
	w.Start("requestData")
	if err := m.Data.write(w); err != nil {
		return err
	}
	w.End()
	w.End()
	return nil
}

// EncodeSendMessageResponse writes the envelope of SendMessageResponse.
func EncodeSendMessageResponse(r Response) ([]byte, error) { return Encode(&r) }

func (r *Response) check() error {
	if r.ID == "" || r.Status.Code == "" || r.Date.IsZero() {
		return lacks("a response needs id, status and date")
	}
	return nil
}

func (r *Response) write(w *Writer) error {
	w.Start("response")
	w.Start("responseInfo")
	w.Leaf("messageId", r.ID)
	w.Optional("correlationId", r.CorrelationID)
	w.date("responseDate", r.Date)
	w.Start("status")
	w.Leaf("code", r.Status.Code)
	w.Leaf("message", first(r.Status.Message, 250))
	w.End()
	w.Optional("sessionId", r.SessionID)
	w.End()
	w.Start("responseData")
	if err := r.Data.write(w); err != nil {
		return err
	}
	w.End()
	w.End()
	return nil
}

// EncodeFault writes a SOAP fault with the contract's detail.
func EncodeFault(f Fault) ([]byte, error) {
	var w Writer
	envelope(&w)
	w.Start("soap:Fault")
	w.Leaf("faultcode", f.Code)
	w.Leaf("faultstring", f.String)
	if f.Info != nil {
		w.Start("detail")
		w.Start("ns2:"+f.Operation.faultTag(), "xmlns:ns2", f.Operation.space())
		f.Info.write(&w)
		w.End()
		w.End()
	}
	w.End()
	return finish(&w)
}

func (e *ErrorInfo) write(w *Writer) {
	w.Leaf("errorCode", e.Code)
	w.Leaf("errorMessage", e.Message)
	w.Optional("errorData", e.Data)
	w.Leaf("errorDate", FormatDate(e.Date))
	if e.SubError != nil {
		w.Start("subError")
		e.SubError.write(w)
		w.End()
	}
	w.Optional("sessionId", e.SessionID)
}

func (d Data) write(w *Writer) error {
	if d.Form == FormNone {
		return nil
	}
	doc, err := xmlsig.Scan(d.Document, limits(upstream.DefaultMaxResponse))
	if err != nil {
		return fmt.Errorf("shep: business data: %w", err)
	}
	defer doc.Release()
	switch d.Form {
	case FormString:
		w.Leaf("data", string(d.Document), "xmlns:xs", nsXSD, "xmlns:xsi", nsXSI, "xsi:type", "xs:string")
	case FormElement:
		w.Start("data")
		w.element(doc.Root().Source())
		w.End()
	case FormTyped:
		if _, typed := doc.Root().Attr(nsXSI, "type"); doc.Root().Local() != "data" || doc.Root().Space() != "" || !typed {
			return fmt.Errorf("shep: typed business data needs the root data with an xsi:type")
		}
		w.element(doc.Root().Source())
	default:
		return fmt.Errorf("shep: form of data %d", d.Form)
	}
	return nil
}

func envelope(w *Writer) {
	w.b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>`)
	w.Start("soap:Envelope", "xmlns:soap", nsSOAP)
	w.Start("soap:Body")
}

func finish(w *Writer) ([]byte, error) {
	w.End()
	w.End()
	return w.Bytes()
}

// first returns at most n characters of s.
func first(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
