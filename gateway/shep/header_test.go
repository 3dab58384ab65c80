package shep_test

import (
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
)

const (
	wsse = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	wsu  = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
)

// What a header says of time is told, what it demands and nobody here understands is refused, whether or
// not the message is signed.
func TestHeaders(t *testing.T) {
	query := &shep.MessagesQuery{ServiceID: "S", Sender: shep.Sender{ID: "P"}}
	doc, err := shep.Encode(query)
	if err != nil {
		t.Fatal(err)
	}
	stamp := func(content string) string {
		return `<wsse:Security xmlns:wsse="` + wsse + `"><wsu:Timestamp xmlns:wsu="` + wsu + `">` + content + `</wsu:Timestamp></wsse:Security>`
	}
	entry := func(attributes string) string { return `<x:y xmlns:x="urn:x" ` + attributes + `/>` }
	at := func(s string) time.Time {
		instant, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return instant
	}
	noon := at("2026-11-23T12:00:00Z")
	tests := []struct {
		name, header string
		want         gateway.Reason
		created      time.Time
		expires      time.Time
	}{
		{"nothing", "", "", time.Time{}, time.Time{}},
		{"an entry that need not be understood", entry(""), "", time.Time{}, time.Time{}},
		{"an entry that must not be", entry(`soap:mustUnderstand="0"`), "", time.Time{}, time.Time{}},
		{"an entry that must be understood", entry(`soap:mustUnderstand="1"`), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},
		{"the same as a word", entry(`soap:mustUnderstand="true"`), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},
		{"the same with white space", entry(`soap:mustUnderstand=" 1 "`), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},
		{"for whoever is next", entry(`soap:mustUnderstand="1" soap:actor="http://schemas.xmlsoap.org/soap/actor/next"`), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},
		{"for nobody in particular", entry(`soap:mustUnderstand="1" soap:actor=""`), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},
		{"for somebody else", entry(`soap:mustUnderstand="1" soap:actor="urn:other"`), "", time.Time{}, time.Time{}},
		{"an attribute of another namespace", entry(`mustUnderstand="1"`), "", time.Time{}, time.Time{}},
		{"the second entry", entry("") + entry(`soap:mustUnderstand="1"`), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},
		{"Security of another version", strings.ReplaceAll(strings.Replace(stamp(""), "<wsse:Security", `<wsse:Security soap:mustUnderstand="1"`, 1), wsse, "http://schemas.xmlsoap.org/ws/2002/12/secext"), gateway.HeaderNotUnderstood, time.Time{}, time.Time{}},

		{"Security is understood", strings.Replace(stamp(""), "<wsse:Security", `<wsse:Security soap:mustUnderstand="1"`, 1), "", time.Time{}, time.Time{}},
		{"a Timestamp", stamp("<wsu:Created>2026-11-23T12:00:00Z</wsu:Created><wsu:Expires>2026-11-23T12:05:00.5Z</wsu:Expires>"), "", noon, at("2026-11-23T12:05:00.5Z")},
		{"with an offset", stamp("<wsu:Created> 2026-11-23T17:00:00+05:00 </wsu:Created>"), "", noon, time.Time{}},
		{"without an offset it is UTC", stamp("<wsu:Created>2026-11-23T12:00:00</wsu:Created>"), "", noon, time.Time{}},
		{"Expires alone", stamp("<wsu:Expires>2026-11-23T12:00:00Z</wsu:Expires>"), "", time.Time{}, noon},
		{"Created twice", stamp("<wsu:Created>2026-11-23T12:00:00Z</wsu:Created><wsu:Created>2026-11-23T12:00:00Z</wsu:Created>"), gateway.DocumentMalformed, time.Time{}, time.Time{}},
		{"no date", stamp("<wsu:Created>now</wsu:Created>"), gateway.DocumentMalformed, time.Time{}, time.Time{}},
		{"the zero instant", stamp("<wsu:Created>0001-01-01T00:00:00Z</wsu:Created>"), gateway.DocumentMalformed, time.Time{}, time.Time{}},
		{"elements in the date", stamp("<wsu:Created><x/></wsu:Created>"), gateway.DocumentMalformed, time.Time{}, time.Time{}},
		{"something else inside", stamp("<x/>"), gateway.DocumentMalformed, time.Time{}, time.Time{}},
		{"two of them", stamp("") + stamp(""), gateway.DocumentMalformed, time.Time{}, time.Time{}},
		{"one outside Security is no business of ours", `<wsu:Timestamp xmlns:wsu="` + wsu + `"/>`, "", time.Time{}, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plain := strings.Replace(string(doc), "<soap:Body", "<soap:Header>"+tt.header+"</soap:Header><soap:Body", 1)
			if !strings.Contains(plain, "<soap:Header>") {
				t.Fatalf("no Body in %s", doc)
			}
			signed := strings.Replace(sealed(t, query, "system-portal"), "</soap:Header>", tt.header+"</soap:Header>", 1)
			for how, message := range map[string]string{"in clear": plain, "signed": signed} {
				got, err := shep.Open([]byte(message), shep.OpenOptions{MaxBytes: 1 << 20})
				if gateway.ReasonOf(err) != tt.want {
					t.Fatalf("%s: %v, want %q", how, err, tt.want)
				}
				if err != nil && got.Payload != nil {
					t.Errorf("%s: something was read", how)
				}
				if s := got.Timestamp; !s.Created.Equal(tt.created) || !s.Expires.Equal(tt.expires) || s.Signed {
					t.Errorf("%s: read %+v", how, s)
				}
			}
		})
	}
}
