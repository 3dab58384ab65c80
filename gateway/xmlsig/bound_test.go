package xmlsig_test

import (
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// flood has a namespace name of half the document, which exclusive canonicalisation writes anew
// for each of its many children.
func flood(n int) (declaration, content string) {
	return ` xmlns:a="urn:` + strings.Repeat("n", n/2) + `"`, strings.Repeat(`<a:x/>`, n/12)
}

// 64 KiB had a canonical form of 536 MB, which took 4.4 s with SHA-256 and 14 s with Streebog; any
// certificate would do. Whoever makes it stops early, wherever it is asked for.
func TestCanonicalFormIsBoundedByTheDocument(t *testing.T) {
	declaration, content := flood(64 << 10)
	bare := `<r` + declaration + `>` + content + `</r>`
	envelope := strings.NewReplacer(`<S:Envelope`, `<S:Envelope`+declaration, `<data>1</data>`, content).Replace(message)
	shape := hostileShape{root: fixed(declaration), fill: fixed(content)}
	verify := func(p xmlsig.Profile, by *signer) func() error {
		doc := shape.document(t, p, xmlsig.ExcC14N, by, 0)
		return func() error { _, err := xmlsig.Verify(doc, xmlsig.Options{Profile: p}); return err }
	}
	tests := []struct {
		name string
		run  func() error
	}{
		{"Verify, RSA", verify(xmlsig.ProfileDocument, alice())},
		{"Verify, GOST", verify(xmlsig.ProfileDocument, gulnar())},
		{"Verify, co-signed", verify(xmlsig.ProfileCoSigned, alice())},
		{"Verify, wsse", verify(xmlsig.ProfileWSSE, gulnar())},
		{"Canonicalize", func() error { _, err := xmlsig.Canonicalize(xmlsig.ExcC14N, []byte(bare)); return err }},
		{"Explain", func() error {
			_, err := xmlsig.Explain(shape.document(t, xmlsig.ProfileDocument, xmlsig.ExcC14N, alice(), 0), xmlsig.Options{})
			return err
		}},
		{"Sign", func() error {
			_, err := xmlsig.Sign([]byte(envelope), alice().key(t), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			if got := gateway.ReasonOf(tt.run()); got != gateway.DocumentLimit {
				t.Errorf("%q, want %q", got, gateway.DocumentLimit)
			}
			t.Log(time.Since(start))
		})
	}
	for _, m := range []string{xmlsig.C14N10, xmlsig.C14N11} {
		if b, err := xmlsig.Canonicalize(m, []byte(bare)); err != nil || len(b) > 2*len(bare) {
			t.Errorf("%s: %d octets, %v", m, len(b), err)
		}
	}
}

// What grows within the bound is signed and verified: tags that say <a/>, text that is escaped,
// declarations that exclusive form repeats, and as many signatures as there may be.
func TestCanonicalFormWithinTheBound(t *testing.T) {
	for _, content := range []string{
		strings.Repeat(`<a/>`, 20000),
		`<a>` + strings.Repeat(`a > b, `, 10000) + `</a>`,
		`<a b='{` + strings.Repeat(`"k":1,`, 10000) + `}'/>`,
		strings.Repeat(`<p:row xmlns:p="urn:p"><p:cell>some text, as it is</p:cell></p:row>`, 1000),
	} {
		doc := []byte(`<r>` + content + `</r>`)
		for range 8 {
			doc = mustSign(t, string(doc), alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileCoSigned})
		}
		s, err := xmlsig.Verify(doc, xmlsig.Options{Profile: xmlsig.ProfileCoSigned})
		if err != nil {
			t.Errorf("%.20s: %v", content, err)
			continue
		}
		s.Release()
		mustSign(t, strings.Replace(message, `<data>1</data>`, content, 1), gulnar(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})
	}
}
