package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/peer"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/sealing"
	"egov-gateway/schemas"
)

// Every console block of the README is run, and shows what it really prints. A line of "…"
// stands for any lines, "…" inside a line for any text.
func TestTheREADMEShowsWhatHappens(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := readmeFolder(t)
	door := readmeDoor(t, dir, readme)
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 3 {
		t.Fatalf("%d console blocks", len(blocks))
	}
	for _, block := range blocks {
		for _, session := range strings.Split(block[1], "$ ")[1:] {
			command, expected, _ := strings.Cut(session, "\n")
			t.Run(command, func(t *testing.T) {
				if strings.HasPrefix(command, "curl ") {
					tool.Path(t, "curl", "curl")
				}
				if strings.HasPrefix(command, "python3 ") && exec.Command(peerPython, "-c", "import zeep, xmlsec").Run() != nil {
					tool.Missing(t, "zeep is missing: apt-get install python3-zeep python3-xmlsec")
				}
				cmd := peer.Command(t.Context(), time.Now(), "sh", "-c", command)
				cmd.Dir = dir
				if strings.HasPrefix(command, "make ") { // what it builds has the tests' clock
					cmd = exec.CommandContext(t.Context(), "sh", "-c", command)
					cmd.Dir = "../.."
				}
				cmd.Env = append(slices.DeleteFunc(cmd.Environ(), func(e string) bool { return strings.HasPrefix(e, "MAKE") || strings.HasPrefix(e, "MFLAGS") }), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "GATEWAY="+door)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				// A progress bar draws over its own line.
				printed := regexp.MustCompile(`(?m)^.*\r`).ReplaceAllString(string(out), "")
				// The README is of a day on which the calendar's data do not end soon.
				printed = regexp.MustCompile(`(?m)^warning: calendar\.yaml has no data .*\n`).ReplaceAllString(printed, "")
				if !pattern(expected).MatchString(printed) {
					t.Errorf("the README shows\n%s\nprinted was\n%s", expected, printed)
				}
			})
		}
	}
}

func pattern(expected string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.SplitSeq(strings.TrimRight(expected, "\n"), "\n") {
		if line == "…" {
			b.WriteString(`(?:.*\n)*`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), "…", `.*`) + ` *\n`)
	}
	b.WriteString(`\z`)
	if strings.TrimSpace(expected) == "" {
		return regexp.MustCompile(`\A\z`)
	}
	return regexp.MustCompile(b.String())
}

// readmeDoor starts the gateway that the README's portal speaks to, under the real clock, and puts
// the portal's files and the README's program into dir.
func readmeDoor(t *testing.T, dir string, readme []byte) string {
	t.Helper()
	l, err := newLab(t.TempDir(), time.Now(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("the README shows no portal in Python")
	}
	files := map[string][]byte{"portal.py": program[1], "portal.token": []byte(l.token), "shep.password": []byte(l.password), "request.signed.xml": []byte(l.mustSigned(t, l.draft("citizen-02", taraz), "citizen-02"))}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(peerPython, filepath.Join(dir, "bin", "python3")); err != nil {
		t.Fatal(err)
	}
	return l.base
}

// readmeFolder holds the files that the README's commands name.
func readmeFolder(t *testing.T) string {
	t.Helper()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.writeKey(t, "data.key", sealing.NewInstallationKey())
	if err := l.reconfigure(func(c *Config) { c.DataKey = "data.key" }); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(l.dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(l.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("bin/egov-gateway", []byte("#!/bin/sh\n"+runAsGateway+"=1 exec '"+exe+"' \"$@\"\n"), 0o700)
	regional := parkedJournal(t)
	if err := os.Symlink(regional, filepath.Join(l.dir, "regional-data")); err != nil {
		t.Fatal(err)
	}
	citizen := l.pki.Must("citizen-01")
	write("citizen.pem", append(append([]byte{}, citizen.KeyPEM...), citizen.CertificatePEM...), 0o600)
	draft := l.draft("citizen-01", taraz)
	write("request.xml", draft.XML(), 0o600)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	write("tampered.xml", bytes.Replace(mustSign(t, key, draft.XML()), []byte("21000"), []byte("91000"), 1), 0o600)
	passport, err := schemas.FS.ReadFile("passports/housing-aid-zhambyl.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(l.dir, "passports"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("passports/housing-aid-zhambyl.yaml", passport, 0o600)
	write("passports/bad.yaml", bytes.Replace(passport, []byte("limit: {minutes: 20}"), []byte("limit: {}"), 1), 0o600)
	resp, err := http.Get(l.sim + "/crl/issuing/base.crl")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	crl, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	write("issuing.crl", crl, 0o600)
	return l.dir
}

// The pattern does not match just anything.
func TestTheREADMEPatternCanFail(t *testing.T) {
	for expected, printed := range map[string]string{"ok\n": "not ok\n", "a …\nb\n": "a x\nc\n", "": "something\n", "a\n…\nb\n": "a\nx\n"} {
		if pattern(expected).MatchString(printed) {
			t.Errorf("%q matches %q", expected, printed)
		}
	}
	if !pattern("a\n…\nb … d\n").MatchString("a\nx\ny\nb c d\n") {
		t.Error("the pattern matches nothing")
	}
}

// parkedJournal is the data directory of a gateway with one request that Taraz did not take.
func parkedJournal(t *testing.T) string {
	t.Helper()
	l, _ := newTestLab(t, monday, nil)
	if err := l.world.SetFaults("taraz", statesim.Fault{Kind: statesim.Reject}); err != nil {
		t.Fatal(err)
	}
	id := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01").ID
	delivered := l.mustAccept(t, l.draft("citizen-02", petropavl), "citizen-02").ID
	l.await(t, delivered, func(p intake.Progress) bool { return p.State == gateway.StateDelivered })
	l.await(t, id, func(p intake.Progress) bool { return p.State == gateway.StateParked })
	if err := l.svc.Close(); err != nil {
		t.Fatal(err)
	}
	l.svc = nil
	return filepath.Join(l.dir, "data")
}
