package trust

import (
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
)

// Bounds of RSA moduli in bits. Above the upper one a signature check costs milliseconds.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// ParsePublicKey reads one SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
func ParsePublicKey(spki []byte) (PublicKey, error) {
	in := cryptobyte.String(spki)
	var seq cryptobyte.String
	var alg Algorithm
	var bits []byte
	if !readSequence(in, &seq) || !ReadAlgorithm(&seq, &alg) || !seq.ReadASN1BitStringAsBytes(&bits) || !seq.Empty() {
		return nil, gateway.Errorf(gateway.CertificateMalformed, "the public key is not a SubjectPublicKeyInfo")
	}
	switch alg.ID {
	case "1.2.840.113549.1.1.1":
		return parseRSA(alg, bits)
	case "1.2.398.3.10.1.1.2.2":
		return parseGOST(GOST2015, alg, bits)
	case "1.2.398.3.10.1.1.1.1":
		return parseGOST(GOST2004, alg, bits)
	case "1.2.840.10045.2.1":
		return parseECDSA(alg, bits)
	}
	return nil, gateway.Errorf(gateway.AlgorithmForbidden, "public keys of algorithm %s are not accepted", alg.ID)
}

func parseRSA(alg Algorithm, bits []byte) (PublicKey, error) {
	in := cryptobyte.String(bits)
	var seq cryptobyte.String
	n, e := new(big.Int), new(big.Int)
	if len(alg.Parameters) != 2 || !alg.plain() || !readSequence(in, &seq) || !seq.PeekASN1Tag(cbasn1.INTEGER) ||
		!seq.ReadASN1Integer(n) || !seq.ReadASN1Integer(e) || !seq.Empty() || n.Sign() <= 0 {
		return nil, gateway.Errorf(gateway.CertificateMalformed, "the RSA key is not two positive integers")
	}
	switch {
	case n.BitLen() < MinRSABits || n.BitLen() > MaxRSABits:
		return nil, gateway.Errorf(gateway.KeyWeak, "an RSA key of %d bits", n.BitLen())
	case n.Bit(0) == 0:
		return nil, gateway.Errorf(gateway.KeyWeak, "an even RSA modulus")
	case !e.IsInt64() || e.Int64() != 65537:
		return nil, gateway.Errorf(gateway.KeyWeak, "an RSA exponent other than 65537")
	}
	k, err := newRSAKey(n.Bytes())
	if err != nil {
		return nil, gateway.Errorf(gateway.KeyWeak, "an RSA modulus that is none")
	}
	return k, nil
}
