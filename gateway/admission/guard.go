package admission

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"
)

// formBytes is how much of a form is read without a place.
const formBytes = 64 << 10

// Guard lets callers of pages in, each as a stranger of its address, and answers the others with
// refused. Streams that end in /live have bounds of their own and no place here.
//
// A place is for the work alone: it is given back while a form comes, in the strangers' time, and when the
// answer begins. So nobody holds places by sending slowly or by taking nothing; what that needs is bounded
// by the server.
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
		v := &pageVisit{ResponseWriter: w, door: d, place: p, address: r.RemoteAddr, body: r.Body}
		defer func() { v.place.Leave() }()
		if r.ContentLength == 0 {
			next.ServeHTTP(v, r)
			return
		}
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.c.StrangersPace.Longest)) //nolint:errcheck // the server's own is left
		// The request keeps the server's own body: net/http looks at its type when a form is refused unread.
		with := *r
		with.Body = &form{visit: v, Closer: r.Body}
		defer func() { r.Pattern = with.Pattern }()
		next.ServeHTTP(v, &with)
	})
}

// A pageVisit is a request to a page, and its answer. It is for one goroutine.
type pageVisit struct {
	http.ResponseWriter
	door    *Door
	place   *Place
	address string
	body    io.Reader
}

// Write gives the place back: what is answered is there already.
func (v *pageVisit) Write(b []byte) (int, error) {
	v.place.Leave()
	return v.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the real writer.
func (v *pageVisit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// A form is the body of a visit, read when it is first asked for.
type form struct {
	io.Closer
	visit *pageVisit
	read  io.Reader // nil before it was read
	err   error     // that ended it
}

// Read implements io.Reader. The error may be that of [Door.Enter].
func (f *form) Read(b []byte) (int, error) {
	if f.read == nil {
		f.err = f.fetch()
	}
	n, err := f.read.Read(b)
	if n == 0 && f.err != nil {
		return 0, f.err
	}
	return n, err
}

func (f *form) fetch() error {
	v := f.visit
	v.place.Leave()
	begun, err := io.ReadAll(io.LimitReader(v.body, formBytes))
	f.read = bytes.NewReader(begun)
	if err != nil {
		return err
	}
	p, err := v.door.Enter("", v.address)
	if err != nil {
		f.read = bytes.NewReader(nil)
		return err
	}
	v.place = p
	f.read = io.MultiReader(f.read, v.body)
	return nil
}
