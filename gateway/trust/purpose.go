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
	// PurposeSignHead: the first head signs for an organisation.
	PurposeSignHead Purpose = "sign-head"
	// PurposeSignLegal: the head, or an employee with the right to sign, signs for an organisation.
	PurposeSignLegal Purpose = "sign-legal"
	// PurposeSignStaff: the head or any employee signs what he did, or what an act lets him sign.
	// Nobody signs for an organisation in a role for financial documents or for its staff's affairs alone,
	// and no information system does.
	PurposeSignStaff Purpose = "sign-staff"
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
	RoleRightToSign       OID = "1.2.398.3.3.4.1.2.2"
	RoleFinancial         OID = "1.2.398.3.3.4.1.2.3"
	RoleStaffAffairs      OID = "1.2.398.3.3.4.1.2.4"
	RoleEmployee          OID = "1.2.398.3.3.4.1.2.5"
	RoleInformationSystem OID = "1.2.398.3.3.4.1.2.6" // named systems have an arc below it
	RoleTreasury          OID = "1.2.398.5.19.1.2.2.1"
	usageOCSPSigning      OID = "1.3.6.1.5.5.7.3.9"
)

// HasRole reports whether the extended key usages name exactly that role.
func (c *Certificate) HasRole(role OID) bool { return slices.Contains(c.ExtKeyUsage, role) }

// HasLegalRole reports whether the certificate is of an organisation: the NCA's legal role or one below.
func (c *Certificate) HasLegalRole() bool {
	return slices.ContainsFunc(c.ExtKeyUsage, func(o OID) bool { return o.Under(RoleLegal) })
}

// IsInformationSystem reports whether the certificate is of an information system, a named one included.
func (c *Certificate) IsInformationSystem() bool {
	return slices.ContainsFunc(c.ExtKeyUsage, func(o OID) bool { return o.Under(RoleInformationSystem) })
}

// signsFor reports whether the certificate is of somebody who signs for an organisation in one of the roles.
func (c *Certificate) signsFor(roles ...OID) bool {
	return slices.ContainsFunc(roles, c.HasRole) && !c.IsInformationSystem()
}

// allows judges the leaf alone. The role comes before the key usage, so that a responder's
// certificate is named as what it is, and a sign-in certificate as one that may not sign.
func (p Purpose) allows(c *Certificate, policies []OID) error {
	var role, usage, person bool // person: the certificate must name one
	switch p {
	case PurposeAny:
		return nil
	case PurposeSignPerson:
		role, usage = c.HasRole(RolePerson), c.KeyUsage&NonRepudiation != 0
	case PurposeSignHead:
		role, usage, person = c.signsFor(RoleHead), c.KeyUsage&NonRepudiation != 0, true
	case PurposeSignLegal:
		role, usage, person = c.signsFor(RoleHead, RoleRightToSign), c.KeyUsage&NonRepudiation != 0, true
	case PurposeSignStaff:
		role, usage, person = c.signsFor(RoleHead, RoleRightToSign, RoleEmployee), c.KeyUsage&NonRepudiation != 0, true
	case PurposeInformationSystem:
		role, usage = c.IsInformationSystem(), c.KeyUsage&NonRepudiation != 0
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
	case person && len(c.Subject.Values(OIDSerialNumber)) == 0:
		return gateway.Errorf(gateway.IINMissing, "the certificate names no person who signs")
	case len(policies) > 0 && !slices.ContainsFunc(c.Policies, allowed):
		return gateway.Errorf(gateway.CertificatePolicy, "the certificate was issued under no accepted policy")
	}
	return nil
}
