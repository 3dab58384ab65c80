// Package verification puts the six checks of a signed document together: signature, path,
// validity, purpose, identity, revocation. The doors, the command line and the tests run
// this same code; each check itself is the business of its own package.
package verification

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/identity"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

// Revocation proves that no certificate of a path was revoked; [revocation.Checker] is one.
type Revocation interface {
	Check(ctx context.Context, path *trust.Path, at time.Time) (revocation.Evidence, error)
}

// Proving is a Revocation that also judges by what was proven earlier ([Want.Proven]).
type Proving interface {
	CheckProven(ctx context.Context, path *trust.Path, at, proven time.Time) (revocation.Evidence, error)
}

// Steady is a Revocation that watches the clock. While it returns an error, no certificate is
// called expired or not yet valid.
type Steady interface{ Steady() error }

// Config is what a Verifier needs.
type Config struct {
	Trust *trust.Store // required
	// Revocation is asked for every signer. nil leaves the check out, which only the command
	// line may ask for; the service always has one.
	Revocation Revocation
	// Memory bounds the octets in which what never changes of a certificate is remembered; 0 means
	// [DefaultMemory].
	Memory int
	// AllowGOST2004 accepts the algorithms of the past; for archives only.
	AllowGOST2004 bool
	// Observe, if set, is told of every judgement.
	Observe func(v gateway.Verdict, took time.Duration)
}

// A Verifier is safe for concurrent use.
type Verifier struct {
	c     Config
	trust atomic.Pointer[trust.Store]
	cache *xmlsig.CertificateCache
	seen  *trust.Memory[*passed]
}

// DefaultMemory is enough for some ten thousand certificates.
const DefaultMemory = 16 << 20

// New makes a Verifier.
func New(c Config) (*Verifier, error) {
	if c.Trust == nil {
		return nil, errors.New("verification: Config.Trust is required")
	}
	v := &Verifier{c: c, cache: xmlsig.NewCertificateCache(0), seen: trust.NewMemory[*passed](cmp.Or(c.Memory, DefaultMemory))}
	v.trust.Store(c.Trust)
	return v, nil
}

// SetTrust replaces anchors, issuers and policies while the verifier runs. Decisions that
// begin after it returns know nothing of the old ones.
func (v *Verifier) SetTrust(s *trust.Store) { v.trust.Store(s) }

// Want says who must have signed.
type Want struct {
	At time.Time // the instant of receipt: the claimed signing time is never used
	// Proven, when set, is an earlier instant at which the document is proven to have existed, by
	// a verified timestamp or the journal (archives). Validity is then judged at that instant, and
	// what was revoked later counts as good; see [revocation.Checker.CheckProven].
	Proven  time.Time
	Purpose trust.Purpose
	Pinned  *trust.Certificate
	// Citizen or Organisation, when set, must be whom the certificate names (R4a).
	Citizen      gateway.IIN
	Organisation gateway.BIN
	Untrusted    []*trust.Certificate
}

// A Document is one whose signature verified. Only the signed view is reachable from it.
type Document struct {
	Signed *xmlsig.Signed
}

// Root is the signed content without the signature.
func (d *Document) Root() xmlsig.Element { return d.Signed.Root() }

// Content is the SHA-256 of the canonical signed bytes.
func (d *Document) Content() [32]byte { return d.Signed.ContentSHA256() }

// Open verifies the signature of a document with exactly one signature, of at most maxBytes
// bytes (R3). The error carries a Reason document.… , signature.… or certificate.… .
func (v *Verifier) Open(doc []byte, maxBytes int) (*Document, error) {
	return v.OpenAs(doc, maxBytes, xmlsig.ProfileDocument)
}

// OpenAs is Open under another profile.
func (v *Verifier) OpenAs(doc []byte, maxBytes int, profile xmlsig.Profile) (*Document, error) {
	s, err := xmlsig.Verify(doc, xmlsig.Options{Profile: profile, Limits: xmlsig.Limits{MaxBytes: maxBytes}, Certificates: v.cache, AllowGOST2004: v.c.AllowGOST2004})
	if err != nil {
		return nil, err
	}
	return &Document{s}, nil
}

// An Outcome is the verdict with what proves it. Checks and Signers of its verdict may be
// shared with other outcomes: read them only.
type Outcome struct {
	Verdict  gateway.Verdict
	Holder   identity.Holder
	Evidence revocation.Evidence
}

// SignatureFailed is the outcome for a document that Open refused.
func SignatureFailed(err error, at time.Time) Outcome {
	return Outcome{Verdict: verdictOf(at, check(gateway.CheckSignature, err))}
}

// CertificateFailed is the outcome for a certificate that cannot be read.
func CertificateFailed(err error, at time.Time) Outcome {
	v := gateway.Verdict{At: at, Checks: []gateway.Check{check(gateway.CheckPath, err)}}
	v.Decide()
	return Outcome{Verdict: v}
}

func verdictOf(at time.Time, checks ...gateway.Check) gateway.Verdict {
	v := gateway.Verdict{At: at, Checks: checks}
	for _, name := range gateway.Checks[len(checks):] {
		v.Checks = append(v.Checks, gateway.Check{Name: name, Status: gateway.Indeterminate})
	}
	v.Decide()
	return v
}

func check(name gateway.CheckName, err error) gateway.Check {
	r := gateway.ReasonOf(err)
	return gateway.Check{Name: name, Status: gateway.StatusOf(r), Reason: r, Detail: gateway.DetailOf(err)}
}

// Judge makes the other five checks for the signer of an opened document, and for every
// signer of a co-signed one: the verdict is verified only if all are. Every check that can
// be made is made, so that the verdict lists all that is wrong; the network is asked only
// for a certificate that passed the others, so that a forged one costs no traffic.
func (v *Verifier) Judge(ctx context.Context, d *Document, w Want) Outcome {
	start := time.Now()
	var out Outcome
	for i, sig := range d.Signed.Signatures() {
		one := v.judge(ctx, sig.Certificate, w)
		one.Verdict.Signers = slices.Clone(one.Verdict.Signers)
		one.Verdict.Signers[0].Algorithm = sig.Algorithm
		if i == 0 {
			out = one
			continue
		}
		out.Verdict.Signers = append(slices.Clip(out.Verdict.Signers), one.Verdict.Signers[0])
		out.Verdict.Checks = slices.Clone(out.Verdict.Checks)
		for n, k := range one.Verdict.Checks {
			if out.Verdict.Checks[n].Status == gateway.Verified {
				out.Verdict.Checks[n] = k
			}
		}
	}
	out.Verdict.Checks = append([]gateway.Check{check(gateway.CheckSignature, nil)}, out.Verdict.Checks...)
	out.Verdict.Decide()
	content := d.Content()
	out.Verdict.ContentSHA256 = hex.EncodeToString(content[:])
	if v.c.Observe != nil {
		v.c.Observe(out.Verdict, time.Since(start))
	}
	return out
}

// JudgeCertificate makes the five checks that need no document.
func (v *Verifier) JudgeCertificate(ctx context.Context, c *trust.Certificate, w Want) Outcome {
	out := v.judge(ctx, c, w)
	out.Verdict.Decide()
	return out
}

func (v *Verifier) judge(ctx context.Context, c *trust.Certificate, w Want) Outcome {
	at := w.At
	if !w.Proven.IsZero() {
		at = w.Proven
	}
	j := v.trust.Load().Judge(c, trust.JudgeOptions{At: at, Purpose: w.Purpose, Untrusted: w.Untrusted, Pinned: w.Pinned})
	if out, ok := v.again(ctx, c, &j, &w); ok {
		return out
	}
	v.steady(&j)
	out := Outcome{Verdict: gateway.Verdict{At: w.At}}
	test := j.Path != nil && j.Path.Test
	holder, holderErr := identity.Of(c, test)
	if holderErr == nil {
		out.Holder = holder
	}
	add := func(k gateway.Check) { out.Verdict.Checks = append(out.Verdict.Checks, k) }
	add(check(gateway.CheckPath, j.PathErr))
	add(check(gateway.CheckValidity, j.ValidityErr))
	add(check(gateway.CheckPurpose, j.PurposeErr))
	identityErr := v.bind(c, w, test, holderErr)
	add(check(gateway.CheckIdentity, identityErr))
	switch {
	case v.c.Revocation == nil:
	case j.Path == nil || j.ValidityErr != nil || j.PurposeErr != nil || identityErr != nil:
		add(gateway.Check{Name: gateway.CheckRevocation, Status: gateway.Indeterminate})
	default:
		ev, err := v.revocation(ctx, j.Path, &w)
		k := check(gateway.CheckRevocation, err)
		k.Evidence = ev.Method
		if err == nil && !ev.RevokedLater.IsZero() {
			k.Detail = fmt.Sprintf("good at the instant judged; revoked or on hold since %s, reason %d", ev.RevokedLater.UTC().Format(time.RFC3339), ev.LaterReason)
		}
		out.Evidence = ev
		add(k)
	}
	out.Verdict.Signers = []gateway.Signer{{
		Subject: c.Subject.String(), IIN: holder.IIN, BIN: holder.BIN, Serial: c.SerialHex(),
		Algorithm: string(c.Key.Kind()), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
	}}
	v.remember(c, j.Path, &out)
	return out
}

func (v *Verifier) revocation(ctx context.Context, path *trust.Path, w *Want) (revocation.Evidence, error) {
	if w.Proven.IsZero() {
		return v.c.Revocation.Check(ctx, path, w.At)
	}
	if p, ok := v.c.Revocation.(Proving); ok {
		return p.CheckProven(ctx, path, w.At, w.Proven)
	}
	return revocation.Evidence{}, gateway.Errorf(gateway.ConfigInvalid, "this way of checking revocation knows nothing of earlier instants")
}

// steady takes back what was judged by a clock that cannot be relied upon.
func (v *Verifier) steady(j *trust.Judgement) {
	s, ok := v.c.Revocation.(Steady)
	if !ok || j.ValidityErr == nil && gateway.ReasonOf(j.PathErr) != gateway.IssuerExpired {
		return
	}
	if err := s.Steady(); err != nil {
		if j.ValidityErr != nil {
			j.ValidityErr = err
		}
		if gateway.ReasonOf(j.PathErr) == gateway.IssuerExpired {
			j.PathErr = err
		}
	}
}

func (v *Verifier) bind(c *trust.Certificate, w Want, test bool, holderErr error) error {
	switch {
	case !w.Citizen.IsZero():
		return identity.BindCitizen(c, w.Citizen, test)
	case !w.Organisation.IsZero():
		return identity.BindOrganisation(c, w.Organisation, test)
	case w.Purpose == trust.PurposeAny:
		return nil
	}
	return holderErr
}
