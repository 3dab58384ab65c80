package trust

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig/gost"
)

// Parameters of the NCA's keys in DER: the set of the curve, then the digest. Other sets exist
// on paper, and no certificate with one was ever seen.
var (
	gost2015Parameters = []byte("\x30\x16\x06\x0a\x2a\x83\x0e\x03\x0a\x01\x01\x02\x02\x01\x06\x08\x2a\x83\x0e\x03\x0a\x01\x03\x03")         // 1.2.398.3.10.1.1.2.2.1, 1.2.398.3.10.1.3.3
	gost2004Parameters = []byte("\x30\x18\x06\x0a\x2a\x83\x0e\x03\x0a\x01\x01\x01\x01\x01\x06\x0a\x2a\x83\x0e\x03\x0a\x01\x03\x01\x01\x00") // 1.2.398.3.10.1.1.1.1.1, 1.2.398.3.10.1.3.1.1.0
)

// signers remembers GOST keys across certificates: the CA's signature stands under every
// citizen's, and its table makes each cheaper. No verdict depends on it.
var signers = gost.NewKeyCache(gost.DefaultKeys, gost.DefaultTables)

type gostKey struct {
	kind KeyKind
	hash Hash
	pub  *gost.PublicKey
}

// parseGOST reads a BIT STRING that holds an OCTET STRING of x‖y, little-endian.
func parseGOST(kind KeyKind, alg Algorithm, bits []byte) (PublicKey, error) {
	curve, parameters, hash := gost.Curve512A(), gost2015Parameters, Streebog512
	if kind == GOST2004 {
		curve, parameters, hash = gost.Curve256A(), gost2004Parameters, GOST94
	}
	if !bytes.Equal(alg.Parameters, parameters) {
		return nil, gateway.Errorf(gateway.KeyWeak, "a %s key of another parameter set", kind)
	}
	in := cryptobyte.String(bits)
	var point cryptobyte.String
	if !in.ReadASN1(&point, cbasn1.OCTET_STRING) || !in.Empty() {
		return nil, gateway.Errorf(gateway.CertificateMalformed, "the %s key is not an octet string", kind)
	}
	pub, err := signers.PublicKey(curve, point)
	if err != nil {
		return nil, gateway.Errorf(gateway.KeyWeak, "the %s key is not a point of its curve", kind)
	}
	return gostKey{kind, hash, pub}, nil
}

func (k gostKey) Kind() KeyKind { return k.kind }

// VerifyDigest checks r‖s, little-endian, by GOST R 34.10-2012 §6.2.
func (k gostKey) VerifyDigest(h Hash, digest, sig []byte) error {
	if h != k.hash {
		return gateway.Errorf(gateway.SignatureKeyMismatch, "a %s key does not sign this digest", k.kind)
	}
	if !k.pub.Verify(digest, sig) {
		return gateway.Errorf(gateway.SignatureInvalid, "the %s signature is wrong", k.kind)
	}
	return nil
}
