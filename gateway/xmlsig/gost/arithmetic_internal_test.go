package gost

import (
	"encoding/binary"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Arithmetic below the exported surface against math/big, for both sizes.

func toBig(w []uint64) *big.Int {
	b := make([]byte, 8*len(w))
	for i, v := range w {
		binary.BigEndian.PutUint64(b[8*(len(w)-1-i):], v)
	}
	return new(big.Int).SetBytes(b)
}

func fromBig(n *big.Int, w []uint64) {
	b := n.FillBytes(make([]byte, 8*len(w)))
	for i := range w {
		w[i] = binary.BigEndian.Uint64(b[8*(len(w)-1-i):])
	}
}

// words draws numbers of n words, among them 0, 1, numbers next to m and to 2^(64n), and
// words of all zeros and all ones.
func words(n int, m *big.Int) *rapid.Generator[[]uint64] {
	edges := []*big.Int{new(big.Int), new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(64*n)), m), m}
	return rapid.Custom(func(t *rapid.T) []uint64 {
		w := make([]uint64, n)
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			e := new(big.Int).Add(rapid.SampledFrom(edges).Draw(t, "edge"), big.NewInt(int64(rapid.IntRange(-3, 3).Draw(t, "near"))))
			fromBig(e.Mod(e, new(big.Int).Lsh(big.NewInt(1), uint(64*n))), w)
		case 1:
			for i := range w {
				w[i] = rapid.SampledFrom([]uint64{0, 1, 1 << 63, ^uint64(0), ^uint64(0) - 1}).Draw(t, "word")
			}
		default:
			for i := range w {
				w[i] = rapid.Uint64().Draw(t, "word")
			}
		}
		return w
	})
}

// A field is one size's arithmetic over slices.
type field struct {
	name               string
	words              int
	p                  *big.Int
	mul, add, sub      func(x, y []uint64) []uint64
	sqr, half, inverse func(x []uint64) []uint64
	reduce             func(x []uint64) []uint64
	isZero             func(x []uint64) bool
}

func prime(bits uint, less int64) *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), bits)
	return p.Sub(p, big.NewInt(less))
}

func fields() []field {
	two := func(f func(z, x, y *field512)) func(x, y []uint64) []uint64 {
		return func(x, y []uint64) []uint64 {
			a, b := field512(x), field512(y)
			var z field512
			f(&z, &a, &b)
			f(&a, &a, &b) // the result may be an argument
			if a != z {
				return nil
			}
			return z[:]
		}
	}
	one := func(f func(z, x *field512)) func(x []uint64) []uint64 {
		return func(x []uint64) []uint64 {
			a := field512(x)
			f(&a, &a)
			return a[:]
		}
	}
	two256 := func(f func(z, x, y *field256)) func(x, y []uint64) []uint64 {
		return func(x, y []uint64) []uint64 {
			a, b := field256(x), field256(y)
			var z field256
			f(&z, &a, &b)
			f(&a, &a, &b)
			if a != z {
				return nil
			}
			return z[:]
		}
	}
	one256 := func(f func(z, x *field256)) func(x []uint64) []uint64 {
		return func(x []uint64) []uint64 {
			a := field256(x)
			f(&a, &a)
			return a[:]
		}
	}
	return []field{
		{
			"512", 8, prime(512, 569), two(mul512), two(add512), two(sub512), one(sqr512), one(half512), one(invert512), one(reduce512),
			func(x []uint64) bool { a := field512(x); return a.isZero() },
		},
		{
			"256", 4, prime(256, 617), two256(mul256), two256(add256), two256(sub256), one256(sqr256), one256(half256), one256(invert256), one256(reduce256),
			func(x []uint64) bool { a := field256(x); return a.isZero() },
		},
	}
}

func TestFieldAgreesWithMathBig(t *testing.T) {
	for _, f := range fields() {
		t.Run(f.name, rapid.MakeCheck(func(t *rapid.T) {
			w := words(f.words, f.p)
			x, y := w.Draw(t, "x"), w.Draw(t, "y")
			a, b := toBig(x), toBig(y)
			same := func(name string, got []uint64, want *big.Int) {
				if got == nil {
					t.Fatalf("%s differs when the result is an argument", name)
				}
				if new(big.Int).Sub(toBig(got), want).Mod(new(big.Int).Sub(toBig(got), want), f.p).Sign() != 0 {
					t.Fatalf("%s gives %x, want %x mod p", name, toBig(got), want)
				}
			}
			same("mul", f.mul(x, y), new(big.Int).Mul(a, b))
			same("sqr", f.sqr(x), new(big.Int).Mul(a, a))
			same("add", f.add(x, y), new(big.Int).Add(a, b))
			same("sub", f.sub(x, y), new(big.Int).Sub(a, b))
			same("twice the half", f.add(f.half(x), f.half(x)), a)
			if got := toBig(f.reduce(x)); got.Cmp(new(big.Int).Mod(a, f.p)) != 0 {
				t.Fatalf("reduce gives %x", got)
			}
			if f.isZero(x) != (new(big.Int).Mod(a, f.p).Sign() == 0) {
				t.Fatalf("isZero gives %v", f.isZero(x))
			}
			if inverse := new(big.Int).ModInverse(a, f.p); inverse != nil {
				same("invert", f.inverse(x), inverse)
			} else {
				same("invert", f.inverse(x), new(big.Int))
			}
		}))
	}
}

func orders() map[string]*order { return map[string]*order{"512": &order512, "256": &order256} }

func TestScalarsAgreeWithMathBig(t *testing.T) {
	for name, o := range orders() {
		q := toBig(o.q[:o.words])
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			w := words(o.words, q)
			var a, b scalar
			copy(a[:], w.Draw(t, "a"))
			copy(b[:], w.Draw(t, "b"))
			x, y := toBig(a[:]), toBig(b[:])
			same := func(name string, got scalar, want *big.Int) {
				if toBig(got[:]).Cmp(new(big.Int).Mod(want, q)) != 0 {
					t.Fatalf("%s gives %x, want %x mod q", name, toBig(got[:]), want)
				}
			}
			same("mul", o.mul(&a, &b), new(big.Int).Mul(x, y))
			same("add", o.add(&a, &b), new(big.Int).Add(x, y))
			same("once", o.once(&a), x)
			low := o.once(&a)
			minus := o.negate(&low)
			same("minus and plus", o.add(&minus, &low), new(big.Int))
			if low.isZero() == 0 {
				inverse := o.invertVariable(&low)
				same("inverse", o.mul(&inverse, &low), big.NewInt(1))
			}
			raw := o.append(nil, &a)
			read, ok := o.read(raw)
			if read != a || (ok != 0) != (x.Sign() > 0 && x.Cmp(q) < 0) {
				t.Fatalf("read says %x of %x", ok, x)
			}
			e := new(big.Int).Mod(x, q)
			if e.Sign() == 0 {
				e.SetInt64(1)
			}
			same("digest", o.digest(raw), e)
			out := make([]uint64, o.words)
			if fits := o.plusOrder(&a, out); fits != (new(big.Int).Add(x, q).BitLen() <= 64*o.words) {
				t.Fatalf("plusOrder says %v", fits)
			} else if fits && toBig(out).Cmp(new(big.Int).Add(x, q)) != 0 {
				t.Fatalf("plusOrder gives %x", toBig(out))
			}
		}))
	}
}

func TestRecodingsKeepTheNumber(t *testing.T) {
	for name, o := range orders() {
		q := toBig(o.q[:o.words])
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			var k scalar
			copy(k[:], words(o.words, q).Draw(t, "k"))
			k = o.once(&k)
			n := 64 * o.words
			digits := make([]int8, n+1)
			top := wnaf(digits, &k, o.words)
			sum, last := new(big.Int), -5
			for i, d := range digits {
				if d == 0 {
					continue
				}
				if d%2 == 0 || d > 15 || d < -15 || i < last+5 || i > top {
					t.Fatalf("digit %d at %d, the last at %d, top %d", d, i, last, top)
				}
				last = i
				sum.Add(sum, new(big.Int).Lsh(big.NewInt(int64(d)), uint(i)))
			}
			if sum.Cmp(toBig(k[:])) != 0 {
				t.Fatalf("wnaf of %x sums to %x", toBig(k[:]), sum)
			}
			odd := odd512
			if o.words == 4 {
				odd = odd256
			}
			signs, negate := odd(o, &k)
			sum.SetInt64(0)
			for i := range n {
				sign := int64(signs[i/64]>>(i%64)&1)*2 - 1
				sum.Add(sum, new(big.Int).Lsh(big.NewInt(sign), uint(i)))
			}
			if negate != 0 {
				sum.Neg(sum)
			}
			if sum.Sub(sum, toBig(k[:])).Mod(sum, q).Sign() != 0 {
				t.Fatalf("signs of %x are off by %x", toBig(k[:]), sum)
			}
		}))
	}
}

func TestColumnsFindTheirPoint(t *testing.T) {
	var signs scalar
	signs[7] = 1 << 5 // the top row says plus, the others minus
	if index, minus := column512(&signs, 5); index != 0 || minus != 0 {
		t.Errorf("index %d, minus %x", index, minus)
	}
	if index, minus := column512(&signs, 6); index != combPoints-1 || minus != ^uint64(0) {
		t.Errorf("index %d, minus %x", index, minus)
	}
	signs[3] = 1 << 5
	if index, minus := column512(&signs, 5); index != 1<<3 || minus != 0 {
		t.Errorf("index %d, minus %x", index, minus)
	}
}

// The comb of the generator holds what its layout says, at a few places of each block.
func TestCombHoldsItsMultiples(t *testing.T) {
	table, o := base512(), &order512
	q := toBig(o.q[:])
	for b := range combBlocks {
		for _, m := range []int{0, 1, 2, 64, 85, 126, 127} {
			n := new(big.Int).Lsh(big.NewInt(1), uint(7*spacing512+steps512*b))
			for i := range 7 {
				step := new(big.Int).Lsh(big.NewInt(1), uint(i*spacing512+steps512*b))
				if m>>i&1 == 0 {
					step.Neg(step)
				}
				n.Add(n, step)
			}
			var k scalar
			fromBig(n.Mod(n, q), k[:])
			want := multiplyBase512(o, &k)
			got := table[b][m].y.appendBytes(table[b][m].x.appendBytes(nil))
			if !slices.Equal(got, want) {
				t.Fatalf("block %d, point %d is not %x·G", b, m, n)
			}
		}
	}
}

func BenchmarkInvert(b *testing.B) {
	for name, o := range orders() {
		a := scalar{1, 2, 3, 4}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				a = o.invertVariable(&a)
			}
		})
	}
}
