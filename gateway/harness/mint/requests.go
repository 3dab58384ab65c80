package mint

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/xmlsig"
)

// Territories of the requests: Petropavl asks for documents, Taraz and Korday do not.
const (
	petropavl = "591010000"
	taraz     = "311010000"
	korday    = "314820100"
)

// A Request is an entry for doors before it is written.
type Request struct {
	Entry       corpus.Entry
	Document    []byte
	Attachments []harness.Document
}

// Sizes of the forms and how many of a hundred have them.
var sizes = []struct{ share, bytes int }{{30, 2 << 10}, {60, 10 << 10}, {9, 100 << 10}, {1, 500 << 10}}

func size(r *rand.Rand) int {
	at := r.IntN(100)
	for _, s := range sizes {
		if at -= s.share; at < 0 {
			return s.bytes
		}
	}
	return sizes[0].bytes
}

// pad makes a form at least n bytes long, with a comment, as portals that explain their forms do.
func pad(form []byte, n int) []byte {
	lack := n - len(form) - len("<!---->")
	if lack <= 0 {
		return form
	}
	at := bytes.LastIndex(form, []byte("</"))
	const text = "TEST ONLY. Бұл түсіндірме. Это пояснение. "
	comment := strings.Repeat(text, lack/len(text)) + strings.Repeat(" ", lack%len(text))
	return slices.Concat(form[:at], []byte("<!--"+comment+"-->"), form[at:])
}

// A maker makes the entries of one scene. Everything random comes from r.
type maker struct {
	*Generator
	r  *rand.Rand
	id func(n int) string
}

func (m *maker) uuid() string {
	a, b := m.r.Uint64(), m.r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}

func (m *maker) somebody() person { return m.people[m.r.IntN(len(m.people))] }

func (m *maker) draft(p harness.Person, territory string) harness.Draft {
	d := harness.Draft{MessageID: m.uuid(), CreatedAt: m.c.Clock.Add(-time.Duration(m.r.IntN(600)) * time.Second), Language: []string{"kk", "ru"}[m.r.IntN(2)], Applicant: p, Territory: territory,
		MonthlyCost: 18000 + m.r.IntN(60)*100}
	if territory == petropavl {
		d.Documents = documents()
	}
	return d
}

// documents are the same for everybody, so that a corpus holds them once.
func documents() []harness.Document { return harness.RequiredDocuments("TEST ONLY") }

func (m *maker) territory() string { return []string{petropavl, taraz, korday}[m.r.IntN(3)] }

func entry(class, comment, kind string, reason, signed gateway.Reason) corpus.Entry {
	return corpus.Entry{Class: class, Comment: comment, Algorithm: kind, Purpose: "sign-person", Admission: Verdict(reason), Verdict: Verdict(signed)}
}

// accepted is a request that is taken.
func (m *maker) accepted(p person, d harness.Draft, comment string) ([]Request, error) {
	doc, err := xmlsig.Sign(pad(d.XML(), size(m.r)), p.key, xmlsig.SignOptions{Layout: xmlsig.Layout(m.r.IntN(2))})
	e := entry("valid", comment, p.kind, "", "")
	e.IIN, e.Applicant, e.Outcome, e.Ground = p.IIN, d.Applicant.IIN, p.outcome, p.ground
	if d.Complaint != "" {
		e.Outcome, e.Ground = gateway.ResultAnswer, ""
	}
	return []Request{{e, doc, d.Documents}}, err
}

// A scene makes entries.
type scene struct {
	name string
	make func(m *maker) ([]Request, error)
	once bool // large: not more than one in a corpus
	// reason of the refusal, "" for what is accepted.
	reason gateway.Reason
}

func good() []scene {
	return []scene{
		{name: "housing aid", make: func(m *maker) ([]Request, error) {
			p := m.somebody()
			return m.accepted(p, m.draft(p.Person, m.territory()), "housing aid")
		}},
		{name: "a complaint", make: func(m *maker) ([]Request, error) {
			p := m.somebody()
			d := m.draft(p.Person, petropavl)
			d.Documents, d.Complaint = nil, "Тұрғын үй көмегі туралы өтінішім қаралмады."
			return m.accepted(p, d, "a complaint")
		}},
		{name: "the same again", make: func(m *maker) ([]Request, error) {
			p := m.somebody()
			all, err := m.accepted(p, m.draft(p.Person, taraz), "sent again below")
			if err != nil {
				return nil, err
			}
			again := all[0]
			all[0].Entry.Awaited, all[0].Entry.ID = true, m.id(0)
			again.Entry.After, again.Entry.Class, again.Entry.Comment = m.id(0), "duplicate", "the same again: the first receipt"
			return append(all, again), nil
		}},
		{name: "a representative", make: func(m *maker) ([]Request, error) {
			i := m.r.IntN(4)
			p, by := m.people[i], m.people[i+2] // neighbours are one person with two keys
			d := m.draft(p.Person, taraz)
			d.Representative = &harness.Attorney{Person: by.Person, ValidUntil: m.c.Clock.AddDate(1, 0, 0).Format(time.DateOnly)}
			d.Documents = []harness.Document{{Name: "power.pdf", Kind: "power-of-attorney", MediaType: "application/pdf", Data: harness.PDF("power of attorney TEST ONLY")}}
			by.outcome, by.ground = p.outcome, p.ground
			return m.accepted(by, d, "signed by a representative")
		}},
	}
}

// refused is a form signed by key that no door takes.
func (m *maker) refused(class, comment string, key *xmlsig.Key, kind, iin string, form []byte, docs []harness.Document, reason, signed gateway.Reason) ([]Request, error) {
	doc, err := xmlsig.Sign(form, key, xmlsig.SignOptions{})
	e := entry(class, comment, kind, reason, signed)
	e.IIN = iin
	return []Request{{e, doc, docs}}, err
}

// formScene is a request of somebody good whose form, as the change leaves it, is refused.
func formScene(reason gateway.Reason, comment, territory string, change func(m *maker, d *harness.Draft), edit func(form []byte) []byte, send func(docs []harness.Document) []harness.Document) scene {
	return scene{name: comment, reason: reason, make: func(m *maker) ([]Request, error) {
		p := m.somebody()
		d := m.draft(p.Person, territory)
		if change != nil {
			change(m, &d)
		}
		form := d.XML()
		if edit != nil {
			form = edit(form)
		}
		docs := d.Documents
		if send != nil {
			docs = send(slices.Clone(docs))
		}
		class, _, _ := strings.Cut(string(reason), ".")
		return m.refused(class, comment, p.key, p.kind, p.IIN, pad(form, size(m.r)), docs, reason, "")
	}}
}

func swap(old, new string) func([]byte) []byte {
	return func(form []byte) []byte { return []byte(replace(string(form), old, new)) }
}

func forms() []scene {
	bill := harness.Document{Name: "telecom.pdf", Kind: "telecom-bill", MediaType: "application/pdf", Data: harness.PDF("telecom TEST ONLY")}
	return []scene{
		formScene(gateway.FormNamespace, "the form of no service", taraz, nil, swap(harness.HousingAid, "urn:egov-gateway:nobody:request:1"), nil),
		formScene(gateway.FormInvalid, "a wrong bank account number", taraz, func(_ *maker, d *harness.Draft) { d.IBAN = "KZ87125KZT5004100100" }, nil, nil),
		formScene(gateway.FormInvalid, "a number that is none, and an element too many", taraz, nil, swap("<rooms>2</rooms>", "<rooms>two</rooms><pool/>"), nil),
		formScene(gateway.FormInvalid, "no applicant's surname", taraz, nil, func(form []byte) []byte {
			from, to := bytes.Index(form, []byte("<surname>")), bytes.Index(form, []byte("<givenName>"))
			return slices.Concat(form[:from], form[to:])
		}, nil),
		formScene(gateway.ServiceUnknown, "a service that does not exist", taraz, func(_ *maker, d *harness.Draft) { d.Service = "no-such-service" }, nil, nil),
		formScene(gateway.TerritoryUnknown, "a territory that nobody serves", "750000000", nil, nil, nil),
		formScene(gateway.ConsentMissing, "no consent", taraz, func(_ *maker, d *harness.Draft) { d.NoConsent = true }, nil, nil),
		formScene(gateway.ConsentMissing, "consent without the identity register", taraz, func(_ *maker, d *harness.Draft) { d.Consent = harness.AllRecords[1:] }, nil, nil),
		formScene(gateway.CreatedAtRange, "made four days ago", taraz, func(m *maker, d *harness.Draft) { d.CreatedAt = m.c.Clock.AddDate(0, 0, -4) }, nil, nil),
		formScene(gateway.CreatedAtRange, "made in a month", taraz, func(m *maker, d *harness.Draft) { d.CreatedAt = m.c.Clock.AddDate(0, 1, 0) }, func(form []byte) []byte {
			return form
		}, nil),
		formScene(gateway.PortalMismatch, "another portal's form", taraz, func(_ *maker, d *harness.Draft) { d.Portal = "other.kz" }, nil, nil),
		formScene(gateway.AttachmentRequired, "no documents where some are required", petropavl, func(_ *maker, d *harness.Draft) { d.Documents = nil }, nil, nil),
		formScene(gateway.AttachmentMissing, "a listed copy is not sent", petropavl, nil, nil, func(docs []harness.Document) []harness.Document { return docs[:2] }),
		formScene(gateway.AttachmentUnexpected, "a copy is sent that is not listed", petropavl, nil, nil, func(docs []harness.Document) []harness.Document { return append(docs, bill) }),
		formScene(gateway.AttachmentDigest, "a copy is not the one that was signed", petropavl, nil, nil, func(docs []harness.Document) []harness.Document {
			docs[1].Data = harness.PDF("another bill TEST ONLY")
			return docs
		}),
		formScene(gateway.AttachmentSize, "a copy of another size", petropavl, nil, func(form []byte) []byte {
			n := len(documents()[0].Data)
			return []byte(replace(string(form), fmt.Sprintf("<size>%d</size>", n), fmt.Sprintf("<size>%d</size>", n+1)))
		}, nil),
		formScene(gateway.AttachmentType, "a copy that is no PDF", petropavl, func(_ *maker, d *harness.Draft) { d.Documents[0].Data = []byte("TEST ONLY plain text\n") }, nil, nil),
		{name: "copies beyond the limit", reason: gateway.AttachmentsTooLarge, once: true, make: formScene(gateway.AttachmentsTooLarge, "copies beyond the limit", petropavl, func(_ *maker, d *harness.Draft) {
			d.Documents[0].Data = append(harness.PDF("large TEST ONLY"), make([]byte, 5<<20)...)
		}, nil, nil).make},
		{name: "no power of attorney", reason: gateway.AttorneyMissing, make: func(m *maker) ([]Request, error) {
			p, by := m.people[0], m.people[2]
			d := m.draft(p.Person, taraz)
			d.Representative = &harness.Attorney{Person: by.Person, ValidUntil: m.c.Clock.AddDate(0, 0, -2).Format(time.DateOnly)}
			d.Documents = []harness.Document{{Name: "power.pdf", Kind: "power-of-attorney", MediaType: "application/pdf", Data: harness.PDF("power of attorney TEST ONLY")}}
			return m.refused("form", "a power of attorney that ended", by.key, by.kind, by.IIN, d.XML(), d.Documents, gateway.AttorneyMissing, "")
		}},
		{name: "the message id again", reason: gateway.ReplayConflict, make: func(m *maker) ([]Request, error) {
			p := m.somebody()
			d := m.draft(p.Person, taraz)
			all, err := m.accepted(p, d, "its message id comes again below")
			if err != nil {
				return nil, err
			}
			all[0].Entry.Awaited, all[0].Entry.ID = true, m.id(0)
			d.MonthlyCost = 99000
			more, err := m.refused("duplicate", "the message id again with other content", p.key, p.kind, p.IIN, d.XML(), nil, gateway.ReplayConflict, "")
			if err != nil {
				return nil, err
			}
			more[0].Entry.After = m.id(0)
			return append(all, more...), nil
		}},
		{name: "nothing at all", reason: gateway.BodyEmpty, make: func(m *maker) ([]Request, error) {
			return []Request{{Entry: corpus.Entry{Class: "octets", Comment: "nothing at all", Admission: Verdict(gateway.BodyEmpty)}}}, nil
		}},
		{name: "a document of more than a megabyte", reason: gateway.DocumentTooLarge, once: true, make: func(m *maker) ([]Request, error) {
			p := m.somebody()
			form := m.draft(p.Person, taraz)
			out, err := m.refused("octets", "a document of more than a megabyte", p.key, p.kind, p.IIN, pad(form.XML(), 1<<20), nil, gateway.DocumentTooLarge, "")
			if err == nil {
				out[0].Entry.Verdict = nil // the limit is the door's
			}
			return out, err
		}},
	}
}

// signers are requests for which the signer's certificate decides.
func (g *Generator) signers() []scene {
	var all []scene
	sent := func(comment, citizen, signer string, reason gateway.Reason) {
		all = append(all, scene{name: comment, reason: reason, make: func(m *maker) ([]Request, error) {
			e := m.pki.Must(citizen)
			by := m.pki.Must(signer)
			key, err := xmlsig.NewKey(by.DER, by.Signer)
			if err != nil {
				return nil, err
			}
			class, _, _ := strings.Cut(string(reason), ".")
			d := m.draft(personOf(e), taraz)
			return m.refused(class, comment, key, signerOf(by).kind, e.IIN, pad(d.XML(), size(m.r)), nil, reason, reason)
		}})
	}
	sent("another citizen's signature", "citizen-01", "citizen-02", gateway.IINMismatch)
	sent("another citizen's signature, GOST", "citizen-01", "gost-citizen-02", gateway.IINMismatch)
	sent("an employee's key", "citizen-02", "employee", gateway.ExtendedKeyUsage)
	sent("a head's key", "citizen-03", "head", gateway.ExtendedKeyUsage)
	sent("no IIN in the certificate", "citizen-01", "citizen-no-iin", gateway.IINMissing)
	sent("a responder's key", "citizen-01", "ocsp-responder", gateway.ExtendedKeyUsage)
	sent("the issuing CA's key", "citizen-01", "issuing", gateway.SignerIsCA)
	for _, e := range g.pki.Entries() {
		if e.Role == "citizen" && e.Expect != "" && e.IIN != "" && e.Expect != gateway.IINMissing && e.Expect != gateway.IINChecksum {
			sent(e.ID+": "+e.Purpose, e.ID, e.ID, e.Expect)
		}
	}
	sent("a wrong check digit in the certificate", "citizen-01", "citizen-bad-check-digit", gateway.IINChecksum)
	for _, x := range g.leaves {
		all = append(all, scene{name: x.name, reason: x.want, make: func(m *maker) ([]Request, error) {
			d := m.draft(personOf(m.maker), taraz)
			doc := formSeed(d.XML(), signerOf(m.maker).with(x.cert)).String()
			e := entry("certificate/made", x.name, RSA, x.want, x.want)
			e.IIN = m.maker.IIN
			if x.want == "" {
				e.Class, e.Applicant, e.Outcome, e.Ground = "valid", e.IIN, gateway.ResultRefusal, "income-above-threshold"
			}
			return []Request{{Entry: e, Document: []byte(doc)}}, nil
		}})
	}
	return all
}

// formSeed signs a form here, so that the certificate may be one that no library would sign with.
func formSeed(form []byte, by *signer) seed {
	open, end := bytes.IndexByte(form, '>')+1, bytes.LastIndex(form, []byte("</"))
	start := string(form[:open])
	return seed{start: start, content: string(form[open:end]), end: string(form[end:]), scope: start[strings.Index(start, " xmlns") : len(start)-1], by: by}.sign()
}

// signatures has one scene for each reason of an attack on the signature or the document; which
// attack it is, and whose key it is made with, the seed decides.
func (g *Generator) signatures() []scene {
	byReason := map[gateway.Reason][]attack{}
	var order []gateway.Reason
	groups := slices.Concat(wrapping(), octets(), structure(), values(), keyInfos(), confusions([]*signer{g.crowd(RSA)[0], g.crowd(GOST)[0]}, 0))
	for _, a := range groups {
		if a.want == "" {
			continue
		}
		if byReason[a.want] == nil {
			order = append(order, a.want)
		}
		byReason[a.want] = append(byReason[a.want], a)
	}
	var all []scene
	for _, reason := range order {
		all = append(all, scene{name: string(reason), reason: reason, make: func(m *maker) ([]Request, error) {
			kind := []string{RSA, GOST}[m.r.IntN(2)]
			if reason == gateway.SignatureKeyMismatch {
				kind = RSA // those attacks are made for one signer
			}
			people := m.crowd(kind)
			by := people[m.r.IntN(len(people))]
			if kind == RSA && reason == gateway.SignatureKeyMismatch {
				by = people[0]
			}
			a := byReason[reason][m.r.IntN(len(byReason[reason]))]
			if reason == gateway.SignatureAlgorithm && kind == GOST {
				by, kind = g.crowd(RSA)[0], RSA
			}
			doc := a.make(seed{content: content(m.r), first: m.r.IntN(2) == 0, by: by}.sign())
			class, _, _ := strings.Cut(string(reason), ".")
			e := entry(class, a.name, kind, reason, reason)
			e.IIN = by.iin
			return []Request{{Entry: e, Document: []byte(doc)}}, nil
		}})
	}
	return all
}

// RefusedShare of a corpus' entries, of a hundred, after one of every kind.
const RefusedShare = 30

// Requests makes n entries or a few more: first one of every scene, then good ones and others as
// the seed decides. Workers is how many are made side by side.
func (g *Generator) Requests(n, workers int, yield func(Request) error) error {
	valid, bad := good(), slices.Concat(forms(), g.signers(), g.signatures())
	every := slices.Concat(valid, bad)
	bad = slices.DeleteFunc(bad, func(s scene) bool { return s.once })
	batch := func(i int) ([]Request, error) {
		r := rand.New(rand.NewPCG(g.c.Seed, 1<<40|uint64(i)))
		m := &maker{Generator: g, r: r, id: func(k int) string { return fmt.Sprintf("%08d-%d", i, k) }}
		var s scene
		switch {
		case i < len(every):
			s = every[i]
		case r.IntN(100) < RefusedShare:
			s = bad[r.IntN(len(bad))]
		case r.IntN(20) == 0:
			s = valid[1+r.IntN(len(valid)-1)]
		default:
			s = valid[0]
		}
		out, err := s.make(m)
		if err != nil {
			return nil, fmt.Errorf("mint: %s: %w", s.name, err)
		}
		for k := range out {
			out[k].Entry.ID = m.id(k)
		}
		return out, nil
	}
	return inOrder(workers, n, batch, yield)
}
