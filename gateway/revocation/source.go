package revocation

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A source is everything that is known about the certificates of one issuer.
type source struct {
	configured Issuer // as it was given
	issuer     Issuer
	label      string // for metrics and logs
	keyHash    string // hex SHA-256 of the issuer's key, in names of the shared layer
	verifier   verifier
	ledger     *ledger // nil when nobody wants to hear of late revocations

	ages     ages
	memory   *memory
	flights  singleflight.Group
	breakers []*breaker // beside Issuer.OCSP

	incident atomic.Pointer[incident]

	// responder is the delegate whose signature counted last.
	responder atomic.Pointer[trust.Certificate]

	loading sync.Mutex // one load of a list at a time
	lists   atomic.Pointer[lists]
	tags    [2]tag // of the full and the delta list; guarded by loading
}

// A tag is what the publisher called the list that is held.
type tag struct {
	etag   string
	sha256 [32]byte
}

// ages say how long evidence of one issuer is believed.
type ages struct {
	skew, crl, delta time.Duration
}

// lists are the CRLs that are held, replaced as a whole. Without a base, trouble says why.
type lists struct {
	base, delta *CRL
	trouble     error

	together bool     // what combined says
	proof    Evidence // what evidence says
}

var errNoList = gateway.Errorf(gateway.StatusUnavailable, "no CRL was ever loaded")

// ready works out what every look-up would work out again. Call it after the last change.
func (l *lists) ready() *lists {
	l.together, l.proof = l.combined(), l.evidence()
	if l.trouble == nil {
		l.trouble = errNoList
	}
	return l
}

// combined reports whether the delta may be read together with the base: it completes that
// base or an older one (only BaseNumber is comparable, the NCA numbers its deltas apart) and
// is not older.
func (l *lists) combined() bool {
	return l.base != nil && l.delta != nil && compareNumbers(l.delta.BaseNumber, l.base.Number) <= 0 &&
		!l.delta.ThisUpdate.Before(l.base.ThisUpdate)
}

// find tells what the lists say of serial, no matter how old they are. A permanent entry
// counts in whichever list it stands.
func (l *lists) find(serial []byte) (finding, error) {
	var none entry
	inBase, inDelta := none, none
	var base, delta bool
	if l.base != nil {
		inBase, base = l.base.table.find(serial)
	}
	if l.delta != nil {
		inDelta, delta = l.delta.table.find(serial)
	}
	switch {
	case base && inBase.permanent() && delta && inDelta.reason == RemoveFromCRL:
		return finding{}, gateway.Errorf(gateway.EvidenceConflict, "the delta CRL removes a certificate that the full list revokes for good")
	case base && inBase.permanent():
		return l.said(revoked, inBase), nil
	case delta && inDelta.permanent():
		return l.said(revoked, inDelta), nil
	case delta && l.together && inDelta.reason == RemoveFromCRL:
		return l.said(good, none), nil
	case delta && l.together:
		return l.said(held, inDelta), nil
	case base:
		return l.said(held, inBase), nil
	}
	return l.said(good, none), nil
}

func (l *lists) said(s state, e entry) finding {
	return finding{state: s, reason: e.reason, revokedAt: e.at, invalidSince: e.invalid, evidence: l.proof}
}

// evidence names the lists by number and digest.
func (l *lists) evidence() Evidence {
	e := Evidence{Method: MethodCRL}
	if l.base != nil {
		e.ThisUpdate = l.base.ThisUpdate
		e.Raw = fmt.Appendf(nil, "crl number %s sha256 %x", l.base.NumberHex(), l.base.digest)
	}
	if l.combined() || l.base == nil && l.delta != nil {
		e.Method, e.ThisUpdate = MethodDelta, l.delta.ThisUpdate
		e.Raw = fmt.Appendf(e.Raw, "; delta number %s sha256 %x", l.delta.NumberHex(), l.delta.digest)
	}
	return e
}

// fresh tells until when the lists prove a certificate good, or why they do not.
func (l *lists) fresh(a ages, now time.Time) (time.Time, error) {
	if l.base == nil {
		return time.Time{}, l.trouble
	}
	latest := now.Add(a.skew)
	if l.base.ThisUpdate.After(latest) || l.together && l.delta.ThisUpdate.After(latest) {
		return time.Time{}, gateway.Errorf(gateway.EvidenceFuture, "the CRL is dated after now")
	}
	until := earliest(l.base.NextUpdate, l.base.ThisUpdate.Add(a.crl))
	if l.together {
		if u := earliest(l.base.NextUpdate, l.delta.NextUpdate, l.delta.ThisUpdate.Add(a.delta)); u.After(until) {
			until = u
		}
	}
	if now.After(until) {
		return until, gateway.Errorf(gateway.EvidenceStale, "the newest CRL is too old (usable until %s)", until.Format(time.RFC3339))
	}
	return until, nil
}

func earliest(t time.Time, more ...time.Time) time.Time {
	for _, u := range more {
		if u.Before(t) {
			t = u
		}
	}
	return t
}

// load verifies a downloaded list and swaps it in. Whatever is refused leaves the list held
// in its place: a zero-byte, truncated or forged download never replaces a good table.
func (s *source) load(raw []byte, etag string, asDelta bool, now time.Time) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	held := *s.lists.Load()
	c, err := s.admit(raw, asDelta, &held, now)
	switch {
	case err == nil && asDelta:
		held.delta = c
	case err == nil:
		held.base, held.trouble = c, nil
	case !asDelta && held.base == nil:
		held.trouble = err
	default:
		return err
	}
	s.lists.Store(held.ready())
	if err == nil {
		s.tags[index(asDelta)] = tag{etag, c.digest}
	}
	return err
}

func index(delta bool) int {
	if delta {
		return 1
	}
	return 0
}

// tagOf returns what the publisher called the list that is held now.
func (s *source) tagOf(delta bool) string {
	s.loading.Lock()
	defer s.loading.Unlock()
	l, t := s.lists.Load(), s.tags[index(delta)]
	if held := [2]*CRL{l.base, l.delta}[index(delta)]; held == nil || held.digest != t.sha256 {
		return ""
	}
	return t.etag
}

// admit returns the list held already when raw is the same again.
func (s *source) admit(raw []byte, asDelta bool, held *lists, now time.Time) (*CRL, error) {
	old := held.base
	if asDelta {
		old = held.delta
	}
	c, err := parseCRL(raw)
	if err != nil {
		return nil, err
	}
	if c.digest = sha256.Sum256(raw); old != nil && old.digest == c.digest {
		return old, nil
	}
	if err := c.SignedBy(s.issuer.Certificate); err != nil {
		return nil, err
	}
	if err := c.inScope(); err != nil {
		return nil, err
	}
	switch {
	case asDelta && !c.Delta():
		return nil, gateway.Errorf(gateway.EvidenceScope, "a full CRL where a delta is expected")
	case !asDelta && c.Delta():
		return nil, gateway.Errorf(gateway.EvidenceScope, "a delta CRL where the full one is expected")
	case c.scope != nil && c.scope.named && !contains(c.scope.uris, s.issuer.CRL):
		return nil, gateway.Errorf(gateway.EvidenceScope, "the CRL is of another distribution point")
	case asDelta && held.base != nil && !bytes.Equal(scopeOf(c), scopeOf(held.base)):
		return nil, gateway.Errorf(gateway.EvidenceScope, "the delta CRL has another scope than the full list")
	case c.Number == nil:
		return nil, untrusted("the CRL has no number")
	case c.NextUpdate.IsZero():
		return nil, gateway.Errorf(gateway.EvidenceStale, "the CRL has no nextUpdate, so its age cannot be judged")
	case c.ThisUpdate.After(now.Add(s.ages.skew)):
		return nil, gateway.Errorf(gateway.EvidenceFuture, "the CRL is dated after now")
	case old != nil && (compareNumbers(c.Number, old.Number) < 0 || c.ThisUpdate.Before(old.ThisUpdate)):
		return nil, gateway.Errorf(gateway.EvidenceRollback, "CRL number %s after %s", c.NumberHex(), old.NumberHex())
	}
	if err := c.index(); err != nil {
		return nil, err
	}
	c.release()
	return c, nil
}

func scopeOf(c *CRL) []byte {
	if c.scope == nil {
		return nil
	}
	return c.scope.raw
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// inLists tells what the lists say of a certificate of this issuer, and whether they are
// fresh enough to prove it good.
func (s *source) inLists(cert *trust.Certificate, now time.Time) (f finding, fresh, err error) {
	l := s.lists.Load()
	f, err = l.find(cert.Serial)
	if err != nil {
		return f, nil, err
	}
	f.evidence.UsableUntil, fresh = l.fresh(s.ages, now)
	if i := s.incident.Load(); i != nil && now.Before(i.until) && gateway.ReasonOf(fresh) == gateway.EvidenceStale {
		var until time.Time
		if until, fresh = l.fresh(ages{s.ages.skew, i.maxAge, i.maxAge}, now); fresh == nil {
			f.evidence.UsableUntil, f.evidence.Degraded = earliest(until, i.until), true
		}
	}
	if fresh == nil && l.base.scope != nil {
		// The point's name was compared when the list was loaded.
		fresh = l.base.covers(cert, l.base.scope.uris)
	}
	return f, fresh, nil
}

// newVerifier makes the OCSP side of an issuer.
func newVerifier(i Issuer, skew, maxAge time.Duration) (verifier, error) {
	if i.Certificate == nil {
		return verifier{}, errors.New("an issuer without certificate")
	}
	direct, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: i.Certificate}}, AllowGOST2004: i.AllowGOST2004})
	return verifier{
		issuer: i.Certificate, direct: direct, pinned: i.Responders, skew: skew, maxAge: maxAge,
		sha1: i.AcceptSHA1, needNonce: i.RequireNonce,
	}, err
}
