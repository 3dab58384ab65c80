package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/shep"
)

// withCalendar starts the lab's gateway again with a calendar.yaml of its own.
func (l *lab) withCalendar(t *testing.T, data string) {
	t.Helper()
	l.svc.Close()
	if err := os.MkdirAll(filepath.Join(l.dir, "schemas"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	conf = bytes.Replace(conf, []byte("schemas: \"\""), []byte("schemas: schemas"), 1)
	for name, content := range map[string][]byte{l.config: conf, filepath.Join(l.dir, "schemas", "calendar.yaml"): []byte(data)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
}

// awaitReady returns what /readyz says once it is ready.
func (l *lab) awaitReady(t *testing.T) (probes map[string]string) {
	t.Helper()
	status, _, body := get(t, l.admin+"/readyz")
	for end := time.Now().Add(2 * time.Minute); status != http.StatusOK && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		status, _, body = get(t, l.admin+"/readyz") // the lists are still being loaded
	}
	var ready struct{ Probes map[string]string }
	if err := json.Unmarshal(body, &ready); err != nil || status != http.StatusOK {
		t.Fatalf("/readyz: %d %s, %v", status, body, err)
	}
	return ready.Probes
}

// R11, R12: a request whose term reaches a year without data is accepted with dates by the law alone,
// told to be provisional wherever they stand. When the data come, it keeps the promise it was given.
func TestTheEndOfTheCalendarIsNoCliff(t *testing.T) {
	l, _ := newTestLab(t, time.Date(2026, 12, 28, 5, 0, 0, 0, time.UTC), nil)
	const year2026 = "2026: {kurban_ait: 2026-05-27, moved: []}\n"
	l.withCalendar(t, year2026)

	first := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	if due := first.DueAt.Format("2006-01-02 15:04"); due != "2027-01-06 10:30" || !first.Provisional {
		t.Errorf("due %s, provisional %v", due, first.Provisional)
	}
	if !strings.Contains(first.Notice, "2027 жылы демалыс күндерін ауыстыру") {
		t.Errorf("the notice does not say why: %s", first.Notice)
	}
	signed, err := base64.StdEncoding.DecodeString(first.SignedReceipt)
	if err != nil || !bytes.Contains(signed, []byte("</dueAt><provisional>true</provisional>")) {
		t.Errorf("the signed receipt: %s, %v", signed, err)
	}
	validate(t, "receipt.xsd", signed)
	if says := l.awaitReady(t)["calendar"]; !strings.Contains(says, "no data from 1 January 2027") {
		t.Errorf("/readyz says of the calendar: %s", says)
	}
	var out, errs bytes.Buffer
	code := run([]string{"config", "check", l.config}, &out, &errs)
	if code != 0 || strings.Count(errs.String(), "schemas: calendar.yaml has no data from 1 January 2027") != 1 {
		t.Errorf("config check: %d %s %s", code, &out, &errs)
	}

	// The government moves 6 January to Saturday the 9th, and the gateway learns of it.
	l.withCalendar(t, year2026+"2027: {kurban_ait: 2027-05-16, moved: [{off: 2027-01-06, worked: 2027-01-09}]}\n")
	second := l.mustAccept(t, l.draft("citizen-02", taraz), "citizen-02")
	if due := second.DueAt.Format("2006-01-02 15:04"); due != "2027-01-08 10:30" || second.Provisional {
		t.Errorf("with the data: due %s, provisional %v", due, second.Provisional)
	}
	p, err := l.progress(first.ID)
	if err != nil || !p.DueAt.Equal(first.DueAt) || !p.Provisional {
		t.Errorf("the first request is due %v now, provisional %v, %v", p.DueAt, p.Provisional, err)
	}
	if says := l.awaitReady(t)["calendar"]; says != "ok" {
		t.Errorf("with the data, /readyz says of the calendar: %s", says)
	}
	question := text(`<statusRequest xmlns="` + channel.Namespace + `"><requestId>` + string(first.ID) + `</requestId></statusRequest>`)
	status := mustAsk[*shep.Response](t, l, "sync", "", l.message(question))
	if !bytes.Contains(status.Data.Document, []byte("</dueAt><provisional>true</provisional><step>")) {
		t.Errorf("through SHEP: %s", status.Data.Document)
	}
	validate(t, "exchange.xsd", status.Data.Document)
	var marked []bool
	for _, s := range p.Steps {
		marked = append(marked, s.Provisional)
	}
	if !slices.Equal(marked, []bool{false, false, true, true, true}) {
		t.Errorf("provisional steps: %v", marked)
	}
	token, _ := l.citizenToken(l.pki.Must("citizen-01").IIN, 10*time.Minute)
	_, _, body := get(t, l.base+"/cabinet/api/requests/"+string(first.ID), "Authorization", "Bearer "+token)
	var k cabinet.Case
	if err := json.Unmarshal(body, &k); err != nil || !k.Provisional || !strings.Contains(k.Notice[gateway.Russian], "перенос") {
		t.Errorf("cabinet %s, %v", body, err)
	}
	done := l.await(t, first.ID, func(p intake.Progress) bool { return p.State == gateway.StateClosed })
	if !done.DueAt.Equal(first.DueAt) || done.Deadline != gateway.Met {
		t.Errorf("closed: due %v, %s", done.DueAt, done.Deadline)
	}
}
