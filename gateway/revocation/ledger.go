package revocation

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// What is known of a certificate changes by this table and by nothing else, whatever says it, in
// whichever order it comes, live ([Checker]) and offline ([Offline]) alike (RFC 5280 §5.2.4 and §6.3,
// RFC 6960 §2.2). Later compares thisUpdate, never the moment of arrival.
//
//	arriving, and verified              | nothing is known | on hold   | revoked
//	------------------------------------+------------------+-----------+--------
//	full list: revoked                  | revoked          | revoked   | revoked
//	full list: on hold                  | on hold          | on hold   | revoked
//	full list, later, does not name it  | nothing          | nothing ¹ | revoked
//	full list, not later, does not      | nothing          | on hold   | revoked
//	delta: revoked                      | revoked          | revoked   | revoked
//	delta: on hold                      | on hold          | on hold   | revoked
//	delta, later: removeFromCRL         | nothing          | nothing ² | revoked ³
//	delta, not later: removeFromCRL     | nothing          | on hold   | revoked
//	delta, does not name it             | nothing          | on hold   | revoked
//	OCSP: revoked                       | revoked          | revoked   | revoked
//	OCSP: on hold                       | on hold          | on hold   | revoked
//	OCSP, later: good                   | nothing          | nothing ⁴ | revoked
//	OCSP, not later: good               | nothing          | on hold   | revoked
//	OCSP: unknown, or never issued      | nothing          | on hold   | revoked
//
// ¹ if the list speaks of all certificates of the issuer (it has no issuingDistributionPoint), or the
// hold was said by lists of the same one.
// ² if the delta may be read together with the full list that is held: it completes that one or an
// older one, is not older than it, and both have the same issuingDistributionPoint. A delta for a full
// list that has not come yet revokes and suspends, but lifts nothing.
// ³ a full list and a later delta to it that contradict each other so are no good evidence of anything
// while they are held: the verdict is [gateway.EvidenceConflict], and revoked again afterwards.
//
// ⁴ while a list that is held still names it, a good answer lets it in only as long as that is fresh
// itself: a list that says "on hold" proves nobody good.
//
// "Nothing" is no proof: good must be shown by fresh evidence.

// A mark is what is known of one certificate; the zero mark is nothing. It has no pointers, so that
// many of them cost the garbage collector nothing. Instants are seconds since 1970.
type mark struct {
	state   markState
	reason  CRLReason
	method  saidBy
	at      int64  // of the revocation
	said    int64  // thisUpdate of the latest evidence that says so
	invalid int64  // invalidityDate; 0 when not said
	scope   uint64 // of the list that said it; 0 for one of everything, and for OCSP
}

type markState byte

const (
	markNothing markState = iota
	markHeld
	markRevoked
)

type saidBy byte

const (
	saidByOCSP saidBy = iota + 1
	saidByFull
	saidByDelta
)

func (b saidBy) String() string {
	switch b {
	case saidByFull:
		return MethodCRL
	case saidByDelta:
		return MethodDelta
	}
	return MethodOCSP
}

// A saying is what one piece of verified evidence says of one certificate.
type saying struct {
	says  word
	mark  mark // for sayRevoked and sayHeld
	at    int64
	scope uint64
}

type word byte

const (
	sayNothing word = iota // a delta that does not name it; unknown; never issued
	sayRevoked
	sayHeld
	sayAbsent  // from a full list
	sayRemoved // by a delta that may be read together with the full list held
	sayGood    // by OCSP
)

// after is the table above: what is known once s arrives.
func (k mark) after(s saying) mark {
	switch {
	case s.says == sayRevoked:
		if k.state == markRevoked && k.said >= s.at {
			return k
		}
		return s.mark
	case k.state == markRevoked:
		return k
	case s.says == sayHeld:
		if k.state == markHeld && k.said >= s.at {
			return k
		}
		return s.mark
	case k.state == markNothing, s.at <= k.said:
		return k
	case s.says == sayAbsent && (s.scope == 0 || s.scope == k.scope),
		s.says == sayRemoved && s.scope == k.scope,
		s.says == sayGood:
		return mark{}
	}
	return k
}

// covers reports whether k says all that other says.
func (k mark) covers(other mark) bool {
	return k.state > other.state || k.state == other.state && (k.state == markRevoked || k.said >= other.said)
}

// finding is the mark for a verdict; a mark of nothing has none.
func (k mark) finding() finding {
	f := finding{state: held, reason: k.reason, revokedAt: time.Unix(k.at, 0).UTC()}
	if k.state == markRevoked {
		f.state = revoked
	}
	if k.invalid != 0 {
		f.invalidSince = time.Unix(k.invalid, 0).UTC()
	}
	said := time.Unix(k.said, 0).UTC()
	f.evidence = Evidence{Method: k.method.String(), ThisUpdate: said,
		Raw: fmt.Appendf(nil, "known since %s of %s", k.method, said.Format(time.RFC3339))}
	return f
}

// scopeNumberOf tells issuingDistributionPoints apart; 0 is none.
func scopeNumberOf(c *CRL) uint64 {
	if c.scope == nil {
		return 0
	}
	// FNV-1a: written to the disk, so it must be the same in every process. Lists are verified before,
	// so nobody but the CA can choose what is hashed.
	h := uint64(14695981039346656037)
	for _, b := range c.scope.raw {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return max(h, 1)
}

// says is what a list says of a serial number.
func (c *CRL) says(serial []byte, together bool) saying {
	s := saying{at: c.ThisUpdate.Unix(), scope: c.scopeNumber}
	by := saidByDelta
	if !c.Delta() {
		s.says, by = sayAbsent, saidByFull
	}
	e, listed := c.table.find(serial)
	if !listed {
		return s
	}
	if e.reason == RemoveFromCRL {
		if together {
			s.says = sayRemoved
		}
		return s
	}
	s.says = sayHeld
	s.mark = mark{state: markHeld, reason: e.reason, method: by, at: e.at.Unix(), said: s.at, scope: s.scope}
	if !e.invalid.IsZero() {
		s.mark.invalid = e.invalid.Unix()
	}
	if e.permanent() {
		s.says, s.mark.state = sayRevoked, markRevoked
	}
	return s
}

// says is what an OCSP answer says.
func (f finding) says() saying {
	s := saying{at: f.evidence.ThisUpdate.Unix()}
	switch f.state {
	case good:
		s.says = sayGood
	case revoked, held:
		s.says, s.mark = sayHeld, mark{state: markHeld, reason: f.reason, method: saidByOCSP, at: f.revokedAt.Unix(), said: s.at}
		if !f.invalidSince.IsZero() {
			s.mark.invalid = f.invalidSince.Unix()
		}
		if f.state == revoked {
			s.says, s.mark.state = sayRevoked, markRevoked
		}
	}
	return s
}

// A ledger keeps what is known of the certificates of one issuer beyond what the lists that are held
// say: what answers said, and what stood in lists that are gone. Its size is bounded by what the issuer
// has verifiably said; what the full list carries is not in it. It is safe for concurrent use.
type ledger struct {
	shards [16]ledgerShard
	file   *ledgerFile // nil when nothing is kept beyond the process; set before any other use
}

type ledgerShard struct {
	entries atomic.Int64 // len(marks), so that nobody waits to see that there are none
	mu      sync.RWMutex // guards marks
	marks   map[serialBytes]mark
}

// serialBytes is a serial number, right-aligned.
type serialBytes = [serialSize]byte

// magnitudeOf is the serial number without the octets that fill it up.
func magnitudeOf(key *serialBytes) []byte {
	serial := key[:]
	for len(serial) > 1 && serial[0] == 0 {
		serial = serial[1:]
	}
	return serial
}

func (l *ledger) at(key *serialBytes) *ledgerShard {
	// Serial numbers end in random octets.
	return &l.shards[key[serialSize-1]%byte(len(l.shards))]
}

// none reports whether nothing is known of a certificate beyond the lists; it does not wait.
func (l *ledger) none(serial []byte) bool {
	return len(serial) == 0 || len(serial) > serialSize || l.shards[serial[len(serial)-1]%byte(len(l.shards))].entries.Load() == 0
}

// recall returns what is known of a certificate beyond the lists.
func (l *ledger) recall(serial []byte) mark {
	if l.none(serial) {
		return mark{}
	}
	key := keyOf(serial)
	s := l.at(&key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.marks[key]
}

// change replaces one mark by what next makes of it, in memory, and reports whether it differs.
func (l *ledger) change(key serialBytes, next func(mark) mark) bool {
	s := l.at(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.marks[key]
	k := next(old)
	if k == old {
		return false
	}
	switch {
	case k.state == markNothing:
		delete(s.marks, key)
	case s.marks == nil:
		s.marks = map[serialBytes]mark{key: k}
	default:
		s.marks[key] = k
	}
	s.entries.Store(int64(len(s.marks)))
	return true
}

// save puts what changed on the disk. When it returns nil, it is there, whatever happens to the machine.
func (l *ledger) save(changed []serialBytes) error {
	if l.file == nil || len(changed) == 0 {
		return nil
	}
	return l.file.save(l, changed)
}

// retry puts on the disk what the last save could not.
func (l *ledger) retry() error {
	if l.file == nil {
		return nil
	}
	return l.file.whole(l)
}

// saved reports whether all that is known is on the disk, or nothing is to be kept.
func (l *ledger) saved() bool { return l.file == nil || l.file.saved() }

// len is the number of marks.
func (l *ledger) len() (n int) {
	for i := range l.shards {
		n += int(l.shards[i].entries.Load())
	}
	return n
}

// each calls f with a copy of every mark.
func (l *ledger) each(f func(key serialBytes, k mark)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.RLock()
		marks := maps.Clone(s.marks)
		s.mu.RUnlock()
		for key, k := range marks {
			f(key, k)
		}
	}
}

// learn takes in a verified OCSP answer. It returns once the disk knows, and the disk's error; in
// memory it counts in any case.
func (s *source) learn(serial []byte, f finding) error {
	says := f.says()
	if says.says == sayNothing {
		return nil
	}
	key := keyOf(serial)
	l := s.lists.Load()
	changed := s.ledger.change(key, func(k mark) mark {
		if k = k.after(says); k.state == markNothing {
			return k
		}
		// Lists that are held and later than the answer speak after it.
		k = l.after(k, serial)
		if l.carries(k, serial) {
			return mark{}
		}
		return k
	})
	if !changed {
		return nil
	}
	return s.ledger.save([]serialBytes{key})
}

// turn moves the ledger from one pair of lists to the next: what the old list said and the new ones
// neither repeat nor take back is written down, and holds that they lift are struck out. The first
// half is done before the new lists are used, so that nothing is unknown in between; the second, which
// the caller does when they are, returns what the disk has to be told.
func (s *source) turn(from, to *lists, gone *CRL) (written []serialBytes, strike func(kept bool) []serialBytes) {
	if gone != nil {
		gone.table.each(func(key serialBytes, e entry) {
			serial := magnitudeOf(&key)
			if e.permanent() && to.base != nil {
				if now, listed := to.base.table.find(serial); listed && now.permanent() {
					return // nearly all of them
				}
			}
			if s.ledger.change(key, func(k mark) mark {
				known := to.after(from.after(k, serial), serial)
				if known.state == markNothing || to.says(serial).covers(known) {
					return k
				}
				return known
			}) {
				written = append(written, key)
			}
		})
	}
	return written, func(kept bool) (struck []serialBytes) {
		s.ledger.each(func(key serialBytes, _ mark) {
			serial := magnitudeOf(&key)
			if s.ledger.change(key, func(k mark) mark {
				k = to.after(k, serial)
				if kept && to.carries(k, serial) {
					return mark{}
				}
				return k
			}) {
				struck = append(struck, key)
			}
		})
		return struck
	}
}

// said is what is known of a certificate, no matter how old: by the lists and beyond them.
func (s *source) said(serial []byte) (l *lists, f finding, err error) {
	for {
		l = s.lists.Load()
		none := s.ledger.none(serial)
		var k mark
		if !none {
			k = s.ledger.recall(serial)
		}
		if s.lists.Load() != l {
			continue // what stood in the one is now in the other
		}
		if f, err = l.find(serial); !none {
			f, err = f.beside(err, k)
		}
		return l, f, err
	}
}

// beside is what the lists say (f, or why they say nothing) of a certificate of which k is known, too.
func (f finding) beside(err error, k mark) (finding, error) {
	switch {
	case k.state == markNothing, err == nil && f.state == revoked:
	case k.state == markRevoked:
		return k.finding(), nil
	case err != nil:
	case f.state == good:
		return k.finding(), nil
	default: // both say held; the later one says from when on a good answer lifts it
		if said := time.Unix(k.said, 0).UTC(); said.After(f.evidence.ThisUpdate) {
			f.evidence.ThisUpdate = said
		}
	}
	return f, err
}
