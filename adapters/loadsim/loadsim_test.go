package loadsim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/adapters/loadsim"
	"egov-gateway/adapters/statesim"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/xmlsig"
)

// reports is a gateway's door for providers; it sends the first reports away.
type reports struct {
	mu   sync.Mutex
	busy int // guarded by mu: reports still to be sent away
	bad  bool
	got  []string // guarded by mu: paths
	docs [][]byte // guarded by mu
}

func (r *reports) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	doc, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy > 0 {
		r.busy--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.got, r.docs = append(r.got, req.URL.Path+" "+req.Header.Get("Authorization")), append(r.docs, doc)
	if r.bad {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
}

func world(t *testing.T, r *reports) (*loadsim.World, string) {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	outside, err := statesim.New(statesim.Config{Citizens: []statesim.Citizen{{IIN: loadsim.Model, Surname: "ТЕСТОВ", Name: "ТИМУР"}}})
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(r)
	t.Cleanup(gateway.Close)
	key := func(id string) statesim.Identity {
		e := pki.Must(id)
		return statesim.Identity{Certificate: e.DER, Signer: e.Signer, Algorithm: testpki.GOSTSignatureAlgorithm(), Digest: testpki.NewGOSTDigest}
	}
	w, err := loadsim.New(loadsim.Config{Outside: outside, GatewayURL: gateway.URL, Delay: 5 * time.Millisecond, Providers: []loadsim.Provider{{ID: "taraz", Name: `ГУ "A & B"`, BIN: "980149000025", Token: "secret",
		Head: key("gost-provider-zhambyl-head"), Executor: key("gost-provider-zhambyl-executor")}}})
	if err != nil {
		t.Fatal(err)
	}
	go w.Run(t.Context())
	door := httptest.NewServer(w.Handler())
	t.Cleanup(door.Close)
	return w, door.URL
}

func send(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

const (
	plain = `<e><requestInfo><messageId>m-1</messageId><correlationId>c-1</correlationId></requestInfo><requestData><data>&lt;request&gt;&lt;messageId&gt;m-1&lt;/messageId&gt;&lt;iin&gt;620304150007&lt;/iin&gt;&lt;/request&gt;</data></requestData></e>`
	typed = `<e><requestInfo><messageId>m-1</messageId><correlationId>c-1</correlationId><properties><key>recordKind</key><value>KIND</value></properties></requestInfo><requestData><data><messageId>m-1</messageId><iin>620304150007</iin></data></requestData></e>`
)

func TestAnAnswerRepeatsWhatWasAsked(t *testing.T) {
	_, url := world(t, &reports{})
	for _, tt := range []struct {
		name, system, question string
		status                 int
		holds                  string
	}{
		{"a document", "gbdfl", strings.Replace(typed, "KIND", "identity", 1), 200, "<birthDate>1862-03-04</birthDate>"},
		{"an address", "gbdfl", strings.Replace(typed, "KIND", "address", 1), 200, "<regAddress>"},
		{"property", "gbdrn", plain, 200, "cadastralNumber"},
		{"payments", "socialpayments", plain, 200, "child-benefit"},
		{"income", "income", plain, 200, "salary"},
		{"alimony", "alimony", plain, 200, "Деректер"},
		{"unemployment", "employment", plain, 200, "registered"},
		{"a kind that the register does not have", "gbdfl", strings.Replace(typed, "KIND", "income", 1), 400, ""},
		{"no IIN", "income", strings.Replace(plain, "620304150007", "", 1), 400, ""},
		{"nothing", "income", "", 400, ""},
		{"an unknown system", "weather", plain, 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			status, body := send(t, http.MethodPost, url+"/shep/"+tt.system, tt.question)
			if status != tt.status || !strings.Contains(body, tt.holds) {
				t.Fatalf("%d %s", status, body)
			}
			if status != 200 {
				return
			}
			for _, want := range []string{"620304150007", "m-1", "c-1"} {
				if !strings.Contains(body, want) {
					t.Errorf("%s is not in %s", want, body)
				}
			}
			for _, left := range []string{loadsim.Model, "1850-12-31", "11111111-2222"} {
				if strings.Contains(body, left) {
					t.Errorf("%s of the pattern is left", left)
				}
			}
			if time.Since(began) < 5*time.Millisecond {
				t.Error("the system did not take its time")
			}
		})
	}
}

func TestADeliveryIsReportedOnceSignedAndInOrder(t *testing.T) {
	r := &reports{busy: 2}
	w, url := world(t, r)
	const path, delivery = "/providers/taraz/requests/00112233445566778899aabbccddeeff", "<delivery><steps><step><code>register</code></step><step><code>send</code></step></steps><records><record><code>no</code></record></records></delivery>"
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if status, _ := send(t, http.MethodPut, url+path, delivery); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
	if status, _ := send(t, http.MethodPut, url+"/providers/nobody/requests/1", delivery); status != http.StatusNotFound {
		t.Errorf("%d", status)
	}
	for deadline := time.Now().Add(2 * time.Minute); w.Reported.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was reported")
		}
	}
	time.Sleep(50 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	want := "/v1/providers/taraz/steps Bearer secret\n/v1/providers/taraz/steps Bearer secret\n/v1/providers/taraz/results Bearer secret"
	if got := strings.Join(r.got, "\n"); got != want {
		t.Errorf("reported\n%s", got)
	}
	for i, holds := range []string{"<code>register</code>", "<code>send</code>", "<assignment>"} {
		s, err := xmlsig.Verify(r.docs[i], xmlsig.Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, r.docs[i])
		}
		s.Release()
		if !strings.Contains(string(r.docs[i]), holds) {
			t.Errorf("report %d lacks %s", i, holds)
		}
	}
}

func TestAReportThatIsRefusedIsCountedAndNotRepeated(t *testing.T) {
	r := &reports{bad: true}
	w, url := world(t, r)
	send(t, http.MethodPut, url+"/providers/taraz/requests/00112233445566778899aabbccddeeff", "<steps><code>register</code></steps>")
	for deadline := time.Now().Add(2 * time.Minute); w.Refused.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was refused")
		}
	}
	time.Sleep(50 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) != 1 || w.Reported.Load() != 0 {
		t.Errorf("%v", r.got)
	}
}
