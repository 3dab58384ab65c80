package gost_test

import (
	"testing"

	"egov-gateway/gateway/xmlsig/gost"
)

func BenchmarkStreebog512(b *testing.B) {
	data := make([]byte, 64<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		gost.SumStreebog512(data)
	}
}

func BenchmarkGOST94(b *testing.B) {
	data := make([]byte, 64<<10)
	h := gost.NewGOST94()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		h.Write(data)
	}
}

var curves = []*gost.Curve{gost.Curve512A(), gost.Curve256A()}

// signed returns a new key, a digest and its signature.
func signed(tb testing.TB, c *gost.Curve) (*gost.PrivateKey, []byte, []byte) {
	tb.Helper()
	k, err := gost.GenerateKey(c, nil)
	if err != nil {
		tb.Fatal(err)
	}
	digest := make([]byte, c.Size())
	digest[3] = 7
	sig, err := k.Sign(nil, digest, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return k, digest, sig
}

func public(k *gost.PrivateKey) *gost.PublicKey { return k.Public().(*gost.PublicKey) }

func BenchmarkVerify(b *testing.B) {
	for _, c := range curves {
		k, digest, sig := signed(b, c)
		run := func(name string, p *gost.PublicKey) {
			b.Run(name+"/"+c.String(), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !p.Verify(digest, sig) {
						b.Fatal("does not verify")
					}
				}
			})
		}
		run("cold key", public(k))
		known, err := gost.ParsePublicKey(c, public(k).Bytes())
		if err != nil {
			b.Fatal(err)
		}
		known.Precompute()
		run("known signer", known)
	}
}

func BenchmarkPrecompute(b *testing.B) {
	for _, c := range curves {
		k, _, _ := signed(b, c)
		raw := public(k).Bytes()
		b.Run(c.String(), func(b *testing.B) {
			for b.Loop() {
				p, err := gost.ParsePublicKey(c, raw)
				if err != nil {
					b.Fatal(err)
				}
				p.Precompute()
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	for _, c := range curves {
		k, digest, _ := signed(b, c)
		b.Run(c.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(nil, digest, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
