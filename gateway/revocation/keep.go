package revocation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"egov-gateway/gateway"
)

// Keep takes over what an earlier process left in dir, which is made if it is not there, and keeps there
// from now on what is learned of certificates: for each issuer a ledger of what answers and lists that
// are gone said, and the newest lists. Call it once, before anything is loaded or checked; no two
// processes may use one directory.
//
// What a verdict of revocation rests on is on the disk before the verdict is given: each change is
// appended and synced, and a file is replaced only by one that is whole and synced (write, fsync,
// rename, fsync of the directory). A disk that fails does not change verdicts: what it could not keep
// counts in this process, is logged, shows as egov_gateway_revocation_ledger_unsaved and is tried again.
// Lists are verified again when they are read; one that does not verify is left out and logged, because
// it can be had again. A ledger cannot, so one that is damaged is an error, as is a directory that
// cannot be used.
func (c *Checker) Keep(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	c.configuring.Lock()
	defer c.configuring.Unlock()
	c.dir = dir
	for _, s := range *c.sources.Load() {
		if err := c.open(s); err != nil {
			return err
		}
	}
	return nil
}

// Close lets go of the files that Keep opened; everything that was promised is in them already. Call it
// after the last check and the end of Run.
func (c *Checker) Close() {
	c.configuring.Lock()
	defer c.configuring.Unlock()
	for _, h := range c.known {
		if h.ledger.file != nil {
			h.ledger.file.close()
		}
	}
}

// open reads what is kept about the certificates of an issuer.
func (c *Checker) open(s *source) error {
	if c.dir == "" || s.kept != nil {
		return nil
	}
	// Names are of the key: one issuer may be configured under several labels, one after the other.
	sum := sha256.Sum256(append(bytes.Clone(s.issuer.Certificate.RawSubject), s.issuer.Certificate.RawSPKI...))
	prefix := filepath.Join(c.dir, hex.EncodeToString(sum[:12]))
	file := &ledgerFile{disk: c.disk, name: prefix + ".ledger"}
	if err := readLedger(file.name, &s.ledger); err != nil {
		return fmt.Errorf("revocation: the ledger of issuer %s, %s: %w", s.label, file.name, err)
	}
	if err := file.whole(&s.ledger); err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	s.ledger.file = file
	kept := &keptLists{disk: c.disk, names: [2]string{prefix + ".full.crl", prefix + ".delta.crl"}}
	held := *s.lists.Load()
	for _, delta := range []bool{false, true} {
		list, err := s.readKept(kept, delta)
		if err != nil {
			c.log.Error("a list that was kept is not used; it is fetched again", "issuer", s.label, "file", kept.names[index(delta)], "error", err)
		}
		if list != nil {
			held.put(list, delta)
		}
	}
	s.kept = kept
	held.confirmed = c.clock.stamp(c.now())
	from := s.lists.Load()
	if err := s.replace(from, held.ready(), nil, func() error { return nil }); err != nil {
		return fmt.Errorf("revocation: %w", err)
	}
	return nil
}

// readKept reads a list that an earlier process verified, and verifies it again. Its age does not
// matter: what it says stays said. It is nil when there is none.
func (s *source) readKept(kept *keptLists, delta bool) (*CRL, error) {
	raw, err := os.ReadFile(kept.names[index(delta)])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := parseCRL(raw)
	if err != nil {
		return nil, err
	}
	if err := c.SignedBy(s.issuer.Certificate); err != nil {
		return nil, err
	}
	if err := c.inScope(); err != nil {
		return nil, err
	}
	if c.Delta() != delta || c.Number == nil || c.NextUpdate.IsZero() {
		return nil, gateway.Errorf(gateway.EvidenceScope, "not a list of the kind that is kept there")
	}
	c.digest = sha256.Sum256(raw)
	if err := c.index(); err != nil {
		return nil, err
	}
	c.release()
	kept.saved[index(delta)] = c.digest
	return c, nil
}

// KeptLists are the files of the newest full and delta list of an issuer.
type keptLists struct {
	disk  disk
	names [2]string
	saved [2][32]byte // SHA-256 of what the files hold; guarded by holdings.loading
}

// save puts a list on the disk, unless it is there.
func (k *keptLists) save(delta bool, digest [32]byte, raw []byte) error {
	if k == nil || k.saved[index(delta)] == digest {
		return nil
	}
	f, err := writeWhole(k.disk, k.names[index(delta)], func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep a list: %w", err)
	}
	k.saved[index(delta)] = digest
	return f.Close()
}
