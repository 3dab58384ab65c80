package passport_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"egov-gateway/gateway/passport"
	"egov-gateway/schemas"
)

// Every fault of a passport is located and says what is expected.
func TestEveryFaultOfAPassportIsLocated(t *testing.T) {
	raw, err := schemas.FS.ReadFile("passports/housing-aid-north-kazakhstan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	tests := []struct{ name, from, to, path, want string }{
		{"not YAML", "name:\n", "name: [\n", "", ""},
		{"an unknown field", "service: housing-aid", "servise: housing-aid", "", `unknown field "servise"`},
		{"a field of a wrong type", "total_bytes: 1048576", "total_bytes: much", "", "cannot unmarshal"},
		{"a key twice", "service: housing-aid", "service: housing-aid\nservice: housing-aid", "", "already defined"},
		{"no id", "id: housing-aid-north-kazakhstan", `id: ""`, "id", "a code"},
		{"an id with blanks", "id: housing-aid-north-kazakhstan", "id: housing aid", "id", "a code"},
		{"no version", `version: "182-2016.1"`, `version: ""`, "version", "a version is expected"},
		{"no service", "service: housing-aid", `service: ""`, "service", "a code"},
		{"a shard in capitals", "shard: north-kazakhstan", "shard: SKO", "shard", "a code"},
		{"a name missing in Kazakh", "  kk: Тұрғын үй көмегін тағайындау\n", "", "name", "the text in kk is missing"},
		{"a name in a fourth language", "  kk: Тұрғын үй көмегін тағайындау\n", "  kk: Т\n  de: W\n", "name", `"de" is none of kk, ru, en`},
		{"a source missing in English", "  en: Decree 182 of the akimat of North Kazakhstan region of 26 May 2016\n", "", "source", "the text in en is missing"},
		{"no first day", "applies_from: 2016-06-29\n", "", "applies_from", "the first day"},
		{"a first day that is no date", "applies_from: 2016-06-29", "applies_from: soon", "applies_from", "a date like 2026-11-23"},
		{"a last day before the first", "applies_from: 2016-06-29", "applies_from: 2016-06-29\napplies_to: 2015-01-01", "applies_to", "before applies_from"},
		{"no channel", "channels: [portal, state-corporation]", "channels: []", "channels", "at least one of portal"},
		{"an unknown channel", "channels: [portal, state-corporation]", "channels: [portal, post]", "channels[1]", `"post" is none of`},
		{"an unknown applicant", "applicants: [natural-person]", "applicants: [dog]", "applicants[0]", `"dog" is none of`},
		{"a schema that does not exist", "schema: housing-aid-request.xsd", "schema: other.xsd", "form.schema", "there is no schema other.xsd"},
		{"a schema in another folder", "schema: housing-aid-request.xsd", "schema: ../x.xsd", "form.schema", "the name of a schema file"},
		{"a schema outside the subset", "schema: housing-aid-request.xsd", "schema: delivery.xsd", "form.rules[0].at[0]", "the form has no field"},
		{"an unknown rule", "{rule: iban, at: [bankAccount/iban]}", "{rule: bic, at: [bankAccount/iban]}", "form.rules[1].rule", `"bic" is none of`},
		{"a rule over a field that is not in the form", "{rule: iban, at: [bankAccount/iban]}", "{rule: iban, at: [bankAccount/swift]}", "form.rules[1].at[0]", "the form has no field bankAccount/swift"},
		{"a rule without fields", "{rule: iban, at: [bankAccount/iban]}", "{rule: iban, at: []}", "form.rules[1].at", "one or more fields"},
		{"a rule with one field where two are needed", "at: [applicant/iin, representative/iin]}\n    - {rule: order", "at: [applicant/iin]}\n    - {rule: order", "form.rules[3].at", "2 fields"},
		{"a prefix of no digits", "digits: 4", "digits: 0", "form.rules[6].digits", "from 1 to 9"},
		{"a rule whose condition names no field", "{rule: iban, at: [bankAccount/iban]}", "{rule: iban, at: [bankAccount/iban], when: {field: bank}}", "form.rules[1].when.field", "the form has no field bank"},
		{"a window of zero", "created_at: {past: 72h, future: 10m}", "created_at: {past: 0s, future: 10m}", "created_at", "durations above zero"},
		{"a window that is no duration", "past: 72h", "past: 3 days", "created_at", "durations above zero"},
		{"hours that end before they begin", `to: "18:30"`, `to: "08:30"`, "working_hours", "from before to"},
		{"hours that are none", `from: "09:00"`, `from: "nine"`, "working_hours", "times of day"},
		{"an unknown record", "kind: alimony", "kind: horses", "records[5].kind", `"horses" is none of`},
		{"a record twice", "kind: alimony", "kind: identity", "records[5].kind", "named twice"},
		{"an unknown need of a record", "{kind: alimony, need: optional}", "{kind: alimony, need: nice}", "records[5].need", `"nice" is none of`},
		{"a record of nobody", "{kind: alimony, need: optional}", "{kind: alimony, need: optional, of: cats}", "records[5].of", `"cats" is none of`},
		{"attachments of no size", "total_bytes: 1048576", "total_bytes: 0", "attachments.total_bytes", "a number of bytes"},
		{"an unknown need of a document", "{kind: telecom-bill, need: optional}", "{kind: telecom-bill, need: later}", "attachments.documents[3].need", `"later" is none of`},
		{"a document twice", "{kind: telecom-bill, need: optional}", "{kind: utilities-bill, need: optional}", "attachments.documents[3].kind", "named twice"},
		{"a condition on an optional document", "{kind: telecom-bill, need: optional}", "{kind: telecom-bill, need: optional, when: {field: housing/tenure}}", "attachments.documents[3].when", "need: required"},
		{"a condition on a field that is not in the form", "when: {field: housing/tenure, is: rented-public}", "when: {field: housing/owner, is: x}", "attachments.documents[4].when.field", "the form has no field housing/owner"},
		{"a step twice", "code: resolution", "code: register", "steps[2].code", "named twice"},
		{"a step code in capitals", "code: resolution", "code: Resolution", "steps[2].code", "a code"},
		{"a step without limit", "limit: {hours: 2}", "limit: {}", "steps[1].limit", "exactly one of"},
		{"a step with two limits", "limit: {hours: 2}", "limit: {hours: 2, minutes: 5}", "steps[1].limit", "exactly one of"},
		{"a negative limit", "limit: {hours: 2}", "limit: {hours: -2}", "steps[1].limit", "above zero"},
		{"a limit without end", "limit: {hours: 2}", "limit: {working_days: 3661}", "steps[1].limit", "at most 3660 days"},
		{"a step without a name in Russian", "ru: Передача руководителю, ", "", "steps[1].name", "the text in ru is missing"},
		{"no result", "results: [assignment, refusal]", "results: []", "results", "at least one kind"},
		{"an unknown result", "results: [assignment, refusal]", "results: [assignment, refusal, gift]", "results[2]", `"gift" is none of`},
		{"grounds without a refusal", "results: [assignment, refusal]", "results: [assignment]", "refusal_grounds", "go with the result refusal"},
		{"a ground twice", "code: not-eligible", "code: data-unreliable", "refusal_grounds[2].code", "named twice"},
		{"no retention", "retention: {documents_days: 1095, proof_days: 1825}\n", "", "retention", "documents_days"},
		{"proof kept shorter than documents", "proof_days: 1825", "proof_days: 10", "retention", "proof_days not below"},
		{"a provider twice", "id: petropavl", "id: ajyrtau", "providers[4].id", "named twice"},
		{"a territory of letters", `kato: ["5910"]`, `kato: ["SKO"]`, "providers[4].kato[0]", "digits of a KATO code"},
		{"a territory twice", `kato: ["5910"]`, `kato: ["5932"]`, "providers[4].kato[0]", "is that of ajyrtau"},
		{"a provider without territory", `kato: ["5910"]`, `kato: []`, "providers[4].kato", "at least one territory"},
		{"an e-mail that is none", "email: petroozsp@sko.kz", "email: petroozsp", "providers[4].email", "an e-mail address"},
	}
	if len(tests) < 40 {
		t.Fatalf("%d bad files", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(good, tt.from, tt.to, 1)
			if changed == good {
				t.Fatalf("%q is not in the passport", tt.from)
			}
			p, faults, err := passport.ParseFile(schemas.FS, "a.yaml", []byte(changed))
			if err != nil || p != nil || len(faults) == 0 {
				t.Fatalf("passport %v, faults %v, %v", p != nil, faults, err)
			}
			line := 1 + strings.Count(changed[:firstDifference(good, changed)], "\n")
			for _, f := range faults {
				if f.Path == tt.path && strings.Contains(f.Message, tt.want) && f.File == "a.yaml" && f.Line > 0 && f.Column > 0 {
					// What is missing is located at its parent, what was written wrongly at its own line.
					if d := f.Line - line; (d < -2 || d > 2) && !strings.Contains(f.Message, "missing") && tt.name != "not YAML" && tt.name != "no first day" && tt.name != "no retention" && tt.path != "form.rules[0].at[0]" && tt.path != "refusal_grounds" {
						t.Errorf("located at line %d, the fault is near line %d", f.Line, line)
					}
					return
				}
			}
			t.Errorf("faults %v; want %s: %s", faults, tt.path, tt.want)
		})
	}
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// Two versions of one passport may not apply at the same time, and a request keeps its own.
func TestVersionsFollowEachOther(t *testing.T) {
	files := func(second string) fs.FS {
		m := fstest.MapFS{}
		for _, name := range []string{"calendar.yaml", "housing-aid-request.xsd", "passports/housing-aid-zhambyl.yaml"} {
			b, err := schemas.FS.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			m[name] = &fstest.MapFile{Data: b}
		}
		first := string(m["passports/housing-aid-zhambyl.yaml"].Data)
		m["passports/housing-aid-zhambyl.yaml"].Data = []byte(strings.Replace(first, "applies_from: 2016-04-27", "applies_from: 2016-04-27\napplies_to: 2026-12-31", 1))
		m["passports/z2.yaml"] = &fstest.MapFile{Data: []byte(strings.NewReplacer("106-2016.1", "106-2016.2", "applies_from: 2016-04-27", second, "calendar_days: 7", "calendar_days: 3").Replace(first))}
		return m
	}
	if _, err := passport.Load(files("applies_from: 2026-12-31")); err == nil || !strings.Contains(err.Error(), "apply at the same time") {
		t.Errorf("overlap: %v", err)
	}
	r, err := passport.Load(files("applies_from: 2027-01-01"))
	if err != nil {
		t.Fatal(err)
	}
	for when, want := range map[string]string{"2026-12-31 23:59 +0500": "106-2016.1", "2027-01-01 00:00 +0500": "106-2016.2"} {
		if got := r.Applying(at(t, when)); len(got) != 1 || got[0].Version != want {
			t.Errorf("%s: %d passports", when, len(got))
		}
	}
	for _, v := range []string{"106-2016.1", "106-2016.2"} {
		if p, err := r.Version("housing-aid-zhambyl", v); err != nil || p.Version != v {
			t.Errorf("version %s: %v", v, err)
		}
	}
}
