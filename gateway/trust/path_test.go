package trust_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"testing"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

func storeOf(t testing.TB) *trust.Store {
	t.Helper()
	s, err := trust.New(trust.Config{
		Anchors:       []trust.Anchor{{Certificate: entry(t, "root")}, {Certificate: entry(t, "gost-root")}},
		Intermediates: []*trust.Certificate{entry(t, "issuing"), entry(t, "issuing-revoked"), entry(t, "gost-issuing")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var purposes = map[testpki.Role]trust.Purpose{
	testpki.RoleCitizen: trust.PurposeSignPerson, testpki.RoleEmployee: trust.PurposeSignPerson, testpki.RoleHead: trust.PurposeSignPerson,
	testpki.RoleProviderHead: trust.PurposeSignLegal, testpki.RoleExecutor: trust.PurposeSignLegal,
	testpki.RoleSystem: trust.PurposeInformationSystem, testpki.RoleOCSP: trust.PurposeOCSP,
}

// R4b, and the part of «условие 2» that a certificate shows by itself.
func TestEveryEntryOfTheTestPKIIsJudgedAsItsManifestSays(t *testing.T) {
	store := storeOf(t)
	mine := map[gateway.Reason]bool{
		gateway.NoIssuer: true, gateway.NotAnchored: true, gateway.CertificateSignature: true, gateway.CertificateExpired: true,
		gateway.CertificateNotYetValid: true, gateway.KeyUsage: true, gateway.ExtendedKeyUsage: true,
	}
	for _, e := range pki(t).Entries() {
		if purposes[e.Role] == "" {
			continue
		}
		t.Run(e.ID, func(t *testing.T) {
			want := e.Expect
			if e.Role == testpki.RoleOCSP && e.Expect == gateway.EvidenceUntrusted {
				want = gateway.NoIssuer
			}
			if !mine[want] {
				want = "" // said by identity or revocation
			}
			j := store.Judge(parse(t, e.DER), trust.JudgeOptions{At: now, Purpose: purposes[e.Role]})
			got := gateway.ReasonOf(first(j.PathErr, j.ValidityErr, j.PurposeErr))
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if want == "" && (j.Path == nil || j.Path.Issuer() == nil || j.Path.Leaf().SerialHex() != e.Serial || j.Path.Test) {
				t.Error("the path is not from the leaf to the anchor")
			}
		})
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestPaths(t *testing.T) {
	type world struct {
		leaf      *node
		known     []*node
		untrusted []*node
		purpose   trust.Purpose
		at        time.Time
	}
	maxPath := func(n int) func(*x509.Certificate) {
		return func(t *x509.Certificate) { t.MaxPathLen, t.MaxPathLenZero = n, n == 0 }
	}
	usage := func(u x509.KeyUsage) func(*x509.Certificate) {
		return func(t *x509.Certificate) { t.KeyUsage = u }
	}
	named := func(orgs ...string) func(*x509.Certificate) {
		return func(t *x509.Certificate) {
			t.Subject = pkix.Name{Country: []string{"KZ"}, Organization: orgs, CommonName: "x"}
		}
	}
	role := func(arcs ...int) asn1.ObjectIdentifier {
		return append(append(asn1.ObjectIdentifier{}, ekuLegal...), arcs...)
	}
	legal := func(arcs ...int) func(*x509.Certificate) {
		return func(t *x509.Certificate) { t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekuLegal, role(arcs...)} }
	}
	subtree := func(org string) []byte {
		n, _ := asn1.Marshal(pkix.Name{Country: []string{"KZ"}, Organization: []string{org}}.ToRDNSequence())
		return der(0x30, der(0xa4, n))
	}
	permitted := func(org string) func(*x509.Certificate) {
		return extension(true, der(0x30, der(0xa0, subtree(org))), 2, 5, 29, 30)
	}
	excluded := func(org string) func(*x509.Certificate) {
		return extension(true, der(0x30, der(0xa1, subtree(org))), 2, 5, 29, 30)
	}
	tests := []struct {
		name  string
		build func(f *forge, root *node) world
		want  gateway.Reason // of the path, else of validity, else of purpose
	}{
		{"#1 a person below an issuing CA", func(f *forge, root *node) world {
			ca := f.ca("CA", root)
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, ""},
		{"an issuing CA that came with the document", func(f *forge, root *node) world {
			ca := f.ca("CA", root)
			return world{leaf: f.person(ca), untrusted: []*node{ca}}
		}, ""},
		{"no issuer of that name", func(f *forge, root *node) world {
			return world{leaf: f.person(f.ca("CA", root))}
		}, gateway.NoIssuer},
		{"#18 one bit flipped in what was signed", func(f *forge, root *node) world {
			ca := f.ca("CA", root)
			leaf := f.person(ca)
			raw := bytes.Replace(leaf.c.Raw, []byte("TEST ONLY person"), []byte("TEST ONLY qerson"), 1)
			leaf.c = parse(f.t, raw)
			return world{leaf: leaf, known: []*node{ca}}
		}, gateway.CertificateSignature},
		{"#19 self-signed with the issuing CA's name", func(f *forge, root *node) world {
			ca := f.ca("CA", root)
			return world{leaf: f.person(nil, func(t *x509.Certificate) { t.Subject = ca.x.Subject }), known: []*node{ca}}
		}, gateway.NotAnchored},
		{"#20 issuer of the same name with another key", func(f *forge, root *node) world {
			return world{leaf: f.person(f.ca("CA", f.ca("elsewhere", nil))), known: []*node{f.ca("CA", root)}}
		}, gateway.CertificateSignature},
		{"a foreign root that came with the document", func(f *forge, root *node) world {
			other := f.ca("other root", nil)
			ca := f.ca("other CA", other)
			return world{leaf: f.person(ca), untrusted: []*node{ca, other}}
		}, gateway.NotAnchored},
		{"#21 a person's certificate used as a CA", func(f *forge, root *node) world {
			p := f.person(root)
			return world{leaf: f.person(p), untrusted: []*node{p}}
		}, gateway.NotACA},
		{"#22 a CA without keyCertSign", func(f *forge, root *node) world {
			ca := f.ca("CA", root, usage(x509.KeyUsageCRLSign))
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.NotACA},
		{"#23 keyCertSign and no cA", func(f *forge, root *node) world {
			ca := f.ca("CA", root, func(t *x509.Certificate) { t.IsCA, t.BasicConstraintsValid = false, true })
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.NotACA},
		{"#23 a CA of version 1", func(f *forge, root *node) world {
			ca := f.ca("CA", root)
			p := split(f.t, ca.c.Raw)
			p.tbs = p.tbs[1:atExtensions]
			leaf := f.person(ca, func(t *x509.Certificate) { t.AuthorityKeyId = nil })
			ca.c = parse(f.t, p.sealed(f.t, root.key))
			return world{leaf: leaf, known: []*node{ca}}
		}, gateway.NotACA},
		{"#24 pathLen 0 and one more CA", func(f *forge, root *node) world {
			a := f.ca("A", root, maxPath(0))
			b := f.ca("B", a)
			return world{leaf: f.person(b), known: []*node{a, b}}
		}, gateway.PathLength},
		{"#24 pathLen 1 and one more CA", func(f *forge, root *node) world {
			a := f.ca("A", root, maxPath(1))
			b := f.ca("B", a)
			return world{leaf: f.person(b), known: []*node{a, b}}
		}, ""},
		{"a lower CA cannot widen the path length", func(f *forge, root *node) world {
			a := f.ca("A", root, maxPath(1))
			b := f.ca("B", a, maxPath(5))
			c := f.ca("C", b)
			return world{leaf: f.person(c), known: []*node{a, b, c}}
		}, gateway.PathLength},
		{"pathLen 0 and a self-issued CA, which does not count", func(f *forge, root *node) world {
			a := f.ca("A", root, maxPath(0))
			b := f.ca("A", a)
			return world{leaf: f.person(b), known: []*node{a, b}}
		}, ""},
		{"#25 fifty cross-signed CAs of one name", func(f *forge, root *node) world {
			var bag []*node
			last := f.ca("same", f.ca("nowhere", nil))
			for range 49 {
				last = f.ca("same", last)
				bag = append(bag, last)
			}
			return world{leaf: f.person(last), untrusted: bag}
		}, gateway.CertificateSignature},
		{"#25 a chain longer than any real one", func(f *forge, root *node) world {
			var bag []*node
			last := f.ca("0", root)
			for i := range 12 {
				bag = append(bag, last)
				last = f.ca(fmt.Sprint(i+1), last)
			}
			return world{leaf: f.person(last), untrusted: append(bag, last)}
		}, gateway.NotAnchored},
		{"#26 two CAs that certify each other", func(f *forge, root *node) world {
			a := f.ca("A", nil)
			b := f.ca("B", a)
			f.n = f.n - 2 + int64(len(f.keys)) // A's key again
			a2 := f.ca("A", b, func(t *x509.Certificate) { t.SubjectKeyId = a.x.SubjectKeyId })
			return world{leaf: f.person(b), untrusted: []*node{b, a2}}
		}, gateway.NotAnchored},
		{"#27 unknown critical extension in the leaf", func(f *forge, root *node) world {
			return world{leaf: f.person(root, extension(true, []byte{5, 0}, 1, 2, 3, 4))}
		}, gateway.CriticalExtension},
		{"#27 unknown critical extension in the CA", func(f *forge, root *node) world {
			ca := f.ca("CA", root, extension(true, []byte{5, 0}, 1, 2, 3, 4))
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.CriticalExtension},
		{"unknown extension that is not critical", func(f *forge, root *node) world {
			return world{leaf: f.person(root, extension(false, []byte{5, 0}, 1, 2, 398, 3, 3, 5))}
		}, ""},
		{"#28 subject outside the permitted names", func(f *forge, root *node) world {
			ca := f.ca("CA", root, permitted("ours"))
			return world{leaf: f.person(ca, named("theirs")), known: []*node{ca}}
		}, gateway.NameConstraint},
		{"#28 subject inside the permitted names", func(f *forge, root *node) world {
			ca := f.ca("CA", root, permitted("ours"))
			return world{leaf: f.person(ca, named("ours")), known: []*node{ca}}
		}, ""},
		{"#28 an excluded name in other letters and spaces", func(f *forge, root *node) world {
			ca := f.ca("CA", root, excluded("Чужая  Организация"))
			return world{leaf: f.person(ca, named(" чужая ОРГАНИЗАЦИЯ")), known: []*node{ca}}
		}, gateway.NameConstraint},
		{"#28 an excluded name in subjectAltName", func(f *forge, root *node) world {
			n, _ := asn1.Marshal(pkix.Name{Country: []string{"KZ"}, Organization: []string{"theirs"}}.ToRDNSequence())
			ca := f.ca("CA", root, excluded("theirs"))
			return world{leaf: f.person(ca, extension(false, der(0x30, der(0xa4, n)), 2, 5, 29, 17)), known: []*node{ca}}
		}, gateway.NameConstraint},
		{"name constraints of another kind are refused, not ignored", func(f *forge, root *node) world {
			ca := f.ca("CA", root, func(t *x509.Certificate) {
				t.PermittedDNSDomains, t.PermittedDNSDomainsCritical = []string{"gov.kz"}, true
			})
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.NameConstraint},
		{"policy constraints in a CA are refused, not ignored", func(f *forge, root *node) world {
			ca := f.ca("CA", root, extension(false, unhex("3003800100"), 2, 5, 29, 36))
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.PolicyConstraint},
		{"inhibitAnyPolicy is refused, not ignored", func(f *forge, root *node) world {
			ca := f.ca("CA", root, extension(true, unhex("020100"), 2, 5, 29, 54))
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.PolicyConstraint},
		{"#29 the anchor itself as signer", func(f *forge, root *node) world { return world{leaf: root} }, gateway.SignerIsCA},
		{"#30 the issuing CA as signer", func(f *forge, root *node) world { return world{leaf: f.ca("CA", root)} }, gateway.SignerIsCA},
		{"#31 a sign-in certificate", func(f *forge, root *node) world {
			return world{leaf: f.person(root, usage(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment))}
		}, gateway.KeyUsage},
		{"a person's certificate without key usage", func(f *forge, root *node) world { return world{leaf: f.person(root, usage(0))} }, gateway.KeyUsage},
		{"#32 an OCSP responder as signer", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) {
				t.UnknownExtKeyUsage, t.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
			})}
		}, gateway.ExtendedKeyUsage},
		{"#32 a time stamping authority as signer", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) {
				t.UnknownExtKeyUsage, t.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}
			})}
		}, gateway.ExtendedKeyUsage},
		{"anyExtendedKeyUsage is no role", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) {
				t.UnknownExtKeyUsage, t.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
			})}
		}, gateway.ExtendedKeyUsage},
		{"a person's key signing for an organisation", func(f *forge, root *node) world {
			return world{leaf: f.person(root), purpose: trust.PurposeSignLegal}
		}, gateway.ExtendedKeyUsage},
		{"an information system signing for an organisation", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) {
				t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekuLegal, append(append(asn1.ObjectIdentifier{}, ekuLegal...), 6)}
			}), purpose: trust.PurposeSignLegal}
		}, gateway.ExtendedKeyUsage},
		{"a named information system signing for an organisation", func(f *forge, root *node) world {
			return world{leaf: f.person(root, legal(6, 12)), purpose: trust.PurposeSignLegal}
		}, gateway.ExtendedKeyUsage},
		{"a named information system with the head's role beside it", func(f *forge, root *node) world {
			return world{leaf: f.person(root, legal(1), func(t *x509.Certificate) {
				t.UnknownExtKeyUsage = append(t.UnknownExtKeyUsage, role(6, 12))
			}), purpose: trust.PurposeSignHead}
		}, gateway.ExtendedKeyUsage},
		{"a named information system signing its messages", func(f *forge, root *node) world {
			return world{leaf: f.person(root, legal(6, 12)), purpose: trust.PurposeInformationSystem}
		}, ""},
		{"the treasury's client signing for an organisation", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) {
				t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 398, 5, 19, 1, 2, 2, 1}}
			}), purpose: trust.PurposeSignStaff}
		}, gateway.ExtendedKeyUsage},
		{"the legal role alone, without a role in the organisation", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) { t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekuLegal} }), purpose: trust.PurposeSignStaff}
		}, gateway.ExtendedKeyUsage},
		{"a head who is not named", func(f *forge, root *node) world {
			return world{leaf: f.person(root, legal(1)), purpose: trust.PurposeSignLegal}
		}, gateway.IINMissing},
		{"a role whose number only starts like the legal one", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) {
				t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 398, 3, 3, 4, 1, 20}}
			}), purpose: trust.PurposeSignLegal}
		}, gateway.ExtendedKeyUsage},
		{"#33 a policy that is not accepted", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) { t.ExtraExtensions = []pkix.Extension{policy(1, 2, 398, 3, 3, 20)} })}
		}, gateway.CertificatePolicy},
		{"#33 no policy at all", func(f *forge, root *node) world {
			return world{leaf: f.person(root, func(t *x509.Certificate) { t.ExtraExtensions = nil })}
		}, gateway.CertificatePolicy},
		{"any purpose drops the rules about roles", func(f *forge, root *node) world {
			return world{leaf: f.person(root, usage(0), func(t *x509.Certificate) { t.ExtraExtensions, t.UnknownExtKeyUsage = nil, nil }), purpose: trust.PurposeAny}
		}, ""},
		{"a purpose nobody knows", func(f *forge, root *node) world { return world{leaf: f.person(root), purpose: "sign"} }, gateway.ConfigInvalid},
		{"#34 a second before notBefore", func(f *forge, root *node) world { // R4b
			return world{leaf: f.person(root, validity(now.Add(time.Second), now.Add(time.Hour)))}
		}, gateway.CertificateNotYetValid},
		{"#34 a second after notAfter", func(f *forge, root *node) world { // R4b
			return world{leaf: f.person(root, validity(now.Add(-time.Hour), now.Add(-time.Second)))}
		}, gateway.CertificateExpired},
		{"#35 exactly at notBefore", func(f *forge, root *node) world {
			return world{leaf: f.person(root, validity(now, now.Add(time.Hour)))}
		}, ""},
		{"#35 exactly at notAfter", func(f *forge, root *node) world {
			return world{leaf: f.person(root, validity(now.Add(-time.Hour), now))}
		}, ""},
		{"#36 the issuing CA expired, the leaf not", func(f *forge, root *node) world {
			ca := f.ca("CA", root, validity(now.Add(-2*time.Hour), now.Add(-time.Hour)))
			return world{leaf: f.person(ca), known: []*node{ca}}
		}, gateway.IssuerExpired},
		{"an expired and a valid certificate of one issuing CA", func(f *forge, root *node) world {
			old := f.ca("CA", root, validity(now.Add(-2*time.Hour), now.Add(-time.Hour)))
			f.n = f.n - 1 + int64(len(f.keys)) // the same key
			fresh := f.ca("CA", root, func(t *x509.Certificate) { t.SubjectKeyId = old.x.SubjectKeyId })
			return world{leaf: f.person(old), known: []*node{old, fresh}}
		}, ""},
		{"the anchor expired", func(f *forge, root *node) world { return world{leaf: f.person(root), at: now.AddDate(10, 0, 0)} }, gateway.IssuerExpired},
		{"no instant given", func(f *forge, root *node) world { return world{leaf: f.person(root), at: time.Time{}.Add(1)} }, gateway.IssuerExpired},
		{"the key identifier names another key of the issuer", func(f *forge, root *node) world {
			ca := f.ca("CA", root)
			odd := *ca.x
			odd.SubjectKeyId = []byte("another key")
			return world{leaf: f.person(&node{x: &odd, key: ca.key}), known: []*node{ca}}
		}, gateway.NoIssuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newForge(t)
			root := f.ca("TEST ONLY root", nil)
			w := tt.build(f, root)
			s, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: root.c}}, Intermediates: certificates(w.known)})
			if err != nil {
				t.Fatal(err)
			}
			o := trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson, Untrusted: certificates(w.untrusted)}
			if w.purpose != "" {
				o.Purpose = w.purpose
			}
			if !w.at.IsZero() {
				o.At = w.at
			}
			start := time.Now()
			j := s.Judge(w.leaf.c, o)
			if took := time.Since(start); took > 5*time.Second { // unbounded it takes hours
				t.Errorf("took %v", took)
			}
			err = first(j.PathErr, j.ValidityErr, j.PurposeErr)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Errorf("%q (%v), want %q", got, err, tt.want)
			}
			if (j.Path == nil) != (j.PathErr != nil) {
				t.Error("a path and an error, or neither")
			}
		})
	}
}

func certificates(nodes []*node) (list []*trust.Certificate) {
	for _, n := range nodes {
		list = append(list, n.c)
	}
	return list
}

func TestForbiddenSignatureAlgorithms(t *testing.T) {
	ca := pki(t).Must("issuing").Signer
	store := storeOf(t)
	relabelled := func(alg []byte) []byte {
		p := split(t, pki(t).Must("citizen-01").DER)
		p.alg, p.tbs[atAlgorithm] = alg, alg
		return p.sealed(t, ca)
	}
	sha1Signed := func() []byte {
		p := split(t, pki(t).Must("citizen-01").DER)
		alg := der(0x30, unhex("06092a864886f70d010105"), []byte{5, 0})
		p.tbs[atAlgorithm] = alg
		tbs := der(0x30, p.tbs...)
		sum := sha1.Sum(tbs)
		sig, err := ca.Sign(rand.Reader, sum[:], crypto.SHA1)
		if err != nil {
			t.Fatal(err)
		}
		return der(0x30, tbs, alg, der(0x03, []byte{0}, sig))
	}
	tests := []struct {
		name string
		der  []byte
		want gateway.Reason
	}{
		{"#13 SHA-1 with RSA, rightly signed", sha1Signed(), gateway.AlgorithmForbidden},
		{"MD5 with RSA", relabelled(der(0x30, unhex("06092a864886f70d010104"), []byte{5, 0})), gateway.AlgorithmForbidden},
		{"#94 RSA-PSS", relabelled(der(0x30, unhex("06092a864886f70d01010a"), der(0x30))), gateway.AlgorithmForbidden},
		{"#17 a GOST signature of an RSA key", relabelled(der(0x30, unhex("060a2a830e030a0101020302"), []byte{5, 0})), gateway.CertificateSignature},
		{"SHA-256 with parameters that are not NULL", relabelled(der(0x30, unhex("06092a864886f70d01010b"), []byte{4, 0})), gateway.AlgorithmForbidden},
		{"SHA-512 claimed, SHA-256 made", relabelled(der(0x30, unhex("06092a864886f70d01010d"), []byte{5, 0})), gateway.CertificateSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := store.Judge(parse(t, tt.der), trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson})
			if got := gateway.ReasonOf(j.PathErr); got != tt.want {
				t.Errorf("%q (%v), want %q", got, j.PathErr, tt.want)
			}
		})
	}
}

func TestThreeChecksAreMadeIndependently(t *testing.T) {
	j := storeOf(t).Judge(entry(t, "citizen-other-ca"), trust.JudgeOptions{At: now.AddDate(20, 0, 0), Purpose: trust.PurposeSignLegal})
	got := fmt.Sprint(gateway.ReasonOf(j.PathErr), gateway.ReasonOf(j.ValidityErr), gateway.ReasonOf(j.PurposeErr))
	if want := fmt.Sprint(gateway.NoIssuer, gateway.CertificateExpired, gateway.ExtendedKeyUsage); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAPinnedCertificateNeedsNoPath(t *testing.T) {
	s, partner, other := storeOf(t), entry(t, "citizen-other-ca"), entry(t, "citizen-01")
	j := s.Judge(partner, trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson, Pinned: partner})
	if first(j.PathErr, j.ValidityErr, j.PurposeErr) != nil || j.Path.Issuer() != nil {
		t.Error("the pinned certificate is refused")
	}
	if j := s.Judge(partner, trust.JudgeOptions{At: now.AddDate(20, 0, 0), Purpose: trust.PurposeSignPerson, Pinned: partner}); gateway.ReasonOf(j.ValidityErr) != gateway.CertificateExpired {
		t.Error("the validity of a pinned certificate is not judged")
	}
	if j := s.Judge(other, trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson, Pinned: partner}); gateway.ReasonOf(j.PathErr) != gateway.NotAnchored {
		t.Error("another certificate passes where one is pinned")
	}
}

func TestATestAnchorMarksItsPaths(t *testing.T) {
	s, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: entry(t, "root"), Test: true}}, Intermediates: []*trust.Certificate{entry(t, "issuing")}})
	if err != nil {
		t.Fatal(err)
	}
	if j := s.Judge(entry(t, "citizen-01"), trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson}); j.Path == nil || !j.Path.Test {
		t.Error("the path does not say that it is a test")
	}
}

func TestAStoreNeedsAnchors(t *testing.T) {
	for name, c := range map[string]trust.Config{
		"none":               {},
		"only intermediates": {Intermediates: []*trust.Certificate{entry(t, "issuing")}},
		"an empty anchor":    {Anchors: []trust.Anchor{{}}},
		"an empty CA":        {Anchors: []trust.Anchor{{Certificate: entry(t, "root")}}, Intermediates: []*trust.Certificate{nil}},
	} {
		if _, err := trust.New(c); err == nil {
			t.Errorf("%s: a store was made", name)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	s, leaf := storeOf(b), entry(b, "citizen-01")
	b.ReportAllocs()
	for b.Loop() {
		if j := s.Judge(leaf, trust.JudgeOptions{At: now, Purpose: trust.PurposeSignPerson}); j.PathErr != nil {
			b.Fatal(j.PathErr)
		}
	}
}

func BenchmarkParseCertificate(b *testing.B) {
	der := pki(b).Must("citizen-01").DER
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trust.ParseCertificate(der); err != nil {
			b.Fatal(err)
		}
	}
}

// R24, R25: who may sign for an organisation, by the role that the National Certification Authority wrote into
// the certificate.
func TestWhoSignsForAnOrganisation(t *testing.T) {
	f := newForge(t)
	root := f.ca("root", nil)
	store, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: root.c}}})
	if err != nil {
		t.Fatal(err)
	}
	purposes := []trust.Purpose{trust.PurposeSignHead, trust.PurposeSignLegal, trust.PurposeSignStaff, trust.PurposeInformationSystem}
	for _, tt := range []struct {
		name string
		arcs []int
		may  string // an x for each purpose
	}{
		{"the first head", []int{1}, "xxx-"},
		{"who has the right to sign", []int{2}, "-xx-"},
		{"who has the right to sign financial documents", []int{3}, "----"},
		{"who handles the staff's affairs", []int{4}, "----"},
		{"an employee", []int{5}, "--x-"},
		{"an information system", []int{6}, "---x"},
		{"a named information system", []int{6, 345}, "---x"},
		{"a role that nobody knows", []int{7}, "----"},
		{"an arc below the head's", []int{1, 1}, "----"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaf := f.person(root, func(c *x509.Certificate) {
				c.Subject.SerialNumber = "IIN900101200010"
				c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{ekuLegal, append(append(asn1.ObjectIdentifier{}, ekuLegal...), tt.arcs...)}
			}).c
			for i, p := range purposes {
				err := store.Judge(leaf, trust.JudgeOptions{At: now, Purpose: p}).PurposeErr
				if (err == nil) != (tt.may[i] == 'x') || err != nil && gateway.ReasonOf(err) != gateway.ExtendedKeyUsage {
					t.Errorf("%s: %v", p, err)
				}
			}
		})
	}
}
