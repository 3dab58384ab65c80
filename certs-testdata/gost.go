package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway/xmlsig/gost"
)

// gostSignatureAlgorithm is the AlgorithmIdentifier of GOST-2015 signatures, in DER, as the NCA writes it.
var gostSignatureAlgorithm = element(cbasn1.SEQUENCE, oidBytes(1, 2, 398, 3, 10, 1, 1, 2, 3, 2), asn1.NullBytes)

// gostKeyAlgorithm is that of GOST-2015 keys.
var gostKeyAlgorithm = element(cbasn1.SEQUENCE, oidBytes(1, 2, 398, 3, 10, 1, 1, 2, 2),
	element(cbasn1.SEQUENCE, oidBytes(1, 2, 398, 3, 10, 1, 1, 2, 2, 1), oidBytes(1, 2, 398, 3, 10, 1, 3, 3)))

// GOSTSignatureAlgorithm returns the AlgorithmIdentifier of GOST-2015 signatures in DER, as the
// NCA writes it.
func GOSTSignatureAlgorithm() []byte { return append([]byte(nil), gostSignatureAlgorithm...) }

// NewGOSTDigest returns the hash that goes with it, Streebog-512.
func NewGOSTDigest() hash.Hash { return gost.NewStreebog512() }

func element(tag cbasn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

func oidBytes(arcs ...int) []byte {
	b, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic(err)
	}
	return b
}

func gostSPKI(k *gost.PublicKey) []byte {
	return element(cbasn1.SEQUENCE, gostKeyAlgorithm, element(cbasn1.BIT_STRING, []byte{0}, element(cbasn1.OCTET_STRING, k.Bytes())))
}

// marshalGOSTKey writes PKCS #8 as the NCA's key stores hold it: the number, little-endian, in an OCTET STRING.
func marshalGOSTKey(k *gost.PrivateKey) []byte {
	return element(cbasn1.SEQUENCE, []byte{2, 1, 0}, gostKeyAlgorithm, element(cbasn1.OCTET_STRING, element(cbasn1.OCTET_STRING, k.Bytes())))
}

func parseGOSTKey(pkcs8 []byte) (*gost.PrivateKey, error) {
	in := cryptobyte.String(pkcs8)
	var seq, alg, outer, number cryptobyte.String
	var version int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1Integer(&version) || version != 0 || !seq.ReadASN1Element(&alg, cbasn1.SEQUENCE) ||
		string(alg) != string(gostKeyAlgorithm) || !seq.ReadASN1(&outer, cbasn1.OCTET_STRING) || !seq.Empty() || !outer.ReadASN1(&number, cbasn1.OCTET_STRING) || !outer.Empty() {
		return nil, errors.New("not a GOST-2015 key in PKCS #8")
	}
	return gost.ParsePrivateKey(gost.Curve512A(), number)
}

// issueGOST makes a certificate of the same template with a GOST key. The standard library
// writes it for a key that is thrown away; then key, algorithm and signature are replaced.
func (p plan) issueGOST(issuers map[string]*issued) (*issued, error) {
	key, err := gost.GenerateKey(gost.Curve512A(), nil)
	if err != nil {
		return nil, err
	}
	spki := gostSPKI(key.Public().(*gost.PublicKey))
	ski := sha1.Sum(key.Public().(*gost.PublicKey).Bytes())
	t, err := p.template(ski[:])
	if err != nil {
		return nil, err
	}
	t.SignatureAlgorithm = x509.ECDSAWithSHA256
	parent, signer := t, crypto.Signer(key)
	if p.Issuer != p.ID {
		i := issuers[p.Issuer]
		if i == nil {
			return nil, errors.New("issuer " + p.Issuer + " comes later")
		}
		parent, signer = i.cert, i.key
	}
	lent, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, lent.Public(), lent)
	if err != nil {
		return nil, err
	}
	in := cryptobyte.String(der)
	var outer, tbs cryptobyte.String
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1(&tbs, cbasn1.SEQUENCE) {
		return nil, errors.New("not a certificate")
	}
	var parts [][]byte
	for !tbs.Empty() {
		var e cryptobyte.String
		var tag cbasn1.Tag
		if !tbs.ReadAnyASN1Element(&e, &tag) {
			return nil, errors.New("not a certificate")
		}
		parts = append(parts, e)
	}
	parts[2], parts[6] = gostSignatureAlgorithm, spki // after version and serial; after the subject
	signed := element(cbasn1.SEQUENCE, parts...)
	h := gost.NewStreebog512()
	h.Write(signed)
	sig, err := signer.Sign(rand.Reader, h.Sum(nil), nil)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(element(cbasn1.SEQUENCE, signed, gostSignatureAlgorithm, element(cbasn1.BIT_STRING, []byte{0}, sig)))
	return &issued{cert, key}, err
}
