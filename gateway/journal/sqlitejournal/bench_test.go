package sqlitejournal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// BenchmarkAccept is Create with an 8 KB body from 16 writers; the peer in the same run is one
// append and fsync for each request, which is what a journal without group commit pays.
func BenchmarkAccept(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 512)
	fsyncs := fsyncRate(b, body)
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var n atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			it := journaltest.NewItem(int(n.Add(1)))
			it.Bodies["request"] = body
			if _, err := s.Create(b.Context(), it); err != nil {
				b.Error(err)
			}
		}
	})
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "accepts/s")
	b.ReportMetric(1e3/fsyncs, "ms/fsync")
	b.ReportMetric(rate/fsyncs, "x-one-fsync-each")
}

// BenchmarkAdvance is a claim of ten and their advances, from 16 workers.
func BenchmarkAdvance(b *testing.B) {
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var n atomic.Int64
	prepare := func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Create(b.Context(), journaltest.NewItem(int(n.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	}
	b.SetParallelism(8)
	b.RunParallel(prepare)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ls, err := s.Claim(b.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(1 << 50), Lease: time.Hour, Max: 1})
			if err != nil || len(ls) == 0 {
				continue
			}
			err = s.Advance(b.Context(), ls[0], journal.Step{State: gateway.StateClosed, Doc: ls[0].Item.Doc, At: journaltest.T0, Events: []gateway.Event{{At: journaltest.T0, Kind: gateway.EventEnriched}}})
			if err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
}

func fsyncRate(b *testing.B, body []byte) float64 {
	f, err := os.Create(filepath.Join(b.TempDir(), "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	start, n := time.Now(), 0
	for ; time.Since(start) < 300*time.Millisecond; n++ {
		if _, err := f.Write(body); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / time.Since(start).Seconds()
}
