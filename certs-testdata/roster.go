package testpki

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
)

// The object identifiers below are those of the NCA, as found in its test certificates.
var (
	roleEKU    = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1}
	ekuPerson  = oid(roleEKU, 1)
	ekuLegal   = oid(roleEKU, 2)
	ekuHead    = oid(ekuLegal, 1)
	ekuSigner  = oid(ekuLegal, 2)
	ekuStaff   = oid(ekuLegal, 5)
	ekuSystem  = oid(ekuLegal, 6)
	ekuEmail   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 4}
	ekuClient  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	ekuOCSP    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}
	policyCA   = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 2}
	policySign = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 2, 3}
	policyAuth = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 2, 4}
	policyOrg  = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 2, 1}
)

func oid(base asn1.ObjectIdentifier, n int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, base...), n)
}

const (
	kuSign = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	kuAuth = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	kuCA   = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
)

// A plan is an entry before its key exists.
type plan struct {
	Entry
	cn        string
	extraIIN  string // a second serialNumber in the subject
	system    string // UID of an information system
	ku        x509.KeyUsage
	eku       []asn1.ObjectIdentifier
	policy    asn1.ObjectIdentifier
	ca        bool
	noCheck   bool
	notBefore time.Time
	notAfter  time.Time
}

func year(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }

// iin completes eleven digits with the check digit of the national rule.
func iin(eleven string) string {
	for d := range 10 {
		if s := fmt.Sprint(eleven, d); valid(gateway.ParseIIN(s)) {
			return s
		}
	}
	panic("testpki: " + eleven + " has no check digit")
}

func bin(eleven string) string {
	for d := range 10 {
		if s := fmt.Sprint(eleven, d); valid(gateway.ParseBIN(s)) {
			return s
		}
	}
	panic("testpki: " + eleven + " has no check digit")
}

func valid[T any](_ T, err error) bool { return err == nil }

func authority(id string, role Role, issuer, cn, purpose string) plan {
	p := plan{cn: cn, ku: kuCA, ca: true, policy: policyCA, notBefore: year(2025), notAfter: year(2045)}
	p.ID, p.Role, p.Issuer, p.Purpose, p.Status = id, role, issuer, purpose, Status{State: Good}
	return p
}

func citizen(id, number, surname, name, patronymic, purpose string) plan {
	p := plan{ku: kuSign, eku: []asn1.ObjectIdentifier{ekuEmail, ekuPerson}, policy: policySign, notBefore: year(2026), notAfter: year(2036)}
	p.ID, p.Role, p.Issuer, p.Purpose, p.Status = id, RoleCitizen, "issuing", purpose, Status{State: Good}
	p.IIN, p.Surname, p.Name, p.Patronymic = number, surname, name, patronymic
	p.cn = "TEST ONLY " + surname + " " + name
	return p
}

func member(id string, role Role, eku asn1.ObjectIdentifier, number, surname, name, patronymic string, org organisation, purpose string) plan {
	p := citizen(id, number, surname, name, patronymic, purpose)
	p.Role, p.BIN, p.Organisation, p.policy = role, org.bin, org.name, policyOrg
	p.eku = []asn1.ObjectIdentifier{ekuEmail, ekuLegal, eku}
	return p
}

func system(id, name string, org organisation, purpose string) plan {
	p := plan{cn: `ИС "TEST ONLY ` + name + `"`, system: "1.2.398.6.10.1.1", ku: kuSign,
		eku: []asn1.ObjectIdentifier{ekuLegal, ekuSystem}, policy: policyCA, notBefore: year(2026), notAfter: year(2036)}
	p.ID, p.Role, p.Issuer, p.Purpose, p.Status = id, RoleSystem, "issuing", purpose, Status{State: Good}
	p.BIN, p.Organisation = org.bin, org.name
	return p
}

type organisation struct{ bin, name string }

func (p plan) but(f func(*plan)) plan { f(&p); return p }

// sisters are the entries that also exist with a GOST key.
var sisters = []string{"root", "issuing", "other-root", "other-issuing", "ocsp-responder", "ocsp-responder-root", "ocsp-responder-other",
	"citizen-01", "citizen-02", "citizen-03", "citizen-04", "citizen-expired", "citizen-revoked", "citizen-suspended", "citizen-never-issued",
	"citizen-authentication", "citizen-other-ca", "employee", "provider-sko-head", "provider-sko-executor", "provider-zhambyl-head",
	"provider-zhambyl-executor", "system-gateway"}

// roster lists every entry of the test PKI; issuers come before what they issue.
func roster() []plan {
	var out, gost []plan
	for _, p := range rosterRSA() {
		p.Algorithm = RSA
		out = append(out, p)
		if slices.Contains(sisters, p.ID) {
			gost = append(gost, p.sister())
		}
	}
	return append(out, gost...)
}

// sister is the same holder with a GOST-2015 key, in the shape of the certificates that the
// NCA has issued since 2022: keyAgreement, and one policy for all.
func (p plan) sister() plan {
	p.ID, p.Issuer, p.Algorithm = "gost-"+p.ID, "gost-"+p.Issuer, GOST2015
	p.Purpose = "GOST-2015: " + p.Purpose
	p.cn = strings.ReplaceAll(p.cn, "(RSA)", "(GOST)")
	if !p.ca && p.Role != RoleOCSP {
		if p.policy = policyCA; p.ku == kuSign {
			p.ku |= x509.KeyUsageKeyAgreement
		}
	}
	return p
}

func rosterRSA() []plan {
	const rootCN, issuingCN = "TEST ONLY НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (RSA)", "TEST ONLY ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (RSA)"
	var (
		revokedAt = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		heldAt    = time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC)

		sko      = organisation{bin("98014900001"), `TEST ONLY ГУ "Отдел жилищных отношений города Петропавловска"`}
		zhambyl  = organisation{bin("98014900002"), `TEST ONLY ГУ "Отдел жилищных отношений города Тараза"`}
		foreign  = organisation{bin("98014900003"), `TEST ONLY ТОО "Чужая организация"`}
		employer = organisation{bin("98014900004"), `TEST ONLY ТОО "Работодатель"`}
		operator = organisation{bin("98014900005"), `TEST ONLY АО "Оператор шлюза"`}
		portal   = organisation{bin("98014900006"), `TEST ONLY АО "Оператор портала"`}
		state    = organisation{bin("98014900007"), `TEST ONLY ГУ "Владелец государственных систем"`}
	)
	revoked := func(s Status, want gateway.Reason) func(*plan) {
		return func(p *plan) { p.Status, p.Expect = s, want }
	}
	foreignCA := func(ca string, want gateway.Reason) func(*plan) {
		return func(p *plan) { p.Issuer, p.Expect = ca, want }
	}
	notCitizen := func(p *plan) {
		p.Expect, p.Also = gateway.ExtendedKeyUsage, []gateway.Reason{gateway.NotACitizen}
	}
	return []plan{
		authority("root", RoleRoot, "root", rootCN, "The only trusted root of the test PKI. All its numbers but one obey the rules, so Anchor.Test stays off.").but(func(p *plan) { p.Trusted = true }),
		authority("issuing", RoleIssuing, "root", issuingCN, "Issues every certificate that a verifier must accept, signs the CRL and the delta CRL; pathLen 0."),
		authority("issuing-revoked", RoleIssuing, "root", issuingCN+" 2", "An issuing CA that the root revoked: whatever it issued is worth nothing.").
			but(func(p *plan) {
				p.Status = Status{Revoked, "cACompromise", revokedAt}
				p.Expect = gateway.IssuerRevoked
			}),
		authority("same-name-root", RoleRoot, "same-name-root", rootCN, "Carries the name of the anchor and another key; it must never be trusted.").but(func(p *plan) { p.Expect = gateway.NotAnchored }),
		authority("same-name-issuing", RoleIssuing, "same-name-root", issuingCN, "Carries the name of the issuing CA and another key.").but(func(p *plan) { p.Expect = gateway.NotAnchored }),
		authority("other-root", RoleRoot, "other-root", "TEST ONLY БАСҚА НЕГІЗГІ ОРТАЛЫҚ (RSA)", "A plainly different root that nobody configured.").but(func(p *plan) { p.Expect = gateway.NotAnchored }),
		authority("other-issuing", RoleIssuing, "other-root", "TEST ONLY БАСҚА КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (RSA)", "An issuing CA below the different root.").but(func(p *plan) { p.Expect = gateway.NotAnchored }),

		ocspSigner("ocsp-responder", "issuing", "Signs OCSP answers for the issuing CA (delegated, nocheck)."),
		ocspSigner("ocsp-responder-root", "root", "Signs OCSP answers for the root, about its issuing CAs (delegated, nocheck)."),
		ocspSigner("ocsp-responder-other", "other-issuing", "Has the right EKU and comes from the wrong CA: its answers about the issuing CA are refused.").
			but(func(p *plan) { p.Expect = gateway.EvidenceUntrusted }),

		citizen("citizen-01", iin("90010120001"), "АХМЕТОВА", "АЙГЕРІМ", "СЕРІКҚЫЗЫ", "A citizen of Petropavl with a good certificate; the first choice for a request."),
		citizen("citizen-02", iin("85031510002"), "ИВАНОВ", "ПЁТР", "СЕРГЕЕВИЧ", "A citizen of Taraz with a good certificate."),
		citizen("citizen-03", iin("78112310003"), "НҰРЛАНОВ", "ЕРЛАН", "МАРАТҰЛЫ", "A good certificate; a representative in tests of powers of attorney."),
		citizen("citizen-04", iin("95070720004"), "КИМ", "ЕЛЕНА", "ВИКТОРОВНА", "A good certificate; a stranger who must not see another citizen's cabinet."),
		citizen("citizen-05", iin("60022920005"), "ӘБДІРАХМАНОВА", "ГҮЛНӘР", "ҚАЙРАТҚЫЗЫ", "A good certificate, name with every Kazakh letter form, born on 29 February."),
		citizen("citizen-06", iin("71091810006"), "ШМИДТ", "АНДРЕЙ", "КАРЛОВИЧ", "A good certificate; one of a family in load tests."),
		citizen("citizen-07", iin("88123120007"), "СМАҒҰЛОВА", "ДИНА", "БОЛАТҚЫЗЫ", "A good certificate; one of a family in load tests."),
		citizen("citizen-08", iin("99060110008"), "ПЕТРЕНКО", "ОЛЕГ", "", "A good certificate without a patronymic."),

		citizen("citizen-expired", iin("82040520011"), "ИСТЁКШАЯ", "АННА", "ИВАНОВНА", "The certificate ended on 2025-01-01 (R4b).").
			but(func(p *plan) { p.notBefore, p.notAfter, p.Expect = year(2024), year(2025), gateway.CertificateExpired }),
		citizen("citizen-not-yet-valid", iin("82040510012"), "БУДУЩИЙ", "АНТОН", "ИВАНОВИЧ", "The certificate starts on 2035-01-01 (R4b).").
			but(func(p *plan) {
				p.notBefore, p.notAfter, p.Expect = year(2035), year(2036), gateway.CertificateNotYetValid
			}),
		citizen("citizen-revoked", iin("82040520013"), "ОТОЗВАННАЯ", "ВЕРА", "ИВАНОВНА", "Revoked because its key was compromised (R4c).").
			but(revoked(Status{Revoked, "keyCompromise", revokedAt}, gateway.Revoked)),
		citizen("citizen-suspended", iin("82040510014"), "ПРИОСТАНОВЛЕННЫЙ", "ГЛЕБ", "ИВАНОВИЧ", "Suspended: certificateHold (R4c).").
			but(revoked(Status{Hold, "certificateHold", heldAt}, gateway.Suspended)),
		citizen("citizen-never-issued", iin("82040520015"), "НЕВЫДАННАЯ", "ДАРЬЯ", "ИВАНОВНА", "Signed with the CA's key, but the CA's register does not know it: the responder answers extended-revoke.").
			but(revoked(Status{NeverIssued, "certificateHold", time.Unix(0, 0).UTC()}, gateway.NeverIssued)),
		citizen("citizen-unknown", iin("82040510016"), "НЕИЗВЕСТНЫЙ", "ЕГОР", "ИВАНОВИЧ", "The responder answers unknown; only a fresh CRL without it proves it good.").
			but(revoked(Status{State: Unknown}, "")),
		citizen("citizen-authentication", iin("90010120001"), "АХМЕТОВА", "АЙГЕРІМ", "СЕРІКҚЫЗЫ", "The sign-in certificate (AUTH) of citizen-01: no nonRepudiation, clientAuth; it may not sign a request.").
			but(func(p *plan) {
				p.ku, p.policy, p.Expect = kuAuth, policyAuth, gateway.KeyUsage
				p.eku = []asn1.ObjectIdentifier{ekuClient, ekuPerson}
			}),
		citizen("citizen-revoked-ca", iin("82040520017"), "ПОД ОТОЗВАННЫМ УЦ", "ЖАННА", "ИВАНОВНА", "Good in itself, but its issuing CA was revoked.").but(foreignCA("issuing-revoked", gateway.IssuerRevoked)),
		citizen("citizen-same-name-ca", iin("90010120001"), "АХМЕТОВА", "АЙГЕРІМ", "СЕРІКҚЫЗЫ", "A forgery of citizen-01 by a CA that has the right name and the wrong key.").but(foreignCA("same-name-issuing", gateway.CertificateSignature)),
		citizen("citizen-other-ca", iin("90010120001"), "АХМЕТОВА", "АЙГЕРІМ", "СЕРІКҚЫЗЫ", "citizen-01's IIN in a certificate of a plainly different CA.").but(foreignCA("other-issuing", gateway.NoIssuer)),
		citizen("citizen-two-iins", iin("90010120001"), "ДВОЙНАЯ", "ЗОЯ", "ИВАНОВНА", "Two serialNumber attributes: the first is citizen-01's IIN, the second another (R4a).").
			but(func(p *plan) { p.extraIIN, p.Expect = iin("82040520018"), gateway.IINMultiple }),
		citizen("citizen-no-iin", "", "БЕЗЫМЯННЫЙ", "ИЛЬЯ", "ИВАНОВИЧ", "No serialNumber in the subject (R4a).").
			but(func(p *plan) { p.Expect = gateway.IINMissing }),
		citizen("citizen-bad-check-digit", badDigit(iin("82040520019")), "ОШИБОЧНАЯ", "КЛАРА", "ИВАНОВНА", "The IIN's check digit is wrong: refused, unless the root is configured with Anchor.Test, which relaxes just this.").
			but(func(p *plan) { p.Expect = gateway.IINChecksum }),

		member("employee", RoleEmployee, ekuStaff, iin("85031510002"), "ИВАНОВ", "ПЁТР", "СЕРГЕЕВИЧ", employer, "citizen-02's key as an employee: it carries his IIN and is still not his own as a citizen.").but(notCitizen),
		member("head", RoleHead, ekuHead, iin("78112310003"), "НҰРЛАНОВ", "ЕРЛАН", "МАРАТҰЛЫ", employer, "citizen-03's key as the head of an organisation; not a citizen's.").but(notCitizen),

		member("provider-sko-head", RoleProviderHead, ekuHead, iin("66051510021"), "САДЫКОВ", "МАРАТ", "ОРАЗҰЛЫ", sko, "Head of the provider in Petropavl, North Kazakhstan; signs results (R7)."),
		member("provider-sko-executor", RoleExecutor, ekuSigner, iin("77020220022"), "ОРЛОВА", "НИНА", "ПАВЛОВНА", sko, "Responsible executor of the provider in Petropavl, with the right to sign."),
		member("provider-zhambyl-head", RoleProviderHead, ekuHead, iin("66051510023"), "БЕКОВ", "АСҚАР", "ТАЛҒАТҰЛЫ", zhambyl, "Head of the provider in Taraz, Zhambyl; signs results (R7)."),
		member("provider-zhambyl-executor", RoleExecutor, ekuSigner, iin("77020220024"), "ЛИ", "МАРИНА", "ЮРЬЕВНА", zhambyl, "Responsible executor of the provider in Taraz, with the right to sign."),
		member("provider-foreign-head", RoleProviderHead, ekuHead, iin("66051510025"), "ЧУЖОЙ", "ЛЕВ", "ПЕТРОВИЧ", foreign, "Head of an organisation that is no provider: a result signed with it is for another BIN.").but(func(p *plan) { p.Expect = gateway.BINMismatch }),
		member("provider-foreign-executor", RoleExecutor, ekuSigner, iin("77020220026"), "ЧУЖАЯ", "ИННА", "ПЕТРОВНА", foreign, "Executor of an organisation that is no provider.").but(func(p *plan) { p.Expect = gateway.BINMismatch }),

		system("system-gateway", "ШЛЮЗ ЖИЛИЩНОЙ ПОМОЩИ", operator, "The gateway's own key: signs receipts and its SHEP messages."),
		system("system-portal", "ПОРТАЛ", portal, "The portal's key: signs its SHEP messages."),
		system("system-state", "ГОСУДАРСТВЕННЫЕ СИСТЕМЫ", state, "The state information systems' key: signs their SHEP answers."),
	}
}

func ocspSigner(id, issuer, purpose string) plan {
	p := plan{cn: "TEST ONLY OCSP RESPONDER", ku: x509.KeyUsageDigitalSignature, eku: []asn1.ObjectIdentifier{ekuOCSP}, noCheck: true, notBefore: year(2026), notAfter: year(2036)}
	p.ID, p.Role, p.Issuer, p.Purpose, p.Status = id, RoleOCSP, issuer, purpose, Status{State: Good}
	p.Organisation = "TEST ONLY ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ"
	return p
}

func badDigit(good string) string {
	return good[:11] + string('0'+(good[11]-'0'+1)%10)
}
