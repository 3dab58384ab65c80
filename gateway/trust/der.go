package trust

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// An OID is an object identifier in dotted form; two are equal when the strings are.
type OID string

// Under reports whether o is arc itself or an identifier below it.
func (o OID) Under(arc OID) bool {
	return o == arc || strings.HasPrefix(string(o), string(arc)+".")
}

// ReadOID reads an OBJECT IDENTIFIER of minimal encoding whose arcs fit into 63 bits.
func ReadOID(s *cryptobyte.String, out *OID) bool {
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.OBJECT_IDENTIFIER) || len(body) == 0 || len(body) > 128 {
		return false
	}
	text := make([]byte, 0, 32)
	var arc uint64
	start := true
	for _, b := range body {
		if start && b == 0x80 || arc > 1<<56 {
			return false
		}
		arc = arc<<7 | uint64(b&0x7f)
		if start = b&0x80 == 0; !start {
			continue
		}
		if len(text) == 0 {
			first := min(arc/40, 2)
			text = strconv.AppendUint(text, first, 10)
			arc -= first * 40
		}
		text = strconv.AppendUint(append(text, '.'), arc, 10)
		arc = 0
	}
	if !start {
		return false
	}
	*out = OID(text)
	return true
}

// ReadTime reads a UTCTime or GeneralizedTime in the only forms that RFC 5280 §4.1.2.5 leaves:
// seconds present, Z, no fractions.
func ReadTime(s *cryptobyte.String, out *time.Time) bool {
	var body cryptobyte.String
	var tag cbasn1.Tag
	if !s.ReadAnyASN1(&body, &tag) {
		return false
	}
	text := string(body)
	switch {
	case tag == cbasn1.UTCTime && len(text) == 13:
		// RFC 5280: YY >= 50 is 19YY.
		if text[0] >= '5' {
			text = "19" + text
		} else {
			text = "20" + text
		}
	case tag == cbasn1.GeneralizedTime && len(text) == 15:
	default:
		return false
	}
	t, err := time.Parse("20060102150405Z", text)
	if err != nil || t.Format("20060102150405Z") != text {
		return false
	}
	*out = t
	return true
}

// ReadGeneralizedTime is [ReadTime] for fields that allow no UTCTime (RFC 6960).
func ReadGeneralizedTime(s *cryptobyte.String, out *time.Time) bool {
	return s.PeekASN1Tag(cbasn1.GeneralizedTime) && ReadTime(s, out)
}

// ReadSerial reads a positive INTEGER of at most twenty octets (RFC 5280 §4.1.2.2) and gives its
// magnitude without the sign octet, so that equal numbers are equal bytes.
func ReadSerial(s *cryptobyte.String, out *[]byte) bool {
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.INTEGER) || len(body) == 0 || len(body) > 20 || body[0]&0x80 != 0 {
		return false
	}
	if body[0] == 0 {
		if len(body) == 1 || body[1]&0x80 == 0 {
			return false // zero, or a padded encoding
		}
		body = body[1:]
	}
	*out = body
	return true
}

// An Extension is one X.509 extension as it stands in a certificate, CRL, CRL entry or OCSP answer.
type Extension struct {
	ID       OID
	Critical bool
	Value    cryptobyte.String
}

// Why a list of extensions was refused.
type extensionFault int

const (
	extensionsFine extensionFault = iota
	extensionsBroken
	extensionsTwice
	extensionsMany
)

// maxExtensions is far above what any profile uses.
const maxExtensions = 32

// ReadExtensions reads a non-empty SEQUENCE OF Extension without repetition. DER forbids the
// default written out (critical FALSE).
func ReadExtensions(s *cryptobyte.String, out *[]Extension) bool {
	list, fault := readExtensions(s)
	*out = list
	return fault == extensionsFine
}

func readExtensions(s *cryptobyte.String) ([]Extension, extensionFault) {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || seq.Empty() {
		return nil, extensionsBroken
	}
	var list []Extension
	for !seq.Empty() {
		var e Extension
		var one cryptobyte.String
		if !seq.ReadASN1(&one, cbasn1.SEQUENCE) || !ReadOID(&one, &e.ID) {
			return nil, extensionsBroken
		}
		if one.PeekASN1Tag(cbasn1.BOOLEAN) && (!one.ReadASN1Boolean(&e.Critical) || !e.Critical) {
			return nil, extensionsBroken
		}
		if !one.ReadASN1(&e.Value, cbasn1.OCTET_STRING) || !one.Empty() {
			return nil, extensionsBroken
		}
		for _, earlier := range list {
			if earlier.ID == e.ID {
				return nil, extensionsTwice
			}
		}
		if list = append(list, e); len(list) > maxExtensions {
			return nil, extensionsMany
		}
	}
	return list, extensionsFine
}

// readSequence reads a SEQUENCE that is the whole of value.
func readSequence(value cryptobyte.String, out *cryptobyte.String) bool {
	return value.ReadASN1(out, cbasn1.SEQUENCE) && value.Empty()
}

func context(n uint8) cbasn1.Tag     { return cbasn1.Tag(n).ContextSpecific() }
func constructed(n uint8) cbasn1.Tag { return context(n).Constructed() }
