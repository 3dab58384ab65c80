package httpserver_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"egov-gateway/gateway/httpserver"
)

// Whose address a refusal bears: a balancer that is trusted speaks for others, nobody else does.
func TestTheClientsAddress(t *testing.T) {
	balancer := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		headers map[string][]string
		want    string // of the address without its port
	}{
		{"nobody is trusted", nil, map[string][]string{"X-Forwarded-For": {"203.0.113.7"}}, "127.0.0.1"},
		{"the caller is not the balancer", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, map[string][]string{"X-Forwarded-For": {"203.0.113.7"}}, "127.0.0.1"},
		{"the balancer names nobody", balancer, nil, "127.0.0.1"},
		{"the balancer names the client", balancer, map[string][]string{"X-Forwarded-For": {"203.0.113.7"}}, "203.0.113.7"},
		{"the client's own word before the balancer's", balancer, map[string][]string{"X-Forwarded-For": {"198.51.100.1, 203.0.113.7"}}, "203.0.113.7"},
		{"two balancers one behind the other", balancer, map[string][]string{"X-Forwarded-For": {"198.51.100.1, 203.0.113.7, 10.1.2.3"}}, "203.0.113.7"},
		{"in two lines", balancer, map[string][]string{"X-Forwarded-For": {"198.51.100.1", "203.0.113.7, 10.1.2.3"}}, "203.0.113.7"},
		{"a word that is no address ends the search", balancer, map[string][]string{"X-Forwarded-For": {"203.0.113.7, unknown"}}, "127.0.0.1"},
		{"with a port", balancer, map[string][]string{"X-Forwarded-For": {"203.0.113.7:4711"}}, "203.0.113.7"},
		{"an address of version 6", balancer, map[string][]string{"X-Forwarded-For": {"2001:db8::7"}}, "[2001:db8::7]"},
		{"Forwarded", balancer, map[string][]string{"Forwarded": {`for=198.51.100.1;proto=https, FOR="[2001:db8::7]:99";by=10.0.0.1`}}, "[2001:db8::7]"},
		{"Forwarded goes before the other", balancer, map[string][]string{"Forwarded": {"for=203.0.113.7"}, "X-Forwarded-For": {"198.51.100.1"}}, "203.0.113.7"},
		{"Forwarded that hides the client", balancer, map[string][]string{"Forwarded": {"for=_hidden"}}, "127.0.0.1"},
		{"only balancers", balancer, map[string][]string{"X-Forwarded-For": {"10.1.2.3, 10.1.2.4"}}, "10.1.2.3"},
		{"more words than anybody looks at", balancer, map[string][]string{"X-Forwarded-For": {"203.0.113.7" + strings.Repeat(", 10.0.0.1", 2000)}}, "10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var seen string
			var logs bytes.Buffer
			s, err := httpserver.Start(httpserver.Config{Address: "127.0.0.1:0", Trusted: tt.trusted, Log: slog.New(slog.NewTextHandler(&logs, nil)),
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					seen = r.RemoteAddr
					w.WriteHeader(http.StatusUnauthorized)
				})})
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequest(http.MethodGet, "http://"+s.Addr(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, values := range tt.headers {
				req.Header[name] = values
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			s.Close()
			mu.Lock()
			defer mu.Unlock()
			if i := strings.LastIndexByte(seen, ':'); i < 0 || seen[:i] != tt.want {
				t.Errorf("seen from %q, want %s", seen, tt.want)
			}
			if !strings.Contains(logs.String(), "remote="+tt.want) && !strings.Contains(logs.String(), `remote="`+tt.want) {
				t.Errorf("a refusal is logged without the address:\n%s", &logs)
			}
		})
	}
}
