package shep

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

// maxSubErrors bounds how deep an ErrorInfo is followed.
const maxSubErrors = 8

// DecodeSendMessage reads the envelope of SendMessage. The error carries the scanner's reason,
// or [gateway.DocumentMalformed] for what the contract does not allow.
func DecodeSendMessage(doc []byte) (Message, error) {
	op, err := operation(doc, "SendMessage")
	if err != nil {
		return Message{}, err
	}
	var m Message
	r := read(op)
	req := r.must("request")
	r.done()
	if nilled(req) {
		r.wrong(req, "is nil")
	}
	b := r.into(req)
	info, data := b.must("requestInfo"), b.must("requestData")
	b.done()
	i := b.into(info)
	m.ID = i.text("messageId")
	m.CorrelationID = i.optional("correlationId")
	m.ServiceID = i.text("serviceId")
	m.Date = i.date("messageDate")
	m.RouteID = i.optional("routeId")
	s := i.into(i.must("sender"))
	m.SenderID = s.text("senderId")
	m.Password = s.optional("password")
	s.done()
	for {
		p, ok := i.next("properties")
		if !ok {
			break
		}
		if nilled(p) {
			continue
		}
		pr := i.into(p)
		m.Properties = append(m.Properties, Property{pr.must("key").Text(), pr.must("value").Text()})
		pr.done()
	}
	m.SessionID = i.optional("sessionId")
	i.done()
	m.Data = i.data(data)
	if err := r.err(); err != nil {
		return Message{}, err
	}
	return m, nil
}

// DecodeSendMessageResponse reads the envelope of SendMessageResponse. A SOAP fault is a
// [Fault] in the error's chain, whose reason is [gateway.SourceFault]; otherwise the error is as
// that of [DecodeSendMessage].
func DecodeSendMessageResponse(doc []byte) (Response, error) {
	op, err := operation(doc, "SendMessageResponse")
	if err != nil {
		return Response{}, err
	}
	var m Response
	r := read(op)
	resp := r.must("response")
	r.done()
	if nilled(resp) {
		r.wrong(resp, "is nil")
	}
	b := r.into(resp)
	info, data := b.must("responseInfo"), b.must("responseData")
	b.done()
	i := b.into(info)
	m.ID = i.text("messageId")
	m.CorrelationID = i.optional("correlationId")
	m.Date = i.date("responseDate")
	s := i.into(i.must("status"))
	m.Status.Code = s.text("code")
	m.Status.Message = s.must("message").Text()
	s.done()
	m.SessionID = i.optional("sessionId")
	i.done()
	m.Data = i.data(data)
	if err := r.err(); err != nil {
		return Response{}, err
	}
	return m, nil
}

// operation scans an envelope and returns the only element of its Body, which must be named so.
func operation(doc []byte, name string) (xmlsig.Element, error) {
	d, err := xmlsig.Scan(doc, limits())
	if err != nil {
		return xmlsig.Element{}, fmt.Errorf("shep: envelope: %w", err)
	}
	root := d.Root()
	if root.Space() != nsSOAP || root.Local() != "Envelope" {
		return xmlsig.Element{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the document is not a SOAP 1.1 envelope")
	}
	parts := slices.Collect(root.Children())
	if len(parts) > 0 && parts[0].Space() == nsSOAP && parts[0].Local() == "Header" {
		parts = parts[1:]
	}
	if len(parts) != 1 || parts[0].Space() != nsSOAP || parts[0].Local() != "Body" {
		return xmlsig.Element{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the envelope does not hold an optional Header and one Body")
	}
	ops := slices.Collect(parts[0].Children())
	if len(ops) != 1 {
		return xmlsig.Element{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the Body holds %d elements, not one", len(ops))
	}
	op := ops[0]
	switch {
	case op.Space() == nsSync && op.Local() == name:
		return op, nil
	case op.Space() == nsSOAP && op.Local() == "Fault":
		f, err := fault(op)
		if err != nil {
			return xmlsig.Element{}, err
		}
		return xmlsig.Element{}, &gateway.Error{Reason: gateway.SourceFault, Err: f}
	}
	return xmlsig.Element{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the Body holds something else than %s", name)
}

// fault reads a SOAP fault. Its own children may stand in any order and may be qualified, as
// stacks differ; the contract's detail may not.
func fault(el xmlsig.Element) (*Fault, error) {
	f := &Fault{}
	if c, ok := el.Child("*", "faultcode"); ok {
		f.Code = strings.TrimSpace(c.Text())
	}
	if c, ok := el.Child("*", "faultstring"); ok {
		f.String = c.Text()
	}
	detail, ok := el.Child("*", "detail")
	if !ok {
		return f, nil
	}
	info, ok := detail.Child(nsSync, faultTag)
	if !ok || nilled(info) {
		return f, nil
	}
	r := read(info)
	f.Info = r.errorInfo(info, maxSubErrors)
	return f, r.err()
}

func (r *reader) errorInfo(el xmlsig.Element, depth int) *ErrorInfo {
	i := r.into(el)
	e := &ErrorInfo{Code: i.text("errorCode"), Message: i.must("errorMessage").Text(), Data: i.optional("errorData"), Date: i.date("errorDate")}
	if sub, ok := i.next("subError"); ok {
		if depth == 0 {
			i.wrong(sub, "is nested too deep")
		} else {
			e.SubError = i.errorInfo(sub, depth-1)
		}
	}
	e.SessionID = i.optional("sessionId")
	i.done()
	return e
}

// A reader takes the children of one element in the contract's order. The first violation is
// kept, shared by all readers of a document; what is read after it is empty.
type reader struct {
	of    string
	left  []xmlsig.Element
	first *error
}

func read(el xmlsig.Element) *reader {
	r := &reader{first: new(error)}
	return r.into(el)
}

// into returns a reader of el's children that shares the first violation.
func (r *reader) into(el xmlsig.Element) *reader {
	n := &reader{first: r.first}
	if el.IsZero() {
		return n
	}
	n.of, n.left = el.Local(), slices.Collect(el.Children())
	if len(n.left) > 0 && el.HasText() {
		n.wrong(el, "holds text between its elements")
	}
	return n
}

func (r *reader) err() error { return *r.first }

func (r *reader) wrong(el xmlsig.Element, what string) {
	if *r.first == nil && !el.IsZero() {
		*r.first = gateway.Errorf(gateway.DocumentMalformed, "shep: %s %s", el.Local(), what)
	}
}

// next takes the next child if it is an unqualified one of that name.
func (r *reader) next(name string) (xmlsig.Element, bool) {
	if len(r.left) == 0 || r.left[0].Local() != name || r.left[0].Space() != "" {
		return xmlsig.Element{}, false
	}
	el := r.left[0]
	r.left = r.left[1:]
	return el, true
}

func (r *reader) must(name string) xmlsig.Element {
	el, ok := r.next(name)
	if !ok && *r.first == nil {
		*r.first = gateway.Errorf(gateway.DocumentMalformed, "shep: %s lacks %s, or it is out of order", r.of, name)
	}
	return el
}

func (r *reader) leaf(el xmlsig.Element) string {
	if el.IsZero() {
		return ""
	}
	for range el.Children() {
		r.wrong(el, "holds elements instead of text")
		return ""
	}
	return strings.TrimSpace(el.Text())
}

func (r *reader) optional(name string) string {
	el, _ := r.next(name)
	return r.leaf(el)
}

// text takes a mandatory child that must not be empty.
func (r *reader) text(name string) string {
	el := r.must(name)
	s := r.leaf(el)
	if s == "" {
		r.wrong(el, "is empty")
	}
	return s
}

func (r *reader) date(name string) time.Time {
	el := r.must(name)
	t, err := ParseDate(r.leaf(el))
	if err != nil {
		r.wrong(el, "is not a date and time")
	}
	return t
}

func (r *reader) done() {
	if len(r.left) > 0 && *r.first == nil {
		*r.first = gateway.Errorf(gateway.DocumentMalformed, "shep: %s holds an element that the contract does not know there", r.of)
	}
}

// ParseDate reads an xs:dateTime. One without an offset is Kazakhstan's time (+05:00).
func ParseDate(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.ParseInLocation("2006-01-02T15:04:05.999999999", s, almaty)
}

func nilled(el xmlsig.Element) bool {
	if el.IsZero() {
		return false
	}
	v, ok := el.Attr(nsXSI, "nil")
	return ok && (v == "true" || v == "1")
}

// limits admits what SHEP carries: messages up to about 15 MB.
func limits() xmlsig.Limits { return xmlsig.Limits{MaxBytes: upstream.DefaultMaxResponse} }
