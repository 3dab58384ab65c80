package xmlsig

import "unicode/utf8"

// decodeReference reads the character or predefined entity reference at the start of b. n is
// its length, 0 if it is broken or unknown, negative if it names a code point that is no Char.
func decodeReference(b []byte) (r rune, n int) {
	if len(b) < 4 {
		return 0, 0
	}
	if b[1] != '#' {
		for _, e := range [...]struct {
			name string
			r    rune
		}{{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}} {
			if len(b) >= len(e.name) && string(b[:len(e.name)]) == e.name {
				return e.r, len(e.name)
			}
		}
		return 0, 0
	}
	i, base := 2, rune(10)
	if b[2] == 'x' {
		i, base = 3, 16
	}
	first := i
	for ; i < len(b); i++ {
		c := b[i]
		var d rune
		switch {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			d = rune(c-'a') + 10
		case base == 16 && c >= 'A' && c <= 'F':
			d = rune(c-'A') + 10
		default:
			if c != ';' || i == first {
				return 0, 0
			}
			if !isChar(r) {
				return 0, -1
			}
			return r, i + 1
		}
		r = min(r*base+d, utf8.MaxRune+1) // leading zeros are allowed without bound
	}
	return 0, 0
}

// appendText appends the value of scanned character data: references resolved, line ends LF
// (XML 1.0 §2.11). A CR that comes from a reference stays.
func appendText(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; c {
		case '&':
			r, n := decodeReference(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		case '\r':
			dst = append(dst, '\n')
			i++
			if i < len(raw) && raw[i] == '\n' {
				i++
			}
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// appendValue appends the normalised value of a scanned attribute (XML 1.0 §3.3.3).
func appendValue(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; c {
		case '&':
			r, n := decodeReference(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		case '\r':
			dst = append(dst, ' ')
			i++
			if i < len(raw) && raw[i] == '\n' {
				i++
			}
		case '\t', '\n':
			dst = append(dst, ' ')
			i++
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// appendLines appends the content of a comment or CDATA section with line ends LF.
func appendLines(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		if c := raw[i]; c != '\r' {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '\n')
		if i+1 < len(raw) && raw[i+1] == '\n' {
			i++
		}
	}
	return dst
}
