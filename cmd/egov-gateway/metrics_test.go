package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/synthetic"
)

const metricsFile = "../../gateway/monitoring/METRICS.md"

// everyFamily is what gateways with every part switched on register; the parts that exclude each
// other, or that no lab has, register beside the lab's gateway.
func everyFamily(t *testing.T, l *lab) *catalogue {
	t.Helper()
	all := newCatalogue()
	redis := &metrics{reg: newCatalogue()}
	redis.sharedJournal(nil) // only described
	replayed := newCatalogue()
	(&ClockConfig{Replay: true}).loudly(http.NotFoundHandler(), time.Now, slog.New(slog.DiscardHandler), replayed)
	for _, c := range []*catalogue{l.svc.metrics.reg, redis.reg, replayed} {
		for _, f := range c.own() {
			all.families[f.name] = f
		}
	}
	return all
}

// METRICS.md is what a running gateway registers, and every label has a line that says where its
// values come from.
func TestTheTableOfMetricsIsTrue(t *testing.T) {
	l, _ := newSyntheticLab(t, time.Minute)
	all := everyFamily(t, l)
	var table bytes.Buffer
	if err := all.write(&table); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(metricsFile, table.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(metricsFile)
	if err != nil || !bytes.Equal(kept, table.Bytes()) {
		t.Errorf("METRICS.md is not what is registered: go test ./cmd/egov-gateway -run TableOfMetrics -update (%v)", err)
	}
	known := map[string]bool{}
	for _, l := range labelled() {
		known[l[0]] = true
	}
	for _, f := range all.own() {
		for _, name := range f.labels {
			if !known[name] {
				t.Errorf("%s: nobody says where the values of the label %s come from", f.name, name)
			}
		}
		if len(f.help) < 10 || f.kind == "counter" != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%+v", f)
		}
	}
}

// labelValues says of each label which values it may have in the lab.
func labelValues(l *lab) map[string]func(string) bool {
	in := func(lists ...[]string) func(string) bool {
		all := slices.Concat(lists...)
		return func(v string) bool { return slices.Contains(all, v) }
	}
	like := func(pattern string) func(string) bool { return regexp.MustCompile("^(?:" + pattern + ")$").MatchString }
	none := []string{"none"}
	var reasons []string
	for _, r := range gateway.Reasons() {
		reasons = append(reasons, string(r))
	}
	var states, deadlines, kinds []string
	for _, s := range gateway.States {
		states = append(states, string(s))
	}
	for _, s := range gateway.DeadlineStates {
		deadlines = append(deadlines, string(s))
	}
	for _, k := range gateway.RecordKinds {
		kinds = append(kinds, string(k))
	}
	var providers []string
	for _, p := range labProviders {
		providers = append(providers, p.id)
	}
	sources := []string{"gbdfl", "gbdrn", "socialpayments", "income", "alimony", "employment"}
	shards := []string{"north-kazakhstan", "zhambyl", "national"}
	return map[string]func(string) bool{
		"code": like("[1-5][0-9][0-9]|0"), "deadline": in(deadlines), "duplicate": in([]string{"true", "false"}), "goversion": like(`go1\.[0-9.]+`), "version": like(`unknown|v?[0-9a-z.+-]{1,40}`),
		"issuer": like("[0-9a-f]{8}"), "kind": in(kinds, []string{"step", "result", "full", "delta"}), "method": in([]string{"", "ocsp", "crl", "crl+delta"}),
		"name":      like(`(anchor|intermediate)-[0-9]+|gateway|[0-9a-f]{8}|synthetic-citizen|synthetic-provider|` + strings.Join(providers, "|")),
		"operation": like("[A-Za-z]+"), "outcome": in([]string{"ok", "failed", "refused"}), "participant": in(none, []string{"egov.kz", "bank.kz"}), "portal": in(none, []string{"egov.kz", "bank.kz"}),
		"probe": in([]string{"journal", "trust", "revocation", "signature", "terms", "door", "door-provider", "door-shep", "connections", "synthetic",
			"calendar", "outgoing", "configuration"}), "setting": like("[a-z_]+"),
		"provider": in(none, providers), "reason": in(none, []string{"", "accepted", "recorded", "answered"}, reasons),
		"responder": like("[0-9]"), "role": in([]string{roleProvider, roleRegister, rolePortal, roleRegion, roleParticipant, roleRevocation, "own", "ca", "responder", "anchor", "intermediate"}),
		"route": like(`none|[A-Z]* ?/[a-z0-9/{}$._-]*`), "service": in(none, []string{"housing-aid", "complaint", "shep"}), "shard": in(none, []string{"all", "shep:egov.kz", "shep:bank.kz"}, shards),
		"source": in(sources), "stage": in(none, synthetic.Stages), "state": in(states), "status": in([]string{"verified", "refused", "indeterminate"}),
		"way":    in(console.Ways),
		"step":   like("enrich|dispatch|follow|notify|retain|remove|parked|push|wait|keep|[a-z-]+"),
		"system": in(sources, providers, []string{"portal", "revocation", "egov.kz", "bank.kz"}),
		"door":   in([]string{"rest", "answers", "desk", "shep", "provider", "cabinet", "console", "sign-in"}), "room": in([]string{"known", "strangers"}),
		"party":  in([]string{admission.Stranger, "egov.kz", "bank.kz"}, providers),
		"server": in([]string{"doors", "admin", "console"}), "bound": in([]string{"total", "address", "header", "requests"}),
		"le": like(`[0-9.e+-]+|\+Inf`), "quantile": like("[0-9.]+"),
	}
}

// After a busy day every family that is served is in the table, and every label has a value of its
// closed list.
func TestEveryLabelIsFromAClosedList(t *testing.T) {
	l, logs := newSyntheticLab(t, time.Second)
	busyDay(t, l)
	table, err := os.ReadFile(metricsFile)
	if err != nil {
		t.Fatal(err)
	}
	families, err := l.svc.metrics.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	allowed, seen := labelValues(l), 0
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			continue
		}
		seen++
		if !bytes.Contains(table, []byte("| `"+f.GetName()+"` |")) {
			t.Errorf("%s is not in METRICS.md", f.GetName())
		}
		for _, m := range f.GetMetric() {
			for _, pair := range m.GetLabel() {
				if ok := allowed[pair.GetName()]; ok == nil || !ok(pair.GetValue()) {
					t.Errorf("%s: %s=%q is in no closed list", f.GetName(), pair.GetName(), pair.GetValue())
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d families were seen", seen)
	}
	noPersonalData(t, l, logs)
}

// busyDay brings something of everything: acceptance, refusals, parked, results, wrong callers.
func busyDay(t *testing.T, l *lab) {
	t.Helper()
	if err := l.world.SetFaults("kordaj", statesim.Fault{Kind: statesim.Reject}); err != nil {
		t.Fatal(err)
	}
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	l.mustSubmit(t, l.draft("citizen-01", taraz), "citizen-02")
	l.mustSubmit(t, l.draft("citizen-revoked", petropavl), "citizen-revoked")
	l.mustAccept(t, l.draft("citizen-03", kordaj), "citizen-03")
	for _, token := range []string{"", l.token} {
		call(t, http.MethodPost, l.base+"/v1/requests", []byte("<request/>"), "Content-Type", "application/xml", "Authorization", "Bearer "+token)
		call(t, http.MethodPost, l.base+"/v1/requests", []byte("x"), "Content-Type", "text/plain", "Authorization", "Bearer "+token)
		call(t, http.MethodPost, l.base+"/v1/providers/petropavl/results", []byte("<x/>"), "Content-Type", "application/xml", "Authorization", "Bearer "+token)
		call(t, http.MethodPost, l.base+"/shep/sync", []byte("<x/>"), "Content-Type", "text/xml", "Authorization", "Bearer "+token)
	}
	get(t, l.base+"/"+l.pki.Must("citizen-01").IIN)
	l.await(t, r.ID, closed)
	get(t, l.admin+"/metrics")
}

// A slowJournal has many open requests and lists them when it is let.
type slowJournal struct {
	journal.Store
	open  int
	calls atomic.Int64
	shut  sync.RWMutex // held while nobody gets an answer
}

func (s *slowJournal) List(_ context.Context, q journal.Query) ([]journal.Item, string, error) {
	s.calls.Add(1)
	s.shut.RLock()
	defer s.shut.RUnlock()
	if q.State != gateway.StateDelivered {
		return nil, "", nil
	}
	var from int
	fmt.Sscan(q.Cursor, &from) //nolint:errcheck // "" is 0
	d := gateway.Dossier{RegisteredAt: monday, DueAt: monday.AddDate(0, 0, 9), Steps: []gateway.StepPlan{{Code: "register", DueAt: monday.Add(time.Minute)}}}
	doc := d.Encode()
	var page []journal.Item
	for ; from < s.open && len(page) < q.Limit; from++ {
		page = append(page, journal.Item{State: q.State, Shard: q.Shard, Service: "housing-aid", Provider: "taraz", Doc: doc})
	}
	if from == s.open {
		return page, "", nil
	}
	return page, fmt.Sprint(from), nil
}

// A scrape takes no longer because a hundred thousand requests are open: they are counted beside it.
func TestOpenRequestsCostAScrapeNothing(t *testing.T) {
	s := &slowJournal{open: 100_000}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(newOpenCollector(s, []string{"zhambyl"}, func() time.Time { return monday.Add(time.Hour) }))
	counted := func() float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "egov_gateway_step_deadlines" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return 0
	}
	// The first scrapes do not wait for a journal that does not answer.
	s.shut.Lock()
	for range 10 {
		counted()
	}
	s.shut.Unlock()
	eventually(t, "all are counted", func() bool { return counted() == 100_000 })
	calls := s.calls.Load()
	for range 50 {
		counted()
	}
	if s.calls.Load() != calls {
		t.Error("they are counted again at once")
	}
}

// A journal that cannot be read makes the scrape say so.
func TestACountThatFailsIsTold(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(newOpenCollector(brokenJournal{}, []string{"zhambyl"}, time.Now))
	if _, err := reg.Gather(); err == nil {
		t.Error("the scrape is clean")
	}
}

type brokenJournal struct{ journal.Store }

func (brokenJournal) List(context.Context, journal.Query) ([]journal.Item, string, error) {
	return nil, "", errors.New("cannot be read")
}
