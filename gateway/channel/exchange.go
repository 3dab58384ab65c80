package channel

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
)

// Namespace is that of schemas/exchange.xsd.
const Namespace = dispatch.Exchange

// maxFiles bounds the documents of one submission, as the REST door does.
const maxFiles = 20

// A submission is a citizen's request as it lies in a message.
type submission struct {
	portal  string // "" unless a gateway relays
	request []byte
	receipt []byte // of the gateway that relays
	files   []intake.File
}

// A business document of a message: exactly one of the fields is set.
type business struct {
	submission *submission
	statusOf   string
	resultOf   string
}

// readBusiness tells what a message asks for. Anything that is not of our exchange is taken for
// a citizen's signed request by itself.
func readBusiness(d shep.Data, maxBytes int) (business, error) {
	if d.Form == shep.FormNone {
		return business{}, gateway.Errorf(gateway.BodyEmpty, "data is empty")
	}
	doc, err := xmlsig.Scan(d.Document, xmlsig.Limits{MaxBytes: maxBytes, Elements: shep.MaxElements})
	if err != nil {
		return business{}, err
	}
	defer doc.Release()
	root := doc.Root()
	if root.Space() != Namespace {
		return business{submission: &submission{request: d.Document}}, nil
	}
	switch root.Local() {
	case "submission":
		s, err := readSubmission(root)
		return business{submission: s}, err
	case "statusRequest", "resultRequest":
		kids := slices.Collect(root.Children())
		if len(kids) != 1 || !kids[0].Is(Namespace, "requestId") {
			return business{}, malformed("one requestId is expected")
		}
		id := strings.TrimSpace(kids[0].Text())
		if root.Local() == "statusRequest" {
			return business{statusOf: id}, nil
		}
		return business{resultOf: id}, nil
	}
	return business{}, malformed("submission, statusRequest or resultRequest is expected")
}

func malformed(what string) error { return gateway.Errorf(gateway.DocumentMalformed, "%s", what) }

func readSubmission(root xmlsig.Element) (*submission, error) {
	s := &submission{}
	kids := slices.Collect(root.Children())
	next := func(name string) (xmlsig.Element, bool) {
		if len(kids) == 0 || !kids[0].Is(Namespace, name) {
			return xmlsig.Element{}, false
		}
		el := kids[0]
		kids = kids[1:]
		return el, true
	}
	var err error
	if el, ok := next("portal"); ok {
		s.portal = strings.TrimSpace(el.Text())
	}
	el, ok := next("request")
	if !ok {
		return nil, malformed("the submission lacks its request")
	}
	if s.request, err = content(el); err != nil {
		return nil, err
	}
	if el, ok := next("receipt"); ok {
		if s.receipt, err = content(el); err != nil {
			return nil, err
		}
	}
	for {
		el, ok := next("attachment")
		if !ok {
			break
		}
		parts := slices.Collect(el.Children())
		if len(parts) != 2 || !parts[0].Is(Namespace, "name") || !parts[1].Is(Namespace, "data") || len(s.files) == maxFiles {
			return nil, malformed("an attachment is a name and data, and there are at most 20")
		}
		data, err := content(parts[1])
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, intake.File{Name: strings.TrimSpace(parts[0].Text()), Data: data})
	}
	if len(kids) > 0 {
		return nil, malformed("the submission holds an element that is unknown there")
	}
	return s, nil
}

// content decodes base64 in place, white space left out.
func content(el xmlsig.Element) ([]byte, error) {
	b := el.AppendText(nil)
	n := 0
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			b[n] = c
			n++
		}
	}
	b = b[:n]
	// Every four digits give three bytes, so the output never overtakes the input.
	n, err := base64.StdEncoding.Strict().Decode(b, b)
	if err != nil {
		return nil, malformed(el.Local() + " is not base64")
	}
	return b[:n:n], nil
}

// status writes how a request stands (schemas/exchange.xsd).
func status(p intake.Progress) ([]byte, error) {
	var w shep.Writer
	w.Start("status", "xmlns", Namespace)
	w.Leaf("requestId", string(p.ID))
	w.Leaf("messageId", p.MessageID)
	w.Leaf("serviceCode", p.Service)
	w.Leaf("provider", p.Provider)
	w.Leaf("state", string(p.State))
	w.Start("stateText")
	for _, l := range gateway.Languages {
		w.Leaf(string(l), p.StateText.In(l))
	}
	w.End()
	date := func(name string, t time.Time) { w.Leaf(name, shep.FormatDate(t)) }
	date("receivedAt", p.ReceivedAt)
	date("registeredAt", p.RegisteredAt)
	date("dueAt", p.DueAt)
	if p.Provisional {
		w.Leaf("provisional", "true")
	}
	for _, s := range p.Steps {
		w.Start("step")
		w.Leaf("code", s.Code)
		date("dueAt", s.DueAt)
		if !s.CompletedAt.IsZero() {
			date("completedAt", s.CompletedAt)
		}
		w.End()
	}
	if p.Result != nil {
		w.Leaf("result", string(p.Result.Kind))
	}
	w.End()
	return w.Bytes()
}
