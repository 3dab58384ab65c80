package passport

import (
	"encoding/xml"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// The subset of XML Schema 1.0 that forms may use: global and anonymous types, sequence,
// choice, any (skip), occurrence, attributes, and the facets below. The schema is the
// gateway's own data, so encoding/xml reads it; documents never meet that parser.

const xsNS = "http://www.w3.org/2001/XMLSchema"

// unbounded is maxOccurs="unbounded": more than any document holds within its limits.
const unbounded = 1 << 30

type element struct {
	space, local string
	simple       *simpleType
	complex      *complexType
}

type complexType struct {
	content    *particle // nil: no children
	attributes map[string]attribute
}

type attribute struct {
	simple   *simpleType
	required bool
}

type particleKind int

const (
	isElement particleKind = iota
	isSequence
	isChoice
	isAny
)

type particle struct {
	kind     particleKind
	min, max int
	element  *element
	items    []*particle
	anySpace string
}

type simpleType struct {
	builtin          string // name of the xs: type at the bottom
	enum             []string
	patterns         []*regexp.Regexp // one per level: all must match
	minLen, maxLen   int              // -1: no bound; in characters
	fraction, digits int              // -1: no bound
	low, high        *big.Rat
	lowOpen          bool
	highOpen         bool
}

// node is the schema document as a tree.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []node     `xml:",any"`
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

type compiler struct {
	space    string
	prefixXS string
	simples  map[string]*node
	complexs map[string]*node
	done     map[string]*simpleType
	doneC    map[string]*complexType
}

func compile(xsd []byte) (*element, error) {
	var schema node
	if err := xml.Unmarshal(xsd, &schema); err != nil {
		return nil, err
	}
	if schema.XMLName.Space != xsNS || schema.XMLName.Local != "schema" || schema.attr("elementFormDefault") != "qualified" {
		return nil, fmt.Errorf("a schema with elementFormDefault=\"qualified\" is expected")
	}
	c := &compiler{space: schema.attr("targetNamespace"), simples: map[string]*node{}, complexs: map[string]*node{}, done: map[string]*simpleType{}, doneC: map[string]*complexType{}}
	for _, a := range schema.Attrs {
		if a.Value == xsNS && a.Name.Space == "xmlns" {
			c.prefixXS = a.Name.Local + ":"
		}
	}
	var root *node
	for i := range schema.Children {
		n := &schema.Children[i]
		switch n.XMLName.Local {
		case "annotation":
		case "simpleType":
			c.simples[n.attr("name")] = n
		case "complexType":
			c.complexs[n.attr("name")] = n
		case "element":
			if root != nil {
				return nil, fmt.Errorf("one global element is expected, found %s and %s", root.attr("name"), n.attr("name"))
			}
			root = n
		default:
			return nil, fmt.Errorf("xs:%s is outside the supported subset", n.XMLName.Local)
		}
	}
	if root == nil {
		return nil, fmt.Errorf("no global element")
	}
	return c.element(root)
}

func (c *compiler) element(n *node) (*element, error) {
	e := &element{space: c.space, local: n.attr("name")}
	if e.local == "" {
		return nil, fmt.Errorf("an element without a name (ref is outside the supported subset)")
	}
	for _, a := range n.Attrs {
		switch a.Name.Local {
		case "name", "type", "minOccurs", "maxOccurs":
		default:
			return nil, fmt.Errorf("element %s: attribute %s is outside the supported subset", e.local, a.Name.Local)
		}
	}
	var err error
	if t := n.attr("type"); t != "" {
		if _, ok := c.complexs[t]; ok {
			e.complex, err = c.namedComplex(t)
		} else {
			e.simple, err = c.namedSimple(t)
		}
	}
	for i := range n.Children {
		switch child := &n.Children[i]; child.XMLName.Local {
		case "annotation":
		case "simpleType":
			e.simple, err = c.simple(child)
		case "complexType":
			e.complex, err = c.complex(child)
		default:
			err = fmt.Errorf("xs:%s is outside the supported subset", child.XMLName.Local)
		}
	}
	if err == nil && (e.simple == nil) == (e.complex == nil) {
		err = fmt.Errorf("exactly one type is expected")
	}
	if err != nil {
		return nil, fmt.Errorf("element %s: %w", e.local, err)
	}
	return e, nil
}

func (c *compiler) namedComplex(name string) (*complexType, error) {
	if t, ok := c.doneC[name]; ok {
		if t == nil {
			return nil, fmt.Errorf("type %s contains itself, which is outside the supported subset", name)
		}
		return t, nil
	}
	c.doneC[name] = nil
	t, err := c.complex(c.complexs[name])
	c.doneC[name] = t
	return t, err
}

func (c *compiler) complex(n *node) (*complexType, error) {
	t := &complexType{attributes: map[string]attribute{}}
	if n.attr("mixed") == "true" || n.attr("abstract") == "true" {
		return nil, fmt.Errorf("mixed and abstract types are outside the supported subset")
	}
	for i := range n.Children {
		child := &n.Children[i]
		switch child.XMLName.Local {
		case "annotation":
		case "sequence", "choice":
			p, err := c.particle(child)
			if err != nil {
				return nil, err
			}
			t.content = p
		case "attribute":
			s, err := c.namedSimple(child.attr("type"))
			if err != nil {
				return nil, fmt.Errorf("attribute %s: %w", child.attr("name"), err)
			}
			t.attributes[child.attr("name")] = attribute{s, child.attr("use") == "required"}
		default:
			return nil, fmt.Errorf("xs:%s is outside the supported subset", child.XMLName.Local)
		}
	}
	return t, nil
}

func occurs(s string) (int, error) {
	switch s {
	case "":
		return 1, nil
	case "unbounded":
		return unbounded, nil
	}
	return strconv.Atoi(s)
}

func (c *compiler) particle(n *node) (*particle, error) {
	p := &particle{}
	var err error
	if p.min, err = occurs(n.attr("minOccurs")); err != nil {
		return nil, fmt.Errorf("minOccurs: %w", err)
	}
	if p.max, err = occurs(n.attr("maxOccurs")); err != nil {
		return nil, fmt.Errorf("maxOccurs: %w", err)
	}
	switch n.XMLName.Local {
	case "element":
		p.kind = isElement
		p.element, err = c.element(n)
		return p, err
	case "any":
		p.kind, p.anySpace = isAny, n.attr("namespace")
		if n.attr("processContents") != "skip" || p.anySpace == "" || strings.HasPrefix(p.anySpace, "##") {
			return nil, fmt.Errorf("xs:any is supported with one namespace and processContents=\"skip\"")
		}
		return p, nil
	case "sequence":
		p.kind = isSequence
	case "choice":
		p.kind = isChoice
	default:
		return nil, fmt.Errorf("xs:%s is outside the supported subset", n.XMLName.Local)
	}
	for i := range n.Children {
		if n.Children[i].XMLName.Local == "annotation" {
			continue
		}
		item, err := c.particle(&n.Children[i])
		if err != nil {
			return nil, err
		}
		p.items = append(p.items, item)
	}
	if len(p.items) == 0 {
		return nil, fmt.Errorf("an empty xs:%s is outside the supported subset", n.XMLName.Local)
	}
	return p, nil
}

var builtins = map[string]bool{"string": true, "boolean": true, "decimal": true, "integer": true, "date": true, "dateTime": true, "NCName": true, "base64Binary": true}

func (c *compiler) namedSimple(name string) (*simpleType, error) {
	if local, ok := strings.CutPrefix(name, c.prefixXS); ok && c.prefixXS != "" {
		if !builtins[local] {
			return nil, fmt.Errorf("the type %s is outside the supported subset", name)
		}
		return &simpleType{builtin: local, minLen: -1, maxLen: -1, fraction: -1, digits: -1}, nil
	}
	if t, ok := c.done[name]; ok {
		return t, nil
	}
	n, ok := c.simples[name]
	if !ok {
		return nil, fmt.Errorf("no type %q", name)
	}
	t, err := c.simple(n)
	if err != nil {
		return nil, fmt.Errorf("type %s: %w", name, err)
	}
	c.done[name] = t
	return t, nil
}

func (c *compiler) simple(n *node) (*simpleType, error) {
	var r *node
	for i := range n.Children {
		switch n.Children[i].XMLName.Local {
		case "annotation":
		case "restriction":
			r = &n.Children[i]
		default:
			return nil, fmt.Errorf("xs:%s is outside the supported subset", n.Children[i].XMLName.Local)
		}
	}
	if r == nil {
		return nil, fmt.Errorf("an xs:restriction is expected")
	}
	base, err := c.namedSimple(r.attr("base"))
	if err != nil {
		return nil, err
	}
	t := *base
	var enum, patterns []string
	for i := range r.Children {
		f := &r.Children[i]
		v := f.attr("value")
		number := func(into *int) {
			if err == nil {
				*into, err = strconv.Atoi(v)
			}
		}
		bound := func(into **big.Rat, open *bool, isOpen bool) {
			q, ok := new(big.Rat).SetString(v)
			if !ok {
				err = fmt.Errorf("%q is no number", v)
				return
			}
			*into, *open = q, isOpen
		}
		switch f.XMLName.Local {
		case "annotation":
		case "enumeration":
			enum = append(enum, v)
		case "pattern":
			patterns = append(patterns, v)
		case "minLength":
			number(&t.minLen)
		case "maxLength":
			number(&t.maxLen)
		case "length":
			number(&t.minLen)
			t.maxLen = t.minLen
		case "fractionDigits":
			number(&t.fraction)
		case "totalDigits":
			number(&t.digits)
		case "minInclusive":
			bound(&t.low, &t.lowOpen, false)
		case "minExclusive":
			bound(&t.low, &t.lowOpen, true)
		case "maxInclusive":
			bound(&t.high, &t.highOpen, false)
		case "maxExclusive":
			bound(&t.high, &t.highOpen, true)
		default:
			err = fmt.Errorf("the facet xs:%s is outside the supported subset", f.XMLName.Local)
		}
		if err != nil {
			return nil, err
		}
	}
	if enum != nil {
		t.enum = enum
	}
	for _, p := range patterns {
		if err := samePattern(p); err != nil {
			return nil, err
		}
	}
	if patterns != nil {
		re, err := regexp.Compile(`\A(?:` + strings.Join(patterns, "|") + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
		t.patterns = append(t.patterns[:len(t.patterns):len(t.patterns)], re)
	}
	return &t, nil
}

// samePattern refuses what XML Schema and Go read differently: XML Schema anchors by
// itself and has ^ and $ as letters, subtracts classes, and knows \i, \c and \p blocks.
func samePattern(p string) error {
	inClass := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p):
			if i++; strings.IndexByte("icIC pPbB", p[i]) >= 0 {
				return fmt.Errorf("pattern: \\%c is outside the supported subset", p[i])
			}
		case inClass && c == '[':
			return fmt.Errorf("pattern: class subtraction is outside the supported subset")
		case c == '[':
			inClass = true
			if i+1 < len(p) && p[i+1] == '^' {
				i++
			}
		case c == ']':
			inClass = false
		case !inClass && (c == '^' || c == '$'):
			return fmt.Errorf("pattern: %c means itself in XML Schema; write it as \\%c", c, c)
		}
	}
	return nil
}
