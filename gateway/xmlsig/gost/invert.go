package gost

import "math/big"

func (o *order) invertVariable(a *scalar) (z scalar) {
	b := make([]big.Word, o.words)
	q := make([]big.Word, o.words)
	for i := range b {
		b[i], q[i] = big.Word(a[i]), big.Word(o.q[i])
	}
	x := new(big.Int).ModInverse(new(big.Int).SetBits(b), new(big.Int).SetBits(q))
	for i, w := range x.Bits() {
		z[i] = uint64(w)
	}
	return z
}
