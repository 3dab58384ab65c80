package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// Advance implements journal.Store; all of the step is durable when it returns nil. Bytes of
// what was erased are wiped from the segments soon after, and not forgotten over a crash.
func (s *Store) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
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
	events = CASE WHEN ? = '' THEN events WHEN length(events) = 2 THEN CAST('[' || ? || ']' AS BLOB) ELSE CAST(substr(events, 1, length(events) - 1) || ',' || ? || ']' AS BLOB) END,
	bodies = coalesce(?, bodies) WHERE id = ? AND version = ? AND leased = 1`

func (w *writing) advance(l journal.Lease, st journal.Step, events []byte, bodies []prepared) error {
	var (
		object any // nil leaves the bodies as they are
		taken  int
	)
	if len(bodies)+len(st.Erase)+len(st.Consumed) > 0 {
		seq, had, err := w.leased(l)
		if err != nil {
			return err
		}
		for _, key := range st.Consumed {
			found, err := w.consume(seq, key)
			if err != nil {
				return err
			}
			if found {
				taken++
			}
		}
		if len(bodies)+len(st.Erase) > 0 {
			if object, err = w.rewrite(had, bodies, st.Erase); err != nil {
				return err
			}
		}
	}
	at := st.At.UnixMicro()
	add := string(events)
	res, err := w.exec(updateItem, string(st.State), st.Attempt, len(l.Inbox), at, toWake(st.Wake), st.Doc, at, taken, add, add, add, object, string(l.Item.ID), l.Item.Version)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return engineError{err}
	} else if n == 0 {
		return journal.ErrLeaseLost // before any write: leased would have said so
	}
	w.under(at)
	if st.State != l.Item.State {
		w.count(l.Item.Shard, l.Item.State, -1)
		w.count(l.Item.Shard, st.State, 1)
	}
	return nil
}

// leased returns the item's number and its bodies if the lease still holds.
func (w *writing) leased(l journal.Lease) (seq int64, bodies []byte, err error) {
	err = w.row("SELECT seq, bodies FROM item WHERE id = ? AND version = ? AND leased = 1", string(l.Item.ID), l.Item.Version).Scan(&seq, &bodies)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, journal.ErrLeaseLost
	}
	if err != nil {
		return 0, nil, engineError{err}
	}
	return seq, bodies, nil
}

// places is the JSON object of an item's bodies, with those that were prepared.
func (w *writing) places(had []byte, bodies []prepared) ([]byte, error) {
	var all places
	if len(had) > 0 {
		var err error
		if all, err = readPlaces(had); err != nil {
			return nil, err
		}
	}
	return w.placed(all, bodies).encode()
}

// placed says where those that were prepared will lie.
func (w *writing) placed(all places, bodies []prepared) places {
	all = slices.Grow(all, len(bodies))
	after := 0
	for _, p := range bodies {
		all = all.with(p.name, w.bodies.at(p.what, after))
		after += len(p.data)
	}
	return all
}

// rewrite adds bodies and marks others as gone, whose bytes it plans to wipe.
func (w *writing) rewrite(had []byte, bodies []prepared, erase []string) ([]byte, error) {
	all, err := readPlaces(had)
	if err != nil {
		return nil, engineError{err}
	}
	all = w.placed(all, bodies)
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
	object, err := all.encode()
	if err != nil {
		return nil, engineError{err}
	}
	return object, nil
}

// remove ends an item with its bodies and messages.
func (w *writing) remove(l journal.Lease) error {
	seq, had, err := w.leased(l)
	if err != nil {
		return err
	}
	all, err := readPlaces(had)
	if err != nil {
		return engineError{err}
	}
	messages, err := w.messages("SELECT key, kind, at, place FROM inbox WHERE item = ?", seq)
	if err != nil {
		return err
	}
	for _, m := range messages {
		all = append(all, named{place: m.place})
	}
	for _, n := range all {
		if err := w.wipe(n.place); err != nil {
			return err
		}
	}
	if _, err := w.exec("DELETE FROM inbox WHERE item = ?", seq); err != nil {
		return err
	}
	if _, err := w.exec("DELETE FROM item WHERE seq = ?", seq); err != nil {
		return err
	}
	w.count(l.Item.Shard, l.Item.State, -1)
	return nil
}
