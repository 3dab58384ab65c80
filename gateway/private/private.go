// Package private keeps files and directories to their owner, whatever the umask is, and whoever made
// them before.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
)

// others are the rights of everybody but the owner.
const others = 0o077

// ErrForeign is the error for what belongs to another user, and is left as it is.
var ErrForeign = errors.New("it belongs to another user")

// OpenFile is [os.OpenFile] for a file that is the owner's alone, also if it is there already and was
// not.
func OpenFile(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm() != 0o600 && owned(info) {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Narrow takes a file or directory away from everybody but its owner, and returns the mode it had if
// that was another. The error is [ErrForeign] for what is not ours, or that of the disk.
func Narrow(name string) (was fs.FileMode, changed bool, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, false, err
	}
	was = info.Mode().Perm()
	switch {
	case was&others == 0:
		return was, false, nil
	case !owned(info):
		return was, false, fmt.Errorf("%s has the mode %04o: %w", name, was, ErrForeign)
	}
	return was, true, os.Chmod(name, was&^others)
}

// Keep narrows what there is of the names, and says so. It goes on when something cannot be narrowed:
// a gateway that runs beside an open directory is better than none, and the log says it.
func Keep(log *slog.Logger, names ...string) {
	for _, name := range names {
		was, changed, err := Narrow(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			log.Warn("other users of this machine may look at what the gateway keeps", "name", name, "error", err)
		case changed:
			log.Warn("taken away from other users of this machine", "name", name, "mode_before", fmt.Sprintf("%04o", was))
		}
	}
}

func owned(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(s.Uid) == os.Geteuid()
}
