package httpserver_test

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"egov-gateway/gateway/httpserver"
)

// Whatever comes is read within its bounds, byte for byte, and an address comes from a header alone that
// says it again when it is written anew.
func FuzzProxyHeader(f *testing.F) {
	for _, seed := range []string{"", "PROXY UNKNOWN\r\n", "PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n", "PROXY TCP6 2001:db8::7 ::1 4711 443\r\nGET", v2TCP4("203.0.113.7"),
		v2TCP6("2001:db8::7"), headerV2(0x20, 0, make([]byte, 600)), headerV2(0x21, 0x31, make([]byte, 216)), "GET / HTTP/1.1\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		client, err := httpserver.ReadProxyHeader(r)
		header := in[:len(in)-r.Len()]
		if len(header) > 536 || bytes.HasPrefix(header, []byte("PROXY")) && len(header) > 107 {
			t.Fatalf("%d bytes were read", len(header))
		}
		if err != nil || !client.IsValid() {
			if client != (netip.AddrPort{}) {
				t.Fatalf("%v beside %v", client, err)
			}
			return
		}
		line, v1 := strings.CutSuffix(string(header), "\r\n")
		fields := strings.Split(line, " ")
		if v1 && fields[0] == "PROXY" {
			if a, err := netip.ParseAddrPort(net.JoinHostPort(fields[2], fields[4])); err != nil || netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) != client {
				t.Fatalf("%v of %q", client, line)
			}
			return
		}
		a := client.Addr()
		if (a.Is4() && bytes.Contains(header, a.AsSlice())) || (a.Is6() && bytes.Contains(header[16:], a.AsSlice())) {
			return
		}
		t.Fatalf("%v of % x", client, header)
	})
}
