package revocation

import (
	"sync"
	"time"
)

const (
	// DefaultLateWindow is how long a decision is remembered to be compared with newer evidence.
	DefaultLateWindow = 72 * time.Hour
	// MaxLate bounds the certificates remembered for one issuer; 80 octets each, about.
	MaxLate = 200_000
)

// A Late is a revocation that was in force when the certificate was decided good, and came to
// be known afterwards: the gap between what a CA knows and what it has published cannot be
// closed, only watched.
type Late struct {
	Issuer      string    // label
	Serial      []byte    // magnitude
	First, Last time.Time // the decisions: the earliest and the latest one remembered
	RevokedAt   time.Time
	Reason      CRLReason
	Evidence    Evidence
}

// Decisions remember when certificates of one issuer were decided good, for one to two windows.
// They are bounded in entries and safe for concurrent use.
type decisions struct {
	window time.Duration

	mu         sync.Mutex // guards all below
	young, old map[[serialSize]byte]span
	turned     time.Time
}

// A span is the first and the last decision, in seconds since 1970: no pointers, so that the
// garbage collector does not walk the map.
type span struct{ first, last int64 }

func newDecisions(window time.Duration) *decisions {
	return &decisions{window: window, young: make(map[[serialSize]byte]span)}
}

func keyOf(serial []byte) (key [serialSize]byte) {
	copy(key[serialSize-len(serial):], serial)
	return key
}

func (l *decisions) note(serial []byte, now time.Time) {
	key, at := keyOf(serial), now.Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.young[key]
	if !known {
		if s, known = l.old[key]; !known {
			s.first = at
		}
	}
	if known && s.last == at {
		return
	}
	s.last = max(s.last, at)
	if now.Sub(l.turned) > l.window || len(l.young) >= MaxLate/2 {
		l.old, l.young, l.turned = l.young, make(map[[serialSize]byte]span), now
	}
	l.young[key] = s
}

// take returns and forgets the decisions about serial if the last one came at or after revokedAt.
func (l *decisions) take(serial []byte, revokedAt time.Time) (span, bool) {
	key := keyOf(serial)
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.young[key]
	if !known {
		s, known = l.old[key]
	}
	if !known || s.last < revokedAt.Unix() {
		return span{}, false
	}
	delete(l.young, key)
	delete(l.old, key)
	return s, true
}

func (l *decisions) serials() [][serialSize]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([][serialSize]byte, 0, len(l.young)+len(l.old))
	for k := range l.young {
		out = append(out, k)
	}
	for k := range l.old {
		if _, again := l.young[k]; !again {
			out = append(out, k)
		}
	}
	return out
}

// late tells the observer if f, which is new, revokes what was decided good in the meantime.
func (c *Checker) late(s *source, serial []byte, f finding) {
	if s.decided == nil || f.state != revoked && f.state != held {
		return
	}
	decided, ok := s.decided.take(serial, f.revokedAt)
	if !ok {
		return
	}
	c.metrics.late.WithLabelValues(s.label).Inc()
	c.log.Warn("a certificate was decided good although it had been revoked; the evidence came later", "issuer", s.label, "revoked_at", f.revokedAt, "reason_code", int(f.reason))
	c.config.Late(Late{Issuer: s.label, Serial: append([]byte(nil), serial...), First: time.Unix(decided.first, 0).UTC(), Last: time.Unix(decided.last, 0).UTC(),
		RevokedAt: f.revokedAt, Reason: f.reason, Evidence: f.evidence})
}

// lateInLists compares a list that was just loaded with all that is remembered.
func (c *Checker) lateInLists(s *source) {
	if s.decided == nil {
		return
	}
	for _, key := range s.decided.serials() {
		serial := magnitudeOf(&key)
		if _, f, err := s.said(serial); err == nil {
			c.late(s, serial, f)
		}
	}
}
