package xmlsig

import "io"

// An output takes canonical bytes: runs of the source as they are, and short rewritten pieces
// between them. Neighbouring runs become one write.
type output struct {
	w, also  io.Writer // also may be nil
	src      []byte
	run, end int32  // pending run of the source
	buf      []byte // pending rewritten bytes, before the run
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
	o.w.Write(b) // a hash or a buffer: neither fails
	if o.also != nil {
		o.also.Write(b)
	}
}

func (o *output) close() {
	o.flushRun()
	o.flushBuffer()
	o.w, o.also, o.src = nil, nil, nil
}

// begin ends the pending run; the caller appends to buf.
func (o *output) begin() { o.flushRun() }

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
