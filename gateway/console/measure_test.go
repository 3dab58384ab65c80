package console_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
)

func noOrder(context.Context, gateway.RequestID, int64) error { return nil }

// measure asks for each page nine times and prints the middle and the worst.
func measure(b *testing.B, h http.Handler, pages []string) {
	r := httptest.NewRequest(http.MethodPost, "/console/session", strings.NewReader(url.Values{"token": {"all"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	cookie := w.Result().Cookies()[0]
	for _, page := range pages {
		var took []time.Duration
		for range 9 {
			r := httptest.NewRequest(http.MethodGet, page, nil)
			r.AddCookie(cookie)
			w := httptest.NewRecorder()
			start := time.Now()
			h.ServeHTTP(w, r)
			took = append(took, time.Since(start))
			if w.Code != http.StatusOK {
				b.Fatalf("%s: %d %s", page, w.Code, w.Body)
			}
		}
		slices.Sort(took)
		path, _, _ := strings.Cut(page, "&cursor")
		b.Logf("%-70s %8.2f ms, worst %8.2f ms", path, took[4].Seconds()*1e3, took[8].Seconds()*1e3)
		if took[4] > pageLimit {
			b.Errorf("%s costs %s", page, took[4])
		}
	}
}
