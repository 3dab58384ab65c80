package testpki

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"

	"egov-gateway/gateway/xmlsig/gost"
)

const warning = "TEST ONLY. The private keys are public; nothing that ends in these anchors may be trusted outside tests."

// Host is in every URL of every certificate; RFC 6761 §6.4 promises that it never resolves.
const Host = "http://pki.test-only.invalid"

// Generate writes a fresh PKI of the same shape into dir: new keys and serial numbers, the
// same ids, subjects, validity and manifest. It takes seconds (about forty RSA-2048 keys).
func Generate(dir string) error {
	issuers := make(map[string]*issued)
	m := manifest{Warning: warning}
	for _, p := range roster() {
		i, err := p.issue(issuers)
		if err != nil {
			return fmt.Errorf("testpki: %s: %w", p.ID, err)
		}
		if p.ca {
			issuers[p.ID] = i
		}
		e := p.Entry
		e.Certificate, e.Key = path(p, ".pem"), path(p, ".key.pem")
		e.Serial = hex.EncodeToString(i.cert.SerialNumber.Bytes())
		if err := write(dir, e.Certificate, "certificate", e.ID, "CERTIFICATE", i.cert.Raw); err != nil {
			return err
		}
		pkcs8, err := marshalKey(i.key)
		if err != nil {
			return err
		}
		if err := write(dir, e.Key, "private key", e.ID, "PRIVATE KEY", pkcs8); err != nil {
			return err
		}
		m.Entries = append(m.Entries, &e)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), out.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), readme(m), 0o644)
}

func path(p plan, suffix string) string {
	folder := "holders"
	switch {
	case p.ca:
		folder = "authorities"
	case p.Role == RoleCitizen:
		folder = "citizens"
	}
	kind, name := "rsa", p.ID
	if p.Algorithm == GOST2015 {
		kind, name = "gost", strings.TrimPrefix(p.ID, "gost-")
	}
	return kind + "/" + folder + "/" + name + suffix
}

func marshalKey(k crypto.Signer) ([]byte, error) {
	if g, ok := k.(*gost.PrivateKey); ok {
		return marshalGOSTKey(g), nil
	}
	return x509.MarshalPKCS8PrivateKey(k)
}

func write(dir, name, what, id, block string, der []byte) error {
	full := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("TEST ONLY: %s of %s\n%s", what, id, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}))
	return os.WriteFile(full, []byte(text), 0o644)
}

type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (p plan) issue(issuers map[string]*issued) (*issued, error) {
	if p.Algorithm == GOST2015 {
		return p.issueGOST(issuers)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ski := sha1.Sum(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	t, err := p.template(ski[:])
	if err != nil {
		return nil, err
	}
	parent, signer := t, crypto.Signer(key)
	if p.Issuer != p.ID {
		i := issuers[p.Issuer]
		if i == nil {
			return nil, fmt.Errorf("issuer %s comes later", p.Issuer)
		}
		parent, signer = i.cert, i.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &issued{cert, key}, err
}

func (p plan) template(ski []byte) (*x509.Certificate, error) {
	subject, err := p.subject()
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 20)
	rand.Read(serial)
	serial[0] = serial[0]&0x3f | 0x40 // twenty bytes, positive
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), RawSubject: subject,
		NotBefore: p.notBefore, NotAfter: p.notAfter,
		KeyUsage: p.ku, UnknownExtKeyUsage: p.eku, SubjectKeyId: ski,
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	if p.ca {
		t.BasicConstraintsValid, t.IsCA = true, true
		t.MaxPathLenZero = p.Role == RoleIssuing
	}
	if p.policy != nil {
		ext, err := policies(p.policy)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, ext)
	}
	if p.noCheck {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: asn1.NullBytes})
	}
	if p.Issuer != p.ID && p.Role != RoleOCSP {
		t.OCSPServer = []string{Host + "/ocsp/" + p.Issuer}
		t.IssuingCertificateURL = []string{Host + "/cert/" + p.Issuer + ".cer"}
		t.CRLDistributionPoints = []string{Host + "/crl/" + p.Issuer + ".crl"}
		if !p.ca {
			ext, err := freshestCRL(Host + "/crl/" + p.Issuer + "-delta.crl")
			if err != nil {
				return nil, err
			}
			t.ExtraExtensions = append(t.ExtraExtensions, ext)
		}
	}
	return t, nil
}

// subject builds the name in the NCA's order: CN, SURNAME, SERIALNUMBER, C, O, OU, GIVENNAME
// (which holds the patronymic).
func (p plan) subject() ([]byte, error) {
	var rdns pkix.RDNSequence
	add := func(tag int, value string, id ...int) {
		if value != "" {
			v := asn1.RawValue{Tag: tag, Bytes: []byte(value)}
			rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: id, Value: v}})
		}
	}
	prefixed := func(prefix, s string) string {
		if s == "" {
			return ""
		}
		return prefix + s
	}
	const utf8, printable = asn1.TagUTF8String, asn1.TagPrintableString
	add(utf8, p.system, 0, 9, 2342, 19200300, 100, 1, 1)
	add(utf8, p.cn, 2, 5, 4, 3)
	add(utf8, prefixed("TEST ONLY ", p.Surname), 2, 5, 4, 4)
	add(printable, prefixed("IIN", p.IIN), 2, 5, 4, 5)
	add(printable, prefixed("IIN", p.extraIIN), 2, 5, 4, 5)
	add(printable, "KZ", 2, 5, 4, 6)
	add(utf8, p.Organisation, 2, 5, 4, 10)
	add(utf8, prefixed("BIN", p.BIN), 2, 5, 4, 11)
	add(utf8, p.Patronymic, 2, 5, 4, 42)
	return asn1.Marshal(rdns)
}

func policies(id asn1.ObjectIdentifier) (pkix.Extension, error) {
	type qualifier struct {
		ID  asn1.ObjectIdentifier
		CPS string `asn1:"ia5"`
	}
	type information struct {
		ID         asn1.ObjectIdentifier
		Qualifiers []qualifier
	}
	v, err := asn1.Marshal([]information{{id, []qualifier{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 1}, Host + "/cps"}}}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: v}, err
}

func freshestCRL(url string) (pkix.Extension, error) {
	type point struct {
		FullName asn1.RawValue
	}
	context := func(tag int, inner any) asn1.RawValue {
		b, ok := inner.([]byte)
		if !ok {
			b, _ = asn1.Marshal(inner) // a RawValue always marshals
		}
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: !ok, Bytes: b}
	}
	v, err := asn1.Marshal([]point{{context(0, context(0, context(6, []byte(url))))}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: v}, err
}

func readme(m manifest) []byte {
	var b strings.Builder
	b.WriteString("# TEST ONLY: the test PKI\n\n" + m.Warning + "\n\n" +
		"Certificates and keys in the shape of the National Certification Authority's, RSA and GOST-2015: twenty-byte serial numbers, its role and\n" +
		"policy identifiers, freshestCRL, IIN in SERIALNUMBER and BIN in OU. Every IIN has a right check digit (but for the one that is\n" +
		"there to be wrong) and a birth date in the nineteenth century; every BIN has a sixth digit that is never issued; every URL is on\n" +
		"a host that cannot exist. Authorities are valid 2025–2045, the others 2026–2036 unless their purpose says otherwise.\n\n" +
		"`manifest.json` holds the same list for programs, with IIN, BIN, names, serial and status. `testpki.Load` reads the committed\n" +
		"files, `testpki.Generate` makes a fresh PKI of the same shape, `testpki.Check` compares files and manifest.\n\n" +
		"Keys are PKCS #8 beside each certificate (`NAME.key.pem`); those of GOST hold the number, little-endian, in an OCTET STRING. A\n" +
		"GOST entry has the id of its RSA sister with `gost-` before it, and names the same person; its two anchors and responders are its\n" +
		"own. Providers' documents are signed with RSA: no library in reach signs XML with GOST for the simulator.\n\n" +
		"*Expect* is what a verifier says of the entry in its role at\n" +
		"2026-11-02 (employee and head: when used as a citizen's key).\n")
	for _, section := range []string{"rsa/authorities", "rsa/citizens", "rsa/holders", "gost/authorities", "gost/citizens", "gost/holders"} {
		fmt.Fprintf(&b, "\n## %s\n\n| File | Issuer | What for | Status | Expect |\n|---|---|---|---|---|\n", section)
		for _, e := range m.Entries {
			folder, name := filepath.Split(filepath.FromSlash(e.Certificate))
			if filepath.ToSlash(folder) == section+"/" {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, e.Issuer, e.Purpose, e.Status.State, cmp.Or(string(e.Expect), "accepted"))
			}
		}
	}
	return []byte(b.String())
}
