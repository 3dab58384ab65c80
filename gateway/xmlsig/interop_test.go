package xmlsig_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/beevik/etree"
	dsiglib "github.com/russellhaering/goxmldsig"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/xmlsig"
)

// xmlsec runs xmlsec1 on files in a directory of its own.
type xmlsec struct {
	path, dir string
}

func newXMLSec(t testing.TB) xmlsec {
	x := xmlsec{tool.Path(t, "xmlsec1", "xmlsec1"), t.TempDir()}
	x.write(t, "key.pem", alice().keyPEM(t))
	x.write(t, "cert.pem", alice().certPEM())
	return x
}

func (x xmlsec) write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(x.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// accepts is the verdict on a document signed by alice; options come before the file.
func (x xmlsec) accepts(t testing.TB, doc []byte, options ...string) bool {
	t.Helper()
	args := append([]string{"--verify", "--enabled-key-data", "x509,rsa", "--pubkey-cert-pem", filepath.Join(x.dir, "cert.pem")}, options...)
	return exec.Command(x.path, append(args, x.write(t, "verify.xml", doc))...).Run() == nil
}

func (x xmlsec) sign(t testing.TB, doc string) []byte {
	t.Helper()
	out := filepath.Join(x.dir, "out.xml")
	keys := filepath.Join(x.dir, "key.pem") + "," + filepath.Join(x.dir, "cert.pem")
	cmd := exec.Command(x.path, "--sign", "--privkey-pem", keys, "--id-attr:Id", "urn:p:r", "--id-attr:Id", soap+":Body", "--output", out, x.write(t, "sign.xml", []byte(doc)))
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("xmlsec1 --sign: %v\n%s\n%s", err, msg, doc)
	}
	signed, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

const interopRoot = `<p:r Id="x" xmlns:p="urn:p" xmlns="urn:d" xmlns:unused="urn:u" xml:lang="kk" xml:base="http://example.kz/a/" xml:id="i0" p:Other="1">`

// inner generates content for interopRoot.
func inner(seed uint64) string {
	g := &generator{r: rand.New(rand.NewPCG(seed, 7)), comments: true, newline: "\n", id: 1}
	for range 3 {
		g.element(map[string]string{"": "urn:d", "p": "urn:p"}, 2)
	}
	return g.b.String()
}

// What we sign is accepted by xmlsec1, and one changed byte gives both the same verdict.
// XMLSIG_INTEROP sets the number of documents, XMLSIG_SEED the first seed.
func TestXMLSecAcceptsWhatWeSign(t *testing.T) {
	x := newXMLSec(t)
	n, first := envInt(t, "XMLSIG_INTEROP", 20), envInt(t, "XMLSIG_SEED", 1)
	for i := range n {
		seed := uint64(first + i)
		r := rand.New(rand.NewPCG(seed, 8))
		layout := xmlsig.Layout(i % 2)
		doc := mustSign(t, interopRoot+inner(seed)+`</p:r>`, alice(), xmlsig.SignOptions{Layout: layout})
		if !x.accepts(t, doc) {
			t.Fatalf("seed %d: xmlsec1 refuses\n%s", seed, doc)
		}
		stop := strings.Index(string(doc), `<ds:KeyInfo>`)
		for range 3 {
			changed := []byte(string(doc))
			changed[r.IntN(stop)] = "aZ0 <&\"'/>=\n;"[r.IntN(13)]
			_, err := xmlsig.Verify(changed, xmlsig.Options{})
			reason := gateway.ReasonOf(err)
			theirs := x.accepts(t, changed)
			// xmlsec1 takes attributes in the signature that the profile does not have.
			outside := strings.HasPrefix(string(reason), "document.") || reason == gateway.SignatureStructure
			if reason == "" && !theirs || theirs && reason != "" && !outside {
				t.Fatalf("seed %d: xmlsec1 accepts: %v, we say %v\n%s", seed, theirs, err, changed)
			}
		}
	}
	two := mustSign(t, string(mustSign(t, `<r/>`, bob(), xmlsig.SignOptions{})), alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileCoSigned})
	if !x.accepts(t, two, "--node-xpath", "/*/*[2]") {
		t.Error("xmlsec1 refuses the second signature of a co-signed document")
	}
	for _, doc := range []string{message, strings.Replace(message, ` wsu:Id="id-1"`, ``, 1), "<?xml version=\"1.0\"?>\n" + strings.ReplaceAll(message, "><", ">\r\n<")} {
		for _, layout := range []xmlsig.Layout{xmlsig.LayoutCompact, xmlsig.LayoutKalkan} {
			out := mustSign(t, doc, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE, Layout: layout})
			if !x.accepts(t, out, "--id-attr:Id", soap+":Body") {
				t.Errorf("xmlsec1 refuses the message\n%s", out)
			}
		}
	}
}

// What xmlsec1 signs inside the profile is accepted by us: every canonicalisation for
// SignedInfo and content, prefix lists, digests, by empty URI and by Id, signature first and last.
func TestWeAcceptWhatXMLSecSigns(t *testing.T) {
	x := newXMLSec(t)
	n, first := envInt(t, "XMLSIG_INTEROP", 72), envInt(t, "XMLSIG_SEED", 1)
	c14ns := []string{xmlsig.C14N10, xmlsig.C14N10Comments, xmlsig.C14N11, xmlsig.C14N11Comments, xmlsig.ExcC14N, xmlsig.ExcC14NComments}
	methods := []string{xmlsig.RSASHA256, xmlsig.RSASHA384, xmlsig.RSASHA512}
	digests := []string{xmlsig.DigestSHA256, xmlsig.DigestSHA384, xmlsig.DigestSHA512}
	parameter := func(uri string, i int) string {
		if strings.Contains(uri, "exc") && i%2 == 0 {
			return prefixList("p unused  absent #default")
		}
		return ""
	}
	for i := range n {
		seed := uint64(first + i)
		info, content := c14ns[i%6], append(c14ns, "")[(i/6)%7]
		transforms := transform(xmlsig.Enveloped)
		if content != "" {
			transforms += `<ds:Transform Algorithm="` + content + `">` + parameter(content, i/2) + `</ds:Transform>`
		}
		uri := ""
		if i%5 < 2 {
			uri = "#x"
		}
		template := `<ds:Signature xmlns:ds="` + dsig + `">` + "\n" + `<ds:SignedInfo><!-- c --><ds:CanonicalizationMethod Algorithm="` + info + `">` + parameter(info, i) + `</ds:CanonicalizationMethod>` +
			`<ds:SignatureMethod Algorithm="` + methods[i%3] + `"/><ds:Reference URI="` + uri + `"><ds:Transforms>` + transforms + `</ds:Transforms>` +
			`<ds:DigestMethod Algorithm="` + digests[(i/3)%3] + `"/><ds:DigestValue/></ds:Reference></ds:SignedInfo><ds:SignatureValue/>` +
			`<ds:KeyInfo><ds:X509Data><ds:X509Certificate/></ds:X509Data></ds:KeyInfo></ds:Signature>`
		doc := interopRoot + inner(seed) + template + `</p:r>`
		if i%3 == 0 {
			doc = interopRoot + template + inner(seed) + `</p:r>`
		}
		signed := x.sign(t, "<!-- before -->\n"+doc+"<!-- after -->")
		s, err := xmlsig.Verify(signed, xmlsig.Options{})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, signed)
		}
		if got := s.Signatures()[0].Algorithm; got != methods[i%3] {
			t.Errorf("seed %d: algorithm %s", seed, got)
		}
		for c := range s.Root().Children() {
			if c.Is(dsig, "Signature") {
				t.Errorf("seed %d: the view shows the signature", seed)
			}
		}
	}
}

// goxmldsig agrees where it can. Left out because it gets them wrong: comments, attributes of
// several namespaces, xml:* attributes, TAB and LF in attributes, and prefix lists, which it
// signs with but does not write down.
func TestGoxmldsigAgrees(t *testing.T) {
	cert, err := x509.ParseCertificate(alice().cert)
	if err != nil {
		t.Fatal(err)
	}
	store := dsiglib.TLSCertKeyStore(tls.Certificate{Certificate: [][]byte{alice().cert}, PrivateKey: alice().rsa})
	canonicalizers := map[string]dsiglib.Canonicalizer{
		"c14n 1.0": dsiglib.MakeC14N10RecCanonicalizer(), "c14n 1.1": dsiglib.MakeC14N11Canonicalizer(),
		"exclusive": dsiglib.MakeC14N10ExclusiveCanonicalizerWithPrefixList(""),
	}
	for i := range 20 {
		xml := fmt.Sprintf(`<f:form xmlns:f="urn:f" xmlns="urn:d" xmlns:p="urn:p" Id="x%d"><iin>0000</iin><p:note b="2" a="1&lt;">жер &amp; үй%s</p:note></f:form>`, i, numbered("<row n=\"%d\"/>", i))
		out := mustSign(t, xml, alice(), xmlsig.SignOptions{})
		ctx := dsiglib.NewDefaultValidationContext(&dsiglib.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(out); err != nil {
			t.Fatal(err)
		}
		if _, err := ctx.Validate(doc.Root()); err != nil {
			t.Errorf("document %d: goxmldsig refuses: %v", i, err)
		}
		for name, c := range canonicalizers {
			doc := etree.NewDocument()
			if err := doc.ReadFromString(xml); err != nil {
				t.Fatal(err)
			}
			sctx := dsiglib.NewDefaultSigningContext(store)
			sctx.Canonicalizer, sctx.IdAttribute = c, "Id"
			signed, err := sctx.SignEnveloped(doc.Root())
			if err != nil {
				t.Fatal(err)
			}
			doc.SetRoot(signed)
			b, err := doc.WriteToBytes()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := xmlsig.Verify(b, xmlsig.Options{}); err != nil {
				t.Errorf("document %d, %s: we refuse: %v", i, name, err)
			}
		}
	}
}

// xml:base of several ancestors is joined for SignedInfo and Body in Canonical XML 1.1 and the
// nearest one taken in 1.0, as xmlsec1 does.
func TestInheritedBaseIsThatOfXMLSec(t *testing.T) {
	x := newXMLSec(t)
	tests := []struct{ name, envelope, header, security string }{
		{"one", `xml:base="http://example.kz/a/b"`, ``, ``},
		{"relative to absolute", `xml:base="http://example.kz/a/b"`, `xml:base="c/d"`, `xml:base="e"`},
		{"upwards", `xml:base="http://example.kz/a/b/c/d"`, `xml:base="../x/"`, `xml:base="./y?q=1"`},
		{"a rooted path", `xml:base="http://example.kz/a/b"`, ``, `xml:base="/z/"`},
		{"another host", `xml:base="http://example.kz/a"`, ``, `xml:base="//example.org/b"`},
		{"absolute inside", `xml:base="http://example.kz/a"`, `xml:base="http://example.org/x/y"`, ``}, // libxml2 leaves dot segments here, RFC 3986 §5.2.2 does not
		{"relative only", `xml:base="a/b/c"`, `xml:base="../d/"`, `xml:base="e?q"`},
		{"above a relative base", `xml:base="a/"`, `xml:base="../../b/"`, ``},
		{"language and space", `xml:lang="kk" xml:space="preserve"`, `xml:lang="ru"`, `xml:space="default"`},
	}
	for _, tt := range tests {
		for _, method := range []string{xmlsig.C14N11, xmlsig.C14N10} {
			t.Run(tt.name, func(t *testing.T) {
				doc := `<S:Envelope xmlns:S="` + soap + `" ` + tt.envelope + `><S:Header ` + tt.header + `><wsse:Security xmlns:wsse="` + wsse + `" ` + tt.security + `>` +
					`<ds:Signature xmlns:ds="` + dsig + `"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + method + `"/><ds:SignatureMethod Algorithm="` + xmlsig.RSASHA256 + `"/>` +
					`<ds:Reference URI="#id-1"><ds:Transforms>` + transform(method) + `</ds:Transforms><ds:DigestMethod Algorithm="` + xmlsig.DigestSHA256 + `"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>` +
					`<ds:SignatureValue/><ds:KeyInfo><wsse:SecurityTokenReference><wsse:KeyIdentifier ValueType="` + x509v3 + `">` + alice().certBase64() + `</wsse:KeyIdentifier></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>` +
					`</wsse:Security></S:Header><S:Body Id="id-1" xml:base="body/">x</S:Body></S:Envelope>`
				signed := x.sign(t, doc)
				if _, err := xmlsig.Verify(signed, xmlsig.Options{Profile: xmlsig.ProfileWSSE}); err != nil {
					t.Fatalf("%v\n%s", err, signed)
				}
			})
		}
	}
}
