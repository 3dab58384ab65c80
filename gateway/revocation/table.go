package revocation

import (
	"encoding/binary"
	"hash/maphash"
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
}

// An entry is what a CRL says of a serial number.
type entry struct {
	at     time.Time
	reason CRLReason
}

func (e entry) permanent() bool { return e.reason != CertificateHold && e.reason != RemoveFromCRL }

// newTable makes room for n entries with a load of at most one half.
func newTable(n int) *table {
	size := 8
	for size < 2*n {
		size *= 2
	}
	return &table{seed: maphash.MakeSeed(), records: make([]byte, 0, n*recordSize), slots: make([]uint32, size)}
}

func (t *table) len() int { return len(t.records) / recordSize }

// slot returns the slot of serial, or the free one where it belongs, and the mark to put there.
// The upper octet of a slot is part of the hash, so that a record, which is likely in no
// cache, is read only when it is the right one.
func (t *table) slot(serial *[serialSize]byte) (at int, mark uint32) {
	hash := maphash.Bytes(t.seed, serial[:])
	mask := len(t.slots) - 1
	mark = uint32(hash>>56) << 24
	for i := int(hash) & mask; ; i = (i + 1) & mask {
		n := t.slots[i]
		if n == 0 || n&^maxRecords == mark && [serialSize]byte(t.records[int(n&maxRecords-1)*recordSize:]) == *serial {
			return i, mark
		}
	}
}

// add takes an entry; of two for one serial the permanent one stays. seconds outside
// 1970-2106 are clamped: the instant is for people, the reason decides.
func (t *table) add(serial []byte, seconds int64, reason CRLReason) {
	var key [serialSize]byte
	copy(key[serialSize-len(serial):], serial)
	i, mark := t.slot(&key)
	if n := t.slots[i]; n != 0 {
		old := t.records[int(n&maxRecords-1)*recordSize:]
		if (entry{reason: reason}).permanent() {
			old[serialSize+4] = byte(reason)
		}
		return
	}
	t.records = append(t.records, key[:]...)
	t.records = binary.BigEndian.AppendUint32(t.records, uint32(min(max(seconds, 0), 1<<32-1)))
	t.records = append(t.records, byte(reason))
	t.slots[i] = mark | uint32(t.len())
}

// find looks serial up, given as magnitude of at most twenty octets.
func (t *table) find(serial []byte) (entry, bool) {
	if len(serial) > serialSize {
		return entry{}, false
	}
	var key [serialSize]byte
	copy(key[serialSize-len(serial):], serial)
	i, _ := t.slot(&key)
	n := t.slots[i]
	if n == 0 {
		return entry{}, false
	}
	r := t.records[int(n&maxRecords-1)*recordSize+serialSize:]
	return entry{time.Unix(int64(binary.BigEndian.Uint32(r)), 0).UTC(), CRLReason(r[4])}, true
}
