package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/browser"
	"egov-gateway/gateway/httpserver"
)

func TestAPageIsBound(t *testing.T) {
	const csp = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	page := httptest.NewRecorder()
	browser.Headers(page.Header())
	file := httptest.NewRecorder()
	browser.Asset("main { margin: 0 }", browser.Style)(file, httptest.NewRequest(http.MethodGet, "/style.css", nil))
	tests := []struct {
		name         string
		of           *httptest.ResponseRecorder
		header, want string
	}{
		{"nothing of a page is kept", page, "Cache-Control", "no-store"},
		{"a page loads only from its own site and runs no script of its own text", page, "Content-Security-Policy", csp},
		{"a page is what it is called", page, "X-Content-Type-Options", "nosniff"},
		{"a window that opened a page has no hold of it", page, "Cross-Origin-Opener-Policy", "same-origin"},
		{"no other site learns a page's address", page, "Referrer-Policy", "no-referrer"},
		{"a file is kept for a while", file, "Cache-Control", "public, max-age=300"},
		{"a file is bound like a page", file, "Content-Security-Policy", csp},
		{"a file is what it is called", file, "X-Content-Type-Options", "nosniff"},
		{"a file has its kind", file, "Content-Type", "text/css; charset=utf-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.of.Header().Get(tt.header); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.header, got, tt.want)
			}
		})
	}
	if file.Code != http.StatusOK || file.Body.String() != "main { margin: 0 }" {
		t.Errorf("the file comes as %d %q", file.Code, file.Body)
	}
	// Neither script may be refused by the policy that its page has.
	if strings.Contains(browser.Script, "eval(") || strings.Contains(browser.Script, "innerHTML") || !strings.Contains(browser.Script, "data-live") {
		t.Error("the script is not the one that pages load")
	}
}

func TestLanguage(t *testing.T) {
	tests := []struct {
		name                   string
		query, cookie, accepts string
		want                   gateway.Language
		remembered             bool
	}{
		{"the address has the last word, and is remembered", "lang=en", "ru", "kk", gateway.English, true},
		{"what was remembered comes before what the browser prefers", "", "ru", "en", gateway.Russian, false},
		{"what the browser prefers, by weight", "", "", "kk;q=0.3, ru;q=0.8, en;q=0.5", gateway.Russian, false},
		{"Kazakh where nothing is said", "", "", "", gateway.Kazakh, false},
		{"Kazakh for a browser that prefers none of the three", "", "", "de, fr;q=0.5", gateway.Kazakh, false},
		{"an address that asks for no language of ours is not heard or remembered", "lang=de", "ru", "en", gateway.Russian, false},
		{"a cookie that names no language of ours is not heard", "", "tlh", "en", gateway.English, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			choice := browser.LanguageChoice{Cookie: "cabinet_language", Path: "/cabinet/", Secure: true}
			r := httptest.NewRequest(http.MethodGet, "/cabinet/?"+tt.query, nil)
			r.Header.Set("Accept-Language", tt.accepts)
			if tt.cookie != "" {
				r.AddCookie(&http.Cookie{Name: "cabinet_language", Value: tt.cookie})
				r.AddCookie(&http.Cookie{Name: "console_language", Value: "kk"}) // of other pages
			}
			w := httptest.NewRecorder()
			if got := choice.Of(w, r); got != tt.want {
				t.Errorf("the page is in %s, want %s", got, tt.want)
			}
			set := w.Result().Cookies()
			if !tt.remembered {
				if len(set) != 0 {
					t.Errorf("a cookie was set: %v", set)
				}
				return
			}
			if len(set) != 1 || set[0].Name != "cabinet_language" || set[0].Path != "/cabinet/" || set[0].Value != string(tt.want) ||
				set[0].MaxAge != 365*86400 || !set[0].HttpOnly || !set[0].Secure || set[0].SameSite != http.SameSiteLaxMode {
				t.Errorf("remembered as %v", set)
			}
		})
	}
}

// A reader is a browser with one stream open.
type reader struct {
	mu    sync.Mutex
	w     *httptest.ResponseRecorder // guarded by mu
	ended chan struct{}
}

func (r *reader) Header() http.Header { return r.w.Header() }

func (r *reader) WriteHeader(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.WriteHeader(status)
}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.w.Write(b)
}

func (r *reader) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.w.Flush()
}

// heard is what was sent until now, and with which status.
func (r *reader) heard() (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.w.Code, r.w.Body.String()
}

// open begins a stream; the bubble's clock stands until something waits for it.
func open(l *browser.Live, r *http.Request, mark func() (string, bool)) *reader {
	one := &reader{w: httptest.NewRecorder(), ended: make(chan struct{})}
	go func() {
		defer close(one.ended)
		l.Serve(one, r, r.Header.Get("Person"), mark)
	}()
	synctest.Wait()
	return one
}

func (r *reader) over() bool {
	synctest.Wait()
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// pass lets the bubble's clock go on, and the streams do what is due by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const begun, changed = "retry: 2000\n\n", "event: changed\ndata: {}\n\n"

func same() (string, bool) { return "as before", true }

func get(t *testing.T) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/live", nil).WithContext(t.Context())
}

func TestAChangeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var version, asked atomic.Int64
		live := browser.NewLive(1)
		s := open(live, get(t), func() (string, bool) { asked.Add(1); return fmt.Sprint(version.Load()), true })
		if got := s.Header().Get("Content-Type"); got != "text/event-stream; charset=utf-8" || s.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("the stream begins as %q", s.Header())
		}
		pass(3*browser.StreamPace + browser.StreamPace/2)
		if _, got := s.heard(); got != begun || asked.Load() != 4 {
			t.Errorf("without news: %q after %d looks, want the beginning alone after 4", got, asked.Load())
		}
		version.Store(1)
		pass(3 * browser.StreamPace)
		if _, got := s.heard(); got != begun+changed {
			t.Errorf("after one change: %q", got)
		}
		version.Store(0)
		pass(browser.StreamPace)
		if _, got := s.heard(); got != begun+changed+changed {
			t.Errorf("after the change back: %q", got)
		}
		live.Close()
		if !s.over() {
			t.Error("the stream outlives Close")
		}
	})
}

func TestAStreamEnds(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration // of the opening
		end   func(l *browser.Live, leave func(), shown *atomic.Bool)
		want  time.Duration // how long it may go on then
	}{
		{"at its life's end", browser.StreamLife - time.Second, nil, time.Second},
		{"at Close", 10 * time.Second, func(l *browser.Live, _ func(), _ *atomic.Bool) { l.Close(); l.Close() }, 0},
		{"when the browser leaves", 10 * time.Second, func(_ *browser.Live, leave func(), _ *atomic.Bool) { leave() }, 0},
		{"at the next look, when the page is no longer the asker's", 10 * time.Second, func(_ *browser.Live, _ func(), shown *atomic.Bool) { shown.Store(false) }, browser.StreamPace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live := browser.NewLive(1)
				var shown atomic.Bool
				shown.Store(true)
				r := get(t)
				ctx, leave := context.WithCancel(r.Context())
				defer leave()
				s := open(live, r.WithContext(ctx), func() (string, bool) { return "1", shown.Load() })
				pass(tt.after)
				if s.over() {
					t.Fatalf("the stream ended within %s", tt.after)
				}
				if tt.end != nil {
					tt.end(live, leave, &shown)
				}
				if pass(tt.want); !s.over() {
					t.Errorf("the stream goes on %s later", tt.want)
				}
				if _, got := s.heard(); got != begun {
					t.Errorf("it said %q", got)
				}
			})
		})
	}
}

// A stream that the server cut off would look like an error to the page.
func TestAStreamEndsBeforeTheServerCutsIt(t *testing.T) {
	if browser.StreamLife+5*time.Second > httpserver.WriteTimeout {
		t.Errorf("a stream lives %s, the server writes an answer for %s", browser.StreamLife, httpserver.WriteTimeout)
	}
}

// One person does not take the places of all.
func TestOnePersonsStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := browser.NewLive(10 * browser.PersonStreams)
		defer live.Close()
		of := func(person string) *http.Request {
			r := get(t)
			r.Header.Set("Person", person)
			return r
		}
		var greedy []*reader
		for range browser.PersonStreams {
			greedy = append(greedy, open(live, of("greedy"), same))
		}
		if over := open(live, of("greedy"), same); !over.over() {
			t.Error("one more than a person may have goes on")
		}
		if other := open(live, of("modest"), same); other.over() {
			t.Error("another person has no place")
		}
		if greedy[0].over() {
			t.Error("a stream ended because another was refused")
		}
		pass(browser.StreamLife)
		if next := open(live, of("greedy"), same); next.over() {
			t.Error("the place of a stream that ended is not free")
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := browser.NewLive(2)
		defer live.Close()
		first := open(live, get(t), same)
		pass(time.Second)
		second := open(live, get(t), same)
		refused := func(name string, s *reader) {
			t.Helper()
			over := s.over()
			if status, said := s.heard(); !over || status != http.StatusNoContent || said != "" {
				t.Errorf("%s: over %t, %d %q", name, over, status, said)
			}
		}
		refused("a third stream of two", open(live, get(t), same))
		if first.over() || second.over() {
			t.Error("a stream ended because another was refused")
		}
		pass(browser.StreamLife - time.Second)
		if !first.over() {
			t.Fatal("the first stream outlived its life")
		}
		next := open(live, get(t), same)
		if next.over() {
			t.Error("the place of a stream that ended is not free")
		}
		refused("a fourth of two", open(live, get(t), same))
		live.Close()
		if !second.over() || !next.over() {
			t.Error("a stream outlives Close")
		}
		// Whoever may not see the page takes no place, and is told to stop asking.
		one := browser.NewLive(1)
		refused("a page that is not the asker's", open(one, get(t), func() (string, bool) { return "", false }))
		if s := open(one, get(t), same); s.over() {
			t.Error("the refused one took the place")
		}
		one.Close()
		late := open(one, get(t), same)
		if !late.over() {
			t.Error("a stream that begins after Close goes on")
		}
	})
}
