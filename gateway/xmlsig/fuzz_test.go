package xmlsig_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

func addSeeds(f *testing.F) {
	for i := range 40 {
		f.Add([]byte(generate(uint64(i), i%2 == 0)))
	}
	for _, s := range []string{
		``, `<`, `<a`, `<a/>`, `<a b="`, `<a>&#`, `<a><![CDATA[`, `<!--`, `<!DOCTYPE a>`, `<?xml version="1.0"?>`,
		"\xEF\xBB\xBF<a/>", "\xFF\xFE<\x00", `<a:b:c/>`, `<a xmlns:p="">`, `<a></b>`, `<a>]]></a>`,
		`<:a/>`, `<a: xmlns:a="urn:a"/>`, `<a x:="" xmlns:x="urn:x"/>`, `<x::Root/>`, // CVE-2020-29509, -29510, -29511
	} {
		f.Add([]byte(s))
	}
}

// What Scan accepts, encoding/xml accepts too and sees the same elements and text.
func FuzzScan(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := xmlsig.Scan(doc, xmlsig.Limits{})
		if err != nil {
			if gateway.ReasonOf(err) == gateway.Internal {
				t.Fatalf("an error without a reason: %v", err)
			}
			return
		}
		var elements, depth int
		var text bytes.Buffer
		walk(d.Root(), &elements, &text)
		dec := xml.NewDecoder(bytes.NewReader(doc))
		var want int
		for {
			tok, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return // it knows the names of XML 1.0 4th edition only
			}
			switch tok.(type) {
			case xml.StartElement:
				want++
				depth++
			case xml.EndElement:
				depth--
			}
		}
		if elements != want || depth != 0 {
			t.Fatalf("%d elements, encoding/xml sees %d", elements, want)
		}
		d.Release()
	})
}

func walk(e xmlsig.Element, n *int, text *bytes.Buffer) {
	*n++
	text.WriteString(e.Text())
	e.HasText()
	e.Line()
	e.Source()
	for range e.Attrs() {
	}
	for c := range e.Children() {
		walk(c, n, text)
	}
}

// A canonical form is its own canonical form, shows the same document, and Scan and
// Canonicalize accept the same bytes.
func FuzzCanonicalize(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, scanErr := xmlsig.Scan(doc, xmlsig.Limits{})
		for _, m := range []string{xmlsig.C14N10, xmlsig.C14N10Comments, xmlsig.C14N11, xmlsig.ExcC14N, xmlsig.ExcC14NComments} {
			once, err := xmlsig.Canonicalize(m, doc)
			if scanErr == nil && gateway.ReasonOf(err) == gateway.DocumentLimit {
				continue // its canonical form is larger than three of it
			}
			if gateway.ReasonOf(err) != gateway.ReasonOf(scanErr) {
				t.Fatalf("%s: %v, Scan says %v", m, err, scanErr)
			}
			if err != nil {
				return
			}
			twice, err := xmlsig.Canonicalize(m, once)
			if gateway.ReasonOf(err) == gateway.DocumentLimit {
				continue // exclusive form may repeat declarations
			}
			if err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%s: %v\n%q\n%q", m, err, once, twice)
			}
			again, err := xmlsig.Scan(once, xmlsig.Limits{MaxBytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			if a, b := shape(d.Root()), shape(again.Root()); a != b {
				t.Fatalf("%s changes the document\n%s\n%s", m, a, b)
			}
		}
	})
}

// shape is what a form rule can see of an element, with attributes in no order.
func shape(e xmlsig.Element) string {
	var b bytes.Buffer
	b.WriteString("{" + e.Space() + "}" + e.Local() + "(" + e.Text() + ")")
	n := 0
	for name := range e.Attrs() {
		n += len(name.Space) + len(name.Local)
		v, _ := e.Attr(name.Space, name.Local)
		n += len(v)
	}
	b.WriteByte(byte(n))
	for c := range e.Children() {
		b.WriteString(shape(c))
	}
	return b.String()
}

// No change of a signed document is accepted that changes what is shown.
func FuzzVerify(f *testing.F) {
	s := seed{}.sign(f)
	message := mustSign(f, message, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})
	f.Add([]byte(s.String()))
	f.Add([]byte(seed{first: true, info: xmlsig.ExcC14N}.sign(f).String()))
	f.Add(mustSign(f, s.start+s.content+s.end, bob(), xmlsig.SignOptions{Layout: xmlsig.LayoutKalkan}))
	f.Add(message)
	f.Add([]byte(seed{by: gulnar()}.sign(f).String()))
	f.Add([]byte(seed{by: oral(), first: true}.sign(f).String()))
	f.Add(mustSign(f, s.String(), bob(), xmlsig.SignOptions{Profile: xmlsig.ProfileCoSigned}))
	known := map[[32]byte]bool{}
	for _, o := range []xmlsig.Options{{}, {Profile: xmlsig.ProfileWSSE}} {
		for _, doc := range [][]byte{[]byte(s.String()), message} {
			if v, err := xmlsig.Verify(doc, o); err == nil {
				known[v.ContentSHA256()] = true
			}
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, p := range []xmlsig.Profile{xmlsig.ProfileDocument, xmlsig.ProfileCoSigned, xmlsig.ProfileWSSE} {
			v, err := xmlsig.Verify(doc, xmlsig.Options{Profile: p, AllowGOST2004: true})
			if err != nil {
				if gateway.ReasonOf(err) == gateway.Internal {
					t.Fatalf("an error without a reason: %v", err)
				}
				continue
			}
			if !known[v.ContentSHA256()] && bytes.Equal(v.Signatures()[0].Certificate.Raw, alice().cert) {
				t.Fatalf("alice never signed this\n%s", doc)
			}
			var n int
			var text bytes.Buffer
			walk(v.Root(), &n, &text)
		}
	})
}

// An explanation never fails on what Verify takes apart, and its cause is true of its own words:
// it exists exactly for a wrong digest.
func FuzzExplain(f *testing.F) {
	for _, s := range []seed{{}, {first: true, method: xmlsig.ExcC14N}, {start: `<p:r xmlns:p="urn:p" xmlns = 'urn:d' a=" xmlns:p=">`, scope: ` xmlns:p="urn:p" xmlns="urn:d"`, end: `</p:r>`}} {
		doc := s.sign(f).String()
		f.Add([]byte(doc))
		f.Add([]byte(replace(f, doc, "000000000000", "1")))
		f.Add([]byte(replace(f, doc, "<note", "\n <note")))
	}
	f.Add([]byte(replace(f, string(mustSign(f, message, alice(), xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})), "<data>", "<data>\r\n")))
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, p := range []xmlsig.Profile{xmlsig.ProfileDocument, xmlsig.ProfileCoSigned, xmlsig.ProfileWSSE} {
			o := xmlsig.Options{Profile: p}
			_, want := xmlsig.Verify(doc, o)
			x, err := xmlsig.Explain(doc, o)
			if gateway.ReasonOf(err) != gateway.ReasonOf(want) || (x != nil) != (gateway.ReasonOf(err) == gateway.DigestMismatch) {
				t.Fatalf("%v, %v; Verify says %v", x, err, want)
			}
			if x != nil && x.String() == "" {
				t.Fatal("nothing is said")
			}
		}
	})
}
