package redisjournal

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// memberSeq is how many digits of a member are the item's number.
const memberSeq = 12

func memberID(m string) gateway.RequestID {
	if len(m) < memberSeq {
		return ""
	}
	return gateway.RequestID(m[memberSeq:])
}

// listed are the fields of an item that a list shows.
var listed = []string{"head", "content", "state", "version", "attempt", "updated", "wake", "doc"}

// List implements journal.Store; it reads what was durable at the call.
func (s *Store) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, "", err
	}
	defer end()
	if q.Limit <= 0 {
		q.Limit = 50
	}
	from := int64(1) << 52
	if q.Oldest {
		from = -1
	}
	if q.Cursor != "" {
		if from, err = strconv.ParseInt(q.Cursor, 10, 64); err != nil || from < 0 {
			return nil, "", gateway.Errorf(gateway.NotFound, "the cursor is not one of this list")
		}
	}
	var all []journal.Item
	var last int64
	rest, err := s.walk(ctx, q, from, func(seq int64, it journal.Item) bool {
		if len(all) == q.Limit {
			all = append(all, it)
			return false
		}
		all, last = append(all, it), seq
		return true
	})
	if err != nil {
		return nil, "", err
	}
	if len(all) > q.Limit {
		return all[:q.Limit], strconv.FormatInt(last, 10), nil
	}
	if rest > 0 {
		return all, strconv.FormatInt(rest, 10), nil
	}
	return all, "", nil
}

// serviceWalk is how many items one page of a query by service looks at: no index has the service.
const serviceWalk = 1000

// walk tells do of the items that q selects, in its order from beyond the number given, until it
// has enough. It returns the number of the last item looked at when there are more that it did not
// look at, else 0.
func (s *Store) walk(ctx context.Context, q journal.Query, from int64, do func(int64, journal.Item) bool) (rest int64, err error) {
	next, err := s.source(ctx, q, from)
	if err != nil {
		return 0, err
	}
	for looked := 0; ; {
		members, more, err := next()
		if err != nil {
			return 0, err
		}
		items, err := s.items(ctx, members)
		if err != nil {
			return 0, err
		}
		for i, it := range items {
			if it.ID == "" || q.Service != "" && it.Service != q.Service || q.State != "" && it.State != q.State ||
				q.Shard != "" && it.Shard != q.Shard || q.Citizen != "" && it.Citizen != q.Citizen ||
				!q.DueBefore.IsZero() && (it.Wake.IsZero() || !it.Wake.Before(q.DueBefore)) {
				continue
			}
			seq, _ := strconv.ParseInt(members[i][:memberSeq], 10, 64)
			if !do(seq, it) {
				return 0, nil
			}
		}
		if !more {
			return 0, nil
		}
		if looked += len(members); q.Service != "" && looked >= serviceWalk {
			return strconv.ParseInt(members[len(members)-1][:memberSeq], 10, 64)
		}
	}
}

// source returns what yields the candidates of a query page by page, in its order.
func (s *Store) source(ctx context.Context, q journal.Query, from int64) (func() ([]string, bool, error), error) {
	if q.Citizen != "" {
		return s.pages(ctx, q, from, []string{s.key(keyCitizen, word(string(q.Citizen)))}), nil
	}
	shards := []string{word(q.Shard)}
	if q.Shard == "" {
		var err error
		if shards, err = s.redis.SMembers(ctx, s.key(keyShards)).Result(); err != nil {
			return nil, unavailable("list", err)
		}
	}
	if !q.DueBefore.IsZero() {
		return s.overdue(ctx, shards, q, from)
	}
	states := []gateway.State{q.State}
	if q.State == "" {
		states = gateway.States
	}
	var keys []string
	for _, shard := range shards {
		for _, st := range states {
			keys = append(keys, s.key(keyState, string(st), ":", shard))
		}
	}
	return s.pages(ctx, q, from, keys), nil
}

// byArrival compares members, or the other way round.
func byArrival(oldest bool) func(a, b string) int {
	if oldest {
		return cmp.Compare[string]
	}
	return func(a, b string) int { return cmp.Compare(b, a) }
}

// pages merges indexes that are in order of arrival.
func (s *Store) pages(ctx context.Context, q journal.Query, from int64, keys []string) func() ([]string, bool, error) {
	size := q.Limit + 1
	return func() ([]string, bool, error) {
		if len(keys) == 0 {
			return nil, false, nil
		}
		found := make([]*redis.StringSliceCmd, len(keys))
		// One transaction, so that an item that changes its state meanwhile stands in one of them.
		_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range keys {
				if beyond := "(" + strconv.FormatInt(from, 10); q.Oldest {
					found[i] = p.ZRangeByScore(ctx, key, &redis.ZRangeBy{Min: beyond, Max: "+inf", Count: int64(size)})
				} else {
					found[i] = p.ZRevRangeByScore(ctx, key, &redis.ZRangeBy{Min: "-inf", Max: beyond, Count: int64(size)})
				}
			}
			return nil
		})
		if err != nil {
			return nil, false, unavailable("list", err)
		}
		var all []string
		for _, f := range found {
			all = append(all, f.Val()...)
		}
		slices.SortFunc(all, byArrival(q.Oldest))
		if len(all) < size {
			return all, false, nil
		}
		all = all[:size]
		from, err = strconv.ParseInt(all[size-1][:memberSeq], 10, 64)
		return all, err == nil, err
	}
}

// overdue yields what has been due, or leased, since before q.DueBefore. The queues are in order of
// time, so what is overdue is taken out of them whole.
func (s *Store) overdue(ctx context.Context, shards []string, q journal.Query, from int64) (func() ([]string, bool, error), error) {
	found := make([]*redis.StringSliceCmd, 0, 2*len(shards))
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		by := &redis.ZRangeBy{Min: "-inf", Max: "(" + micro(q.DueBefore)}
		for _, shard := range shards {
			found = append(found, p.ZRangeByScore(ctx, s.key(keyDue, shard), by), p.ZRangeByScore(ctx, s.key(keyLeased, shard), by))
		}
		p.Exists(ctx, s.key(keySeq))
		return nil
	})
	if err != nil {
		return nil, unavailable("list", err)
	}
	var all []string
	for _, f := range found {
		for _, m := range f.Val() {
			if seq, err := strconv.ParseInt(m[:min(len(m), memberSeq)], 10, 64); err == nil && (q.Oldest && seq > from || !q.Oldest && seq < from) {
				all = append(all, m)
			}
		}
	}
	slices.SortFunc(all, byArrival(q.Oldest))
	const size = 500
	return func() ([]string, bool, error) {
		page := all[:min(size, len(all))]
		all = all[len(page):]
		return page, len(all) > 0, nil
	}, nil
}

// items reads those of members, without events and bodies; one that is gone stays zero.
func (s *Store) items(ctx context.Context, members []string) ([]journal.Item, error) {
	if len(members) == 0 {
		return nil, nil
	}
	found := make([]*redis.SliceCmd, len(members))
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, m := range members {
			found[i] = p.HMGet(ctx, s.key(keyItem, string(memberID(m))), listed...)
		}
		return nil
	})
	if err != nil {
		return nil, unavailable("list", err)
	}
	all := make([]journal.Item, len(members))
	for i, f := range found {
		h := map[string]string{}
		for n, v := range f.Val() {
			if v, ok := v.(string); ok {
				h[listed[n]] = v
			}
		}
		if len(h) == 0 {
			continue
		}
		if all[i], err = decodeItem(memberID(members[i]), h); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Stats implements journal.Store: it writes before it counts.
func (s *Store) Stats(ctx context.Context) (journal.Stats, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return journal.Stats{}, err
	}
	defer end()
	if err := errors.Join(s.guard.writable(), s.guard.room()); err != nil {
		return journal.Stats{}, err
	}
	if err := s.redis.Incr(ctx, s.redis.beat).Err(); err != nil {
		return journal.Stats{}, unavailable("stats", err)
	}
	return s.count(ctx)
}

func (s *Store) count(ctx context.Context) (journal.Stats, error) {
	st := journal.Stats{ByShard: map[string]map[gateway.State]int{}}
	shards, err := s.redis.SMembers(ctx, s.key(keyShards)).Result()
	if err != nil {
		return st, unavailable("stats", err)
	}
	type counted struct {
		shard string
		due   *redis.ZSliceCmd
		n     []*redis.IntCmd
	}
	all := make([]counted, 0, len(shards))
	_, err = s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, shard := range shards {
			c := counted{shard: shard, due: p.ZRangeWithScores(ctx, s.key(keyDue, shard), 0, 0)}
			for _, state := range gateway.States {
				c.n = append(c.n, p.ZCard(ctx, s.key(keyState, string(state), ":", shard)))
			}
			all = append(all, c)
		}
		p.Exists(ctx, s.key(keySeq))
		return nil
	})
	if err != nil {
		return st, unavailable("stats", err)
	}
	for _, c := range all {
		shard := unword(c.shard)
		for i, state := range gateway.States {
			n := int(c.n[i].Val())
			if n == 0 {
				continue
			}
			if st.ByShard[shard] == nil {
				st.ByShard[shard] = map[gateway.State]int{}
			}
			st.ByShard[shard][state] = n
		}
		for _, z := range c.due.Val() {
			if due := time.UnixMicro(int64(z.Score)).UTC(); st.OldestDue.IsZero() || due.Before(st.OldestDue) {
				st.OldestDue = due
			}
		}
	}
	return st, nil
}
