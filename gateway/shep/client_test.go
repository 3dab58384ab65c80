package shep_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
)

func TestSend(t *testing.T) {
	text := func(code int, s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, s) }
	}
	fault, err := shep.EncodeFault(shep.Fault{Code: "SCE004", String: "x", Info: &shep.ErrorInfo{Code: "SCE004", Message: "no such service", Date: date}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   gateway.Reason
	}{
		{"an answer", text(200, answer("<data>&lt;a/></data>")), ""},
		{"an answer without a chain id", text(200, strings.Replace(answer("<data/>"), "<correlationId>c-1</correlationId>", "", 1)), ""},
		{"an answer of another chain", text(200, strings.Replace(answer("<data/>"), "c-1", "c-2", 1)), gateway.SourceMalformed},
		{"a fault with its proper HTTP status", text(500, string(fault)), gateway.SourceFault},
		{"a fault with status 200", text(200, string(fault)), gateway.SourceFault},
		{"a broken server is no malformed answer", text(500, "<html>Internal Server Error</html>"), gateway.SourceUnavailable},
		{"an answer in status 500 is not believed", text(500, answer("<data/>")), gateway.SourceUnavailable},
		{"a closed door", text(403, ""), gateway.SourceUnavailable},
		{"maintenance", text(503, ""), gateway.SourceUnavailable},
		{"something else than SOAP", text(200, "<html/>"), gateway.SourceMalformed},
		{"an endless answer", text(200, strings.Repeat(" ", 5000)), gateway.SourceMalformed},
		{"silence", func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, gateway.SourceTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var seen shep.Message
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				m, err := shep.DecodeSendMessage(got)
				if err != nil || r.Header.Get("SOAPAction") != `""` || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml") {
					t.Errorf("the request is not a SHEP message: %v %v", err, r.Header)
				}
				seen = m
				tt.answer(w, r)
			}))
			defer s.Close()
			c, err := shep.NewClient(shep.ClientConfig{Name: "reg", URL: s.URL, ServiceID: "SVC", SenderID: "gw", Password: "pw", RouteID: "R", Idempotent: true,
				Upstream: upstream.Config{Timeout: 500 * time.Millisecond, Retries: -1, MaxResponse: 4000}, Now: func() time.Time { return date }})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r, err := c.Send(t.Context(), shep.Message{CorrelationID: "c-1", Data: shep.Data{Form: shep.FormString, Document: plain}})
			s.Close() // waits for the handler, also for one whose caller left
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("reason %q, want %q (%v)", got, tt.want, err)
			}
			if err == nil && (r.ID != "r-1" || !r.Status.OK()) {
				t.Errorf("got %+v", r)
			}
			if seen.ServiceID != "SVC" || seen.SenderID != "gw" || seen.Password != "pw" || seen.RouteID != "R" || len(seen.ID) != 36 || !seen.Date.Equal(date) || string(seen.Data.Document) != string(plain) {
				t.Errorf("sent %+v", seen)
			}
			if err != nil && strings.Contains(fmt.Sprintf("%+v", err), "pw") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

func TestNewClientRefusesIncompleteConfig(t *testing.T) {
	for _, c := range []shep.ClientConfig{{}, {Name: "n", URL: "u", ServiceID: "s"}, {Name: "n", URL: "u", SenderID: "s"}, {URL: "u", ServiceID: "s", SenderID: "s"}} {
		if _, err := shep.NewClient(c); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}

// A state system behind SHEP may want signed questions; its answers must then be its own.
func TestSignedCalls(t *testing.T) {
	gatewayKey, partner := key(t, "gost-system-gateway"), key(t, "system-state")
	good := &shep.Response{ID: "r", Date: date, Status: shep.Status{Code: shep.CodeSuccess}, Data: shep.Data{Form: shep.FormString, Document: plain}}
	encode := func(p shep.Payload) string {
		doc, err := shep.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	tests := []struct {
		name, answer string
		status       int
		want         gateway.Reason
	}{
		{"signed by the partner", sealed(t, good, "system-state"), 200, ""},
		{"not signed", encode(good), 200, gateway.SourceMalformed},
		{"signed by somebody else", sealed(t, good, "system-portal"), 200, gateway.SourceMalformed},
		{"changed after it was signed", strings.Replace(sealed(t, good, "system-state"), "SCSS001", "SCSE001", 1), 200, gateway.SourceMalformed},
		{"a fault need not be signed", encode(&shep.Fault{Code: "SCE006", Info: &shep.ErrorInfo{Code: "SCE006", Date: date}}), 500, gateway.SourceFault},
		{"another operation", sealed(t, &shep.AsyncReceipt{ID: "x", CorrelationID: "x", Date: date}, "system-state"), 200, gateway.SourceMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if got, err := shep.Open(body, shep.OpenOptions{MaxBytes: 1 << 20}); err != nil || got.Signer == nil || !got.Signer.Equal(gatewayKey.Certificate()) {
					t.Errorf("the question is not signed by the gateway: %v", err)
				}
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.answer)
			}))
			defer s.Close()
			c, err := shep.NewClient(shep.ClientConfig{Name: "reg", URL: s.URL, ServiceID: "SVC", SenderID: "gw", Key: gatewayKey, Partners: []*trust.Certificate{partner.Certificate()},
				Upstream: upstream.Config{Retries: -1}, Now: func() time.Time { return partner.Certificate().NotBefore.AddDate(0, 1, 0) }})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Send(t.Context(), shep.Message{})
			if gateway.ReasonOf(err) != tt.want || err == nil && string(got.Data.Document) != string(plain) {
				t.Errorf("%v, %+v; want %q", err, got, tt.want)
			}
		})
	}
}

// What an AsyncChannel partner says becomes: try again, or ask an operator.
func TestAsyncClient(t *testing.T) {
	partner := key(t, "system-state")
	receipt := &shep.AsyncReceipt{ID: "m", CorrelationID: guid, Date: date}
	fault := func(code string) string {
		doc, err := shep.Encode(&shep.Fault{Operation: shep.AsyncSendMessage, Code: code, Info: &shep.ErrorInfo{Code: code, Date: date}})
		if err != nil {
			t.Fatal(err)
		}
		return string(doc)
	}
	for _, tt := range []struct {
		name, answer string
		status       int
		want         gateway.Reason
	}{
		{"taken", sealed(t, receipt, "system-state"), 200, ""},
		{"taken, says somebody else", sealed(t, receipt, "system-portal"), 200, gateway.ProviderUnavailable},
		{"trouble over there", fault("SCE909"), 500, gateway.ProviderUnavailable},
		{"our clock", fault("SCE005"), 200, gateway.ProviderUnavailable},
		{"a code nobody knows", fault("SBF-VE-8"), 200, gateway.ProviderUnavailable},
		{"refused for its form", fault("SCE001"), 200, gateway.ProviderRejected},
		{"refused for our signature", fault("SCE006"), 500, gateway.ProviderRejected},
		{"refused for the citizen's", fault("SCE016"), 200, gateway.ProviderRejected},
		{"another operation", sealed(t, &shep.StatusChangeReceipt{Date: date, SessionID: guid}, "system-state"), 200, gateway.ProviderUnavailable},
		{"no SOAP", "<html/>", 404, gateway.ProviderUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.answer)
			}))
			defer s.Close()
			c, err := shep.NewAsyncClient(shep.AsyncConfig{Name: "region", URL: s.URL, Sender: shep.Sender{ID: "gw"}, Partners: []*trust.Certificate{partner.Certificate()},
				Upstream: upstream.Config{Retries: -1}, Now: func() time.Time { return partner.Certificate().NotBefore.AddDate(0, 1, 0) }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Send(t.Context(), *asyncMessage(shep.TypeRequest, shep.Data{Form: shep.FormString, Document: plain})); gateway.ReasonOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
