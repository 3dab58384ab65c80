package redisjournal_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

// BenchmarkAccept is Create with an 8 KB body from 16 writers: on the gateway's own disk first,
// then in a Redis with appendfsync always. Its peer in the same run is one append and fsync for
// each request, which is what a journal without group commit pays, once.
func BenchmarkAccept(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 512)
	fsyncs := fsyncRate(b, body)
	s := newServer(b)
	j := mustOpen(b, redisjournal.Config{Redis: []string{s.url()}})
	var n atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			it := journaltest.NewItem(int(n.Add(1)))
			it.Bodies["request"] = body
			if _, err := j.Create(b.Context(), it); err != nil {
				b.Error(err)
			}
		}
	})
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "accepts/s")
	b.ReportMetric(fsyncs, "fsyncs/s")
	b.ReportMetric(rate/fsyncs, "x-one-fsync-each")
}

// BenchmarkAdvance is a claim and its advance, from 16 workers.
func BenchmarkAdvance(b *testing.B) {
	fsyncs := fsyncRate(b, make([]byte, 1024))
	s := newServer(b)
	j := mustOpen(b, redisjournal.Config{Redis: []string{s.url()}})
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := j.Create(b.Context(), journaltest.NewItem(int(n.Add(1)))); err != nil {
				b.Error(err)
			}
		}
	})
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ls, err := j.Claim(b.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(1 << 50), Lease: time.Hour, Max: 1})
			if err != nil || len(ls) == 0 {
				continue
			}
			err = j.Advance(b.Context(), ls[0], journal.Step{State: gateway.StateClosed, Doc: ls[0].Item.Doc, At: journaltest.T0, Events: []gateway.Event{{At: journaltest.T0, Kind: gateway.EventEnriched}}})
			if err != nil {
				b.Error(err)
			}
		}
	})
	rate := 2 * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "transitions/s")
	b.ReportMetric(fsyncs, "fsyncs/s")
	b.ReportMetric(rate/fsyncs, "x-one-fsync-each")
}

// BenchmarkMemory is what an open request costs Redis, with a body of 20 KB and without.
func BenchmarkMemory(b *testing.B) {
	for _, kind := range []struct {
		name string
		size int
	}{{"with 20 KB", 20 << 10}, {"without a body", 0}} {
		b.Run(kind.name, func(b *testing.B) {
			s := newServer(b)
			j := mustOpen(b, redisjournal.Config{Redis: []string{s.url()}})
			const items = 2000
			doc := bytes.Repeat([]byte("x"), 700) // a dossier
			before := s.used()
			for n := range items {
				it := journaltest.NewItem(n)
				it.Citizen = journal.CitizenKey("0123456789abcdef0123456789" + strconv.Itoa(100000+n))
				it.Doc, it.Bodies = doc, nil
				if kind.size > 0 {
					it.Bodies = map[string][]byte{"request": bytes.Repeat([]byte{byte(n)}, kind.size)}
				}
				if _, err := j.Create(b.Context(), it); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.used()-before)/items, "bytes/request")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPutBack is how fast the accept journal is compared with a Redis that holds it all,
// and with one that holds nothing.
func BenchmarkPutBack(b *testing.B) {
	const items = 10_000
	for _, kind := range []string{"all there", "all lost"} {
		b.Run(kind, func(b *testing.B) {
			s := newServer(b)
			c := redisjournal.Config{Redis: []string{s.url()}, Dir: b.TempDir()}
			j := mustOpen(b, c)
			var n atomic.Int64
			done := make(chan struct{})
			for range 16 {
				go func() {
					for k := n.Add(1); k <= items; k = n.Add(1) {
						it := journaltest.NewItem(int(k))
						it.Bodies["request"] = make([]byte, 8<<10)
						if _, err := j.Create(context.Background(), it); err != nil {
							b.Error(err)
						}
					}
					done <- struct{}{}
				}()
			}
			for range 16 {
				<-done
			}
			j.Close()
			other := s
			if kind == "all lost" {
				other = newServer(b)
			} else {
				s.kill()
				s.start()
			}
			c.Redis = []string{other.url()}
			b.ResetTimer()
			start := time.Now()
			j = mustOpen(b, c)
			b.ReportMetric(items/time.Since(start).Seconds(), "entries/s")
			b.ReportMetric(0, "ns/op")
			if want := map[string]int64{"all there": 0, "all lost": items}[kind]; j.Restored() != want {
				b.Errorf("%d put back, want %d", j.Restored(), want)
			}
		})
	}
}

func (s *server) used() int64 {
	c := s.client()
	defer c.Close()
	info, err := c.Info(context.Background(), "memory").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	line, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
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
