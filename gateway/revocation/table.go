package revocation

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	mathbits "math/bits"
	"slices"
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
	// maxRecords fit into a slot; no CRL of [MaxCRLBytes] has more, its entries take 20 octets or more.
	maxRecords = 1<<24 - 1
)

// A table maps serial numbers to entries of one CRL. It holds two slices without pointers,
// so a million entries cost the garbage collector nothing: 25 bytes each and their slots.
// Once built it is immutable.
type table struct {
	seed    maphash.Seed
	records []byte   // serial right-aligned in 20 octets, seconds since 1970, reason
	slots   []uint32 // 1 + number of the record, below an octet of the hash; 0 is free
	shift   int      // of a hash to the index of its slot

	repeated int // records that say no more than an earlier one
	// invalid holds the invalidityDate, in seconds since 1970, of the few records that have one.
	invalid map[uint32]int64
}

// An entry is what a CRL says of a serial number.
type entry struct {
	at      time.Time
	reason  CRLReason
	invalid time.Time // since when the key was not to be trusted; zero when not said
}

func (e entry) permanent() bool { return e.reason != CertificateHold && e.reason != RemoveFromCRL }

// newTable makes room for the records of about n entries.
func newTable(n int) *table {
	return &table{seed: maphash.MakeSeed(), records: make([]byte, 0, n*recordSize)}
}

func (t *table) len() int { return len(t.records)/recordSize - t.repeated }

// add takes an entry; find sees it after build. seconds outside 1970-2106 are clamped: the
// instant is for people, the reason decides.
func (t *table) add(e listed) {
	n := len(t.records)
	if n+recordSize > cap(t.records) {
		t.records = slices.Grow(t.records, n/2+recordSize)
	}
	t.records = t.records[:n+recordSize]
	r := (*[recordSize]byte)(t.records[n:])
	copy(r[serialSize-len(e.serial):], e.serial)
	binary.BigEndian.PutUint32(r[serialSize:], uint32(min(max(e.seconds, 0), 1<<32-1)))
	r[serialSize+4] = byte(e.reason)
	if e.hasInvalid {
		if t.invalid == nil {
			t.invalid = make(map[uint32]int64)
		}
		t.invalid[uint32(n/recordSize)] = e.invalid
	}
}

// partBits is the number of bits of a slot's index inside one part of the slots: 64 KiB, which
// the nearest cache but one holds beside everything else.
const partBits = 14

// build makes the slots, with a load of at most one half. A million records fall anywhere in
// megabytes of slots, and waiting for memory would be most of the work; so they are sorted by
// the part of the slots they belong to first, and the parts are filled one after the other.
func (t *table) build() {
	n := len(t.records) / recordSize
	bits := max(3, mathbits.Len(uint(max(2*n, 1)-1)))
	t.shift = 64 - bits
	t.slots = make([]uint32, 1<<bits)
	parts := 1 << max(bits-partBits, 0)
	ends := make([]uint32, parts+1)
	hashes := make([]uint64, n)
	part := func(hash uint64) uint64 { return hash >> 32 >> (32 - (bits - partBits)) }
	if parts == 1 {
		part = func(uint64) uint64 { return 0 }
	}
	for i := range hashes {
		hashes[i] = maphash.Bytes(t.seed, t.records[i*recordSize:][:serialSize])
		ends[part(hashes[i])+1]++
	}
	for i := 1; i <= parts; i++ {
		ends[i] += ends[i-1]
	}
	order := make([]uint64, n) // the upper bits of the hash above the number of the record
	for i, hash := range hashes {
		p := part(hash)
		order[ends[p]] = hash&^maxRecords | uint64(i)
		ends[p]++
	}
	for _, o := range order {
		t.place(o, int(o&maxRecords))
	}
}

// place puts record number n into the slots; of two for one serial the permanent one counts.
func (t *table) place(hash uint64, n int) {
	record := t.records[n*recordSize:][:recordSize]
	i, mark := t.slot(hash, record)
	if s := t.slots[i]; s != 0 {
		t.repeated++
		if reason := CRLReason(record[serialSize+4]); (entry{reason: reason}).permanent() {
			first := s&maxRecords - 1
			t.records[int(first)*recordSize+serialSize+4] = byte(reason)
			if seconds, ok := t.invalid[uint32(n)]; ok {
				t.invalid[first] = seconds
			}
		}
		return
	}
	t.slots[i] = mark | uint32(n+1)
}

// slot returns the slot of serial, or the free one where it belongs, and the mark to put there.
// The upper octet of a slot is part of the hash, so that a record, which is likely in no
// cache, is read only when it is the right one.
func (t *table) slot(hash uint64, serial []byte) (at int, mark uint32) {
	mask := len(t.slots) - 1
	mark = uint32(hash) &^ maxRecords
	for i := int(hash >> t.shift); ; i = (i + 1) & mask {
		n := t.slots[i]
		if n == 0 || n&^maxRecords == mark && bytes.Equal(t.records[int(n&maxRecords-1)*recordSize:][:serialSize], serial[:serialSize]) {
			return i, mark
		}
	}
}

// find looks serial up, given as magnitude of at most twenty octets.
func (t *table) find(serial []byte) (entry, bool) {
	if len(serial) > serialSize {
		return entry{}, false
	}
	key := keyOf(serial)
	i, _ := t.slot(maphash.Bytes(t.seed, key[:]), key[:])
	n := t.slots[i]
	if n == 0 {
		return entry{}, false
	}
	r := t.records[int(n&maxRecords-1)*recordSize+serialSize:]
	e := entry{at: time.Unix(int64(binary.BigEndian.Uint32(r)), 0).UTC(), reason: CRLReason(r[4])}
	if seconds, ok := t.invalid[n&maxRecords-1]; ok {
		e.invalid = time.Unix(seconds, 0).UTC()
	}
	return e, true
}
