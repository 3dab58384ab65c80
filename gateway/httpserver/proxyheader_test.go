package httpserver_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway/httpserver"
)

// balancer is the address of loopback that is trusted.
const balancer = "127.0.0.9"

// headerV2 is one of version 2 by the letter of its document, written without the reader's code.
func headerV2(command, family byte, body []byte) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(append(b, body...))
}

func v2TCP4(client string) string {
	a := netip.MustParseAddr(client).As4()
	return headerV2(0x21, 0x11, append(a[:], 127, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb))
}

func v2TCP6(client string) string {
	a, b := netip.MustParseAddr(client).As16(), netip.IPv6Loopback().As16()
	return headerV2(0x21, 0x21, append(append(a[:], b[:]...), 0x30, 0x39, 0x01, 0xbb))
}

// remotes answers each request with the address that it is from.
func remotes() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.RemoteAddr) //nolint:errcheck // the client tells
	})
}

func proxied(c httpserver.Config) httpserver.Config {
	c.Trusted, c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix(balancer + "/32")}, true
	if c.Handler == nil {
		c.Handler = remotes()
	}
	return c
}

// send connects from an address, sends what there is, and returns the host that the answer names; "" when
// the connection was closed without an answer, the status line for any other answer than 200.
func send(t *testing.T, s *httpserver.Server, from, what string) string {
	t.Helper()
	c, _ := dial(t, s, from, false)
	if c == nil {
		t.Fatal("no connection")
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
	io.WriteString(c, what)                         //nolint:errcheck // so does it
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // of the connection itself
			t.Fatal("neither an answer nor an end")
		}
		return ""
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return host
}

const ask = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.99\r\n\r\n"

func TestProxyProtocol(t *testing.T) {
	long := "PROXY UNKNOWN " + strings.Repeat("f", 91) // 107 bytes with its end
	tests := []struct {
		name, from, header string
		want               string // the client's host; "" when the connection is closed
	}{
		{"version 1, IPv4", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", "203.0.113.7"},
		{"version 1, IPv6", balancer, "PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "2001:db8::7"},
		{"version 1, unknown", balancer, "PROXY UNKNOWN\r\n", balancer},
		{"version 1, unknown with addresses, which do not count", balancer, "PROXY UNKNOWN 203.0.113.7 127.0.0.1 4711 443\r\n", balancer},
		{"version 1, as long as it may be", balancer, long + "\r\n", balancer},
		{"version 2, IPv4", balancer, v2TCP4("203.0.113.7"), "203.0.113.7"},
		{"version 2, IPv6", balancer, v2TCP6("2001:db8::7"), "2001:db8::7"},
		{"version 2, IPv4 in IPv6", balancer, v2TCP6("::ffff:203.0.113.7"), "203.0.113.7"},
		{"version 2, the balancer itself", balancer, headerV2(0x20, 0x00, nil), balancer},
		{"version 2, the balancer itself, with addresses, which do not count", balancer, "\r\n\r\n\x00\r\nQUIT\n\x20\x11" + v2TCP4("203.0.113.7")[14:], balancer},
		{"version 2, unspecified", balancer, headerV2(0x21, 0x00, nil), balancer},
		{"version 2 with more behind the addresses", balancer, headerV2(0x21, 0x11, append([]byte(v2TCP4("203.0.113.7")[16:]), 4, 0, 2, 'o', 'k')), "203.0.113.7"},
		{"version 2, as long as it may be", balancer, headerV2(0x20, 0x00, make([]byte, 520)), balancer},

		{"no header", balancer, "", ""},
		{"version 2, too long", balancer, headerV2(0x20, 0x00, make([]byte, 521)), ""},
		{"version 2, 64 KiB announced", balancer, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff", ""},
		{"version 1, too long", balancer, long + "f\r\n", ""},
		{"version 1 without an end", balancer, strings.Repeat("PROXY UNKNOWN ", 100), ""},
		{"version 1 that ends by a line feed alone", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\n", ""},
		{"version 1, another protocol", balancer, "PROXY UDP4 203.0.113.7 127.0.0.1 4711 443\r\n", ""},
		{"version 1, a word that begins like unknown", balancer, "PROXY UNKNOWNS\r\n", ""},
		{"version 1, two blanks", balancer, "PROXY  TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", ""},
		{"version 1, something behind", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443 x\r\n", ""},
		{"version 1, an address is missing", balancer, "PROXY TCP4 203.0.113.7 4711 443\r\n", ""},
		{"version 1, an IPv6 address as IPv4", balancer, "PROXY TCP4 2001:db8::7 ::1 4711 443\r\n", ""},
		{"version 1, an IPv4 address as IPv6", balancer, "PROXY TCP6 203.0.113.7 127.0.0.1 4711 443\r\n", ""},
		{"version 1, a name", balancer, "PROXY TCP4 client.example.kz 127.0.0.1 4711 443\r\n", ""},
		{"version 1, a zone", balancer, "PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n", ""},
		{"version 1, a port above 65535", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 65536 443\r\n", ""},
		{"version 1, a port with a sign", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 +471 443\r\n", ""},
		{"version 1, a port with a nought before it", balancer, "PROXY TCP4 203.0.113.7 127.0.0.1 04711 443\r\n", ""},
		{"version 1 from nowhere", balancer, "PROXY TCP4 0.0.0.0 127.0.0.1 4711 443\r\n", ""},
		{"version 1, small letters", balancer, "proxy tcp4 203.0.113.7 127.0.0.1 4711 443\r\n", ""},
		{"version 2, another version", balancer, headerV2(0x11, 0x11, make([]byte, 12)), ""},
		{"version 2, another command", balancer, headerV2(0x22, 0x11, make([]byte, 12)), ""},
		{"version 2, UDP", balancer, headerV2(0x21, 0x12, []byte(v2TCP4("203.0.113.7")[16:])), ""},
		{"version 2, a socket of Unix", balancer, headerV2(0x21, 0x31, make([]byte, 216)), ""},
		{"version 2, too short for its addresses", balancer, headerV2(0x21, 0x11, make([]byte, 11)), ""},
		{"version 2, too short for those of IPv6", balancer, headerV2(0x21, 0x21, make([]byte, 35)), ""},
		{"version 2 to many", balancer, v2TCP4("224.0.0.1"), ""},

		{"a stranger without a header", "127.0.0.2", "", "127.0.0.2"},
		{"a stranger with one of version 1", "127.0.0.2", "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", "400 Bad Request"},
		{"a stranger who is unknown", "127.0.0.2", "PROXY UNKNOWN\r\n", "400 Bad Request"},
		{"a stranger with one of version 2", "127.0.0.2", v2TCP4("203.0.113.7"), "400 Bad Request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serveBounded(t, proxied(httpserver.Config{}))
			if got := send(t, s, tt.from, tt.header+ask); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			broken := int64(0)
			if tt.want == "" {
				broken = 1
			}
			if r := s.Connections(); r.RefusedHeader != broken {
				t.Errorf("%d headers were refused", r.RefusedHeader)
			}
			settle(t, s, 0)
		})
	}
}

// What a balancer sends in pieces is one header, and what comes behind it is not lost.
func TestAHeaderInPieces(t *testing.T) {
	for _, header := range []string{"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", v2TCP4("203.0.113.7")} {
		s := serveBounded(t, proxied(httpserver.Config{}))
		c, _ := dial(t, s, balancer, false)
		c.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
		for _, piece := range strings.SplitAfter(header+ask, "") {
			if _, err := io.WriteString(c, piece); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != "203.0.113.7:4711" && string(body) != "203.0.113.7:12345" {
			t.Errorf("%s", body)
		}
	}
}

// A header that does not come ends its connection, and nobody waits behind it.
func TestSlowHeadersHoldUpNobody(t *testing.T) {
	s := serveBounded(t, proxied(httpserver.Config{}))
	var slow []net.Conn
	for range 20 {
		c, _ := dial(t, s, balancer, false)
		io.WriteString(c, "PROXY TCP4 203") //nolint:errcheck // the rest never comes
		slow = append(slow, c)
	}
	for _, from := range []string{"127.0.0.2", balancer} {
		header := ""
		if from == balancer {
			header = v2TCP4("203.0.113.7")
		}
		start := time.Now()
		if got := send(t, s, from, header+ask); got == "" {
			t.Errorf("%s was sent away", from)
		}
		if r := s.Connections(); r.RefusedHeader == 0 && time.Since(start) > 20*time.Second {
			t.Errorf("%s waited %v", from, time.Since(start))
		}
	}
	for _, c := range slow {
		c.SetReadDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Fatalf("a header that does not come keeps its connection: %v", err)
		}
	}
	settle(t, s, 0)
	if r := s.Connections(); r.RefusedHeader != 20 {
		t.Errorf("%+v", r)
	}
}

// Over TLS the header comes before the handshake, and who announces is not who is bounded.
func TestProxyProtocolOverTLS(t *testing.T) {
	pki := httptest.NewUnstartedServer(nil)
	pki.StartTLS()
	cert := pki.TLS.Certificates
	pki.Close()
	s := serveBounded(t, proxied(httpserver.Config{TLS: &tls.Config{Certificates: cert}}))
	get := func(from, header string) (string, error) {
		c, _ := dial(t, s, from, false)
		c.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
		io.WriteString(c, header)                       //nolint:errcheck // the handshake tells
		secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if _, err := io.WriteString(secure, ask); err != nil {
			return "", err
		}
		resp, err := http.ReadResponse(bufio.NewReader(secure), nil)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if got, err := get(balancer, v2TCP4("203.0.113.7")); got != "203.0.113.7:12345" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if got, err := get(balancer, ""); err == nil {
		t.Errorf("a handshake without a header: %q", got)
	}
	if got, err := get("127.0.0.2", v2TCP4("203.0.113.7")); err == nil {
		t.Errorf("a stranger's header before the handshake: %q", got)
	}
	if got, err := get("127.0.0.2", ""); !strings.HasPrefix(got, "127.0.0.2:") || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// The bound of an address is that of the client; the balancer's own connections have none.
func TestAnnouncedAddressesAreBounded(t *testing.T) {
	s := serveBounded(t, proxied(httpserver.Config{Connections: httpserver.Connections{Total: 32, PerAddress: 2,
		Known: []netip.Prefix{netip.MustParsePrefix("203.0.113.128/25")}}}))
	hold := func(header string, n, open int) {
		t.Helper()
		for range n {
			c, _ := dial(t, s, balancer, false)
			io.WriteString(c, header) //nolint:errcheck // the count tells
		}
		settle(t, s, open)
	}
	hold(v2TCP4("203.0.113.7"), 2, 2)
	if got := send(t, s, balancer, v2TCP4("203.0.113.7")+ask); got != "" {
		t.Errorf("a third connection of one client: %q", got)
	}
	if got := send(t, s, balancer, v2TCP4("203.0.113.8")+ask); got != "203.0.113.8" {
		t.Errorf("another client: %q", got)
	}
	settle(t, s, 2)
	hold(v2TCP4("203.0.113.200"), 5, 7) // of a known party
	hold(headerV2(0x20, 0, nil), 5, 12) // of the balancer: it looks after the gateway's health
	hold(headerV2(0x21, 0, nil), 5, 17) // of whom it does not know
	if r := s.Connections(); r.RefusedAddress != 1 || r.RefusedTotal != 0 || r.RefusedHeader != 0 {
		t.Errorf("%+v", r)
	}
}

// A balancer looks whether somebody listens, by a connection alone: that is no broken header. A broken one
// is told of, once in a while, with the balancer's address.
func TestABalancerThatLooksIsNoTrouble(t *testing.T) {
	var logs lines
	s := serveBounded(t, proxied(httpserver.Config{Log: slog.New(slog.NewTextHandler(&logs, nil))}))
	for n := range 10 {
		c, _ := dial(t, s, balancer, false)
		if n%2 == 0 {
			c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it ends by a reset, as HAProxy's looks do
		}
		c.Close()
	}
	for range 5 {
		if got := send(t, s, balancer, ask); got != "" {
			t.Errorf("%q", got)
		}
	}
	if r := s.Connections(); r.RefusedHeader != 5 {
		t.Errorf("%+v", r)
	}
	if n := strings.Count(logs.String(), "balancer="+balancer); n != 1 {
		t.Errorf("it is told of %d times: %s", n, logs.String())
	}
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Without trusted balancers nobody could send the header.
func TestProxyProtocolNeedsBalancers(t *testing.T) {
	if s, err := httpserver.Start(httpserver.Config{Address: "127.0.0.1:0", Handler: remotes(), ProxyProtocol: true}); err == nil {
		s.Close()
		t.Error("started")
	}
}
