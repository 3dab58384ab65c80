package gateway

import "time"

// A Status is the three-valued answer of a check, in the official words of order 500/НҚ.
type Status string

const (
	// Verified is «Проверено».
	Verified Status = "verified"
	// Refused is «Не проверено»: the same input will be refused again.
	Refused Status = "refused"
	// Indeterminate is «Невозможно проверить»: nothing is known, so nothing is accepted.
	Indeterminate Status = "indeterminate"
)

// StatusOf turns a Reason into the official word: "" is Verified, a permanent reason is
// Refused, every other one Indeterminate.
func StatusOf(r Reason) Status {
	switch {
	case r == "":
		return Verified
	case r.Class() == Permanent:
		return Refused
	}
	return Indeterminate
}

// A CheckName names one of the six checks of a signed document, in their legal order.
type CheckName string

const (
	CheckSignature  CheckName = "signature"  // the document is what was signed (R3)
	CheckPath       CheckName = "path"       // the certificate was issued by a trusted CA
	CheckValidity   CheckName = "validity"   // inside its validity (R4b)
	CheckPurpose    CheckName = "purpose"    // the key may sign in this role
	CheckIdentity   CheckName = "identity"   // it belongs to whom the document names (R4a)
	CheckRevocation CheckName = "revocation" // it was not revoked (R4c)
)

// Checks lists the six names in order.
var Checks = []CheckName{CheckSignature, CheckPath, CheckValidity, CheckPurpose, CheckIdentity, CheckRevocation}

// A Check is the outcome of one of the six. A check that could not run because an earlier
// one failed has Status Indeterminate and the Reason "".
type Check struct {
	Name   CheckName `json:"name"`
	Status Status    `json:"status"`
	Reason Reason    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"` // for integrators, English, no personal data
	// Evidence names what proved it: "ocsp", "crl", "crl+delta"; "" for the others.
	Evidence string `json:"evidence,omitempty"`
}

// A Verdict is what was decided about one signed document.
type Verdict struct {
	Status  Status    `json:"status"`
	Reason  Reason    `json:"reason,omitempty"` // of the first failed check in legal order
	Detail  string    `json:"detail,omitempty"`
	Checks  []Check   `json:"checks"`
	Signers []Signer  `json:"signers,omitempty"`
	At      time.Time `json:"at"` // the instant for which it was decided
	// ContentSHA256 is the hex SHA-256 of the canonical signed bytes; "" when the signature did not verify.
	ContentSHA256 string `json:"content_sha256,omitempty"`
}

// Decide fills Status, Reason and Detail from Checks: the first refused check wins, then
// the first that could not be checked.
func (v *Verdict) Decide() {
	v.Status, v.Reason, v.Detail = Verified, "", ""
	for _, want := range []Status{Refused, Indeterminate} {
		for _, c := range v.Checks {
			if c.Status == want && c.Reason != "" {
				v.Status, v.Reason, v.Detail = want, c.Reason, c.Detail
				return
			}
		}
	}
	for _, c := range v.Checks {
		if c.Status != Verified {
			v.Status, v.Reason = Indeterminate, Internal
		}
	}
	if len(v.Checks) == 0 {
		v.Status, v.Reason = Indeterminate, Internal
	}
}

// Err returns nil for a verified document, else an [Error] with the verdict's Reason.
func (v *Verdict) Err() error {
	if v.Status == Verified {
		return nil
	}
	return Errorf(v.Reason, "%s", v.Detail)
}

// A Signer is what a certificate says of the one who signed.
type Signer struct {
	Subject   string    `json:"-"` // RFC 4514; personal data
	IIN       IIN       `json:"-"`
	BIN       BIN       `json:"-"`
	Serial    string    `json:"serial"` // hex
	Algorithm string    `json:"algorithm"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}
