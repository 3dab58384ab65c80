package trust

import (
	"bytes"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Attribute types of the NCA's subjects.
const (
	OIDCommonName   OID = "2.5.4.3"
	OIDSurname      OID = "2.5.4.4"
	OIDSerialNumber OID = "2.5.4.5" // IIN and twelve digits
	OIDCountry      OID = "2.5.4.6"
	OIDOrganisation OID = "2.5.4.10"
	OIDUnit         OID = "2.5.4.11" // BIN and twelve digits
	OIDGivenName    OID = "2.5.4.42" // holds the patronymic
	OIDUserID       OID = "0.9.2342.19200300.100.1.1"
)

// A StringType is the ASN.1 type of an attribute value.
type StringType byte

const (
	UTF8String      = StringType(cbasn1.UTF8String)
	PrintableString = StringType(cbasn1.PrintableString)
	NumericString   = StringType(18)
	TeletexString   = StringType(cbasn1.T61String)
	IA5String       = StringType(cbasn1.IA5String)
	BMPString       = StringType(30)
)

// An Attribute is one type and value of a distinguished name.
type Attribute struct {
	Type     OID
	Encoding StringType
	Raw      []byte // the octets of the value as they are encoded
	Value    string // decoded to UTF-8
}

// An RDN is a relative distinguished name: usually one attribute, sometimes several at once.
type RDN []Attribute

// A Name is a distinguished name in the order of its encoding. It is personal data.
type Name []RDN

// maxAttributes bounds the attributes of one name: the NCA's have about ten.
const maxAttributes = 64

// readName reads a Name. Values must be strings of their type; the SET OF must be in DER order.
func readName(s *cryptobyte.String, raw *[]byte, out *Name) bool {
	var element, seq cryptobyte.String
	if !s.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return false
	}
	*raw = element
	if !readSequence(element, &seq) {
		return false
	}
	var n Name
	attributes := 0
	for !seq.Empty() {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, cbasn1.SET) || set.Empty() {
			return false
		}
		var rdn RDN
		var previous cryptobyte.String
		for !set.Empty() {
			var e, pair cryptobyte.String
			var a Attribute
			if !set.ReadASN1Element(&e, cbasn1.SEQUENCE) || previous != nil && bytes.Compare(previous, e) >= 0 {
				return false
			}
			previous = e
			if !readSequence(e, &pair) || !readAttribute(pair, &a) {
				return false
			}
			if attributes++; attributes > maxAttributes {
				return false
			}
			rdn = append(rdn, a)
		}
		n = append(n, rdn)
	}
	*out = n
	return true
}

func readAttribute(pair cryptobyte.String, a *Attribute) bool {
	var body cryptobyte.String
	var tag cbasn1.Tag
	if !ReadOID(&pair, &a.Type) || !pair.ReadAnyASN1(&body, &tag) || !pair.Empty() || len(body) == 0 {
		return false
	}
	a.Encoding, a.Raw = StringType(tag), body
	ascii := func(ok func(byte) bool) bool {
		for _, b := range body {
			if !ok(b) {
				return false
			}
		}
		a.Value = string(body)
		return true
	}
	switch a.Encoding {
	case UTF8String:
		a.Value = string(body)
		return utf8.Valid(body)
	case PrintableString:
		return ascii(printable)
	case NumericString:
		return ascii(func(b byte) bool { return b == ' ' || '0' <= b && b <= '9' })
	case IA5String:
		return ascii(func(b byte) bool { return b < 0x80 })
	case TeletexString:
		// Read as ISO 8859-1, as everybody does; it is compared, never trusted.
		r := make([]rune, len(body))
		for i, b := range body {
			r[i] = rune(b)
		}
		a.Value = string(r)
		return true
	case BMPString:
		if len(body)%2 != 0 {
			return false
		}
		u := make([]uint16, len(body)/2)
		for i := range u {
			u[i] = uint16(body[2*i])<<8 | uint16(body[2*i+1])
			if utf16.IsSurrogate(rune(u[i])) {
				return false
			}
		}
		a.Value = string(utf16.Decode(u))
		return true
	}
	return false
}

// printable is the alphabet of X.680 §41.4, and '*' and '&', which real CAs use in
// organisations' names and which every other reader lets pass.
func printable(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		strings.IndexByte(" '()+,-./:=?*&", b) >= 0
}

var shortNames = map[OID]string{
	OIDCommonName: "CN", OIDSurname: "SURNAME", OIDSerialNumber: "SERIALNUMBER", OIDCountry: "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "STREET", OIDOrganisation: "O", OIDUnit: "OU", "2.5.4.12": "TITLE", "2.5.4.15": "BUSINESSCATEGORY",
	OIDGivenName: "GIVENNAME", OIDUserID: "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "E",
}

// String writes the name as RFC 4514 does, last RDN first. It is personal data: for the
// signed-in reader of a verdict, never for logs.
func (n Name) String() string {
	var b strings.Builder
	for i := len(n) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for j, a := range n[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			short, ok := shortNames[a.Type]
			if !ok {
				b.WriteString(string(a.Type))
				b.WriteString("=#")
				element := append([]byte{byte(a.Encoding)}, lengthOctets(len(a.Raw))...)
				b.WriteString(hex.EncodeToString(append(element, a.Raw...)))
				continue
			}
			b.WriteString(short)
			b.WriteByte('=')
			escape(&b, a.Value)
		}
	}
	return b.String()
}

func lengthOctets(n int) []byte {
	switch {
	case n < 0x80:
		return []byte{byte(n)}
	case n < 0x100:
		return []byte{0x81, byte(n)}
	}
	return []byte{0x82, byte(n >> 8), byte(n)}
}

// escape follows RFC 4514 §2.4 and hides control characters too, so that a terminal shows one line.
func escape(b *strings.Builder, s string) {
	for i, r := range s {
		edge := i == 0 && (r == ' ' || r == '#') || r == ' ' && i == len(s)-1
		switch {
		case edge || strings.ContainsRune(`"+,;<>\`, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			for _, c := range []byte(string(r)) {
				b.WriteString(`\` + hex.EncodeToString([]byte{c}))
			}
		default:
			b.WriteRune(r)
		}
	}
}

// Values returns the values of one attribute type in the order of the name.
func (n Name) Values(t OID) []Attribute {
	var out []Attribute
	for _, rdn := range n {
		for _, a := range rdn {
			if a.Type == t {
				out = append(out, a)
			}
		}
	}
	return out
}

// within reports whether n lies in the subtree below base. Values are compared without regard
// to string type, case and runs of spaces (RFC 5280 §7.1): a constraint that excludes must not
// be escaped by another spelling.
func (n Name) within(base Name) bool {
	if len(n) < len(base) {
		return false
	}
	for i, want := range base {
		if len(n[i]) != len(want) {
			return false
		}
		for _, w := range want {
			found := false
			for _, a := range n[i] {
				found = found || a.Type == w.Type && folded(a.Value) == folded(w.Value)
			}
			if !found {
				return false
			}
		}
	}
	return true
}

func folded(s string) string {
	return strings.Map(foldRune, strings.Join(strings.Fields(s), " "))
}

// foldRune maps every member of a case-folding orbit to its smallest, so that letters equal
// under [strings.EqualFold] become the same.
func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}
