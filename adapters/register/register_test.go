package register_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/alimony"
	"egov-gateway/adapters/employment"
	"egov-gateway/adapters/gbdfl"
	"egov-gateway/adapters/gbdrn"
	"egov-gateway/adapters/income"
	"egov-gateway/adapters/register"
	"egov-gateway/adapters/socialpayments"
	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/enrich"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

var now = time.Date(2026, 11, 2, 6, 0, 0, 0, time.UTC)

// People of the 1800s; the last digit of a generated one does not matter to the world.
const (
	low      = "900101200010"
	jobless  = "600229200054"
	high     = "710918100066"
	mistaken = "881231200074"
	absent   = "990601100089"
)

// crowd numbers twenty more citizens, some of whom have alimony.
func crowd(i int) string { return fmt.Sprintf("5005051%05d", i) }

// A stage is the world and every adapter in front of it.
type stage struct {
	*statesim.World
	url     string
	sources []enrich.Source
	of      map[gateway.RecordKind]enrich.Source
}

func newStage(t *testing.T, timeout time.Duration) *stage {
	t.Helper()
	citizens := []statesim.Citizen{
		{IIN: low, Surname: "АХМЕТОВА", Name: "АЙГЕРІМ", Patronymic: "МАРАТҚЫЗЫ"},
		{IIN: jobless, Surname: "ӘБДІРАХМАНОВА", Name: "ГҮЛНӘР", Level: statesim.Jobless},
		{IIN: high, Surname: "ШМИДТ", Name: "АНДРЕЙ", Patronymic: "<&>\"'", Level: statesim.High},
		{IIN: mistaken, Surname: "СМАҒҰЛОВА", Name: "ДИНА", Level: statesim.Mistaken},
		{IIN: absent, Surname: "ПЕТРЕНКО", Name: "ОЛЕГ", Level: statesim.Absent},
	}
	for i := range 20 {
		citizens = append(citizens, statesim.Citizen{IIN: crowd(i), Surname: "ТЕСТОВ", Name: "ТИМУР"})
	}
	world, err := statesim.New(statesim.Config{Now: func() time.Time { return now }, Citizens: citizens})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(world.Handler())
	t.Cleanup(srv.Close)
	s := &stage{World: world, url: srv.URL, of: make(map[gateway.RecordKind]enrich.Source)}
	conf := func(name string) register.Config {
		return register.Config{URL: srv.URL + "/shep/" + name, ServiceID: "SVC_" + name, SenderID: "egov-gateway", Password: "secret",
			Client: upstream.Config{Timeout: timeout, Retries: -1, BreakerFailures: 1000}, Now: func() time.Time { return now }}
	}
	add := func(src enrich.Source, err error) {
		if err != nil {
			t.Fatal(err)
		}
		s.sources = append(s.sources, src)
		for _, k := range src.Kinds() {
			s.of[k] = src
		}
	}
	add(gbdfl.New(gbdfl.Config{Config: conf("gbdfl"), PublicKey: "key"}))
	add(gbdrn.New(conf("gbdrn")))
	add(socialpayments.New(conf("socialpayments")))
	add(income.New(conf("income")))
	add(alimony.New(conf("alimony")))
	add(employment.New(conf("employment")))
	return s
}

func iin(t *testing.T, s string) gateway.IIN {
	t.Helper()
	n, err := gateway.ParseTestIIN(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *stage) fetch(t *testing.T, kind gateway.RecordKind, subject string) (gateway.Fact, error) {
	t.Helper()
	return s.of[kind].Fetch(t.Context(), gateway.Inquiry{Kind: kind, Subject: iin(t, subject), Request: "0123456789abcdef0123456789abcdef", Consent: strings.Repeat("c", 64)})
}

func TestSourcesCoverEveryRecordOnce(t *testing.T) { // R8
	s := newStage(t, 5*time.Second)
	var kinds []gateway.RecordKind
	var names []string
	for _, src := range s.sources {
		kinds = append(kinds, src.Kinds()...)
		names = append(names, src.Name())
	}
	if !slices.Equal(kinds, gateway.RecordKinds) {
		t.Errorf("kinds %v, want %v", kinds, gateway.RecordKinds)
	}
	if !slices.Equal(names, statesim.Systems()) {
		t.Errorf("names %v, want %v", names, statesim.Systems())
	}
}

func TestRecordsOfEveryKindOfPerson(t *testing.T) { // R8
	tool.Path(t, "xmllint", "libxml2-utils")
	s := newStage(t, 5*time.Second)
	found, none := gateway.FactFound, gateway.FactNoData
	tests := []struct {
		name, iin string
		want      map[gateway.RecordKind]gateway.FactStatus
		holds     map[gateway.RecordKind]string
	}{
		{"a small salary", low, map[gateway.RecordKind]gateway.FactStatus{"identity": found, "address": found, "property": found, "social-payments": found, "income": found, "unemployment": found},
			map[gateway.RecordKind]string{"identity": "МАРАТҚЫЗЫ", "address": "ПЕТРОПАВЛОВСК", "income": "salary", "unemployment": "false", "social-payments": "child-benefit"}},
		{"no work", jobless, map[gateway.RecordKind]gateway.FactStatus{"identity": found, "income": none, "unemployment": found, "social-payments": found},
			map[gateway.RecordKind]string{"unemployment": "registeredOn", "social-payments": "targeted-social-aid"}},
		{"a large salary and no payments", high, map[gateway.RecordKind]gateway.FactStatus{"identity": found, "income": found, "social-payments": found}, map[gateway.RecordKind]string{"identity": "&lt;&amp;&gt;"}},
		{"another surname in the register", mistaken, map[gateway.RecordKind]gateway.FactStatus{"identity": found}, map[gateway.RecordKind]string{"identity": "ДРУГАЯ-"}},
		{"known to nobody", absent, map[gateway.RecordKind]gateway.FactStatus{"identity": none, "address": none, "property": none, "social-payments": none, "income": none, "alimony": none, "unemployment": none}, nil},
		{"of the 1800s and not configured", "510505100001", map[gateway.RecordKind]gateway.FactStatus{"identity": found, "address": found, "property": none, "social-payments": none, "income": none, "alimony": none, "unemployment": none}, nil},
		{"who may live", "900101300007", map[gateway.RecordKind]gateway.FactStatus{"identity": none, "address": none, "income": none, "property": none}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for kind, want := range tt.want {
				f, err := s.fetch(t, kind, tt.iin)
				if err != nil {
					t.Errorf("%s: %v", kind, err)
					continue
				}
				if f.Status != want || f.Kind != kind || f.Source != s.of[kind].Name() || !f.ObservedAt.Equal(now) || len(f.MessageID) != 36 || f.Reason != "" {
					t.Errorf("%s: %+v", kind, f)
				}
				if (f.Status == found) != (len(f.Data) > 0) {
					t.Errorf("%s is %s with %d bytes", kind, f.Status, len(f.Data))
				}
				if want := tt.holds[kind]; !bytes.Contains(f.Data, []byte(want)) {
					t.Errorf("%s lacks %q: %s", kind, want, f.Data)
				}
				if f.Status == found {
					valid(t, f)
				}
			}
		})
	}
	t.Run("alimony is found for some", func(t *testing.T) {
		n := map[gateway.FactStatus]int{}
		for i := range 20 {
			f, err := s.fetch(t, gateway.RecordAlimony, crowd(i))
			if err != nil {
				t.Fatal(err)
			}
			n[f.Status]++
			if f.Status == found {
				valid(t, f)
			}
		}
		if n[found] == 0 || n[none] == 0 {
			t.Errorf("%v", n)
		}
	})
	t.Run("the same question is answered with the same data", func(t *testing.T) {
		a, err := s.fetch(t, gateway.RecordIncome, low)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.fetch(t, gateway.RecordIncome, low)
		if err != nil {
			t.Fatal(err)
		}
		cut := func(d []byte) []byte { return d[bytes.Index(d, []byte("<incomes")):] }
		if !bytes.Equal(cut(a.Data), cut(b.Data)) || a.MessageID == b.MessageID {
			t.Error("it is not")
		}
	})
}

// valid checks that the fact's data is a whole document that fits the register's schema, and
// the published one when SHEP_CONTRACT names the folder with it.
func valid(t *testing.T, f gateway.Fact) {
	t.Helper()
	if _, err := xmlsig.Scan(f.Data, xmlsig.Limits{}); err != nil {
		t.Errorf("%s: not a document of its own: %v", f.Kind, err)
	}
	schemas := []string{"../../schemas/registers/" + f.Source + ".xsd"}
	if dir := os.Getenv("SHEP_CONTRACT"); dir != "" && f.Source == "gbdfl" {
		schemas = append(schemas, filepath.Join(dir, "gbdfl", "root.xsd"))
	}
	for _, schema := range schemas {
		c := exec.CommandContext(t.Context(), "xmllint", "--noout", "--nonet", "--schema", schema, "-")
		c.Stdin = bytes.NewReader(f.Data)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s does not fit %s: %s\n%s", f.Kind, schema, out, f.Data)
		}
	}
}

func TestEveryFaultHasItsReason(t *testing.T) {
	tests := []struct {
		fault statesim.FaultKind
		want  gateway.Reason
	}{
		{statesim.Unavailable, gateway.SourceUnavailable},
		{statesim.Reset, gateway.SourceUnavailable},
		{statesim.Hang, gateway.SourceTimeout},
		{statesim.Garbage, gateway.SourceMalformed},
		{statesim.SOAPFault, gateway.SourceFault},
		{statesim.ErrorStatus, gateway.SourceFault}, // SCSE001 alone is not "no income"
		{statesim.ErrorResult, gateway.SourceFault},
		{statesim.WrongIIN, gateway.SourceMalformed},
		{statesim.WrongRequest, gateway.SourceMalformed},
		{statesim.WrongCorrelation, gateway.SourceMalformed},
		{statesim.MissingField, gateway.SourceMalformed},
		{statesim.EmptyAnswer, gateway.SourceMalformed},
		{statesim.Oversized, gateway.SourceMalformed},
		{statesim.ForeignXML, gateway.SourceMalformed},
	}
	s := newStage(t, 5*time.Second)
	hasty := newStage(t, 100*time.Millisecond)
	for _, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			for _, kind := range gateway.RecordKinds {
				if kind == gateway.RecordAlimony {
					continue // this citizen has none; below
				}
				st := s
				if tt.fault == statesim.Hang {
					st = hasty
				}
				if err := st.SetFaults(st.of[kind].Name(), statesim.Fault{Kind: tt.fault, Calls: 1}); err != nil {
					t.Fatal(err)
				}
				f, err := st.fetch(t, kind, low)
				if got := gateway.ReasonOf(err); got != tt.want {
					t.Errorf("%s: reason %q, want %q (%v)", kind, got, tt.want, err)
				}
				if err != nil && (f.Status != "" || strings.Contains(err.Error(), low) || strings.Contains(err.Error(), "АХМЕТОВА") || strings.Contains(err.Error(), "secret")) {
					t.Errorf("%s: a fact beside the error, or personal data in it: %v", kind, err)
				}
				if f, err := s.fetch(t, kind, low); err != nil || f.Status != gateway.FactFound {
					t.Errorf("%s: the next call: %v", kind, err)
				}
			}
		})
	}
	t.Run("no data on demand", func(t *testing.T) {
		for _, kind := range gateway.RecordKinds {
			if err := s.SetFaults(s.of[kind].Name(), statesim.Fault{Kind: statesim.NoData, Calls: 1}); err != nil {
				t.Fatal(err)
			}
			if f, err := s.fetch(t, kind, low); err != nil || f.Status != gateway.FactNoData || f.Data != nil {
				t.Errorf("%s: %+v, %v", kind, f, err)
			}
		}
	})
	t.Run("latency inside the deadline is no fault", func(t *testing.T) {
		if err := s.SetFaults("income", statesim.Fault{Kind: statesim.Latency, DelayMS: 50, Calls: 1}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if f, err := s.fetch(t, gateway.RecordIncome, low); err != nil || f.Status != gateway.FactFound || time.Since(start) < 50*time.Millisecond {
			t.Errorf("%+v, %v", f, err)
		}
	})
}

func TestNoRecordIsFetchedWithoutConsent(t *testing.T) { // R14
	s := newStage(t, 5*time.Second)
	for _, kind := range gateway.RecordKinds {
		_, err := s.of[kind].Fetch(t.Context(), gateway.Inquiry{Kind: kind, Subject: iin(t, low), Request: "r"})
		if gateway.ReasonOf(err) != gateway.ConsentMissing {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if st := s.State(); len(st.Doors) != 0 || len(st.Kinds) != 0 {
		t.Errorf("a state system was asked: %+v", st)
	}
	if _, err := s.fetch(t, gateway.RecordIncome, low); err != nil {
		t.Fatal(err)
	}
	if c := s.Calls(); len(c) != 1 || c[0].Consent != strings.Repeat("c", 64) || c[0].Correlation != "0123456789abcdef0123456789abcdef" || c[0].Kind != "income" || c[0].IIN != low {
		t.Errorf("calls %+v", c)
	}
	if st := s.State(); st.Kinds["income"] != 1 || st.Records["0123456789abcdef0123456789abcdef"]["income"] != 1 {
		t.Errorf("state %+v", st)
	}
}

func TestWrongInquiriesAreNotSent(t *testing.T) {
	s := newStage(t, 5*time.Second)
	for name, in := range map[string]gateway.Inquiry{
		"a kind the register does not hold": {Kind: gateway.RecordIncome, Subject: iin(t, low), Consent: "c"},
		"about nobody":                      {Kind: gateway.RecordIdentity, Consent: "c"},
	} {
		if _, err := s.of[gateway.RecordIdentity].Fetch(t.Context(), in); gateway.ReasonOf(err) != gateway.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.of[gateway.RecordIncome].Fetch(ctx, gateway.Inquiry{Kind: gateway.RecordIncome, Subject: iin(t, low), Consent: "c"}); gateway.ReasonOf(err) != gateway.SourceUnavailable {
		t.Errorf("given up: %v", err)
	}
	if n := len(s.Calls()); n != 0 {
		t.Errorf("%d questions were asked", n)
	}
}

func TestNewRefusesIncompleteConfig(t *testing.T) {
	for _, c := range []register.Config{{}, {URL: "http://127.0.0.1", ServiceID: "s"}, {URL: "http://127.0.0.1", SenderID: "s"}, {ServiceID: "s", SenderID: "s"}} {
		if _, err := income.New(c); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}
