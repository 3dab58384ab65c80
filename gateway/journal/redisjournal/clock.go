package redisjournal

import (
	"context"
	"strconv"
	"time"
)

// clock is what the scripts are told of this gateway's clock: they turn the instants that it plans into
// those of the journal's clock, which is the Redis server's. Where the callers share a clock, that is the
// journal's, and its reading is the latest that a call has told.
func (s *Store) clock() string {
	if !s.cfg.CallersClock {
		return micro(s.cfg.Now())
	}
	if told := s.told.Load(); told != 0 {
		return "=" + strconv.FormatInt(told, 10)
	}
	return "=" + micro(s.cfg.Now())
}

// now reads the journal's clock, for the archive: its gateways count ages from instants that others wrote.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	if s.cfg.CallersClock {
		return s.cfg.Now(), nil
	}
	return s.serverTime(ctx)
}

// serverTime is Redis' own, whoever's clock is the journal's.
func (s *Store) serverTime(ctx context.Context) (time.Time, error) {
	n, err := s.redis.node(ctx, s.key(keySeq))
	if err != nil {
		return time.Time{}, unavailable("clock", err)
	}
	t, err := n.Time(ctx).Result()
	if err != nil {
		return time.Time{}, unavailable("clock", err)
	}
	return t, nil
}
