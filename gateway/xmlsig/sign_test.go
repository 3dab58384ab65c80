package xmlsig_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

// R3: what is signed is verified, and the result shows the content without the signature.
func TestSignedDocumentVerifies(t *testing.T) {
	docs := []struct{ name, doc string }{
		{"plain", `<r><a>1</a></r>`},
		{"an empty root", `<r/>`},
		{"an empty root with space", `<r  a='1' />`},
		{"namespaces and xml attributes on the root", `<p:r xmlns:p="urn:p" xmlns="urn:d" xmlns:ds="urn:not-dsig" xml:lang="kk" xml:base="http://example.kz/" xml:id="x"><a ds:b="1"/></p:r>`},
		{"declaration, comments and trailing space", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<!-- a --><r>\r\n <b>тест</b>\r\n</r>\n<!-- b -->\n"},
		{"Signature of another namespace", `<r><Signature xmlns="urn:other"/></r>`},
	}
	for _, tt := range docs {
		for _, layout := range []xmlsig.Layout{xmlsig.LayoutCompact, xmlsig.LayoutKalkan} {
			t.Run(tt.name, func(t *testing.T) {
				out, err := xmlsig.Sign([]byte(tt.doc), alice().key(t), xmlsig.SignOptions{Layout: layout})
				if err != nil {
					t.Fatal(err)
				}
				s, err := xmlsig.Verify(out, xmlsig.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if len(s.Signatures()) != 1 {
					t.Fatalf("%d signatures", len(s.Signatures()))
				}
				sig := s.Signatures()[0]
				if !bytes.Equal(sig.Certificate.Raw, alice().cert) || sig.Algorithm != xmlsig.RSASHA256 || sig.KeyKind != trust.RSA {
					t.Errorf("signed with %s by key kind %s", sig.Algorithm, sig.KeyKind)
				}
				plain := scan(t, tt.doc).Root()
				if got, want := dump(s.Root()), dump(plain); got != want {
					t.Errorf("the view is %s, want %s", got, want)
				}
				canonical, err := xmlsig.Canonicalize(xmlsig.C14N10, []byte(tt.doc))
				if err != nil {
					t.Fatal(err)
				}
				if s.ContentSHA256() != sha256.Sum256(canonical) {
					t.Error("the content's SHA-256 is not that of the canonical document")
				}
				if strings.Contains(string(s.Root().Source()), "dsig#") || strings.Contains(string(s.Root().Source()), "<!--") {
					t.Errorf("the source of the view shows what was not signed: %s", s.Root().Source())
				}
				s.Release()
			})
		}
	}
}

// dump writes what the element API shows of a tree.
func dump(e xmlsig.Element) string {
	var b strings.Builder
	b.WriteString("{" + e.Space() + "}" + e.Local())
	for n, v := range e.Attrs() {
		b.WriteString(" {" + n.Space + "}" + n.Local + "=" + v)
	}
	b.WriteString("[" + strings.TrimSpace(e.Text()))
	for c := range e.Children() {
		b.WriteString(dump(c))
	}
	return b.String() + "]"
}

func TestSignRefuses(t *testing.T) {
	signed := string(mustSign(t, `<r/>`, alice(), xmlsig.SignOptions{}))
	tests := []struct {
		name, doc string
		profile   xmlsig.Profile
		want      gateway.Reason
	}{
		{"what is no XML", `<r>`, xmlsig.ProfileDocument, gateway.DocumentMalformed},
		{"a document type", `<!DOCTYPE r><r/>`, xmlsig.ProfileDocument, gateway.DocumentDoctype},
		{"a second signature in profile document", signed, xmlsig.ProfileDocument, gateway.SignatureMultiple},
		{"to co-sign what does not verify", strings.Replace(signed, "<r>", "<r>x", 1), xmlsig.ProfileCoSigned, gateway.DigestMismatch},
		{"a message that is no envelope", `<r/>`, xmlsig.ProfileWSSE, gateway.SignatureReference},
		{"an unknown profile", `<r/>`, "detached", gateway.ConfigInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := xmlsig.Sign([]byte(tt.doc), alice().key(t), xmlsig.SignOptions{Profile: tt.profile})
			if got := gateway.ReasonOf(err); got != tt.want || out != nil {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
	if _, err := xmlsig.Verify([]byte(signed), xmlsig.Options{Profile: "detached"}); gateway.ReasonOf(err) != gateway.ConfigInvalid {
		t.Errorf("an unknown profile is verified: %v", err)
	}
}

func mustSign(t testing.TB, doc string, by *signer, o xmlsig.SignOptions) []byte {
	t.Helper()
	out, err := xmlsig.Sign([]byte(doc), by.key(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLoadPEM(t *testing.T) {
	pkcs8, cert := alice().keyPEM(t), alice().certPEM()
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(alice().rsa)})
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	ecPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ecDER})
	block := func(typ, data string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: []byte(data)})
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, []byte("text between\n")) }
	tests := []struct {
		name string
		pem  []byte
		want gateway.Reason
	}{
		{"PKCS #8 and certificate", join(pkcs8, cert), ""},
		{"PKCS #1 and certificate", join(pkcs1, cert), ""},
		{"certificate first, then key, then issuer", join(cert, pkcs8, bob().certPEM()), ""},
		{"the issuer's certificate first", join(pkcs8, bob().certPEM(), cert), gateway.ConfigInvalid},
		{"no key", cert, gateway.ConfigInvalid},
		{"no certificate", pkcs8, gateway.ConfigInvalid},
		{"nothing", nil, gateway.ConfigInvalid},
		{"two keys", join(pkcs8, pkcs8, cert), gateway.ConfigInvalid},
		{"a key of another kind", join(ecPEM, cert), gateway.ConfigInvalid},
		{"a broken key", join(block("PRIVATE KEY", "x"), cert), gateway.ConfigInvalid},
		{"an encrypted key", join(block("ENCRYPTED PRIVATE KEY", "x"), cert), gateway.ConfigInvalid},
		{"a broken certificate", join(pkcs8, block("CERTIFICATE", "x")), gateway.CertificateMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := xmlsig.LoadPEM(tt.pem)
			if got := gateway.ReasonOf(err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && !bytes.Equal(k.Certificate().Raw, alice().cert) {
				t.Error("another certificate than the first one")
			}
		})
	}
	if _, err := xmlsig.NewKey(cert, nil); gateway.ReasonOf(err) != gateway.ConfigInvalid {
		t.Errorf("a key without a signer: %v", err)
	}
}

// Replace reaches everybody who holds the key, while they sign; what comes out is of one key or the other.
func TestAReplacedKeySignsNoMore(t *testing.T) {
	load := func(p *signer) *xmlsig.Key {
		k, err := xmlsig.LoadPEM(append(p.keyPEM(t), p.certPEM()...))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k, next := load(alice()), load(bob())
	was, now := k.Certificate(), next.Certificate()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				signed, err := xmlsig.Sign([]byte("<a/>"), k, xmlsig.SignOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				s, err := xmlsig.Verify(signed, xmlsig.Options{})
				if err != nil || !s.Signatures()[0].Certificate.Equal(was) && !s.Signatures()[0].Certificate.Equal(now) {
					t.Errorf("%v", err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	k.Replace(next)
	if !k.Certificate().Equal(now) {
		t.Error("the certificate is the old one")
	}
	signed, err := xmlsig.Sign([]byte("<a/>"), k, xmlsig.SignOptions{})
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := xmlsig.Verify(signed, xmlsig.Options{}); err != nil || !s.Signatures()[0].Certificate.Equal(now) {
		t.Errorf("signed by the old key, %v", err)
	}
}
