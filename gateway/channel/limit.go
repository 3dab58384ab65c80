package channel

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
)

// A flight counts the bytes of all messages at hand, so that many large ones at once cannot use
// up the memory.
type flight struct {
	max  int64
	used atomic.Int64
}

func (f *flight) reserve(n int64) bool {
	if f.used.Add(n) > f.max {
		f.used.Add(-n)
		return false
	}
	return true
}

func (f *flight) release(n int64) { f.used.Add(-n) }

// piece is how much is read between two looks at the memory in use.
const piece = 64 << 10

// read takes a body of at most limit bytes. What is announced as larger is refused before any
// of it is read. The caller gives reserved bytes back when the message is done with.
func (f *flight) read(r *http.Request, limit int) (body []byte, reserved int64, err error) {
	if r.ContentLength > int64(limit) {
		return nil, 0, errTooLarge(limit)
	}
	if n := r.ContentLength; n > 0 {
		body = make([]byte, 0, n) // not touched, so not in use, until it is filled
	}
	for {
		if len(body) > limit {
			return nil, reserved, errTooLarge(limit)
		}
		if int64(len(body))+piece > reserved {
			if !f.reserve(piece) {
				return nil, reserved, gateway.Errorf(gateway.Overload, "too many large messages at once; try again later")
			}
			reserved += piece
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Body.Read(body[len(body):min(cap(body), len(body)+piece)])
		body = body[:len(body)+n]
		switch {
		case err == io.EOF && len(body) <= limit:
			return body, reserved, nil
		case err == io.EOF:
			return nil, reserved, errTooLarge(limit)
		case err != nil:
			return nil, reserved, gateway.Errorf(gateway.BodyTruncated, "the body ended before its announced end")
		}
	}
}

func errTooLarge(limit int) error {
	return gateway.Errorf(gateway.BodyTooLarge, "at most %d bytes are taken", limit)
}

// A replay remembers which content came under a message id, for as long as its date is inside the
// window. It only spares work and names a mistake early: what was done is told by the journal.
type replay struct {
	life time.Duration
	max  int

	mu         sync.Mutex // guards all below
	turned     time.Time
	young, old map[string][32]byte
}

func newReplay(life time.Duration, max int) *replay {
	return &replay{life: life, max: max, young: map[string][32]byte{}}
}

// fits reports whether the id is new or came with the same content.
func (r *replay) fits(id string, content [32]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.turned) >= r.life || len(r.young) >= r.max {
		r.old, r.young, r.turned = r.young, map[string][32]byte{}, now
	}
	was, ok := r.young[id]
	if !ok {
		was, ok = r.old[id]
	}
	if ok && was != content {
		return false
	}
	r.young[id] = content
	return true
}
