package shep_test

import (
	"fmt"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/growth"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
)

// A stranger's message is read before anybody knows who sent it. Whatever it is made of, reading it
// costs time and memory by its length alone.
func TestHostileMessagesAreLinear(t *testing.T) {
	repeated := func(s string) func(n int) string { return func(n int) string { return strings.Repeat(s, n/len(s)) } }
	numbered := func(format string) func(n int) string {
		return func(n int) string {
			var b strings.Builder
			for i := 0; b.Len() < n; i++ {
				fmt.Fprintf(&b, format, i)
			}
			return b.String()
		}
	}
	tests := []struct {
		name string
		data func(n int) string
	}{
		{"plain text", func(n int) string { return `<data><a>` + strings.Repeat("text ", n/5) + `</a></data>` }},
		{"words before colons", func(n int) string { return `<data><a>` + numbered("w%x: ")(n) + `</a></data>` }},
		{"long words before colons", func(n int) string { return `<data><a>` + repeated(strings.Repeat("w", 500)+": ")(n) + `</a></data>` }},
		{"qualified names in values", func(n int) string { return `<data><a>` + numbered(`<b t="w%x:x"/>`)(n) + `</a></data>` }},
		{"prefixes of the envelope", func(n int) string { return `<data><a>` + repeated(`<reg:b xs:c="reg:d"/>`)(n) + `</a></data>` }},
		{"prefixes that differ", func(n int) string {
			return `<data><a>` + numbered(`<p%[1]x:b xmlns:p%[1]x="u:%[1]x"/>`)(n) + `</a></data>`
		}},
		{"a long namespace of the envelope", func(n int) string {
			return `<data xmlns:l="urn:` + strings.Repeat("l", n/2) + `"><a>` + strings.Repeat(`<l:b/>`, n/12) + `</a></data>`
		}},
		{"many data elements", repeated(`<data/>`)},
		{"many elements in the data", func(n int) string { return `<data>` + repeated(`<a/>`)(n) + `</data>` }},
		{"text and comments", func(n int) string { return `<data>` + repeated(`<!--:-->x:`)(n) + `</data>` }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var docs [4][]byte
			for i, n := range []int{32 << 10, 64 << 10, 128 << 10, 256 << 10} {
				docs[i] = []byte(answer(tt.data(n)))
				if _, err := shep.Open(docs[i], shep.OpenOptions{MaxBytes: 1 << 20}); err != nil && gateway.ReasonOf(err) != gateway.DocumentMalformed {
					t.Fatal(err)
				}
			}
			growth.Check(t, growth.Shape{Inputs: docs, Runs: 5,
				Work: func(doc []byte) { shep.Open(doc, shep.OpenOptions{MaxBytes: 1 << 20}) }, //nolint:errcheck // see above
				// Two scans of the envelope at most, one of the data, the data twice.
				Memory: func(octets int) int { return 32*octets + 256<<10 }})
		})
	}
}

// A citizen's request that travels as an element stays what he signed, whatever the envelope
// declares and whatever stands before a colon in it.
func TestSignedRequestsSurviveTheEnvelope(t *testing.T) {
	form := `<form xmlns="urn:f"><note kind="soap:x">soap: x, ds: y, xs:z</note><urn:more xmlns:urn="urn:more"/></form>`
	for _, id := range []string{"citizen-01", "gost-citizen-01"} {
		signed, err := xmlsig.Sign([]byte(form), key(t, id), xmlsig.SignOptions{})
		if err != nil {
			t.Fatal(err)
		}
		doc := answer(`<data>` + string(signed) + `</data>`)
		for _, declarations := range []string{
			``, ` xmlns:soap="urn:s" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`, ` xmlns:urn="urn:u" xmlns:ds="urn:d"`, ` xmlns:f="urn:f"`,
		} {
			r, err := shep.DecodeSendMessageResponse([]byte(strings.Replace(doc, `<S:Envelope`, `<S:Envelope`+declarations, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.Data.Document); got != string(signed) {
				t.Errorf("%s, %s: got %s", id, declarations, got)
			}
			s, err := xmlsig.Verify(r.Data.Document, xmlsig.Options{})
			if err != nil {
				t.Errorf("%s, %s: %v", id, declarations, err)
				continue
			}
			s.Release()
		}
	}
}
