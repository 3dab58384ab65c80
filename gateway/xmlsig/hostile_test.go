package xmlsig_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/growth"
	"egov-gateway/gateway/xmlsig"
)

// hostile are shapes that grow to any size; each is about 1 MiB at most.
var hostile = []struct {
	name  string
	limit xmlsig.Limits
	make  func(size int) string
}{
	{"open tags", xmlsig.Limits{Depth: 1 << 20}, func(n int) string { return strings.Repeat("<a>", n/3) }},
	{"deep elements", xmlsig.Limits{Depth: 1 << 20}, func(n int) string { return strings.Repeat("<a>", n/7) + strings.Repeat("</a>", n/7) }},
	{"empty elements", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("<a/>", n/4) + "</r>" }},
	{"attributes of one element", xmlsig.Limits{Attributes: 1 << 20}, func(n int) string { return "<r" + numbered(` a%d=""`, n/11) + "/>" }},
	{"attributes in falling order", xmlsig.Limits{Attributes: 1 << 20}, func(n int) string {
		var b strings.Builder
		for i := n / 13; i > 0; i-- {
			fmt.Fprintf(&b, ` a%07d=""`, i)
		}
		return "<r" + b.String() + "/>"
	}},
	{"64 long attribute names", xmlsig.Limits{}, func(n int) string {
		var b strings.Builder
		for i := range 64 {
			fmt.Fprintf(&b, ` %s%02d=""`, strings.Repeat("a", n/64), 63-i)
		}
		return "<r" + b.String() + "/>"
	}},
	{"declarations of one element", xmlsig.Limits{Namespaces: 1 << 20}, func(n int) string { return "<r" + numbered(` xmlns:a%[1]d="urn:%[1]d"`, n/32) + "/>" }},
	{"declarations side by side", xmlsig.Limits{}, func(n int) string { return "<r>" + numbered(`<p:a xmlns:p="urn:%d"/>`, n/26) + "</r>" }},
	{"prefixes side by side", xmlsig.Limits{}, func(n int) string {
		var b strings.Builder
		for i := range n / 34 {
			fmt.Fprintf(&b, `<p%d:a xmlns:p%d="urn:p"/>`, i, i)
		}
		return "<r>" + b.String() + "</r>"
	}},
	{"namespaces with references", xmlsig.Limits{}, func(n int) string { return "<r>" + numbered(`<a xmlns="urn:&#x41;%d"/>`, n/30) + "</r>" }},
	{"comments", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("<!---->", n/7) + "</r>" }},
	{"one comment", xmlsig.Limits{}, func(n int) string { return "<r><!--" + strings.Repeat("- ", n/2) + "--></r>" }},
	{"open comments", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("<!--", n/4) }},
	{"CDATA sections", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("<![CDATA[]]>", n/12) + "</r>" }},
	{"brackets", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("]", n) + "</r>" }},
	{"one name", xmlsig.Limits{}, func(n int) string { return "<" + strings.Repeat("n", n) + "/>" }},
	{"one prefix", xmlsig.Limits{}, func(n int) string { p := strings.Repeat("p", n/3); return "<" + p + ":a xmlns:" + p + `="urn:p"/>` }},
	{"references", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("&#9;", n/4) + "</r>" }},
	{"one reference", xmlsig.Limits{}, func(n int) string { return "<r>&#" + strings.Repeat("0", n) + "65;</r>" }},
	{"ampersands", xmlsig.Limits{}, func(n int) string { return `<r a="` + strings.Repeat("&amp;", n/5) + `"/>` }},
	{"carriage returns", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("\r", n) + "</r>" }},
	{"white space in a tag", xmlsig.Limits{}, func(n int) string { return "<r" + strings.Repeat(" ", n) + "/>" }},
	{"Cyrillic text", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("ж", n/2) + "</r>" }},
	{"four-byte text", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat("😀", n/4) + "</r>" }},
	{"Ids", xmlsig.Limits{}, func(n int) string { return "<r>" + strings.Repeat(`<a Id="&#x78;"/>`, n/16) + "</r>" }},
	{"signatures", xmlsig.Limits{}, func(n int) string {
		return `<r xmlns="` + dsig + `">` + strings.Repeat(`<Signature/>`, n/12) + "</r>"
	}},
	{"transforms", xmlsig.Limits{}, func(n int) string {
		return `<r><ds:Signature xmlns:ds="` + dsig + `"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + xmlsig.C14N10 + `"/><ds:SignatureMethod Algorithm="` + xmlsig.RSASHA256 + `"/>` +
			`<ds:Reference URI=""><ds:Transforms>` + strings.Repeat(`<ds:Transform/>`, n/15) + `</ds:Transforms></ds:Reference></ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo/></ds:Signature></r>`
	}},
}

// A hostile megabyte costs per byte no more than four times what a sixteenth of it costs, and, if
// the default limits let it in, no more than four times what a dense form costs: time is linear
// and the stack does not grow.
func TestHostileInputIsLinear(t *testing.T) {
	const large, small = 1<<20 - 4096, (1<<20 - 4096) / 16
	run := func(doc []byte, l xmlsig.Limits) time.Duration {
		return fastest(func() {
			if d, err := xmlsig.Scan(doc, l); err == nil {
				d.Release()
			}
			for _, p := range []xmlsig.Profile{xmlsig.ProfileDocument, xmlsig.ProfileCoSigned} {
				if s, err := xmlsig.Verify(doc, xmlsig.Options{Limits: l, Profile: p}); err == nil {
					s.Release()
				}
			}
			if l == (xmlsig.Limits{MaxBytes: 1 << 21}) {
				xmlsig.Canonicalize(xmlsig.C14N10Comments, doc)
				xmlsig.Canonicalize(xmlsig.ExcC14NComments, doc)
			}
		})
	}
	dense := benchDocuments(t)[3].doc
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			defaults := h.limit == (xmlsig.Limits{})
			h.limit.MaxBytes = 1 << 21
			doc, part := []byte(h.make(large)), []byte(h.make(small))
			if len(doc) > 1<<20 || len(doc) < 1<<18 {
				t.Fatalf("the document has %d bytes", len(doc))
			}
			if growth.RaceDetector {
				run(part, h.limit)
				t.Skip("times mean nothing under the race detector")
			}
			perByte := func(doc []byte, l xmlsig.Limits) float64 {
				return float64(run(doc, l).Nanoseconds()) / float64(len(doc))
			}
			var whole, piece, normal float64
			for range 8 { // a busy machine gets more than one chance
				whole, piece, normal = perByte(doc, h.limit), perByte(part, h.limit), perByte(dense, xmlsig.Limits{MaxBytes: 1 << 21})
				if whole < max(4*piece, 1) && whole < 4*normal {
					break
				}
			}
			t.Logf("%.1f ns per byte, %.1f at a sixteenth of the size, %.1f for a dense form", whole, piece, normal)
			if whole >= max(4*piece, 1) {
				t.Errorf("%.1f ns per byte, %.1f at a sixteenth of the size", whole, piece)
			}
			if defaults && whole >= 4*normal {
				t.Errorf("%.1f ns per byte, %.1f for a dense form", whole, normal)
			}
		})
	}
}

// A verdict does not depend on what was verified before, nor on what is verified at the same time.
func TestVerdictsAreIndependent(t *testing.T) {
	type job struct {
		doc  []byte
		o    xmlsig.Options
		want gateway.Reason
	}
	cache := xmlsig.NewCertificateCache(2) // so small that it forgets all the time
	s := seed{}.sign(t)
	bad := []byte(strings.Replace(s.String(), "000000000000", "111111111111", 1))
	jobs := []job{
		{[]byte(s.String()), xmlsig.Options{}, ""},
		{bad, xmlsig.Options{}, gateway.DigestMismatch},
		{[]byte(s.String()), xmlsig.Options{Certificates: cache}, ""},
		{bad, xmlsig.Options{Certificates: cache}, gateway.DigestMismatch},
		{[]byte(`<r>`), xmlsig.Options{}, gateway.DocumentMalformed},
		{[]byte(seed{by: bob(), info: xmlsig.ExcC14N, method: xmlsig.ExcC14N}.sign(t).String()), xmlsig.Options{Certificates: cache}, ""},
		{[]byte(seed{by: mallory(), scope: ` xml:lang="kk" xmlns:q="urn:q"`}.sign(t).String()), xmlsig.Options{Certificates: cache}, ""},
		{mustSign(t, message, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE}), xmlsig.Options{Profile: xmlsig.ProfileWSSE, Certificates: cache}, ""},
		{[]byte(s.String()), xmlsig.Options{Profile: xmlsig.ProfileWSSE}, gateway.SignatureReference},
	}
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				j := jobs[(i*(g+1)+g)%len(jobs)]
				v, err := xmlsig.Verify(j.doc, j.o)
				if got := gateway.ReasonOf(err); got != j.want {
					errs <- fmt.Errorf("job %d: got %q, want %q", (i*(g+1)+g)%len(jobs), got, j.want)
					return
				}
				if err == nil {
					if v.Root().Local() == "" {
						errs <- errors.New("an empty view")
						return
					}
					if i%2 == 0 {
						v.Release()
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// In steady state a verification allocates its result and little more, whatever the document.
func TestVerifyAllocatesLittle(t *testing.T) {
	if growth.RaceDetector {
		t.Skip("pools are emptied at random under the race detector")
	}
	cache := xmlsig.NewCertificateCache(0)
	for i, by := range []*signer{alice(), alice(), gulnar(), oral()} {
		rows := []int{10, 1000, 100, 100}[i]
		doc := []byte(seed{content: numbered(`<row n="%d">жер</row>`, rows), by: by}.sign(t).String())
		verify := func() {
			s, err := xmlsig.Verify(doc, xmlsig.Options{Certificates: cache, AllowGOST2004: true})
			if err != nil {
				t.Fatal(err)
			}
			s.Release()
		}
		verify()
		scanOnly := testing.AllocsPerRun(100, func() {
			d, err := xmlsig.Scan(doc, xmlsig.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			d.Release()
		})
		if scanOnly > 1 {
			t.Errorf("%d rows: a scan makes %.0f allocations", rows, scanOnly)
		}
		if n := testing.AllocsPerRun(100, verify); n > 2 {
			t.Errorf("%s, %d rows: a verification makes %.0f allocations", by.kind(), rows, n)
		} else {
			t.Logf("%s, %d rows: %.0f allocations", by.kind(), rows, n)
		}
	}
}
