package shep

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// A Writer writes an XML document in which every text and every attribute value is escaped.
// Names are the program's own and are written as they are. The zero value is ready; it is not
// safe for concurrent use.
type Writer struct {
	b    bytes.Buffer
	open []string
	err  error
}

// Start opens an element; attrs are names and values in turn.
func (w *Writer) Start(name string, attrs ...string) {
	w.b.WriteByte('<')
	w.b.WriteString(name)
	for i := 0; i+1 < len(attrs); i += 2 {
		w.b.WriteByte(' ')
		w.b.WriteString(attrs[i])
		w.b.WriteString(`="`)
		w.escape(attrs[i+1], true)
		w.b.WriteByte('"')
	}
	w.b.WriteByte('>')
	w.open = append(w.open, name)
}

// End closes the element opened last.
func (w *Writer) End() {
	if len(w.open) == 0 {
		w.fail("an element is closed that was never opened")
		return
	}
	last := len(w.open) - 1
	w.b.WriteString("</")
	w.b.WriteString(w.open[last])
	w.b.WriteByte('>')
	w.open = w.open[:last]
}

// Text writes character data.
func (w *Writer) Text(s string) { w.escape(s, false) }

// Leaf writes an element that holds only text.
func (w *Writer) Leaf(name, text string, attrs ...string) {
	w.Start(name, attrs...)
	w.Text(text)
	w.End()
}

// Optional is [Writer.Leaf] unless text is empty.
func (w *Writer) Optional(name, text string) {
	if text != "" {
		w.Leaf(name, text)
	}
}

// element writes bytes that were scanned as one complete element.
func (w *Writer) element(src []byte) { w.b.Write(src) }

// Bytes returns the document. The error tells of an element left open, or of a character that
// XML 1.0 cannot hold; it does not show the text.
func (w *Writer) Bytes() ([]byte, error) {
	if w.err == nil && len(w.open) > 0 {
		w.fail("an element was left open")
	}
	if w.err != nil {
		return nil, w.err
	}
	return w.b.Bytes(), nil
}

func (w *Writer) fail(s string) {
	if w.err == nil {
		w.err = errors.New("shep: " + s)
	}
}

func (w *Writer) escape(s string, attribute bool) {
	last := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		to := ""
		switch {
		case r == '&':
			to = "&amp;"
		case r == '<':
			to = "&lt;"
		case r == '>':
			to = "&gt;"
		case r == '"':
			to = "&quot;"
		case r == '\'':
			to = "&apos;"
		case r == '\r':
			to = "&#xD;"
		case r == '\n' && attribute:
			to = "&#xA;"
		case r == '\t' && attribute:
			to = "&#x9;"
		case r == utf8.RuneError && n == 1, r < ' ' && r != '\n' && r != '\t', r == 0xFFFE, r == 0xFFFF:
			w.fail("a text holds a character that XML cannot")
		}
		if to != "" {
			w.b.WriteString(s[last:i])
			w.b.WriteString(to)
			last = i + n
		}
		i += n
	}
	w.b.WriteString(s[last:])
}
