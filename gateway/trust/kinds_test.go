package trust_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"slices"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig/gost"
)

var (
	algorithmRSA  = der(0x30, unhex("06092a864886f70d01010b"), []byte{5, 0})
	algorithmGOST = der(0x30, unhex("060a2a830e030a0101020302"), []byte{5, 0})
)

// sealedBy signs the parts as the key does, and lets form change the signature.
func (p parts) sealedBy(t testing.TB, key crypto.Signer, form func([]byte) []byte) []byte {
	t.Helper()
	tbs := der(0x30, p.tbs...)
	h, opts := trust.SHA256, crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(*gost.PrivateKey); ok {
		h, opts = trust.Streebog512, crypto.Hash(0)
	}
	sum := h.New()
	sum.Write(tbs)
	sig, err := key.Sign(rand.Reader, sum.Sum(nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		sig = form(sig)
	}
	return der(0x30, tbs, p.alg, der(0x03, []byte{0}, sig))
}

// The rows of the adversarial list that make sense for both kinds of keys, under both.
func TestPathsUnderBothKindsOfKeys(t *testing.T) {
	store := storeOf(t)
	for _, kind := range []struct {
		name, own, other string
		alg, otherAlg    []byte
	}{{"RSA", "", "gost-", algorithmRSA, algorithmGOST}, {"GOST", "gost-", "", algorithmGOST, algorithmRSA}} {
		signer := func(id string) crypto.Signer { return pki(t).Must(id).Signer }
		good := pki(t).Must(kind.own + "citizen-01").DER
		ca := signer(kind.own + "issuing")
		resealed := func(key crypto.Signer, edit func(*parts)) []byte {
			p := split(t, good)
			if edit != nil {
				edit(&p)
			}
			return p.sealedBy(t, key, nil)
		}
		field := func(at int, value []byte) func(*parts) { return func(p *parts) { p.tbs[at] = value } }
		of := func(id string, at int) []byte { return split(t, pki(t).Must(id).DER).tbs[at] }
		formed := func(form func([]byte) []byte) []byte { return split(t, good).sealedBy(t, ca, form) }
		q := unhex("75b2101f41b1cdca5db8d2faab384b9b6060054e8d2bf26f11898df43295e627" + "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff") // little-endian
		tests := []struct {
			name string
			der  []byte
			want gateway.Reason
		}{
			{"#1 #2 as issued", good, ""},
			{"signed again", resealed(ca, nil), ""},
			{"#3 NULL after the signature", der(0x30, good[headLen(good):], []byte{5, 0}), gateway.CertificateTrailing},
			{"#4 a byte after the certificate", append(slices.Clone(good), 0), gateway.CertificateTrailing},
			{"#5 another algorithm inside", resealed(ca, field(atAlgorithm, kind.otherAlg)), gateway.CertificateAlgorithmID},
			{"#5 no NULL inside", resealed(ca, field(atAlgorithm, der(0x30, elements(kind.alg[headLen(kind.alg):])[0]))), gateway.CertificateAlgorithmID},
			{"#8 a serial with a zero before it", resealed(ca, func(p *parts) { p.tbs[atSerial] = der(2, []byte{0, 1}) }), gateway.CertificateMalformed},
			{"#9 the same extension twice", resealed(ca, func(p *parts) {
				list := p.tbs[atExtensions][headLen(p.tbs[atExtensions]):]
				list = list[headLen(list):]
				p.tbs[atExtensions] = der(0xa3, der(0x30, list, elements(list)[0]))
			}), gateway.CertificateDuplicateExtension},
			{"#17 the other kind's identifier over this kind's signature", resealed(ca, func(p *parts) { p.alg, p.tbs[atAlgorithm] = kind.otherAlg, kind.otherAlg }), gateway.CertificateSignature},
			{"#17 signed by the other kind's CA", resealed(signer(kind.other+"issuing"), nil), gateway.CertificateSignature},
			{"#18 a bit of the content flipped", func() []byte {
				b := bytes.Clone(good)
				b[bytes.Index(b, of(kind.own+"citizen-01", atSerial))+5] ^= 1
				return b
			}(), gateway.CertificateSignature},
			{"#16 a signature of zeros", formed(func(s []byte) []byte { return make([]byte, len(s)) }), gateway.CertificateSignature},
			{"#16 r of zero", formed(func(s []byte) []byte { clear(s[:len(s)/2]); return s }), gateway.CertificateSignature},
			{"#16 s of zero", formed(func(s []byte) []byte { clear(s[len(s)/2:]); return s }), gateway.CertificateSignature},
			{"#16 r of q", formed(func(s []byte) []byte { copy(s, q); return s }), gateway.CertificateSignature},
			{"#16 s of q", formed(func(s []byte) []byte { copy(s[len(s)/2:], q); return s }), gateway.CertificateSignature},
			{"#16 a signature of all ones", formed(func(s []byte) []byte { return bytes.Repeat([]byte{0xff}, len(s)) }), gateway.CertificateSignature},
			{"half a signature", formed(func(s []byte) []byte { return s[:len(s)/2] }), gateway.CertificateSignature},
			{"no signature", formed(func([]byte) []byte { return nil }), gateway.CertificateSignature},
			{"a byte after the signature", formed(func(s []byte) []byte { return append(s, 0) }), gateway.CertificateSignature},
			{"the signature backwards, as OpenSSL writes GOST", formed(func(s []byte) []byte { slices.Reverse(s); return s }), gateway.CertificateSignature},
			{"#19 self-signed under the CA's name", resealed(signer(kind.own+"citizen-01"), field(atSubject, of(kind.own+"citizen-01", atIssuer))), gateway.NotAnchored},
			{"#20 signed by another CA under this one's name", resealed(signer(kind.own+"other-issuing"), nil), gateway.CertificateSignature},
			{"#21 issued by a person", resealed(signer(kind.own+"citizen-02"), field(atIssuer, of(kind.own+"citizen-02", atSubject))), gateway.NoIssuer},
			{"#29 the anchor itself", pki(t).Must(kind.own + "root").DER, gateway.SignerIsCA},
			{"#30 the issuing CA", pki(t).Must(kind.own + "issuing").DER, gateway.SignerIsCA},
			{"#31 the certificate for signing in", pki(t).Must(kind.own + "citizen-authentication").DER, gateway.KeyUsage},
			{"#32 the responder's certificate", pki(t).Must(kind.own + "ocsp-responder").DER, gateway.ExtendedKeyUsage},
			{"#34 ended", pki(t).Must(kind.own + "citizen-expired").DER, gateway.CertificateExpired},
			{"below a CA that nobody configured", pki(t).Must(kind.own + "citizen-other-ca").DER, gateway.NoIssuer},
			{"the other kind's key in this kind's certificate", resealed(ca, field(atKey, of(kind.other+"citizen-01", atKey))), ""},
		}
		for _, tt := range tests {
			t.Run(kind.name+" "+tt.name, func(t *testing.T) {
				c, err := trust.ParseCertificate(tt.der)
				if err == nil {
					j := store.Judge(c, trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson})
					err = first(j.PathErr, j.ValidityErr, j.PurposeErr)
				}
				if got := gateway.ReasonOf(err); got != tt.want {
					t.Errorf("%q (%v), want %q", got, err, tt.want)
				}
			})
		}
	}
}
