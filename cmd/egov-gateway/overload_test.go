package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// slow holds every acceptance until it is let go.
type slow struct {
	store
	entered chan struct{}
	release chan struct{}
}

func (s *slow) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	s.entered <- struct{}{}
	<-s.release
	return s.store.Create(ctx, n)
}

// Past its bounds the door sends portals away within milliseconds, says so in /readyz, and what
// it had let in is accepted all the same.
func TestAFullDoorAnswersAtOnce(t *testing.T) {
	const inside = 3
	tests := []struct {
		name   string
		bound  func(c *Config, doc int)
		status int
		reason gateway.Reason
		ready  bool // the door as a whole still is
	}{
		{"too many at once", func(c *Config, _ int) { c.Limits.Concurrent = inside }, http.StatusServiceUnavailable, gateway.Overload, false},
		{"too many of one portal", func(c *Config, _ int) { c.Portals[0].Concurrent = inside }, http.StatusTooManyRequests, gateway.PortalLimit, true},
		{"too many bytes at once", func(c *Config, doc int) { c.Limits.InFlight = int64(inside*doc + doc/2) }, http.StatusServiceUnavailable, gateway.Overload, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			c, err := LoadConfig(l.config)
			if err != nil {
				t.Fatal(err)
			}
			key, err := l.key("citizen-01")
			if err != nil {
				t.Fatal(err)
			}
			var docs [][]byte
			for range inside + 1 {
				doc, err := l.draft("citizen-01", taraz).Sign(key)
				if err != nil {
					t.Fatal(err)
				}
				docs = append(docs, doc)
			}
			tt.bound(c, len(docs[0]))
			s := &slow{entered: make(chan struct{}, inside+1), release: make(chan struct{})}
			if l.svc, err = start(c, l.clock.Now, l.log, func(inner store) store { s.store = inner; return s }); err != nil {
				t.Fatal(err)
			}
			post := func(doc []byte) (*http.Response, string) {
				req, err := http.NewRequest(http.MethodPost, l.base+"/v1/requests", bytes.NewReader(doc))
				if err != nil {
					t.Error(err)
					return nil, ""
				}
				req.Header.Set("Content-Type", "application/xml")
				req.Header.Set("Authorization", "Bearer "+l.token)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return nil, ""
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				return resp, string(b)
			}
			var wg sync.WaitGroup
			for n := range inside {
				wg.Go(func() {
					if resp, body := post(docs[n]); resp != nil && resp.StatusCode != http.StatusAccepted {
						t.Errorf("one that was let in: %d %s", resp.StatusCode, body)
					}
				})
			}
			for range inside {
				<-s.entered
			}
			best := time.Hour
			for tries := 0; tries < 20 || best > 5*time.Millisecond && tries < 2000; tries++ {
				start := time.Now()
				resp, body := post(docs[inside])
				best = min(best, time.Since(start))
				if resp == nil || resp.StatusCode != tt.status || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, string(tt.reason)) {
					t.Fatalf("sent away with %v %s", resp, body)
				}
			}
			if best > 5*time.Millisecond {
				t.Errorf("the quickest of two thousand took %v", best)
			}
			resp, err := http.Get(l.admin + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if ready := resp.StatusCode == http.StatusOK; ready != tt.ready || !tt.ready && !strings.Contains(string(b), string(gateway.Overload)) {
				t.Errorf("/readyz: %d %s", resp.StatusCode, b)
			}
			close(s.release)
			wg.Wait()
			if resp, body := post(docs[inside]); resp == nil || resp.StatusCode != http.StatusAccepted {
				t.Errorf("when there is room again: %v %s", resp, body)
			}
		})
	}
}

// left is a store that keeps a request only after its sender hung up, if it can know of that.
type left struct {
	store
	entered chan struct{}
}

func (s *left) Create(ctx context.Context, n journal.New) (journal.Item, error) {
	s.entered <- struct{}{}
	if ctx.Done() != nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
	return s.store.Create(ctx, n)
}

// A portal that hangs up while its request is kept makes no trouble of the gateway's: the request is accepted,
// and the repetition gets its receipt.
func TestWhoHangsUpIsAcceptedAllTheSame(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	s := &left{entered: make(chan struct{}, 2)}
	if l.svc, err = start(c, l.clock.Now, l.log, func(inner store) store { s.store = inner; return s }); err != nil {
		t.Fatal(err)
	}
	doc := l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")
	conn := begin(t, l, "127.0.0.1", fmt.Sprintf("POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s",
		l.token, len(doc), doc))
	<-s.entered
	conn.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, _, metrics := get(t, l.admin+"/metrics")
		if bytes.Contains(metrics, []byte(`reason="internal"`)) {
			t.Fatal("it counts as a trouble of the gateway")
		}
		if bytes.Contains(metrics, []byte(`egov_gateway_requests_total{duplicate="false",portal="egov.kz",reason="accepted"`)) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it was not accepted")
		}
	}
	if status, _, body := l.restPost(t, []byte(doc)); status != http.StatusAccepted {
		t.Fatalf("the repetition: %d %s", status, body)
	}
	if _, _, metrics := get(t, l.admin+"/metrics"); !bytes.Contains(metrics, []byte(`egov_gateway_requests_total{duplicate="true"`)) {
		t.Error("the repetition is not known as one")
	}
}
