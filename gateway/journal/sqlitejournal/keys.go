package sqlitejournal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/sealing"
)

// An item's key seals its bodies, its record and its events. Wrapped under the installation's key
// it lies in the segments, in a slot, and nowhere else: not in the database, whose log and
// freed pages would keep copies of it. So it goes as a body goes, by the plan of the transaction
// that erases, and with it all that was ever written under it. A message for an item has a key
// of its own in front of its body: it comes before anybody knows the item's.

// A sealer says under which key a body is sealed.
type sealer int

const (
	inClear   sealer = iota
	byItem           // under the item's key
	byMessage        // under its own, in a slot before it
)

// slotSize is that of a slot: room for the key under two installation keys, so that while it is
// wrapped anew one of both is always whole.
const slotSize = 2 * sealing.WrappedSize

// stored is how many bytes the body takes in its segment.
func (p place) stored() int64 {
	switch p.Key {
	case byItem:
		return p.Length + sealing.Overhead
	case byMessage:
		return slotSize + p.Length + sealing.Overhead
	}
	return p.Length
}

// A slot is where an item's wrapped key lies; segments count from 1, and 0 means that the item is in clear.
type slot struct {
	segment, offset int64
}

func (s slot) place() place {
	if s.segment == 0 {
		return place{}
	}
	return place{Segment: int(s.segment), Offset: s.offset, Length: slotSize}
}

// filled is a slot with a wrapped key in its first half.
func filled(wrapped []byte) []byte { return append(wrapped, make([]byte, slotSize-len(wrapped))...) }

func itemOwner(id gateway.RequestID) string { return "item\x00" + string(id) }

func bodyName(name string) string { return "body\x00" + name }

// messageName is both owner and name: of whose key, and of what.
func messageName(id gateway.RequestID, key string) string {
	return "message\x00" + string(id) + "\x00" + key
}

// newKey gives a row a key, if there is a key of the installation, and returns the slot's content.
func (s *Store) newKey(r *row) []byte {
	if s.cfg.Keys == nil {
		return nil
	}
	key, wrapped := s.cfg.Keys.NewKey(itemOwner(r.item.ID))
	r.key = key
	return filled(wrapped)
}

// slot is where the next bytes of the batch will lie.
func (w *writing) slot(wrapped []byte) slot {
	if len(wrapped) == 0 {
		return slot{}
	}
	p := w.bodies.at(place{}, 0)
	return slot{int64(p.Segment), p.Offset}
}

// put appends bytes that no place names.
func (b *batch) put(data []byte) { b.buf = append(b.buf, data...) }

// context appends what a sealed record is bound to: all of the row that only a step changes. A row
// that was changed otherwise does not open.
func (r *row) context(b []byte) []byte {
	it := &r.item
	for _, text := range []string{string(it.ID), it.Portal, it.MessageID, string(it.Content[:]), string(it.Citizen),
		it.Service, it.Shard, it.Provider, string(it.State)} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	for _, n := range []int64{int64(it.Attempt), it.Created.UnixMicro(), it.Updated.UnixMicro()} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

// sealed is what the database is to have of the record and the events.
func (r *row) sealed(doc []byte, on *sheet) (storedDoc, events []byte) {
	if r.key == nil {
		return doc, r.events
	}
	on.context = r.context(on.context[:0])
	return on.seal(r.key, "doc", on.context, doc), on.seal(r.key, "events", on.context, r.events)
}

// A sheet is where one call seals; it is used again once the writer has answered.
type sheet struct {
	b     []byte
	key   *sealing.Key // the one made ready
	ready sealing.Cipher
	// context is that of the item.
	context []byte
}

// sheetMax is the size beyond which a sheet is not kept for the next call.
const sheetMax = 256 << 10

func (s *Store) sheet() *sheet {
	if on, ok := s.sheets.Get().(*sheet); ok {
		return on
	}
	return new(sheet)
}

// used takes a sheet back. Nothing that lies on it may be looked at any more.
func (s *Store) used(on *sheet) {
	on.key = nil
	on.ready.Forget()
	if on.b = on.b[:0]; cap(on.b) <= sheetMax {
		s.sheets.Put(on)
	}
}

// seal seals behind what is on the sheet. Should that have to move, what was sealed before stays valid.
func (on *sheet) seal(k *sealing.Key, name string, context, plain []byte) []byte {
	if on.key != k {
		on.key = k
		on.ready.Use(k)
	}
	start := len(on.b)
	on.b = on.ready.Seal(on.b, name, context, plain)
	return on.b[start:len(on.b):len(on.b)]
}

// unseal opens the record and the events of a row that was read. The writer may call it for
// what an earlier group wrote.
func (s *Store) unseal(r *row) error {
	if r.slot.segment == 0 || r.key != nil {
		return nil
	}
	key, err := s.keyOf(r)
	if err != nil {
		return err
	}
	context, ready := r.context(nil), sealing.NewCipher(key)
	doc, err := ready.Open(make([]byte, 0, len(r.item.Doc)), "doc", context, r.item.Doc)
	if err != nil {
		return fmt.Errorf("record of item %d: %w", r.seq, err)
	}
	events, err := ready.Open(make([]byte, 0, len(r.events)), "events", context, r.events)
	if err != nil {
		return fmt.Errorf("events of item %d: %w", r.seq, err)
	}
	r.item.Doc, r.events, r.key = doc, events, key
	return nil
}

// keyOf is the key of an item, nil for one in clear.
func (s *Store) keyOf(r *row) (*sealing.Key, error) {
	if r.key != nil || r.slot.segment == 0 {
		return r.key, nil
	}
	var last error
	for range 2 { // it may be wrapped anew while it is read
		content, err := s.segs.read(r.slot.place())
		if err != nil {
			return nil, fmt.Errorf("key of request %s: %w", r.item.ID, err)
		}
		key, err := s.unwrap(itemOwner(r.item.ID), content)
		if err == nil {
			return key, nil
		}
		last = fmt.Errorf("key of request %s: %w", r.item.ID, err)
	}
	return nil, last
}

// unwrap opens the key in a slot, under whichever key of the installation is at hand.
func (s *Store) unwrap(owner string, content []byte) (*sealing.Key, error) {
	wrong := sealing.ErrDamaged
	for half := range 2 {
		wrapped := content[half*sealing.WrappedSize:][:sealing.WrappedSize]
		if _, there := sealing.WrappedBy(wrapped); !there {
			continue
		}
		key, err := s.cfg.Keys.Unwrap(owner, wrapped)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, sealing.ErrDamaged) {
			wrong = err
		}
	}
	return nil, wrong
}

// openBody reads one of an item's bodies, checked against its SHA-256.
func (s *Store) openBody(r *row, n named) ([]byte, error) {
	var key *sealing.Key
	if n.Key != inClear {
		var err error
		if key, err = s.keyOf(r); err != nil {
			return nil, err
		}
	}
	return s.openStored(n.place, key, bodyName(n.name))
}

// openStored reads a body in any form; key is the item's, of which a message has no need.
func (s *Store) openStored(p place, key *sealing.Key, name string) ([]byte, error) {
	data, err := s.segs.read(p)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Key == byMessage:
		if key, err = s.unwrap(name, data[:slotSize]); err != nil {
			return nil, err
		}
		data = data[slotSize:]
	case p.Key == byItem && key == nil, p.Key > byMessage:
		return nil, fmt.Errorf("segment %d at %d: %w", p.Segment, p.Offset, sealing.ErrDamaged)
	}
	if p.Key != inClear {
		if data, err = key.Open(make([]byte, 0, p.Length), name, nil, data); err != nil {
			return nil, fmt.Errorf("segment %d at %d: %w", p.Segment, p.Offset, err)
		}
	}
	if sha256.Sum256(data) != p.SHA256 {
		return nil, fmt.Errorf("segment %d at %d is damaged", p.Segment, p.Offset)
	}
	return data, nil
}

// sealMessage prepares the body of a message for its segment.
func (s *Store) sealMessage(id gateway.RequestID, g journal.Signal) (place, []byte) {
	what := placeOf(g.Body)
	if s.cfg.Keys == nil || len(g.Body) == 0 {
		return what, g.Body
	}
	name := messageName(id, g.Key)
	key, wrapped := s.cfg.Keys.NewKey(name)
	what.Key = byMessage
	return what, key.Seal(append(make([]byte, 0, what.stored()), filled(wrapped)...), name, nil, g.Body)
}

// A querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// missingKeys are the keys of the installation under which something may be sealed and that are not at hand.
func missingKeys(ctx context.Context, db querier, keys *sealing.Keyring) (missing []sealing.KeyID, err error) {
	rows, err := db.QueryContext(ctx, "SELECT id FROM data_key ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		id, err := sealing.ParseKeyID(text)
		if err != nil {
			return nil, err
		}
		if !keys.Has(id) {
			missing = append(missing, id)
		}
	}
	return missing, rows.Err()
}

// needed says to an operator which key is not at hand.
func needed(dir string, id sealing.KeyID, keys *sealing.Keyring) error {
	has := "none is configured"
	if keys != nil {
		has = "the configured one is " + keys.Current().String()
	}
	return fmt.Errorf("journal: what lies in %s is sealed under the data key %s, and %s: "+
		"configure it as data_key, or as data_key_old while keys are changed: %w", dir, id, has, &sealing.MissingKeyError{ID: id})
}

// takeKeys makes sure that all that is sealed can be opened, and notes under which key
// new items will be sealed before the first one is.
func (s *Store) takeKeys() error {
	missing, err := missingKeys(background, s.write, s.cfg.Keys)
	if err != nil {
		return fmt.Errorf("journal: read the ids of the data keys in %s: %w", s.cfg.Dir, err)
	}
	if len(missing) > 0 {
		return needed(s.cfg.Dir, missing[0], s.cfg.Keys)
	}
	if s.cfg.Keys == nil {
		return nil
	}
	current := s.cfg.Keys.Current().String()
	tx, err := s.write.BeginTx(background, nil)
	if err != nil {
		return fmt.Errorf("journal: note the data key in %s: %w", s.cfg.Dir, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for _, query := range []string{
		"INSERT OR IGNORE INTO data_key(id, current) VALUES (?, 1)",
		"UPDATE data_key SET current = (id = ?), opened = opened + 1",
	} {
		if _, err := tx.Exec(query, current); err != nil {
			return fmt.Errorf("journal: note the data key in %s: %w", s.cfg.Dir, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("journal: note the data key in %s: %w", s.cfg.Dir, err)
	}
	return nil
}

// keysAtHand is nil when all that is sealed can be opened.
func (a *Attached) keysAtHand(ctx context.Context) error {
	missing, err := missingKeys(ctx, a.db, a.s.cfg.Keys)
	if err != nil {
		return fmt.Errorf("journal: read the ids of the data keys in %s: %w", a.dir, err)
	}
	if len(missing) > 0 {
		return needed(a.dir, missing[0], a.s.cfg.Keys)
	}
	return nil
}

// blank tells whether bytes were wiped, or never written.
func blank(b []byte) bool { return bytes.Equal(b, make([]byte, len(b))) }
