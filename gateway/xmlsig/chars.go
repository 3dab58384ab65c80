package xmlsig

import (
	"unicode/utf8"
)

// What a byte is, as bits of class.
const (
	nameStart uint8 = 1 << iota // may start a name (ASCII, without the colon)
	nameByte                    // may stand in a name (ASCII, without the colon)
	space                       // S of XML 1.0
	textStop                    // ends or interrupts plain character data
	valueStop                   // ends or interrupts a plain attribute value
	plainStop                   // not allowed as it is in a comment or CDATA section, or CR, or not ASCII
)

var class = func() (t [256]uint8) {
	for c := 0; c < 256; c++ {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			t[c] = nameStart | nameByte
		case c >= '0' && c <= '9', c == '-', c == '.':
			t[c] = nameByte
		case c == ' ':
			t[c] = space
		case c == '\t', c == '\n':
			t[c] = space | valueStop
		case c == '\r':
			t[c] = space | textStop | valueStop | plainStop
		case c == '<', c == '&':
			t[c] = textStop | valueStop
		case c == '>':
			t[c] = textStop
		case c == '"', c == '\'':
			t[c] = valueStop
		case c < 0x20, c >= utf8.RuneSelf:
			t[c] = textStop | valueStop | plainStop
		}
	}
	return t
}()

func isSpace(c byte) bool { return class[c]&space != 0 }

// isChar is the production Char of XML 1.0, for a code point that is no surrogate.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// isNameStart is NameStartChar of XML 1.0 5th edition without the colon.
func isNameStart(r rune) bool {
	if r < utf8.RuneSelf {
		return class[byte(r)]&nameStart != 0
	}
	switch {
	case r >= 0xC0 && r <= 0x2FF:
		return r != 0xD7 && r != 0xF7
	case r >= 0x370 && r <= 0x1FFF:
		return r != 0x37E
	case r == 0x200C, r == 0x200D, r >= 0x2070 && r <= 0x218F, r >= 0x2C00 && r <= 0x2FEF,
		r >= 0x3001 && r <= 0xD7FF, r >= 0xF900 && r <= 0xFDCF, r >= 0xFDF0 && r <= 0xFFFD,
		r >= 0x10000 && r <= 0xEFFFF:
		return true
	}
	return false
}

// isNameChar is NameChar of XML 1.0 5th edition without the colon.
func isNameChar(r rune) bool {
	if r < utf8.RuneSelf {
		return class[byte(r)]&nameByte != 0
	}
	return isNameStart(r) || r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// isNCName reports whether b is a name without a colon.
func isNCName(b []byte) bool {
	r, _ := utf8.DecodeRune(b)
	return isNmtoken(b) && isNameStart(r)
}

// isNmtoken reports whether b is made of name characters without colons.
func isNmtoken(b []byte) bool {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 || !isNameChar(r) {
			return false
		}
		i += n
	}
	return len(b) > 0
}
