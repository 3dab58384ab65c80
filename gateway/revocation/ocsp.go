package revocation

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// MaxOCSPBytes bounds an OCSP answer; the NCA's are 2 KB.
const MaxOCSPBytes = 64 << 10

const (
	maxSingles   = 16
	maxEmbedded  = 4
	oidSHA1      = trust.OID("1.3.14.3.2.26")
	oidSHA256    = trust.OID("2.16.840.1.101.3.4.2.1")
	oidBasic     = trust.OID("1.3.6.1.5.5.7.48.1.1")
	oidNonce     = trust.OID("1.3.6.1.5.5.7.48.1.2")
	oidExtRevoke = trust.OID("1.3.6.1.5.5.7.48.1.9")
)

func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// A certID names a certificate by the hashes of its issuer's name and key and by its serial (RFC 6960 §4.1.1).
type certID struct {
	hash              trust.OID
	nameHash, keyHash []byte
	serial            []byte
}

func newCertID(hash trust.OID, issuer *trust.Certificate, serial []byte) certID {
	bits := keyBits(issuer)
	if hash == oidSHA1 {
		n, k := sha1.Sum(issuer.RawSubject), sha1.Sum(bits)
		return certID{hash, n[:], k[:], serial}
	}
	n, k := sha256.Sum256(issuer.RawSubject), sha256.Sum256(bits)
	return certID{hash, n[:], k[:], serial}
}

// keyBits returns the content of the BIT STRING of the certificate's public key.
func keyBits(c *trust.Certificate) []byte {
	in := cryptobyte.String(c.RawSPKI)
	var seq, alg cryptobyte.String
	var bits []byte
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&alg, cbasn1.SEQUENCE) || !seq.ReadASN1BitStringAsBytes(&bits) {
		return nil
	}
	return bits
}

func (c certID) equal(d certID) bool {
	return c.hash == d.hash && bytes.Equal(c.nameHash, d.nameHash) && bytes.Equal(c.keyHash, d.keyHash) && bytes.Equal(c.serial, d.serial)
}

func (c certID) marshal(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addOID(b, c.hash)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(c.nameHash)
		b.AddASN1OctetString(c.keyHash)
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) {
			if c.serial[0]&0x80 != 0 {
				b.AddUint8(0)
			}
			b.AddBytes(c.serial)
		})
	})
}

// addOID writes one of this package's constants.
func addOID(b *cryptobyte.Builder, id trust.OID) {
	der := map[trust.OID][]byte{
		oidSHA1:   {0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a},
		oidSHA256: {0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01},
		oidNonce:  {0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02},
	}
	b.AddBytes(der[id])
}

// marshalRequest builds an OCSPRequest for one certificate, with a nonce unless it is empty
// (RFC 6960 §4.1, RFC 9654).
func marshalRequest(id certID, nonce []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, id.marshal)
			})
			if len(nonce) == 0 {
				return
			}
			b.AddASN1(explicit(2), func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						addOID(b, oidNonce)
						b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
					})
				})
			})
		})
	})
	return b.Bytes()
}

// A CertStatus is what an OCSP answer says of one certificate.
type CertStatus int

const (
	StatusGood CertStatus = iota
	StatusRevoked
	StatusUnknown
)

// An OCSPStatement is one SingleResponse.
type OCSPStatement struct {
	Status     CertStatus
	RevokedAt  time.Time
	Reason     CRLReason
	ThisUpdate time.Time
	NextUpdate time.Time // zero when absent
	// InvalidSince is when the key is known or suspected to have been compromised; zero when not said.
	InvalidSince time.Time

	id certID
}

// An OCSPAnswer is a basic OCSP response that was read strictly (RFC 6960 §4.2). Reading says
// nothing about who signed it.
type OCSPAnswer struct {
	ProducedAt time.Time
	Statements []OCSPStatement
	// ExtendedRevoke: the responder answers revoked for certificates that were never issued (§4.4.8).
	ExtendedRevoke bool

	nonce                       []byte // content of the nonce's OCTET STRING; nil when absent
	responderName, responderKey []byte // one of both
	embedded                    [][]byte
	algorithm                   trust.Algorithm
	tbs, signature              []byte
}

// ParseOCSP reads exactly one OCSP response. The error carries [gateway.StatusUnavailable] when
// the responder says that it cannot answer (tryLater, unauthorized and the like), else
// [gateway.EvidenceUntrusted]. Unknown critical extensions are untrusted.
func ParseOCSP(der []byte) (*OCSPAnswer, error) {
	if len(der) > MaxOCSPBytes {
		return nil, untrusted("the OCSP answer is larger than the limit")
	}
	in := cryptobyte.String(der)
	var outer, status, wrapped, bytesSeq, octets cryptobyte.String
	var has bool
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1(&status, cbasn1.ENUM) || len(status) != 1 ||
		!outer.ReadOptionalASN1(&wrapped, &has, explicit(0)) || !outer.Empty() {
		return nil, untrusted("not one DER OCSPResponse")
	}
	if status[0] != 0 {
		return nil, gateway.Errorf(gateway.StatusUnavailable, "the responder answers with status %d", status[0])
	}
	var kind trust.OID
	if !has || !wrapped.ReadASN1(&bytesSeq, cbasn1.SEQUENCE) || !wrapped.Empty() || !trust.ReadOID(&bytesSeq, &kind) ||
		kind != oidBasic || !bytesSeq.ReadASN1(&octets, cbasn1.OCTET_STRING) || !bytesSeq.Empty() {
		return nil, untrusted("not a basic OCSP response")
	}
	return parseBasic(octets)
}

func parseBasic(in cryptobyte.String) (*OCSPAnswer, error) {
	a := new(OCSPAnswer)
	var basic, tbs, wrapped, certs cryptobyte.String
	var has bool
	if !in.ReadASN1(&basic, cbasn1.SEQUENCE) || !in.Empty() || !basic.ReadASN1Element(&tbs, cbasn1.SEQUENCE) ||
		!trust.ReadAlgorithm(&basic, &a.algorithm) || !basic.ReadASN1BitStringAsBytes(&a.signature) ||
		!basic.ReadOptionalASN1(&wrapped, &has, explicit(0)) || !basic.Empty() {
		return nil, untrusted("the basic OCSP response is malformed")
	}
	a.tbs = tbs
	if has {
		if !wrapped.ReadASN1(&certs, cbasn1.SEQUENCE) || !wrapped.Empty() {
			return nil, untrusted("the responder's certificates are malformed")
		}
		for !certs.Empty() {
			var c cryptobyte.String
			if !certs.ReadASN1Element(&c, cbasn1.SEQUENCE) || len(a.embedded) == maxEmbedded {
				return nil, untrusted("the responder's certificates are malformed or too many")
			}
			a.embedded = append(a.embedded, c)
		}
	}
	return a, a.parseData(tbs)
}

func (a *OCSPAnswer) parseData(tbs cryptobyte.String) error {
	var data, version, name, key, responses, wrapped cryptobyte.String
	var has, named bool
	if !tbs.ReadASN1(&data, cbasn1.SEQUENCE) || !data.ReadOptionalASN1(&version, &has, explicit(0)) || has {
		return untrusted("the OCSP response is not of version 1") // the default must not be written out
	}
	if !data.ReadOptionalASN1(&name, &named, explicit(1)) {
		return untrusted("the responder's id is malformed")
	}
	a.responderName = name
	if !named {
		var octets cryptobyte.String
		if !data.ReadASN1(&key, explicit(2)) || !key.ReadASN1(&octets, cbasn1.OCTET_STRING) || !key.Empty() {
			return untrusted("the responder's id is malformed")
		}
		a.responderKey = octets
	}
	if !trust.ReadGeneralizedTime(&data, &a.ProducedAt) || !data.ReadASN1(&responses, cbasn1.SEQUENCE) || responses.Empty() {
		return untrusted("the OCSP response data is malformed")
	}
	for !responses.Empty() {
		var one cryptobyte.String
		if !responses.ReadASN1(&one, cbasn1.SEQUENCE) || len(a.Statements) == maxSingles {
			return untrusted("the OCSP statements are malformed or too many")
		}
		s, err := parseStatement(one)
		if err != nil {
			return err
		}
		a.Statements = append(a.Statements, s)
	}
	if !data.ReadOptionalASN1(&wrapped, &has, explicit(1)) || !data.Empty() {
		return untrusted("bytes after the OCSP statements")
	}
	if has {
		return a.readExtensions(wrapped)
	}
	return nil
}

func (a *OCSPAnswer) readExtensions(wrapped cryptobyte.String) error {
	var list []trust.Extension
	if !trust.ReadExtensions(&wrapped, &list) || !wrapped.Empty() {
		return untrusted("the OCSP response's extensions are malformed")
	}
	for _, e := range list {
		switch {
		case e.ID == oidNonce:
			v := e.Value
			var octets cryptobyte.String
			if !v.ReadASN1(&octets, cbasn1.OCTET_STRING) || !v.Empty() || len(octets) == 0 {
				return untrusted("the OCSP nonce is malformed")
			}
			a.nonce = octets
		case e.ID == oidExtRevoke:
			a.ExtendedRevoke = true
		case e.Critical:
			return untrusted("the OCSP response has the unknown critical extension " + string(e.ID))
		}
	}
	return nil
}

func parseStatement(in cryptobyte.String) (OCSPStatement, error) {
	var s OCSPStatement
	var id, nameHash, keyHash, status, wrapped cryptobyte.String
	var alg trust.Algorithm
	var tag cbasn1.Tag
	var has bool
	if !in.ReadASN1(&id, cbasn1.SEQUENCE) || !trust.ReadAlgorithm(&id, &alg) || !id.ReadASN1(&nameHash, cbasn1.OCTET_STRING) ||
		!id.ReadASN1(&keyHash, cbasn1.OCTET_STRING) || !trust.ReadSerial(&id, &s.id.serial) || !id.Empty() {
		return s, untrusted("the CertID of an OCSP statement is malformed")
	}
	s.id.hash, s.id.nameHash, s.id.keyHash = alg.ID, nameHash, keyHash
	if !in.ReadAnyASN1(&status, &tag) {
		return s, untrusted("an OCSP status is malformed")
	}
	switch {
	case tag == cbasn1.Tag(0).ContextSpecific() && len(status) == 0:
		s.Status = StatusGood
	case tag == cbasn1.Tag(2).ContextSpecific() && len(status) == 0:
		s.Status = StatusUnknown
	case tag == explicit(1):
		s.Status = StatusRevoked
		var reason cryptobyte.String
		ok := trust.ReadGeneralizedTime(&status, &s.RevokedAt) && status.ReadOptionalASN1(&reason, &has, explicit(0)) && status.Empty()
		if ok && has {
			s.Reason, ok = readReason(reason)
		}
		if !ok || s.Reason == RemoveFromCRL {
			return s, untrusted("an OCSP status is malformed")
		}
	default:
		return s, untrusted("an OCSP status is malformed")
	}
	if !trust.ReadGeneralizedTime(&in, &s.ThisUpdate) || !in.ReadOptionalASN1(&wrapped, &has, explicit(0)) ||
		has && (!trust.ReadGeneralizedTime(&wrapped, &s.NextUpdate) || !wrapped.Empty() || s.NextUpdate.Before(s.ThisUpdate)) {
		return s, untrusted("the times of an OCSP statement are malformed")
	}
	if !in.ReadOptionalASN1(&wrapped, &has, explicit(1)) || !in.Empty() {
		return s, untrusted("bytes after an OCSP statement")
	}
	if has {
		var list []trust.Extension
		if !trust.ReadExtensions(&wrapped, &list) || !wrapped.Empty() {
			return s, untrusted("the extensions of an OCSP statement are malformed")
		}
		for _, e := range list {
			if e.ID == oidInvalidity {
				if s.InvalidSince, has = readInvalidity(e.Value); !has {
					return s, untrusted("an invalidityDate is malformed")
				}
			} else if e.Critical {
				return s, untrusted("an OCSP statement has the unknown critical extension " + string(e.ID))
			}
		}
	}
	return s, nil
}
