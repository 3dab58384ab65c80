package httpserver_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway/httpserver"
)

// dial opens a connection from an address of loopback, and says whether the server keeps it: one that
// is kept answers.
func dial(t *testing.T, s *httpserver.Server, from string, ask bool) (net.Conn, bool) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", s.Addr())
	if err != nil {
		return nil, false
	}
	t.Cleanup(func() { c.Close() })
	if !ask {
		return c, true
	}
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read tells
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return c, false
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return c, false
	}
	resp.Body.Close()
	return c, true
}

func serveBounded(t *testing.T, c httpserver.Config) *httpserver.Server {
	t.Helper()
	c.Address = "127.0.0.1:0"
	if c.Handler == nil {
		c.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	}
	s, err := httpserver.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// settle waits until the server has so many connections.
func settle(t *testing.T, s *httpserver.Server, open int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); s.Connections().Open != open; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are open, want %d", s.Connections().Open, open)
		}
	}
}

func TestConnectionsHaveAPlaceEach(t *testing.T) {
	known := []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
	tests := []struct {
		name  string
		c     httpserver.Connections
		hold  map[string]int // silent connections by address
		open  int            // of them
		asks  string
		let   bool
		total int64 // refused because of the total
		one   int64 // because of the address
	}{
		{"there is room", httpserver.Connections{Total: 8, PerAddress: 8}, map[string]int{"127.0.0.2": 7}, 7, "127.0.0.2", true, 0, 0},
		{"all are taken", httpserver.Connections{Total: 8, PerAddress: 8}, map[string]int{"127.0.0.2": 8}, 8, "127.0.0.3", false, 1, 0},
		{"an address has its bound", httpserver.Connections{Total: 8, PerAddress: 3}, map[string]int{"127.0.0.2": 3}, 3, "127.0.0.2", false, 0, 1},
		{"and others are let in", httpserver.Connections{Total: 8, PerAddress: 3}, map[string]int{"127.0.0.2": 20}, 3, "127.0.0.3", true, 0, 17},
		{"a quarter is kept for the known", httpserver.Connections{Total: 8, PerAddress: 8, Known: known}, map[string]int{"127.0.0.2": 8}, 6, "127.0.0.9", true, 2, 0},
		{"nobody else gets it", httpserver.Connections{Total: 8, PerAddress: 8, Known: known}, map[string]int{"127.0.0.2": 6}, 6, "127.0.0.3", false, 1, 0},
		{"the known have no bound by address", httpserver.Connections{Total: 8, PerAddress: 2, Known: known}, map[string]int{"127.0.0.9": 5}, 5, "127.0.0.9", true, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serveBounded(t, httpserver.Config{Connections: tt.c})
			for from, n := range tt.hold {
				for range n {
					dial(t, s, from, false)
				}
			}
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if r := s.Connections(); r.Open == tt.open && r.RefusedAddress+r.RefusedTotal >= tt.total+tt.one-1 {
					break
				}
			}
			if _, ok := dial(t, s, tt.asks, true); ok != tt.let {
				t.Errorf("let in: %t", ok)
			}
			r := s.Connections()
			if r.RefusedTotal != tt.total || r.RefusedAddress != tt.one || r.Limit != 8 {
				t.Errorf("%+v", r)
			}
			if r.Lately != (r.RefusedTotal+r.RefusedAddress > 0) || (r.String() == "ok") == r.Lately {
				t.Errorf("it says %s: %+v", r, r)
			}
		})
	}
}

// An idle connection makes way for a new one; one at work does not.
func TestIdleConnectionsMakeWay(t *testing.T) {
	release, at := make(chan struct{}), make(chan struct{}, 1)
	s := serveBounded(t, httpserver.Config{Connections: httpserver.Connections{Total: 2, PerAddress: 2}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/work" {
			at <- struct{}{}
			<-release
		}
	})})
	idle, ok := dial(t, s, "127.0.0.2", true)
	if !ok {
		t.Fatal("the first was sent away")
	}
	work, _ := dial(t, s, "127.0.0.2", false)
	if _, err := io.WriteString(work, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-at
	let := false
	for end := time.Now().Add(2 * time.Minute); !let && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_, let = dial(t, s, "127.0.0.2", true)
	}
	if !let {
		t.Error("an idle connection does not make way")
	}
	idle.SetReadDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read tells
	if _, err := idle.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the idle one is still open: %v", err)
	}
	close(release)
	resp, err := http.ReadResponse(bufio.NewReader(work), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the one at work: %v", err)
	}
}

// A closed connection gives its place back.
func TestClosedConnectionsAreForgotten(t *testing.T) {
	s := serveBounded(t, httpserver.Config{Connections: httpserver.Connections{Total: 4}})
	for range 3 {
		c, ok := dial(t, s, "127.0.0.2", true)
		if !ok {
			t.Fatal("sent away")
		}
		settle(t, s, 1)
		c.Close()
		settle(t, s, 0)
	}
}

// One HTTP/2 connection has a bounded number of requests at once: the server says so at its beginning
// (RFC 9113 §6.5.2), and refuses streams beyond it.
func TestStreamsAreBounded(t *testing.T) {
	pki := httptest.NewUnstartedServer(nil)
	pki.StartTLS()
	cert := pki.TLS.Certificates
	pki.Close()
	s := serveBounded(t, httpserver.Config{TLS: &tls.Config{Certificates: cert}})
	c, err := tls.Dial("tcp", s.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read tells
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(c, head); err != nil || head[3] != 4 {
		t.Fatalf("no SETTINGS: % x %v", head, err)
	}
	settings := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, settings); err != nil {
		t.Fatal(err)
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if settings[1] == 3 {
			if got := binary.BigEndian.Uint32(settings[2:]); got != httpserver.MaxStreams {
				t.Errorf("%d streams", got)
			}
			return
		}
	}
	t.Error("the streams are not bounded")
}
