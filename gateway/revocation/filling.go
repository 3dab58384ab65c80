package revocation

import (
	"encoding/binary"
	mathbits "math/bits"
)

// A filling makes a table. A million records fall anywhere in megabytes, and waiting for memory
// would be most of the work; so they are laid out by the part of the table they belong to first,
// and then a part, which the processor's second cache holds, is filled at once.
type filling struct {
	keys    hashKeys
	shift   int      // of a hash to its part
	parts   [][]byte // the records of each part, in the order of the list
	entries int
	// invalid holds the few invalidityDates, by part and octet in it.
	invalid map[[2]int]int64
}

// partEntries is about the number of entries of a part: half a megabyte of the table.
const partEntries = 1 << 14

// fill begins a table of about n entries.
func fill(n int) *filling {
	bits := mathbits.Len(uint(n / partEntries))
	f := &filling{keys: newHashKeys(), shift: 64 - bits, parts: make([][]byte, 1<<bits)}
	room := (n>>bits + n>>bits/16 + 1) * recordSize // some get more than their share, and few of those grow
	for i := range f.parts {
		f.parts[i] = make([]byte, 0, room)
	}
	return f
}

// add takes an entry. seconds outside 1970-2106 are clamped: the instant is for people, the
// reason decides.
func (f *filling) add(e listed) {
	k := serialKeyOf(e.serial)
	part := int(f.keys.hash(k) >> f.shift)
	records := f.parts[part]
	at := len(records)
	if at+recordSize > cap(records) {
		records = append(make([]byte, 0, 2*at+recordSize), records...)
	}
	records = records[:at+recordSize]
	f.parts[part] = records
	r := (*[recordSize]byte)(records[at:])
	binary.BigEndian.PutUint64(r[:], k.a)
	binary.BigEndian.PutUint64(r[8:], k.b)
	binary.BigEndian.PutUint32(r[16:], k.c)
	binary.BigEndian.PutUint32(r[serialSize:], uint32(min(max(e.seconds, 0), 1<<32-1)))
	r[serialSize+4] = byte(e.reason)
	f.entries++
	if e.hasInvalid {
		if f.invalid == nil {
			f.invalid = make(map[[2]int]int64)
		}
		f.invalid[[2]int{part, at}] = e.invalid
	}
}

// done returns the table with all entries.
func (f *filling) done() *table {
	t := newTable(f.keys, f.entries)
	for part, records := range f.parts {
		for at := 0; at < len(records); at += recordSize {
			slot, counts := t.put((*[recordSize]byte)(records[at:]))
			if len(f.invalid) == 0 || !counts {
				continue
			}
			if seconds, ok := f.invalid[[2]int{part, at}]; ok {
				t.invalid[slot] = seconds
			}
		}
		f.parts[part] = nil
	}
	return t
}
