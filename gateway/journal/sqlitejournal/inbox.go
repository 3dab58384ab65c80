package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// A left message is a signal as the database keeps it: its body lies in the segments.
type left struct {
	signal journal.Signal
	place  place
}

func scanLeft(from scanner) (m left, err error) {
	var (
		at     int64
		object []byte
	)
	if err := from.Scan(&m.signal.Key, &m.signal.Kind, &at, &object); err != nil {
		return m, err
	}
	m.signal.At = fromMicro(at)
	m.place, err = readPlace(object)
	m.signal.SHA256 = m.place.SHA256
	return m, err
}

// openMessage returns a message with its body. It must not be called by the writer: the body may
// still be in the group's batch.
func (s *Store) openMessage(id gateway.RequestID, m left) (g journal.Signal, err error) {
	g = m.signal
	if m.place.Erased || m.place.Length == 0 {
		return g, nil
	}
	g.Body, err = s.openStored(m.place, nil, messageName(id, g.Key))
	return g, err
}

// messages reads messages of one item.
func (w *writing) messages(query string, seq int64) ([]left, error) {
	var all []left
	err := w.query(query, func(from scanner) error {
		m, err := scanLeft(from)
		if err != nil {
			return engineError{err}
		}
		all = append(all, m)
		return nil
	}, seq)
	return all, err
}

// inbox returns the messages that were not consumed, in order of arrival.
func (w *writing) inbox(seq int64) ([]left, error) {
	return w.messages("SELECT key, kind, at, place FROM inbox WHERE item = ? AND consumed = 0 ORDER BY n", seq)
}

// consume marks a message as seen and gives up its body; false when there was none to consume.
func (w *writing) consume(k *known, key string) (bool, error) {
	m, found := k.message(key)
	if !found {
		var err error
		m, err = scanLeft(w.row("SELECT key, kind, at, place FROM inbox WHERE item = ? AND key = ? AND consumed = 0", k.seq, key))
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, engineError{err}
		}
	}
	res, err := w.exec("UPDATE inbox SET consumed = 1, place = ? WHERE item = ? AND key = ? AND consumed = 0", m.place.gone().append(nil), k.seq, key)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil {
		return false, engineError{err}
	} else if n == 0 { // named twice in one step
		return false, nil
	}
	return true, w.wipe(m.place)
}

// What leaves a signal, in the store's own process and in an operator's: it wakes its item at once,
// whatever the clock of its writer says. A leased item is not woken, its Advance sees the message that
// is still pending.
const (
	leaveSignal   = `INSERT INTO inbox(item, key, n, kind, at, place) VALUES (?, ?, (SELECT coalesce(max(n), 0) + 1 FROM inbox WHERE item = ?), ?, ?, ?) ON CONFLICT DO NOTHING`
	wakeForSignal = `UPDATE item SET pending = pending + 1, wake = CASE WHEN leased = 0 AND (wake IS NULL OR wake > ?) THEN ? ELSE wake END WHERE seq = ?`
)

// Signal implements journal.Store; the message is durable when it returns nil.
func (s *Store) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) (journal.Signal, bool, error) {
	var (
		first left
		fresh bool
	)
	what, data := s.sealMessage(id, g)
	err := s.submit(ctx, func(w *writing) error {
		fresh = false
		seq, err := w.seq(id)
		if err != nil {
			return err
		}
		at := g.At.UnixMicro()
		res, err := w.exec(leaveSignal, seq, g.Key, seq, g.Kind, at, w.bodies.at(what, 0).append(nil))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return engineError{err}
		} else if n == 0 {
			if first, err = scanLeft(w.row("SELECT key, kind, at, place FROM inbox WHERE item = ? AND key = ?", seq, g.Key)); err != nil {
				return engineError{err}
			}
			return nil
		}
		fresh = true
		w.bodies.add(what, data)
		w.stirred = true
		wake := min(at, s.reading())
		w.under(wake)
		_, err = w.exec(wakeForSignal, wake, wake, seq)
		return err
	})
	if err != nil {
		return journal.Signal{}, false, err
	}
	if fresh {
		g.SHA256 = what.SHA256
		return g, true, nil
	}
	was, err := s.openMessage(id, first)
	if err != nil {
		return journal.Signal{}, false, damaged(id, "message "+g.Key, err)
	}
	return was, false, nil
}

// seq is the number of an item.
func (w *writing) seq(id gateway.RequestID) (seq int64, err error) {
	if k := w.known(id); k != nil {
		return k.seq, nil
	}
	err = w.row("SELECT seq FROM item WHERE id = ?", string(id)).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, journal.ErrNotFound
	}
	if err != nil {
		return 0, engineError{err}
	}
	return seq, nil
}
