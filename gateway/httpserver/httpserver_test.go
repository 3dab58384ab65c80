package httpserver_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway/httpserver"
)

// A logbook is what was logged; safe for concurrent use.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines are the entries with that message.
func (l *logbook) lines(t *testing.T, msg string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		one := map[string]any{}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		if one["msg"] == msg {
			all = append(all, one)
		}
	}
	return all
}

type server struct {
	*httpserver.Server
	url string
	log *logbook
	reg *prometheus.Registry
}

func start(t *testing.T, h http.Handler, change ...func(*httpserver.Config)) *server {
	t.Helper()
	s := &server{log: &logbook{}, reg: prometheus.NewRegistry()}
	c := httpserver.Config{Address: "127.0.0.1:0", Handler: h, Log: slog.New(slog.NewJSONHandler(s.log, nil)), Metrics: s.reg}
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.Server, err = httpserver.Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.url = "http://" + s.Addr()
	return s
}

// counted is how many answers the metrics know, by route and code.
func (s *server) counted(t *testing.T) map[string]uint64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "egov_gateway_http_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			label := map[string]string{}
			for _, l := range m.GetLabel() {
				label[l.GetName()] = l.GetValue()
			}
			all[label["route"]+" "+label["code"]] = m.GetHistogram().GetSampleCount()
		}
	}
	return all
}

// eventually waits until ok, for what follows an answer: log and metrics.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

const personal = "900101300007"

// Every answer has an id, a line in the log and a place in the metrics, by the route's pattern:
// paths, queries, headers and the values of panics may hold anything.
func TestEveryAnswerIsObserved(t *testing.T) {
	const long = 1 << 20
	mux := http.NewServeMux()
	mux.HandleFunc("GET /well/{iin}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })
	mux.HandleFunc("GET /refused/{iin}", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	mux.HandleFunc("GET /panics/{iin}", func(_ http.ResponseWriter, r *http.Request) { panic("cannot serve " + r.PathValue("iin")) })
	mux.HandleFunc("GET /panics-late/{iin}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("a", long))
		panic("cannot go on with " + r.PathValue("iin"))
	})
	mux.HandleFunc("GET /panics-soon/{iin}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half of it")
		panic("cannot go on with " + r.PathValue("iin"))
	})
	mux.HandleFunc("GET /silent/{iin}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /aborts/{iin}", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("GET /streams/{iin}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "one")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "two")
	})
	tests := []struct {
		name, path string
		status     int    // 0: the connection breaks before or inside the answer
		body       string // a part
		observed   string
		bytes      float64 // -1 is not looked at
		panics     bool
	}{
		{"an answer", "/well/", 200, "well", "GET /well/{iin} 200", 4, false},
		{"a refusal", "/refused/", 403, "no", "GET /refused/{iin} 403", 3, false},
		{"an address that nobody has", "/nowhere/", 404, "not found", "none 404", -1, false},
		{"an answer in pieces", "/streams/", 200, "onetwo", "GET /streams/{iin} 200", 6, false},
		{"an answer without a word", "/silent/", 200, "", "GET /silent/{iin} 200", 0, false},
		{"a panic before the answer is told as trouble of the gateway that passes", "/panics/", 503, `{"reason":"internal"}`, "GET /panics/{iin} 503", -1, true},
		{"a panic inside a long answer: what came is not taken for all of it", "/panics-late/", 0, "", "GET /panics-late/{iin} 200", long, true},
		{"a panic inside a short answer: what came is not taken for all of it", "/panics-soon/", 0, "", "GET /panics-soon/{iin} 200", 10, true},
		{"an answer that is aborted on purpose", "/aborts/", 0, "", "GET /aborts/{iin} 0", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, mux)
			req, err := http.NewRequest(http.MethodGet, s.url+tt.path+personal+"?iin="+personal, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Request-Id", personal)
			resp, err := http.DefaultClient.Do(req)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			eventually(t, "the answer is not in the log", func() bool { return len(s.log.lines(t, "http")) > 0 })
			line := s.log.lines(t, "http")[0]
			if tt.status == 0 {
				if err == nil {
					t.Errorf("the answer came whole: %d %.20q", resp.StatusCode, body)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				id := resp.Header.Get("X-Request-Id")
				if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.body) || !regexp.MustCompile("^[0-9a-f]{16}$").MatchString(id) || line["http_request"] != id {
					t.Errorf("%d %q with the id %q, logged as %v", resp.StatusCode, body, id, line["http_request"])
				}
				if wait := resp.Header.Get("Retry-After"); (wait == "5") != (tt.status == 503) {
					t.Errorf("Retry-After %q", wait)
				}
			}
			if got := fmt.Sprintf("%v %v", line["route"], line["status"]); got != tt.observed || tt.bytes >= 0 && line["bytes"] != tt.bytes {
				t.Errorf("logged as %s with %v bytes, want %s with %v", got, line["bytes"], tt.observed, tt.bytes)
			}
			if got := s.counted(t); got[tt.observed] != 1 || len(got) != 1 {
				t.Errorf("counted as %v, want %s", got, tt.observed)
			}
			panics := s.log.lines(t, "panic in a handler")
			if tt.panics != (len(panics) == 1) || tt.panics && (panics[0]["http_request"] != line["http_request"] || !strings.Contains(fmt.Sprint(panics[0]["stack"]), "httpserver_test")) {
				t.Errorf("panics in the log: %v", panics)
			}
			if strings.Contains(s.log.String(), personal) {
				t.Errorf("the log tells of a person: %s", s.log)
			}
			// The server goes on.
			again, err := http.Get(s.url + "/well/1")
			if err != nil {
				t.Fatal(err)
			}
			again.Body.Close()
			if id := again.Header.Get("X-Request-Id"); again.StatusCode != http.StatusOK || id == line["http_request"] {
				t.Errorf("the next answer is %d with the id %s", again.StatusCode, id)
			}
		})
	}
}

// What somebody calls a method may be anything, a name or a number of a citizen: only those that there are stand
// in the log.
func TestTheLogNamesKnownMethodsAlone(t *testing.T) {
	const other = "other"
	tests := []struct{ name, method, logged string }{
		{"asking", http.MethodGet, http.MethodGet},
		{"asking for the header", http.MethodHead, http.MethodHead},
		{"handing in", http.MethodPost, http.MethodPost},
		{"putting", http.MethodPut, http.MethodPut},
		{"changing", http.MethodPatch, http.MethodPatch},
		{"deleting", http.MethodDelete, http.MethodDelete},
		{"asking for the methods", http.MethodOptions, http.MethodOptions},
		{"asking for a tunnel", http.MethodConnect, http.MethodConnect},
		{"tracing", http.MethodTrace, http.MethodTrace},
		{"seven letters of one's own", "IVANOVA", other},
		{"digits", "8501013", other},
		{"one letter", "X", other},
		{"a method in small letters", "get", other},
		{"a method of another protocol", "PURGE", other},
		{"a long one", strings.Repeat("IVANOV", 100), other},
	}
	s := start(t, http.NotFoundHandler())
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.method+" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the answer is not in the log", func() bool { return len(s.log.lines(t, "http")) == i+1 })
			if got := s.log.lines(t, "http")[i]["method"]; got != tt.logged {
				t.Errorf("logged as %v, want %s", got, tt.logged)
			}
		})
	}
}

// Close tells those who stream, lets the requests at hand end, and takes no new ones.
func TestCloseDrains(t *testing.T) {
	entered, draining := make(chan string, 2), make(chan struct{})
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /work", func(w http.ResponseWriter, _ *http.Request) {
		entered <- "work"
		<-release
		io.WriteString(w, "done")
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, _ *http.Request) {
		entered <- "stream"
		<-draining
		io.WriteString(w, "ended")
	})
	s := start(t, mux, func(c *httpserver.Config) { c.Draining = sync.OnceFunc(func() { close(draining) }) })
	type answer struct {
		body string
		err  error
	}
	get := func(path string) chan answer {
		c := make(chan answer, 1)
		go func() {
			resp, err := http.Get(s.url + path)
			if err != nil {
				c <- answer{"", err}
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			c <- answer{string(b), err}
		}()
		return c
	}
	work, stream := get("/work"), get("/stream")
	<-entered
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if a := <-stream; a.body != "ended" || a.err != nil {
		t.Errorf("the stream ended with %q, %v", a.body, a.err)
	}
	eventually(t, "a new connection is taken", func() bool {
		c, err := net.Dial("tcp", s.Addr())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-closed:
		t.Fatalf("closed over the request at hand: %v", err)
	case <-work:
		t.Fatal("the request at hand was cut off")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if a := <-work; a.body != "done" || a.err != nil {
		t.Errorf("the request at hand ended with %q, %v", a.body, a.err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-s.Done(); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serving ended with %v", err)
	}
}

func TestAnAddressInUseIsNamed(t *testing.T) {
	s := start(t, http.NotFoundHandler())
	if _, err := httpserver.Start(httpserver.Config{Address: s.Addr(), Handler: http.NotFoundHandler()}); err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("%v", err)
	}
}

// A client that keeps a connection without sending a request is cut off, and one that sends
// too much before its body is refused.
func TestConnectionsAreBounded(t *testing.T) {
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") }))
	t.Run("a header that never ends", func(t *testing.T) {
		t.Parallel()
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: gateway\r\n")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			io.Copy(io.Discard, c)
		}()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				io.WriteString(c, "A: b\r\n")
				if time.Since(began) > 2*httpserver.ReadHeaderTimeout {
					t.Fatal("the connection is still open")
				}
				continue
			case <-gone:
			}
			break
		}
		if took := time.Since(began); took < httpserver.ReadHeaderTimeout-time.Second {
			t.Errorf("it was cut off after %s", took)
		}
	})
	for name, tt := range map[string]struct{ size, status int }{
		"a header as large as is allowed": {httpserver.MaxHeaderBytes - 1024, http.StatusOK},
		"a header larger than that":       {httpserver.MaxHeaderBytes + 8192, http.StatusRequestHeaderFieldsTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: gateway\r\nX-Long: %s\r\n\r\n", strings.Repeat("a", tt.size)) // the server may not read it all
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("answered %d, want %d", resp.StatusCode, tt.status)
			}
		})
	}
}

// Whatever is answered, it guesses no kind, lends it to no other site and stays with https.
func TestEveryAnswerBindsTheBrowser(t *testing.T) {
	lent := httptest.NewUnstartedServer(nil)
	lent.StartTLS()
	defer lent.Close()
	for name, conf := range map[string]*tls.Config{"by http": nil, "by https": {Certificates: lent.TLS.Certificates}} {
		t.Run(name, func(t *testing.T) {
			s, err := httpserver.Start(httpserver.Config{Address: "127.0.0.1:0", TLS: conf, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "no", http.StatusTeapot)
			})})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			scheme := "http://"
			if conf != nil {
				scheme = "https://"
			}
			resp, err := lent.Client().Get(scheme + s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			h := resp.Header
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || (h.Get("Strict-Transport-Security") != "") != (conf != nil) {
				t.Errorf("headers %v", h)
			}
		})
	}
}

func TestTLSIsServed(t *testing.T) {
	lent := httptest.NewUnstartedServer(nil)
	lent.StartTLS()
	defer lent.Close()
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.TLS != nil) }), func(c *httpserver.Config) {
		c.TLS = &tls.Config{Certificates: lent.TLS.Certificates}
	})
	resp, err := lent.Client().Get("https://" + s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "true" {
		t.Errorf("served as %q", b)
	}
	if resp, err := http.Get("http://" + s.Addr()); err == nil {
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("served without TLS: %d", resp.StatusCode)
		}
	}
}
