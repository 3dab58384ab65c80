// Package revocation tells whether a registration certificate was revoked: «отсутствие
// регистрационного свидетельства в списке отозванных» (R4c), by OCSP (RFC 6960) and CRL (RFC
// 5280 §6.3).
//
// Good must be proven by a fresh answer whose signer had the right to give it. Everything
// else — a responder that is silent, lies or is late, a list that is old, partial or signed by
// somebody else — refuses and says why. A revocation from any verified source wins at once, and
// what verified evidence once said stays said until something later and verified takes it back by
// the rules (the table in ledger.go): beyond newer lists, other settings and, with [Checker.Keep], a
// restart.
//
// URLs come from the configuration alone, never from a certificate.
package revocation

import "time"

// Methods of [Evidence].
const (
	MethodOCSP  = "ocsp"
	MethodCRL   = "crl"
	MethodDelta = "crl+delta"
)

// Evidence is what proved that a certificate was not revoked, to be kept with the request.
type Evidence struct {
	Method string // ocsp, crl or crl+delta
	// Raw is the signed answer. For a CRL it is a line of text with number and SHA-256, by which
	// the list can be found again; the list itself may be 53 MB.
	Raw         []byte
	ThisUpdate  time.Time
	UsableUntil time.Time
	// RevokedLater is since when the certificate is revoked or on hold, if evidence from after the instant
	// judged says so ([Offline]): it was good at that instant, and is not any more. LaterReason is why.
	RevokedLater time.Time
	LaterReason  CRLReason
	// Degraded: the evidence is older than the normal bounds and counts because an operator
	// widened them ([Checker.Widen]).
	Degraded bool
}
