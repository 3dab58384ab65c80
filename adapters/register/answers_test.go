package register_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
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
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
)

// An echo answers every question with one business document, in which REQUEST stands for the
// question's id.
type echo struct {
	document atomic.Pointer[[]byte]
	status   atomic.Pointer[string]
}

func (e *echo) set(status, doc string) {
	b := []byte(doc)
	e.document.Store(&b)
	e.status.Store(&status)
}

func (e *echo) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m, err := shep.DecodeSendMessage(body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	// The text is written by hand: it need not be a document.
	var w shep.Writer
	w.Leaf("data", strings.ReplaceAll(string(*e.document.Load()), "REQUEST", m.ID))
	data, err := w.Bytes()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := shep.EncodeSendMessageResponse(shep.Response{ID: "answer", CorrelationID: m.CorrelationID, Date: now, Status: shep.Status{Code: *e.status.Load(), Message: "x"}})
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Write(bytes.Replace(out, []byte("<responseData></responseData>"), append(append([]byte("<responseData>"), data...), "</responseData>"...), 1))
}

func ask(t testing.TB, src enrich.Source, kind gateway.RecordKind) (gateway.Fact, error) {
	return askAbout(t, src, kind, low)
}

func askAbout(t testing.TB, src enrich.Source, kind gateway.RecordKind, iin string) (gateway.Fact, error) {
	n, err := gateway.ParseTestIIN(iin)
	if err != nil {
		t.Fatal(err)
	}
	return src.Fetch(t.Context(), gateway.Inquiry{Kind: kind, Subject: n, Request: "r", Consent: "c"})
}

func conf(url string) register.Config {
	return register.Config{URL: url, ServiceID: "S", SenderID: "G", Client: upstream.Config{Timeout: 5 * time.Second, Retries: -1, BreakerFailures: 1 << 30}, Now: func() time.Time { return now }}
}

// opened is the adapter of that name in front of url.
func opened(t testing.TB, name, url string) enrich.Source {
	t.Helper()
	var s enrich.Source
	var err error
	switch c := conf(url); name {
	case "gbdfl":
		s, err = gbdfl.New(gbdfl.Config{Config: c, PublicKey: "key"})
	case "gbdrn":
		s, err = gbdrn.New(c)
	case "socialpayments":
		s, err = socialpayments.New(c)
	case "income":
		s, err = income.New(c)
	case "alimony":
		s, err = alimony.New(c)
	case "employment":
		s, err = employment.New(c)
	default:
		t.Fatalf("no adapter %q", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answer is a stand-in's answer with a record.
func answer(name, record string) string {
	return `<response xmlns="urn:egov-gateway:register:` + name + `:1"><messageId>m</messageId><messageDate>2026-11-02T11:00:00+05:00</messageDate><requestId>REQUEST</requestId>` +
		`<iin>` + low + `</iin><messageResult><code>0</code><nameRu>да</nameRu><nameKz>иә</nameKz></messageResult>` + record + `</response>`
}

const person = `<data><messageId>m</messageId><messageDate>2026-11-02T11:00:00+05:00</messageDate><requestId>REQUEST</requestId>` +
	`<sender><code>1</code></sender><receiver><code>1</code></receiver><messageResult><code>0</code></messageResult>` +
	`<persons><person><iin>` + low + `</iin><surname>А</surname><birthDate>1890-01-01</birthDate><gender><code>1</code></gender><nationality><code>1</code></nationality>` +
	`<citizenship><code>1</code></citizenship><lifeStatus><code>0</code></lifeStatus><regAddress><city>П</city></regAddress>` +
	`<documents><document><type><code>2</code></type><number>1</number><beginDate>2020-01-01</beginDate><issueOrganization><code>2</code></issueOrganization><status><code>0</code></status><birthDate>1890-01-01</birthDate></document></documents>` +
	`</person></persons></data>`

func TestRecordsAreCheckedFieldByField(t *testing.T) {
	e := &echo{}
	srv := httptest.NewServer(e)
	defer srv.Close()
	open := map[gateway.RecordKind]enrich.Source{}
	for _, name := range statesim.Systems() {
		src := opened(t, name, srv.URL)
		for _, kind := range src.Kinds() {
			open[kind] = src
		}
	}

	const (
		right   = `<rights><right><cadastralNumber>1</cadastralNumber><objectKind>flat</objectKind><territory>591010000</territory><address>a</address><areaSquareMetres>40.5</areaSquareMetres><rightKind>ownership</rightKind><share>1/2</share><registeredOn>2015-04-01</registeredOn></right></rights>`
		payment = `<payments><payment><kind>pension</kind><month>2026-10</month><amount>1</amount></payment></payments>`
		earned  = `<incomes><income><kind>salary</kind><month>2026-10</month><amount>85000.00</amount></income></incomes>`
		order   = `<orders><order><number>1</number><court>c</court><role>payer</role><dependants>1</dependants><monthlyAmount>1.5</monthlyAmount><since>2024-06-01</since></order></orders>`
		status  = `<unemployment><registered>true</registered><checkedOn>2026-11-02</checkedOn></unemployment>`
	)
	good := map[gateway.RecordKind]string{
		gateway.RecordIdentity: person, gateway.RecordAddress: person, gateway.RecordProperty: answer("gbdrn", right), gateway.RecordSocialPayments: answer("socialpayments", payment),
		gateway.RecordIncome: answer("income", earned), gateway.RecordAlimony: answer("alimony", order), gateway.RecordUnemployment: answer("employment", status),
	}
	const malformed, fault = gateway.SourceMalformed, gateway.SourceFault
	tests := []struct {
		name     string
		kind     gateway.RecordKind
		old, new string
		code     string // SHEP's status; "" means SCSS001
		want     gateway.Reason
		status   gateway.FactStatus
	}{
		{"a whole identity", gateway.RecordIdentity, "", "", "", "", gateway.FactFound},
		{"a whole address", gateway.RecordAddress, "", "", "", "", gateway.FactFound},
		{"a whole right", gateway.RecordProperty, "", "", "", "", gateway.FactFound},
		{"a whole payment", gateway.RecordSocialPayments, "", "", "", "", gateway.FactFound},
		{"a whole income", gateway.RecordIncome, "", "", "", "", gateway.FactFound},
		{"a whole order", gateway.RecordAlimony, "", "", "", "", gateway.FactFound},
		{"a whole status", gateway.RecordUnemployment, "", "", "", "", gateway.FactFound},
		{"an empty list is a record", gateway.RecordIncome, earned, "<incomes/>", "", "", gateway.FactFound},
		{"no data in words and status", gateway.RecordIncome, "<code>0</code>", "<code>1</code>", "SCSE001", "", gateway.FactNoData},
		{"no data in words only", gateway.RecordIncome, "<code>0</code>", "<code>1</code>", "", "", gateway.FactNoData},
		{"data under a status that denies it", gateway.RecordIncome, "", "", "SCSE001", malformed, ""},
		{"data under an error status", gateway.RecordIncome, "", "", "SCE909", fault, ""},
		{"no data about another person", gateway.RecordIncome, low + "</iin><messageResult><code>0", high + "</iin><messageResult><code>1", "", malformed, ""},
		{"another question", gateway.RecordIncome, "REQUEST", "x", "", malformed, ""},
		{"found, and nothing there", gateway.RecordIncome, earned, "", "", malformed, ""},
		{"another register's answer", gateway.RecordIncome, "register:income", "register:alimony", "", malformed, ""},
		{"an amount below zero", gateway.RecordIncome, "85000.00", "-1", "", malformed, ""},
		{"an amount in floating point", gateway.RecordIncome, "85000.00", "8.5e4", "", malformed, ""},
		{"a month that is none", gateway.RecordIncome, "2026-10", "2026-13", "", malformed, ""},
		{"a kind that is none", gateway.RecordIncome, "salary", "gift", "", malformed, ""},
		{"a payer that is none", gateway.RecordIncome, "<month>", "<payerBin>1</payerBin><month>", "", malformed, ""},
		{"elements out of order", gateway.RecordIncome, "<month>2026-10</month><amount>85000.00</amount>", "<amount>85000.00</amount><month>2026-10</month>", "", malformed, ""},
		{"two lists", gateway.RecordIncome, earned, earned + earned, "", malformed, ""},
		{"text between elements", gateway.RecordIncome, "<month>", "x<month>", "", malformed, ""},
		{"an element inside an amount", gateway.RecordIncome, "85000.00", "8<b/>5", "", malformed, ""},
		{"a comment does not split a value in two", gateway.RecordIncome, "85000.00", "85<!-- -->000.00", "", "", gateway.FactFound},
		{"a document type declaration", gateway.RecordIncome, "<response", "<!DOCTYPE r><response", "", malformed, ""},
		{"a share that is none", gateway.RecordProperty, "1/2", "1/0", "", malformed, ""},
		{"a territory that is none", gateway.RecordProperty, "591010000", "5910", "", malformed, ""},
		{"a date that is none", gateway.RecordProperty, "2015-04-01", "2015-04-31", "", malformed, ""},
		{"a role that is none", gateway.RecordAlimony, "payer", "friend", "", malformed, ""},
		{"nobody depends", gateway.RecordAlimony, "<dependants>1", "<dependants>0", "", malformed, ""},
		{"neither registered nor not", gateway.RecordUnemployment, "true", "maybe", "", malformed, ""},
		{"nobody in the answer", gateway.RecordIdentity, low, "", "", malformed, ""},
		{"another person", gateway.RecordIdentity, low, high, "", malformed, ""},
		{"two persons, one of them right", gateway.RecordIdentity, "<persons>", "<persons><person><iin>" + high + "</iin></person>", "", malformed, ""},
		{"the same person twice", gateway.RecordIdentity, "<persons>", "<persons><person><iin>" + low + "</iin></person>", "", malformed, ""},
		{"no persons although found", gateway.RecordIdentity, person[strings.Index(person, "<persons>"):strings.Index(person, "</data>")], "", "", malformed, ""},
		{"no name", gateway.RecordIdentity, "<surname>А</surname>", "", "", malformed, ""},
		{"no date of birth", gateway.RecordIdentity, "<birthDate>1890-01-01</birthDate><gender>", "<gender>", "", malformed, ""},
		{"a document without a number", gateway.RecordIdentity, "<number>1</number>", "", "", malformed, ""},
		{"a document whose end is no date", gateway.RecordIdentity, "<issueOrganization>", "<endDate>never</endDate><issueOrganization>", "", malformed, ""},
		{"a document without a status", gateway.RecordIdentity, "<status><code>0</code></status>", "", "", malformed, ""},
		{"no identity document", gateway.RecordIdentity, person[strings.Index(person, "<documents>"):strings.Index(person, "</person>")], "", "", "", gateway.FactNoData},
		{"no registered address", gateway.RecordAddress, "<regAddress><city>П</city></regAddress>", "", "", "", gateway.FactNoData},
		{"an empty address", gateway.RecordAddress, "<city>П</city>", "", "", malformed, ""},
		{"an address whose end is no date", gateway.RecordAddress, "</regAddress>", "<endDate>x</endDate></regAddress>", "", malformed, ""},
		{"an unknown result", gateway.RecordIdentity, "<messageResult><code>0", "<messageResult><code>7", "", fault, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := good[tt.kind]
			if tt.old != "" {
				if !strings.Contains(doc, tt.old) {
					t.Fatalf("the answer holds no %q", tt.old)
				}
				doc = strings.Replace(doc, tt.old, tt.new, 1)
			}
			if tt.code == "" {
				tt.code = shep.CodeSuccess
			}
			e.set(tt.code, doc)
			f, err := ask(t, open[tt.kind], tt.kind)
			if got := gateway.ReasonOf(err); got != tt.want || f.Status != tt.status {
				t.Errorf("%q, status %q; want %q, %q (%v)", got, f.Status, tt.want, tt.status, err)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	people, err := gbdfl.New(gbdfl.Config{Config: conf("http://127.0.0.1")})
	if err != nil {
		f.Fatal(err)
	}
	earnings, err := income.New(conf("http://127.0.0.1"))
	if err != nil {
		f.Fatal(err)
	}
	n, err := gateway.ParseTestIIN(low)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, []byte(person))
	f.Add(false, []byte(person))
	f.Add(true, []byte(answer("income", `<incomes><income><kind>salary</kind><month>2026-10</month><amount>1</amount></income></incomes>`)))
	f.Fuzz(func(t *testing.T, ok bool, doc []byte) {
		resp := shep.Response{ID: "a", Date: now, Status: shep.Status{Code: shep.CodeSuccess}, Data: shep.Data{Form: shep.FormString, Document: doc}}
		if !ok {
			resp.Status.Code = shep.CodeNotFound
		}
		// In a fixed order: the fuzzer tells inputs apart by the way they take.
		for _, kind := range []gateway.RecordKind{gateway.RecordIdentity, gateway.RecordAddress, gateway.RecordIncome} {
			r := people.Register
			if kind == gateway.RecordIncome {
				r = earnings.Register
			}
			found, err := register.Judge(r, resp, gateway.Inquiry{Kind: kind, Subject: n}, register.Header{MessageID: "REQUEST"})
			switch reason := gateway.ReasonOf(err); {
			case reason == gateway.SourceMalformed, reason == gateway.SourceFault:
			case reason != "":
				t.Fatalf("reason %q", reason)
			case found && !ok:
				t.Fatal("a record was found under a status that denies it")
			case found:
				if _, err := xmlsig.Scan(doc, xmlsig.Limits{MaxBytes: 1 << 24}); err != nil {
					t.Fatalf("a record that is no document: %v\n%s", err, doc)
				}
			}
		}
	})
}
