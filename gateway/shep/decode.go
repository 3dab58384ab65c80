package shep

import (
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
	m, err := decode[*Message](doc)
	if err != nil {
		return Message{}, err
	}
	return *m, nil
}

// DecodeSendMessageResponse reads the envelope of SendMessageResponse. A SOAP fault is a
// [Fault] in the error's chain, whose reason is [gateway.SourceFault]; otherwise the error is as
// that of [DecodeSendMessage].
func DecodeSendMessageResponse(doc []byte) (Response, error) {
	m, err := decode[*Response](doc)
	if err != nil {
		return Response{}, err
	}
	return *m, nil
}

// decode reads an envelope that holds a payload of one kind, or a fault.
func decode[P Payload](doc []byte) (P, error) {
	var none P
	p, err := Decode(doc, upstream.DefaultMaxResponse)
	if err != nil {
		return none, err
	}
	switch p := p.(type) {
	case P:
		return p, nil
	case *Fault:
		return none, &gateway.Error{Reason: gateway.SourceFault, Err: p}
	}
	_, local := none.element()
	return none, gateway.Errorf(gateway.DocumentMalformed, "shep: the Body holds something else than %s", local)
}

func readMessage(b *reader) Payload {
	m := &Message{}
	info, data := b.must("requestInfo"), b.must("requestData")
	i := b.into(info)
	m.ID = i.text("messageId")
	m.CorrelationID = i.optional("correlationId")
	m.ServiceID = i.text("serviceId")
	m.Date = i.date("messageDate")
	m.RouteID = i.optional("routeId")
	s := i.sender(i.must("sender"))
	m.SenderID, m.Password = s.ID, s.Password
	m.Properties = i.properties()
	m.SessionID = i.optional("sessionId")
	i.done()
	m.Data = i.data(data)
	return m
}

func readResponse(b *reader) Payload {
	m := &Response{}
	info, data := b.must("responseInfo"), b.must("responseData")
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
	return m
}

// fault reads a SOAP fault. Its own children may stand in any order and may be qualified, as
// stacks differ; the contract's detail may not.
func fault(el xmlsig.Element) (Payload, error) {
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
	for _, o := range operations() {
		info, ok := detail.Child(o.space(), o.faultTag())
		if !ok && o == AsyncSendMessage {
			info, ok = detail.Child(nsClient, o.faultTag())
		}
		if !ok || nilled(info) {
			continue
		}
		f.Operation = o
		r := read(info)
		f.Info = r.errorInfo(info, maxSubErrors)
		if err := r.err(); err != nil {
			return nil, err
		}
		break
	}
	return f, nil
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
	n.of, n.left = el.Local(), children(el)
	if len(n.left) > 0 && el.HasText() {
		n.wrong(el, "holds text between its elements")
	}
	return n
}

// children returns the child elements in a slice of just their number: a stranger's message can be
// made of nothing else.
func children(el xmlsig.Element) []xmlsig.Element {
	n := 0
	for range el.Children() {
		n++
	}
	all := make([]xmlsig.Element, 0, n)
	for c := range el.Children() {
		all = append(all, c)
	}
	return all
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

// MaxElements bounds the elements of one message: each costs some 64 bytes while it is read,
// and business data that is large is large in text.
const MaxElements = 1 << 18

func limits(maxBytes int) xmlsig.Limits {
	return xmlsig.Limits{MaxBytes: maxBytes, Elements: MaxElements}
}
