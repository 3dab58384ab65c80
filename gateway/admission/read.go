package admission

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"egov-gateway/gateway"
)

// A Pace is how quickly a body must come.
type Pace struct {
	// Grace is the time in which nothing has to come.
	Grace time.Duration
	// Rate is how many bytes a second must have come since then.
	Rate int64
	// Longest is the time in which all must have come.
	Longest time.Duration
}

// DefaultPace suits a portal on a bad line; StrangersPace is all that others get.
var (
	DefaultPace   = Pace{Grace: 5 * time.Second, Rate: 8 << 10, Longest: 30 * time.Second}
	StrangersPace = Pace{Grace: 2 * time.Second, Rate: 8 << 10, Longest: 10 * time.Second}
)

// due is when, after n bytes, the next one must have come.
func (p Pace) due(start time.Time, n int64) time.Time {
	after := p.Grace + time.Duration(float64(n)/float64(max(1, p.Rate))*float64(time.Second))
	return start.Add(min(after, p.Longest))
}

const (
	firstPiece = 4 << 10
	// largestStep bounds how much more than what came is allocated for a body whose length nobody announced.
	largestStep = 4 << 20
)

// Read reads a body of at most limit bytes into memory that is reserved as the bytes come, and kept
// reserved until the place is left. What is announced as larger, or does not fit now, is refused
// before any of it is read. A body that comes too slowly loses its place. The error carries
// [gateway.BodyTooLarge], [gateway.BodyTruncated] or [gateway.Overload].
func (p *Place) Read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := p.Body(w, r, limit)
	if err != nil {
		return nil, err
	}
	data, err := p.Collect(body, r.ContentLength)
	if err != nil {
		HangUp(w, r)
	}
	return data, err
}

// Body is [Place.Read] for bodies of several parts: what it returns is to be read by
// [Place.Collect], part by part.
func (p *Place) Body(w http.ResponseWriter, r *http.Request, limit int64) (io.Reader, error) {
	if err := p.expect(r.ContentLength, limit); err != nil {
		HangUp(w, r)
		return nil, err
	}
	pace := p.door.c.Pace
	if p.address != nil {
		pace = p.door.c.StrangersPace
	}
	return &pacedReader{place: p, control: http.NewResponseController(w), r: http.MaxBytesReader(w, r.Body, limit),
		limit: limit, pace: pace, start: time.Now()}, nil
}

// expect refuses a body that is announced as too large, or larger than the room there is now;
// n is -1 for one whose length is not announced. Nothing is taken for what is only announced.
func (p *Place) expect(n, limit int64) error {
	if n > limit {
		return tooLarge(limit)
	}
	if n <= 0 {
		return nil
	}
	if err := p.Reserve(n); err != nil {
		return err
	}
	p.Release(n)
	return nil
}

func tooLarge(limit int64) error {
	return gateway.Errorf(gateway.BodyTooLarge, "at most %d bytes are taken", limit)
}

// HangUp says that the connection ends with this answer: what was not read of a body is not waited
// for. Over HTTP/2 the stream alone ends.
func HangUp(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
	}
}

// dismissTime is how long the server may wait for the body of a request that is answered unread.
const dismissTime = 500 * time.Millisecond

// Dismiss is called before a request is answered whose body was not read. The server reads a small
// body that is there, so that the connection can go on; for one that does not come it does not wait.
func Dismiss(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 && r.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(dismissTime)) //nolint:errcheck // without deadlines the server's own is left
	}
}

// A pacedReader ends with an error when the body comes too slowly or is too large.
type pacedReader struct {
	place   *Place
	control *http.ResponseController
	r       io.Reader
	limit   int64
	pace    Pace
	start   time.Time
	n       int64
	set     time.Time // the deadline in force
}

func (r *pacedReader) Read(b []byte) (int, error) {
	due := r.pace.due(r.start, r.n)
	// One that moved by a moment only need not be set anew for every piece.
	if r.set.IsZero() || due.Sub(r.set) > 100*time.Millisecond {
		r.control.SetReadDeadline(due) //nolint:errcheck // without deadlines the look at the clock is left
		r.set = due
	}
	n, err := r.r.Read(b)
	r.n += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		// Nothing more is due: a deadline that passes during the work would end the request.
		r.control.SetReadDeadline(time.Time{}) //nolint:errcheck // see above
	case isTooLarge(err):
		err = tooLarge(r.limit)
	case errors.Is(err, os.ErrDeadlineExceeded), err == nil && !time.Now().Before(r.pace.due(r.start, r.n)):
		err = r.place.tooSlow()
	case err != nil:
		err = gateway.Errorf(gateway.BodyTruncated, "the body ended before its announced end")
	}
	return n, err
}

// tooSlow counts a slow body; the door is not full for that.
func (p *Place) tooSlow() error {
	p.door.house.c.Refused(p.door.c.Name, p.account.name, gateway.BodyTruncated)
	return gateway.Errorf(gateway.BodyTruncated, "the body came too slowly")
}

// Collect reads all of r into memory that grows, and is reserved, as the bytes come. Announced is
// how many there will be, -1 if nobody said: no more is allocated than that, and not before it came.
// An error of the reader without a reason of its own is returned as it is.
func (p *Place) Collect(r io.Reader, announced int64) ([]byte, error) {
	b := &body{place: p, announced: announced}
	var data []byte
	for {
		if len(data) == cap(data) {
			var err error
			if data, err = b.grow(data); err != nil {
				return nil, err
			}
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return b.fit(data), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// A body grows with what came.
type body struct {
	place     *Place
	announced int64 // -1 for not
	held      int64
}

// grow doubles the buffer, at most to one byte more than is announced: that byte tells the end. It
// reserves the capacity that the allocator really gives.
func (b *body) grow(data []byte) ([]byte, error) {
	n := int64(len(data))
	next := max(firstPiece, n+min(n, largestStep))
	if b.announced >= n {
		next = min(next, b.announced+1)
	}
	if err := b.place.Reserve(next - b.held); err != nil {
		return nil, err
	}
	b.held = next
	bigger := slices.Grow([]byte(nil), int(next))[:len(data)]
	copy(bigger, data)
	if more := int64(cap(bigger)) - next; more > 0 {
		if err := b.place.Reserve(more); err != nil {
			bigger = bigger[:len(data):next] // the rest of its size class stays unused
		} else {
			b.held += more
		}
	}
	return bigger, nil
}

// fit gives back what doubling took too much, when it is a quarter or more.
func (b *body) fit(data []byte) []byte {
	if cap(data)-len(data) < max(firstPiece, len(data)/4) {
		return data
	}
	exact := bytes.Clone(data)
	if less := b.held - int64(cap(exact)); less > 0 {
		b.place.Release(less)
		b.held -= less
	}
	return exact
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
