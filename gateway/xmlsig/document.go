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
	Elements   int // elements altogether, which cost 48 bytes each and more; default as many as the bytes hold, at most 8 million
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
	l.Elements = min(l.Elements, maxElements)
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

// A token and an element are small, because a document can be made of nothing else: four bytes
// of <a/> are one of each.
type token struct {
	pos, end int32 // in the source
	bits     int32 // element, kind and flags
}

const (
	kindShift   = 5 // above the flags
	elemShift   = 8
	maxElements = 1<<23 - 1
)

// elem is the element whose tag this is, or in which it stands; -1 outside the root.
func (t token) elem() int32  { return t.bits >> elemShift }
func (t token) kind() kind   { return kind(t.bits>>kindShift) & 7 }
func (t token) flags() flags { return flags(t.bits) & (1<<kindShift - 1) }

type element struct {
	first, last int32 // tokens of the tags; the same one for <a/>
	parent      int32 // element, -1 for the root
	space       int32 // namespace number
	prefix      int32 // prefix number, 0 for none
	stop        int32 // in the source: the qualified name ends; it starts behind the tag's <
	attr, decl  int32 // the first of its own; they end where those of the next element begin
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

// name returns where the qualified name of element n starts in the source.
func (t *tape) name(n int32) int32 { return t.tokens[t.elements[n].first].pos + 1 }

// local returns where its local part starts.
func (t *tape) local(n int32) int32 {
	e := &t.elements[n]
	at := t.tokens[e.first].pos + 1
	if e.prefix != noPrefix {
		at += int32(len(t.prefixes.items[e.prefix])) + 1
	}
	return at
}

// attrEnd returns where the attributes of element n end.
func (t *tape) attrEnd(n int32) int32 {
	if int(n)+1 < len(t.elements) {
		return t.elements[n+1].attr
	}
	return int32(len(t.attrs))
}

// declEnd returns where the declarations of element n end.
func (t *tape) declEnd(n int32) int32 {
	if int(n)+1 < len(t.elements) {
		return t.elements[n+1].decl
	}
	return int32(len(t.decls))
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

// tapeKeep is how many bytes a tape may take and still go back into the pool: that of any document
// of the default size, whatever the other limits. The pool itself gives memory back at a collection.
const tapeKeep = 16 * DefaultMaxBytes

// size is about how many bytes the tape takes.
func (t *tape) size() int {
	return 12*cap(t.tokens) + 32*(cap(t.elements)+cap(t.attrs)) + 16*cap(t.decls) + cap(t.decoded) +
		4*(cap(t.dirty)+cap(t.bound)+cap(t.open)+cap(t.spaces.slots)+cap(t.prefixes.slots)+cap(t.spaces.hashes)+cap(t.prefixes.hashes)) +
		24*(cap(t.spaces.items)+cap(t.prefixes.items)) + 8*cap(t.seen)
}

func (t *tape) free() {
	t.tokens, t.elements, t.attrs, t.decls = t.tokens[:0], t.elements[:0], t.attrs[:0], t.decls[:0]
	t.open, t.bound, t.dirty = t.open[:0], t.bound[:0], t.dirty[:0]
	t.decoded = t.decoded[:0]
	t.spaces.reset()
	t.prefixes.reset()
	if t.size() <= tapeKeep {
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
