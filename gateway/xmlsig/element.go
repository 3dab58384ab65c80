package xmlsig

import (
	"iter"
)

// A Name is an expanded name; Space is "" for no namespace.
type Name struct{ Space, Local string }

// An Element is a small handle on one element of a scanned document. The zero value is no
// element: its strings are empty and it has no children. Elements are compared with ==.
type Element struct {
	d *Document
	n int32 // element number + 1, so that the zero value is none
}

// IsZero reports whether there is no element.
func (e Element) IsZero() bool { return e.n == 0 }

func (e Element) at() *element { return &e.d.tape.elements[e.n-1] }

// Space returns the namespace name, "" for none.
func (e Element) Space() string {
	if e.n == 0 {
		return ""
	}
	return string(e.d.tape.spaces.items[e.at().space])
}

// Local returns the local name.
func (e Element) Local() string {
	if e.n == 0 {
		return ""
	}
	return string(e.d.localName(e.n - 1))
}

func (d *Document) localName(n int32) []byte {
	return d.src[d.tape.local(n):d.tape.elements[n].stop]
}

// Is reports whether the element has this expanded name; space "*" matches any.
func (e Element) Is(space, local string) bool {
	return e.n != 0 && e.d.is(e.n-1, space, local)
}

func (d *Document) is(n int32, space, local string) bool {
	e := &d.tape.elements[n]
	return string(d.localName(n)) == local && (space == "*" || string(d.tape.spaces.items[e.space]) == space)
}

// Children ranges over the child elements in document order.
func (e Element) Children() iter.Seq[Element] {
	return func(yield func(Element) bool) {
		if e.n == 0 {
			return
		}
		t, self := e.d.tape, e.at()
		for i := self.first + 1; i < self.last; i++ {
			if t.tokens[i].kind() != startToken {
				continue
			}
			c := t.tokens[i].elem()
			i = t.elements[c].last
			if !e.d.isHidden(c) && !yield(Element{e.d, c + 1}) {
				return
			}
		}
	}
}

// Child returns the first child element of that name; space "*" matches any namespace.
func (e Element) Child(space, local string) (Element, bool) {
	for c := range e.Children() {
		if c.Is(space, local) {
			return c, true
		}
	}
	return Element{}, false
}

// Text returns all character data directly inside the element: CDATA sections and references
// resolved, line ends LF, comments left out but the text around them joined, so that
// admin<!-- -->@example.kz reads as one address. Text of child elements is not included.
func (e Element) Text() string {
	if e.n == 0 {
		return ""
	}
	self := e.at()
	if self.last == self.first+2 { // the common case: one piece of plain text
		if t := e.d.tape.tokens[self.first+1]; t.kind() == textToken && t.flags()&flagPlain != 0 {
			return string(e.d.src[t.pos:t.end])
		}
	}
	return string(e.d.appendElementText(nil, e.n-1))
}

// AppendText appends what [Element.Text] returns, for texts too large to be copied twice.
func (e Element) AppendText(dst []byte) []byte {
	if e.n == 0 {
		return dst
	}
	return e.d.appendElementText(dst, e.n-1)
}

func (d *Document) appendElementText(dst []byte, n int32) []byte {
	t, self := d.tape, &d.tape.elements[n]
	for i := self.first + 1; i < self.last; i++ {
		switch tok := t.tokens[i]; tok.kind() {
		case startToken:
			i = t.elements[tok.elem()].last
		case textToken, cdataToken:
			dst = d.appendTokenText(dst, tok)
		}
	}
	return dst
}

func (d *Document) appendTokenText(dst []byte, tok token) []byte {
	raw := d.src[tok.pos:tok.end]
	switch {
	case tok.kind() == cdataToken:
		return appendLines(dst, cdataContent(raw))
	case tok.flags()&flagPlain != 0:
		return append(dst, raw...)
	}
	return appendText(dst, raw)
}

func cdataContent(raw []byte) []byte { return raw[len("<![CDATA[") : len(raw)-len("]]>")] }

// HasText reports whether any character data other than white space stands directly inside.
func (e Element) HasText() bool {
	if e.n == 0 {
		return false
	}
	t, self := e.d.tape, e.at()
	for i := self.first + 1; i < self.last; i++ {
		switch tok := t.tokens[i]; tok.kind() {
		case startToken:
			i = t.elements[tok.elem()].last
		case textToken, cdataToken:
			if !e.d.isWhite(tok) {
				return true
			}
		}
	}
	return false
}

// isWhite reports whether a text or CDATA token holds white space only.
func (d *Document) isWhite(tok token) bool {
	if tok.flags()&flagWhite != 0 {
		return true
	}
	if tok.kind() == textToken && tok.flags()&flagPlain != 0 {
		return false // plain text without the flag holds something
	}
	raw := d.src[tok.pos:tok.end]
	if tok.kind() == cdataToken {
		raw = cdataContent(raw)
	}
	for len(raw) > 0 {
		n := 1
		if raw[0] == '&' && tok.kind() == textToken {
			var r rune
			if r, n = decodeReference(raw); r > ' ' || !isSpace(byte(r)) {
				return false
			}
		} else if !isSpace(raw[0]) {
			return false
		}
		raw = raw[n:]
	}
	return true
}

// Attr returns the normalised value of an attribute; space is "" for an unprefixed one.
func (e Element) Attr(space, local string) (string, bool) {
	if e.n == 0 {
		return "", false
	}
	t, self := e.d.tape, e.at()
	for i, end := self.attr, t.attrEnd(e.n-1); i < end; i++ {
		a := &t.attrs[i]
		if string(e.d.src[a.local:a.stop]) == local && string(t.spaces.items[a.space]) == space {
			return string(e.d.attrValue(a)), true
		}
	}
	return "", false
}

// Attrs ranges over the attributes in document order, without namespace declarations.
func (e Element) Attrs() iter.Seq2[Name, string] {
	return func(yield func(Name, string) bool) {
		if e.n == 0 {
			return
		}
		t, self := e.d.tape, e.at()
		for i, end := self.attr, t.attrEnd(e.n-1); i < end; i++ {
			a := &t.attrs[i]
			name := Name{string(t.spaces.items[a.space]), string(e.d.src[a.local:a.stop])}
			if !yield(name, string(e.d.attrValue(a))) {
				return
			}
		}
	}
}

// attrValue returns the normalised value, borrowed from the source when it stands there as it is.
func (d *Document) attrValue(a *attribute) []byte {
	raw := d.src[a.value:a.valueEnd]
	if a.flags&flagPlain != 0 {
		return raw
	}
	return appendValue(make([]byte, 0, len(raw)), raw)
}

// Line returns the 1-based line on which the element starts, 0 for no element.
func (e Element) Line() int {
	if e.n == 0 {
		return 0
	}
	return lineOf(e.d.src, int(e.d.tape.name(e.n-1)))
}

// LookupPrefix returns the namespace that a prefix stands for inside the element; "" is the
// default namespace. It is for names in content, such as the value of xsi:type. Exclusive
// canonicalisation does not sign a declaration that is used only there, so in a view of
// profile wsse the answer may help to read a value but must not decide what is accepted.
func (e Element) LookupPrefix(prefix string) (uri string, ok bool) {
	if e.n == 0 {
		return "", false
	}
	if prefix == "xml" {
		return xmlURI, true
	}
	t := e.d.tape
	for n := e.n - 1; n >= 0; n = t.elements[n].parent {
		for i, end := t.elements[n].decl, t.declEnd(n); i < end; i++ {
			if d := &t.decls[i]; string(t.prefixes.items[d.prefix]) == prefix {
				return string(t.spaces.items[d.uri]), true
			}
		}
	}
	return "", prefix == ""
}

// Source returns the original bytes of the element from its start tag to its end tag, for
// embedded XML that is read on its own. In a verified view the parts that were not signed
// (comments, the signature) are cut out. Namespaces declared further out are not added.
func (e Element) Source() []byte {
	if e.n == 0 {
		return nil
	}
	d, self := e.d, e.at()
	tokens := d.tape.tokens
	from, to := tokens[self.first].pos, tokens[self.last].end
	if !d.signed {
		return d.src[from:to:to]
	}
	var out []byte
	for i := self.first; i <= self.last; i++ {
		tok := tokens[i]
		last := i
		switch {
		case tok.kind() == commentToken:
		case tok.kind() == startToken && d.isHidden(tok.elem()):
			last = d.tape.elements[tok.elem()].last
		default:
			continue
		}
		out = append(out, d.src[from:tok.pos]...)
		from = tokens[last].end
		i = last
	}
	if out == nil {
		return d.src[from:to:to]
	}
	return append(out, d.src[from:to]...)
}
