package corpus_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
)

var clock = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

func write(t *testing.T, name string, loose bool, n int) {
	t.Helper()
	w, err := corpus.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w.Loose = loose
	shared, err := w.File("attachments/bill.pdf", []byte("%PDF bill"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := fmt.Sprintf("%06d", i)
		p, err := w.Document(id, []byte("<document>"+id+"</document>"))
		if err != nil {
			t.Fatal(err)
		}
		e := corpus.Entry{ID: id, Part: p, Class: "valid", Door: corpus.REST, Admission: &corpus.Expected{Status: gateway.Verified}, Outcome: gateway.ResultAssignment, Applicant: "1",
			Attachments: []corpus.Attachment{{Name: "bill.pdf", MediaType: "application/pdf", Part: shared}}, Awaited: i == 0}
		if i == n-1 && n > 1 {
			e.After = "000000"
		}
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(corpus.Header{Clock: clock, Lasts: corpus.Duration(72 * time.Hour), Trust: []string{"attachments"}}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		loose      bool
	}{{"a folder of packs", "c", false}, {"a folder of files", "c", true}, {"a zip file of packs", "c.zip", false}, {"a zip file of files", "c.zip", true}} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), tt.file)
			write(t, name, tt.loose, 50)
			r, err := corpus.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if !r.Header.Clock.Equal(clock) || r.Header.Entries != 50 || time.Duration(r.Header.Lasts) != 72*time.Hour {
				t.Errorf("header %+v", r.Header)
			}
			var buf []byte
			n := 0
			for ; ; n++ {
				e, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if buf, err = r.Bytes(e.Part, buf); err != nil || string(buf) != "<document>"+e.ID+"</document>" {
					t.Fatalf("%s: %q, %v", e.ID, buf, err)
				}
				if b, err := r.Bytes(e.Attachments[0].Part, nil); err != nil || string(b) != "%PDF bill" {
					t.Fatalf("%s: %q, %v", e.ID, b, err)
				}
			}
			if n != 50 {
				t.Errorf("%d entries", n)
			}
			if files, err := r.Files(r.Header.Trust); err != nil || len(files) != 1 {
				t.Errorf("%v, %v", files, err)
			}
			left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".manifest-*"))
			if len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A corpus never overwrites another.
func TestCreateRefusesWhatIsThere(t *testing.T) {
	for _, name := range []string{"c", "c.zip"} {
		file := filepath.Join(t.TempDir(), name)
		write(t, file, false, 1)
		if _, err := corpus.Create(file); err == nil {
			t.Errorf("%s was overwritten", name)
		}
	}
}

const header = `{"format":"egov-gateway-corpus","version":1,"clock":"2026-11-23T05:00:00Z","entries":1}`

func TestWhatIsNoCorpusIsRefused(t *testing.T) {
	const good = `{"id":"1","file":"a.xml","class":"valid","verdict":{"status":"verified"}}`
	tests := []struct{ name, header, manifest, want string }{
		{"another format", `{"format":"tar","version":1}`, good, "format"},
		{"a later version", strings.Replace(header, `"version":1`, `"version":2`, 1), good, "version 2"},
		{"no clock", `{"format":"egov-gateway-corpus","version":1}`, good, "clock"},
		{"a field of the header nobody knows", strings.Replace(header, `{`, `{"expect":1,`, 1), good, "expect"},
		{"an expectation nobody knows", header, strings.Replace(good, `{`, `{"expected_reason":"x",`, 1), "manifest.jsonl:1"},
		{"no JSON", header, good + "\n{", "manifest.jsonl:2"},
		{"two values in a line", header, good + good, "more than one"},
		{"a path out of the corpus", header, strings.Replace(good, "a.xml", "../a.xml", 1), "clean path"},
		{"an absolute path", header, strings.Replace(good, "a.xml", "/etc/passwd", 1), "clean path"},
		{"no id", header, strings.Replace(good, `"1"`, `""`, 1), "id"},
		{"another door", header, strings.Replace(good, `{`, `{"door":"smtp",`, 1), "door"},
		{"a word that is none", header, strings.Replace(good, `verified`, `good`, 1), "status"},
		{"a refusal without its reason", header, strings.Replace(good, `verified`, `refused`, 1), "reason"},
		{"a reason beside verified", header, strings.Replace(good, `"verified"`, `"verified","reason":"signature.invalid"`, 1), "reason"},
		{"an outcome of nobody", header, strings.Replace(good, `{`, `{"outcome":"answer",`, 1), "outcome"},
		{"an offset without a size", header, strings.Replace(good, `{`, `{"offset":5,`, 1), "offset"},
		{"a line without end", header, strings.Repeat("x", corpus.MaxLine+1), "manifest.jsonl:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := corpus.OpenFS(fstest.MapFS{"corpus.json": {Data: []byte(tt.header)}, "manifest.jsonl": {Data: []byte(tt.manifest)}})
			for err == nil {
				_, err = r.Next()
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// An entry can only wait for one that was marked as awaited before it.
func TestAfterNeedsAnAwaitedEntry(t *testing.T) {
	w, err := corpus.Create(filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(corpus.Entry{ID: "2", After: "1", Part: corpus.Part{File: "a"}}); err == nil {
		t.Error("an entry waits for one that never was")
	}
}

// The parts of a pack inside a zip file can only be read onwards; it says so.
func TestZipPacksAreReadOnwards(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range map[string]string{"corpus.json": header, "manifest.jsonl": "", "packs/0.bin": "onetwo"} {
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, data)
	}
	z.Close()
	name := filepath.Join(t.TempDir(), "c.zip")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := corpus.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := r.Bytes(corpus.Part{File: "packs/0.bin", Offset: 3, Size: 3}, nil); string(got) != "two" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Bytes(corpus.Part{File: "packs/0.bin", Size: 3}, nil); err == nil || !strings.Contains(err.Error(), "order") {
		t.Errorf("%v", err)
	}
	if _, err := r.Bytes(corpus.Part{File: "packs/0.bin", Offset: 6, Size: 3}, nil); err == nil {
		t.Error("bytes behind the end of the pack were read")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(header), []byte(`{"id":"1","file":"a.xml","class":"valid","verdict":{"status":"verified"}}`))
	f.Fuzz(func(t *testing.T, head, manifest []byte) {
		r, err := corpus.OpenFS(fstest.MapFS{"corpus.json": {Data: head}, "manifest.jsonl": {Data: manifest}})
		for err == nil {
			var e *corpus.Entry
			if e, err = r.Next(); err == nil {
				if cerr := e.Check(); cerr != nil {
					t.Fatal(cerr)
				}
				r.Bytes(e.Part, nil)
			}
		}
	})
}
