package xmlsig

import (
	"bytes"

	"egov-gateway/gateway"
)

// refersTo requires that id names element target and nothing else in the document. The id
// stands in an unprefixed Id, ID or id, or in the attribute Id of namespace space if that is
// not "". Every attribute that some software takes for an id counts, whatever its prefix.
func (v *verifier) refersTo(reference int32, id []byte, target int32, space string) error {
	found, right := v.places(id, target, space)
	switch {
	case found > 1:
		return v.fail(gateway.SignatureIDAmbiguous, reference, "the referenced Id stands in more than one place")
	case found == 1 && right:
		return nil
	case found == 1 && v.idIsPrefixed(id):
		return v.fail(gateway.SignatureIDAmbiguous, reference, "the referenced Id stands in an attribute of another namespace")
	}
	return v.fail(gateway.SignatureReference, reference, "the reference does not name the element that must be signed")
}

// places counts where the id stands; right says that target has it as it should.
func (v *verifier) places(id []byte, target int32, space string) (found int, right bool) {
	t, src := v.d.tape, v.d.src
	e, end := &t.elements[target], t.attrEnd(target)
	for i := range t.attrs {
		a := &t.attrs[i]
		local := src[a.local:a.stop]
		if len(local) != 2 || !bytes.EqualFold(local, []byte("id")) {
			continue
		}
		value := src[a.value:a.valueEnd]
		if a.flags&flagPlain == 0 {
			v.text = appendValue(v.text[:0], value)
			value = v.text
		}
		// An id of type ID is normalised further by a validating parser (XML 1.0 §3.3.3).
		if !bytes.Equal(bytes.Trim(value, " "), id) {
			continue
		}
		found++
		if int32(i) < e.attr || int32(i) >= end {
			continue
		}
		if a.prefix == noPrefix {
			right = right || string(local) != "iD"
		} else if space != "" && string(t.spaces.items[a.space]) == space {
			right = right || string(local) == "Id"
		}
		if len(value) != len(id) {
			right = false
		}
	}
	return found, right
}

// idIsPrefixed tells of the one attribute with value id whether it has a prefix.
func (v *verifier) idIsPrefixed(id []byte) bool {
	for i := range v.d.tape.attrs {
		a := &v.d.tape.attrs[i]
		if a.prefix != noPrefix && bytes.EqualFold(v.d.src[a.local:a.stop], []byte("id")) && bytes.Equal(bytes.Trim(v.d.attrValue(a), " "), id) {
			return true
		}
	}
	return false
}
