package xmlsig

import "bytes"

// Standalone returns the element's bytes as a document of its own: [Element.Source] with the
// namespace declarations that its names use and that stand further out written into its start
// tag. Those that a value uses, as that of xsi:type does, are added for an element that is not
// signed. One that a signature stands in and that declares its prefixes itself is returned as it
// stands, because inclusive canonicalisation signs every declaration.
func (e Element) Standalone() []byte {
	if e.n == 0 {
		return nil
	}
	src := e.Source()
	b := borrower{d: e.d, root: e.n - 1}
	b.walk()
	names := b.names
	switch {
	case !b.signed:
		for _, v := range b.values {
			if !b.asked[v.prefix] { // no name has it
				names = append(names, v)
			}
		}
	case len(names) == 0 || len(names) == 1 && names[0].prefix == noPrefix:
		return src
	}
	if len(names) == 0 {
		return src
	}
	t := e.d.tape
	name := int(e.at().stop - t.tokens[e.at().first].pos)
	out := append(make([]byte, 0, len(src)+64), src[:name]...)
	for _, wantDefault := range []bool{true, false} {
		for _, n := range names {
			if (n.prefix == noPrefix) != wantDefault {
				continue
			}
			out = append(out, " xmlns"...)
			if n.prefix != noPrefix {
				out = append(append(out, ':'), t.prefixes.items[n.prefix]...)
			}
			out = append(appendEscapedValue(append(out, '=', '"'), t.spaces.items[n.uri]), '"')
		}
	}
	return append(out, src[name:]...)
}

// A borrower finds what an element uses of the declarations around it, in one walk.
type borrower struct {
	d             *Document
	root          int32
	inside        []int32 // by prefix number: declarations inside the root that are in scope
	asked         []bool  // by prefix number: names or values have it already
	names, values []binding
	signed        bool
}

func (b *borrower) walk() {
	t := b.d.tape
	prefixes := len(t.prefixes.items)
	b.inside, b.asked = make([]int32, prefixes), make([]bool, 2*prefixes)
	root := &t.elements[b.root]
	for i := root.first; i <= root.last; i++ {
		tok := t.tokens[i]
		switch tok.kind() {
		case startToken:
			b.scope(tok.elem(), 1)
			b.element(tok.elem())
			if tok.flags()&flagEmpty != 0 {
				b.scope(tok.elem(), -1)
			}
		case endToken:
			b.scope(tok.elem(), -1)
		}
	}
}

// scope opens or closes the scope of an element's declarations.
func (b *borrower) scope(n, step int32) {
	t := b.d.tape
	for i, end := t.elements[n].decl, t.declEnd(n); i < end; i++ {
		b.inside[t.decls[i].prefix] += step
	}
}

func (b *borrower) element(n int32) {
	t := b.d.tape
	e := &t.elements[n]
	b.signed = b.signed || e.parent == b.root && b.d.is(n, dsigURI, "Signature")
	b.name(e.prefix, e.space)
	for i, end := e.attr, t.attrEnd(n); i < end; i++ {
		a := &t.attrs[i]
		if a.prefix != noPrefix {
			b.name(a.prefix, a.space)
		}
		b.value(a)
	}
}

func (b *borrower) name(prefix, uri int32) {
	if prefix == xmlPrefix || uri == noSpace || b.inside[prefix] > 0 || b.asked[prefix] {
		return
	}
	b.asked[prefix] = true
	b.names = append(b.names, binding{prefix, uri})
}

// value looks at an attribute whose whole value is a qualified name.
func (b *borrower) value(a *attribute) {
	raw := b.d.src[a.value:a.valueEnd]
	colon := bytes.IndexByte(raw, ':')
	if colon <= 0 {
		return
	}
	if a.flags&flagPlain == 0 {
		raw = b.d.attrValue(a)
	}
	prefix, local, _ := bytes.Cut(bytes.Trim(raw, " "), []byte(":"))
	t := b.d.tape
	p := t.prefixes.find(prefix)
	if p <= xmlPrefix || b.inside[p] > 0 || !isNCName(local) {
		return
	}
	if asked := int(p) + len(t.prefixes.items); !b.asked[asked] {
		b.asked[asked] = true
		if uri, ok := b.d.inScope(b.root, p); ok && !b.asked[p] {
			b.values = append(b.values, binding{p, uri})
		}
	}
}
