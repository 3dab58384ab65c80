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
// It looks when the clock goes back, and once after Open: the correction may be why the process
// was started again.
func (s *Store) setBack(ctx context.Context, now time.Time, lease time.Duration) error {
	at := now.UnixMicro()
	last := s.claimed.Swap(at)
	if last != 0 && at >= last-clockStep.Microseconds() {
		return nil
	}
	err := s.submit(ctx, func(w *writing) error {
		if _, err := w.exec("UPDATE item SET wake = ? WHERE wake > ? AND leased = 0 AND updated > ?", at, at, at+clockStep.Microseconds()); err != nil {
			return err
		}
		// A lease that ends later than any can is held to the longest there is.
		until := now.Add(lease).UnixMicro()
		_, err := w.exec("UPDATE item SET wake = ? WHERE wake > ? AND leased = 1", until, until)
		return err
	})
	if err != nil {
		s.claimed.CompareAndSwap(at, last) // the next look tries again
	}
	return err
}
