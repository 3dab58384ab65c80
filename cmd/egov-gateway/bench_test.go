package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// idle gives the engine nothing to do: what is measured is the door.
type idle struct{ store }

func (idle) Claim(context.Context, journal.ClaimOptions) ([]journal.Lease, error) { return nil, nil }

// BenchmarkIntake is the whole admission of a 4 KB request over HTTP from sixteen clients —
// parse, verify, decide, durable, signed receipt — beside a bare handler in the same server on
// the same kind of store that only reads the body and commits it. The rounds take turns.
func BenchmarkIntake(b *testing.B) {
	for _, tt := range []struct {
		name, gateway string
		citizens      []string
	}{
		{"GOST citizens, GOST receipts", "gost-system-gateway", []string{"gost-citizen-01", "gost-citizen-02", "gost-citizen-03", "gost-citizen-04"}},
		{"RSA citizens, GOST receipts", "gost-system-gateway", []string{"citizen-01", "citizen-02", "citizen-03", "citizen-04"}},
		{"RSA citizens, RSA receipts", "system-gateway", []string{"citizen-01", "citizen-02", "citizen-03", "citizen-04"}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			l, err := newLab(b.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			gw := l.pki.Must(tt.gateway)
			if err := os.WriteFile(filepath.Join(l.dir, "gateway.pem"), append(append([]byte{}, gw.KeyPEM...), gw.CertificatePEM...), 0o600); err != nil {
				b.Fatal(err)
			}
			c, err := LoadConfig(l.config)
			if err != nil {
				b.Fatal(err)
			}
			if l.svc, err = start(c, l.clock.Now, l.log, func(s store) store { return idle{s} }); err != nil {
				b.Fatal(err)
			}
			docs := make([][]byte, b.N)
			for i := range docs {
				citizen := tt.citizens[i%len(tt.citizens)]
				key, err := l.key(citizen)
				if err != nil {
					b.Fatal(err)
				}
				if docs[i], err = l.draft(citizen, taraz).Sign(key); err != nil {
					b.Fatal(err)
				}
			}
			bare := newBare(b)
			var ours, theirs, oursCPU, theirsCPU time.Duration
			b.ResetTimer()
			for rest := docs; len(rest) > 0; {
				n := min(len(rest), 500)
				before := processor(b)
				ours += load(b, l.base+"/v1/requests", l.token, rest[:n])
				between := processor(b)
				theirs += load(b, bare, "", rest[:n])
				oursCPU, theirsCPU = oursCPU+between-before, theirsCPU+processor(b)-between
				rest = rest[n:]
			}
			each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
			b.ReportMetric(each(oursCPU), "cpu-µs")
			b.ReportMetric(each(theirsCPU), "bare-cpu-µs")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(b.N)/ours.Seconds(), "requests/s")
			b.ReportMetric(float64(b.N)/theirs.Seconds(), "bare/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-bare")
			b.ReportMetric(float64(len(docs[0])), "bytes")
		})
	}
}

// processor is the processor time of this process so far: the gateway, its clients and the world.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load posts every document once, from sixteen clients.
func load(b *testing.B, url, token string, docs [][]byte) time.Duration {
	b.Helper()
	start := time.Now()
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
	return time.Since(start)
}

// newBare serves the bare handler and returns its address.
func newBare(b *testing.B) string {
	store, err := sqlitejournal.Open(sqlitejournal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	var seq atomic.Int64
	server, err := httpserver.Start(httpserver.Config{Address: "127.0.0.1:0", Metrics: prometheus.NewRegistry(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	})})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close(); store.Close() })
	return "http://" + server.Addr() + "/"
}
