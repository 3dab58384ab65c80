package attachment

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/sealing"
)

const (
	sealedSuffix = ".sealed"
	// keySuffix is that of a request's wrapped key. There may be two, when a portal repeated itself
	// while it was first answered: each opens the documents that were named under it.
	keySuffix = ".key"
)

// sealedName is that of a sealed document's file.
func sealedName(k *sealing.Key, sum [sha256.Size]byte) string { return k.Name(sum[:]) + sealedSuffix }

// newKey makes a key for a request. It is on disk before anything is sealed under it: no loss of
// power leaves a document without its key.
func (s *Store) newKey(id gateway.RequestID) (*sealing.Key, error) {
	k, wrapped := s.keys.NewKey(string(id))
	err := write(filepath.Join(s.folder(id), rand.Text()[:16]+keySuffix), wrapped)
	if err == nil {
		err = syncDir(s.folder(id))
	}
	if err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	return k, nil
}

// itemKeys are the keys of a request; none when nothing of it is sealed. With an error come those
// that could be opened.
func (s *Store) itemKeys(id gateway.RequestID) (all []*sealing.Key, err error) {
	names, err := s.names(id)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, keySuffix) {
			continue
		}
		wrapped, e := os.ReadFile(filepath.Join(s.folder(id), name))
		if errors.Is(e, fs.ErrNotExist) || e == nil && shredded(wrapped) {
			continue // erased since
		}
		var k *sealing.Key
		if e == nil {
			k, e = s.keys.Unwrap(string(id), wrapped)
		}
		if e != nil {
			err = fmt.Errorf("attachment: the key of request %s: %w", id, e)
			continue
		}
		all = append(all, k)
	}
	return all, err
}

// shred overwrites the wrapped keys in a folder, so that what the disk still has of the
// documents after their files are gone cannot be opened.
func shred(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*"+keySuffix+"*")) // what a crash left half-named too
	if err != nil {
		return err
	}
	for _, file := range files {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteAt(make([]byte, sealing.WrappedSize), 0)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func shredded(wrapped []byte) bool { return bytes.Equal(wrapped, make([]byte, sealing.WrappedSize)) }

// Rekey wraps the keys of all requests under the current installation key and returns how many
// had another. Other processes may use the directory meanwhile, if both keys are at their hand.
// It may be cut off at any point and begun again. Damaged keys are left as they are, and the first is
// named in an error when the others are done.
func (s *Store) Rekey() (rewrapped int, err error) {
	if s.keys == nil {
		return 0, errors.New("attachment: no key to wrap under")
	}
	var damaged error
	err = s.Walk(func(id gateway.RequestID, _ time.Time) error {
		names, err := s.names(id)
		if err != nil {
			return err
		}
		keys := 0
		for _, name := range names {
			if !strings.HasSuffix(name, keySuffix) {
				continue
			}
			done, err := s.rewrap(id, filepath.Join(s.folder(id), name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // erased since
			}
			if errors.Is(err, sealing.ErrDamaged) {
				damaged = cmp.Or(damaged, fmt.Errorf("attachment: the key of request %s: %w", id, err))
				continue
			}
			if err != nil {
				return fmt.Errorf("attachment: the key of request %s: %w", id, err)
			}
			keys++
			if done {
				rewrapped++
			}
		}
		if keys == 0 {
			return nil
		}
		// Also where nothing was left to do: what was cut off may have renamed and not synced.
		if err := s.permitted("sync the folder"); err != nil {
			return err
		}
		if err := syncDir(s.folder(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("attachment: %w", err)
		}
		return nil
	})
	return rewrapped, cmp.Or(err, damaged)
}

// rewrap puts a wrapping under the current installation key in the place of another.
func (s *Store) rewrap(id gateway.RequestID, file string) (bool, error) {
	wrapped, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if shredded(wrapped) {
		return false, fs.ErrNotExist
	}
	if by, ok := sealing.WrappedBy(wrapped); ok && by == s.keys.Current() {
		return false, nil
	}
	next, err := s.keys.Rewrap(string(id), wrapped)
	if err != nil {
		return false, err
	}
	if err := s.permitted("write a key"); err != nil {
		return false, err
	}
	return true, write(file, next)
}

func (s *Store) permitted(change string) error {
	if s.about == nil {
		return nil
	}
	return s.about(change)
}
