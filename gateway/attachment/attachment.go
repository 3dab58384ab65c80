// Package attachment keeps the copies of documents that came with requests: one immutable
// file each, in the folder of the request it belongs to, beside the journal.
//
// With a key of the installation a request's documents are sealed under a key of its own, whose
// wrapped form lies in the folder beside them, and the files' names tell nothing of their content.
// Without one they are in clear, named by the SHA-256 of their content. Both kinds stay readable.
package attachment

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/private"
	"egov-gateway/gateway/sealing"
)

var (
	// ErrNotFound: the request has no such document.
	ErrNotFound = errors.New("attachment: not found")
	// ErrDamaged: the file is there and is not what its name says.
	ErrDamaged = errors.New("attachment: damaged on disk, restore it from a backup")
)

// A Store is a directory of documents. It is safe for concurrent use, also by several
// processes on one directory: files are made once and never changed, but for the wrapping of keys.
type Store struct {
	dir  string
	keys *sealing.Keyring
	// about is asked before each change on the disk of a rekeying; nil but in tests.
	about func(change string) error
}

// Open uses or makes the directory dir. New documents are sealed if there are keys; nil keeps
// them in clear.
func Open(dir string, keys *sealing.Keyring) (*Store, error) {
	if dir == "" {
		return nil, errors.New("attachment: a directory is required")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("attachment: the directory %s cannot be made: %w", dir, err)
	}
	return &Store{dir: dir, keys: keys}, syncDir(filepath.Dir(dir))
}

func (s *Store) folder(id gateway.RequestID) string {
	return filepath.Join(s.dir, string(id[:2]), string(id))
}

// Put keeps the documents of a request. When it returns nil all of them are on disk and
// survive the loss of power. Documents that are there already are left as they are, so a
// repetition is harmless.
func (s *Store) Put(id gateway.RequestID, documents [][]byte) error {
	if len(documents) == 0 {
		return nil
	}
	folder := s.folder(id)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("attachment: %w", err)
	}
	keys, err := s.itemKeys(id)
	if err != nil {
		return err
	}
	for _, d := range documents {
		sum := sha256.Sum256(d)
		name, content := filepath.Join(folder, hex.EncodeToString(sum[:])), d
		if there(name, len(d)) || slices.ContainsFunc(keys, func(k *sealing.Key) bool {
			return there(filepath.Join(folder, sealedName(k, sum)), len(d)+sealing.Overhead)
		}) {
			continue
		}
		if s.keys != nil {
			if len(keys) == 0 {
				k, err := s.newKey(id)
				if err != nil {
					return err
				}
				keys = append(keys, k)
			}
			name = filepath.Join(folder, sealedName(keys[0], sum))
			content = keys[0].Seal(make([]byte, 0, len(d)+sealing.Overhead), filepath.Base(name), nil, d)
		}
		if err := write(name, content); err != nil {
			return fmt.Errorf("attachment: %w", err)
		}
	}
	// Names are durable when their directories are, from the inside out.
	for _, dir := range []string{folder, filepath.Dir(folder), s.dir} {
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("attachment: %w", err)
		}
	}
	return nil
}

// there tells whether a file is: its name was given after its content was synced.
func there(name string, size int) bool {
	info, err := os.Stat(name)
	return err == nil && info.Size() == int64(size)
}

// write makes a file whole or not at all.
func write(name string, data []byte) (err error) {
	tmp := name + "." + rand.Text()[:8] + ".tmp"
	f, err := private.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp) //nolint:errcheck // Sweep takes what stays
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get returns a document, checked against its SHA-256 (hex). The error is [ErrNotFound],
// [ErrDamaged], that of the disk, or names the key that is missing.
func (s *Store) Get(id gateway.RequestID, sum string) ([]byte, error) {
	var want [sha256.Size]byte
	if n, err := hex.Decode(want[:], []byte(sum)); len(sum) != 2*len(want) || err != nil || n != len(want) {
		return nil, ErrNotFound
	}
	keys, missing := s.itemKeys(id)
	for _, k := range keys {
		name := sealedName(k, want)
		sealed, err := os.ReadFile(filepath.Join(s.folder(id), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("attachment: %w", err)
		}
		data, err := k.Open(sealed[:0:0], name, nil, sealed)
		if err != nil || sha256.Sum256(data) != want {
			return nil, ErrDamaged
		}
		return data, nil
	}
	data, err := os.ReadFile(filepath.Join(s.folder(id), sum))
	if errors.Is(err, fs.ErrNotExist) {
		if missing != nil {
			return nil, missing
		}
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	if sha256.Sum256(data) != want {
		return nil, ErrDamaged
	}
	return data, nil
}

// Erase takes all documents of a request from the disk, its keys first. When it returns nil they
// do not come back after a loss of power. Erasing nothing is no error.
func (s *Store) Erase(id gateway.RequestID) error {
	folder := s.folder(id)
	err := error(syscall.ENOTEMPTY)
	for try := 0; try < 10 && errors.Is(err, syscall.ENOTEMPTY); try++ { // a rekeying has put a key there again
		if err = shred(folder); err == nil {
			err = os.RemoveAll(folder)
		}
	}
	if err != nil {
		return fmt.Errorf("attachment: %w", err)
	}
	err = syncDir(filepath.Dir(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Walk calls visit for every request that has documents, until it returns an error; changed is
// when the newest of its documents came.
func (s *Store) Walk(visit func(id gateway.RequestID, changed time.Time) error) error {
	folders, err := filepath.Glob(filepath.Join(s.dir, "??", "*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		id, err := gateway.ParseRequestID(filepath.Base(folder))
		if err != nil {
			continue // nothing of ours
		}
		info, err := os.Stat(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue // erased since
		}
		if err != nil {
			return fmt.Errorf("attachment: %w", err)
		}
		if err := visit(id, info.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

// Sweep erases the documents of requests that has does not know and whose documents are of at least
// that age: their acceptance was never completed. It returns how many requests that were. The age is
// counted by the file system's clock, which several gateways may share.
func (s *Store) Sweep(age time.Duration, has func(gateway.RequestID) (bool, error)) (swept int, err error) {
	now, err := s.now()
	if err != nil {
		return 0, fmt.Errorf("attachment: %w", err)
	}
	err = s.Walk(func(id gateway.RequestID, changed time.Time) error {
		if now.Sub(changed) < age {
			return nil
		}
		known, err := has(id)
		if err != nil || known {
			return err
		}
		swept++
		return s.Erase(id)
	})
	return swept, err
}

// now is the file system's clock, by which it dates the files.
func (s *Store) now() (time.Time, error) {
	f, err := os.CreateTemp(s.dir, "clock-*.tmp")
	if err != nil {
		return time.Time{}, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Copy writes the documents of every request into the store to, checking each.
func (s *Store) Copy(to *Store) error {
	return s.Walk(func(id gateway.RequestID, _ time.Time) error {
		sums, err := s.Sums(id)
		if err != nil {
			return err
		}
		for _, sum := range sums {
			data, err := s.Get(id, sum)
			if errors.Is(err, ErrNotFound) {
				continue // erased since
			}
			if err == nil {
				err = to.Put(id, [][]byte{data})
			}
			if err != nil {
				return fmt.Errorf("document %s of request %s: %w", sum, id, err)
			}
		}
		return nil
	})
}

// Sums lists the documents of a request by their SHA-256 (hex). Sealed ones are opened for it.
func (s *Store) Sums(id gateway.RequestID) ([]string, error) {
	names, err := s.names(id)
	if err != nil {
		return nil, err
	}
	keys, err := s.itemKeys(id)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		switch {
		case len(name) == 2*sha256.Size:
			all = append(all, name)
		case strings.HasSuffix(name, sealedSuffix):
			sum, err := s.sumOf(id, name, keys)
			if errors.Is(err, fs.ErrNotExist) {
				continue // erased since
			}
			if err != nil {
				return nil, err
			}
			all = append(all, sum)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil // two repetitions at once may have kept it under a key each
}

// sumOf is the SHA-256 of a sealed document.
func (s *Store) sumOf(id gateway.RequestID, name string, keys []*sealing.Key) (string, error) {
	sealed, err := os.ReadFile(filepath.Join(s.folder(id), name))
	if err != nil {
		return "", fmt.Errorf("attachment: %w", err)
	}
	for _, k := range keys {
		if data, err := k.Open(nil, name, nil, sealed); err == nil {
			sum := sha256.Sum256(data)
			return hex.EncodeToString(sum[:]), nil
		}
	}
	return "", fmt.Errorf("document %s of request %s: %w", name, id, ErrDamaged)
}

// names are those of the files in a request's folder.
func (s *Store) names(id gateway.RequestID) (all []string, err error) {
	entries, err := os.ReadDir(s.folder(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, nil
}
