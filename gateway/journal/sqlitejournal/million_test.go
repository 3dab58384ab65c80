package sqlitejournal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// aged is a request as it comes: a citizen of many, a dossier of a kilobyte.
func aged(n int, body []byte) journal.New {
	it := journaltest.NewItem(n)
	sum := sha256.Sum256(fmt.Appendf(nil, "citizen %d", n%300_000))
	it.Citizen, it.Doc, it.Bodies = journal.CitizenKey(hex.EncodeToString(sum[:16])), bytes.Repeat([]byte("d"), 1000), map[string][]byte{"request": body}
	return it
}

// BenchmarkAge shows what a million stored requests (JOURNAL_AGE of them; 100,000 when unset)
// cost: opening, listing a citizen's, and accepting beside an empty journal in alternating
// rounds. It runs once, whatever b.N.
func BenchmarkAge(b *testing.B) {
	total := 100_000
	if s := os.Getenv("JOURNAL_AGE"); s != "" {
		var err error
		if total, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 512)
	accept := func(s *sqlitejournal.Store, workers, from, n int) time.Duration {
		start := time.Now()
		each(workers, n, func(i int) {
			if _, err := s.Create(b.Context(), aged(from+i, body)); err != nil {
				b.Error(err)
			}
		})
		return time.Since(start)
	}
	dir := b.TempDir()
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	accept(s, 128, 0, total)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if s, err = sqlitejournal.Open(sqlitejournal.Config{Dir: dir}); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	opening := time.Since(start)

	var worst, sum time.Duration
	const lists = 500
	for range lists {
		start := time.Now()
		if page, _, err := s.List(b.Context(), journal.Query{Citizen: aged(rand.IntN(total), nil).Citizen}); err != nil || len(page) == 0 {
			b.Fatal(len(page), err)
		}
		took := time.Since(start)
		worst, sum = max(worst, took), sum+took
	}
	start = time.Now()
	if _, err := s.Stats(b.Context()); err != nil {
		b.Fatal(err)
	}
	stats := time.Since(start)

	empty, _ := opened(b, sqlitejournal.Config{})
	const round = 5_000
	var full, fresh time.Duration
	for i := range 7 {
		f, e := accept(s, 16, total+i*round, round), accept(empty, 16, i*round, round)
		if i > 0 { // the first fills the caches
			full, fresh = full+f, fresh+e
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(total), "stored")
	b.ReportMetric(opening.Seconds()*1e3, "open-ms")
	b.ReportMetric(sum.Seconds()*1e3/lists, "list-ms")
	b.ReportMetric(worst.Seconds()*1e3, "worst-list-ms")
	b.ReportMetric(stats.Seconds()*1e3, "stats-ms")
	b.ReportMetric(6*round/full.Seconds(), "accepts/s")
	b.ReportMetric(fresh.Seconds()/full.Seconds(), "of-empty")
	b.ReportMetric(residentMB(b), "resident-MB")
}

func residentMB(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(status), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize()) / (1 << 20)
}
