package shep

import (
	"fmt"
	"slices"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// A Payload is what the Body of an envelope holds: the request or the answer of an operation, or
// a [*Fault].
type Payload interface {
	// element names the Body's child.
	element() (space, local string)
	// check refuses what the contract cannot carry.
	check() error
	// write writes the child's content.
	write(w *Writer) error
}

// Encode writes p in an envelope, unsigned. The error tells of something the contract demands
// and p lacks.
func Encode(p Payload) ([]byte, error) {
	if f, ok := p.(*Fault); ok {
		return EncodeFault(*f)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	space, local := p.element()
	var w Writer
	envelope(&w)
	w.Start("ns2:"+local, "xmlns:ns2", space)
	if err := p.write(&w); err != nil {
		return nil, err
	}
	w.End()
	return finish(&w)
}

// Decode reads an envelope of at most maxBytes, without looking for a signature. A fault comes
// back as the payload. The error carries the scanner's reason, or [gateway.DocumentMalformed]
// for what the contract does not allow.
func Decode(doc []byte, maxBytes int) (Payload, error) {
	d, err := xmlsig.Scan(doc, limits(maxBytes))
	if err != nil {
		return nil, fmt.Errorf("shep: envelope: %w", err)
	}
	defer d.Release()
	body, err := bodyOf(d)
	if err != nil {
		return nil, err
	}
	return Read(body)
}

// bodyOf finds the Body of an envelope of SOAP 1.1.
func bodyOf(d *xmlsig.Document) (xmlsig.Element, error) {
	root := d.Root()
	if root.Space() != nsSOAP || root.Local() != "Envelope" {
		return xmlsig.Element{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the document is not a SOAP 1.1 envelope")
	}
	parts := children(root)
	if len(parts) > 0 && parts[0].Is(nsSOAP, "Header") {
		parts = parts[1:]
	}
	if len(parts) != 1 || !parts[0].Is(nsSOAP, "Body") {
		return xmlsig.Element{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the envelope does not hold an optional Header and one Body")
	}
	return parts[0], nil
}

// Read reads what a Body holds; see [Decode]. Nothing of what it returns refers to the Body's
// document.
func Read(body xmlsig.Element) (Payload, error) {
	ops := children(body)
	if !body.Is(nsSOAP, "Body") || len(ops) != 1 {
		return nil, gateway.Errorf(gateway.DocumentMalformed, "shep: the Body holds %d elements, not one", len(ops))
	}
	op := ops[0]
	if op.Is(nsSOAP, "Fault") {
		return fault(op)
	}
	var part string
	var into func(b *reader) Payload
	switch op.Local() {
	case "SendMessage":
		part, into = "request", readMessage
	case "SendMessageResponse":
		part, into = "response", readResponse
	case "sendMessage":
		part, into = "request", func(b *reader) Payload { m := b.asyncMessage(); return &m }
	case "sendMessageResponse":
		part, into = "response", readAsyncReceipt
	case "getMessages":
		part, into = "request", readMessagesQuery
	case "getMessagesResponse":
		part, into = "response", readMessagesAnswer
	case "sendDeliveryNotification":
		part, into = "request", readDeliveryNotification
	case "sendDeliveryNotificationResponse":
		part, into = "response", readDeliveryReceipt
	case "getMessageStatus":
		part, into = "request", readStatusQuery
	case "getMessageStatusResponse":
		part, into = "response", readStatusAnswer
	case "changeMassageStatusNotification":
		part, into = "request", readStatusChange
	case "changeMassageStatusNotificationResponse":
		part, into = "response", readStatusChangeReceipt
	default:
		return nil, gateway.Errorf(gateway.DocumentMalformed, "shep: the Body holds no operation of the contract")
	}
	r := read(op)
	el := r.must(part)
	r.done()
	if nilled(el) {
		r.wrong(el, "is nil")
	}
	b := r.into(el)
	p := into(b)
	b.done()
	if err := r.err(); err != nil {
		return nil, err
	}
	// A participant's sendMessage stands in the server's namespace by the published WSDL, and in
	// the client's by its XSD.
	space, local := p.element()
	if !op.Is(space, local) && !(op.Space() == nsClient && (local == "sendMessage" || local == "sendMessageResponse")) {
		return nil, gateway.Errorf(gateway.DocumentMalformed, "shep: %s is not of the contract's namespace", local)
	}
	return p, nil
}

// OperationOf names the operation a request belongs to, "" for what is no request.
func OperationOf(p Payload) Operation {
	space, local := p.element()
	if i := slices.Index(operations(), Operation(local)); i >= 0 && operations()[i].space() == space {
		return Operation(local)
	}
	return ""
}

func lacks(what string) error { return fmt.Errorf("shep: %s", what) }

func (*Message) element() (string, string)  { return nsSync, "SendMessage" }
func (*Response) element() (string, string) { return nsSync, "SendMessageResponse" }
func (f *Fault) element() (string, string)  { return nsSOAP, "Fault" }

func (f *Fault) check() error          { return nil }
func (f *Fault) write(w *Writer) error { return nil }

func (*AsyncMessage) element() (string, string)   { return nsAsync, "sendMessage" }
func (*AsyncReceipt) element() (string, string)   { return nsAsync, "sendMessageResponse" }
func (*MessagesQuery) element() (string, string)  { return nsAsync, "getMessages" }
func (*MessagesAnswer) element() (string, string) { return nsAsync, "getMessagesResponse" }
func (*StatusQuery) element() (string, string)    { return nsAsync, "getMessageStatus" }
func (*StatusAnswer) element() (string, string)   { return nsAsync, "getMessageStatusResponse" }
func (*DeliveryReceipt) element() (string, string) {
	return nsAsync, "sendDeliveryNotificationResponse"
}
func (*StatusChange) element() (string, string) { return nsClient, "changeMassageStatusNotification" }
func (*DeliveryNotification) element() (string, string) {
	return nsAsync, "sendDeliveryNotification"
}
func (*StatusChangeReceipt) element() (string, string) {
	return nsClient, "changeMassageStatusNotificationResponse"
}
