package xmlsig

import (
	"crypto/sha256"
	"math/big"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway/trust"
)

// A CertificateCache remembers the certificates of signatures that verified by the SHA-256 of
// their DER, so that a signer who comes again is not parsed again. It says nothing of their
// trust. It is safe for concurrent use.
type CertificateCache struct {
	generation int // certificates in each of the two maps

	mu         sync.Mutex // guards young, old and octets
	young, old map[[sha256.Size]byte]*trust.Certificate
	octets     int // of young
}

// Bounds of a [CertificateCache]: the number of certificates in one made with 0, and the memory
// in which any of them keeps its certificates.
const (
	DefaultCertificates = 4096
	certificateOctets   = 4 << 20
)

// NewCertificateCache returns a cache that holds at most n certificates; 0 means
// [DefaultCertificates]. Those not seen for longest are forgotten.
func NewCertificateCache(n int) *CertificateCache {
	if n <= 0 {
		n = DefaultCertificates
	}
	return &CertificateCache{generation: max(n/2, 1), young: map[[sha256.Size]byte]*trust.Certificate{}}
}

// get returns the certificate in der if it is remembered. A nil cache remembers none.
func (c *CertificateCache) get(der []byte) *trust.Certificate {
	if c == nil {
		return nil
	}
	sum := sha256.Sum256(der)
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

// put remembers a certificate whose key has signed a document.
func (c *CertificateCache) put(cert *trust.Certificate) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sum := cert.Fingerprint(); c.young[sum] == nil {
		c.add(sum, cert)
	}
}

// add is called with mu held.
func (c *CertificateCache) add(sum [sha256.Size]byte, cert *trust.Certificate) {
	octets := cert.Footprint()
	if len(c.young) >= c.generation || c.octets+octets > certificateOctets/2 {
		c.old, c.young, c.octets = c.young, make(map[[sha256.Size]byte]*trust.Certificate), 0
	}
	c.young[sum] = cert
	c.octets += octets
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
