package revocation

import (
	"encoding/binary"
	mathbits "math/bits"
	"math/rand/v2"
	"time"
)

// A CRLReason is the reasonCode of RFC 5280 §5.3.1.
type CRLReason byte

const (
	Unspecified     CRLReason = 0
	KeyCompromise   CRLReason = 1
	CACompromise    CRLReason = 2
	CertificateHold CRLReason = 6
	RemoveFromCRL   CRLReason = 8 // in a delta CRL alone: no longer on hold
)

const (
	serialSize = 20
	recordSize = serialSize + 4 + 1
	// groupSize is the number of slots of a group: as many tags as a word has octets.
	groupSize = 8
	// groupLoad is the number of entries that there are for a group, on average. With it one
	// entry in thirty does not fit into its own group, and an entry takes about 37 octets.
	groupLoad = 5.6
)

// A table maps serial numbers to entries of one CRL. It holds two slices without pointers, so a
// million entries cost the garbage collector nothing. Waiting for memory is what a look-up in a
// long list costs, so there is at most one wait for a slot's record: the tags, one octet of the
// hash for each slot, are so few that the processor's second cache holds those of a million
// entries, and a serial number that is not listed is mostly turned away by them alone. Once
// filled, by a [filling], it is immutable.
type table struct {
	keys    hashKeys
	groups  uint64
	tags    []byte // of each slot; 0 is free; a group is filled from its beginning
	records []byte // of each slot: serial right-aligned in 20 octets, seconds since 1970, reason

	entries int // that are in a slot: those of different serial numbers
	// invalid holds the invalidityDate, in seconds since 1970, of the few slots that have one.
	invalid map[uint64]int64
}

// An entry is what a CRL says of a serial number.
type entry struct {
	at      time.Time
	reason  CRLReason
	invalid time.Time // since when the key was not to be trusted; zero when not said
}

func (e entry) permanent() bool { return e.reason != CertificateHold && e.reason != RemoveFromCRL }

// newTable makes room for n entries.
func newTable(keys hashKeys, n int) *table {
	groups := uint64(float64(n)/groupLoad) + 1
	return &table{keys: keys, groups: groups, tags: make([]byte, groups*groupSize), records: make([]byte, groups*groupSize*recordSize), invalid: make(map[uint64]int64)}
}

func (t *table) len() int { return t.entries }

// A serialKey is a serial number, right-aligned in 20 octets.
type serialKey struct {
	a, b uint64
	c    uint32
}

func serialKeyOf(serial []byte) serialKey {
	if len(serial) < serialSize {
		key := keyOf(serial)
		serial = key[:]
	}
	return serialKey{binary.BigEndian.Uint64(serial), binary.BigEndian.Uint64(serial[8:]), binary.BigEndian.Uint32(serial[16:])}
}

// keyIn returns the serial number of a record.
func keyIn(r *[recordSize]byte) serialKey {
	return serialKey{binary.BigEndian.Uint64(r[:]), binary.BigEndian.Uint64(r[8:]), binary.BigEndian.Uint32(r[16:])}
}

// hashKeys are random, so that nobody can choose serial numbers that collide.
type hashKeys [4]uint64

func newHashKeys() (h hashKeys) {
	for i := range h {
		h[i] = rand.Uint64()
	}
	return h
}

// hash folds 128-bit products, as wyhash does. maphash would take longer than all the rest.
func (h *hashKeys) hash(k serialKey) uint64 {
	hi, lo := mathbits.Mul64(k.a^h[0], k.b^h[1])
	hi, lo = mathbits.Mul64(hi^lo^h[2], uint64(k.c)^h[3])
	return hi ^ lo
}

// eachOctet repeats an octet in a word, as a factor.
const eachOctet = 0x0101010101010101

// slot returns the slot of k and true, or the free one where it belongs, and its tag. There is
// a free slot as long as there are not more entries than the table was made for.
func (t *table) slot(k serialKey) (at uint64, tag byte, ok bool) {
	hash := t.keys.hash(k)
	tag = max(byte(hash), 1)
	group, _ := mathbits.Mul64(hash, t.groups)
	for {
		tags := binary.LittleEndian.Uint64(t.tags[group*groupSize:])
		// The upper bit of each octet that has the tag, and of no other.
		x := tags ^ uint64(tag)*eachOctet
		for same := ^(x&(0x7f*eachOctet) + 0x7f*eachOctet | x | 0x7f*eachOctet); same != 0; same &= same - 1 {
			at = group*groupSize + uint64(mathbits.TrailingZeros64(same))/8
			if keyIn((*[recordSize]byte)(t.records[at*recordSize:])) == k {
				return at, tag, true
			}
		}
		if tags>>56 == 0 {
			return group*groupSize + uint64(mathbits.Len64(tags)+7)/8, tag, false
		}
		if group++; group == t.groups {
			group = 0
		}
	}
}

// put places a record and returns its slot; of two for one serial the permanent one counts, and
// false is returned for one that does not.
func (t *table) put(r *[recordSize]byte) (at uint64, counts bool) {
	at, tag, ok := t.slot(keyIn(r))
	to := (*[recordSize]byte)(t.records[at*recordSize:])
	if !ok {
		t.entries++
		t.tags[at] = tag
		*to = *r
		return at, true
	}
	reason := r[serialSize+4]
	if !(entry{reason: CRLReason(reason)}).permanent() {
		return at, false
	}
	to[serialSize+4] = reason
	return at, true
}

// find looks serial up, given as magnitude of at most twenty octets.
func (t *table) find(serial []byte) (e entry, ok bool) {
	if len(serial) > serialSize {
		return e, false
	}
	at, _, ok := t.slot(serialKeyOf(serial))
	if !ok {
		return e, false
	}
	return t.entryAt(at), true
}

// each calls f with every entry.
func (t *table) each(f func(key serialBytes, e entry)) {
	for at, tag := range t.tags {
		if tag != 0 {
			r := (*[recordSize]byte)(t.records[at*recordSize:])
			f(serialBytes(r[:serialSize]), t.entryAt(uint64(at)))
		}
	}
}

// entryAt reads a slot that is taken.
func (t *table) entryAt(at uint64) (e entry) {
	r := (*[recordSize]byte)(t.records[at*recordSize:])
	e.at = time.Unix(int64(binary.BigEndian.Uint32(r[serialSize:])), 0).UTC()
	e.reason = CRLReason(r[serialSize+4])
	if len(t.invalid) > 0 {
		if seconds, ok := t.invalid[at]; ok {
			e.invalid = time.Unix(seconds, 0).UTC()
		}
	}
	return e
}
