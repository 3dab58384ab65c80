package xmlsig

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A Layout is how a signature is written; it changes no verdict.
type Layout int

const (
	// LayoutCompact has no white space, as portals expect that drop white space nodes.
	LayoutCompact Layout = iota
	// LayoutKalkan has a line for each tag and base64 wrapped at 76 digits with &#13;, as the
	// official library writes it.
	LayoutKalkan
)

// SignOptions say what [Sign] makes.
type SignOptions struct {
	Profile Profile // "" means ProfileDocument
	Layout  Layout
}

// Sign adds a signature to doc and leaves every other byte as it is: as last child of the
// root element, or for [ProfileWSSE] in the header of a SOAP message, over its Body, which gets
// a wsu:Id if it has none. [ProfileCoSigned] adds to the signatures that are there.
//
// What was signed is verified by [Verify] before it is returned. The error carries the reason
// for which doc cannot be signed, or [gateway.Internal] when the key fails.
func Sign(doc []byte, k *Key, o SignOptions) ([]byte, error) {
	by := k.now.Load()
	m, digestURI, err := by.methods()
	if err != nil {
		return nil, err
	}
	limits := Limits{MaxBytes: 1 << 30}
	d, err := Scan(doc, limits)
	if err != nil {
		return nil, err
	}
	defer d.Release()
	t := template{layout: o.Layout, method: m.name(), digest: digestURI, cert: by.cert.Raw}
	switch o.Profile {
	case ProfileDocument, "":
		o.Profile = ProfileDocument
		err = t.enveloped(d, 0)
	case ProfileCoSigned:
		err = t.enveloped(d, maxSignatures-1)
	case ProfileWSSE:
		err = t.wsse(d)
	default:
		err = gateway.Errorf(gateway.ConfigInvalid, "no such signature profile")
	}
	if err != nil {
		return nil, err
	}
	if t.digestValue, err = t.reference(d, limits, m.hash); err != nil {
		return nil, err
	}
	sum, err := t.info(d, limits, m.hash)
	if err != nil {
		return nil, err
	}
	if t.signatureValue, err = by.sign(m, sum); err != nil {
		return nil, gateway.Errorf(gateway.Internal, "sign: %w", err)
	}
	out := t.build()
	var known *own
	if o.Profile == ProfileDocument && m.hash != trust.SHA256 {
		known = &own{t.contentSHA256, t.digestValue}
	}
	s, err := verify(out, Options{Profile: o.Profile, Limits: limits, Certificates: by.own, AllowGOST2004: m.kind == trust.GOST2004}, known)
	if err != nil {
		return nil, err
	}
	s.Release()
	return out, nil
}

// A template is a document with the places where the signature's parts go.
type template struct {
	layout         Layout
	before, after  []byte // the document around the signature
	signature      int    // number of Signature elements before the new one
	body           bool   // the Body is signed, with bodyID
	bodyID         string
	method, digest string
	cert           []byte

	digestValue, signatureValue []byte
	contentSHA256               [sha256.Size]byte // of what digestValue is the digest of; set where [own] is used
}

// enveloped puts the signature before the end tag of the root element.
func (t *template) enveloped(d *Document, others int) error {
	v := verifier{d: d}
	sigs := v.signatures()
	if len(sigs) > others {
		return v.fail(gateway.SignatureMultiple, sigs[0], "the document is signed already")
	}
	t.signature = len(sigs)
	t.before, t.after = inside(d, 0)
	return nil
}

// inside splits the document before the end tag of element n, giving <a/> an end tag.
func inside(d *Document, n int32) (before, after []byte) {
	e := &d.tape.elements[n]
	tok := d.tape.tokens[e.last]
	if e.last != e.first {
		return bytes.Clone(d.src[:tok.pos]), bytes.Clone(d.src[tok.pos:])
	}
	before = append(bytes.Clone(d.src[:tok.end-2]), '>')
	after = append([]byte("</"), d.src[d.tape.name(n):e.stop]...)
	after = append(after, '>')
	return before, append(after, d.src[tok.end:]...)
}

// reference digests what the reference names. Of an enveloped signature that is the document as
// it was without it; the Body of a message is only there once the template is built.
func (t *template) reference(d *Document, l Limits, hash trust.Hash) ([]byte, error) {
	h := hash.New()
	if h == nil {
		return nil, gateway.Errorf(gateway.SignatureAlgorithm, "this build cannot compute the digest of %s", t.method)
	}
	if !t.body {
		v := verifier{d: d}
		v.c.out.left = canonicalRoom(len(d.src), 1)
		if hash == trust.SHA256 { // verification computes it in any case
			err := v.c.document(d, c14n{kind: inclusive10}, nil, h, nil)
			return h.Sum(nil), err
		}
		content := sha256.New()
		err := v.c.document(d, c14n{kind: inclusive10}, nil, h, content)
		content.Sum(t.contentSHA256[:0])
		return h.Sum(nil), err
	}
	built, err := Scan(t.build(), l)
	if err != nil {
		return nil, err
	}
	defer built.Release()
	v := verifier{d: built}
	body, _, err := v.envelope()
	if err != nil {
		return nil, err
	}
	v.c.out.left = canonicalRoom(len(built.src), 1)
	err = v.c.subtree(built, body, c14n{kind: exclusive}, h, nil)
	return h.Sum(nil), err
}

// info digests the SignedInfo. Canonical, it carries what it inherits from the elements around it:
// of an enveloped signature that is the root's start tag, whatever else the document holds.
func (t *template) info(d *Document, l Limits, hash trust.Hash) ([]byte, error) {
	around := *t
	if !t.body {
		around.before, around.after = shell(d)
		around.signature = 0
	}
	built, err := Scan(around.build(), l)
	if err != nil {
		return nil, err
	}
	defer built.Release()
	v := verifier{d: built}
	var buf [3]int32
	kids, err := v.children(v.signatures()[around.signature], buf[:0])
	if err != nil {
		return nil, err
	}
	h := hash.New()
	v.c.out.left = canonicalRoom(len(built.src), 1)
	err = v.c.subtree(built, kids[0], c14n{kind: t.infoC14N()}, h, nil)
	return h.Sum(nil), err
}

// shell is the root element without its content.
func shell(d *Document) (start, end []byte) {
	e := &d.tape.elements[0]
	tok := d.tape.tokens[e.first]
	start = bytes.Clone(d.src[tok.pos:tok.end])
	if e.last == e.first {
		start = append(start[:len(start)-2], '>')
	}
	return start, []byte("</" + string(d.src[d.tape.name(0):e.stop]) + ">")
}

func (t *template) infoC14N() c14nKind {
	if t.body {
		return exclusive
	}
	return inclusive10
}

// build writes the document with the values known so far.
func (t *template) build() []byte {
	var b bytes.Buffer
	b.Grow(len(t.before) + len(t.after) + 2*len(t.cert) + 4096)
	b.Write(t.before)
	line := func(s ...string) {
		for _, s := range s {
			b.WriteString(s)
		}
		if t.layout == LayoutKalkan {
			b.WriteByte('\n')
		}
	}
	c14n, uri, transforms := C14N10, "", []string{Enveloped, C14N10Comments}
	if t.body {
		c14n, uri, transforms = ExcC14N, "#"+t.bodyID, []string{ExcC14N}
	}
	line(`<ds:Signature xmlns:ds="`, dsigURI, `">`)
	line(`<ds:SignedInfo>`)
	line(`<ds:CanonicalizationMethod Algorithm="`, c14n, `"/>`)
	line(`<ds:SignatureMethod Algorithm="`, t.method, `"/>`)
	line(`<ds:Reference URI="`, string(appendEscapedValue(nil, []byte(uri))), `">`)
	line(`<ds:Transforms>`)
	for _, x := range transforms {
		line(`<ds:Transform Algorithm="`, x, `"/>`)
	}
	line(`</ds:Transforms>`)
	line(`<ds:DigestMethod Algorithm="`, t.digest, `"/>`)
	line(`<ds:DigestValue>`, t.base64(t.digestValue), `</ds:DigestValue>`)
	line(`</ds:Reference>`)
	line(`</ds:SignedInfo>`)
	line(`<ds:SignatureValue>`, t.block(t.signatureValue), `</ds:SignatureValue>`)
	line(`<ds:KeyInfo>`)
	if t.body {
		line(`<wsse:SecurityTokenReference><wsse:KeyIdentifier EncodingType="`, base64Encoding, `" ValueType="`, x509v3Type, `">`,
			base64.StdEncoding.EncodeToString(t.cert), `</wsse:KeyIdentifier></wsse:SecurityTokenReference>`)
	} else {
		line(`<ds:X509Data>`)
		line(`<ds:X509Certificate>`, t.block(t.cert), `</ds:X509Certificate>`)
		line(`</ds:X509Data>`)
	}
	line(`</ds:KeyInfo>`)
	b.WriteString(`</ds:Signature>`)
	b.Write(t.after)
	return b.Bytes()
}

// base64 encodes b, in lines of 76 digits in the layout of the official library.
func (t *template) base64(b []byte) string {
	s := base64.StdEncoding.EncodeToString(b)
	if t.layout != LayoutKalkan {
		return s
	}
	var out strings.Builder
	for len(s) > 76 {
		out.WriteString(s[:76] + "&#13;\n")
		s = s[76:]
	}
	return out.String() + s
}

// block is base64 on lines of its own.
func (t *template) block(b []byte) string {
	if t.layout != LayoutKalkan {
		return t.base64(b)
	}
	return "\n" + t.base64(b) + "\n"
}
