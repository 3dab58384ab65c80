package console

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"egov-gateway/gateway"
)

// How a live page looks for news. A stream ends after streamLife and the browser opens the
// next one: so no connection outlives its session for long.
const (
	streamLife = 50 * time.Second
	streamPace = time.Second
)

// live tells a page that what it shows has changed. It says nothing else: the page loads itself anew.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	s, err := c.session(w, r)
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
	end := time.After(streamLife)
	pace := time.NewTicker(streamPace)
	defer pace.Stop()
	what := r.URL.Query().Get("of")
	last := c.mark(r, s, what)
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
		now := c.mark(r, s, what)
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

// mark is another one whenever what a page shows may have changed.
func (c *Console) mark(r *http.Request, s *session, what string) string {
	kind, name, _ := strings.Cut(what, " ")
	switch kind {
	case "request":
		it, err := c.c.Journal.Get(r.Context(), gateway.RequestID(name))
		if err != nil || !c.sees(s.operator, it.Shard) {
			return ""
		}
		return fmt.Sprint(it.Version)
	case "systems":
		return c.systemsMark()
	case "deadlines":
		return c.late.Load().At.String()
	case "refusals":
		e, err := c.c.Audit.Recent(r.Context(), 1)
		return fmt.Sprint(e, err != nil)
	case "shard":
		st, err := c.stats(r.Context())
		return fmt.Sprint(st.ByShard[name], err != nil)
	}
	st, err := c.stats(r.Context())
	return fmt.Sprint(st.ByShard, err != nil, c.late.Load().At) + c.systemsMark()
}

func (c *Console) systemsMark() string {
	h := sha256.New()
	for _, s := range c.c.Systems() {
		fmt.Fprint(h, s.Name, s.Open, s.Reason, s.Failed > 0)
	}
	fmt.Fprint(h, c.c.Revocation())
	return string(h.Sum(nil))
}
