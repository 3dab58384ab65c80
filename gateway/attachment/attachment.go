// Package attachment keeps the copies of documents that came with requests: one immutable
// file each, named by the SHA-256 of its content under the request it belongs to, beside the
// journal.
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
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/private"
)

var (
	// ErrNotFound: the request has no such document.
	ErrNotFound = errors.New("attachment: not found")
	// ErrDamaged: the file is there and is not what its name says.
	ErrDamaged = errors.New("attachment: damaged on disk, restore it from a backup")
)

// A Store is a directory of documents. It is safe for concurrent use, also by several
// processes on one directory: files are made once and never changed.
type Store struct{ dir string }

// Open uses or makes the directory dir.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, errors.New("attachment: a directory is required")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("attachment: the directory %s cannot be made: %w", dir, err)
	}
	return &Store{dir}, syncDir(filepath.Dir(dir))
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
	for _, d := range documents {
		sum := sha256.Sum256(d)
		name := filepath.Join(folder, hex.EncodeToString(sum[:]))
		if info, err := os.Stat(name); err == nil && info.Size() == int64(len(d)) {
			continue // its name was given after its content was synced
		}
		if err := write(name, d); err != nil {
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
// [ErrDamaged], or that of the disk.
func (s *Store) Get(id gateway.RequestID, sum string) ([]byte, error) {
	if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size {
		return nil, ErrNotFound
	}
	data, err := os.ReadFile(filepath.Join(s.folder(id), sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return nil, ErrDamaged
	}
	return data, nil
}

// Erase takes all documents of a request from the disk. When it returns nil they do not come
// back after a loss of power. Erasing nothing is no error.
func (s *Store) Erase(id gateway.RequestID) error {
	folder := s.folder(id)
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("attachment: %w", err)
	}
	err := syncDir(filepath.Dir(folder))
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

// Sums lists the documents of a request by their SHA-256 (hex).
func (s *Store) Sums(id gateway.RequestID) ([]string, error) {
	entries, err := os.ReadDir(s.folder(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attachment: %w", err)
	}
	var all []string
	for _, e := range entries {
		if len(e.Name()) == 2*sha256.Size {
			all = append(all, e.Name())
		}
	}
	return all, nil
}
