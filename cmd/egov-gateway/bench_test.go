package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// BenchmarkIntake is the whole admission over HTTP from sixteen clients — parse, verify, decide,
// durable, signed receipt — beside a bare handler on the same store that only reads the body
// and commits it.
func BenchmarkIntake(b *testing.B) {
	bare := benchBare(b, max(b.N, 500))
	l, err := newLab(b.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if err := l.startGateway(); err != nil {
		b.Fatal(err)
	}
	key, err := l.key("citizen-01")
	if err != nil {
		b.Fatal(err)
	}
	docs := make([][]byte, b.N)
	for i := range docs {
		if docs[i], err = l.draft("citizen-01", taraz).Sign(key); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	load(b, l.base+"/v1/requests", l.token, docs)
	b.StopTimer()
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "requests/s")
	b.ReportMetric(bare, "bare/s")
	b.ReportMetric(rate/bare, "of-bare")
}

// load posts every document once, from sixteen clients.
func load(b *testing.B, url, token string, docs [][]byte) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(docs) {
					return
				}
				req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(docs[i]))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/xml")
				req.Header.Set("Authorization", "Bearer "+token)
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusAccepted {
					b.Errorf("%d %s", resp.StatusCode, body)
					return
				}
			}
		})
	}
	wg.Wait()
}

func benchBare(b *testing.B, n int) float64 {
	store, err := sqlitejournal.Open(sqlitejournal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	var seq atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		message := fmt.Sprint(seq.Add(1))
		content := sha256.Sum256([]byte(message))
		_, err = store.Create(r.Context(), journal.New{ID: gateway.NewRequestID("p", message, content), Portal: "p", MessageID: message, Content: content, Citizen: "c", Service: "s", Shard: "z", Provider: "t",
			Created: time.Now(), Doc: []byte("{}"), Bodies: map[string][]byte{gateway.BodyRequest: body}})
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	docs := make([][]byte, n)
	for i := range docs {
		docs[i] = bytes.Repeat([]byte("x"), 4096)
	}
	start := time.Now()
	load(b, server.URL, "", docs)
	return float64(n) / time.Since(start).Seconds()
}
