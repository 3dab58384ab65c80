package gateway

import (
	"errors"
	"fmt"
)

// A Reason says why a request, a document or a piece of work stopped. Programs compare it,
// portals show its translation, metrics use it as a label; before the dot stands the part
// that said it. The list is closed: [Reasons] returns all of them, each has a [Class], and a
// test asks every message catalogue for its text.
type Reason string

// What the bytes of a document must be before anything else looks at them (package xmlsig).
const (
	// DocumentTooLarge: more bytes than the configured limit.
	DocumentTooLarge Reason = "document.too_large"
	// DocumentEncoding: not UTF-8, or declared as something else, or not XML 1.0.
	DocumentEncoding Reason = "document.encoding"
	// DocumentMalformed: not well-formed XML 1.0 (5th edition) with namespaces.
	DocumentMalformed Reason = "document.malformed"
	// DocumentDoctype: a document type declaration; refused where it starts, never read.
	DocumentDoctype Reason = "document.doctype"
	// DocumentInstruction: a processing instruction.
	DocumentInstruction Reason = "document.processing_instruction"
	// DocumentNamespace: xmlns:p="", a relative namespace URI, an undeclared or rebound prefix.
	DocumentNamespace Reason = "document.namespace"
	// DocumentLimit: depth, attributes, namespace declarations or the canonical form above the profile's limit.
	DocumentLimit Reason = "document.limit"
)

// What an XML signature must be (package xmlsig).
const (
	// SignatureMissing: no signature where the profile expects one.
	SignatureMissing Reason = "signature.missing"
	// SignatureMultiple: more signatures than the profile allows.
	SignatureMultiple Reason = "signature.multiple"
	// SignatureMisplaced: the signature is not a direct child of the element it must sign.
	SignatureMisplaced Reason = "signature.misplaced"
	// SignatureStructure: an element of the signature is missing, repeated, foreign or out of order.
	SignatureStructure Reason = "signature.structure"
	// SignatureEncoding: a value is not strict base64.
	SignatureEncoding Reason = "signature.base64"
	// SignatureReference: the reference is not the whole document (or not the Body, profile wsse).
	SignatureReference Reason = "signature.reference"
	// SignatureTransform: a transform outside the profile.
	SignatureTransform Reason = "signature.transform"
	// SignatureIDAmbiguous: the referenced Id is repeated or hidden in an id-like attribute.
	SignatureIDAmbiguous Reason = "signature.id_ambiguous"
	// SignatureAlgorithm: an algorithm outside the table, or one that the configuration does not allow.
	SignatureAlgorithm Reason = "signature.algorithm"
	// SignatureKeyInfo: KeyInfo does not hold exactly one certificate in the profile's form.
	SignatureKeyInfo Reason = "signature.key_info"
	// SignatureKeyMismatch: the certificate's key is not of the kind the signature method names.
	SignatureKeyMismatch Reason = "signature.key_mismatch"
	// DigestMismatch: the document is not the one that was signed.
	DigestMismatch Reason = "signature.digest_mismatch"
	// SignatureInvalid: the signature value does not belong to this SignedInfo and key.
	SignatureInvalid Reason = "signature.invalid"
)

// How a registration certificate is judged (package trust; RFC 5280 §6.1).
const (
	// CertificateMalformed: not strict DER, or not a v3 certificate of the profile.
	CertificateMalformed Reason = "certificate.malformed"
	// CertificateTrailing: bytes after the certificate or after an inner structure.
	CertificateTrailing Reason = "certificate.trailing_data"
	// CertificateAlgorithmID: inner and outer signature algorithm differ.
	CertificateAlgorithmID Reason = "certificate.algorithm_mismatch"
	// CertificateDuplicateExtension: the same extension twice.
	CertificateDuplicateExtension Reason = "certificate.duplicate_extension"
	// CertificateTooLarge: bytes, extensions, or what one of them lists, above the limit.
	CertificateTooLarge Reason = "certificate.too_large"
	// AlgorithmForbidden: SHA-1, MD5, PSS, or another algorithm outside the table.
	AlgorithmForbidden Reason = "certificate.algorithm_forbidden"
	// KeyWeak: RSA below 2048 bits or e ≠ 65537, an unknown curve, a point off the curve.
	KeyWeak Reason = "certificate.weak_key"
	// NoIssuer: no configured issuer of that name and key.
	NoIssuer Reason = "certificate.no_issuer"
	// NotAnchored: the path does not end in a configured anchor.
	NotAnchored Reason = "certificate.not_anchored"
	// CertificateSignature: the issuer's signature over the certificate is wrong.
	CertificateSignature Reason = "certificate.bad_signature"
	// NotACA: an issuer in the path is not a CA or may not sign certificates.
	NotACA Reason = "certificate.issuer_not_ca"
	// PathLength: more CAs below an issuer than its pathLenConstraint allows.
	PathLength Reason = "certificate.path_length"
	// NameConstraint: the subject is outside an issuer's name constraints, or they are of a kind not processed.
	NameConstraint Reason = "certificate.name_constraint"
	// PolicyConstraint: the path's policies do not allow this use, or ask for processing not done here.
	PolicyConstraint Reason = "certificate.policy_constraint"
	// CriticalExtension: an unknown critical extension.
	CriticalExtension Reason = "certificate.critical_extension"
	// IssuerExpired: a CA of the path is outside its validity.
	IssuerExpired Reason = "certificate.issuer_expired"
	// CertificateNotYetValid: before notBefore of the signer's certificate (R4b).
	CertificateNotYetValid Reason = "certificate.not_yet_valid"
	// CertificateExpired: after notAfter of the signer's certificate (R4b).
	CertificateExpired Reason = "certificate.expired"
	// KeyUsage: the key may not sign documents; an authentication certificate, say.
	KeyUsage Reason = "certificate.key_usage"
	// ExtendedKeyUsage: the certificate is for another role.
	ExtendedKeyUsage Reason = "certificate.extended_key_usage"
	// CertificatePolicy: issued under a policy that is not accepted.
	CertificatePolicy Reason = "certificate.policy"
	// SignerIsCA: a CA certificate as signer of a document.
	SignerIsCA Reason = "certificate.signer_is_ca"
)

// Whom the certificate names, against whom the request names (package identity; R4a).
const (
	// IINInvalid: twelve digits with a right check digit were expected in a form field.
	IINInvalid Reason = "identity.iin_invalid"
	// BINInvalid: the same for a BIN.
	BINInvalid Reason = "identity.bin_invalid"
	// IINMissing: the certificate's subject holds no IIN.
	IINMissing Reason = "identity.iin_missing"
	// IINFormat: the subject's serialNumber is not exactly IIN and twelve ASCII digits.
	IINFormat Reason = "identity.iin_format"
	// IINMultiple: more than one serialNumber in the subject.
	IINMultiple Reason = "identity.iin_multiple"
	// IINChecksum: the IIN in the certificate has a wrong check digit.
	IINChecksum Reason = "identity.iin_checksum"
	// IINMismatch: the request was signed by another person than it names.
	IINMismatch Reason = "identity.iin_mismatch"
	// BINMissing: the subject of an organisation's certificate holds no BIN, or more than one.
	BINMissing Reason = "identity.bin_missing"
	// BINMismatch: signed for another organisation than the one bound to this provider.
	BINMismatch Reason = "identity.bin_mismatch"
	// NotACitizen: the key belongs to an organisation's employee or head, not to a person as such.
	NotACitizen Reason = "identity.not_a_citizen"
)

// Whether the certificate was revoked (package revocation; R4c, RFC 6960, RFC 5280 §6.3).
const (
	// Revoked: permanently, with time and reason in the evidence.
	Revoked Reason = "revocation.revoked"
	// Suspended: certificateHold.
	Suspended Reason = "revocation.suspended"
	// NeverIssued: the responder says that no such certificate was ever issued.
	NeverIssued Reason = "revocation.never_issued"
	// IssuerRevoked: a CA of the path was revoked.
	IssuerRevoked Reason = "revocation.issuer_revoked"
	// StatusUnknown: the responder does not know the certificate and no CRL proves it good.
	StatusUnknown Reason = "revocation.status_unknown"
	// StatusUnavailable: no source could be reached.
	StatusUnavailable Reason = "revocation.unavailable"
	// EvidenceStale: the newest evidence is too old.
	EvidenceStale Reason = "revocation.stale"
	// EvidenceFuture: the evidence is dated after now.
	EvidenceFuture Reason = "revocation.future"
	// EvidenceUntrusted: the evidence is malformed or not signed by whom it must be.
	EvidenceUntrusted Reason = "revocation.untrusted"
	// NonceMismatch: the OCSP answer belongs to another question.
	NonceMismatch Reason = "revocation.nonce_mismatch"
	// EvidenceRollback: a CRL with a lower number than one already seen.
	EvidenceRollback Reason = "revocation.rollback"
	// EvidenceScope: the CRL does not cover this certificate.
	EvidenceScope Reason = "revocation.scope"
	// EvidenceConflict: two pieces of evidence contradict each other.
	EvidenceConflict Reason = "revocation.conflict"
)

// What the form must say (package passport; R2, R9, R14, R16).
const (
	// FormNamespace: the root element is not that of a known service's form.
	FormNamespace Reason = "form.namespace"
	// FormInvalid: structure or format of a field; the faults list path and rule.
	FormInvalid Reason = "form.invalid"
	// ServiceUnknown: no passport for the service code.
	ServiceUnknown Reason = "form.service_unknown"
	// TerritoryUnknown: no provider serves the territory.
	TerritoryUnknown Reason = "form.territory_unknown"
	// ConsentMissing: no consent to fetch a record that the service needs.
	ConsentMissing Reason = "form.consent_missing"
	// AttorneyMissing: a representative without a power of attorney that is in force.
	AttorneyMissing Reason = "form.power_of_attorney_missing"
	// CreatedAtRange: created-at lies outside the window in which a request is taken.
	CreatedAtRange Reason = "form.created_at"
	// PortalMismatch: the portal named in the form is not the one that sent it.
	PortalMismatch Reason = "form.portal_mismatch"
)

// What the attached copies must be (package intake; R9).
const (
	// AttachmentRequired: a document the service requires is not in the signed list.
	AttachmentRequired Reason = "attachment.required"
	// AttachmentMissing: the signed list names a document that was not sent.
	AttachmentMissing Reason = "attachment.missing"
	// AttachmentUnexpected: a document was sent that the signed list does not name.
	AttachmentUnexpected Reason = "attachment.unexpected"
	// AttachmentDigest: the document is not the one whose SHA-256 was signed.
	AttachmentDigest Reason = "attachment.digest_mismatch"
	// AttachmentSize: the document's size differs from the signed one.
	AttachmentSize Reason = "attachment.size_mismatch"
	// AttachmentType: the content is not of the signed media type, or that type is not accepted.
	AttachmentType Reason = "attachment.type"
	// AttachmentsTooLarge: all documents together exceed the service's limit.
	AttachmentsTooLarge Reason = "attachment.too_large"
)

// What happens at the doors (packages intake, cabinet, dispatch).
const (
	// PortalUnauthenticated: no or wrong client certificate or token («процесс 2»; R1).
	PortalUnauthenticated Reason = "door.portal_unauthenticated"
	// CitizenUnauthenticated: no, expired or foreign cabinet token.
	CitizenUnauthenticated Reason = "door.citizen_unauthenticated"
	// ProviderUnauthenticated: no or wrong provider token.
	ProviderUnauthenticated Reason = "door.provider_unauthenticated"
	// OperatorUnauthenticated: no or wrong operator token.
	OperatorUnauthenticated Reason = "door.operator_unauthenticated"
	// OperatorForbidden: the operator's role does not reach this region or this action.
	OperatorForbidden Reason = "door.operator_forbidden"
	// FormForged: an order without the page's own token, or from another site; nothing was done.
	FormForged Reason = "door.form_forged"
	// BodyEmpty: nothing was sent.
	BodyEmpty Reason = "door.body_empty"
	// BodyTooLarge: more was sent than the door takes.
	BodyTooLarge Reason = "door.body_too_large"
	// BodyTruncated: the connection ended, or stalled, before the announced end.
	BodyTruncated Reason = "door.body_truncated"
	// MediaType: a Content-Type the door does not take.
	MediaType Reason = "door.media_type"
	// MultipartBroken: the multipart body cannot be read, or lacks the part "request".
	MultipartBroken Reason = "door.multipart"
	// NotAcceptable: no representation that Accept asks for.
	NotAcceptable Reason = "door.not_acceptable"
	// MethodNotAllowed: the path exists, the method does not.
	MethodNotAllowed Reason = "door.method"
	// NotFound: no such request, or not visible to the asker.
	NotFound Reason = "door.not_found"
	// TransportMissing: the SOAP message of a partner who must sign is not signed (WS-Security). Told by partners;
	// this gateway's own door says [PortalUnauthenticated], so that nobody learns how a partner proves itself.
	TransportMissing Reason = "transport.signature_missing"
	// TransportWrong: the SOAP message's signature is wrong, does not cover the Body; of an answer, also: is not the partner's.
	TransportWrong Reason = "transport.signature_wrong"
	// TransportStale: the SOAP message is dated outside the window, or signed with a certificate outside its validity.
	TransportStale Reason = "transport.stale"
	// HeaderNotUnderstood: the SOAP message has a header entry that must be understood and is not (SOAP 1.1 §4.2.3).
	HeaderNotUnderstood Reason = "transport.header_not_understood"
	// Erased: the time to keep the document has passed; its digest remains.
	Erased Reason = "door.erased"
	// ReplayConflict: the message id was used before with other content.
	ReplayConflict Reason = "door.replay_conflict"
	// Overload: a bound is reached; try again later.
	Overload Reason = "door.overload"
	// PortalLimit: the portal has as many requests at work as it may; try again later.
	PortalLimit Reason = "door.portal_limit"
	// CitizenLimit: as many requests of the citizen for this service were accepted as may be within the passport's
	// time; the answer says when the next one will be.
	CitizenLimit Reason = "door.citizen_limit"
	// GuessLimit: too many wrong credentials came from the caller's address; this one was not looked at. The answer
	// says from when on one will be.
	GuessLimit Reason = "door.guess_limit"
)

// What happens to accepted work (packages enrich, dispatch, pipeline, journal).
const (
	// SourceUnavailable: a state system could not be reached or answered an error.
	SourceUnavailable Reason = "source.unavailable"
	// SourceTimeout: a state system did not answer inside the deadline.
	SourceTimeout Reason = "source.timeout"
	// SourceMalformed: a state system answered something its contract does not allow.
	SourceMalformed Reason = "source.malformed"
	// SourceFault: a state system answered a SHEP fault.
	SourceFault Reason = "source.fault"
	// SourceNoData: the state system has no record of the person.
	SourceNoData Reason = "source.no_data"
	// ProviderUnavailable: the provider could not be reached or answered an error.
	ProviderUnavailable Reason = "provider.unavailable"
	// ProviderRejected: the provider refuses the delivery for good; an operator decides.
	ProviderRejected Reason = "provider.rejected"
	// ResultMismatch: a step or result names another request or provider than it was sent for.
	ResultMismatch Reason = "provider.result_mismatch"
	// ResultConflict: a second, different result for the same request.
	ResultConflict Reason = "provider.result_conflict"
	// PortalUnavailable: the portal's notification address did not take the notice.
	PortalUnavailable Reason = "portal.unavailable"
	// JournalUnavailable: the durable memory does not answer or is not durable.
	JournalUnavailable Reason = "journal.unavailable"
	// JournalFull: too little room is left on the disk to accept anything more.
	JournalFull Reason = "journal.full"
	// StepTimeout: a step had no end inside its lease; it runs again.
	StepTimeout Reason = "pipeline.timeout"
	// BudgetExhausted: retries are used up; an operator decides.
	BudgetExhausted Reason = "pipeline.budget_exhausted"
	// ConfigInvalid: the operator's configuration does not allow the work.
	ConfigInvalid Reason = "system.config"
	// ClockUnreliable: the clock jumped; nothing is decided by it until it is steady.
	ClockUnreliable Reason = "system.clock"
	// Internal: everything nobody gave a better name. The portal sees only this word.
	Internal Reason = "internal"
)

// A Class says what happens next with work that stopped for a Reason.
type Class int

const (
	// Permanent: the same input meets the same answer. At the door: refused.
	Permanent Class = iota + 1
	// Retry: it may pass later. At the door: cannot be checked, 503.
	Retry
	// Operator: a person has to look. At the door: cannot be checked, 503.
	Operator
)

var classes = map[Reason]Class{
	DocumentTooLarge: Permanent, DocumentEncoding: Permanent, DocumentMalformed: Permanent, DocumentDoctype: Permanent,
	DocumentInstruction: Permanent, DocumentNamespace: Permanent, DocumentLimit: Permanent,

	SignatureMissing: Permanent, SignatureMultiple: Permanent, SignatureMisplaced: Permanent, SignatureStructure: Permanent,
	SignatureEncoding: Permanent, SignatureReference: Permanent, SignatureTransform: Permanent, SignatureIDAmbiguous: Permanent,
	SignatureAlgorithm: Permanent, SignatureKeyInfo: Permanent, SignatureKeyMismatch: Permanent, DigestMismatch: Permanent,
	SignatureInvalid: Permanent,

	CertificateMalformed: Permanent, CertificateTrailing: Permanent, CertificateAlgorithmID: Permanent,
	CertificateDuplicateExtension: Permanent, CertificateTooLarge: Permanent, AlgorithmForbidden: Permanent, KeyWeak: Permanent,
	NoIssuer: Permanent, NotAnchored: Permanent, CertificateSignature: Permanent, NotACA: Permanent, PathLength: Permanent,
	NameConstraint: Permanent, PolicyConstraint: Permanent, CriticalExtension: Permanent, IssuerExpired: Permanent,
	CertificateNotYetValid: Permanent, CertificateExpired: Permanent, KeyUsage: Permanent, ExtendedKeyUsage: Permanent,
	CertificatePolicy: Permanent, SignerIsCA: Permanent,

	IINInvalid: Permanent, BINInvalid: Permanent, IINMissing: Permanent, IINFormat: Permanent, IINMultiple: Permanent,
	IINChecksum: Permanent, IINMismatch: Permanent, BINMissing: Permanent, BINMismatch: Permanent, NotACitizen: Permanent,

	Revoked: Permanent, Suspended: Permanent, NeverIssued: Permanent, IssuerRevoked: Permanent,
	StatusUnknown: Retry, StatusUnavailable: Retry, EvidenceStale: Retry, EvidenceFuture: Retry, EvidenceUntrusted: Retry,
	NonceMismatch: Retry, EvidenceRollback: Retry, EvidenceScope: Retry, EvidenceConflict: Retry,

	FormNamespace: Permanent, FormInvalid: Permanent, ServiceUnknown: Permanent, TerritoryUnknown: Permanent,
	ConsentMissing: Permanent, AttorneyMissing: Permanent, CreatedAtRange: Permanent, PortalMismatch: Permanent,

	AttachmentRequired: Permanent, AttachmentMissing: Permanent, AttachmentUnexpected: Permanent, AttachmentDigest: Permanent,
	AttachmentSize: Permanent, AttachmentType: Permanent, AttachmentsTooLarge: Permanent,

	PortalUnauthenticated: Permanent, CitizenUnauthenticated: Permanent, ProviderUnauthenticated: Permanent,
	OperatorUnauthenticated: Permanent, OperatorForbidden: Permanent, FormForged: Permanent, BodyEmpty: Permanent, BodyTooLarge: Permanent, BodyTruncated: Permanent,
	MediaType: Permanent, MultipartBroken: Permanent, NotAcceptable: Permanent, MethodNotAllowed: Permanent,
	NotFound: Permanent, Erased: Permanent, ReplayConflict: Permanent, Overload: Retry, PortalLimit: Retry, CitizenLimit: Permanent,
	GuessLimit:       Permanent,
	TransportMissing: Permanent, TransportWrong: Permanent, TransportStale: Permanent, HeaderNotUnderstood: Permanent,

	SourceUnavailable: Retry, SourceTimeout: Retry, SourceMalformed: Retry, SourceFault: Retry, SourceNoData: Permanent,
	ProviderUnavailable: Retry, ProviderRejected: Operator, ResultMismatch: Permanent, ResultConflict: Permanent,
	PortalUnavailable: Retry, JournalUnavailable: Retry, JournalFull: Retry, StepTimeout: Retry, BudgetExhausted: Operator, ConfigInvalid: Operator,
	ClockUnreliable: Retry, Internal: Operator,
}

// Class tells what happens next; a Reason outside the list counts as [Operator].
func (r Reason) Class() Class {
	if c, ok := classes[r]; ok {
		return c
	}
	return Operator
}

// Reasons returns the closed list, in no particular order.
func Reasons() []Reason {
	all := make([]Reason, 0, len(classes))
	for r := range classes {
		all = append(all, r)
	}
	return all
}

// Error pairs a Reason with its cause. The cause may name hosts, never an IIN.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose cause is fmt.Errorf(format, args...).
func Errorf(r Reason, format string, args ...any) error {
	return &Error{r, fmt.Errorf(format, args...)}
}

// ReasonOf returns the outermost Reason in err's chain, "" for nil, else [Internal].
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Internal
}

// DetailOf returns the cause beside the outermost Reason, as a sentence for an integrator.
// It is empty for an error without a Reason: what nobody named is not for strangers.
func DetailOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return ""
}
