package corpus

import (
	"archive/zip"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// packBytes is how large a pack grows before the next one is begun.
const packBytes = 64 << 20

// A Writer makes a corpus. It is for one goroutine.
//
// Documents are put into packs, files of some 64 MB, because a million small files are slow
// on every file system; with Loose each gets a file of its own, for people to look at.
type Writer struct {
	Loose bool

	dir      string
	zip      *zip.Writer
	out      *os.File
	manifest *os.File // in a zip corpus: a temporary file, copied in at the end
	lines    *bufio.Writer
	pack     io.Writer
	packFile *os.File
	packName string
	packed   int64
	packs    int
	entries  int64
	seen     map[string]struct{} // ids that a later entry may be sent after
}

// Create makes a new corpus: a zip file if the name ends in .zip, else a folder that must not
// hold a corpus yet.
func Create(name string) (_ *Writer, err error) {
	w := &Writer{seen: map[string]struct{}{}}
	defer func() {
		if err != nil {
			w.abort()
			err = fmt.Errorf("corpus: %w", err)
		}
	}()
	if isZip(name) {
		if w.out, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return nil, err
		}
		w.zip = zip.NewWriter(w.out)
		if w.manifest, err = os.CreateTemp(filepath.Dir(name), ".manifest-*"); err != nil {
			return nil, err
		}
	} else {
		w.dir = name
		if err = os.MkdirAll(name, 0o700); err != nil {
			return nil, err
		}
		if w.manifest, err = os.OpenFile(filepath.Join(name, ManifestFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return nil, err
		}
	}
	w.lines = bufio.NewWriterSize(w.manifest, 1<<20)
	return w, nil
}

// File adds a file: trust material, or a copy that several entries share.
func (w *Writer) File(name string, data []byte) (Part, error) {
	p := Part{File: name}
	if err := p.check(); err != nil {
		return p, fmt.Errorf("corpus: %w", err)
	}
	if w.zip != nil {
		// The file would end the pack that is being written.
		w.pack = nil
		f, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Time{}})
		if err == nil {
			_, err = f.Write(data)
		}
		return p, err
	}
	file := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return p, err
	}
	return p, os.WriteFile(file, data, 0o600)
}

// Document adds the bytes of the entry with that id and returns where they lie. An empty document
// is a file of its own.
func (w *Writer) Document(id string, data []byte) (Part, error) {
	if w.Loose || len(data) == 0 {
		return w.File(fmt.Sprintf("documents/%s/%s.xml", shelf(id), id), data)
	}
	if w.pack == nil || w.packed >= packBytes {
		if err := w.nextPack(); err != nil {
			return Part{}, err
		}
	}
	p := Part{File: w.packName, Offset: w.packed, Size: int64(len(data))}
	n, err := w.pack.Write(data)
	w.packed += int64(n)
	return p, err
}

// shelf spreads loose documents over folders.
func shelf(id string) string {
	if len(id) > 3 {
		return id[:len(id)-3]
	}
	return "0"
}

func (w *Writer) nextPack() (err error) {
	w.packName = fmt.Sprintf("packs/%06d.bin", w.packs)
	w.packs++
	w.packed = 0
	if w.zip != nil {
		w.pack, err = w.zip.CreateHeader(&zip.FileHeader{Name: w.packName, Method: zip.Deflate})
		return err
	}
	if w.packFile != nil {
		if err := w.packFile.Close(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "packs"), 0o700); err != nil {
		return err
	}
	w.packFile, err = os.OpenFile(filepath.Join(w.dir, filepath.FromSlash(w.packName)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	w.pack = w.packFile
	return err
}

// Add writes the manifest line of an entry whose documents were added.
func (w *Writer) Add(e Entry) error {
	if err := e.Check(); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	if e.Awaited {
		w.seen[e.ID] = struct{}{}
	}
	if _, ok := w.seen[e.After]; !ok && e.After != "" {
		return fmt.Errorf("corpus: entry %q is sent after %q, which is not awaited or comes later", e.ID, e.After)
	}
	line, err := json.Marshal(&e)
	if err != nil {
		return err
	}
	w.entries++
	if _, err := w.lines.Write(line); err != nil {
		return err
	}
	return w.lines.WriteByte('\n')
}

// Finish writes the header and ends the corpus; Format, Version and Entries are set here.
func (w *Writer) Finish(h Header) error {
	h.Format, h.Version, h.Entries = Format, Version, w.entries
	head, err := json.MarshalIndent(&h, "", "  ")
	if err != nil {
		return err
	}
	if _, err := w.File(HeaderFile, append(head, '\n')); err != nil {
		return err
	}
	if err := w.lines.Flush(); err != nil {
		return err
	}
	if w.zip != nil {
		if _, err := w.manifest.Seek(0, io.SeekStart); err != nil {
			return err
		}
		f, err := w.zip.CreateHeader(&zip.FileHeader{Name: ManifestFile, Method: zip.Deflate})
		if err == nil {
			_, err = io.Copy(f, w.manifest)
		}
		if err == nil {
			err = w.zip.Close()
		}
		if err != nil {
			return err
		}
	}
	return w.abort()
}

// abort closes what is open.
func (w *Writer) abort() error {
	var errs []error
	for _, f := range []*os.File{w.manifest, w.packFile, w.out} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if w.zip != nil && w.manifest != nil {
		errs = append(errs, os.Remove(w.manifest.Name()))
	}
	return errors.Join(errs...)
}
