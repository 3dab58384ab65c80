package xmlsig

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"egov-gateway/gateway"
)

// wsse puts the signature into a new wsse:Security header and makes sure that the Body has an Id.
func (t *template) wsse(d *Document) error {
	v := verifier{d: d}
	body, header, err := v.envelope()
	if err != nil {
		return err
	}
	for n := range d.tape.elements {
		if d.is(int32(n), wsseURI, "Security") {
			return v.fail(gateway.SignatureMultiple, int32(n), "the message has a wsse:Security header already")
		}
	}
	for _, n := range v.signatures() {
		if n < body {
			return v.fail(gateway.SignatureMultiple, n, "a signature outside the Body")
		}
	}
	t.body = true
	var bodyAttr string
	if t.bodyID, bodyAttr, err = bodyID(d, body); err != nil {
		return err
	}
	root := &d.tape.elements[0]
	soap := string(d.src[d.tape.name(0):d.tape.local(0)]) // prefix with its colon, or nothing
	understand := ` ` + soap + `mustUnderstand="1"`
	if soap == "" {
		p := freePrefix(d, "soap")
		understand = ` xmlns:` + p + `="` + string(d.tape.spaces.items[root.space]) + `" ` + p + `:mustUnderstand="1"`
	}
	open := `<wsse:Security xmlns:wsse="` + wsseURI + `"` + understand + `>`
	const end = `</wsse:Security>`

	e := &d.tape.elements[body]
	start := d.tape.tokens[e.first]
	fromBody := append(bytes.Clone(d.src[start.pos:e.stop]), bodyAttr...)
	fromBody = append(fromBody, d.src[e.stop:]...)
	if header < 0 {
		t.before = append(bytes.Clone(d.src[:start.pos]), `<`+soap+`Header>`+open...)
		t.after = append([]byte(end+`</`+soap+`Header>`), fromBody...)
	} else {
		before, after := inside(d, header)
		after = after[:len(after)-len(d.src[start.pos:])]
		t.before = append(before, open...)
		t.after = append(append([]byte(end), after...), fromBody...)
	}
	return nil
}

// bodyID returns the Id of the Body, and the attribute to add if it has none yet.
func bodyID(d *Document, body int32) (id, attr string, err error) {
	e := Element{d, body + 1}
	for _, space := range []string{wsuURI, ""} {
		if id, ok := e.Attr(space, "Id"); ok {
			return id, "", nil
		}
	}
	var u [16]byte
	if _, err := rand.Read(u[:]); err != nil {
		return "", "", gateway.Errorf(gateway.Internal, "make an Id: %w", err)
	}
	u[6], u[8] = u[6]&0x0F|0x40, u[8]&0x3F|0x80 // RFC 9562 §5.4
	id = fmt.Sprintf("id-%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	p := freePrefix(d, "wsu")
	return id, ` xmlns:` + p + `="` + wsuURI + `" ` + p + `:Id="` + id + `"`, nil
}

// freePrefix returns a prefix that the document declares nowhere.
func freePrefix(d *Document, want string) string {
	p := want
	for i := 1; d.tape.prefixes.find([]byte(p)) >= 0; i++ {
		p = fmt.Sprintf("%s%d", want, i)
	}
	return p
}
