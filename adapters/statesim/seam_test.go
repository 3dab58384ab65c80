package statesim_test

import (
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"

	"io/fs"
)

// The world shares no code with the gateway; here the gateway's own delivery and the world's own
// results meet.
func TestGatewayAndProviderUnderstandEachOther(t *testing.T) { // R6, R7
	s := newStage(t, nil)
	data, err := fs.ReadFile(schemas.FS, "calendar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	calendar, err := passport.NewCalendar(data)
	if err != nil {
		t.Fatal(err)
	}
	own := s.pki.Must("system-gateway")
	key, err := xmlsig.NewKey(own.DER, own.Signer)
	if err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Config{Name: "provider", Reasons: upstream.Reasons{Unavailable: gateway.ProviderUnavailable}, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sender, err := dispatch.NewHTTPSender(client, s.url+"/providers/petropavl", "test-token-petropavl")
	if err != nil {
		t.Fatal(err)
	}
	parcel := dispatch.Parcel{
		Item: journal.Item{ID: reqID, Service: "housing-aid", Provider: "petropavl", Shard: "north-kazakhstan"},
		Dossier: &gateway.Dossier{Version: "1", RegisteredAt: testpki.At, DueAt: testpki.At.Add(48 * time.Hour), Steps: []gateway.StepPlan{
			{Code: "register", DueAt: testpki.At.Add(20 * time.Minute)}, {Code: "send", DueAt: testpki.At.Add(time.Hour)}}},
		Request: []byte("<?xml version=\"1.0\"?>\r\n<request xmlns=\"urn:egov-gateway:housing-aid:request:1\"><applicant/></request>"),
		Facts: []gateway.Fact{{Kind: gateway.RecordIncome, Source: "income", Status: gateway.FactFound, ObservedAt: testpki.At, MessageID: "m", Data: []byte("<response><amount>30000</amount></response>")},
			{Kind: gateway.RecordAlimony, Source: "alimony", Status: gateway.FactUnavailable, ObservedAt: testpki.At}},
	}
	delivery, err := dispatch.Pack(parcel, calendar, key)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sender.Send(t.Context(), reqID, delivery); err != nil {
			t.Fatal(err)
		}
	}
	parcel.Facts = nil
	other, err := dispatch.Pack(parcel, calendar, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), reqID, other); gateway.ReasonOf(err) != gateway.ProviderRejected {
		t.Errorf("other content under the same id: %v", err)
	}
	// A reset is set for good: net/http itself repeats what carries an Idempotency-Key.
	for fault, want := range map[statesim.FaultKind]gateway.Reason{statesim.Reject: gateway.ProviderRejected, statesim.Unavailable: gateway.ProviderUnavailable, statesim.Reset: gateway.ProviderUnavailable} {
		if err := s.SetFaults("petropavl", statesim.Fault{Kind: fault}); err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), reqID, delivery); gateway.ReasonOf(err) != want {
			t.Errorf("%s: %v", fault, err)
		}
	}
	s.ClearFaults()
	s.play()
	for _, p := range s.posted() {
		signed, err := xmlsig.Verify(p.body, xmlsig.Options{})
		if err != nil {
			t.Errorf("%s does not verify: %v", p.path, err)
			continue
		}
		signed.Release()
	}
	if st := s.State().Requests[reqID]; st.Effects != 1 || st.Deliveries != 2 || st.Conflicts != 1 || st.Decision != "assignment: 19000.00" {
		t.Errorf("state %+v", st)
	}
}
