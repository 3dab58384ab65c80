package intake_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal"
)

// results has a result of a megabyte for every request, whose portal is its message id's.
type results struct {
	journal.Store
	portals map[gateway.RequestID]string
}

func (j results) Get(_ context.Context, id gateway.RequestID) (journal.Item, error) {
	return journal.Item{ID: id, Portal: j.portals[id]}, nil
}

func (results) Body(context.Context, gateway.RequestID, string) ([]byte, error) {
	return make([]byte, 1<<20), nil
}

// A stuck client takes nothing of its answer until it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	began, letGo chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	if s.Code == http.StatusOK && len(b) > 1<<19 {
		s.began <- struct{}{}
		<-s.letGo
	}
	return s.ResponseRecorder.Write(b)
}

// Answers that a portal does not take are memory: it has its share of it, and leaves the others theirs.
func TestAnswersThatAPortalDoesNotTakeAreItsShare(t *testing.T) {
	tokens := map[string]string{"slow.kz": "one", "honest.kz": "other"}
	ids := map[string]gateway.RequestID{}
	j := results{portals: map[gateway.RequestID]string{}}
	c := intake.Config{InFlight: 8 << 20}
	for name, token := range tokens {
		c.Portals = append(c.Portals, intake.Portal{Name: name, TokenSHA256: sha256.Sum256([]byte(token)), Concurrent: 1})
		ids[name] = gateway.NewRequestID(name, "m", sha256.Sum256(nil))
		j.portals[ids[name]] = name
	}
	d := openDoorOver(t, c, j)
	mux := http.NewServeMux()
	d.Register(mux)
	began, letGo := make(chan struct{}), make(chan struct{})
	ask := func(portal string, w http.ResponseWriter) {
		r := httptest.NewRequest(http.MethodGet, "/v1/requests/"+string(ids[portal])+"/result", nil)
		r.Header.Set("Authorization", "Bearer "+tokens[portal])
		mux.ServeHTTP(w, r)
	}
	done := make(chan int)
	held := 0
	const asked = 10
	for range asked {
		w := stuck{httptest.NewRecorder(), began, letGo}
		go func() {
			ask("slow.kz", w)
			done <- w.Code
		}()
		select {
		case <-began:
			held++
		case code := <-done:
			if code != http.StatusServiceUnavailable {
				t.Errorf("beyond its share: %d", code)
			}
		}
	}
	if held != 6 { // its quarter of eight megabytes, and the half that is common
		t.Errorf("%d answers of a megabyte are held", held)
	}
	w := httptest.NewRecorder()
	if ask("honest.kz", w); w.Code != http.StatusOK || w.Body.Len() != 1<<20 {
		t.Errorf("the other portal: %d, %d bytes", w.Code, w.Body.Len())
	}
	close(letGo)
	for range held {
		if code := <-done; code != http.StatusOK {
			t.Errorf("an answer that was taken late: %d", code)
		}
	}
	w = httptest.NewRecorder()
	if ask("slow.kz", w); w.Code != http.StatusOK {
		t.Errorf("after all were taken: %d", w.Code)
	}
}
