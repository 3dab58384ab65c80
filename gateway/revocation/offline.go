package revocation

import (
	"bytes"
	"cmp"
	"crypto/sha256"
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
	held, troubles := offlineLists(cert, issuer, at, crls, o)
	listed, err := held.find(cert.Serial)
	if err != nil {
		return listed, err
	}
	if listed.state == revoked {
		return listed, listed.err()
	}
	v, err := newVerifier(Issuer{Certificate: issuer, AcceptSHA1: true, AllowGOST2004: o.AllowGOST2004}, o.Skew, o.OCSPMaxAge)
	if err != nil {
		return finding{}, gateway.Errorf(gateway.Internal, "%w", err)
	}
	// Here lists have no age but their own dates.
	forever := ages{skew: o.Skew, crl: 1 << 62, delta: 1 << 62}
	v.listed = func(serial []byte) bool {
		f, err := held.find(serial)
		return err != nil || f.state != good
	}
	v.clean = func(serial []byte) bool {
		_, err := held.fresh(forever, at)
		return err == nil && !v.listed(serial)
	}
	said, failure := worst(v, cert, answers, at)
	if held.base == nil {
		if troubles != nil {
			held.trouble = troubles
		}
	}
	var fresh error
	listed.evidence.UsableUntil, fresh = held.fresh(forever, at)
	return weigh(said, failure, listed, fresh)
}

// worst returns what the answers say of cert: a revocation before anything else, then good, then unknown.
func worst(v verifier, cert *trust.Certificate, answers [][]byte, at time.Time) (finding, error) {
	var said finding
	failure := gateway.Errorf(gateway.StatusUnavailable, "no evidence about the certificate was given")
	rank := map[state]int{unknown: 1, good: 2, neverIssued: 3, held: 4, revoked: 5}
	for _, raw := range answers {
		f, err := v.judge(raw, cert.Serial, nil, at)
		switch {
		case err != nil && said.state == 0 && gateway.ReasonOf(failure) == gateway.StatusUnavailable:
			failure = err
		case err == nil && rank[f.state] > rank[said.state]:
			said = f
		}
	}
	if said.state != 0 {
		return said, nil
	}
	return said, failure
}

// offlineLists picks the newest verified lists about cert, and says why others were passed over.
func offlineLists(cert, issuer *trust.Certificate, at time.Time, crls [][]byte, o OfflineOptions) (*lists, error) {
	l := new(lists)
	var trouble error
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
		case c.ThisUpdate.After(at.Add(o.Skew)):
			err = gateway.Errorf(gateway.EvidenceFuture, "the CRL is dated after the instant judged")
		default:
			c.digest = sha256.Sum256(raw)
			err = c.index()
		}
		if err != nil {
			trouble = cmp.Or(trouble, err)
			continue
		}
		slot := &l.base
		if c.Delta() {
			slot = &l.delta
		}
		if *slot == nil || c.ThisUpdate.After((*slot).ThisUpdate) {
			*slot = c
		}
	}
	if l.base == nil && l.delta != nil {
		trouble = cmp.Or(trouble, gateway.Errorf(gateway.EvidenceScope, "a delta CRL without its full list"))
	}
	return l.ready(), trouble
}
