package testpki_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
)

func TestTheCommittedFilesAreWhatTheManifestSays(t *testing.T) {
	if err := testpki.Check(testpki.FS); err != nil {
		t.Fatal(err)
	}
	// The embedded copy cannot hold a file that the patterns forget; the folder can.
	if err := testpki.Check(os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
}

func TestAFreshPKIHasTheSameShape(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	dir := t.TempDir()
	if err := testpki.Generate(dir); err != nil {
		t.Fatal(err)
	}
	if err := testpki.Check(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	a, err := testpki.LoadFS(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	b, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range b.Entries() {
		f := a.Entries()[i]
		if e.ID != f.ID || e.Expect != f.Expect || e.IIN != f.IIN || e.Status != f.Status {
			t.Errorf("%s and %s differ; the committed PKI is not what Generate makes", e.ID, f.ID)
		}
		if e.Serial == f.Serial {
			t.Errorf("%s: a fresh PKI repeats a serial", e.ID)
		}
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	committed, err := fs.ReadFile(testpki.FS, "README.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(readme) != string(committed) {
		t.Error("README.md is not the one that Generate writes")
	}
}

// The check itself must be able to fail.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	good := fstest.MapFS{}
	err := fs.WalkDir(testpki.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(testpki.FS, name)
		good[name] = &fstest.MapFile{Data: raw}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		spoil func(m fstest.MapFS)
	}{
		{"a file nobody listed", func(m fstest.MapFS) { m["rsa/citizens/stray.pem"] = &fstest.MapFile{} }},
		{"a listed file is gone", func(m fstest.MapFS) { delete(m, "rsa/citizens/citizen-01.pem") }},
		{"another's key", func(m fstest.MapFS) { m["rsa/citizens/citizen-01.key.pem"] = m["rsa/citizens/citizen-02.key.pem"] }},
		{"another's certificate", func(m fstest.MapFS) { m["rsa/citizens/citizen-01.pem"] = m["rsa/citizens/citizen-02.pem"] }},
		{"a certificate of the forger in place of the real one", func(m fstest.MapFS) {
			m["rsa/citizens/citizen-01.pem"], m["rsa/citizens/citizen-01.key.pem"] = m["rsa/citizens/citizen-same-name-ca.pem"], m["rsa/citizens/citizen-same-name-ca.key.pem"]
		}},
		{"a key without its warning", func(m fstest.MapFS) {
			raw := m["rsa/authorities/root.key.pem"].Data
			m["rsa/authorities/root.key.pem"] = &fstest.MapFile{Data: raw[slices.Index(raw, '\n')+1:]}
		}},
		{"no manifest", func(m fstest.MapFS) { delete(m, "manifest.json") }},
		{"an empty manifest", func(m fstest.MapFS) { m["manifest.json"] = &fstest.MapFile{Data: []byte("{}")} }},
	}
	if err := testpki.Check(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := fstest.MapFS{}
			for k, v := range good {
				m[k] = v
			}
			tt.spoil(m)
			if testpki.Check(m) == nil {
				t.Error("Check is content")
			}
		})
	}
}

func TestEveryEntryHasWhatATestNeeds(t *testing.T) {
	p, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for _, e := range p.Entries() {
		if e.Purpose == "" || e.Signer == nil || len(e.DER) == 0 || e.Status.State == "" {
			t.Errorf("%s is incomplete", e.ID)
		}
		if e.Expect != "" && !slices.Contains(gateway.Reasons(), e.Expect) {
			t.Errorf("%s expects %q, which is no reason", e.ID, e.Expect)
		}
		if e.Role == testpki.RoleCitizen && e.Expect == "" && e.Status.State == testpki.Good {
			good++
		}
	}
	if good < 8 {
		t.Errorf("%d good citizens, want at least 8", good)
	}
	if _, err := p.Entry("nobody"); err == nil {
		t.Error("an unknown id was found")
	}
}
