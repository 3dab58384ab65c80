package revocation

import (
	"bytes"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// index reads the entries into the table. A large list is mostly one shape of entry, so that
// shape is read by hand and the others with the general reader.
func (c *CRL) index() error {
	// Nearly all entries have the size of the first.
	_, first, _, ok := next(c.entries)
	if len(c.entries) > 0 && !ok {
		return untrusted("an entry of the CRL is malformed")
	}
	f := fill(len(c.entries)/(len(first)+2) + 1)
	for rest := c.entries; len(rest) > 0; {
		tag, body, after, ok := next(rest)
		rest = after
		if !ok || tag != 0x30 {
			return untrusted("an entry of the CRL is malformed")
		}
		e, err := readEntry(body)
		if err != nil {
			return err
		}
		if e.reason == RemoveFromCRL && !c.Delta() {
			return untrusted("removeFromCRL in a full CRL")
		}
		f.add(e)
	}
	c.table = f.done()
	return nil
}

// next splits one DER element with a one-octet tag off b. Lengths must be minimal.
func next(b []byte) (tag byte, body, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false
	}
	length, head := int(b[1]), 2
	if length >= 0x80 {
		octets := length & 0x7f
		if octets == 0 || octets > 4 || len(b) < 2+octets || b[2] == 0 {
			return 0, nil, nil, false
		}
		length, head = 0, 2+octets
		for _, o := range b[2:head] {
			length = length<<8 | int(o)
		}
		if length < 0x80 {
			return 0, nil, nil, false
		}
	}
	if length > len(b)-head {
		return 0, nil, nil, false
	}
	return b[0], b[head : head+length], b[head+length:], true
}

// reasonOnly is SEQUENCE { SEQUENCE { reasonCode, OCTET STRING { ENUMERATED … } } } without the code itself.
var reasonOnly = [...]byte{0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01}

// A listed is one entry as it is read.
type listed struct {
	serial     []byte
	seconds    int64 // since 1970
	reason     CRLReason
	hasInvalid bool
	invalid    int64 // invalidityDate, seconds since 1970
}

func readEntry(body []byte) (e listed, err error) {
	tag, number, rest, ok := next(body)
	if !ok || tag != 0x02 || len(number) == 0 || len(number) > 20 || number[0]&0x80 != 0 ||
		number[0] == 0 && (len(number) == 1 || number[1]&0x80 == 0) {
		return e, untrusted("a serial number in the CRL is malformed")
	}
	if number[0] == 0 {
		number = number[1:]
	}
	tag, when, extensions, ok := next(rest)
	if ok && tag == 0x17 && len(when) == 13 && when[12] == 'Z' {
		e.seconds, ok = utcSeconds(when)
	} else if ok {
		s := cryptobyte.String(rest)
		e.seconds, ok = generalSeconds(&s)
	}
	if !ok {
		return e, untrusted("a revocation date in the CRL is malformed")
	}
	switch {
	case len(extensions) == 0:
	case len(extensions) == len(reasonOnly)+1 && bytes.HasPrefix(extensions, reasonOnly[:]):
		e.reason = CRLReason(extensions[len(reasonOnly)])
	default:
		if err = e.readExtensions(extensions); err != nil {
			return e, err
		}
	}
	if e.reason > 10 || e.reason == 7 {
		return e, untrusted("an unknown reason code in the CRL")
	}
	e.serial = number
	return e, nil
}

func (l *listed) readExtensions(raw []byte) error {
	in := cryptobyte.String(raw)
	var list []trust.Extension
	if !trust.ReadExtensions(&in, &list) || !in.Empty() {
		return untrusted("the extensions of an entry are malformed")
	}
	for _, e := range list {
		switch e.ID {
		case "2.5.29.21":
			var ok bool
			if l.reason, ok = readReason(e.Value); !ok {
				return untrusted("a reason code is malformed")
			}
		case oidInvalidity:
			at, ok := readInvalidity(e.Value)
			if !ok {
				return untrusted("an invalidityDate is malformed")
			}
			l.hasInvalid, l.invalid = true, at.Unix()
		case "2.5.29.29":
			return gateway.Errorf(gateway.EvidenceScope, "an entry of another issuer's certificate")
		default:
			if e.Critical {
				return gateway.Errorf(gateway.EvidenceScope, "an entry has the unknown critical extension %s", e.ID)
			}
		}
	}
	return nil
}

const oidInvalidity = trust.OID("2.5.29.24")

// readInvalidity reads an invalidityDate (RFC 5280 §5.3.2).
func readInvalidity(v cryptobyte.String) (at time.Time, ok bool) {
	ok = trust.ReadGeneralizedTime(&v, &at) && v.Empty()
	return at, ok
}

func readReason(v cryptobyte.String) (CRLReason, bool) {
	var body cryptobyte.String
	if !v.ReadASN1(&body, cbasn1.ENUM) || !v.Empty() || len(body) != 1 || body[0] > 10 || body[0] == 7 {
		return 0, false
	}
	return CRLReason(body[0]), true
}
