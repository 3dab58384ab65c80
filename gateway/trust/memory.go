package trust

import (
	"crypto/sha256"
	"sync"
)

// A Memory keeps something for each of the certificates that came last, bounded in octets. It
// is safe for concurrent use, and looking up allocates nothing.
type Memory[V any] struct {
	limit  int // octets of one generation of one shard
	shards [memoryShards]memoryShard[V]
}

const memoryShards = 16

// A memoryShard has two generations: when the young one is full it becomes the old one, and
// what is not asked for until the next turn is forgotten.
type memoryShard[V any] struct {
	mu         sync.RWMutex // guards all below
	young, old map[[sha256.Size]byte]V
	octets     int // of young
}

// NewMemory returns a memory of at most so many octets, as its users count them.
func NewMemory[V any](octets int) *Memory[V] {
	m := &Memory[V]{limit: octets / memoryShards / 2}
	for i := range m.shards {
		m.shards[i].young = make(map[[sha256.Size]byte]V)
	}
	return m
}

// Get returns what is kept for the certificate of that fingerprint.
func (m *Memory[V]) Get(fingerprint [sha256.Size]byte) (V, bool) {
	s := &m.shards[fingerprint[0]%memoryShards]
	s.mu.RLock()
	v, ok := s.young[fingerprint]
	if !ok {
		v, ok = s.old[fingerprint]
	}
	s.mu.RUnlock()
	return v, ok
}

// Put keeps v, which with all it holds takes about that many octets.
func (m *Memory[V]) Put(fingerprint [sha256.Size]byte, v V, octets int) {
	s := &m.shards[fingerprint[0]%memoryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.octets+octets > m.limit {
		s.old, s.young, s.octets = s.young, make(map[[sha256.Size]byte]V), 0
	}
	s.young[fingerprint] = v
	s.octets += octets
}

// Footprint is about what a parsed certificate takes: its octets, and what was read from them.
func (c *Certificate) Footprint() int { return 4*len(c.Raw) + 1024 }
