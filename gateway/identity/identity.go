// Package identity reads from a registration certificate whom it names, and binds that to
// whom a document names: «ИИН в запросе = ИИН в РС» of the regulation (R4a), and the BIN of
// the organisation that answers (R7).
//
// Names are not trusted to be well made. The IIN must stand where the NCA puts it, once, in
// the one form it uses; anything else is refused rather than guessed, because a second
// reading of the same subject is a second citizen.
package identity

import (
	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A Kind says in which quality the holder of a key acts.
type Kind string

const (
	Person            Kind = "person"             // a citizen as such
	Employee          Kind = "employee"           // someone who may act for an organisation
	Head              Kind = "head"               // its first head
	Organisation      Kind = "organisation"       // the organisation itself, no person named
	InformationSystem Kind = "information-system" // a system of the organisation
)

// A Holder is whom a certificate names.
type Holder struct {
	IIN  gateway.IIN // zero for organisations and their systems
	BIN  gateway.BIN // zero for persons
	Kind Kind
}

// Of reads the holder from the subject and the roles. With test, for certificates below a test
// anchor only ([trust.Path]), the numbers need not obey the national rules; their form must
// be right all the same.
//
// The error carries [gateway.IINMissing], [gateway.IINMultiple], [gateway.IINFormat] or
// [gateway.IINChecksum], for organisations [gateway.BINMissing]; never the number.
func Of(c *trust.Certificate, test bool) (Holder, error) {
	if !ofOrganisation(c) {
		n, err := iin(c, test)
		return Holder{IIN: n, Kind: Person}, err
	}
	b, err := bin(c, test)
	if err != nil {
		return Holder{}, err
	}
	h := Holder{BIN: b, Kind: Employee}
	switch {
	case c.IsInformationSystem():
		h.Kind = InformationSystem
	case len(c.Subject.Values(trust.OIDSerialNumber)) == 0:
		h.Kind = Organisation
	case c.HasRole(trust.RoleHead):
		h.Kind = Head
	}
	if len(c.Subject.Values(trust.OIDSerialNumber)) > 0 {
		h.IIN, err = iin(c, test)
	}
	if err != nil {
		return Holder{}, err
	}
	return h, nil
}

// BindCitizen returns nil if c is a person's own certificate and names exactly iin (R4a).
//
// Keys of employees and heads carry their holder's IIN too. They are refused with
// [gateway.NotACitizen]: what a person signs for an employer is not signed as a citizen.
// Another person's key is refused with [gateway.IINMismatch]; numbers are compared in
// constant time. Other errors are those of [Of].
func BindCitizen(c *trust.Certificate, n gateway.IIN, test bool) error {
	if ofOrganisation(c) {
		return gateway.Errorf(gateway.NotACitizen, "the key belongs to an organisation's employee, head or system")
	}
	held, err := iin(c, test)
	if err != nil {
		return err
	}
	if !held.Equal(n) {
		return gateway.Errorf(gateway.IINMismatch, "the certificate names another person than the document")
	}
	return nil
}

// BindOrganisation returns nil if c is an organisation's certificate and names exactly bin.
// The error carries [gateway.BINMissing] or [gateway.BINMismatch].
func BindOrganisation(c *trust.Certificate, n gateway.BIN, test bool) error {
	held, err := bin(c, test)
	if err != nil {
		return err
	}
	if !held.Equal(n) {
		return gateway.Errorf(gateway.BINMismatch, "the certificate names another organisation than expected")
	}
	return nil
}

// ofOrganisation reports whether anything in the certificate speaks of an organisation. One
// sign is enough: a role without a name or a name without a role is no citizen's either.
func ofOrganisation(c *trust.Certificate) bool {
	return c.HasLegalRole() || len(c.Subject.Values(trust.OIDOrganisation)) > 0 || len(c.Subject.Values(trust.OIDUnit)) > 0
}

func iin(c *trust.Certificate, test bool) (gateway.IIN, error) {
	value, alone, count := single(c.Subject, trust.OIDSerialNumber)
	switch {
	case count == 0:
		return gateway.IIN{}, gateway.Errorf(gateway.IINMissing, "the subject has no serialNumber")
	case count > 1:
		return gateway.IIN{}, gateway.Errorf(gateway.IINMultiple, "the subject has %d serialNumber attributes", count)
	case !alone:
		return gateway.IIN{}, gateway.Errorf(gateway.IINMultiple, "serialNumber shares its RDN with another attribute")
	}
	digits, ok := numbered(value, "IIN")
	if !ok {
		return gateway.IIN{}, gateway.Errorf(gateway.IINFormat, "serialNumber is not IIN and twelve digits")
	}
	if test {
		return gateway.ParseTestIIN(digits)
	}
	n, err := gateway.ParseIIN(digits)
	if err != nil {
		return gateway.IIN{}, gateway.Errorf(gateway.IINChecksum, "the IIN in the certificate breaks the rules of such numbers")
	}
	return n, nil
}

func bin(c *trust.Certificate, test bool) (gateway.BIN, error) {
	value, alone, count := single(c.Subject, trust.OIDUnit)
	digits, ok := numbered(value, "BIN")
	if count != 1 || !alone || !ok {
		return gateway.BIN{}, gateway.Errorf(gateway.BINMissing, "the subject has not exactly one OU of BIN and twelve digits")
	}
	if test {
		return gateway.ParseTestBIN(digits)
	}
	n, err := gateway.ParseBIN(digits)
	if err != nil {
		return gateway.BIN{}, gateway.Errorf(gateway.BINMissing, "the BIN in the certificate breaks the rules of such numbers")
	}
	return n, nil
}

// single counts the attributes of type t in the whole subject and returns the last; alone
// tells whether it is the only one of its RDN.
func single(n trust.Name, t trust.OID) (last trust.Attribute, alone bool, count int) {
	for _, rdn := range n {
		for _, a := range rdn {
			if a.Type == t {
				last, alone = a, len(rdn) == 1
				count++
			}
		}
	}
	return last, alone, count
}

// numbered returns the twelve digits behind prefix. It looks at the octets, not at a decoded
// text: no trimming, no case folding, no digits but 0-9.
func numbered(a trust.Attribute, prefix string) (string, bool) {
	if a.Encoding != trust.PrintableString && a.Encoding != trust.UTF8String || len(a.Raw) != len(prefix)+12 || string(a.Raw[:len(prefix)]) != prefix {
		return "", false
	}
	digits := a.Raw[len(prefix):]
	for _, d := range digits {
		if d < '0' || d > '9' {
			return "", false
		}
	}
	return string(digits), true
}
