package sqlitejournal

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"egov-gateway/gateway/private"
	"egov-gateway/gateway/sealing"
)

// SegmentSize is about how large a segment file grows before the next one is begun.
const SegmentSize = 256 << 20

// segments keep bodies in append-only files beside the database, so that their age does not
// slow acceptance. Bytes are appended and synced before the transaction that names their
// place; what a crash leaves without a name is never read.
type segments struct {
	dir  string
	cur  *os.File
	n    int   // number of the current segment
	size int64 // of the current segment

	mu   sync.Mutex
	open map[int]*os.File // guarded by mu: for reading
}

// A place is where a body lies, as the database keeps it. Length and SHA256 are those of the body
// itself, also where it is sealed.
type place struct {
	Segment int    `json:"s"`
	Offset  int64  `json:"o"`
	Length  int64  `json:"l"`
	SHA256  digest `json:"h"`
	Key     sealer `json:"k,omitempty"`
	Erased  bool   `json:"e,omitempty"`
}

// append writes the place as encoding/json does.
func (p place) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"s":`...), int64(p.Segment), 10)
	b = strconv.AppendInt(append(b, `,"o":`...), p.Offset, 10)
	b = strconv.AppendInt(append(b, `,"l":`...), p.Length, 10)
	b = base64.StdEncoding.AppendEncode(append(b, `,"h":"`...), p.SHA256[:])
	b = append(b, '"')
	if p.Key != inClear {
		b = strconv.AppendInt(append(b, `,"k":`...), int64(p.Key), 10)
	}
	if p.Erased {
		b = append(b, `,"e":true`...)
	}
	return append(b, '}')
}

// A digest is a SHA-256, in base64 where it is written.
type digest [sha256.Size]byte

// digestText is how long it is there.
const digestText = (sha256.Size + 2) / 3 * 4

// MarshalText implements [encoding.TextMarshaler].
func (d digest) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, d[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *digest) UnmarshalText(text []byte) error {
	var b [digestText]byte
	if len(text) != digestText {
		return fmt.Errorf("a SHA-256 of %d characters", len(text))
	}
	if n, err := base64.StdEncoding.Decode(b[:], text); err != nil || n != len(d) {
		return fmt.Errorf("a SHA-256 of %d bytes: %w", n, err)
	}
	copy(d[:], b[:])
	return nil
}

// placeOf is a place without whereabouts: what the body is.
func placeOf(data []byte) place {
	return place{Length: int64(len(data)), SHA256: sha256.Sum256(data)}
}

func openSegments(dir string) (*segments, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	s := &segments{dir: dir, open: map[int]*os.File{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".seg")); err == nil {
			s.n = max(s.n, n)
		}
	}
	if s.n == 0 {
		return s, s.begin()
	}
	// A process that was killed may have made the last segment and not synced its name.
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	if s.cur, err = os.OpenFile(s.file(s.n), os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	if s.size, err = s.cur.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *segments) file(n int) string { return filepath.Join(s.dir, fmt.Sprintf("%08d.seg", n)) }

// begin makes the next segment. One that an earlier attempt has made and not named durably is left aside.
func (s *segments) begin() error {
	for n := s.n + 1; ; n++ {
		f, err := private.OpenFile(s.file(n), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			err = syncDir(s.dir)
		}
		if err != nil {
			return err
		}
		if s.cur != nil {
			s.cur.Close()
		}
		s.cur, s.n, s.size = f, n, 0
		return nil
	}
}

// A batch gathers the bodies of one transaction.
type batch struct {
	s   *segments
	buf []byte
}

// A prepared body has its digest and is sealed, if its item is; where it will lie is known when
// its turn has come.
type prepared struct {
	name string
	data []byte
	what place
}

// prepare seals bodies under the item's key, into the sheet; nil leaves them in clear.
func prepare(bodies map[string][]byte, key *sealing.Key, on *sheet) []prepared {
	all := make([]prepared, 0, len(bodies))
	for name, data := range bodies {
		what := placeOf(data)
		if key != nil {
			what.Key = byItem
			data = on.seal(key, bodyName(name), nil, data)
		}
		all = append(all, prepared{name, data, what})
	}
	return all
}

// at is where a body lies that follows so many bytes after the batch's end.
func (b *batch) at(p place, after int) place {
	p.Segment, p.Offset = b.s.n, b.s.size+int64(len(b.buf)+after)
	return p
}

// take appends bodies in the order in which their places were given.
func (b *batch) take(bodies []prepared) {
	for _, p := range bodies {
		b.buf = append(b.buf, p.data...)
	}
}

func (b *batch) add(p place, data []byte) place {
	p = b.at(p, 0)
	b.buf = append(b.buf, data...)
	return p
}

// flush writes the batch and syncs it. After a sync that failed the tail of the segment is
// unknown, so the next batch goes into a new one.
func (b *batch) flush() error {
	if len(b.buf) == 0 {
		return nil
	}
	n, err := b.s.cur.Write(b.buf)
	written := err == nil
	if written {
		err = b.s.cur.Sync()
	}
	switch {
	case err == nil:
		if b.s.size += int64(n); b.s.size >= SegmentSize {
			err = b.s.begin()
		}
		return err
	case (!written || b.s.size == 0) && b.s.cur.Truncate(b.s.size) == nil:
		// No room, say: the tail is cut off again, or the whole of a segment that holds nothing yet,
		// so that a disk that stays full is not strewn with new segments.
		return err
	}
	b.s.size += int64(n)
	b.s.begin() //nolint:errcheck // the first error tells more, and the next flush tries again
	return err
}

// read returns the bytes of a body as they were stored.
func (s *segments) read(p place) ([]byte, error) {
	f, err := s.reader(p.Segment)
	if err != nil {
		return nil, err
	}
	data := make([]byte, p.stored())
	if _, err := f.ReadAt(data, p.Offset); err != nil {
		return nil, err
	}
	return data, nil
}

func (s *segments) reader(n int) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.open[n]; ok {
		return f, nil
	}
	f, err := os.Open(s.file(n))
	if err == nil {
		s.open[n] = f
	}
	return f, err
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.Close()
	}
	return s.cur.Close()
}
