package main

import (
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
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
