package shep

import (
	"bytes"
	"slices"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// data takes the business data out of requestData or responseData. Whatever its namespace, the
// only child is "data"; with children and an xsi:type it is the document itself, without a type
// its only child is, and without children its text is.
func (r *reader) data(holder xmlsig.Element) Data {
	if holder.IsZero() {
		return Data{}
	}
	els := slices.Collect(holder.Children())
	if len(els) == 0 {
		return Data{}
	}
	if len(els) > 1 || els[0].Local() != "data" || holder.HasText() {
		r.wrong(holder, "holds something else than one data element")
		return Data{}
	}
	el := els[0]
	if nilled(el) {
		return Data{}
	}
	inner := slices.Collect(el.Children())
	_, typed := el.Attr(nsXSI, "type")
	var d Data
	var err error
	switch {
	case len(inner) == 0:
		if text := bytes.TrimLeft(el.AppendText(nil), " \t\r\n"); len(text) > 0 {
			d = Data{FormString, text}
		}
	case el.HasText():
		r.wrong(el, "mixes text and elements")
	case len(inner) == 1 && !typed:
		d.Form = FormElement
		d.Document, err = standalone(inner[0])
	default:
		d.Form = FormTyped
		d.Document, err = standalone(el)
	}
	if err != nil && *r.first == nil {
		*r.first = err
	}
	return d
}

// standalone makes a document of an element inside one: its original bytes, with the namespace
// declarations it inherits written into its start tag. The result is scanned again, so it is
// well-formed by itself.
func standalone(el xmlsig.Element) ([]byte, error) {
	src := el.Source()
	name, declared := startTag(src)
	insert, seen := "", map[string]bool{"xml": true, "xmlns": true}
	for _, prefix := range declared {
		seen[prefix] = true
	}
	add := func(prefix string) {
		if seen[prefix] {
			return
		}
		seen[prefix] = true
		uri, ok := el.LookupPrefix(prefix)
		if !ok || uri == "" {
			return
		}
		var w Writer
		w.escape(uri, true)
		if prefix == "" {
			insert += ` xmlns="` + w.b.String() + `"`
			return
		}
		insert += " xmlns:" + prefix + `="` + w.b.String() + `"`
	}
	add("")
	// A prefix may stand in a name or, as in xsi:type, in a value: every token before a colon is
	// a candidate, and those that name nothing in scope are passed over.
	for i, b := range src {
		if b != ':' {
			continue
		}
		from := i
		for from > 0 && nameByte(src[from-1]) {
			from--
		}
		if from < i {
			add(string(src[from:i]))
		}
	}
	out := make([]byte, 0, len(src)+len(insert))
	out = append(append(append(out, src[:name]...), insert...), src[name:]...)
	again, err := xmlsig.Scan(out, limits(len(out)))
	if err != nil {
		return nil, gateway.Errorf(gateway.DocumentMalformed, "shep: the business data is no document of its own: %w", err)
	}
	again.Release()
	return out, nil
}

// startTag returns where the name of a well-formed element's start tag ends, and which prefixes
// the tag declares ("" for the default namespace).
func startTag(src []byte) (nameEnd int, declared []string) {
	i := 1
	for i < len(src) && nameByte(src[i]) || i < len(src) && src[i] == ':' {
		i++
	}
	nameEnd = i
	for i < len(src) && src[i] != '>' {
		if src[i] == '"' || src[i] == '\'' {
			q := src[i]
			for i++; i < len(src) && src[i] != q; i++ {
			}
			i++
			continue
		}
		if !nameByte(src[i]) {
			i++
			continue
		}
		from := i
		for i < len(src) && (nameByte(src[i]) || src[i] == ':') {
			i++
		}
		if attr := string(src[from:i]); attr == "xmlns" {
			declared = append(declared, "")
		} else if p, ok := strings.CutPrefix(attr, "xmlns:"); ok {
			declared = append(declared, p)
		}
	}
	return nameEnd, declared
}

func nameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-' || b == '.' || b >= 0x80
}
