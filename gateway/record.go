package gateway

import "time"

// A RecordKind names a record that state information systems keep about a person (S 4; R8).
type RecordKind string

const (
	RecordIdentity       RecordKind = "identity"        // identity document (ГБД ФЛ)
	RecordAddress        RecordKind = "address"         // address certificate (ГБД ФЛ)
	RecordProperty       RecordKind = "property"        // registered rights to housing (ГБД РН)
	RecordSocialPayments RecordKind = "social-payments" // income as social payments
	RecordIncome         RecordKind = "income"          // entrepreneurship and other activity
	RecordAlimony        RecordKind = "alimony"         // for children and other dependants
	RecordUnemployment   RecordKind = "unemployment"    // status of an unemployed person
)

// RecordKinds lists all kinds in the order of the decree.
var RecordKinds = []RecordKind{RecordIdentity, RecordAddress, RecordProperty, RecordSocialPayments, RecordIncome, RecordAlimony, RecordUnemployment}

// An Inquiry asks one state system for one record about one person.
type Inquiry struct {
	Kind RecordKind
	// Person says whose record it is in the request: "applicant", "member-1" … .
	Person  string
	Subject IIN
	// Request is the id of the citizen's request on whose behalf the record is asked for. It
	// is the chain id (correlationId) toward the state system, which may log it.
	Request string
	// Consent is the signed consent's own reference: the hex SHA-256 of the signed request.
	Consent string
}

// A FactStatus says what a state system answered.
type FactStatus string

const (
	FactFound       FactStatus = "found"
	FactNoData      FactStatus = "no-data"     // the system answered that it holds nothing
	FactUnavailable FactStatus = "unavailable" // it did not answer; the record may come later
)

// A Fact is a state system's answer, or the lack of one, with where it came from.
type Fact struct {
	Kind       RecordKind `json:"kind"`
	Person     string     `json:"person"` // as in the Inquiry
	Source     string     `json:"source"` // name of the state system, from a closed list
	Status     FactStatus `json:"status"`
	ObservedAt time.Time  `json:"observed_at"`          // when the system answered, by its own clock when it says so
	MessageID  string     `json:"message_id,omitempty"` // the system's id of its answer, for disputes
	Reason     Reason     `json:"reason,omitempty"`     // why unavailable
	// Data is the register's own XML as it was answered, a complete document. Personal data.
	Data []byte `json:"data,omitempty"`
}
