package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"

	"egov-gateway/gateway"
)

// ecdsaCurves are the named curves of RFC 5480 §2.1.1.1 that are accepted, by their parameters in DER.
var ecdsaCurves = []struct {
	parameters []byte
	curve      elliptic.Curve
}{
	{[]byte("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"), elliptic.P256()}, // 1.2.840.10045.3.1.7
	{[]byte("\x06\x05\x2b\x81\x04\x00\x22"), elliptic.P384()},             // 1.3.132.0.34
}

type ecdsaKey struct{ pub *ecdsa.PublicKey }

// parseECDSA reads an uncompressed point of a named curve.
func parseECDSA(alg Algorithm, bits []byte) (PublicKey, error) {
	for _, c := range ecdsaCurves {
		if !bytes.Equal(alg.Parameters, c.parameters) {
			continue
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(c.curve, bits)
		if err != nil {
			return nil, gateway.Errorf(gateway.KeyWeak, "an ECDSA key that is no point of its curve")
		}
		return ecdsaKey{pub}, nil
	}
	return nil, gateway.Errorf(gateway.KeyWeak, "an ECDSA key on another curve than P-256 and P-384")
}

func (k ecdsaKey) Kind() KeyKind { return ECDSA }

// VerifyDigest checks an Ecdsa-Sig-Value in strict DER (RFC 3279 §2.2.3).
func (k ecdsaKey) VerifyDigest(h Hash, digest, sig []byte) error {
	switch h {
	case SHA256, SHA384, SHA512:
	default:
		return gateway.Errorf(gateway.SignatureKeyMismatch, "an ECDSA key does not sign this digest")
	}
	if !ecdsa.VerifyASN1(k.pub, digest, sig) {
		return gateway.Errorf(gateway.SignatureInvalid, "the ECDSA signature is wrong")
	}
	return nil
}
