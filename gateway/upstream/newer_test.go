package upstream_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/upstream"
)

func TestFetchNewer(t *testing.T) {
	status := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v2"`)
		switch {
		case status != 0:
			w.WriteHeader(status)
		case r.Header.Get("If-None-Match") == `"v2"`:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Write([]byte("content"))
		}
	}))
	defer srv.Close()
	c, err := upstream.New(upstream.Config{Name: "lists", Retries: -1, BreakerFailures: 1 << 30, Reasons: upstream.Reasons{Unavailable: gateway.StatusUnavailable}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tests := []struct {
		name, tag string
		status    int
		raw, next string
		unchanged bool
		want      gateway.Reason
	}{
		{"nothing is held", "", 0, "content", `"v2"`, false, ""},
		{"an older one is held", `"v1"`, 0, "content", `"v2"`, false, ""},
		{"the newest is held", `"v2"`, 0, "", `"v2"`, true, ""},
		{"304 though nothing was held", "", http.StatusNotModified, "", "", false, gateway.StatusUnavailable},
		{"moved elsewhere", `"v1"`, http.StatusFound, "", "", false, gateway.StatusUnavailable},
		{"gone", `"v1"`, http.StatusNotFound, "", "", false, gateway.StatusUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status = tt.status
			raw, next, unchanged, err := c.FetchNewer(context.Background(), srv.URL, tt.tag)
			if string(raw) != tt.raw || next != tt.next || unchanged != tt.unchanged || gateway.ReasonOf(err) != tt.want {
				t.Errorf("%q, %q, %t, %v", raw, next, unchanged, err)
			}
		})
	}
}
