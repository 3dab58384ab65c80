package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/sealing"
)

// sealedLab is a lab whose gateway has a data key in the file data.key; it was not started yet.
func sealedLab(t *testing.T, key sealing.InstallationKey) (*lab, *logBuffer) {
	t.Helper()
	var logs logBuffer
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.writeKey(t, "data.key", key)
	if err := l.reconfigure(func(c *Config) { c.DataKey = "data.key" }); err != nil {
		t.Fatal(err)
	}
	return l, &logs
}

func (l *lab) writeKey(t *testing.T, name string, key sealing.InstallationKey) string {
	t.Helper()
	file := filepath.Join(l.dir, name)
	if err := os.WriteFile(file, []byte(key.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// mustStart starts the gateway, also again.
func (l *lab) mustStart(t *testing.T) {
	t.Helper()
	if l.svc != nil {
		if err := l.svc.Close(); err != nil {
			t.Fatal(err)
		}
		l.svc = nil
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
}

// journalCommand runs a command of the journal and returns what it said.
func journalCommand(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(append([]string{"journal"}, args...), &out, &errs); code != want {
		t.Fatalf("%v exits %d: %s%s", args, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// whereOnDisk are the files below dir that hold one of the texts, in their content or in their name.
func whereOnDisk(t *testing.T, dir string, texts map[string]string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for what, text := range texts {
			if bytes.Contains(b, []byte(text)) || strings.Contains(path, text) {
				found = append(found, what+" in "+path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Whoever carries the disk away learns nothing of a citizen; and what is searched for would be
// found, for without a data key it is.
func TestNothingThatIsKeptLiesInClear(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		t.Run(map[bool]string{true: "with a data key", false: "without one it is found"}[sealed], func(t *testing.T) {
			l, _ := sealedLab(t, sealing.NewInstallationKey())
			if !sealed {
				if err := l.reconfigure(func(c *Config) { c.DataKey = "" }); err != nil {
					t.Fatal(err)
				}
			}
			l.mustStart(t)
			citizen := l.pki.Must("citizen-01")
			d := l.draft("citizen-01", petropavl)
			d.Family = []harness.Person{{IIN: l.pki.Must("citizen-03").IIN, Surname: "ЖАСЫРЫНОВА", GivenName: "ҚҰПИЯ"}}
			r := l.mustAccept(t, d, "citizen-01")
			c := l.draft("citizen-01", petropavl)
			c.Service, c.Documents, c.Complaint = "complaint", nil, "Құпия шағым: мені тыңдамады деп жазамын."
			complaint := l.mustAccept(t, c, "citizen-01")
			l.await(t, r.ID, closed)
			l.await(t, complaint.ID, closed)

			texts := map[string]string{"an IIN": citizen.IIN, "a surname": citizen.Surname, "a relative": "ЖАСЫРЫНОВА", "a relative's IIN": l.pki.Must("citizen-03").IIN,
				"an official": "ТЕСТОВ Т.Т.", "a file's name": d.Documents[0].Name, "a complaint": "мені тыңдамады", "a file": string(d.Documents[0].Data)}
			backup := filepath.Join(t.TempDir(), "backup")
			journalCommand(t, 0, "backup", "--config", l.config, "--to", backup)
			found := append(whereOnDisk(t, filepath.Join(l.dir, "data"), texts), whereOnDisk(t, backup, texts)...)
			if sealed {
				for _, f := range found {
					t.Error(f)
				}
				journalCommand(t, 0, "verify", "--data", backup, "--data-key", filepath.Join(l.dir, "data.key"))
				return
			}
			for what := range texts {
				if !strings.Contains(strings.Join(found, "\n"), what) {
					t.Errorf("%s is not found: the search proves nothing", what)
				}
			}
		})
	}
}

// An operator changes the data key of a gateway: under both keys, while it runs, and goes on under the new one.
func TestJournalRekey(t *testing.T) {
	first, second := sealing.NewInstallationKey(), sealing.NewInstallationKey()
	l, logs := sealedLab(t, first)
	old, to := filepath.Join(l.dir, "data.key"), l.writeKey(t, "new.key", second)
	l.mustStart(t)
	data := filepath.Join(l.dir, "data")
	signer, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-01", petropavl)
	signed, err := d.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.submitSigned(signed, d.Documents)
	if err != nil || a.status != http.StatusAccepted {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	r := a.receipt
	l.await(t, r.ID, closed)

	// Without the key a command says which one is needed; with it, it works.
	for _, args := range [][]string{{"show", "--data", data, string(r.ID)}, {"verify", "--data", data}, {"backup", "--data", data, "--to", filepath.Join(t.TempDir(), "b")}} {
		if out := journalCommand(t, exitFailed, args...); !strings.Contains(out, first.ID().String()) {
			t.Errorf("%v: %s", args, out)
		}
		args[1], args[2] = "--config", l.config
		journalCommand(t, 0, args...)
	}
	if out := journalCommand(t, 0, "stats", "--data", data); !strings.Contains(out, "closed") {
		t.Errorf("stats: %s", out)
	}
	if out := journalCommand(t, 0, "show", "--data", data, "--data-key", old, string(r.ID)); !strings.Contains(out, "closed") {
		t.Errorf("show: %s", out)
	}

	// Beside a gateway that does not know the new key.
	if out := journalCommand(t, exitFailed, "rekey", "--config", l.config, "--to", to); !strings.Contains(out, "data_key_old") {
		t.Errorf("rekey: %s", out)
	}
	if err := l.reconfigure(func(c *Config) { c.DataKey, c.DataKeyOld = "new.key", "data.key" }); err != nil {
		t.Fatal(err)
	}
	l.mustStart(t)
	between := l.mustAccept(t, l.draft("citizen-02", petropavl), "citizen-02")
	if out := journalCommand(t, 0, "rekey", "--config", l.config, "--to", to); !strings.Contains(out, "nothing is left") || !strings.Contains(out, second.ID().String()) {
		t.Errorf("rekey: %s", out)
	}
	if out := journalCommand(t, 0, "rekey", "--config", l.config, "--to", to); !strings.Contains(out, "anew: 0 keys of requests and messages, 0 of") {
		t.Errorf("rekey again: %s", out)
	}
	l.await(t, between.ID, closed)

	// The old key alone does not start any more, and nothing is hurt by the attempt.
	start := func(change func(c *Config)) error {
		if err := l.reconfigure(change); err != nil {
			t.Fatal(err)
		}
		if l.svc != nil {
			l.svc.Close()
			l.svc = nil
		}
		return l.startGateway()
	}
	for name, change := range map[string]func(c *Config){
		"the old key": func(c *Config) { c.DataKey, c.DataKeyOld = "data.key", "" },
		"no key":      func(c *Config) { c.DataKey, c.DataKeyOld = "", "" },
	} {
		if err := start(change); err == nil || !strings.Contains(err.Error(), second.ID().String()) || strings.Contains(err.Error(), second.Reveal()) {
			t.Fatalf("with %s: %v", name, err)
		}
		l.svc = nil
	}
	if err := start(func(c *Config) { c.DataKey, c.DataKeyOld = "new.key", "" }); err != nil {
		t.Fatal(err)
	}
	for _, id := range []gateway.RequestID{r.ID, between.ID} {
		if p, err := l.progress(id); err != nil || p.State != gateway.StateClosed {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
	}
	journalCommand(t, 0, "verify", "--config", l.config)
	id := first.ID()
	if found := whereOnDisk(t, data, map[string]string{"the old key's id": string(id[:])}); len(found) > 0 {
		t.Error(found)
	}
	for _, key := range []sealing.InstallationKey{first, second} {
		if strings.Contains(logs.String(), key.Reveal()) {
			t.Error("the log has a key")
		}
	}
	// The same bytes again get their first receipt: what is sealed is compared by what it was.
	if a, err := l.submitSigned(signed, d.Documents); err != nil || a.status != http.StatusAccepted || a.receipt.ID != r.ID {
		t.Errorf("the same again: %d %s, %v", a.status, a.body, err)
	}
}

func TestDataKeySettings(t *testing.T) {
	credentials := t.TempDir()
	key := sealing.NewInstallationKey()
	if err := os.WriteFile(filepath.Join(credentials, "data-key"), []byte(key.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, value, credentials string
		want                     string // of an error
	}{
		{"one of systemd's credentials", "credential:data-key", credentials, ""},
		{"a credential that the unit does not load", "credential:other", credentials, "other"},
		{"a credential outside of systemd", "credential:data-key", "", "LoadCredential"},
		{"a credential that is a path", "credential:../data-key", credentials, "no credential"},
		{"a file that is away", "none.key", "", "none.key"},
		{"a file that holds no key", "config.yaml", "", "64 hex digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", tt.credentials)
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("listen: x"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := &Config{DataKey: tt.value, dir: dir}
			keys, err := c.keyring()
			if tt.want == "" && (err != nil || keys.Current() != key.ID()) {
				t.Errorf("got %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "data_key")) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What lies in clear is said at the start and by config check.
func TestWhatLiesInClearIsSaid(t *testing.T) {
	l, logs := sealedLab(t, sealing.NewInstallationKey())
	check := func() string {
		var out, errs bytes.Buffer
		if code := run([]string{"config", "check", l.config}, &out, &errs); code != 0 {
			t.Errorf("%d %s", code, &errs)
		}
		return errs.String()
	}
	l.mustStart(t)
	if strings.Contains(check(), "data_key") || strings.Contains(logs.String(), "data_key") {
		t.Error("a warning, and there is a key")
	}
	if err := l.reconfigure(func(c *Config) { c.Data, c.DataKey = "other", "" }); err != nil {
		t.Fatal(err)
	}
	l.mustStart(t)
	if !strings.Contains(check(), "in clear") || !strings.Contains(logs.String(), "in clear") {
		t.Error("no warning, and there is no key")
	}
}
