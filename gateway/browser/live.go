package browser

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// How a stream looks for news. It ends after StreamLife and the browser opens the next one: so
// no connection outlives its session for long, nor the server's limit for writing an answer.
const (
	StreamLife = 50 * time.Second
	StreamPace = time.Second
	// PersonStreams is how many streams one person may have at a time, of all that there are.
	PersonStreams = 10
)

// Live tells open pages that they changed, and nothing else: a page loads itself anew. Beyond
// its number of streams a page looks for itself now and then. Safe for concurrent use.
type Live struct {
	streams chan struct{} // one token per stream
	closing chan struct{}
	once    sync.Once

	mu     sync.Mutex
	look   chan struct{}  // guarded by mu; closed when all streams must look at once
	people map[string]int // guarded by mu: streams by person
}

// NewLive allows that many streams at a time.
func NewLive(streams int) *Live {
	return &Live{streams: make(chan struct{}, streams), closing: make(chan struct{}), look: make(chan struct{}), people: map[string]int{}}
}

// Close ends the streams at hand, and every later one as soon as it begins.
func (l *Live) Close() {
	l.once.Do(func() { close(l.closing) })
}

// Look makes every stream look now: who may no longer see a page is cut off at once.
func (l *Live) Look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.look)
	l.look = make(chan struct{})
}

func (l *Live) called() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.look
}

// enter takes a place for one more stream of a person; ok is false beyond what that person may have, and
// beyond what all may.
func (l *Live) enter(who string) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.people[who] >= PersonStreams {
		return nil, false
	}
	select {
	case l.streams <- struct{}{}:
	default:
		return nil, false
	}
	l.people[who]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.people[who]--; l.people[who] == 0 {
			delete(l.people, who)
		}
		<-l.streams
	}, true
}

// Serve is one stream of server-sent events to a person: "changed" whenever mark is another one than before.
// mark is asked once at the start and then every [StreamPace]; when it says false the stream
// ends, and a stream that has not begun is answered with 204, which ends the browser's asking.
// So is one beyond the number allowed.
//
// Source: HTML Living Standard §9.2, "Server-sent events".
func (l *Live) Serve(w http.ResponseWriter, r *http.Request, who string, mark func() (string, bool)) {
	called := l.called()
	last, ok := mark()
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	leave, ok := l.enter(who)
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer leave()
	h := w.Header()
	Headers(h)
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	fmt.Fprint(w, "retry: 2000\n\n")
	out.Flush() //nolint:errcheck // the client may be gone
	end := time.NewTimer(StreamLife)
	defer end.Stop()
	pace := time.NewTicker(StreamPace)
	defer pace.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-l.closing:
			return
		case <-end.C:
			return
		case <-called:
			called = l.called()
		case <-pace.C:
		}
		now, ok := mark()
		if !ok {
			return
		}
		if now == last {
			continue
		}
		last = now
		if _, err := fmt.Fprint(w, "event: changed\ndata: {}\n\n"); err != nil {
			return
		}
		out.Flush() //nolint:errcheck // the client may be gone
	}
}
