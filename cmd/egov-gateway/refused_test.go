package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
)

// What is refused leaves no copies on the disk.
func TestARefusedRequestLeavesNoDocuments(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	copies := func() int {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(l.dir, "data", "attachments", "??", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	first := l.draft("citizen-01", petropavl)
	first.MessageID = harness.NewMessageID()
	l.mustAccept(t, first, "citizen-01")
	kept := copies()
	if kept == 0 {
		t.Fatal("the request came without documents")
	}
	for n := range 3 {
		again := l.draft("citizen-02", petropavl)
		again.MessageID = first.MessageID
		for i := range again.Documents {
			again.Documents[i].Data = harness.PDF(strings.Repeat("other ", n+1))
		}
		a, err := l.submit(again, "citizen-02")
		if err != nil || a.status != http.StatusConflict || problemOf(t, a.body).Reason != gateway.ReplayConflict {
			t.Fatalf("the same message id: %d %s, %v", a.status, a.body, err)
		}
	}
	if n := copies(); n != kept {
		t.Errorf("%d files lie in the attachments, %d belong to what was accepted", n, kept)
	}
}

// Whoever guesses is counted at every address of the door, so that the operator is told.
func TestGuessesAreCountedAtEveryAddress(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	const series = `egov_gateway_requests_total{duplicate="false",portal="none",reason="door.portal_unauthenticated",service="none",shard="none"}`
	id := strings.Repeat("0", 32)
	before := max(0, l.sample(t, series))
	for _, path := range []string{"/v1/requests/" + id, "/v1/requests/" + id + "/receipt", "/v1/requests/" + id + "/result"} {
		if status, _, body := get(t, l.base+path, "Authorization", "Bearer a-guess-of-a-token"); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, body)
		}
		before++
		if n := l.sample(t, series); n != before {
			t.Errorf("%s: %v guesses are counted, want %v", path, n, before)
		}
	}
}

// The header's word about letters goes before the document's own, so another one than UTF-8 is refused; and
// who is refused at SHEP's door has an address in the log.
func TestWhatTheHeaderSaysOfLetters(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	doc := l.envelope(t, "", l.message(text("<x/>")))
	for kind, taken := range map[string]bool{"text/xml": true, "text/xml; charset=utf-8": true, `text/xml; charset="UTF-8"`: true, "application/xml; charset=us-ascii": true,
		"text/xml; charset=windows-1251": false, "text/xml; charset=utf-16": false, "text/plain": false} {
		_, _, body := call(t, http.MethodPost, l.base+"/shep/sync", doc, "Content-Type", kind)
		if refused := strings.Contains(string(body), string(gateway.MediaType)); refused == taken {
			t.Errorf("%s: %s", kind, body)
		}
	}
	if !strings.Contains(logs.String(), `"remote":"127.0.0.1:`) {
		t.Error("the log names no address")
	}
}
