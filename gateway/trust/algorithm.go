package trust

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
)

// An Algorithm is an AlgorithmIdentifier (RFC 5280 §4.1.1.2).
type Algorithm struct {
	ID         OID
	Parameters []byte // DER; nil when absent
	Raw        []byte
}

// ReadAlgorithm reads one AlgorithmIdentifier.
func ReadAlgorithm(s *cryptobyte.String, out *Algorithm) bool {
	var element, seq, parameters cryptobyte.String
	var tag cbasn1.Tag
	if !s.ReadASN1Element(&element, cbasn1.SEQUENCE) || !readSequence(element, &seq) || !ReadOID(&seq, &out.ID) {
		return false
	}
	out.Raw, out.Parameters = element, nil
	if seq.Empty() {
		return true
	}
	if !seq.ReadAnyASN1Element(&parameters, &tag) || !seq.Empty() {
		return false
	}
	out.Parameters = parameters
	return true
}

// Same reports whether two identifiers mean the same algorithm where NULL and absent parameters
// are the same. The NCA's CRLs differ in just this between inside and outside; certificates
// must not differ at all.
func (a Algorithm) Same(b Algorithm) bool {
	return a.ID == b.ID && (bytes.Equal(a.Parameters, b.Parameters) || a.plain() && b.plain())
}

func (a Algorithm) plain() bool {
	return a.Parameters == nil || bytes.Equal(a.Parameters, []byte{5, 0})
}

type scheme struct {
	kind KeyKind
	hash Hash
	name string
}

// schemes is the whole table of signature algorithms. SHA-1, MD5 and RSA-PSS are absent on
// purpose: no CA whose anchors we know uses PSS, and its parameters are a source of forgeries.
var schemes = map[OID]scheme{
	"1.2.840.113549.1.1.11":  {RSA, SHA256, "SHA256-RSA"},
	"1.2.840.113549.1.1.12":  {RSA, SHA384, "SHA384-RSA"},
	"1.2.840.113549.1.1.13":  {RSA, SHA512, "SHA512-RSA"},
	"1.2.840.10045.4.3.2":    {ECDSA, SHA256, "SHA256-ECDSA"},
	"1.2.840.10045.4.3.3":    {ECDSA, SHA384, "SHA384-ECDSA"},
	"1.2.840.10045.4.3.4":    {ECDSA, SHA512, "SHA512-ECDSA"},
	"1.2.398.3.10.1.1.2.3.2": {GOST2015, Streebog512, "GOST2015-512"},
	"1.2.398.3.10.1.1.1.2":   {GOST2004, GOST94, "GOST2004-256"},
}

// String names the algorithm, by its OID when it is not in the table.
func (a Algorithm) String() string {
	if s, ok := schemes[a.ID]; ok {
		return s.name
	}
	return string(a.ID)
}

// Verify returns nil if signature is key's over signed by algorithm a. The error carries
// [gateway.AlgorithmForbidden] for an algorithm outside the table or not in this build, else
// [gateway.SignatureInvalid]; an algorithm of another kind of key counts as a wrong signature.
func (a Algorithm) Verify(key PublicKey, signed, signature []byte) error {
	s, ok := schemes[a.ID]
	// RFC 5758 §3.2: ECDSA identifiers have no parameters, not even NULL.
	if !ok || !a.plain() || s.kind == ECDSA && a.Parameters != nil {
		return gateway.Errorf(gateway.AlgorithmForbidden, "signature algorithm %s is not accepted", a.ID)
	}
	if key.Kind() != s.kind {
		return gateway.Errorf(gateway.SignatureInvalid, "a %s signature cannot be of a %s key", s.name, key.Kind())
	}
	h := s.hash.New()
	if h == nil {
		return gateway.Errorf(gateway.AlgorithmForbidden, "%s is not supported by this build", s.name)
	}
	h.Write(signed)
	err := key.VerifyDigest(s.hash, h.Sum(nil), signature)
	switch gateway.ReasonOf(err) {
	case "", gateway.AlgorithmForbidden:
		return err
	}
	return gateway.Errorf(gateway.SignatureInvalid, "%s", gateway.DetailOf(err))
}
