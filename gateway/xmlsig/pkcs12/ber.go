package pkcs12

import "golang.org/x/crypto/cryptobyte"

// Bounds of a file. The NCA's have 4 KB and are twelve elements deep.
const (
	MaxBytes = 1 << 20
	maxDepth = 32
)

// derOf reads one BER element (X.690 §8) and writes it with definite, shortest lengths and
// octet strings in one piece. What is inside primitive elements stays as it is.
func derOf(ber []byte) ([]byte, bool) {
	t := transcoder{in: ber}
	out, ok := t.element(make([]byte, 0, len(ber)), 0)
	return out, ok && len(t.in) == 0
}

type transcoder struct{ in []byte }

// element appends the DER of the next element to dst.
func (t *transcoder) element(dst []byte, depth int) ([]byte, bool) {
	tag, length, indefinite, ok := t.header()
	if !ok || depth > maxDepth {
		return nil, false
	}
	if tag&0x20 == 0 {
		content := t.in[:length]
		t.in = t.in[length:]
		return appendElement(dst, tag, content), true
	}
	var content []byte
	inner := transcoder{t.in}
	if !indefinite {
		inner.in = t.in[:length]
	}
	for !indefinite && len(inner.in) > 0 || indefinite && !inner.end() {
		if content, ok = inner.element(content, depth+1); !ok {
			return nil, false
		}
	}
	if indefinite {
		t.in = inner.in
	} else {
		t.in = t.in[length:]
	}
	if tag == 0x24 {
		tag = 0x04
		if content, ok = joined(content); !ok {
			return nil, false
		}
	}
	return appendElement(dst, tag, content), true
}

// header reads identifier and length octets; multi-byte tags do not occur in PKCS #12.
func (t *transcoder) header() (tag byte, length int, indefinite, ok bool) {
	if len(t.in) < 2 || t.in[0]&0x1F == 0x1F || t.in[0] == 0 {
		return 0, 0, false, false
	}
	tag, length = t.in[0], int(t.in[1])
	t.in = t.in[2:]
	switch {
	case length == 0x80:
		return tag, 0, true, tag&0x20 != 0
	case length > 0x84:
		return 0, 0, false, false
	case length > 0x80:
		n := length - 0x80
		if len(t.in) < n {
			return 0, 0, false, false
		}
		length = 0
		for _, b := range t.in[:n] {
			length = length<<8 | int(b)
		}
		t.in = t.in[n:]
	}
	return tag, length, false, length >= 0 && length <= len(t.in)
}

// end takes the two octets that end an indefinite length.
func (t *transcoder) end() bool {
	if len(t.in) < 2 || t.in[0] != 0 || t.in[1] != 0 {
		return false
	}
	t.in = t.in[2:]
	return true
}

// joined puts the pieces of a constructed octet string together.
func joined(pieces []byte) ([]byte, bool) {
	var out []byte
	for s := cryptobyte.String(pieces); !s.Empty(); {
		var piece cryptobyte.String
		if !s.ReadASN1(&piece, 0x04) {
			return nil, false
		}
		out = append(out, piece...)
	}
	return out, true
}

func appendElement(dst []byte, tag byte, content []byte) []byte {
	dst = append(dst, tag)
	switch n := len(content); {
	case n < 0x80:
		dst = append(dst, byte(n))
	case n < 1<<8:
		dst = append(dst, 0x81, byte(n))
	case n < 1<<16:
		dst = append(dst, 0x82, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(dst, content...)
}
