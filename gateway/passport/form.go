package passport

import (
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// A Form checks a signed document against its schema and the passport's rules (R2). It is
// immutable and safe for concurrent use.
type Form struct {
	root  *element
	rules []FormRule
	zone  *time.Location // in which the days of the rules begin
}

// CompileForm compiles an XML Schema of the supported subset, and the passport's rules. A
// construct outside the subset is an error that names it: a rule that would be skipped
// silently is worse than none.
func CompileForm(xsd []byte, rules []FormRule) (*Form, error) {
	root, err := compile(xsd)
	if err != nil {
		return nil, err
	}
	return &Form{root, rules, time.UTC}, nil
}

// Space and Local name the root element.
func (f *Form) Space() string { return f.root.space }
func (f *Form) Local() string { return f.root.local }

// A Fault is one thing wrong with a form. It holds no value of any field.
type Fault struct {
	Path string `json:"path"` // like family/member[2]/iin; "" is the root
	Line int    `json:"line,omitempty"`
	Rule string `json:"rule"` // from a closed list: the Rule… constants
	// Detail says what was expected, in English, for an integrator.
	Detail string `json:"detail,omitempty"`
}

// MaxFaults bounds the list; a document with more faults is not a form.
const MaxFaults = 50

// Rules of the closed list.
const (
	RuleMissing    = "missing"    // a required element or attribute is not there
	RuleUnexpected = "unexpected" // an element or attribute the schema does not have at this place
	RuleText       = "text"       // text where only elements may stand
	RuleType       = "type"       // not a value of the type
	RuleEnum       = "enumeration"
	RulePattern    = "pattern"
	RuleLength     = "length"
	RuleRange      = "range"
	RuleIIN        = "iin" // check digit or birth date
	RuleBIN        = "bin"
	RuleIBAN       = "iban" // check digits
	RuleConsent    = "consent"
	RuleRepeated   = "repeated"  // the same value in two places
	RuleOrder      = "order"     // dates in the wrong order
	RuleTerritory  = "territory" // territories that do not go together
)

// Check returns every fault of the document, at most MaxFaults.
func (f *Form) Check(root xmlsig.Element) []Fault {
	c := &checker{zone: f.zone}
	if root.Space() != f.root.space || root.Local() != f.root.local {
		c.fault(root, "", RuleUnexpected, "the root element is {"+f.root.space+"}"+f.root.local)
		return c.faults
	}
	c.element(f.root, root, "")
	for i := range f.rules {
		f.rules[i].check(c, root)
	}
	return c.faults
}

// has reports whether the schema has an element at the path.
func (f *Form) has(path string) bool {
	e := f.root
	for name := range strings.SplitSeq(path, "/") {
		if e.complex == nil || e.complex.content == nil {
			return false
		}
		if e = e.complex.content.find(name); e == nil {
			return false
		}
	}
	return true
}

func (p *particle) find(name string) *element {
	if p.kind == isElement && p.element.local == name {
		return p.element
	}
	for _, item := range p.items {
		if e := item.find(name); e != nil {
			return e
		}
	}
	return nil
}

// walk visits every element at the path, whatever stands between is repeated.
func walk(e xmlsig.Element, path []string, at string, visit func(xmlsig.Element, string)) {
	if len(path) == 0 {
		visit(e, at)
		return
	}
	n := 0
	for child := range e.Children() {
		if child.Local() == path[0] && child.Space() == e.Space() {
			n++
			walk(child, path[1:], join(at, path[0], n), visit)
		}
	}
}

// Field returns the text of the first element at the path, and whether there is one.
func Field(root xmlsig.Element, path string) (string, bool) {
	e := root
	for name := range strings.SplitSeq(path, "/") {
		var ok bool
		if e, ok = e.Child(e.Space(), name); !ok {
			return "", false
		}
	}
	return e.Text(), true
}

// Holds reports whether the condition holds for the form.
func (c *Condition) Holds(root xmlsig.Element) bool {
	if c == nil {
		return true
	}
	v, ok := Field(root, c.Field)
	return ok && (c.Is == "" || strings.TrimSpace(v) == c.Is)
}

// ibanOK checks ISO 13616: moved by four, letters as numbers, modulo 97 is 1.
func ibanOK(s string) bool {
	if len(s) < 15 || len(s) > 34 {
		return false
	}
	n := 0
	for _, r := range s[4:] + s[:4] {
		switch {
		case r >= '0' && r <= '9':
			n = (n*10 + int(r-'0')) % 97
		case r >= 'A' && r <= 'Z':
			n = (n*100 + int(r-'A') + 10) % 97
		default:
			return false
		}
	}
	return n == 1
}

// Read takes what the gateway acts on from a form that Check found faultless. The fields
// are the same for every service; the error carries the Reason of what does not hold.
func Read(root xmlsig.Element) (*gateway.Request, error) {
	text := func(path string) string { s, _ := Field(root, path); return strings.TrimSpace(s) }
	r := &gateway.Request{
		MessageID: text("messageId"), Service: text("serviceCode"), Portal: text("portal"),
		Language: gateway.Language(text("language")),
	}
	var err error
	if r.CreatedAt, err = time.Parse(time.RFC3339Nano, text("createdAt")); err != nil {
		return nil, gateway.Errorf(gateway.FormInvalid, "createdAt: a date and time with an offset is expected")
	}
	if r.Applicant, err = gateway.ParseIIN(text("applicant/iin")); err != nil {
		return nil, gateway.Errorf(gateway.IINInvalid, "applicant/iin: %w", err)
	}
	if _, ok := root.Child(root.Space(), "representative"); ok {
		if r.Representative, err = gateway.ParseIIN(text("representative/iin")); err != nil {
			return nil, gateway.Errorf(gateway.IINInvalid, "representative/iin: %w", err)
		}
		until, err := time.Parse(time.DateOnly, firstTen(text("representative/powerOfAttorney/validUntil")))
		if err != nil {
			return nil, gateway.Errorf(gateway.AttorneyMissing, "representative/powerOfAttorney/validUntil: a date is expected")
		}
		r.AttorneyValidUntil = until
	}
	if r.Territory, err = gateway.ParseKATO(text("provider/territory")); err != nil {
		return nil, err
	}
	if family, ok := root.Child(root.Space(), "family"); ok {
		for e := range family.Children() {
			text, _ := Field(e, "iin")
			iin, err := gateway.ParseIIN(strings.TrimSpace(text))
			if err != nil {
				return nil, gateway.Errorf(gateway.IINInvalid, "family/member/iin: %w", err)
			}
			consent, _ := Field(e, "consent")
			consent = strings.TrimSpace(consent)
			r.Family = append(r.Family, gateway.Member{IIN: iin, Consent: consent == "true" || consent == "1"})
		}
	}
	if consent, ok := root.Child(root.Space(), "consent"); ok && (text("consent/given") == "true" || text("consent/given") == "1") {
		for e := range consent.Children() {
			if e.Local() == "record" {
				r.Consent = append(r.Consent, gateway.RecordKind(strings.TrimSpace(e.Text())))
			}
		}
	}
	if list, ok := root.Child(root.Space(), "attachments"); ok {
		for e := range list.Children() {
			a, err := readAttachment(e)
			if err != nil {
				return nil, err
			}
			r.Attachments = append(r.Attachments, a)
		}
	}
	return r, nil
}

func readAttachment(e xmlsig.Element) (gateway.Attachment, error) {
	text := func(name string) string { s, _ := Field(e, name); return strings.TrimSpace(s) }
	a := gateway.Attachment{Name: text("name"), Kind: text("kind"), MediaType: text("mediaType"), SHA256: text("sha256")}
	size := text("size")
	for _, c := range size {
		if c < '0' || c > '9' || a.Size > 1<<40 {
			return a, gateway.Errorf(gateway.FormInvalid, "attachments/attachment/size: a number of bytes is expected")
		}
		a.Size = a.Size*10 + int64(c-'0')
	}
	return a, nil
}

// firstTen cuts the optional time zone from an xs:date.
func firstTen(s string) string { return s[:min(len(s), 10)] }

// Signatory returns the IIN of whom must have signed — the representative if the form names
// one, else the applicant — and whether the form has a valid one.
func Signatory(root xmlsig.Element) (gateway.IIN, bool) {
	path := "applicant/iin"
	if _, ok := root.Child(root.Space(), "representative"); ok {
		path = "representative/iin"
	}
	text, _ := Field(root, path)
	iin, err := gateway.ParseIIN(strings.TrimSpace(text))
	return iin, err == nil
}
