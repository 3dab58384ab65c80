package xmlsig

import (
	"bytes"
	"hash/maphash"
)

// An interner numbers byte strings in the order of their first use. It stays linear for any
// input: the first few are found by comparison, more by a hash with a random seed.
type interner struct {
	items  [][]byte // borrowed: slices of the document or of the tape's decoded values
	hashes []uint32 // of the items, kept when they outgrow the comparison
	slots  []int32  // open addressing, item number + 1; built then
	seed   maphash.Seed
}

const internCompare = 8

// find returns the number of b, or -1.
func (in *interner) find(b []byte) int32 {
	if len(in.items) <= internCompare {
		return in.among(b)
	}
	n, _ := in.lookup(b, in.hash(b))
	return n
}

// among compares b with all items.
func (in *interner) among(b []byte) int32 {
	for i, it := range in.items {
		if len(it) == len(b) && string(it) == string(b) {
			return int32(i)
		}
	}
	return -1
}

func (in *interner) hash(b []byte) uint32 { return uint32(maphash.Bytes(in.seed, b)) }

// lookup returns the number of b, or -1 and the slot where it belongs.
func (in *interner) lookup(b []byte, hash uint32) (n int32, slot uint32) {
	mask := uint32(len(in.slots) - 1)
	for h := hash & mask; ; h = (h + 1) & mask {
		n := in.slots[h]
		if n == 0 {
			return -1, h
		}
		if in.hashes[n-1] == hash && bytes.Equal(in.items[n-1], b) {
			return n - 1, h
		}
	}
}

// add returns the number of b, giving it the next one if it has none.
func (in *interner) add(b []byte) int32 {
	if len(in.items) <= internCompare {
		if n := in.among(b); n >= 0 {
			return n
		}
		if in.items = append(in.items, b); len(in.items) > internCompare {
			in.hashes = in.hashes[:0]
			for _, it := range in.items {
				in.hashes = append(in.hashes, in.hash(it))
			}
			in.rehash()
		}
		return int32(len(in.items) - 1)
	}
	hash := in.hash(b)
	n, slot := in.lookup(b, hash)
	if n >= 0 {
		return n
	}
	in.items, in.hashes = append(in.items, b), append(in.hashes, hash)
	if 4*len(in.items) > 3*len(in.slots) {
		in.rehash()
	} else {
		in.slots[slot] = int32(len(in.items))
	}
	return int32(len(in.items) - 1)
}

// rehash makes the slots anew, twice as many as there are items at least.
func (in *interner) rehash() {
	size := 64
	for size < 2*len(in.items) {
		size *= 2
	}
	if cap(in.slots) >= size {
		in.slots = in.slots[:size]
		clear(in.slots)
	} else {
		in.slots = make([]int32, size)
	}
	mask := uint32(size - 1)
	for i, hash := range in.hashes {
		h := hash & mask
		for in.slots[h] != 0 {
			h = (h + 1) & mask
		}
		in.slots[h] = int32(i + 1)
	}
}

func (in *interner) reset() {
	clear(in.items)
	in.items, in.hashes, in.slots = in.items[:0], in.hashes[:0], in.slots[:0]
}
