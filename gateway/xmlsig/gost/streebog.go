package gost

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// Sizes of the digests in bytes. Streebog works on blocks of 64 bytes, GOST R 34.11-94 of 32.
const (
	Streebog512Size = 64
	Streebog256Size = 32
	GOST94Size      = 32
)

const streebogBlock = 64

// A streebog is a running hash. Its words are little-endian, as every implementation keeps
// them; the RFC prints the same state with the most significant byte first.
type streebog struct {
	h, n, sigma [8]uint64
	block       [streebogBlock]byte
	fill        int
	size        int
}

// NewStreebog512 returns GOST R 34.11-2012 with a digest of 64 bytes (RFC 6986), in the byte
// order of the usual tools, which is the reverse of the RFC's print.
func NewStreebog512() hash.Hash { return newStreebog(Streebog512Size) }

// NewStreebog256 is the same with a digest of 32 bytes.
func NewStreebog256() hash.Hash { return newStreebog(Streebog256Size) }

// SumStreebog512 returns the digest of data without an allocation.
func SumStreebog512(data []byte) [Streebog512Size]byte {
	d := streebog{size: Streebog512Size}
	d.Write(data)
	d.finish()
	return d.bytes()
}

// SumStreebog256 returns the digest of data without an allocation.
func SumStreebog256(data []byte) [Streebog256Size]byte {
	d := streebog{size: Streebog256Size}
	d.Reset()
	d.Write(data)
	d.finish()
	all := d.bytes()
	return [Streebog256Size]byte(all[32:])
}

func newStreebog(size int) *streebog {
	d := &streebog{size: size}
	d.Reset()
	return d
}

func (d *streebog) Size() int      { return d.size }
func (d *streebog) BlockSize() int { return streebogBlock }

func (d *streebog) Reset() {
	*d = streebog{size: d.size}
	if d.size == Streebog256Size {
		for i := range d.h {
			d.h[i] = 0x0101010101010101
		}
	}
}

func (d *streebog) Write(p []byte) (int, error) {
	written := len(p)
	if d.fill > 0 {
		n := copy(d.block[d.fill:], p)
		d.fill += n
		p = p[n:]
		if d.fill < streebogBlock {
			return written, nil
		}
		d.absorb(&d.block, streebogBlock*8)
		d.fill = 0
	}
	for len(p) >= streebogBlock {
		d.absorb((*[streebogBlock]byte)(p), streebogBlock*8)
		p = p[streebogBlock:]
	}
	d.fill = copy(d.block[:], p)
	return written, nil
}

// Sum appends the digest of what was written so far; writing may go on.
func (d *streebog) Sum(b []byte) []byte {
	last := *d
	last.finish()
	all := last.bytes()
	return append(b, all[streebogBlock-d.size:]...)
}

// finish is stage 3 of RFC 6986 §9.2.
func (d *streebog) finish() {
	length := uint64(d.fill) * 8
	d.block[d.fill] = 1
	clear(d.block[d.fill+1:])
	d.absorb(&d.block, length)
	var zero [8]uint64
	compress(&d.h, &zero, &d.n)
	compress(&d.h, &zero, &d.sigma)
}

func (d *streebog) bytes() (out [streebogBlock]byte) {
	for i, w := range d.h {
		binary.LittleEndian.PutUint64(out[8*i:], w)
	}
	return out
}

// absorb takes in one block, of which length bits are the message's.
func (d *streebog) absorb(block *[streebogBlock]byte, length uint64) {
	var m [8]uint64
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(block[8*i:])
	}
	compress(&d.h, &d.n, &m)
	var c uint64
	d.n[0], c = bits.Add64(d.n[0], length, 0)
	for i := 1; c != 0 && i < 8; i++ {
		d.n[i], c = bits.Add64(d.n[i], 0, c)
	}
	c = 0
	for i := range m {
		d.sigma[i], c = bits.Add64(d.sigma[i], m[i], c)
	}
}

// compress is g_N of RFC 6986 §8: h becomes E(LPS(h ⊕ n), m) ⊕ h ⊕ m.
func compress(h, n, m *[8]uint64) {
	t := &streebogLPS
	var key, state [8]uint64
	lps(t, &key, h, n)
	lps(t, &state, m, &key)
	for i := range 11 {
		lps(t, &key, &key, &streebogC[i])
		lps(t, &state, &state, &key)
	}
	lps(t, &key, &key, &streebogC[11])
	for i := range h {
		h[i] ^= state[i] ^ key[i] ^ m[i]
	}
}

// lps sets z to L(P(S(x ⊕ y))) (RFC 6986 §7). P is a transposition of bytes, so a word of
// the result takes one byte from each word of the argument. The loop stays rolled: shifting in
// place costs a copy less for each byte than unrolled shifts do.
func lps(t *[8][256]uint64, z, x, y *[8]uint64) {
	r0, r1, r2, r3 := x[0]^y[0], x[1]^y[1], x[2]^y[2], x[3]^y[3]
	r4, r5, r6, r7 := x[4]^y[4], x[5]^y[5], x[6]^y[6], x[7]^y[7]
	for i := range z {
		z[i] = t[0][uint8(r0)] ^ t[1][uint8(r1)] ^ t[2][uint8(r2)] ^ t[3][uint8(r3)] ^
			t[4][uint8(r4)] ^ t[5][uint8(r5)] ^ t[6][uint8(r6)] ^ t[7][uint8(r7)]
		r0, r1, r2, r3, r4, r5, r6, r7 = r0>>8, r1>>8, r2>>8, r3>>8, r4>>8, r5>>8, r6>>8, r7>>8
	}
}
