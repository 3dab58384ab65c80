package sqlitejournal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

// opened is a fresh journal that counts its transactions.
func opened(b *testing.B, c sqlitejournal.Config) (*sqlitejournal.Store, func() float64) {
	b.Helper()
	var commits, calls atomic.Int64
	c.Dir = b.TempDir()
	c.Committed = func(n int, _ time.Duration) { commits.Add(1); calls.Add(int64(n)) }
	s, err := sqlitejournal.Open(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s, func() float64 { return float64(calls.Load()) / float64(commits.Load()) }
}

// BenchmarkAccept is Create with an 8 KB body from 16 writers. The peers in the same run are the
// same store with a transaction for each request, and one append and fsync for each, which is
// the least that a journal without group commit pays.
func BenchmarkAccept(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 512)
	fsyncs := fsyncRate(b, body)
	accept := func(s *sqlitejournal.Store, items int) float64 {
		start := time.Now()
		each(16, items, func(n int) {
			it := journaltest.NewItem(n)
			it.Bodies["request"] = body
			if _, err := s.Create(b.Context(), it); err != nil {
				b.Error(err)
			}
		})
		return float64(items) / time.Since(start).Seconds()
	}
	alone, _ := opened(b, sqlitejournal.Config{Group: 1})
	single := accept(alone, max(b.N/20, 200))
	s, group := opened(b, sqlitejournal.Config{})
	b.ResetTimer()
	rate := accept(s, b.N)
	b.ReportMetric(rate, "accepts/s")
	b.ReportMetric(1e3/fsyncs, "ms/fsync")
	b.ReportMetric(rate/fsyncs, "x-one-fsync-each")
	b.ReportMetric(rate/single, "x-one-transaction-each")
	b.ReportMetric(group(), "calls/commit")
}

// BenchmarkAcceptSealed is BenchmarkAccept, with a record of 1 KB, with a key of the installation and
// without, in turns of 400 requests, so that whatever else the machine does weighs on both alike.
func BenchmarkAcceptSealed(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 512)
	record := bytes.Repeat([]byte(`{"kind":"registration","status":"found"},`), 25)
	clear, _ := opened(b, sqlitejournal.Config{})
	sealed, _ := opened(b, sqlitejournal.Config{Keys: ring(b, sealing.NewInstallationKey())})
	var took, used [2]time.Duration
	turn := func(which int, s *sqlitejournal.Store, from, items int) {
		start, before := time.Now(), processorTime(b)
		each(16, items, func(n int) {
			it := journaltest.NewItem(from + n)
			it.Doc, it.Bodies["request"] = record, body
			if _, err := s.Create(b.Context(), it); err != nil {
				b.Error(err)
			}
		})
		took[which] += time.Since(start)
		used[which] += processorTime(b) - before
	}
	const items = 400
	b.ResetTimer()
	for done, odd := 0, false; done < b.N; done, odd = done+items, !odd {
		if odd { // neither always comes after the other
			turn(1, sealed, done, items)
			turn(0, clear, done, items)
		} else {
			turn(0, clear, done, items)
			turn(1, sealed, done, items)
		}
	}
	n := float64((b.N + items - 1) / items * items)
	b.ReportMetric(n/took[0].Seconds(), "clear-accepts/s")
	b.ReportMetric(n/took[1].Seconds(), "sealed-accepts/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "sealed/clear")
	b.ReportMetric(float64(used[0].Microseconds())/n, "clear-cpu-µs/accept")
	b.ReportMetric(float64(used[1].Microseconds())/n, "sealed-cpu-µs/accept")
}

// each runs do for the numbers below total from so many workers.
func each(workers, total int, do func(n int)) {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for range workers {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= total {
					return
				}
				do(n)
			}
		})
	}
	wg.Wait()
}

// BenchmarkAdvance records one step with its event for each item from 16 workers: alone, and
// with the claims, in batches of 64, inside the time.
func BenchmarkAdvance(b *testing.B) {
	claimed := func(s *sqlitejournal.Store, max int) []journal.Lease {
		ls, err := s.Claim(b.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: journaltest.T0.Add(1 << 50), Lease: time.Hour, Max: max})
		if err != nil || len(ls) == 0 {
			b.Fatalf("claimed %d, %v", len(ls), err)
		}
		return ls
	}
	advance := func(s *sqlitejournal.Store, l journal.Lease) {
		err := s.Advance(b.Context(), l, journal.Step{State: gateway.StateClosed, Doc: l.Item.Doc, At: journaltest.T0, Events: []gateway.Event{{At: journaltest.T0, Kind: gateway.EventEnriched}}})
		if err != nil {
			b.Error(err)
		}
	}
	fill := func(b *testing.B) (*sqlitejournal.Store, func() float64) {
		s, group := opened(b, sqlitejournal.Config{})
		each(128, b.N, func(n int) {
			if _, err := s.Create(b.Context(), journaltest.NewItem(n)); err != nil {
				b.Error(err)
			}
		})
		return s, group
	}
	report := func(b *testing.B, fsyncs float64) {
		rate := float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(rate, "advances/s")
		b.ReportMetric(1e3/fsyncs, "ms/fsync")
		b.ReportMetric(rate/fsyncs, "x-one-fsync-each")
	}
	b.Run("alone", func(b *testing.B) {
		fsyncs := fsyncRate(b, make([]byte, 2048))
		s, _ := fill(b)
		var all []journal.Lease
		for len(all) < b.N {
			all = append(all, claimed(s, 1000)...)
		}
		b.ResetTimer()
		each(16, b.N, func(n int) { advance(s, all[n]) })
		report(b, fsyncs)
	})
	b.Run("with claims", func(b *testing.B) {
		fsyncs := fsyncRate(b, make([]byte, 2048))
		s, _ := fill(b)
		work := make(chan journal.Lease)
		var wg sync.WaitGroup
		b.ResetTimer()
		for range 16 {
			wg.Go(func() {
				for l := range work {
					advance(s, l)
				}
			})
		}
		for done := 0; done < b.N; {
			ls := claimed(s, 64)
			for _, l := range ls {
				work <- l
			}
			done += len(ls)
		}
		close(work)
		wg.Wait()
		report(b, fsyncs)
	})
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
