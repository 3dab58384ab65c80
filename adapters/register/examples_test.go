package register_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/shep"
)

var update = flag.Bool("update", false, "write schemas/examples/registers anew")

// The examples are what the adapters ask and the simulated registers answer, with the ids that
// change every time made the same.
func TestExamplesAreWhatTravels(t *testing.T) {
	tool.Path(t, "xmllint", "libxml2-utils")
	s := newStage(t, 0)
	ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	for _, kind := range gateway.RecordKinds {
		t.Run(string(kind), func(t *testing.T) {
			name := s.of[kind].Name()
			var question []byte
			spy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				m, err := shep.DecodeSendMessage(body)
				if err != nil {
					t.Error(err)
				}
				question = m.Data.Document
				resp, err := http.Post(s.url+"/shep/"+name, "text/xml; charset=utf-8", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				io.Copy(rw, resp.Body)
			}))
			defer spy.Close()
			// One who has alimony, so that every record is found.
			fact, err := ask(t, opened(t, name, spy.URL), kind)
			if err == nil && fact.Status != gateway.FactFound {
				fact, err = askAbout(t, opened(t, name, spy.URL), kind, withAlimony(t, s))
			}
			if err != nil || fact.Status != gateway.FactFound {
				t.Fatalf("%+v, %v", fact, err)
			}
			for part, doc := range map[string][]byte{"request": question, "response": fact.Data} {
				n := 0
				doc = ids.ReplaceAllFunc(doc, func([]byte) []byte { n++; return fmt.Appendf(nil, "00000000-0000-4000-8000-%012d", n) })
				fits(t, doc, "../../schemas/registers/"+name+".xsd")
				path := "../../schemas/examples/registers/" + string(kind) + "-" + part + ".xml"
				doc = append(bytes.TrimSpace(doc), '\n')
				if *update {
					if err := os.MkdirAll("../../schemas/examples/registers", 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, doc, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(doc, want) {
					t.Errorf("%s differs from what travels (go test -update writes it anew):\n%s", path, doc)
				}
			}
		})
	}
}

func withAlimony(t *testing.T, s *stage) string {
	t.Helper()
	for i := range 20 {
		if f, err := s.fetch(t, gateway.RecordAlimony, crowd(i)); err == nil && f.Status == gateway.FactFound {
			return crowd(i)
		}
	}
	t.Fatal("nobody has alimony")
	return ""
}

func fits(t *testing.T, doc []byte, schema string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "xmllint", "--noout", "--nonet", "--schema", schema, "-")
	c.Stdin = bytes.NewReader(doc)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("does not fit %s: %s\n%s", schema, out, doc)
	}
	broken := []byte(strings.Replace(string(doc), "messageId>", "messageID>", 2))
	c = exec.CommandContext(t.Context(), "xmllint", "--noout", "--nonet", "--schema", schema, "-")
	c.Stdin = bytes.NewReader(broken)
	if err := c.Run(); err == nil {
		t.Errorf("%s accepts a misspelt element, so it checks nothing", schema)
	}
}
