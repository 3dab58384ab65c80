package console_test

import (
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/schemas"
)

// PageLimit is what a page may cost on the server.
const pageLimit = 100 * time.Millisecond

// BenchmarkPages shows what each page costs with JOURNAL_AGE requests stored (20,000 when unset),
// a twentieth of them parked, and fails when the middle of nine costs more than 100 ms. It runs
// once, whatever b.N.
func BenchmarkPages(b *testing.B) {
	total := 20_000
	if s := os.Getenv("JOURNAL_AGE"); s != "" {
		var err error
		if total, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	each := func(workers, n int, do func(int)) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					do(i)
				}
			})
		}
		wg.Wait()
	}
	dossier := gateway.Dossier{Passport: "housing-aid-zhambyl", Version: "106-2016.1", RegisteredAt: journaltest.T0, Steps: []gateway.StepPlan{{Code: "register", DueAt: now}, {Code: "draft", DueAt: now}}}
	var last gateway.RequestID
	each(128, total, func(n int) {
		it, d := journaltest.NewItem(n), dossier
		d.DueAt = now.Add(time.Duration(n%20-10) * time.Hour)
		it.Doc, it.Created, it.Wake = d.Encode(), journaltest.T0, journaltest.T0
		if n%20 != 0 {
			it.Wake = now.Add(time.Hour)
		}
		if _, err := s.Create(b.Context(), it); err != nil {
			b.Error(err)
		}
		if n == total/2 {
			last = it.ID
		}
	})
	each(64, total/20/100+1, func(int) {
		leases, err := s.Claim(b.Context(), journal.ClaimOptions{Shards: []string{"zhambyl"}, Now: now, Lease: time.Hour, Max: 100})
		if err != nil {
			b.Error(err)
		}
		for _, l := range leases {
			if err := s.Advance(b.Context(), l, journal.Step{State: gateway.StateParked, Doc: l.Item.Doc, At: now, Events: []gateway.Event{{At: now, Kind: gateway.EventParked, Subject: "accepted", Reason: gateway.ProviderRejected}}}); err != nil {
				b.Error(err)
			}
		}
	})
	each(128, 20_000, func(n int) {
		if err := s.Record(b.Context(), journal.AuditEntry{At: now.Add(-time.Duration(n) * time.Second), Door: "rest", Party: "egov.kz", Reason: gateway.Reasons()[n%40]}); err != nil {
			b.Error(err)
		}
	})
	forms, err := passport.Load(schemas.FS)
	if err != nil {
		b.Fatal(err)
	}
	texts, err := message.Load(schemas.FS, forms.Calendar().Zone())
	if err != nil {
		b.Fatal(err)
	}
	con, err := console.New(console.Config{Journal: s, Audit: s, Forms: forms, Texts: texts, Shards: []string{"zhambyl"}, Operators: operators, Redrive: noOrder, Systems: func() []console.System { return nil },
		Revocation: func() []console.RevocationSource { return nil }, Certificates: func() []console.Certificate { return nil }, Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := con.Watch(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "s/walk")
	mux := http.NewServeMux()
	con.Register(mux)
	measure(b, mux, []string{"/console/", "/console/requests?shard=zhambyl&state=accepted", "/console/requests?shard=zhambyl&state=accepted&cursor=" + strconv.Itoa(total/2), "/console/requests/" + string(last),
		"/console/requests/" + string(last) + "/way.svg", "/console/parked?shard=zhambyl", "/console/parked?shard=zhambyl&provider=nobody", "/console/deadlines?shard=zhambyl", "/console/refusals", "/console/actions"})
}
