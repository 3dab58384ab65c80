package trust

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxListed bounds key usages, policies and every other list of which something is kept: a
// certificate of 32 KB could hold thousands, and the NCA's hold five at most.
const maxListed = 64

const oidNoCheck OID = "1.3.6.1.5.5.7.48.1.5" // RFC 6960 §4.2.2.2.1

// readExtension takes what the profile knows out of e. known is false for an extension whose
// meaning is not processed here; ok is false for one that is malformed. A list of
// more than [maxListed] is not read to its end and sets overlong.
func (c *Certificate) readExtension(e Extension) (known, ok bool) {
	v := e.Value
	switch e.ID {
	case "2.5.29.15":
		return true, c.readKeyUsage(v)
	case "2.5.29.19":
		return true, c.readBasicConstraints(v)
	case "2.5.29.37":
		return true, c.readKeyUsages(v)
	case "2.5.29.14":
		var id cryptobyte.String
		ok = v.ReadASN1(&id, cbasn1.OCTET_STRING) && v.Empty() && len(id) > 0
		c.SubjectKeyID = id
		return true, ok
	case "2.5.29.35":
		return true, c.readAuthorityKeyID(v)
	case "2.5.29.32":
		return true, c.readPolicies(v)
	case "2.5.29.30":
		c.constraints = new(nameConstraints)
		ok = c.constraints.read(v)
		c.overlong = c.overlong || c.constraints.overlong
		return true, ok
	case "2.5.29.36", "2.5.29.33", "2.5.29.54":
		c.unprocessedPolicy = true
		return true, true
	case "2.5.29.17":
		// Only directory names matter here (name constraints); a critical one stays unknown.
		return false, c.readAlternativeNames(v)
	case "2.5.29.31":
		return false, c.readCRLPoints(v)
	case oidNoCheck:
		// Responders of the NCA carry it without the NULL that belongs there.
		c.NoCheck = true
		return true, len(v) == 0 || len(v) == 2 && v[0] == 5 && v[1] == 0
	}
	return false, true
}

func (c *Certificate) readKeyUsage(v cryptobyte.String) bool {
	var bits cryptobyte.String
	if !v.ReadASN1(&bits, cbasn1.BIT_STRING) || !v.Empty() || len(bits) < 2 || len(bits) > 3 {
		return false
	}
	unused, last := bits[0], bits[len(bits)-1]
	// A named bit list ends in its last one bit (X.690 §11.2.2); an empty one grants nothing and is refused.
	if unused > 7 || last&(1<<unused-1) != 0 || last>>unused&1 == 0 {
		return false
	}
	for i, b := range bits[1:] {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				c.KeyUsage |= 1 << (8*i + bit)
			}
		}
	}
	return c.KeyUsage < 1<<9
}

func (c *Certificate) readBasicConstraints(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !readSequence(v, &seq) {
		return false
	}
	if seq.PeekASN1Tag(cbasn1.BOOLEAN) && (!seq.ReadASN1Boolean(&c.IsCA) || !c.IsCA) {
		return false
	}
	if !seq.Empty() {
		// A path length beside cA FALSE means nothing (RFC 5280 §4.2.1.9).
		if !c.IsCA || !seq.ReadASN1Integer(&c.MaxPathLen) || c.MaxPathLen < 0 || c.MaxPathLen > 1<<20 {
			return false
		}
	}
	return seq.Empty()
}

// full reports whether a list has no room for one more, and remembers that there was one.
func (c *Certificate) full(length int) bool {
	c.overlong = c.overlong || length >= maxListed
	return length >= maxListed
}

// readKeyUsages reads a non-empty SEQUENCE OF OBJECT IDENTIFIER without repetition.
func (c *Certificate) readKeyUsages(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !readSequence(v, &seq) || seq.Empty() {
		return false
	}
	for !seq.Empty() {
		if c.full(len(c.ExtKeyUsage)) {
			return true
		}
		var id OID
		if !ReadOID(&seq, &id) || slices.Contains(c.ExtKeyUsage, id) {
			return false
		}
		c.ExtKeyUsage = append(c.ExtKeyUsage, id)
	}
	return true
}

func (c *Certificate) readAuthorityKeyID(v cryptobyte.String) bool {
	var seq, id, issuer, serial cryptobyte.String
	var hasID, hasIssuer, hasSerial bool
	if !readSequence(v, &seq) || !seq.ReadOptionalASN1(&id, &hasID, context(0)) ||
		!seq.ReadOptionalASN1(&issuer, &hasIssuer, constructed(1)) ||
		!seq.ReadOptionalASN1(&serial, &hasSerial, context(2)) || !seq.Empty() {
		return false
	}
	if hasID {
		c.AuthorityKeyID = id
	}
	c.namesIssuerKey = true
	// The NCA writes the root's key identifier as its serial there, so the pair is not compared.
	return hasIssuer == hasSerial && (!hasID || len(id) > 0)
}

func (c *Certificate) readPolicies(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !readSequence(v, &seq) || seq.Empty() {
		return false
	}
	for !seq.Empty() {
		if c.full(len(c.Policies)) {
			return true
		}
		var one, qualifiers cryptobyte.String
		var id OID
		if !seq.ReadASN1(&one, cbasn1.SEQUENCE) || !ReadOID(&one, &id) || slices.Contains(c.Policies, id) {
			return false
		}
		if !one.Empty() && (!one.ReadASN1(&qualifiers, cbasn1.SEQUENCE) || qualifiers.Empty() || !one.Empty()) {
			return false
		}
		c.Policies = append(c.Policies, id)
	}
	return true
}

func (c *Certificate) readAlternativeNames(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !readSequence(v, &seq) || seq.Empty() {
		return false
	}
	for !seq.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !seq.ReadAnyASN1(&value, &tag) || !generalName(tag) {
			return false
		}
		if tag != constructed(4) {
			continue
		}
		if c.full(len(c.directoryNames)) {
			return true
		}
		var raw []byte
		var n Name
		if !readName(&value, &raw, &n) || !value.Empty() {
			return false
		}
		c.directoryNames = append(c.directoryNames, n)
	}
	return true
}

// generalName reports whether tag is one of the nine of GeneralName (RFC 5280 §4.2.1.6).
func generalName(tag cbasn1.Tag) bool {
	switch tag {
	case constructed(0), context(1), context(2), constructed(3), constructed(4), constructed(5), context(6), context(7), context(8):
		return true
	}
	return false
}

// readCRLPoints keeps the URLs of full names (RFC 5280 §4.2.1.13).
func (c *Certificate) readCRLPoints(v cryptobyte.String) bool {
	var seq cryptobyte.String
	if !readSequence(v, &seq) || seq.Empty() {
		return false
	}
	for !seq.Empty() {
		var point, name, full cryptobyte.String
		var named bool
		if !seq.ReadASN1(&point, cbasn1.SEQUENCE) || !point.ReadOptionalASN1(&name, &named, constructed(0)) ||
			!point.SkipOptionalASN1(context(1)) || !point.SkipOptionalASN1(constructed(2)) || !point.Empty() {
			return false
		}
		if !named || name.PeekASN1Tag(constructed(1)) { // absent, or relative to the CRL issuer's name
			continue
		}
		if !name.ReadASN1(&full, constructed(0)) || !name.Empty() {
			return false
		}
		for !full.Empty() {
			var value cryptobyte.String
			var tag cbasn1.Tag
			if !full.ReadAnyASN1(&value, &tag) || !generalName(tag) {
				return false
			}
			if tag == context(6) {
				if c.full(len(c.CRLPoints)) {
					return true
				}
				c.CRLPoints = append(c.CRLPoints, string(value))
			}
		}
	}
	return true
}

// nameConstraints is the extension of RFC 5280 §4.2.1.10, for directory names alone.
type nameConstraints struct {
	permitted, excluded []Name
	// otherKind: a subtree of DNS names, addresses or the like, which is refused, never ignored.
	otherKind bool
	overlong  bool // more than maxListed of a kind, and not read to the end
}

func (n *nameConstraints) read(v cryptobyte.String) bool {
	var seq, permitted, excluded cryptobyte.String
	var hasPermitted, hasExcluded bool
	return readSequence(v, &seq) && !seq.Empty() &&
		seq.ReadOptionalASN1(&permitted, &hasPermitted, constructed(0)) &&
		seq.ReadOptionalASN1(&excluded, &hasExcluded, constructed(1)) && seq.Empty() &&
		(!hasPermitted || n.readSubtrees(permitted, &n.permitted)) &&
		(!hasExcluded || n.readSubtrees(excluded, &n.excluded))
}

func (n *nameConstraints) readSubtrees(in cryptobyte.String, out *[]Name) bool {
	if in.Empty() {
		return false
	}
	for !in.Empty() {
		var subtree, base cryptobyte.String
		var tag cbasn1.Tag
		// minimum 0 is the default and maximum must be absent, so the base stands alone.
		if !in.ReadASN1(&subtree, cbasn1.SEQUENCE) || !subtree.ReadAnyASN1(&base, &tag) || !subtree.Empty() {
			return false
		}
		if tag != constructed(4) {
			n.otherKind = true
			continue
		}
		if len(*out) >= maxListed {
			n.overlong = true
			return true
		}
		var raw []byte
		var name Name
		if !readName(&base, &raw, &name) || !base.Empty() {
			return false
		}
		*out = append(*out, name)
	}
	return true
}

func (n *nameConstraints) allow(name Name) bool {
	inside := func(base Name) bool { return name.within(base) }
	return !slices.ContainsFunc(n.excluded, inside) && (len(n.permitted) == 0 || slices.ContainsFunc(n.permitted, inside))
}
