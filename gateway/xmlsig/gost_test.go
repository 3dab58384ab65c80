package xmlsig_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/gateway/xmlsig/gost"
)

// A gostGeneration is how the NCA's certificates name one of the two kinds of GOST keys.
type gostGeneration struct {
	curve                         *gost.Curve
	key, set, digest, signature   asn1.ObjectIdentifier
	hash                          trust.Hash
	kind                          trust.KeyKind
	method, digestMethod, another string
}

var generations = []gostGeneration{
	{
		gost.Curve512A(), asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 1, 2, 2}, asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 1, 2, 2, 1},
		asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 3, 3}, asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 1, 2, 3, 2},
		trust.Streebog512, trust.GOST2015, xmlsig.GOST2015, xmlsig.DigestGOST2015, xmlsig.GOST2004,
	},
	{
		gost.Curve256A(), asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 1, 1, 1}, asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 1, 1, 1, 1},
		asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 3, 1, 1, 0}, asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1, 1, 1, 2},
		trust.GOST94, trust.GOST2004, xmlsig.GOST2004, xmlsig.DigestGOST2004, xmlsig.GOST2015,
	},
}

// certificate is alice's with a GOST key in the place of hers, signed by it.
func (g gostGeneration) certificate(t testing.TB, k *gost.PrivateKey) []byte {
	t.Helper()
	cert, err := g.certificateOf(k)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (g gostGeneration) certificateOf(k *gost.PrivateKey) (cert []byte, err error) {
	marshal := func(v any) asn1.RawValue {
		der, e := asn1.Marshal(v)
		err = errors.Join(err, e)
		return asn1.RawValue{FullBytes: der}
	}
	var outer, tbs []asn1.RawValue
	if _, err := asn1.Unmarshal(alice().cert, &outer); err != nil {
		return nil, err
	}
	if _, err := asn1.Unmarshal(outer[0].FullBytes, &tbs); err != nil {
		return nil, err
	}
	algorithm := marshal([]asn1.ObjectIdentifier{g.signature})
	point := marshal(k.Public().(*gost.PublicKey).Bytes()).FullBytes
	tbs[2] = algorithm
	tbs[6] = marshal([]asn1.RawValue{
		marshal([]asn1.RawValue{marshal(g.key), marshal([]asn1.ObjectIdentifier{g.set, g.digest})}),
		marshal(asn1.BitString{Bytes: point, BitLength: 8 * len(point)}),
	})
	signed := marshal(tbs)
	h := g.hash.New()
	h.Write(signed.FullBytes)
	sig, e := k.Sign(nil, h.Sum(nil), nil)
	if e != nil {
		return nil, e
	}
	cert = marshal([]asn1.RawValue{signed, algorithm, marshal(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)})}).FullBytes
	return cert, err
}

func (g gostGeneration) signer(t testing.TB) (*xmlsig.Key, *gost.PrivateKey) {
	t.Helper()
	k, err := gost.GenerateKey(g.curve, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := xmlsig.NewKey(g.certificate(t, k), k)
	if err != nil {
		t.Fatal(err)
	}
	return key, k
}

// R3: what a GOST key signs, verifies, and only under its own names.
func TestGOSTDocuments(t *testing.T) {
	value := regexp.MustCompile(`(<ds:SignatureValue>)([^<]*)(</ds:SignatureValue>)`)
	for _, g := range generations {
		key, _ := g.signer(t)
		out, err := xmlsig.Sign([]byte(`<form><iin>900101300007</iin></form>`), key, xmlsig.SignOptions{})
		if err != nil {
			t.Fatal(err)
		}
		good := string(out)
		if !strings.Contains(good, g.method) || !strings.Contains(good, g.digestMethod) {
			t.Errorf("%s: signed under other names", g.kind)
		}
		raw, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "", "&#13;", "").Replace(value.FindStringSubmatch(good)[2]))
		if err != nil {
			t.Fatal(err)
		}
		n := len(raw) / 2
		valued := func(parts ...[]byte) string {
			return value.ReplaceAllString(good, "${1}"+base64.StdEncoding.EncodeToString(bytes.Join(parts, nil))+"${3}")
		}
		turned := func(b []byte) []byte { b = slices.Clone(b); slices.Reverse(b); return b }
		r, s, zero, most := raw[:n], raw[n:], make([]byte, n), bytes.Repeat([]byte{255}, n)
		past := xmlsig.Options{AllowGOST2004: true}
		stranger, _ := g.signer(t)
		notAllowed := gateway.Reason("")
		if g.kind == trust.GOST2004 {
			notAllowed = gateway.SignatureAlgorithm
		}
		own := base64.StdEncoding.EncodeToString(key.Certificate().Raw)
		joined := strings.NewReplacer("\n", "", "\r", "", "&#13;", "").Replace(good)
		tests := []struct {
			name, doc string
			options   xmlsig.Options
			want      gateway.Reason
		}{
			{"as signed", good, past, ""},
			{"GOST-2004 is not the default", good, xmlsig.Options{}, notAllowed},
			{"content changed", replace(t, good, "900101300007", "900101300015"), past, gateway.DigestMismatch},
			{"r of 0", valued(zero, s), past, gateway.SignatureInvalid},
			{"s of 0", valued(r, zero), past, gateway.SignatureInvalid},
			{"r above the order", valued(most, s), past, gateway.SignatureInvalid},
			{"s above the order", valued(r, most), past, gateway.SignatureInvalid},
			{"s before r", valued(s, r), past, gateway.SignatureInvalid},
			{"big-endian", valued(turned(r), turned(s)), past, gateway.SignatureInvalid},
			{"as OpenSSL writes it", valued(turned(raw)), past, gateway.SignatureInvalid},
			{"a byte short", valued(raw[:2*n-1]), past, gateway.SignatureInvalid},
			{"half of it", valued(r), past, gateway.SignatureInvalid},
			{"empty", valued(), past, gateway.SignatureEncoding},
			{"the other generation's method", replace(t, good, g.method, g.another), past, gateway.SignatureAlgorithm},
			{"an RSA method", replace(t, replace(t, good, g.method, xmlsig.RSASHA256), g.digestMethod, xmlsig.DigestSHA256), past, gateway.SignatureKeyMismatch},
			{"an RSA key under the GOST method", replace(t, joined, own, alice().certBase64()), past, gateway.SignatureKeyMismatch},
			{"another key of the kind", replace(t, joined, own, base64.StdEncoding.EncodeToString(stranger.Certificate().Raw)), past, gateway.SignatureInvalid},
		}
		for _, tt := range tests {
			t.Run(string(g.kind)+"/"+tt.name, func(t *testing.T) {
				v, err := xmlsig.Verify([]byte(tt.doc), tt.options)
				if got := gateway.ReasonOf(err); got != tt.want {
					t.Fatalf("got %q (%v), want %q", got, err, tt.want)
				}
				if err == nil && v.Signatures()[0].KeyKind != g.kind {
					t.Errorf("kind %s", v.Signatures()[0].KeyKind)
				}
			})
		}
	}
}

func TestGOSTMessages(t *testing.T) {
	const message = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/><s:Body><a/></s:Body></s:Envelope>`
	for _, g := range generations {
		key, _ := g.signer(t)
		out, err := xmlsig.Sign([]byte(message), key, xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := xmlsig.Verify(out, xmlsig.Options{Profile: xmlsig.ProfileWSSE, AllowGOST2004: true}); err != nil {
			t.Errorf("%s: %v", g.kind, err)
		}
	}
}

func TestGOSTKeyOfAnotherCertificate(t *testing.T) {
	for _, g := range generations {
		_, k := g.signer(t)
		other, err := gost.GenerateKey(g.curve, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := xmlsig.NewKey(g.certificate(t, k), other); gateway.ReasonOf(err) != gateway.ConfigInvalid {
			t.Errorf("%s: %v", g.kind, err)
		}
	}
}
