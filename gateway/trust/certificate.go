package trust

import (
	"crypto/rsa"
	"crypto/x509"
	"time"

	"egov-gateway/gateway"
)

// A Certificate is a registration certificate that passed the strict reader. It is
// immutable and safe for concurrent use.
type Certificate struct {
	Raw       []byte // the whole DER
	NotBefore time.Time
	NotAfter  time.Time
	Key       PublicKey
}

// ParseCertificate reads exactly one DER certificate.
func ParseCertificate(der []byte) (*Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, gateway.Errorf(gateway.CertificateMalformed, "%v", err)
	}
	pub, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, gateway.Errorf(gateway.AlgorithmForbidden, "the key is not RSA")
	}
	return &Certificate{Raw: c.Raw, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Key: rsaKey{pub}}, nil
}
