package trust_test

import (
	"bytes"
	"slices"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig/gost"
)

var (
	keyOID2015  = unhex("06092a830e030a01010202")
	curve2015   = unhex("060a2a830e030a0101020201")
	digest2015  = unhex("06082a830e030a010303")
	keyOID2004  = unhex("06092a830e030a01010101")
	curve2004   = unhex("060a2a830e030a0101010101")
	digest2004  = unhex("060a2a830e030a0103010100")
	half2015OID = unhex("06092a830e030a01010201") // 256 bits, on paper only
)

// gostSPKI wraps point as the NCA's certificates do.
func gostSPKI(key, curve, digest, point []byte) []byte {
	return der(0x30, der(0x30, key, der(0x30, curve, digest)), der(0x03, []byte{0}, der(0x04, point)))
}

func gostKeys(t testing.TB) (large, small *gost.PrivateKey) {
	t.Helper()
	var keys [2]*gost.PrivateKey
	for i, c := range []*gost.Curve{gost.Curve512A(), gost.Curve256A()} {
		k, err := gost.GenerateKey(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	return keys[0], keys[1]
}

func point(k *gost.PrivateKey) []byte { return k.Public().(*gost.PublicKey).Bytes() }

func TestGOSTKeysAreReadInOneForm(t *testing.T) {
	large, small := gostKeys(t)
	p512, p256 := point(large), point(small)
	reversed := slices.Clone(p512)
	slices.Reverse(reversed)
	broken := slices.Clone(p512)
	broken[100] ^= 1
	tests := []struct {
		name string
		spki []byte
		kind trust.KeyKind
		want gateway.Reason
	}{
		{"2015, 512 bits", gostSPKI(keyOID2015, curve2015, digest2015, p512), trust.GOST2015, ""},
		{"2004, 256 bits", gostSPKI(keyOID2004, curve2004, digest2004, p256), trust.GOST2004, ""},
		{"2015 with 256 bits", gostSPKI(keyOID2015, curve2015, digest2015, p256), "", gateway.KeyWeak},
		{"2004 with 512 bits", gostSPKI(keyOID2004, curve2004, digest2004, p512), "", gateway.KeyWeak},
		{"2015 with the parameters of 2004", gostSPKI(keyOID2015, curve2004, digest2004, p512), "", gateway.KeyWeak},
		{"2004 with the parameters of 2015", gostSPKI(keyOID2004, curve2015, digest2015, p256), "", gateway.KeyWeak},
		{"#15 2015 with another curve", gostSPKI(keyOID2015, unhex("060a2a830e030a0101020202"), digest2015, p512), "", gateway.KeyWeak},
		{"2015 with another digest", gostSPKI(keyOID2015, curve2015, unhex("06082a830e030a010302"), p512), "", gateway.KeyWeak},
		{"2015 without a digest", gostSPKI(keyOID2015, curve2015, nil, p512), "", gateway.KeyWeak},
		{"2015 with more in the parameters", gostSPKI(keyOID2015, curve2015, append(slices.Clone(digest2015), 5, 0), p512), "", gateway.KeyWeak},
		{"2015 without parameters", der(0x30, der(0x30, keyOID2015), der(0x03, []byte{0}, der(0x04, p512))), "", gateway.KeyWeak},
		{"2015 with NULL parameters", der(0x30, der(0x30, keyOID2015, []byte{5, 0}), der(0x03, []byte{0}, der(0x04, p512))), "", gateway.KeyWeak},
		{"2015 of 256 bits, which exists on paper", gostSPKI(half2015OID, curve2015, digest2015, p256), "", gateway.AlgorithmForbidden},
		{"OpenSSL's identifiers", gostSPKI(unhex("06082a85030701010102"), unhex("06092a8503070102010201"), unhex("06082a85030701010203"), p512), "", gateway.AlgorithmForbidden},
		{"#15 off the curve", gostSPKI(keyOID2015, curve2015, digest2015, broken), "", gateway.KeyWeak},
		{"big-endian", gostSPKI(keyOID2015, curve2015, digest2015, reversed), "", gateway.KeyWeak},
		{"the identity as zeros", gostSPKI(keyOID2015, curve2015, digest2015, make([]byte, 128)), "", gateway.KeyWeak},
		{"a byte after the octet string", der(0x30, der(0x30, keyOID2015, der(0x30, curve2015, digest2015)), der(0x03, []byte{0}, der(0x04, p512), []byte{0})), "", gateway.CertificateMalformed},
		{"the point without an octet string", der(0x30, der(0x30, keyOID2015, der(0x30, curve2015, digest2015)), der(0x03, []byte{0}, p512)), "", gateway.CertificateMalformed},
		{"an unused bit", der(0x30, der(0x30, keyOID2015, der(0x30, curve2015, digest2015)), der(0x03, []byte{1}, der(0x04, p512))), "", gateway.CertificateMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := trust.ParsePublicKey(tt.spki)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && k.Kind() != tt.kind {
				t.Errorf("kind %s, want %s", k.Kind(), tt.kind)
			}
		})
	}
}

func TestGOSTKeysVerifyTheirOwnDigestOnly(t *testing.T) {
	large, small := gostKeys(t)
	for _, tt := range []struct {
		name  string
		key   *gost.PrivateKey
		spki  []byte
		hash  trust.Hash
		other []trust.Hash
	}{
		{"2015", large, gostSPKI(keyOID2015, curve2015, digest2015, point(large)), trust.Streebog512, []trust.Hash{trust.GOST94, trust.SHA256, trust.SHA512}},
		{"2004", small, gostSPKI(keyOID2004, curve2004, digest2004, point(small)), trust.GOST94, []trust.Hash{trust.Streebog512, trust.SHA256}},
	} {
		h := tt.hash.New()
		h.Write([]byte("what was signed"))
		sum := h.Sum(nil)
		sig, err := tt.key.Sign(nil, sum, nil)
		if err != nil {
			t.Fatal(err)
		}
		k, err := trust.ParsePublicKey(tt.spki)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.VerifyDigest(tt.hash, sum, sig); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, o := range tt.other {
			if got := gateway.ReasonOf(k.VerifyDigest(o, sum, sig)); got != gateway.SignatureKeyMismatch {
				t.Errorf("%s with the digest %d: %q", tt.name, o, got)
			}
		}
		swapped := append(bytes.Clone(sig[len(sig)/2:]), sig[:len(sig)/2]...)
		if got := gateway.ReasonOf(k.VerifyDigest(tt.hash, sum, swapped)); got != gateway.SignatureInvalid {
			t.Errorf("%s with s before r: %q", tt.name, got)
		}
		// The same over an AlgorithmIdentifier, with and without NULL, and under the other's name.
		ids := map[string][2]trust.OID{"2015": {"1.2.398.3.10.1.1.2.3.2", "1.2.398.3.10.1.1.1.2"}, "2004": {"1.2.398.3.10.1.1.1.2", "1.2.398.3.10.1.1.2.3.2"}}[tt.name]
		for _, tc := range []struct {
			a    trust.Algorithm
			want gateway.Reason
		}{
			{trust.Algorithm{ID: ids[0]}, ""},
			{trust.Algorithm{ID: ids[0], Parameters: []byte{5, 0}}, ""},
			{trust.Algorithm{ID: ids[0], Parameters: []byte{4, 0}}, gateway.AlgorithmForbidden},
			{trust.Algorithm{ID: ids[1]}, gateway.SignatureInvalid},
			{trust.Algorithm{ID: "1.2.840.113549.1.1.11"}, gateway.SignatureInvalid},
			{trust.Algorithm{ID: "1.2.398.3.10.1.1.2.3.1"}, gateway.AlgorithmForbidden},
			{trust.Algorithm{ID: "1.3.6.1.4.1.6801.1.2.2"}, gateway.AlgorithmForbidden},
		} {
			if got := gateway.ReasonOf(tc.a.Verify(k, []byte("what was signed"), sig)); got != tc.want {
				t.Errorf("%s as %s with parameters %x: %q, want %q", tt.name, tc.a.ID, tc.a.Parameters, got, tc.want)
			}
		}
	}
}
