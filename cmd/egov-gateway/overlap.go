package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/trust"
)

// A credential is one thing by which somebody is known here. Of tokens and passwords it is the digest.
type credential struct {
	kind, party string
	sum         [sha256.Size]byte

	certificate *trust.Certificate // of a pinned certificate at SHEP's channels
	key         ed25519.PublicKey  // of a cabinet key
}

// Kinds of credentials.
const (
	portalToken     = "portals.token_file"
	portalPinned    = "portals.client_certificate"
	cabinetKey      = "portals.cabinet_key"
	providerToken   = "providers.callback_token_file"
	partnerPassword = "shep.participants.password_file"
	partnerPinned   = "certificates"
	operatorAny     = "console.operators"
)

func (c credential) String() string { return c.party + " (" + c.kind + ")" }

func (c credential) same(d credential) bool {
	return c.kind == d.kind && c.party == d.party && c.sum == d.sum
}

// credentials are all that a plan takes.
func (p *livePlan) credentials() (all []credential) {
	add := func(kind, party string, sum [32]byte) {
		if sum != [32]byte{} {
			all = append(all, credential{kind: kind, party: party, sum: sum})
		}
	}
	for _, q := range p.portals {
		add(portalToken, q.Name, q.TokenSHA256)
		add(portalPinned, q.Name, q.CertificateSHA256)
	}
	for name, keys := range p.keys {
		for _, key := range keys {
			all = append(all, credential{kind: cabinetKey, party: name, sum: sha256.Sum256(key), key: key})
		}
	}
	for _, q := range p.providers {
		add(providerToken, q.ID, q.TokenSHA256)
	}
	for _, q := range p.participants {
		add(partnerPassword, q.Name, q.PasswordSHA256)
		for _, cert := range q.Certificates {
			all = append(all, credential{kind: partnerPinned, party: q.Name, sum: cert.Fingerprint(), certificate: cert})
		}
	}
	for _, o := range p.operators {
		add(operatorAny, o.Name, o.CertificateSHA256)
		add(operatorAny, o.Name, sha256.Sum256([]byte(o.Subject)))
		add(operatorAny, o.Name, o.TokenSHA256)
	}
	return all
}

// A former credential was replaced and is still good for a while.
type former struct {
	credential
	until time.Time
}

// replaced are the credentials of was that now is without. Those whose party has got another of the same
// kind in their place come second, too: the party has renewed them, where others were taken out.
func replaced(was, now *livePlan) (gone, renewed []credential) {
	before, after := was.credentials(), now.credentials()
	for _, old := range before {
		if slices.ContainsFunc(after, old.same) {
			continue
		}
		gone = append(gone, old)
		if old.kind != operatorAny && slices.ContainsFunc(after, func(c credential) bool {
			return c.kind == old.kind && c.party == old.party && !slices.ContainsFunc(before, c.same)
		}) {
			renewed = append(renewed, old)
		}
	}
	return gone, renewed
}

// formers are those still good with the plan now: what was renewed just now, and of earlier ones those
// whose time is not over and whose party still has one of the kind.
func formers(earlier []former, renewed []credential, now *livePlan, at time.Time, overlap time.Duration) (all []former) {
	if overlap <= 0 {
		return nil
	}
	current := now.credentials()
	for _, c := range renewed {
		all = append(all, former{c, at.Add(overlap)})
	}
	for _, f := range earlier {
		has := slices.ContainsFunc(current, func(c credential) bool { return c.kind == f.kind && c.party == f.party })
		twice := slices.ContainsFunc(current, f.same) || slices.ContainsFunc(all, func(g former) bool { return g.same(f.credential) })
		if has && !twice && f.until.After(at) {
			all = append(all, f)
		}
	}
	return all
}

// with is the plan with credentials that are still good beside its own.
func (p *livePlan) with(all []former) *livePlan {
	out := *p
	out.portals, out.providers, out.participants = slices.Clone(p.portals), slices.Clone(p.providers), slices.Clone(p.participants)
	out.keys = map[string][]ed25519.PublicKey{}
	for name, keys := range p.keys {
		out.keys[name] = slices.Clone(keys)
	}
	for _, f := range all {
		switch f.kind {
		case portalToken, portalPinned:
			i := slices.IndexFunc(p.portals, func(q intake.Portal) bool { return q.Name == f.party })
			if i < 0 {
				continue
			}
			also := intake.Portal{Name: f.party, Concurrent: p.portals[i].Concurrent}
			if f.kind == portalToken {
				also.TokenSHA256 = f.sum
			} else {
				also.CertificateSHA256 = f.sum
			}
			out.portals = append(out.portals, also)
		case cabinetKey:
			out.keys[f.party] = append(out.keys[f.party], f.key)
		case providerToken:
			for i := range out.providers {
				if q := &out.providers[i]; q.ID == f.party {
					q.FormerSHA256 = append(slices.Clip(q.FormerSHA256), f.sum)
				}
			}
		case partnerPassword, partnerPinned:
			for i := range out.participants {
				q := &out.participants[i]
				if q.Name == f.party && f.kind == partnerPassword {
					q.FormerSHA256 = append(slices.Clip(q.FormerSHA256), f.sum)
				}
				if q.Name == f.party && f.kind == partnerPinned {
					q.Certificates = append(slices.Clip(q.Certificates), f.certificate)
				}
			}
		}
	}
	return &out
}

// told are credentials as the log names them: whose, and what for, never what they are.
func told(all []credential) (names []string) {
	for _, c := range all {
		if name := fmt.Sprint(c); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
