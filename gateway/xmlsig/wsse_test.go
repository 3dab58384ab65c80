package xmlsig_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

const (
	soap      = "http://schemas.xmlsoap.org/soap/envelope/"
	wssPrefix = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
	wsse      = wssPrefix + "wssecurity-secext-1.0.xsd"
	wsu       = wssPrefix + "wssecurity-utility-1.0.xsd"
	x509v3    = wssPrefix + "x509-token-profile-1.0#X509v3"
	base64enc = wssPrefix + "soap-message-security-1.0#Base64Binary"

	message = `<S:Envelope xmlns:S="` + soap + `"><S:Header/><S:Body xmlns:wsu="` + wsu + `" wsu:Id="id-1"><m:SendMessage xmlns:m="urn:m"><data>1</data></m:SendMessage></S:Body></S:Envelope>`
	theBody = `<S:Body xmlns:S="` + soap + `" xmlns:wsu="` + wsu + `" wsu:Id="id-1"><m:SendMessage xmlns:m="urn:m"><data>1</data></m:SendMessage></S:Body>`
)

func TestSignedMessageVerifies(t *testing.T) {
	citizen := string(mustSign(t, `<form xmlns="urn:f">1</form>`, bob(), xmlsig.SignOptions{}))
	tests := []struct{ name, doc string }{
		{"an empty header", message},
		{"no header", strings.Replace(message, `<S:Header/>`, ``, 1)},
		{"another header", strings.Replace(message, `<S:Header/>`, `<S:Header> <x xmlns="urn:x"/> </S:Header>`, 1)},
		{"no Id", strings.Replace(message, ` wsu:Id="id-1"`, ``, 1)},
		{"an unprefixed Id", strings.Replace(message, ` wsu:Id="id-1"`, ` Id="id-1"`, 1)},
		{"prefix wsu means something else", strings.Replace(strings.Replace(message, ` xmlns:wsu="`+wsu+`" wsu:Id="id-1"`, ``, 1), `<S:Envelope`, `<S:Envelope xmlns:wsu="urn:u" xmlns:wsu1="urn:v" xmlns:soap="urn:w"`, 1)},
		{"the envelope in the default namespace", strings.NewReplacer(`S:`, ``, `:S=`, `=`).Replace(message)},
		{"an empty Body", `<S:Envelope xmlns:S="` + soap + `"><S:Body/></S:Envelope>`},
		{"SOAP 1.2", strings.Replace(message, soap, "http://www.w3.org/2003/05/soap-envelope", 1)},
		{"a citizen's signature inside", strings.Replace(message, `<data>1</data>`, `<data>`+citizen+`</data>`, 1)},
		{"declaration and white space", "<?xml version=\"1.0\"?>\n" + strings.ReplaceAll(message, "><", ">\r\n<")},
	}
	for _, tt := range tests {
		for _, layout := range []xmlsig.Layout{xmlsig.LayoutCompact, xmlsig.LayoutKalkan} {
			t.Run(tt.name, func(t *testing.T) {
				out := mustSign(t, tt.doc, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE, Layout: layout})
				s, err := xmlsig.Verify(out, xmlsig.Options{Profile: xmlsig.ProfileWSSE})
				if err != nil {
					t.Fatal(err)
				}
				if s.Root().Local() != "Body" || len(s.Signatures()) != 1 || !bytes.Equal(s.Signatures()[0].Certificate.Raw, alice().cert) {
					t.Error("the view is not the Body that alice signed")
				}
				if strings.Contains(tt.doc, citizen) {
					data, _ := mustChild(t, s.Root(), "SendMessage").Child("", "data")
					if form := mustChild(t, data, "form"); mustChild(t, form, "Signature").IsZero() {
						t.Error("the citizen's signature is not shown")
					}
				}
			})
		}
	}
}

func mustChild(t *testing.T, e xmlsig.Element, local string) xmlsig.Element {
	t.Helper()
	c, ok := e.Child("*", local)
	if !ok {
		t.Fatalf("no child %s", local)
	}
	return c
}

// fakeKey is a key of a kind that a test cannot make a certificate for.
type fakeKey struct{ kind trust.KeyKind }

func (k fakeKey) Kind() trust.KeyKind                           { return k.kind }
func (k fakeKey) VerifyDigest(trust.Hash, []byte, []byte) error { return nil }

func TestMessageProfile(t *testing.T) {
	signed := string(mustSign(t, message, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE}))
	cut := func(s, from, to string) string { // the element from..to
		i := strings.Index(s, from)
		j := strings.Index(s[i:], to)
		if i < 0 || j < 0 {
			t.Fatalf("%s…%s is not in %s", from, to, s)
		}
		return s[i : i+j+len(to)]
	}
	security := cut(signed, `<wsse:Security `, `</wsse:Security>`)
	signature := cut(signed, `<ds:Signature `, `</ds:Signature>`)
	alone := replace(t, signature, `<ds:Signature `, `<ds:Signature xmlns:wsse="`+wsse+`" `) // outside wsse:Security
	body := cut(signed, `<S:Body`, `</S:Body>`)
	keyIdentifier := cut(signed, `<wsse:KeyIdentifier`, `</wsse:KeyIdentifier>`)
	cert := alice().certBase64()
	evilBody := `<S:Body><m:SendMessage xmlns:m="urn:m"><data>2</data></m:SendMessage></S:Body>`
	sub := func(pairs ...string) string {
		s := signed
		for i := 0; i < len(pairs); i += 2 {
			s = replace(t, s, pairs[i], pairs[i+1])
		}
		return s
	}
	token := func(id, attrs string) string {
		return `<wsse:BinarySecurityToken xmlns:wsu="` + wsu + `" ` + id + ` ` + attrs + `>` + cert + `</wsse:BinarySecurityToken>`
	}
	tokenType := `ValueType="` + x509v3 + `" EncodingType="` + base64enc + `"`
	tokenRef := `<wsse:Reference URI="#t" ValueType="` + x509v3 + `"/>`
	issuerSerial := func(serial string) string {
		return `<ds:X509Data><ds:X509IssuerSerial><ds:X509IssuerName>CN=TEST ONLY</ds:X509IssuerName><ds:X509SerialNumber>` + serial + `</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>`
	}
	x509Data := func(inner string) string { return `<ds:X509Data>` + inner + `</ds:X509Data>` }
	serialOf := func(n string) string {
		return strings.TrimSuffix(strings.TrimPrefix(issuerSerial(n), `<ds:X509Data>`), `</ds:X509Data>`)
	}
	certificate := `<ds:X509Certificate>` + cert + `</ds:X509Certificate>`
	aliceCert, bobCert := alice().key(t).Certificate(), bob().key(t).Certificate()
	gost := &trust.Certificate{Raw: alice().cert, Key: fakeKey{trust.GOST2015}}

	tests := []struct {
		name, doc string
		known     []*trust.Certificate
		want      gateway.Reason
	}{
		{"as it was signed", signed, nil, ""},
		{"white space in the header", sub(`<S:Header>`, "<S:Header>\n "), nil, ""},
		{"a comment in the Body", sub(`<data>`, `<data><!-- x -->`), nil, ""},
		{"a namespace on the envelope, not used in the Body", sub(`<S:Envelope`, `<S:Envelope xmlns:n="urn:n"`), nil, ""},
		{"the Body changed", sub(`<data>1`, `<data>2`), nil, gateway.DigestMismatch},
		{"a prefix of the Body bound to something else", sub(`urn:m`, `urn:n`), nil, gateway.DigestMismatch},

		{"two Bodies", sub(`</S:Envelope>`, evilBody+`</S:Envelope>`), nil, gateway.SignatureReference},
		{"a Body before the signed one", sub(body, evilBody+body), nil, gateway.SignatureReference},
		{"the signed Body in a wrapper in the header", sub(body, evilBody, `<S:Header>`, `<S:Header><w>`+body+`</w>`), nil, gateway.SignatureReference},
		{"the signed Body inside the new one", sub(body, `<S:Body>`+body+`</S:Body>`), nil, gateway.SignatureReference},
		{"the signed Body in ds:Object", sub(body, evilBody, `</ds:Signature>`, `<ds:Object>`+body+`</ds:Object></ds:Signature>`), nil, gateway.SignatureReference},
		{"a Body of SOAP 1.2 inside", sub(`<data>1</data>`, `<data><Body xmlns="http://www.w3.org/2003/05/soap-envelope"/></data>`), nil, gateway.SignatureReference},
		{"the Id moved to a child of the Body", sub(` wsu:Id="id-1"`, ``, `<data>`, `<data wsu:Id="id-1">`), nil, gateway.SignatureIDAmbiguous},
		{"the Id moved to a child of the Body, unprefixed", sub(` wsu:Id="id-1"`, ``, `<data>`, `<data Id="id-1">`), nil, gateway.SignatureReference},
		{"the Id on the header too", sub(`<S:Header>`, `<S:Header Id="id-1">`), nil, gateway.SignatureIDAmbiguous},
		{"the Id inside the Body too", sub(`<data>`, `<data ID="id-1">`), nil, gateway.SignatureIDAmbiguous},
		{"xml:id on the Body", sub(`wsu:Id="id-1"`, `xml:id="id-1"`), nil, gateway.SignatureIDAmbiguous},
		{"another Id on the Body", sub(`wsu:Id="id-1"`, `wsu:Id="id-2"`), nil, gateway.SignatureReference},
		{"reference to the whole message", sub(`URI="#id-1"`, `URI=""`), nil, gateway.SignatureReference},
		{"enveloped", sub(`<ds:Transforms>`, `<ds:Transforms>`+transform(xmlsig.Enveloped)), nil, gateway.SignatureTransform},
		{"STR transform", sub(`Transform Algorithm="`+xmlsig.ExcC14N, `Transform Algorithm="`+wssPrefix+`soap-message-security-1.0#STR-Transform`), nil, gateway.SignatureTransform},

		{"no signature", sub(signature, ``), nil, gateway.SignatureMissing},
		{"no signature but a citizen's", strings.Replace(message, `1</data>`, alone+`</data>`, 1), nil, gateway.SignatureMissing},
		{"two signatures", sub(signature, signature+signature), nil, gateway.SignatureMultiple},
		{"two Security headers", sub(security, security+security), nil, gateway.SignatureMultiple},
		{"the signature beside Security", sub(security, strings.Replace(security, signature, ``, 1)+alone), nil, gateway.SignatureMisplaced},
		{"Security outside the header", sub(security, ``, body, body+security), nil, gateway.SignatureReference},
		{"Security inside another header", sub(security, `<w>`+security+`</w>`), nil, gateway.SignatureMisplaced},
		{"Security of another namespace", strings.ReplaceAll(signed, wsse, "urn:wsse"), nil, gateway.SignatureMisplaced},
		{"the signature as part of the Body", sub(security, ``, `<data>1</data>`, `<data>1</data>`+security), nil, gateway.SignatureMissing},
		{"no envelope", body, nil, gateway.DocumentNamespace},
		{"an envelope of another namespace", strings.ReplaceAll(signed, soap, "urn:soap"), nil, gateway.SignatureReference},
		{"text in the envelope", sub(`<S:Header>`, `x<S:Header>`), nil, gateway.SignatureStructure},
		{"the header after the Body", sub(body, ``, `<S:Header>`, body+`<S:Header>`), nil, gateway.SignatureReference},
		{"two headers", sub(`<S:Header>`, `<S:Header/><S:Header>`), nil, gateway.SignatureReference},

		{"a key identifier of another type", sub(`#X509v3`, `#X509SubjectKeyIdentifier`), nil, gateway.SignatureKeyInfo},
		{"a key identifier in another encoding", sub(`#Base64Binary`, `#HexBinary`), nil, gateway.SignatureKeyInfo},
		{"a key identifier without encoding", sub(`EncodingType="`+base64enc+`" `, ``), nil, ""},
		{"two key identifiers", sub(keyIdentifier, keyIdentifier+keyIdentifier), nil, gateway.SignatureKeyInfo},
		{"a bare certificate", sub(`<wsse:SecurityTokenReference>`+keyIdentifier+`</wsse:SecurityTokenReference>`, `<ds:X509Data><ds:X509Certificate>`+cert+`</ds:X509Certificate></ds:X509Data>`), nil, gateway.SignatureKeyInfo},
		{"somebody else's certificate", sub(cert, mallory().certBase64()), nil, gateway.SignatureInvalid},
		{"text beside the certificate", sub(keyIdentifier, `x`+keyIdentifier), nil, gateway.SignatureStructure},

		{"a binary token", sub(keyIdentifier, tokenRef, `<ds:Signature `, token(`wsu:Id="t"`, tokenType)+`<ds:Signature `), nil, ""},
		{"a binary token after the signature", sub(keyIdentifier, tokenRef, `</ds:Signature>`, `</ds:Signature>`+token(`wsu:Id="t"`, tokenType)), nil, ""},
		{"a binary token with another Id", sub(keyIdentifier, tokenRef, `<ds:Signature `, token(`wsu:Id="u"`, tokenType)+`<ds:Signature `), nil, gateway.SignatureKeyInfo},
		{"a binary token whose Id is repeated", sub(keyIdentifier, tokenRef, `<ds:Signature `, token(`wsu:Id="t"`, tokenType)+`<x Id="t"/><ds:Signature `), nil, gateway.SignatureIDAmbiguous},
		{"two binary tokens", sub(keyIdentifier, tokenRef, `<ds:Signature `, token(`wsu:Id="t"`, tokenType)+token(`wsu:Id="u"`, tokenType)+`<ds:Signature `), nil, gateway.SignatureKeyInfo},
		{"a binary token elsewhere", sub(keyIdentifier, tokenRef, `<wsse:Security `, `<h xmlns:wsse="`+wsse+`">`+token(`wsu:Id="t"`, tokenType)+`</h><wsse:Security `), nil, gateway.SignatureKeyInfo},
		{"a binary token of another type", sub(keyIdentifier, tokenRef, `<ds:Signature `, token(`wsu:Id="t"`, strings.Replace(tokenType, `#X509v3`, `#X509PKIPathv1`, 1))+`<ds:Signature `), nil, gateway.SignatureKeyInfo},
		{"a token by URL", sub(keyIdentifier, `<wsse:Reference URI="http://127.0.0.1/"/>`), nil, gateway.SignatureKeyInfo},

		{"a certificate in X509Data", sub(keyIdentifier, x509Data(certificate)), nil, ""},
		{"a certificate behind issuer and serial, as zeep writes it", sub(keyIdentifier, x509Data(serialOf("1001")+certificate)), nil, ""},
		{"a certificate before issuer and serial that nobody has", sub(keyIdentifier, x509Data(certificate+serialOf("7"))), []*trust.Certificate{bobCert}, ""},
		{"a certificate beside its subject and key identifier", sub(keyIdentifier,
			x509Data(`<ds:X509SubjectName>CN=x</ds:X509SubjectName><ds:X509SKI>AAAA</ds:X509SKI>`+certificate)), nil, ""},
		{"two certificates in X509Data", sub(keyIdentifier, x509Data(certificate+certificate)), nil, gateway.SignatureKeyInfo},
		{"somebody else's certificate behind the known serial", sub(keyIdentifier,
			x509Data(serialOf("1001")+`<ds:X509Certificate>`+mallory().certBase64()+`</ds:X509Certificate>`)), []*trust.Certificate{aliceCert}, gateway.SignatureInvalid},
		{"a certificate beside an unknown element", sub(keyIdentifier, x509Data(certificate+`<x/>`)), nil, gateway.SignatureKeyInfo},
		{"a certificate of another namespace", sub(keyIdentifier, x509Data(`<X509Certificate>`+cert+`</X509Certificate>`)), nil, gateway.SignatureKeyInfo},
		{"issuer and serial of a known partner", sub(keyIdentifier, issuerSerial("1001")), []*trust.Certificate{bobCert, aliceCert}, ""},
		{"issuer and serial without known partners", sub(keyIdentifier, issuerSerial("1001")), nil, gateway.SignatureKeyInfo},
		{"issuer and serial of a partner who did not sign", sub(keyIdentifier, issuerSerial("1002")), []*trust.Certificate{bobCert, aliceCert}, gateway.SignatureInvalid},
		{"a serial number that two partners have", sub(keyIdentifier, issuerSerial("1001")), []*trust.Certificate{aliceCert, aliceCert}, gateway.SignatureKeyInfo},
		{"a serial number in hexadecimal", sub(keyIdentifier, issuerSerial("3E9")), []*trust.Certificate{aliceCert}, gateway.SignatureKeyInfo},
		{"a negative serial number", sub(keyIdentifier, issuerSerial("-1001")), []*trust.Certificate{aliceCert}, gateway.SignatureKeyInfo},
		{"an RSA method with a known GOST key", sub(keyIdentifier, issuerSerial("1001")), []*trust.Certificate{gost}, gateway.SignatureKeyMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := xmlsig.Verify([]byte(tt.doc), xmlsig.Options{Profile: xmlsig.ProfileWSSE, Known: tt.known})
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q\n%s", got, err, tt.want, tt.doc)
			}
			if err != nil {
				return
			}
			if data, _ := mustChild(t, s.Root(), "SendMessage").Child("", "data"); data.Text() != "1" {
				t.Errorf("the view shows %q", data.Text())
			}
			if s.ContentSHA256() != sha256.Sum256(canonicalize(t, xmlsig.ExcC14N, theBody)) {
				t.Error("the content's SHA-256 is not that of the canonical Body")
			}
		})
	}
}
