package xmlsig

import (
	"bytes"
	"io"
	"slices"
	"sync"

	"egov-gateway/gateway"
)

// Canonicalize returns the canonical form of a whole document; method is one of the C14N*
// and ExcC14N* names. The document must pass [Scan] with default limits except for its size.
// An unknown method is [gateway.SignatureAlgorithm], a form of more than three times the
// document's length [gateway.DocumentLimit].
func Canonicalize(method string, doc []byte) ([]byte, error) {
	m, ok := c14nOf([]byte(method))
	if !ok {
		return nil, gateway.Errorf(gateway.SignatureAlgorithm, "unknown canonicalisation method")
	}
	d, err := Scan(doc, Limits{MaxBytes: 1 << 30})
	if err != nil {
		return nil, err
	}
	defer d.Release()
	var out bytes.Buffer
	out.Grow(len(doc) + 8*len(d.tape.dirty)) // <a/> becomes <a></a>
	c := canonicalizers.Get().(*canonicalizer)
	defer c.free()
	c.out.left = canonicalRoom(len(doc), 1)
	if err := c.document(d, m, nil, &out, nil); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// A canonicalizer replays tokens: what is canonical already goes out as it stands in the
// source, the rest is rewritten. It may be used again, by one goroutine at a time. Its owner says
// in out.left how much may be written, by one call or by several.
type canonicalizer struct {
	out  output
	d    *Document
	m    c14n
	omit []int32 // elements left out with everything inside

	// Exclusive canonicalisation: what the output says each prefix stands for.
	rendered []int32 // by prefix number; namespace number, 0 for nothing said
	undo     []binding
	marks    []int32 // length of undo at each open element

	needed []binding // of the tag at hand
	order  []int32   // its attributes, sorted
	extra  []int32   // xml:* attributes that the apex inherits
	base   []byte    // xml:base of the apex after fix-up; nil for none
	text   []byte
}

type binding struct{ prefix, uri int32 }

var canonicalizers = sync.Pool{New: func() any { return new(canonicalizer) }}

func (c *canonicalizer) free() {
	c.trim()
	canonicalizers.Put(c)
}

// scratchKeep is how many items of working memory go back into a pool, of each kind.
const scratchKeep = 32 << 10

// kept returns s without its content, or nil when it grew larger than one wants to keep.
func kept[T any](s []T) []T {
	if cap(s) > scratchKeep {
		return nil
	}
	return s[:0]
}

// trim gives up what one large document has made grow.
func (c *canonicalizer) trim() {
	c.out.buf, c.text, c.base = kept(c.out.buf), kept(c.text), nil
	c.rendered, c.undo, c.marks = kept(c.rendered), kept(c.undo), kept(c.marks)
	c.needed, c.order, c.extra = kept(c.needed), kept(c.order), kept(c.extra)
}

// document writes the canonical form of d without the elements in omit.
func (c *canonicalizer) document(d *Document, m c14n, omit []int32, w, also io.Writer) error {
	c.start(d, m, omit, w, also)
	t := d.tape
	root := t.elements[0]
	for i := int32(0); i < root.first; i++ {
		if c.comment(t.tokens[i]) {
			c.out.buf = append(c.out.buf, '\n')
		}
	}
	c.tokens(root.first, root.last)
	for i := int(root.last) + 1; i < len(t.tokens); i++ {
		if c.m.comments {
			c.out.begin()
			c.out.buf = append(c.out.buf, '\n')
			c.comment(t.tokens[i])
		}
	}
	return c.finish()
}

// subtree writes the canonical form of element n with what it inherits from its ancestors.
func (c *canonicalizer) subtree(d *Document, n int32, m c14n, w, also io.Writer) error {
	c.start(d, m, nil, w, also)
	e := &d.tape.elements[n]
	from := e.first
	if e.parent >= 0 {
		c.apex(n)
		from++
	}
	c.tokens(from, e.last)
	return c.finish()
}

func (c *canonicalizer) start(d *Document, m c14n, omit []int32, w, also io.Writer) {
	c.d, c.m, c.omit = d, m, omit
	c.out.reset(w, also, d.src)
	c.undo, c.marks = c.undo[:0], c.marks[:0]
	if m.kind == exclusive {
		c.rendered = append(c.rendered[:0], make([]int32, len(d.tape.prefixes.items))...)
	}
}

func (c *canonicalizer) finish() error {
	c.d, c.m, c.omit = nil, c14n{}, nil
	return c.out.close()
}

func (c *canonicalizer) tokens(from, to int32) {
	t := c.d.tape
	dirty := t.dirty
	if c.m.kind == exclusive {
		dirty = nil // every tag may need declarations
	} else if n, _ := slices.BinarySearch(dirty, from); true {
		dirty = dirty[n:]
	}
	for i := from; i <= to && c.out.left >= 0; i++ {
		if c.m.kind != exclusive {
			stop := to + 1
			for len(dirty) > 0 && dirty[0] < i { // those inside what was left out
				dirty = dirty[1:]
			}
			if len(dirty) > 0 {
				stop = min(stop, dirty[0])
			}
			for _, n := range c.omit {
				if first := t.elements[n].first; first >= i {
					stop = min(stop, first)
				}
			}
			if stop > i { // tokens follow each other without a gap
				c.out.raw(t.tokens[i].pos, t.tokens[stop-1].end)
				i = stop - 1
				continue
			}
		}
		tok := t.tokens[i]
		if c.m.kind != exclusive && tok.flags()&emptyTag == emptyTag && !c.isOmitted(tok.elem()) {
			i = c.emptyTags(i, to) - 1
			continue
		}
		switch tok.kind() {
		case startToken:
			if c.isOmitted(tok.elem()) {
				i = t.elements[tok.elem()].last
				continue
			}
			c.startTag(tok)
		case endToken:
			c.endTag(tok)
		case textToken:
			if tok.flags()&flagClean != 0 {
				c.out.raw(tok.pos, tok.end)
			} else {
				c.textOf(tok)
			}
		case cdataToken:
			c.textOf(tok)
		case commentToken:
			c.comment(tok)
		}
	}
}

// emptyTag are the flags of an empty-element tag that needs nothing but an end tag.
const emptyTag = flagClean | flagFresh | flagEmpty

// emptyTags writes the empty-element tags from token i on, which follow each other, with their
// end tags, and returns the token after them.
func (c *canonicalizer) emptyTags(i, to int32) int32 {
	c.out.begin()
	t, src, b := c.d.tape.tokens, c.d.src, c.out.buf
	for ; i <= to && t[i].flags()&emptyTag == emptyTag && !c.isOmitted(t[i].elem()); i++ {
		tag := src[t[i].pos : t[i].end-2]
		if len(tag) >= outputBuffer {
			c.out.buf = b
			c.cleanTag(t[i])
			c.out.begin()
			b = c.out.buf
			continue
		}
		n := 1
		for n < len(tag) && tag[n] != ' ' { // what follows the name of a clean tag
			n++
		}
		b = append(b, tag...)
		b = append(b, '>', '<', '/')
		b = append(b, tag[1:n]...)
		b = append(b, '>')
		if len(b) >= outputBuffer {
			c.out.buf = b
			c.out.flushBuffer()
			b = c.out.buf
		}
		c.out.run, c.out.end = t[i].end, t[i].end
	}
	c.out.buf = b
	return i
}

func (c *canonicalizer) isOmitted(elem int32) bool {
	for _, n := range c.omit {
		if n == elem {
			return true
		}
	}
	return false
}

func (c *canonicalizer) textOf(tok token) {
	c.out.begin()
	raw := c.d.src[tok.pos:tok.end]
	switch {
	case tok.kind() == cdataToken:
		c.text = c.out.decoded(cdataContent(raw), c.text, false, appendLines, appendEscapedText)
	case tok.flags()&flagPlain != 0:
		c.out.escaped(raw, appendEscapedText)
	default:
		c.text = c.out.decoded(raw, c.text, true, appendText, appendEscapedText)
	}
}

// comment writes a comment if the method keeps them, and reports whether it did.
func (c *canonicalizer) comment(tok token) bool {
	if !c.m.comments {
		return false
	}
	if tok.flags()&flagClean != 0 {
		c.out.raw(tok.pos, tok.end)
		c.out.begin()
	} else {
		c.out.begin()
		c.text = c.out.decoded(c.d.src[tok.pos:tok.end], c.text, false, appendLines, verbatim)
	}
	return true
}

func (c *canonicalizer) startTag(tok token) {
	if c.m.kind != exclusive && tok.flags()&(flagClean|flagFresh) == flagClean|flagFresh {
		c.cleanTag(tok)
		return
	}
	n := tok.elem()
	decls := c.d.tape.decls[c.d.tape.elements[n].decl:c.d.tape.declEnd(n)]
	if c.m.kind != exclusive {
		c.needed = c.needed[:0]
		for _, d := range decls {
			before := int32(noSpace)
			if d.outer >= 0 {
				before = c.d.tape.decls[d.outer].uri
			}
			if d.prefix != xmlPrefix && d.uri != before {
				c.needed = append(c.needed, binding{d.prefix, d.uri})
			}
		}
	} else {
		c.marks = append(c.marks, int32(len(c.undo)))
		c.utilized(n, decls)
		if tok.flags()&flagClean != 0 && len(c.needed) == len(decls) {
			c.sortNeeded()
			same := true
			for i, d := range decls {
				same = same && c.needed[i] == binding{d.prefix, d.uri}
			}
			if same {
				c.cleanTag(tok)
				return
			}
		}
	}
	c.extra, c.base = c.extra[:0], nil
	c.writeStartTag(tok)
}

// cleanTag writes a start tag as it stands in the source, and gives <a/> its end tag.
func (c *canonicalizer) cleanTag(tok token) {
	if tok.flags()&flagEmpty == 0 {
		c.out.raw(tok.pos, tok.end)
		return
	}
	tag := c.d.src[tok.pos : tok.end-2]
	n := 1
	for n < len(tag) && tag[n] != ' ' { // what follows the name of a clean tag
		n++
	}
	if len(tag) < shortRun {
		c.out.begin()
		c.out.buf = append(c.out.buf, tag...)
		c.out.run, c.out.end = tok.end, tok.end
	} else {
		c.out.raw(tok.pos, tok.end-2)
		c.out.begin()
	}
	c.out.buf = append(c.out.buf, '>', '<', '/')
	c.out.bytes(tag[1:n])
	c.out.buf = append(c.out.buf, '>')
	c.leave()
}

// utilized collects the declarations that exclusive canonicalisation writes at e
// (Exclusive XML Canonicalization 1.0 §3).
func (c *canonicalizer) utilized(n int32, decls []declaration) {
	c.needed = c.needed[:0]
	e := &c.d.tape.elements[n]
	c.need(e.prefix, e.space)
	attrs := c.d.tape.attrs[e.attr:c.d.tape.attrEnd(n)]
	for i := range attrs {
		if p := attrs[i].prefix; p != noPrefix {
			c.need(p, attrs[i].space)
		}
	}
	if len(c.m.prefixes) > 0 {
		for _, d := range decls {
			if slices.Contains(c.m.prefixes, d.prefix) {
				c.need(d.prefix, d.uri)
			}
		}
	}
}

func (c *canonicalizer) need(prefix, uri int32) {
	if prefix == xmlPrefix || c.rendered[prefix] == uri {
		return
	}
	c.undo = append(c.undo, binding{prefix, c.rendered[prefix]})
	c.rendered[prefix] = uri
	c.needed = append(c.needed, binding{prefix, uri})
}

func (c *canonicalizer) sortNeeded() {
	if len(c.needed) < 2 {
		return
	}
	prefixes := c.d.tape.prefixes.items
	slices.SortFunc(c.needed, func(a, b binding) int { return bytes.Compare(prefixes[a.prefix], prefixes[b.prefix]) })
}

// writeStartTag rewrites a start tag with the needed declarations and inherited attributes.
func (c *canonicalizer) writeStartTag(tok token) {
	t, src := c.d.tape, c.d.src
	elem := tok.elem()
	e := &t.elements[elem]
	name := src[tok.pos+1 : e.stop]
	o := &c.out
	o.begin()
	o.buf = append(o.buf, '<')
	o.bytes(name)
	c.sortNeeded()
	for _, n := range c.needed {
		o.buf = append(o.buf, " xmlns"...)
		if n.prefix != noPrefix {
			o.buf = append(o.buf, ':')
			o.bytes(t.prefixes.items[n.prefix])
		}
		o.buf = append(o.buf, '=', '"')
		o.escaped(t.spaces.items[n.uri], appendEscapedValue)
		o.buf = append(o.buf, '"')
	}
	c.order = append(c.order[:0], c.extra...)
	for i, end := e.attr, t.attrEnd(elem); i < end; i++ {
		c.order = append(c.order, i)
	}
	c.sortOrder()
	for _, i := range c.order {
		a := &t.attrs[i]
		o.buf = append(o.buf, ' ')
		o.bytes(src[a.name:a.stop])
		o.buf = append(o.buf, '=', '"')
		raw := src[a.value:a.valueEnd]
		switch {
		case c.base != nil && a.space == xmlSpace && string(src[a.local:a.stop]) == "base":
			o.escaped(c.base, appendEscapedValue)
		case a.flags&flagClean != 0:
			o.bytes(raw)
		case a.flags&flagPlain != 0:
			o.escaped(raw, appendEscapedValue)
		default:
			c.text = o.decoded(raw, c.text, true, appendValue, appendEscapedValue)
		}
		o.buf = append(o.buf, '"')
	}
	o.buf = append(o.buf, '>')
	if tok.flags()&flagEmpty != 0 {
		o.buf = append(o.buf, '<', '/')
		o.bytes(name)
		o.buf = append(o.buf, '>')
		c.leave()
	}
}

// longName is where comparing namespace names begins to cost something.
const longName = 256

// sortOrder sorts the attributes at hand. Two long namespace names are compared as often as the
// document has pairs of attributes, so what is compared counts as if it were written.
func (c *canonicalizer) sortOrder() {
	if len(c.order) < 2 {
		return
	}
	t, src := c.d.tape, c.d.src
	slices.SortFunc(c.order, func(x, y int32) int {
		a, b := &t.attrs[x], &t.attrs[y]
		if a.space != b.space {
			if n := min(len(t.spaces.items[a.space]), len(t.spaces.items[b.space])); n > longName {
				if c.out.left -= n; c.out.left < 0 {
					return 0
				}
			}
		}
		return compareAttributes(src, t.spaces.items, a, b)
	})
}

func (c *canonicalizer) endTag(tok token) {
	if tok.flags()&flagClean != 0 {
		c.out.raw(tok.pos, tok.end)
	} else {
		n := tok.elem()
		c.out.begin()
		c.out.buf = append(c.out.buf, '<', '/')
		c.out.bytes(c.d.src[c.d.tape.name(n):c.d.tape.elements[n].stop])
		c.out.buf = append(c.out.buf, '>')
	}
	c.leave()
}

// leave takes back what the output said inside the element that ends.
func (c *canonicalizer) leave() {
	if c.m.kind != exclusive {
		return
	}
	mark := c.marks[len(c.marks)-1]
	c.marks = c.marks[:len(c.marks)-1]
	for i := len(c.undo) - 1; i >= int(mark); i-- {
		c.rendered[c.undo[i].prefix] = c.undo[i].uri
	}
	c.undo = c.undo[:mark]
}
