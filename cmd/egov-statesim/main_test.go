package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
)

func TestRunServesTheWorldUntilItIsStopped(t *testing.T) {
	faults := filepath.Join(t.TempDir(), "faults.json")
	if err := os.WriteFile(faults, []byte(`{"ocsp":[{"kind":"unavailable","calls":1}],"petropavl":[{"kind":"late"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, options{Listen: "127.0.0.1:0", Gateway: "http://127.0.0.1:1/", Factor: 10, Share: 0.5, Threshold: 150000, Faults: faults, Token: []string{"taraz=t"}}, w, io.Discard)
		w.Close()
		done <- err
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "TEST ONLY") {
		t.Fatalf("the first line is %q", lines.Text())
	}
	if !lines.Scan() {
		t.Fatal("no address is printed")
	}
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text())
	get := func(path string) (int, []byte) {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, body
	}
	var state statesim.State
	if code, body := get("/sim/state"); code != 200 || json.Unmarshal(body, &state) != nil || time.Since(state.Now) > time.Minute {
		t.Errorf("state: %d %s", code, body)
	}
	var set map[string][]statesim.Fault
	if _, body := get("/sim/faults"); json.Unmarshal(body, &set) != nil || len(set["ocsp"]) != 1 || set["petropavl"][0].Kind != statesim.Late {
		t.Errorf("faults: %s", body)
	}
	if code, body := get("/crl/root/delta.crl"); code != 200 || len(body) < 200 {
		t.Errorf("CRL: %d, %d bytes", code, len(body))
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the process does not stop")
	}
}

func TestRunRefusesWrongOptions(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "faults.json")
	if err := os.WriteFile(bad, []byte(`{"income":[{"kind":"stale"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]options{
		"a token of nobody":               {Token: []string{"nobody=t"}},
		"a token without a provider":      {Token: []string{"t"}},
		"a factor below zero":             {Factor: -1},
		"a fault that the target has not": {Faults: bad},
		"an address that is none":         {Listen: "256.0.0.1:1"},
	} {
		o.Gateway = "http://127.0.0.1:1"
		if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
