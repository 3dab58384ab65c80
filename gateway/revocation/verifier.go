package revocation

import (
	"bytes"
	"crypto/sha1"
	"crypto/subtle"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A state is what was found about a certificate.
type state int

const (
	good    state = iota + 1
	revoked       // for good
	held          // certificateHold
	neverIssued
	unknown
)

func (s state) reason() gateway.Reason {
	switch s {
	case good:
		return ""
	case revoked:
		return gateway.Revoked
	case held:
		return gateway.Suspended
	case neverIssued:
		return gateway.NeverIssued
	}
	return gateway.StatusUnknown
}

// A finding is one state with what proves it.
type finding struct {
	state     state
	reason    CRLReason
	revokedAt time.Time
	// invalidSince is when the key stopped to be trustworthy; zero when nobody said.
	invalidSince time.Time
	evidence     Evidence
}

func (f finding) err() error {
	switch f.state {
	case good:
		return nil
	case revoked, held:
		return gateway.Errorf(f.state.reason(), "revoked at %s, reason %d, says the %s", f.revokedAt.Format(time.RFC3339), f.reason, f.evidence.Method)
	case neverIssued:
		return gateway.Errorf(gateway.NeverIssued, "the responder knows no such certificate of its CA")
	}
	return gateway.Errorf(gateway.StatusUnknown, "the responder does not know the certificate, and no CRL proves it good")
}

// A verifier judges OCSP answers about the certificates of one issuer.
type verifier struct {
	issuer *trust.Certificate
	direct *trust.Store         // the issuer alone: a responder must be certified by its key itself
	pinned []*trust.Certificate // responders trusted because the configuration says so
	skew   time.Duration
	maxAge time.Duration
	sha1   bool // accept answers that name the certificate by SHA-1
	// needNonce refuses an answer without the nonce that was sent.
	needNonce bool
	// clean reports whether the issuer's fresh CRL exists and does not list serial; listed, whether
	// any CRL held lists it.
	clean, listed func(serial []byte) bool
	// signer, if set, is told of the responder's certificate behind every answer that verified.
	signer func(*trust.Certificate)
}

// judge verifies an answer about serial (RFC 6960 §3.2) and returns what it proves at now. nonce
// is what the request carried, nil when there was no request.
func (v *verifier) judge(raw []byte, serial, nonce []byte, now time.Time) (finding, error) {
	f, err := v.read(raw, serial, nonce, now)
	if err == nil {
		err = f.timely(now)
	}
	if err != nil {
		return finding{}, err
	}
	return f, nil
}

// read is judge for an answer of any age.
func (v *verifier) read(raw []byte, serial, nonce []byte, now time.Time) (finding, error) {
	a, err := ParseOCSP(raw)
	if err != nil {
		return finding{}, err
	}
	if err := v.signed(a, now); err != nil {
		return finding{}, err
	}
	if nonce != nil && (a.nonce == nil && v.needNonce || a.nonce != nil && subtle.ConstantTimeCompare(a.nonce, nonce) != 1) {
		return finding{}, gateway.Errorf(gateway.NonceMismatch, "the OCSP answer belongs to another question")
	}
	s, err := v.statement(a, serial)
	if err != nil {
		return finding{}, err
	}
	f := finding{state: good, reason: s.Reason, revokedAt: s.RevokedAt, invalidSince: s.InvalidSince}
	switch {
	case s.Status == StatusUnknown:
		f.state = unknown
	case s.Status == StatusGood:
	case s.Reason != CertificateHold:
		f.state = revoked
	case a.ExtendedRevoke && s.RevokedAt.Equal(time.Unix(0, 0)):
		f.state = neverIssued
	default:
		f.state = held
	}
	f.evidence = Evidence{Method: MethodOCSP, Raw: raw, ThisUpdate: s.ThisUpdate, UsableUntil: s.ThisUpdate.Add(v.maxAge)}
	if !s.NextUpdate.IsZero() && s.NextUpdate.Before(f.evidence.UsableUntil) {
		f.evidence.UsableUntil = s.NextUpdate
	}
	latest := now.Add(v.skew)
	switch {
	case s.ThisUpdate.After(latest) || a.ProducedAt.After(latest):
		return finding{}, gateway.Errorf(gateway.EvidenceFuture, "the OCSP answer is dated after now")
	case a.ProducedAt.Before(s.ThisUpdate.Add(-v.skew)):
		return finding{}, untrusted("the OCSP answer was produced before what it says")
	}
	return f, nil
}

// timely returns nil while an answer counts. A permanent revocation does not grow old.
func (f finding) timely(now time.Time) error {
	if f.state != revoked && now.After(f.evidence.UsableUntil) {
		return gateway.Errorf(gateway.EvidenceStale, "the OCSP answer of %s is too old", f.evidence.ThisUpdate.Format(time.RFC3339))
	}
	return nil
}

// statement picks what the answer says of serial. Of several statements the worst counts, also of
// those that name the certificate by SHA-1 where that is not asked for: such a name is not good enough
// to be let in by, but a revocation is one under any name.
func (v *verifier) statement(a *OCSPAnswer, serial []byte) (OCSPStatement, error) {
	var worst *OCSPStatement
	by256, by1 := newCertID(oidSHA256, v.issuer, serial), newCertID(oidSHA1, v.issuer, serial)
	for i := range a.Statements {
		s := &a.Statements[i]
		counts := s.id.equal(by256) || s.id.equal(by1) && (v.sha1 || s.Status == StatusRevoked)
		if counts && (worst == nil || s.weight() > worst.weight()) {
			worst = s
		}
	}
	if worst == nil {
		return OCSPStatement{}, untrusted("the OCSP answer is about another certificate")
	}
	return *worst, nil
}

// weight orders statements from good to the worst.
func (s *OCSPStatement) weight() int {
	switch {
	case s.Status == StatusGood:
		return 0
	case s.Status == StatusUnknown:
		return 1
	case s.Reason == CertificateHold:
		return 2
	}
	return 3
}

// signed finds the responder and checks its signature: the issuer itself, a pinned
// certificate, or one that the issuer's key certified directly for OCSP (RFC 6960 §4.2.2.2).
func (v *verifier) signed(a *OCSPAnswer, now time.Time) error {
	failure := untrusted("the OCSP answer's signer is neither the issuer nor a responder it certified")
	for _, r := range v.responders(a) {
		if !named(a, r) {
			continue
		}
		if err := v.authorised(r, a.ProducedAt, now); err != nil {
			failure = err
			continue
		}
		err := a.algorithm.Verify(r.Key, a.tbs, a.signature)
		if err == nil {
			if v.signer != nil && !r.Equal(v.issuer) {
				v.signer(r)
			}
			return nil
		}
		failure = gateway.Errorf(gateway.EvidenceUntrusted, "the OCSP answer's signature: %s", gateway.DetailOf(err))
	}
	return failure
}

// responders lists possible signers: first what is configured, then what came along.
func (v *verifier) responders(a *OCSPAnswer) []*trust.Certificate {
	list := append([]*trust.Certificate{v.issuer}, v.pinned...)
	for _, der := range a.embedded {
		if c, err := trust.ParseCertificate(der); err == nil && !c.Equal(v.issuer) {
			list = append(list, c)
		}
	}
	return list
}

// named compares the answer's ResponderID with a certificate.
func named(a *OCSPAnswer, c *trust.Certificate) bool {
	if a.responderName != nil {
		return bytes.Equal(a.responderName, c.RawSubject)
	}
	sum := sha1.Sum(keyBits(c))
	return bytes.Equal(a.responderKey, sum[:])
}

func (v *verifier) authorised(r *trust.Certificate, producedAt, now time.Time) error {
	if r.Equal(v.issuer) {
		return nil
	}
	if !r.ValidAt(producedAt) || !r.ValidAt(now) {
		return untrusted("the responder's certificate is outside its validity")
	}
	for _, p := range v.pinned {
		if r.Equal(p) {
			return nil
		}
	}
	j := v.direct.Judge(r, trust.JudgeOptions{At: now, Purpose: trust.PurposeOCSP})
	switch {
	case j.PathErr != nil:
		return gateway.Errorf(gateway.EvidenceUntrusted, "the responder's certificate: %s", gateway.DetailOf(j.PathErr))
	case j.PurposeErr != nil:
		return gateway.Errorf(gateway.EvidenceUntrusted, "the responder's certificate: %s", gateway.DetailOf(j.PurposeErr))
	case v.listed(r.Serial):
		return untrusted("the responder's certificate is revoked")
	case !r.NoCheck && !v.clean(r.Serial):
		return untrusted("no fresh CRL shows that the responder's certificate is not revoked")
	}
	return nil
}
