package shep

import (
	"fmt"
	"time"

	"egov-gateway/gateway/xmlsig"
)

// almaty is the offset of the whole country since 2024-03-01; messages carry local time.
var almaty = time.FixedZone("+05", 5*60*60)

// FormatDate writes an xs:dateTime the way SHEP's participants do: local, with offset.
func FormatDate(t time.Time) string { return t.In(almaty).Format("2006-01-02T15:04:05.000-07:00") }

// EncodeSendMessage writes the envelope of SendMessage. It refuses a message without an id,
// service, sender or date, and data that is not one well-formed document.
func EncodeSendMessage(m Message) ([]byte, error) {
	if m.ID == "" || m.ServiceID == "" || m.SenderID == "" || m.Date.IsZero() {
		return nil, fmt.Errorf("shep: a message needs id, service, sender and date")
	}
	var w Writer
	envelope(&w)
	w.Start("ns2:SendMessage", "xmlns:ns2", nsSync)
	w.Start("request")
	w.Start("requestInfo")
	w.Leaf("messageId", m.ID)
	w.Optional("correlationId", m.CorrelationID)
	w.Leaf("serviceId", m.ServiceID)
	w.Leaf("messageDate", FormatDate(m.Date))
	w.Optional("routeId", m.RouteID)
	w.Start("sender")
	w.Leaf("senderId", m.SenderID)
	w.Optional("password", m.Password)
	w.End()
	for _, p := range m.Properties {
		w.Start("properties")
		w.Leaf("key", p.Key)
		w.Leaf("value", p.Value)
		w.End()
	}
	w.Optional("sessionId", m.SessionID)
	w.End()
	w.Start("requestData")
	if err := m.Data.write(&w); err != nil {
		return nil, err
	}
	w.End()
	w.End()
	w.End()
	return finish(&w)
}

// EncodeSendMessageResponse writes the envelope of SendMessageResponse.
func EncodeSendMessageResponse(r Response) ([]byte, error) {
	if r.ID == "" || r.Status.Code == "" || r.Date.IsZero() {
		return nil, fmt.Errorf("shep: a response needs id, status and date")
	}
	var w Writer
	envelope(&w)
	w.Start("ns2:SendMessageResponse", "xmlns:ns2", nsSync)
	w.Start("response")
	w.Start("responseInfo")
	w.Leaf("messageId", r.ID)
	w.Optional("correlationId", r.CorrelationID)
	w.Leaf("responseDate", FormatDate(r.Date))
	w.Start("status")
	w.Leaf("code", r.Status.Code)
	w.Leaf("message", first(r.Status.Message, 250))
	w.End()
	w.Optional("sessionId", r.SessionID)
	w.End()
	w.Start("responseData")
	if err := r.Data.write(&w); err != nil {
		return nil, err
	}
	w.End()
	w.End()
	w.End()
	return finish(&w)
}

// EncodeFault writes a SOAP fault with the contract's detail. HTTP carries it with status 500
// (SOAP 1.1 §6.2).
func EncodeFault(f Fault) ([]byte, error) {
	var w Writer
	envelope(&w)
	w.Start("soap:Fault")
	w.Leaf("faultcode", f.Code)
	w.Leaf("faultstring", f.String)
	if f.Info != nil {
		w.Start("detail")
		w.Start("ns2:"+faultTag, "xmlns:ns2", nsSync)
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
	doc, err := xmlsig.Scan(d.Document, limits())
	if err != nil {
		return fmt.Errorf("shep: business data: %w", err)
	}
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
