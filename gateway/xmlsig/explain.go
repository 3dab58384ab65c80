package xmlsig

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// An Explanation answers "why is my digest different?" for one reference. It quotes nothing of
// the document.
type Explanation struct {
	Line             int    // where the Reference stands
	Digest           string // name of the digest method
	Canonicalization string // name of the method, as it was applied: without comments
	Length           int    // of the canonical content in bytes
	SHA256           [sha256.Size]byte
	Stated, Computed []byte // the digest in the reference, and that of the canonical content

	// Cause is a change after which the stated digest is right: what happened to the document
	// since it was signed, or how its signer strays from the standard. "" when none was found.
	Cause string
	// Suspect is the first construct, in document order, that often breaks digests; "" when
	// there is none, which means that the content itself was changed.
	Suspect string
}

// String writes the explanation for a person at a terminal, in several lines.
func (x *Explanation) String() string {
	var b bytes.Buffer
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-18s "+format+"\n", append([]any{name}, args...)...)
	}
	fmt.Fprintf(&b, "line %d: the digest of the signed content is not the stated one\n", x.Line)
	row("digest method", "%s", x.Digest)
	row("canonicalization", "%s", x.Canonicalization)
	row("canonical content", "%d bytes, SHA-256 %x", x.Length, x.SHA256)
	row("stated digest", "%s", base64.StdEncoding.EncodeToString(x.Stated))
	row("computed digest", "%s", base64.StdEncoding.EncodeToString(x.Computed))
	switch {
	case x.Cause != "":
		row("cause", "%s", x.Cause)
	case x.Suspect != "":
		row("first suspect", "%s", x.Suspect)
	default:
		row("first suspect", "none: the content itself was changed after it was signed")
	}
	return b.String()
}

// A trace is what an explanation needs of a verification that failed.
type trace struct {
	p    parts
	omit []int32 // nil in profile wsse
	body int32
}

// Explain verifies as [Verify] does. For a document that fails with [gateway.DigestMismatch] it
// says how the digest was computed and tries to say why it differs; otherwise the explanation
// is nil. The error is Verify's.
func Explain(doc []byte, o Options) (*Explanation, error) {
	s, err := Verify(doc, o)
	if err == nil {
		s.Release()
		return nil, nil
	}
	if gateway.ReasonOf(err) != gateway.DigestMismatch {
		return nil, err
	}
	d, scanErr := Scan(doc, o.Limits)
	if scanErr != nil {
		return nil, scanErr
	}
	defer d.Release()
	e := explainer{v: verifier{d: d, o: o, trace: new(trace)}, doc: doc}
	if err := e.v.profile(new(Signed)); gateway.ReasonOf(err) != gateway.DigestMismatch {
		return nil, err
	}
	return e.explain(), err
}

type explainer struct {
	v    verifier
	doc  []byte
	used []bool // by prefix number, once it was asked for
}

func (e *explainer) explain() *Explanation {
	t := e.v.trace
	var content bytes.Buffer
	e.canonical(t.p.c14n, &content) // which was digested, so it is not too long
	x := &Explanation{
		Line:   lineOf(e.doc, int(e.v.d.tape.name(t.p.reference))),
		Digest: digestName(t.p.digest), Canonicalization: t.p.c14n.name(),
		Length: content.Len(), SHA256: sha256.Sum256(content.Bytes()),
		Stated: bytes.Clone(e.v.digest), Computed: bytes.Clone(e.v.sum),
	}
	x.Cause = e.cause()
	x.Suspect = e.suspect()
	return x
}

func (e *explainer) canonical(m c14n, w io.Writer) error {
	e.v.c.out.left = canonicalRoom(len(e.doc), 1)
	if t := e.v.trace; t.omit != nil {
		return e.v.c.document(e.v.d, m, t.omit, w, nil)
	}
	return e.v.c.subtree(e.v.d, e.v.trace.body, m, w, nil)
}

// isStated reports whether what write writes has the stated digest.
func (e *explainer) isStated(write func(w io.Writer) error) bool {
	h := e.v.trace.p.digest.New()
	return write(h) == nil && bytes.Equal(h.Sum(nil), e.v.digest)
}

// cause tries what is known to happen to signed documents.
func (e *explainer) cause() string {
	t, root := e.v.trace, &e.v.d.tape.elements[0]
	for i, end := root.decl, e.v.d.tape.declEnd(0); i < end; i++ {
		prefix := string(e.v.d.tape.prefixes.items[e.v.d.tape.decls[i].prefix])
		if edited := e.undeclare(prefix); edited != nil && e.holds(edited) {
			return "the root element's declaration " + declarationName(prefix) + " was added after signing, or the signer canonicalized as if it were not there"
		}
	}
	for _, kind := range []c14nKind{inclusive10, inclusive11, exclusive} {
		for _, comments := range []bool{false, true} {
			m := c14n{kind: kind, comments: comments}
			if !e.isStated(func(w io.Writer) error { return e.canonical(m, w) }) {
				continue
			}
			if comments && kind == t.p.c14n.kind {
				return "the signer digested the comments too; a reference inside the document leaves them out (XML Signature 1.1 §4.4.3.3)"
			}
			if m.name() == t.p.c14n.name() {
				return "the signer canonicalized without the PrefixList that the reference names"
			}
			return "the signer canonicalized with " + m.name() + ", not with the method that the reference names"
		}
	}
	if t.omit != nil {
		if cause := e.rawCause(); cause != "" {
			return cause
		}
	}
	for _, h := range e.hypotheses() {
		if edited := h.edit(); edited != nil && e.holds(edited) {
			return h.name
		}
	}
	return ""
}

// rawCause finds a signer who digested bytes instead of canonical XML.
func (e *explainer) rawCause() string {
	tokens, sig := e.v.d.tape.tokens, e.v.d.tape.elements[e.v.trace.omit[0]]
	before, after := e.doc[:tokens[sig.first].pos], e.doc[tokens[sig.last].end:]
	start, mark := int(tokens[0].pos), 0
	if bytes.HasPrefix(e.doc, []byte(byteOrderMark)) {
		mark = len(byteOrderMark)
	}
	for _, c := range []struct {
		from int
		name string
	}{
		{start, "the signer digested the bytes of the document as they stand, without canonicalizing them"},
		{mark, "the signer digested the bytes of the file as they stand, XML declaration included, without canonicalizing them"},
		{0, "the signer digested the bytes of the file as they stand, byte order mark included, without canonicalizing them"},
	} {
		for _, tail := range [][]byte{after, bytes.TrimRight(after, " \t\r\n")} {
			if e.isStated(func(w io.Writer) error {
				w.Write(before[c.from:]) // a hash, which does not fail
				_, err := w.Write(tail)
				return err
			}) {
				return c.name
			}
		}
	}
	return ""
}

const byteOrderMark = "\xEF\xBB\xBF"

// holds reports whether the stated digest is right for an edited document.
func (e *explainer) holds(doc []byte) bool {
	o := e.v.o
	o.Limits.MaxBytes = max(o.Limits.MaxBytes, 2*len(doc)+DefaultMaxBytes)
	s, err := Verify(doc, o)
	if err == nil {
		s.Release()
	}
	return err == nil
}

type hypothesis struct {
	name string
	edit func() []byte // nil when there is nothing to edit
}

func (e *explainer) hypotheses() []hypothesis {
	d := e.v.d
	t := d.tape
	beside := func(before, after bool) func() []byte {
		return func() []byte {
			return e.edit(func(dst []byte, i int32, tok token) []byte {
				for _, n := range e.v.trace.omit {
					if tok.kind() == textToken && tok.flags()&flagWhite != 0 && (before && i+1 == t.elements[n].first || after && i-1 == t.elements[n].last) {
						return dst
					}
				}
				return append(dst, d.src[tok.pos:tok.end]...)
			})
		}
	}
	text := func(change func(raw []byte) []byte) func() []byte {
		return func() []byte {
			return e.edit(func(dst []byte, _ int32, tok token) []byte {
				raw := d.src[tok.pos:tok.end]
				if tok.kind() == textToken {
					raw = change(raw)
				}
				return append(dst, raw...)
			})
		}
	}
	return []hypothesis{
		{"white space before the signature was added after signing", beside(true, false)},
		{"white space behind the signature was added after signing", beside(false, true)},
		{"white space around the signature was added after signing", beside(true, true)},
		{"the document was indented after signing: without the white space between its elements the digest is right", func() []byte {
			return e.edit(func(dst []byte, _ int32, tok token) []byte {
				if d.indents(tok) {
					return dst
				}
				return append(dst, d.src[tok.pos:tok.end]...)
			})
		}},
		{"white space around the text of fields was added after signing", text(func(raw []byte) []byte { return bytes.Trim(raw, " \t\r\n") })},
		{"carriage returns (&#13;) were added after signing: without them the digest is right", text(func(raw []byte) []byte {
			for _, cr := range []string{"&#13;", "&#xD;", "&#xd;", "&#x0D;"} {
				raw = bytes.ReplaceAll(raw, []byte(cr), nil)
			}
			return raw
		})},
		{"the signer digested CR LF at the ends of lines, which a reader of XML turns into LF (XML 1.0 §2.11)", text(func(raw []byte) []byte {
			raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
			return bytes.ReplaceAll(raw, []byte("\n"), []byte("&#13;\n"))
		})},
		{"the signer kept TAB or LF in an attribute, which a reader of XML turns into a space (XML 1.0 §3.3.3)", func() []byte {
			return e.edit(func(dst []byte, _ int32, tok token) []byte {
				raw := d.src[tok.pos:tok.end]
				if tok.kind() == startToken {
					el := tok.elem()
					from := tok.pos
					for _, a := range t.attrs[t.elements[el].attr:t.attrEnd(el)] {
						dst = append(dst, d.src[from:a.value]...)
						value := bytes.ReplaceAll(d.src[a.value:a.valueEnd], []byte("\t"), []byte("&#9;"))
						dst = append(dst, bytes.ReplaceAll(value, []byte("\n"), []byte("&#10;"))...)
						from = a.valueEnd
					}
					raw = d.src[from:tok.end]
				}
				return append(dst, raw...)
			})
		}},
	}
}

func declarationName(prefix string) string {
	if prefix == "" {
		return "xmlns"
	}
	return "xmlns:" + prefix
}

// edit copies the document and lets f write each token outside the signatures anew.
func (e *explainer) edit(f func(dst []byte, i int32, tok token) []byte) []byte {
	t := e.v.d.tape
	sigs := e.v.signatures()
	out := make([]byte, 0, len(e.doc))
	last := int32(0)
	for i := int32(0); i < int32(len(t.tokens)); i++ {
		tok := t.tokens[i]
		out = append(out, e.doc[last:tok.pos]...) // outside the root not everything is a token
		last = tok.end
		if len(sigs) > 0 && i == t.elements[sigs[0]].first {
			i = t.elements[sigs[0]].last
			last = t.tokens[i].end
			out = append(out, e.doc[tok.pos:last]...)
			for len(sigs) > 0 && t.elements[sigs[0]].first <= i {
				sigs = sigs[1:]
			}
			continue
		}
		out = f(out, i, tok)
	}
	out = append(out, e.doc[last:]...)
	if bytes.Equal(out, e.doc) {
		return nil
	}
	return out
}

// undeclare takes one declaration out of the root's start tag.
func (e *explainer) undeclare(prefix string) []byte {
	tok := e.v.d.tape.tokens[e.v.d.tape.elements[0].first]
	tag := e.doc[tok.pos:tok.end]
	name := []byte(declarationName(prefix))
	for at := 0; ; {
		i := bytes.Index(tag[at:], name)
		if i < 0 {
			return nil
		}
		i += at
		rest := bytes.TrimLeft(tag[i+len(name):], " \t\r\n")
		if i > 0 && isSpace(tag[i-1]) && len(rest) > 0 && rest[0] == '=' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
			end := 2 + bytes.IndexByte(rest[1:], rest[0])
			out := append(bytes.Clone(e.doc[:int(tok.pos)+i-1]), rest[end:]...)
			return append(out, e.doc[tok.end:]...)
		}
		at = i + len(name)
	}
}

// indents reports whether a token is white space between elements: not the content of a field.
func (d *Document) indents(tok token) bool {
	if tok.kind() != textToken || tok.flags()&flagWhite == 0 || tok.elem() < 0 {
		return false
	}
	e := &d.tape.elements[tok.elem()]
	return e.last != e.first+2
}

// name is the method's name in the table.
func (m c14n) name() string {
	names := [...][2]string{inclusive10: {C14N10, C14N10Comments}, inclusive11: {C14N11, C14N11Comments}, exclusive: {ExcC14N, ExcC14NComments}}
	if m.comments {
		return names[m.kind][1]
	}
	return names[m.kind][0]
}

// digestName is the digest's name in the table.
func digestName(h trust.Hash) string {
	return map[trust.Hash]string{
		trust.SHA256: DigestSHA256, trust.SHA384: DigestSHA384, trust.SHA512: DigestSHA512,
		trust.Streebog512: DigestGOST2015, trust.GOST94: DigestGOST2004,
	}[h]
}
