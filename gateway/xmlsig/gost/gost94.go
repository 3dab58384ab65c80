package gost

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

const gost94Block = 32

// A gost94 is a running GOST R 34.11-94 hash; words are little-endian.
type gost94 struct {
	boxes  *[4][256]uint32
	h, sum [4]uint64
	length uint64 // bits, below 2^64
	block  [gost94Block]byte
	fill   int
}

// NewGOST94 returns GOST R 34.11-94 (ГОСТ 34.311-95, RFC 5831) with the test S-box, which is
// the one the NCA uses: id-GostR3411-94-TestParamSet.
func NewGOST94() hash.Hash { return &gost94{boxes: &testBoxes} }

// NewGOST94CryptoPro is the same with the S-box of RFC 4357 §11.2, for comparison with other
// programs; nothing in Kazakhstan signs with it.
func NewGOST94CryptoPro() hash.Hash { return &gost94{boxes: &cryptoProBoxes} }

func (d *gost94) Size() int      { return GOST94Size }
func (d *gost94) BlockSize() int { return gost94Block }
func (d *gost94) Reset()         { *d = gost94{boxes: d.boxes} }

func (d *gost94) Write(p []byte) (int, error) {
	written := len(p)
	d.length += uint64(len(p)) * 8
	if d.fill > 0 {
		n := copy(d.block[d.fill:], p)
		d.fill += n
		p = p[n:]
		if d.fill < gost94Block {
			return written, nil
		}
		d.absorb(&d.block)
		d.fill = 0
	}
	for len(p) >= gost94Block {
		d.absorb((*[gost94Block]byte)(p))
		p = p[gost94Block:]
	}
	d.fill = copy(d.block[:], p)
	return written, nil
}

// Sum appends the digest of what was written so far; writing may go on.
func (d *gost94) Sum(b []byte) []byte {
	last := *d
	if last.fill > 0 {
		clear(last.block[last.fill:])
		last.absorb(&last.block)
	}
	last.step(&[4]uint64{last.length})
	last.step(&last.sum)
	for _, w := range last.h {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func (d *gost94) absorb(block *[gost94Block]byte) {
	var m [4]uint64
	var c uint64
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(block[8*i:])
		d.sum[i], c = bits.Add64(d.sum[i], m[i], c)
	}
	d.step(&m)
}

// step is the function of RFC 5831 §5: four keys, four encryptions, then the mixing.
func (d *gost94) step(m *[4]uint64) {
	u, v := d.h, *m
	var s [4]uint64
	for i := range s {
		if i > 0 {
			u = turn(u)
			if i == 2 {
				for j, c := range [4]uint64{0xff00ff00ff00ff00, 0x00ff00ff00ff00ff, 0xff0000ff00ffff00, 0xff00ffff000000ff} {
					u[j] ^= c
				}
			}
			v = turn(turn(v))
		}
		key := permute(u[0]^v[0], u[1]^v[1], u[2]^v[2], u[3]^v[3])
		s[i] = encrypt(d.boxes, &key, d.h[i])
	}
	mix(&d.h, m, &s)
}

// turn is the transformation A.
func turn(y [4]uint64) [4]uint64 { return [4]uint64{y[1], y[2], y[3], y[0] ^ y[1]} }

// permute is the transformation P of a W of four words: key byte 4k+i is byte k of word i.
func permute(w0, w1, w2, w3 uint64) (key [8]uint32) {
	for k := range key {
		key[k] = uint32(w0&0xff | w1&0xff<<8 | w2&0xff<<16 | w3&0xff<<24)
		w0, w1, w2, w3 = w0>>8, w1>>8, w2>>8, w3>>8
	}
	return key
}

// encrypt is GOST 28147-89 on one block (RFC 5830 §5).
func encrypt(t *[4][256]uint32, key *[8]uint32, block uint64) uint64 {
	a, b := uint32(block), uint32(block>>32)
	for range 3 {
		for i := 0; i < 8; i += 2 {
			x := a + key[i]
			b ^= t[0][uint8(x)] ^ t[1][uint8(x>>8)] ^ t[2][uint8(x>>16)] ^ t[3][x>>24]
			x = b + key[i+1]
			a ^= t[0][uint8(x)] ^ t[1][uint8(x>>8)] ^ t[2][uint8(x>>16)] ^ t[3][x>>24]
		}
	}
	for i := 7; i > 0; i -= 2 {
		x := a + key[i]
		b ^= t[0][uint8(x)] ^ t[1][uint8(x>>8)] ^ t[2][uint8(x>>16)] ^ t[3][x>>24]
		x = b + key[i-1]
		a ^= t[0][uint8(x)] ^ t[1][uint8(x>>8)] ^ t[2][uint8(x>>16)] ^ t[3][x>>24]
	}
	return uint64(b) | uint64(a)<<32
}

// mix sets h to ψ⁶¹(h ⊕ ψ(m ⊕ ψ¹²(s))). One ψ drops the lowest of sixteen 16-bit words and
// puts a sum of six in front, so that a run of them only appends.
func mix(h, m, s *[4]uint64) {
	var w [16 + 61]uint16
	split := func(x *[4]uint64) {
		for i := range 16 {
			w[i] = uint16(x[i/4] >> (i % 4 * 16))
		}
	}
	run := func(times int) {
		for i := range times {
			w[i+16] = w[i] ^ w[i+1] ^ w[i+2] ^ w[i+3] ^ w[i+12] ^ w[i+15]
		}
	}
	join := func(from int, x *[4]uint64) (y [4]uint64) {
		for i := range y {
			f := w[from+4*i : from+4*i+4]
			y[i] = x[i] ^ (uint64(f[0]) | uint64(f[1])<<16 | uint64(f[2])<<32 | uint64(f[3])<<48)
		}
		return y
	}
	split(s)
	run(12)
	y := join(12, m)
	split(&y)
	run(1)
	y = join(1, h)
	split(&y)
	run(61)
	*h = join(61, &[4]uint64{})
}

// A boxes table joins two substitutions of four bits and the rotation by eleven.
func boxes(rows [8][16]uint8) (t [4][256]uint32) {
	for i := range t {
		for v := range t[i] {
			s := uint32(rows[2*i][v&15]) | uint32(rows[2*i+1][v>>4])<<4
			t[i][v] = bits.RotateLeft32(s<<(8*i), 11)
		}
	}
	return t
}

// The substitutions of RFC 5831 §7.1 and of RFC 4357 §11.2, the lowest four bits' first.
var (
	testBoxes = boxes([8][16]uint8{
		{4, 10, 9, 2, 13, 8, 0, 14, 6, 11, 1, 12, 7, 15, 5, 3},
		{14, 11, 4, 12, 6, 13, 15, 10, 2, 3, 8, 1, 0, 7, 5, 9},
		{5, 8, 1, 13, 10, 3, 4, 2, 14, 15, 12, 7, 6, 0, 9, 11},
		{7, 13, 10, 1, 0, 8, 9, 15, 14, 4, 6, 12, 11, 2, 5, 3},
		{6, 12, 7, 1, 5, 15, 13, 8, 4, 10, 9, 14, 0, 3, 11, 2},
		{4, 11, 10, 0, 7, 2, 1, 13, 3, 6, 8, 5, 9, 12, 15, 14},
		{13, 11, 4, 1, 3, 15, 5, 9, 0, 10, 14, 7, 6, 8, 2, 12},
		{1, 15, 13, 0, 5, 7, 10, 4, 9, 2, 3, 14, 6, 11, 8, 12},
	})
	cryptoProBoxes = boxes([8][16]uint8{
		{10, 4, 5, 6, 8, 1, 3, 7, 13, 12, 14, 0, 9, 2, 11, 15},
		{5, 15, 4, 0, 2, 13, 11, 9, 1, 7, 6, 3, 12, 14, 10, 8},
		{7, 15, 12, 14, 9, 4, 1, 0, 3, 11, 5, 2, 6, 10, 8, 13},
		{4, 10, 7, 12, 0, 15, 2, 8, 14, 1, 6, 5, 13, 11, 9, 3},
		{7, 6, 4, 11, 9, 12, 2, 10, 1, 8, 0, 14, 15, 13, 3, 5},
		{7, 6, 2, 4, 13, 9, 15, 0, 10, 1, 5, 11, 8, 14, 12, 3},
		{13, 14, 4, 1, 7, 0, 5, 10, 3, 12, 8, 15, 6, 2, 9, 11},
		{1, 3, 10, 9, 5, 11, 4, 15, 8, 6, 7, 14, 13, 0, 2, 12},
	})
)
