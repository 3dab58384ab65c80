package cabinet

import (
	"fmt"
	"net/http"
	"time"
)

// How a live page looks for news. Beyond MaxStreams a page looks for itself now and then.
const (
	MaxStreams = 500
	streamLife = 50 * time.Second
	streamPace = time.Second
)

// live tells the page of one request that it changed, and nothing else: the page loads itself anew.
func (c *Cabinet) live(w http.ResponseWriter, r *http.Request) {
	it, err := c.item(r)
	if err != nil {
		w.WriteHeader(http.StatusNoContent) // the browser stops asking
		return
	}
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h := w.Header()
	headers(h)
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	fmt.Fprint(w, "retry: 2000\n\n")
	out.Flush() //nolint:errcheck // the client may be gone
	last := it.Version
	end := time.After(streamLife)
	pace := time.NewTicker(streamPace)
	defer pace.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-c.closing:
			return
		case <-end:
			return
		case <-pace.C:
		}
		it, err := c.item(r)
		if err != nil {
			return
		}
		if it.Version == last {
			continue
		}
		last = it.Version
		if _, err := fmt.Fprint(w, "event: changed\ndata: {}\n\n"); err != nil {
			return
		}
		out.Flush() //nolint:errcheck // the client may be gone
	}
}
