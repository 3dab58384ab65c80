package gost_test

import (
	"bytes"
	"crypto"
	"errors"
	"math/big"
	"slices"
	"testing"
	"testing/iotest"

	"egov-gateway/gateway/xmlsig/gost"
)

// The published parameters (RFC 7836 §A.1, RFC 4357 §11.4), typed here once more so that a slip
// in the package's words cannot hide.
type parameters struct{ p, q, b, x, y *big.Int }

func number(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic(hex)
	}
	return n
}

func parametersOf(c *gost.Curve) parameters {
	if c == gost.Curve512A() {
		return parameters{
			number("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFDC7"),
			number("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF27E69532F48D89116FF22B8D4E0560609B4B38ABFAD2B85DCACDB1411F10B275"),
			number("E8C2505DEDFC86DDC1BD0B2B6667F1DA34B82574761CB0E879BD081CFD0B6265EE3CB090F30D27614CB4574010DA90DD862EF9D4EBEE4761503190785A71C760"),
			number("3"),
			number("7503CFE87A836AE3A61B8816E25450E6CE5E1C93ACF1ABC1778064FDCBEFA921DF1626BE4FD036E93D75E6A50E3A41E98028FE5FC235F5B889A589CB5215F2A4"),
		}
	}
	return parameters{
		number("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFD97"),
		number("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF6C611070995AD10045841B09B761B893"),
		number("A6"),
		number("1"),
		number("8D91E471E0989CDA27DF505A453F2B7635294F2DDF23E3B122ACC99C9E9F1E14"),
	}
}

// le writes n as size little-endian bytes.
func le(n *big.Int, size int) []byte {
	b := n.FillBytes(make([]byte, size))
	slices.Reverse(b)
	return b
}

func fromLE(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

func TestSignaturesVerify(t *testing.T) {
	for _, c := range curves {
		k, _, _ := signed(t, c)
		q := parametersOf(c).q
		for name, e := range map[string]*big.Int{
			"zero": new(big.Int), "one": big.NewInt(1), "q-1": new(big.Int).Sub(q, big.NewInt(1)), "q, which counts as 1": q,
			"q+1": new(big.Int).Add(q, big.NewInt(1)), "all ones": new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*c.Size())), big.NewInt(1)),
		} {
			digest := le(e, c.Size())
			sig, err := k.Sign(nil, digest, crypto.Hash(0))
			if err != nil {
				t.Fatal(err)
			}
			p := public(k)
			if !p.Verify(digest, sig) {
				t.Errorf("%s, digest %s: does not verify", c, name)
			}
			known, _ := gost.ParsePublicKey(c, p.Bytes())
			if known.Precompute(); !known.Verify(digest, sig) {
				t.Errorf("%s, digest %s: does not verify with a table", c, name)
			}
		}
	}
}

func TestSigningDoesNotRepeatItselfUnlessAskedTo(t *testing.T) {
	k, digest, one := signed(t, gost.Curve512A())
	two, err := k.Sign(nil, digest, nil)
	if err != nil || bytes.Equal(one, two) {
		t.Errorf("two signatures with fresh randomness are equal (%v)", err)
	}
	fixed := func() []byte {
		sig, err := k.Sign(bytes.NewReader(nil), digest, nil)
		if err != nil || !public(k).Verify(digest, sig) {
			t.Fatalf("without randomness: %v", err)
		}
		return sig
	}
	if !bytes.Equal(fixed(), fixed()) {
		t.Error("signing without randomness is not deterministic")
	}
	broken := errors.New("broken")
	if _, err := k.Sign(iotest.ErrReader(broken), digest, nil); !errors.Is(err, broken) {
		t.Errorf("a broken source of randomness gives %v", err)
	}
	if _, err := k.Sign(nil, digest[:32], nil); !errors.Is(err, gost.ErrDigest) {
		t.Errorf("a short digest gives %v", err)
	}
}

func TestPrivateKeysAreRead(t *testing.T) {
	for _, c := range curves {
		q := parametersOf(c).q
		less := new(big.Int).Sub(q, big.NewInt(1))
		tests := []struct {
			name string
			in   []byte
			want error
		}{
			{"one", le(big.NewInt(1), c.Size()), nil},
			{"two", le(big.NewInt(2), c.Size()), nil},
			{"q-1", le(less, c.Size()), nil},
			{"zero", make([]byte, c.Size()), gost.ErrPrivateKey},
			{"q", le(q, c.Size()), gost.ErrPrivateKey},
			{"all ones", bytes.Repeat([]byte{255}, c.Size()), gost.ErrPrivateKey},
			{"short", make([]byte, c.Size()-1), gost.ErrPrivateKey},
			{"long", append(le(less, c.Size()), 0), gost.ErrPrivateKey},
			{"empty", nil, gost.ErrPrivateKey},
		}
		for _, tt := range tests {
			k, err := gost.ParsePrivateKey(c, tt.in)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%s, %s: %v, want %v", c, tt.name, err, tt.want)
			}
			if err == nil && !bytes.Equal(k.Bytes(), tt.in) {
				t.Errorf("%s, %s: comes back as %x", c, tt.name, k.Bytes())
			}
		}
		// The key 1 is the generator, and q−1 its opposite.
		pr := parametersOf(c)
		one, _ := gost.ParsePrivateKey(c, le(big.NewInt(1), c.Size()))
		last, _ := gost.ParsePrivateKey(c, le(less, c.Size()))
		if want := append(le(pr.x, c.Size()), le(pr.y, c.Size())...); !bytes.Equal(public(one).Bytes(), want) {
			t.Errorf("%s: the generator is %x", c, public(one).Bytes())
		}
		if want := append(le(pr.x, c.Size()), le(new(big.Int).Sub(pr.p, pr.y), c.Size())...); !bytes.Equal(public(last).Bytes(), want) {
			t.Errorf("%s: the generator's opposite is %x", c, public(last).Bytes())
		}
		if one.Equal(last) || !one.Equal(one) || public(one).Equal(public(last)) || !public(one).Equal(public(one)) || one.Equal(public(one)) {
			t.Errorf("%s: Equal is wrong", c)
		}
	}
}

func TestPublicKeysAreRefused(t *testing.T) {
	for _, c := range curves {
		n, pr := c.Size(), parametersOf(c)
		at := func(x, y *big.Int) []byte { return append(le(x, n), le(y, n)...) }
		big1 := func(b []byte) []byte { b = slices.Clone(b); slices.Reverse(b); return b }
		k, _, _ := signed(t, c)
		good := public(k).Bytes()
		x, y := fromLE(good[:n]), fromLE(good[n:])
		tests := []struct {
			name string
			in   []byte
		}{
			{"empty", nil},
			{"one byte short", good[:2*n-1]},
			{"one byte long", append(slices.Clone(good), 0)},
			{"uncompressed point mark in front", append([]byte{4}, good...)},
			{"the identity as zeros", make([]byte, 2*n)},
			{"y of 0", at(x, new(big.Int))},
			{"off the curve by one", at(x, new(big.Int).Xor(y, big.NewInt(1)))},
			{"x and y swapped", at(y, x)},
			{"big-endian halves", append(big1(good[:n]), big1(good[n:])...)},
			{"big-endian as a whole", big1(good)},
			{"x of p", at(pr.p, y)},
			{"y of p", at(x, pr.p)},
			{"all ones", bytes.Repeat([]byte{255}, 2*n)},
		}
		for _, tt := range tests {
			if _, err := gost.ParsePublicKey(c, tt.in); !errors.Is(err, gost.ErrPublicKey) {
				t.Errorf("%s: %s gives %v", c, tt.name, err)
			}
		}
	}
	// On the curve of 256 bits x = 1 is a point, so 1 + p is the one second encoding there is.
	pr := parametersOf(gost.Curve256A())
	if _, err := gost.ParsePublicKey(gost.Curve256A(), append(le(new(big.Int).Add(pr.p, pr.x), 32), le(pr.y, 32)...)); !errors.Is(err, gost.ErrPublicKey) {
		t.Errorf("a second encoding of the generator gives %v", err)
	}
}

func TestSignaturesAreRefused(t *testing.T) {
	for _, c := range curves {
		k, digest, sig := signed(t, c)
		n, q := c.Size(), parametersOf(c).q
		r, s := sig[:n], sig[n:]
		zero, order := make([]byte, n), le(q, n)
		join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
		reverse := func(b []byte) []byte { b = slices.Clone(b); slices.Reverse(b); return b }
		minus := func(b []byte) []byte { return le(new(big.Int).Sub(q, fromLE(b)), n) }
		most := bytes.Repeat([]byte{255}, n)
		tests := []struct {
			name        string
			digest, sig []byte
		}{
			{"r of 0", digest, join(zero, s)},
			{"s of 0", digest, join(r, zero)},
			{"both 0", digest, join(zero, zero)},
			{"r of q", digest, join(order, s)},
			{"s of q", digest, join(r, order)},
			{"r all ones", digest, join(most, s)},
			{"s all ones", digest, join(r, most)},
			{"s‖r order", digest, join(s, r)},
			{"big-endian halves", digest, join(reverse(r), reverse(s))},
			{"big-endian s‖r, as OpenSSL writes it", digest, reverse(sig)},
			{"q−r", digest, join(minus(r), s)},
			{"q−s", digest, join(r, minus(s))},
			{"both negated", digest, join(minus(r), minus(s))},
			{"r twice", digest, join(r, r)},
			{"empty", digest, nil},
			{"r alone", digest, r},
			{"a byte short", digest, sig[:2*n-1]},
			{"a byte long", digest, join(sig, []byte{0})},
			{"ASN.1 around it", digest, join([]byte{0x30, 0x45}, sig)},
			{"digest empty", nil, sig},
			{"digest a byte short", digest[:n-1], sig},
			{"digest a byte long", join(digest, []byte{0}), sig},
			{"digest big-endian", reverse(digest), sig},
			{"digest plus one", le(new(big.Int).Add(fromLE(digest), big.NewInt(1)), n), sig},
		}
		known, _ := gost.ParsePublicKey(c, public(k).Bytes())
		known.Precompute()
		for _, tt := range tests {
			if public(k).Verify(tt.digest, tt.sig) {
				t.Errorf("%s: %s verifies", c, tt.name)
			}
			if known.Verify(tt.digest, tt.sig) {
				t.Errorf("%s: %s verifies with a table", c, tt.name)
			}
		}
		// r + q fits only for tiny r; such a signature must be made to be refused.
		if small := new(big.Int).Add(q, big.NewInt(1)); public(k).Verify(digest, join(le(small, n), s)) {
			t.Errorf("%s: r of q+1 verifies", c)
		}
		other, _, _ := signed(t, c)
		if public(other).Verify(digest, sig) {
			t.Errorf("%s: verifies with another key", c)
		}
	}
}
