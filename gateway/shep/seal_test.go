package shep_test

import (
	"bytes"
	"strings"
	"testing"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

func key(t testing.TB, id string) *xmlsig.Key {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	e := pki.Must(id)
	k, err := xmlsig.NewKey(e.DER, e.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, p shep.Payload, id string) string {
	t.Helper()
	doc, err := shep.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	doc, err = shep.Seal(doc, key(t, id))
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// R3 for the transport: what is read is what was signed, and both keys of the country are known.
func TestSealedMessagesAreOpened(t *testing.T) {
	want := asyncMessage(shep.TypeRequest, shep.Data{Form: shep.FormString, Document: []byte("<a>Ұлы дала, ёж</a>")})
	for _, id := range []string{"system-portal", "gost-system-gateway"} {
		got, err := shep.Open([]byte(sealed(t, want, id)), shep.OpenOptions{MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if got.Signer == nil || !got.Signer.Equal(key(t, id).Certificate()) || got.Content == [32]byte{} {
			t.Errorf("%s: the signer is %v", id, got.Signer)
		}
		if m := got.Payload.(*shep.AsyncMessage); string(m.Data.Document) != "<a>Ұлы дала, ёж</a>" || m.Sender.ID != "портал" {
			t.Errorf("%s: got %+v", id, m)
		}
	}
	plain, err := shep.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := shep.Open(plain, shep.OpenOptions{MaxBytes: 1 << 20}); err != nil || got.Signer != nil || got.Payload == nil {
		t.Errorf("a message that is not signed: %+v, %v", got, err)
	}
}

func TestWrappedMessagesAreRefused(t *testing.T) {
	good := sealed(t, asyncMessage(shep.TypeRequest, shep.Data{Form: shep.FormString, Document: []byte("<a>1</a>")}), "system-portal")
	cut := func(from, to string) string {
		i := strings.Index(good, from)
		return good[i : i+strings.Index(good[i:], to)+len(to)]
	}
	body, header, signature := cut("<soap:Body", "</soap:Body>"), cut("<soap:Header>", "</soap:Header>"), cut("<ds:Signature ", "</ds:Signature>")
	id := cut(`wsu:Id="`, `" `)
	if i := strings.Index(body, ">"); !strings.Contains(body[:i], "wsu:Id=") {
		t.Fatal("the Body has no Id")
	}
	idValue := strings.Split(id[len(`wsu:Id="`):], `"`)[0]
	evil := "<soap:Body>" + strings.Replace(body[strings.Index(body, ">")+1:], "&lt;a&gt;1", "&lt;a&gt;2", 1)
	sub := func(pairs ...string) string {
		s := good
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(s, pairs[i]) {
				t.Fatalf("%s is not in the message", pairs[i])
			}
			s = strings.Replace(s, pairs[i], pairs[i+1], 1)
		}
		return s
	}
	tests := []struct {
		name, doc string
		want      gateway.Reason
	}{
		{"the data changed", sub("&lt;a&gt;1", "&lt;a&gt;2"), gateway.TransportWrong},
		{"the sender changed", sub("портал", "портал2"), gateway.TransportWrong},
		{"two Bodies", sub(body, evil+body), gateway.TransportWrong},
		{"two Bodies, the signed one first", sub(body, body+evil), gateway.TransportWrong},
		{"the signed Body wrapped in the header", sub(body, evil, "<soap:Header>", "<soap:Header><w>"+body+"</w>"), gateway.TransportWrong},
		{"the signed Body wrapped in the new one", sub(body, strings.Replace(evil, "</soap:Body>", body+"</soap:Body>", 1)), gateway.TransportWrong},
		{"the Id a second time", sub("<soap:Header>", `<soap:Header Id="`+idValue+`">`), gateway.TransportWrong},
		{"the Id a second time inside the Body", sub("<request>", `<request xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" wsu:Id="`+idValue+`">`), gateway.TransportWrong},
		{"only the header is signed", sub(` wsu:Id="`+idValue+`"`, "", "<soap:Header>", `<soap:Header xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" wsu:Id="`+idValue+`">`), gateway.TransportWrong},
		{"a second signature", sub(signature, signature+signature), gateway.TransportWrong},
		{"another method's value", sub("rsa-sha256", "rsa-sha1"), gateway.TransportWrong},
		{"a reference to everything", sub(`URI="#`+idValue+`"`, `URI=""`), gateway.TransportWrong},
		{"the signature taken away", sub(signature, ""), ""},
		{"the header taken away", sub(header, ""), ""},
		{"no envelope", "<request/>", gateway.DocumentMalformed},
		{"a signed document that is no envelope", string(mustSign(t, []byte("<request/>"))), gateway.DocumentMalformed},
		{"no XML", "PK", gateway.DocumentMalformed},
		{"a document type declaration", `<!DOCTYPE x>` + good[strings.Index(good, "<soap:"):], gateway.DocumentDoctype},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := shep.Open([]byte(tt.doc), shep.OpenOptions{MaxBytes: 1 << 20})
			if gateway.ReasonOf(err) != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err != nil && got.Payload != nil {
				t.Error("something was read")
			}
			if err == nil && got.Signer != nil {
				t.Error("a signer without a signature")
			}
			if tt.want == gateway.TransportWrong && shep.CodeOf(gateway.ReasonOf(err)) != "SCE006" {
				t.Errorf("answered %s", shep.CodeOf(gateway.ReasonOf(err)))
			}
		})
	}
	if _, err := shep.Open([]byte(good), shep.OpenOptions{MaxBytes: len(good) - 1}); gateway.ReasonOf(err) != gateway.DocumentTooLarge {
		t.Errorf("one byte too many: %v", err)
	}
}

func mustSign(t *testing.T, doc []byte) []byte {
	t.Helper()
	out, err := xmlsig.Sign(doc, key(t, "system-portal"), xmlsig.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A partner may be known by certificate and named by its serial number only.
func TestKnownPartnersMayBeNamedBySerial(t *testing.T) {
	k := key(t, "system-portal")
	doc := sealed(t, asyncMessage(shep.TypeRequest, shep.Data{Form: shep.FormString, Document: plain}), "system-portal")
	i, j := strings.Index(doc, "<wsse:KeyIdentifier"), strings.Index(doc, "</wsse:KeyIdentifier>")
	doc = doc[:i] + "<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=any</ds:X509IssuerName><ds:X509SerialNumber>" + serial(t, k.Certificate()) +
		"</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>" + doc[j+len("</wsse:KeyIdentifier>"):]
	if _, err := shep.Open([]byte(doc), shep.OpenOptions{MaxBytes: 1 << 20}); gateway.ReasonOf(err) != gateway.TransportWrong {
		t.Errorf("an unknown certificate: %v", err)
	}
	got, err := shep.Open([]byte(doc), shep.OpenOptions{MaxBytes: 1 << 20, Known: []*trust.Certificate{k.Certificate()}})
	if err != nil || !got.Signer.Equal(k.Certificate()) {
		t.Errorf("a known certificate: %v", err)
	}
}

func serial(t *testing.T, c *trust.Certificate) string {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range pki.Entries() {
		if bytes.Equal(e.DER, c.Raw) {
			return e.X509().SerialNumber.String()
		}
	}
	t.Fatal("no such certificate")
	return ""
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(sealed(f, asyncMessage(shep.TypeRequest, shep.Data{Form: shep.FormString, Document: plain}), "system-portal")))
	f.Add([]byte(sealed(f, &shep.MessagesQuery{ServiceID: "s"}, "system-portal")))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := shep.Open(doc, shep.OpenOptions{MaxBytes: 1 << 20})
		if (err == nil) != (got.Payload != nil) {
			t.Fatalf("%v with %v", err, got.Payload)
		}
		if gateway.ReasonOf(err) == gateway.Internal {
			t.Fatalf("an error without a reason: %v", err)
		}
	})
}
