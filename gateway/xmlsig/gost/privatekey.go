package gost

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"hash"
	"io"
)

// A PrivateKey signs. It is immutable, safe for concurrent use, and a [crypto.Signer].
//
// What is constant-time: for a given curve the instructions and the memory addresses of Sign,
// of GenerateKey and of the public key's computation do not depend on the private key or on
// the per-signature secret k. Scalars are recoded into signs without branches, every table
// look-up reads the whole table, points are added with complete formulas, field and scalar
// arithmetic runs without secret branches, and inversion is a fixed power. Not covered: that
// k was drawn again (about once in 2^128 signatures or rarer), the length of the private key's
// bytes, the HMAC over them (Streebog looks up tables by bytes of its input, so its cache lines
// depend on key and k), power, radiation and faults, and copies that the garbage collector
// leaves in memory.
type PrivateKey struct {
	curve  *Curve
	d      scalar
	public *PublicKey
}

// ErrPrivateKey: the bytes are not a number from 1 to q−1.
var ErrPrivateKey = errors.New("gost: not a private key of this curve")

// ErrDigest: the digest has not the length of the curve's numbers.
var ErrDigest = errors.New("gost: the digest is not as long as the key")

// ParsePrivateKey reads a little-endian number of [Curve.Size] bytes.
func ParsePrivateKey(c *Curve, le []byte) (*PrivateKey, error) {
	if len(le) != c.Size() {
		return nil, ErrPrivateKey
	}
	d, ok := c.order.read(le)
	if ok == 0 {
		return nil, ErrPrivateKey
	}
	public, err := ParsePublicKey(c, c.multiplyBase(c.order, &d))
	if err != nil {
		return nil, err
	}
	return &PrivateKey{c, d, public}, nil
}

// GenerateKey makes a key from random bytes; nil means crypto/rand.
func GenerateKey(c *Curve, random io.Reader) (*PrivateKey, error) {
	if random == nil {
		random = rand.Reader
	}
	b := make([]byte, c.Size())
	for {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, err
		}
		if k, err := ParsePrivateKey(c, b); err == nil {
			return k, nil
		}
	}
}

// Bytes returns the little-endian number.
func (k *PrivateKey) Bytes() []byte { return k.curve.order.append(nil, &k.d) }

// Public returns the *[PublicKey].
func (k *PrivateKey) Public() crypto.PublicKey { return k.public }

// Equal reports whether x is the same key, in constant time.
func (k *PrivateKey) Equal(x crypto.PrivateKey) bool {
	o, ok := x.(*PrivateKey)
	return ok && o != nil && k.curve == o.curve && hmac.Equal(k.Bytes(), o.Bytes())
}

// Sign returns r‖s, each little-endian, over digest (GOST R 34.10-2012 §6.1), which must be
// [Curve.Size] bytes in the order of this package's hashes. opts is ignored.
//
// k comes from HMAC_DRBG (RFC 6979 §3.2 with Streebog) seeded with key, digest and as many
// bytes of random, nil for crypto/rand: a broken generator alone does not give the key away,
// and neither does a fault that only a deterministic signer would repeat. An empty random
// makes signing deterministic.
func (k *PrivateKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	o, n := k.curve.order, k.curve.Size()
	if len(digest) != n {
		return nil, ErrDigest
	}
	if random == nil {
		random = rand.Reader
	}
	hedge := make([]byte, n)
	got, err := io.ReadFull(random, hedge)
	if err != nil && err != io.EOF {
		return nil, err
	}
	e := o.digest(digest)
	nonces := newDRBG(n, k.Bytes(), o.append(nil, &e), hedge[:got])
	for {
		nonce := nonces.next(o)
		xy := k.curve.multiplyBase(o, &nonce)
		x, _ := o.read(xy[:n])
		r := o.once(&x)
		rd, ke := o.mul(&r, &k.d), o.mul(&nonce, &e)
		s := o.add(&rd, &ke)
		if r.isZero()|s.isZero() == 0 {
			return o.append(o.append(make([]byte, 0, 2*n), &r), &s), nil
		}
	}
}

// A drbg is the HMAC_DRBG of RFC 6979 §3.2.
type drbg struct {
	new  func() hash.Hash
	k, v []byte
}

func newDRBG(size int, seed ...[]byte) *drbg {
	g := &drbg{new: NewStreebog512, k: make([]byte, size), v: make([]byte, size)}
	if size == Streebog256Size {
		g.new = NewStreebog256
	}
	for i := range g.v {
		g.v[i] = 1
	}
	for _, separator := range []byte{0, 1} {
		g.k = g.mac(append([][]byte{g.v, {separator}}, seed...)...)
		g.v = g.mac(g.v)
	}
	return g
}

func (g *drbg) mac(parts ...[]byte) []byte {
	m := hmac.New(g.new, g.k)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// next returns the next number from 1 to q−1.
func (g *drbg) next(o *order) scalar {
	for {
		g.v = g.mac(g.v)
		k, ok := o.read(g.v)
		if ok != 0 {
			return k
		}
		g.k = g.mac(g.v, []byte{0})
		g.v = g.mac(g.v)
	}
}
