package xmlsig

import (
	"crypto/subtle"
	"io"
	"math/big"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// wsse checks a SOAP message whose header signs its Body (WS-Security 1.0, X.509 token
// profile). The Body that is returned is the one that was hashed: there is only one.
func (v *verifier) wsse(s *Signed) error {
	body, header, err := v.envelope()
	if err != nil {
		return err
	}
	t := v.d.tape
	sig, outside := int32(-1), 0
	for _, n := range v.signatures() {
		first := t.elements[n].first
		if first > t.elements[body].first && first < t.elements[body].last {
			continue // content of the Body, a citizen's signature, say
		}
		if outside++; outside > 1 {
			return v.fail(gateway.SignatureMultiple, n, "a second signature outside the Body")
		}
		sig = n
	}
	if sig < 0 {
		return gateway.Errorf(gateway.SignatureMissing, "no signature over the Body")
	}
	security := t.elements[sig].parent
	if security < 0 || header < 0 || !v.d.is(security, wsseURI, "Security") || t.elements[security].parent != header {
		return v.fail(gateway.SignatureMisplaced, sig, "the signature is not in the header's wsse:Security")
	}
	var p parts
	if err := v.parse(sig, &p); err != nil {
		return err
	}
	if p.other >= 0 {
		if s.stamp, err = v.timestamp(&p, body, security); err != nil {
			return err
		}
	}
	if p.enveloped {
		return v.fail(gateway.SignatureTransform, p.reference, "enveloped-signature over a Body that does not hold the signature")
	}
	if len(p.uri) == 0 {
		return v.fail(gateway.SignatureReference, p.reference, "the reference does not name the Body")
	}
	if err := v.refersTo(p.reference, p.uri, body, wsuURI); err != nil {
		return err
	}
	cert, err := v.token(p.keyInfo, security)
	if err != nil {
		return err
	}
	if v.trace != nil {
		*v.trace = trace{p: p, body: body}
	}
	s.sigs = s.one[:1]
	if err := v.check(&p, cert, &s.one[0], func(w, also io.Writer) error {
		return v.c.subtree(v.d, body, p.c14n, w, also)
	}); err != nil {
		return err
	}
	s.sum, s.root, s.header = v.content, body, header+1
	return nil
}

// timestamp checks the reference beside that of the Body: it must name the one wsu:Timestamp of the
// header that holds the signature, which is returned as its number + 1. That the digest is the signer's,
// the signature over SignedInfo says later. It leaves p with the Body's reference, whichever came first.
func (v *verifier) timestamp(p *parts, body, security int32) (int32, error) {
	more := func(n int32) error {
		return v.fail(gateway.SignatureReference, n, "the signature signs more than the Body and the header's Timestamp")
	}
	ofBody, other := p.reference, p.other
	if len(p.uri) == 0 || v.refersTo(ofBody, p.uri, body, wsuURI) != nil {
		ofBody, other = other, ofBody
	}
	stamp, err := v.onlyTimestamp(security)
	if err != nil {
		return 0, err
	}
	if stamp < 0 {
		return 0, more(other)
	}
	if err := v.reference(other, p); err != nil {
		return 0, err
	}
	if len(p.uri) == 0 || p.enveloped {
		return 0, more(other)
	}
	if found, right := v.places(p.uri, stamp, wsuURI); found <= 1 && !right {
		return 0, more(other)
	}
	if err := v.refersTo(other, p.uri, stamp, wsuURI); err != nil {
		return 0, err
	}
	if v.trace != nil {
		*v.trace = trace{p: *p, body: stamp}
	}
	if err := v.digestContent(p.digest, func(w, also io.Writer) error { return v.c.subtree(v.d, stamp, p.c14n, w, also) }); err != nil {
		return 0, err
	}
	if subtle.ConstantTimeCompare(v.sum, v.digest) != 1 {
		return 0, v.fail(gateway.DigestMismatch, other, "the digest of the signed Timestamp is not the stated one")
	}
	return stamp + 1, v.reference(ofBody, p)
}

// onlyTimestamp finds the wsu:Timestamp of a Security header, -1 if there is none. There is no more than
// one (WS-Security 1.0 §10), so that whoever reads it reads the signed one.
func (v *verifier) onlyTimestamp(security int32) (int32, error) {
	t, found := v.d.tape, int32(-1)
	for i := t.elements[security].first + 1; i < t.elements[security].last; i++ {
		if t.tokens[i].kind() != startToken {
			continue
		}
		k := t.tokens[i].elem()
		i = t.elements[k].last
		if v.d.is(k, wsuURI, "Timestamp") {
			if found >= 0 {
				return 0, v.fail(gateway.SignatureReference, k, "a second Timestamp")
			}
			found = k
		}
	}
	return found, nil
}

// envelope finds the one Body and the Header, -1 if there is none (SOAP 1.1 §4, 1.2 part 1 §5).
func (v *verifier) envelope() (body, header int32, err error) {
	soap := ""
	for _, uri := range []string{soap11URI, soap12URI} {
		if v.d.is(0, uri, "Envelope") {
			soap = uri
		}
	}
	if soap == "" {
		return 0, 0, v.fail(gateway.SignatureReference, 0, "not a SOAP envelope, so there is no Body to be signed")
	}
	var buf [2]int32
	kids, more, err := v.someChildren(0, buf[:0])
	if err != nil {
		return 0, 0, err
	}
	header = -1
	if len(kids) > 0 && v.d.is(kids[0], soap, "Header") {
		header, kids = kids[0], kids[1:]
	}
	if more || len(kids) != 1 || !v.d.is(kids[0], soap, "Body") {
		return 0, 0, v.fail(gateway.SignatureReference, 0, "the envelope does not hold exactly one Body after its Header")
	}
	body = kids[0]
	for n := range v.d.tape.elements {
		if int32(n) != body && string(v.d.localName(int32(n))) == "Body" && (v.d.is(int32(n), soap11URI, "Body") || v.d.is(int32(n), soap12URI, "Body")) {
			return 0, 0, v.fail(gateway.SignatureReference, int32(n), "a second Body")
		}
	}
	return body, header, nil
}

// token returns the certificate that KeyInfo/SecurityTokenReference names: inline, in a
// BinarySecurityToken beside the signature, or known by its serial number.
func (v *verifier) token(keyInfo, security int32) (*trust.Certificate, error) {
	var buf [1]int32
	kids, more, err := v.someChildren(keyInfo, buf[:0])
	if err != nil {
		return nil, err
	}
	if len(kids) == 1 && !more && v.d.is(kids[0], wsseURI, "SecurityTokenReference") {
		kids, more, err = v.someChildren(kids[0], buf[:0])
		if err != nil {
			return nil, err
		}
		if len(kids) == 1 && !more {
			switch n := kids[0]; {
			case v.d.is(n, wsseURI, "KeyIdentifier"):
				return v.tokenValue(n)
			case v.d.is(n, wsseURI, "Reference"):
				return v.binaryToken(n, security)
			case v.ds(n, "X509Data"):
				return v.dataCertificate(n)
			}
		}
	}
	return nil, v.fail(gateway.SignatureKeyInfo, keyInfo, "KeyInfo does not hold one SecurityTokenReference to an X.509 certificate")
}

// tokenValue reads a certificate in base64 whose type is declared on its element.
func (v *verifier) tokenValue(n int32) (*trust.Certificate, error) {
	kind, _ := v.attr(n, "ValueType")
	encoding, ok := v.attr(n, "EncodingType")
	if string(kind) != x509v3Type || ok && string(encoding) != base64Encoding {
		return nil, v.fail(gateway.SignatureKeyInfo, n, "the security token is not an X.509 v3 certificate in base64")
	}
	var err error
	if v.der, err = v.base64(v.der[:0], n, maxCertificate); err != nil {
		return nil, err
	}
	return v.certificate(v.der)
}

// binaryToken follows wsse:Reference to a BinarySecurityToken of the same header.
func (v *verifier) binaryToken(n, security int32) (*trust.Certificate, error) {
	uri, _ := v.attr(n, "URI")
	if kind, ok := v.attr(n, "ValueType"); len(uri) < 2 || uri[0] != '#' || ok && string(kind) != x509v3Type {
		return nil, v.fail(gateway.SignatureKeyInfo, n, "the reference does not name an X.509 token in this message")
	}
	t := v.d.tape
	found := int32(-1)
	for i := t.elements[security].first + 1; i < t.elements[security].last; i++ {
		if t.tokens[i].kind() != startToken {
			continue
		}
		k := t.tokens[i].elem()
		i = t.elements[k].last
		if v.d.is(k, wsseURI, "BinarySecurityToken") {
			if found >= 0 {
				return nil, v.fail(gateway.SignatureKeyInfo, k, "a second BinarySecurityToken")
			}
			found = k
		}
	}
	if found < 0 {
		return nil, v.fail(gateway.SignatureKeyInfo, n, "there is no BinarySecurityToken beside the signature")
	}
	if err := v.refersTo(n, uri[1:], found, wsuURI); err != nil {
		if gateway.ReasonOf(err) == gateway.SignatureReference {
			err = v.fail(gateway.SignatureKeyInfo, n, "the reference does not name the BinarySecurityToken beside the signature")
		}
		return nil, err
	}
	return v.tokenValue(found)
}

// dataCertificate reads ds:X509Data: the one certificate in it, whatever says the same thing beside it
// (issuer and serial number, subject, key identifier), or else the configured one that is named.
func (v *verifier) dataCertificate(n int32) (*trust.Certificate, error) {
	var buf [4]int32
	kids, more, err := v.someChildren(n, buf[:0])
	if err != nil {
		return nil, err
	}
	found := int32(-1)
	for _, k := range kids {
		if !v.ds(k, "X509Certificate") {
			continue
		}
		if found >= 0 {
			return nil, v.fail(gateway.SignatureKeyInfo, k, "a second X509Certificate")
		}
		found = k
	}
	if found < 0 {
		return v.knownCertificate(n)
	}
	if more {
		return nil, v.fail(gateway.SignatureKeyInfo, n, "X509Data holds more than a certificate and its names")
	}
	for _, k := range kids {
		if k != found && !v.ds(k, "X509IssuerSerial") && !v.ds(k, "X509SubjectName") && !v.ds(k, "X509SKI") {
			return nil, v.fail(gateway.SignatureKeyInfo, k, "X509Data holds something else than a certificate and its names")
		}
	}
	if v.der, err = v.base64(v.der[:0], found, maxCertificate); err != nil {
		return nil, err
	}
	return v.certificate(v.der)
}

// knownCertificate finds the configured certificate that X509IssuerSerial names.
func (v *verifier) knownCertificate(n int32) (*trust.Certificate, error) {
	unknown := func() (*trust.Certificate, error) {
		return nil, v.fail(gateway.SignatureKeyInfo, n, "KeyInfo does not name exactly one configured certificate")
	}
	var buf [2]int32
	kids, more, err := v.someChildren(n, buf[:0])
	if err != nil {
		return nil, err
	}
	if more || len(kids) != 1 || !v.ds(kids[0], "X509IssuerSerial") {
		return unknown()
	}
	if kids, more, err = v.someChildren(kids[0], buf[:0]); err != nil {
		return nil, err
	}
	if more || len(kids) != 2 || !v.ds(kids[0], "X509IssuerName") || !v.ds(kids[1], "X509SerialNumber") {
		return unknown()
	}
	text := Element{v.d, kids[1] + 1}.Text()
	if len(text) == 0 || len(text) > 60 {
		return unknown()
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return unknown()
		}
	}
	serial, _ := new(big.Int).SetString(text, 10)
	var found *trust.Certificate
	for _, cert := range v.o.Known {
		if s := serialNumber(cert); s != nil && s.Cmp(serial) == 0 {
			if found != nil {
				return unknown()
			}
			found = cert
		}
	}
	if found == nil {
		return unknown()
	}
	return found, nil
}
