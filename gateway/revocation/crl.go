package revocation

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// MaxCRLBytes bounds a CRL. A million entries of the NCA's kind are 53 MB.
const MaxCRLBytes = 256 << 20

// A CRL is a certificate revocation list of version 2 that was read strictly (RFC 5280 §5).
// Reading says nothing about who signed it.
type CRL struct {
	RawIssuer      []byte
	AuthorityKeyID []byte
	Number         []byte // magnitude; nil when the list has no number
	// BaseNumber is the least number of the full list that this delta completes; nil for a full list.
	BaseNumber []byte
	ThisUpdate time.Time
	NextUpdate time.Time // zero when absent

	digest         [32]byte // SHA-256 of the whole DER, for evidence
	algorithm      trust.Algorithm
	tbs, signature []byte
	entries        []byte // content of revokedCertificates
	scope          *distributionPoint
	scopeNumber    uint64    // of scope, as in a mark
	unprocessed    trust.OID // a critical extension that is not processed
	table          *table
}

// Delta reports whether the list holds only changes.
func (c *CRL) Delta() bool { return c.BaseNumber != nil }

// Len returns the number of entries.
func (c *CRL) Len() int { return c.table.len() }

// Find returns what the list says of a serial number, given as magnitude.
func (c *CRL) Find(serial []byte) (revokedAt time.Time, reason CRLReason, listed bool) {
	e, listed := c.table.find(serial)
	return e.at, e.reason, listed
}

// NumberHex is the CRL number in hex, "none" when there is none.
func (c *CRL) NumberHex() string {
	if c.Number == nil {
		return "none"
	}
	return "0x" + hex.EncodeToString(c.Number)
}

// distributionPoint is issuingDistributionPoint of RFC 5280 §5.2.5.
type distributionPoint struct {
	raw                            []byte
	named                          bool     // holds a distribution point name
	uris                           []string // of its full name
	users, authorities, attributes bool
	someReasons, indirect          bool
}

func untrusted(what string) error {
	return gateway.Errorf(gateway.EvidenceUntrusted, "%s", what)
}

// unwrapCRL returns the DER of a download, which may be PEM. The error says what came instead of a list.
func unwrapCRL(raw []byte) ([]byte, error) {
	text := bytes.TrimLeft(raw, " \t\r\n\ufeff")
	switch {
	case len(raw) > MaxCRLBytes:
		return nil, untrusted("the CRL is larger than the limit")
	case len(raw) == 0:
		return nil, untrusted("an empty file came in the place of a CRL")
	case len(text) == 0:
		return nil, untrusted("nothing but blanks came in the place of a CRL")
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		block, rest := pem.Decode(text)
		switch {
		case block == nil:
			return nil, untrusted("PEM that is not whole came in the place of a CRL")
		case block.Type != "X509 CRL":
			return nil, untrusted("PEM of another kind than X509 CRL came in the place of a CRL")
		case len(bytes.TrimSpace(rest)) > 0:
			return nil, untrusted("bytes after the CRL in PEM")
		}
		return block.Bytes, nil
	case text[0] == '<':
		return nil, untrusted("a page of HTML or XML came in the place of a CRL: " +
			"the address is wrong, or somebody on the way answers for the publisher")
	case text[0] == '{' || text[0] == '[':
		return nil, untrusted("JSON came in the place of a CRL")
	case bytes.HasPrefix(raw, []byte{0x1f, 0x8b}):
		return nil, untrusted("a gzip file came in the place of a CRL; it was not asked for")
	}
	return raw, nil
}

// ParseCRL reads exactly one CRL: strict DER without trailing bytes anywhere, no repeated
// extensions, serial numbers as certificates may have them. The algorithm may lack NULL
// parameters inside and have them outside, as the NCA's does. The input must not change
// while the CRL is in use.
//
// The error carries [gateway.EvidenceUntrusted], or [gateway.EvidenceScope] for a list that
// needs processing not done here (indirect lists, unknown critical extensions).
func ParseCRL(der []byte) (*CRL, error) {
	c, err := parseCRL(der)
	if err != nil {
		return nil, err
	}
	if err := c.inScope(); err != nil {
		return nil, err
	}
	return c, c.index()
}

// parseCRL reads everything but the entries, so that the signature can be checked first.
func parseCRL(der []byte) (*CRL, error) {
	if len(der) > MaxCRLBytes {
		return nil, untrusted("the CRL is larger than the limit")
	}
	in := cryptobyte.String(der)
	var outer, tbs cryptobyte.String
	c := new(CRL)
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1Element(&tbs, cbasn1.SEQUENCE) ||
		!trust.ReadAlgorithm(&outer, &c.algorithm) || !outer.ReadASN1BitStringAsBytes(&c.signature) || !outer.Empty() {
		return nil, untrusted("not one DER CertificateList")
	}
	c.tbs = tbs
	var inner trust.Algorithm
	var body, issuer, wrapped cryptobyte.String
	var version int
	var extended bool
	if !tbs.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1Integer(&version) || version != 1 ||
		!trust.ReadAlgorithm(&body, &inner) || !body.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !trust.ReadTime(&body, &c.ThisUpdate) {
		return nil, untrusted("the CRL is not of version 2")
	}
	c.RawIssuer = issuer
	if !inner.Same(c.algorithm) {
		return nil, untrusted("the CRL's signed algorithm differs from the one outside")
	}
	if body.PeekASN1Tag(cbasn1.UTCTime) || body.PeekASN1Tag(cbasn1.GeneralizedTime) {
		if !trust.ReadTime(&body, &c.NextUpdate) || c.NextUpdate.Before(c.ThisUpdate) {
			return nil, untrusted("the CRL's nextUpdate is malformed or before thisUpdate")
		}
	}
	if body.PeekASN1Tag(cbasn1.SEQUENCE) {
		var entries cryptobyte.String
		// An empty list of entries must be absent.
		if !body.ReadASN1(&entries, cbasn1.SEQUENCE) || entries.Empty() {
			return nil, untrusted("the CRL's list of entries is malformed")
		}
		c.entries = entries
	}
	if !body.ReadOptionalASN1(&wrapped, &extended, cbasn1.Tag(0).ContextSpecific().Constructed()) || !body.Empty() {
		return nil, untrusted("bytes after the CRL's entries")
	}
	if extended {
		var list []trust.Extension
		if !trust.ReadExtensions(&wrapped, &list) || !wrapped.Empty() {
			return nil, untrusted("the CRL's extensions are malformed")
		}
		for _, e := range list {
			if !c.readExtension(e) {
				return nil, untrusted("the CRL's extension " + string(e.ID) + " is malformed")
			}
		}
	}
	c.scopeNumber = scopeNumberOf(c)
	return c, nil
}

func (c *CRL) readExtension(e trust.Extension) bool {
	v := e.Value
	switch e.ID {
	case "2.5.29.20":
		return readNumber(v, &c.Number)
	case "2.5.29.27":
		return e.Critical && readNumber(v, &c.BaseNumber)
	case "2.5.29.28":
		c.scope = new(distributionPoint)
		return e.Critical && c.scope.read(v)
	case "2.5.29.35":
		var seq cryptobyte.String
		var has bool
		var id cryptobyte.String
		if !v.ReadASN1(&seq, cbasn1.SEQUENCE) || !v.Empty() || !seq.ReadOptionalASN1(&id, &has, cbasn1.Tag(0).ContextSpecific()) {
			return false
		}
		c.AuthorityKeyID = id
		return true
	}
	if e.Critical {
		c.unprocessed = e.ID
	}
	return true
}

// readNumber reads a non-negative INTEGER of at most twenty octets.
func readNumber(v cryptobyte.String, out *[]byte) bool {
	if bytes.Equal(v, []byte{2, 1, 0}) {
		*out = []byte{}
		return true
	}
	return trust.ReadSerial(&v, out) && v.Empty()
}

// compareNumbers orders two magnitudes.
func compareNumbers(a, b []byte) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

func (d *distributionPoint) read(v cryptobyte.String) bool {
	d.raw = v
	var seq, name cryptobyte.String
	if !v.ReadASN1(&seq, cbasn1.SEQUENCE) || !v.Empty() || seq.Empty() {
		return false
	}
	if !seq.ReadOptionalASN1(&name, &d.named, cbasn1.Tag(0).ContextSpecific().Constructed()) {
		return false
	}
	if d.named && name.PeekASN1Tag(cbasn1.Tag(0).ContextSpecific().Constructed()) {
		var full cryptobyte.String
		if !name.ReadASN1(&full, cbasn1.Tag(0).ContextSpecific().Constructed()) || !name.Empty() {
			return false
		}
		for !full.Empty() {
			var value cryptobyte.String
			var tag cbasn1.Tag
			if !full.ReadAnyASN1(&value, &tag) {
				return false
			}
			if tag == cbasn1.Tag(6).ContextSpecific() {
				d.uris = append(d.uris, string(value))
			}
		}
	}
	flag := func(n uint8, out *bool) bool {
		var b cryptobyte.String
		var has bool
		if !seq.ReadOptionalASN1(&b, &has, cbasn1.Tag(n).ContextSpecific()) {
			return false
		}
		*out = has
		return !has || len(b) == 1 && b[0] == 0xff
	}
	var reasons cryptobyte.String
	return flag(1, &d.users) && flag(2, &d.authorities) &&
		seq.ReadOptionalASN1(&reasons, &d.someReasons, cbasn1.Tag(3).ContextSpecific()) &&
		flag(4, &d.indirect) && flag(5, &d.attributes) && seq.Empty()
}

// release lets go of the download: what stays is the table and copies of the small fields.
func (c *CRL) release() {
	c.RawIssuer, c.AuthorityKeyID, c.Number, c.BaseNumber = bytes.Clone(c.RawIssuer), bytes.Clone(c.AuthorityKeyID), bytes.Clone(c.Number), bytes.Clone(c.BaseNumber)
	c.algorithm = trust.Algorithm{}
	c.tbs, c.signature, c.entries = nil, nil, nil
	if c.scope != nil {
		c.scope.raw = bytes.Clone(c.scope.raw)
	}
}

// inScope refuses lists that could not be used for any certificate here.
func (c *CRL) inScope() error {
	switch {
	case c.unprocessed != "":
		return gateway.Errorf(gateway.EvidenceScope, "the CRL has the unknown critical extension %s", c.unprocessed)
	case c.scope == nil:
		return nil
	case c.scope.indirect:
		return gateway.Errorf(gateway.EvidenceScope, "an indirect CRL")
	case c.scope.someReasons:
		return gateway.Errorf(gateway.EvidenceScope, "a CRL for some reasons only")
	case c.scope.attributes:
		return gateway.Errorf(gateway.EvidenceScope, "a CRL of attribute certificates")
	case c.scope.users && c.scope.authorities:
		return gateway.Errorf(gateway.EvidenceScope, "a CRL for no certificates at all")
	}
	return nil
}

// covers tells whether the list speaks of leaf, whose CRL is expected at one of the points.
func (c *CRL) covers(leaf *trust.Certificate, points []string) error {
	if c.scope == nil {
		return nil
	}
	if c.scope.users && leaf.IsCA || c.scope.authorities && !leaf.IsCA {
		return gateway.Errorf(gateway.EvidenceScope, "the CRL is for the other kind of certificates")
	}
	expected := func(uri string) bool { return slices.Contains(points, uri) }
	if c.scope.named && !slices.ContainsFunc(c.scope.uris, expected) {
		return gateway.Errorf(gateway.EvidenceScope, "the CRL is of another distribution point")
	}
	return nil
}

// SignedBy returns nil if the list is of that issuer: name, key identifier, the right to sign
// lists, and the signature.
func (c *CRL) SignedBy(issuer *trust.Certificate) error {
	switch {
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return untrusted("the CRL is of another issuer")
	case len(c.AuthorityKeyID) > 0 && len(issuer.SubjectKeyID) > 0 && !bytes.Equal(c.AuthorityKeyID, issuer.SubjectKeyID):
		return untrusted("the CRL is of another key of the issuer")
	case issuer.KeyUsage&trust.CRLSign == 0:
		return untrusted("the issuer may not sign CRLs")
	}
	if err := c.algorithm.Verify(issuer.Key, c.tbs, c.signature); err != nil {
		return gateway.Errorf(gateway.EvidenceUntrusted, "the CRL's signature: %s", gateway.DetailOf(err))
	}
	return nil
}
