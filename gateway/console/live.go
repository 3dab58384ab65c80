package console

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"egov-gateway/gateway"
)

// live tells a page that what it shows has changed. The stream ends with the session, and does not
// keep it from falling asleep.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	s := c.running(r, false)
	if s == nil {
		w.WriteHeader(http.StatusNoContent) // the browser stops asking
		return
	}
	what := r.URL.Query().Get("of")
	c.news.Serve(w, r, s.operator.Name, func() (string, bool) {
		if c.running(r, false) != s {
			return "", false
		}
		return c.mark(r, s, what), true
	})
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
		return c.systemsMark(s.operator)
	case "deadlines":
		return c.late.Load().At.String()
	case "refusals":
		e, err := c.c.Audit.Recent(r.Context(), 1)
		return fmt.Sprint(e, err != nil)
	case "shard":
		if !c.sees(s.operator, name) {
			return ""
		}
		st, err := c.stats(r.Context())
		return fmt.Sprint(st.ByShard[name], err != nil)
	}
	st, err := c.stats(r.Context())
	h := sha256.New()
	for _, shard := range append(c.visible(s.operator), c.queues(s.operator)...) {
		fmt.Fprint(h, shard, st.ByShard[shard])
	}
	fmt.Fprint(h, err != nil, c.late.Load().At)
	return string(h.Sum(nil)) + c.systemsMark(s.operator)
}

// systemsMark is that of the systems which the operator sees.
func (c *Console) systemsMark(o *Operator) string {
	h := sha256.New()
	for _, s := range c.c.Systems() {
		if s.Shard == "" || o.MayView(s.Shard) {
			fmt.Fprint(h, s.Name, s.Open, s.Reason, s.Failed > 0)
		}
	}
	fmt.Fprint(h, c.c.Revocation())
	return string(h.Sum(nil))
}
