package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/xmlsig"
)

// monday is a working hour of an ordinary Monday: 10:00 in Almaty.
var monday = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

// logBuffer keeps the gateway's log, to look for what must not be in it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newTestLab(t *testing.T, at time.Time, levels map[string]statesim.Level) (*lab, *logBuffer) {
	t.Helper()
	var logs logBuffer
	l, err := newLab(t.TempDir(), at, levels, slog.New(slog.NewJSONHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	return l, &logs
}

func (l *lab) mustSubmit(t *testing.T, d harness.Draft, signer string) answer {
	t.Helper()
	a, err := l.submit(d, signer)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (l *lab) mustAccept(t *testing.T, d harness.Draft, signer string) intake.Receipt {
	t.Helper()
	a := l.mustSubmit(t, d, signer)
	if a.status != http.StatusAccepted {
		t.Fatalf("not accepted: %d %s", a.status, a.body)
	}
	return a.receipt
}

// await lets time pass until the condition on a request holds.
func (l *lab) await(t *testing.T, id gateway.RequestID, until func(intake.Progress) bool) intake.Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var p intake.Progress
	err := l.pass(ctx, func() bool {
		var err error
		p, err = l.progress(id)
		return err == nil && until(p)
	}, nil)
	if err != nil {
		t.Fatalf("%v; state %s, timeline %+v", err, p.State, p.Timeline)
	}
	return p
}

func closed(p intake.Progress) bool { return p.State == gateway.StateClosed }

// get asks any address, with headers in pairs.
func get(t *testing.T, url string, header ...string) (int, http.Header, []byte) {
	t.Helper()
	return call(t, http.MethodGet, url, nil, header...)
}

func call(t *testing.T, method, url string, body []byte, header ...string) (int, http.Header, []byte) {
	t.Helper()
	return callAs(t, http.DefaultClient, method, url, body, header...)
}

// callAs is call by a client of the test's own.
func callAs(t *testing.T, client *http.Client, method, url string, body []byte, header ...string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

func problemOf(t *testing.T, body []byte) intake.Problem {
	t.Helper()
	var p intake.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return p
}

// R1: only an authenticated portal is served, and a failed sign-in gives the message of «процесс 2».
func TestR1OnlyAnAuthenticatedPortal(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	for name, token := range map[string]string{"no token": "", "a wrong token": "Bearer " + secret(), "another scheme": "Basic " + l.token, "a token with a blank": "Bearer  " + l.token} {
		status, header, body := call(t, http.MethodPost, l.base+"/v1/requests", []byte("<request/>"), "Content-Type", "application/xml", "Authorization", token, "Accept-Language", "ru")
		p := problemOf(t, body)
		if status != http.StatusUnauthorized || p.Reason != gateway.PortalUnauthenticated || header.Get("WWW-Authenticate") == "" || !strings.Contains(p.Title, "Отказ в авторизации") {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	// The citizen's door: expired, foreign, endless and unsigned tokens.
	iin := l.pki.Must("citizen-01").IIN
	good, _ := l.citizenToken(iin, 10*time.Minute)
	endless, _ := l.citizenToken(iin, 48*time.Hour)
	expired, _ := l.citizenToken(iin, -time.Hour)
	none := strings.Join([]string{base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)), strings.Split(good, ".")[1], ""}, ".")
	for name, token := range map[string]string{"no token": "", "an expired one": expired, "one that lives too long": endless, "an unsigned one": none, "one with a changed signature": good[:len(good)-6] + "AAAAAA"} {
		status, _, body := get(t, l.base+"/cabinet/api/requests", "Authorization", "Bearer "+token)
		if p := problemOf(t, body); status != http.StatusUnauthorized || p.Reason != gateway.CitizenUnauthenticated {
			t.Errorf("%s: %d %+v", name, status, p)
		}
	}
	if status, _, body := get(t, l.base+"/cabinet/api/requests", "Authorization", "Bearer "+good); status != http.StatusOK {
		t.Errorf("a good token: %d %s", status, body)
	}
}

// R2: the form is checked for structure and format, every fault is named at once.
func TestR2TheFormIsChecked(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-01", taraz)
	d.IBAN = "KZ87125KZT5004100100"
	doc := bytes.Replace(d.XML(), []byte("<rooms>2</rooms>"), []byte("<rooms>two</rooms><pool/>"), 1)
	signed := mustSign(t, key, doc)
	a, err := l.submitSigned(signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	var faults []string
	for _, f := range a.problem.Faults {
		faults = append(faults, f.Path+" "+f.Rule)
	}
	want := []string{"housing/rooms type", "housing/monthlyCost missing", "housing/pool unexpected", "bankAccount/iban iban"}
	if a.status != http.StatusUnprocessableEntity || a.problem.Reason != gateway.FormInvalid || !slices.Equal(faults, want) {
		t.Errorf("%d %s, faults %q", a.status, a.problem.Reason, faults)
	}
}

// R3, R4a, R4b, R4c, R5: who signed, with which certificate; the refusal names the cause and nothing goes further.
func TestR4R5WhoSigned(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	tests := []struct {
		name, citizen, signer string
		want                  gateway.Reason
	}{
		{"R4a another citizen's signature", "citizen-01", "citizen-02", gateway.IINMismatch},
		{"R4a an employee's key is not a citizen's", "citizen-01", "employee", gateway.ExtendedKeyUsage},
		{"R4a a head's key is not a citizen's", "citizen-01", "head", gateway.ExtendedKeyUsage},
		{"R4a two IINs in one certificate", "citizen-two-iins", "citizen-two-iins", gateway.IINMultiple},
		{"R4a no IIN in the certificate", "citizen-01", "citizen-no-iin", gateway.IINMissing},
		{"R4b expired", "citizen-expired", "citizen-expired", gateway.CertificateExpired},
		{"R4b not yet valid", "citizen-not-yet-valid", "citizen-not-yet-valid", gateway.CertificateNotYetValid},
		{"R4c revoked", "citizen-revoked", "citizen-revoked", gateway.Revoked},
		{"R4c suspended", "citizen-suspended", "citizen-suspended", gateway.Suspended},
		{"R4c never issued", "citizen-never-issued", "citizen-never-issued", gateway.NeverIssued},
		{"R4c the issuing authority was revoked", "citizen-revoked-ca", "citizen-revoked-ca", gateway.IssuerRevoked},
		{"R4a another citizen's GOST signature", "citizen-01", "gost-citizen-02", gateway.IINMismatch},
		{"R4b expired, GOST", "gost-citizen-expired", "gost-citizen-expired", gateway.CertificateExpired},
		{"R4c revoked, GOST", "gost-citizen-revoked", "gost-citizen-revoked", gateway.Revoked},
		{"R4c suspended, GOST", "gost-citizen-suspended", "gost-citizen-suspended", gateway.Suspended},
		{"a GOST authentication key", "gost-citizen-authentication", "gost-citizen-authentication", gateway.KeyUsage},
		{"an authentication key", "citizen-authentication", "citizen-authentication", gateway.KeyUsage},
		{"an authority nobody trusts", "citizen-other-ca", "citizen-other-ca", gateway.NoIssuer},
		{"an authority with a trusted name", "citizen-same-name-ca", "citizen-same-name-ca", gateway.CertificateSignature},
		{"an OCSP responder's key", "citizen-01", "ocsp-responder", gateway.ExtendedKeyUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := l.mustSubmit(t, l.draft(tt.citizen, taraz), tt.signer)
			if a.status != http.StatusUnprocessableEntity || a.problem.Reason != tt.want {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if a.problem.Verdict != gateway.Refused || len(a.problem.Checks) != 6 {
				t.Errorf("verdict %q, %d checks", a.problem.Verdict, len(a.problem.Checks))
			}
			for _, lang := range gateway.Languages {
				if a.problem.Titles[lang] == "" {
					t.Errorf("no sentence in %s", lang)
				}
			}
		})
	}
	t.Run("R3 not signed at all", func(t *testing.T) {
		a, err := l.submitSigned(l.draft("citizen-01", taraz).XML(), nil)
		if err != nil || a.problem.Reason != gateway.SignatureMissing {
			t.Errorf("%d %s, %v", a.status, a.body, err)
		}
	})
	t.Run("R3 changed after signing", func(t *testing.T) {
		key, _ := l.key("citizen-01")
		signed, err := l.draft("citizen-01", taraz).Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.submitSigned(bytes.Replace(signed, []byte("21000"), []byte("81000"), 1), nil)
		if err != nil || a.problem.Reason != gateway.DigestMismatch {
			t.Errorf("%d %s, %v", a.status, a.body, err)
		}
	})
	t.Run("R5 nothing went further", func(t *testing.T) {
		if calls := l.world.Calls(); len(calls) != 0 {
			t.Errorf("%d records were fetched for refused requests", len(calls))
		}
		st, err := l.svc.store.Stats(t.Context())
		if err != nil || len(st.ByShard) != 0 {
			t.Errorf("refused requests were kept: %+v, %v", st, err)
		}
		audit, err := l.svc.store.Recent(t.Context(), 100)
		if err != nil || len(audit) != len(tests)+2 {
			t.Errorf("%d audit entries, want %d: %v", len(audit), len(tests)+2, err)
		}
	})
	noPersonalData(t, l, logs)
}

// noPersonalData looks for every IIN and surname of the test PKI in the log and the metrics.
func noPersonalData(t *testing.T, l *lab, logs *logBuffer) {
	t.Helper()
	_, _, metrics := get(t, l.admin+"/metrics")
	for where, text := range map[string]string{"log": logs.String(), "metrics": string(metrics)} {
		for _, e := range l.pki.Entries() {
			if e.IIN != "" && strings.Contains(text, e.IIN) {
				t.Errorf("the IIN of %s stands in the %s", e.ID, where)
			}
			if len(e.Surname) > 6 && strings.Contains(text, e.Surname) {
				t.Errorf("the surname of %s stands in the %s", e.ID, where)
			}
		}
	}
}

// R6, R7, R8, R10, R12, R17: the whole way, in both regions, both results.
func TestTheWholeWay(t *testing.T) {
	l, logs := newTestLab(t, monday, map[string]statesim.Level{"citizen-02": statesim.High})
	tests := []struct {
		name, citizen, territory, due string
		result                        gateway.ResultKind
		steps                         []string
	}{
		{"North Kazakhstan, assignment", "citizen-01", petropavl, "2026-12-02T12:35:00+05:00", gateway.ResultAssignment, []string{"register", "hand-over", "resolution", "draft", "decision", "send"}},
		{"North Kazakhstan, assignment, signed with a GOST key", "gost-citizen-01", petropavl, "", gateway.ResultAssignment, []string{"register", "hand-over", "resolution", "draft", "decision", "send"}},
		{"Zhambyl, reasoned refusal", "citizen-02", taraz, "2026-12-01T10:30:00+05:00", gateway.ResultRefusal, []string{"register", "resolution", "draft", "decision", "send"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l.clock.HopTo(monday)
			d := l.draft(tt.citizen, tt.territory)
			if tt.name != tests[0].name {
				d.CreatedAt = l.clock.Now()
			}
			r := l.mustAccept(t, d, tt.citizen)
			if tt.name == tests[0].name && r.DueAt.Format("2006-01-02T15:04") != tt.due[:16] {
				t.Errorf("R10 due %v, want %s", r.DueAt, tt.due)
			}
			p := l.await(t, r.ID, closed)

			// R8: every record of the decree was asked for on behalf of this request.
			var asked []string
			for _, c := range l.world.Calls() {
				if c.Correlation == string(r.ID) {
					asked = append(asked, c.Kind)
				}
			}
			slices.Sort(asked)
			want := []string{}
			for _, k := range gateway.RecordKinds {
				want = append(want, string(k))
			}
			slices.Sort(want)
			if !slices.Equal(asked, want) {
				t.Errorf("R8 asked %v, want %v", asked, want)
			}
			for _, n := range p.Records {
				if n.Source == "" || n.MessageID == "" || n.ObservedAt.IsZero() {
					t.Errorf("R8 a record without its origin: %+v", n)
				}
			}
			// R6: the provider did the work once.
			st := l.world.State().Requests[string(r.ID)]
			if st.Effects != 1 {
				t.Errorf("R6 %d effects at the provider", st.Effects)
			}
			// R12: each step was reported and none was late.
			var steps []string
			for _, s := range p.Steps {
				steps = append(steps, s.Code)
				if s.CompletedAt.IsZero() || s.CompletedAt.After(s.DueAt) || s.Overdue {
					t.Errorf("R12 step %+v", s)
				}
			}
			if !slices.Equal(steps, tt.steps) {
				t.Errorf("R12 steps %v", steps)
			}
			// R7, R17: the result, its verdict, and the cabinet.
			if p.Result == nil || p.Result.Kind != tt.result || p.Result.Verdict.Status != gateway.Verified || len(p.Result.Verdict.Checks) != 6 {
				t.Fatalf("R17 result %+v", p.Result)
			}
			l.checkCabinet(t, tt.citizen, r, tt.result)
		})
	}
	t.Run("the portal was told of each result once", func(t *testing.T) {
		if n := l.world.Notices(); len(n) != len(tests) {
			t.Errorf("%d notices", len(n))
		}
	})
	noPersonalData(t, l, logs)
}

// checkCabinet reads the citizen's own view: the notice, the result with its verdict, the
// original; and that nobody else sees it (R7, R10).
func (l *lab) checkCabinet(t *testing.T, citizen string, r intake.Receipt, kind gateway.ResultKind) {
	t.Helper()
	token, err := l.citizenToken(l.pki.Must(citizen).IIN, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := get(t, l.base+"/cabinet/api/requests/"+string(r.ID), "Authorization", "Bearer "+token)
	var k cabinet.Case
	if err := json.Unmarshal(body, &k); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	if k.Decision == nil || k.Decision.Kind != kind || k.Decision.Verdict.Status != gateway.Verified {
		t.Errorf("R7 decision %+v", k.Decision)
	}
	due := r.DueAt.Format("02.01.2006, 15:04")
	for _, lang := range []gateway.Language{gateway.Kazakh, gateway.Russian} {
		if !strings.Contains(k.Notice[lang], due) {
			t.Errorf("R10 the notice in %s does not give date and time: %q", lang, k.Notice[lang])
		}
	}
	// The original is what the provider signed: the offline verifier says so as well.
	status, header, original := get(t, l.base+"/cabinet/api/requests/"+string(r.ID)+"/result", "Authorization", "Bearer "+token)
	if status != http.StatusOK || !strings.Contains(header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("R7 original: %d", status)
	}
	file := filepath.Join(t.TempDir(), "result.xml")
	if err := os.WriteFile(file, original, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run([]string{"verify", "--trust", filepath.Join(l.dir, "root.pem"), "--untrusted", filepath.Join(l.dir, "issuing.pem"), "--revocation", "off", "--purpose", "sign-legal",
		"--at", l.clock.Now().UTC().Format(time.RFC3339), file}, &out, &errs)
	if code != 0 {
		t.Errorf("R7 the original does not verify offline: %d %s %s", code, &out, &errs)
	}
	// Somebody else finds nothing.
	other, _ := l.citizenToken(l.pki.Must("citizen-08").IIN, 10*time.Minute)
	for _, path := range []string{"", "/result", "/receipt"} {
		status, _, body := get(t, l.base+"/cabinet/api/requests/"+string(r.ID)+path, "Authorization", "Bearer "+other)
		if status != http.StatusNotFound {
			t.Errorf("another citizen got %d %s", status, body)
		}
	}
	l.checkPages(t, token, r.ID)
}

// checkPages walks the plain pages with the session cookie, in three languages (R10, R21).
func (l *lab) checkPages(t *testing.T, token string, id gateway.RequestID) {
	t.Helper()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	resp, err := client.PostForm(l.base+"/cabinet/session", url.Values{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for lang, word := range map[string]string{"kk": "Нәтиже", "ru": "Результат", "en": "Result"} {
		for _, path := range []string{"/cabinet/?lang=", "/cabinet/requests/" + string(id) + "?lang="} {
			resp, err := client.Get(l.base + path + lang)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || !bytes.Contains(b, []byte(word)) || !bytes.Contains(b, []byte(`<html lang="`+lang+`"`)) {
				t.Errorf("%s%s: %d %s", path, lang, resp.StatusCode, b)
			}
		}
	}
	// Without the session a page says so; R1: for what proves nobody there is the refusal of «процесс 2».
	status, _, b := get(t, l.base+"/cabinet/", "Accept-Language", "ru")
	if status != http.StatusUnauthorized || !bytes.Contains(b, []byte("Вы не вошли в личный кабинет")) {
		t.Errorf("no session: %d %s", status, b)
	}
	status, _, b = call(t, http.MethodPost, l.base+"/cabinet/session", []byte("token=x"), "Content-Type", "application/x-www-form-urlencoded", "Accept-Language", "ru")
	if status != http.StatusUnauthorized || !bytes.Contains(b, []byte("Отказ в авторизации")) {
		t.Errorf("a token that is none: %d %s", status, b)
	}
}

// R6: what the provider gets holds the citizen's bytes untouched, signed by the gateway.
func TestR6TheDeliveryHoldsTheOriginalBytes(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-01", petropavl)
	signed, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.submitSigned(signed, d.Documents)
	if err != nil || a.status != http.StatusAccepted {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	l.await(t, a.receipt.ID, func(p intake.Progress) bool {
		return p.State != gateway.StateAccepted && p.State != gateway.StateEnriched
	})
	delivery, err := l.svc.store.Body(t.Context(), a.receipt.ID, gateway.BodyDelivery)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(delivery, []byte("<signedRequest>"+base64.StdEncoding.EncodeToString(signed)+"</signedRequest>")) {
		t.Error("the delivery does not hold the citizen's signed bytes")
	}
	for _, doc := range d.Documents {
		if !bytes.Contains(delivery, []byte(base64.StdEncoding.EncodeToString(doc.Data))) {
			t.Errorf("the delivery does not hold %s", doc.Name)
		}
	}
}

// R9: the copies must be those that were signed, of the type by content, and no others.
func TestR9AttachedCopies(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	base := func() harness.Draft { return l.draft("citizen-01", petropavl) }
	tests := []struct {
		name   string
		signed func(*harness.Draft)                        // change before signing
		sent   func([]harness.Document) []harness.Document // change of what is sent
		want   gateway.Reason
		status int
	}{
		{"as signed", nil, nil, "", 202},
		{"in another order under other names", nil, func(d []harness.Document) []harness.Document {
			slices.Reverse(d)
			d[0].Name = "x.bin"
			return d
		}, "", 202},
		{"one is missing", nil, func(d []harness.Document) []harness.Document { return d[1:] }, gateway.AttachmentMissing, 422},
		{"one too many", nil, func(d []harness.Document) []harness.Document {
			return append(d, harness.Document{Name: "more.pdf", MediaType: "application/pdf", Data: harness.PDF("more")})
		}, gateway.AttachmentUnexpected, 422},
		{"one was changed", nil, func(d []harness.Document) []harness.Document {
			d[0].Data = harness.PDF("changed")
			return d
		}, gateway.AttachmentDigest, 422},
		{"a program that calls itself a PDF", func(d *harness.Draft) { d.Documents[0].Data = []byte("MZ this is no PDF") }, nil, gateway.AttachmentType, 422},
		{"a PDF behind a byte order mark", func(d *harness.Draft) { d.Documents[0].Data = append([]byte("\ufeff"), d.Documents[0].Data...) }, nil, "", 202},
		{"a PDF behind a scanner's line", func(d *harness.Draft) { d.Documents[0].Data = append([]byte("\x00scan\r\n"), d.Documents[0].Data...) }, nil, "", 202},
		{"a PDF behind more than a kilobyte", func(d *harness.Draft) {
			d.Documents[0].Data = append(make([]byte, 1024), d.Documents[0].Data...)
		}, nil, gateway.AttachmentType, 422},
		{"a program with a PDF inside", func(d *harness.Draft) { d.Documents[0].Data = append([]byte("MZ\x90"), d.Documents[0].Data...) }, nil, gateway.AttachmentType, 422},
		{"a page with a PDF inside", func(d *harness.Draft) { d.Documents[0].Data = append([]byte("<svg>"), d.Documents[0].Data...) }, nil, gateway.AttachmentType, 422},
		{"a picture signed as a PDF", func(d *harness.Draft) { d.Documents[0].Data = []byte("\x89PNG\r\n\x1a\n0000") }, nil, gateway.AttachmentType, 422},
		{"a required copy is not in the signed list", func(d *harness.Draft) { d.Documents = d.Documents[1:] }, nil, gateway.AttachmentRequired, 422},
		{"a rented dwelling without the rent bill", func(d *harness.Draft) { d.Tenure = "rented-public" }, nil, gateway.AttachmentRequired, 422},
		{"more than a megabyte together", func(d *harness.Draft) {
			d.Documents[0].Data = append(harness.PDF("large"), make([]byte, 1<<20)...)
		}, nil, gateway.AttachmentsTooLarge, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := base()
			if tt.signed != nil {
				tt.signed(&d)
			}
			signed, err := d.Sign(key)
			if err != nil {
				t.Fatal(err)
			}
			docs := slices.Clone(d.Documents)
			if tt.sent != nil {
				docs = tt.sent(docs)
			}
			a, err := l.submitSigned(signed, docs)
			if err != nil || a.status != tt.status || a.problem.Reason != tt.want {
				t.Errorf("%d %s %v; want %d %s", a.status, a.body, err, tt.status, tt.want)
			}
		})
	}
}

// R11: a request made after hours counts as one of the next working day.
func TestR11AfterHours(t *testing.T) {
	l, _ := newTestLab(t, demoStart, nil)
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	if got := r.RegisteredAt.Format("2006-01-02 15:04"); got != "2026-11-23 09:00" {
		t.Errorf("registered %s", got)
	}
	if !strings.Contains(r.Notice, "23.11.2026, 09:00") {
		t.Errorf("notice %q", r.Notice)
	}
}

// R12: a late provider makes steps overdue, and loses nothing.
func TestR12ALateProvider(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	if err := l.world.SetFaults("taraz", statesim.Fault{Kind: statesim.Late}); err != nil {
		t.Fatal(err)
	}
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	p := l.await(t, r.ID, closed)
	overdue := 0
	for _, s := range p.Steps {
		if s.Overdue {
			overdue++
		}
	}
	if overdue == 0 || p.Result == nil {
		t.Errorf("%d steps overdue, result %+v", overdue, p.Result)
	}
	if !slices.ContainsFunc(p.Timeline, func(e gateway.Event) bool { return e.Kind == gateway.EventStepOverdue }) {
		t.Error("the timeline does not say that a step was overdue")
	}
}

// R14: no record is fetched without the signed consent.
func TestR14Consent(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	t.Run("a needed record without consent is refused at the door", func(t *testing.T) {
		for name, change := range map[string]func(*harness.Draft){
			"not given":        func(d *harness.Draft) { d.NoConsent = true },
			"an empty list":    func(d *harness.Draft) { d.Consent = []string{} },
			"property missing": func(d *harness.Draft) { d.Consent = []string{"identity", "address", "social-payments", "income"} },
		} {
			d := l.draft("citizen-01", taraz)
			change(&d)
			if a := l.mustSubmit(t, d, "citizen-01"); a.problem.Reason != gateway.ConsentMissing {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if n := len(l.world.Calls()); n != 0 {
			t.Errorf("%d records were fetched", n)
		}
	})
	t.Run("an optional record without consent is not fetched", func(t *testing.T) {
		d := l.draft("citizen-01", taraz)
		d.Consent = []string{"identity", "address", "property", "social-payments", "income"}
		r := l.mustAccept(t, d, "citizen-01")
		l.await(t, r.ID, closed)
		records := l.world.State().Records[string(r.ID)]
		if len(records) != 5 || records["alimony"] != 0 || records["unemployment"] != 0 {
			t.Errorf("fetched %v", records)
		}
	})
}

// R16: a representative signs with the own key, under a power of attorney that is in force.
func TestR16ARepresentative(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	rep := l.pki.Must("citizen-02")
	draft := func(until string) harness.Draft {
		d := l.draft("citizen-01", taraz)
		d.Representative = &harness.Attorney{Person: harness.Person{IIN: rep.IIN, Surname: rep.Surname, GivenName: rep.Name}, ValidUntil: until}
		d.Documents = []harness.Document{{Name: "poa.pdf", Kind: "power-of-attorney", MediaType: "application/pdf", Data: harness.PDF("power of attorney")}}
		return d
	}
	tests := []struct {
		name, until, signer string
		change              func(*harness.Draft)
		want                gateway.Reason
	}{
		{"signed by the representative", "2027-01-01", "citizen-02", nil, ""},
		{"on its last day", "2026-11-23", "citizen-02", nil, ""},
		{"signed by the applicant although a representative is named", "2027-01-01", "citizen-01", nil, gateway.IINMismatch},
		{"out of force since yesterday", "2026-11-22", "citizen-02", nil, gateway.AttorneyMissing},
		{"without the copy of the power of attorney", "2027-01-01", "citizen-02", func(d *harness.Draft) { d.Documents = nil }, gateway.AttachmentRequired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := draft(tt.until)
			if tt.change != nil {
				tt.change(&d)
			}
			if a := l.mustSubmit(t, d, tt.signer); a.problem.Reason != tt.want {
				t.Errorf("%d %s, want %s", a.status, a.body, tt.want)
			}
		})
	}
}

// R7: a result that does not verify is quarantined and counted, never shown.
func TestR7AResultThatDoesNotVerifyIsNeverShown(t *testing.T) {
	tests := []struct {
		fault statesim.FaultKind
		want  gateway.Reason
		event bool // the document names its request under a signature that holds
	}{
		{statesim.WrongSigner, gateway.ExtendedKeyUsage, true},
		{statesim.ForeignBIN, gateway.BINMismatch, true},
		{statesim.ExpiredSigner, gateway.CertificateExpired, true},
		{statesim.Unsigned, gateway.SignatureMissing, false},
		{statesim.Tampered, gateway.DigestMismatch, false},
	}
	l, logs := newTestLab(t, monday, nil)
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			if err := l.world.SetFaults("taraz", statesim.Fault{Kind: tt.fault}); err != nil {
				t.Fatal(err)
			}
			r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
			p := l.await(t, r.ID, func(p intake.Progress) bool {
				st := l.world.State().Requests[string(r.ID)]
				return len(st.GivenUp) > 0 && (!tt.event || slices.ContainsFunc(p.Timeline, func(e gateway.Event) bool { return e.Kind == gateway.EventQuarantined && e.Reason == tt.want }))
			})
			if p.Result != nil || p.State != gateway.StateDelivered {
				t.Errorf("state %s, result %+v", p.State, p.Result)
			}
			token, _ := l.citizenToken(l.pki.Must("citizen-01").IIN, 10*time.Minute)
			if status, _, _ := get(t, l.base+"/cabinet/api/requests/"+string(r.ID)+"/result", "Authorization", "Bearer "+token); status != http.StatusNotFound {
				t.Errorf("the cabinet shows it: %d", status)
			}
			_, _, metrics := get(t, l.admin+"/metrics")
			if want := fmt.Sprintf(`egov_gateway_provider_documents_total{kind="result",provider="taraz",reason="%s"} 1`, tt.want); !bytes.Contains(metrics, []byte(want)) {
				t.Errorf("the metrics do not count it as %s", tt.want)
			}
		})
	}
	noPersonalData(t, l, logs)
}

// The same submission is the first receipt again, byte for byte, and one effect.
func TestOnceOnly(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-01", taraz)
	d.MessageID = harness.NewMessageID()
	signed, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	receipts := map[string]int{}
	for range 24 {
		wg.Go(func() {
			a, err := l.post("application/xml", signed, map[string]string{"Accept": "application/xml"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.status != http.StatusAccepted {
				t.Errorf("%d %s %v", a.status, a.body, err)
			}
			receipts[string(a.body)]++
		})
	}
	wg.Wait()
	if len(receipts) != 1 {
		t.Fatalf("%d different receipts", len(receipts))
	}
	a, err := l.submitSigned(signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.await(t, a.receipt.ID, closed)
	// Long after, when the certificate's owner may have lost it, it is still the first receipt.
	l.clock.HopTo(monday.AddDate(0, 1, 0))
	again, err := l.submitSigned(signed, nil)
	if err != nil || again.status != http.StatusAccepted || again.receipt.SignedReceipt != a.receipt.SignedReceipt {
		t.Errorf("a month later: %d %v", again.status, err)
	}
	if n := l.world.State().Requests[string(a.receipt.ID)].Effects; n != 1 {
		t.Errorf("%d effects", n)
	}
	d.MonthlyCost = 30000
	if a := l.mustSubmit(t, d, "citizen-01"); a.status != http.StatusConflict && a.problem.Reason != gateway.CreatedAtRange {
		t.Errorf("other content under the same id: %d %s", a.status, a.body)
	}
}

// Unknown is never good: without evidence the answer is 503, and the same bytes pass later.
func TestWithoutEvidenceNothingIsAccepted(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	for _, target := range []string{statesim.TargetOCSP, statesim.TargetCRL} {
		if err := l.world.SetFaults(target, statesim.Fault{Kind: statesim.Unavailable}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	key, _ := l.key("citizen-01")
	signed, err := l.draft("citizen-01", taraz).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	status, header, body := call(t, http.MethodPost, l.base+"/v1/requests", signed, "Content-Type", "application/xml", "Authorization", "Bearer "+l.token, "Accept-Language", "ru")
	p := problemOf(t, body)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || p.Verdict != gateway.Indeterminate || p.VerdictText != "Невозможно проверить" || p.Detail != "" {
		t.Errorf("%d %+v", status, p)
	}
	if status, _, body := get(t, l.admin+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("ready without evidence: %s", body)
	}
	for _, target := range []string{statesim.TargetOCSP, statesim.TargetCRL} {
		if err := l.world.SetFaults(target); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.svc.checker.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, err := l.submitSigned(signed, nil); err != nil || a.status != http.StatusAccepted {
		t.Errorf("later: %d %s %v", a.status, a.body, err)
	}
	if status, _, body := get(t, l.admin+"/readyz"); status != http.StatusOK {
		t.Errorf("not ready: %s", body)
	}
}

// A state system that is away delays a request and loses nothing.
func TestAStateSystemComesBack(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	if err := l.world.SetFaults("gbdrn", statesim.Fault{Kind: statesim.Unavailable, Calls: 4}); err != nil {
		t.Fatal(err)
	}
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	p := l.await(t, r.ID, closed)
	i := slices.IndexFunc(p.Records, func(n gateway.FactNote) bool { return n.Kind == gateway.RecordProperty })
	if i < 0 || p.Records[i].Status != gateway.FactFound {
		t.Errorf("records %+v", p.Records)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	if status, _, body := get(t, l.admin+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz %d %s", status, body)
	}
	status, _, body := get(t, l.admin+"/readyz")
	for deadline := time.Now().Add(2 * time.Minute); status != http.StatusOK && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		status, _, body = get(t, l.admin+"/readyz") // the lists are still being loaded
	}
	var ready struct{ Probes map[string]string }
	if err := json.Unmarshal(body, &ready); err != nil || status != http.StatusOK || len(ready.Probes) < 4 {
		t.Errorf("readyz %d %s", status, body)
	}
	_, _, metrics := get(t, l.admin+"/metrics")
	for _, want := range []string{`egov_gateway_requests_total{duplicate="false",portal="egov.kz",reason="accepted",service="housing-aid",shard="zhambyl"} 1`, `egov_gateway_items{shard="zhambyl",state=`, "egov_gateway_calendar_end_seconds ", "egov_gateway_journal_commit_duration_seconds_count", "egov_gateway_verdicts_total{"} {
		if !bytes.Contains(metrics, []byte(want)) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	// The operator's listener is not the public one.
	if status, _, _ := get(t, l.base+"/metrics"); status != http.StatusNotFound {
		t.Errorf("metrics on the public door: %d", status)
	}
}

func TestDemoScenesEndAsExpected(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"demo", "--once"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, &out, &errs)
	}
	if !strings.HasPrefix(out.String(), "TEST ONLY") {
		t.Error("the first line does not say TEST ONLY")
	}
}

func mustSign(t *testing.T, key *xmlsig.Key, doc []byte) []byte {
	t.Helper()
	signed, err := xmlsig.Sign(doc, key, xmlsig.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
