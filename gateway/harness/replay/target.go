package replay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/shep"
)

// ClockHeader is how a gateway under a shifted clock says so, with its instant.
const ClockHeader = "Egov-Gateway-Replay-Clock"

// A Target is a gateway and how a portal speaks to it.
type Target struct {
	Name  string // in reports
	URL   string // without a path
	Token string // of the REST door
	TLS   *tls.Config
	// SenderID and Password are those of the participant at SHEP's door; Services are service codes
	// with the ids of SHEP's register.
	SenderID, Password string
	Services           map[string]string
	// CabinetKey signs citizens' tokens as Portal; nil opens no cabinet.
	CabinetKey ed25519.PrivateKey
	Portal     string
	Timeout    time.Duration // of one call; 0 means 30 s

	client *http.Client
	offset atomic.Int64 // of the gateway's clock to ours
	tokens sync.Map     // IIN → token
}

func (t *Target) prepare(connections int) {
	if t.Timeout == 0 {
		t.Timeout = 30 * time.Second
	}
	t.URL = strings.TrimRight(t.URL, "/")
	t.client = &http.Client{Timeout: t.Timeout, Transport: &http.Transport{MaxIdleConns: connections + 64, MaxIdleConnsPerHost: connections + 64, TLSClientConfig: t.TLS, DisableCompression: true,
		ReadBufferSize: 16 << 10, WriteBufferSize: 16 << 10}}
}

func (t *Target) close() { t.client.CloseIdleConnections() }

// Now is the gateway's clock, as far as it is known.
func (t *Target) Now() time.Time { return time.Now().Add(time.Duration(t.offset.Load())) }

// Clock asks the gateway for its clock; replay tells whether it is a shifted one.
func (t *Target) Clock(ctx context.Context) (now time.Time, replay bool, err error) {
	t.prepare(1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL+"/v1/requests", nil)
	if err != nil {
		return now, false, err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return now, false, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) //nolint:errcheck // only the header counts
	now = time.Now()
	if s := resp.Header.Get(ClockHeader); s != "" {
		if now, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return now, false, fmt.Errorf("%s: %w", ClockHeader, err)
		}
		t.offset.Store(int64(time.Until(now)))
		return now, true, nil
	}
	return now, false, nil
}

// buffers are used again: a client that only replays should cost little.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (t *Target) send(ctx context.Context, door corpus.Door, s *sending) Answer {
	if door == corpus.SHEP {
		return t.sendSHEP(ctx, s)
	}
	return t.sendREST(ctx, s)
}

func (t *Target) post(ctx context.Context, path, contentType string, body []byte, into *bytes.Buffer, header func(http.Header)) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header["Content-Type"] = []string{contentType}
	header(req.Header)
	resp, err := t.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = into.ReadFrom(io.LimitReader(resp.Body, 64<<20))
	return resp.StatusCode, err
}

func (t *Target) sendREST(ctx context.Context, s *sending) Answer {
	out := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(out)
	out.Reset()
	contentType, body := "application/xml", s.doc
	if len(s.files) > 0 {
		in := buffers.Get().(*bytes.Buffer)
		defer buffers.Put(in)
		in.Reset()
		contentType = multipartOf(in, s)
		body = in.Bytes()
	}
	status, err := t.post(ctx, "/v1/requests", contentType, body, out, func(h http.Header) { h["Authorization"] = []string{"Bearer " + t.Token} })
	if err != nil {
		return Answer{Err: err}
	}
	a := Answer{HTTP: status}
	var said struct {
		ID     gateway.RequestID `json:"id"`
		Reason gateway.Reason    `json:"reason"`
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		a.Err = fmt.Errorf("the answer %d is no JSON: %w", status, err)
		return a
	}
	a.ID, a.Reason = said.ID, said.Reason
	switch {
	case status == http.StatusAccepted:
		a.Status = gateway.Verified
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		a.Status = gateway.Indeterminate
	case status >= 400 && status < 500:
		a.Status = gateway.Refused
	}
	return a
}

func multipartOf(b *bytes.Buffer, s *sending) string {
	w := multipart.NewWriter(b)
	part := func(disposition, kind string, data []byte) {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}})
		if err == nil {
			_, err = p.Write(data)
		}
		if err != nil {
			panic("replay: writing to memory: " + err.Error())
		}
	}
	part(`form-data; name="request"; filename="request.xml"`, "application/xml", s.doc)
	for i, data := range s.files {
		part(fmt.Sprintf(`form-data; name="attachment%d"; filename=%q`, i+1, s.e.Attachments[i].Name), s.e.Attachments[i].MediaType, data)
	}
	w.Close() //nolint:errcheck // memory
	return w.FormDataContentType()
}

// sendSHEP wraps the bytes in a SendMessage of the SyncChannel.
func (t *Target) sendSHEP(ctx context.Context, s *sending) Answer {
	m := shep.Message{ID: shep.NewID(), ServiceID: t.service(s.doc), Date: t.Now(), SenderID: t.SenderID, Password: t.Password}
	var body []byte
	var err error
	plain := len(s.files) == 0 && (len(s.doc) == 0 || plainText(s.doc))
	if plain {
		if len(s.doc) > 0 {
			m.Data = shep.Data{Form: shep.FormString, Document: s.doc}
		}
		body, err = shep.EncodeSendMessage(m)
	}
	// What no SOAP stack would write as text, a broken document say, travels in base64.
	if !plain || err != nil {
		doc, err := submission(s)
		if err != nil {
			return Answer{Err: err}
		}
		m.Data = shep.Data{Form: shep.FormString, Document: doc}
		if body, err = shep.EncodeSendMessage(m); err != nil {
			return Answer{Err: err}
		}
	}
	out := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(out)
	out.Reset()
	status, err := t.post(ctx, "/shep/sync", "text/xml; charset=utf-8", body, out, func(h http.Header) { h["SOAPAction"] = []string{`""`} })
	if err != nil {
		return Answer{Err: err}
	}
	a := Answer{HTTP: status}
	p, err := shep.Decode(out.Bytes(), 64<<20)
	if err != nil {
		a.Err = err
		return a
	}
	switch p := p.(type) {
	case *shep.Response:
		if p.Status.OK() {
			a.Status, a.ID = gateway.Verified, between(p.Data.Document, "<requestId>", "</requestId>")
		}
	case *shep.Fault:
		if p.Info != nil {
			reason, _, _ := strings.Cut(p.Info.Data, ":")
			a.Reason = gateway.Reason(reason)
			a.Status = gateway.StatusOf(a.Reason)
		}
	}
	return a
}

func between(doc []byte, from, to string) gateway.RequestID {
	_, rest, ok := bytes.Cut(doc, []byte(from))
	id, _, found := bytes.Cut(rest, []byte(to))
	if !ok || !found {
		return ""
	}
	return gateway.RequestID(id)
}

// service is SHEP's id for the form's service; for a form of none, any that the sender has.
func (t *Target) service(doc []byte) string {
	code := string(between(doc, "<serviceCode>", "</serviceCode>"))
	if id := t.Services[code]; id != "" {
		return id
	}
	least := ""
	for _, id := range t.Services {
		if least == "" || id < least {
			least = id
		}
	}
	return least
}

// plainText reports whether bytes come through as the text of an element unchanged.
func plainText(doc []byte) bool {
	if len(doc) == 0 || doc[0] != '<' || !utf8.Valid(doc) {
		return false
	}
	for _, b := range doc {
		if b < ' ' && b != '\t' && b != '\n' && b != '\r' {
			return false
		}
	}
	return !bytes.Contains(doc, []byte("\uFFFE")) && !bytes.Contains(doc, []byte("\uFFFF"))
}

// submission is that of schemas/exchange.xsd.
func submission(s *sending) ([]byte, error) {
	var w shep.Writer
	w.Start("submission", "xmlns", "urn:egov-gateway:exchange:1")
	w.Leaf("request", base64.StdEncoding.EncodeToString(s.doc))
	for i, data := range s.files {
		w.Start("attachment")
		w.Leaf("name", s.e.Attachments[i].Name)
		w.Leaf("data", base64.StdEncoding.EncodeToString(data))
		w.End()
	}
	w.End()
	return w.Bytes()
}

// SetClock says at which instant the gateway lives.
func (t *Target) SetClock(now time.Time) { t.offset.Store(int64(time.Until(now))) }
