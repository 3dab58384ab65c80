package httpserver_test

import (
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

// Types of frames (RFC 9113 §6).
const (
	frameHeaders     = 1
	frameReset       = 3
	frameSettings    = 4
	flagEndOfStream  = 1
	flagEndOfHeaders = 4
)

func frame(kind, flags byte, stream uint32, payload string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, flags)
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

// askWithoutWindow sends n requests over one HTTP/2 connection that takes no answer's content.
func askWithoutWindow(t *testing.T, s *httpserver.Server, from string, n int) net.Conn {
	t.Helper()
	raw, _ := dial(t, s, from, false)
	if raw == nil {
		t.Fatal("no connection")
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	c.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // the reads tell
	var out strings.Builder
	out.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00")) // a window of 0
	for i := range n {
		// GET / of https://x, by HPACK's static table (RFC 7541, appendix A).
		out.WriteString(frame(frameHeaders, flagEndOfStream|flagEndOfHeaders, uint32(2*i+1), "\x82\x84\x87\x41\x01x"))
	}
	if _, err := io.WriteString(c, out.String()); err != nil {
		t.Fatal(err)
	}
	return c
}

// countAnswers reads until n requests were answered or reset.
func countAnswers(t *testing.T, c net.Conn, n int) (begun, reset int) {
	t.Helper()
	head := make([]byte, 9)
	for begun+reset < n {
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatalf("after %d answers and %d resets: %v", begun, reset, err)
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head)>>8)); err != nil {
			t.Fatal(err)
		}
		switch head[3] {
		case frameHeaders:
			begun++
		case frameReset:
			reset++
		}
	}
	return begun, reset
}

// Whoever takes no answer holds as many requests as he may have connections, not that many on each of them.
func TestAnswersThatNobodyTakesAreBounded(t *testing.T) {
	const each = 8
	tests := []struct {
		name  string
		from  []string // of the connections, one after the other
		begun int      // answers, of all their requests
		asks  string
		let   bool
	}{
		{"one address has its part", []string{"127.0.0.2", "127.0.0.2"}, 4, "127.0.0.3", true},
		{"what comes from the same address is refused", []string{"127.0.0.2"}, 4, "127.0.0.2", false},
		{"many addresses leave the known ones a quarter", []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, 9, "127.0.0.9", true},
		{"a known one is not bounded by address", []string{"127.0.0.9"}, each, "127.0.0.2", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }
			s := serveBounded(t, httpserver.Config{TLS: selfSigned(t), Handler: http.HandlerFunc(answer),
				Connections: httpserver.Connections{Total: 12, PerAddress: 4, Known: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}}})
			begun, reset := 0, 0
			var open []net.Conn
			for _, from := range tt.from {
				c := askWithoutWindow(t, s, from, each)
				open = append(open, c)
				b, r := countAnswers(t, c, each)
				begun, reset = begun+b, reset+r
			}
			if begun != tt.begun || reset != each*len(tt.from)-tt.begun || s.Connections().RefusedRequests != int64(reset) {
				t.Errorf("%d answers were begun, %d requests reset, %d counted", begun, reset, s.Connections().RefusedRequests)
			}
			b, _ := countAnswers(t, askWithoutWindow(t, s, tt.asks, 1), 1)
			if (b == 1) != tt.let {
				t.Errorf("a request from %s: answered %v", tt.asks, b == 1)
			}
			for _, c := range open {
				c.Close()
			}
			settle(t, s, 1)
			for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				c := askWithoutWindow(t, s, "127.0.0.3", 1)
				b, _ := countAnswers(t, c, 1)
				c.Close()
				if b == 1 {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the places are not given back")
				}
			}
		})
	}
}

// selfSigned is TLS with a certificate that nobody has to trust.
func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	pki := httptest.NewUnstartedServer(nil)
	pki.StartTLS()
	defer pki.Close()
	return &tls.Config{Certificates: pki.TLS.Certificates}
}
