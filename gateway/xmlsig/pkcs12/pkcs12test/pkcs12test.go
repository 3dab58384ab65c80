// Package pkcs12test makes key files for tests in the shape of those that the National
// Certification Authority gives out: PKCS #12 in BER with indefinite lengths and octet strings
// in pieces. It shares no code with the reader. TEST ONLY: salts and iterations are fixed.
package pkcs12test

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/asn1"
	"math/big"
	"slices"
)

// A File is what a key file holds.
type File struct {
	Password     string   // ASCII
	Keys         [][]byte // PrivateKeyInfo in DER
	Certificates [][]byte
	// BER writes indefinite lengths and octet strings in pieces, as the NCA does; else DER.
	BER bool
	// NoMAC leaves the MAC out.
	NoMAC bool
	// Iterations of the key derivation; 0 means 2048.
	Iterations int
}

const piece = 100 // octets of an octet string's part

var salt = []byte("salt of 20 octets ..")

// Encode writes the file.
func (f File) Encode() []byte {
	if f.Iterations == 0 {
		f.Iterations = 2048
	}
	pbe := f.seq(oid(1, 2, 840, 113549, 1, 12, 1, 3), f.seq(f.octets(salt), integer(f.Iterations)))
	var keys, certs [][]byte
	for _, k := range f.Keys {
		keys = append(keys, f.seq(oid(1, 2, 840, 113549, 1, 12, 10, 1, 2), f.tag(0xA0, f.seq(pbe, f.octets(f.encrypt(k))))))
	}
	for _, c := range f.Certificates {
		certs = append(certs, f.seq(oid(1, 2, 840, 113549, 1, 12, 10, 1, 3), f.tag(0xA0, f.seq(oid(1, 2, 840, 113549, 1, 9, 22, 1), f.tag(0xA0, f.octets(c))))))
	}
	data, encrypted := oid(1, 2, 840, 113549, 1, 7, 1), oid(1, 2, 840, 113549, 1, 7, 6)
	cipherText := f.encrypt(f.seq(certs...))
	implicit := element(0x80, cipherText)
	if f.BER {
		implicit = f.tag(0xA0, f.pieces(cipherText)...)
	}
	safe := f.seq(
		f.seq(data, f.tag(0xA0, f.octets(f.seq(keys...)))),
		f.seq(encrypted, f.tag(0xA0, f.seq(integer(0), f.seq(data, pbe, implicit)))),
	)
	pfx := [][]byte{integer(3), f.seq(data, f.tag(0xA0, f.octets(safe)))}
	if !f.NoMAC {
		mac := hmac.New(sha1.New, f.derive(3, 20))
		mac.Write(safe)
		info := f.seq(f.seq(oid(1, 3, 14, 3, 2, 26), []byte{5, 0}), f.octets(mac.Sum(nil)))
		pfx = append(pfx, f.seq(info, f.octets(salt), integer(f.Iterations)))
	}
	return f.seq(pfx...)
}

// Indefinite writes DER again in BER: every constructed element with an indefinite length,
// every octet string outside others in pieces.
func Indefinite(der []byte) []byte {
	var out []byte
	for f := (File{BER: true}); len(der) > 0; {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			panic(err)
		}
		switch {
		case v.IsCompound:
			out = append(out, f.tag(v.FullBytes[0], Indefinite(v.Bytes))...)
		case v.FullBytes[0] == 0x04:
			out = append(out, f.octets(v.Bytes)...)
		default:
			out = append(out, v.FullBytes...)
		}
		der = rest
	}
	return out
}

func (f File) encrypt(b []byte) []byte {
	block, err := des.NewTripleDESCipher(f.derive(1, 24))
	if err != nil {
		panic(err)
	}
	pad := 8 - len(b)%8
	b = append(slices.Clone(b), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, f.derive(2, 8)).CryptBlocks(b, b)
	return b
}

// derive is RFC 7292 §B.2 with SHA-1.
func (f File) derive(id byte, size int) []byte {
	const v = 64
	repeat := func(s []byte) []byte { return bytes.Repeat(s, v)[:v*((len(s)+v-1)/v)] }
	var password []byte
	for _, c := range []byte(f.Password + "\x00") {
		password = append(password, 0, c)
	}
	i := append(repeat(salt), repeat(password)...)
	var out []byte
	for len(out) < size {
		a := sha1.Sum(append(bytes.Repeat([]byte{id}, v), i...))
		for range f.Iterations - 1 {
			a = sha1.Sum(a[:])
		}
		out = append(out, a[:]...)
		b := new(big.Int).SetBytes(repeat(a[:])[:v])
		b.Add(b, big.NewInt(1))
		modulus := new(big.Int).Lsh(big.NewInt(1), 8*v)
		for j := 0; j < len(i); j += v {
			sum := new(big.Int).SetBytes(i[j : j+v])
			sum.Add(sum, b).Mod(sum, modulus).FillBytes(i[j : j+v])
		}
	}
	return out[:size]
}

func (f File) seq(parts ...[]byte) []byte { return f.tag(0x30, parts...) }

func (f File) tag(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	if f.BER {
		return append(append([]byte{tag, 0x80}, content...), 0, 0)
	}
	return element(tag, content)
}

func (f File) octets(b []byte) []byte {
	if f.BER {
		return f.tag(0x24, f.pieces(b)...)
	}
	return element(0x04, b)
}

func (f File) pieces(b []byte) [][]byte {
	var out [][]byte
	for p := range slices.Chunk(b, piece) {
		out = append(out, element(0x04, p))
	}
	return out
}

func element(tag byte, content []byte) []byte {
	b, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 0x1F), IsCompound: tag&0x20 != 0, Bytes: content})
	if err != nil {
		panic(err)
	}
	return b
}

func oid(arcs ...int) []byte { return must(asn1.ObjectIdentifier(arcs)) }

func integer(n int) []byte { return must(n) }

func must(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
