package gost

import "math/bits"

// A wide is a signed integer in two's complement, of as many words as its owner says.
type wide [10]uint64

// invertVariable returns 1/a mod q for a from 1 to q−1, in variable time and without
// allocating: division steps in batches of 62 (Bernstein and Yang 2019, in the form of
// libsecp256k1's modinv64_var).
func (o *order) invertVariable(a *scalar) scalar {
	var f, g, d, e wide // d·a ≡ f and e·a ≡ g, but for a power of two
	n := o.words + 2    // d and e grow by half of q in each of at most 25 batches
	copy(f[:], o.q[:o.words])
	copy(g[:], a[:o.words])
	e[0] = 1
	inverse := inverseWord(o.q[0])
	eta := int64(-1)
	// f and g fit into short words even when multiplied by 2^62, and shrink.
	for short := o.words + 1; ; {
		var m steps
		eta = m.run(eta, f[0], g[0])
		f, g = combine(&f, m.u, &g, m.v, short), combine(&f, m.q, &g, m.r, short)
		f.shift(short)
		g.shift(short)
		d, e = combine(&d, m.u, &e, m.v, n), combine(&d, m.q, &e, m.r, n)
		d.clear(o, inverse, n)
		e.clear(o, inverse, n)
		d.shift(n)
		e.shift(n)
		for short > 2 && f.spare(short) && g.spare(short) {
			short--
		}
		if short == 2 && g[0]|g[1] == 0 {
			// f is 1 or −1 now, and d its quotient by a.
			if f[0] != 1 {
				d = combine(&d, -1, &e, 0, n)
			}
			return d.reduce(o, n)
		}
	}
}

// inverseWord returns 1/x mod 2^64 for odd x.
func inverseWord(x uint64) uint64 {
	y := x // right to three bits, and twice as many after each turn
	for range 5 {
		y *= 2 - x*y
	}
	return y
}

// steps is the matrix of 62 division steps: (f, g) becomes (u·f + v·g, q·f + r·g) / 2^62.
type steps struct{ u, v, q, r int64 }

func (m *steps) run(eta int64, f, g uint64) int64 {
	u, v, q, r := uint64(1), uint64(0), uint64(0), uint64(1)
	for left := 62; ; {
		zeros := bits.TrailingZeros64(g | ^uint64(0)<<left)
		g >>= zeros
		u <<= zeros
		v <<= zeros
		eta -= int64(zeros)
		if left -= zeros; left == 0 {
			break
		}
		var w uint64
		if eta < 0 {
			eta = -eta
			f, g = g, -f
			u, q = q, -u
			v, r = r, -v
			// Cancel up to six bits of g with a multiple of f.
			w = f * g * (f*f - 2) & 63
		} else {
			// Cancel up to four.
			w = f + (f+1)&4<<1
			w = -w * g & 15
		}
		w &= ^uint64(0) >> (64 - min(eta+1, int64(left)))
		g += f * w
		q += u * w
		r += v * w
	}
	*m = steps{int64(u), int64(v), int64(q), int64(r)}
	return eta
}

// combine returns a·x + b·y in n words.
func combine(x *wide, a int64, y *wide, b int64, n int) (z wide) {
	// A negative factor is 2^64 too large as an unsigned one.
	negativeA, negativeB := uint64(a>>63), uint64(b>>63)
	var carryX, carryY, lastX, lastY, k, kx, ky uint64
	for i := range n {
		hx, lx := bits.Mul64(uint64(a), x[i])
		hy, ly := bits.Mul64(uint64(b), y[i])
		var c uint64
		lx, c = bits.Add64(lx, carryX, 0)
		carryX = hx + c
		ly, c = bits.Add64(ly, carryY, 0)
		carryY = hy + c
		z[i], k = bits.Add64(lx, ly, k)
		z[i], kx = bits.Sub64(z[i], lastX&negativeA, kx)
		z[i], ky = bits.Sub64(z[i], lastY&negativeB, ky)
		lastX, lastY = x[i], y[i]
	}
	return z
}

// clear adds the multiple of q that makes the low 62 bits zero.
func (x *wide) clear(o *order, inverse uint64, n int) {
	k := -x[0] * inverse << 2 >> 2 // below 2^62
	var carry, c uint64
	for i := range o.words {
		hi, lo := bits.Mul64(k, o.q[i])
		lo, c = bits.Add64(lo, carry, 0)
		carry = hi + c
		x[i], c = bits.Add64(x[i], lo, 0)
		carry += c
	}
	for i := o.words; i < n; i++ {
		x[i], carry = bits.Add64(x[i], carry, 0)
	}
}

// shift divides by 2^62.
func (x *wide) shift(n int) {
	for i := range n - 1 {
		x[i] = x[i]>>62 | x[i+1]<<2
	}
	x[n-1] = uint64(int64(x[n-1]) >> 62)
}

// spare reports whether the two highest of n words only repeat the sign.
func (x *wide) spare(n int) bool {
	sign := uint64(int64(x[n-3]) >> 63)
	return x[n-1] == sign && x[n-2] == sign
}

// reduce returns x mod q for x between −32q and 32q.
func (x *wide) reduce(o *order, n int) (s scalar) {
	for int64(x[n-1]) < 0 {
		x.addOrder(o, n)
	}
	for {
		var d wide
		var borrow uint64
		for i := range n {
			var w uint64
			if i < o.words {
				w = o.q[i]
			}
			d[i], borrow = bits.Sub64(x[i], w, borrow)
		}
		if borrow != 0 {
			copy(s[:o.words], x[:])
			return s
		}
		*x = d
	}
}

func (x *wide) addOrder(o *order, n int) {
	var carry uint64
	for i := range n {
		var w uint64
		if i < o.words {
			w = o.q[i]
		}
		x[i], carry = bits.Add64(x[i], w, carry)
	}
}
