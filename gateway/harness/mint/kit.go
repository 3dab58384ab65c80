package mint

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/xmlsig"
)

// A Trial is a document for verifiers before it is written.
type Trial struct {
	Class, Comment, Algorithm string
	Document                  []byte
	IIN, Purpose, Profile     string
	At                        time.Time
	Want                      gateway.Reason
}

// Verdict is what the reason means.
func Verdict(r gateway.Reason) *corpus.Expected {
	return &corpus.Expected{Status: gateway.StatusOf(r), Reason: r}
}

// content is a document's inside: the places that attacks change, and something of everything
// that canonicalisation is about.
func content(r *rand.Rand) string {
	words := []string{"жер", "үй", "көмек", "заявление", "адрес", "Қазақстан", "a&amp;b", "&lt;&#x416;&gt;", "<![CDATA[ <x> & ]]>", "1&#13;2", "\t\r\n", "&quot;'"}
	var b strings.Builder
	b.WriteString(plainContent)
	for range r.IntN(6) {
		switch r.IntN(5) {
		case 0:
			fmt.Fprintf(&b, `<p:field xmlns:p="urn:kit:%d" b='%d' p:a="%s"/>`, r.IntN(3), r.IntN(9), []string{"x", "&#x9;", "&amp;", "ә"}[r.IntN(4)])
		case 1:
			fmt.Fprintf(&b, "<!-- %d --><row n=\"%d\">%s</row>", r.IntN(99), r.IntN(99), words[r.IntN(len(words))])
		case 2:
			fmt.Fprintf(&b, `<q xmlns="urn:kit:%d"><q xmlns=""><v>%s</v></q></q>`, r.IntN(3), words[r.IntN(len(words))])
		case 3:
			fmt.Fprintf(&b, "\n  <line>%s</line>\r\n", strings.Repeat(words[r.IntN(len(words))]+" ", 1+r.IntN(20)))
		default:
			fmt.Fprintf(&b, `<e z="1" a="2" xml:lang="kk"></e><e/>`)
		}
	}
	return b.String()
}

// crowd are the citizens of the PKI whose certificates are good, in pairs of one kind.
func (g *Generator) crowd(kind string) []*signer {
	var all []*signer
	ids := []string{"citizen-01", "citizen-02", "citizen-03", "citizen-04", "citizen-05", "citizen-06", "citizen-07", "citizen-08"}
	if kind == GOST {
		ids = []string{"gost-citizen-01", "gost-citizen-02", "gost-citizen-03", "gost-citizen-04"}
	}
	for _, id := range ids {
		all = append(all, signerOf(g.pki.Must(id)))
	}
	for i := range all {
		all[i].other = all[(i+1)%len(all)]
	}
	return all
}

// round is one pass of every attack over documents of one kind of signer.
func (g *Generator) round(n int, kind string, yield func(Trial) error) error {
	r := rand.New(rand.NewPCG(g.c.Seed, uint64(n)<<8|uint64(len(kind))))
	people, others := g.crowd(kind), g.crowd(map[string]string{RSA: GOST, GOST: RSA}[kind])
	groups := []struct {
		class   string
		attacks []attack
	}{{"wrapping", wrapping()}, {"octets", octets()}, {"structure", structure()}, {"values", values()}, {"key-info", keyInfos()},
		{"confusion", confusions([]*signer{people[n%len(people)], others[n%len(others)]}, 0)}}
	if kind == RSA {
		groups = append(groups, struct {
			class   string
			attacks []attack
		}{"algorithms", algorithms()})
		if n == 0 {
			groups = append(groups, struct {
				class   string
				attacks []attack
			}{"values", rsaValues()})
		}
	}
	for _, group := range groups {
		for _, a := range group.attacks {
			by := people[r.IntN(len(people))]
			if group.class == "confusion" {
				by = people[n%len(people)]
			}
			doc := a.make(seed{content: content(r), first: r.IntN(2) == 0, by: by}.sign())
			if err := yield(Trial{Class: group.class, Comment: a.name, Algorithm: kind, Document: []byte(doc), IIN: by.iin, Want: a.want}); err != nil {
				return err
			}
		}
	}
	return nil
}

// valid are documents that every verifier of the profile accepts.
func (g *Generator) valid(r *rand.Rand, kind string, yield func(Trial) error) error {
	people := g.crowd(kind)
	by := people[r.IntN(len(people))]
	t := Trial{Class: "valid", Algorithm: kind, IIN: by.iin}
	methods := []string{xmlsig.C14N10, xmlsig.C14N10Comments, xmlsig.ExcC14N, xmlsig.ExcC14NComments, xmlsig.C14N11, xmlsig.C14N11Comments}
	s := seed{content: content(r), first: r.IntN(2) == 0, by: by, method: methods[r.IntN(len(methods))], info: methods[r.IntN(len(methods))]}
	switch r.IntN(4) {
	case 0:
		s.scope = []string{` xmlns="urn:kit:root"`, ` xmlns:k="urn:kit:root"`, ` xmlns="urn:kit:root" xmlns:k="urn:kit:other"`}[r.IntN(3)]
	case 1:
		s.start, s.uri = `<r Id="x">`, "#x"
	}
	t.Comment = fmt.Sprintf("content by %s, SignedInfo by %s", s.method, s.info)
	t.Document = []byte(s.sign().String())
	if r.IntN(3) == 0 { // as the library signs
		e := g.pki.Must("citizen-01")
		if kind == GOST {
			e = g.pki.Must("gost-citizen-01")
		}
		k, err := xmlsig.NewKey(e.DER, e.Signer)
		if err != nil {
			return err
		}
		layout := xmlsig.Layout(r.IntN(2))
		t.IIN, t.Comment = e.IIN, fmt.Sprintf("layout %d", layout)
		if t.Document, err = xmlsig.Sign([]byte(`<r>`+s.content+`</r>`), k, xmlsig.SignOptions{Layout: layout}); err != nil {
			return err
		}
	}
	return yield(t)
}

var digestValue, signatureValue = regexp.MustCompile(`<ds:DigestValue>([^<]+)`), regexp.MustCompile(`<ds:SignatureValue>([^<]+)`)

// bit changes one character at a random place of a good document.
func (g *Generator) bit(r *rand.Rand, kind string, yield func(Trial) error) error {
	people := g.crowd(kind)
	by := people[r.IntN(len(people))]
	s := seed{content: content(r), first: r.IntN(2) == 0, by: by}.sign()
	doc := []byte(s.String())
	t := Trial{Algorithm: kind, IIN: by.iin}
	change := func(at int) {
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		old := doc[at]
		for doc[at] == old {
			doc[at] = digits[r.IntN(len(digits))]
		}
	}
	switch r.IntN(3) {
	case 0:
		at := strings.Index(string(doc), "<iin>") + 5 + r.IntN(12)
		doc[at] = byte('1' + r.IntN(9))
		t.Class, t.Comment, t.Want = "changed/content", "a digit of the content", gateway.DigestMismatch
	case 1:
		m := digestValue.FindSubmatchIndex(doc)
		change(m[2] + r.IntN(m[3]-m[2]-4)) // not among the last digits, whose unused bits are another matter
		t.Class, t.Comment, t.Want = "changed/digest", "a digit of the digest, which is signed", gateway.DigestMismatch
	default:
		m := signatureValue.FindSubmatchIndex(doc)
		change(m[2] + r.IntN(m[3]-m[2]-4))
		t.Class, t.Comment, t.Want = "changed/signature", "a digit of the signature", gateway.SignatureInvalid
	}
	t.Document = doc
	return yield(t)
}

// certificates are documents whose signature is right and whose signer is judged.
func (g *Generator) certificates(r *rand.Rand, yield func(Trial) error) error {
	sign := func(class, comment string, by *signer, want gateway.Reason, more func(*Trial)) error {
		t := Trial{Class: class, Comment: comment, Algorithm: by.kind, IIN: by.iin, Purpose: "sign-person", Want: want,
			Document: []byte(seed{content: content(r), first: r.IntN(2) == 0, by: by}.sign().String())}
		if more != nil {
			more(&t)
		}
		return yield(t)
	}
	for _, e := range g.pki.Entries() {
		switch {
		case e.Role != "citizen" && e.Role != "employee" && e.Role != "head" && e.Role != "information-system":
			continue
		case e.Role == "information-system":
			if err := sign("certificate/purpose", e.ID, signerOf(e), gateway.ExtendedKeyUsage, nil); err != nil {
				return err
			}
			continue
		}
		class := "valid"
		if e.Expect != "" {
			class = strings.SplitN(string(e.Expect), ".", 2)[0] + "/status"
		}
		if err := sign(class, e.ID+": "+e.Purpose, signerOf(e), e.Expect, nil); err != nil {
			return err
		}
	}
	one := g.pki.Must([]string{"citizen-01", "citizen-02", "citizen-05", "citizen-06"}[r.IntN(4)])
	by := signerOf(one)
	for _, x := range append(append([]issue(nil), g.leaves...), g.belows...) {
		if err := sign("certificate/made", x.name, signerOf(g.maker).with(x.cert), x.want, nil); err != nil {
			return err
		}
	}
	ca := g.office.issuing
	checks := []struct {
		class, comment string
		by             *signer
		want           gateway.Reason
		more           func(*Trial)
	}{
		{"identity/other", "another person's signature", by, gateway.IINMismatch, func(t *Trial) { t.IIN = g.pki.Must("citizen-03").IIN }},
		{"identity/other", "another person's signature, GOST", signerOf(g.pki.Must("gost-citizen-01")), gateway.IINMismatch, func(t *Trial) { t.IIN = g.pki.Must("citizen-03").IIN }},
		{"identity/other", "the head of an organisation is no citizen", signerOf(g.pki.Must("head")), gateway.NotACitizen, func(t *Trial) { t.Purpose = "any" }},
		{"identity/other", "an employee is no citizen", signerOf(g.pki.Must("employee")), gateway.NotACitizen, func(t *Trial) { t.Purpose = "any" }},
		{"certificate/purpose", "a citizen signs for an organisation", by, gateway.ExtendedKeyUsage, func(t *Trial) { t.IIN, t.Purpose = "", "sign-legal" }},
		{"certificate/purpose", "the issuing CA signs a document", signerOf(ca), gateway.SignerIsCA, nil},
		{"certificate/purpose", "a responder signs a document", signerOf(g.pki.Must("ocsp-responder")), gateway.ExtendedKeyUsage, nil},
		{"valid", "the head of a provider", signerOf(g.pki.Must("provider-sko-head")), "", func(t *Trial) { t.IIN, t.Purpose = "", "sign-legal" }},
		{"certificate/time", "ten years later", by, gateway.CertificateExpired, func(t *Trial) { t.At = g.c.Clock.AddDate(11, 0, 0) }},
		{"certificate/time", "a year earlier", by, gateway.CertificateNotYetValid, func(t *Trial) { t.At = g.c.Clock.AddDate(-1, 0, 0) }},
		{"revocation/evidence", "the evidence is too old", by, gateway.EvidenceStale, func(t *Trial) { t.At = g.c.Clock.AddDate(0, 0, 8) }},
		{"revocation/evidence", "the list was made after the instant that is judged, and names nobody", by, "", func(t *Trial) { t.At = g.c.Clock.AddDate(0, 0, -8) }},
	}
	for _, c := range checks {
		if err := sign(c.class, c.comment, c.by, c.want, c.more); err != nil {
			return err
		}
	}
	return nil
}

const envelope = `<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Header/><S:Body><m:note xmlns:m="urn:kit" n="%d">%s</m:note></S:Body></S:Envelope>`

// messages are SOAP messages signed by an information system (WS-Security).
func (g *Generator) messages(r *rand.Rand, yield func(Trial) error) error {
	e := g.pki.Must("system-portal")
	k, err := xmlsig.NewKey(e.DER, e.Signer)
	if err != nil {
		return err
	}
	signed, err := xmlsig.Sign(fmt.Appendf(nil, envelope, r.IntN(1000), "жер"), k, xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})
	if err != nil {
		return err
	}
	doc := string(signed)
	body := doc[strings.Index(doc, "<S:Body"):strings.Index(doc, "</S:Envelope>")]
	for _, m := range []struct {
		class, comment, doc string
		want                gateway.Reason
	}{
		{"valid", "a message", doc, ""},
		{"changed/content", "a message whose Body was changed", strings.Replace(doc, "жер", "су", 1), gateway.DigestMismatch},
		{"wrapping", "the signed Body inside the header", strings.Replace(strings.Replace(doc, body, `<S:Body><m:note xmlns:m="urn:kit">su</m:note></S:Body>`, 1), "<S:Header>", "<S:Header><w>"+body+"</w>", 1), ""},
		{"structure", "a message that is not signed", fmt.Sprintf(envelope, 1, "жер"), gateway.SignatureMissing},
	} {
		if m.class == "wrapping" {
			m.want = gateway.SignatureReference
		}
		if err := yield(Trial{Class: m.class, Comment: m.comment, Algorithm: RSA, Document: []byte(m.doc), Purpose: "any", Profile: "wsse", Want: m.want}); err != nil {
			return err
		}
	}
	return nil
}

// Trials makes at least n documents for verifiers.
func (g *Generator) Trials(n int, yield func(Trial) error) error {
	made := 0
	count := func(t Trial) error { made++; return yield(t) }
	for round := 0; made < n; round++ {
		r := rand.New(rand.NewPCG(g.c.Seed, uint64(round)))
		for _, kind := range []string{RSA, GOST} {
			if err := g.round(round, kind, count); err != nil {
				return err
			}
			for range 60 {
				if err := g.valid(r, kind, count); err != nil {
					return err
				}
			}
			for range 60 {
				if err := g.bit(r, kind, count); err != nil {
					return err
				}
			}
		}
		if err := g.certificates(r, count); err != nil {
			return err
		}
		if err := g.messages(r, count); err != nil {
			return err
		}
	}
	return nil
}
