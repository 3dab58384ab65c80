package revocation

import (
	"sync"
	"time"
)

// A memory keeps what a responder said of the certificates of one issuer. It is bounded in
// entries and octets and safe for concurrent use.
type memory struct {
	maxBytes int
	shards   [16]shard
}

type shard struct {
	mu    sync.RWMutex // guards both below
	seen  map[[serialSize]byte]memo
	bytes int
}

// A memo is a finding and until when it answers without asking again. A failure has no finding.
type memo struct {
	finding finding
	failure error
	until   time.Time
	learned stamp
	renew   time.Time // from when a good answer is asked for again ahead of its end; zero: never
}

const memoOverhead = 240 // map slot, times and strings of one memo, about

func newMemory(maxBytes int) *memory {
	m := &memory{maxBytes: maxBytes}
	for i := range m.shards {
		m.shards[i].seen = make(map[[serialSize]byte]memo)
	}
	return m
}

func (m *memory) at(serial []byte) (*shard, [serialSize]byte) {
	key := keyOf(serial)
	// Serial numbers end in random octets.
	return &m.shards[key[serialSize-1]%byte(len(m.shards))], key
}

// recall fills in what is remembered, fresh or not, and reports whether there is anything.
func (m *memory) recall(serial []byte, into *memo) bool {
	s, key := m.at(serial)
	s.mu.RLock()
	e, ok := s.seen[key]
	s.mu.RUnlock()
	if ok {
		*into = e
	}
	return ok
}

// learn merges a new verified finding with what is known and returns what now holds: newer
// replaces older and never the reverse, a permanent revocation stays, and a hold is lifted
// only by a newer good.
func (m *memory) learn(serial []byte, f finding, until, renew time.Time, learned stamp) finding {
	s, key := m.at(serial)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.seen[key]
	if known && old.failure == nil {
		o := old.finding
		newer := f.evidence.ThisUpdate.After(o.evidence.ThisUpdate)
		switch {
		case f.state == revoked:
		case o.state == revoked, o.state == held && f.state == good && !newer:
			return o
		case o.state == held && f.state == held && !newer:
			return o
		}
	}
	s.put(key, memo{finding: f, until: until, learned: learned, renew: renew}, m.maxBytes/len(m.shards))
	return f
}

// postpone moves the renewal of what is remembered, so that one caller renews and not all.
// It reports whether this caller is the one.
func (m *memory) postpone(serial []byte, now, next time.Time) bool {
	s, key := m.at(serial)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.seen[key]
	if !ok || e.renew.IsZero() || now.Before(e.renew) {
		return false
	}
	e.renew = next
	s.seen[key] = e
	return true
}

// stumble remembers a failure to ask until the given time, unless more is known.
func (m *memory) stumble(serial []byte, err error, until time.Time, learned stamp) {
	s, key := m.at(serial)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, known := s.seen[key]; known && old.failure == nil {
		return
	}
	s.put(key, memo{failure: err, until: until, learned: learned}, m.maxBytes/len(m.shards))
}

// put stores e and makes room by forgetting arbitrary others first; what is forgotten is asked again.
func (s *shard) put(key [serialSize]byte, e memo, limit int) {
	s.drop(key)
	size := len(e.finding.evidence.Raw) + memoOverhead
	for other := range s.seen {
		if s.bytes+size <= limit {
			break
		}
		s.drop(other)
	}
	s.seen[key] = e
	s.bytes += size
}

func (s *shard) drop(key [serialSize]byte) {
	if old, ok := s.seen[key]; ok {
		s.bytes -= len(old.finding.evidence.Raw) + memoOverhead
		delete(s.seen, key)
	}
}
