package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/tool"
)

// kit makes a conformance kit.
func kit(t *testing.T, seed int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kit")
	mustRun(t, 0, "corpus", "generate", "--kit", "--seed", fmt.Sprint(seed), name)
	return name
}

// mustRun runs a command line that must end with code.
func mustRun(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, &out, &errs); got != code {
		t.Fatalf("%v: exit %d, want %d\n%s%s", args, got, code, &out, &errs)
	}
	return out.String(), errs.String()
}

// Every document of the kit is judged as its maker says: R3, R4a, R4b, R4c.
func TestTheKitIsJudgedAsItSays(t *testing.T) {
	if testing.Short() {
		t.Skip("5,000 documents, in the run without -short")
	}
	name := kit(t, 1)
	out, errs := mustRun(t, 0, "corpus", "check", name)
	if errs != "" || !strings.Contains(out, "wrapping") {
		t.Errorf("%s%s", out, errs)
	}
	out, errs = mustRun(t, 0, "verify", "--corpus", name)
	if out != "" {
		t.Errorf("not as expected:\n%.2000s", out)
	}
	var match, all int
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	if _, err := fmt.Sscanf(lines[len(lines)-1], "%d of %d as expected", &match, &all); err != nil || match != all || all < kitEntries {
		t.Errorf("%v: %s", err, errs)
	}
	// A day without evidence: nothing that was good can be checked, and the score says so.
	out, _ = mustRun(t, exitFailed, "verify", "--corpus", name, "--at", "2026-12-20T05:00:00Z")
	if !strings.Contains(out, `"status":"indeterminate"`) {
		t.Errorf("a month later: %.500s", out)
	}
}

// A manifest that is wrong is found out.
func TestAWrongManifestIsAMismatch(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	dir := filepath.Join(t.TempDir(), "c")
	mustRun(t, 0, "corpus", "generate", "-n", "110", "--loose", dir)
	mustRun(t, 0, "verify", "--corpus", dir)
	file := filepath.Join(dir, "manifest.jsonl")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a refusal that should pass":  {`"verdict":{"status":"refused","reason":"revocation.revoked"}`, `"verdict":{"status":"verified"}`},
		"a pass that should not":      {`"verdict":{"status":"verified"}`, `"verdict":{"status":"refused","reason":"signature.invalid"}`},
		"another reason":              {`"reason":"signature.digest_mismatch"}`, `"reason":"signature.invalid"}`},
		"unchecked in place of wrong": {`"verdict":{"status":"refused","reason":"revocation.revoked"}`, `"verdict":{"status":"indeterminate","reason":"revocation.stale"}`},
	} {
		if !bytes.Contains(good, []byte(change[0])) {
			t.Fatalf("%s: nothing to change", name)
		}
		// Of the two expectations of an entry the verifier's is meant, which comes first.
		if err := os.WriteFile(file, bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs := mustRun(t, exitFailed, "verify", "--corpus", dir)
		var l corpusLine
		if err := json.Unmarshal([]byte(out), &l); err != nil || l.Match {
			t.Errorf("%s: %v in %s%s", name, err, out, errs)
		}
	}
}

// Another verifier is scored by its exit code or its line of JSON.
func TestAnotherVerifierIsScored(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	dir := t.TempDir()
	c := filepath.Join(dir, "c.zip")
	mustRun(t, 0, "corpus", "generate", "-n", "110", c)
	script := func(body string) string {
		name := filepath.Join(dir, "verifier.sh")
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return name
	}
	last := func(errs string) string {
		lines := strings.Split(strings.TrimSpace(errs), "\n")
		return lines[len(lines)-1]
	}
	tests := []struct {
		name, body string
		code       int
		want       string
	}{
		{"accepts everything", "exit 0", 1, "wrongly accepted"},
		{"takes nothing", "exit 3", 0, "0 of 0 as expected"},
		{"sees the trust material and the entry", `[ -r "$1" ] && for f in $CORPUS_TRUST $CORPUS_UNTRUSTED $CORPUS_CRLS $CORPUS_OCSP; do [ -r "$f" ] || exit 9; done; [ -n "$CORPUS_AT$CORPUS_ALGORITHM" ] && exit 3`, 0, "0 of 0 as expected"},
		{"answers in JSON", `echo noise; echo '{"status":"unsupported"}'`, 0, "0 of 0 as expected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, errs := mustRun(t, tt.code, "verify", "--corpus", c, "--verifier", script(tt.body))
			if !strings.Contains(errs, tt.want) && !strings.Contains(last(errs), tt.want) {
				t.Error(errs)
			}
		})
	}
	if _, errs := mustRun(t, exitFailed, "verify", "--corpus", c, "--verifier", script("exit 77")); !strings.Contains(errs, "ended with 77") {
		t.Errorf("a verifier that breaks: %s", errs)
	}
	// This program under its own interface: the line that it writes is the answer that is read.
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := script(runAsGateway + `=1 exec '` + exe + `' verify --purpose sign-person --at "$CORPUS_AT" ${CORPUS_IIN:+--iin "$CORPUS_IIN"} $(for f in $CORPUS_TRUST; do echo --trust "$f"; done) $(for f in $CORPUS_UNTRUSTED; do echo --untrusted "$f"; done) $(for f in $CORPUS_CRLS; do echo --crl "$f"; done) $(for f in $CORPUS_OCSP; do echo --ocsp-response "$f"; done) "$1"`)
	out, errs := mustRun(t, 0, "verify", "--corpus", c, "--verifier", own, "--all")
	var l corpusLine
	if err := json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &l); err != nil || l.Status == "" || l.Expected == nil {
		t.Errorf("%v: %.300s %s", err, out, errs)
	}
}

// The adapter for xmlsec1 accepts every good RSA document of the kit's kind and finds changed ones.
func TestTheXmlsec1Adapter(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	for program, debian := range map[string]string{"xmlsec1": "xmlsec1", "openssl": "openssl"} {
		tool.Path(t, program, debian)
	}
	dir := t.TempDir()
	adapter := filepath.Join(dir, "xmlsec1.sh")
	mustRun(t, 0, "corpus", "adapter", "xmlsec1", "--out", adapter)
	if printed, _ := mustRun(t, 0, "corpus", "adapter", "xmlsec1"); printed != string(xmlsec1Adapter) {
		t.Error("what is printed is not what is written")
	}
	c := filepath.Join(dir, "c")
	mustRun(t, 0, "corpus", "generate", "-n", "160", c)
	var out, errs bytes.Buffer
	run([]string{"verify", "--corpus", c, "--verifier", adapter, "--all"}, &out, &errs)
	verified, refused := 0, 0
	for line := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
		var l corpusLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Status == unsupported:
		case l.Status != gateway.Verified && l.Expected.Status == gateway.Verified && l.Class == "valid" && !strings.Contains(l.Comment, "not critical"):
			t.Errorf("a good document is refused: %s", line)
		case l.Status == gateway.Verified && l.Expected.Reason == gateway.DigestMismatch || l.Status == gateway.Verified && l.Expected.Reason == gateway.CertificateExpired:
			t.Errorf("accepted: %s", line)
		case l.Status == gateway.Verified:
			verified++
		default:
			refused++
		}
	}
	if verified < 10 || refused < 30 {
		t.Errorf("%d verified, %d refused: %s", verified, refused, &errs)
	}
}

// What verify --corpus unpacks is gone when it ends, whichever way it ends.
func TestNothingIsLeftOfAnUnpackedCorpus(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "kit.zip")
	mustRun(t, 0, "corpus", "generate", "--kit", whole)
	interrupt := filepath.Join(t.TempDir(), "interrupt")
	if err := os.WriteFile(interrupt, []byte("#!/bin/sh\nkill -INT $PPID\nsleep 1\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	spoil := func(change func(h map[string]any)) string {
		name := filepath.Join(t.TempDir(), "broken.zip")
		rewriteHeader(t, whole, name, change)
		return name
	}
	tests := []struct {
		name string
		args []string
	}{
		{"a file that is named and not there", []string{spoil(func(h map[string]any) { h["ocsp"] = []string{"no-such-file"} })}},
		{"lists that are named and not there", []string{spoil(func(h map[string]any) { h["crls"] = []string{"no-such-file"} })}},
		{"no trusted roots", []string{spoil(func(h map[string]any) { h["trust"] = []string{} })}},
		{"a verifier that is not there", []string{whole, "--verifier", filepath.Join(t.TempDir(), "nothing")}},
		{"interrupted", []string{whole, "--verifier", interrupt, "--jobs", "1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			mustRun(t, exitFailed, append([]string{"verify", "--corpus"}, tt.args...)...)
			left, err := os.ReadDir(temp)
			if err != nil || len(left) > 0 {
				t.Errorf("left are %v, %v", left, err)
			}
		})
	}
}

// rewriteHeader copies a corpus and changes its header.
func rewriteHeader(t *testing.T, from, to string, change func(map[string]any)) {
	t.Helper()
	r, err := zip.OpenReader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	changed := false
	for _, part := range r.File {
		if part.Name != corpus.HeaderFile {
			if err := w.Copy(part); err != nil {
				t.Fatal(err)
			}
			continue
		}
		in, err := part.Open()
		if err != nil {
			t.Fatal(err)
		}
		var h map[string]any
		err = json.NewDecoder(in).Decode(&h)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		change(h)
		out, err := w.Create(part.Name)
		if err == nil {
			err = json.NewEncoder(out).Encode(h)
		}
		if err != nil {
			t.Fatal(err)
		}
		changed = true
	}
	if err := w.Close(); err != nil || !changed {
		t.Fatalf("header found: %v, %v", changed, err)
	}
}
