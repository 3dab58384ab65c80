package trust_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	mrand "math/rand/v2"
	"sync"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A rawRSA key has several small primes, which are found quickly at any size, and signs
// whatever it is given.
type rawRSA struct {
	pub rsa.PublicKey
	d   *big.Int
}

func newRawRSA(t testing.TB, bits int) rawRSA {
	t.Helper()
	e, one := big.NewInt(65537), big.NewInt(1)
	for {
		n, phi := big.NewInt(1), big.NewInt(1)
		for n.BitLen() < bits {
			p, err := rand.Prime(rand.Reader, min(256, max(2, bits-n.BitLen())))
			if err != nil {
				t.Fatal(err)
			}
			n.Mul(n, p)
			phi.Mul(phi, p.Sub(p, one))
		}
		if d := new(big.Int).ModInverse(e, phi); d != nil && n.BitLen() == bits && n.Bit(0) == 1 {
			return rawRSA{rsa.PublicKey{N: n, E: 65537}, d}
		}
	}
}

func (k rawRSA) key(t testing.TB) trust.PublicKey {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(&k.pub)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.ParsePublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// raw is em to the private exponent, as long as the modulus.
func (k rawRSA) raw(em []byte) []byte {
	s := new(big.Int).Exp(new(big.Int).SetBytes(em), k.d, k.pub.N)
	return s.FillBytes(make([]byte, k.pub.Size()))
}

var rsaHashes = []struct {
	ours   trust.Hash
	theirs crypto.Hash
	info   []byte // DigestInfo before the digest, RFC 8017 §9.2 note 1
}{
	{trust.SHA256, crypto.SHA256, []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")},
	{trust.SHA384, crypto.SHA384, []byte("\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30")},
	{trust.SHA512, crypto.SHA512, []byte("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40")},
}

// em is EMSA-PKCS1-v1_5 with a DigestInfo of one's own and pad octets of padding; -1 for as
// many as fit.
func em(size, pad int, info, digest []byte) []byte {
	if pad < 0 {
		pad = size - 3 - len(info) - len(digest)
	}
	return bytes.Join([][]byte{{0, 1}, bytes.Repeat([]byte{0xFF}, pad), {0}, info, digest}, nil)
}

// crypto/rsa and ParsePublicKey's key say the same of every signature, right or forged, for
// every size of modulus.
func TestRSAAgreesWithTheStandardLibrary(t *testing.T) {
	for _, bits := range []int{2048, 2049, 2050, 2055, 2056, 2063, 2111, 2112, 2113, 2560, 3000, 3071, 3072, 3073, 4032, 4095, 4096} {
		t.Run(fmt.Sprint(bits, " bits"), func(t *testing.T) {
			k := newRawRSA(t, bits)
			key, size := k.key(t), k.pub.Size()
			if key.Kind() != trust.RSA {
				t.Fatal("another kind of key")
			}
			for i, h := range rsaHashes {
				digest := make([]byte, h.theirs.Size())
				rand.Read(digest)
				sign := k.raw
				good := sign(em(size, -1, h.info, digest))
				other := rsaHashes[(i+1)%len(rsaHashes)]
				long := append(bytes.Clone(digest), make([]byte, 64)...)
				flipped := func(n int) []byte {
					b := bytes.Clone(good)
					b[n/8] ^= 1 << (n % 8)
					return b
				}
				plus := func(n *big.Int) []byte { return n.Add(n, new(big.Int).SetBytes(good)).Bytes() }
				withoutNull := bytes.Clone(h.info)
				withoutNull = append(withoutNull[:len(withoutNull)-4], 0x04, byte(len(digest)))
				withoutNull[1], withoutNull[3] = withoutNull[1]-2, withoutNull[3]-2
				tests := []struct {
					name        string
					digest, sig []byte
					valid       bool
				}{
					{"valid", digest, good, true},
					{"one bit of the signature", digest, flipped(mrand.IntN(8 * size)), false},
					{"the last bit", digest, flipped(8*size - 8), false},
					{"another digest", append([]byte{digest[0] ^ 1}, digest[1:]...), good, false},
					{"a shorter digest", digest[1:], good, false},
					{"a longer digest", long[:len(digest)+1], good, false},
					{"no digest", nil, good, false},
					{"no signature", digest, nil, false},
					{"zero", digest, make([]byte, size), false},
					{"one", digest, append(make([]byte, size-1), 1), false},
					{"N", digest, k.pub.N.Bytes(), false},
					{"N - 1", digest, new(big.Int).Sub(k.pub.N, big.NewInt(1)).FillBytes(make([]byte, size)), false},
					{"s + N", digest, plus(new(big.Int).Set(k.pub.N)), false},
					{"s + 2^bits", digest, plus(new(big.Int).Lsh(big.NewInt(1), uint(bits))), false},
					{"all ones", digest, bytes.Repeat([]byte{0xFF}, size), false},
					{"one octet short", digest, good[1:], false},
					{"without its last octet", digest, good[:size-1], false},
					{"a zero octet before", digest, append([]byte{0}, good...), false},
					{"a zero octet after", digest, append(bytes.Clone(good), 0), false},
					{"one octet of padding fewer, garbage behind", digest, sign(append(em(size, size-4-len(h.info)-len(digest), h.info, digest), 0xAA)), false},
					{"eight octets of padding, garbage behind", digest, sign(append(em(size, 8, h.info, digest), make([]byte, size-11-len(h.info)-len(digest))...)), false},
					{"padding not of ones", digest, sign(bytes.Replace(em(size, -1, h.info, digest), []byte{0xFF, 0xFF}, []byte{0xFF, 0xFE}, 1)), false},
					{"block type 2", digest, sign(bytes.Replace(em(size, -1, h.info, digest), []byte{0, 1}, []byte{0, 2}, 1)), false},
					{"block type 0", digest, sign(bytes.Replace(em(size, -1, h.info, digest), []byte{0, 1}, []byte{0, 0}, 1)), false},
					{"no DigestInfo", digest, sign(em(size, -1, nil, digest)), false},
					{"DigestInfo without NULL", digest, sign(em(size, -1, withoutNull, digest)), false},
					{"DigestInfo of another hash", digest, sign(em(size, -1, other.info, digest)), false},
					{"a digest cut short in its DigestInfo", digest, sign(em(size, -1, h.info, digest[:len(digest)-1])), false},
				}
				for _, tt := range tests {
					err := key.VerifyDigest(h.ours, tt.digest, tt.sig)
					theirs := rsa.VerifyPKCS1v15(&k.pub, h.theirs, tt.digest, tt.sig)
					if (err == nil) != tt.valid || (theirs == nil) != tt.valid {
						t.Errorf("%v, %s: we say %v, crypto/rsa says %v, valid is %v", h.theirs, tt.name, err, theirs, tt.valid)
					}
					if err != nil && gateway.ReasonOf(err) != gateway.SignatureInvalid {
						t.Errorf("%v, %s: reason %s", h.theirs, tt.name, gateway.ReasonOf(err))
					}
				}
				if err := key.VerifyDigest(other.ours, digest, good); gateway.ReasonOf(err) != gateway.SignatureInvalid {
					t.Errorf("%v taken for %v: %v", h.theirs, other.theirs, err)
				}
			}
			for _, h := range []trust.Hash{0, trust.Streebog512, trust.GOST94} {
				if err := key.VerifyDigest(h, make([]byte, 64), make([]byte, size)); gateway.ReasonOf(err) != gateway.SignatureKeyMismatch {
					t.Errorf("hash %d under an RSA key: %v", h, err)
				}
			}
		})
	}
}

// One key serves any number of goroutines.
func TestRSAKeyIsShared(t *testing.T) {
	k := newRawRSA(t, 2048)
	key := k.key(t)
	h := rsaHashes[0]
	digest := make([]byte, 32)
	good := k.raw(em(k.pub.Size(), -1, h.info, digest))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			sig := bytes.Clone(good)
			for i := range 200 {
				bad := (i+g)%3 == 0
				if bad {
					sig[i] ^= 1
				}
				if err := key.VerifyDigest(h.ours, digest, sig); (err != nil) != bad {
					t.Errorf("goroutine %d, turn %d: %v", g, i, err)
				}
				copy(sig, good)
			}
		})
	}
	wg.Wait()
}

// A verification with the usual 2048 bits allocates nothing.
func TestRSAVerificationDoesNotAllocate(t *testing.T) {
	k := newRawRSA(t, 2048)
	key := k.key(t)
	digest := make([]byte, 32)
	sig := k.raw(em(k.pub.Size(), -1, rsaHashes[0].info, digest))
	if n := testing.AllocsPerRun(50, func() {
		if err := key.VerifyDigest(trust.SHA256, digest, sig); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

// BenchmarkRSA compares with crypto/rsa, which does not keep the constants of a modulus.
func BenchmarkRSA(b *testing.B) {
	for _, bits := range []int{2048, 4096} {
		k := newRawRSA(b, bits)
		key := k.key(b)
		digest := make([]byte, 32)
		sig := k.raw(em(k.pub.Size(), -1, rsaHashes[0].info, digest))
		b.Run(fmt.Sprint(bits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := key.VerifyDigest(trust.SHA256, digest, sig); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(bits, "/crypto-rsa"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := rsa.VerifyPKCS1v15(&k.pub, crypto.SHA256, digest, sig); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
