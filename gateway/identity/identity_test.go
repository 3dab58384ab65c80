package identity_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"sync"
	"testing"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/identity"
	"egov-gateway/gateway/trust"
)

// load reads the test PKI once; checking forty private keys takes milliseconds.
var load = sync.OnceValues(testpki.Load)

func pki(t testing.TB) *testpki.PKI {
	t.Helper()
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func iin(t testing.TB, s string) gateway.IIN {
	t.Helper()
	n, err := gateway.ParseIIN(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func certificate(t testing.TB, e *testpki.Entry) *trust.Certificate {
	t.Helper()
	c, err := trust.ParseCertificate(e.DER)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An attribute of a forged subject; those with the same rdn stand in one RDN.
type attribute struct {
	rdn   int
	oid   asn1.ObjectIdentifier
	tag   int
	value string
}

var (
	cn     = asn1.ObjectIdentifier{2, 5, 4, 3}
	serial = asn1.ObjectIdentifier{2, 5, 4, 5}
	org    = asn1.ObjectIdentifier{2, 5, 4, 10}
	unit   = asn1.ObjectIdentifier{2, 5, 4, 11}
	person = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 1}
	legal  = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2}
	head   = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 1}
)

const (
	printable = asn1.TagPrintableString
	utf8      = asn1.TagUTF8String
	bmp       = asn1.TagBMPString
	ia5       = asn1.TagIA5String
)

func forged(t testing.TB, roles []asn1.ObjectIdentifier, subject ...attribute) *trust.Certificate {
	t.Helper()
	var rdns pkix.RDNSequence
	for i, a := range subject {
		v := pkix.AttributeTypeAndValue{Type: a.oid, Value: asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)}}
		if i > 0 && a.rdn == subject[i-1].rdn {
			rdns[len(rdns)-1] = append(rdns[len(rdns)-1], v)
			continue
		}
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{v})
	}
	raw, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	p := pki(t)
	ca := p.Must("issuing")
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), RawSubject: raw, NotBefore: testpki.At.AddDate(-1, 0, 0), NotAfter: testpki.At.AddDate(1, 0, 0),
		UnknownExtKeyUsage: roles,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.X509(), p.Must("citizen-01").Signer.Public(), ca.Signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := trust.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// R4a: every way in which a subject can pretend to be another citizen.
func TestBindCitizen(t *testing.T) {
	citizen, stranger := pki(t).Must("citizen-01").IIN, pki(t).Must("citizen-02").IIN
	other := citizen[:11] + string('0'+(citizen[11]-'0'+1)%10) // one digit differs
	asPerson := []asn1.ObjectIdentifier{person}
	tests := []struct {
		name    string
		roles   []asn1.ObjectIdentifier
		subject []attribute
		test    bool
		want    gateway.Reason
	}{
		{"the citizen", asPerson, []attribute{{1, cn, utf8, "x"}, {2, serial, printable, "IIN" + citizen}}, false, ""},
		{"the citizen as UTF8String", asPerson, []attribute{{1, serial, utf8, "IIN" + citizen}}, false, ""},
		{"#39 two serialNumbers, the second is the request's", asPerson, []attribute{{1, serial, printable, "IIN" + stranger}, {2, serial, printable, "IIN" + citizen}}, false, gateway.IINMultiple},
		{"#39 two serialNumbers, the first is the request's", asPerson, []attribute{{1, serial, printable, "IIN" + citizen}, {2, serial, printable, "IIN" + stranger}}, false, gateway.IINMultiple},
		{"#39 the same serialNumber twice", asPerson, []attribute{{1, serial, printable, "IIN" + citizen}, {2, serial, printable, "IIN" + citizen}}, false, gateway.IINMultiple},
		{"#40 the IIN in the common name alone", asPerson, []attribute{{1, cn, utf8, "IIN" + citizen}}, false, gateway.IINMissing},
		{"#41 lower case", asPerson, []attribute{{1, serial, printable, "iin" + citizen}}, false, gateway.IINFormat},
		{"#41 a space behind", asPerson, []attribute{{1, serial, printable, "IIN" + citizen + " "}}, false, gateway.IINFormat},
		{"#41 a space in front", asPerson, []attribute{{1, serial, printable, " IIN" + citizen}}, false, gateway.IINFormat},
		{"#41 NUL behind", asPerson, []attribute{{1, serial, utf8, "IIN" + citizen + "\x00"}}, false, gateway.IINFormat},
		{"#41 BMPString", asPerson, []attribute{{1, serial, bmp, "\x00I\x00I\x00N" + "\x00" + strings.Join(strings.Split(citizen, ""), "\x00")}}, false, gateway.IINFormat},
		{"#41 IA5String", asPerson, []attribute{{1, serial, ia5, "IIN" + citizen}}, false, gateway.IINFormat},
		{"#42 Cyrillic І in IIN", asPerson, []attribute{{1, serial, utf8, "ІІN" + citizen}}, false, gateway.IINFormat},
		{"#42 full-width digits", asPerson, []attribute{{1, serial, utf8, "IIN１２３４５６７８９０１２"}}, false, gateway.IINFormat},
		{"#42 full-width digits of twelve octets", asPerson, []attribute{{1, serial, utf8, "IIN１２３４"}}, false, gateway.IINFormat},
		{"without the letters", asPerson, []attribute{{1, serial, printable, citizen}}, false, gateway.IINFormat},
		{"#43 common name and serialNumber in one RDN", asPerson, []attribute{{1, cn, utf8, "x"}, {1, serial, printable, "IIN" + citizen}}, false, gateway.IINMultiple},
		{"#44 one digit differs and with it the check digit", asPerson, []attribute{{1, serial, printable, "IIN" + other}}, false, gateway.IINChecksum},
		{"#44 another citizen", asPerson, []attribute{{1, serial, printable, "IIN" + stranger}}, false, gateway.IINMismatch},
		{"#46 thirteen digits", asPerson, []attribute{{1, serial, printable, "IIN" + citizen + "0"}}, false, gateway.IINFormat},
		{"#46 eleven digits", asPerson, []attribute{{1, serial, printable, "IIN" + citizen[:11]}}, false, gateway.IINFormat},
		{"below a test anchor one digit differs", asPerson, []attribute{{1, serial, printable, "IIN" + other}}, true, gateway.IINMismatch},
		{"below a test anchor the form still counts", asPerson, []attribute{{1, serial, printable, "iin" + citizen}}, true, gateway.IINFormat},
		{"an employee's key with the right IIN", []asn1.ObjectIdentifier{legal}, []attribute{{1, serial, printable, "IIN" + citizen}, {2, org, utf8, "x"}, {3, unit, utf8, "BIN123456789012"}}, false, gateway.NotACitizen},
		{"an organisation named, the role a person's", asPerson, []attribute{{1, serial, printable, "IIN" + citizen}, {2, org, utf8, "x"}}, false, gateway.NotACitizen},
		{"a unit named, the role a person's", asPerson, []attribute{{1, serial, printable, "IIN" + citizen}, {2, unit, utf8, "x"}}, false, gateway.NotACitizen},
		{"no organisation named, the role a head's", []asn1.ObjectIdentifier{person, head}, []attribute{{1, serial, printable, "IIN" + citizen}}, false, gateway.NotACitizen},
		{"an empty subject", asPerson, nil, false, gateway.IINMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := identity.BindCitizen(forged(t, tt.roles, tt.subject...), iin(t, citizen), tt.test)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Errorf("%q (%v), want %q", got, err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), citizen[:6]) || strings.Contains(err.Error(), stranger[:6])) {
				t.Errorf("the error tells the number: %v", err)
			}
		})
	}
	if gateway.ReasonOf(identity.BindCitizen(certificate(t, pki(t).Must("citizen-01")), gateway.IIN{}, false)) != gateway.IINMismatch {
		t.Error("nobody is taken for a citizen")
	}
}

func TestBindOrganisation(t *testing.T) {
	p := pki(t)
	ours, err := gateway.ParseBIN(p.Must("provider-sko-head").BIN)
	if err != nil {
		t.Fatal(err)
	}
	bin := "BIN" + ours.String()
	roles := []asn1.ObjectIdentifier{legal}
	tests := []struct {
		name    string
		subject []attribute
		want    gateway.Reason
	}{
		{"the provider", []attribute{{1, unit, utf8, bin}}, ""},
		{"#45 another organisation", []attribute{{1, unit, utf8, "BIN" + p.Must("provider-foreign-head").BIN}}, gateway.BINMismatch},
		{"no BIN", []attribute{{1, org, utf8, bin}}, gateway.BINMissing},
		{"two units", []attribute{{1, unit, utf8, bin}, {2, unit, utf8, "Отдел"}}, gateway.BINMissing},
		{"lower case", []attribute{{1, unit, utf8, "bin" + ours.String()}}, gateway.BINMissing},
		{"in one RDN with the name", []attribute{{1, org, utf8, "x"}, {1, unit, utf8, bin}}, gateway.BINMissing},
		{"a wrong check digit", []attribute{{1, unit, utf8, bin[:14] + string('0'+(bin[14]-'0'+1)%10)}}, gateway.BINMissing},
		{"an IIN where the BIN stands", []attribute{{1, unit, utf8, "IIN" + p.Must("citizen-01").IIN}}, gateway.BINMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := identity.BindOrganisation(forged(t, roles, tt.subject...), ours, false)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Errorf("%q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestHoldersOfTheTestPKI(t *testing.T) {
	kinds := map[testpki.Role]identity.Kind{
		testpki.RoleCitizen: identity.Person, testpki.RoleEmployee: identity.Employee, testpki.RoleExecutor: identity.Employee,
		testpki.RoleHead: identity.Head, testpki.RoleProviderHead: identity.Head, testpki.RoleSystem: identity.InformationSystem,
	}
	for _, e := range pki(t).Entries() {
		kind, ok := kinds[e.Role]
		if !ok {
			continue
		}
		t.Run(e.ID, func(t *testing.T) {
			h, err := identity.Of(certificate(t, e), false)
			switch want := e.Expect; want {
			case gateway.IINMissing, gateway.IINMultiple, gateway.IINChecksum:
				if gateway.ReasonOf(err) != want {
					t.Errorf("%v, want %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Kind != kind || h.IIN.Reveal() != e.IIN || h.BIN.String() != e.BIN {
				t.Errorf("%s with BIN %q", h.Kind, h.BIN)
			}
		})
	}
	h, err := identity.Of(certificate(t, pki(t).Must("citizen-bad-check-digit")), true)
	if err != nil || h.IIN.IsZero() {
		t.Errorf("a test anchor does not relax the check digit: %v", err)
	}
	h, err = identity.Of(forged(t, []asn1.ObjectIdentifier{legal}, attribute{1, org, utf8, "x"}, attribute{2, unit, utf8, "BIN" + pki(t).Must("employee").BIN}), false)
	if err != nil || h.Kind != identity.Organisation || !h.IIN.IsZero() {
		t.Errorf("an organisation without a person: %s, %v", h.Kind, err)
	}
	if _, err := identity.Of(forged(t, []asn1.ObjectIdentifier{person}, attribute{1, org, utf8, "x"}), false); gateway.ReasonOf(err) != gateway.BINMissing {
		t.Errorf("an organisation without BIN: %v", err)
	}
}
