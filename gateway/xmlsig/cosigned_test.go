package xmlsig_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// R7: the provider signs what the citizen signed, and both are known in order.
func TestCoSigned(t *testing.T) {
	const content = `<r><a>1</a></r>`
	coSign := xmlsig.SignOptions{Profile: xmlsig.ProfileCoSigned}
	one := mustSign(t, content, alice(), xmlsig.SignOptions{Layout: xmlsig.LayoutKalkan})
	two := mustSign(t, string(one), bob(), coSign)
	three := mustSign(t, string(two), mallory(), coSign)
	signature := func(doc []byte, n int) string { // the n-th Signature element
		s := string(doc)
		for range n {
			s = s[strings.Index(s, `</ds:Signature>`)+len(`</ds:Signature>`):]
		}
		return s[strings.Index(s, `<ds:Signature `) : strings.Index(s, `</ds:Signature>`)+len(`</ds:Signature>`)]
	}
	many := string(one)
	for range 8 {
		many = replace(t, many, `</r>`, signature(one, 0)+`</r>`)
	}
	tests := []struct {
		name, doc string
		want      gateway.Reason
		signers   []*signer
	}{
		{"one signer", string(one), "", []*signer{alice()}},
		{"two signers", string(two), "", []*signer{alice(), bob()}},
		{"three signers", string(three), "", []*signer{alice(), bob(), mallory()}},
		{"the last one removed", replace(t, string(three), signature(three, 2), ``), "", []*signer{alice(), bob()}},
		{"the first one removed", replace(t, string(two), signature(two, 0), ``), gateway.DigestMismatch, nil},
		{"the middle one removed", replace(t, string(three), signature(three, 1), ``), gateway.DigestMismatch, nil},
		{"the order changed", replace(t, replace(t, string(two), signature(two, 1), ``), signature(two, 0), signature(two, 1)+signature(two, 0)), gateway.DigestMismatch, nil},
		{"the content changed", replace(t, string(two), `<a>1`, `<a>2`), gateway.DigestMismatch, nil},
		{"the first signature changed", replace(t, string(two), `<ds:KeyInfo>`, ` <ds:KeyInfo>`), gateway.DigestMismatch, nil},
		{"a signature further down", replace(t, string(two), signature(two, 0), `<w>`+signature(two, 0)+`</w>`), gateway.SignatureMisplaced, nil},
		{"nine signatures", many, gateway.SignatureMultiple, nil},
		{"none", content, gateway.SignatureMissing, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := xmlsig.Verify([]byte(tt.doc), xmlsig.Options{Profile: xmlsig.ProfileCoSigned})
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err != nil {
				return
			}
			if len(s.Signatures()) != len(tt.signers) {
				t.Fatalf("%d signers, want %d", len(s.Signatures()), len(tt.signers))
			}
			for i, sig := range s.Signatures() {
				if !bytes.Equal(sig.Certificate.Raw, tt.signers[i].cert) {
					t.Errorf("signer %d is somebody else", i)
				}
			}
			if got, want := dump(s.Root()), dump(scan(t, content).Root()); got != want {
				t.Errorf("the view is %s, want %s", got, want)
			}
			if s.ContentSHA256() != sha256.Sum256([]byte(content)) {
				t.Error("the content's SHA-256 is not that of what the first signer signed")
			}
		})
	}
	if _, err := xmlsig.Verify(two, xmlsig.Options{}); gateway.ReasonOf(err) != gateway.SignatureMultiple {
		t.Errorf("profile document takes two signatures: %v", err)
	}
}
