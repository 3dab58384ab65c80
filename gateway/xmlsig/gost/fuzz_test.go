package gost_test

import (
	"bytes"
	"hash"
	"testing"

	"egov-gateway/gateway/xmlsig/gost"
)

// What is accepted as a key is a point of the curve, with one encoding, and verifies nothing
// that it did not sign.
func FuzzPublicKey(f *testing.F) {
	for _, c := range curves {
		k, _, _ := signed(f, c)
		f.Add(public(k).Bytes())
		f.Add(make([]byte, 2*c.Size()))
		one := make([]byte, c.Size())
		one[0] = 1
		g, err := gost.ParsePrivateKey(c, one)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(public(g).Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, c := range curves {
			k, err := gost.ParsePublicKey(c, raw)
			if err != nil {
				continue
			}
			if !bytes.Equal(k.Bytes(), raw) {
				t.Errorf("%x comes back as %x", raw, k.Bytes())
			}
			book, n := textbookOf(c), c.Size()
			x, y := fromLE(raw[:n]), fromLE(raw[n:])
			y.Mul(y, y)
			x3 := fromLE(raw[:n])
			x3.Mul(x3, x3).Add(x3, book.a).Mul(x3, x).Add(x3, book.b)
			if y.Sub(y, x3).Mod(y, book.p).Sign() != 0 {
				t.Errorf("%x is not on the curve", raw)
			}
			k.Verify(raw[:n], raw)
		}
	})
}

// Verify agrees with the textbook on any digest and signature, with and without a table.
func FuzzVerify(f *testing.F) {
	type fixture struct {
		cold, known *gost.PublicKey
		book        *textbook
		point       *place
	}
	var all []fixture
	for _, c := range curves {
		private, err := gost.ParsePrivateKey(c, bytes.Repeat([]byte{0x35}, c.Size()))
		if err != nil {
			f.Fatal(err)
		}
		known, err := gost.ParsePublicKey(c, public(private).Bytes())
		if err != nil {
			f.Fatal(err)
		}
		known.Precompute()
		raw, n := known.Bytes(), c.Size()
		all = append(all, fixture{public(private), known, textbookOf(c), &place{fromLE(raw[:n]), fromLE(raw[n:])}})
		digest := bytes.Repeat([]byte{7}, n)
		sig, err := private.Sign(bytes.NewReader(nil), digest, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(digest, sig)
		f.Add(make([]byte, n), sig)
		f.Add(digest, append(bytes.Clone(sig[n:]), sig[:n]...))
		f.Add(digest, make([]byte, 2*n))
	}
	f.Fuzz(func(t *testing.T, digest, sig []byte) {
		for _, x := range all {
			got := x.cold.Verify(digest, sig)
			if x.known.Verify(digest, sig) != got {
				t.Errorf("digest %x, signature %x: %v without a table only", digest, sig, got)
			}
			n := x.cold.Curve().Size()
			if len(digest) != n || len(sig) != 2*n {
				if got {
					t.Errorf("verifies %d and %d bytes", len(digest), len(sig))
				}
				continue
			}
			if want := x.book.verify(x.point, fromLE(digest), fromLE(sig[:n]), fromLE(sig[n:])); got != want {
				t.Errorf("digest %x, signature %x: %v, want %v", digest, sig, got, want)
			}
		}
	})
}

// A digest does not depend on how the message arrives, nor on a Sum on the way.
func FuzzHashesInChunks(f *testing.F) {
	f.Add([]byte("The quick brown fox jumps over the lazy dog"), []byte{1, 31, 32, 33})
	f.Add(bytes.Repeat([]byte{255}, 300), []byte{64, 0, 63, 65, 128})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, message, cuts []byte) {
		for _, h := range []hash.Hash{gost.NewStreebog512(), gost.NewStreebog256(), gost.NewGOST94(), gost.NewGOST94CryptoPro()} {
			h.Write(message)
			whole := h.Sum(nil)
			if len(whole) != h.Size() {
				t.Fatalf("%d bytes of digest", len(whole))
			}
			h.Reset()
			rest := message
			for _, c := range cuts {
				n := min(int(c), len(rest))
				h.Write(rest[:n])
				h.Sum(nil)
				rest = rest[n:]
			}
			h.Write(rest)
			if got := h.Sum([]byte("x")); !bytes.Equal(got[1:], whole) {
				t.Errorf("%x in pieces, %x at once", got[1:], whole)
			}
		}
		if sum, h := gost.SumStreebog512(message), gost.NewStreebog512(); true {
			h.Write(message)
			if !bytes.Equal(sum[:], h.Sum(nil)) {
				t.Error("SumStreebog512 differs")
			}
		}
		if sum, h := gost.SumStreebog256(message), gost.NewStreebog256(); true {
			h.Write(message)
			if !bytes.Equal(sum[:], h.Sum(nil)) {
				t.Error("SumStreebog256 differs")
			}
		}
	})
}
