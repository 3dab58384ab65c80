package xmlsig

import (
	"bytes"
	"slices"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// parts are what a Signature element says, after every rule that needs no cryptography.
// DigestValue and SignatureValue are decoded into the verifier.
type parts struct {
	self, info, keyInfo, reference int32
	other                          int32 // a second Reference, which [ProfileWSSE] may have; -1 for none

	algorithm string
	method    signatureMethod
	infoC14N  c14n

	uri       []byte // "" or the id, without #
	enveloped bool
	c14n      c14n // of the reference; never with comments (XML Signature 1.1 §4.4.3.3)
	digest    trust.Hash
}

// parse reads the Signature element n: SignedInfo, SignatureValue, KeyInfo and nothing else.
func (v *verifier) parse(n int32, p *parts) error {
	var buf [3]int32
	kids, err := v.children(n, buf[:0])
	if err != nil {
		return err
	}
	if err := v.allowed(n, "Id"); err != nil {
		return err
	}
	switch {
	case len(kids) < 2 || !v.ds(kids[0], "SignedInfo") || !v.ds(kids[1], "SignatureValue"):
		return v.fail(gateway.SignatureStructure, n, "a signature is SignedInfo, SignatureValue, KeyInfo")
	case len(kids) == 2:
		return v.fail(gateway.SignatureKeyInfo, n, "the signature has no KeyInfo")
	case !v.ds(kids[2], "KeyInfo"):
		return v.fail(gateway.SignatureStructure, n, "a signature is SignedInfo, SignatureValue, KeyInfo")
	}
	p.self, p.info, p.keyInfo = n, kids[0], kids[2]
	if err := v.signedInfo(p); err != nil {
		return err
	}
	if err := v.allowed(kids[1], "Id"); err != nil {
		return err
	}
	v.value, err = v.base64(v.value[:0], kids[1], maxSignatureSize)
	return err
}

func (v *verifier) signedInfo(p *parts) error {
	var buf [4]int32
	kids, more, err := v.someChildren(p.info, buf[:0])
	if err != nil {
		return err
	}
	if err := v.allowed(p.info, "Id"); err != nil {
		return err
	}
	p.other = -1
	if v.o.Profile == ProfileWSSE && len(kids) == 4 && v.ds(kids[3], "Reference") {
		if more {
			return v.fail(gateway.SignatureReference, p.info, "the signature signs more than the Body and the Timestamp")
		}
		p.other, kids = kids[3], kids[:3]
	}
	if len(kids) == 4 && v.ds(kids[3], "Reference") {
		return v.fail(gateway.SignatureStructure, kids[3], "a second Reference: the signature must be over one thing, the document")
	}
	if more {
		return v.fail(gateway.SignatureStructure, p.info, "more elements than the profile has")
	}
	if len(kids) != 3 || !v.ds(kids[0], "CanonicalizationMethod") || !v.ds(kids[1], "SignatureMethod") || !v.ds(kids[2], "Reference") {
		return v.fail(gateway.SignatureStructure, p.info, "SignedInfo is CanonicalizationMethod, SignatureMethod and exactly one Reference")
	}
	uri, err := v.algorithm(kids[0])
	if err != nil {
		return err
	}
	var ok bool
	if p.infoC14N, ok = c14nOf(uri); !ok {
		return v.fail(gateway.SignatureAlgorithm, kids[0], "a canonicalisation method outside the table")
	}
	if p.infoC14N.prefixes, err = v.prefixList(kids[0], p.infoC14N.kind, v.infoPL[:0], gateway.SignatureStructure); err != nil {
		return err
	}
	v.infoPL = p.infoC14N.prefixes[:0]
	if err := v.signatureMethod(kids[1], p); err != nil {
		return err
	}
	return v.reference(kids[2], p)
}

func (v *verifier) signatureMethod(n int32, p *parts) error {
	uri, err := v.algorithm(n)
	if err != nil {
		return err
	}
	var ok bool
	if p.method, ok = signatureMethodOf(uri); !ok {
		return v.fail(gateway.SignatureAlgorithm, n, "a signature method outside the table")
	}
	p.algorithm = p.method.name()
	if err := v.empty(n); err != nil {
		return err
	}
	if p.method.kind == trust.GOST2004 && !v.o.AllowGOST2004 {
		return v.fail(gateway.SignatureAlgorithm, n, "GOST 34.310-2004 is not allowed here")
	}
	if v.hash(p.method.hash) == nil {
		return v.fail(gateway.SignatureAlgorithm, n, "this build cannot compute the digest of the signature method "+p.algorithm)
	}
	return nil
}

func (v *verifier) reference(n int32, p *parts) error {
	p.reference, p.uri, p.enveloped, p.c14n = n, nil, false, c14n{}
	uri, ok := v.attr(n, "URI")
	if !ok {
		return v.fail(gateway.SignatureReference, n, "the reference has no URI")
	}
	if _, ok := v.attr(n, "Type"); ok {
		return v.fail(gateway.SignatureReference, n, "a typed reference")
	}
	if err := v.allowed(n, "URI", "Id"); err != nil {
		return err
	}
	if len(uri) > 0 {
		if uri[0] != '#' || !isNmtoken(uri[1:]) {
			return v.fail(gateway.SignatureReference, n, "the reference is neither the whole document nor an Id in it")
		}
		p.uri = uri[1:]
	}
	var buf [3]int32
	kids, err := v.children(n, buf[:0])
	if err != nil {
		return err
	}
	if len(kids) == 3 && v.ds(kids[0], "Transforms") {
		if err := v.transforms(kids[0], p); err != nil {
			return err
		}
		kids = kids[1:]
	}
	if len(kids) != 2 || !v.ds(kids[0], "DigestMethod") || !v.ds(kids[1], "DigestValue") {
		return v.fail(gateway.SignatureStructure, n, "Reference is Transforms, DigestMethod, DigestValue")
	}
	if uri, err = v.algorithm(kids[0]); err != nil {
		return err
	}
	if p.digest, ok = digestMethodOf(uri); !ok {
		return v.fail(gateway.SignatureAlgorithm, kids[0], "a digest method outside the table")
	}
	if err := v.empty(kids[0]); err != nil {
		return err
	}
	if !p.method.digests(p.digest) {
		return v.fail(gateway.SignatureAlgorithm, kids[0], "the digest method does not go with the signature method")
	}
	if err := v.allowed(kids[1]); err != nil {
		return err
	}
	v.digest, err = v.base64(v.digest[:0], kids[1], maxSignatureSize)
	return err
}

// transforms reads an optional enveloped-signature followed by at most one canonicalisation.
func (v *verifier) transforms(n int32, p *parts) error {
	if err := v.allowed(n); err != nil {
		return err
	}
	var buf [2]int32
	kids, more, err := v.someChildren(n, buf[:0])
	if err != nil {
		return err
	}
	if more {
		return v.fail(gateway.SignatureTransform, n, "more transforms than the profile has")
	}
	for i, k := range kids {
		if !v.ds(k, "Transform") {
			return v.fail(gateway.SignatureStructure, k, "something other than a Transform")
		}
		uri, err := v.algorithm(k)
		if err != nil {
			return err
		}
		if string(uri) == Enveloped && i == 0 {
			p.enveloped = true
			if err := v.empty(k); err != nil {
				return v.fail(gateway.SignatureTransform, k, "a parameter of enveloped-signature")
			}
			continue
		}
		var ok bool
		if p.c14n, ok = c14nOf(uri); !ok || i != len(kids)-1 {
			return v.fail(gateway.SignatureTransform, k, "a transform outside the profile, or out of its place")
		}
		if p.c14n.prefixes, err = v.prefixList(k, p.c14n.kind, v.refPL[:0], gateway.SignatureTransform); err != nil {
			return err
		}
		v.refPL = p.c14n.prefixes[:0]
		p.c14n.comments = false
	}
	return nil
}

// prefixList reads the optional InclusiveNamespaces inside a canonicalisation method; what is
// wrong with it is told with reason r.
func (v *verifier) prefixList(n int32, k c14nKind, list []int32, r gateway.Reason) ([]int32, error) {
	var buf [1]int32
	kids, more, err := v.someChildren(n, buf[:0])
	if err != nil {
		return nil, err
	}
	if len(kids) == 0 {
		return list, nil
	}
	if more || k != exclusive || !v.d.is(kids[0], excURI, "InclusiveNamespaces") {
		return nil, v.fail(r, n, "a parameter that the canonicalisation method does not have")
	}
	if err := v.empty(kids[0]); err != nil {
		return nil, err
	}
	if err := v.allowed(kids[0], "PrefixList"); err != nil {
		return nil, err
	}
	names, _ := v.attr(kids[0], "PrefixList")
	for count := 0; ; count++ {
		names = bytes.TrimLeft(names, " \t\r\n")
		if len(names) == 0 {
			return list, nil
		}
		if count == maxPrefixes {
			return nil, v.fail(r, kids[0], "too many prefixes in PrefixList")
		}
		end := bytes.IndexAny(names, " \t\r\n")
		if end < 0 {
			end = len(names)
		}
		name := names[:end]
		names = names[end:]
		if string(name) == "#default" {
			name = nil
		} else if !isNCName(name) {
			return nil, v.fail(r, kids[0], "PrefixList holds something that is no prefix")
		}
		if p := v.d.tape.prefixes.find(name); p >= 0 { // a prefix that is nowhere declared changes nothing
			list = append(list, p)
		}
	}
}

// embeddedCertificate returns the DER of the one certificate in KeyInfo/X509Data.
func (v *verifier) embeddedCertificate(n int32) ([]byte, error) {
	var buf [1]int32
	data, more, err := v.someChildren(n, buf[:0])
	if err != nil {
		return nil, err
	}
	if len(data) == 1 && !more && v.ds(data[0], "X509Data") {
		var inner [1]int32
		certs, more, err := v.someChildren(data[0], inner[:0])
		if err != nil {
			return nil, err
		}
		if len(certs) == 1 && !more && v.ds(certs[0], "X509Certificate") {
			if err := v.allowed(n, "Id"); err != nil {
				return nil, err
			}
			if err := v.allowed(data[0]); err != nil {
				return nil, err
			}
			if err := v.allowed(certs[0]); err != nil {
				return nil, err
			}
			v.der, err = v.base64(v.der[:0], certs[0], maxCertificate)
			return v.der, err
		}
	}
	return nil, v.fail(gateway.SignatureKeyInfo, n, "KeyInfo does not hold exactly one X509Certificate and nothing else")
}

// The rest reads one element strictly.

func (v *verifier) ds(n int32, local string) bool { return v.d.is(n, dsigURI, local) }

// children appends the child elements of n to buf and refuses text beside them, or more of
// them than buf has room for.
func (v *verifier) children(n int32, buf []int32) ([]int32, error) {
	kids, more, err := v.someChildren(n, buf)
	if err == nil && more {
		err = v.fail(gateway.SignatureStructure, n, "more elements than the profile has")
	}
	return kids, err
}

func (v *verifier) someChildren(n int32, buf []int32) (kids []int32, more bool, err error) {
	t, self := v.d.tape, &v.d.tape.elements[n]
	for i := self.first + 1; i < self.last; i++ {
		switch tok := t.tokens[i]; tok.kind() {
		case startToken:
			if len(buf) == cap(buf) {
				return buf, true, nil
			}
			buf = append(buf, tok.elem())
			i = t.elements[tok.elem()].last
		case textToken, cdataToken:
			if !v.d.isWhite(tok) {
				return nil, false, v.fail(gateway.SignatureStructure, n, "text beside the elements of the signature")
			}
		}
	}
	return buf, false, nil
}

func (v *verifier) empty(n int32) error {
	_, more, err := v.someChildren(n, nil)
	if err == nil && more {
		err = v.fail(gateway.SignatureStructure, n, "a parameter that the algorithm does not have")
	}
	return err
}

// allowed refuses attributes other than the unprefixed ones named.
func (v *verifier) allowed(n int32, names ...string) error {
	e := &v.d.tape.elements[n]
next:
	for i, end := e.attr, v.d.tape.attrEnd(n); i < end; i++ {
		a := &v.d.tape.attrs[i]
		if a.prefix == noPrefix {
			for _, name := range names {
				if string(v.d.src[a.local:a.stop]) == name {
					continue next
				}
			}
		}
		return v.fail(gateway.SignatureStructure, n, "an attribute that the profile does not have")
	}
	return nil
}

// attr returns the value of an unprefixed attribute.
func (v *verifier) attr(n int32, local string) ([]byte, bool) {
	e := &v.d.tape.elements[n]
	for i, end := e.attr, v.d.tape.attrEnd(n); i < end; i++ {
		a := &v.d.tape.attrs[i]
		if a.prefix == noPrefix && string(v.d.src[a.local:a.stop]) == local {
			return v.d.attrValue(a), true
		}
	}
	return nil, false
}

func (v *verifier) algorithm(n int32) ([]byte, error) {
	if err := v.allowed(n, "Algorithm"); err != nil {
		return nil, err
	}
	uri, ok := v.attr(n, "Algorithm")
	if !ok {
		return nil, v.fail(gateway.SignatureStructure, n, "no Algorithm")
	}
	return uri, nil
}

// base64 decodes an element that holds one piece of text and nothing else.
func (v *verifier) base64(dst []byte, n int32, limit int) ([]byte, error) {
	t, e := v.d.tape, &v.d.tape.elements[n]
	if e.last == e.first || e.last == e.first+1 {
		return dst, v.fail(gateway.SignatureEncoding, n, "no base64 in "+string(v.d.localName(n)))
	}
	tok := t.tokens[e.first+1]
	if e.last != e.first+2 || tok.kind() != textToken {
		return dst, v.fail(gateway.SignatureStructure, n, "something other than one piece of text in "+string(v.d.localName(n))+", where base64 is expected")
	}
	text := v.d.src[tok.pos:tok.end]
	if tok.flags()&flagPlain == 0 {
		v.text = appendText(slices.Grow(v.text[:0], len(text)), text)
		text = v.text
	}
	dst, ok := decodeBase64(dst, text, limit)
	if len(dst) > limit {
		return dst, v.fail(gateway.SignatureEncoding, n, "a value in "+string(v.d.localName(n))+" that is too long")
	}
	if !ok || len(dst) == 0 {
		if bytes.Contains(text[:min(len(text), 64)], []byte("-----BEGIN")) {
			return dst, v.fail(gateway.SignatureEncoding, n, "PEM in "+string(v.d.localName(n))+": the lines with BEGIN and END do not belong there")
		}
		return dst, v.fail(gateway.SignatureEncoding, n, "not strict base64 in "+string(v.d.localName(n)))
	}
	return dst, nil
}
