package flow_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/enrich"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"
)

// provider counts what it was sent, and may fail after it took a delivery.
type provider struct {
	mu       sync.Mutex
	got      map[gateway.RequestID]map[string]int // guarded by mu: deliveries by id and SHA-256
	failures int                                  // guarded by mu: answers still to be lost
}

func (p *provider) Send(_ context.Context, id gateway.RequestID, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := sha256.Sum256(b)
	if p.got[id] == nil {
		p.got[id] = map[string]int{}
	}
	p.got[id][hex.EncodeToString(sum[:])]++
	if p.failures > 0 {
		p.failures--
		return gateway.Errorf(gateway.ProviderUnavailable, "the answer was lost")
	}
	return nil
}

// records answers every record, after failing as often as told.
type records struct {
	mu   sync.Mutex
	fail map[gateway.RecordKind]int // guarded by mu
}

func (*records) Name() string                { return "registers" }
func (*records) Kinds() []gateway.RecordKind { return gateway.RecordKinds }
func (r *records) Fetch(_ context.Context, q gateway.Inquiry) (gateway.Fact, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail[q.Kind] > 0 {
		r.fail[q.Kind]--
		return gateway.Fact{}, gateway.Errorf(gateway.SourceUnavailable, "away")
	}
	return gateway.Fact{Kind: q.Kind, Source: "registers", Status: gateway.FactFound, ObservedAt: journaltest.T0, MessageID: "m", Data: []byte("<data>" + string(q.Kind) + "</data>")}, nil
}

type notices struct {
	mu  sync.Mutex
	got []flow.Notice // guarded by mu
}

func (n *notices) Notify(_ context.Context, _ string, _ gateway.RequestID, x flow.Notice) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got = append(n.got, x)
	return nil
}

type rig struct {
	store    *journaltest.Faulty
	provider *provider
	records  *records
	notices  *notices
	copies   *attachment.Store
	pass     *passport.Passport
	signed   []byte

	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (r *rig) clock() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now }

func newRig(t *testing.T) *rig {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	forms, err := passport.Load(schemas.FS)
	if err != nil {
		t.Fatal(err)
	}
	gw, citizen := pki.Must("system-gateway"), pki.Must("citizen-01")
	key, err := xmlsig.NewKey(gw.DER, gw.Signer)
	if err != nil {
		t.Fatal(err)
	}
	ckey, err := xmlsig.NewKey(citizen.DER, citizen.Signer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlitejournal.Open(sqlitejournal.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: &journaltest.Faulty{Store: s}, provider: &provider{got: map[gateway.RequestID]map[string]int{}}, records: &records{fail: map[gateway.RecordKind]int{}}, notices: &notices{}, now: journaltest.T0.Add(time.Minute)}
	if r.pass, err = forms.Version("housing-aid-zhambyl", "106-2016.1"); err != nil {
		t.Fatal(err)
	}
	r.signed, err = harness.Draft{CreatedAt: journaltest.T0, Territory: "311010000", Applicant: harness.Person{IIN: citizen.IIN, Surname: citizen.Surname, GivenName: citizen.Name}}.Sign(ckey)
	if err != nil {
		t.Fatal(err)
	}
	enricher, err := enrich.New(enrich.Config{Sources: []enrich.Source{r.records}, Now: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	bin, err := gateway.ParseBIN(pki.Must("provider-zhambyl-head").BIN)
	if err != nil {
		t.Fatal(err)
	}
	directory, err := dispatch.NewDirectory([]dispatch.Provider{{ID: "taraz", BIN: bin, TokenSHA256: [32]byte{1}, Sender: r.provider}})
	if err != nil {
		t.Fatal(err)
	}
	if r.copies, err = attachment.Open(filepath.Join(t.TempDir(), "attachments"), nil); err != nil {
		t.Fatal(err)
	}
	f, err := flow.New(flow.Config{Journal: r.store, Documents: r.copies, Forms: forms, Enricher: enricher, Provider: directory, Key: key, Notifier: r.notices, Now: r.clock, Open: func(doc []byte) (xmlsig.Element, error) {
		s, err := xmlsig.Verify(doc, xmlsig.Options{})
		if err != nil {
			return xmlsig.Element{}, err
		}
		return s.Root(), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := pipeline.New(pipeline.Config{Store: r.store, Shards: []string{"zhambyl"}, Steps: f.Steps(), Now: r.clock, Poll: 2 * time.Millisecond, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { e.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); s.Close() })
	return r
}

func (r *rig) accept(t *testing.T, n int) gateway.RequestID {
	t.Helper()
	steps := r.pass.Plan(journaltest.T0)
	d := &gateway.Dossier{Passport: r.pass.ID, Version: r.pass.Version, ReceivedAt: journaltest.T0, RegisteredAt: journaltest.T0, DueAt: steps[len(steps)-1].DueAt, Steps: steps, Consent: gateway.RecordKinds}
	item := journaltest.NewItem(n)
	item.Doc, item.Bodies = d.Encode(), map[string][]byte{gateway.BodyRequest: r.signed}
	it, err := r.store.Create(t.Context(), item)
	if err != nil {
		t.Fatal(err)
	}
	return it.ID
}

// wait moves the clock ten seconds at a time until the request is in the state.
func (r *rig) wait(t *testing.T, id gateway.RequestID, s gateway.State) journal.Item {
	t.Helper()
	var it journal.Item
	for range 2000 {
		var err error
		if it, err = r.store.Store.Get(t.Context(), id); err == nil && it.State == s {
			return it
		}
		r.mu.Lock()
		r.now = r.now.Add(10 * time.Second)
		r.mu.Unlock()
		time.Sleep(6 * time.Millisecond)
	}
	t.Fatalf("the request is %s, not %s: %+v", it.State, s, it.Events)
	return it
}

func (r *rig) result(t *testing.T, id gateway.RequestID) {
	t.Helper()
	body, _ := json.Marshal(dispatch.Message{Document: []byte("<result/>"), Result: &gateway.Result{Kind: gateway.ResultAssignment, Number: "1"}})
	if _, _, err := r.store.Signal(t.Context(), id, journal.Signal{Key: dispatch.SignalResult, Kind: dispatch.SignalResult, At: r.clock(), Body: body}); err != nil {
		t.Fatal(err)
	}
}

func count(it journal.Item, k gateway.EventKind) int {
	n := 0
	for _, e := range it.Events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// Whatever write of the way fails, before or after it happened, the request ends the same:
// each thing happened once, and the provider was sent the same bytes every time.
func TestAFailedWriteAnywhereChangesNothing(t *testing.T) {
	for _, mode := range []journaltest.Mode{journaltest.Before, journaltest.After} {
		for nth := range 6 {
			t.Run(string(mode)+", the advance number "+string(rune('1'+nth)), func(t *testing.T) {
				r := newRig(t)
				r.store.FailNth("Advance", nth, mode)
				id := r.accept(t, 1)
				r.wait(t, id, gateway.StateDelivered)
				r.result(t, id)
				it := r.wait(t, id, gateway.StateClosed)
				for _, k := range []gateway.EventKind{gateway.EventAccepted, gateway.EventEnriched, gateway.EventDelivered, gateway.EventResult, gateway.EventNotified} {
					if n := count(it, k); n != 1 {
						t.Errorf("%d events %s", n, k)
					}
				}
				if n := len(r.provider.got[id]); n != 1 {
					t.Errorf("the provider was sent %d different deliveries", n)
				}
			})
		}
	}
}

func TestALostAnswerIsRepeatedWithTheSameBytes(t *testing.T) {
	r := newRig(t)
	r.provider.failures = 3
	id := r.accept(t, 1)
	r.wait(t, id, gateway.StateDelivered)
	r.provider.mu.Lock()
	defer r.provider.mu.Unlock()
	if len(r.provider.got[id]) != 1 {
		t.Fatalf("%d different deliveries", len(r.provider.got[id]))
	}
	for _, n := range r.provider.got[id] {
		if n != 4 {
			t.Errorf("sent %d times", n)
		}
	}
}

// R8: mandatory records are waited for, records that may come later for a while, optional ones not at all.
func TestWhichRecordsAreWaitedFor(t *testing.T) {
	tests := []struct {
		name   string
		kind   gateway.RecordKind
		fail   int
		status gateway.FactStatus
	}{
		{"a mandatory one comes back", gateway.RecordProperty, 5, gateway.FactFound},
		{"one that may come later comes in time", gateway.RecordIncome, 3, gateway.FactFound},
		{"one that may come later does not come", gateway.RecordIncome, 1 << 20, gateway.FactUnavailable},
		{"an optional one is away", gateway.RecordAlimony, 1, gateway.FactUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.records.fail[tt.kind] = tt.fail
			it := r.wait(t, r.accept(t, 1), gateway.StateDelivered)
			d, err := gateway.ReadDossier(it.Doc)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(d.Records, func(n gateway.FactNote) bool { return n.Kind == tt.kind })
			if i < 0 || d.Records[i].Status != tt.status || len(d.Records) != len(gateway.RecordKinds) {
				t.Errorf("records %+v", d.Records)
			}
		})
	}
}

// The delivery becomes durable together with the records that are in it: after one write, and
// though the next one fails, the provider has it.
func TestTheDeliveryIsPackedWithTheRecords(t *testing.T) {
	r := newRig(t)
	r.store.FailNth("Advance", 1, journaltest.Before)
	id := r.accept(t, 1)
	for range 500 {
		r.provider.mu.Lock()
		sent := len(r.provider.got[id])
		r.provider.mu.Unlock()
		if sent > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the provider has nothing after one write")
}

// A result that overtakes the acknowledgement of its own delivery ends the way all the same.
func TestAResultBeforeTheDeliveryIsRecorded(t *testing.T) {
	r := newRig(t)
	r.provider.failures = 1 << 20
	id := r.accept(t, 1)
	r.wait(t, id, gateway.StateEnriched)
	r.result(t, id)
	it := r.wait(t, id, gateway.StateClosed)
	if count(it, gateway.EventResult) != 1 {
		t.Errorf("events %+v", it.Events)
	}
}

// Retention is the passport's: the documents go, the proof stays, and then it goes too.
func TestRetention(t *testing.T) {
	r := newRig(t)
	id := r.accept(t, 1)
	if err := r.copies.Put(id, [][]byte{[]byte("a copy")}); err != nil {
		t.Fatal(err)
	}
	r.wait(t, id, gateway.StateDelivered)
	r.result(t, id)
	closed := r.wait(t, id, gateway.StateClosed)
	r.quarantine(t, id)
	days := func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now = closed.Updated.AddDate(0, 0, n)
	}
	settle := func() journal.Item {
		t.Helper()
		time.Sleep(100 * time.Millisecond)
		it, err := r.store.Store.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	days(r.pass.Retention.DocumentsDays - 1)
	if it := settle(); it.State != gateway.StateClosed || it.Bodies[gateway.BodyRequest].Erased {
		t.Fatalf("a day before: %s", it.State)
	}
	days(r.pass.Retention.DocumentsDays)
	it := r.wait(t, id, gateway.StateErased)
	for name, note := range it.Bodies {
		if !note.Erased || note.SHA256 == [32]byte{} {
			t.Errorf("%s: %+v", name, note)
		}
		if _, err := r.store.Body(t.Context(), id, name); !errors.Is(err, journal.ErrErased) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(it.Bodies) < 4 {
		t.Errorf("only %d bodies were there to erase", len(it.Bodies))
	}
	if sums, err := r.copies.Sums(id); err != nil || len(sums) != 0 {
		t.Errorf("copies: %v, %v", sums, err)
	}
	d, err := gateway.ReadDossier(it.Doc)
	if err != nil || d.Result == nil || d.Result.Kind != gateway.ResultAssignment || d.Result.Amount != "" || d.Result.Explanation != nil || count(it, gateway.EventErased) != 1 {
		t.Errorf("dossier %+v, %v", d.Result, err)
	}
	// What still comes for an erased request is noted and not kept.
	before := len(it.Bodies)
	r.quarantine(t, id)
	if it = settle(); len(it.Bodies) != before || it.State != gateway.StateErased {
		t.Errorf("%d bodies after a late document, %s", len(it.Bodies), it.State)
	}
	days(r.pass.Retention.ProofDays)
	for range 500 {
		if _, err = r.store.Store.Get(t.Context(), id); errors.Is(err, journal.ErrNotFound) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the proof outlived its time: %v", err)
}

// quarantine leaves a provider's document that did not verify.
func (r *rig) quarantine(t *testing.T, id gateway.RequestID) {
	t.Helper()
	doc := []byte(rand.Text())
	body, _ := json.Marshal(dispatch.Message{Document: doc, Reason: gateway.DigestMismatch})
	if _, fresh, err := r.store.Signal(t.Context(), id, journal.Signal{Key: "quarantine/" + string(doc), Kind: dispatch.SignalQuarantine, At: r.clock(), Body: body}); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
}
