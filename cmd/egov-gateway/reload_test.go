package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
		for end := time.Now().Add(10 * time.Second); strings.Count(logs.String(), said) == before; time.Sleep(10 * time.Millisecond) {
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
