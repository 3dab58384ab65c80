package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/intake"
)

// A doorway is a way in for bodies: its address, and the headers of a caller whom it knows.
type doorway struct {
	name, base, path string
	header           []string
	most             int64 // bytes that it takes
}

func doorways(t *testing.T, l *lab) []doorway {
	t.Helper()
	provider, err := os.ReadFile(filepath.Join(l.dir, "taraz.token"))
	if err != nil {
		t.Fatal(err)
	}
	console := strings.TrimSuffix(l.console, "/console/")
	xml := func(token string) []string {
		return []string{"Content-Type", "application/xml", "Authorization", "bEARER " + token}
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	return []doorway{
		{"REST", l.base, "/v1/requests", xml(l.token), intake.DefaultMaxDocument},
		{"REST, several parts", l.base, "/v1/requests", []string{"Content-Type", "multipart/form-data; boundary=x", "Authorization", "bearer " + l.token}, intake.DefaultMaxBody},
		{"a provider's step", l.base, "/v1/providers/taraz/steps", xml(string(provider)), dispatch.MaxDocument},
		{"a provider's result", l.base, "/v1/providers/taraz/results", xml(string(provider)), dispatch.MaxDocument},
		{"SyncChannel", l.base, "/shep/sync", []string{"Content-Type", "text/xml"}, channel.DefaultMaxBytes},
		{"AsyncChannel", l.base, "/shep/async", []string{"Content-Type", "text/xml"}, channel.DefaultMaxBytes},
		{"AsyncChannel of participants", l.base, "/shep/client", []string{"Content-Type", "text/xml"}, channel.DefaultMaxBytes},
		{"the cabinet", l.base, "/cabinet/session", form, 16 << 10},
		{"the console", console, "/console/session", form, 4 << 10},
	}
}

// A compressed body is refused at every door before any of it is read, with the name of the header.
func TestCompressedBodiesAreRefusedAtEveryDoor(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(bytes.Repeat([]byte("<a/>"), 1000)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range doorways(t, l) {
		t.Run(d.name, func(t *testing.T) {
			status, _, body := call(t, http.MethodPost, d.base+d.path, packed.Bytes(), append(d.header, "Content-Encoding", "gzip")...)
			if status != http.StatusUnsupportedMediaType {
				t.Errorf("%d %s", status, body)
			}
			page := strings.HasPrefix(d.path, "/cabinet") || strings.HasPrefix(d.path, "/console")
			if !page && (!strings.Contains(string(body), "Content-Encoding") || !strings.Contains(string(body), string(gateway.MediaType))) {
				t.Errorf("the answer does not name the header: %s", body)
			}
			if status, _, body := call(t, http.MethodPost, d.base+d.path, []byte("x"), append(d.header, "Content-Encoding", "identity")...); status == http.StatusUnsupportedMediaType {
				t.Errorf("a body as it is: %d %s", status, body)
			}
			// None of it is asked for.
			if first := answerLine(t, d, "Content-Encoding: br\r\nContent-Length: 100\r\n"); !strings.Contains(first, " 415 ") {
				t.Errorf("to who waits for leave to send: %s", first)
			}
		})
	}
}

// answerLine sends the head of a request, which waits for leave to send its body, and returns the first
// line of the answer.
func answerLine(t *testing.T, d doorway, head string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(15 * time.Second)) //nolint:errcheck // the read tells; the server waits for longer
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n%s", d.path, head)
	for i := 0; i+1 < len(d.header); i += 2 {
		fmt.Fprintf(conn, "%s: %s\r\n", d.header[i], d.header[i+1])
	}
	fmt.Fprint(conn, "\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%v after %q", err, line)
	}
	return line
}

// Who announces more than a door takes, or is not known there, is refused before he is given leave to send:
// nothing of the body is asked for, nor read.
func TestNobodyIsAskedForABodyThatIsRefused(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	for _, d := range doorways(t, l) {
		t.Run(d.name, func(t *testing.T) {
			for _, n := range []int64{d.most + 1, 1 << 30} {
				if first := answerLine(t, d, fmt.Sprintf("Content-Length: %d\r\n", n)); strings.Contains(first, " 100 ") {
					t.Errorf("%d bytes are asked for: %s", n, first)
				}
			}
			if strings.HasSuffix(d.path, "/session") {
				d.header = append(d.header, "Sec-Fetch-Site", "cross-site")
				if first := answerLine(t, d, "Content-Length: 100\r\n"); !strings.Contains(first, " 403 ") {
					t.Errorf("a form of another site: %s", first)
				}
			}
			if strings.HasPrefix(d.path, "/v1/") {
				d.header = d.header[:2]
				if first := answerLine(t, d, "Content-Length: 100\r\n"); !strings.Contains(first, " 401 ") {
					t.Errorf("a stranger: %s", first)
				}
			}
		})
	}
}

// A line of the access log is short, whatever the method and the path are.
func TestTheAccessLogIsBounded(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	console := strings.TrimSuffix(l.console, "/console/")
	long := strings.Repeat("A", 30_000)
	for _, base := range []string{l.base, l.admin, console} {
		for _, head := range []string{long + " /v1/requests", "GET /" + long, "GET /v1/requests/" + long, "POST /cabinet/" + long, "GET /console/requests/" + long, "GET /?" + long} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the read tells
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", head)
			if _, err := io.ReadAll(conn); err != nil {
				t.Error(err)
			}
			conn.Close()
		}
	}
	for line := range strings.Lines(logs.String()) {
		if len(line) > 2000 || strings.Contains(line, "AAAAAAAA") {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
	}
	if !strings.Contains(logs.String(), `"method":"other"`) {
		t.Error("the method is not in the log")
	}
}

// RFC 9110 §12.5.1: the receipt comes in the form that weighs most.
func TestAcceptHasWeights(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	signed := []byte(l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01"))
	const asJSON, asXML = "application/json", "application/xml"
	for _, tt := range []struct{ accept, want string }{
		{"", asJSON}, {"*/*", asJSON}, {"application/*", asJSON}, {"application/xml", asXML}, {"text/xml", asXML},
		{"application/json;q=0.1, application/xml;q=0.9", asXML},
		{"application/xml;q=0.1, application/json;q=0.9", asJSON},
		{"application/json;q=0.5, application/xml", asXML},
		{"application/xml;q=0.5, */*", asJSON},
		{"application/json;q=0.2, */*;q=0.1", asJSON},
		{"application/json;q=0, */*", asXML},
		{"application/json;q=0, application/*;q=0.3", asXML},
		{"*/*, application/json;q=0.4", asXML},
		{"text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", asXML},
		{"application/xml, application/json", asXML},
		{"application/json, application/xml", asJSON},
		{"application/xml;q=0.5, application/json;q=0.5", asXML},
		{"application/xml;q=nonsense, application/json;q=0.1", asJSON},
		{"application/xml;q=2, application/json;q=0.1", asJSON},
		{"image/png", ""}, {"application/json;q=0", ""}, {"application/json;q=0.000, application/xml;q=0.0", ""}, {"*/*;q=0", ""},
	} {
		status, header, body := call(t, http.MethodPost, l.base+"/v1/requests", signed, "Content-Type", "application/xml", "Authorization", "Bearer "+l.token, "Accept", tt.accept)
		if tt.want == "" {
			if status != http.StatusNotAcceptable {
				t.Errorf("%q: %d %s", tt.accept, status, body)
			}
			continue
		}
		if got, _, _ := strings.Cut(header.Get("Content-Type"), ";"); status != http.StatusAccepted || got != tt.want {
			t.Errorf("%q: %d %s, want %s", tt.accept, status, got, tt.want)
		}
	}
}

// The scheme's name is compared without case at every door that knows bearer tokens.
func TestTheBearerSchemeHasNoCase(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	for _, d := range doorways(t, l) {
		if len(d.header) < 4 {
			continue
		}
		status, _, body := call(t, http.MethodPost, d.base+d.path, nil, d.header...)
		if status == http.StatusUnauthorized {
			t.Errorf("%s: %d %s", d.name, status, body)
		}
	}
	if status, _, body := get(t, l.base+"/v1/requests/"+strings.Repeat("0", 32), "Authorization", "bearer "+l.token); status != http.StatusNotFound {
		t.Errorf("a status: %d %s", status, body)
	}
}

// Names out of somebody's document are not repeated in answers and log beyond what is harmless: they may
// be a person's, or made to be read by whoever reads the log.
func TestNamesOutOfDocumentsAreNotRepeated(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"an IIN": "_900101300007", "a surname": "Сынақов", "a long name": "N" + strings.Repeat("a", 90), "words": "ADMIN.SAYS.REBOOT.THE.GATEWAY.NOW.PLEASE.AND.SEND.KEYS"}
	draft := l.draft("citizen-01", taraz).XML()
	provider, err := os.ReadFile(filepath.Join(l.dir, "taraz.token"))
	if err != nil {
		t.Fatal(err)
	}
	for what, name := range names {
		root := mustSign(t, key, []byte(`<`+name+` xmlns="urn:`+name+`"/>`))
		child := mustSign(t, key, bytes.Replace(draft, []byte("<rooms>2</rooms>"), []byte("<rooms>2</rooms><"+name+"/>"), 1))
		attribute := mustSign(t, key, bytes.Replace(draft, []byte("<rooms>2</rooms>"), []byte("<rooms "+name+`="1">2</rooms>`), 1))
		for where, doc := range map[string][]byte{"root element": root, "child": child, "attribute": attribute} {
			status, _, body := l.restPost(t, doc)
			if status != http.StatusUnprocessableEntity {
				t.Errorf("%s as %s: %d %s", what, where, status, body)
			}
			var p any
			if err := json.Unmarshal(body, &p); err != nil || strings.Contains(fmt.Sprint(p), name[:8]) {
				t.Errorf("%s as %s is in the answer: %s", what, where, body)
			}
			envelope := l.envelope(t, "", l.message(text(string(doc))))
			if _, _, body := call(t, http.MethodPost, l.base+"/shep/sync", envelope, "Content-Type", "text/xml"); strings.Contains(string(body), name[:8]) {
				t.Errorf("%s as %s is in SHEP's answer: %s", what, where, body)
			}
			_, _, body = call(t, http.MethodPost, l.base+"/v1/providers/taraz/results", doc, "Content-Type", "application/xml", "Authorization", "Bearer "+string(provider))
			if strings.Contains(string(body), name[:8]) {
				t.Errorf("%s as %s is in the provider's answer: %s", what, where, body)
			}
		}
		if strings.Contains(logs.String(), name[:8]) {
			t.Errorf("%s is in the log", what)
		}
	}
	// What a portal's programmer has to know stays.
	doc := mustSign(t, key, bytes.Replace(draft, []byte("<rooms>2</rooms>"), []byte("<rooms>2</rooms><pool/>"), 1))
	if _, _, body := l.restPost(t, doc); !strings.Contains(string(body), "housing/pool") {
		t.Errorf("an ordinary name: %s", body)
	}
}
