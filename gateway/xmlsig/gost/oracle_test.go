package gost_test

import (
	"bytes"
	"maps"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"egov-gateway/gateway/xmlsig/gost"
)

// A textbook is the standard's algorithm over math/big, for any curve: slow and plain.
type textbook struct {
	p, a, b, q *big.Int
	g          *place
}

// A place is a point; nil is the identity.
type place struct{ x, y *big.Int }

func (t *textbook) add(u, v *place) *place {
	if u == nil {
		return v
	}
	if v == nil {
		return u
	}
	var slope *big.Int
	if u.x.Cmp(v.x) == 0 {
		if new(big.Int).Mod(new(big.Int).Add(u.y, v.y), t.p).Sign() == 0 {
			return nil
		}
		slope = new(big.Int).Mul(u.x, u.x)
		slope.Mul(slope, big.NewInt(3)).Add(slope, t.a)
		slope.Mul(slope, new(big.Int).ModInverse(new(big.Int).Lsh(u.y, 1), t.p))
	} else {
		dx := new(big.Int).Mod(new(big.Int).Sub(v.x, u.x), t.p)
		slope = new(big.Int).Sub(v.y, u.y)
		slope.Mul(slope, dx.ModInverse(dx, t.p))
	}
	x := new(big.Int).Mul(slope, slope)
	x.Sub(x, u.x).Sub(x, v.x).Mod(x, t.p)
	y := new(big.Int).Sub(u.x, x)
	y.Mul(y, slope).Sub(y, u.y).Mod(y, t.p)
	return &place{x, y}
}

func (t *textbook) times(k *big.Int, u *place) *place {
	var sum *place
	for i := k.BitLen() - 1; i >= 0; i-- {
		sum = t.add(sum, sum)
		if k.Bit(i) == 1 {
			sum = t.add(sum, u)
		}
	}
	return sum
}

// verify is GOST R 34.10-2012 §6.2 on numbers.
func (t *textbook) verify(key *place, e, r, s *big.Int) bool {
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(t.q) >= 0 || s.Cmp(t.q) >= 0 {
		return false
	}
	e = new(big.Int).Mod(e, t.q)
	if e.Sign() == 0 {
		e.SetInt64(1)
	}
	v := new(big.Int).ModInverse(e, t.q)
	one := new(big.Int).Mul(s, v)
	two := new(big.Int).Mul(r, v)
	two.Neg(two)
	c := t.add(t.times(one.Mod(one, t.q), t.g), t.times(two.Mod(two, t.q), key))
	return c != nil && new(big.Int).Mod(c.x, t.q).Cmp(r) == 0
}

// sign is §6.1 with the given k.
func (t *textbook) sign(d, e, k *big.Int) (r, s *big.Int) {
	r = new(big.Int).Mod(t.times(k, t.g).x, t.q)
	s = new(big.Int).Mul(r, d)
	s.Add(s, new(big.Int).Mul(k, e)).Mod(s, t.q)
	return r, s
}

// RFC 7091 §7 prove the textbook, with the standard's own curves; the package is then held
// against the textbook on the curves that are in use.
func TestTextbookPassesTheStandardsExamples(t *testing.T) {
	tests := []struct {
		name                            string
		p, a, b, q, gx, gy              string
		d, e, k, r, s, publicX, publicY string
	}{
		{
			"256 bits",
			"8000000000000000000000000000000000000000000000000000000000000431", "7",
			"5FBFF498AA938CE739B8E022FBAFEF40563F6E6A3472FC2A514C0CE9DAE23B7E",
			"8000000000000000000000000000000150FE8A1892976154C59CFC193ACCF5B3", "2",
			"08E2A8A0E65147D4BD6316030E16D19C85C97F0A9CA267122B96ABBCEA7E8FC8",
			"7A929ADE789BB9BE10ED359DD39A72C11B60961F49397EEE1D19CE9891EC3B28",
			"2DFBC1B372D89A1188C09C52E0EEC61FCE52032AB1022E8E67ECE6672B043EE5",
			"77105C9B20BCD3122823C8CF6FCC7B956DE33814E95B7FE64FED924594DCEAB3",
			"41AA28D2F1AB148280CD9ED56FEDA41974053554A42767B83AD043FD39DC0493",
			"1456C64BA4642A1653C235A98A60249BCD6D3F746B631DF928014F6C5BF9C40",
			"7F2B49E270DB6D90D8595BEC458B50C58585BA1D4E9B788F6689DBD8E56FD80B",
			"26F1B489D6701DD185C8413A977B3CBBAF64D1C593D26627DFFB101A87FF77DA",
		},
		{
			"512 bits",
			"4531ACD1FE0023C7550D267B6B2FEE80922B14B2FFB90F04D4EB7C09B5D2D15DF1D852741AF4704A0458047E80E4546D35B8336FAC224DD81664BBF528BE6373", "7",
			"1CFF0806A31116DA29D8CFA54E57EB748BC5F377E49400FDD788B649ECA1AC4361834013B2AD7322480A89CA58E0CF74BC9E540C2ADD6897FAD0A3084F302ADC",
			"4531ACD1FE0023C7550D267B6B2FEE80922B14B2FFB90F04D4EB7C09B5D2D15DA82F2D7ECB1DBAC719905C5EECC423F1D86E25EDBE23C595D644AAF187E6E6DF",
			"24D19CC64572EE30F396BF6EBBFD7A6C5213B3B3D7057CC825F91093A68CD762FD60611262CD838DC6B60AA7EEE804E28BC849977FAC33B4B530F1B120248A9A",
			"2BB312A43BD2CE6E0D020613C857ACDDCFBF061E91E5F2C3F32447C259F39B2C83AB156D77F1496BF7EB3351E1EE4E43DC1A18B91B24640B6DBB92CB1ADD371E",
			"BA6048AADAE241BA40936D47756D7C93091A0E8514669700EE7508E508B102072E8123B2200A0563322DAD2827E2714A2636B7BFD18AADFC62967821FA18DD4",
			"3754F3CFACC9E0615C4F4A7C4D8DAB531B09B6F9C170C533A71D147035B0C5917184EE536593F4414339976C647C5D5A407ADEDB1D560C4FC6777D2972075B8C",
			"359E7F4B1410FEACC570456C6801496946312120B39D019D455986E364F365886748ED7A44B3E794434006011842286212273A6D14CF70EA3AF71BB1AE679F1",
			"2F86FA60A081091A23DD795E1E3C689EE512A3C82EE0DCC2643C78EEA8FCACD35492558486B20F1C9EC197C90699850260C93BCBCD9C5C3317E19344E173AE36",
			"1081B394696FFE8E6585E7A9362D26B6325F56778AADBC081C0BFBE933D52FF5823CE288E8C4F362526080DF7F70CE406A6EEB1F56919CB92A9853BDE73E5B4A",
			"115DC5BC96760C7B48598D8AB9E740D4C4A85A65BE33C1815B5C320C854621DD5A515856D13314AF69BC5B924C8B4DDFF75C45415C1D9DD9DD33612CD530EFE1",
			"37C7C90CD40B0F5621DC3AC1B751CFA0E2634FA0503B3D52639F5D7FB72AFD61EA199441D943FFE7F0C70A2759A3CDB84C114E1F9339FDF27F35ECA93677BEEC",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			book := &textbook{number(tt.p), number(tt.a), number(tt.b), number(tt.q), &place{number(tt.gx), number(tt.gy)}}
			key := book.times(number(tt.d), book.g)
			if key.x.Cmp(number(tt.publicX)) != 0 || key.y.Cmp(number(tt.publicY)) != 0 {
				t.Errorf("public key (%x, %x)", key.x, key.y)
			}
			r, s := book.sign(number(tt.d), number(tt.e), number(tt.k))
			if r.Cmp(number(tt.r)) != 0 || s.Cmp(number(tt.s)) != 0 {
				t.Errorf("signature %x, %x", r, s)
			}
			if !book.verify(key, number(tt.e), r, s) || book.verify(key, number(tt.e), s, r) {
				t.Error("verification is wrong")
			}
		})
	}
}

func textbookOf(c *gost.Curve) *textbook {
	pr := parametersOf(c)
	return &textbook{pr.p, big.NewInt(-3), pr.b, pr.q, &place{pr.x, pr.y}}
}

// numbers draws below q, the small and the near ones more often than chance would.
func numbers(q *big.Int) *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return big.NewInt(int64(rapid.IntRange(1, 40).Draw(t, "small")))
		case 1:
			return new(big.Int).Sub(q, big.NewInt(int64(rapid.IntRange(1, 40).Draw(t, "below q"))))
		case 2: // a few bits
			n := big.NewInt(0)
			for range rapid.IntRange(1, 4).Draw(t, "bits") {
				n.SetBit(n, rapid.IntRange(0, q.BitLen()-2).Draw(t, "bit"), 1)
			}
			return n
		}
		n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), q.BitLen()/8, q.BitLen()/8).Draw(t, "any"))
		return n.Add(n.Mod(n, new(big.Int).Sub(q, big.NewInt(1))), big.NewInt(1))
	})
}

func TestPackageAgreesWithTheTextbook(t *testing.T) {
	for _, c := range curves {
		book, n := textbookOf(c), c.Size()
		t.Run(c.String(), rapid.MakeCheck(func(t *rapid.T) {
			draw := numbers(book.q)
			d, e, k := draw.Draw(t, "d"), draw.Draw(t, "e"), draw.Draw(t, "k")
			private, err := gost.ParsePrivateKey(c, le(d, n))
			if err != nil {
				t.Fatal(err)
			}
			key := book.times(d, book.g)
			if want := append(le(key.x, n), le(key.y, n)...); !bytes.Equal(public(private).Bytes(), want) {
				t.Fatalf("public key of %x is %x", d, public(private).Bytes())
			}
			known, err := gost.ParsePublicKey(c, public(private).Bytes())
			if err != nil {
				t.Fatal(err)
			}
			known.Precompute()
			check := func(what string, e, r, s *big.Int) {
				want := book.verify(key, e, r, s)
				digest, sig := le(e, n), append(le(r, n), le(s, n)...)
				if got := public(private).Verify(digest, sig); got != want {
					t.Fatalf("%s: verifies %v, want %v", what, got, want)
				}
				if got := known.Verify(digest, sig); got != want {
					t.Fatalf("%s: verifies %v with a table, want %v", what, got, want)
				}
			}
			r, s := book.sign(d, e, k)
			if r.Sign() != 0 && s.Sign() != 0 {
				if !book.verify(key, e, r, s) {
					t.Fatal("the textbook contradicts itself")
				}
				check("the textbook's signature", e, r, s)
			}
			check("any numbers", e, draw.Draw(t, "r"), draw.Draw(t, "s"))
			// s = r·d makes the sum the identity; s = (r+e)·d makes it the key's own point, and
			// s = e + r·d the generator, where additions meet themselves.
			r = draw.Draw(t, "r of the edge")
			edges := map[string]*big.Int{
				"a sum of the identity":  new(big.Int).Mul(r, d),
				"a sum of the generator": new(big.Int).Add(new(big.Int).Mul(r, d), e),
				"a sum of the key":       new(big.Int).Mul(new(big.Int).Add(r, e), d),
			}
			edge := rapid.SampledFrom(slices.Sorted(maps.Keys(edges))).Draw(t, "edge")
			check(edge, e, r, edges[edge].Mod(edges[edge], book.q))
			sig, err := private.Sign(nil, le(e, n), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !book.verify(key, e, fromLE(sig[:n]), fromLE(sig[n:])) {
				t.Fatal("the textbook does not verify what the package signs")
			}
		}))
	}
}

// A signature whose point has x of q or more: r is x − q, the only case where x(C) is not r.
func TestPointsAboveTheOrder(t *testing.T) {
	for _, c := range curves {
		book, n := textbookOf(c), c.Size()
		// Look for the first x = q, q+1 … on the curve.
		var point *place
		x := new(big.Int).Set(book.q)
		for ; point == nil; x.Add(x, big.NewInt(1)) {
			y := new(big.Int).Exp(x, big.NewInt(3), book.p)
			y.Add(y, new(big.Int).Mul(book.a, x)).Add(y, book.b).Mod(y, book.p)
			if y.ModSqrt(y, book.p) != nil && x.Cmp(book.q) > 0 {
				point = &place{new(big.Int).Set(x), y}
			}
		}
		// Choose r = x − q, v = 1 (e = 1), and the key Q = r⁻¹·(s·G − C), which makes it right.
		r, s := new(big.Int).Sub(point.x, book.q), big.NewInt(12345)
		minus := &place{point.x, new(big.Int).Sub(book.p, point.y)}
		key := book.times(new(big.Int).ModInverse(r, book.q), book.add(book.times(s, book.g), minus))
		if !book.verify(key, big.NewInt(1), r, s) {
			t.Fatal("the construction is wrong")
		}
		k, err := gost.ParsePublicKey(c, append(le(key.x, n), le(key.y, n)...))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if !k.Verify(le(big.NewInt(1), n), append(le(r, n), le(s, n)...)) {
				t.Errorf("%s: a point above the order does not verify", c)
			}
			k.Precompute()
		}
	}
}
