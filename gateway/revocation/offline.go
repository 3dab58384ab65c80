package revocation

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A Scope says which certificates of a path are asked about.
type Scope string

const (
	ScopePath Scope = "path" // the leaf and every CA below the anchor
	ScopeLeaf Scope = "leaf"
)

// OfflineOptions of [Offline].
type OfflineOptions struct {
	Scope      Scope         // "" means ScopePath
	Skew       time.Duration // 0 means [DefaultSkew]
	OCSPMaxAge time.Duration // of answers without nextUpdate; 0 means [DefaultOCSPMaxAge]
	// AllowGOST2004 takes answers of responders with keys of GOST 34.310-2004; for archives only.
	AllowGOST2004 bool
}

// Offline judges a path by the given evidence alone, at an instant that may be long ago: lists
// count from thisUpdate to nextUpdate, OCSP answers as long as [OfflineOptions] say. Full and
// delta lists and answers of several issuers may be mixed; what belongs to nobody in the path
// is passed over. Answers may name the certificate by SHA-1. Errors are those of
// [Checker.Check].
//
// Lists from after the instant judge it, too: what they say was revoked by then was, what they say was
// revoked later was good and [Evidence.RevokedLater] says so, and what a full list does not name was
// good, if the list is not from after the certificate's own end (a CA may strike what has expired off its
// lists). A hold that was lifted between the instant and the list cannot be seen in it.
func Offline(path *trust.Path, at time.Time, crls, ocspAnswers [][]byte, o OfflineOptions) (Evidence, error) {
	o.Skew = cmp.Or(o.Skew, DefaultSkew)
	o.OCSPMaxAge = cmp.Or(o.OCSPMaxAge, DefaultOCSPMaxAge)
	chain := path.Certificates
	if len(chain) < 2 {
		return Evidence{}, gateway.Errorf(gateway.StatusUnavailable, "the issuer of the certificate is not known, so no evidence can be about it")
	}
	var doubt error
	if o.Scope != ScopeLeaf {
		for i := len(chain) - 2; i >= 1; i-- {
			f, err := offline(chain[i], chain[i+1], at, crls, ocspAnswers, o)
			switch gateway.ReasonOf(err) {
			case "":
			case gateway.Revoked, gateway.Suspended, gateway.NeverIssued:
				return f.evidence, gateway.Errorf(gateway.IssuerRevoked, "a CA of the path: %s", gateway.DetailOf(err))
			default:
				doubt = cmp.Or(doubt, err)
			}
		}
	}
	f, err := offline(chain[0], chain[1], at, crls, ocspAnswers, o)
	if err == nil || gateway.ReasonOf(err).Class() != gateway.Permanent && doubt != nil {
		err = doubt
	}
	return f.evidence, err
}

func offline(cert, issuer *trust.Certificate, at time.Time, crls, answers [][]byte, o OfflineOptions) (finding, error) {
	all, troubles := offlineLists(cert, issuer, crls)
	after := slices.IndexFunc(all, func(c *CRL) bool { return c.ThisUpdate.After(at.Add(o.Skew)) })
	if after < 0 {
		return offlineUntil(cert, issuer, at, all, troubles, answers, o)
	}
	f, err := offlineUntil(cert, issuer, at, all[:after], troubles, answers, o)
	return fromLater(cert, at, all[after:], f, err)
}

// fromLater adds to a finding what lists from after the instant say of it.
func fromLater(cert *trust.Certificate, at time.Time, later []*CRL, f finding, err error) (finding, error) {
	switch gateway.ReasonOf(err) {
	case gateway.Revoked, gateway.Suspended, gateway.NeverIssued, gateway.EvidenceConflict:
		return f, err
	}
	var since time.Time
	var reason CRLReason
	var proof *CRL
	for _, c := range later {
		e, listed := c.table.find(cert.Serial)
		if listed && e.reason != RemoveFromCRL {
			begins := finding{reason: e.reason, revokedAt: e.at, invalidSince: e.invalid}.since()
			if !begins.After(at) {
				l := new(lists)
				l.put(c, c.Delta())
				k := c.says(cert.Serial, false).mark.finding()
				k.evidence = l.ready().proof
				return k, k.err()
			}
			if since.IsZero() || begins.Before(since) {
				since, reason = begins, e.reason
			}
		}
		// A list that names it says by that when it was revoked, however late it is.
		if proof == nil && (listed || !c.Delta() && !c.ThisUpdate.After(cert.NotAfter)) {
			proof = c
		}
	}
	switch {
	case err != nil && proof == nil:
		if gateway.ReasonOf(err) == gateway.StatusUnavailable {
			err = gateway.Errorf(gateway.StatusUnknown,
				"no list shows what was before: a delta alone does not, nor a full list from after the certificate's end")
		}
		return f, err
	case err != nil:
		l := new(lists)
		l.put(proof, proof.Delta())
		f = finding{state: good, evidence: l.ready().proof}
		f.evidence.UsableUntil = proof.NextUpdate
	}
	f.evidence.RevokedLater, f.evidence.LaterReason = since, reason
	return f, nil
}

// offlineUntil judges by lists that are not from after the instant.
func offlineUntil(cert, issuer *trust.Certificate, at time.Time, all []*CRL, troubles error, answers [][]byte,
	o OfflineOptions) (finding, error) {
	if newest := newestOf(all); newest.base == nil && newest.delta != nil {
		troubles = cmp.Or(troubles, gateway.Errorf(gateway.EvidenceScope, "a delta CRL without its full list"))
	}
	newest := newestOf(all)
	v, err := newVerifier(Issuer{Certificate: issuer, AcceptSHA1: true, AllowGOST2004: o.AllowGOST2004}, o.Skew, o.OCSPMaxAge)
	if err != nil {
		return finding{}, gateway.Errorf(gateway.Internal, "%w", err)
	}
	// Here lists have no age but their own dates.
	forever := ages{skew: o.Skew, crl: 1 << 62, delta: 1 << 62}
	v.listed = func(serial []byte) bool {
		return newest.contradict(serial) || knownBy(all, nil, serial).state != markNothing
	}
	v.clean = func(serial []byte) bool {
		_, err := newest.fresh(forever, at)
		return err == nil && !v.listed(serial)
	}
	listed, err := newest.find(cert.Serial)
	if err != nil || listed.state == revoked {
		return listed, cmp.Or(err, listed.err())
	}
	said, answered, failure := worst(v, cert, answers, at)
	known := knownBy(all, answered, cert.Serial)
	listed, _ = listed.beside(nil, known)
	for _, f := range answered {
		if known.state != markNothing && listed.state != good && f.says().mark == known { // the answer itself is the evidence
			listed = f
		}
	}
	if listed.state == revoked {
		return listed, listed.err()
	}
	if newest.base == nil {
		if troubles != nil {
			newest.trouble = troubles
		}
	}
	var fresh error
	listed.evidence.UsableUntil, fresh = newest.fresh(forever, at)
	return weigh(said, failure, listed, fresh)
}

// knownBy is what all evidence together says, in the order of its dates: what live checks would know,
// had it come to them in that order.
func knownBy(all []*CRL, answered []finding, serial []byte) (k mark) {
	said := make([]saying, 0, len(answered))
	for _, f := range answered {
		said = append(said, f.says())
	}
	slices.SortStableFunc(said, func(a, b saying) int { return cmp.Compare(a.at, b.at) })
	held := new(lists)
	for _, c := range all {
		for len(said) > 0 && said[0].at < c.ThisUpdate.Unix() {
			k, said = k.after(said[0]), said[1:]
		}
		held.put(c, c.Delta())
		k = held.ready().after(k, serial)
	}
	for _, s := range said {
		k = k.after(s)
	}
	return k
}

// newestOf is the pair of lists that live checks would hold.
func newestOf(all []*CRL) *lists {
	l := new(lists)
	for _, c := range all {
		l.put(c, c.Delta())
	}
	return l.ready()
}

// worst returns what the answers that are still good evidence say of cert: a revocation before anything
// else, then good, then unknown. answered has all that verified, of whatever age.
func worst(v verifier, cert *trust.Certificate, answers [][]byte, at time.Time) (said finding, answered []finding, failure error) {
	failure = gateway.Errorf(gateway.StatusUnavailable, "no evidence about the certificate was given")
	rank := map[state]int{unknown: 1, good: 2, neverIssued: 3, revoked: 4}
	for _, raw := range answers {
		f, err := v.read(raw, cert.Serial, nil, at)
		if err == nil {
			answered = append(answered, f)
			err = f.timely(at)
		}
		switch {
		case err == nil && f.state == held:
			// It counts by what is known: a later good takes it back.
		case err != nil && said.state == 0 && gateway.ReasonOf(failure) == gateway.StatusUnavailable:
			failure = err
		case err == nil && (rank[f.state] > rank[said.state] || f.state == said.state && f.evidence.ThisUpdate.After(said.evidence.ThisUpdate)):
			said = f
		}
	}
	if said.state != 0 {
		return said, answered, nil
	}
	return said, answered, failure
}

// offlineLists returns the verified lists about cert in the order of their dates, of one date the full
// one first, and says why others were passed over.
func offlineLists(cert, issuer *trust.Certificate, crls [][]byte) (all []*CRL, trouble error) {
	for _, raw := range crls {
		c, err := parseCRL(raw)
		if err == nil && !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
			continue
		}
		if err == nil {
			err = c.SignedBy(issuer)
		}
		if err == nil {
			err = c.inScope()
		}
		if err == nil {
			err = c.covers(cert, cert.CRLPoints)
		}
		switch {
		case err != nil:
		case c.NextUpdate.IsZero():
			err = gateway.Errorf(gateway.EvidenceStale, "the CRL has no nextUpdate, so its age cannot be judged")
		default:
			c.digest = sha256.Sum256(raw)
			err = c.index()
		}
		if err != nil {
			trouble = cmp.Or(trouble, err)
			continue
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b *CRL) int {
		return cmp.Or(a.ThisUpdate.Compare(b.ThisUpdate), index(a.Delta())-index(b.Delta()))
	})
	return all, trouble
}
