package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
)

func downloader(t *testing.T, edit func(*upstream.Config)) *upstream.Client {
	t.Helper()
	c := upstream.Config{Name: "lists", Retries: -1, NoBreaker: true, MaxRedirects: 3, Timeout: 20 * time.Second,
		Reasons: upstream.Reasons{Unavailable: gateway.StatusUnavailable}}
	if edit != nil {
		edit(&c)
	}
	client, err := upstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// A list comes through a line that breaks, and is never put together of two different ones.
func TestADownloadThatBreaksOffGoesOn(t *testing.T) {
	file := func(version byte) []byte { return bytes.Repeat([]byte{version, version + 1, version + 2}, 40_000) }
	whole := file('a')
	// serve answers as net/http does, and breaks off after so many octets of the body.
	serve := func(w http.ResponseWriter, r *http.Request, content []byte, breakAfter int) {
		if breakAfter == 0 {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		rec := httptest.NewRecorder()
		rec.Header().Set("ETag", w.Header().Get("ETag"))
		http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(content))
		for name, v := range rec.Header() {
			w.Header()[name] = v
		}
		w.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		_, _ = w.Write(body[:min(breakAfter, len(body))])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name   string
		answer func(n int64, w http.ResponseWriter, r *http.Request)
		calls  int // until it is there
		most   int64
		want   []byte
	}{
		{"three times within one call", func(n int64, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			serve(w, r, whole, map[bool]int{true: 30_000}[n <= 3])
		}, 1, 4, whole},
		{"the file has changed meanwhile", func(n int64, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				w.Header().Set("ETag", `"v1"`)
				serve(w, r, whole, 30_000)
			}
			w.Header().Set("ETag", `"v2"`)
			serve(w, r, file('x'), 0)
		}, 1, 2, file('x')},
		{"a server that knows no ranges", func(n int64, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if n == 1 {
				serve(w, r, whole, 30_000)
			}
			_, _ = w.Write(whole)
		}, 1, 2, whole},
		{"a weak tag names no file for good: the next call begins anew", func(n int64, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `W/"v1"`)
			if r.Header.Get("Range") != "" {
				t.Error("a part was asked for")
			}
			serve(w, r, whole, map[bool]int{true: 30_000}[n == 1])
		}, 2, 2, whole},
		{"another part than the one asked for", func(n int64, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if n == 2 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(whole)-1, len(whole)))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(whole)
				return
			}
			serve(w, r, whole, map[bool]int{true: 30_000}[n == 1])
		}, 2, 3, whole},
		{"the part is refused", func(n int64, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if n == 2 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			serve(w, r, whole, map[bool]int{true: 30_000}[n == 1])
		}, 2, 3, whole},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tt.answer(asked.Add(1), w, r) }))
			defer srv.Close()
			c := downloader(t, nil)
			var raw []byte
			var err error
			calls := 0
			for raw == nil && calls < 5 {
				raw, _, _, err = c.FetchNewer(context.Background(), srv.URL, "")
				calls++
			}
			if !bytes.Equal(raw, tt.want) || calls != tt.calls || asked.Load() > tt.most {
				t.Errorf("%d octets after %d calls and %d requests, %v; want %d after %d and %d", len(raw), calls, asked.Load(), err, len(tt.want), tt.calls, tt.most)
			}
		})
	}
}

// A line that is too slow for one call is continued by the next.
func TestASlowDownloadIsContinuedByTheNextCall(t *testing.T) {
	whole := bytes.Repeat([]byte("slow"), 10_000)
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if asked.Add(1) > 1 {
			if r.Header.Get("Range") == "" {
				t.Error("it was begun anew")
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		_, _ = w.Write(whole[:len(whole)/2])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer srv.Close()
	c := downloader(t, func(c *upstream.Config) { c.Timeout = 2 * time.Second })
	if _, _, _, err := c.FetchNewer(context.Background(), srv.URL, ""); gateway.ReasonOf(err) != gateway.StatusUnavailable {
		t.Fatalf("the first call: %v", err)
	}
	raw, tag, _, err := c.FetchNewer(context.Background(), srv.URL, `"v0"`)
	if err != nil || !bytes.Equal(raw, whole) || tag != `"v1"` {
		t.Errorf("the second call: %d octets, tag %s, %v", len(raw), tag, err)
	}
}

func TestADownloadFollowsFewRedirectsAndNoneToLess(t *testing.T) {
	hops := func(w http.ResponseWriter, r *http.Request) {
		n := strings.Count(r.URL.Path, "x")
		if n == 0 {
			_, _ = w.Write([]byte("content"))
			return
		}
		http.Redirect(w, r, "/"+strings.Repeat("x", n-1), http.StatusFound)
	}
	plain := httptest.NewServer(http.HandlerFunc(hops))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL, http.StatusFound)
			return
		}
		hops(w, r)
	}))
	defer secure.Close()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[string]string{"/up": secure.URL, "/file": "file:///etc/hostname", "/name": strings.Replace(plain.URL, "//", "//a:b@", 1)}[r.URL.Path], http.StatusFound)
	}))
	defer elsewhere.Close()
	trusted := func(c *upstream.Config) {
		c.TLS = &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	}
	for _, tt := range []struct {
		name, url string
		edit      func(*upstream.Config)
		ok        bool
	}{
		{"none", plain.URL + "/", trusted, true},
		{"three", plain.URL + "/xxx", trusted, true},
		{"four", plain.URL + "/xxxx", trusted, false},
		{"from http to https", elsewhere.URL + "/up", trusted, true},
		{"from https to http", secure.URL + "/down", trusted, false},
		{"from https to https", secure.URL + "/x", trusted, true},
		{"to a file", elsewhere.URL + "/file", trusted, false},
		{"to an address with a password", elsewhere.URL + "/name", trusted, false},
		{"one, for a client that follows none", plain.URL + "/x", func(c *upstream.Config) { trusted(c); c.MaxRedirects = 0 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, _, _, err := downloader(t, tt.edit).FetchNewer(context.Background(), tt.url, "")
			if (err == nil) != tt.ok || tt.ok && string(raw) != "content" {
				t.Errorf("%q, %v", raw, err)
			}
			if !tt.ok && gateway.ReasonOf(err) != gateway.StatusUnavailable {
				t.Errorf("reason of %v", err)
			}
		})
	}
	// Questions to responders are never sent elsewhere.
	if _, err := downloader(t, trusted).Fetch(context.Background(), plain.URL+"/x", []byte("question")); err == nil {
		t.Error("a question was redirected")
	}
}

func TestADownloadIsBounded(t *testing.T) {
	for name, length := range map[string]bool{"that says so": true, "that does not say so": false} {
		t.Run("a file of too many octets "+name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", `"v1"`)
				if length {
					w.Header().Set("Content-Length", "2000")
				}
				for range 20 {
					_, _ = w.Write(make([]byte, 100))
					w.(http.Flusher).Flush()
				}
			}))
			defer srv.Close()
			c := downloader(t, func(c *upstream.Config) { c.MaxResponse = 1000; c.Reasons.TooLarge = gateway.DocumentTooLarge })
			if raw, _, _, err := c.FetchNewer(context.Background(), srv.URL, ""); gateway.ReasonOf(err) != gateway.DocumentTooLarge {
				t.Errorf("%d octets, %v", len(raw), err)
			}
		})
	}
}
