package redisjournal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// keptSignal is a signal in the accept journal.
type keptSignal struct {
	ID     gateway.RequestID
	Signal journal.Signal
}

// check examines the masters, puts back what a new one may lack, and says whether the journal
// may be written to. It is called before the first call and then by the watch alone.
func (s *Store) check(ctx context.Context) error {
	all, err := s.probe.examine(ctx)
	if err != nil {
		err = gateway.Errorf(gateway.JournalUnavailable, "%w", err)
		s.guard.refuse(err)
		return err
	}
	s.guard.survey(all)
	var identities, unsafe []string
	for _, one := range all {
		if err := s.guard.judge(one); err != nil {
			s.guard.refuse(err)
			return err
		}
		identities = append(identities, one.identity)
		unsafe = append(unsafe, one.unsafe...)
	}
	s.warn(unsafe)
	slices.Sort(identities)
	known := true
	for _, id := range identities {
		known = known && s.guard.knows(id)
	}
	if !known {
		s.guard.refuse(gateway.Errorf(gateway.JournalUnavailable, "Redis was restarted or replaced; what this gateway accepted is put back first"))
		if err := s.putBack(ctx, false, s.cfg.Now()); err != nil {
			return gateway.Errorf(gateway.JournalUnavailable, "put back what was accepted: %w", err)
		}
		if err := s.accepts.admit(ctx, identities); err != nil {
			return gateway.Errorf(gateway.JournalUnavailable, "the accept journal: %w", err)
		}
	}
	s.guard.mu.Lock()
	defer s.guard.mu.Unlock()
	if !known && len(s.guard.admitted) > 0 {
		s.guard.unsettled = time.Now().Add(s.cfg.Settle)
	}
	s.guard.admitted, s.guard.refusal = identities, nil
	return nil
}

// warn is loud about what the operator accepted, whenever it changes.
func (s *Store) warn(unsafe []string) {
	text := strings.Join(unsafe, "; ")
	s.guard.mu.Lock()
	changed := s.guard.unsafe != text
	s.guard.unsafe = text
	s.guard.mu.Unlock()
	if changed && text != "" {
		s.cfg.Log.Error("the journal MAY LOSE acknowledged requests, as accept_loss allows", "because", text)
	}
}

// putBackBatch is how many entries are compared with Redis in one round.
const putBackBatch = 256

// putBackAtOnce is how many missing entries are sent at once.
const putBackAtOnce = 16

// putBack compares the accept journal with Redis and sends what is missing there. With open,
// only what Redis has not answered.
func (s *Store) putBack(ctx context.Context, open bool, before time.Time) error {
	var compared, restored int
	start := time.Now()
	// Signals after requests: a signal's item may come back here.
	for _, kind := range []int{entryCreate, entrySignal} {
		for last := int64(0); ; {
			batch, err := s.accepts.after(ctx, last, open, before, putBackBatch)
			if err != nil {
				return err
			}
			if len(batch) == 0 {
				break
			}
			last = batch[len(batch)-1].n
			batch = slices.DeleteFunc(batch, func(e accepted) bool { return e.kind != kind })
			missing, err := s.missing(ctx, batch)
			if err != nil {
				return err
			}
			compared += len(batch)
			// Side by side, so that they share an fsync. Messages of one item may change their order.
			var back atomic.Int64
			group, gctx := errgroup.WithContext(ctx)
			group.SetLimit(putBackAtOnce)
			for _, e := range missing {
				group.Go(func() error {
					fresh, err := s.restore(gctx, e)
					if fresh {
						back.Add(1)
					}
					return err
				})
			}
			err = group.Wait()
			restored += int(back.Load())
			if err != nil {
				return err
			}
		}
	}
	if restored > 0 || !open && compared > 0 {
		s.cfg.Log.Warn("compared what was accepted with Redis", "entries", compared, "put_back", restored, "took", time.Since(start))
	}
	s.restored.Add(int64(restored))
	return nil
}

// missing returns the entries that Redis has not, and notes the others as kept.
func (s *Store) missing(ctx context.Context, batch []accepted) ([]accepted, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	found := make([]func() bool, len(batch))
	_, err := s.probe.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, e := range batch {
			if e.kind == entryCreate {
				n := p.Exists(ctx, s.key(keyItem, e.id), s.key(keyGone, e.id))
				found[i] = func() bool { return n.Val() > 0 }
				continue
			}
			b := p.HExists(ctx, s.key(keyInbox, e.id), "n:"+e.key)
			found[i] = b.Val
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []accepted
	for i, e := range batch {
		switch {
		case !found[i]():
			out = append(out, e)
		case e.done == entryOpen:
			s.accepts.settle(e.n, entryKept)
		}
	}
	return out, nil
}

// restore sends one entry again; ids and keys make that safe.
func (s *Store) restore(ctx context.Context, e accepted) (bool, error) {
	data, err := s.accepts.data(ctx, e.n)
	if err != nil {
		return false, err
	}
	if e.kind == entryCreate {
		var n journal.New
		if err := json.Unmarshal(data, &n); err != nil {
			return false, fmt.Errorf("entry %d: %w", e.n, err)
		}
		_, gone, err := s.create(ctx, s.probe, n, true)
		switch {
		case errors.Is(err, journal.ErrDuplicate):
			s.accepts.settle(e.n, entryKept)
			return false, nil
		case errors.Is(err, journal.ErrReplay):
			// Between the failover and now its message id was used for other content elsewhere.
			s.cfg.Log.Error("a request that was accepted here cannot be put back: its message id has other content now", "request", e.id, "acknowledged", e.done == entryKept)
			s.accepts.settle(e.n, entryVoid)
			return false, nil
		case gone, gateway.ReasonOf(err) == gateway.Internal && err != nil:
			s.accepts.settle(e.n, entryVoid)
			return false, nil
		case err != nil:
			return false, err
		}
		s.accepts.settle(e.n, entryKept)
		return true, nil
	}
	var k keptSignal
	if err := json.Unmarshal(data, &k); err != nil {
		return false, fmt.Errorf("entry %d: %w", e.n, err)
	}
	_, fresh, gone, err := s.signal(ctx, s.probe, k.ID, k.Signal, s.clock())
	switch {
	case gone:
		s.accepts.settle(e.n, entryVoid)
		return false, nil
	case errors.Is(err, journal.ErrNotFound):
		// Its item may be in the accept journal of another gateway that has not put it back yet.
		s.accepts.settle(e.n, entryOpen)
		return false, nil
	case err != nil:
		return false, err
	}
	s.accepts.settle(e.n, entryKept)
	return fresh, nil
}

// watch examines Redis again and again, and keeps the accept journal in order.
func (s *Store) watch() {
	defer close(s.watched)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-s.stop; cancel() }()
	every, room := time.NewTicker(s.cfg.CheckEvery), time.NewTicker(min(s.cfg.CheckEvery, roomEvery))
	defer every.Stop()
	defer room.Stop()
	var pruned time.Time
	orphaned := time.Now()
	for {
		full := false
		select {
		case <-s.stop:
			return
		case <-s.guard.kick:
			full = true
		case <-every.C:
			full = true
		case <-room.C:
			full = s.guard.writable() != nil // sooner, so that work goes on sooner
		}
		s.weigh(ctx)
		s.accepts.fold(ctx)
		if !full {
			continue
		}
		before := s.guard.writable()
		err := s.check(ctx)
		if err != nil && ctx.Err() == nil && (before == nil || before.Error() != err.Error()) {
			s.cfg.Log.Error("the journal is not written to", "error", err)
		}
		if err == nil && before != nil {
			s.cfg.Log.Info("the journal is written to again")
		}
		if err != nil {
			continue
		}
		// What a broken connection left open is settled when no call can still be on its way.
		if err := s.putBack(ctx, true, s.cfg.Now().Add(-3*s.cfg.Timeout)); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("settle what was left open", "error", err)
		}
		if now := time.Now(); now.Sub(pruned) > sweepEvery {
			pruned = now
			if open, err := s.accepts.prune(ctx, s.cfg.Now().Add(-s.cfg.Keep)); err != nil || open > 0 {
				s.cfg.Log.Error("prune the accept journal", "never_answered", open, "error", err)
			}
			s.tidy(ctx, &orphaned)
		}
	}
}

// tidy moves what is finished to the archive, and once a day looks for what was left there.
func (s *Store) tidy(ctx context.Context, orphaned *time.Time) {
	n, err := s.sweep(ctx)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("archive", "archived", n, "error", err)
	} else if n > 0 {
		s.cfg.Log.Info("archived", "requests", n)
	}
	if time.Since(*orphaned) < orphanEvery {
		return
	}
	*orphaned = time.Now()
	if n, err := s.orphans(ctx); err != nil || n > 0 {
		s.cfg.Log.Warn("files in the archive that nothing named", "deleted", n, "error", err)
	}
}

// roomEvery is how often Redis' memory is looked at.
const roomEvery = 500 * time.Millisecond

// weigh looks at the memory of the server that holds this journal.
func (s *Store) weigh(ctx context.Context) {
	n, err := s.probe.node(ctx, s.key(keySeq))
	if err != nil {
		return
	}
	if one, err := look(ctx, n); err == nil {
		s.guard.weigh(one)
	}
}

// Restored returns how many requests and messages were put back since the start.
func (s *Store) Restored() int64 { return s.restored.Load() }
