package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"egov-gateway/gateway"
)

// An anchor that the operator removes is not trusted from the next request on, without a
// restart; a configuration that cannot be used changes nothing.
func TestAnchorsAreReloadedOnHangup(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	reload := func(file string, content []byte, said string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(l.dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(logs.String(), said)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(2 * time.Minute); strings.Count(logs.String(), said) == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the log never said %q", said)
			}
		}
	}
	submit := func(want gateway.Reason) {
		t.Helper()
		a := l.mustSubmit(t, l.draft("citizen-01", taraz), "citizen-01")
		if want == "" && a.status != http.StatusAccepted || want != "" && problemOf(t, a.body).Reason != want {
			t.Errorf("%d %s, want %q", a.status, a.body, want)
		}
	}
	config, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	submit("")
	reload("root.pem", l.pki.Must("other-root").CertificatePEM, "were reloaded")
	submit(gateway.NotAnchored)
	reload("root.pem", l.pki.Must("root").CertificatePEM, "were reloaded")
	submit("")
	reload("gateway.yaml", []byte("listen: ["), "was not reloaded")
	submit("")
	reload("gateway.yaml", append(config, "# edited\n"...), "were reloaded")
	submit("")
}

// A reload takes over a portal's new token and the room on the disk, says what waits for a restart,
// and drops no request on the way.
func TestAReloadDropsNothing(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	stop, done := make(chan struct{}), make(chan struct{})
	var dropped atomic.Int64
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := l.draft("citizen-01", taraz).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if a, err := l.submitSigned(signed, nil); err != nil || a.status != http.StatusAccepted {
				dropped.Add(1)
			}
		}
	}()
	for range 20 {
		l.svc.reloader.take()
	}
	close(stop)
	<-done
	if n := dropped.Load(); n > 0 {
		t.Errorf("%d requests failed while the configuration was reloaded", n)
	}
	if v := l.sample(t, "egov_gateway_config_generation"); v != 21 {
		t.Errorf("generation %v", v)
	}
	before := l.sample(t, "egov_gateway_config_hash")

	old := l.token
	if err := os.WriteFile(filepath.Join(l.dir, "portal.token"), []byte(secret()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.reconfigure(func(c *Config) { c.Limits.DiskFree, c.Pipeline.Workers = 1<<60, 3 }); err != nil {
		t.Fatal(err)
	}
	waiting, err := l.svc.reloader.reload()
	if err != nil || len(waiting) != 1 || waiting[0] != "pipeline" {
		t.Errorf("waiting %q, %v", waiting, err)
	}
	if status, _, _ := call(t, http.MethodPost, l.base+"/v1/requests", signed, "Content-Type", "application/xml", "Authorization", "Bearer "+old); status != http.StatusUnauthorized {
		t.Errorf("the old token: %d", status)
	}
	raw, _ := os.ReadFile(filepath.Join(l.dir, "portal.token"))
	l.token = string(raw)
	if a := l.mustSubmit(t, l.draft("citizen-02", taraz), "citizen-02"); problemOf(t, a.body).Reason != gateway.JournalFull {
		t.Errorf("the new bound of the disk: %d %s", a.status, a.body)
	}
	if l.sample(t, "egov_gateway_config_restart_needed") != 1 || l.sample(t, "egov_gateway_config_hash") == before {
		t.Error("the metrics do not tell of the change")
	}
	whole, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.config, []byte("listen: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	l.svc.reloader.take()
	if l.sample(t, "egov_gateway_config_reload_ok") != 0 || !strings.Contains(logs.String(), "was not reloaded") {
		t.Error("a broken file is not told of")
	}
	if _, _, body := get(t, l.admin+"/readyz"); !strings.Contains(string(body), "the file was refused at the last reload") {
		t.Errorf("/readyz does not tell of a broken file: %s", body)
	}
	if err := os.WriteFile(l.config, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	l.svc.reloader.take()
	if _, _, body := get(t, l.admin+"/readyz"); strings.Contains(string(body), "refused") {
		t.Errorf("/readyz still tells of a file that was mended: %s", body)
	}
}

// Whoever replaced a file sees in the log that it was this one which was taken over: of a secret by which
// the gateway itself is known nothing else tells.
func TestAReloadNamesWhatChanged(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	write := func(name, content string) func() {
		return func() {
			if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	key := append(l.pki.Must("system-state").KeyPEM, l.pki.Must("system-state").CertificatePEM...)
	settings := func(change func(*Config)) func() {
		return func() {
			if err := l.reconfigure(change); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		change func()
		want   string
	}{
		{"nothing", func() {}, `"changed":[]`},
		{"a file that two settings name", write(c.Providers[0].TokenFile, secret()),
			`"changed":["providers[0].token_file","providers[0].callback_token_file"]`},
		{"the gateway's own key", write(c.Key, string(key)), `"changed":["key"]`},
		{"a setting", settings(func(c *Config) { c.Limits.DiskFree = 7 }), `"changed":["limits"]`},
		{"a file that is named for the first time", func() {
			write("next.token", secret())()
			settings(func(c *Config) { c.Portals[0].TokenFile = "next.token" })()
		}, `"changed":["portals","portals[0].token_file"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(logs.String())
			tt.change()
			l.svc.reloader.take()
			if said := logs.String()[before:]; !strings.Contains(said, tt.want) {
				t.Errorf("the log does not say %s:\n%s", tt.want, said)
			}
		})
	}
}
