package shep

import (
	"bytes"
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
	els := children(holder)
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
	inner := children(el)
	var d Data
	var err error
	switch {
	case len(inner) == 0:
		if text := bytes.TrimLeft(el.AppendText(nil), " \t\r\n"); len(text) > 0 {
			d = Data{FormString, text}
		}
	case el.HasText():
		r.wrong(el, "mixes text and elements")
	case len(inner) == 1 && !typed(el):
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

// standalone makes a document of an element inside one. The result is scanned again, so it is
// well-formed by itself.
func standalone(el xmlsig.Element) ([]byte, error) {
	out := el.Standalone()
	again, err := xmlsig.Scan(out, limits(len(out)))
	if err != nil {
		return nil, gateway.Errorf(gateway.DocumentMalformed, "shep: the business data is no document of its own: %w", err)
	}
	again.Release()
	return out, nil
}

// typed reports whether el says by xsi:type what it holds. Type xs:anyType says nothing: it is
// what every element has.
func typed(el xmlsig.Element) bool {
	name, ok := el.Attr(nsXSI, "type")
	if !ok {
		return false
	}
	prefix, local, qualified := strings.Cut(strings.TrimSpace(name), ":")
	if !qualified {
		prefix, local = "", prefix
	}
	uri, _ := el.LookupPrefix(prefix)
	return local != "anyType" || uri != nsXSD
}
