package sqlitejournal

import (
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// memorySize is about how many bytes of items a store remembers.
const memorySize = 32 << 20

// A memory holds the items that were written last as the database has them, so that neither
// the writer nor those who ask for bodies read them back from there. It learns of a transaction
// after its COMMIT and before anybody is answered: what is remembered is durable.
//
// Only this process changes what is remembered. An operator's order from another one changes
// pending and wake, and leaves a message; these are read from the database each time.
type memory struct {
	mu sync.Mutex
	// Guarded by mu. What was not asked for since the older half was begun is forgotten with it.
	young, old generation
	limit      int // in bytes, about
}

// A generation is one half of a memory.
type generation struct {
	byID  map[gateway.RequestID]*known
	bySeq map[int64]*known
	size  int // in bytes, about
}

// A known item is never changed: what comes after it is another one.
type known struct {
	row    // without item.Wake and pending
	places places
	leased bool
	inbox  []left // not consumed when it was leased
}

// size is about what it takes, in bytes.
func (k *known) size() int {
	return 1024 + len(k.item.Doc) + len(k.events) + 192*len(k.places) + 256*len(k.inbox)
}

func (g *generation) put(k *known) {
	if g.byID == nil {
		g.byID, g.bySeq = map[gateway.RequestID]*known{}, map[int64]*known{}
	}
	if was, ok := g.byID[k.item.ID]; ok {
		g.size -= was.size()
	}
	g.byID[k.item.ID], g.bySeq[k.seq] = k, k
	g.size += k.size()
}

func (g *generation) drop(id gateway.RequestID) {
	if k, ok := g.byID[id]; ok {
		g.size -= k.size()
		delete(g.byID, id)
		if g.bySeq[k.seq] == k { // the number of what was removed is given again
			delete(g.bySeq, k.seq)
		}
	}
}

// of returns what is known of an item, nil if nothing.
func (m *memory) of(id gateway.RequestID) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.young.byID[id]; k != nil {
		return k
	}
	return m.again(m.old.byID[id])
}

func (m *memory) ofSeq(seq int64) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.young.bySeq[seq]; k != nil {
		return k
	}
	return m.again(m.old.bySeq[seq])
}

// again keeps what was asked for from being forgotten soon.
func (m *memory) again(k *known) *known {
	if k != nil {
		m.put(k)
	}
	return k
}

func (m *memory) put(k *known) {
	m.old.drop(k.item.ID)
	m.young.put(k)
	if m.young.size > m.limit/2 {
		m.old, m.young = m.young, generation{}
	}
}

// learn takes what a transaction has done, nil for what it removed.
func (m *memory) learn(news map[gateway.RequestID]*known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, k := range news {
		if k != nil {
			m.put(k)
			continue
		}
		m.old.drop(id)
		m.young.drop(id)
	}
}

// forget leaves everything to the database.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.old, m.young = generation{}, generation{}
}

// know notes what the transaction makes of an item; the memory learns it after COMMIT.
func (w *writing) know(k *known) {
	k.bodies = nil // they are in places
	k.item.Wake, k.pending = time.Time{}, 0
	w.note(k.item.ID, k)
}

// unknow notes that the transaction removes an item.
func (w *writing) unknow(id gateway.RequestID) { w.note(id, nil) }

func (w *writing) note(id gateway.RequestID, k *known) {
	if w.news == nil {
		w.news = map[gateway.RequestID]*known{}
	}
	w.news[id] = k
}

// known is an item as the transaction has it so far, nil if it must be read.
func (w *writing) known(id gateway.RequestID) *known {
	if k, ok := w.news[id]; ok {
		return k
	}
	return w.s.memory.of(id)
}

// knownSeq is known for an item's number.
func (w *writing) knownSeq(seq int64) *known {
	k := w.s.memory.ofSeq(seq)
	if k == nil {
		for _, n := range w.news { // read or made in this transaction
			if n != nil && n.seq == seq {
				return n
			}
		}
		return nil
	}
	if n, ok := w.news[k.item.ID]; ok {
		return n
	}
	return k
}

// remembered is what is known of a row that was read; nil if its places cannot be.
func remembered(r row) *known {
	all, err := readPlaces(r.bodies)
	if err != nil {
		return nil
	}
	return &known{row: r, places: all}
}

// message is the one of that key among those that were there when the item was leased.
func (k *known) message(key string) (left, bool) {
	i := slices.IndexFunc(k.inbox, func(m left) bool { return m.signal.Key == key })
	if i < 0 {
		return left{}, false
	}
	return k.inbox[i], true
}
