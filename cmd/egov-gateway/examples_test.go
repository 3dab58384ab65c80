package main

import (
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"
)

var update = flag.Bool("update", false, "write schemas/examples anew")

// Every document of the way is valid by its schema — as made now, and as shown in
// schemas/examples — and its signature verifies.
func TestDocumentsAndExamplesAreValid(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	l, _ := newTestLab(t, monday, nil)
	key, err := l.key("citizen-01")
	if err != nil {
		t.Fatal(err)
	}
	d := l.draft("citizen-01", petropavl)
	d.Family = []harness.Person{{IIN: l.pki.Must("citizen-03").IIN, Surname: "АХМЕТОВ", GivenName: "ЕРЛАН"}}
	signed, err := d.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.submitSigned(signed, d.Documents)
	if err != nil || a.status != http.StatusAccepted {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	l.await(t, a.receipt.ID, closed)
	body := func(name string) []byte {
		b, err := l.svc.store.Body(t.Context(), a.receipt.ID, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return b
	}
	documents := []struct {
		name, xsd string
		made      []byte
	}{
		{"housing-aid-request.xml", "housing-aid-request.xsd", signed},
		{"receipt.xml", "receipt.xsd", body(gateway.BodyReceipt)},
		{"delivery.xml", "delivery.xsd", body(gateway.BodyDelivery)},
		{"step.xml", "step.xsd", body("step/register")},
		{"result.xml", "result.xsd", body(gateway.BodyResult)},
	}
	for _, doc := range documents {
		t.Run(doc.name, func(t *testing.T) {
			if *update {
				if err := os.WriteFile(filepath.Join("..", "..", "schemas", "examples", doc.name), doc.made, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			example, err := schemas.FS.ReadFile("examples/" + doc.name)
			if err != nil {
				t.Fatal(err)
			}
			for what, b := range map[string][]byte{"made now": doc.made, "the example": example} {
				if _, err := xmlsig.Verify(b, xmlsig.Options{}); err != nil {
					t.Errorf("%s: the signature: %v", what, err)
				}
				validate(t, doc.xsd, b)
			}
		})
	}
}

// validate asks xmllint.
func validate(t *testing.T, schema string, doc []byte) {
	t.Helper()
	tool.Path(t, "xmllint", "libxml2-utils")
	dir := t.TempDir()
	xsd, err := schemas.FS.Open(schema)
	if err != nil {
		t.Fatal(err)
	}
	defer xsd.Close()
	raw, err := io.ReadAll(xsd)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"s.xsd": raw, "d.xml": doc} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("xmllint", "--noout", "--schema", filepath.Join(dir, "s.xsd"), filepath.Join(dir, "d.xml")).CombinedOutput(); err != nil {
		t.Errorf("xmllint: %s", out)
	}
}
