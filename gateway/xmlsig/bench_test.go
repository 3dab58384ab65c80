package xmlsig_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsiglib "github.com/russellhaering/goxmldsig"

	"egov-gateway/gateway/xmlsig"
)

// benchDocuments are a small form, a large one, one with much text and one with many elements.
// The dense one has its signature first, because goxmldsig refuses it last.
func benchDocuments(t testing.TB) []struct {
	name string
	doc  []byte
} {
	field := func(i int) string {
		return fmt.Sprintf("  <field name=\"f%d\" type=\"text\">мән %d</field>\n", i, i)
	}
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(field(i))
		}
		return b.String()
	}
	start := `<form xmlns="urn:egov-gateway:form:1" Id="f">` + "\n"
	text := strings.Repeat("Тұрғын үй көмегін тағайындау туралы өтініш. Application for housing aid, 2026.\n", 2000)
	build := func(content string, first bool) []byte {
		return []byte(seed{start: start, content: content, end: `</form>`, scope: ` xmlns="urn:egov-gateway:form:1"`, first: first}.sign(t).String())
	}
	return []struct {
		name string
		doc  []byte
	}{
		{"4KB", build(fields(40), false)},
		{"23KB", build(fields(408), false)},
		{"200KB-text", build("<text>"+text+"</text>", false)},
		{"200KB-dense", build(fields(4000), true)},
	}
}

// BenchmarkVerify compares with goxmldsig on etree in the same run: times-goxmldsig is how many
// times longer that takes, limit-share how much of our time is one RSA verification and one
// SHA-256 of the bytes, which nobody can do without.
func BenchmarkVerify(b *testing.B) {
	cert, err := x509.ParseCertificate(alice().cert)
	if err != nil {
		b.Fatal(err)
	}
	store := &dsiglib.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}}
	digest := sha256.Sum256([]byte("x"))
	sig := alice().sign(b, crypto.SHA256, []byte("x"))
	for _, d := range benchDocuments(b) {
		b.Run(d.name, func(b *testing.B) {
			cache := xmlsig.NewCertificateCache(0)
			peer := median(func() {
				doc := etree.NewDocument()
				if err := doc.ReadFromBytes(d.doc); err != nil {
					b.Fatal(err)
				}
				if _, err := dsiglib.NewDefaultValidationContext(store).Validate(doc.Root()); err != nil {
					b.Fatal(err)
				}
			})
			limit := median(func() {
				if err := rsa.VerifyPKCS1v15(&alice().rsa.PublicKey, crypto.SHA256, digest[:], sig); err != nil {
					b.Fatal(err)
				}
				sha256.Sum256(d.doc)
			})
			b.SetBytes(int64(len(d.doc)))
			b.ReportAllocs()
			for b.Loop() {
				s, err := xmlsig.Verify(d.doc, xmlsig.Options{Certificates: cache})
				if err != nil {
					b.Fatal(err)
				}
				s.Release()
			}
			own := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(float64(peer.Nanoseconds())/own, "times-goxmldsig")
			b.ReportMetric(100*float64(limit.Nanoseconds())/own, "%limit-share")
		})
	}
}

func median(f func()) time.Duration {
	var all []time.Duration
	for start := time.Now(); len(all) < 5 || time.Since(start) < 300*time.Millisecond; {
		one := time.Now()
		f()
		all = append(all, time.Since(one))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func BenchmarkScan(b *testing.B) {
	for _, d := range benchDocuments(b) {
		b.Run(d.name, func(b *testing.B) {
			b.SetBytes(int64(len(d.doc)))
			b.ReportAllocs()
			for b.Loop() {
				s, err := xmlsig.Scan(d.doc, xmlsig.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				s.Release()
			}
		})
	}
}
