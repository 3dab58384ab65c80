package admission_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"egov-gateway/gateway/admission"
)

// stuck takes nothing of an answer until it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	began, letGo chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	close(s.began)
	<-s.letGo
	return s.ResponseRecorder.Write(b)
}

// signal tells when a body is asked for.
type signal struct {
	io.Reader
	asked chan struct{}
}

func (s *signal) Read(b []byte) (int, error) {
	if s.asked != nil {
		close(s.asked)
		s.asked = nil
	}
	return s.Reader.Read(b)
}

// Places before pages are for the work: who sends slowly, or takes no answer, keeps nobody out.
func TestAPlaceBeforePagesIsForTheWork(t *testing.T) {
	const address = "192.0.2.1:1"
	tests := []struct {
		name string
		// hold sends the first request and returns when it is under way, with what lets it end.
		hold func(h http.Handler, working, work chan struct{}) (letGo func())
		code int // of the second request from the same address
	}{
		{"the first is being worked on", func(h http.Handler, working, work chan struct{}) func() {
			done := make(chan struct{})
			go func() {
				h.ServeHTTP(httptest.NewRecorder(), ask(http.MethodGet, "/work", address, nil))
				close(done)
			}()
			<-working
			return func() { close(work); <-done }
		}, http.StatusServiceUnavailable},
		{"the first does not take its answer", func(h http.Handler, _, _ chan struct{}) func() {
			w, done := stuck{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}, make(chan struct{})
			go func() {
				h.ServeHTTP(w, ask(http.MethodGet, "/", address, nil))
				close(done)
			}()
			<-w.began
			return func() { close(w.letGo); <-done }
		}, http.StatusOK},
		{"the first's form does not come", func(h http.Handler, _, _ chan struct{}) func() {
			body, w := io.Pipe()
			asked, done := make(chan struct{}), make(chan struct{})
			go func() {
				h.ServeHTTP(httptest.NewRecorder(), ask(http.MethodPost, "/", address, &signal{body, asked}))
				close(done)
			}()
			<-asked
			return func() { w.Close(); <-done }
		}, http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			door := admission.New(admission.Config{}).NewDoor(admission.DoorConfig{Name: "pages", Strangers: admission.Room{Places: 4}})
			working, work := make(chan struct{}), make(chan struct{})
			h := door.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/work" {
					close(working)
					<-work
				}
				io.Copy(w, r.Body)      //nolint:errcheck // a recorder takes all
				w.Write([]byte("page")) //nolint:errcheck // as above
			}), func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) })
			letGo := tt.hold(h, working, work)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, ask(http.MethodGet, "/", address, nil))
			if w.Code != tt.code {
				t.Errorf("the second: %d", w.Code)
			}
			letGo()
			w = httptest.NewRecorder()
			long := strings.Repeat("form", 10_000) // of which a part is read before
			h.ServeHTTP(w, ask(http.MethodPost, "/", address, strings.NewReader(long)))
			if w.Code != http.StatusOK || w.Body.String() != long+"page" {
				t.Errorf("the third: %d, %d bytes", w.Code, w.Body.Len())
			}
			if used := door.Report().Strangers; used != (admission.Room{}) {
				t.Errorf("%+v is still taken", used)
			}
		})
	}
}

func ask(method, path, address string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, path, body)
	r.RemoteAddr = address
	if body != nil {
		r.ContentLength = -1
	}
	return r
}
