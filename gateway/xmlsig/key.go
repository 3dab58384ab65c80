package xmlsig

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"sync/atomic"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A Key signs for the owner of one certificate. It is safe for concurrent use if its signer is.
type Key struct{ now atomic.Pointer[pair] }

// A pair is a private key with its certificate.
type pair struct {
	cert   *trust.Certificate
	signer crypto.Signer
	own    *CertificateCache // what Sign verifies with: its certificate is parsed once
}

// NewKey joins a certificate in DER with its private key, and tries them on each other. RSA
// keys sign PKCS #1 v1.5; a GOST signer gets the digest and a hash of 0. The error carries
// [gateway.ConfigInvalid] or the reason of a certificate that cannot be read.
func NewKey(cert []byte, signer crypto.Signer) (*Key, error) {
	if signer == nil {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "no private key")
	}
	c, err := trust.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	p := &pair{c, signer, NewCertificateCache(2)}
	m, _, err := p.methods()
	if err != nil {
		return nil, err
	}
	h := m.hash.New()
	if h == nil {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "this build cannot sign with a key of kind %s", c.Key.Kind())
	}
	h.Write([]byte("egov-gateway: does the key belong to the certificate?"))
	sum := h.Sum(nil)
	sig, err := p.sign(m, sum)
	if err != nil {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "the private key does not sign: %w", err)
	}
	if c.Key.VerifyDigest(m.hash, sum, sig) != nil {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "the private key does not belong to the certificate")
	}
	k := new(Key)
	k.now.Store(p)
	return k, nil
}

// Replace makes k sign as next does, for all who hold k. A signature under way ends as it began.
func (k *Key) Replace(next *Key) { k.now.Store(next.now.Load()) }

// LoadPEM reads an unencrypted private key, RSA (PKCS #8 or PKCS #1) or GOST (PKCS #8), and
// CERTIFICATE blocks, the first of which is the signer's; the others are ignored.
func LoadPEM(data []byte) (*Key, error) {
	var signer crypto.Signer
	var cert []byte
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		switch b.Type {
		case "CERTIFICATE":
			if cert == nil {
				cert = b.Bytes
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY":
			if signer != nil {
				return nil, gateway.Errorf(gateway.ConfigInvalid, "more than one private key")
			}
			if b.Headers["DEK-Info"] != "" {
				return nil, gateway.Errorf(gateway.ConfigInvalid, "the private key is encrypted")
			}
			var err error
			if b.Type == "PRIVATE KEY" {
				signer, err = parsePrivateKey(b.Bytes)
			} else if signer, err = x509.ParsePKCS1PrivateKey(b.Bytes); err != nil {
				err = gateway.Errorf(gateway.ConfigInvalid, "the private key cannot be read")
			}
			if err != nil {
				return nil, err
			}
		case "ENCRYPTED PRIVATE KEY":
			return nil, gateway.Errorf(gateway.ConfigInvalid, "the private key is encrypted")
		}
	}
	switch {
	case signer == nil:
		return nil, gateway.Errorf(gateway.ConfigInvalid, "no private key")
	case cert == nil:
		return nil, gateway.Errorf(gateway.ConfigInvalid, "no certificate beside the private key")
	}
	return NewKey(cert, signer)
}

// Certificate returns the signer's certificate.
func (k *Key) Certificate() *trust.Certificate { return k.now.Load().cert }

// methods returns how this key signs, and the name of the digest method that goes with it.
func (p *pair) methods() (signatureMethod, string, error) {
	switch kind := p.cert.Key.Kind(); kind {
	case trust.RSA:
		return signatureMethod{kind, trust.SHA256}, DigestSHA256, nil
	case trust.GOST2015:
		return signatureMethod{kind, trust.Streebog512}, DigestGOST2015, nil
	case trust.GOST2004:
		return signatureMethod{kind, trust.GOST94}, DigestGOST2004, nil
	default:
		return signatureMethod{}, "", gateway.Errorf(gateway.ConfigInvalid, "documents are not signed with a key of kind %s", kind)
	}
}

func (p *pair) sign(m signatureMethod, sum []byte) ([]byte, error) {
	var hash crypto.Hash
	if m.kind == trust.RSA {
		hash = crypto.SHA256
	}
	return p.signer.Sign(rand.Reader, sum, hash)
}
