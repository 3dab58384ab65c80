package sqlitejournal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
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
	bodies := prepare(st.Bodies)
	return s.submit(ctx, func(w *writing) error { return w.advance(l, st, events, bodies) })
}

// updateItem ends a lease. A signal that arrived while the step ran must not wait for the
// planned wake time.
const updateItem = `UPDATE item SET state = ?, attempt = ?, wake = CASE WHEN pending > ? THEN ? ELSE ? END, doc = ?, updated = ?, version = version + 1, leased = 0, pending = pending - ?,
	events = ?, bodies = ? WHERE seq = ? AND version = ? AND leased = 1`

func (w *writing) advance(l journal.Lease, st journal.Step, events []byte, bodies []prepared) error {
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
	next.events = joined(had.events, events)
	next.item.State, next.item.Attempt, next.item.Doc, next.item.Updated = st.State, st.Attempt, slices.Clone(st.Doc), fromMicro(at)
	next.item.Version++
	if len(bodies)+len(st.Erase) > 0 {
		if next.places, err = w.rewrite(had.places, bodies, st.Erase); err != nil {
			return err
		}
	}
	object, err := next.places.encode()
	if err != nil {
		return engineError{err}
	}
	res, err := w.exec(updateItem, string(st.State), st.Attempt, len(l.Inbox), at, toWake(st.Wake), st.Doc, at, taken, next.events, object, had.seq, l.Item.Version)
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
	all, err := readPlaces(r.bodies)
	if err != nil {
		return nil, engineError{err}
	}
	return &known{row: r, places: all, leased: true}, nil
}

// placed puts in where those that were prepared will lie.
func (w *writing) placed(all places, bodies []prepared) places {
	after := 0
	for _, p := range bodies {
		all = all.with(p.name, w.bodies.at(p.what, after))
		after += len(p.data)
	}
	return all
}

// rewrite adds bodies and marks others as gone, whose bytes it plans to wipe.
func (w *writing) rewrite(had places, bodies []prepared, erase []string) (places, error) {
	all := w.placed(append(make(places, 0, len(had)+len(bodies)), had...), bodies)
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

// remove ends an item with its bodies and messages.
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
	for _, n := range all {
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
