package admission

import (
	"net/http"
	"strings"
	"time"
)

// Guard lets callers of pages in, each as a stranger of its address, and answers the others with
// refused. Bodies of pages are forms: they have the strangers' time. Streams that end in /live have
// bounds of their own and no place here.
func (d *Door) Guard(next http.Handler, refused func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/live") {
			next.ServeHTTP(w, r)
			return
		}
		p, err := d.Enter("", r.RemoteAddr)
		if err != nil {
			Dismiss(w, r)
			refused(w, r, err)
			return
		}
		defer p.Leave()
		if r.ContentLength != 0 {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.c.StrangersPace.Longest)) //nolint:errcheck // the server's own is left
		}
		next.ServeHTTP(w, r)
	})
}
