package passport

import (
	"encoding/base64"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"egov-gateway/gateway/xmlsig"
)

// checker walks a document beside the compiled schema and gathers faults.
type checker struct {
	faults []Fault
	zone   *time.Location
}

func (c *checker) fault(e xmlsig.Element, path, rule, detail string) {
	if len(c.faults) < MaxFaults {
		c.faults = append(c.faults, Fault{Path: path, Line: e.Line(), Rule: rule, Detail: detail})
	}
}

func join(path, name string, n int) string {
	if n > 1 {
		name += "[" + strconv.Itoa(n) + "]"
	}
	if path == "" {
		return name
	}
	return path + "/" + name
}

func (c *checker) element(want *element, e xmlsig.Element, path string) {
	var attributes map[string]attribute
	if want.complex != nil {
		attributes = want.complex.attributes
	}
	seen := map[string]bool{}
	for name, value := range e.Attrs() {
		if name.Space == "http://www.w3.org/2001/XMLSchema-instance" && name.Local == "schemaLocation" {
			continue
		}
		a, ok := attributes[name.Local]
		if !ok || name.Space != "" {
			c.fault(e, path, RuleUnexpected, "the attribute "+nameOf(name.Local)+" is not expected here")
			continue
		}
		seen[name.Local] = true
		c.value(e, join(path, "@"+name.Local, 1), a.simple, value)
	}
	for name, a := range attributes {
		if a.required && !seen[name] {
			c.fault(e, join(path, "@"+name, 1), RuleMissing, "the attribute is required")
		}
	}
	if want.simple != nil {
		for child := range e.Children() {
			c.fault(child, path, RuleUnexpected, "only text may stand here")
			return
		}
		c.value(e, path, want.simple, e.Text())
		return
	}
	if e.HasText() {
		c.fault(e, path, RuleText, "only elements may stand here")
	}
	children := slices.Collect(e.Children())
	m := matcher{c: c, parent: e, path: path, children: children, count: map[string]int{}}
	if want.complex.content != nil {
		m.match(want.complex.content)
	}
	if m.next < len(m.children) {
		x := m.children[m.next]
		c.fault(x, join(path, nameOf(x.Local()), 1), RuleUnexpected, "the element is not expected here")
	}
}

// A matcher consumes children from left to right. The schemas are deterministic, as XML
// Schema requires (Unique Particle Attribution), so the next child decides.
type matcher struct {
	c        *checker
	parent   xmlsig.Element
	path     string
	children []xmlsig.Element
	next     int
	count    map[string]int
}

// starts reports whether the next child can begin the particle.
func (m *matcher) starts(p *particle) bool {
	if m.next >= len(m.children) {
		return false
	}
	x := m.children[m.next]
	switch p.kind {
	case isElement:
		return x.Local() == p.element.local && x.Space() == p.element.space
	case isAny:
		return x.Space() == p.anySpace
	case isChoice:
		return slices.ContainsFunc(p.items, m.starts)
	}
	for _, item := range p.items {
		if m.starts(item) {
			return true
		}
		if !optional(item) {
			return false
		}
	}
	return false
}

func optional(p *particle) bool {
	switch {
	case p.min == 0:
		return true
	case p.kind == isSequence:
		return !slices.ContainsFunc(p.items, func(q *particle) bool { return !optional(q) })
	case p.kind == isChoice:
		return slices.ContainsFunc(p.items, optional)
	}
	return false
}

func (m *matcher) match(p *particle) {
	n := 0
	for n < p.max && m.starts(p) {
		n++
		switch p.kind {
		case isElement:
			x := m.children[m.next]
			m.next++
			m.count[x.Local()]++
			m.c.element(p.element, x, join(m.path, x.Local(), m.count[x.Local()]))
		case isAny:
			m.next++
		case isSequence:
			for _, item := range p.items {
				m.match(item)
			}
		case isChoice:
			m.match(p.items[slices.IndexFunc(p.items, m.starts)])
		}
	}
	if n >= p.min || optional(p) {
		return
	}
	switch p.kind {
	case isElement:
		m.c.fault(m.parent, join(m.path, p.element.local, 1), RuleMissing, "the element is required")
	case isSequence:
		for _, item := range p.items {
			m.match(item)
		}
	case isChoice:
		var names []string
		for _, item := range p.items {
			if item.kind == isElement {
				names = append(names, item.element.local)
			}
		}
		m.c.fault(m.parent, m.path, RuleMissing, "one of "+strings.Join(names, ", ")+" is required")
	case isAny:
		m.c.fault(m.parent, m.path, RuleMissing, "an element of "+p.anySpace+" is required")
	}
}

var (
	decimalRE  = regexp.MustCompile(`\A[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\z`)
	integerRE  = regexp.MustCompile(`\A[+-]?[0-9]+\z`)
	dateRE     = regexp.MustCompile(`\A[0-9]{4}-[0-9]{2}-[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?\z`)
	dateTimeRE = regexp.MustCompile(`\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})\z`)
	ncNameRE   = regexp.MustCompile(`\A[\pL_][\pL\pM\pN._-]*\z`)
)

func (c *checker) value(e xmlsig.Element, path string, t *simpleType, v string) {
	if t.builtin != "string" {
		v = strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }), " ")
	}
	if what, ok := lexical(t.builtin, v); !ok {
		c.fault(e, path, RuleType, what+" is expected")
		return
	}
	if t.enum != nil && !slices.Contains(t.enum, v) {
		c.fault(e, path, RuleEnum, "one of "+strings.Join(t.enum, ", ")+" is expected")
		return
	}
	for _, re := range t.patterns {
		if !re.MatchString(v) {
			c.fault(e, path, RulePattern, "the value does not have the expected form")
			return
		}
	}
	n := utf8.RuneCountInString(v)
	if t.minLen >= 0 && n < t.minLen || t.maxLen >= 0 && n > t.maxLen {
		c.fault(e, path, RuleLength, "the value is "+lengthWord(t, n))
		return
	}
	if t.low == nil && t.high == nil && t.fraction < 0 && t.digits < 0 {
		return
	}
	whole, fraction, _ := strings.Cut(strings.TrimLeft(v, "+-"), ".")
	if t.fraction >= 0 && len(strings.TrimRight(fraction, "0")) > t.fraction ||
		t.digits >= 0 && len(strings.TrimLeft(whole, "0"))+len(strings.TrimRight(fraction, "0")) > t.digits || len(v) > 40 {
		c.fault(e, path, RuleRange, "the number has too many digits")
		return
	}
	q, _ := new(big.Rat).SetString(v)
	if t.low != nil && (q.Cmp(t.low) < 0 || t.lowOpen && q.Cmp(t.low) == 0) || t.high != nil && (q.Cmp(t.high) > 0 || t.highOpen && q.Cmp(t.high) == 0) {
		c.fault(e, path, RuleRange, "the number is out of range")
	}
}

func lengthWord(t *simpleType, n int) string {
	if n < t.minLen {
		return "shorter than " + strconv.Itoa(t.minLen) + " characters"
	}
	return "longer than " + strconv.Itoa(t.maxLen) + " characters"
}

// lexical checks the lexical space of a built-in type and says what it is.
func lexical(builtin, v string) (what string, ok bool) {
	switch builtin {
	case "boolean":
		return "true or false", v == "true" || v == "false" || v == "1" || v == "0"
	case "decimal":
		return "a decimal number", decimalRE.MatchString(v)
	case "integer":
		return "a whole number", integerRE.MatchString(v)
	case "date":
		if !dateRE.MatchString(v) {
			return "a date like 2026-11-23", false
		}
		_, err := time.Parse(time.DateOnly, v[:10])
		return "a date like 2026-11-23", err == nil
	case "dateTime":
		// Stricter than XML Schema: the offset is required, or the instant would be a guess.
		_, err := time.Parse(time.RFC3339Nano, v)
		return "a date and time with an offset like 2026-11-23T10:00:00+05:00", dateTimeRE.MatchString(v) && err == nil
	case "NCName":
		return "a name without a colon", ncNameRE.MatchString(v)
	case "base64Binary":
		_, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(v, " ", ""))
		return "base64", err == nil
	}
	return "", true
}
