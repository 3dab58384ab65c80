package gateway

import "time"

// A KATO is a nine-digit code of the classifier of administrative territories.
type KATO string

// ParseKATO accepts nine ASCII digits.
func ParseKATO(s string) (KATO, error) {
	if len(s) != 9 {
		return "", Errorf(FormInvalid, "a KATO code has nine digits")
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return "", Errorf(FormInvalid, "a KATO code has nine digits")
		}
	}
	return KATO(s), nil
}

// A Language is one of the three in which everything for people exists.
type Language string

const (
	Kazakh  Language = "kk"
	Russian Language = "ru"
	English Language = "en"
)

// Languages lists the three, the state language first.
var Languages = []Language{Kazakh, Russian, English}

// Texts is one text in the three languages.
type Texts map[Language]string

// In returns the text in l, else in Kazakh.
func (t Texts) In(l Language) string {
	if s, ok := t[l]; ok {
		return s
	}
	return t[Kazakh]
}

// A Request is what a citizen signed, as far as the gateway acts on it; the provider gets
// the signed bytes themselves. It is read from the verified view of a document only.
type Request struct {
	MessageID string
	Service   string
	Portal    string
	CreatedAt time.Time
	Language  Language
	Applicant IIN
	// Representative is the zero IIN unless somebody acts under a power of attorney (R16).
	Representative     IIN
	AttorneyValidUntil time.Time
	Territory          KATO // of the provider
	// Family are the members named in the form.
	Family []Member
	// Consent lists the records the citizen allows to be fetched (R14).
	Consent     []RecordKind
	Attachments []Attachment
}

// Signatory is who has to have signed: the representative if there is one.
func (r *Request) Signatory() IIN {
	if !r.Representative.IsZero() {
		return r.Representative
	}
	return r.Applicant
}

// A Member of the applicant's family.
type Member struct {
	IIN     IIN
	Consent bool // an adult's own consent to the use of records (R14)
}

// An Attachment is one entry of the signed list of documents (R9).
type Attachment struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`   // bytes
	SHA256    string `json:"sha256"` // hex
}

// AttorneyEnd is the instant at which the power of attorney is no longer in force: the end
// of its last day in zone.
func (r *Request) AttorneyEnd(zone *time.Location) time.Time {
	y, m, d := r.AttorneyValidUntil.Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, zone)
}
