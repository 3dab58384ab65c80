package gost

// A Curve is one of the two groups that the NCA's keys live in. Its methods are safe for
// concurrent use.
type Curve struct {
	name  string
	order *order
	parse func(x, y []byte) (publicPoint, bool)
	// multiplyBase returns x‖y of k·G, little-endian; it takes the same time for all k.
	multiplyBase func(o *order, k *scalar) []byte
}

// A publicPoint is a point of either size.
type publicPoint interface {
	// equation reports whether x(a·G + b·Q) mod q is r. table is nil or what comb returned.
	equation(o *order, a, b, r scalar, table any) bool
	// comb computes a table that makes equation about three times as fast.
	comb() any
}

var (
	curve512A = Curve{"id-tc26-gost-3410-12-512-paramSetA", &order512, parse512, multiplyBase512}
	curve256A = Curve{"id-GostR3410-2001-CryptoPro-A-ParamSet", &order256, parse256, multiplyBase256}
)

// Curve512A is the curve of GOST 34.10-2015 keys, id-tc26-gost-3410-12-512-paramSetA (RFC 7836).
func Curve512A() *Curve { return &curve512A }

// Curve256A is the curve of GOST 34.310-2004 keys, id-GostR3410-2001-CryptoPro-A-ParamSet
// (RFC 4357).
func Curve256A() *Curve { return &curve256A }

// String names the parameter set.
func (c *Curve) String() string { return c.name }

// Size is the length in bytes of a coordinate, a private key, a digest, and of each half of a
// signature: 64 or 32.
func (c *Curve) Size() int { return 8 * c.order.words }
