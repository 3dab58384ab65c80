package corpus

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// MaxLine bounds a line of the manifest, MaxPart the bytes of one document or copy.
const (
	MaxLine = 1 << 20
	MaxPart = 256 << 20
)

// A Reader reads a corpus. Entries come from one goroutine; Bytes may be called from many.
type Reader struct {
	Header Header

	fsys     fs.FS
	dir      string // "" for a zip file
	close    func() error
	manifest io.ReadCloser
	lines    *bufio.Scanner
	n        int64

	mu   sync.Mutex
	open map[string]*pack // guarded by mu: files that hold many parts
}

// A pack is an open file of many parts. One in a zip file can only be read onwards.
type pack struct {
	at io.ReaderAt // of a folder

	mu  sync.Mutex
	r   io.ReadCloser // of a zip file
	pos int64         // guarded by mu
}

// Open opens a folder or a zip file.
func Open(name string) (*Reader, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	r := &Reader{open: map[string]*pack{}, close: func() error { return nil }}
	if info.IsDir() {
		r.fsys, r.dir = os.DirFS(name), name
	} else {
		z, err := zip.OpenReader(name)
		if err != nil {
			return nil, fmt.Errorf("corpus %s: %w", name, err)
		}
		r.fsys, r.close = z, z.Close
	}
	if err := r.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("corpus %s: %w", name, err), r.Close())
	}
	return r, nil
}

// OpenFS opens a corpus in a file system, an embedded one say.
func OpenFS(fsys fs.FS) (*Reader, error) {
	r := &Reader{fsys: fsys, open: map[string]*pack{}, close: func() error { return nil }}
	if err := r.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("corpus: %w", err), r.Close())
	}
	return r, nil
}

func (r *Reader) begin() error {
	raw, err := fs.ReadFile(r.fsys, HeaderFile)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r.Header); err != nil {
		return fmt.Errorf("%s: %w", HeaderFile, err)
	}
	if r.Header.Format != Format {
		return fmt.Errorf("%s: the format is %q, not %s", HeaderFile, r.Header.Format, Format)
	}
	if r.Header.Version < 1 || r.Header.Version > Version {
		return fmt.Errorf("%s: version %d; this program reads 1 to %d", HeaderFile, r.Header.Version, Version)
	}
	if r.Header.Clock.IsZero() {
		return fmt.Errorf("%s: the clock is missing", HeaderFile)
	}
	if r.manifest, err = r.fsys.Open(ManifestFile); err != nil {
		return err
	}
	r.lines = bufio.NewScanner(r.manifest)
	r.lines.Buffer(make([]byte, 64<<10), MaxLine)
	return nil
}

// Next returns the next entry, and io.EOF after the last. Unknown fields are refused: an
// expectation that is not understood must not pass for one that was met.
func (r *Reader) Next() (*Entry, error) {
	for r.lines.Scan() {
		r.n++
		line := bytes.TrimSpace(r.lines.Bytes())
		if len(line) == 0 {
			continue
		}
		e := new(Entry)
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(e); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", ManifestFile, r.n, err)
		}
		if d.More() {
			return nil, fmt.Errorf("%s:%d: more than one value", ManifestFile, r.n)
		}
		if err := e.Check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", ManifestFile, r.n, err)
		}
		return e, nil
	}
	if err := r.lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", ManifestFile, r.n+1, err)
	}
	return nil, io.EOF
}

// Bytes reads a part into buf, which may be nil, and returns what was read. Of a zip file the
// parts of one pack must be read in their order.
func (r *Reader) Bytes(p Part, buf []byte) ([]byte, error) {
	b, err := r.bytes(p, buf)
	if err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", p.File, err)
	}
	return b, nil
}

func (r *Reader) bytes(p Part, buf []byte) ([]byte, error) {
	if p.Size > MaxPart {
		return nil, fmt.Errorf("%d bytes; at most %d are read", p.Size, MaxPart)
	}
	if p.Size == 0 {
		f, err := r.fsys.Open(p.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b := bytes.NewBuffer(buf[:0])
		if _, err := b.ReadFrom(io.LimitReader(f, MaxPart+1)); err != nil {
			return nil, err
		}
		if b.Len() > MaxPart {
			return nil, fmt.Errorf("more than %d bytes", MaxPart)
		}
		return b.Bytes(), nil
	}
	k, err := r.pack(p.File)
	if err != nil {
		return nil, err
	}
	buf = slices.Grow(buf[:0], int(p.Size))[:p.Size]
	if k.at != nil {
		n, err := k.at.ReadAt(buf, p.Offset)
		if n == len(buf) {
			return buf, nil
		}
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.Offset < k.pos {
		return nil, errors.New("its parts are not in the order of the manifest, which a zip file needs")
	}
	if _, err := io.CopyN(io.Discard, k.r, p.Offset-k.pos); err != nil {
		return nil, err
	}
	k.pos = p.Offset
	n, err := io.ReadFull(k.r, buf)
	k.pos += int64(n)
	return buf, err
}

func (r *Reader) pack(file string) (*pack, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.open[file]; k != nil {
		return k, nil
	}
	f, err := r.fsys.Open(file)
	if err != nil {
		return nil, err
	}
	k := &pack{r: f}
	if at, ok := f.(io.ReaderAt); ok {
		k.at = at
	}
	r.open[file] = k
	return k, nil
}

// Files returns the paths inside the corpus that names stand for: files, or those of a folder.
func (r *Reader) Files(names []string) ([]string, error) {
	var all []string
	for _, name := range names {
		if err := (Part{File: name}).check(); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		err := fs.WalkDir(r.fsys, name, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				all = append(all, p)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
	}
	return all, nil
}

// Path is where a file of a corpus in a folder lies; false for a zip file and for a piece of a file.
func (r *Reader) Path(p Part) (string, bool) {
	if r.dir == "" || p.Size > 0 {
		return "", false
	}
	return filepath.Join(r.dir, filepath.FromSlash(p.File)), true
}

// Close ends reading.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, k := range r.open {
		errs = append(errs, k.r.Close())
	}
	clear(r.open)
	if r.manifest != nil {
		errs = append(errs, r.manifest.Close())
	}
	return errors.Join(append(errs, r.close())...)
}

// isZip tells by the name which form a new corpus gets.
func isZip(name string) bool { return strings.EqualFold(filepath.Ext(name), ".zip") }
