package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/intake"
)

// changedLab is a lab whose gateway starts from a changed configuration.
func changedLab(t *testing.T, pairs ...string) *lab {
	t.Helper()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	good, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.config, []byte(strings.NewReplacer(pairs...).Replace(string(good))), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// A gateway that works one region accepts nothing for another: nobody would ever work on it.
func TestNothingIsAcceptedForARegionThatIsNotWorked(t *testing.T) {
	l := changedLab(t, "shards: []", "shards: [zhambyl]")
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	if a := l.mustSubmit(t, l.draft("citizen-01", petropavl), "citizen-01"); a.status != http.StatusUnprocessableEntity || a.problem.Reason != gateway.TerritoryUnknown {
		t.Errorf("%d %s", a.status, a.body)
	}
	l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
}

// The same content signed by somebody else is not the submission that was accepted.
func TestAnotherSignatureUnderAcceptedContentIsJudged(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	d := l.draft("citizen-01", taraz)
	d.MessageID = harness.NewMessageID()
	l.mustAccept(t, d, "citizen-01")
	for _, signer := range []string{"citizen-02", "citizen-other-ca", "head"} {
		if a := l.mustSubmit(t, d, signer); a.status != http.StatusUnprocessableEntity {
			t.Errorf("signed by %s: %d %s", signer, a.status, a.body)
		}
	}
	if a := l.mustSubmit(t, d, "citizen-01"); a.status != http.StatusAccepted {
		t.Errorf("signed by the citizen: %d %s", a.status, a.body)
	}
}

// An operator must not lose sight when the journal refuses: the other metrics stay.
func TestMetricsSurviveAJournalThatRefuses(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	if err := l.svc.store.Close(); err != nil {
		t.Fatal(err)
	}
	status, _, body := get(t, l.admin+"/metrics")
	if status != http.StatusOK || !strings.Contains(string(body), "go_goroutines") {
		t.Errorf("%d %s", status, body)
	}
}

// report sends a provider's document, signed by its head, and returns the answer.
func (l *lab) report(t *testing.T, kind, inner string) (int, gateway.Reason) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(l.dir, "taraz.token"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := l.key("provider-zhambyl-head")
	if err != nil {
		t.Fatal(err)
	}
	doc := fmt.Sprintf(`<%[1]s xmlns="urn:egov-gateway:%[1]s:1">%[2]s</%[1]s>`, kind, inner)
	status, _, body := call(t, http.MethodPost, l.base+"/v1/providers/taraz/"+kind+"s", mustSign(t, key, []byte(doc)), "Content-Type", "application/xml", "Authorization", "Bearer "+string(token))
	if status == http.StatusOK {
		return status, ""
	}
	return status, problemOf(t, body).Reason
}

// R12: the instants that a provider claims lie between the request and now; a step that claims
// another leaves the place of the true one free.
func TestR12ClaimedInstantsAreJudged(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	step := func(at string) string {
		return fmt.Sprintf("<requestId>%s</requestId><code>register</code><completedAt>%s</completedAt>", r.ID, at)
	}
	result := func(at string) string {
		return fmt.Sprintf(`<requestId>%s</requestId><number>1</number><decidedAt>%s</decidedAt><providerBin>%s</providerBin><providerName><kk>A</kk><ru>A</ru></providerName>
<refusal><ground>data-unreliable</ground><explanation><kk>A</kk><ru>A</ru></explanation></refusal>`, r.ID, at, l.pki.Must("provider-zhambyl-head").BIN)
	}
	for name, at := range map[string]string{"no instant at all": "0001-01-01T00:00:00Z", "before the request": "2026-11-20T10:00:00+05:00", "in the future": "2026-11-24T10:00:00+05:00"} {
		if status, reason := l.report(t, "step", step(at)); status != http.StatusUnprocessableEntity || reason != gateway.FormInvalid {
			t.Errorf("step %s: %d %s", name, status, reason)
		}
		if status, reason := l.report(t, "result", result(at)); status != http.StatusUnprocessableEntity || reason != gateway.FormInvalid {
			t.Errorf("result %s: %d %s", name, status, reason)
		}
	}
	now := l.clock.Now().Format(time.RFC3339)
	if status, reason := l.report(t, "step", step(now)); status != http.StatusOK {
		t.Errorf("the true step: %d %s", status, reason)
	}
	if status, reason := l.report(t, "result", result(now)); status != http.StatusOK {
		t.Errorf("the true result: %d %s", status, reason)
	}
}

// R13: a refusal is reasoned in words; blanks are none. R19: neither are they an answer.
func TestR13BlanksAreNoReasons(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	for name, words := range map[string][3]string{"number": {" ", "A", "A"}, "name of the provider": {"1", "\t", "A"}, "explanation": {"1", "A", " \n "}} {
		inner := fmt.Sprintf(`<requestId>%s</requestId><number>%s</number><decidedAt>%s</decidedAt><providerBin>%s</providerBin><providerName><kk>%s</kk><ru>A</ru></providerName>
<refusal><ground>data-unreliable</ground><explanation><kk>A</kk><ru>%s</ru></explanation></refusal>`, r.ID, words[0], l.clock.Now().Format(time.RFC3339), l.pki.Must("provider-zhambyl-head").BIN, words[1], words[2])
		if status, reason := l.report(t, "result", inner); status != http.StatusUnprocessableEntity || reason != gateway.FormInvalid {
			t.Errorf("a blank %s: %d %s", name, status, reason)
		}
	}
}

// A good document that the gateway's own configuration keeps from being read is asked for again,
// not held against the provider.
func TestOurOwnFaultQuarantinesNothing(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	l.await(t, r.ID, func(p intake.Progress) bool { return p.State == gateway.StateDelivered })
	l.svc.Close() // a running gateway remembers what it wrote
	db, err := sql.Open("sqlite", filepath.Join(l.dir, "data", "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE item SET doc = CAST(replace(CAST(doc AS TEXT), '106-2016.1', 'taken-away') AS BLOB)"); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	status, reason := l.report(t, "step", fmt.Sprintf("<requestId>%s</requestId><code>register</code><completedAt>%s</completedAt>", r.ID, l.clock.Now().Format(time.RFC3339)))
	var kept int
	if err := db.QueryRow("SELECT count(*) FROM inbox WHERE kind = 'quarantine'").Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if status != http.StatusServiceUnavailable || reason != gateway.ConfigInvalid || kept != 0 {
		t.Errorf("%d %s, %d quarantined", status, reason, kept)
	}
}

// R11, R16: the portal works round the clock, and days are those of the country: a power of
// attorney issued today is not one of tomorrow in the first five hours of the day.
func TestR16DaysAreThoseOfTheCountry(t *testing.T) {
	l, _ := newTestLab(t, time.Date(2026, 11, 22, 21, 0, 0, 0, time.UTC), nil) // Monday 23.11., 02:00 in Almaty
	rep := l.pki.Must("citizen-02")
	key, err := l.key("citizen-02")
	if err != nil {
		t.Fatal(err)
	}
	for issued, want := range map[string]gateway.Reason{"2026-11-23": "", "2026-11-24": gateway.FormInvalid} {
		d := l.draft("citizen-01", taraz)
		d.Representative = &harness.Attorney{Person: harness.Person{IIN: rep.IIN, Surname: rep.Surname, GivenName: rep.Name}, ValidUntil: "2027-01-01"}
		d.Documents = []harness.Document{{Name: "poa.pdf", Kind: "power-of-attorney", MediaType: "application/pdf", Data: harness.PDF("power of attorney")}}
		doc := strings.Replace(string(d.XML()), "<issuedOn>2026-01-15<", "<issuedOn>"+issued+"<", 1)
		a, err := l.submitSigned(mustSign(t, key, []byte(doc)), d.Documents)
		if err != nil || a.problem.Reason != want {
			t.Errorf("issued on %s: %d %s %v", issued, a.status, a.body, err)
		}
	}
}

// A provider's token alone fills at most twenty places, however quickly the documents come.
func TestTheQuarantineIsBoundedUnderAFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	l, _ := newTestLab(t, monday, nil)
	if err := l.world.SetFaults("gbdrn", statesim.Fault{Kind: statesim.Unavailable}); err != nil {
		t.Fatal(err)
	}
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	key, err := l.key("citizen-02")
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(l.dir, "taraz.token"))
	if err != nil {
		t.Fatal(err)
	}
	docs := make([][]byte, 60)
	for i := range docs {
		docs[i] = mustSign(t, key, []byte(fmt.Sprintf(`<step xmlns="urn:egov-gateway:step:1"><requestId>%s</requestId><code>s%d</code></step>`, r.ID, i)))
	}
	var wg sync.WaitGroup
	for _, doc := range docs {
		wg.Go(func() {
			req, _ := http.NewRequest(http.MethodPost, l.base+"/v1/providers/taraz/steps", bytes.NewReader(doc))
			req.Header = http.Header{"Content-Type": {"application/xml"}, "Authorization": {"Bearer " + string(token)}}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("%d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	db, err := sql.Open("sqlite", filepath.Join(l.dir, "data", "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var kept int
	if err := db.QueryRow("SELECT count(*) FROM inbox WHERE kind = 'quarantine'").Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if kept == 0 || kept > dispatch.MaxQuarantined {
		t.Errorf("%d documents were kept", kept)
	}
}
