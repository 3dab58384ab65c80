package gost

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Bounds of a [KeyCache] unless others are given.
const (
	// DefaultKeys are remembered; a key costs about half a kilobyte.
	DefaultKeys = 1024
	// DefaultTables are held; a table takes 128 KiB for a key of 512 bits and 64 KiB for 256.
	DefaultTables = 64
)

// A KeyCache makes repeated signers cheap: a key that verifies for the second time gets a table
// of its multiples, computed in the background, with which [PublicKey.Verify] takes about a
// third of the time. Keys and tables are bounded, the least recently used go first, and at
// most one table is computed at a time, so that a flood of new signers costs a bounded share of
// one processor. Only speed depends on the cache, never a verdict. Safe for concurrent use.
type KeyCache struct {
	maxKeys, maxTables int

	clock    atomic.Uint64 // counts verifications
	building atomic.Bool

	mu     sync.Mutex // guards what follows
	keys   map[cacheID]*list.Element
	recent *list.List // of *PublicKey, the latest first
	tabled []*PublicKey
}

type cacheID struct {
	curve *Curve
	raw   string
}

// NewKeyCache returns an empty cache; numbers below 1 mean the defaults.
func NewKeyCache(keys, tables int) *KeyCache {
	if keys < 1 {
		keys = DefaultKeys
	}
	if tables < 1 {
		tables = DefaultTables
	}
	return &KeyCache{maxKeys: keys, maxTables: tables, keys: make(map[cacheID]*list.Element), recent: list.New()}
}

// PublicKey is [ParsePublicKey], but returns the same key for the same bytes while it is
// remembered. A key that was forgotten goes on working for those who hold it.
func (c *KeyCache) PublicKey(curve *Curve, le []byte) (*PublicKey, error) {
	if k := c.find(curve, le); k != nil {
		return k, nil
	}
	k, err := ParsePublicKey(curve, le)
	if err != nil {
		return nil, err
	}
	k.cache = c
	c.mu.Lock()
	defer c.mu.Unlock()
	id := cacheID{curve, string(k.raw)}
	if e, ok := c.keys[id]; ok { // somebody was faster
		return e.Value.(*PublicKey), nil
	}
	c.keys[id] = c.recent.PushFront(k)
	if len(c.keys) > c.maxKeys {
		last := c.recent.Remove(c.recent.Back()).(*PublicKey)
		delete(c.keys, cacheID{last.curve, string(last.raw)})
	}
	return k, nil
}

func (c *KeyCache) find(curve *Curve, le []byte) *PublicKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.keys[cacheID{curve, string(le)}]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*PublicKey)
}

// Len returns how many keys are remembered and how many tables are held.
func (c *KeyCache) Len() (keys, tables int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys), len(c.tabled)
}

// used notes that k verifies, and starts its table when it is due. While all tables are in
// use more often than k, it stays without one: several signers taking turns do not make each
// other's tables anew.
func (c *KeyCache) used(k *PublicKey, hasTable bool) {
	before := k.last.Swap(c.clock.Add(1))
	if hasTable || before == 0 || !c.building.CompareAndSwap(false, true) {
		return
	}
	if !c.room(before) {
		c.building.Store(false)
		return
	}
	go func() {
		defer c.building.Store(false)
		c.hold(k, k.point.comb())
	}()
}

// room reports whether a key last used at the given count may have a table.
func (c *KeyCache) room(before uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.tabled) < c.maxTables || c.tabled[c.oldest()].last.Load() < before
}

func (c *KeyCache) hold(k *PublicKey, table any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.table.Load() != nil {
		return
	}
	if len(c.tabled) == c.maxTables {
		i := c.oldest()
		c.tabled[i].table.Store(nil)
		c.tabled[i] = k
	} else {
		c.tabled = append(c.tabled, k)
	}
	k.table.Store(&table)
}

// oldest returns the index of the table that was least recently used.
func (c *KeyCache) oldest() int {
	o := 0
	for i, k := range c.tabled {
		if k.last.Load() < c.tabled[o].last.Load() {
			o = i
		}
	}
	return o
}
