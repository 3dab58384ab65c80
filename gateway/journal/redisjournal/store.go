package redisjournal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// Create implements journal.Store; it is durable when it returns nil or ErrDuplicate.
func (s *Store) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return journal.Item{}, err
	}
	defer end()
	if err := s.guard.writable(); err != nil {
		return journal.Item{}, err
	}
	if err := s.guard.room(); err != nil {
		return journal.Item{}, err
	}
	data, err := json.Marshal(n)
	if err != nil {
		return journal.Item{}, err
	}
	entry, err := s.accepts.keep(entryCreate, string(n.ID), "", data, false)
	if err != nil {
		return journal.Item{}, err
	}
	s.told.Store(n.Created.UnixMicro())
	it, _, err := s.create(ctx, s.redis, n, false)
	s.settle(entry, err, err == nil || errors.Is(err, journal.ErrDuplicate))
	return it, err
}

// settle notes what became of an entry: what Redis certainly has not, the caller is told so.
// What nobody knows stays open.
func (s *Store) settle(entry int64, err error, kept bool) {
	switch {
	case kept:
		s.accepts.settle(entry, entryKept)
	case errors.Is(err, journal.ErrReplay), errors.Is(err, journal.ErrNotFound), unwritten(err):
		s.accepts.settle(entry, entryVoid)
	}
}

// create runs the script over l; again is for a replay, which does not bring back what was
// removed: then gone is true.
func (s *Store) create(ctx context.Context, l *link, n journal.New, again bool) (it journal.Item, gone bool, err error) {
	first := head{Portal: n.Portal, MessageID: n.MessageID, Citizen: n.Citizen, Service: n.Service, Shard: n.Shard, Provider: n.Provider, Created: n.Created.UnixMicro()}
	fixed, err := json.Marshal(first)
	if err != nil {
		return it, false, err
	}
	events, err := encodeEvents(n.Events)
	if err != nil {
		return it, false, err
	}
	replay := ""
	if again {
		replay = "1"
	}
	id, shard, lane, state := string(n.ID), word(n.Shard), lane(n.Shard, n.Citizen, n.Service), string(gateway.StateAccepted)
	keys := []string{s.key(keyItem, id), s.key(keyBodies, id), s.key(keyMessage, messageKey(n.Portal, n.MessageID)), s.key(keyGone, id), s.key(keyDue, shard),
		s.key(keyState, state, ":", shard), s.key(keyCitizen, word(string(n.Citizen))), s.key(keyLane, state, ":", lane), s.key(keySeq), s.key(keyShards)}
	args := []any{s.prefix, id, hex.EncodeToString(n.Content[:]), micro(n.Created), wakeTime(n.Wake), shard, lane, fixed, state, n.Doc, events, replay, s.clock()}
	notes := make(map[string]journal.BodyNote, len(n.Bodies))
	for name, data := range n.Bodies {
		note := newNote(data)
		notes[name] = note.BodyNote
		args = append(args, name, note.String(), data)
	}
	answer, err := l.run(ctx, s.lua.create, keys, args...)
	if err != nil {
		return it, false, err
	}
	switch text(answer, 0) {
	case "kept":
		it = journal.Item{ID: n.ID, Portal: n.Portal, MessageID: n.MessageID, Content: n.Content, Citizen: n.Citizen, Service: n.Service, Shard: n.Shard, Provider: n.Provider,
			State: gateway.StateAccepted, Version: 1, Created: n.Created.Truncate(time.Microsecond).UTC(), Updated: n.Created.Truncate(time.Microsecond).UTC(), Doc: n.Doc, Bodies: notes}
		if !n.Wake.IsZero() {
			it.Wake = n.Wake.Truncate(time.Microsecond).UTC()
		}
		it.Events, err = decodeEvents(events)
		return it, false, err
	case "duplicate":
		h := texts(answer[1])
		if it, err = decodeItem(gateway.RequestID(text(answer, 2)), h); err != nil {
			return it, false, err
		}
		return it, false, journal.ErrDuplicate
	case "replay":
		return it, false, journal.ErrReplay
	case "gone":
		return it, true, nil
	}
	return it, false, gateway.Errorf(gateway.Internal, "the id %s belongs to another message", n.ID)
}

// Defaults of a look for due work: so many items are looked at in one script, and so many
// scripts in one claim; what lies behind them waits for the items before them.
const (
	lookItems = 1000
	lookTurns = 100
)

// Claim implements journal.Store; the leases are durable when it returns.
func (s *Store) Claim(ctx context.Context, o journal.ClaimOptions) ([]journal.Lease, error) {
	if len(o.Shards) == 0 || o.Max <= 0 {
		return nil, nil
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.guard.writable(); err != nil {
		return nil, err
	}
	var mark [16]byte
	rand.Read(mark[:]) //nolint:errcheck // never fails
	s.told.Store(o.Now.UnixMicro())
	token, until := hex.EncodeToString(mark[:]), o.Now.Add(o.Lease)
	var keys []string
	for _, shard := range o.Shards {
		keys = append(keys, s.key(keyDue, word(shard)), s.key(keyLeased, word(shard)))
	}
	offsets := make([]any, len(keys))
	for i := range offsets {
		offsets[i] = 0
	}
	var leases []journal.Lease
	for range lookTurns {
		args := append([]any{s.prefix, micro(o.Now), micro(until), o.Max - len(leases), token, lookItems, s.clock()}, offsets...)
		for _, st := range o.Ordered {
			args = append(args, string(st))
		}
		answer, err := s.redis.run(ctx, s.lua.claim, keys, args...)
		if err != nil {
			return leases, keepIfAny(leases, err)
		}
		all, _ := answer[0].([]any)
		for _, one := range all {
			parts, _ := one.([]any)
			l, err := decodeLease(gateway.RequestID(text(parts, 0)), texts(parts[1]), texts(parts[2]))
			if err != nil {
				// One damaged item must not stop the others; it stays leased, and Verify names it.
				s.cfg.Log.Error("claim", "request", text(parts, 0), "error", err)
				continue
			}
			l.Until, l.Token = until, token
			leases = append(leases, l)
		}
		if more, _ := answer[1].(int64); more == 0 || len(leases) >= o.Max {
			break
		}
		next, _ := answer[2].([]any)
		if len(next) != len(offsets) {
			break
		}
		offsets = next
	}
	return leases, nil
}

// keepIfAny: what a first script leased is worked on even if a later one failed.
func keepIfAny(leases []journal.Lease, err error) error {
	if len(leases) > 0 {
		return nil
	}
	return err
}

func decodeLease(id gateway.RequestID, item, inbox map[string]string) (l journal.Lease, err error) {
	if l.Item, err = decodeItem(id, item); err != nil {
		return l, err
	}
	type numbered struct {
		n int
		g journal.Signal
	}
	var all []numbered
	for field, v := range inbox {
		key, ok := strings.CutPrefix(field, "n:")
		if !ok {
			continue
		}
		body, waits := inbox["b:"+key]
		if !waits {
			continue
		}
		g, n, err := decodeSignal(key, v)
		if err != nil {
			return l, err
		}
		g.Body = []byte(body)
		all = append(all, numbered{n, g})
	}
	slices.SortFunc(all, func(a, b numbered) int { return a.n - b.n })
	for _, one := range all {
		l.Inbox = append(l.Inbox, one.g)
	}
	return l, nil
}

// Advance implements journal.Store; all of the step is durable when it returns nil.
func (s *Store) Advance(ctx context.Context, l journal.Lease, st journal.Step) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.guard.writable(); err != nil {
		return err
	}
	s.told.Store(st.At.UnixMicro())
	var answer []any
	if st.Remove {
		answer, err = s.remove(ctx, l, st)
	} else {
		answer, err = s.advance(ctx, l, st)
	}
	if err != nil {
		return err
	}
	if text(answer, 0) != "kept" {
		return journal.ErrLeaseLost
	}
	s.erase(ctx, st)
	return nil
}

func (s *Store) advance(ctx context.Context, l journal.Lease, st journal.Step) ([]any, error) {
	events, err := encodeEvents(st.Events)
	if err != nil {
		return nil, err
	}
	id := string(l.Item.ID)
	keys := []string{s.key(keyItem, id), s.key(keyBodies, id), s.key(keyInbox, id), s.key(keyFinish), s.key(keyTrash)}
	args := []any{s.prefix, id, l.Item.Version, l.Token, string(st.State), st.Attempt, wakeTime(st.Wake), st.Doc, micro(st.At), events, len(l.Inbox), s.clock(), len(st.Consumed)}
	for _, key := range st.Consumed {
		args = append(args, key)
	}
	args = append(args, len(st.Bodies))
	for name, data := range st.Bodies {
		args = append(args, name, newNote(data).String(), data)
	}
	args = append(args, len(st.Erase))
	for _, name := range st.Erase {
		args = append(args, name)
	}
	return s.redis.run(ctx, s.lua.advance, keys, args...)
}

func (s *Store) remove(ctx context.Context, l journal.Lease, st journal.Step) ([]any, error) {
	id := string(l.Item.ID)
	keys := []string{s.key(keyItem, id), s.key(keyBodies, id), s.key(keyInbox, id), s.key(keyFinish), s.key(keyTrash), s.key(keyGone, id),
		s.key(keyMessage, messageKey(l.Item.Portal, l.Item.MessageID)), s.key(keyCitizen, word(string(l.Item.Citizen)))}
	return s.redis.run(ctx, s.lua.remove, keys, s.prefix, id, l.Item.Version, l.Token, micro(st.At), (2 * s.cfg.Keep).Milliseconds(), s.clock())
}

// Signal implements journal.Store; the message is durable when it returns nil.
func (s *Store) Signal(ctx context.Context, id gateway.RequestID, g journal.Signal) (journal.Signal, bool, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return journal.Signal{}, false, err
	}
	defer end()
	if err := s.guard.writable(); err != nil {
		return journal.Signal{}, false, err
	}
	data, err := json.Marshal(keptSignal{id, g})
	if err != nil {
		return journal.Signal{}, false, err
	}
	entry, err := s.accepts.keep(entrySignal, string(id), g.Key, data, true)
	if err != nil {
		return journal.Signal{}, false, err
	}
	first, fresh, gone, err := s.signal(ctx, s.redis, id, g, s.clock())
	if errors.Is(err, journal.ErrNotFound) && !gone {
		err = s.guard.missing() // an open entry is tried again when its item is back
	}
	s.settle(entry, err, err == nil)
	return first, fresh, err
}

// signal runs the script over l, with the clock as the script wants it; gone says of an unknown item that it was removed.
func (s *Store) signal(ctx context.Context, l *link, id gateway.RequestID, g journal.Signal, clock string) (first journal.Signal, fresh, gone bool, err error) {
	g.SHA256 = sha256.Sum256(g.Body)
	g.At = g.At.Truncate(time.Microsecond).UTC()
	note, err := json.Marshal(signalNote{g.Kind, g.At.UnixMicro(), hex.EncodeToString(g.SHA256[:])})
	if err != nil {
		return first, false, false, err
	}
	keys := []string{s.key(keyItem, string(id)), s.key(keyInbox, string(id)), s.key(keyGone, string(id))}
	answer, err := l.run(ctx, s.lua.signal, keys, s.prefix, string(id), g.Key, note, g.Body, micro(g.At), clock)
	if err != nil {
		return first, false, false, err
	}
	switch text(answer, 0) {
	case "kept":
		return g, true, false, nil
	case "again":
		if first, _, err = decodeSignal(g.Key, text(answer, 1)); err != nil {
			return first, false, false, err
		}
		if body, ok := answer[2].(string); ok {
			first.Body = []byte(body)
		}
		return first, false, false, nil
	}
	removed, _ := answer[1].(int64)
	return first, false, removed == 1, journal.ErrNotFound
}

// Get implements journal.Store; it reads what was durable at the call.
func (s *Store) Get(ctx context.Context, id gateway.RequestID) (journal.Item, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return journal.Item{}, err
	}
	defer end()
	h, err := s.redis.HGetAll(ctx, s.key(keyItem, string(id))).Result()
	if err != nil {
		return journal.Item{}, unavailable("get", err)
	}
	if len(h) == 0 {
		return journal.Item{}, s.guard.missing()
	}
	return decodeItem(id, h)
}

// Body implements journal.Store; it reads what was durable at the call.
func (s *Store) Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var kept *redis.SliceCmd
	var data *redis.StringCmd
	_, err = s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		kept, data = p.HMGet(ctx, s.key(keyItem, string(id)), "seq", "b:"+name), p.HGet(ctx, s.key(keyBodies, string(id)), name)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, unavailable("body", err)
	}
	if kept.Val()[0] == nil {
		return nil, s.guard.missing()
	}
	note, there := kept.Val()[1].(string)
	if !there { // the request is known and has no such body, which no other gateway puts back
		return nil, journal.ErrNotFound
	}
	n, err := parseNote(note)
	if err != nil {
		return nil, gateway.Errorf(gateway.JournalUnavailable, "request %s: %w", id, err)
	}
	if n.Erased {
		return nil, journal.ErrErased
	}
	body, err := data.Bytes()
	if n.file != "" {
		body, err = s.readArchived(n.file)
	}
	if err == nil && sha256.Sum256(body) != n.SHA256 {
		err = errors.New("its SHA-256 is another")
	}
	if err != nil {
		return nil, gateway.Errorf(gateway.JournalUnavailable, "the body %s of request %s is damaged, restore it from a backup: %w", name, id, err)
	}
	return body, nil
}

// Record implements journal.Audit; the entry is on Redis' disk when it returns nil, and a
// failover may lose it.
func (s *Store) Record(ctx context.Context, e journal.AuditEntry) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.guard.writable(); err != nil {
		return err
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	stream, keep := keyAudit, s.cfg.RefusalsKeep
	if e.Action != "" { // a flood of refusals drives no action out
		stream, keep = keyActions, s.cfg.ActionsKeep
	} else if err := s.guard.room(); err != nil {
		return err
	}
	// The ids of a stream are Redis' own milliseconds.
	now, err := s.serverTime(ctx)
	if err != nil {
		return err
	}
	oldest := strconv.FormatInt(now.Add(-keep).UnixMilli(), 10)
	err = s.redis.XAdd(ctx, &redis.XAddArgs{Stream: s.key(stream), MinID: oldest, Approx: true, Values: []any{"e", raw}}).Err()
	if err != nil {
		return unavailable("audit", err)
	}
	return nil
}

// Recent implements journal.Audit.
func (s *Store) Recent(ctx context.Context, limit int) ([]journal.AuditEntry, error) {
	return s.newest(ctx, keyAudit, limit)
}

// Actions implements journal.Audit.
func (s *Store) Actions(ctx context.Context, limit int) ([]journal.AuditEntry, error) {
	return s.newest(ctx, keyActions, limit)
}

func (s *Store) newest(ctx context.Context, stream string, limit int) ([]journal.AuditEntry, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	messages, err := s.redis.XRevRangeN(ctx, s.key(stream), "+", "-", int64(limit)).Result()
	if err != nil {
		return nil, unavailable("audit", err)
	}
	var all []journal.AuditEntry
	for _, m := range messages {
		var e journal.AuditEntry
		raw, _ := m.Values["e"].(string)
		if err := json.Unmarshal([]byte(raw), &e); err != nil {
			return nil, gateway.Errorf(gateway.JournalUnavailable, "audit: %w", err)
		}
		e.At = e.At.Truncate(time.Microsecond).UTC()
		all = append(all, e)
	}
	return all, nil
}
