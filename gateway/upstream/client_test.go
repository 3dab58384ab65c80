package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
)

var words = upstream.Reasons{Unavailable: gateway.SourceUnavailable, Timeout: gateway.SourceTimeout, TooLarge: gateway.SourceMalformed}

// client makes a quick Client; change edits its Config.
func client(t *testing.T, change func(*upstream.Config)) *upstream.Client {
	t.Helper()
	c := upstream.Config{Name: "test", Reasons: words, Timeout: 2 * time.Second, RetryWait: time.Millisecond, BreakerFailures: 100}
	if change != nil {
		change(&c)
	}
	u, err := upstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// server answers with each of the handlers in turn, the last one for good, and counts calls.
func server(t *testing.T, handlers ...http.HandlerFunc) (string, *atomic.Int32) {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		handlers[min(i, len(handlers)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, &n
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func body(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

func hang(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // else the server does not notice that the client left
	<-r.Context().Done()
}

func cut(w http.ResponseWriter, _ *http.Request) {
	c, _, _ := w.(http.Hijacker).Hijack()
	c.Close()
}

func TestDo(t *testing.T) {
	tests := []struct {
		name       string
		handlers   []http.HandlerFunc
		idempotent bool
		change     func(*upstream.Config)
		want       gateway.Reason
		status     int
		calls      int32
	}{
		{"an answer is returned as it is", []http.HandlerFunc{body("ok")}, false, nil, "", 200, 1},
		{"a refusal of the caller's fault is an answer", []http.HandlerFunc{status(400)}, true, nil, "", 400, 1},
		{"status 500 is an answer, SOAP faults travel in it", []http.HandlerFunc{status(500)}, true, nil, "", 500, 1},
		{"503 is repeated for an idempotent call", []http.HandlerFunc{status(503), status(502), body("ok")}, true, nil, "", 200, 3},
		{"503 is not repeated when that could be a second effect", []http.HandlerFunc{status(503), body("ok")}, false, nil, gateway.SourceUnavailable, 0, 1},
		{"a cut connection is repeated for an idempotent call", []http.HandlerFunc{cut, body("ok")}, true, nil, "", 200, 2},
		{"a cut connection is not repeated when that could be a second effect", []http.HandlerFunc{cut, body("ok")}, false, nil, gateway.SourceUnavailable, 0, 1},
		{"repetitions are bounded", []http.HandlerFunc{status(504)}, true, nil, gateway.SourceUnavailable, 0, 3},
		{"no repetition when configured so", []http.HandlerFunc{status(504)}, true, func(c *upstream.Config) { c.Retries = -1 }, gateway.SourceUnavailable, 0, 1},
		{"429 with a long Retry-After ends the call at once", []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}}, true, nil, gateway.SourceUnavailable, 0, 1},
		{"a redirect is not followed", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}}, true, nil, gateway.SourceUnavailable, 0, 1},
		{"a system that hangs is a timeout and asked once", []http.HandlerFunc{hang}, true, func(c *upstream.Config) { c.Timeout = 50 * time.Millisecond }, gateway.SourceTimeout, 0, 1},
		{"a slow attempt is repeated when attempts have their own bound", []http.HandlerFunc{hang, body("ok")}, true, func(c *upstream.Config) { c.AttemptTimeout = 50 * time.Millisecond }, "", 200, 2},
		{"an answer of exactly the limit is read", []http.HandlerFunc{body(strings.Repeat("x", 1000))}, true, func(c *upstream.Config) { c.MaxResponse = 1000 }, "", 200, 1},
		{"a larger answer is refused and not asked for again", []http.HandlerFunc{body(strings.Repeat("x", 1001))}, true, func(c *upstream.Config) { c.MaxResponse = 1000 }, gateway.SourceMalformed, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, calls := server(t, tt.handlers...)
			resp, err := client(t, tt.change).Do(t.Context(), upstream.Request{URL: url, Body: []byte("b"), Idempotent: tt.idempotent})
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("reason %q, want %q (%v)", got, tt.want, err)
			}
			if resp.Status != tt.status {
				t.Errorf("status %d, want %d", resp.Status, tt.status)
			}
			if n := calls.Load(); n != tt.calls {
				t.Errorf("%d calls reached the other side, want %d", n, tt.calls)
			}
		})
	}
}

func TestConnectionNeverMadeIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var seen upstream.Observation
	c := client(t, func(c *upstream.Config) { c.Observe = func(_ context.Context, o upstream.Observation) { seen = o } })
	_, err = c.Do(t.Context(), upstream.Request{URL: "http://" + l.Addr().String(), Body: []byte("b")})
	if gateway.ReasonOf(err) != gateway.SourceUnavailable {
		t.Errorf("got %v", err)
	}
	if seen.Attempts != 3 || seen.Reason != gateway.SourceUnavailable || seen.Name != "test" || seen.Method != "POST" || seen.Duration <= 0 {
		t.Errorf("observed %+v", seen)
	}
}

func TestErrorsNameNoSecrets(t *testing.T) {
	url, _ := server(t, cut)
	host := strings.TrimPrefix(url, "http://")
	_, err := client(t, nil).Do(t.Context(), upstream.Request{
		URL: "http://user:pa55@" + host + "/path?iin=secret-query", Body: []byte("secret-body"), Header: map[string]string{"Authorization": "secret-token"}, Idempotent: true})
	if err == nil {
		t.Fatal("no error")
	}
	for _, secret := range []string{"secret", "pa55", "user:"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in the error: %v", secret, err)
		}
	}
	if !strings.Contains(err.Error(), host+"/path") {
		t.Errorf("the error does not say which call: %v", err)
	}
}

func TestCallerWhoGivesUpIsNotAFailureOfTheHost(t *testing.T) {
	url, _ := server(t, hang, hang, hang, body("ok"))
	c := client(t, func(c *upstream.Config) { c.BreakerFailures = 1; c.BreakerDelay = time.Hour })
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := c.Do(ctx, upstream.Request{URL: url, Idempotent: true})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := c.Do(t.Context(), upstream.Request{URL: url, Idempotent: true}); err != nil {
		t.Errorf("the breaker opened: %v", err)
	}
}

func TestBreakerLeavesAFailingHostAlone(t *testing.T) {
	url, calls := server(t, status(503), status(503), status(503), status(503), body("ok"))
	other, _ := server(t, body("ok"))
	c := client(t, func(c *upstream.Config) { c.Retries, c.BreakerFailures, c.BreakerDelay = -1, 3, 100*time.Millisecond })
	ask := func(url string) gateway.Reason {
		_, err := c.Do(t.Context(), upstream.Request{URL: url, Idempotent: true})
		return gateway.ReasonOf(err)
	}
	for range 10 {
		if got := ask(url); got != gateway.SourceUnavailable {
			t.Fatalf("reason %q", got)
		}
	}
	if n := calls.Load(); n != 3 {
		t.Errorf("%d calls reached the failing host, want 3", n)
	}
	if got := ask(other); got != "" {
		t.Errorf("another host is refused too: %q", got)
	}
	time.Sleep(150 * time.Millisecond)
	for range 5 {
		ask(url) // one trial call, which fails
	}
	if n := calls.Load(); n != 4 {
		t.Errorf("%d calls, want one trial more", n)
	}
	time.Sleep(150 * time.Millisecond)
	if got := ask(url); got != "" {
		t.Errorf("the host recovered, the breaker did not: %q", got)
	}
	if got := ask(url); got != "" {
		t.Errorf("the breaker is not closed: %q", got)
	}
}

func TestWithoutABreakerAHostIsAskedHoweverOftenItFailed(t *testing.T) {
	url, calls := server(t, status(503))
	c := client(t, func(c *upstream.Config) { c.Retries, c.BreakerFailures, c.NoBreaker = -1, 1, true })
	for range 10 {
		if _, err := c.Do(t.Context(), upstream.Request{URL: url, Idempotent: true}); gateway.ReasonOf(err) != gateway.SourceUnavailable {
			t.Fatalf("got %v", err)
		}
	}
	if n := calls.Load(); n != 10 {
		t.Errorf("%d of 10 calls reached the host", n)
	}
}

func TestBulkheadBoundsCallsUnderWay(t *testing.T) {
	var now, most atomic.Int32
	url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(10 * time.Millisecond)
		now.Add(-1)
	})
	c := client(t, func(c *upstream.Config) { c.MaxConcurrent = 3; c.Timeout = 10 * time.Second })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Do(t.Context(), upstream.Request{URL: url}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m := most.Load(); m > 3 {
		t.Errorf("%d calls at the same time, want at most 3", m)
	}

	t.Run("who finds no place inside the deadline is told so", func(t *testing.T) {
		url, _ := server(t, hang)
		c := client(t, func(c *upstream.Config) { c.MaxConcurrent, c.Timeout = 1, 100*time.Millisecond })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := c.Do(ctx, upstream.Request{URL: url})
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		short, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		_, err := c.Do(short, upstream.Request{URL: url})
		if gateway.ReasonOf(err) != gateway.SourceUnavailable || !strings.Contains(err.Error(), "too many calls") {
			t.Errorf("got %v", err)
		}
		cancel()
		<-done
	})
}

func TestTLS(t *testing.T) {
	var hits atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	if _, err := client(t, func(c *upstream.Config) { c.TLS = &tls.Config{RootCAs: pool} }).Do(t.Context(), upstream.Request{URL: s.URL}); err != nil {
		t.Errorf("a configured root is not trusted: %v", err)
	}
	var o upstream.Observation
	_, err := client(t, func(c *upstream.Config) { c.Observe = func(_ context.Context, got upstream.Observation) { o = got } }).Do(t.Context(), upstream.Request{URL: s.URL, Idempotent: true})
	if gateway.ReasonOf(err) != gateway.SourceUnavailable || o.Attempts != 1 {
		t.Errorf("an unknown server was not refused at once: %v, %d attempts", err, o.Attempts)
	}
	if hits.Load() != 1 {
		t.Errorf("%d requests, want 1", hits.Load())
	}
}

func TestFetch(t *testing.T) {
	url, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch got, _ := io.ReadAll(r.Body); {
		case r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/ocsp-request":
			w.Write(append([]byte("ocsp:"), got...))
		case r.Method == http.MethodGet && r.URL.Path == "/crl":
			io.WriteString(w, "crl")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	tests := []struct {
		name, path string
		body       []byte
		want       string
		reason     gateway.Reason
	}{
		{"an OCSP request is posted", "/", []byte{0x30, 0}, "ocsp:\x30\x00", ""},
		{"a CRL is got", "/crl", nil, "crl", ""},
		{"any other status is no answer", "/none", nil, "", gateway.SourceUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, nil).Fetch(t.Context(), url+tt.path, tt.body)
			if gateway.ReasonOf(err) != tt.reason || !bytes.Equal(got, []byte(tt.want)) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestNewRefusesIncompleteConfig(t *testing.T) {
	for name, c := range map[string]upstream.Config{
		"no name":          {Reasons: words},
		"no reason":        {Name: "x"},
		"negative timeout": {Name: "x", Reasons: words, Timeout: -1},
	} {
		if _, err := upstream.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, url := range []string{"", "relative/path", "ftp://127.0.0.1/", "http://%zz"} {
		if _, err := client(t, nil).Do(t.Context(), upstream.Request{URL: url}); gateway.ReasonOf(err) != gateway.ConfigInvalid {
			t.Errorf("%q: got %v", url, err)
		}
	}
}
