package pkcs12

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// MaxIterations bounds what a file may ask of the key derivation; the NCA's ask for 2,048.
const MaxIterations = 1_000_000

// bmpString is the password in two octets a character, with the zero at its end (RFC 7292 §B.1).
func bmpString(password string) []byte {
	var out []byte
	for _, c := range utf16.Encode([]rune(password)) {
		out = append(out, byte(c>>8), byte(c))
	}
	return append(out, 0, 0)
}

// What a derived key is for (RFC 7292 §B.3).
const (
	forKey byte = 1
	forIV  byte = 2
	forMAC byte = 3
)

// derive is the key derivation of RFC 7292 §B.2.
func derive(newHash func() hash.Hash, id byte, password, salt []byte, iterations, size int) []byte {
	h := newHash()
	v := h.BlockSize()
	d := bytes.Repeat([]byte{id}, v)
	i := append(fill(salt, v), fill(password, v)...)
	var out []byte
	for {
		h.Reset()
		h.Write(d)
		h.Write(i)
		a := h.Sum(nil)
		for range iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if out = append(out, a...); len(out) >= size {
			return out[:size]
		}
		b := fill(a, v)[:v]
		for j := 0; j < len(i); j += v {
			carry := 1
			for k := v - 1; k >= 0; k-- {
				carry += int(i[j+k]) + int(b[k])
				i[j+k] = byte(carry)
				carry >>= 8
			}
		}
	}
}

// fill repeats s to a multiple of v octets, the last time cut short.
func fill(s []byte, v int) []byte {
	if len(s) == 0 {
		return nil
	}
	n := v * ((len(s) + v - 1) / v)
	return bytes.Repeat(s, (n+len(s)-1)/len(s))[:n:n]
}

func hashOf(id trust.OID) func() hash.Hash {
	switch id {
	case "1.3.14.3.2.26", "1.2.840.113549.2.7": // also as HMAC, for PBKDF2
		return sha1.New
	case "2.16.840.1.101.3.4.2.1", "1.2.840.113549.2.9":
		return sha256.New
	case "2.16.840.1.101.3.4.2.2", "1.2.840.113549.2.10":
		return sha512.New384
	case "2.16.840.1.101.3.4.2.3", "1.2.840.113549.2.11":
		return sha512.New
	}
	return nil
}

// decrypt opens what alg and the password have closed.
func decrypt(alg trust.Algorithm, password string, data []byte) ([]byte, error) {
	var block cipher.Block
	var iv []byte
	var err error
	if alg.ID == "1.2.840.113549.1.5.13" {
		block, iv, err = pbes2(alg, password)
	} else {
		block, iv, err = pbe1(alg, password)
	}
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || len(data)%block.BlockSize() != 0 || len(iv) != block.BlockSize() {
		return nil, malformed("the length of what is encrypted")
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, data)
	// The MAC has vouched for data and password, so the padding tells an attacker nothing.
	pad := int(out[len(out)-1])
	if pad == 0 || pad > block.BlockSize() || !bytes.Equal(out[len(out)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, malformed("the padding of what is encrypted")
	}
	return out[:len(out)-pad], nil
}

// pbe1 are the ciphers of RFC 7292 appendix C.
func pbe1(alg trust.Algorithm, password string) (cipher.Block, []byte, error) {
	in := cryptobyte.String(alg.Parameters)
	var seq, salt cryptobyte.String
	var iterations int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) || !seq.ReadASN1Integer(&iterations) || !seq.Empty() {
		return nil, nil, malformed("the parameters of encryption")
	}
	if err := checkIterations(iterations); err != nil {
		return nil, nil, err
	}
	pass := bmpString(password)
	key := func(n int) []byte { return derive(sha1.New, forKey, pass, salt, iterations, n) }
	iv := func() []byte { return derive(sha1.New, forIV, pass, salt, iterations, 8) }
	switch alg.ID {
	case "1.2.840.113549.1.12.1.3": // pbeWithSHAAnd3-KeyTripleDES-CBC
		b, err := des.NewTripleDESCipher(key(24))
		return b, iv(), err
	case "1.2.840.113549.1.12.1.5": // pbeWithSHAAnd128BitRC2-CBC
		return newRC2(key(16), 128), iv(), nil
	case "1.2.840.113549.1.12.1.6": // pbeWithSHAAnd40BitRC2-CBC
		return newRC2(key(5), 40), iv(), nil
	}
	return nil, nil, gateway.Errorf(gateway.ConfigInvalid, "the key file is encrypted with %s, which is not read", alg.ID)
}

// pbes2 is what other programs write today: PBKDF2 and AES (RFC 8018 §6.2).
func pbes2(alg trust.Algorithm, password string) (cipher.Block, []byte, error) {
	in := cryptobyte.String(alg.Parameters)
	var seq, salt, params, iv cryptobyte.String
	var kdf, enc, prf trust.Algorithm
	var iterations, size int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !trust.ReadAlgorithm(&seq, &kdf) || !trust.ReadAlgorithm(&seq, &enc) || !seq.Empty() {
		return nil, nil, malformed("the parameters of encryption")
	}
	kp, ep := cryptobyte.String(kdf.Parameters), cryptobyte.String(enc.Parameters)
	if kdf.ID != "1.2.840.113549.1.5.12" || !kp.ReadASN1(&params, cbasn1.SEQUENCE) || !params.ReadASN1(&salt, cbasn1.OCTET_STRING) || !params.ReadASN1Integer(&iterations) ||
		params.PeekASN1Tag(cbasn1.INTEGER) && !params.ReadASN1Integer(&size) || !ep.ReadASN1(&iv, cbasn1.OCTET_STRING) {
		return nil, nil, malformed("the parameters of encryption")
	}
	prf.ID = "1.2.840.113549.2.7"
	if !params.Empty() && !trust.ReadAlgorithm(&params, &prf) {
		return nil, nil, malformed("the parameters of encryption")
	}
	if err := checkIterations(iterations); err != nil {
		return nil, nil, err
	}
	newHash, want := hashOf(prf.ID), 0
	switch enc.ID {
	case "2.16.840.1.101.3.4.1.2":
		want = 16
	case "2.16.840.1.101.3.4.1.22":
		want = 24
	case "2.16.840.1.101.3.4.1.42":
		want = 32
	}
	if newHash == nil || want == 0 || size != 0 && size != want {
		return nil, nil, gateway.Errorf(gateway.ConfigInvalid, "the key file is encrypted with %s and %s, which are not read", prf.ID, enc.ID)
	}
	key, err := pbkdf2.Key(newHash, password, salt, iterations, want)
	if err != nil {
		return nil, nil, gateway.Errorf(gateway.ConfigInvalid, "derive the key: %w", err)
	}
	block, err := aes.NewCipher(key)
	return block, iv, err
}

func checkIterations(n int) error {
	if n < 1 || n > MaxIterations {
		return gateway.Errorf(gateway.ConfigInvalid, "the key file asks for %d iterations, at most %d are made", n, MaxIterations)
	}
	return nil
}
