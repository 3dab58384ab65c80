package verification

import (
	"context"

	"egov-gateway/gateway"
	"egov-gateway/gateway/identity"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
)

// A passed is a certificate that passed all checks before. It holds what can never change
// while its path is the same; validity, purpose, the person asked for and revocation are
// judged each time anew.
type passed struct {
	path    *trust.Path // as the store remembers it: another generation of anchors has others
	holder  identity.Holder
	signers []gateway.Signer
	checks  [3][]gateway.Check // by method of the evidence
}

// methods are those of evidence, in the order of passed.checks.
func methodIndex(m string) int {
	switch m {
	case revocation.MethodOCSP:
		return 0
	case revocation.MethodCRL:
		return 1
	case revocation.MethodDelta:
		return 2
	}
	return -1
}

// again judges a certificate that comes again without allocating anything. ok is false when
// there is something to be said that was not said before.
func (v *Verifier) again(ctx context.Context, c *trust.Certificate, j *trust.Judgement, w *Want) (out Outcome, ok bool) {
	if j.Path == nil || j.ValidityErr != nil || j.PurposeErr != nil || v.c.Revocation == nil || !w.Proven.IsZero() {
		return out, false
	}
	p, ok := v.seen.Get(c.Fingerprint())
	if !ok || p.path != j.Path || !p.names(w) {
		return out, false
	}
	ev, err := v.c.Revocation.Check(ctx, j.Path, w.At)
	i := methodIndex(ev.Method)
	if err != nil || i < 0 || !ev.RevokedLater.IsZero() {
		return out, false
	}
	return Outcome{Verdict: gateway.Verdict{At: w.At, Checks: p.checks[i], Signers: p.signers}, Holder: p.holder, Evidence: ev}, true
}

// names reports whether the holder is whom the caller wants (see bind).
func (p *passed) names(w *Want) bool {
	switch {
	case !w.Citizen.IsZero():
		return p.holder.Kind == identity.Person && p.holder.IIN.Equal(w.Citizen)
	case !w.Organisation.IsZero():
		return p.holder.Kind != identity.Person && p.holder.BIN.Equal(w.Organisation)
	}
	return true
}

// remember keeps a certificate that passed all checks below a remembered path.
func (v *Verifier) remember(c *trust.Certificate, path *trust.Path, out *Outcome) {
	if methodIndex(out.Evidence.Method) < 0 || out.Holder.Kind == "" || !out.Evidence.RevokedLater.IsZero() {
		return
	}
	for _, k := range out.Verdict.Checks {
		if k.Status != gateway.Verified {
			return
		}
	}
	p := &passed{path: path, holder: out.Holder, signers: out.Verdict.Signers}
	for _, method := range []string{revocation.MethodOCSP, revocation.MethodCRL, revocation.MethodDelta} {
		checks := append([]gateway.Check(nil), out.Verdict.Checks...)
		checks[len(checks)-1].Evidence = method
		p.checks[methodIndex(method)] = checks
	}
	v.seen.Put(c.Fingerprint(), p, 3*5*96+1024+len(out.Verdict.Signers[0].Subject))
}
