package trust_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestOneCertificateHasOneEncoding(t *testing.T) {
	good := pki(t).Must("citizen-01").DER
	ca := pki(t).Must("issuing").Signer
	resealed := func(edit func(p *parts)) []byte {
		p := split(t, good)
		edit(&p)
		return p.sealed(t, ca)
	}
	at := func(i int, e []byte) func(*parts) { return func(p *parts) { p.tbs[i] = e } }
	appended := func(i int, more ...byte) func(*parts) {
		return func(p *parts) {
			body := p.tbs[i][headLen(p.tbs[i]):]
			p.tbs[i] = der(p.tbs[i][0], body, more)
		}
	}
	replaced := func(old, new string) func(*parts) {
		return func(p *parts) {
			for i := range p.tbs {
				p.tbs[i] = bytes.ReplaceAll(p.tbs[i], unhex(old), unhex(new))
			}
		}
	}
	extensions := func(edit func(list [][]byte) [][]byte) func(*parts) {
		return func(p *parts) {
			inner := p.tbs[atExtensions][headLen(p.tbs[atExtensions]):]
			p.tbs[atExtensions] = der(0xa3, der(0x30, edit(elements(inner[headLen(inner):]))...))
		}
	}
	rsaKey := func(modulus *big.Int, exponent string) []byte {
		n := modulus.Bytes()
		if n[0]&0x80 != 0 {
			n = append([]byte{0}, n...)
		}
		return der(0x30, der(0x30, unhex("06092a864886f70d010101"), []byte{5, 0}), der(0x03, []byte{0}, der(0x30, der(0x02, n), unhex(exponent))))
	}
	odd := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 2047), big.NewInt(1))
	const e65537 = "0203010001"

	tests := []struct {
		name string
		der  []byte
		want gateway.Reason
	}{
		{"as it was issued", good, ""},
		{"taken apart and sealed again", resealed(func(*parts) {}), ""},
		{"#3 a NULL after the signature in the outer SEQUENCE", der(0x30, good[headLen(good):], []byte{5, 0}), gateway.CertificateTrailing},
		{"#4 a byte after the certificate", append(bytes.Clone(good), 0), gateway.CertificateTrailing},
		{"#4 another certificate after it", append(bytes.Clone(good), good...), gateway.CertificateTrailing},
		{"#5 SHA-384 outside, SHA-256 inside", resealed(func(p *parts) { p.alg = bytes.Replace(p.alg, []byte{1, 1, 11}, []byte{1, 1, 12}, 1) }), gateway.CertificateAlgorithmID},
		{"#5 NULL parameters outside only", resealed(func(p *parts) {
			p.tbs[atAlgorithm] = der(0x30, p.tbs[atAlgorithm][2:len(p.tbs[atAlgorithm])-2])
		}), gateway.CertificateAlgorithmID},
		{"#7 indefinite length", append(append([]byte{0x30, 0x80}, good[headLen(good):]...), 0, 0), gateway.CertificateMalformed},
		{"#8 length with a leading zero", append([]byte{0x30, 0x83, 0, good[2], good[3]}, good[4:]...), gateway.CertificateMalformed},
		{"#8 serial padded with a zero octet", resealed(at(atSerial, unhex("02020001"))), gateway.CertificateMalformed},
		{"#9 keyUsage twice", resealed(extensions(func(l [][]byte) [][]byte { return append(l, l[0]) })), gateway.CertificateDuplicateExtension},
		{"#10 version 1 with extensions", resealed(func(p *parts) { p.tbs = p.tbs[1:] }), gateway.CertificateMalformed},
		{"version 2", resealed(at(atVersion, unhex("a003020101"))), gateway.CertificateMalformed},
		{"version 1 written out", resealed(at(atVersion, unhex("a003020100"))), gateway.CertificateMalformed},
		{"#11 negative serial", resealed(at(atSerial, unhex("0201ff"))), gateway.CertificateMalformed},
		{"#11 serial zero", resealed(at(atSerial, unhex("020100"))), gateway.CertificateMalformed},
		{"#11 serial of 21 octets", resealed(at(atSerial, append([]byte{2, 21, 1}, make([]byte, 20)...))), gateway.CertificateMalformed},
		{"#85 serial with a sign octet", resealed(at(atSerial, unhex("020500f0000001"))), ""},
		{"#12 a megabyte", append(bytes.Clone(good), make([]byte, 1<<20)...), gateway.CertificateTooLarge},
		{"#12 many extensions", resealed(extensions(func(l [][]byte) [][]byte {
			for i := range 200 {
				l = append(l, der(0x30, der(0x06, []byte{0x2a, 0x03, byte(i / 100), byte(i % 100)}), der(0x04, []byte{5, 0})))
			}
			return l
		})), gateway.CertificateTooLarge},
		{"no extension in the list", resealed(extensions(func(l [][]byte) [][]byte { return nil })), gateway.CertificateMalformed},
		{"critical FALSE written out", resealed(extensions(func(l [][]byte) [][]byte {
			e := elements(l[1][headLen(l[1]):])
			l[1] = der(0x30, e[0], unhex("010100"), e[len(e)-1])
			return l
		})), gateway.CertificateMalformed},
		{"an extension taken apart and put together", resealed(extensions(func(l [][]byte) [][]byte {
			e := elements(l[1][headLen(l[1]):])
			l[1] = der(0x30, e[0], e[len(e)-1])
			return l
		})), ""},
		{"#14 RSA-1024", resealed(at(atKey, rsaKey(new(big.Int).Rsh(odd, 1024).SetBit(new(big.Int).Rsh(odd, 1024), 0, 1), e65537))), gateway.KeyWeak},
		{"#14 exponent 1", resealed(at(atKey, rsaKey(odd, "020101"))), gateway.KeyWeak},
		{"#14 exponent 3", resealed(at(atKey, rsaKey(odd, "020103"))), gateway.KeyWeak},
		{"#14 even modulus", resealed(at(atKey, rsaKey(new(big.Int).Lsh(big.NewInt(3), 2046), e65537))), gateway.KeyWeak},
		{"RSA key of 16384 bits", resealed(at(atKey, rsaKey(new(big.Int).SetBit(new(big.Int).Lsh(odd, 14336), 0, 1), e65537))), gateway.KeyWeak},
		{"RSA key with bytes after it", resealed(appended(atKey, 5, 0)), gateway.CertificateMalformed},
		{"an Ed25519 key", resealed(at(atKey, der(0x30, der(0x30, unhex("06032b6570")), der(0x03, make([]byte, 33))))), gateway.AlgorithmForbidden},
		{"time without seconds", resealed(at(atValidity, der(0x30, der(0x17, []byte("2601010000Z")), der(0x17, []byte("360101000000Z"))))), gateway.CertificateMalformed},
		{"time with an offset", resealed(at(atValidity, der(0x30, der(0x17, []byte("260101000000+0500")), der(0x17, []byte("360101000000Z"))))), gateway.CertificateMalformed},
		{"30 February", resealed(at(atValidity, der(0x30, der(0x17, []byte("260230000000Z")), der(0x17, []byte("360101000000Z"))))), gateway.CertificateMalformed},
		{"bytes after the validity", resealed(appended(atValidity, 5, 0)), gateway.CertificateMalformed},
		{"empty issuer", resealed(at(atIssuer, []byte{0x30, 0})), gateway.CertificateMalformed},
		{"an RDN without attributes", resealed(at(atSubject, der(0x30, []byte{0x31, 0}))), gateway.CertificateMalformed},
		{"a name with invalid UTF-8", resealed(at(atSubject, der(0x30, der(0x31, der(0x30, unhex("0603550403"), der(0x0c, []byte{0xff})))))), gateway.CertificateMalformed},
		{"a name that is a number", resealed(at(atSubject, der(0x30, der(0x31, der(0x30, unhex("0603550403"), der(0x02, []byte{1})))))), gateway.CertificateMalformed},
		{"a PrintableString with an underscore", resealed(at(atSubject, der(0x30, der(0x31, der(0x30, unhex("0603550403"), der(0x13, []byte("a_b"))))))), gateway.CertificateMalformed},
		{"a multi-valued RDN out of order", resealed(at(atSubject, der(0x30, der(0x31,
			der(0x30, unhex("0603550403"), der(0x0c, []byte("b"))), der(0x30, unhex("0603550403"), der(0x0c, []byte("a"))))))), gateway.CertificateMalformed},
		{"key usage with trailing zero bits", resealed(replaced("0603551d0f 0101ff 0404 030206c0", "0603551d0f 0101ff 0404 030200c0")), gateway.CertificateMalformed},
		{"unique identifiers", resealed(func(p *parts) {
			p.tbs = append(p.tbs[:atExtensions:atExtensions], unhex("81020001"), p.tbs[atExtensions])
		}), gateway.CertificateMalformed},
		{"an object identifier with a padded arc", resealed(at(atSubject, der(0x30, der(0x31, der(0x30, der(0x06, unhex("5580 0403")), der(0x0c, []byte("x"))))))), gateway.CertificateMalformed},
		{"nothing", nil, gateway.CertificateMalformed},
		{"text", []byte("-----BEGIN CERTIFICATE-----"), gateway.CertificateMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := trust.ParseCertificate(tt.der)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("%q (%v), want %q", got, err, tt.want)
			}
			if err == nil && !bytes.Equal(c.Raw, tt.der) {
				t.Error("Raw is not the input")
			}
		})
	}
}

func headLen(b []byte) int {
	if b[1] < 0x80 {
		return 2
	}
	return 2 + int(b[1]&0x7f)
}

func elements(b []byte) (list [][]byte) {
	for len(b) > 0 {
		n := int(b[1])
		if n >= 0x80 {
			n = 0
			for _, o := range b[2:headLen(b)] {
				n = n<<8 | int(o)
			}
		}
		n += headLen(b)
		list, b = append(list, b[:n]), b[n:]
	}
	return list
}

func TestWhatAParsedCertificateSays(t *testing.T) {
	e := pki(t).Must("citizen-01")
	c := parse(t, e.DER)
	if c.SerialHex() != e.Serial || c.Key.Kind() != trust.RSA || c.IsCA || c.KeyUsage != trust.DigitalSignature|trust.NonRepudiation {
		t.Errorf("serial %s, key %s, CA %t, usage %b", c.SerialHex(), c.Key.Kind(), c.IsCA, c.KeyUsage)
	}
	if want := "GIVENNAME=СЕРІКҚЫЗЫ,C=KZ,SERIALNUMBER=IIN" + e.IIN + ",SURNAME=TEST ONLY АХМЕТОВА,CN=TEST ONLY АХМЕТОВА АЙГЕРІМ"; c.Subject.String() != want {
		t.Errorf("subject %s", c.Subject)
	}
	if c.ValidAt(c.NotBefore.Add(-time.Nanosecond)) || !c.ValidAt(c.NotBefore) || !c.ValidAt(c.NotAfter.Add(time.Second/2)) || c.ValidAt(c.NotAfter.Add(time.Second)) {
		t.Error("the ends of the validity are not inside, or something else is")
	}
	ca := entry(t, "issuing")
	if !ca.IsCA || ca.MaxPathLen != 0 || entry(t, "root").MaxPathLen != -1 || !bytes.Equal(c.AuthorityKeyID, ca.SubjectKeyID) {
		t.Error("CA, path length or key identifiers are misread")
	}
}

func TestNamesAreWrittenOnOneLine(t *testing.T) {
	value := func(tag byte, s string) []byte {
		return der(0x31, der(0x30, unhex("0603550403"), der(tag, []byte(s))))
	}
	tests := []struct {
		name string
		rdn  []byte
		want string
	}{
		{"special characters", value(0x0c, ` a,b+c"d\<e>;`), `CN=\ a\,b\+c\"d\\\<e\>\;`},
		{"a hash in front", value(0x0c, "#1 "), `CN=\#1\ `},
		{"a line break and a direction mark", value(0x0c, "a\nb\u202ec"), `CN=a\0ab\e2\80\aec`},
		{"BMPString", value(0x1e, "\x04\x10\x04\x11"), "CN=АБ"},
		{"TeletexString", value(0x14, "\xe9"), "CN=é"},
		{"an unknown type", der(0x31, der(0x30, unhex("06022a03"), der(0x0c, []byte("x")))), "1.2.3=#0c0178"},
		{"two attributes in one RDN", der(0x31, der(0x30, unhex("0603550403"), der(0x0c, []byte("a"))), der(0x30, unhex("0603550405"), der(0x13, []byte("1")))), "CN=a+SERIALNUMBER=1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := split(t, pki(t).Must("citizen-01").DER)
			p.tbs[atSubject] = der(0x30, tt.rdn)
			if got := parse(t, p.sealed(t, pki(t).Must("issuing").Signer)).Subject.String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestAKeyRefusesWhatItDidNotSign(t *testing.T) {
	e := pki(t).Must("citizen-01")
	key := parse(t, e.DER).Key
	digest := make([]byte, 32)
	sig, err := e.Signer.Sign(nil, digest, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sig)
	flipped[7] ^= 1
	tests := []struct {
		name        string
		hash        trust.Hash
		digest, sig []byte
		want        gateway.Reason
	}{
		{"its own signature", trust.SHA256, digest, sig, ""},
		{"a flipped bit", trust.SHA256, digest, flipped, gateway.SignatureInvalid},
		{"another digest", trust.SHA256, append([]byte{1}, digest[1:]...), sig, gateway.SignatureInvalid},
		{"another hash", trust.SHA384, make([]byte, 48), sig, gateway.SignatureInvalid},
		{"a digest of a GOST hash", trust.Streebog512, make([]byte, 64), sig, gateway.SignatureKeyMismatch},
		{"a leading zero octet", trust.SHA256, digest, append([]byte{0}, sig...), gateway.SignatureInvalid},
		{"nothing", trust.SHA256, digest, nil, gateway.SignatureInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := gateway.ReasonOf(key.VerifyDigest(tt.hash, tt.digest, tt.sig)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParseCertificate(f *testing.F) {
	for _, e := range pki(f).Entries() {
		f.Add(e.DER)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := trust.ParseCertificate(in)
		if err != nil {
			switch gateway.ReasonOf(err) {
			case gateway.Internal, "":
				t.Fatalf("no reason: %v", err)
			}
			return
		}
		if !bytes.Equal(c.Raw, in) || len(c.Serial) == 0 || len(c.Serial) > 20 {
			t.Fatal("the certificate is not what was read")
		}
		_ = c.Subject.String()
		if again, err := trust.ParseCertificate(c.Raw); err != nil || !again.Equal(c) {
			t.Fatal("it does not read twice the same")
		}
	})
}
