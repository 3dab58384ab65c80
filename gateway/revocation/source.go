package revocation

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
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
	clock      *clock
	decided    *decisions // nil when nobody wants to hear of late revocations

	ages     ages
	memory   *memory
	flights  singleflight.Group
	breakers []*breaker // beside Issuer.OCSP

	incident atomic.Pointer[incident]
	wake     [2]chan struct{} // make the loads of the full and the delta list happen now
	proves   atomic.Pointer[proof]
	told     [2]atomic.Pointer[CRL] // lists of which was said that they are too old

	// responder is the delegate whose signature counted last.
	responder atomic.Pointer[trust.Certificate]

	*holdings
}

// Holdings are what is held of the certificates of one issuer's key. They outlive the settings: a
// source that is configured anew begins with all that the one before it knew.
type holdings struct {
	loading sync.Mutex // one load of a list at a time
	lists   atomic.Pointer[lists]
	tags    [2]tag // of the full and the delta list; guarded by loading
	ledger  ledger
	kept    *keptLists // nil when nothing is kept beyond the process; guarded by Checker.configuring until it is set
}

// confirm notes that the publisher has nothing newer than what is held.
func (s *source) confirm(learned stamp) {
	s.loading.Lock()
	defer s.loading.Unlock()
	l := *s.lists.Load()
	l.confirmed = learned
	s.lists.Store(&l)
}

func newHoldings() *holdings {
	h := new(holdings)
	h.lists.Store(new(lists).ready())
	return h
}

// A tag is what the publisher at an address called the list that is held.
type tag struct {
	etag, address string
	sha256        [32]byte
}

// ages say how long evidence of one issuer is believed.
type ages struct {
	skew, crl, delta time.Duration
}

// lists are the CRLs that are held, replaced as a whole. Without a base, trouble says why.
type lists struct {
	base, delta *CRL
	trouble     error

	confirmed stamp    // when a publisher last gave one of them, or said that it has no newer one
	together  bool     // what combined says
	proof     Evidence // what evidence says
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
// base or an older one (only BaseNumber is comparable, the NCA numbers its deltas apart), is not
// older, and is about the same certificates (RFC 5280 §6.3.3 (c)).
func (l *lists) combined() bool {
	return l.base != nil && l.delta != nil && compareNumbers(l.delta.BaseNumber, l.base.Number) <= 0 &&
		!l.delta.ThisUpdate.Before(l.base.ThisUpdate) && bytes.Equal(scopeOf(l.delta), scopeOf(l.base))
}

// find tells what the lists say of serial, no matter how old they are.
func (l *lists) find(serial []byte) (finding, error) {
	if !l.name(serial) {
		return finding{state: good, evidence: l.proof}, nil
	}
	if l.contradict(serial) {
		return finding{}, gateway.Errorf(gateway.EvidenceConflict, "the delta CRL removes a certificate that the full list revokes for good")
	}
	k := l.says(serial)
	if k.state == markNothing {
		return finding{state: good, evidence: l.proof}, nil
	}
	f := k.finding()
	said := f.evidence.ThisUpdate
	if f.evidence = l.proof; said.After(f.evidence.ThisUpdate) {
		f.evidence.ThisUpdate = said
	}
	return f, nil
}

// name reports whether any of the lists has an entry for serial.
func (l *lists) name(serial []byte) bool {
	if l.base != nil {
		if _, listed := l.base.table.find(serial); listed {
			return true
		}
	}
	if l.delta != nil {
		_, listed := l.delta.table.find(serial)
		return listed
	}
	return false
}

// contradict reports whether the delta takes back what the full list it belongs to says for good.
func (l *lists) contradict(serial []byte) bool {
	if !l.together {
		return false
	}
	removed, listed := l.delta.table.find(serial)
	if !listed || removed.reason != RemoveFromCRL {
		return false
	}
	e, listed := l.base.table.find(serial)
	return listed && e.permanent()
}

// after is what is known once both lists have spoken, the older one first.
func (l *lists) after(k mark, serial []byte) mark {
	deltaFirst := l.delta != nil && l.base != nil && l.delta.ThisUpdate.Before(l.base.ThisUpdate)
	if deltaFirst {
		k = k.after(l.delta.says(serial, false))
	}
	if l.base != nil {
		k = k.after(l.base.says(serial, false))
	}
	if l.delta != nil && !deltaFirst {
		k = k.after(l.delta.says(serial, l.together))
	}
	return k
}

// says is what is known by the lists alone.
func (l *lists) says(serial []byte) mark { return l.after(mark{}, serial) }

// carries reports whether the full list alone says all that k says.
func (l *lists) carries(k mark, serial []byte) bool {
	if l.base == nil || k.state == markNothing {
		return false
	}
	s := l.base.says(serial, false)
	return (s.says == sayHeld || s.says == sayRevoked) && s.mark.covers(k)
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
	if now.Before(l.from(a)) {
		return time.Time{}, gateway.Errorf(gateway.EvidenceFuture, "the CRL is dated after now")
	}
	until := l.until(a)
	if now.After(until) {
		return until, gateway.Errorf(gateway.EvidenceStale, "the newest CRL is too old (usable until %s)", until.Format(time.RFC3339))
	}
	return until, nil
}

// from is since when the lists can be believed; there must be a base.
func (l *lists) from(a ages) time.Time {
	from := l.base.ThisUpdate
	if l.together && l.delta.ThisUpdate.After(from) {
		from = l.delta.ThisUpdate
	}
	return from.Add(-a.skew)
}

// until is how long the lists prove something; there must be a base.
func (l *lists) until(a ages) time.Time {
	until := earliest(l.base.NextUpdate, l.base.ThisUpdate.Add(a.crl))
	if l.together {
		if u := earliest(l.base.NextUpdate, l.delta.NextUpdate, l.delta.ThisUpdate.Add(a.delta)); u.After(until) {
			until = u
		}
	}
	return until
}

func earliest(t time.Time, more ...time.Time) time.Time {
	for _, u := range more {
		if u.Before(t) {
			t = u
		}
	}
	return t
}

// load verifies a downloaded list and swaps it in; unsaved is why the disk does not have it. Whatever is refused leaves the list held
// in its place: a zero-byte, truncated or forged download never replaces a good table. What the list
// in its place said goes to the ledger, and to the disk, before it is let go.
func (s *source) load(raw []byte, called tag, asDelta bool, now time.Time, learned stamp) (unsaved, err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	held := s.lists.Load()
	next := *held
	c, err := s.admit(raw, asDelta, held, now)
	if err != nil {
		if !asDelta && held.base == nil {
			next.trouble = err
			s.lists.Store(next.ready())
		}
		return nil, err
	}
	next.confirmed = learned
	gone := next.put(c, asDelta)
	keep := func() error { return s.kept.save(asDelta, c.digest, raw) }
	if gone == c {
		s.lists.Store(&next)
		if unsaved = s.ledger.retry(); unsaved == nil {
			unsaved = keep()
		}
	} else {
		unsaved = s.replace(held, next.ready(), gone, keep)
	}
	called.sha256 = c.digest
	if s.tags[index(asDelta)] = called; unsaved != nil {
		s.tags[index(asDelta)] = tag{} // got whole once more, to be kept
	}
	return unsaved, nil
}

// put sets one of the lists and returns the one that was there.
func (l *lists) put(c *CRL, asDelta bool) (gone *CRL) {
	if asDelta {
		gone, l.delta = l.delta, c
		return gone
	}
	gone, l.base, l.trouble = l.base, c, nil
	return gone
}

// replace goes from one pair of lists to the next, of which keep puts the new one on the disk. The
// file of the old list stays until the ledger has on the disk what it alone said.
func (s *source) replace(from, to *lists, gone *CRL, keep func() error) error {
	written, strike := s.turn(from, to, gone)
	err := s.ledger.save(written)
	s.lists.Store(to)
	if err == nil {
		err = keep()
	}
	struck := strike(err == nil)
	if err == nil {
		err = s.ledger.save(struck)
	}
	return err
}

func index(delta bool) int {
	if delta {
		return 1
	}
	return 0
}

// tagOf returns what the publisher at address called the list that is held now.
func (s *source) tagOf(address string, delta bool) string {
	s.loading.Lock()
	defer s.loading.Unlock()
	t := s.tags[index(delta)]
	if held := s.lists.Load().of(delta); held == nil || held.digest != t.sha256 || t.address != address {
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
	case c.scope != nil && c.scope.named && !slices.ContainsFunc(c.scope.uris, s.issuer.publishes):
		return nil, gateway.Errorf(gateway.EvidenceScope, "the CRL is of another distribution point")
	case asDelta && held.base != nil && !bytes.Equal(scopeOf(c), scopeOf(held.base)):
		return nil, gateway.Errorf(gateway.EvidenceScope, "the delta CRL has another scope than the full list")
	case c.Number == nil:
		return nil, untrusted("the CRL has no number")
	case c.NextUpdate.IsZero():
		return nil, gateway.Errorf(gateway.EvidenceStale, "the CRL has no nextUpdate, so its age cannot be judged")
	case c.ThisUpdate.After(now.Add(s.ages.skew)):
		return nil, gateway.Errorf(gateway.EvidenceFuture, "the CRL is dated after now")
	case old != nil && (c.ThisUpdate.Before(old.ThisUpdate) || compareNumbers(c.Number, old.Number) < 0 && !s.ended(held, asDelta, now)):
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

// ended reports whether a list that is held proves nothing any more, so that a newer one with a lower
// number may take its place: a CA that counts anew is not locked out for ever.
func (s *source) ended(held *lists, asDelta bool, now time.Time) bool {
	if asDelta {
		return now.After(s.deltaEnds(held.delta))
	}
	_, err := held.fresh(s.ages, now)
	return err != nil
}

// freshness tells until when the lists of this issuer prove a certificate good, or why they do not.
func (s *source) freshness(now time.Time) (time.Time, error) {
	if s.issuer.CRL == "" {
		return time.Time{}, errNoList
	}
	l := s.lists.Load()
	return s.fresh(l, s.clock.since(&l.confirmed, now))
}

// A proof is from when to when a pair of lists proves something, so that not every look-up works it out.
type proof struct {
	of          *lists
	from, until time.Time
}

// fresh is lists.fresh with the ages of this issuer.
func (s *source) fresh(l *lists, now time.Time) (time.Time, error) {
	p := s.proves.Load()
	if p == nil || p.of != l {
		p = &proof{of: l}
		if l.base != nil {
			p.from, p.until = l.from(s.ages), l.until(s.ages)
		}
		s.proves.Store(p)
	}
	if now.Before(p.from) || now.After(p.until) {
		return l.fresh(s.ages, now)
	}
	return p.until, nil
}

// inLists tells what the lists say of a certificate of this issuer, and whether they are
// fresh enough to prove it good.
func (s *source) inLists(cert *trust.Certificate, now time.Time) (f finding, fresh, err error) {
	l := s.lists.Load()
	if s.ledger.none(cert.Serial) && s.lists.Load() == l { // nearly always
		f, err = l.find(cert.Serial)
	} else {
		l, f, err = s.said(cert.Serial)
	}
	if err != nil {
		return f, nil, err
	}
	if s.issuer.CRL == "" {
		return f, errNoList, nil
	}
	now = s.clock.since(&l.confirmed, now)
	f.evidence.UsableUntil, fresh = s.fresh(l, now)
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
