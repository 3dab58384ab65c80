package xmlsig

import (
	"bytes"
	"hash/maphash"
	"unicode/utf8"

	"egov-gateway/gateway"
)

// plainName returns where the run of ASCII name characters at i ends.
func plainName(src []byte, i int) int {
	for i < len(src) && class[src[i]]&nameByte != 0 {
		i++
	}
	return i
}

// name reads a qualified name at i (Namespaces in XML 1.0 §4). local is i when there is no prefix.
func (s *scanner) name(i int) (local, end int, err error) {
	src, start := s.src, i
	local = i
	for first := true; i < len(src); {
		c := src[i]
		switch {
		case class[c]&nameByte != 0:
			if first && class[c]&nameStart == 0 {
				return 0, 0, s.malformed(i, "a name starts with a character that may not start one")
			}
			i++
			first = false
		case c == ':':
			if first || local != start {
				return 0, 0, s.malformed(i, "a name with a misplaced colon")
			}
			i++
			local, first = i, true
		case c < utf8.RuneSelf:
			if first {
				return 0, 0, s.malformed(i, "a name was expected")
			}
			return local, i, nil
		default:
			next, err := s.char(i)
			if err != nil {
				return 0, 0, err
			}
			r, _ := utf8.DecodeRune(src[i:next])
			if first && !isNameStart(r) || !isNameChar(r) {
				return 0, 0, s.malformed(i, "a character that may not stand in a name")
			}
			i = next
			first = false
		}
	}
	return 0, 0, s.malformed(start, "the document ends inside a tag")
}

func (s *scanner) startTag() error {
	src, start := s.src, s.i
	if len(s.open) == 0 && s.rooted {
		return s.malformed(start, "a second root element")
	}
	if len(s.open) >= s.limits.Depth {
		return s.fail(gateway.DocumentLimit, start, "elements are nested too deeply")
	}
	if len(s.elements) >= s.limits.Elements {
		return s.fail(gateway.DocumentLimit, start, "too many elements")
	}
	local, err := start+1, error(nil)
	i := plainName(src, local)
	if i == local || i == len(src) || src[i] == ':' || src[i] >= utf8.RuneSelf || class[src[local]]&nameStart == 0 {
		if local, i, err = s.name(start + 1); err != nil {
			return err
		}
	}
	s.i = i
	n := int32(len(s.elements))
	if len(s.elements) == cap(s.elements) {
		s.elements = grown(s.elements, s.expect(start, false).elements)
	}
	s.elements = s.elements[:n+1]
	e := &s.elements[n] // filled in place, as tokens are
	e.first, e.last, e.parent = int32(len(s.tokens)), -1, s.parent()
	e.stop = int32(i)
	e.attr, e.decl = int32(len(s.attrs)), int32(len(s.decls))
	f := flagClean | flagFresh
	for {
		gap := s.i
		if gap+1 < len(src) && src[gap] == ' ' && class[src[gap+1]]&nameStart != 0 {
			s.i++ // as most writers do it
			if f, err = s.attribute(n, e, f); err != nil {
				return err
			}
			continue
		}
		s.skipSpace()
		if s.i >= len(src) {
			return s.malformed(start, "the document ends inside a tag")
		}
		c := src[s.i]
		if c == '>' {
			if s.i != gap {
				f &^= flagClean
			}
			s.i++
			break
		}
		if c == '/' {
			if s.i+1 >= len(src) || src[s.i+1] != '>' {
				return s.malformed(s.i, "a slash inside a tag")
			}
			if s.i != gap {
				f &^= flagClean
			}
			f |= flagEmpty
			s.i += 2
			break
		}
		if s.i == gap {
			return s.malformed(s.i, "no white space before an attribute")
		}
		if s.i != gap+1 || src[gap] != ' ' {
			f &^= flagClean
		}
		if f, err = s.attribute(n, e, f); err != nil {
			return err
		}
	}
	if local == start+1 && int(e.attr) == len(s.attrs) { // nothing to resolve but the default namespace
		e.prefix, e.space = noPrefix, noSpace
		if d := s.bound[noPrefix]; d >= 0 {
			e.space = s.decls[d].uri
		}
	} else if f, err = s.resolve(e, start+1, local, f); err != nil {
		return err
	}
	s.token(start, s.i, n, startToken, f)
	s.rooted = true
	if f&flagEmpty != 0 {
		e.last = e.first
		s.unbind(n)
	} else {
		s.open = append(s.open, n)
	}
	return nil
}

func (s *scanner) endTag() error {
	src, start := s.src, s.i
	if len(s.open) == 0 {
		return s.malformed(start, "an end tag without a start tag")
	}
	n := s.open[len(s.open)-1]
	e := &s.elements[n]
	name := src[s.tokens[e.first].pos+1 : e.stop]
	i := start + 2
	if !bytes.HasPrefix(src[i:], name) {
		return s.malformed(start, "an end tag that does not match the start tag")
	}
	i += len(name)
	f := flagClean
	for i < len(src) && isSpace(src[i]) {
		i++
		f = 0
	}
	if i >= len(src) || src[i] != '>' {
		return s.malformed(start, "an end tag that does not match the start tag")
	}
	i++
	e.last = int32(len(s.tokens))
	s.token(start, i, n, endToken, f)
	s.unbind(n)
	s.open = s.open[:len(s.open)-1]
	s.i = i
	return nil
}

// attribute reads one attribute or namespace declaration of element n and returns what is
// left of the tag's flags f.
func (s *scanner) attribute(n int32, e *element, f flags) (flags, error) {
	src, start := s.src, s.i
	local, end := start, plainName(src, start)
	if end == start || end == len(src) || src[end] == ':' || src[end] >= utf8.RuneSelf || class[src[start]]&nameStart == 0 {
		var err error
		if local, end, err = s.name(start); err != nil {
			return 0, err
		}
	}
	i := end
	if i+1 < len(src) && src[i] == '=' && src[i+1] == '"' {
		i++
	} else {
		f &^= flagClean // by its quotes or its white space
		s.i = i
		s.skipSpace()
		if s.i >= len(src) || src[s.i] != '=' {
			return 0, s.malformed(start, "an attribute without a value")
		}
		s.i++
		s.skipSpace()
		i = s.i
	}
	k := len(s.attrs)
	if k == cap(s.attrs) {
		s.attrs = grown(s.attrs, s.expect(start, true).attrs)
	}
	s.attrs = s.attrs[:k+1]
	a := &s.attrs[k] // filled in place, as tokens are
	a.name, a.local, a.stop = int32(start), int32(local), int32(end)
	a.space, a.prefix = noSpace, noPrefix
	v := i + 1
	for v < len(src) && class[src[v]]&valueStop == 0 {
		v++
	}
	if v < len(src) && src[v] == '"' && src[i] == '"' {
		a.value, a.valueEnd, a.flags = int32(i+1), int32(v), flagClean|flagPlain
		s.i = v + 1
	} else {
		if err := s.value(i, a); err != nil {
			return 0, err
		}
		if a.flags&flagClean == 0 {
			f &^= flagClean
		}
	}
	if src[start] == 'x' {
		name := src[start:end]
		isDefault := string(name) == "xmlns"
		if isDefault || local != start && string(src[start:local]) == "xmlns:" {
			var prefix []byte
			if !isDefault {
				prefix = src[local:end]
			}
			if int(e.attr) != k {
				f &^= flagClean
			}
			decl := *a
			s.attrs = s.attrs[:k]
			return s.declare(n, e, prefix, &decl, f)
		}
	}
	if k-int(e.attr) >= s.limits.Attributes {
		return 0, s.fail(gateway.DocumentLimit, start, "too many attributes")
	}
	return f, nil
}

// value reads a quoted attribute value (XML 1.0 §3.3.3: every attribute is CDATA here).
func (s *scanner) value(start int, a *attribute) error {
	src := s.src
	if start >= len(src) || src[start] != '"' && src[start] != '\'' {
		return s.malformed(start, "an attribute value without quotes")
	}
	quote := src[start]
	i := start + 1
	f := flagClean | flagPlain
	for i < len(src) {
		c := src[i]
		if class[c]&valueStop == 0 {
			i++
			continue
		}
		if c == quote {
			a.value, a.valueEnd, a.flags = int32(start+1), int32(i), f
			s.i = i + 1
			return nil
		}
		switch c {
		case '<':
			return s.malformed(i, "< in an attribute value")
		case '"':
			f &^= flagClean
			i++
		case '\'':
			i++
		case '\t', '\n', '\r':
			f &^= flagClean | flagPlain
			i++
		case '&':
			next, canonical, err := s.reference(i, true)
			if err != nil {
				return err
			}
			f &^= flagPlain
			if !canonical {
				f &^= flagClean
			}
			i = next
		default:
			next, err := s.char(i)
			if err != nil {
				return err
			}
			i = next
		}
	}
	return s.malformed(start, "an attribute value without an end")
}

// declare adds a namespace declaration of element n (Namespaces in XML 1.0 §3, §5).
func (s *scanner) declare(n int32, e *element, prefix []byte, a *attribute, f flags) (flags, error) {
	at := int(a.name)
	if s.scope >= s.limits.Namespaces {
		return 0, s.fail(gateway.DocumentLimit, at, "too many namespace declarations in scope")
	}
	value := s.src[a.value:a.valueEnd]
	if a.flags&flagPlain == 0 {
		if cap(s.decoded)-len(s.decoded) < len(value) { // what stands in the old piece stays there
			s.decoded = make([]byte, 0, max(len(value), min(4*cap(s.decoded), 64<<10), 256))
		}
		n := len(s.decoded)
		s.decoded = appendValue(s.decoded, value)
		value = s.decoded[n:len(s.decoded):len(s.decoded)]
	}
	s.roomFor(&s.prefixes, at)
	s.roomFor(&s.spaces, at)
	p, uri := s.prefixes.add(prefix), s.spaces.add(value)
	if int(p) == len(s.bound) {
		if len(s.bound) == cap(s.bound) {
			s.bound = grown(s.bound, cap(s.prefixes.items))
		}
		s.bound = append(s.bound, -1)
	}
	switch {
	case string(prefix) == "xmlns":
		return 0, s.fail(gateway.DocumentNamespace, at, "the prefix xmlns may not be declared")
	case (p == xmlPrefix) != (uri == xmlSpace) || uri == xmlnsSpace:
		return 0, s.fail(gateway.DocumentNamespace, at, "the prefix xml, or a reserved namespace, is bound to something else")
	case len(value) == 0 && p != noPrefix:
		return 0, s.fail(gateway.DocumentNamespace, at, "a prefix is bound to no namespace")
	case len(value) > 0 && !hasScheme(value):
		return 0, s.fail(gateway.DocumentNamespace, at, "a relative namespace name")
	}
	outer := s.bound[p]
	var before int32 = noSpace
	if outer >= 0 {
		if s.decls[outer].element == n {
			return 0, s.malformed(at, "the same namespace declaration twice")
		}
		before = s.decls[outer].uri
	}
	if before == uri || p == xmlPrefix {
		f &^= flagFresh
	}
	if last := len(s.decls) - 1; last >= int(e.decl) && bytes.Compare(s.prefixes.items[s.decls[last].prefix], prefix) > 0 {
		f &^= flagClean
	}
	s.bound[p] = int32(len(s.decls))
	if len(s.decls) == cap(s.decls) {
		s.decls = grown(s.decls, s.expect(at, true).decls)
	}
	s.decls = append(s.decls, declaration{p, uri, n, outer})
	s.scope++
	return f, nil
}

// roomFor lets a full interner grow to twice its length, and not further than the declarations that
// are still to come.
func (s *scanner) roomFor(in *interner, at int) {
	n := len(in.items)
	if n < cap(in.items) || n < 64 {
		return
	}
	n += min(n, max(s.expect(at, true).decls-len(s.decls), 0))
	in.items, in.hashes = grown(in.items, n), grown(in.hashes, n)
}

// unbind ends the scope of the declarations of element n.
func (s *scanner) unbind(n int32) {
	for i := s.declEnd(n) - 1; i >= s.elements[n].decl; i-- {
		s.bound[s.decls[i].prefix] = s.decls[i].outer
		s.scope--
	}
}

// resolve gives the element and its attributes their namespaces, refuses duplicates, and sees
// whether the attributes stand in canonical order.
func (s *scanner) resolve(e *element, name, local int, f flags) (flags, error) {
	var ok bool
	if name != local {
		if e.prefix, e.space, ok = s.lookup(name, local); !ok {
			return 0, s.fail(gateway.DocumentNamespace, name, "an element with an undeclared prefix")
		}
	} else if e.prefix, e.space = noPrefix, noSpace; s.bound[noPrefix] >= 0 {
		e.space = s.decls[s.bound[noPrefix]].uri
	}
	attrs := s.attrs[e.attr:]
	for i := range attrs {
		a := &attrs[i]
		if a.local == a.name {
			continue // no default namespace for attributes: both zero
		}
		if a.prefix, a.space, ok = s.lookup(int(a.name), int(a.local)); !ok {
			return 0, s.fail(gateway.DocumentNamespace, int(a.name), "an attribute with an undeclared prefix")
		}
	}
	if len(attrs) < 2 {
		return f, nil
	}
	for i := 1; i < len(attrs); i++ {
		a, b := &attrs[i-1], &attrs[i]
		if a.space == b.space && s.src[a.local] < s.src[b.local] {
			continue
		}
		if a.space != b.space && min(len(s.spaces.items[a.space]), len(s.spaces.items[b.space])) > longName {
			f &^= flagClean // whoever needs their order compares such names, at his own cost
			return f, s.unique(attrs)
		}
		if compareAttributes(s.src, s.spaces.items, a, b) >= 0 {
			f &^= flagClean
			return f, s.unique(attrs)
		}
	}
	return f, nil // strictly ascending, so no two are equal
}

// lookup resolves the prefix of a qualified name that has one.
func (s *scanner) lookup(name, local int) (prefix, uri int32, ok bool) {
	prefix = s.prefixes.find(s.src[name : local-1])
	if prefix == xmlPrefix {
		return xmlPrefix, xmlSpace, true
	}
	if prefix < 0 || s.bound[prefix] < 0 {
		return 0, 0, false
	}
	return prefix, s.decls[s.bound[prefix]].uri, true
}

// unique refuses two attributes of one expanded name; two of one qualified name are such a pair.
func (s *scanner) unique(attrs []attribute) error {
	same := func(a, b *attribute) bool {
		return a.space == b.space && bytes.Equal(s.src[a.local:a.stop], s.src[b.local:b.stop])
	}
	if len(attrs) <= 8 {
		for i := range attrs {
			for j := range attrs[:i] {
				if same(&attrs[i], &attrs[j]) {
					return s.malformed(int(attrs[i].name), "the same attribute twice")
				}
			}
		}
		return nil
	}
	size := 64
	for size < 2*len(attrs) {
		size *= 2
	}
	if len(s.seen) < size {
		s.seen, s.stamp = make([]seenAttr, size), 0
	}
	if s.stamp++; s.stamp == 0 {
		clear(s.seen)
		s.stamp = 1
	}
	mask := uint64(len(s.seen) - 1)
	for i := range attrs {
		a := &attrs[i]
		h := (maphash.Bytes(s.spaces.seed, s.src[a.local:a.stop]) + uint64(a.space)*0x9E3779B97F4A7C15) & mask
		for ; s.seen[h].stamp == s.stamp; h = (h + 1) & mask {
			if same(a, &attrs[s.seen[h].attr]) {
				return s.malformed(int(a.name), "the same attribute twice")
			}
		}
		s.seen[h] = seenAttr{s.stamp, int32(i)}
	}
	return nil
}

// compareAttributes is the document order of attributes in canonical XML: by namespace name,
// then by local name (Canonical XML 1.0 §2.2).
func compareAttributes(src []byte, spaces [][]byte, a, b *attribute) int {
	if a.space != b.space {
		return bytes.Compare(spaces[a.space], spaces[b.space])
	}
	return bytes.Compare(src[a.local:a.stop], src[b.local:b.stop])
}

// hasScheme reports whether a namespace name is absolute (RFC 3986 §3.1).
func hasScheme(uri []byte) bool {
	for i, c := range uri {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return c == ':' && i > 0
		}
	}
	return false
}
