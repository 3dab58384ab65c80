package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/intake"
	"egov-gateway/schemas"
)

// R19: a complaint, by its passport and form alone: registered with number and official, due
// date and place of the answer, and the answer itself in the cabinet.
func TestR19AComplaint(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	complaint := func(change func(*harness.Draft)) harness.Draft {
		d := l.draft("citizen-01", petropavl)
		d.Documents, d.Complaint = nil, "Тұрғын үй көмегі туралы өтінішім қаралмады."
		if change != nil {
			change(&d)
		}
		return d
	}
	r := l.mustAccept(t, complaint(nil), "citizen-01")
	if got := r.DueAt.Format("2006-01-02 15:04"); got != "2026-11-30 10:00" { // five working days
		t.Errorf("due %s", got)
	}
	p := l.await(t, r.ID, closed)
	if reg := p.Steps[0].Registration; reg == nil || reg.Number == "" || reg.AcceptedBy == "" || p.Steps[0].CompletedAt.IsZero() {
		t.Errorf("registration %+v", p.Steps[0])
	}
	if p.Result.Kind != gateway.ResultAnswer || p.Result.Outcome != "partly" || p.Result.Explanation[gateway.Kazakh] == "" {
		t.Errorf("result %+v", p.Result)
	}
	if n := len(l.world.Calls()); n != 0 {
		t.Errorf("%d records were fetched for a complaint", n)
	}
	token, _ := l.citizenToken(l.pki.Must("citizen-01").IIN, 10*time.Minute)
	_, _, body := get(t, l.base+"/cabinet/api/requests/"+string(r.ID), "Authorization", "Bearer "+token)
	var k cabinet.Case
	if err := json.Unmarshal(body, &k); err != nil || k.AnswerPlace[gateway.Kazakh] == "" || k.Steps[0].Registration == nil {
		t.Errorf("cabinet %s, %v", body, err)
	}
	for name, tt := range map[string]struct {
		change func(*harness.Draft)
		want   gateway.Reason
	}{
		"about a decision, without the request it is about":   {func(d *harness.Draft) { d.About = "decision" }, gateway.FormInvalid},
		"a form of one service under the code of another":     {func(d *harness.Draft) { d.Service = "housing-aid" }, gateway.FormNamespace},
		"in a region that has no passport for it":             {func(d *harness.Draft) { d.Territory = taraz }, gateway.TerritoryUnknown},
		"text that is too short":                              {func(d *harness.Draft) { d.Complaint = "x" }, gateway.FormInvalid},
		"about a decision, with the request that it is about": {func(d *harness.Draft) { d.About, d.Related = "decision", strings.Repeat("ab", 16) }, ""},
	} {
		if a := l.mustSubmit(t, complaint(tt.change), "citizen-01"); a.problem.Reason != tt.want {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// R8, R14: records of adult members of the family are fetched under their own consent; a
// child's are not, and an adult without consent stops the request at the form.
func TestR8R14TheFamily(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	child := ""
	for d := '0'; d <= '9'; d++ {
		if _, err := gateway.ParseIIN("15123160000" + string(d)); err == nil {
			child = "15123160000" + string(d) // born in 2015, a number that nobody was given
		}
	}
	adult := l.pki.Must("citizen-03")
	d := l.draft("citizen-01", taraz)
	d.Family = []harness.Person{{IIN: adult.IIN, Surname: adult.Surname, GivenName: adult.Name}, {IIN: child, Surname: "А", GivenName: "Б"}}
	r := l.mustAccept(t, d, "citizen-01")
	p := l.await(t, r.ID, closed)
	got := map[string][]string{}
	for _, n := range p.Records {
		got[n.Person] = append(got[n.Person], string(n.Kind))
	}
	if len(got) != 2 || len(got["applicant"]) != len(gateway.RecordKinds) || !slices.Equal(got["member-1"], []string{"identity", "social-payments", "income"}) {
		t.Errorf("records %v", got)
	}
	for _, c := range l.world.Calls() {
		if c.IIN == child {
			t.Error("a child's record was asked for")
		}
	}
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	doc := bytes.Replace(d.XML(), []byte("<consent>true</consent>"), []byte("<consent>false</consent>"), 1)
	a, err := l.submitSigned(mustSign(t, key, doc), nil)
	if err != nil || a.problem.Reason != gateway.FormInvalid || len(a.problem.Faults) != 1 || a.problem.Faults[0].Rule != "consent" || a.problem.Faults[0].Titles[gateway.Kazakh] == "" {
		t.Errorf("%d %s %v", a.status, a.body, err)
	}
}

// R12: a limit changed in YAML changes the due date, without a rebuild; requests that were
// accepted before keep their version.
func TestALimitChangedInYAMLChangesTheDueDate(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	first := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	l.svc.Close()
	own := filepath.Join(l.dir, "schemas", "passports")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	old, err := schemas.FS.ReadFile("passports/housing-aid-zhambyl.yaml")
	if err != nil {
		t.Fatal(err)
	}
	yesterday := strings.Replace(string(old), "applies_from: 2016-04-27", "applies_from: 2016-04-27\napplies_to: 2026-11-22", 1)
	today := strings.NewReplacer("106-2016.1", "106-2016.2", "applies_from: 2016-04-27", "applies_from: 2026-11-23", "calendar_days: 7", "calendar_days: 2").Replace(string(old))
	for name, text := range map[string]string{"z1.yaml": yesterday, "z2.yaml": today} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	conf = bytes.Replace(conf, []byte("schemas: \"\""), []byte("schemas: schemas"), 1)
	// Only Zhambyl has a passport now: the other region's provider is no longer configured.
	if err := os.WriteFile(l.config, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	c.Providers = slices.DeleteFunc(c.Providers, func(p Provider) bool { return p.ID == "petropavl" })
	c.SHEP = nil
	if l.svc, err = start(c, l.clock.Now, l.log, nil); err != nil {
		t.Fatal(err)
	}
	second := l.mustAccept(t, l.draft("citizen-02", taraz), "citizen-02")
	if a, b := first.DueAt.Format("2006-01-02 15:04"), second.DueAt.Format("2006-01-02 15:04"); a != "2026-12-01 10:30" || b != "2026-11-26 10:30" {
		t.Errorf("due %s and %s", a, b)
	}
	p, err := l.progress(first.ID)
	if err != nil || !p.DueAt.Equal(first.DueAt) {
		t.Errorf("the first request is due %v now, %v", p.DueAt, err)
	}
	if l.await(t, first.ID, closed).Result == nil {
		t.Error("the first request was not finished under its own version")
	}
}

// R13: a refusal is grounded; one with a ground that the passport does not have is not taken.
// R15, R17: and a result of a kind that the service does not have is not either.
func TestR13R17OnlyResultsOfThePassport(t *testing.T) {
	l, _ := newTestLab(t, monday, map[string]statesim.Level{"citizen-02": statesim.High})
	r := l.mustAccept(t, l.draft("citizen-02", taraz), "citizen-02")
	p := l.await(t, r.ID, closed)
	if p.Result.Kind != gateway.ResultRefusal || p.Result.Ground != "income-above-threshold" || p.Result.Explanation[gateway.Russian] == "" {
		t.Errorf("result %+v", p.Result)
	}
	waiting := l.mustAccept(t, l.draft("citizen-04", kordaj), "citizen-04")
	l.await(t, waiting.ID, func(p intake.Progress) bool { return p.State == gateway.StateDelivered })
	head, err := l.key("provider-foreign-head")
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(l.dir, "kordaj.token"))
	if err != nil {
		t.Fatal(err)
	}
	bin := l.pki.Must("provider-foreign-head").BIN
	for name, content := range map[string]string{
		"a ground that the passport does not have": "<refusal><ground>mood</ground><explanation><kk>а</kk><ru>а</ru></explanation></refusal>",
		"an answer where a decision is due":        "<answer><outcome>rejected</outcome><explanation><kk>а</kk><ru>а</ru></explanation></answer>",
	} {
		doc := mustSign(t, head, []byte(`<result xmlns="urn:egov-gateway:result:1"><requestId>`+string(waiting.ID)+`</requestId><number>1</number><decidedAt>`+l.clock.Now().Format(time.RFC3339)+`</decidedAt><providerBin>`+bin+`</providerBin><providerName><kk>а</kk><ru>а</ru></providerName>`+content+`</result>`))
		status, _, body := call(t, http.MethodPost, l.base+"/v1/providers/kordaj/results", doc, "Content-Type", "application/xml", "Authorization", "Bearer "+string(token))
		if pr := problemOf(t, body); status != http.StatusUnprocessableEntity || pr.Reason != gateway.ResultMismatch {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// R15: the five departments of North Kazakhstan with contacts in both languages, as annex 1 has them.
func TestR15TheProvidersOfTheDecree(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"passport", "check", "../../schemas/passports/housing-aid-north-kazakhstan.yaml", "../../schemas/passports/housing-aid-zhambyl.yaml"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "5 providers") || !strings.Contains(out.String(), "11 providers") {
		t.Errorf("%d %s %s", code, &out, &errs)
	}
	b, err := schemas.FS.ReadFile("passports/housing-aid-north-kazakhstan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ro_ajyrta@bk.ru", "8 (715)33-2-13-62", "mzh-ozsp@sko.kz", "8 (715)31-2-19-22", "ozsp-gm@sko.kz", "8 (715)35-2-24-17", "ozsp-tsh@sko.kz", "8 (715)36-2-10-22", "petroozsp@sko.kz", "8 (715)2-53-07-84", "Шоқан Уәлиханов көшесі, 42", "улица Ш. Уалиханова, 42", "Театральный көшесі, 36"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("the passport lacks %s", want)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, bytes.Replace(b, []byte("limit: {hours: 2}"), []byte("limit: {}"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := run([]string{"passport", "check", bad}, &out, &errs); code != exitFailed || !strings.Contains(out.String(), "steps[1].limit: exactly one of") || !strings.HasPrefix(out.String(), "bad.yaml:") {
		t.Errorf("%d %s", code, &out)
	}
}

// R12: how requests and steps stand to their limits is in the API, the cabinet and the metrics.
func TestR12DeadlinesAreSeen(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	if err := l.world.SetFaults("taraz", statesim.Fault{Kind: statesim.Silent}); err != nil {
		t.Fatal(err)
	}
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	l.await(t, r.ID, func(p intake.Progress) bool { return p.State == gateway.StateDelivered })
	l.clock = newHopClock(monday)
	steps := []struct {
		at   time.Time
		want gateway.DeadlineState
	}{{monday.Add(time.Hour), gateway.OnTime}, {r.DueAt.Add(-time.Hour), gateway.DueSoon}, {r.DueAt.Add(time.Minute), gateway.Overdue}}
	l.svc.Close()
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		l.clock.HopTo(s.at)
		p, err := l.progress(r.ID)
		if err != nil || p.Deadline != s.want {
			t.Errorf("at %v: %s, %v; want %s", s.at, p.Deadline, err, s.want)
		}
		// A scrape that comes during a count is told the count before.
		want := `egov_gateway_deadlines{deadline="` + string(s.want) + `",provider="taraz",service="housing-aid",shard="zhambyl"} 1`
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if _, _, metrics := get(t, l.admin+"/metrics"); bytes.Contains(metrics, []byte(want)) {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("the metrics lack %s", want)
				break
			}
		}
	}
	// Being late cancels nothing.
	if p, err := l.progress(r.ID); err != nil || p.State != gateway.StateDelivered {
		t.Errorf("state %s, %v", p.State, err)
	}
}
