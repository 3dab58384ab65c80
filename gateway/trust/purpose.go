package trust

import (
	"slices"

	"egov-gateway/gateway"
)

// A Purpose is the role in which a key is used.
type Purpose string

const (
	// PurposeSignPerson: a natural person signs a document.
	PurposeSignPerson Purpose = "sign-person"
	// PurposeSignLegal: a head, executor or employee signs for an organisation.
	PurposeSignLegal Purpose = "sign-legal"
	// PurposeInformationSystem: a system signs its messages.
	PurposeInformationSystem Purpose = "information-system"
	// PurposeOCSP: a responder signs OCSP answers (RFC 6960 §4.2.2.2).
	PurposeOCSP Purpose = "ocsp"
	// PurposeAny drops every rule about the key's role; path and validity still count.
	PurposeAny Purpose = "any"
)

// Extended key usages: roles of the NCA, and the responder's.
const (
	RolePerson            OID = "1.2.398.3.3.4.1.1"
	RoleLegal             OID = "1.2.398.3.3.4.1.2"
	RoleHead              OID = "1.2.398.3.3.4.1.2.1"
	RoleInformationSystem OID = "1.2.398.3.3.4.1.2.6"
	usageOCSPSigning      OID = "1.3.6.1.5.5.7.3.9"
)

// HasRole reports whether the extended key usages name exactly that role.
func (c *Certificate) HasRole(role OID) bool { return slices.Contains(c.ExtKeyUsage, role) }

// HasLegalRole reports whether the certificate is of an organisation: the NCA's legal role or one below.
func (c *Certificate) HasLegalRole() bool {
	return slices.ContainsFunc(c.ExtKeyUsage, func(o OID) bool { return o.Under(RoleLegal) })
}

// allows judges the leaf alone. The role comes before the key usage, so that a responder's
// certificate is named as what it is, and a sign-in certificate as one that may not sign.
func (p Purpose) allows(c *Certificate, policies []OID) error {
	var role, usage bool
	switch p {
	case PurposeAny:
		return nil
	case PurposeSignPerson:
		role, usage = c.HasRole(RolePerson), c.KeyUsage&NonRepudiation != 0
	case PurposeSignLegal:
		role, usage = c.HasLegalRole() && !c.HasRole(RoleInformationSystem), c.KeyUsage&NonRepudiation != 0
	case PurposeInformationSystem:
		role, usage = c.HasRole(RoleInformationSystem), c.KeyUsage&NonRepudiation != 0
	case PurposeOCSP:
		role, usage, policies = c.HasRole(usageOCSPSigning), c.KeyUsage == 0 || c.KeyUsage&DigitalSignature != 0, nil
	default:
		return gateway.Errorf(gateway.ConfigInvalid, "unknown purpose %q", string(p))
	}
	allowed := func(o OID) bool { return slices.ContainsFunc(policies, o.Under) }
	switch {
	case c.IsCA:
		return gateway.Errorf(gateway.SignerIsCA, "a CA certificate cannot be used for %s", p)
	case !role:
		return gateway.Errorf(gateway.ExtendedKeyUsage, "the certificate is not for %s", p)
	case !usage:
		return gateway.Errorf(gateway.KeyUsage, "the key may not sign documents; is it the certificate for signing in?")
	case len(policies) > 0 && !slices.ContainsFunc(c.Policies, allowed):
		return gateway.Errorf(gateway.CertificatePolicy, "the certificate was issued under no accepted policy")
	}
	return nil
}
