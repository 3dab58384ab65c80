package sqlitejournal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"egov-gateway/gateway/private"
)

// gone is what stays of a place after erasure: what the body was.
func (p place) gone() place { return place{Length: p.Length, SHA256: p.SHA256, Erased: true} }

// wipe plans the wiping of a body's bytes: the plan is part of the transaction that erases it,
// so a crash cannot leave the bytes behind for ever.
func (w *writing) wipe(p place) error {
	if p.Erased || p.stored() == 0 {
		return nil
	}
	_, err := w.exec("INSERT OR IGNORE INTO erasure(segment, offset, length) VALUES (?, ?, ?)", p.Segment, p.Offset, p.stored())
	return err
}

// wipeBatch bounds the bodies wiped at once.
const wipeBatch = 1000

// lockWiping takes the lock that keeps wiping and backups apart, until the file is closed.
func lockWiping(dir string, how int) (*os.File, error) {
	f, err := private.OpenFile(filepath.Join(dir, "WIPE"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// wipePlanned wipes what transactions planned: the bytes first, synced, then the plan. Wiping
// twice is harmless. While a backup runs it waits for its next turn.
func (s *Store) wipePlanned() error {
	plan, err := wipePlan(background, s.read)
	if err != nil || len(plan) == 0 {
		return err
	}
	turn, err := lockWiping(s.cfg.Dir, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer turn.Close()
	if err := s.segs.wipeAll(plan); err != nil {
		return err
	}
	return s.submit(background, func(w *writing) error {
		for _, p := range plan {
			if _, err := w.exec(forgetPlan, p.Segment, p.Offset); err != nil {
				return err
			}
		}
		return nil
	})
}

const forgetPlan = "DELETE FROM erasure WHERE segment = ? AND offset = ?"

// wipePlan is what is to be wiped next, by segment; empty when nothing is.
func wipePlan(ctx context.Context, db querier) (plan []place, err error) {
	rows, err := db.QueryContext(ctx, "SELECT segment, offset, length FROM erasure ORDER BY segment, offset LIMIT ?", wipeBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p place
		if err := rows.Scan(&p.Segment, &p.Offset, &p.Length); err != nil {
			return nil, err
		}
		plan = append(plan, p)
	}
	return plan, errors.Join(rows.Err(), rows.Close())
}

// wipeAll wipes bytes in several segments.
func (s *segments) wipeAll(plan []place) error {
	for rest := plan; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(p place) bool { return p.Segment != rest[0].Segment })
		if n < 0 {
			n = len(rest)
		}
		if err := s.wipe(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// wipe takes the bytes of bodies in one segment from the disk, and syncs.
func (s *segments) wipe(places []place) error {
	f, err := os.OpenFile(s.file(places[0].Segment), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range places {
		if punch(f, p.Offset, p.Length) {
			continue
		}
		zeros := make([]byte, min(p.Length, 1<<20))
		for done := int64(0); done < p.Length; done += int64(len(zeros)) {
			if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), p.Length-done)], p.Offset+done); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}
