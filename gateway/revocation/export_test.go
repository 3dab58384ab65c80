package revocation

import "time"

// A TableEntry is what a list says of a serial number, for the tests of the table.
type TableEntry struct {
	Serial  []byte
	Seconds int64 // since 1970
	Reason  CRLReason
	Invalid int64 // seconds since 1970; 0 when not said
}

// TableOf makes the table of a list that was thought to have n entries. With weak keys all
// serial numbers of at most twelve octets have one hash.
func TableOf(entries []TableEntry, n int, weak bool) (find func(serial []byte) (at time.Time, reason CRLReason, invalid time.Time, ok bool), size int) {
	f := fill(n)
	if weak {
		f.keys = hashKeys{}
	}
	for _, e := range entries {
		f.add(listed{serial: e.Serial, seconds: e.Seconds, reason: e.Reason, hasInvalid: e.Invalid != 0, invalid: e.Invalid})
	}
	t := f.done()
	return func(serial []byte) (time.Time, CRLReason, time.Time, bool) {
		e, ok := t.find(serial)
		return e.at, e.reason, e.invalid, ok
	}, t.len()
}

// Disk and DiskFile are what the kept files lie on.
type (
	Disk     = disk
	DiskFile = diskFile
)

// SetDisk puts another disk under what the checker keeps; before Keep.
func (c *Checker) SetDisk(d Disk) { c.disk = d }

// Saved reports whether all ledgers are on the disk.
func (c *Checker) Saved() bool {
	for _, s := range *c.sources.Load() {
		if !s.ledger.saved() {
			return false
		}
	}
	return true
}

// LedgerLen is the number of certificates in all ledgers.
func (c *Checker) LedgerLen() (n int) {
	for _, s := range *c.sources.Load() {
		n += s.ledger.len()
	}
	return n
}
