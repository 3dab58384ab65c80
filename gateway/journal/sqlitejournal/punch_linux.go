package sqlitejournal

import (
	"os"
	"syscall"
)

// fallocate(2): FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE.
const punchHole = 0x01 | 0x02

// punch gives the bytes back to the filesystem and makes them read as zeros; false where the
// filesystem cannot.
func punch(f *os.File, offset, length int64) bool {
	return syscall.Fallocate(int(f.Fd()), punchHole, offset, length) == nil
}
