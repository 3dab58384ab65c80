// Package register asks state registers through SHEP: one question about one person, one
// answer that is either a record of that person, or the register's word that it has none, or
// an error. The adapters beside it say what each register's record must hold.
package register

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/tracing"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

// Config of one register's adapter.
type Config struct {
	URL       string // of the register's SyncChannel; required
	ServiceID string // from SHEP's register of interactions; required
	SenderID  string // of the gateway at SHEP; required
	Password  string // of the sender; "" sends none
	RouteID   string // "" sends none
	// Key signs every question (WS-Security), and one of Partners must have signed every answer.
	// Both empty: neither is signed.
	Key      *xmlsig.Key
	Partners []*trust.Certificate
	// Client holds timeouts, limits, TLS and the metrics hook of the HTTP client. Its Name and
	// Reasons are set by the adapter.
	Client upstream.Config

	Now func() time.Time // nil means time.Now
}

// A Header is what every register wants to know with a question.
type Header struct {
	MessageID string
	Date      time.Time
	Sender    string
	IIN       gateway.IIN
	Consent   string
}

// A Frame is what every register's answer says about itself.
type Frame struct {
	RequestID string // messageId of the question
	Result    string // code of messageResult
}

// Codes of messageResult.
const (
	resultFound  = "0"
	resultNoData = "1"
)

// A Form says how questions to one register are written and its answers read.
type Form struct {
	// Travels is how the question lies in SHEP's data. Answers are read in any form.
	Travels shep.Form
	// Ask writes the question as a document.
	Ask func(w *shep.Writer, h Header)
	// Frame reads the answer's frame and checks that it is about iin, as far as it says so.
	Frame func(root xmlsig.Element, iin gateway.IIN) (Frame, error)
	// Record checks that the answer holds a complete record of kind about iin. It reports false
	// when the register knows the person but has no such record.
	Record func(root xmlsig.Element, kind gateway.RecordKind, iin gateway.IIN) (bool, error)
}

// A Register is one state register. It is safe for concurrent use.
type Register struct {
	name  string
	kinds []gateway.RecordKind
	form  Form
	shep  *shep.Client
}

// New makes the adapter of the register called name, which answers kinds.
func New(name string, kinds []gateway.RecordKind, f Form, c Config) (*Register, error) {
	client, err := shep.NewClient(shep.ClientConfig{
		Name: name, URL: c.URL, ServiceID: c.ServiceID, SenderID: c.SenderID, Password: c.Password, RouteID: c.RouteID,
		Key: c.Key, Partners: c.Partners, Idempotent: true, Upstream: c.Client, Now: c.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Register{name: name, kinds: kinds, form: f, shep: client}, nil
}

// Name is the register's name in facts, metrics and errors.
func (r *Register) Name() string { return r.name }

// Kinds lists the records that the register answers.
func (r *Register) Kinds() []gateway.RecordKind { return slices.Clone(r.kinds) }

// Close drops idle connections.
func (r *Register) Close() { r.shep.Close() }

// Fetch asks for one record. A Fact is found or no-data; anything else is an error, whose reason
// is [gateway.SourceUnavailable], [gateway.SourceTimeout], [gateway.SourceFault] for a fault or
// an error status, or [gateway.SourceMalformed] for an answer that is incomplete, or about
// another person or question.
//
// SHEP's status SCSE001 means an error as well as missing data. It counts as no-data only when
// the register's own answer says so too: an income that was not found is not an income of zero.
func (r *Register) Fetch(ctx context.Context, in gateway.Inquiry) (gateway.Fact, error) {
	switch {
	case !slices.Contains(r.kinds, in.Kind):
		return gateway.Fact{}, gateway.Errorf(gateway.Internal, "%s: does not hold records of kind %q", r.name, in.Kind)
	case in.Subject.IsZero():
		return gateway.Fact{}, gateway.Errorf(gateway.Internal, "%s: asked about nobody", r.name)
	case in.Consent == "":
		return gateway.Fact{}, gateway.Errorf(gateway.ConsentMissing, "%s: no record is fetched without consent", r.name)
	}
	h := Header{MessageID: shep.NewID(), Date: r.shep.Now(), Sender: r.shep.SenderID(), IIN: in.Subject, Consent: in.Consent}
	var w shep.Writer
	r.form.Ask(&w, h)
	question, err := w.Bytes()
	if err != nil {
		return gateway.Fact{}, gateway.Errorf(gateway.Internal, "%s: write the question: %w", r.name, err)
	}
	properties := []shep.Property{{Key: "recordKind", Value: string(in.Kind)}}
	if parent := tracing.Parent(ctx); parent != "" {
		properties = append(properties, shep.Property{Key: tracing.Header, Value: parent})
	}
	resp, err := r.shep.Send(ctx, shep.Message{
		ID: h.MessageID, CorrelationID: in.Request, Date: h.Date,
		Properties: properties,
		Data:       shep.Data{Form: r.form.Travels, Document: question},
	})
	if err != nil {
		return gateway.Fact{}, err
	}
	found, err := r.judge(resp, in, h)
	if err != nil {
		return gateway.Fact{}, err
	}
	f := gateway.Fact{Kind: in.Kind, Source: r.name, Status: gateway.FactNoData, ObservedAt: resp.Date, MessageID: resp.ID}
	if found {
		f.Status, f.Data = gateway.FactFound, resp.Data.Document
	}
	return f, nil
}

// judge reports whether the answer holds the record.
func (r *Register) judge(resp shep.Response, in gateway.Inquiry, h Header) (bool, error) {
	status := resp.Status.Reason()
	if status != "" && status != gateway.SourceNoData {
		return false, gateway.Errorf(gateway.SourceFault, "%s: answered an error status", r.name)
	}
	if resp.Data.Form == shep.FormNone {
		if status == gateway.SourceNoData {
			return false, gateway.Errorf(gateway.SourceFault, "%s: answered %s without saying whether data is missing", r.name, shep.CodeNotFound)
		}
		return false, r.malformed(errors.New("success without an answer"))
	}
	doc, err := xmlsig.Scan(resp.Data.Document, xmlsig.Limits{MaxBytes: upstream.DefaultMaxResponse})
	if err != nil {
		return false, r.malformed(err)
	}
	frame, err := r.form.Frame(doc.Root(), in.Subject)
	if err != nil {
		return false, r.malformed(err)
	}
	if frame.RequestID != h.MessageID {
		return false, r.malformed(errors.New("the answer belongs to another question"))
	}
	switch {
	case frame.Result == resultNoData:
		return false, nil
	case frame.Result != resultFound:
		return false, gateway.Errorf(gateway.SourceFault, "%s: answered an error result", r.name)
	case status != "":
		return false, r.malformed(errors.New("SHEP's status and the answer contradict each other"))
	}
	found, err := r.form.Record(doc.Root(), in.Kind, in.Subject)
	if err != nil {
		return false, r.malformed(err)
	}
	return found, nil
}

func (r *Register) malformed(err error) error {
	return gateway.Errorf(gateway.SourceMalformed, "%s: %w", r.name, err)
}

// Namespace is that of the project's stand-in for a register without a public schema.
func Namespace(name string) string { return "urn:egov-gateway:register:" + name + ":1" }

// StandIn is the [Form] of a register without a public schema, as schemas/registers/register.xsd
// describes it. Its record is one element after the frame, checked as body says.
func StandIn(name string, body Field) Form {
	ns := Namespace(name)
	fields := append(frame[:len(frame):len(frame)], body)
	return Form{
		Travels: shep.FormString,
		Ask: func(w *shep.Writer, h Header) {
			w.Start("request", "xmlns", ns)
			w.Leaf("messageId", h.MessageID)
			w.Leaf("messageDate", shep.FormatDate(h.Date))
			w.Leaf("senderCode", h.Sender)
			w.Leaf("iin", h.IIN.Reveal())
			w.Leaf("kdpToken", h.Consent)
			w.End()
		},
		Frame: func(root xmlsig.Element, iin gateway.IIN) (Frame, error) {
			if !root.Is(ns, "response") {
				return Frame{}, errors.New("the answer is not the register's response")
			}
			if err := Check(root, ns, fields); err != nil {
				return Frame{}, err
			}
			if Text(root, ns, "iin") != iin.Reveal() {
				return Frame{}, errors.New("the answer is about another person")
			}
			result, _ := root.Child(ns, "messageResult")
			return Frame{RequestID: Text(root, ns, "requestId"), Result: Text(result, ns, "code")}, nil
		},
		Record: func(root xmlsig.Element, _ gateway.RecordKind, _ gateway.IIN) (bool, error) {
			if _, ok := root.Child(ns, body.Name); !ok {
				return false, fmt.Errorf("the answer lacks %s", body.Name)
			}
			return true, nil
		},
	}
}

// Text returns the trimmed text of el's first child of that name, "" for none.
func Text(el xmlsig.Element, ns, name string) string {
	c, _ := el.Child(ns, name)
	return strings.TrimSpace(c.Text())
}
