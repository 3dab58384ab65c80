package trust

import (
	"bytes"
	"slices"
	"time"

	"egov-gateway/gateway"
)

// A builder searches one path depth first, under the bounds of this package.
type builder struct {
	store     *Store
	at        time.Time
	untrusted []*Certificate
	checks    int // signature checks left
	best      error
	rank      int
}

// How far a failed attempt came; the reason of the one that came farthest is reported.
const (
	rankNone      = iota
	rankName      // no issuer of that name
	rankSignature // an issuer of that name, whose key did not sign
	rankAnchor    // signed, but the chain ends outside the anchors
	rankRules     // reaches an anchor and breaks a rule
)

func (b *builder) failed(rank int, err error) {
	if rank > b.rank {
		b.rank, b.best = rank, err
	}
}

func (b *builder) build(leaf *Certificate) (*Path, error) {
	if p := b.extend([]*Certificate{leaf}); p != nil {
		return p, nil
	}
	return nil, b.best
}

func (b *builder) extend(chain []*Certificate) *Path {
	last := chain[len(chain)-1]
	if a, ok := b.store.anchor(last); ok {
		err := rules(chain, b.at)
		if err == nil && !b.store.past {
			err = present(chain)
		}
		if err != nil {
			b.failed(rankRules, err)
			return nil
		}
		return &Path{Certificates: slices.Clone(chain), Test: a.Test}
	}
	outside := gateway.Errorf(gateway.NotAnchored, "the chain does not end in a configured anchor")
	if len(chain) == MaxPathCertificates {
		b.failed(rankAnchor, outside)
		return nil
	}
	if last.SelfIssued() && b.verify(last, last) == nil {
		b.failed(rankAnchor, outside)
		return nil
	}
	candidates := b.candidates(last)
	if len(candidates) == 0 {
		if len(chain) > 1 {
			b.failed(rankAnchor, outside)
		}
		b.failed(rankName, gateway.Errorf(gateway.NoIssuer, "no issuer of that name is configured or was sent"))
	}
	for _, issuer := range candidates {
		if slices.ContainsFunc(chain, issuer.Equal) {
			b.failed(rankAnchor, outside)
			continue
		}
		if b.checks == 0 {
			b.failed(rankName, gateway.Errorf(gateway.NoIssuer, "too many possible issuers"))
			return nil
		}
		if err := b.verify(last, issuer); err != nil {
			b.failed(rankSignature, err)
			continue
		}
		if len(last.AuthorityKeyID) > 0 && len(issuer.SubjectKeyID) > 0 && !bytes.Equal(last.AuthorityKeyID, issuer.SubjectKeyID) {
			b.failed(rankSignature, gateway.Errorf(gateway.NoIssuer, "the issuer's key identifier is not the one named"))
			continue
		}
		if p := b.extend(append(slices.Clip(chain), issuer)); p != nil {
			return p
		}
	}
	return nil
}

// candidates returns at most [MaxCandidates] issuers by name: those whose key identifier fits
// first, and among equals what the configuration knows before what came from outside.
func (b *builder) candidates(c *Certificate) []*Certificate {
	var fit, rest []*Certificate
	add := func(i *Certificate) {
		if slices.ContainsFunc(fit, i.Equal) || slices.ContainsFunc(rest, i.Equal) {
			return
		}
		if len(c.AuthorityKeyID) > 0 && bytes.Equal(c.AuthorityKeyID, i.SubjectKeyID) {
			fit = append(fit, i)
		} else if len(rest) < MaxCandidates {
			rest = append(rest, i)
		}
	}
	for _, i := range b.store.bySubject[string(c.RawIssuer)] {
		add(i)
	}
	for _, i := range b.untrusted {
		if len(fit) < MaxCandidates && bytes.Equal(i.RawSubject, c.RawIssuer) {
			add(i)
		}
	}
	all := append(fit, rest...)
	return all[:min(len(all), MaxCandidates)]
}

func (b *builder) verify(child, issuer *Certificate) error {
	if err, known := b.store.edges[edge{child, issuer}]; known {
		return err
	}
	if b.checks == 0 {
		return gateway.Errorf(gateway.NoIssuer, "too many possible issuers")
	}
	b.checks--
	return child.SignedBy(issuer)
}

// rules checks a chain whose names and signatures already fit, from the anchor down
// (RFC 5280 §6.1.2-6.1.5). The chain is leaf … anchor.
func rules(chain []*Certificate, at time.Time) error {
	var constraints []*nameConstraints
	pathLen := MaxPathCertificates
	for i := len(chain) - 1; i >= 0; i-- {
		c := chain[i]
		if c.unknownCritical != "" {
			return gateway.Errorf(gateway.CriticalExtension, "unknown critical extension %s", c.unknownCritical)
		}
		if c.unprocessedPolicy {
			return gateway.Errorf(gateway.PolicyConstraint, "policy constraints or mappings are not processed, so they refuse")
		}
		if i == 0 || !c.SelfIssued() {
			if err := allowed(c, constraints); err != nil {
				return err
			}
		}
		if i == 0 {
			break
		}
		if c.Version != 3 || !c.IsCA || c.KeyUsage&KeyCertSign == 0 {
			return gateway.Errorf(gateway.NotACA, "an issuer is not a CA or may not sign certificates")
		}
		// The anchor is not part of the path, so it takes no step of its own.
		if i < len(chain)-1 && !c.SelfIssued() {
			if pathLen == 0 {
				return gateway.Errorf(gateway.PathLength, "more CAs than a path length constraint allows")
			}
			pathLen--
		}
		if c.MaxPathLen >= 0 {
			pathLen = min(pathLen, c.MaxPathLen)
		}
		if c.constraints != nil {
			if c.constraints.otherKind {
				return gateway.Errorf(gateway.NameConstraint, "name constraints other than of directory names are not processed, so they refuse")
			}
			constraints = append(constraints, c.constraints)
		}
	}
	for _, c := range chain[:len(chain)-1] {
		if !c.namesIssuerKey && !c.SelfIssued() {
			return gateway.Errorf(gateway.CertificateMalformed, "a certificate without authorityKeyIdentifier (RFC 5280 §4.2.1.1)")
		}
	}
	for _, c := range chain[1:] {
		if !c.ValidAt(at) {
			return gateway.Errorf(gateway.IssuerExpired, "a CA of the path is outside its validity (%s to %s)",
				c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
	}
	return nil
}

// present refuses chains with a key of the past, the signer's own included.
func present(chain []*Certificate) error {
	for _, c := range chain {
		if c.Key.Kind() == GOST2004 {
			return gateway.Errorf(gateway.AlgorithmForbidden, "a key of %s, which is allowed for archives only", GOST2004)
		}
	}
	return nil
}

func allowed(c *Certificate, constraints []*nameConstraints) error {
	for _, n := range constraints {
		names := c.directoryNames
		if len(c.Subject) > 0 {
			names = append([]Name{c.Subject}, names...)
		}
		for _, name := range names {
			if !n.allow(name) {
				return gateway.Errorf(gateway.NameConstraint, "the subject is outside an issuer's name constraints")
			}
		}
	}
	return nil
}
