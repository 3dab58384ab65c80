package xmlsig

import (
	"crypto"
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig/gost"
	"egov-gateway/gateway/xmlsig/pkcs12"
)

// LoadPKCS12 reads a key file of the National Certification Authority, or any PKCS #12 file with
// one RSA or GOST private key and its certificate; other certificates are ignored. The error
// carries [gateway.ConfigInvalid], also for a wrong password, or the reason of a certificate
// that cannot be read.
func LoadPKCS12(data []byte, password string) (*Key, error) {
	c, err := pkcs12.Open(data, password)
	if err != nil {
		return nil, err
	}
	switch {
	case len(c.Keys) == 0:
		return nil, gateway.Errorf(gateway.ConfigInvalid, "no private key")
	case len(c.Keys) > 1:
		return nil, gateway.Errorf(gateway.ConfigInvalid, "more than one private key")
	case len(c.Certificates) == 0:
		return nil, gateway.Errorf(gateway.ConfigInvalid, "no certificate beside the private key")
	case len(c.Certificates) > maxKeyCertificates:
		return nil, gateway.Errorf(gateway.ConfigInvalid, "more than %d certificates", maxKeyCertificates)
	}
	signer, err := parsePrivateKey(c.Keys[0])
	if err != nil {
		return nil, err
	}
	var first error
	for _, cert := range c.Certificates {
		k, err := NewKey(cert, signer)
		if err == nil {
			return k, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// maxKeyCertificates bounds how many certificates of a key file are tried on its key.
const maxKeyCertificates = 16

// parsePrivateKey reads PrivateKeyInfo (RFC 5208): RSA, or GOST as the NCA writes it, an octet
// string with the little-endian number inside the octet string that every key has.
func parsePrivateKey(der []byte) (crypto.Signer, error) {
	in := cryptobyte.String(der)
	var seq, key, number cryptobyte.String
	var version int
	var alg trust.Algorithm
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(&version) || !trust.ReadAlgorithm(&seq, &alg) || !seq.ReadASN1(&key, asn1.OCTET_STRING) {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "the private key cannot be read")
	}
	var curve *gost.Curve
	switch alg.ID {
	case "1.2.398.3.10.1.1.2.2":
		curve = gost.Curve512A()
	case "1.2.398.3.10.1.1.1.1":
		curve = gost.Curve256A()
	default:
		k, err := x509.ParsePKCS8PrivateKey(der)
		signer, ok := k.(crypto.Signer)
		if err != nil || !ok {
			return nil, gateway.Errorf(gateway.ConfigInvalid, "the private key cannot be read")
		}
		return signer, nil
	}
	if !key.ReadASN1(&number, asn1.OCTET_STRING) || !key.Empty() {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "the GOST private key is not an octet string")
	}
	k, err := gost.ParsePrivateKey(curve, number)
	if err != nil {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "the GOST private key is not a number of its curve")
	}
	return k, nil
}
