package trust

import (
	"bytes"
	"math/bits"

	"filippo.io/bigmod"

	"egov-gateway/gateway"
)

// An rsaKey keeps the Montgomery constants of its modulus: crypto/rsa computes them anew for
// every signature, which costs a third of a verification with 2048 bits. It is immutable. The
// exponent is 65537.
type rsaKey struct {
	modulus *bigmod.Modulus
	size    int // of the modulus in bytes
}

func newRSAKey(n []byte) (rsaKey, error) {
	m, err := bigmod.NewModulus(n)
	if err != nil {
		return rsaKey{}, err
	}
	return rsaKey{m, m.Size()}, nil
}

func (k rsaKey) Kind() KeyKind { return RSA }

// VerifyDigest checks PKCS #1 v1.5 (RFC 8017 §8.2.2): the signature is as long as the modulus
// and below it, and the encoded message is compared octet for octet with the only right one
// (§9.2), so that there is no padding to be parsed.
func (k rsaKey) VerifyDigest(h Hash, digest, sig []byte) error {
	prefix := digestInfo(h)
	switch {
	case prefix == "":
		return gateway.Errorf(gateway.SignatureKeyMismatch, "an RSA key does not sign this digest")
	case len(digest) != int(prefix[len(prefix)-1]):
		return gateway.Errorf(gateway.SignatureInvalid, "the digest is not as long as its method makes it")
	case len(sig) != k.size:
		return gateway.Errorf(gateway.SignatureInvalid, "the RSA signature is not as long as the modulus")
	}
	s := bigmod.NewNat()
	if _, err := s.SetBytes(sig, k.modulus); err != nil {
		return gateway.Errorf(gateway.SignatureInvalid, "the RSA signature is not below the modulus")
	}
	m := bigmod.NewNat().ExpShortVarTime(s, 65537, k.modulus)

	var want, got [MaxRSABits / 8]byte
	encodePKCS1(want[:k.size], prefix, digest)
	const word = bits.UintSize / 8
	limbs := m.Bits()
	for i := range k.size {
		got[k.size-1-i] = byte(limbs[i/word] >> (8 * (i % word)))
	}
	if !bytes.Equal(got[:k.size], want[:k.size]) {
		return gateway.Errorf(gateway.SignatureInvalid, "the RSA signature is wrong")
	}
	return nil
}

// encodePKCS1 fills em with EMSA-PKCS1-v1_5 (RFC 8017 §9.2). [MinRSABits] leaves room for any
// digest and eight octets of padding.
func encodePKCS1(em []byte, prefix string, digest []byte) {
	t := len(em) - len(prefix) - len(digest)
	em[0], em[1] = 0, 1
	for i := 2; i < t-1; i++ {
		em[i] = 0xFF
	}
	em[t-1] = 0
	copy(em[t:], prefix)
	copy(em[t+len(prefix):], digest)
}

// digestInfo is the DER before the digest (RFC 8017 §9.2 note 1); its last octet is the
// digest's length. It is empty for a hash that RSA does not sign.
func digestInfo(h Hash) string {
	switch h {
	case SHA256:
		return "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
	case SHA384:
		return "\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
	case SHA512:
		return "\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
	}
	return ""
}
