package revocation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// A forgetfulDisk brings to the real directory only what was synced: contents by Sync, names by SyncDir.
// From its operation number fails on, or for that one alone, it fails; a write that fails has half of its
// octets, and a sync that fails may have brought half of what was new to the disk.
type forgetfulDisk struct {
	mu         sync.Mutex // guards all below, and the files
	fails, ops int
	once       bool
	names      map[string]*forgetfulFile // that are renamed and not synced
}

type forgetfulFile struct {
	disk         *forgetfulDisk
	name         string // on the real disk; "" before it has one there
	data, synced []byte
}

var errDisk = errors.New("no space left on device")

func (d *forgetfulDisk) op() error {
	d.ops++
	if d.ops == d.fails || d.ops > d.fails && !d.once {
		return errDisk
	}
	return nil
}

func (d *forgetfulDisk) Create(name string) (revocation.DiskFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &forgetfulFile{disk: d}
	d.names[name] = f
	return f, d.op()
}

func (d *forgetfulDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *forgetfulDisk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op(); err != nil {
		return err
	}
	for name, f := range d.names {
		if strings.HasSuffix(name, ".new") {
			continue
		}
		f.name = name
		if err := os.WriteFile(name, f.synced, 0o600); err != nil {
			return err
		}
		delete(d.names, name)
	}
	return nil
}

func (f *forgetfulFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.op(); err != nil {
		f.data = append(f.data, b[:len(b)/2]...)
		return len(b) / 2, err
	}
	f.data = append(f.data, b...)
	return len(b), nil
}

func (f *forgetfulFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.disk.op()
	f.synced = bytes.Clone(f.data)
	if err != nil {
		f.synced = f.synced[:len(f.synced)-len(f.synced)/8]
	}
	if f.name != "" {
		if werr := os.WriteFile(f.name, f.synced, 0o600); werr != nil {
			return werr
		}
	}
	return err
}

func (f *forgetfulFile) Close() error { return nil }

// After the loss of power at any operation of the disk, failed or not, everything is known that was
// saved; and a disk that failed once is used again.
func TestWhatIsKnownOutlivesTheLossOfPower(t *testing.T) {
	p := pki(t)
	serial := func(id string) []byte { return serialOf(p.Must(id)) }
	ids := []string{"citizen-01", "citizen-02", "citizen-03", "citizen-04"}
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	type facts map[string]gateway.Reason
	ask := func(s *stage, k *revocation.Checker, id string, reason int) {
		s.answer(ocspURL, answer{subject: p.Must(id), singles: []single{{status: 'r', reason: reason, at: ago(500)}}})
		_, _ = s.check(k, id, "issuing", "root")
		s.respond(ocspURL, nil)
	}
	steps := []struct {
		do    func(s *stage, k *revocation.Checker)
		known facts
	}{
		{func(s *stage, k *revocation.Checker) {
			s.publish(crlURL, list{thisUpdate: ago(60)}.make(p))
			s.publish(deltaURL, list{base: 5, number: 20, thisUpdate: ago(30), revoked: []item{{serial: serial(ids[0]), reason: 1}, {serial: serial(ids[1]), reason: 6}}}.make(p))
			_ = k.Refresh(context.Background())
		}, facts{ids[0]: gateway.Revoked, ids[1]: gateway.Suspended}},
		{func(s *stage, k *revocation.Checker) { ask(s, k, ids[2], 4) },
			facts{ids[0]: gateway.Revoked, ids[1]: gateway.Suspended, ids[2]: gateway.Revoked}},
		{func(s *stage, k *revocation.Checker) {
			s.publish(deltaURL, list{base: 6, number: 21, thisUpdate: ago(20)}.make(p))
			s.publish(crlURL, nil)
			_ = k.Refresh(context.Background())
		}, facts{ids[0]: gateway.Revoked, ids[1]: gateway.Suspended, ids[2]: gateway.Revoked}},
		{func(s *stage, k *revocation.Checker) {
			s.publish(crlURL, list{number: 6, thisUpdate: ago(20)}.make(p))
			_ = k.Refresh(context.Background())
		}, facts{ids[0]: gateway.Revoked, ids[2]: gateway.Revoked}},
		{func(s *stage, k *revocation.Checker) { ask(s, k, ids[3], 6) },
			facts{ids[0]: gateway.Revoked, ids[2]: gateway.Revoked, ids[3]: gateway.Suspended}},
	}
	run := func(t *testing.T, disk *forgetfulDisk) {
		dir := t.TempDir()
		s := newStage(t)
		k := s.checker(nil)
		k.SetDisk(disk)
		possible := []facts{{}}
		if err := k.Keep(dir); err == nil {
			for i, step := range steps {
				step.do(s, k)
				for id, want := range step.known { // the disk never changes a verdict
					if _, err := s.check(k, id, "issuing", "root"); gateway.ReasonOf(err) != want {
						t.Errorf("step %d, %s: %v, want %q", i+1, id, err, want)
					}
				}
				if disk.once { // and it is tried again
					_ = k.Refresh(context.Background())
				}
				if possible = append(possible, step.known); k.Saved() && disk.ops < disk.fails || disk.once && k.Saved() {
					possible = possible[len(possible)-1:]
				}
			}
			if disk.once && !k.Saved() {
				t.Error("a disk that failed once was not tried again")
			}
		}
		// Power goes; another process begins, and nobody answers.
		s.publish(crlURL, nil)
		s.publish(deltaURL, nil)
		again := s.checker(nil)
		if err := again.Keep(dir); err != nil {
			t.Fatalf("after the loss of power: %v", err)
		}
		_ = again.Refresh(context.Background())
		for _, id := range ids {
			_, err := s.check(again, id, "issuing", "root")
			got, allowed := gateway.ReasonOf(err), false
			for _, f := range possible {
				want, refused := f[id]
				allowed = allowed || got == want || !refused && got != gateway.Revoked && got != gateway.Suspended
			}
			if !allowed {
				t.Errorf("%s after the loss of power: %v, want one of %v", id, err, possible)
			}
		}
	}
	whole := &forgetfulDisk{fails: 1 << 30, names: map[string]*forgetfulFile{}}
	run(t, whole)
	if whole.ops < 20 {
		t.Fatalf("only %d operations", whole.ops)
	}
	for n := range whole.ops {
		for _, once := range []bool{false, true} {
			t.Run(fmt.Sprintf("operation %d of %d fails, once: %t", n+1, whole.ops, once), func(t *testing.T) {
				run(t, &forgetfulDisk{fails: n + 1, once: once, names: map[string]*forgetfulFile{}})
			})
		}
	}
}

// A file that was cut off is read as far as it goes; one that is damaged otherwise is not passed over.
func TestALedgerThatIsCutOffOrDamaged(t *testing.T) {
	p := pki(t)
	s := newStage(t)
	dir := t.TempDir()
	k := s.checker(nil)
	if err := k.Keep(dir); err != nil {
		t.Fatal(err)
	}
	ids := []string{"citizen-01", "citizen-02", "citizen-03"}
	for _, id := range ids {
		s.answer(ocspURL, answer{subject: p.Must(id), singles: revokedFor(1)})
		_, err := s.check(k, id, "issuing", "root")
		wantReason(t, err, gateway.Revoked)
	}
	s.respond(ocspURL, nil)
	var name string
	var whole []byte
	files, _ := filepath.Glob(filepath.Join(dir, "*.ledger"))
	for _, f := range files {
		if raw, err := os.ReadFile(f); err == nil && len(raw) > len(whole) {
			name, whole = f, raw
		}
	}
	frame := (len(whole) - len("egov-gateway ledger 1\n")) / len(ids)
	begins := len(whole) - len(ids)*frame
	open := func(raw []byte) (known int, err error) {
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		k := s.checker(nil)
		if err := k.Keep(dir); err != nil {
			return 0, err
		}
		for i, id := range ids {
			if _, err := s.check(k, id, "issuing", "root"); gateway.ReasonOf(err) == gateway.Revoked {
				if known != i {
					t.Errorf("%s is known and one before it is not", id)
				}
				known++
			}
		}
		return known, nil
	}
	for n := begins; n <= len(whole); n++ {
		if known, err := open(whole[:n]); err != nil || known != (n-begins)/frame {
			t.Errorf("cut at %d of %d: %d known, %v", n, len(whole), known, err)
		}
		zeroed := append(bytes.Clone(whole[:n]), make([]byte, len(whole)-n)...)
		if n <= begins || (n-begins)%frame == 0 {
			if known, err := open(zeroed); err != nil || known != (n-begins)/frame {
				t.Errorf("zeros from %d of %d: %d known, %v", n, len(whole), known, err)
			}
		}
	}
	for at := range whole {
		raw := bytes.Clone(whole)
		raw[at] ^= 0x10
		known, err := open(raw)
		last := at >= len(whole)-frame+8 // the contents of the last frame, and what they are checked by: it may be one that was cut off
		switch {
		case last && (err != nil || known != len(ids)-1):
			t.Errorf("octet %d, of the last frame, is damaged: %d known, %v", at, known, err)
		case !last && (err == nil || !strings.Contains(err.Error(), name)):
			t.Errorf("octet %d is damaged: %d known, %v", at, known, err)
		}
	}
}

// The ledger has what lists do not carry any more, and not the lists.
func TestTheLedgerStaysSmall(t *testing.T) {
	const n = 20_000
	p := pki(t)
	s := newStage(t)
	many := func(from, to int) (all []item) {
		for i := from; i < to; i++ {
			all = append(all, item{serial: []byte{0x55, byte(i >> 16), byte(i >> 8), byte(i)}, reason: 4})
		}
		return all
	}
	k := s.checker(nil)
	dir := t.TempDir()
	if err := k.Keep(dir); err != nil {
		t.Fatal(err)
	}
	want := func(what string, most, least int) {
		t.Helper()
		_ = k.Refresh(context.Background())
		if got := k.LedgerLen(); got > most || got < least {
			t.Errorf("%s: %d certificates in the ledger, want %d to %d", what, got, least, most)
		}
	}
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	s.publish(crlURL, list{thisUpdate: ago(90), revoked: many(0, n)}.make(p))
	want("a full list", 0, 0)
	s.publish(deltaURL, list{base: 5, number: 20, thisUpdate: ago(80), revoked: many(n, n+10)}.make(p))
	want("a delta that is held", 10, 0)
	s.publish(deltaURL, list{base: 5, number: 21, thisUpdate: ago(70)}.make(p))
	want("what stood in a delta that is gone", 10, 10)
	s.publish(crlURL, list{number: 6, thisUpdate: ago(60), revoked: many(0, n+10)}.make(p))
	want("the full list carries it", 0, 0)
	s.publish(crlURL, list{number: 7, thisUpdate: ago(50), revoked: many(100, n+10)}.make(p))
	want("a hundred are left out", 100, 100)
	s.publish(crlURL, list{number: 8, thisUpdate: ago(40), revoked: many(0, n+10)}.make(p))
	want("and are back", 0, 0)
	files, _ := filepath.Glob(filepath.Join(dir, "*.ledger"))
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 64<<10 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d octets, mode %v, %v", f, info.Size(), info.Mode(), err)
		}
	}
}
