package channel

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestReplaysAreForgottenInBoundedMemory(t *testing.T) {
	now := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	r := newReplay(time.Hour, 3)
	a, b := [32]byte{1}, [32]byte{2}
	steps := []struct {
		id      string
		content [32]byte
		after   time.Duration
		want    bool
	}{
		{"1", a, 0, true}, {"1", a, 0, true}, {"1", b, time.Minute, false}, {"2", b, time.Minute, true},
		{"1", b, 61 * time.Minute, false}, // remembered for at least the window
		{"1", b, 4 * time.Hour, true},     // forgotten: its date is long outside the window
		{"3", a, 5 * time.Hour, true}, {"3", b, 7*time.Hour + time.Minute, false},
		{"1", a, 9 * time.Hour, true},
	}
	for i, s := range steps {
		if got := r.fits(s.id, s.content, now.Add(s.after)); got != s.want {
			t.Errorf("step %d: %v", i+1, got)
		}
	}
	for i := range 100 {
		r.fits(strings.Repeat("x", i), a, now.Add(9*time.Hour))
	}
	if n := len(r.young) + len(r.old); n > 6 {
		t.Errorf("%d ids are remembered", n)
	}
}

// Ids of a megabyte cost as much as others.
func TestLongIDsTakeNoMemory(t *testing.T) {
	r := newReplay(time.Hour, 1000)
	memory := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := memory()
	for n := range 100 {
		r.fits(strings.Repeat(string(rune('a'+n)), 1<<20), [32]byte{}, time.Time{})
	}
	if used := memory() - before; used > 1<<20 {
		t.Errorf("%d bytes are kept of 100 ids", used)
	}
	runtime.KeepAlive(r)
}

func TestBucket(t *testing.T) {
	now := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	b := &bucket{rate: 2, left: 4}
	take := func(at time.Duration) (n int) {
		for b.take(now.Add(at)) {
			n++
		}
		return n
	}
	for i, tt := range []struct {
		at   time.Duration
		want int
	}{{0, 4}, {time.Second, 2}, {1500 * time.Millisecond, 1}, {time.Hour, 4}, {time.Minute, 0}} {
		if n := take(tt.at); n != tt.want {
			t.Errorf("look %d: %d messages, want %d", i+1, n, tt.want)
		}
	}
}
