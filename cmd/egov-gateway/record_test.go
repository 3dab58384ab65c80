package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/mint"
	"egov-gateway/gateway/intake"
)

// What is recorded of requests of other people holds none of their IINs, names, addresses or
// accounts, and a fresh gateway gives the same answers to it.
func TestARecordingHoldsNothingPersonal(t *testing.T) {
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	// People who are not in the test PKI: whoever finds one of them in the recording found a leak.
	gen, err := mint.New(mint.Config{PKI: pki, Clock: corpusClock, Seed: 99, Citizens: 60})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, e := range pki.Entries() {
		known[e.IIN] = true
	}
	name := filepath.Join(t.TempDir(), "recorded.zip")
	rec, err := newRecorder(name, corpusClock, 1000)
	if err != nil {
		t.Fatal(err)
	}
	l := replayLab(t, corpusClock)
	l.svc.Close()
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	c.taken = rec.taken
	if l.svc, err = start(c, l.clock.Now, l.log, nil); err != nil {
		t.Fatal(err)
	}
	var secrets []string
	want := map[gateway.Reason]int{}
	send := func(doc []byte, docs []harness.Document) {
		t.Helper()
		a, err := l.submitSigned(doc, docs)
		if err != nil {
			t.Fatal(err)
		}
		if a.status == http.StatusAccepted {
			want[""]++
		} else {
			want[a.problem.Reason]++
		}
	}
	enough := errors.New("enough")
	sent := 0
	err = gen.Requests(1<<20, 2, func(r mint.Request) error {
		if len(r.Document) == 0 || len(r.Document) > 200<<10 || r.Entry.After != "" {
			return nil
		}
		if sent++; sent > 260 {
			return enough
		}
		send(r.Document, r.Attachments)
		if iin := r.Entry.Applicant; iin != "" && !known[iin] {
			secrets = append(secrets, iin)
			for _, tag := range []string{"surname", "messageId"} {
				if _, rest, ok := bytes.Cut(r.Document, []byte("<"+tag+">")); ok {
					v, _, _ := bytes.Cut(rest, []byte("<"))
					secrets = append(secrets, string(v))
				}
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		t.Fatal(err)
	}
	// Family, representative, account and address of one more.
	key, err := l.key("citizen-02")
	if err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-02", taraz)
	d.IBAN, d.CreatedAt = "KZ75125KZT1001300335", l.clock.Now()
	d.Family = []harness.Person{{IIN: secrets[0], Surname: "ЖАСЫРЫНОВА", GivenName: "ҚҰПИЯ"}}
	form := bytes.Replace(d.XML(), []byte("<street>Абай</street>"), []byte("<street>Құпия көше</street>"), 1)
	send(mustSign(t, key, form), nil)
	secrets = append(secrets, "KZ75125KZT1001300335", "ЖАСЫРЫНОВА", "ҚҰПИЯ", "Құпия көше", d.MessageID)
	if len(secrets) < 60 {
		t.Fatalf("only %d things to look for", len(secrets))
	}
	if err := rec.finish(); err != nil {
		t.Fatal(err)
	}
	// Every byte of the recording, unpacked.
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if s != "" && bytes.Contains(b, []byte(s)) {
				t.Errorf("%s holds %q", f.Name, s)
			}
		}
	}
	// The expected verdicts are those that were given.
	r, err := corpus.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Awaited && rec.recorded[gateway.ReplayConflict] > 0 {
			continue // the first of a pair that was recorded for the second's refusal
		}
		want[e.Admission.Reason]--
	}
	for reason, n := range want {
		if n != int(rec.skipped[reason]) {
			t.Errorf("%q: %d more at the door than in the recording, %d were counted only", reason, n, rec.skipped[reason])
		}
	}
	fresh := replayLab(t, corpusClock)
	out, _ := mustRun(t, 0, "replay", "--url", fresh.base, "--token-file", filepath.Join(fresh.dir, "portal.token"), "--password-file", filepath.Join(fresh.dir, "shep.password"), name)
	if !strings.Contains(out, "entries as expected") {
		t.Error(out)
	}
}

// A recorder that cannot keep up loses, and counts, but never holds a request up.
func TestARecorderNeverWaits(t *testing.T) {
	r := &recorder{traces: make(chan recordedTrace), limit: 100}
	start := time.Now()
	for range 150 {
		r.taken(intake.Submission{Door: "rest", Document: []byte("<a/>")}, gateway.Errorf(gateway.SignatureMissing, "none"))
	}
	if n := r.lost.Load(); n != 100 || time.Since(start) > time.Minute {
		t.Errorf("%d lost in %v", n, time.Since(start))
	}
}
