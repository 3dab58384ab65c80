package xmlsig_test

import (
	"fmt"
	"strings"
	"testing"

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

func BenchmarkVerify(b *testing.B) {
	for _, d := range benchDocuments(b) {
		b.Run(d.name, func(b *testing.B) {
			cache := xmlsig.NewCertificateCache(0)
			b.SetBytes(int64(len(d.doc)))
			b.ReportAllocs()
			for b.Loop() {
				s, err := xmlsig.Verify(d.doc, xmlsig.Options{Certificates: cache})
				if err != nil {
					b.Fatal(err)
				}
				s.Release()
			}
		})
	}
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
