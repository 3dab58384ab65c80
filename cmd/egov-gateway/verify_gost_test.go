package main

import (
	"encoding/asn1"
	"encoding/pem"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/gateway/xmlsig/gost"
	"egov-gateway/gateway/xmlsig/pkcs12/pkcs12test"
)

// gostIdentity is citizen-01 with a GOST key: a key file as the NCA gives it out, and the
// certificate, which is signed by nobody who counts and can only be pinned.
func (d *desk) gostIdentity(curve *gost.Curve, hash trust.Hash, key, set, digest, signature asn1.ObjectIdentifier) (p12, cert []byte) {
	d.t.Helper()
	marshal := func(v any) asn1.RawValue {
		der, err := asn1.Marshal(v)
		if err != nil {
			d.t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: der}
	}
	k, err := gost.GenerateKey(curve, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	var outer, tbs []asn1.RawValue
	if _, err := asn1.Unmarshal(d.pki.Must("citizen-01").DER, &outer); err != nil {
		d.t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(outer[0].FullBytes, &tbs); err != nil {
		d.t.Fatal(err)
	}
	algorithm := marshal([]asn1.RawValue{marshal(key), marshal([]asn1.ObjectIdentifier{set, digest})})
	point := marshal(k.Public().(*gost.PublicKey).Bytes()).FullBytes
	tbs[2] = marshal([]asn1.ObjectIdentifier{signature})
	tbs[6] = marshal([]asn1.RawValue{algorithm, marshal(asn1.BitString{Bytes: point, BitLength: 8 * len(point)})})
	signed := marshal(tbs)
	h := hash.New()
	h.Write(signed.FullBytes)
	sig, err := k.Sign(nil, h.Sum(nil), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	cert = marshal([]asn1.RawValue{signed, tbs[2], marshal(asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)})}).FullBytes
	info := marshal([]asn1.RawValue{marshal(0), algorithm, marshal(marshal(k.Bytes()).FullBytes)}).FullBytes
	return pkcs12test.File{Password: "x", Keys: [][]byte{info}, Certificates: [][]byte{cert}, BER: true}.Encode(), cert
}

// A GOST key file signs, and the algorithm of the past is verified only where it is allowed.
func TestSignAndVerifyWithGOST(t *testing.T) {
	d := newDesk(t)
	d.write("password", []byte("x\r\n"))
	base := asn1.ObjectIdentifier{1, 2, 398, 3, 10, 1}
	at := func(arcs ...int) asn1.ObjectIdentifier {
		return append(append(asn1.ObjectIdentifier{}, base...), arcs...)
	}
	p12, cert := d.gostIdentity(gost.Curve512A(), trust.Streebog512, at(1, 2, 2), at(1, 2, 2, 1), at(3, 3), at(1, 2, 3, 2))
	d.write("2015.p12", p12)
	d.write("2015.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	p12, cert = d.gostIdentity(gost.Curve256A(), trust.GOST94, at(1, 1, 1), at(1, 1, 1, 1), at(3, 1, 1, 0), at(1, 1, 2))
	d.write("2004.p12", p12)
	d.write("2004.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	tests := []struct {
		name, key, flags string
		code             int
		want             gateway.Reason
		algorithm        string
	}{
		{"GOST-2015", "2015", "", 0, "", xmlsig.GOST2015},
		{"GOST-2015 where that of 2004 is allowed too", "2015", "--allow-gost-2004 ", 0, "", xmlsig.GOST2015},
		{"GOST-2004", "2004", "", 1, gateway.SignatureAlgorithm, ""},
		{"GOST-2004 where it is allowed", "2004", "--allow-gost-2004 ", 0, "", xmlsig.GOST2004},
	}
	for _, tt := range tests {
		for profile, doc := range map[string]string{"document": form, "wsse": envelope} {
			t.Run(tt.name+", "+profile, func(t *testing.T) {
				d.write("in.xml", []byte(doc))
				if code, _, errs := d.run("sign --key @" + tt.key + ".p12 --password-file @password --in @in.xml --out @signed.xml --layout kalkan --profile " + profile); code != 0 {
					t.Fatal(errs)
				}
				code, out, errs := d.run("verify --at 2026-11-02T06:00:00Z --revocation off --pinned @" + tt.key + ".pem " + tt.flags + "--profile " + profile + " @signed.xml")
				if code != tt.code {
					t.Fatalf("exit %d, want %d\n%s%s", code, tt.code, out, errs)
				}
				r := d.reports(t, out)[0]
				if r.Reason != tt.want || code == 0 && (r.Signers[0].Algorithm != tt.algorithm || r.Signers[0].IIN != d.pki.Must("citizen-01").IIN) {
					t.Errorf("%s", out)
				}
			})
		}
	}
}
