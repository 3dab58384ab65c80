package passport_test

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"egov-gateway/schemas"
)

// The JSON Schema that editors use says the same as the reader: every shipped passport is
// valid by it, and what the reader refuses for its shape, it refuses too.
func TestTheJSONSchemaOfPassports(t *testing.T) {
	raw, err := schemas.FS.ReadFile("passport.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("passport.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("passport.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(data []byte) error {
		asJSON, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	files, err := fs.Glob(schemas.FS, "passports/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d passports, %v", len(files), err)
	}
	for _, file := range files {
		data, err := schemas.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	good, _ := schemas.FS.ReadFile("passports/housing-aid-zhambyl.yaml")
	for _, change := range [][2]string{{"service: housing-aid", "servise: housing-aid"}, {"limit: {minutes: 20}", "limit: {}"}, {"limit: {minutes: 20}", "limit: {minutes: 20, hours: 1}"}, {"kind: alimony", "kind: horses"}, {"past: 72h", "past: three days"}, {`kato: ["3110"]`, `kato: ["x"]`}} {
		changed := strings.Replace(string(good), change[0], change[1], 1)
		if changed == string(good) {
			t.Fatalf("%q is not in the passport", change[0])
		}
		if validate([]byte(changed)) == nil {
			t.Errorf("%q passes the schema", change[1])
		}
	}
}
