package statesim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/beevik/etree"
)

const (
	nsSOAP = "http://schemas.xmlsoap.org/soap/envelope/"
	nsSync = "http://bip.bee.kz/SyncChannel/v10/Types"
	nsXSI  = "http://www.w3.org/2001/XMLSchema-instance"
	nsXSD  = "http://www.w3.org/2001/XMLSchema"
)

// A Call is one question that a state system was asked.
type Call struct {
	At          time.Time
	System      string
	Kind        string // recordKind, as the gateway says it
	IIN         string
	Consent     string // kdpToken
	Correlation string // the citizen's request
	MessageID   string
}

// A question is a message that a state system understood.
type question struct {
	Call
	sender string
}

func (w *World) serveSHEP(rw http.ResponseWriter, r *http.Request) {
	name := r.PathValue("system")
	sys, ok := systems[name]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	fault, ok := w.door(rw, r, name, systemFaults, name)
	if !ok {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		return
	}
	q, err := w.understand(name, sys, body)
	if err != nil {
		w.c.Log.Warn("statesim: question refused", "system", name, "error", err)
		w.soapFault(rw, "SCE001", err.Error())
		return
	}
	w.mu.Lock()
	w.calls = append(w.calls, q.Call)
	w.mu.Unlock()
	w.answer(rw, sys, q, fault)
}

// understand reads a SendMessage envelope and the business request in it.
func (w *World) understand(name string, sys system, body []byte) (question, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(body); err != nil || doc.Root() == nil {
		return question{}, errors.New("not XML")
	}
	req := path(doc.Root(), nsSOAP, "Body", nsSync, "SendMessage", "", "request")
	if doc.Root().Tag != "Envelope" || doc.Root().NamespaceURI() != nsSOAP || req == nil {
		return question{}, errors.New("not a SendMessage envelope")
	}
	info, data := path(req, "", "requestInfo"), path(req, "", "requestData")
	if info == nil || data == nil || len(data.ChildElements()) != 1 || data.ChildElements()[0].Tag != "data" {
		return question{}, errors.New("requestInfo or requestData is missing")
	}
	q := question{Call: Call{At: w.c.Now(), System: name, Kind: sys.kinds[0], Correlation: text(info, "correlationId"), MessageID: text(info, "messageId")}}
	for _, p := range info.ChildElements() {
		if p.Tag == "properties" && text(p, "key") == "recordKind" {
			q.Kind = text(p, "value")
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, text(info, "messageDate")); err != nil || q.MessageID == "" || text(info, "serviceId") == "" || path(info, "", "sender", "", "senderId") == nil {
		return question{}, errors.New("requestInfo is incomplete")
	}

	ns := namespace(name)
	business := data.ChildElements()[0]
	if sys.typed {
		ns = ""
		prefix, local, _ := strings.Cut(business.SelectAttrValue("xsi:type", ""), ":")
		if local != "Request" || business.SelectAttrValue("xmlns:"+prefix, "") != nsMessage {
			return question{}, errors.New("data is not of the service's type Request")
		}
	} else {
		inner := etree.NewDocument()
		if err := inner.ReadFromString(business.Text()); err != nil || inner.Root() == nil {
			return question{}, errors.New("data holds no document")
		}
		business = inner.Root()
		if business.Tag != "request" || business.NamespaceURI() != ns {
			return question{}, errors.New("data is not the register's request")
		}
	}
	field := func(name string) string {
		if el := path(business, ns, name); el != nil {
			return el.Text()
		}
		return ""
	}
	q.IIN, q.Consent, q.sender = field("iin"), field("kdpToken"), field("senderCode")
	if field("messageId") != q.MessageID || q.sender == "" || len(q.IIN) != 12 {
		return question{}, errors.New("the business request is incomplete")
	}
	if q.Consent == "" {
		return question{}, errors.New("no consent")
	}
	return q, nil
}

// answer writes what the system holds, or what the fault makes of it.
func (w *World) answer(rw http.ResponseWriter, sys system, q question, fault FaultKind) {
	if fault == SOAPFault {
		w.soapFault(rw, "SCE909", "Внутренняя ошибка по ИИН "+q.IIN)
		return
	}
	person, known := w.person(q.IIN)
	known = known && fault != NoData
	asked := q
	switch fault {
	case WrongIIN:
		q.IIN = "850101100015" // of the 1800s, and nobody's
		person.IIN = q.IIN
	case WrongRequest:
		q.MessageID = newID()
	}
	root, found := sys.answer(w, q, person, known)
	switch fault {
	case MissingField:
		if el := descendant(root, "lifeStatus"); el != nil {
			el.Parent().RemoveChild(el)
		} else {
			dropLast(root)
		}
	case ErrorResult:
		descendant(root, "messageResult").SelectElement("code").SetText("13")
	case ForeignXML:
		root = etree.NewElement("nonsense")
	}

	var envelope etree.Document
	op := soapBody(&envelope).CreateElement("ns2:SendMessageResponse")
	op.CreateAttr("xmlns:ns2", nsSync)
	response := op.CreateElement("response")
	info := response.CreateElement("responseInfo")
	leaf(info, "messageId", newID())
	switch {
	case fault == WrongCorrelation:
		leaf(info, "correlationId", newID())
	case asked.Correlation != "":
		leaf(info, "correlationId", asked.Correlation)
	}
	leaf(info, "responseDate", w.date())
	status := info.CreateElement("status")
	switch {
	case fault == ErrorStatus || !found:
		leaf(status, "code", "SCSE001")
		leaf(status, "message", "Данные не найдены или ошибка системы")
	default:
		leaf(status, "code", "SCSS001")
		leaf(status, "message", "Message has been processed successfully")
	}
	data := response.CreateElement("responseData")
	switch {
	case fault == ErrorStatus || fault == EmptyAnswer:
	case sys.typed:
		data.AddChild(root)
	default:
		text, err := document(root)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		d := data.CreateElement("data")
		d.CreateAttr("xmlns:xs", nsXSD)
		d.CreateAttr("xmlns:xsi", nsXSI)
		d.CreateAttr("xsi:type", "xs:string")
		d.SetText(string(text))
	}
	rw.Header().Set("Content-Type", "text/xml; charset=utf-8")
	envelope.WriteTo(rw)
	if fault == Oversized {
		for range 32 {
			rw.Write([]byte(strings.Repeat(" ", 1<<20)))
		}
	}
}

func (w *World) soapFault(rw http.ResponseWriter, code, message string) {
	var envelope etree.Document
	f := soapBody(&envelope).CreateElement("soap:Fault")
	leaf(f, "faultcode", code)
	leaf(f, "faultstring", message)
	e := f.CreateElement("detail").CreateElement("ns2:SendMessageFault1_SendMessageFault")
	e.CreateAttr("xmlns:ns2", nsSync)
	leaf(e, "errorCode", code)
	leaf(e, "errorMessage", message)
	leaf(e, "errorDate", w.date())
	rw.Header().Set("Content-Type", "text/xml; charset=utf-8")
	rw.WriteHeader(http.StatusInternalServerError)
	envelope.WriteTo(rw)
}

func soapBody(doc *etree.Document) *etree.Element {
	doc.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	root := doc.CreateElement("soap:Envelope")
	root.CreateAttr("xmlns:soap", nsSOAP)
	return root.CreateElement("soap:Body")
}

var almaty = time.FixedZone("+05", 5*60*60)

// date is the world's now as registers write it.
func (w *World) date() string { return w.c.Now().In(almaty).Format("2006-01-02T15:04:05.000-07:00") }

// newID makes a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// document writes an element as a document of its own.
func document(root *etree.Element) ([]byte, error) {
	doc := etree.NewDocument()
	doc.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	doc.SetRoot(root)
	return doc.WriteToBytes()
}

func leaf(parent *etree.Element, name, value string) *etree.Element {
	el := parent.CreateElement(name)
	el.SetText(value)
	return el
}

// path follows pairs of namespace and local name downward; nil when one is missing.
func path(el *etree.Element, names ...string) *etree.Element {
	for i := 0; i+1 < len(names) && el != nil; i += 2 {
		var next *etree.Element
		for _, c := range el.ChildElements() {
			if c.Tag == names[i+1] && c.NamespaceURI() == names[i] {
				next = c
				break
			}
		}
		el = next
	}
	return el
}

// text returns the text of el's first child of that local name, whatever its namespace.
func text(el *etree.Element, local string) string {
	if el == nil {
		return ""
	}
	for _, c := range el.ChildElements() {
		if c.Tag == local {
			return strings.TrimSpace(c.Text())
		}
	}
	return ""
}

// descendant returns the first element below el of that local name, nil for none.
func descendant(el *etree.Element, local string) *etree.Element {
	for _, c := range el.ChildElements() {
		if c.Tag == local {
			return c
		}
		if d := descendant(c, local); d != nil {
			return d
		}
	}
	return nil
}

// dropLast removes the very last leaf, which is mandatory in every stand-in's answer.
func dropLast(el *etree.Element) {
	for {
		children := el.ChildElements()
		if len(children) == 0 {
			el.Parent().RemoveChild(el)
			return
		}
		el = children[len(children)-1]
	}
}
