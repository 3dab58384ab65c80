package xmlsig

import (
	"bytes"
	"fmt"
)

// suspect looks for the first construct that is known to break digests. None of them is wrong.
// An XML declaration and indentation stand in nearly every document: they are named only when
// there is nothing else.
func (e *explainer) suspect() string {
	d, t := e.v.d, e.v.d.tape
	at := func(pos int, what string) string { return fmt.Sprintf("line %d: %s", lineOf(e.doc, pos), what) }
	if bytes.HasPrefix(e.doc, []byte(byteOrderMark)) {
		return at(0, "a byte order mark, which canonical XML does not have")
	}
	sigs := e.v.signatures()
	indentation := int32(-1)
	for i := int32(0); i < int32(len(t.tokens)); i++ {
		for len(sigs) > 0 && t.elements[sigs[0]].first < i {
			sigs = sigs[1:]
		}
		if len(sigs) > 0 && i == t.elements[sigs[0]].first {
			i = t.elements[sigs[0]].last
			continue
		}
		tok := t.tokens[i]
		if what, offset := e.suspectToken(tok); what != "" {
			return at(int(tok.pos)+offset, what)
		}
		if indentation < 0 && d.indents(tok) && bytes.IndexByte(e.doc[tok.pos:tok.end], '\n') >= 0 {
			indentation = tok.pos
		}
	}
	switch {
	case bytes.HasPrefix(e.doc, []byte("<?xml")):
		return at(0, "the XML declaration, which canonical XML does not have")
	case indentation >= 0:
		return at(int(indentation), "white space between elements: was the document indented after it was signed?")
	}
	return ""
}

func (e *explainer) suspectToken(tok token) (what string, offset int) {
	raw := e.doc[tok.pos:tok.end]
	switch tok.kind() {
	case startToken:
		return e.suspectTag(tok), 0
	case cdataToken:
		return "a CDATA section, which canonical XML writes as text", 0
	case commentToken:
		return "a comment, which a reference inside the document leaves out", 0
	case textToken:
		switch n := bytes.IndexByte(raw, '\r'); {
		case n >= 0:
			return "CR LF or CR at the end of a line, which a reader of XML turns into LF", n
		case tok.flags()&flagPlain == 0 && bytes.IndexByte(appendText(nil, raw), '\r') >= 0:
			return "a carriage return written as a reference (&#13;), which canonical XML keeps", 0
		case tok.flags()&flagClean == 0:
			return "a character that canonical XML writes in another way", 0
		}
	}
	return "", 0
}

func (e *explainer) suspectTag(tok token) string {
	t := e.v.d.tape
	n := tok.elem()
	el := &t.elements[n]
	for i, end := el.decl, t.declEnd(n); i < end; i++ {
		switch d := &t.decls[i]; {
		case d.uri == noSpace:
			return "a default namespace that is taken back (xmlns=\"\")"
		case d.outer >= 0 && t.decls[d.outer].uri == d.uri:
			return "a namespace declaration that repeats the one in force, which canonical XML leaves out"
		case !e.uses(d.prefix):
			return "a namespace declaration that no name uses (" + declarationName(string(t.prefixes.items[d.prefix])) + "): exclusive canonicalization leaves it out, the others keep it"
		}
	}
	for _, a := range t.attrs[el.attr:t.attrEnd(n)] {
		switch value := e.doc[a.value:a.valueEnd]; {
		case bytes.ContainsAny(value, "\t\r\n"):
			return "TAB or the end of a line in an attribute, which a reader of XML turns into a space"
		case a.flags&flagClean == 0:
			return "an attribute with a character that canonical XML writes in another way"
		}
	}
	return ""
}

// uses reports whether any name of the document has the prefix.
func (e *explainer) uses(prefix int32) bool {
	if e.used == nil {
		t := e.v.d.tape
		e.used = make([]bool, len(t.prefixes.items))
		for i := range t.elements {
			e.used[t.elements[i].prefix] = true
		}
		for i := range t.attrs {
			if p := t.attrs[i].prefix; p != noPrefix { // no default namespace for attributes
				e.used[p] = true
			}
		}
	}
	return e.used[prefix]
}
