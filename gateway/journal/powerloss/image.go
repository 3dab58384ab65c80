package powerloss

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// page is the unit in which file contents survive; sector that in which a page is torn.
const (
	page   = 4096
	sector = 512
)

// A node is a file or a directory: what programs see, and apart from it what is durable.
type node struct {
	id   uint64
	mode uint32 // permission bits
	file *file  // nil for a directory
	dir  *dir   // nil for a file
}

// A file is its content.
type file struct {
	data  []byte
	kept  []byte             // durable
	dirty map[int64]struct{} // pages written since the last sync
}

func (f *file) touch(from, to int64) {
	for p := from / page; p*page < to; p++ {
		f.dirty[p] = struct{}{}
	}
}

func (f *file) write(off int64, b []byte) {
	end := off + int64(len(b))
	if old := int64(len(f.data)); end > old {
		f.data = slices.Grow(f.data, int(end-old))[:end]
		clear(f.data[old:])
	}
	copy(f.data[off:], b)
	f.touch(off, end)
}

func (f *file) truncate(size int64) {
	old := int64(len(f.data))
	if size > old {
		f.data = slices.Grow(f.data, int(size-old))[:size]
		clear(f.data[old:])
	}
	f.data = f.data[:size]
	// What lay beyond the end must not come back when the file grows again.
	f.touch(min(old, size), max(old, size))
}

// sync makes the content durable.
func (f *file) sync() {
	f.resize(len(f.data))
	for p := range f.dirty {
		f.keep(p, page)
	}
	clear(f.dirty)
}

func (f *file) resize(size int) {
	if old := len(f.kept); size > old {
		f.kept = slices.Grow(f.kept, size-old)[:size]
		clear(f.kept[old:])
	}
	f.kept = f.kept[:size]
}

// keep makes the first n bytes of a page durable, as far as the durable file reaches.
func (f *file) keep(p int64, n int) {
	from, to := p*page, min(p*page+int64(n), int64(len(f.data)), int64(len(f.kept)))
	if from < to {
		copy(f.kept[from:to], f.data[from:to])
	}
}

// cut decides what is left of the writes that were not synced: a share of the pages survives, in
// no order, one of them torn at a sector.
func (f *file) cut(share float64, dice *rand.Rand) {
	if share > 0 && len(f.dirty) > 0 {
		if dice.Float64() < share {
			// The size that the disk knows lies anywhere between the two.
			lo, hi := min(len(f.data), len(f.kept)), max(len(f.data), len(f.kept))
			f.resize(lo + dice.IntN(hi-lo+1))
		}
		torn := false
		for _, p := range slices.Sorted(maps.Keys(f.dirty)) {
			if dice.Float64() >= share {
				continue
			}
			n := page
			if !torn {
				torn, n = true, sector*dice.IntN(page/sector+1)
			}
			f.keep(p, n)
		}
	}
	f.data = slices.Clone(f.kept)
	clear(f.dirty)
}

// A dir is its entries.
type dir struct {
	entries map[string]*node
	kept    map[string]*node // durable
	changes []change         // since the last sync, in order
}

// A change is what one call does to one directory, all or nothing: names with their new nodes,
// nil for none.
type change map[string]*node

func newDir() *dir { return &dir{entries: map[string]*node{}, kept: map[string]*node{}} }

func (d *dir) apply(c change) {
	set(d.entries, c)
	d.changes = append(d.changes, c)
}

func set(entries map[string]*node, c change) {
	for name, n := range c {
		if n == nil {
			delete(entries, name)
		} else {
			entries[name] = n
		}
	}
}

// sync makes the entries durable.
func (d *dir) sync() {
	d.kept, d.changes = maps.Clone(d.entries), nil
}

// cut decides what is left of the changes that were not synced: the first ones, as a file
// system that keeps a log of its metadata leaves them.
func (d *dir) cut(share float64, dice *rand.Rand) {
	for _, c := range d.changes {
		if share == 0 || dice.Float64() >= share {
			break
		}
		set(d.kept, c)
	}
	d.entries, d.changes = maps.Clone(d.kept), nil
}

// walk visits a node and everything below it, in the order of the names.
func (n *node) walk(path string, visit func(path string, n *node) error) error {
	if err := visit(path, n); err != nil || n.dir == nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.dir.entries)) {
		if err := n.dir.entries[name].walk(path+"/"+name, visit); err != nil {
			return err
		}
	}
	return nil
}

// cutAll cuts n and everything that is then left below it.
func (n *node) cutAll(share float64, dice *rand.Rand) {
	if n.file != nil {
		n.file.cut(share, dice)
		return
	}
	n.dir.cut(share, dice)
	for _, name := range slices.Sorted(maps.Keys(n.dir.entries)) {
		n.dir.entries[name].cutAll(share, dice)
	}
}

// syncAll makes n and everything below it durable.
func (n *node) syncAll() {
	if n.file != nil {
		n.file.sync()
		return
	}
	n.dir.sync()
	for _, child := range n.dir.entries {
		child.syncAll()
	}
}
