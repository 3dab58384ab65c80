// Package harness builds, signs and sends requests as a portal does, to replay and compare
// them. It is for demonstrations and tests; the service never imports it.
package harness

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"strconv"
	"time"

	"github.com/beevik/etree"

	"egov-gateway/gateway/xmlsig"
)

// HousingAid is the namespace of the form.
const HousingAid = "urn:egov-gateway:housing-aid:request:1"

// A Person is named in a form.
type Person struct{ IIN, Surname, GivenName, Patronymic string }

// An Attorney is a representative's power of attorney.
type Attorney struct {
	Person
	ValidUntil string // date
}

// A Document is an attached copy.
type Document struct {
	Name, Kind, MediaType string
	Data                  []byte
}

// A Draft is a request for housing aid before it is signed. Zero fields but Applicant and
// Territory get plain values.
type Draft struct {
	MessageID      string // "" makes a random one
	Service        string
	Portal         string
	CreatedAt      time.Time
	Language       string
	Applicant      Person
	Representative *Attorney
	Family         []Person
	Territory      string // KATO
	Tenure         string
	MonthlyCost    int // tenge
	IBAN           string
	Consent        []string // record kinds; nil means all, empty none
	NoConsent      bool     // consent/given is false
	Documents      []Document
	// Complaint, when set, makes the form of a complaint with this text instead.
	Complaint string
	About     string // decision, action or inaction; "" means inaction
	Related   string // id of the request that the complaint is about
}

// Complaint is the namespace of the complaint's form.
const Complaint = "urn:egov-gateway:complaint:request:1"

// AllRecords are the kinds of the form's consent.
var AllRecords = []string{"identity", "address", "property", "social-payments", "income", "alimony", "unemployment"}

// NewMessageID makes a random UUID (RFC 9562 version 4).
func NewMessageID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func or[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// XML writes the form.
func (d Draft) XML() []byte {
	doc := etree.NewDocument()
	root := doc.CreateElement("request")
	root.CreateAttr("xmlns", HousingAid)
	if d.Complaint != "" {
		root.CreateAttr("xmlns", Complaint)
		d.Service = or(d.Service, "complaint")
	}
	put := func(e *etree.Element, name, value string) { e.CreateElement(name).SetText(value) }
	person := func(e *etree.Element, p Person) {
		put(e, "iin", p.IIN)
		put(e, "surname", p.Surname)
		put(e, "givenName", p.GivenName)
		if p.Patronymic != "" {
			put(e, "patronymic", p.Patronymic)
		}
	}
	put(root, "messageId", or(d.MessageID, NewMessageID()))
	put(root, "serviceCode", or(d.Service, "housing-aid"))
	put(root, "portal", or(d.Portal, "egov.kz"))
	put(root, "createdAt", d.CreatedAt.Format(time.RFC3339))
	put(root, "language", or(d.Language, "kk"))
	person(root.CreateElement("applicant"), d.Applicant)
	if r := d.Representative; r != nil {
		e := root.CreateElement("representative")
		person(e, r.Person)
		a := e.CreateElement("powerOfAttorney")
		put(a, "number", "1-1042")
		put(a, "issuedOn", "2026-01-15")
		put(a, "validUntil", r.ValidUntil)
		put(a, "notary", "TEST ONLY")
	}
	if d.Complaint != "" {
		c := root.CreateElement("complaint")
		put(c, "about", or(d.About, "inaction"))
		if d.Related != "" {
			put(c, "relatedRequest", d.Related)
		}
		put(c, "text", d.Complaint)
		put(root.CreateElement("provider"), "territory", d.Territory)
		d.attachments(root, put)
		return write(doc)
	}
	if len(d.Family) > 0 {
		f := root.CreateElement("family")
		for _, p := range d.Family {
			m := f.CreateElement("member")
			person(m, p)
			put(m, "relation", "spouse")
			put(m, "consent", "true")
		}
	}
	h := root.CreateElement("housing")
	put(h, "territory", d.Territory)
	put(h, "locality", "TEST ONLY")
	put(h, "street", "Абай")
	put(h, "building", "1")
	put(h, "flat", "12")
	put(h, "tenure", or(d.Tenure, "owned"))
	put(h, "areaSquareMetres", "54.20")
	put(h, "rooms", "2")
	put(h, "monthlyCost", strconv.Itoa(or(d.MonthlyCost, 21000)))
	b := root.CreateElement("bankAccount")
	put(b, "iban", or(d.IBAN, "KZ86125KZT5004100100"))
	put(b, "bank", "TEST ONLY")
	put(root.CreateElement("provider"), "territory", d.Territory)
	c := root.CreateElement("consent")
	put(c, "given", strconv.FormatBool(!d.NoConsent))
	put(c, "givenAt", d.CreatedAt.Format(time.RFC3339))
	records := d.Consent
	if records == nil {
		records = AllRecords
	}
	for _, k := range records {
		put(c, "record", k)
	}
	d.attachments(root, put)
	return write(doc)
}

func (d *Draft) attachments(root *etree.Element, put func(*etree.Element, string, string)) {
	if len(d.Documents) == 0 {
		return
	}
	list := root.CreateElement("attachments")
	for _, x := range d.Documents {
		sum := sha256.Sum256(x.Data)
		e := list.CreateElement("attachment")
		put(e, "name", x.Name)
		put(e, "kind", x.Kind)
		put(e, "mediaType", x.MediaType)
		put(e, "size", strconv.Itoa(len(x.Data)))
		put(e, "sha256", hex.EncodeToString(sum[:]))
	}
}

func write(doc *etree.Document) []byte {
	out, err := doc.WriteToBytes()
	if err != nil {
		panic("harness: writing to memory: " + err.Error())
	}
	return out
}

// Sign writes the form and signs it.
func (d Draft) Sign(key *xmlsig.Key) ([]byte, error) {
	return xmlsig.Sign(d.XML(), key, xmlsig.SignOptions{})
}

// PDF makes a small file that is a PDF by its content.
func PDF(text string) []byte {
	return []byte("%PDF-1.4\n% TEST ONLY\n1 0 obj<</Type/Catalog>>endobj\n% " + text + "\ntrailer<</Root 1 0 R>>\n%%EOF\n")
}

// RequiredDocuments are copies of the kinds that North Kazakhstan asks for.
func RequiredDocuments(text string) []Document {
	return []Document{
		{"income.pdf", "family-income", "application/pdf", PDF("income " + text)},
		{"maintenance.pdf", "maintenance-bill", "application/pdf", PDF("maintenance " + text)},
		{"utilities.pdf", "utilities-bill", "application/pdf", PDF("utilities " + text)},
	}
}

// Multipart puts a signed document and its copies into one body, and returns the Content-Type.
func Multipart(signed []byte, docs []Document) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := func(disposition, kind string, data []byte) {
		h := textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}}
		p, err := w.CreatePart(h)
		if err == nil {
			_, err = p.Write(data)
		}
		if err != nil {
			panic("harness: writing to memory: " + err.Error())
		}
	}
	part(`form-data; name="request"; filename="request.xml"`, "application/xml", signed)
	for i, d := range docs {
		part(fmt.Sprintf(`form-data; name="attachment%d"; filename=%q`, i+1, d.Name), d.MediaType, d.Data)
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}
