package gost

import "sync"

// An affine512 is a point of the curve other than the identity.
type affine512 struct{ x, y field512 }

// A jacobian512 is the point (x/z², y/z³), or the identity when z is 0.
type jacobian512 struct{ x, y, z field512 }

// A chudnovsky512 is a point other than the identity, with powers of z at hand for additions.
type chudnovsky512 struct{ x, y, z, zz, zzz field512 }

// valid reports whether the point is on y² = x³ − 3x + b.
func (a *affine512) valid() bool {
	var left, right, t field512
	sqr512(&left, &a.y)
	sqr512(&right, &a.x)
	mul512(&right, &right, &a.x)
	add512(&t, &a.x, &a.x)
	add512(&t, &t, &a.x)
	sub512(&right, &right, &t)
	add512(&right, &right, &b512)
	sub512(&left, &left, &right)
	return left.isZero()
}

func (p *jacobian512) set(a *affine512) { *p = jacobian512{a.x, a.y, field512{1}} }

// double is for curves with a = −3: 4 multiplications and 4 squarings, right for all points.
func (p *jacobian512) double() {
	var s, zz, m, t field512
	add512(&s, &p.y, &p.y)
	sqr512(&zz, &p.z)
	sqr512(&s, &s) // 4y²
	mul512(&p.z, &p.z, &p.y)
	add512(&p.z, &p.z, &p.z)
	add512(&m, &p.x, &zz)
	sub512(&zz, &p.x, &zz)
	sqr512(&p.y, &s)
	half512(&p.y, &p.y) // 8y⁴
	mul512(&m, &m, &zz)
	add512(&t, &m, &m)
	add512(&m, &m, &t) // 3(x−z²)(x+z²)
	mul512(&s, &s, &p.x)
	add512(&t, &s, &s)
	sqr512(&p.x, &m)
	sub512(&p.x, &p.x, &t)
	sub512(&s, &s, &p.x)
	mul512(&s, &s, &m)
	sub512(&p.y, &s, &p.y)
}

// addAffine adds a, or −a, in time that depends on the points.
func (p *jacobian512) addAffine(a *affine512, negative bool) {
	var zz, u, s, h, r, hh, v field512
	if p.z.isZero() {
		p.set(a)
		if negative {
			sub512(&p.y, &field512{}, &p.y)
		}
		return
	}
	sqr512(&zz, &p.z)
	mul512(&u, &a.x, &zz)
	mul512(&s, &p.z, &zz)
	mul512(&s, &s, &a.y)
	if negative {
		add512(&r, &s, &p.y) // −r
	} else {
		sub512(&r, &s, &p.y)
	}
	sub512(&h, &u, &p.x)
	if h.isZero() {
		p.meet(&r)
		return
	}
	sqr512(&hh, &h)
	mul512(&p.z, &p.z, &h)
	mul512(&h, &h, &hh) // h³
	mul512(&v, &p.x, &hh)
	p.finish(&h, &r, &v, negative)
}

// add adds c, or −c, in time that depends on the points.
func (p *jacobian512) add(c *chudnovsky512, negative bool) {
	var zz, u, s, h, r, hh, v field512
	if p.z.isZero() {
		*p = jacobian512{c.x, c.y, c.z}
		if negative {
			sub512(&p.y, &field512{}, &p.y)
		}
		return
	}
	sqr512(&zz, &p.z)
	mul512(&u, &c.x, &zz)
	mul512(&s, &p.z, &zz)
	mul512(&s, &s, &c.y)
	mul512(&p.x, &p.x, &c.zz)
	mul512(&p.y, &p.y, &c.zzz)
	if negative {
		add512(&r, &s, &p.y) // −r
	} else {
		sub512(&r, &s, &p.y)
	}
	sub512(&h, &u, &p.x)
	mul512(&p.z, &p.z, &c.z)
	if h.isZero() {
		p.meet(&r)
		return
	}
	sqr512(&hh, &h)
	mul512(&p.z, &p.z, &h)
	mul512(&h, &h, &hh) // h³
	mul512(&v, &p.x, &hh)
	p.finish(&h, &r, &v, negative)
}

// meet ends an addition of points with the same x: the same point, or opposite ones.
func (p *jacobian512) meet(r *field512) {
	if r.isZero() {
		p.double()
	} else {
		p.z = field512{}
	}
}

// finish computes x and y of the sum from h³, r, x·h² and the scaled y of p.
func (p *jacobian512) finish(hhh, r, v *field512, negative bool) {
	var t field512
	sqr512(&p.x, r)
	sub512(&p.x, &p.x, hhh)
	add512(&t, v, v)
	sub512(&p.x, &p.x, &t)
	mul512(&p.y, &p.y, hhh)
	if negative { // r is −r
		sub512(v, &p.x, v)
	} else {
		sub512(v, v, &p.x)
	}
	mul512(v, v, r)
	sub512(&p.y, v, &p.y)
}

func (p *jacobian512) chudnovsky() (c chudnovsky512) {
	c.x, c.y, c.z = p.x, p.y, p.z
	sqr512(&c.zz, &p.z)
	mul512(&c.zzz, &c.zz, &p.z)
	return c
}

// toAffine converts points other than the identity with one inversion for all.
func toAffine512(out []affine512, in []jacobian512) {
	products := make([]field512, len(in)+1)
	products[0] = field512{1}
	for i := range in {
		mul512(&products[i+1], &products[i], &in[i].z)
	}
	var inverse, z, zz field512
	invert512(&inverse, &products[len(in)])
	for i := len(in) - 1; i >= 0; i-- {
		mul512(&z, &inverse, &products[i])
		mul512(&inverse, &inverse, &in[i].z)
		sqr512(&zz, &z)
		mul512(&out[i].x, &in[i].x, &zz)
		mul512(&zz, &zz, &z)
		mul512(&out[i].y, &in[i].y, &zz)
	}
}

// The comb (Lim and Lee) reads a scalar as eight rows of spacing512 bits. A column takes one
// bit of each row, a block is steps512 neighbouring columns with one table for all of them.
// Bits are read as ±1, so that a table needs half of the points and none is the identity.
const (
	spacing512 = 512 / 8
	steps512   = spacing512 / combBlocks
)

type comb512 [combBlocks][combPoints]affine512

func newComb512(q *affine512) *comb512 {
	var rows [8 * combBlocks]jacobian512 // rows[8·b+i] is 2^(spacing·i + steps·b)·Q
	var p jacobian512
	p.set(q)
	for bit := range 512 {
		if i, b := bit/spacing512, bit%spacing512/steps512; bit%steps512 == 0 {
			rows[8*b+i] = p
		}
		p.double()
	}
	points := make([]jacobian512, combBlocks*combPoints)
	for b := range combBlocks {
		row := rows[8*b : 8*b+8]
		// points[m] is row 7 plus or minus each row below, plus where m has a bit.
		lowest, step := row[7], [7]chudnovsky512{}
		for i := range 7 {
			c := row[i].chudnovsky()
			lowest.add(&c, true)
			row[i].double()
			step[i] = row[i].chudnovsky()
		}
		block := points[b*combPoints : (b+1)*combPoints]
		block[0] = lowest
		for m := 1; m < combPoints; m++ {
			i := 0 // the lowest bit of m
			for m>>i&1 == 0 {
				i++
			}
			block[m] = block[m&^(1<<i)]
			block[m].add(&step[i], false)
		}
	}
	t := new(comb512)
	flat := make([]affine512, len(points))
	toAffine512(flat, points)
	for b := range t {
		copy(t[b][:], flat[b*combPoints:])
	}
	return t
}

// base512 is the comb of the generator, computed when first needed.
var base512 = sync.OnceValue(func() *comb512 { return newComb512(&g512) })

// odd512 recodes k for the comb: the result's bits are the signs of k, or of q − k when k is
// even and negate all ones. It takes the same time for all k.
func odd512(o *order, k *scalar) (signs scalar, negate uint64) {
	negate = (k[0] & 1) - 1
	minus := o.negate(k)
	for i := range o.words {
		k := k[i]&^negate | minus[i]&negate
		signs[i] |= k >> 1
		if i > 0 {
			signs[i-1] |= k << 63
		}
	}
	signs[o.words-1] |= 1 << 63
	return signs, negate
}

// column512 returns the table index and the sign (all ones for minus) of column j.
func column512(signs *scalar, j int) (index, minus uint64) {
	for i := range 7 {
		at := spacing512*i + j
		index |= signs[at/64] >> (at % 64) & 1 << i
	}
	at := spacing512*7 + j
	minus = signs[at/64]>>(at%64)&1 - 1
	return (index ^ minus) & (combPoints - 1), minus
}

// addColumns adds what step c of the comb t has for signs, in variable time.
func (p *jacobian512) addColumns(t *comb512, signs *scalar, c int, negate uint64) {
	for b := range t {
		index, minus := column512(signs, steps512*b+c)
		p.addAffine(&t[b][index], minus != negate)
	}
}

// A public512 is a point that somebody published.
type public512 struct{ q affine512 }

func (g public512) comb() any { return newComb512(&g.q) }

// equation reports whether x(a·G + b·Q) mod q is r, in variable time. table is Q's comb or nil.
func (g public512) equation(o *order, a, b, r scalar, table any) bool {
	base := base512()
	signs, negate := odd512(o, &a)
	var p jacobian512
	if t, ok := table.(*comb512); ok {
		signsQ, negateQ := odd512(o, &b)
		for c := steps512 - 1; c >= 0; c-- {
			p.double()
			p.addColumns(base, &signs, c, negate)
			p.addColumns(t, &signsQ, c, negateQ)
		}
		return p.hasX(o, &r)
	}
	var digits [512 + 1]int8
	top := wnaf(digits[:], &b, o.words)
	var odd [8]chudnovsky512 // Q, 3Q … 15Q
	p.set(&g.q)
	odd[0] = p.chudnovsky()
	p.double()
	twice := p.chudnovsky()
	for i := range 7 {
		p = jacobian512{odd[i].x, odd[i].y, odd[i].z}
		p.add(&twice, false)
		odd[i+1] = p.chudnovsky()
	}
	p = jacobian512{}
	for i := max(top, steps512-1); i >= 0; i-- {
		p.double()
		if d := digits[i]; d > 0 {
			p.add(&odd[d/2], false)
		} else if d < 0 {
			p.add(&odd[-d/2], true)
		}
		if i < steps512 {
			p.addColumns(base, &signs, i, negate)
		}
	}
	return p.hasX(o, &r)
}

// hasX reports whether x mod q is r, without an inversion: x is r, or r + q where that is below p.
func (p *jacobian512) hasX(o *order, r *scalar) bool {
	if p.z.isZero() {
		return false
	}
	var zz, x, t field512
	copy(x[:], r[:])
	sqr512(&zz, &p.z)
	mul512(&t, &x, &zz)
	sub512(&t, &t, &p.x)
	if t.isZero() {
		return true
	}
	if !o.plusOrder(r, x[:]) {
		return false
	}
	var below field512
	if reduce512(&below, &x); below != x {
		return false
	}
	mul512(&t, &x, &zz)
	sub512(&t, &t, &p.x)
	return t.isZero()
}

func parse512(x, y []byte) (publicPoint, bool) {
	var a affine512
	if !a.x.setBytes(x) || !a.y.setBytes(y) || !a.valid() {
		return nil, false
	}
	return public512{a}, true
}

// A projective512 is the point (x/z, y/z), for the complete formulas.
type projective512 struct{ x, y, z field512 }

// addComplete adds a. The formula has no exceptions on a curve of prime order, so it runs the
// same way for all points (Renes, Costello and Batina 2015, algorithm 5).
func (p *projective512) addComplete(a *affine512) {
	var t0, t1, t2, t3, t4, x3, y3, z3 field512
	mul512(&t0, &p.x, &a.x)
	mul512(&t1, &p.y, &a.y)
	add512(&t3, &a.x, &a.y)
	add512(&t4, &p.x, &p.y)
	mul512(&t3, &t3, &t4)
	add512(&t4, &t0, &t1)
	sub512(&t3, &t3, &t4)
	mul512(&t4, &a.y, &p.z)
	add512(&t4, &t4, &p.y)
	mul512(&y3, &a.x, &p.z)
	add512(&y3, &y3, &p.x)
	mul512(&z3, &b512, &p.z)
	sub512(&x3, &y3, &z3)
	add512(&z3, &x3, &x3)
	add512(&x3, &x3, &z3)
	sub512(&z3, &t1, &x3)
	add512(&x3, &t1, &x3)
	mul512(&y3, &b512, &y3)
	add512(&t1, &p.z, &p.z)
	add512(&t2, &t1, &p.z)
	sub512(&y3, &y3, &t2)
	sub512(&y3, &y3, &t0)
	add512(&t1, &y3, &y3)
	add512(&y3, &t1, &y3)
	add512(&t1, &t0, &t0)
	add512(&t0, &t1, &t0)
	sub512(&t0, &t0, &t2)
	mul512(&t1, &t4, &y3)
	mul512(&t2, &t0, &y3)
	mul512(&y3, &x3, &z3)
	add512(&p.y, &y3, &t2)
	mul512(&x3, &t3, &x3)
	sub512(&p.x, &x3, &t1)
	mul512(&z3, &t4, &z3)
	mul512(&t1, &t3, &t0)
	add512(&p.z, &z3, &t1)
}

// doubleComplete is algorithm 6 of the same paper.
func (p *projective512) doubleComplete() {
	var t0, t1, t2, t3, x3, y3, z3 field512
	sqr512(&t0, &p.x)
	sqr512(&t1, &p.y)
	sqr512(&t2, &p.z)
	mul512(&t3, &p.x, &p.y)
	add512(&t3, &t3, &t3)
	mul512(&z3, &p.x, &p.z)
	add512(&z3, &z3, &z3)
	mul512(&y3, &b512, &t2)
	sub512(&y3, &y3, &z3)
	add512(&x3, &y3, &y3)
	add512(&y3, &x3, &y3)
	sub512(&x3, &t1, &y3)
	add512(&y3, &t1, &y3)
	mul512(&y3, &x3, &y3)
	mul512(&x3, &x3, &t3)
	add512(&t3, &t2, &t2)
	add512(&t2, &t2, &t3)
	mul512(&z3, &b512, &z3)
	sub512(&z3, &z3, &t2)
	sub512(&z3, &z3, &t0)
	add512(&t3, &z3, &z3)
	add512(&z3, &z3, &t3)
	add512(&t3, &t0, &t0)
	add512(&t0, &t3, &t0)
	sub512(&t0, &t0, &t2)
	mul512(&t0, &t0, &z3)
	add512(&y3, &y3, &t0)
	mul512(&t0, &p.y, &p.z)
	add512(&t0, &t0, &t0)
	mul512(&z3, &t0, &z3)
	sub512(&p.x, &x3, &z3)
	mul512(&z3, &t0, &t1)
	add512(&z3, &z3, &z3)
	add512(&p.z, &z3, &z3)
	p.y = y3
}

// multiplyBase512 returns x and y of k·G, little-endian and one after the other, for k other
// than 0. It takes the same time and touches the same memory for all k.
func multiplyBase512(o *order, k *scalar) []byte {
	table := base512()
	signs, negate := odd512(o, k)
	p := projective512{y: field512{1}}
	for c := steps512 - 1; c >= 0; c-- {
		p.doubleComplete()
		for b := range table {
			index, minus := column512(&signs, steps512*b+c)
			var a affine512
			pick512(&a, &table[b], index, minus^negate)
			p.addComplete(&a)
		}
	}
	var inverse, x, y field512
	invert512(&inverse, &p.z)
	mul512(&x, &p.x, &inverse)
	mul512(&y, &p.y, &inverse)
	return y.appendBytes(x.appendBytes(make([]byte, 0, 2*512/8)))
}
