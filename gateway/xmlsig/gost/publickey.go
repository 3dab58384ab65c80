package gost

import (
	"bytes"
	"crypto"
	"errors"
	"sync/atomic"
)

// A PublicKey checks signatures. It is immutable and safe for concurrent use.
type PublicKey struct {
	curve *Curve
	raw   []byte
	point publicPoint

	cache *KeyCache           // nil for a key of [ParsePublicKey]
	table atomic.Pointer[any] // what point.comb returned
	last  atomic.Uint64       // the cache's clock at the last use, 0 for never
}

// ErrPublicKey: the bytes are not a point of the curve.
var ErrPublicKey = errors.New("gost: not a public key of this curve")

// ParsePublicKey reads x‖y, each little-endian and of [Curve.Size] bytes, as the NCA's
// certificates hold it. Other lengths, coordinates of p or more, and points off the curve are
// [ErrPublicKey]; the identity has no such encoding.
func ParsePublicKey(c *Curve, le []byte) (*PublicKey, error) {
	n := c.Size()
	if len(le) != 2*n {
		return nil, ErrPublicKey
	}
	point, ok := c.parse(le[:n], le[n:])
	if !ok {
		return nil, ErrPublicKey
	}
	return &PublicKey{curve: c, raw: bytes.Clone(le), point: point}, nil
}

// Curve returns the key's curve.
func (k *PublicKey) Curve() *Curve { return k.curve }

// Bytes returns what [ParsePublicKey] read.
func (k *PublicKey) Bytes() []byte { return bytes.Clone(k.raw) }

// Equal reports whether x is the same key on the same curve.
func (k *PublicKey) Equal(x crypto.PublicKey) bool {
	o, ok := x.(*PublicKey)
	return ok && o != nil && k.curve == o.curve && bytes.Equal(k.raw, o.raw)
}

// Precompute makes the table that a [KeyCache] would make at the second use, at once: for keys
// that are known to come often, such as those of configured CAs. It takes about two
// milliseconds the first time.
func (k *PublicKey) Precompute() {
	if k.table.Load() != nil {
		return
	}
	table := k.point.comb()
	if k.cache != nil {
		k.cache.hold(k, table)
	} else {
		k.table.Store(&table)
	}
}

// Verify reports whether sig is this key's signature of digest (GOST R 34.10-2012 §6.2). digest
// is in the byte order of this package's hashes and counts as a little-endian number; sig is
// r‖s, each little-endian. Wrong lengths and r or s outside 1…q−1 are false. The time depends
// on the arguments, none of which is a secret.
func (k *PublicKey) Verify(digest, sig []byte) bool {
	o, n := k.curve.order, k.curve.Size()
	if len(digest) != n || len(sig) != 2*n {
		return false
	}
	r, okR := o.read(sig[:n])
	s, okS := o.read(sig[n:])
	if okR&okS == 0 {
		return false
	}
	e := o.digest(digest)
	v := o.invertVariable(&e)
	a := o.mul(&s, &v)
	b := o.mul(&r, &v)
	b = o.negate(&b)
	var table any
	if t := k.table.Load(); t != nil {
		table = *t
	}
	if k.cache != nil {
		k.cache.used(k, table != nil)
	}
	return k.point.equation(o, a, b, r, table)
}
