package xmlsig

import "egov-gateway/gateway/trust"

// Algorithm names. The GOST ones are from the official map of НУЦ РК.
const (
	C14N10           = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	C14N10Comments   = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"
	C14N11           = "http://www.w3.org/2006/12/xml-c14n11"
	C14N11Comments   = "http://www.w3.org/2006/12/xml-c14n11#WithComments"
	ExcC14N          = "http://www.w3.org/2001/10/xml-exc-c14n#"
	ExcC14NComments  = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"
	Enveloped        = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	RSASHA256        = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	RSASHA384        = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384"
	RSASHA512        = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
	GOST2015         = "urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:gostr34102015-gostr34112015-512"
	GOST2004         = "http://www.w3.org/2001/04/xmldsig-more#gost34310-gost34311"
	DigestSHA256     = "http://www.w3.org/2001/04/xmlenc#sha256"
	DigestSHA384     = "http://www.w3.org/2001/04/xmldsig-more#sha384"
	DigestSHA512     = "http://www.w3.org/2001/04/xmlenc#sha512"
	DigestGOST2015   = "urn:ietf:params:xml:ns:pkigovkz:xmlsec:algorithms:gostr34112015-512"
	DigestGOST2004   = "http://www.w3.org/2001/04/xmldsig-more#gost34311"
	dsigURI          = "http://www.w3.org/2000/09/xmldsig#"
	excURI           = "http://www.w3.org/2001/10/xml-exc-c14n#"
	wsseURI          = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	wsuURI           = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
	x509v3Type       = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
	base64Encoding   = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
	soap11URI        = "http://schemas.xmlsoap.org/soap/envelope/"
	soap12URI        = "http://www.w3.org/2003/05/soap-envelope"
	maxSignatures    = 8  // co-signers of one document
	maxPrefixes      = 64 // of one InclusiveNamespaces list
	maxCertificate   = 32 << 10
	maxSignatureSize = 4 << 10 // bytes of a decoded value; RSA-16384 needs 2 KiB
)

// A signatureMethod is a row of the table: the kind of key, what it signs, and the digests
// that may stand beside it in the reference.
type signatureMethod struct {
	kind trust.KeyKind
	hash trust.Hash
}

func signatureMethodOf(uri []byte) (signatureMethod, bool) {
	switch string(uri) {
	case RSASHA256:
		return signatureMethod{trust.RSA, trust.SHA256}, true
	case RSASHA384:
		return signatureMethod{trust.RSA, trust.SHA384}, true
	case RSASHA512:
		return signatureMethod{trust.RSA, trust.SHA512}, true
	case GOST2015:
		return signatureMethod{trust.GOST2015, trust.Streebog512}, true
	case GOST2004:
		return signatureMethod{trust.GOST2004, trust.GOST94}, true
	}
	return signatureMethod{}, false
}

func digestMethodOf(uri []byte) (trust.Hash, bool) {
	switch string(uri) {
	case DigestSHA256:
		return trust.SHA256, true
	case DigestSHA384:
		return trust.SHA384, true
	case DigestSHA512:
		return trust.SHA512, true
	case DigestGOST2015:
		return trust.Streebog512, true
	case DigestGOST2004:
		return trust.GOST94, true
	}
	return 0, false
}

// digests reports whether a reference made with h may stand under the method: RSA goes with
// the SHA-2 family, a GOST key with the digest of its own generation.
func (m signatureMethod) digests(h trust.Hash) bool {
	if m.kind == trust.RSA {
		return h == trust.SHA256 || h == trust.SHA384 || h == trust.SHA512
	}
	return h == m.hash
}

type c14nKind uint8

const (
	inclusive10 c14nKind = iota
	inclusive11
	exclusive
)

// A c14n is a canonicalisation method with its parameters.
type c14n struct {
	kind     c14nKind
	comments bool
	prefixes []int32 // exclusive: prefix numbers of InclusiveNamespaces
}

func c14nOf(uri []byte) (c14n, bool) {
	switch string(uri) {
	case C14N10:
		return c14n{kind: inclusive10}, true
	case C14N10Comments:
		return c14n{kind: inclusive10, comments: true}, true
	case C14N11:
		return c14n{kind: inclusive11}, true
	case C14N11Comments:
		return c14n{kind: inclusive11, comments: true}, true
	case ExcC14N:
		return c14n{kind: exclusive}, true
	case ExcC14NComments:
		return c14n{kind: exclusive, comments: true}, true
	}
	return c14n{}, false
}

// name is the algorithm's name in the table.
func (m signatureMethod) name() string {
	switch {
	case m.kind == trust.GOST2015:
		return GOST2015
	case m.kind == trust.GOST2004:
		return GOST2004
	case m.hash == trust.SHA384:
		return RSASHA384
	case m.hash == trust.SHA512:
		return RSASHA512
	}
	return RSASHA256
}
