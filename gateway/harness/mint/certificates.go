package mint

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"hash"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
)

// An issue is a certificate made for one entry, below a CA of the test PKI or one made here,
// with a key of the test PKI: making keys would take minutes.
type issue struct {
	name string
	cert []byte // DER, of the signer
	// ca, when set, is a CA certificate that verifiers get among the untrusted ones.
	ca   []byte
	want gateway.Reason // for a citizen's document
}

// An office issues certificates. Serial numbers count up from one that depends on the seed.
type office struct {
	pki           *testpki.PKI
	clock         time.Time
	n             int64
	root, issuing *testpki.Entry
}

func newOffice(pki *testpki.PKI, clock time.Time, seed uint64) *office {
	return &office{pki: pki, clock: clock, n: int64(seed%1_000_000)*1_000_000 + 1, root: pki.Must("root"), issuing: pki.Must("issuing")}
}

// like copies a certificate of the test PKI into a template, edited, under a new serial number.
func (o *office) like(e *testpki.Entry, edit func(*x509.Certificate)) *x509.Certificate {
	x := e.X509()
	o.n++
	t := &x509.Certificate{SerialNumber: big.NewInt(o.n), RawSubject: x.RawSubject, NotBefore: x.NotBefore, NotAfter: x.NotAfter, SignatureAlgorithm: x509.SHA256WithRSA,
		ExtraExtensions: append([]pkix.Extension(nil), x.Extensions...)}
	if edit != nil {
		edit(t)
	}
	return t
}

func sealedBy(t, issuer *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) []byte {
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, key, signer)
	if err != nil {
		panic("mint: certificate: " + err.Error())
	}
	return der
}

// leaf is a citizen's certificate below the issuing CA.
func (o *office) leaf(e *testpki.Entry, edit func(*x509.Certificate)) []byte {
	return sealedBy(o.like(e, edit), o.issuing.X509(), e.Signer.Public(), o.issuing.Signer)
}

func drop(t *x509.Certificate, id ...int) {
	for i := range t.ExtraExtensions {
		if t.ExtraExtensions[i].Id.Equal(id) {
			t.ExtraExtensions = append(t.ExtraExtensions[:i:i], t.ExtraExtensions[i+1:]...)
			return
		}
	}
}

func put(t *x509.Certificate, critical bool, value []byte, id ...int) {
	drop(t, id...)
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
}

func der(tag byte, elements ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) {
		for _, e := range elements {
			b.AddBytes(e)
		}
	})
	return b.BytesOrPanic()
}

func oidDER(id ...int) []byte {
	b, err := asn1.Marshal(asn1.ObjectIdentifier(id))
	if err != nil {
		panic("mint: " + err.Error())
	}
	return b
}

// parts takes a certificate apart; the elements of the TBS keep their headers.
type parts struct {
	tbs            [][]byte
	alg, signature []byte
}

// Positions in a v3 TBS.
const (
	atSerial    = 1
	atAlgorithm = 2
	atSubject   = 5
	atKey       = 6
)

func split(cert []byte) parts {
	in := cryptobyte.String(cert)
	var outer, tbs, alg, sig cryptobyte.String
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1(&tbs, cbasn1.SEQUENCE) || !outer.ReadASN1Element(&alg, cbasn1.SEQUENCE) || !outer.ReadASN1Element(&sig, cbasn1.BIT_STRING) {
		panic("mint: not a certificate")
	}
	p := parts{alg: alg, signature: sig}
	for !tbs.Empty() {
		var e cryptobyte.String
		var tag cbasn1.Tag
		if !tbs.ReadAnyASN1Element(&e, &tag) {
			panic("mint: not a certificate")
		}
		p.tbs = append(p.tbs, e)
	}
	return p
}

// sealed puts the parts together with a fresh signature.
func (p parts) sealed(key crypto.Signer, id crypto.Hash, h hash.Hash) []byte {
	tbs := der(0x30, p.tbs...)
	h.Write(tbs)
	sig, err := key.Sign(rand.Reader, h.Sum(nil), id)
	if err != nil {
		panic("mint: certificate: " + err.Error())
	}
	return der(0x30, tbs, p.alg, der(0x03, []byte{0}, sig))
}

func rsaAlgorithm(last int) []byte {
	return der(0x30, oidDER(1, 2, 840, 113549, 1, 1, last), []byte{5, 0})
}

func rsaSPKI(n *big.Int, e int) []byte {
	key, err := asn1.Marshal(struct {
		N *big.Int
		E int
	}{n, e})
	if err != nil {
		panic("mint: " + err.Error())
	}
	return der(0x30, rsaAlgorithm(1), der(0x03, []byte{0}, key))
}

// subject is that of e with the first serialNumber changed.
func subject(e *testpki.Entry, number string) func(*x509.Certificate) {
	return func(t *x509.Certificate) {
		n := e.X509().Subject
		n.SerialNumber, n.ExtraNames = number, nil
		for _, a := range n.Names {
			// Surname, given name and patronymic are not fields of pkix.Name.
			if a.Type.Equal([]int{2, 5, 4, 4}) || a.Type.Equal([]int{2, 5, 4, 42}) {
				n.ExtraNames = append(n.ExtraNames, a)
			}
		}
		t.RawSubject, t.Subject = nil, n
	}
}

// leaves are citizens' certificates of the issuing CA with one thing special; a gateway that knows
// the test PKI can judge them.
func (o *office) leaves(e *testpki.Entry) []issue {
	iin := e.IIN
	edit := func(name string, want gateway.Reason, f func(*x509.Certificate)) issue {
		return issue{name: name, cert: o.leaf(e, f), want: want}
	}
	plain := o.leaf(e, nil)
	resealed := func(p parts) []byte { return p.sealed(o.issuing.Signer, crypto.SHA256, sha256.New()) }
	forged := func(name string, want gateway.Reason, f func(p *parts) []byte) issue {
		p := split(plain)
		return issue{name: name, cert: f(&p), want: want}
	}
	flipped := append([]byte(nil), plain...)
	flipped[len(flipped)-9] ^= 2
	all := []issue{
		{name: "a fresh certificate", cert: plain},
		edit("exactly at notBefore", "", func(t *x509.Certificate) { t.NotBefore, t.NotAfter = o.clock, o.clock.AddDate(1, 0, 0) }),
		edit("long before notAfter", "", func(t *x509.Certificate) {
			t.NotBefore, t.NotAfter = o.clock.AddDate(-1, 0, 0), o.clock.AddDate(0, 0, 5)
		}),
		edit("an extension that is not critical", "", func(t *x509.Certificate) { put(t, false, []byte{5, 0}, 1, 2, 398, 3, 3, 5) }),
		edit("ended a second ago", gateway.CertificateExpired, func(t *x509.Certificate) {
			t.NotBefore, t.NotAfter = o.clock.AddDate(-1, 0, 0), o.clock.Add(-time.Second)
		}),
		edit("begins in a week", gateway.CertificateNotYetValid, func(t *x509.Certificate) {
			t.NotBefore, t.NotAfter = o.clock.AddDate(0, 0, 7), o.clock.AddDate(1, 0, 7)
		}),
		edit("an unknown critical extension", gateway.CriticalExtension, func(t *x509.Certificate) { put(t, true, []byte{5, 0}, 1, 2, 3, 4) }),
		edit("the same extension twice", gateway.CertificateDuplicateExtension, func(t *x509.Certificate) {
			t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: []int{1, 2, 3, 4}, Value: []byte{5, 0}}, pkix.Extension{Id: []int{1, 2, 3, 4}, Value: []byte{5, 0}})
		}),
		edit("forty extensions", gateway.CertificateTooLarge, func(t *x509.Certificate) {
			for i := range 40 {
				put(t, false, []byte{5, 0}, 1, 2, 3, 4, i)
			}
		}),
		edit("no key usage", gateway.KeyUsage, func(t *x509.Certificate) { drop(t, 2, 5, 29, 15) }),
		edit("key usage for key exchange", gateway.KeyUsage, func(t *x509.Certificate) { put(t, true, []byte{3, 2, 5, 0xa0}, 2, 5, 29, 15) }),
		edit("any extended key usage", gateway.ExtendedKeyUsage, func(t *x509.Certificate) { put(t, false, der(0x30, oidDER(2, 5, 29, 37, 0)), 2, 5, 29, 37) }),
		edit("for servers", gateway.ExtendedKeyUsage, func(t *x509.Certificate) { put(t, false, der(0x30, oidDER(1, 3, 6, 1, 5, 5, 7, 3, 1)), 2, 5, 29, 37) }),
		edit("another policy", gateway.CertificatePolicy, func(t *x509.Certificate) {
			put(t, false, der(0x30, der(0x30, oidDER(1, 2, 398, 3, 3, 20))), 2, 5, 29, 32)
		}),
		edit("no policy", gateway.CertificatePolicy, func(t *x509.Certificate) { drop(t, 2, 5, 29, 32) }),
		edit("the IIN in small letters", gateway.IINFormat, subject(e, "iin"+iin)),
		edit("the IIN without its letters", gateway.IINFormat, subject(e, iin)),
		edit("an IIN of eleven digits", gateway.IINFormat, subject(e, "IIN"+iin[:11])),
		edit("an IIN of thirteen digits", gateway.IINFormat, subject(e, "IIN"+iin+"0")),
		edit("a space in the IIN", gateway.IINFormat, subject(e, "IIN "+iin)),
		edit("a wrong check digit", gateway.IINChecksum, subject(e, "IIN"+iin[:11]+string('0'+(iin[11]-'0'+1)%10))),
		{name: "a byte behind the certificate", cert: append(append([]byte(nil), plain...), 0), want: gateway.CertificateTrailing},
		{name: "a bit of its signature", cert: flipped, want: gateway.CertificateSignature},
		forged("inner and outer algorithm differ", gateway.CertificateAlgorithmID, func(p *parts) []byte { p.alg = rsaAlgorithm(12); return resealed(*p) }),
		forged("signed with SHA-1", gateway.AlgorithmForbidden, func(p *parts) []byte {
			p.alg = rsaAlgorithm(5)
			p.tbs[atAlgorithm] = p.alg
			return p.sealed(o.issuing.Signer, crypto.SHA1, sha1.New())
		}),
		forged("an RSA key of 1024 bits", gateway.KeyWeak, func(p *parts) []byte {
			n := new(big.Int).Rsh(e.Signer.Public().(*rsa.PublicKey).N, 1024)
			p.tbs[atKey] = rsaSPKI(n.SetBit(n, 0, 1), 65537)
			return resealed(*p)
		}),
		forged("an RSA key with exponent 3", gateway.KeyWeak, func(p *parts) []byte {
			p.tbs[atKey] = rsaSPKI(e.Signer.Public().(*rsa.PublicKey).N, 3)
			return resealed(*p)
		}),
		{name: "cut short", cert: plain[:len(plain)-1], want: gateway.CertificateMalformed},
	}
	self := o.like(e, func(t *x509.Certificate) { t.RawSubject = o.issuing.X509().RawSubject })
	all = append(all, issue{name: "self-signed with the issuing CA's name", cert: sealedBy(self, self, e.Signer.Public(), e.Signer), want: gateway.NotAnchored})
	return all
}

// below are certificates of CAs that only a verifier with the kit's untrusted certificates meets.
func (o *office) below(e *testpki.Entry) []issue {
	person := func(name string, want gateway.Reason, ca *x509.Certificate, caKey crypto.Signer, raw []byte) issue {
		x, err := x509.ParseCertificate(raw)
		if err != nil {
			panic("mint: " + err.Error())
		}
		t := o.like(e, func(t *x509.Certificate) { drop(t, 2, 5, 29, 35) })
		_ = ca
		return issue{name: name, cert: sealedBy(t, x, e.Signer.Public(), caKey), ca: raw, want: want}
	}
	key := o.pki.Must("provider-foreign-head").Signer
	n := 0
	ca := func(issuer *x509.Certificate, signer crypto.Signer, f func(*x509.Certificate)) *x509.Certificate {
		n++
		o.n++
		t := &x509.Certificate{SerialNumber: big.NewInt(o.n), Subject: pkix.Name{CommonName: fmt.Sprintf("TEST ONLY CA %d of the kit", n), Country: []string{"KZ"}},
			NotBefore: o.clock.AddDate(-1, 0, 0), NotAfter: o.clock.AddDate(5, 0, 0), SubjectKeyId: []byte{1, 2, byte(n)}, SignatureAlgorithm: x509.SHA256WithRSA,
			BasicConstraintsValid: true, IsCA: true, MaxPathLen: -1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
		if f != nil {
			f(t)
		}
		raw := sealedBy(t, issuer, key.Public(), signer)
		x, err := x509.ParseCertificate(raw)
		if err != nil {
			panic("mint: " + err.Error())
		}
		return x
	}
	root, rootKey := o.root.X509(), o.root.Signer
	name, err := asn1.Marshal(pkix.Name{Country: []string{"US"}}.ToRDNSequence())
	if err != nil {
		panic("mint: " + err.Error())
	}
	with := func(critical bool, value []byte, id ...int) func(*x509.Certificate) {
		return func(t *x509.Certificate) { put(t, critical, value, id...) }
	}
	var all []issue
	add := func(name string, want gateway.Reason, x *x509.Certificate) {
		all = append(all, person(name, want, x, key, x.Raw))
	}
	add("nobody proves that the CA's certificates are good", gateway.StatusUnavailable, ca(root, rootKey, nil))
	add("a person's certificate as CA", gateway.NotACA, ca(root, rootKey, func(t *x509.Certificate) { t.IsCA, t.MaxPathLen, t.KeyUsage = false, 0, x509.KeyUsageDigitalSignature }))
	add("a CA that may not sign certificates", gateway.NotACA, ca(root, rootKey, func(t *x509.Certificate) { t.KeyUsage = x509.KeyUsageCRLSign }))
	add("a CA below one that may have none", gateway.PathLength, ca(o.issuing.X509(), o.issuing.Signer, nil))
	add("a CA that ended", gateway.IssuerExpired, ca(root, rootKey, func(t *x509.Certificate) { t.NotAfter = o.clock.Add(-time.Hour) }))
	add("a CA with an unknown critical extension", gateway.CriticalExtension, ca(root, rootKey, with(true, []byte{5, 0}, 1, 2, 3, 4)))
	add("a name outside the CA's constraints", gateway.NameConstraint, ca(root, rootKey, with(true, der(0x30, der(0xa0, der(0x30, der(0xa4, name)))), 2, 5, 29, 30)))
	add("policy constraints of the CA", gateway.PolicyConstraint, ca(root, rootKey, with(false, []byte{0x30, 3, 0x80, 1, 0}, 2, 5, 29, 36)))
	foreign := o.pki.Must("other-root")
	add("a CA of another root", gateway.NotAnchored, ca(foreign.X509(), foreign.Signer, nil))
	return all
}
