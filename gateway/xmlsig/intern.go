package xmlsig

import (
	"bytes"
	"hash/maphash"
)

// An interner numbers byte strings in the order of their first use. It stays linear for any
// input: the first few are found by comparison, more by a hash with a random seed.
type interner struct {
	items [][]byte // borrowed: slices of the document or of the tape's decoded values
	slots []int32  // open addressing, item number + 1; built when items outgrow the comparison
	seed  maphash.Seed
}

const internCompare = 8

// find returns the number of b, or -1.
func (in *interner) find(b []byte) int32 {
	if len(in.items) <= internCompare {
		for i, it := range in.items {
			if len(it) == len(b) && string(it) == string(b) {
				return int32(i)
			}
		}
		return -1
	}
	mask := uint64(len(in.slots) - 1)
	for h := maphash.Bytes(in.seed, b) & mask; ; h = (h + 1) & mask {
		n := in.slots[h]
		if n == 0 {
			return -1
		}
		if bytes.Equal(in.items[n-1], b) {
			return n - 1
		}
	}
}

// add returns the number of b, giving it the next one if it has none.
func (in *interner) add(b []byte) int32 {
	if n := in.find(b); n >= 0 {
		return n
	}
	in.items = append(in.items, b)
	n := len(in.items)
	switch {
	case n <= internCompare:
	case n == internCompare+1 || 2*n > len(in.slots):
		in.rehash()
	default:
		in.place(int32(n))
	}
	return int32(n - 1)
}

func (in *interner) rehash() {
	size := 64
	for size < 4*len(in.items) {
		size *= 2
	}
	if cap(in.slots) >= size {
		in.slots = in.slots[:size]
		clear(in.slots)
	} else {
		in.slots = make([]int32, size)
	}
	for i := range in.items {
		in.place(int32(i + 1))
	}
}

func (in *interner) place(n int32) {
	mask := uint64(len(in.slots) - 1)
	h := maphash.Bytes(in.seed, in.items[n-1]) & mask
	for in.slots[h] != 0 {
		h = (h + 1) & mask
	}
	in.slots[h] = n
}

func (in *interner) reset() {
	clear(in.items)
	in.items = in.items[:0]
	in.slots = in.slots[:0]
	if cap(in.slots) > 4096 {
		in.slots = nil
	}
}
