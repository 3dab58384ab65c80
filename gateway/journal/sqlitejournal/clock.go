package sqlitejournal

import (
	"context"
	"time"
)

// clockStep is how far clocks may differ and go back before that is taken for a correction.
const clockStep = time.Minute

// setBack makes work due that was put off by a clock which has been set back since: what was
// written at an instant that is still to come was written under a wrong clock, and its wake
// time means nothing. Without it a gateway whose clock was an hour ahead for a moment would
// leave the requests in work at that moment, and all that wait for them, alone for an hour.
//
// It looks whenever something was written under an instant that is still to come: when the clock
// goes back, when a call that began before comes to its end after, and after a restart.
func (s *Store) setBack(ctx context.Context, now time.Time, lease time.Duration) error {
	at := now.UnixMicro()
	if s.latest.Load() <= at+latestStep.Microseconds() {
		return nil
	}
	return s.submit(ctx, func(w *writing) error {
		if _, err := w.exec("UPDATE item SET wake = ? WHERE wake > ? AND leased = 0 AND (updated > ? OR pending > 0)", at, at, at+clockStep.Microseconds()); err != nil {
			return err
		}
		// A lease that ends later than any can is held to the longest there is.
		until := now.Add(lease).UnixMicro()
		if _, err := w.exec("UPDATE item SET wake = ? WHERE wake > ? AND leased = 1", until, until); err != nil {
			return err
		}
		w.reset, w.latest = true, at
		return nil
	})
}

// tell notes what the clock says of the process that claims. It decides what is due.
func (s *Store) tell(now time.Time) { s.told.Store(now.UnixMicro()) }

// reading is the clock as it was told last; before that, as the database remembers it.
func (s *Store) reading() int64 {
	if told := s.told.Load(); told != 0 {
		return told
	}
	return s.latest.Load()
}

// latestStep is how far instants may go past the one that the database remembers.
const latestStep = 30 * time.Second

// under notes an instant that something is written under.
func (w *writing) under(at int64) { w.latest = max(w.latest, at) }

// remember keeps the latest of them, about twice a minute. It is part of the transaction.
func (w *writing) remember() error {
	if !w.reset && w.latest <= w.s.latest.Load()+latestStep.Microseconds() {
		w.latest = 0
		return nil
	}
	_, err := w.exec("UPDATE heartbeat SET latest = ?", w.latest)
	return err
}
