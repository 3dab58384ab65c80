package xmlsig_test

import (
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// field.md 11: a refusal names its cause. A document of the country's programs is one line, so its number says nothing.
func TestARefusalNamesItsCause(t *testing.T) {
	key := alice().key(t)
	out, err := xmlsig.Sign([]byte(`<r><a>1</a></r>`), key, xmlsig.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	signed := string(out)
	cert := alice().certBase64()
	reference := signed[strings.Index(signed, "<ds:Reference") : strings.Index(signed, "</ds:Reference>")+len("</ds:Reference>")]
	tests := []struct {
		name, doc string
		reason    gateway.Reason
		words     string
	}{
		{"white space before the declaration", "\n" + `<?xml version="1.0"?>` + signed, gateway.DocumentMalformed, "not even white space may stand before it"},
		{"a processing instruction", strings.Replace(signed, "<r>", `<r><?xml-stylesheet?>`, 1), gateway.DocumentInstruction, "processing instruction"},
		{"bad base64 of the value", strings.Replace(signed, "<ds:SignatureValue>", "<ds:SignatureValue>*", 1), gateway.SignatureEncoding, "SignatureValue"},
		{"bad base64 of the digest", strings.Replace(signed, "<ds:DigestValue>", "<ds:DigestValue>*", 1), gateway.SignatureEncoding, "DigestValue"},
		{"bad base64 of the certificate", strings.Replace(signed, cert, "*"+cert, 1), gateway.SignatureEncoding, "X509Certificate"},
		{"PEM in the certificate", strings.Replace(signed, cert, "-----BEGIN CERTIFICATE-----\n"+cert+"\n-----END CERTIFICATE-----", 1), gateway.SignatureEncoding,
			"PEM in X509Certificate"},
		{"an empty value", signed[:strings.Index(signed, "<ds:SignatureValue>")+len("<ds:SignatureValue>")] + signed[strings.Index(signed, "</ds:SignatureValue>"):],
			gateway.SignatureEncoding, "SignatureValue"},
		{"a second reference", strings.Replace(signed, reference, reference+reference, 1), gateway.SignatureStructure, "a second Reference"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := xmlsig.Verify([]byte(tt.doc), xmlsig.Options{})
			if gateway.ReasonOf(err) != tt.reason || !strings.Contains(gateway.DetailOf(err), tt.words) {
				t.Errorf("%v; want %s with %q", err, tt.reason, tt.words)
			}
		})
	}
}
