package revocation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// The file of a ledger: ledgerMagic, then frames. A frame is the number of its records and the CRC-32C
// of that number, both as four octets, the CRC-32C of the records, and the records. Of several records
// of one certificate the last counts; one of markNothing strikes it out.
const (
	ledgerMagic      = "egov-gateway ledger 1\n"
	ledgerRecordSize = serialSize + 4 + 4*8
	ledgerFrameHead  = 12
	ledgerFrameMost  = 4096 // records of a frame
	// ledgerSlack is how many records there may be beyond twice those that count, before the file is written anew.
	ledgerSlack = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A disk is what the files of this package are kept on; tests put one that fails in its place.
type disk interface {
	// Create makes an empty file for writing, or empties the one that is there.
	Create(name string) (diskFile, error)
	// Rename puts a file in the place of another, at once or not at all.
	Rename(from, to string) error
	// SyncDir puts the names in a directory on the disk.
	SyncDir(dir string) error
}

type diskFile interface {
	io.Writer
	Sync() error
	Close() error
}

type realDisk struct{}

func (realDisk) Create(name string) (diskFile, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (realDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (realDisk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeWhole replaces a file so that after a fault of the machine there is the old one or the new one,
// and returns the new one, still open, with all of it on the disk.
func writeWhole(d disk, name string, write func(io.Writer) error) (diskFile, error) {
	f, err := d.Create(name + ".new")
	if err != nil {
		return nil, err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.Rename(name+".new", name)
	}
	if err == nil {
		err = d.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// A ledgerFile keeps a ledger. What save was told of is on the disk when it returns nil: each save adds
// a frame and waits for the disk (fsync), or replaces the whole file by writing another beside it,
// waiting for that, and renaming. A frame that a fault of the machine cut off was never promised, and
// is left out by the next start.
type ledgerFile struct {
	disk disk
	name string

	mu      sync.Mutex // guards all below
	file    diskFile   // nil when the file has to be written anew
	records int        // in the file
}

func (f *ledgerFile) save(l *ledger, changed []serialBytes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil && f.records+len(changed) <= 2*l.len()+ledgerSlack {
		// What is known now, not what was known when the caller changed it: of two callers the later one
		// must not write the earlier mark.
		err := frames(f.file, len(changed), func(i int) (serialBytes, mark) { return changed[i], l.recall(magnitudeOf(&changed[i])) })
		if err == nil {
			err = f.file.Sync()
		}
		if err == nil {
			f.records += len(changed)
			return nil
		}
		f.file.Close() //nolint:errcheck // it failed already; a new file takes its place
		f.file = nil
	}
	return f.rewrite(l)
}

// rewrite needs mu.
func (f *ledgerFile) rewrite(l *ledger) error {
	var keys []serialBytes
	var marks []mark
	l.each(func(key serialBytes, k mark) { keys, marks = append(keys, key), append(marks, k) })
	file, err := writeWhole(f.disk, f.name, func(w io.Writer) error {
		if _, err := io.WriteString(w, ledgerMagic); err != nil {
			return err
		}
		return frames(w, len(keys), func(i int) (serialBytes, mark) { return keys[i], marks[i] })
	})
	if err != nil {
		return fmt.Errorf("keep the ledger of certificates: %w", err)
	}
	if f.file != nil {
		f.file.Close() //nolint:errcheck // another file has its name
	}
	f.file, f.records = file, len(keys)
	return nil
}

// whole writes the file anew if the last save could not.
func (f *ledgerFile) whole(l *ledger) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil {
		return nil
	}
	return f.rewrite(l)
}

// saved reports whether all that is known is on the disk.
func (f *ledgerFile) saved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file != nil
}

func (f *ledgerFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil {
		f.file.Close() //nolint:errcheck // all of it was synced
		f.file = nil
	}
}

// frames writes n records.
func frames(w io.Writer, n int, record func(i int) (serialBytes, mark)) error {
	for from := 0; from < n; from += ledgerFrameMost {
		count := min(n-from, ledgerFrameMost)
		frame := make([]byte, ledgerFrameHead, ledgerFrameHead+count*ledgerRecordSize)
		for i := range count {
			key, k := record(from + i)
			frame = append(frame, key[:]...)
			frame = append(frame, byte(k.state), byte(k.reason), byte(k.method), 0)
			for _, v := range []uint64{uint64(k.at), uint64(k.said), uint64(k.invalid), k.scope} {
				frame = binary.BigEndian.AppendUint64(frame, v)
			}
		}
		binary.BigEndian.PutUint32(frame, uint32(count))
		binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(frame[:4], castagnoli))
		binary.BigEndian.PutUint32(frame[8:], crc32.Checksum(frame[ledgerFrameHead:], castagnoli))
		if _, err := w.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// errDamaged: the file is not one that a fault of the machine can leave behind.
var errDamaged = errors.New("it is damaged; move it away to start without what it knew, after the disk was looked at")

// readLedger reads a file into an empty ledger. A frame at the end that was cut off is left out. The
// error is errDamaged for anything else that is not whole, and nil when there is no file.
func readLedger(name string, l *ledger) error {
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(raw) < len(ledgerMagic) || string(raw[:len(ledgerMagic)]) != ledgerMagic {
		return errDamaged // it is renamed into its place when all of it is written
	}
	for rest := raw[len(ledgerMagic):]; len(rest) > 0; {
		records, after, torn := nextFrame(rest)
		if records == nil {
			if torn {
				return nil
			}
			return errDamaged
		}
		for ; len(records) > 0; records = records[ledgerRecordSize:] {
			key, k := readRecord(records)
			if k.state > markRevoked {
				return errDamaged
			}
			l.change(key, func(mark) mark { return k })
		}
		rest = after
	}
	return nil
}

// nextFrame splits a frame off b. Without records, torn tells whether b can be the beginning of one
// frame of which not all came to the disk.
func nextFrame(b []byte) (records, rest []byte, torn bool) {
	zeros := true
	for _, o := range b {
		zeros = zeros && o == 0
	}
	if len(b) < ledgerFrameHead || zeros {
		return nil, nil, true
	}
	count := binary.BigEndian.Uint32(b)
	if binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[:4], castagnoli) || count == 0 || count > ledgerFrameMost {
		return nil, nil, false
	}
	end := ledgerFrameHead + int(count)*ledgerRecordSize
	if len(b) < end {
		return nil, nil, true
	}
	records = b[ledgerFrameHead:end]
	if binary.BigEndian.Uint32(b[8:]) != crc32.Checksum(records, castagnoli) {
		return nil, nil, len(b) == end
	}
	return records, b[end:], false
}

func readRecord(b []byte) (key serialBytes, k mark) {
	copy(key[:], b)
	b = b[serialSize:]
	k.state, k.reason, k.method = markState(b[0]), CRLReason(b[1]), saidBy(b[2])
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[4+8*i:]) }
	k.at, k.said, k.invalid, k.scope = int64(number(0)), int64(number(1)), int64(number(2)), number(3)
	return key, k
}
