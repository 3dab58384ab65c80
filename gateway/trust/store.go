// Package trust reads registration certificates strictly and judges whether they were issued by
// a CA that the configuration trusts, are inside their validity, and may be used for what they
// were used for (RFC 5280; «условие 2» of the regulation, without identity and revocation).
//
// Reading and judging are apart: [ParseCertificate] accepts one encoding of one certificate,
// [Store.Judge] makes three checks that do not hide each other. Keys of RSA, ECDSA
// (P-256, P-384) and GOST are verified.
package trust

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"egov-gateway/gateway"
)

// Bounds of the search for a path. An attacker who sends a bag of cross-signed certificates
// costs at most MaxSignatureChecks verifications.
const (
	MaxPathCertificates = 8
	MaxCandidates       = 4 // issuers tried for one certificate
	MaxSignatureChecks  = 32
)

// defaultPolicies are the certificate policies of the NCA for its users since 2022 and before.
var defaultPolicies = []OID{"1.2.398.3.3.2"}

// An Anchor is a CA that is trusted because the configuration says so.
type Anchor struct {
	Certificate *Certificate
	// Test relaxes the check digits of IIN and BIN below this anchor, and nothing else.
	Test bool
}

// Config is what a [Store] trusts and knows.
type Config struct {
	// Anchors are trusted. At least one is required.
	Anchors []Anchor
	// Intermediates are known issuing CAs. They are not trusted: a path through one must reach an anchor.
	Intermediates []*Certificate
	// Policies lists arcs of certificate policies; a signer's certificate must have one of them or
	// one below. nil means 1.2.398.3.3.2, the NCA's; an empty list accepts every policy.
	Policies []OID
	// AllowGOST2004 accepts paths with keys of GOST 34.310-2004, the algorithm of the past; for
	// archives only.
	AllowGOST2004 bool
	// Memory bounds the octets in which paths that were found are remembered; 0 means [DefaultMemory].
	Memory int
}

// DefaultMemory is enough for the paths of about three thousand certificates.
const DefaultMemory = 32 << 20

// A Store judges certificates. It never changes its mind and is safe for concurrent use; to
// change the anchors of a running program, make another one and swap the pointer: what was
// found under the old anchors goes with them.
type Store struct {
	anchors   []Anchor
	known     []*Certificate // anchors first
	bySubject map[string][]*Certificate
	policies  []OID
	edges     map[edge]error // signatures among known certificates, checked once
	past      bool           // AllowGOST2004
	found     *Memory[remembered]
}

// remembered is a path of configured CAs below which a certificate was found, and the time in
// which all those CAs are valid: nothing else of a path depends on the instant.
type remembered struct {
	path     *Path
	from, to time.Time
}

type edge struct{ child, issuer *Certificate }

// New checks the configuration. It fails when there is no anchor or a certificate is missing.
func New(c Config) (*Store, error) {
	if len(c.Anchors) == 0 {
		return nil, errors.New("trust: Config.Anchors is empty: nothing could ever be accepted")
	}
	s := &Store{anchors: slices.Clone(c.Anchors), bySubject: make(map[string][]*Certificate), policies: c.Policies, edges: make(map[edge]error), past: c.AllowGOST2004,
		found: NewMemory[remembered](cmp.Or(c.Memory, DefaultMemory))}
	if s.policies == nil {
		s.policies = defaultPolicies
	}
	for _, a := range c.Anchors {
		if a.Certificate == nil {
			return nil, errors.New("trust: an anchor without certificate")
		}
		s.known = append(s.known, a.Certificate)
	}
	for _, i := range c.Intermediates {
		if i == nil {
			return nil, errors.New("trust: an empty intermediate")
		}
		if !slices.ContainsFunc(s.known, i.Equal) {
			s.known = append(s.known, i)
		}
	}
	for _, k := range s.known {
		s.bySubject[string(k.RawSubject)] = append(s.bySubject[string(k.RawSubject)], k)
	}
	for _, child := range s.known {
		for _, issuer := range s.bySubject[string(child.RawIssuer)] {
			s.edges[edge{child, issuer}] = child.SignedBy(issuer)
		}
	}
	return s, nil
}

func (s *Store) anchor(c *Certificate) (Anchor, bool) {
	for _, a := range s.anchors {
		if a.Certificate.Equal(c) {
			return a, true
		}
	}
	return Anchor{}, false
}

// JudgeOptions say for what and when a certificate is judged.
type JudgeOptions struct {
	At      time.Time
	Purpose Purpose
	// Untrusted are further certificates that came with the document; used only to build a path.
	Untrusted []*Certificate
	// Pinned, when set, is the only certificate accepted, and needs no path.
	Pinned *Certificate
}

// A Judgement is three of the six checks, each made even when another failed. A nil error
// is a passed check.
type Judgement struct {
	Path        *Path // nil when PathErr is set
	PathErr     error // issued by a trusted CA; every CA valid at the instant ([gateway.IssuerExpired])
	ValidityErr error // the leaf alone: [gateway.CertificateExpired], [gateway.CertificateNotYetValid]
	PurposeErr  error // [gateway.SignerIsCA], [gateway.KeyUsage], [gateway.ExtendedKeyUsage], [gateway.IINMissing], [gateway.CertificatePolicy]
}

// A Path is a chain of certificates that was found valid.
type Path struct {
	Certificates []*Certificate // leaf … anchor; the leaf alone when it is an anchor or pinned
	Test         bool           // the anchor is a test anchor
}

// Leaf returns the certificate that was judged.
func (p *Path) Leaf() *Certificate { return p.Certificates[0] }

// Issuer returns the CA that issued the leaf, or nil when the leaf is itself the trusted one.
func (p *Path) Issuer() *Certificate {
	if len(p.Certificates) < 2 {
		return nil
	}
	return p.Certificates[1]
}

// Judge validates leaf as RFC 5280 §6.1 describes, with these decisions of the profile: names
// chain octet for octet; the anchor's own validity and constraints count; name constraints
// are processed for directory names and refuse anything else; policy constraints are not
// processed and therefore refuse.
func (s *Store) Judge(leaf *Certificate, o JudgeOptions) Judgement {
	j := Judgement{ValidityErr: validity(leaf, o.At), PurposeErr: o.Purpose.allows(leaf, s.policies)}
	if o.Pinned != nil {
		if leaf.Equal(o.Pinned) {
			j.Path = &Path{Certificates: []*Certificate{leaf}}
		} else {
			j.PathErr = gateway.Errorf(gateway.NotAnchored, "the certificate is not the pinned one")
		}
		return j
	}
	at := o.At.Truncate(time.Second)
	if r, ok := s.found.Get(leaf.fingerprint); ok && !at.Before(r.from) && !at.After(r.to) {
		j.Path = r.path
		return j
	}
	b := builder{store: s, at: o.At, untrusted: o.Untrusted, checks: MaxSignatureChecks}
	if j.Path, j.PathErr = b.build(leaf); j.Path != nil {
		s.remember(leaf, j.Path)
	}
	return j
}

// remember keeps a path unless it leads through a certificate that came with a document: the
// next document may come without it and must not be judged by what others sent.
func (s *Store) remember(leaf *Certificate, p *Path) {
	r := remembered{path: p, from: time.Time{}, to: time.Unix(1<<40, 0)}
	for _, c := range p.Certificates[1:] {
		if !slices.Contains(s.known, c) {
			return
		}
		if c.NotBefore.After(r.from) {
			r.from = c.NotBefore
		}
		if c.NotAfter.Before(r.to) {
			r.to = c.NotAfter
		}
	}
	s.found.Put(leaf.fingerprint, r, leaf.Footprint())
}

func validity(leaf *Certificate, at time.Time) error {
	switch {
	case leaf.ValidAt(at):
		return nil
	case at.Before(leaf.NotBefore):
		return gateway.Errorf(gateway.CertificateNotYetValid, "the certificate is valid from %s", leaf.NotBefore.Format(time.RFC3339))
	}
	return gateway.Errorf(gateway.CertificateExpired, "the certificate was valid until %s", leaf.NotAfter.Format(time.RFC3339))
}
