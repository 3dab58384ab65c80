package channel

import (
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
)

// A counting reader tells how much of a body was asked for.
type counting struct {
	r    io.Reader
	read int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read += n
	return n, err
}

func TestBodiesAreBoundedBeforeTheyAreRead(t *testing.T) {
	tests := []struct {
		name      string
		size      int
		announced int64
		max       int64
		want      gateway.Reason
		most      int // bytes that may be read
	}{
		{"as large as allowed", 1 << 20, 1 << 20, 4 << 20, "", 1 << 20},
		{"as large as allowed, not announced", 1 << 20, -1, 4 << 20, "", 1 << 20},
		{"one byte more is refused unread", 1<<20 + 1, 1<<20 + 1, 4 << 20, gateway.BodyTooLarge, 0},
		{"much more, not announced", 64 << 20, -1, 4 << 20, gateway.BodyTooLarge, 1<<20 + 2*piece},
		{"no room in memory", 1 << 20, 1 << 20, 256 << 10, gateway.Overload, 256 << 10},
		{"nothing", 0, 0, 4 << 20, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := flight{max: tt.max}
			body := &counting{r: io.LimitReader(zeros{}, int64(tt.size))}
			r := httptest.NewRequest("POST", "/", body)
			r.ContentLength = tt.announced
			got, reserved, err := f.read(r, 1<<20)
			if gateway.ReasonOf(err) != tt.want || err == nil && len(got) != tt.size {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if body.read > tt.most {
				t.Errorf("%d bytes were read, at most %d may be", body.read, tt.most)
			}
			f.release(reserved)
			if n := f.used.Load(); n != 0 {
				t.Errorf("%d bytes stay reserved", n)
			}
		})
	}
	t.Run("a broken connection", func(t *testing.T) {
		f := flight{max: 1 << 20}
		r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("<a"), broken{}))
		if _, _, err := f.read(r, 1<<20); gateway.ReasonOf(err) != gateway.BodyTruncated {
			t.Errorf("got %v", err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("reset") }

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
