package mint

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/xmlsig"
)

// A Trace is what is kept of a real request: codes and counts, not a word that anybody wrote. It
// holds nothing personal.
type Trace struct {
	Reason    gateway.Reason // of the refusal; "" was accepted
	Door      corpus.Door
	Algorithm string // RSA or GOST
	Bytes     int    // of the document
	Service   string // housing-aid or complaint
	Language  string // kk, ru, en
	District  string // the first four digits of the provider's KATO
	Tenure    string // owned, rented-public, rented-private
	Family    int    // members beside the applicant
	// Documents are kinds of attached copies.
	Documents      []string
	Representative bool
	// Person numbers the applicants: the same number, the same test identity.
	Person int
}

// Like makes a request of test identities that meets the same answer as the traced one; false for
// a refusal that no document can provoke.
func (g *Generator) Like(t Trace, n int) ([]Request, bool, error) {
	m := &maker{Generator: g, r: rand.New(rand.NewPCG(g.c.Seed, 1<<50|uint64(n))), id: func(k int) string { return fmt.Sprintf("%08d-%d", n, k) }}
	var out []Request
	var err error
	if t.Reason == "" {
		out, err = m.like(t)
	} else {
		scenes := slices.DeleteFunc(slices.Concat(forms(), g.signers(), g.signatures()), func(s scene) bool { return s.reason != t.Reason })
		if len(scenes) == 0 {
			return nil, false, nil
		}
		out, err = scenes[m.r.IntN(len(scenes))].make(m)
	}
	for i := range out {
		out[i].Entry.ID, out[i].Entry.Door = m.id(i), t.Door
		// What providers decide is not known.
		out[i].Entry.Outcome, out[i].Entry.Ground = "", ""
	}
	return out, true, err
}

func (m *maker) like(t Trace) ([]Request, error) {
	people := slices.DeleteFunc(slices.Clone(m.people), func(p person) bool { return p.kind != t.Algorithm })
	if len(people) == 0 {
		people = m.people
	}
	p := people[t.Person%len(people)]
	d := m.draft(p.Person, t.District+"00000")
	d.Language, d.Tenure, d.Documents = t.Language, t.Tenure, nil
	for _, kind := range t.Documents {
		d.Documents = append(d.Documents, harness.Document{Name: kind + ".pdf", Kind: kind, MediaType: "application/pdf", Data: harness.PDF(kind + " TEST ONLY")})
	}
	others := slices.DeleteFunc(slices.Clone(m.people), func(q person) bool { return q.IIN == p.IIN })
	others = slices.CompactFunc(others, func(a, b person) bool { return a.IIN == b.IIN })
	if t.Representative {
		d.Representative = &harness.Attorney{Person: d.Applicant, ValidUntil: m.c.Clock.AddDate(1, 0, 0).Format(time.DateOnly)}
		d.Applicant, others = others[0].Person, others[1:]
	}
	for _, q := range others[:min(t.Family, len(others))] {
		d.Family = append(d.Family, q.Person)
	}
	if t.Service == "complaint" {
		d.Complaint = "TEST ONLY: өтінішім қаралмады."
	}
	size := sizes[0].bytes
	for _, s := range sizes {
		if t.Bytes > s.bytes {
			size = s.bytes
		}
	}
	doc, err := xmlsig.Sign(pad(d.XML(), size), p.key, xmlsig.SignOptions{})
	e := entry("valid", "recorded", p.kind, "", "")
	e.IIN = p.IIN
	return []Request{{e, doc, d.Documents}}, err
}
