package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
)

// What a client sends wrongly gets a distinct, named answer, in one sentence, never a 500.
func TestBadInputGetsAClearAnswer(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	signed := func(change func(*harness.Draft)) []byte {
		d := l.draft("citizen-01", taraz)
		if change != nil {
			change(&d)
		}
		b, err := d.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := signed(nil)
	multipartOf := func(parts string) []byte { return []byte(strings.ReplaceAll(parts, "\n", "\r\n")) }
	tests := []struct {
		name, contentType string
		body              []byte
		status            int
		want              gateway.Reason
	}{
		{"nothing", "application/xml", nil, 400, gateway.BodyEmpty},
		{"no Content-Type", "", good, 415, gateway.MediaType},
		{"JSON", "application/json", []byte(`{}`), 415, gateway.MediaType},
		{"a broken Content-Type", "application/", good, 415, gateway.MediaType},
		{"plain words", "application/xml", []byte("hello"), 400, gateway.DocumentMalformed},
		{"a PDF", "application/xml", harness.PDF("x"), 400, gateway.DocumentMalformed},
		{"cut in the middle", "application/xml", good[:len(good)/2], 400, gateway.DocumentMalformed},
		{"UTF-16", "application/xml", []byte("\xff\xfe<\x00a\x00/\x00>\x00"), 400, gateway.DocumentEncoding},
		{"windows-1251 declared", "application/xml", append([]byte(`<?xml version="1.0" encoding="windows-1251"?>`), good...), 400, gateway.DocumentEncoding},
		{"a DOCTYPE", "application/xml", append([]byte(`<!DOCTYPE request [<!ENTITY x "y">]>`), good...), 400, gateway.DocumentDoctype},
		{"a processing instruction", "application/xml", append([]byte(`<?php x?>`), good...), 400, gateway.DocumentInstruction},
		{"a thousand levels", "application/xml", []byte(strings.Repeat("<a>", 1000)), 400, gateway.DocumentLimit},
		{"a document above a megabyte", "application/xml", []byte("<a>" + strings.Repeat("x", 1<<20) + "</a>"), 413, gateway.DocumentTooLarge},
		{"a body above what the door takes", "application/xml", bytes.Repeat([]byte("x"), 9<<20), 413, gateway.BodyTooLarge},
		{"unsigned", "application/xml", l.draft("citizen-01", taraz).XML(), 422, gateway.SignatureMissing},
		{"another namespace", "application/xml", mustSign(t, key, bytes.Replace(l.draft("citizen-01", taraz).XML(), []byte(harness.HousingAid), []byte("urn:other"), 1)), 422, gateway.FormNamespace},
		{"an unknown service", "application/xml", signed(func(d *harness.Draft) { d.Service = "marriage" }), 422, gateway.ServiceUnknown},
		{"a territory without provider", "application/xml", signed(func(d *harness.Draft) { d.Territory = "710000000" }), 422, gateway.TerritoryUnknown},
		{"a territory whose provider is not configured", "application/xml", signed(func(d *harness.Draft) { d.Territory = "593220100" }), 422, gateway.TerritoryUnknown},
		{"another portal", "application/xml", signed(func(d *harness.Draft) { d.Portal = "kds.kz" }), 422, gateway.PortalMismatch},
		{"made a week ago", "application/xml", signed(func(d *harness.Draft) { d.CreatedAt = monday.AddDate(0, 0, -7) }), 422, gateway.CreatedAtRange},
		{"made in an hour", "application/xml", signed(func(d *harness.Draft) { d.CreatedAt = monday.Add(time.Hour) }), 422, gateway.CreatedAtRange},
		{"an IIN that is none", "application/xml", signed(func(d *harness.Draft) { d.Applicant.IIN = "123456789011" }), 422, gateway.FormInvalid},
		{"multipart without boundary", "multipart/form-data", good, 400, gateway.MultipartBroken},
		{"multipart that is none", "multipart/form-data; boundary=x", good, 400, gateway.MultipartBroken},
		{"multipart without the part request", "multipart/form-data; boundary=x", multipartOf("--x\nContent-Disposition: form-data; name=\"a\"\n\nb\n--x--\n"), 400, gateway.MultipartBroken},
		{"multipart with two requests", "multipart/form-data; boundary=x", multipartOf("--x\nContent-Disposition: form-data; name=\"request\"\n\n<a/>\n--x\nContent-Disposition: form-data; name=\"request\"\n\n<a/>\n--x--\n"), 400, gateway.MultipartBroken},
		{"multipart cut off", "multipart/form-data; boundary=x", multipartOf("--x\nContent-Disposition: form-data; name=\"request\"\n\n<a"), 400, gateway.MultipartBroken},
		{"multipart in base64", "multipart/form-data; boundary=x", multipartOf("--x\nContent-Disposition: form-data; name=\"request\"\nContent-Transfer-Encoding: base64\n\nPGEvPg==\n--x--\n"), 400, gateway.MultipartBroken},
		{"multipart with thirty parts", "multipart/form-data; boundary=x", multipartOf(strings.Repeat("--x\nContent-Disposition: form-data; name=\"a\"\n\nb\n", 30) + "--x--\n"), 400, gateway.MultipartBroken},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := call(t, http.MethodPost, l.base+"/v1/requests", tt.body, "Content-Type", tt.contentType, "Authorization", "Bearer "+l.token, "Accept-Language", "en")
			p := problemOf(t, body)
			if status != tt.status || p.Reason != tt.want || p.Status != status {
				t.Fatalf("%d %s; want %d %s", status, body, tt.status, tt.want)
			}
			if header.Get("Content-Type") != "application/problem+json" || header.Get("Content-Language") != "en" {
				t.Errorf("headers %v", header)
			}
			if p.Title == "" || strings.Contains(p.Detail, "goroutine") || strings.Contains(string(body), ".go:") {
				t.Errorf("not a sentence for a person: %s", body)
			}
			seen[p.Type] = true
		})
	}
	t.Run("another method", func(t *testing.T) {
		status, header, body := call(t, http.MethodPut, l.base+"/v1/requests", good, "Authorization", "Bearer "+l.token)
		if p := problemOf(t, body); status != http.StatusMethodNotAllowed || header.Get("Allow") != "POST" || p.Reason != gateway.MethodNotAllowed {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("an Accept that nobody can meet", func(t *testing.T) {
		status, _, body := call(t, http.MethodPost, l.base+"/v1/requests", good, "Content-Type", "application/xml", "Authorization", "Bearer "+l.token, "Accept", "image/png")
		if p := problemOf(t, body); status != http.StatusNotAcceptable || p.Reason != gateway.NotAcceptable {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("a body that ends before its announced end", func(t *testing.T) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(l.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/xml\r\nContent-Length: 100000\r\n\r\n%s", l.token, good[:100])
		conn.(*net.TCPConn).CloseWrite()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if p := problemOf(t, body); p.Reason != gateway.BodyTruncated {
			t.Errorf("%s", body)
		}
	})
	t.Run("an id that is none, and one of nobody", func(t *testing.T) {
		for _, id := range []string{"x", "..%2f..", strings.Repeat("0", 32), strings.Repeat("F", 32)} {
			status, _, body := get(t, l.base+"/v1/requests/"+id, "Authorization", "Bearer "+l.token)
			if p := problemOf(t, body); status != http.StatusNotFound || p.Reason != gateway.NotFound {
				t.Errorf("%s: %d %s", id, status, body)
			}
		}
	})
	if len(seen) < 15 {
		t.Errorf("only %d distinct answers", len(seen))
	}
	if strings.Contains(logs.String(), `"level":"ERROR"`) {
		t.Error("a client's mistake is in the log as our error")
	}
	noPersonalData(t, l, logs)
}

// What an operator configures wrongly is named, in one sentence, at start.
func TestAWrongConfigurationIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	good, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	doors := strings.TrimPrefix(l.base, "http://")
	tests := []struct {
		name     string
		from, to string
		prepare  func(dir string)
		want     []string
	}{
		{"an unknown field, with its line", "base_url:", "base_ulr:", nil, []string{"gateway.yaml", "[3:1]", `unknown field "base_ulr"`}},
		{"not YAML", "listen:", "listen: [", nil, []string{"gateway.yaml"}},
		{"a field is missing", "secret: secret\n", "", nil, []string{"secret is missing"}},
		{"a duration that is none", "timeout: 3s", "timeout: soon", nil, []string{"soon"}},
		{"a log level that is none", "log: \"\"", "log: loud", nil, []string{"log", "loud"}},
		{"the port is in use", "listen: " + doors, "listen: " + busy.Addr().String(), nil, []string{"listen on " + busy.Addr().String(), "in use"}},
		{"no key file", "key: gateway.pem", "key: other.pem", nil, []string{"key", "other.pem"}},
		{"a key file without a key", "key: gateway.pem", "key: root.pem", nil, []string{"key root.pem"}},
		{"a root that is no certificate", "certificate: root.pem", "certificate: secret", nil, []string{"trust[0]", "secret"}},
		{"a secret that is too short", "secret: secret", "secret: short", func(dir string) { os.WriteFile(filepath.Join(dir, "short"), []byte("abc"), 0o600) }, []string{"secret", "short"}},
		{"a lease that no step can keep", "  lease: 0s", "  lease: 10ms", nil, []string{"pipeline.lease", "1s"}},
		{"fewer workers than none", "workers: 0", "workers: -1", nil, []string{"pipeline.workers"}},
		{"a balancer that is no network", "balancers: []", "balancers: [10.0.0.1]", nil, []string{"10.0.0.1"}},
		{"a PROXY header that nobody sends", "proxy_protocol: false", "proxy_protocol: true", nil, []string{"proxy_protocol", "balancers"}},
		{"a balancer that is everybody", "balancers: []", "balancers: [0.0.0.0/0]", nil, []string{"balancers", "0.0.0.0/0", "10.0.0.5/32"}},
		{"a shard that no passport has", "shards: []", "shards: [zhambil]", nil, []string{"shards[0]", "zhambil"}},
		{"a journal in Redis without a shared place for documents", "journal:\n  redis: []", "journal:\n  redis: [redis://127.0.0.1:1]", nil, []string{"attachments", "share"}},
		{"a provider that stands twice", "id: taraz", "id: petropavl", nil, []string{"providers[1].id", "petropavl", "twice"}},
		{"a portal that stands twice", "portals:\n", "portals:\n- name: egov.kz\n  token_file: portal.token\n", nil, []string{"portals[1].name", "egov.kz", "twice"}},
		{"a token that two portals share", "portals:\n", "portals:\n- name: other.kz\n  token_file: portal.token\n", nil, []string{"portals[1]", "token", "other.kz"}},
		{"a provider that no passport names", "id: taraz", "id: atlantis", nil, []string{"atlantis"}},
		{"a BIN that is none", "bin: \"" + l.pki.Must("provider-zhambyl-head").BIN, "bin: \"1" + l.pki.Must("provider-zhambyl-head").BIN[1:], nil, []string{"bin"}},
		{"a mandatory record without a source", "gbdrn:", "gbdrn: null\n  unused:", nil, []string{"gateway.yaml"}},
		{"a participant that nothing proves", "password_file: shep.password", "password_file: \"\"", nil, []string{"shep.participants[0]", "password_file"}},
		{"a participant's certificate that is none", "- system-portal.crt", "- secret", nil, []string{"shep.participants[1].certificates", "secret"}},
		{"two participants with one sender id", "sender_id: BANK", "sender_id: EGOV", nil, []string{"bank.kz", "twice"}},
		{"two participants for one portal", "portals: []", "portals: [bank.kz]", nil, []string{"both speak for the portal bank.kz"}},
		{"a service that no passport has", "EGOV-S-HOUSING: housing-aid", "EGOV-S-HOUSING: housing", nil, []string{"shep.participants[0].services", "housing", "EGOV-S-HOUSING"}},
		{"no name of its own", "sender_id: egov-gateway\n  window", "sender_id: \"\"\n  window", nil, []string{"shep.sender_id"}},
		{"less memory than one message", "in_flight: 0\n  allow", "in_flight: 1000\n  allow", nil, []string{"InFlight", "one message"}},
		{"a provider of a region that is not there", "region: \"\"", "region: zhambil", nil, []string{"providers[0].region", "zhambil"}},
		{"a region that nobody is reached through", "regions: []", "regions: [{shard: zhambyl, url: \"http://127.0.0.1:1\", sender_id: Z, certificates: [root.pem], services: {X: housing-aid}}]", nil, []string{"regions[0]", "no provider"}},
		{"a region without a certificate", "regions: []", "regions: [{shard: zhambyl, url: \"http://127.0.0.1:1\", sender_id: Z, services: {X: housing-aid}}]", nil, []string{"regions[0]", "certificates"}},
		{"the data directory cannot be made", "data: data", "data: secret", nil, []string{"data directory", "secret"}},
		{"the journal is damaged", "data: data", "data: broken", func(dir string) {
			os.MkdirAll(filepath.Join(dir, "broken"), 0o700)
			os.WriteFile(filepath.Join(dir, "broken", "journal.db"), bytes.Repeat([]byte("no journal "), 1000), 0o600)
		}, []string{"journal.db", "damaged or not a journal"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(string(good), tt.from, tt.to, 1)
			if changed == string(good) {
				t.Fatalf("%q is not in the configuration:\n%s", tt.from, good)
			}
			if tt.prepare != nil {
				tt.prepare(l.dir)
			}
			file := filepath.Join(l.dir, "gateway.yaml")
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := LoadConfig(file)
			if err == nil {
				var svc *service
				if svc, err = start(c, l.clock.Now, slog.New(slog.DiscardHandler), nil); err == nil {
					svc.Close()
					t.Fatal("it started")
				}
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "goroutine") {
				t.Errorf("a stack trace: %v", err)
			}
		})
	}
	if err := os.WriteFile(l.config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("config check says ok to a good one and names a fault", func(t *testing.T) {
		var out, errs bytes.Buffer
		if code := run([]string{"config", "check", l.config}, &out, &errs); code != 0 || out.String() != "ok\n" {
			t.Errorf("%d %s %s", code, &out, &errs)
		}
		if code := run([]string{"config", "check", filepath.Join(l.dir, "none.yaml")}, &out, &errs); code == 0 || !strings.Contains(errs.String(), "none.yaml") {
			t.Errorf("%d %s", code, &errs)
		}
	})
	t.Run("two gateways do not share a data directory", func(t *testing.T) {
		if err := l.startGateway(); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(l.config)
		if err != nil {
			t.Fatal(err)
		}
		if svc, err := start(c, l.clock.Now, slog.New(slog.DiscardHandler), nil); err == nil {
			svc.Close()
			t.Error("the second one started")
		} else if !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("got %v", err)
		}
	})
}
