package statesim_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/harness/peer"
	"egov-gateway/gateway/harness/tool"

	"github.com/beevik/etree"
)

// A stage is a world with a clock, and a gateway that keeps what it is told.
type stage struct {
	*statesim.World
	t   *testing.T
	pki *testpki.PKI
	url string

	mu      sync.Mutex
	now     time.Time
	got     []posted
	answers []int // statuses of the gateway's next answers; then 202
}

type posted struct {
	path, token, contentType string
	body                     []byte
	at                       time.Time
}

func (s *stage) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stage) hop(to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = to
}

func (s *stage) posted() []posted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func newStage(t *testing.T, change func(*statesim.Config)) *stage {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, pki: pki, now: testpki.At}
	gw := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, posted{r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), body, s.now})
		status := http.StatusAccepted
		if len(s.answers) > 0 {
			status, s.answers = s.answers[0], s.answers[1:]
		}
		rw.WriteHeader(status)
	}))
	t.Cleanup(gw.Close)
	providers, err := testworld.Providers()
	if err != nil {
		t.Fatal(err)
	}
	c, err := testworld.Config(pki, gw.URL, providers...)
	if err != nil {
		t.Fatal(err)
	}
	c.Now = s.Now
	if change != nil {
		change(&c)
	}
	if s.World, err = statesim.New(c); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *stage) work() int { return s.Work(s.t.Context()) }

// play hops from one due report to the next until nothing is left.
func (s *stage) play() {
	for range 100 {
		due, ok := s.NextDue()
		if !ok {
			return
		}
		if due.After(s.Now()) {
			s.hop(due)
		}
		s.work()
	}
	s.t.Fatal("the world never comes to rest")
}

const reqID = "00112233445566778899aabbccddeeff"

// parcel builds a delivery; change edits it before it is signed.
func (s *stage) parcel(id string, applicant *testpki.Entry, records map[string]string, change func(*etree.Element)) []byte {
	s.t.Helper()
	b64 := base64.StdEncoding.EncodeToString
	request := fmt.Sprintf(`<request xmlns="urn:egov-gateway:housing-aid:request:1"><applicant><iin>%s</iin><surname>%s</surname><givenName>%s</givenName></applicant>`+
		`<family><member/></family><housing><monthlyCost>30000</monthlyCost></housing></request>`, applicant.IIN, applicant.Surname, applicant.Name)
	root := etree.NewElement("delivery")
	root.CreateAttr("xmlns", "urn:egov-gateway:delivery:1")
	set := func(el *etree.Element, name, v string) { el.CreateElement(name).SetText(v) }
	stamp := func(d time.Duration) string { return testpki.At.Add(d).Format(time.RFC3339) }
	set(root, "requestId", id)
	set(root, "serviceCode", "housing-aid")
	set(root, "passportVersion", "1")
	set(root, "providerId", "petropavl")
	set(root, "shard", "sko")
	set(root, "registeredAt", stamp(0))
	set(root, "dueAt", stamp(48*time.Hour))
	steps := root.CreateElement("steps")
	for _, st := range []struct {
		code string
		due  time.Duration
	}{{"register", time.Hour}, {"resolution", 25 * time.Hour}, {"send", 25*time.Hour + 15*time.Minute}} {
		el := steps.CreateElement("step")
		set(el, "code", st.code)
		set(el, "dueAt", stamp(st.due))
	}
	set(root, "signedRequest", b64([]byte(request)))
	list := root.CreateElement("records")
	for kind, data := range records {
		el := list.CreateElement("record")
		set(el, "kind", kind)
		set(el, "source", "x")
		set(el, "status", map[bool]string{true: "found", false: "no-data"}[data != ""])
		set(el, "observedAt", stamp(0))
		set(el, "messageId", "m")
		if data != "" {
			set(el, "data", b64([]byte(data)))
		}
	}
	att := root.CreateElement("attachments").CreateElement("attachment")
	sum := sha256.Sum256([]byte("bill"))
	for name, v := range map[string]string{"name": "bill.pdf", "kind": "utilities-bill", "mediaType": "application/pdf", "sha256": hex.EncodeToString(sum[:]), "data": b64([]byte("bill"))} {
		set(att, name, v)
	}
	if change != nil {
		change(root)
	}
	e := s.pki.Must("system-gateway")
	out, err := statesim.Sign(root, statesim.Identity{Certificate: e.DER, Signer: e.Signer})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *stage) put(id, provider, token, key string, body []byte) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, s.url+"/providers/"+provider+"/requests/"+id, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (s *stage) deliver(body []byte) int {
	return s.put(reqID, "petropavl", "test-token-petropavl", reqID, body)
}

func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := peer.Command(t.Context(), time.Now(), name, args...).CombinedOutput()
	return string(out), err
}

func file(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDeliveryIsTakenOnce(t *testing.T) {
	s := newStage(t, nil)
	citizen := s.pki.Must("citizen-01")
	good := s.parcel(reqID, citizen, nil, nil)
	other := s.parcel(reqID, citizen, map[string]string{"address": ""}, nil)
	const token = "test-token-petropavl"
	foreign := s.pki.Must("system-portal")
	unsigned := etree.NewDocument()
	if err := unsigned.ReadFromBytes(good); err != nil {
		t.Fatal(err)
	}
	unsigned.Root().RemoveChild(unsigned.Root().SelectElement("Signature"))
	bare, _ := unsigned.WriteToBytes()
	forged, err := statesim.Sign(unsigned.Root(), statesim.Identity{Certificate: foreign.DER, Signer: foreign.Signer})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, id, provider, token, key string
		body                           []byte
		want                           int
	}{
		{"an unknown provider", reqID, "nobody", token, reqID, good, 404},
		{"a wrong token", reqID, "petropavl", "test-token-taraz", reqID, good, 401},
		{"no idempotency key", reqID, "petropavl", token, "", good, 400},
		{"a request id that is none", "1", "petropavl", token, "1", good, 400},
		{"another request than the path says", strings.Repeat("a", 32), "petropavl", token, strings.Repeat("a", 32), good, 422},
		{"unsigned", reqID, "petropavl", token, reqID, bare, 422},
		{"signed by somebody else", reqID, "petropavl", token, reqID, forged, 422},
		{"changed after signing", reqID, "petropavl", token, reqID, bytes.Replace(good, []byte("<shard>sko"), []byte("<shard>abc"), 1), 422},
		{"an element is missing", reqID, "petropavl", token, reqID, s.parcel(reqID, citizen, nil, func(r *etree.Element) { r.RemoveChild(r.SelectElement("shard")) }), 422},
		{"an attachment is not the signed one", reqID, "petropavl", token, reqID, s.parcel(reqID, citizen, nil, func(r *etree.Element) { r.FindElement("//attachment/data").SetText("eA==") }), 422},
		{"the first time", reqID, "petropavl", token, reqID, good, 201},
		{"the same again", reqID, "petropavl", token, reqID, good, 200},
		{"the same id with other content", reqID, "petropavl", token, reqID, other, 409},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.put(tt.id, tt.provider, tt.token, tt.key, tt.body); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
	if got := s.State().Requests[reqID]; got.Effects != 1 || got.Deliveries != 2 || got.Conflicts != 1 {
		t.Errorf("state %+v", got)
	}
}

func TestProviderReportsItsStepsAndSignsItsResult(t *testing.T) { // R7, R12, R17
	tool.Path(t, "xmllint", "libxml2-utils")
	tool.Path(t, "xmlsec1", "xmlsec1")
	s := newStage(t, nil)
	if got := s.deliver(s.parcel(reqID, s.pki.Must("citizen-01"), nil, nil)); got != 201 {
		t.Fatalf("status %d", got)
	}
	if n := s.work(); n != 0 {
		t.Errorf("%d reports before anything was due", n)
	}
	s.play()
	got := s.posted()
	if len(got) != 4 {
		t.Fatalf("%d reports, want three steps and a result", len(got))
	}
	dir := t.TempDir()
	root := file(t, dir, "root.pem", s.pki.Must("root").CertificatePEM)
	issuing := file(t, dir, "issuing.pem", s.pki.Must("issuing").CertificatePEM)
	for i, want := range []struct {
		door, code string
		at         time.Duration // half of each limit after the one before
		signer     string
	}{
		{"steps", "register", 30 * time.Minute, "provider-sko-executor"},
		{"steps", "resolution", 12*time.Hour + 30*time.Minute, "provider-sko-executor"},
		{"steps", "send", 12*time.Hour + 37*time.Minute + 30*time.Second, "provider-sko-executor"},
		{"results", "", 12*time.Hour + 37*time.Minute + 30*time.Second, "provider-sko-head"},
	} {
		p := got[i]
		if p.path != "/v1/providers/petropavl/"+want.door || p.token != "Bearer test-token-petropavl" || p.contentType != "application/xml" {
			t.Errorf("report %d: %s %s %s", i, p.path, p.token, p.contentType)
		}
		if at := p.at.Sub(testpki.At); at != want.at {
			t.Errorf("report %d after %s, want %s", i, at, want.at)
		}
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(p.body); err != nil {
			t.Fatal(err)
		}
		if code := doc.FindElement("//code"); want.code != "" && (code == nil || code.Text() != want.code) {
			t.Errorf("report %d is not step %s", i, want.code)
		}
		cert, err := base64.StdEncoding.DecodeString(doc.FindElement("//X509Certificate").Text())
		if err != nil || !bytes.Equal(cert, s.pki.Must(want.signer).DER) || len(doc.FindElements("//X509Certificate")) != 1 {
			t.Errorf("report %d is not signed by %s alone", i, want.signer)
		}
		path := file(t, dir, fmt.Sprint(i, ".xml"), p.body)
		if out, err := run(t, "xmllint", "--noout", "--nonet", "--schema", "../../schemas/"+strings.TrimSuffix(want.door, "s")+".xsd", path); err != nil {
			t.Errorf("report %d: %s", i, out)
		}
		verify := []string{"--verify", "--trusted-pem", root, "--untrusted-pem", issuing, "--verification-time", testpki.At.Format(time.DateTime), "--enabled-reference-uris", "empty", path}
		if out, err := run(t, "xmlsec1", verify...); err != nil {
			t.Errorf("report %d: xmlsec1: %s", i, out)
		}
	}
	st := s.State().Requests[reqID]
	if !st.Done || st.Results != 1 || st.Effects != 1 || !slices.Equal(st.Steps, []string{"register", "resolution", "send"}) || st.Decision != "assignment: 30000.00" {
		t.Errorf("state %+v", st)
	}
	if _, ok := s.NextDue(); ok {
		t.Error("something is still due")
	}
}

func TestFactorMakesTheProviderFaster(t *testing.T) {
	s := newStage(t, func(c *statesim.Config) { c.Factor = 100 })
	s.deliver(s.parcel(reqID, s.pki.Must("citizen-01"), nil, nil))
	if due, ok := s.NextDue(); !ok || due.Sub(testpki.At) != 18*time.Second {
		t.Errorf("the first step is due after %s", due.Sub(testpki.At))
	}
}

func TestProviderDecidesByTheRecords(t *testing.T) { // R13, R17
	person := func(iin, surname, name, more string) string {
		return `<data xmlns:n="http://message.persistence.interactive.nat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="n:Response"><persons><person><iin>` + iin +
			`</iin><surname>` + surname + `</surname><name>` + name + `</name>` + more + `</person></persons></data>`
	}
	income := func(amount string) string {
		return `<response xmlns="urn:egov-gateway:register:income:1"><incomes><income><amount>` + amount + `</amount></income></incomes></response>`
	}
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := pki.Must("citizen-01")
	tests := []struct {
		name    string
		records map[string]string
		want    string
	}{
		{"no income", nil, "assignment: 30000.00"},
		{"a tenth of the income is the family's share", map[string]string{"income": income("300000")}, "assignment: 20000.00"},
		{"social payments count as income", map[string]string{"social-payments": strings.ReplaceAll(income("30000"), "income", "payment")}, "assignment: 29000.00"},
		{"received alimony counts, paid alimony does not", map[string]string{"alimony": `<r><order><role>recipient</role><monthlyAmount>20000</monthlyAmount></order><order><role>payer</role><monthlyAmount>90000</monthlyAmount></order></r>`}, "assignment: 28000.00"},
		{"income above the threshold for each of two", map[string]string{"income": income("900006")}, "refusal: income-above-threshold"},
		{"income that carries the costs", map[string]string{"income": income("900000")}, "refusal: income-above-threshold"},
		{"identity confirmed", map[string]string{"identity": person(c.IIN, strings.ToLower(c.Surname), c.Name, "")}, "assignment: 30000.00"},
		{"another surname in the register", map[string]string{"identity": person(c.IIN, "ДРУГАЯ", c.Name, "")}, "refusal: data-unreliable"},
		{"a person the register does not know", map[string]string{"identity": ""}, "refusal: data-unreliable"},
		{"no registered address", map[string]string{"address": ""}, "refusal: data-unreliable"},
		{"an address that has ended", map[string]string{"address": person(c.IIN, "", "", "<regAddress><endDate>2020-01-01</endDate></regAddress>")}, "refusal: data-unreliable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t, nil)
			if got := s.deliver(s.parcel(reqID, c, tt.records, nil)); got != 201 {
				t.Fatalf("status %d", got)
			}
			s.play()
			if got := s.State().Requests[reqID].Decision; got != tt.want {
				t.Errorf("decided %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReportsAreRepeatedUntilTheGatewayTakesThem(t *testing.T) {
	s := newStage(t, nil)
	s.answers = []int{503, 429, 202, 409, 500, 408, 202, 400}
	s.deliver(s.parcel(reqID, s.pki.Must("citizen-01"), nil, nil))
	s.play()
	st := s.State().Requests[reqID]
	if !slices.Equal(st.Steps, []string{"register", "send"}) || st.Results != 0 || st.Attempts != 8 || !st.Done {
		t.Errorf("state %+v", st)
	}
	if len(st.GivenUp) != 2 || st.GivenUp[0].Code != "resolution" || st.GivenUp[0].Status != 409 || st.GivenUp[1].Door != "results" || st.GivenUp[1].Status != 400 {
		t.Errorf("given up %+v", st.GivenUp)
	}
	got := s.posted()
	if !bytes.Equal(got[0].body, got[1].body) || !bytes.Equal(got[0].body, got[2].body) {
		t.Error("a repeated report is another document")
	}
	if !got[1].at.After(got[0].at) {
		t.Error("a report was repeated at once")
	}
}

func TestFaultyResults(t *testing.T) {
	tests := []struct {
		fault   statesim.FaultKind
		results int
		signer  string
		holds   bool // xmlsec1 says that the signature is right
	}{
		{"", 1, "provider-sko-head", true},
		{statesim.WrongSigner, 1, "citizen-01", true},
		{statesim.ForeignBIN, 1, "provider-foreign-head", true},
		{statesim.ExpiredSigner, 1, "citizen-expired", true},
		{statesim.Tampered, 1, "provider-sko-head", false},
		{statesim.OtherRequest, 1, "provider-sko-head", true},
		{statesim.Unsigned, 1, "", false},
		{statesim.Twice, 2, "provider-sko-head", true},
		{statesim.Contradiction, 2, "provider-sko-head", true},
	}
	tool.Path(t, "xmlsec1", "xmlsec1")
	for _, tt := range tests {
		t.Run(string(tt.fault)+" fault", func(t *testing.T) {
			s := newStage(t, nil)
			if tt.fault != "" {
				if err := s.SetFaults(statesim.TargetProviders, statesim.Fault{Kind: tt.fault}); err != nil {
					t.Fatal(err)
				}
			}
			s.deliver(s.parcel(reqID, s.pki.Must("citizen-01"), nil, nil))
			s.play()
			var results [][]byte
			for _, p := range s.posted() {
				if strings.HasSuffix(p.path, "/results") {
					results = append(results, p.body)
				}
			}
			if len(results) != tt.results {
				t.Fatalf("%d results, want %d", len(results), tt.results)
			}
			if tt.results == 2 && bytes.Equal(results[0], results[1]) != (tt.fault == statesim.Twice) {
				t.Error("the second result is the wrong one")
			}
			doc := etree.NewDocument()
			if err := doc.ReadFromBytes(results[0]); err != nil {
				t.Fatal(err)
			}
			if same := doc.FindElement("//requestId").Text() == reqID; same == (tt.fault == statesim.OtherRequest) {
				t.Error("the result names the wrong request")
			}
			if tt.signer == "" {
				if doc.FindElement("//Signature") != nil {
					t.Error("signed")
				}
				return
			}
			cert, _ := base64.StdEncoding.DecodeString(doc.FindElement("//X509Certificate").Text())
			if !bytes.Equal(cert, s.pki.Must(tt.signer).DER) {
				t.Errorf("not signed by %s", tt.signer)
			}
			dir := t.TempDir()
			key := file(t, dir, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
			out, err := run(t, "xmlsec1", "--verify", "--pubkey-cert-pem", key, "--enabled-key-data", "key-name", file(t, dir, "r.xml", results[0]))
			if (err == nil) != tt.holds {
				t.Errorf("xmlsec1: %s", out)
			}
		})
	}
}

func TestPaceFaults(t *testing.T) {
	for _, tt := range []struct {
		fault   statesim.FaultKind
		reports int
		first   time.Duration
	}{{statesim.Silent, 0, 0}, {statesim.Late, 4, 3 * time.Hour}, {statesim.NoSteps, 1, 12*time.Hour + 37*time.Minute + 30*time.Second}} {
		t.Run(string(tt.fault), func(t *testing.T) {
			s := newStage(t, func(c *statesim.Config) {
				c.Faults = map[string][]statesim.Fault{"petropavl": {{Kind: tt.fault, Calls: 1}}}
			})
			s.deliver(s.parcel(reqID, s.pki.Must("citizen-01"), nil, nil))
			s.play()
			got := s.posted()
			if len(got) != tt.reports || len(got) > 0 && got[0].at.Sub(testpki.At) != tt.first {
				t.Errorf("%d reports: %+v", len(got), got)
			}
		})
	}
}

func TestRunWorksByItself(t *testing.T) {
	s := newStage(t, func(c *statesim.Config) { c.Factor = 1e6 })
	done := make(chan error, 1)
	ctx, cancel := contextWithCancel(t)
	go func() { done <- s.Run(ctx) }()
	s.deliver(s.parcel(reqID, s.pki.Must("citizen-01"), nil, nil))
	s.hop(testpki.At.Add(time.Minute))
	for deadline := time.Now().Add(2 * time.Minute); !s.State().Requests[reqID].Done; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the provider did not finish")
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("Run ended without the context's error")
	}
}

func TestNoticesAreCountedByKey(t *testing.T) {
	s := newStage(t, nil)
	post := func(key string) int {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/portal/notices", strings.NewReader("notice "+key))
		req.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if post("a") != 204 || post("b") != 204 || post("a") != 204 || post("") != 400 {
		t.Error("a notice got the wrong status")
	}
	if n := s.Notices(); n["a"].Count != 2 || n["b"].Count != 1 || string(n["a"].Body) != "notice a" || len(n) != 2 {
		t.Errorf("notices %+v", n)
	}
	if err := s.SetFaults(statesim.TargetPortal, statesim.Fault{Kind: statesim.Unavailable, Calls: 1}); err != nil {
		t.Fatal(err)
	}
	if post("c") != 503 || post("c") != 204 {
		t.Error("the portal is not unavailable once")
	}
}

func TestControl(t *testing.T) {
	s := newStage(t, nil)
	call := func(method, path, body string) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		out, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(out)
	}
	tests := []struct {
		name, method, path, body string
		want                     int
	}{
		{"faults are set", "POST", "/sim/faults", `{"income":[{"kind":"hang","calls":2}],"ocsp":[{"kind":"stale","rate":0.5}]}`, 200},
		{"a fault that the target has not", "POST", "/sim/faults", `{"income":[{"kind":"stale"}]}`, 400},
		{"a target that is none", "POST", "/sim/faults", `{"nobody":[{"kind":"hang"}]}`, 400},
		{"a field that is none", "POST", "/sim/faults", `{"income":[{"kind":"hang","count":2}]}`, 400},
		{"a rate above one", "POST", "/sim/faults", `{"income":[{"kind":"hang","rate":2}]}`, 400},
		{"faults are shown", "GET", "/sim/faults", "", 200},
		{"faults are cleared", "DELETE", "/sim/faults", "", 200},
		{"the state is shown", "GET", "/sim/state", "", 200},
		{"a revocation is set", "POST", "/sim/revocations", `{"set":[{"serial":"0a","state":"revoked","reason":"keyCompromise"}],"publish":true}`, 204},
		{"a reason that is none", "POST", "/sim/revocations", `{"set":[{"serial":"0a","state":"revoked","reason":"whim"}]}`, 400},
	}
	for _, tt := range tests {
		if got, out := call(tt.method, tt.path, tt.body); got != tt.want {
			t.Errorf("%s: status %d, want %d: %s", tt.name, got, tt.want, out)
		}
	}
	var st statesim.State
	_, out := call("GET", "/sim/state", "")
	if err := json.Unmarshal([]byte(out), &st); err != nil || st.Requests == nil || !st.Now.Equal(testpki.At) {
		t.Errorf("state %s: %v", out, err)
	}

	for name, change := range map[string]func(*http.Request){
		"from another machine":           func(r *http.Request) { r.RemoteAddr = "192.0.2.7:4711" },
		"under another name (rebinding)": func(r *http.Request) { r.RemoteAddr = "127.0.0.1:4711"; r.Host = "evil.example" },
	} {
		r := httptest.NewRequest("GET", "http://127.0.0.1/sim/state", nil)
		change(r)
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		if rec.Code != 403 {
			t.Errorf("%s: status %d, want 403", name, rec.Code)
		}
	}
}

func TestNewRefusesPeopleWhoMayLive(t *testing.T) {
	for _, iin := range []string{"900101300007", "123", "90010130000x"} {
		if _, err := statesim.New(statesim.Config{Citizens: []statesim.Citizen{{IIN: iin}}}); err == nil {
			t.Errorf("%s accepted", iin)
		}
	}
}
