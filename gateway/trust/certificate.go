package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
)

// MaxCertificateBytes bounds a certificate; the NCA's are below 3 KB.
const MaxCertificateBytes = 32 << 10

// A KeyUsage is the set of bits of RFC 5280 §4.2.1.3, bit 0 of the standard lowest.
type KeyUsage uint16

const (
	DigitalSignature KeyUsage = 1 << iota
	NonRepudiation
	KeyEncipherment
	DataEncipherment
	KeyAgreement
	KeyCertSign
	CRLSign
	EncipherOnly
	DecipherOnly
)

// A Certificate is a registration certificate that passed the strict reader. It is
// immutable and safe for concurrent use; its slices must not be written to.
type Certificate struct {
	Raw        []byte // the whole DER; nothing else decodes to this certificate
	RawTBS     []byte
	RawSubject []byte
	RawIssuer  []byte
	RawSPKI    []byte

	Version   int    // 1 or 3; a version 1 certificate can only be refused with a better reason
	Serial    []byte // magnitude, at most twenty octets
	Subject   Name   // personal data
	Issuer    Name
	NotBefore time.Time // both ends are inside
	NotAfter  time.Time
	Key       PublicKey

	KeyUsage       KeyUsage // 0 when the extension is absent
	ExtKeyUsage    []OID    // nil when absent
	Policies       []OID
	IsCA           bool
	MaxPathLen     int // -1 when there is no constraint
	SubjectKeyID   []byte
	AuthorityKeyID []byte
	// NoCheck is id-pkix-ocsp-nocheck: an OCSP responder that need not be looked up itself.
	NoCheck bool

	// CRLPoints are the URLs of the distribution points, to compare with a list's own name for
	// itself. Nothing ever follows them.
	CRLPoints []string

	SignatureAlgorithm Algorithm
	Signature          []byte

	constraints *nameConstraints
	// unprocessedPolicy: policy constraints, mappings or inhibit-any, which this package does not process.
	unprocessedPolicy bool
	unknownCritical   OID
	overlong          bool   // a list of more than maxListed, which is refused
	directoryNames    []Name // of subjectAltName
	namesIssuerKey    bool   // has an authorityKeyIdentifier
	fingerprint       [sha256.Size]byte
}

// Fingerprint returns the SHA-256 of the whole DER, by which caches know the certificate.
func (c *Certificate) Fingerprint() [sha256.Size]byte { return c.fingerprint }

// SerialHex returns the serial number in lower-case hex without leading zero octets.
func (c *Certificate) SerialHex() string { return hex.EncodeToString(c.Serial) }

// Equal reports whether both are the same certificate, octet for octet.
func (c *Certificate) Equal(d *Certificate) bool {
	return c != nil && d != nil && bytes.Equal(c.Raw, d.Raw)
}

// SelfIssued reports whether subject and issuer are the same name (RFC 5280 §6.1).
func (c *Certificate) SelfIssued() bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// ValidAt reports whether t is inside the validity, both ends included.
func (c *Certificate) ValidAt(t time.Time) bool {
	t = t.Truncate(time.Second)
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// SignedBy returns nil if issuer's key made the signature of c. It looks at nothing else.
// The error carries [gateway.CertificateSignature] or [gateway.AlgorithmForbidden].
func (c *Certificate) SignedBy(issuer *Certificate) error {
	err := c.SignatureAlgorithm.Verify(issuer.Key, c.RawTBS, c.Signature)
	if gateway.ReasonOf(err) == gateway.SignatureInvalid {
		return gateway.Errorf(gateway.CertificateSignature, "the issuer's signature over the certificate is wrong")
	}
	return err
}

// ParseCertificate reads exactly one certificate of the profile (RFC 5280 §4): strict DER, so
// that one certificate has one encoding and caches cannot be flooded with variants; no
// repeated extensions; the algorithm inside equal to the one outside. The standard library
// reads it too, and a difference between both readings is a refusal. The input is copied.
//
// The error carries [gateway.CertificateTooLarge], [gateway.CertificateTrailing],
// [gateway.CertificateMalformed], [gateway.CertificateAlgorithmID],
// [gateway.CertificateDuplicateExtension], [gateway.KeyWeak] or [gateway.AlgorithmForbidden].
func ParseCertificate(der []byte) (*Certificate, error) {
	if len(der) > MaxCertificateBytes {
		return nil, gateway.Errorf(gateway.CertificateTooLarge, "a certificate of more than %d bytes", MaxCertificateBytes)
	}
	der = bytes.Clone(der)
	c, err := parse(cryptobyte.String(der))
	if err != nil {
		return nil, err
	}
	if err := c.crossCheck(der); err != nil {
		return nil, err
	}
	c.fingerprint = sha256.Sum256(der)
	return c, nil
}

func malformed(what string) error {
	return gateway.Errorf(gateway.CertificateMalformed, "the certificate's %s is not as RFC 5280 says", what)
}

func parse(in cryptobyte.String) (*Certificate, error) {
	var element, outer, tbs cryptobyte.String
	if !in.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return nil, malformed("outer structure")
	}
	if !in.Empty() {
		return nil, gateway.Errorf(gateway.CertificateTrailing, "bytes after the certificate")
	}
	c := &Certificate{Raw: element, MaxPathLen: -1, Version: 1}
	var bits []byte
	if !readSequence(element, &outer) || !outer.ReadASN1Element(&tbs, cbasn1.SEQUENCE) ||
		!ReadAlgorithm(&outer, &c.SignatureAlgorithm) || !outer.ReadASN1BitStringAsBytes(&bits) {
		return nil, malformed("outer structure")
	}
	if !outer.Empty() {
		return nil, gateway.Errorf(gateway.CertificateTrailing, "bytes after the signature")
	}
	c.RawTBS, c.Signature = tbs, bits
	return c, c.parseTBS(tbs)
}

func (c *Certificate) parseTBS(tbs cryptobyte.String) error {
	var in, version, validity, spki cryptobyte.String
	var inner Algorithm
	var tagged bool
	if !readSequence(tbs, &in) || !in.ReadOptionalASN1(&version, &tagged, constructed(0)) {
		return malformed("outer structure")
	}
	if tagged {
		if !bytes.Equal(version, []byte{2, 1, 2}) {
			return malformed("version")
		}
		c.Version = 3
	}
	if !ReadSerial(&in, &c.Serial) {
		return malformed("serial number")
	}
	if !ReadAlgorithm(&in, &inner) {
		return malformed("algorithm identifier")
	}
	if !bytes.Equal(inner.Raw, c.SignatureAlgorithm.Raw) {
		return gateway.Errorf(gateway.CertificateAlgorithmID, "the signed algorithm differs from the one outside")
	}
	if !readName(&in, &c.RawIssuer, &c.Issuer) || len(c.Issuer) == 0 {
		return malformed("issuer")
	}
	if !in.ReadASN1(&validity, cbasn1.SEQUENCE) || !ReadTime(&validity, &c.NotBefore) ||
		!ReadTime(&validity, &c.NotAfter) || !validity.Empty() {
		return malformed("validity")
	}
	if !readName(&in, &c.RawSubject, &c.Subject) {
		return malformed("subject")
	}
	if !in.ReadASN1Element(&spki, cbasn1.SEQUENCE) {
		return malformed("public key")
	}
	c.RawSPKI = spki
	if err := c.parseExtensions(in); err != nil {
		return err
	}
	var err error
	c.Key, err = ParsePublicKey(c.RawSPKI)
	return err
}

func (c *Certificate) parseExtensions(in cryptobyte.String) error {
	if in.Empty() {
		return nil
	}
	var wrapped cryptobyte.String
	if c.Version != 3 || !in.ReadASN1(&wrapped, constructed(3)) || !in.Empty() {
		return malformed("end (unique identifiers, or extensions without version 3)")
	}
	list, fault := readExtensions(&wrapped)
	switch {
	case fault == extensionsTwice:
		return gateway.Errorf(gateway.CertificateDuplicateExtension, "the same extension twice")
	case fault == extensionsMany:
		return gateway.Errorf(gateway.CertificateTooLarge, "more than %d extensions", maxExtensions)
	case fault != extensionsFine || !wrapped.Empty():
		return malformed("list of extensions")
	}
	for _, e := range list {
		known, ok := c.readExtension(e)
		if !ok {
			return malformed("extension " + string(e.ID))
		}
		if c.overlong {
			return gateway.Errorf(gateway.CertificateTooLarge, "more than %d entries in extension %s", maxListed, e.ID)
		}
		if !known && e.Critical && c.unknownCritical == "" {
			c.unknownCritical = e.ID
		}
	}
	return nil
}

// crossCheck compares our reading with the standard library's.
func (c *Certificate) crossCheck(der []byte) error {
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return gateway.Errorf(gateway.CertificateMalformed, "the second reader refuses the certificate")
	}
	same := bytes.Equal(x.RawTBSCertificate, c.RawTBS) && bytes.Equal(x.RawSubject, c.RawSubject) &&
		bytes.Equal(x.RawIssuer, c.RawIssuer) && bytes.Equal(x.RawSubjectPublicKeyInfo, c.RawSPKI) &&
		bytes.Equal(x.SerialNumber.Bytes(), c.Serial) && x.NotBefore.Equal(c.NotBefore) && x.NotAfter.Equal(c.NotAfter) &&
		bytes.Equal(x.Signature, c.Signature) && x.Version == c.Version && x.IsCA == c.IsCA &&
		uint16(x.KeyUsage) == uint16(c.KeyUsage) && len(x.ExtKeyUsage)+len(x.UnknownExtKeyUsage) == len(c.ExtKeyUsage) &&
		bytes.Equal(x.SubjectKeyId, c.SubjectKeyID) && bytes.Equal(x.AuthorityKeyId, c.AuthorityKeyID) &&
		len(x.Policies) == len(c.Policies)
	if !same {
		return gateway.Errorf(gateway.CertificateMalformed, "two readers read the certificate differently")
	}
	return nil
}
