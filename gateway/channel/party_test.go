package channel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"
)

// A noticing desk refuses all, and keeps who came.
type noticing struct {
	channel.Desk
	came []intake.Submission
}

func (n *noticing) Take(_ context.Context, s intake.Submission) (*intake.Admission, error) {
	n.came = append(n.came, s)
	return nil, gateway.Errorf(gateway.SignatureMissing, "none")
}

type noStore struct{ journal.Store }

type noResults struct{ channel.Results }

type noVerifier struct{}

func (noVerifier) JudgeCertificate(context.Context, *trust.Certificate, verification.Want) verification.Outcome {
	panic("nothing is signed")
}

// Room and turns behind the channels are those of the participant that proved itself, not of a portal that it
// speaks for; what becomes of the request is told of the portal.
func TestTheDeskLearnsWhoWasRecognised(t *testing.T) {
	at := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	password := sha256.Sum256([]byte("word"))
	services := map[string]string{"S-HOUSING": "housing-aid"}
	directory, err := channel.NewDirectory([]channel.Participant{
		{Name: "bank", SenderID: "BANK", PasswordSHA256: password, Portals: []string{"bank.kz", "bank-mobile.kz"}, Services: services},
		{Name: "egov.kz", SenderID: "EGOV", PasswordSHA256: password, Services: services},
	})
	if err != nil {
		t.Fatal(err)
	}
	outbox, err := channel.NewOutbox(directory, noStore{}, func() time.Time { return at }, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	forms, err := passport.Load(schemas.FS)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := message.Load(schemas.FS, forms.Calendar().Zone())
	if err != nil {
		t.Fatal(err)
	}
	desk := &noticing{}
	door, err := channel.New(channel.Config{Directory: directory, Outbox: outbox, Desk: desk, Results: noResults{}, Journal: noStore{},
		Verifier: noVerifier{}, Key: new(xmlsig.Key), SenderID: "GATE", Texts: texts, Contracts: schemas.FS, BaseURL: "https://gateway.example",
		Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	door.Register(mux)
	tests := []struct{ name, sender, party, portal string }{
		{"one that speaks for others", "BANK", "bank", "bank.kz"},
		{"one that speaks for itself", "EGOV", "egov.kz", "egov.kz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := shep.Encode(&shep.Message{ID: "m-" + tt.sender, ServiceID: "S-HOUSING", Date: at, SenderID: tt.sender, Password: "word",
				Data: shep.Data{Form: shep.FormString, Document: []byte("<a/>")}})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, "/shep/sync", bytes.NewReader(doc))
			r.Header.Set("Content-Type", "text/xml; charset=utf-8")
			w := httptest.NewRecorder()
			desk.came = nil
			mux.ServeHTTP(w, r)
			if len(desk.came) != 1 || desk.came[0].Party != tt.party || desk.came[0].Portal != tt.portal {
				t.Errorf("the desk was given %+v, want one of %s for %s\n%s", desk.came, tt.party, tt.portal, w.Body)
			}
		})
	}
	if got := directory.Names(); len(got) != 2 || got[0] != "bank" || got[1] != "egov.kz" {
		t.Errorf("the participants are %q", got)
	}
}
