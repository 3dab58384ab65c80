package gost

import (
	"encoding/binary"
	"math/bits"
)

// A scalar is an integer modulo a group's order, least significant word first. The 256-bit
// group uses the lower half.
type scalar [8]uint64

// An order is the prime number of points of a curve, 2^(64·words) − c, where c is below
// 2^(32·words). The functions run in time that does not depend on values, but for the ones
// named "variable".
type order struct {
	words int
	q, c  scalar
}

// reduce returns t mod q. With B = 2^(64·words) and c < 0.85·√B, three folds of the upper half
// leave less than (0.85·√B+1)·B, then 1.8·B, then B, and q is above B/2.
func (o *order) reduce(t *[16]uint64) (s scalar) {
	n := o.words
	for range 3 {
		var sum [16]uint64
		copy(sum[:n], t[:n])
		for i := range n {
			var carry uint64
			for j := range n / 2 {
				hi, lo := bits.Mul64(t[n+i], o.c[j])
				var k uint64
				lo, k = bits.Add64(lo, carry, 0)
				hi += k
				sum[i+j], k = bits.Add64(sum[i+j], lo, 0)
				carry = hi + k
			}
			for j := i + n/2; j < 2*n; j++ {
				sum[j], carry = bits.Add64(sum[j], carry, 0)
			}
		}
		*t = sum
	}
	copy(s[:n], t[:n])
	return o.once(&s)
}

// once sets s to s mod q for s below 2q.
func (o *order) once(s *scalar) scalar {
	var d scalar
	var borrow uint64
	for i := range o.words {
		d[i], borrow = bits.Sub64(s[i], o.q[i], borrow)
	}
	for i := range o.words {
		d[i] = d[i]&(borrow-1) | s[i]&-borrow
	}
	return d
}

func (o *order) mul(a, b *scalar) scalar {
	var t [16]uint64
	for i := range o.words {
		var carry uint64
		for j := range o.words {
			hi, lo := bits.Mul64(a[i], b[j])
			var k uint64
			lo, k = bits.Add64(lo, carry, 0)
			hi += k
			t[i+j], k = bits.Add64(t[i+j], lo, 0)
			carry = hi + k
		}
		t[i+o.words] = carry
	}
	return o.reduce(&t)
}

func (o *order) add(a, b *scalar) scalar {
	var t [16]uint64
	var carry uint64
	for i := range o.words {
		t[i], carry = bits.Add64(a[i], b[i], carry)
	}
	t[o.words] = carry
	return o.reduce(&t)
}

// negate returns q − a, which is q itself for 0.
func (o *order) negate(a *scalar) (z scalar) {
	var borrow uint64
	for i := range o.words {
		z[i], borrow = bits.Sub64(o.q[i], a[i], borrow)
	}
	return z
}

// isZero returns all ones for 0, else 0.
func (s *scalar) isZero() uint64 {
	var or uint64
	for _, w := range s {
		or |= w
	}
	return equalMask(or, 0)
}

// equalMask returns all ones when a is b, else 0.
func equalMask(a, b uint64) uint64 {
	d := a ^ b
	return (d|-d)>>63 - 1
}

// read reads little-endian bytes as they are; ok is all ones when 0 < s < q.
func (o *order) read(b []byte) (s scalar, ok uint64) {
	var borrow uint64
	for i := range o.words {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	for i := range o.words {
		_, borrow = bits.Sub64(s[i], o.q[i], borrow)
	}
	return s, -borrow &^ s.isZero()
}

func (o *order) append(b []byte, s *scalar) []byte {
	for _, w := range s[:o.words] {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// digest reads a digest as the standard's e: the integer mod q, or 1 for 0.
func (o *order) digest(b []byte) scalar {
	s, _ := o.read(b)
	s = o.once(&s)
	s[0] |= s.isZero() & 1
	return s
}

// plusOrder writes s + q and reports whether it fits, in variable time.
func (o *order) plusOrder(s *scalar, out []uint64) bool {
	var carry uint64
	for i := range out {
		out[i], carry = bits.Add64(s[i], o.q[i], carry)
	}
	return carry == 0
}

// wnaf writes the width-5 non-adjacent form of s and returns the place of the highest digit,
// in variable time. Digits are 0 or odd, from −15 to 15.
func wnaf(digits []int8, s *scalar, words int) int {
	var k [9]uint64
	copy(k[:words], s[:words])
	top := -1
	for at := 0; at < len(digits); {
		window := k[at/64] >> (at % 64)
		if at%64 > 59 && at/64+1 < len(k) {
			window |= k[at/64+1] << (64 - at%64)
		}
		if window&1 == 0 {
			at++
			continue
		}
		d := int8(window & 31)
		if d > 16 {
			d -= 32
			// Borrow: what stays above this window is one more.
			carry := uint64(1)
			i, shift := (at+5)/64, (at+5)%64
			if i < len(k) {
				k[i], carry = bits.Add64(k[i], 1<<shift, 0)
				for i++; carry != 0 && i < len(k); i++ {
					k[i], carry = bits.Add64(k[i], 0, carry)
				}
			}
		}
		digits[at] = d
		top = at
		at += 5
	}
	return top
}
