package replay_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/replay"
	"egov-gateway/gateway/shep"
)

const citizen = "900101300007"

// portalKey signs the tokens of the tests' portal.
var portalKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// A reply is what the fake gateway says to one document. The zero value accepts it.
type reply struct {
	status  int            // of REST; 0 means 202
	reason  gateway.Reason // of a refusal, at both doors
	id      string         // of the receipt; "" means a new one, "-" none
	raw     string         // instead of all above
	breaks  bool           // the connection, instead of an answer
	stalls  time.Duration  // the whole gateway, before it answers this document
	hangs   time.Duration  // this document's answer alone
	decided string         // what the cabinet says then: JSON; "" is undecided
	cabinet int            // its HTTP status; 0 means 200
}

// A fake is a gateway's two doors and its cabinet. A document is known by its text.
type fake struct {
	t       *testing.T
	server  *httptest.Server
	replies map[string]reply

	stall sync.Mutex // held while the whole gateway stalls
	mu    sync.Mutex
	heard []string         // guarded by mu: documents in order of arrival
	parts map[string][]int // guarded by mu: sizes of the copies that came with a document
	cases map[string]reply // guarded by mu: by id of the receipt
	looks map[string]int   // guarded by mu: into the cabinet
}

func newFake(t *testing.T, replies map[string]reply) *fake {
	t.Helper()
	f := &fake{t: t, replies: replies, parts: map[string][]int{}, cases: map[string]reply{}, looks: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/requests", f.rest)
	mux.HandleFunc("POST /shep/sync", f.sync)
	mux.HandleFunc("GET /cabinet/api/requests/{id}", f.cabinet)
	f.server = httptest.NewServer(mux)
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) target() *replay.Target {
	return &replay.Target{Name: "gateway", URL: f.server.URL, Token: "portal's", SenderID: "egov.kz", Password: "secret", Services: map[string]string{"housing-aid": "EGOV-S-HOUSING"}, CabinetKey: portalKey, Portal: "egov.kz"}
}

// arrive finds the reply and its receipt's id; the connection may break or wait first.
func (f *fake) arrive(w http.ResponseWriter, doc string, copies []int) (reply, string) {
	one := f.replies[doc]
	f.stall.Lock()
	time.Sleep(one.stalls)
	f.stall.Unlock()
	time.Sleep(one.hangs)
	f.mu.Lock()
	f.heard = append(f.heard, doc)
	f.parts[doc] = copies
	id := one.id
	if id == "" {
		id = fmt.Sprintf("%032x", len(f.heard))
	}
	f.cases[id] = one
	f.mu.Unlock()
	if one.breaks {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			f.t.Error(err)
			return one, id
		}
		conn.Close()
	}
	if id == "-" {
		id = ""
	}
	return one, id
}

func (f *fake) rest(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get("Authorization"); got != "Bearer portal's" {
		f.t.Errorf("the door was asked with %q", got)
	}
	doc, copies := f.body(r)
	one, id := f.arrive(w, doc, copies)
	status := one.status
	if status == 0 {
		status = http.StatusAccepted
	}
	switch {
	case one.breaks:
	case one.raw != "":
		w.WriteHeader(status)
		io.WriteString(w, one.raw)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		said := map[string]string{}
		if status == http.StatusAccepted && id != "" {
			said["id"] = id
		}
		if one.reason != "" {
			said["reason"] = string(one.reason)
		}
		json.NewEncoder(w).Encode(said)
	}
}

// body is the document, and the sizes of the copies beside it.
func (f *fake) body(r *http.Request) (doc string, copies []int) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		f.t.Error(err)
	}
	if kind != "multipart/form-data" {
		b, _ := io.ReadAll(r.Body)
		return string(b), nil
	}
	for m := multipart.NewReader(r.Body, params["boundary"]); ; {
		p, err := m.NextPart()
		if err != nil {
			return doc, copies
		}
		if b, _ := io.ReadAll(p); p.FormName() == "request" {
			doc = string(b)
		} else {
			copies = append(copies, len(b))
		}
	}
}

func (f *fake) sync(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	p, err := shep.Decode(b, 1<<20)
	m, ok := p.(*shep.Message)
	if err != nil || !ok {
		f.t.Errorf("SHEP's door was sent %T: %v", p, err)
		return
	}
	if m.SenderID != "egov.kz" || m.Password != "secret" || m.ServiceID != "EGOV-S-HOUSING" {
		f.t.Errorf("SHEP's door was asked by %s for %s", m.SenderID, m.ServiceID)
	}
	doc := string(m.Data.Document)
	// What is no XML of its own comes in base64 inside a submission.
	if _, rest, found := strings.Cut(doc, "<request>"); found {
		text, _, _ := strings.Cut(rest, "</request>")
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			f.t.Error(err)
		}
		doc = string(raw)
	}
	one, id := f.arrive(w, doc, nil)
	var out []byte
	switch {
	case one.breaks:
		return
	case one.raw != "":
		out = []byte(one.raw)
	case one.reason != "":
		out, err = shep.EncodeFault(shep.Fault{Code: "soap:Server", Info: &shep.ErrorInfo{Code: "SCSE999", Data: string(one.reason) + ": no more is said", Date: time.Now()}})
	default:
		receipt := "<receipt>"
		if id != "" {
			receipt += "<requestId>" + id + "</requestId>"
		}
		out, err = shep.EncodeSendMessageResponse(shep.Response{ID: shep.NewID(), Date: time.Now(), Status: shep.Status{Code: shep.CodeSuccess}, SessionID: shep.NewSession(),
			Data: shep.Data{Form: shep.FormString, Document: []byte(receipt + "</receipt>")}})
	}
	if err != nil {
		f.t.Error(err)
	}
	w.Write(out)
}

func (f *fake) cabinet(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	token, err := jwt.Parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), func(*jwt.Token) (any, error) { return portalKey.Public(), nil },
		jwt.WithAudience("egov-gateway-cabinet"), jwt.WithIssuer("egov.kz"), jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"EdDSA"}))
	if err != nil || token.Claims.(jwt.MapClaims)["iin"] != citizen {
		f.t.Errorf("the cabinet was asked with %v, %v", token, err)
	}
	f.mu.Lock()
	one, known := f.cases[id]
	f.looks[id]++
	looks := f.looks[id]
	f.mu.Unlock()
	switch {
	case !known:
		f.t.Errorf("the cabinet was asked for %q", id)
	case one.cabinet != 0:
		w.WriteHeader(one.cabinet)
		io.WriteString(w, "{}")
	case one.decided == "" || looks == 1: // a provider needs a moment
		io.WriteString(w, `{"state":"delivered"}`)
	default:
		io.WriteString(w, one.decided)
	}
}

func (f *fake) arrived() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.heard...)
}

// decision is what a cabinet says of a result.
func decision(kind, ground, status string) string {
	return fmt.Sprintf(`{"state":"closed","decision":{"kind":%q,"ground":%q,"verdict":{"status":%q}}}`, kind, ground, status)
}

func accepted() *corpus.Expected { return &corpus.Expected{Status: gateway.Verified} }

func refused(r gateway.Reason) *corpus.Expected {
	return &corpus.Expected{Status: gateway.StatusOf(r), Reason: r}
}

// read makes a corpus of entries; the document of one without a file is its id in an element.
func read(t *testing.T, entries ...corpus.Entry) *corpus.Reader {
	t.Helper()
	head, err := json.Marshal(corpus.Header{Format: corpus.Format, Version: corpus.Version, Clock: time.Now().UTC(), Entries: int64(len(entries)), Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{corpus.HeaderFile: {Data: head}, "copy.pdf": {Data: []byte("%PDF bill")}}
	var manifest bytes.Buffer
	for i, e := range entries {
		if e.File == "" {
			e.File = fmt.Sprintf("documents/%d.xml", i)
			fsys[e.File] = &fstest.MapFile{Data: []byte("<" + e.ID + "/>")}
		}
		if e.Class == "" {
			e.Class = "class"
		}
		if err := json.NewEncoder(&manifest).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	fsys[corpus.ManifestFile] = &fstest.MapFile{Data: manifest.Bytes()}
	r, err := corpus.OpenFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// run replays; the corpus and the time are never at fault.
func run(t *testing.T, c replay.Config) *replay.Report {
	t.Helper()
	r, err := replay.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
