package xmlsig_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

const stamp = `<wsu:Timestamp xmlns:wsu="` + wsu + `" wsu:Id="ts-1"><wsu:Created>2026-11-23T05:00:00Z</wsu:Created><wsu:Expires>2026-11-23T05:05:00Z</wsu:Expires></wsu:Timestamp>`

// A stamped is a message whose signature has more references than that of the Body, as WSS4J and many
// policies make it.
type stamped struct {
	header     string // beside the signature in wsse:Security
	outside    string // before wsse:Security in the header
	references []string
	body       string // in place of the signed Body
	after      func(string) string
}

// referenceTo is a reference to what is signed; as is how it is declared on its own.
func referenceTo(t *testing.T, uri, signed string) string {
	t.Helper()
	sum := alice().sum(canonicalize(t, xmlsig.ExcC14N, signed))
	return `<ds:Reference URI="` + uri + `"><ds:Transforms>` + transform(xmlsig.ExcC14N) + `</ds:Transforms><ds:DigestMethod Algorithm="` + alice().digest() +
		`"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum) + `</ds:DigestValue></ds:Reference>`
}

func (s stamped) message(t *testing.T) string {
	t.Helper()
	info := `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + xmlsig.ExcC14N + `"/><ds:SignatureMethod Algorithm="` + alice().method() + `"/>` +
		strings.Join(s.references, "") + `</ds:SignedInfo>`
	canonical := canonicalize(t, xmlsig.ExcC14N, strings.Replace(info, `<ds:SignedInfo`, `<ds:SignedInfo xmlns:ds="`+dsig+`"`, 1))
	signature := `<ds:Signature xmlns:ds="` + dsig + `">` + info + `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(alice().value(t, canonical)) + `</ds:SignatureValue>` +
		`<ds:KeyInfo><wsse:SecurityTokenReference><wsse:KeyIdentifier ValueType="` + x509v3 + `">` + alice().certBase64() + `</wsse:KeyIdentifier></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>`
	body := s.body
	if body == "" {
		body = theBody
	}
	out := `<S:Envelope xmlns:S="` + soap + `"><S:Header>` + s.outside + `<wsse:Security xmlns:wsse="` + wsse + `">` + s.header + signature + `</wsse:Security></S:Header>` + body + `</S:Envelope>`
	if s.after != nil {
		out = s.after(out)
	}
	return out
}

// A signature over Body and Timestamp is taken, over anything else beside the Body it is not; and the
// Timestamp that is shown is the one that was hashed.
func TestASignedTimestamp(t *testing.T) {
	ofBody, ofStamp := referenceTo(t, "#id-1", theBody), referenceTo(t, "#ts-1", stamp)
	const other = `<x xmlns:wsu="` + wsu + `" wsu:Id="x-1"/>`
	ofOther := referenceTo(t, "#x-1", other)
	both := []string{ofBody, ofStamp}
	in := func(old, new string) func(string) string {
		return func(s string) string { return replace(t, s, old, new) }
	}
	fresh := strings.Replace(strings.Replace(stamp, "ts-1", "ts-2", 1), "2026-11-23", "2027-01-01", 2)
	tests := []struct {
		name string
		s    stamped
		want gateway.Reason
		sees string // what Timestamp shows
	}{
		{"Body and Timestamp", stamped{header: stamp, references: both}, "", "2026-11-23T05:00:00Z"},
		{"Timestamp and Body", stamped{header: stamp, references: []string{ofStamp, ofBody}}, "", "2026-11-23T05:00:00Z"},
		{"other headers, not signed", stamped{header: stamp, outside: `<y xmlns="urn:y"/>`, references: both}, "", "2026-11-23T05:00:00Z"},
		{"a Timestamp that is not signed is not shown as signed", stamped{header: stamp, references: both[:1]}, "", ""},

		{"Created changed", stamped{header: stamp, references: both, after: in("05:00:00Z", "09:00:00Z")}, gateway.DigestMismatch, ""},
		{"Expires changed", stamped{header: stamp, references: both, after: in("05:05:00Z", "09:05:00Z")}, gateway.DigestMismatch, ""},
		{"the Body changed", stamped{header: stamp, references: both, body: strings.Replace(theBody, "<data>1", "<data>2", 1)}, gateway.DigestMismatch, ""},
		{"the Body changed, its reference last", stamped{header: stamp, references: []string{ofStamp, ofBody}, body: strings.Replace(theBody, "<data>1", "<data>2", 1)}, gateway.DigestMismatch, ""},
		{"another Timestamp with its right digest, not signed anew", stamped{header: strings.Replace(stamp, "05:00", "09:00", 1), references: both,
			after: func(s string) string {
				digest := func(r string) string { return r[strings.Index(r, "<ds:DigestValue>"):] }
				return replace(t, s, digest(ofStamp), digest(referenceTo(t, "#ts-1", strings.Replace(stamp, "05:00", "09:00", 1))))
			}}, gateway.SignatureInvalid, ""},

		{"a fresh Timestamp in the place of the signed one, which is wrapped", stamped{header: fresh + `<w>` + stamp + `</w>`, references: both}, gateway.SignatureReference, ""},
		{"a fresh Timestamp beside the signed one", stamped{header: fresh + stamp, references: both}, gateway.SignatureReference, ""},
		{"the signed one outside wsse:Security", stamped{header: fresh, outside: stamp, references: both}, gateway.SignatureReference, ""},
		{"the signed one in another wsse:Security", stamped{outside: `<wsse:Security xmlns:wsse="` + wsse + `">` + stamp + `</wsse:Security>`, references: both}, gateway.SignatureReference, ""},
		{"the signed one inside the Body", stamped{header: fresh, references: both, body: strings.Replace(theBody, "<data>1", "<data>"+stamp, 1)}, gateway.SignatureReference, ""},
		{"its Id a second time", stamped{header: stamp, outside: `<y Id="ts-1"/>`, references: both}, gateway.SignatureIDAmbiguous, ""},
		{"its Id in another namespace", stamped{header: strings.Replace(stamp, "wsu:Id", "xml:id", 1), references: []string{ofBody, referenceTo(t, "#ts-1", strings.Replace(stamp, "wsu:Id", "xml:id", 1))}}, gateway.SignatureReference, ""},
		{"a Timestamp of another namespace", stamped{header: strings.Replace(stamp, wsu, "urn:wsu", 1), references: []string{ofBody, referenceTo(t, "#ts-1", strings.Replace(stamp, wsu, "urn:wsu", 1))}}, gateway.SignatureReference, ""},

		{"another header", stamped{header: stamp, outside: other, references: []string{ofBody, ofOther}}, gateway.SignatureReference, ""},
		{"another header, and no Timestamp", stamped{outside: other, references: []string{ofBody, ofOther}}, gateway.SignatureReference, ""},
		{"Body, Timestamp and another header", stamped{header: stamp, outside: other, references: []string{ofBody, ofStamp, ofOther}}, gateway.SignatureReference, ""},
		{"the Body twice", stamped{header: stamp, references: []string{ofBody, ofBody}}, gateway.SignatureReference, ""},
		{"the Timestamp twice", stamped{header: stamp, references: []string{ofStamp, ofStamp}}, gateway.SignatureIDAmbiguous, ""},
		{"the Timestamp alone", stamped{header: stamp, references: []string{ofStamp}}, gateway.SignatureIDAmbiguous, ""},
		{"Body and the whole message", stamped{header: stamp, references: []string{ofBody, strings.Replace(ofStamp, "#ts-1", "", 1)}}, gateway.SignatureReference, ""},
		{"enveloped over the Timestamp", stamped{header: stamp, references: []string{ofBody, strings.Replace(ofStamp, "<ds:Transforms>", "<ds:Transforms>"+transform(xmlsig.Enveloped), 1)}}, gateway.SignatureReference, ""},
		{"another transform over the Timestamp", stamped{header: stamp, references: []string{ofBody, strings.Replace(ofStamp, xmlsig.ExcC14N, "urn:t", 1)}}, gateway.SignatureTransform, ""},
		{"a weaker digest of the Timestamp", stamped{header: stamp, references: []string{ofBody, strings.Replace(ofStamp, alice().digest(), "http://www.w3.org/2000/09/xmldsig#sha1", 1)}}, gateway.SignatureAlgorithm, ""},
		{"something else after the two", stamped{header: stamp, references: []string{ofBody, ofStamp, "<x/>"}}, gateway.SignatureReference, ""},
		{"something else instead of a reference", stamped{header: stamp, references: []string{ofBody, "<x/>"}}, gateway.SignatureStructure, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := tt.s.message(t)
			s, err := xmlsig.Verify([]byte(doc), xmlsig.Options{Profile: xmlsig.ProfileWSSE})
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err != nil {
				if x, again := xmlsig.Explain([]byte(doc), xmlsig.Options{Profile: xmlsig.ProfileWSSE}); gateway.ReasonOf(again) != tt.want || (x != nil) != (tt.want == gateway.DigestMismatch) {
					t.Errorf("Explain: %+v, %v", x, again)
				}
				return
			}
			created, _ := s.Timestamp().Child(wsu, "Created")
			if created.Text() != tt.sees {
				t.Errorf("the signed Timestamp was created %q, want %q", created.Text(), tt.sees)
			}
			if s.Root().Local() != "Body" || !s.Header().Is(soap, "Header") {
				t.Errorf("the view is %s of the header %s", s.Root().Local(), s.Header().Local())
			}
		})
	}
	for _, name := range []string{"another header", "Body, Timestamp and another header"} {
		for _, tt := range tests {
			if tt.name != name {
				continue
			}
			if _, err := xmlsig.Verify([]byte(tt.s.message(t)), xmlsig.Options{Profile: xmlsig.ProfileWSSE}); err == nil || !strings.Contains(err.Error(), "signs more than the Body") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	t.Run("a document has no second reference", func(t *testing.T) {
		s := seed{}.sign(t)
		s.signedInfo = replace(t, s.signedInfo, `</ds:Reference>`, `</ds:Reference>`+ofStamp)
		if _, err := xmlsig.Verify([]byte(s.resign(t).String()), xmlsig.Options{}); gateway.ReasonOf(err) != gateway.SignatureStructure {
			t.Errorf("got %v", err)
		}
	})
}
