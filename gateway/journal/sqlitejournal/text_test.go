package sqlitejournal_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal/sqlitejournal"
)

// sameEvents compares what was read with what encoding/json reads.
func sameEvents(t *testing.T, array []byte, got []gateway.Event) {
	t.Helper()
	var want []gateway.Event
	if err := json.Unmarshal(array, &want); err != nil {
		t.Fatalf("%s: read, but encoding/json says %v", array, err)
	}
	same := func(a, b gateway.Event) bool {
		sameTime := a.At.Equal(b.At) && a.At.String() == b.At.String()
		a.At, b.At = time.Time{}, time.Time{}
		return sameTime && a == b
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("%s:\n%+v, encoding/json has\n%+v", array, got, want)
	}
}

func samePlaces(t *testing.T, object []byte, got map[string]sqlitejournal.Place) {
	t.Helper()
	want := map[string]sqlitejournal.Place{}
	if err := json.Unmarshal(object, &want); err != nil {
		t.Fatalf("%s: read, but encoding/json says %v", object, err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s:\n%+v, encoding/json has\n%+v", object, got, want)
	}
	form, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := sqlitejournal.WritePlaces(got); err != nil || string(again) != string(form) {
		t.Errorf("written again as\n%s, %v, encoding/json writes\n%s", again, err, form)
	}
}

const (
	aDigest  = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	twoNames = `{"record/applicant/income":{"s":3,"o":268435455,"l":1400,"h":"` + aDigest + `","k":1},"request":{"s":0,"o":0,"l":20480,"h":"` + aDigest + `","k":2,"e":true}}`
	anEvent  = `{"seq":1,"at":"2026-11-23T05:00:00.000001Z","kind":"record","subject":"income","source":"register","note":"found","reason":"register.unavailable"}`
)

func TestEventsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	tests := []struct {
		name, array string
		quick       bool
	}{
		{"none", `[]`, true},
		{"one with every field", `[` + anEvent + `]`, true},
		{"two, one with few fields", `[` + anEvent + `,{"seq":2,"at":"2026-11-23T05:00:00Z","kind":"enriched"}]`, true},
		{"an instant of another zone", `[{"seq":1,"at":"2026-11-23T10:00:00.25+05:00","kind":"accepted"}]`, true},
		{"Kazakh words", `[{"seq":1,"at":"2026-11-23T05:00:00Z","kind":"step","subject":"тұрғын үй"}]`, true},
		{"an escaped mark", `[{"seq":1,"at":"2026-11-23T05:00:00Z","kind":"step","subject":"a \u0026 b"}]`, false},
		{"a field of a later gateway", `[{"seq":1,"at":"2026-11-23T05:00:00Z","kind":"step","later":1}]`, false},
		{"written by hand", `[ {"kind": "step", "seq": 1, "at": "2026-11-23T05:00:00Z"} ]`, false},
		{"bytes that are no UTF-8", "[{\"seq\":1,\"at\":\"2026-11-23T05:00:00Z\",\"kind\":\"step\",\"subject\":\"\xff\"}]", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, quick := sqlitejournal.QuickEvents([]byte(test.array)); quick != test.quick {
				t.Errorf("read quickly: %v, want %v", quick, test.quick)
			}
			got, err := sqlitejournal.ReadEvents([]byte(test.array))
			if err != nil {
				t.Fatal(err)
			}
			sameEvents(t, []byte(test.array), got)
		})
	}
}

func TestPlacesAreReadAsEncodingJSONReadsThem(t *testing.T) {
	tests := []struct {
		name, object string
		quick        bool
	}{
		{"none", `{}`, true},
		{"two, one erased", twoNames, true},
		{"a Kazakh name", `{"қадам":{"s":1,"o":0,"l":0,"h":"` + aDigest + `"}}`, true},
		{"an escaped mark in a name", `{"a\u0026b":{"s":1,"o":0,"l":0,"h":"` + aDigest + `"}}`, false},
		{"names out of order", `{"b":{"s":1,"o":0,"l":0,"h":"` + aDigest + `"},"a":{"s":1,"o":0,"l":0,"h":"` + aDigest + `"}}`, false},
		{"a name twice", `{"a":{"s":1,"o":0,"l":0,"h":"` + aDigest + `"},"a":{"s":2,"o":0,"l":0,"h":"` + aDigest + `"}}`, false},
		{"written by hand", `{"a": {"l": 5, "h": "` + aDigest + `", "s": 1, "o": 7, "e": false}}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, quick := sqlitejournal.QuickPlaces([]byte(test.object)); quick != test.quick {
				t.Errorf("read quickly: %v, want %v", quick, test.quick)
			}
			got, err := sqlitejournal.ReadPlaces([]byte(test.object))
			if err != nil {
				t.Fatal(err)
			}
			samePlaces(t, []byte(test.object), got)
		})
	}
}

func TestDamagedTextIsAnError(t *testing.T) {
	for _, damaged := range []string{``, `[`, `{`, `nonsense`, `[{"seq":1}`, twoNames + `}`, `[` + anEvent + `]]`,
		`{"a":{"s":1,"o":0,"l":0,"h":"short"}}`, `{"a":{"s":01,"o":0,"l":0,"h":"` + aDigest + `"}}`, `[{"seq":1,"at":"yesterday","kind":"step"}]`} {
		if all, err := sqlitejournal.ReadEvents([]byte(damaged)); err == nil {
			t.Errorf("events %s: %+v", damaged, all)
		}
		if all, err := sqlitejournal.ReadPlaces([]byte(damaged)); err == nil {
			t.Errorf("places %s: %+v", damaged, all)
		}
	}
}

// FuzzText: what is read quickly is what encoding/json reads, whatever the bytes are.
func FuzzText(f *testing.F) {
	for _, seed := range []string{`[]`, `{}`, twoNames, `[` + anEvent + `]`, `[` + anEvent + `,` + anEvent + `]`, `{"қадам":{"s":1,"o":0,"l":0,"h":"` + aDigest + `"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, ok := sqlitejournal.QuickEvents(b); ok {
			sameEvents(t, b, got)
		}
		if got, ok := sqlitejournal.QuickPlaces(b); ok {
			samePlaces(t, b, got)
		}
	})
}
