package xmlsig

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
)

// Limits bound what one document may ask of the scanner. A zero field means its default.
type Limits struct {
	MaxBytes   int // length of the document in bytes; default 1 MiB, at most 1 GiB
	Depth      int // elements inside each other; default 64
	Attributes int // attributes of one element, namespace declarations not counted; default 64
	Namespaces int // namespace declarations in scope at one element; default 64
	Elements   int // elements altogether, which cost 64 bytes each and more; default as many as the bytes hold
}

// The defaults of [Limits].
const (
	DefaultMaxBytes   = 1 << 20
	DefaultDepth      = 64
	DefaultAttributes = 64
	DefaultNamespaces = 64
)

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		v   *int
		def int
	}{{&l.MaxBytes, DefaultMaxBytes}, {&l.Depth, DefaultDepth}, {&l.Attributes, DefaultAttributes}, {&l.Namespaces, DefaultNamespaces}} {
		if *f.v <= 0 {
			*f.v = f.def
		}
	}
	l.MaxBytes = min(l.MaxBytes, 1<<30) // positions are 32 bits wide
	if l.Elements <= 0 {
		l.Elements = l.MaxBytes
	}
	return l
}

type kind uint8

const (
	startToken kind = iota // start tag; an empty-element tag when flagEmpty
	endToken
	textToken    // character data and references between two pieces of markup
	cdataToken   // one CDATA section with its delimiters
	commentToken // one comment with its delimiters
)

type flags uint8

const (
	// flagClean: the bytes are already in canonical form. For a start tag that is its syntax
	// and the order of declarations and attributes, not which declarations are needed nor that
	// <a/> becomes <a></a>.
	flagClean flags = 1 << iota
	// flagFresh: every namespace declaration of the start tag says something new.
	flagFresh
	// flagPlain: the bytes are the value: no reference, no CR, in attributes no TAB or LF.
	flagPlain
	// flagWhite: nothing but white space, written as such.
	flagWhite
	// flagEmpty: <a/>.
	flagEmpty
)

type token struct {
	pos, end int32 // in the source
	elem     int32 // the element whose tag this is, or in which it stands; -1 outside the root
	kind     kind
	flags    flags
}

type element struct {
	first, last       int32 // tokens of the tags; the same one for <a/>
	parent            int32 // element, -1 for the root
	space             int32 // namespace number
	prefix            int32 // prefix number, 0 for none
	name, local, stop int32 // source: the qualified name starts, its local part starts, it ends
	attr, attrEnd     int32
	decl, declEnd     int32
}

type attribute struct {
	name, local, stop int32
	value, valueEnd   int32 // source, between the quotes
	space, prefix     int32
	flags             flags
}

type declaration struct {
	prefix  int32
	uri     int32 // namespace number, 0 for xmlns=""
	element int32
	outer   int32 // declaration of the same prefix that this one hides, -1 for none
}

// Numbers that every document gives to the same prefixes and namespaces.
const (
	noPrefix, noSpace   = 0, 0
	xmlPrefix, xmlSpace = 1, 1
	xmlnsSpace          = 2
)

const (
	xmlURI   = "http://www.w3.org/XML/1998/namespace"
	xmlnsURI = "http://www.w3.org/2000/xmlns/"
)

var wellKnownURIs, wellKnownPrefixes = [][]byte{nil, []byte(xmlURI), []byte(xmlnsURI)}, [][]byte{nil, []byte("xml")}

// A tape is what one scan leaves: flat arrays, used again for the next document.
type tape struct {
	tokens   []token
	dirty    []int32 // tokens that inclusive canonicalisation does not copy as they are
	elements []element
	attrs    []attribute
	decls    []declaration
	spaces   interner // namespace names
	prefixes interner
	bound    []int32 // by prefix number: declaration in scope, -1 for none (while scanning)
	open     []int32 // elements not yet closed (while scanning)
	seen     []seenAttr
	stamp    uint32
	decoded  []byte // namespace names that were written with references
}

type seenAttr struct {
	stamp uint32
	attr  int32
}

var tapes = sync.Pool{New: func() any {
	seed := maphash.MakeSeed()
	return &tape{spaces: interner{seed: seed}, prefixes: interner{seed: seed}}
}}

func newTape() *tape {
	t := tapes.Get().(*tape)
	t.spaces.items = append(t.spaces.items[:0], wellKnownURIs...)
	t.prefixes.items = append(t.prefixes.items[:0], wellKnownPrefixes...)
	t.bound = append(t.bound[:0], -1, -1)
	return t
}

// tapeKeep is how many tokens a tape may have room for and still go back into the pool: those
// of any document of the default size. The pool itself gives memory back at a collection.
const tapeKeep = 1 << 19

// room returns s with room for one more. The first pieces of a document tell how many will
// follow: done of total bytes are read.
func room[T any](s []T, done, total int) []T {
	if len(s) < cap(s) {
		return s
	}
	n := max(64, len(s))
	if done > 0 {
		n = max(n, min(int(int64(len(s))*int64(total-done)/int64(done))+len(s)/8, 32*n))
	}
	return slices.Grow(s, n)
}

func (t *tape) free() {
	t.tokens, t.elements, t.attrs, t.decls = t.tokens[:0], t.elements[:0], t.attrs[:0], t.decls[:0]
	t.open, t.bound, t.dirty = t.open[:0], t.bound[:0], t.dirty[:0]
	t.decoded = t.decoded[:0]
	t.spaces.reset()
	t.prefixes.reset()
	if cap(t.tokens) <= tapeKeep && cap(t.attrs) <= tapeKeep && cap(t.decls) <= tapeKeep && cap(t.bound) <= tapeKeep {
		tapes.Put(t)
	}
}

// A Document is one scanned document. It borrows the bytes given to [Scan], which must not
// change while it is used, and is safe for concurrent reading.
type Document struct {
	src  []byte
	tape *tape
	// hidden are the elements that the view does not show: the signatures, after verification.
	hidden []int32
	// signed: comments were removed before hashing, so Source must not show them.
	signed bool
}

// Root returns the document's element.
func (d *Document) Root() Element { return Element{d, 1} }

// Release gives the document's memory back for the next one. It is optional and spares
// allocations; afterwards every use of the document or its elements panics.
func (d *Document) Release() {
	t := d.tape
	d.tape, d.src, d.hidden = nil, nil, nil
	if t != nil {
		t.free()
	}
}

func (d *Document) isHidden(e int32) bool {
	return len(d.hidden) > 0 && slices.Contains(d.hidden, e)
}

// lineOf returns the 1-based line of a position; CR LF counts once.
func lineOf(src []byte, pos int) int {
	src = src[:pos]
	return 1 + bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) - bytes.Count(src, []byte("\r\n"))
}
