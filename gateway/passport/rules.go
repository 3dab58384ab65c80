package passport

import (
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// FormRules name the form's schema, and what XML Schema cannot say. Paths are element names
// below the root, joined by "/".
type FormRules struct {
	Schema string     `yaml:"schema"`
	Rules  []FormRule `yaml:"rules"`
}

// A FormRuleName is one of the closed list of rules.
type FormRuleName string

const (
	FormIIN          FormRuleName = "iin"           // check digit and birth date of every field named
	FormBIN          FormRuleName = "bin"           // the same of a BIN
	FormIBAN         FormRuleName = "iban"          // check digits (ISO 13616)
	FormRequired     FormRuleName = "required"      // the fields must be there, when the condition holds
	FormUnique       FormRuleName = "unique"        // no value twice in all the fields together
	FormDiffers      FormRuleName = "differs"       // the two fields have different values
	FormOrder        FormRuleName = "order"         // the date in the first field is not after that in the second
	FormNotFuture    FormRuleName = "not-future"    // the dates are not after createdAt
	FormPrefix       FormRuleName = "same-prefix"   // the two fields begin with the same digits
	FormAdultConsent FormRuleName = "adult-consent" // every adult among the members gave consent (R14)
)

var formRules = []FormRuleName{FormIIN, FormBIN, FormIBAN, FormRequired, FormUnique, FormDiffers, FormOrder, FormNotFuture, FormPrefix, FormAdultConsent}

// arity is how many fields a rule takes; 0 is any number.
var arity = map[FormRuleName]int{FormDiffers: 2, FormOrder: 2, FormPrefix: 2, FormAdultConsent: 1}

// A FormRule is one rule of a passport.
type FormRule struct {
	Rule   FormRuleName `yaml:"rule"`
	At     []string     `yaml:"at"`
	When   *Condition   `yaml:"when"`
	Digits int          `yaml:"digits"` // of same-prefix
}

// found is one field of a document.
type found struct {
	element xmlsig.Element
	path    string
	text    string
}

func (r *FormRule) fields(root xmlsig.Element, i int) []found {
	var all []found
	walk(root, strings.Split(r.At[i], "/"), "", func(e xmlsig.Element, path string) {
		all = append(all, found{e, path, strings.TrimSpace(e.Text())})
	})
	return all
}

func (r *FormRule) every(root xmlsig.Element) []found {
	var all []found
	for i := range r.At {
		all = append(all, r.fields(root, i)...)
	}
	return all
}

// check adds the faults of one rule. A field that is not there is the schema's business,
// except for the rule required.
func (r *FormRule) check(c *checker, root xmlsig.Element) {
	if !r.When.Holds(root) {
		return
	}
	switch r.Rule {
	case FormIIN:
		for _, f := range r.every(root) {
			if _, err := gateway.ParseIIN(f.text); err != nil {
				c.fault(f.element, f.path, RuleIIN, gateway.DetailOf(err))
			}
		}
	case FormBIN:
		for _, f := range r.every(root) {
			if _, err := gateway.ParseBIN(f.text); err != nil {
				c.fault(f.element, f.path, RuleBIN, gateway.DetailOf(err))
			}
		}
	case FormIBAN:
		for _, f := range r.every(root) {
			if !ibanOK(f.text) {
				c.fault(f.element, f.path, RuleIBAN, "the check digits of the IBAN are wrong")
			}
		}
	case FormRequired:
		for i, at := range r.At {
			if len(r.fields(root, i)) == 0 {
				c.fault(root, at, RuleMissing, "the element is required because of "+r.When.String())
			}
		}
	case FormUnique:
		seen := map[string]bool{}
		for _, f := range r.every(root) {
			if seen[f.text] {
				c.fault(f.element, f.path, RuleRepeated, "the same value stands in another place")
			}
			seen[f.text] = true
		}
	case FormDiffers:
		for _, a := range r.fields(root, 0) {
			for _, b := range r.fields(root, 1) {
				if a.text == b.text {
					c.fault(b.element, b.path, RuleRepeated, "it must differ from "+a.path)
				}
			}
		}
	case FormOrder:
		for _, a := range r.fields(root, 0) {
			for _, b := range r.fields(root, 1) {
				if x, ok := instant(a.text, c.zone); ok {
					if y, ok := instant(b.text, c.zone); ok && x.After(y) {
						c.fault(b.element, b.path, RuleOrder, "it lies before "+a.path)
					}
				}
			}
		}
	case FormNotFuture:
		made, _ := Field(root, "createdAt")
		limit, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(made))
		for _, f := range r.every(root) {
			if at, is := instant(f.text, c.zone); is && err == nil && at.After(limit) {
				c.fault(f.element, f.path, RuleOrder, "it lies after createdAt")
			}
		}
	case FormPrefix:
		for _, a := range r.fields(root, 0) {
			for _, b := range r.fields(root, 1) {
				if len(a.text) >= r.Digits && len(b.text) >= r.Digits && a.text[:r.Digits] != b.text[:r.Digits] {
					c.fault(b.element, b.path, RuleTerritory, "the first "+strconv.Itoa(r.Digits)+" digits must be those of "+a.path)
				}
			}
		}
	case FormAdultConsent:
		made, _ := Field(root, "createdAt")
		at, ok := instant(strings.TrimSpace(made), c.zone)
		for _, f := range r.fields(root, 0) {
			text, _ := Field(f.element, "iin")
			iin, err := gateway.ParseIIN(strings.TrimSpace(text))
			consent, _ := Field(f.element, "consent")
			if consent = strings.TrimSpace(consent); err == nil && ok && iin.Adult(at, c.zone) && consent != "true" && consent != "1" {
				c.fault(f.element, f.path+"/consent", RuleConsent, "an adult member of the family must consent")
			}
		}
	}
}

// instant reads a date, with or without time; a day begins at midnight in zone.
func instant(s string, zone *time.Location) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, true
	}
	t, err := time.ParseInLocation(time.DateOnly, firstTen(s), zone)
	return t, err == nil
}

// String says the condition for an integrator.
func (c *Condition) String() string {
	if c == nil {
		return "the passport"
	}
	if c.Is == "" {
		return c.Field
	}
	return c.Field + " = " + c.Is
}
