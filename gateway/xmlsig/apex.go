package xmlsig

import (
	"bytes"
	"cmp"
	"slices"
)

// apex writes the start tag of a subtree's top element with the namespaces and xml:*
// attributes that it inherits (Canonical XML 1.0 §2.4, 1.1 §2.4, Exclusive §3).
func (c *canonicalizer) apex(n int32) {
	t := c.d.tape
	e := &t.elements[n]
	tok := t.tokens[e.first]
	c.extra, c.base, c.needed = c.extra[:0], nil, c.needed[:0]
	if c.m.kind == exclusive {
		c.marks = append(c.marks, 0)
		c.utilized(n, nil)
		for _, p := range c.m.prefixes {
			if uri, ok := c.d.inScope(n, p); ok {
				c.need(p, uri)
			}
		}
		c.writeStartTag(tok)
		return
	}
	c.inherited(n)
	if c.m.kind == inclusive10 {
		c.inheritAttributes(n, func([]byte) bool { return true })
	} else {
		c.inheritAttributes(n, func(local []byte) bool {
			return string(local) == "lang" || string(local) == "space" || string(local) == "base"
		})
		c.fixBase(n)
	}
	c.writeStartTag(tok)
}

// inScope returns the namespace that a prefix stands for at element n.
func (d *Document) inScope(n, prefix int32) (uri int32, ok bool) {
	t := d.tape
	for ; n >= 0; n = t.elements[n].parent {
		for _, decl := range t.decls[t.elements[n].decl:t.declEnd(n)] {
			if decl.prefix == prefix {
				return decl.uri, true
			}
		}
	}
	return noSpace, false
}

// inherited collects every declaration in scope at element n, the innermost of each prefix.
func (c *canonicalizer) inherited(n int32) {
	t := c.d.tape
	seen := c.order[:0]
	for up := n; up >= 0; up = t.elements[up].parent {
		for i, end := t.elements[up].decl, t.declEnd(up); i < end; i++ {
			seen = append(seen, i)
		}
	}
	// By prefix, and of one prefix the innermost first: its declaration stands last in the tape.
	slices.SortFunc(seen, func(x, y int32) int {
		if d := cmp.Compare(t.decls[x].prefix, t.decls[y].prefix); d != 0 {
			return d
		}
		return cmp.Compare(y, x)
	})
	before := int32(-1)
	for _, i := range seen {
		d := &t.decls[i]
		if d.prefix != xmlPrefix && d.prefix != before && d.uri != noSpace {
			c.needed = append(c.needed, binding{d.prefix, d.uri})
		}
		before = d.prefix
	}
	c.order = seen[:0]
}

// inheritAttributes collects the nearest xml:* attribute of each wanted name from the
// ancestors of element n, which has none of that name itself.
func (c *canonicalizer) inheritAttributes(n int32, want func(local []byte) bool) {
	t, src := c.d.tape, c.d.src
	for up := n; up >= 0; up = t.elements[up].parent {
		for i, end := t.elements[up].attr, t.attrEnd(up); i < end; i++ {
			if a := &t.attrs[i]; a.space == xmlSpace && (up == n || want(src[a.local:a.stop])) {
				c.extra = append(c.extra, i)
			}
		}
	}
	if len(c.extra) == 0 {
		return
	}
	local := func(i int32) []byte { return src[t.attrs[i].local:t.attrs[i].stop] }
	// By name, and of one name the innermost first: it stands last in the tape.
	slices.SortFunc(c.extra, func(x, y int32) int {
		if d := bytes.Compare(local(x), local(y)); d != 0 {
			return d
		}
		return cmp.Compare(y, x)
	})
	c.extra = slices.CompactFunc(c.extra, func(x, y int32) bool { return bytes.Equal(local(x), local(y)) })
	from, end := t.elements[n].attr, t.attrEnd(n)
	c.extra = slices.DeleteFunc(c.extra, func(i int32) bool { return i >= from && i < end })
}

// fixBase joins the xml:base values of element n and its ancestors (Canonical XML 1.1 §2.4).
func (c *canonicalizer) fixBase(n int32) {
	t, src := c.d.tape, c.d.src
	isBase := func(i int32) bool {
		a := &t.attrs[i]
		return a.space == xmlSpace && string(src[a.local:a.stop]) == "base"
	}
	var joined string
	found := 0
	for up := n; up >= 0; up = t.elements[up].parent {
		for i, end := t.elements[up].attr, t.attrEnd(up); i < end; i++ {
			if !isBase(i) {
				continue
			}
			if v := string(c.d.attrValue(&t.attrs[i])); found == 0 {
				joined = v
			} else {
				// Every join makes its result anew, some four times, so it counts as if it were written.
				if c.out.left -= 4 * (len(v) + len(joined)); c.out.left < 0 {
					return
				}
				joined = joinURI(v, joined)
			}
			found++
		}
	}
	if found > 1 {
		c.base = []byte(joined)
	}
	if found > 0 && joined == "" {
		c.extra = slices.DeleteFunc(c.extra, isBase)
	}
}
