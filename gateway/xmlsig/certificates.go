package xmlsig

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway/trust"
)

// A CertificateCache remembers parsed certificates by the SHA-256 of their DER, so that a
// signer who comes again is not parsed again. It says nothing of their trust. It is safe for
// concurrent use.
type CertificateCache struct {
	generation int // certificates in each of the two maps

	mu         sync.Mutex // guards young and old
	young, old map[[sha256.Size]byte]*trust.Certificate
}

// DefaultCertificates is the size of a [CertificateCache] made with 0.
const DefaultCertificates = 4096

// NewCertificateCache returns a cache that holds at most n certificates; 0 means
// [DefaultCertificates]. Those not seen for longest are forgotten.
func NewCertificateCache(n int) *CertificateCache {
	if n <= 0 {
		n = DefaultCertificates
	}
	return &CertificateCache{generation: max(n/2, 1), young: map[[sha256.Size]byte]*trust.Certificate{}}
}

// parse returns the certificate in der, which it does not keep. A nil cache parses each time.
func (c *CertificateCache) parse(der []byte) (*trust.Certificate, error) {
	if c == nil {
		return trust.ParseCertificate(bytes.Clone(der))
	}
	sum := sha256.Sum256(der)
	if cert := c.get(sum); cert != nil {
		return cert, nil
	}
	cert, err := trust.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil, err
	}
	c.put(sum, cert)
	return cert, nil
}

func (c *CertificateCache) get(sum [sha256.Size]byte) *trust.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert := c.young[sum]; cert != nil {
		return cert
	}
	cert := c.old[sum]
	if cert != nil {
		c.add(sum, cert)
	}
	return cert
}

func (c *CertificateCache) put(sum [sha256.Size]byte, cert *trust.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(sum, cert)
}

// add is called with mu held.
func (c *CertificateCache) add(sum [sha256.Size]byte, cert *trust.Certificate) {
	if len(c.young) >= c.generation {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]*trust.Certificate, c.generation)
	}
	c.young[sum] = cert
}

// serialNumber reads the serial number of a certificate that trust has parsed (RFC 5280 §4.1).
func serialNumber(cert *trust.Certificate) *big.Int {
	var outer, tbs cryptobyte.String
	der, serial := cryptobyte.String(cert.Raw), new(big.Int)
	if !der.ReadASN1(&outer, asn1.SEQUENCE) || !outer.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.ReadASN1Integer(serial) {
		return nil
	}
	return serial
}
