package xmlsig_test

import (
	"syscall"
	"time"
	"unsafe"
)

// processorTime is what the calling thread has used: on a busy machine its share changes, not
// its sum. The caller holds its thread.
func processorTime() time.Duration {
	var t syscall.Timespec
	const thread = 3 // CLOCK_THREAD_CPUTIME_ID
	if _, _, err := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, thread, uintptr(unsafe.Pointer(&t)), 0); err != 0 {
		panic(err)
	}
	return time.Duration(t.Nano())
}
