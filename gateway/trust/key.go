package trust

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"egov-gateway/gateway/xmlsig/gost"
)

// A KeyKind is the family of a public key, as a label and in reports.
type KeyKind string

const (
	RSA         KeyKind = "RSA"
	ECDSA       KeyKind = "ECDSA"
	GOST2015    KeyKind = "GOST2015-512" // GOST R 34.10-2012 / СТ РК ГОСТ Р 34.10-2015, 512 bit
	GOST2004    KeyKind = "GOST2004-256" // ГОСТ 34.310-2004, documents and CAs of the past
	KeyKindNone KeyKind = ""
)

// A Hash is a digest that a signature may be made over.
type Hash int

const (
	SHA256 Hash = iota + 1
	SHA384
	SHA512
	Streebog512 // RFC 6986
	GOST94      // GOST R 34.11-94 with the test S-box (ГОСТ 34.311-95 as the NCA uses it)
)

// New returns a fresh hash, or nil for one that is not in the list.
func (h Hash) New() hash.Hash {
	switch h {
	case SHA256:
		return sha256.New()
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	case Streebog512:
		return gost.NewStreebog512()
	case GOST94:
		return gost.NewGOST94()
	}
	return nil
}

// A PublicKey checks signatures. It is safe for concurrent use.
type PublicKey interface {
	Kind() KeyKind
	// VerifyDigest returns nil if sig is a signature over digest, which was made with h.
	// The error carries [gateway.SignatureInvalid], or [gateway.SignatureKeyMismatch] when a
	// key of this kind never signs digests of h.
	VerifyDigest(h Hash, digest, sig []byte) error
}
