package xmlsig

import (
	"bytes"
	"io"

	"egov-gateway/gateway"
)

// An output takes canonical bytes: runs of the source as they are, and short rewritten pieces
// between them. Neighbouring runs become one write.
type output struct {
	w, also  io.Writer // also may be nil
	src      []byte
	run, end int32  // pending run of the source
	buf      []byte // pending rewritten bytes, before the run
	left     int    // bytes that may still be written; below zero nothing is
}

// canonicalTimes bounds canonical bytes by the document's. Exclusive canonicalisation can write a
// declaration again for every element, so that a document of 64 KiB has a form of half a gigabyte;
// forms of real documents are at most 1.2 times as long, and one of
// nothing but <a/> 1.75 times.
const canonicalTimes = 3

// canonicalRoom is how many canonical bytes a document may have: for every signature what it
// refers to and its SignedInfo together. One signature is looked at only if the one before was right.
func canonicalRoom(doc, signatures int) int { return signatures * (canonicalTimes*doc + 4096) }

// err tells of a canonical form that was not written to its end.
func (o *output) err() error {
	if o.left >= 0 {
		return nil
	}
	return gateway.Errorf(gateway.DocumentLimit, "the canonical form is more than %d times as long as the document", canonicalTimes)
}

const (
	outputBuffer = 4096
	shortRun     = 128 // copied instead of written on its own
)

func (o *output) reset(w, also io.Writer, src []byte) {
	o.w, o.also, o.src, o.run, o.end, o.buf = w, also, src, 0, 0, o.buf[:0]
}

func (o *output) raw(pos, end int32) {
	if pos != o.end {
		o.flushRun()
		o.run = pos
	}
	o.end = end
}

func (o *output) flushRun() {
	if run := o.src[o.run:o.end]; len(run) < shortRun {
		o.buf = append(o.buf, run...)
	} else {
		o.flushBuffer()
		o.write(run)
	}
	o.run = o.end
	if len(o.buf) >= outputBuffer {
		o.flushBuffer()
	}
}

func (o *output) flushBuffer() {
	if len(o.buf) > 0 {
		o.write(o.buf)
		o.buf = o.buf[:0]
	}
}

func (o *output) write(b []byte) {
	if o.left -= len(b); o.left < 0 {
		return
	}
	o.w.Write(b) // a hash or a buffer: neither fails
	if o.also != nil {
		o.also.Write(b)
	}
}

func (o *output) close() error {
	o.flushRun()
	o.flushBuffer()
	o.w, o.also, o.src = nil, nil, nil
	return o.err()
}

// begin ends the pending run; the caller appends to buf, or calls the methods below.
func (o *output) begin() { o.flushRun() }

// bytes appends s as it is, without copying what is long.
func (o *output) bytes(s []byte) {
	if len(o.buf)+len(s) < outputBuffer {
		o.buf = append(o.buf, s...)
		return
	}
	o.flushBuffer()
	o.write(s)
}

// escaped appends what escape makes of s, piece by piece: an escape is up to six times as long as
// its character, and the buffer stays small.
func (o *output) escaped(s []byte, escape func(dst, s []byte) []byte) {
	for len(s) > outputBuffer && o.left >= 0 {
		o.buf = escape(o.buf, s[:outputBuffer])
		o.flushBuffer()
		s = s[outputBuffer:]
	}
	if o.left < 0 {
		return
	}
	if o.buf = escape(o.buf, s); len(o.buf) >= outputBuffer {
		o.flushBuffer()
	}
}

// decoded appends what escape makes of what decode makes of raw, by way of scratch, piece by piece.
func (o *output) decoded(
	raw, scratch []byte, references bool, decode, escape func(dst, s []byte) []byte,
) []byte {
	for len(raw) > 0 && o.left >= 0 {
		n := piece(raw, references)
		scratch = decode(scratch[:0], raw[:n])
		if o.buf = escape(o.buf, scratch); len(o.buf) >= outputBuffer {
			o.flushBuffer()
		}
		raw = raw[n:]
	}
	return scratch
}

// piece returns where to cut raw, so that neither a reference nor CR LF is cut in two.
func piece(raw []byte, references bool) int {
	n := outputBuffer
	if len(raw) <= n {
		return len(raw)
	}
	if i := bytes.LastIndexByte(raw[:n], '&'); references && i >= 0 && bytes.IndexByte(raw[i:n], ';') < 0 {
		if i > 0 {
			return i
		}
		if end := bytes.IndexByte(raw, ';'); end >= 0 {
			n = end + 1
		}
	}
	if n < len(raw) && raw[n-1] == '\r' && raw[n] == '\n' {
		n++
	}
	return n
}

// verbatim is the escape of what needs none.
func verbatim(dst, s []byte) []byte { return append(dst, s...) }

// Escapes of Canonical XML 1.0 §2.3, for decoded values.

func appendEscapedText(dst, s []byte) []byte {
	for _, c := range s {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '\r':
			dst = append(dst, "&#xD;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func appendEscapedValue(dst, s []byte) []byte {
	for _, c := range s {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '"':
			dst = append(dst, "&quot;"...)
		case '\t':
			dst = append(dst, "&#x9;"...)
		case '\n':
			dst = append(dst, "&#xA;"...)
		case '\r':
			dst = append(dst, "&#xD;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
