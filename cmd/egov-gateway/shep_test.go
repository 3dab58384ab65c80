package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
)

// mustReconfigure changes the configuration file before the gateway is started.
func (l *lab) mustReconfigure(t *testing.T, change func(*Config)) {
	t.Helper()
	if err := l.reconfigure(change); err != nil {
		t.Fatal(err)
	}
}

const housing = "EGOV-S-HOUSING"

// soap posts an envelope and reads what comes back.
func (l *lab) soap(t *testing.T, channel string, envelope []byte) (int, shep.Opened) {
	t.Helper()
	return l.soapAs(t, http.DefaultClient, channel, envelope)
}

// soapAs is soap by a client of the test's own.
func (l *lab) soapAs(t *testing.T, client *http.Client, channel string, envelope []byte) (int, shep.Opened) {
	t.Helper()
	status, _, body := callAs(t, client, http.MethodPost, l.base+"/shep/"+channel, envelope, "Content-Type", "text/xml; charset=utf-8", "SOAPAction", `""`)
	got, err := shep.Open(body, shep.OpenOptions{MaxBytes: 16 << 20})
	if err != nil {
		t.Fatalf("%d: %v\n%s", status, err, body)
	}
	return status, got
}

// ask sends a payload, signed by key unless it is "".
func (l *lab) ask(t *testing.T, channel, key string, p shep.Payload) shep.Payload {
	t.Helper()
	_, got := l.soap(t, channel, l.envelope(t, key, p))
	return got.Payload
}

func (l *lab) envelope(t *testing.T, key string, p shep.Payload) []byte {
	t.Helper()
	doc, err := shep.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		k, err := l.key(key)
		if err != nil {
			t.Fatal(err)
		}
		if doc, err = shep.Seal(doc, k); err != nil {
			t.Fatal(err)
		}
	}
	return doc
}

func (l *lab) egov() shep.Sender { return shep.Sender{ID: "EGOV", Password: l.password} }

// mustAsk is ask for an answer of one kind.
func mustAsk[P shep.Payload](t *testing.T, l *lab, channel, key string, p shep.Payload) P {
	t.Helper()
	got := l.ask(t, channel, key, p)
	answer, ok := got.(P)
	if f, fault := got.(*shep.Fault); fault && !ok {
		t.Fatalf("fault %s: %+v", f.Code, f.Info)
	} else if !ok {
		t.Fatalf("got %+v", got)
	}
	return answer
}

func text(doc string) shep.Data { return shep.Data{Form: shep.FormString, Document: []byte(doc)} }

func (l *lab) message(d shep.Data) *shep.Message {
	return &shep.Message{ID: shep.NewID(), ServiceID: housing, Date: l.clock.Now(), SenderID: "EGOV", Password: l.password, Data: d}
}

func (l *lab) request(d shep.Data) *shep.AsyncMessage {
	return &shep.AsyncMessage{ServiceID: housing, Type: shep.TypeRequest, Date: l.clock.Now(), Sender: l.egov(), Data: d}
}

func (l *lab) mustSigned(t *testing.T, d harness.Draft, signer string) string {
	t.Helper()
	key, err := l.key(signer)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

func submissionOf(t *testing.T, signed string, docs []harness.Document) string {
	t.Helper()
	b := dispatch.Bundle{Request: []byte(signed)}
	for _, d := range docs {
		b.Documents = append(b.Documents, dispatch.Copy{Name: d.Name, Data: d.Data})
	}
	doc, err := b.Write()
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func field(t *testing.T, doc []byte, name string) string {
	t.Helper()
	_, after, ok := strings.Cut(string(doc), "<"+name+">")
	if !ok {
		t.Fatalf("no %s in %s", name, doc)
	}
	value, _, _ := strings.Cut(after, "<")
	return value
}

// R10: a request through SyncChannel gets the very receipt that the REST door gives, and its
// status and result come back the same way.
func TestSyncChannel(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	signed := l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")
	first := mustAsk[*shep.Response](t, l, "sync", "", l.message(text(signed)))
	if !first.Status.OK() || first.SessionID == "" {
		t.Fatalf("got %+v", first)
	}
	a, err := l.submitSigned([]byte(signed), nil)
	if err != nil || a.status != http.StatusAccepted {
		t.Fatalf("the same through REST: %d %s, %v", a.status, a.body, err)
	}
	if receipt, _ := base64.StdEncoding.DecodeString(a.receipt.SignedReceipt); !bytes.Equal(receipt, first.Data.Document) {
		t.Error("the doors give two receipts for one request")
	}
	id := a.receipt.ID
	if first.CorrelationID != shep.Chain(id) {
		t.Errorf("the chain is %s, the request %s", first.CorrelationID, id)
	}
	again := mustAsk[*shep.Response](t, l, "sync", "", l.message(shep.Data{Form: shep.FormElement, Document: []byte(signed)}))
	if !bytes.Equal(again.Data.Document, first.Data.Document) {
		t.Error("the same as an element gives another receipt")
	}
	question := func(name, id string) *shep.Response {
		return mustAsk[*shep.Response](t, l, "sync", "", l.message(text(`<`+name+` xmlns="`+channel.Namespace+`"><requestId>`+id+`</requestId></`+name+`>`)))
	}
	if r := question("resultRequest", string(id)); r.Status.Code != shep.CodeNotFound || r.Data.Form != shep.FormNone {
		t.Errorf("a result before there is one: %+v", r)
	}
	p := l.await(t, id, closed)
	status := question("statusRequest", string(id))
	if got := field(t, status.Data.Document, "state"); got != "closed" || field(t, status.Data.Document, "result") != string(p.Result.Kind) {
		t.Errorf("the status says %s", status.Data.Document)
	}
	validate(t, "exchange.xsd", status.Data.Document)
	result := question("resultRequest", string(id))
	_, _, body := get(t, l.base+"/v1/requests/"+string(id)+"/result", "Authorization", "Bearer "+l.token)
	if !bytes.Equal(result.Data.Document, body) {
		t.Error("the result is not the one of the REST door")
	}
	for _, other := range []string{strings.Repeat("0", 32), "x"} {
		if r := question("statusRequest", other); r.Status.Code != shep.CodeNotFound {
			t.Errorf("status of a request that is none: %+v", r)
		}
	}
	if strings.Contains(logs.String(), l.password) {
		t.Error("the password is in the log")
	}
}

// Documents travel inside a submission; they are matched by SHA-256 as at the REST door (R9).
func TestDocumentsOverSHEP(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	d := l.draft("citizen-01", petropavl)
	signed := l.mustSigned(t, d, "citizen-01")
	bad := l.ask(t, "async", "", l.request(text(submissionOf(t, signed, d.Documents[1:]))))
	if f, ok := bad.(*shep.Fault); !ok || f.Info.Code != "SCE001" || !strings.HasPrefix(f.Info.Data, string(gateway.AttachmentMissing)) {
		t.Errorf("a document is missing: %+v", bad)
	}
	doc := submissionOf(t, signed, d.Documents)
	validate(t, "exchange.xsd", []byte(doc))
	got := mustAsk[*shep.AsyncReceipt](t, l, "async", "", l.request(text(doc)))
	if got.ID == "" || got.CorrelationID != shep.Chain(gateway.RequestID(got.ID)) {
		t.Fatalf("got %+v", got)
	}
	if p := l.await(t, gateway.RequestID(got.ID), closed); p.Result == nil {
		t.Error("no result")
	}
}

// PULL: messages come again until they are confirmed, and RESEND asks for them once more.
func TestAsyncChannelPull(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	signed := l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")
	receipt := mustAsk[*shep.AsyncReceipt](t, l, "async", "", l.request(text(signed)))
	again := mustAsk[*shep.AsyncReceipt](t, l, "async", "", l.request(text(signed)))
	if receipt.ID != again.ID || receipt.CorrelationID != again.CorrelationID {
		t.Errorf("the same request twice: %+v and %+v", receipt, again)
	}
	state := func(id string) shep.MessageState {
		return mustAsk[*shep.StatusAnswer](t, l, "async", "", &shep.StatusQuery{MessageID: id, Date: l.clock.Now(), Sender: l.egov()}).State
	}
	if s := state(receipt.ID); s != shep.OnDelivery && s != shep.Delivered {
		t.Errorf("state %s", s)
	}
	p := l.await(t, gateway.RequestID(receipt.ID), closed)
	query := func(change func(*shep.MessagesQuery)) []shep.AsyncMessage {
		q := &shep.MessagesQuery{ServiceID: housing, Sender: l.egov(), Date: l.clock.Now()}
		if change != nil {
			change(q)
		}
		return mustAsk[*shep.MessagesAnswer](t, l, "async", "", q).Messages
	}
	all := query(nil)
	if len(all) != len(p.Steps)+1 || all[len(all)-1].Type != shep.TypeResponse || all[0].Type != shep.TypeNotification {
		t.Fatalf("%d messages for %d steps and a result: %+v", len(all), len(p.Steps), all)
	}
	last := all[len(all)-1]
	_, _, result := get(t, l.base+"/v1/requests/"+receipt.ID+"/result", "Authorization", "Bearer "+l.token)
	if !bytes.Equal(last.Data.Document, result) || last.CorrelationID != receipt.CorrelationID || last.ServiceID != housing {
		t.Errorf("the RESPONSE is not the provider's signed result: %+v", last)
	}
	if n := len(query(func(q *shep.MessagesQuery) { q.Amount = 2 })); n != 2 {
		t.Errorf("asked for 2, got %d", n)
	}
	if got := query(func(q *shep.MessagesQuery) { q.ID = last.ID }); len(got) != 1 || got[0].ID != last.ID {
		t.Errorf("asked for one message, got %d", len(got))
	}
	if n := len(query(func(q *shep.MessagesQuery) { q.CorrelationID = receipt.CorrelationID })); n != len(all) {
		t.Errorf("asked for the chain, got %d", n)
	}
	if n := len(query(func(q *shep.MessagesQuery) { q.CorrelationID = "{" + shep.NewID() + "}" })); n != 0 {
		t.Errorf("asked for another chain, got %d", n)
	}
	if n := len(query(func(q *shep.MessagesQuery) { q.ServiceID = "EGOV-S-COMPLAINT" })); n != 0 {
		t.Errorf("asked for another service, got %d", n)
	}
	confirm := func(id string, accepted, resend bool) shep.Payload {
		now := l.clock.Now()
		return l.ask(t, "async", "", &shep.DeliveryNotification{MessageID: id, ServiceID: housing, Date: now, Accepted: accepted, StatusDate: now, Resend: resend, RequestDate: now, Sender: l.egov()})
	}
	confirm(last.ID, false, true)
	if n := len(query(nil)); n != len(all) {
		t.Errorf("after RESEND %d of %d messages wait", n, len(all))
	}
	confirm(last.ID, true, false)
	if got := query(nil); len(got) != len(all)-1 {
		t.Errorf("after the confirmation %d of %d messages wait", len(got), len(all))
	}
	if r, ok := confirm(last.ID, true, false).(*shep.DeliveryReceipt); !ok || r.SessionID == "" {
		t.Errorf("a second confirmation: %+v", r)
	}
	for range 200 {
		if state(last.ID) == shep.Delivered {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := state(last.ID); s != shep.Delivered {
		t.Errorf("state %s", s)
	}
	confirm(all[0].ID, false, false)
	for range 200 {
		if state(all[0].ID) == shep.DeliveryStopped {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := state(all[0].ID); s != shep.DeliveryStopped {
		t.Errorf("not taken and not wanted again: state %s", s)
	}
	if f, ok := confirm(strings.Repeat("0", 32), true, false).(*shep.Fault); !ok || f.Info.Code != shep.CodeNotFound {
		t.Errorf("an unknown message: %+v", f)
	}
	// Another participant sees nothing of all that.
	other := mustAsk[*shep.MessagesAnswer](t, l, "async", "system-portal", &shep.MessagesQuery{ServiceID: housing, Date: l.clock.Now(), Sender: shep.Sender{ID: "BANK"}})
	if len(other.Messages) != 0 {
		t.Errorf("another participant sees %d messages", len(other.Messages))
	}
	if f, ok := l.ask(t, "async", "system-portal", &shep.StatusQuery{MessageID: receipt.ID, Date: l.clock.Now(), Sender: shep.Sender{ID: "BANK"}}).(*shep.Fault); !ok || f.Info.Code != shep.CodeNotFound {
		t.Errorf("another participant's question: %+v", f)
	}
}

// PUSH: messages reach the participant in order, however often it was away.
func TestAsyncChannelPush(t *testing.T) {
	var logs logBuffer
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	portal := &pushed{t: t, l: l, away: 3}
	server := httptest.NewServer(portal)
	t.Cleanup(server.Close)
	l.mustReconfigure(t, func(c *Config) { c.SHEP.Participants[1].PushURL = server.URL + "/shep" })
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-01", taraz)
	d.Portal = "bank.kz"
	m := l.request(text(l.mustSigned(t, d, "citizen-01")))
	m.Sender = shep.Sender{ID: "BANK"}
	receipt := mustAsk[*shep.AsyncReceipt](t, l, "async", "system-portal", m)
	ctx := t.Context()
	if err := l.pass(ctx, func() bool { l.svc.mail.Kick(); return portal.responses() == 1 }, nil); err != nil {
		t.Fatal(err)
	}
	portal.mu.Lock()
	defer portal.mu.Unlock()
	if portal.away != 0 || len(portal.got) < 2 {
		t.Fatalf("%d messages, %d times away", len(portal.got), portal.away)
	}
	if len(portal.changed) == 0 {
		t.Error("not told of the delivery")
	}
	for _, s := range portal.changed { // more than once only when a lease ends under way: the clock hops by days
		if s.MessageID != receipt.ID || s.State != shep.Delivered || s.NotificationID != portal.changed[0].NotificationID {
			t.Errorf("told of the delivery: %+v", s)
		}
	}
	for i, m := range portal.got {
		if m.CorrelationID != receipt.CorrelationID || m.Sender.ID != "egov-gateway" || (m.Type == shep.TypeResponse) != (i == len(portal.got)-1) {
			t.Errorf("message %d is %s of chain %s", i+1, m.Type, m.CorrelationID)
		}
	}
}

// pushed is a participant's end of AsyncChannel.
type pushed struct {
	t *testing.T
	l *lab

	mu      sync.Mutex // guards all below
	away    int        // so many more times
	got     []*shep.AsyncMessage
	changed []*shep.StatusChange
}

func (p *pushed) responses() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.got {
		if m.Type == shep.TypeResponse {
			n++
		}
	}
	return n
}

func (p *pushed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away > 0 {
		p.away--
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	body, _ := io.ReadAll(r.Body)
	opened, err := shep.Open(body, shep.OpenOptions{MaxBytes: 16 << 20})
	if err != nil || opened.Signer == nil || !bytes.Equal(opened.Signer.Raw, p.l.pki.Must("system-gateway").DER) {
		p.t.Errorf("a push that is not signed by the gateway: %v", err)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	if s, ok := opened.Payload.(*shep.StatusChange); ok {
		p.changed = append(p.changed, s)
		w.Write(p.l.envelope(p.t, "system-portal", &shep.StatusChangeReceipt{Date: p.l.clock.Now(), SessionID: s.SessionID})) //nolint:errcheck // the gateway repeats
		return
	}
	m := opened.Payload.(*shep.AsyncMessage)
	p.got = append(p.got, m)
	w.Write(p.l.envelope(p.t, "system-portal", &shep.AsyncReceipt{ID: m.ID, CorrelationID: m.CorrelationID, Date: p.l.clock.Now()})) //nolint:errcheck // the gateway repeats
}

// A client's mistake is a fault with its own code, the transport's apart from the business's.
func TestEveryMistakeHasItsCode(t *testing.T) {
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := os.WriteFile(filepath.Join(l.dir, "expired.crt"), l.pki.Must("citizen-expired").CertificatePEM, 0o600); err != nil {
		t.Fatal(err)
	}
	both, slow := secret(), secret()
	for name, password := range map[string]string{"both.password": both, "slow.password": slow} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.mustReconfigure(t, func(c *Config) {
		c.SHEP.Participants = append(c.SHEP.Participants,
			Participant{Name: "old.kz", SenderID: "OLD", Certificates: []string{"expired.crt"}, Services: labServices()},
			Participant{Name: "org.kz", SenderID: "ORG", BIN: l.pki.Must("system-portal").BIN, Services: labServices()},
			Participant{Name: "both.kz", SenderID: "BOTH", Certificates: []string{"system-portal.crt"}, PasswordFile: "both.password", Services: labServices(), MaxBytes: 20_000},
			Participant{Name: "slow.kz", SenderID: "SLOW", PasswordFile: "slow.password", Services: labServices(), Rate: 0.001})
	})
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	signed := l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")
	from := func(id, password string, change ...func(*shep.Message)) *shep.Message {
		m := l.message(text(signed))
		m.SenderID, m.Password = id, password
		for _, f := range change {
			f(m)
		}
		return m
	}
	used := from("EGOV", l.password)
	l.ask(t, "sync", "", used)
	l.ask(t, "sync", "", from("SLOW", slow))
	otherData := *used
	otherData.Data = text("<other/>")
	tests := []struct {
		name, channel, key string
		p                  shep.Payload
		code               string
		reason             gateway.Reason
	}{
		{"an unknown sender", "sync", "", from("NOBODY", l.password), "SCE004", gateway.PortalUnauthenticated},
		{"a wrong password", "sync", "", from("EGOV", "x"), "SCE004", gateway.PortalUnauthenticated},
		{"a service the sender has not", "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.ServiceID = "TEST_SERVICE_ID" }), "SCE004", gateway.ServiceUnknown},
		{"another service than the form's", "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.ServiceID = "EGOV-S-COMPLAINT" }), "SCE004", gateway.ServiceUnknown},
		{"not signed by who must sign", "sync", "", from("BANK", ""), "SCE004", gateway.PortalUnauthenticated},
		{"signed by somebody else", "sync", "system-state", from("BANK", ""), "SCE004", gateway.PortalUnauthenticated},
		{"signed by another organisation's system", "sync", "system-gateway", from("ORG", ""), "SCE004", gateway.PortalUnauthenticated},
		{"signed by a citizen", "sync", "citizen-01", from("ORG", ""), "SCE004", gateway.PortalUnauthenticated},
		{"an expired partner's certificate", "sync", "citizen-expired", from("OLD", ""), "SCE005", gateway.TransportStale},
		{"signed, but without the password", "sync", "system-portal", from("BOTH", ""), "SCE004", gateway.PortalUnauthenticated},
		{"too old", "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.Date = l.clock.Now().Add(-2 * time.Hour) }), "SCE005", gateway.TransportStale},
		{"from the future", "async", "", func() shep.Payload { m := l.request(text(signed)); m.Date = l.clock.Now().Add(time.Hour); return m }(), "SCE005", gateway.TransportStale},
		{"a used message id with other data", "sync", "", &otherData, "SCE001", gateway.ReplayConflict},
		{"too many messages", "sync", "", from("SLOW", slow), "SCE909", gateway.PortalLimit},
		{"no data", "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.Data = shep.Data{} }), "SCE001", gateway.BodyEmpty},
		{"not the form of a service", "sync", "", from("EGOV", l.password, func(m *shep.Message) {
			m.Data = text(strings.ReplaceAll(signed, "housing-aid:request:1", "housing-aid:request:2"))
		}), "SCE016", gateway.DigestMismatch},
		{"not signed by a citizen", "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.Data = text(string(l.draft("citizen-01", taraz).XML())) }), "SCE017", gateway.SignatureMissing},
		{"changed after the citizen signed", "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.Data = text(strings.Replace(signed, "21000", "91000", 1)) }), "SCE016", gateway.DigestMismatch},
		{"an expired citizen's certificate", "sync", "", from("EGOV", l.password, func(m *shep.Message) {
			m.Data = text(l.mustSigned(t, l.draft("citizen-expired", taraz), "citizen-expired"))
		}), "SCE015", gateway.CertificateExpired},
		{"revoked", "async", "", l.request(text(l.mustSigned(t, l.draft("citizen-revoked", taraz), "citizen-revoked"))), "SCE016", gateway.Revoked},
		{"another portal's form", "sync", "system-portal", from("BANK", ""), "SCE001", gateway.PortalMismatch},
		{"a RESPONSE from who may not give one", "async", "", &shep.AsyncMessage{ServiceID: housing, Type: shep.TypeResponse, CorrelationID: shep.Chain("0123456789abcdef0123456789abcdef"), Date: l.clock.Now(), Sender: l.egov(), Data: text("<a/>")}, "SCE001", gateway.ResultMismatch},
		{"relaying without being a gateway", "async", "", l.request(text(`<submission xmlns="` + channel.Namespace + `"><portal>bank.kz</portal><request>` + base64.StdEncoding.EncodeToString([]byte(signed)) + `</request></submission>`)), "SCE001", gateway.DocumentMalformed},
		{"a question as REQUEST", "async", "", l.request(text(`<statusRequest xmlns="` + channel.Namespace + `"><requestId>x</requestId></statusRequest>`)), "SCE001", gateway.DocumentMalformed},
		{"an operation of another address", "async", "", from("EGOV", l.password), "SCE001", gateway.DocumentMalformed},
		{"an answer instead of a question", "sync", "", &shep.AsyncReceipt{ID: "x", CorrelationID: "x", Date: l.clock.Now()}, "SCE001", gateway.DocumentMalformed},
		{"more than this sender may send", "sync", "system-portal", from("BOTH", both, func(m *shep.Message) { m.Data = text("<a>" + strings.Repeat("x", 20_000) + "</a>") }), "SCE001", gateway.BodyTooLarge},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Each from an address of its own: several wrong proofs from one are guesses.
			client := clientAt(fmt.Sprintf("127.7.0.%d", i+1))
			status, got := l.soapAs(t, client, tt.channel, l.envelope(t, tt.key, tt.p))
			f, ok := got.Payload.(*shep.Fault)
			if !ok {
				t.Fatalf("no fault: %+v", got.Payload)
			}
			if f.Code != tt.code || f.Info == nil || f.Info.Code != tt.code || !strings.HasPrefix(f.Info.Data, string(tt.reason)) || f.Info.Message == "" || f.Info.SessionID == "" {
				t.Errorf("fault %s, %+v; want %s for %s", f.Code, f.Info, tt.code, tt.reason)
			}
			if status != http.StatusOK {
				t.Errorf("status %d", status)
			}
		})
	}
	t.Run("faults of the form are named one by one", func(t *testing.T) {
		key, _ := l.key("citizen-01")
		bad := mustSign(t, key, bytes.Replace(l.draft("citizen-01", taraz).XML(), []byte("<rooms>2</rooms>"), []byte("<rooms>two</rooms><pool/>"), 1))
		f := l.ask(t, "sync", "", from("EGOV", l.password, func(m *shep.Message) { m.Data = text(string(bad)) })).(*shep.Fault)
		var faults []string
		for e := f.Info.SubError; e != nil; e = e.SubError {
			faults = append(faults, e.Data)
		}
		if f.Code != "SCE001" || fmt.Sprint(faults) != "[housing/rooms type housing/monthlyCost missing housing/pool unexpected]" {
			t.Errorf("%s %q", f.Code, faults)
		}
	})
	t.Run("signed participants get signed answers", func(t *testing.T) {
		_, got := l.soap(t, "sync", l.envelope(t, "system-portal", from("BANK", "")))
		if got.Signer == nil || !bytes.Equal(got.Signer.Raw, l.pki.Must("system-gateway").DER) {
			t.Error("the answer is not signed by the gateway")
		}
	})
	t.Run("a chain instead of a pin", func(t *testing.T) {
		d := l.draft("citizen-02", taraz)
		d.Portal = "org.kz"
		m := from("ORG", "", func(m *shep.Message) { m.Data = text(l.mustSigned(t, d, "citizen-02")) })
		if r, ok := l.ask(t, "sync", "system-portal", m).(*shep.Response); !ok || !r.Status.OK() {
			t.Errorf("got %+v", r)
		}
	})
	noXML := strings.Replace(string(l.envelope(t, "", l.request(text("<unclosed/>")))), "&lt;unclosed/&gt;", "&lt;unclosed&gt;", 1)
	for name, body := range map[string]string{"no XML": "PK", "data that is no XML": noXML, "nothing": "", "HTML": "<html/>", "an envelope with nothing": `<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body/></S:Envelope>`, "a document type": "<!DOCTYPE a><a/>"} {
		status, got := l.soap(t, "async", []byte(body))
		if f, ok := got.Payload.(*shep.Fault); !ok || f.Code != "SCE001" || status != http.StatusOK {
			t.Errorf("%s: %d %+v", name, status, got.Payload)
		}
	}
	if status, _, body := call(t, http.MethodPost, l.base+"/shep/sync", []byte("<a/>"), "Content-Type", "application/json"); status != http.StatusOK || !strings.Contains(string(body), "SCE001") {
		t.Errorf("JSON: %d %s", status, body)
	}
}

// The message that NITEC published verifies, and is answered with what is wrong with it: its
// service is unknown, and today it is stale.
func TestRealPublishedMessage(t *testing.T) {
	dir := os.Getenv("NCA")
	if dir == "" {
		dir = "../../../shared/nca"
	}
	sample, err := os.ReadFile(filepath.Join(dir, "xml/nitec_sample_request.xml"))
	if err != nil {
		if os.Getenv("NCA") != "" {
			t.Fatal(err)
		}
		t.Skip("no real material; set NCA to its folder")
	}
	signed, err := xmlsig.Verify(sample, xmlsig.Options{Profile: xmlsig.ProfileWSSE, AllowGOST2004: true})
	if err != nil {
		t.Fatal(err)
	}
	partner := signed.Signatures()[0].Certificate
	then := time.Date(2019, 9, 24, 6, 20, 40, 0, time.UTC)
	tests := []struct {
		name     string
		at       time.Time
		services map[string]string
		old      bool
		want     gateway.Reason
	}{
		{"in its own time: no such service", then, map[string]string{"OTHER": "housing-aid"}, true, gateway.ServiceUnknown},
		{"in its own time, as a service of ours: no form", then, map[string]string{"TEST_SERVICE_ID": "housing-aid"}, true, gateway.SignatureMissing},
		{"today: stale", monday, map[string]string{"TEST_SERVICE_ID": "housing-aid"}, true, gateway.TransportStale},
		{"where GOST 34.310-2004 is not allowed", then, map[string]string{"OTHER": "housing-aid"}, false, gateway.TransportWrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := newLab(t.TempDir(), tt.at, nil, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			for name, data := range map[string][]byte{"nitec.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: partner.Raw})} {
				if err := os.WriteFile(filepath.Join(l.dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			l.mustReconfigure(t, func(c *Config) {
				c.SHEP.AllowGOST2004 = tt.old
				c.SHEP.Participants = []Participant{{Name: "nitec", SenderID: "senderId", Certificates: []string{"nitec.crt"}, Services: tt.services}}
			})
			if err := l.startGateway(); err != nil {
				t.Fatal(err)
			}
			status, got := l.soap(t, "sync", sample)
			f, ok := got.Payload.(*shep.Fault)
			if !ok || status != http.StatusOK || f.Code != shep.CodeOf(tt.want) || !strings.HasPrefix(f.Info.Data, string(tt.want)) {
				t.Errorf("%d %+v", status, got.Payload)
			}
		})
	}
}

// A message as large as SHEP carries is taken in a few times its size of memory; a larger one is
// refused before it is read.
func TestLargeMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	l, _ := newTestLab(t, monday, nil)
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // what is in use, not what waits to be collected
	d := l.draft("citizen-01", petropavl)
	doc := submissionOf(t, l.mustSigned(t, d, "citizen-01"), d.Documents)
	fill := channel.DefaultMaxBytes - len(l.envelope(t, "", l.request(text(doc))))
	for _, tt := range []struct {
		name string
		more int
		code string
	}{{"exactly 15 MiB", 0, ""}, {"a byte more", 1, "SCE001"}} {
		t.Run(tt.name, func(t *testing.T) {
			padded := strings.Replace(doc, "<request>", "<request>"+strings.Repeat("\n", fill+tt.more), 1)
			envelope := l.envelope(t, "", l.request(text(padded)))
			if len(envelope) != channel.DefaultMaxBytes+tt.more {
				t.Fatalf("%d bytes", len(envelope))
			}
			runtime.GC()
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			most, done := make(chan uint64), make(chan bool)
			go func() {
				var peak uint64
				for {
					select {
					case <-done:
						most <- peak
						return
					case <-time.After(2 * time.Millisecond):
						var now runtime.MemStats
						runtime.ReadMemStats(&now)
						peak = max(peak, now.HeapAlloc)
					}
				}
			}()
			_, got := l.soap(t, "async", envelope)
			close(done)
			used := int64(<-most) - int64(before.HeapAlloc)
			t.Logf("%d MB of memory for a message of %d MB", used>>20, len(envelope)>>20)
			f, fault := got.Payload.(*shep.Fault)
			if fault != (tt.code != "") || fault && f.Code != tt.code {
				t.Fatalf("got %+v", got.Payload)
			}
			if used > 6*int64(len(envelope)) {
				t.Errorf("%d MB of memory", used>>20)
			}
		})
	}
}

// Messages that nobody fetches are not kept for ever, and an operator sees them.
func TestMessagesThatNobodyFetches(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	receipt := mustAsk[*shep.AsyncReceipt](t, l, "async", "", l.request(text(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01"))))
	l.await(t, gateway.RequestID(receipt.ID), closed)
	query := func() []shep.AsyncMessage {
		return mustAsk[*shep.MessagesAnswer](t, l, "async", "", &shep.MessagesQuery{ServiceID: housing, Sender: l.egov()}).Messages
	}
	waiting := query()
	if len(waiting) == 0 {
		t.Fatal("nothing waits")
	}
	_, _, metrics := get(t, l.admin+"/metrics")
	if want := fmt.Sprintf(`egov_gateway_items{shard="shep:egov.kz",state="accepted"} %d`, len(waiting)); !strings.Contains(string(metrics), want) {
		t.Errorf("the metrics lack %s", want)
	}
	newest := l.clock.Now()
	l.clock.HopTo(monday.Add(channel.KeepWaiting - time.Hour))
	l.svc.mail.Kick()
	time.Sleep(300 * time.Millisecond)
	if n := len(query()); n != len(waiting) {
		t.Errorf("%d of %d messages wait shortly before", n, len(waiting))
	}
	l.clock.HopTo(newest.Add(channel.KeepWaiting + time.Hour))
	for range 200 {
		l.svc.mail.Kick()
		if len(query()) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := len(query()); n != 0 {
		t.Errorf("%d messages still wait", n)
	}
	id := waiting[0].ID
	if s := mustAsk[*shep.StatusAnswer](t, l, "async", "", &shep.StatusQuery{MessageID: id, Date: l.clock.Now(), Sender: l.egov()}); s.State != shep.DeliveryStopped {
		t.Errorf("state %s", s.State)
	}
	if _, err := l.svc.store.Body(t.Context(), gateway.RequestID(id), "letter"); !errors.Is(err, journal.ErrErased) {
		t.Errorf("the message's data: %v", err)
	}
}
