package xmlsig

import (
	"bytes"
	"unicode/utf8"

	"egov-gateway/gateway"
)

// Scan reads one document, in time linear in its length and without recursion.
//
// It accepts any well-formed XML 1.0 (5th edition) document with namespaces that has no
// document type declaration and no processing instruction and keeps the limits. Errors carry
// one of the gateway.Document* reasons; their text names a line and never quotes the document.
func Scan(doc []byte, l Limits) (*Document, error) {
	d := new(Document)
	if err := d.scan(doc, l); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Document) scan(doc []byte, l Limits) error {
	l = l.withDefaults()
	if len(doc) > l.MaxBytes {
		return gateway.Errorf(gateway.DocumentTooLarge, "%d bytes, at most %d are taken", len(doc), l.MaxBytes)
	}
	s := scanner{tape: newTape(), src: doc, limits: l}
	if err := s.document(); err != nil {
		s.free()
		return err
	}
	d.src, d.tape = doc, s.tape
	return nil
}

type scanner struct {
	*tape
	src      []byte
	i        int
	limits   Limits
	scope    int // namespace declarations in scope
	rooted   bool
	expected expected
}

func (s *scanner) fail(r gateway.Reason, pos int, what string) error {
	return gateway.Errorf(r, "line %d: %s", lineOf(s.src, min(pos, len(s.src))), what)
}

func (s *scanner) malformed(pos int, what string) error {
	return s.fail(gateway.DocumentMalformed, pos, what)
}

func (s *scanner) document() error {
	if err := s.prologue(); err != nil {
		return err
	}
	for s.i < len(s.src) {
		var err error
		if s.src[s.i] != '<' {
			err = s.text()
		} else if s.i+1 == len(s.src) {
			return s.malformed(s.i, "the document ends inside a tag")
		} else {
			switch s.src[s.i+1] {
			case '/':
				err = s.endTag()
			case '!':
				err = s.declarationOrComment()
			case '?':
				if rest := s.src[s.i:]; bytes.HasPrefix(rest, []byte("<?xml")) && len(rest) > 5 && isSpace(rest[5]) {
					return s.malformed(s.i, "an XML declaration that is not the very first thing: not even white space may stand before it")
				}
				err = s.fail(gateway.DocumentInstruction, s.i, "a processing instruction")
			default:
				err = s.startTag()
			}
		}
		if err != nil {
			return err
		}
	}
	switch {
	case !s.rooted:
		return s.malformed(s.i, "no element")
	case len(s.open) > 0:
		return s.malformed(s.i, "the document ends inside an element")
	}
	return nil
}

// prologue reads the byte order mark and the XML declaration (XML 1.0 §2.8, §4.3.3).
func (s *scanner) prologue() error {
	src := s.src
	if len(src) == 0 {
		return s.malformed(0, "no bytes")
	}
	if len(src) >= 2 && (src[0] == 0 || src[1] == 0 || src[0] == 0xFE && src[1] == 0xFF || src[0] == 0xFF && src[1] == 0xFE) {
		return s.fail(gateway.DocumentEncoding, 0, "not UTF-8 (looks like UTF-16 or UTF-32)")
	}
	if bytes.HasPrefix(src, []byte("\xEF\xBB\xBF")) {
		s.i = 3
	}
	if !bytes.HasPrefix(src[s.i:], []byte("<?xml")) || len(src) > s.i+5 && !isSpace(src[s.i+5]) {
		return nil // another target is a processing instruction, met by document
	}
	start := s.i
	s.i += len("<?xml")
	version, err := s.pseudo("version", true)
	if err != nil {
		return err
	}
	if string(version) != "1.0" {
		return s.fail(gateway.DocumentEncoding, start, "not XML version 1.0")
	}
	encoding, err := s.pseudo("encoding", false)
	if err != nil {
		return err
	}
	if encoding != nil && !bytes.EqualFold(encoding, []byte("UTF-8")) {
		return s.fail(gateway.DocumentEncoding, start, "declared to be in another encoding than UTF-8")
	}
	standalone, err := s.pseudo("standalone", false)
	if err != nil {
		return err
	}
	if standalone != nil && string(standalone) != "yes" && string(standalone) != "no" {
		return s.malformed(start, "standalone is yes or no")
	}
	s.skipSpace()
	if !bytes.HasPrefix(src[s.i:], []byte("?>")) {
		return s.malformed(start, "the XML declaration is broken")
	}
	s.i += 2
	return nil
}

// pseudo reads one name="value" of the XML declaration, nil if another thing follows.
func (s *scanner) pseudo(name string, required bool) ([]byte, error) {
	start := s.i
	s.skipSpace()
	if s.i == start || !bytes.HasPrefix(s.src[s.i:], []byte(name)) {
		if required {
			return nil, s.malformed(start, "the XML declaration lacks its version")
		}
		s.i = start
		return nil, nil
	}
	s.i += len(name)
	s.skipSpace()
	if s.i < len(s.src) && s.src[s.i] == '=' {
		s.i++
		s.skipSpace()
		if s.i < len(s.src) && (s.src[s.i] == '"' || s.src[s.i] == '\'') {
			n := bytes.IndexByte(s.src[s.i+1:], s.src[s.i])
			if n >= 0 {
				v := s.src[s.i+1 : s.i+1+n]
				s.i += n + 2
				return v, nil
			}
		}
	}
	return nil, s.malformed(start, "the XML declaration is broken")
}

func (s *scanner) skipSpace() {
	for s.i < len(s.src) && isSpace(s.src[s.i]) {
		s.i++
	}
}

// char checks the character at i, whose byte is not plain ASCII, and returns what follows it.
func (s *scanner) char(i int) (int, error) {
	b := s.src[i]
	if b < utf8.RuneSelf {
		if b < 0x20 && b != '\t' && b != '\n' && b != '\r' {
			return 0, s.malformed(i, "a control character")
		}
		return i + 1, nil
	}
	if b >= 0xC2 && b <= 0xDF && i+1 < len(s.src) && s.src[i+1]&0xC0 == 0x80 {
		return i + 2, nil
	}
	r, n := utf8.DecodeRune(s.src[i:])
	if r == utf8.RuneError && n <= 1 {
		return 0, s.fail(gateway.DocumentEncoding, i, "not UTF-8")
	}
	if !isChar(r) {
		return 0, s.malformed(i, "a code point that is no character")
	}
	return i + n, nil
}

// token appends in place: a struct built on the stack and copied costs a store-forwarding stall.
func (s *scanner) token(pos, end int, elem int32, k kind, f flags) {
	n := len(s.tokens)
	if n == cap(s.tokens) {
		s.tokens = grown(s.tokens, s.expect(pos, false).tokens)
	}
	s.tokens = s.tokens[:n+1]
	t := &s.tokens[n]
	t.pos, t.end, t.bits = int32(pos), int32(end), elem<<elemShift|int32(k)<<kindShift|int32(f)
	if f&(flagClean|flagEmpty) != flagClean || k == commentToken || k == startToken && f&flagFresh == 0 {
		if n > 0 && f&emptyTag == emptyTag && s.tokens[n-1].flags()&emptyTag == emptyTag {
			return // written together with the one before
		}
		if len(s.dirty) == cap(s.dirty) {
			s.dirty = grown(s.dirty, s.expect(pos, false).dirty)
		}
		s.dirty = append(s.dirty, int32(n))
	}
}

// expected is how long the tape's arrays will be in the end.
type expected struct {
	counted                               bool
	tokens, elements, attrs, decls, dirty int
}

// expect counts the rest of the document once, from i on, which is in a tag or at the start of a
// token, when a piece does not fit into what the pool gave. Growing step by step would cost
// several times the memory that is needed in the end.
func (s *scanner) expect(i int, inTag bool) *expected {
	if x := &s.expected; !x.counted {
		c := countPieces(s.src, i, inTag)
		// Start tags without an end are refused when they are too deep; what is refused needs no room.
		elements := c.empties + min(c.starts, c.ends+s.limits.Depth)
		x.counted = true
		x.tokens, x.elements = len(s.tokens)+elements+c.ends+c.others, len(s.elements)+elements
		left := len(s.src) - i
		x.attrs, x.decls = len(s.attrs)+min(c.attrs, left/len(` a=""`)+1), len(s.decls)+min(c.decls, left/len(` xmlns=""`)+1)
		x.dirty = len(s.dirty) + c.runs
	}
	return &s.expected
}

// grown returns s with room for n in all and a few, or for twice as many if that is what it has.
func grown[T any](s []T, n int) []T {
	if n += 8; cap(s) >= n {
		n = 2 * cap(s)
	}
	return append(make([]T, 0, n), s...)
}

// pieces are what the rest of a well-formed document is made of.
type pieces struct {
	starts, empties, ends int
	others                int // texts, comments, CDATA sections
	runs                  int // pieces that need rewriting: comments, CDATA sections, runs of empty tags
	attrs, decls          int
}

// countPieces counts without looking closely: what is not well-formed gets no more room than it
// has bytes, and an error later.
func countPieces(src []byte, i int, inTag bool) (c pieces) {
	empty := false // the piece before was an empty-element tag
	for i < len(src) {
		if !inTag {
			if src[i] != '<' {
				c.others++
				empty = false
				n := bytes.IndexByte(src[i:], '<')
				if n < 0 {
					return c
				}
				i += n
				continue
			}
			rest := src[i:]
			open, stop := 0, ""
			switch {
			case len(rest) < 3:
				return c
			case rest[1] == '/':
				c.ends++
				empty = false
				if i = next(src, i, 3, ">"); i < 0 {
					return c
				}
				continue
			case rest[1] == '?':
				open, stop = 2, "?>"
			case bytes.HasPrefix(rest, []byte("<!--")):
				open, stop = 4, "-->"
			case rest[1] == '!':
				open, stop = 3, "]]>"
			}
			if open > 0 {
				c.others++
				c.runs++
				empty = false
				if i = next(src, i, open, stop); i < 0 {
					return c
				}
				continue
			}
			i++
		}
		inTag = false
		end := c.tag(src, i)
		if end < 0 {
			return c
		}
		if src[end-1] == '/' {
			c.empties++
			if !empty {
				c.runs++
			}
			empty = true
		} else {
			c.starts++
			empty = false
		}
		i = end + 1
	}
	return c
}

// next returns what follows stop, at least open bytes behind i, or -1.
func next(src []byte, i, open int, stop string) int {
	if i += open; i > len(src) {
		return -1
	}
	n := bytes.Index(src[i:], []byte(stop))
	if n < 0 {
		return -1
	}
	return i + n + len(stop)
}

// tag counts the attributes and declarations of the tag in which i stands, and returns where its
// > is, or -1.
func (c *pieces) tag(src []byte, i int) int {
	for name := i; i < len(src); i++ {
		switch b := src[i]; {
		case b == '>':
			return i
		case b == '<':
			return -1
		case b == '"' || b == '\'':
			n := bytes.IndexByte(src[i+1:], b)
			if n < 0 {
				return -1
			}
			if bytes.HasPrefix(src[name:i], []byte("xmlns")) {
				c.decls++
			} else {
				c.attrs++
			}
			i += n + 1
			name = i + 1
		case isSpace(b):
			if i+1 < len(src) && class[src[i+1]]&nameByte != 0 {
				name = i + 1
			}
		}
	}
	return -1
}

func (s *scanner) parent() int32 {
	if n := len(s.open); n > 0 {
		return s.open[n-1]
	}
	return -1
}

// text reads character data up to the next '<'.
func (s *scanner) text() error {
	src, start := s.src, s.i
	i, f := start, flagClean|flagPlain
	for i < len(src) && isSpace(src[i]) {
		if src[i] == '\r' {
			f &^= flagClean | flagPlain
		}
		i++
	}
	switch {
	case i == len(src) || src[i] == '<':
		f |= flagWhite
		if len(s.open) == 0 {
			s.i = i
			return nil // white space outside the root has no canonical form
		}
	case len(s.open) == 0:
		if _, err := s.char(i); err != nil {
			return err
		}
		return s.malformed(i, "character data outside the root element")
	}
	for i < len(src) {
		c := src[i]
		if class[c]&textStop == 0 {
			i++
			continue
		}
		if c == '<' {
			break
		}
		switch c {
		case '&':
			next, canonical, err := s.reference(i, false)
			if err != nil {
				return err
			}
			f &^= flagPlain
			if !canonical {
				f &^= flagClean
			}
			i = next
		case '>':
			if i-start >= 2 && src[i-1] == ']' && src[i-2] == ']' {
				return s.malformed(i, "]]> in character data")
			}
			f &^= flagClean
			i++
		case '\r':
			f &^= flagClean | flagPlain
			i++
		default:
			// Most of a Kazakh or Russian text are two-byte sequences.
			if i+1 < len(src) && c >= 0xC2 && c <= 0xDF && src[i+1]&0xC0 == 0x80 {
				i += 2
				for i+1 < len(src) && src[i]-0xC2 <= 0xDF-0xC2 && src[i+1]&0xC0 == 0x80 {
					i += 2
				}
				continue
			}
			next, err := s.char(i)
			if err != nil {
				return err
			}
			i = next
		}
	}
	s.token(start, i, s.parent(), textToken, f)
	s.i = i
	return nil
}

// reference checks the reference at i and says whether canonical XML would write it the same
// way (Canonical XML 1.0 §2.3).
func (s *scanner) reference(i int, inValue bool) (next int, canonical bool, err error) {
	r, n := decodeReference(s.src[i:])
	if n == 0 {
		return 0, false, s.malformed(i, "a reference that is broken or names an undeclared entity")
	}
	if n < 0 {
		return 0, false, s.malformed(i, "a reference to a code point that is no character")
	}
	var want string
	switch {
	case r == '&':
		want = "&amp;"
	case r == '<':
		want = "&lt;"
	case r == '\r':
		want = "&#xD;"
	case r == '>' && !inValue:
		want = "&gt;"
	case r == '"' && inValue:
		want = "&quot;"
	case r == '\t' && inValue:
		want = "&#x9;"
	case r == '\n' && inValue:
		want = "&#xA;"
	}
	return i + n, string(s.src[i:i+n]) == want, nil
}

func (s *scanner) declarationOrComment() error {
	rest := s.src[s.i:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return s.section(commentToken, 4, "--")
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		if len(s.open) == 0 {
			return s.malformed(s.i, "a CDATA section outside the root element")
		}
		return s.section(cdataToken, 9, "]]>")
	case bytes.HasPrefix(rest, []byte("<!DOCTYPE")):
		return s.fail(gateway.DocumentDoctype, s.i, "a document type declaration")
	}
	return s.malformed(s.i, "a declaration that is neither comment nor CDATA section")
}

// section reads a comment or CDATA section whose content ends at stop.
func (s *scanner) section(k kind, open int, stop string) error {
	start := s.i
	i := start + open
	n := bytes.Index(s.src[i:], []byte(stop))
	if n < 0 {
		return s.malformed(start, "a comment or CDATA section without an end")
	}
	end, f := i+n, flagClean|flagPlain
	for i < end {
		c := s.src[i]
		if class[c]&plainStop == 0 {
			i++
			continue
		}
		if c == '\r' {
			f &^= flagClean | flagPlain
		}
		next, err := s.char(i)
		if err != nil {
			return err
		}
		i = next
	}
	end += len(stop)
	if k == commentToken {
		if end == len(s.src) || s.src[end] != '>' {
			return s.malformed(end, "-- inside a comment")
		}
		end++
	} else {
		f &^= flagClean
	}
	s.token(start, end, s.parent(), k, f)
	s.i = end
	return nil
}
