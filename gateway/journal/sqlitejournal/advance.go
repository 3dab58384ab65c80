package sqlitejournal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// leased is what Advance reads of the item before it writes.
type leased struct {
	seq            int64
	shard          string
	state          gateway.State
	pending        int
	events, bodies []byte
}

// Advance implements journal.Store; all of the step is durable when it returns nil. Bytes of
// what was erased are wiped from the segments soon after, and not forgotten over a crash.
func (s *Store) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
	return s.submit(ctx, func(w *writing) error {
		var it leased
		err := w.row("SELECT seq, shard, state, pending, events, bodies FROM item WHERE id = ? AND version = ? AND leased = 1", string(l.Item.ID), l.Item.Version).
			Scan(&it.seq, &it.shard, &it.state, &it.pending, &it.events, &it.bodies)
		if errors.Is(err, sql.ErrNoRows) {
			return journal.ErrLeaseLost
		}
		if err != nil {
			return engineError{err}
		}
		if st.Remove {
			return w.remove(it)
		}
		return w.advance(it, len(l.Inbox), st)
	})
}

func (w *writing) advance(it leased, seen int, st journal.Step) error {
	events, err := appendEvents(it.events, st.Events)
	if err != nil {
		return engineError{err}
	}
	bodies, err := w.addBodies(it.bodies, st.Bodies)
	if err != nil {
		return engineError{err}
	}
	if len(st.Erase) > 0 {
		if bodies, err = w.eraseBodies(bodies, st.Erase); err != nil {
			return err
		}
	}
	// A signal that arrived while the step ran must not wait for the planned wake time.
	wake := toWake(st.Wake)
	if it.pending > seen {
		wake = st.At.UnixMicro()
	}
	for _, key := range st.Consumed {
		taken, err := w.consume(it.seq, key)
		if err != nil {
			return err
		}
		if taken {
			it.pending--
		}
	}
	_, err = w.exec("UPDATE item SET state = ?, attempt = ?, wake = ?, doc = ?, updated = ?, version = version + 1, leased = 0, pending = ?, events = ?, bodies = ? WHERE seq = ?",
		string(st.State), st.Attempt, wake, st.Doc, st.At.UnixMicro(), it.pending, events, bodies, it.seq)
	if err == nil && st.State != it.state {
		w.count(it.shard, it.state, -1)
		w.count(it.shard, st.State, 1)
	}
	return err
}

// eraseBodies marks bodies as gone and plans the wiping of their bytes.
func (w *writing) eraseBodies(object []byte, names []string) ([]byte, error) {
	places := map[string]place{}
	if err := json.Unmarshal(object, &places); err != nil {
		return nil, engineError{err}
	}
	for _, name := range names {
		p, ok := places[name]
		if !ok || p.Erased {
			continue
		}
		if err := w.wipe(p); err != nil {
			return nil, err
		}
		places[name] = p.gone()
	}
	out, err := json.Marshal(places)
	if err != nil {
		return nil, engineError{err}
	}
	return out, nil
}

// remove ends an item with its bodies and messages.
func (w *writing) remove(it leased) error {
	places := map[string]place{}
	if err := json.Unmarshal(it.bodies, &places); err != nil {
		return engineError{err}
	}
	for _, p := range places {
		if err := w.wipe(p); err != nil {
			return err
		}
	}
	left, err := w.messages("SELECT key, kind, at, place FROM inbox WHERE item = ?", it.seq)
	if err != nil {
		return err
	}
	for _, m := range left {
		if err := w.wipe(m.place); err != nil {
			return err
		}
	}
	if _, err := w.exec("DELETE FROM inbox WHERE item = ?", it.seq); err != nil {
		return err
	}
	if _, err := w.exec("DELETE FROM item WHERE seq = ?", it.seq); err != nil {
		return err
	}
	w.count(it.shard, it.state, -1)
	return nil
}
