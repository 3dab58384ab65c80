package sqlitejournal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/sealing"
)

// Advance implements journal.Store; all of the step is durable when it returns nil. Bytes of
// what was erased are wiped from the segments soon after, and not forgotten over a crash.
func (s *Store) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
	s.tell(st.At)
	if st.Remove {
		return s.submit(ctx, func(w *writing) error { return w.remove(l) })
	}
	// The version guards what the lease says of the item: nothing else changes its events.
	events, err := encodeEvents(len(l.Item.Events), st.Events)
	if err != nil {
		return gateway.Errorf(gateway.Internal, "encode events: %w", err)
	}
	on := s.sheet()
	defer s.used(on)
	o, err := s.outcome(ctx, l, st, events, on)
	if err != nil {
		return err
	}
	return s.submit(ctx, func(w *writing) error { return w.advance(l, st, o) })
}

// An outcome is what a step adds to an item, prepared outside the writer.
type outcome struct {
	events []byte // elements of a JSON array
	bodies []prepared
	// Of a sealed item: its key, and what the database is to have.
	key               *sealing.Key
	doc, storedEvents []byte
	// wrapped is the key in its slot if it is a new one: then bodies has those that stay, too.
	wrapped []byte
}

// outcome prepares a step. What is sealed is sealed here; where a step erases, the item gets a new
// key and the old one goes: whatever disk or backup still have of the record as it was, nobody can
// open it. The bodies that stay are sealed anew.
func (s *Store) outcome(ctx context.Context, l journal.Lease, st journal.Step, events []byte, on *sheet) (*outcome, error) {
	o := &outcome{events: events}
	if s.cfg.Keys == nil {
		o.bodies = prepare(st.Bodies, nil, on)
		return o, nil
	}
	// While the version is that of the lease nothing that is sealed can change.
	had := s.memory.of(l.Item.ID)
	if had == nil || !had.leased || had.item.Version != l.Item.Version {
		r, err := scanItem(s.reader(ctx, "SELECT "+itemColumns+" FROM item WHERE id = ? AND version = ? AND leased = 1", string(l.Item.ID), l.Item.Version))
		if errors.Is(err, journal.ErrNotFound) {
			return nil, journal.ErrLeaseLost
		}
		if err == nil {
			err = s.unseal(&r)
		}
		if err != nil {
			return nil, s.readErr("advance", err)
		}
		if had = remembered(r); had == nil {
			return nil, s.readErr("advance", fmt.Errorf("bodies of item %d are damaged", r.seq))
		}
	}
	next := had.row
	if next.key == nil { // from before there were keys
		o.bodies = prepare(st.Bodies, nil, on)
		return o, nil
	}
	if erases(had.places, st.Erase) {
		o.wrapped = s.newKey(&next)
		kept := map[string][]byte{}
		for _, n := range had.places {
			if _, replaced := st.Bodies[n.name]; replaced || n.Erased || slices.Contains(st.Erase, n.name) {
				continue
			}
			var err error
			if kept[n.name], err = s.openBody(&had.row, n); err != nil {
				return nil, damaged(l.Item.ID, "body "+n.name, err)
			}
		}
		o.bodies = prepare(kept, next.key, on)
	}
	o.bodies = append(o.bodies, prepare(st.Bodies, next.key, on)...)
	o.key = next.key
	next.step(st)
	next.events = joined(had.events, events)
	o.doc, o.storedEvents = next.sealed(st.Doc, on)
	return o, nil
}

// erases tells whether one of the names is a body that is there.
func erases(all places, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		i, ok := all.at(name)
		return ok && !all[i].Erased
	})
}

// step makes the item that a step leads to.
func (r *row) step(st journal.Step) {
	r.item.State, r.item.Attempt, r.item.Updated = st.State, st.Attempt, fromMicro(st.At.UnixMicro())
	r.item.Doc = slices.Clone(st.Doc)
	r.item.Version++
}

// updateItem ends a lease. A signal that arrived while the step ran must not wait for the
// planned wake time.
const updateItem = `UPDATE item SET state = ?, attempt = ?, wake = CASE WHEN pending > ? THEN ? ELSE ? END, doc = ?, updated = ?, version = version + 1, leased = 0, pending = pending - ?,
	events = ?, bodies = ?, key_segment = ?, key_offset = ? WHERE seq = ? AND version = ? AND leased = 1`

func (w *writing) advance(l journal.Lease, st journal.Step, o *outcome) error {
	had, err := w.leased(l)
	if err != nil {
		return err
	}
	taken := 0
	for _, key := range st.Consumed {
		found, err := w.consume(had, key)
		if err != nil {
			return err
		}
		if found {
			taken++
		}
	}
	at := st.At.UnixMicro()
	next := &known{row: had.row, places: had.places}
	next.events = joined(had.events, o.events)
	next.step(st)
	if o.wrapped != nil {
		if err := w.changeKey(next, had, o); err != nil {
			return err
		}
	}
	if len(o.bodies)+len(st.Erase) > 0 {
		if next.places, err = w.rewrite(had.places, o.bodies, st.Erase); err != nil {
			return err
		}
	}
	doc, storedEvents := st.Doc, next.events
	if o.key != nil {
		doc, storedEvents = o.doc, o.storedEvents
	}
	object, err := next.places.encode()
	if err != nil {
		return engineError{err}
	}
	res, err := w.exec(updateItem, string(st.State), st.Attempt, len(l.Inbox), at, toWake(st.Wake), doc, at, taken, storedEvents, object, next.slot.segment, next.slot.offset, had.seq, l.Item.Version)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return engineError{err}
	} else if n != 1 {
		return engineError{fmt.Errorf("item %d is not as it was", had.seq)}
	}
	w.know(next)
	w.stirred = w.stirred || !st.Wake.IsZero() && !st.Wake.After(st.At)
	w.under(at)
	if st.State != l.Item.State {
		w.count(l.Item.Shard, l.Item.State, -1)
		w.count(l.Item.Shard, st.State, 1)
	}
	return nil
}

// joined puts elements to those of a JSON array.
func joined(array, elements []byte) []byte {
	if len(elements) == 0 {
		return array
	}
	b := append(make([]byte, 0, len(array)+len(elements)+1), array[:len(array)-1]...)
	if len(array) > 2 {
		b = append(b, ',')
	}
	return append(append(b, elements...), ']')
}

// leased returns the item if the lease still holds.
func (w *writing) leased(l journal.Lease) (*known, error) {
	if k := w.known(l.Item.ID); k != nil && k.leased && k.item.Version == l.Item.Version {
		return k, nil
	}
	r, err := scanItem(w.row("SELECT "+itemColumns+" FROM item WHERE id = ? AND version = ? AND leased = 1", string(l.Item.ID), l.Item.Version))
	if errors.Is(err, journal.ErrNotFound) {
		return nil, journal.ErrLeaseLost
	}
	if err != nil {
		return nil, engineError{err}
	}
	if err := w.s.unseal(&r); err != nil {
		return nil, engineError{err}
	}
	all, err := readPlaces(r.bodies)
	if err != nil {
		return nil, engineError{err}
	}
	return &known{row: r, places: all, leased: true}, nil
}

// changeKey puts the item under its new key. Nothing of it is readable under the old one, which goes
// with the bytes of all bodies that were sealed under it.
func (w *writing) changeKey(next, had *known, o *outcome) error {
	next.key, next.slot = o.key, w.slot(o.wrapped)
	w.bodies.put(o.wrapped)
	if err := w.wipe(had.slot.place()); err != nil {
		return err
	}
	for _, p := range o.bodies {
		if i, ok := had.places.at(p.name); ok {
			if err := w.wipe(had.places[i].place); err != nil {
				return err
			}
		}
	}
	return nil
}

// placed puts in where those that were prepared will lie, so many bytes after the batch's end.
func (w *writing) placed(all places, bodies []prepared, after int) places {
	for _, p := range bodies {
		all = all.with(p.name, w.bodies.at(p.what, after))
		after += len(p.data)
	}
	return all
}

// rewrite adds bodies and marks others as gone, whose bytes it plans to wipe.
func (w *writing) rewrite(had places, bodies []prepared, erase []string) (places, error) {
	all := w.placed(append(make(places, 0, len(had)+len(bodies)), had...), bodies, 0)
	w.bodies.take(bodies)
	for _, name := range erase {
		i, ok := all.at(name)
		if !ok || all[i].Erased {
			continue
		}
		if err := w.wipe(all[i].place); err != nil {
			return nil, err
		}
		all[i].place = all[i].gone()
	}
	return all, nil
}

// remove ends an item with its bodies, its messages and its key.
func (w *writing) remove(l journal.Lease) error {
	had, err := w.leased(l)
	if err != nil {
		return err
	}
	messages, err := w.messages("SELECT key, kind, at, place FROM inbox WHERE item = ?", had.seq)
	if err != nil {
		return err
	}
	all := slices.Clone(had.places)
	for _, m := range messages {
		all = append(all, named{place: m.place})
	}
	for _, n := range append(all, named{place: had.slot.place()}) {
		if err := w.wipe(n.place); err != nil {
			return err
		}
	}
	if _, err := w.exec("DELETE FROM inbox WHERE item = ?", had.seq); err != nil {
		return err
	}
	if _, err := w.exec("DELETE FROM item WHERE seq = ?", had.seq); err != nil {
		return err
	}
	w.unknow(l.Item.ID)
	w.count(l.Item.Shard, l.Item.State, -1)
	return nil
}
