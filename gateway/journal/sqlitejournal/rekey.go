package sqlitejournal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"egov-gateway/gateway"
	"egov-gateway/gateway/sealing"
)

// rekeyBatch is how many keys are wrapped anew between two syncs.
const rekeyBatch = 1000

// A Rekeying wraps the keys of items and of waiting messages under another key of the installation, in
// their slots: the new wrapping is on disk in one half before the old one is wiped from the
// other, so it may be cut off at any point and begun again. A gateway may use the journal
// meanwhile if both keys are at its hand and it seals under the new one already.
type Rekeying struct {
	a      *Attached
	lock   *os.File // of the data directory, held if no gateway holds it
	opened int64    // how often the journal was opened when this began
	// damaged are the keys that none opens.
	damaged []string
	// about is asked before each change on the disk; nil but in tests.
	about func(change string) error
}

// Rekey begins to change all keys to the current one of those that the journal was attached with. The
// error is a sentence for an operator: a key is missing, or a gateway runs that does not know the new one.
func (a *Attached) Rekey(ctx context.Context) (*Rekeying, error) {
	keys := a.s.cfg.Keys
	if keys == nil {
		return nil, errors.New("journal: no data key to change to")
	}
	if err := a.keysAtHand(ctx); err != nil {
		return nil, err
	}
	r := &Rekeying{a: a}
	lock, err := os.OpenFile(filepath.Join(a.dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: the data directory %s is not writable: %w", a.dir, err)
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		r.lock = lock
	} else {
		lock.Close()
	}
	if err := r.begin(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// begin makes sure that nothing is sealed under another key from now on.
func (r *Rekeying) begin(ctx context.Context) error {
	current := r.a.s.cfg.Keys.Current()
	if r.lock == nil {
		if err := r.gatewayKnows(ctx, current); err != nil {
			return err
		}
	} else {
		// From here on no gateway starts without the new key.
		for _, query := range []string{"INSERT OR IGNORE INTO data_key(id, current) VALUES (?, 1)", "UPDATE data_key SET current = (id = ?)"} {
			if _, err := r.a.db.ExecContext(ctx, query, current.String()); err != nil {
				return fmt.Errorf("journal: note the data key in %s: %w", r.a.dir, err)
			}
		}
	}
	return r.a.db.QueryRowContext(ctx, "SELECT opened FROM data_key WHERE id = ?", current.String()).Scan(&r.opened)
}

// gatewayKnows asks under which key the running gateway seals.
func (r *Rekeying) gatewayKnows(ctx context.Context, current sealing.KeyID) error {
	var n int
	err := r.a.db.QueryRowContext(ctx, "SELECT count(*) FROM data_key WHERE id = ? AND current = 1", current.String()).Scan(&n)
	if err != nil {
		return fmt.Errorf("journal: read the ids of the data keys in %s: %w", r.a.dir, err)
	}
	if n == 0 {
		return fmt.Errorf("journal: a gateway is running on %s that does not seal under the data key %s: "+
			"give it that key as data_key and the one before as data_key_old, restart it, and begin again", r.a.dir, current)
	}
	return nil
}

// Close gives the data directory back.
func (r *Rekeying) Close() error {
	if r.lock == nil {
		return nil
	}
	return r.lock.Close()
}

// Run wraps all keys anew and returns how many that were, and wipes those that were erased. Damaged ones are left as they are, and named
// in an error when the others are done.
func (r *Rekeying) Run(ctx context.Context) (rewrapped int, err error) {
	for {
		r.damaged = nil
		n, err := r.pass(ctx)
		rewrapped += n
		if err != nil {
			return rewrapped, fmt.Errorf("journal: change the data key: %w", err)
		}
		if n == 0 {
			break // nothing was left, whatever came meanwhile
		}
	}
	for more := true; more; {
		if more, err = r.wipePlanned(ctx); err != nil {
			return rewrapped, fmt.Errorf("journal: wipe what was erased: %w", err)
		}
	}
	// A slot that was cut off after its last change may not be on disk yet.
	files, err := filepath.Glob(filepath.Join(r.a.dir, "bodies", "*.seg"))
	for _, file := range files {
		err = errors.Join(err, syncFile(file))
	}
	if err == nil && len(r.damaged) > 0 {
		err = fmt.Errorf("journal: %d keys are damaged, the first is %s: restore it from a backup and begin again", len(r.damaged), r.damaged[0])
	}
	return rewrapped, err
}

// Finish forgets the other keys: after it the journal opens without them. It is an error if a gateway was
// started meanwhile; run again.
func (r *Rekeying) Finish(ctx context.Context) error {
	current := r.a.s.cfg.Keys.Current()
	if err := r.permitted("forget the old key"); err != nil {
		return err
	}
	tx, err := r.a.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	var opened int64
	err = tx.QueryRowContext(ctx, "SELECT opened FROM data_key WHERE id = ? AND current = 1", current.String()).Scan(&opened)
	if err != nil || opened != r.opened {
		return errors.Join(errors.New("journal: a gateway was started while the data key was changed; begin again"), err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM data_key WHERE id <> ?", current.String()); err != nil {
		return err
	}
	return tx.Commit()
}

// wipePlanned wipes what was erased and still lies there under an old key, as [Store] would.
func (r *Rekeying) wipePlanned(ctx context.Context) (more bool, err error) {
	turn, err := lockWiping(r.a.dir, syscall.LOCK_EX)
	if err != nil {
		return false, err
	}
	defer turn.Close()
	plan, err := wipePlan(ctx, r.a.db)
	if err != nil || len(plan) == 0 {
		return false, err
	}
	if err := r.permitted("wipe what was erased"); err != nil {
		return false, err
	}
	if err := r.a.own.wipeAll(plan); err != nil {
		return false, err
	}
	tx, err := r.a.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for _, p := range plan {
		if _, err := tx.ExecContext(ctx, forgetPlan, p.Segment, p.Offset); err != nil {
			return false, err
		}
	}
	return true, tx.Commit()
}

// An owned slot is one with a wrapped key, and whose that is.
type owned struct {
	what  string // for people
	owner string
	at    place
}

// A walk goes through a table by a number that grows.
type walk struct {
	query string // of what comes after a number, and how much
	scan  func(scanner) (int64, owned, error)
}

var walks = []walk{
	{"SELECT seq, id, key_segment, key_offset FROM item WHERE seq > ? AND key_segment > 0 ORDER BY seq LIMIT ?", scanItemSlot},
	{`SELECT inbox.rowid, item.id, inbox.key, inbox.place FROM inbox JOIN item ON item.seq = inbox.item
		WHERE inbox.rowid > ? AND consumed = 0 ORDER BY inbox.rowid LIMIT ?`, scanMessageSlot},
}

// pass looks at every slot once.
func (r *Rekeying) pass(ctx context.Context) (rewrapped int, err error) {
	for _, along := range walks {
		for last, more := int64(0), true; more; {
			var n int
			last, n, more, err = r.batch(ctx, along, last)
			rewrapped += n
			if err != nil {
				return rewrapped, err
			}
		}
	}
	return rewrapped, nil
}

func scanItemSlot(from scanner) (seq int64, o owned, err error) {
	var (
		id gateway.RequestID
		s  slot
	)
	err = from.Scan(&seq, (*string)(&id), &s.segment, &s.offset)
	o.what, o.owner, o.at = "that of request "+string(id), itemOwner(id), s.place()
	return seq, o, err
}

func scanMessageSlot(from scanner) (row int64, o owned, err error) {
	var (
		id     gateway.RequestID
		key    string
		object []byte
	)
	if err := from.Scan(&row, (*string)(&id), &key, &object); err != nil {
		return row, o, err
	}
	p, err := readPlace(object)
	if p.Key == byMessage && !p.Erased {
		o.what = "that of message " + key + " of request " + string(id)
		o.owner, o.at = messageName(id, key), place{Segment: p.Segment, Offset: p.Offset, Length: slotSize}
	}
	return row, o, err
}

// batch wraps some keys anew. Nothing is wiped and no backup is taken meanwhile: what the database names
// now stays where it is, and what a step erases is wiped after, in both halves.
func (r *Rekeying) batch(ctx context.Context, along walk, last int64) (next int64, rewrapped int, more bool, err error) {
	turn, err := lockWiping(r.a.dir, syscall.LOCK_EX)
	if err != nil {
		return last, 0, false, err
	}
	defer turn.Close()
	rows, err := r.a.db.QueryContext(ctx, along.query, last, rekeyBatch)
	if err != nil {
		return last, 0, false, err
	}
	defer rows.Close()
	var all []owned
	read := 0
	for ; rows.Next(); read++ {
		var o owned
		if last, o, err = along.scan(rows); err != nil {
			return last, 0, false, err
		}
		if o.owner != "" {
			all = append(all, o)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return last, 0, false, err
	}
	rewrapped, err = r.rewrap(all)
	return last, rewrapped, read == rekeyBatch, err
}

// rewrap puts the keys of some slots under the current key: first the new halves, synced, then
// the old ones are wiped, and synced.
func (r *Rekeying) rewrap(all []owned) (rewrapped int, err error) {
	files := segmentFiles{dir: r.a.own, open: map[int]*os.File{}}
	defer files.close()
	var stale []place
	for _, o := range all {
		content, err := r.a.own.read(o.at)
		if err != nil {
			return 0, err
		}
		good, next, err := r.wrapping(o.owner, content)
		if errors.Is(err, sealing.ErrDamaged) {
			r.damaged = append(r.damaged, o.what)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", o.what, err)
		}
		half := func(n int) place {
			return place{Segment: o.at.Segment, Offset: o.at.Offset + int64(n)*sealing.WrappedSize, Length: sealing.WrappedSize}
		}
		if next != nil {
			if err := files.write(r, half(good), next); err != nil {
				return 0, err
			}
			rewrapped++
		}
		if other := half(1 - good); next != nil || !blank(content[other.Offset-o.at.Offset:][:sealing.WrappedSize]) {
			stale = append(stale, other)
		}
	}
	if len(stale) == 0 {
		return 0, nil
	}
	for _, p := range stale { // also those that an earlier run wrote and perhaps did not sync
		if _, err := files.of(p.Segment); err != nil {
			return 0, err
		}
	}
	if err := files.sync(r); err != nil {
		return 0, err
	}
	for _, p := range stale {
		if err := files.write(r, p, make([]byte, p.Length)); err != nil {
			return 0, err
		}
	}
	return rewrapped, files.sync(r)
}

// wrapping looks at a slot: the half in which the current wrapping lies, or is to lie when next is
// not nil.
func (r *Rekeying) wrapping(owner string, content []byte) (good int, next []byte, err error) {
	keys := r.a.s.cfg.Keys
	old := -1
	wrong := error(sealing.ErrDamaged)
	for half := range 2 {
		wrapped := content[half*sealing.WrappedSize:][:sealing.WrappedSize]
		by, there := sealing.WrappedBy(wrapped)
		if !there {
			continue
		}
		if _, err := keys.Unwrap(owner, wrapped); err != nil {
			wrong = err
		} else if by == keys.Current() {
			return half, nil, nil
		} else {
			old = half
		}
	}
	if old < 0 {
		return 0, nil, wrong
	}
	next, err = keys.Rewrap(owner, content[old*sealing.WrappedSize:][:sealing.WrappedSize])
	return 1 - old, next, err
}

func (r *Rekeying) permitted(change string) error {
	if r.about == nil {
		return nil
	}
	return r.about(change)
}

// segmentFiles are segments open for writing in their middle.
type segmentFiles struct {
	dir  *segments
	open map[int]*os.File
}

func (f *segmentFiles) of(n int) (*os.File, error) {
	if file := f.open[n]; file != nil {
		return file, nil
	}
	file, err := os.OpenFile(f.dir.file(n), os.O_WRONLY, 0)
	if err == nil {
		f.open[n] = file
	}
	return file, err
}

func (f *segmentFiles) write(r *Rekeying, p place, data []byte) error {
	file, err := f.of(p.Segment)
	if err == nil {
		err = r.permitted("write a half")
	}
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, p.Offset)
	return err
}

func (f *segmentFiles) sync(r *Rekeying) error {
	for _, file := range f.open {
		if err := r.permitted("sync a segment"); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (f *segmentFiles) close() {
	for _, file := range f.open {
		file.Close()
	}
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
