package gateway

import (
	"encoding/json"
	"time"
)

// A Dossier is what the gateway knows of an accepted request beside the documents
// themselves: plan, outcome and proof. It names nobody.
type Dossier struct {
	Passport     string       `json:"passport"` // id of the passport the request was accepted under
	Version      string       `json:"version"`  // and its version
	Language     Language     `json:"language"`
	ReceivedAt   time.Time    `json:"received_at"`
	RegisteredAt time.Time    `json:"registered_at"` // start of the terms (R11)
	DueAt        time.Time    `json:"due_at"`        // date and time of the result (R10)
	Admission    Verdict      `json:"admission"`
	Evidence     string       `json:"evidence,omitempty"` // name of the body with the revocation evidence
	Consent      []RecordKind `json:"consent,omitempty"`
	Attachments  []Attachment `json:"attachments,omitempty"`
	Steps        []StepPlan   `json:"steps"`
	Records      []FactNote   `json:"records,omitempty"`
	Result       *Result      `json:"result,omitempty"`
	// Quarantined counts documents for this request that did not verify and were never shown.
	Quarantined int `json:"quarantined,omitempty"`
}

// A StepPlan is one of the provider's steps with its time limit (R12).
type StepPlan struct {
	Code        string    `json:"code"`
	DueAt       time.Time `json:"due_at"`
	CompletedAt time.Time `json:"completed_at,omitzero"`
	Overdue     bool      `json:"overdue,omitempty"` // the limit passed before the step was reported
}

// A FactNote is a Fact without its data.
type FactNote struct {
	Kind       RecordKind `json:"kind"`
	Source     string     `json:"source"`
	Status     FactStatus `json:"status"`
	ObservedAt time.Time  `json:"observed_at"`
	MessageID  string     `json:"message_id,omitempty"`
	Reason     Reason     `json:"reason,omitempty"`
}

// A ResultKind is one of the two results of the service (R17).
type ResultKind string

const (
	ResultAssignment ResultKind = "assignment" // notice of assignment
	ResultRefusal    ResultKind = "refusal"    // reasoned refusal
)

// A Result is the provider's verified decision.
type Result struct {
	Kind        ResultKind `json:"kind"`
	Number      string     `json:"number"`
	DecidedAt   time.Time  `json:"decided_at"`
	ReceivedAt  time.Time  `json:"received_at"`
	Ground      string     `json:"ground,omitempty"` // of a refusal
	Explanation Texts      `json:"explanation,omitempty"`
	Amount      string     `json:"amount,omitempty"` // tenge a month
	PeriodFrom  string     `json:"period_from,omitempty"`
	PeriodTo    string     `json:"period_to,omitempty"`
	Provider    Texts      `json:"provider"`
	Verdict     Verdict    `json:"verdict"`
}

// Bodies of an item, by name.
const (
	BodyRequest     = "request"         // the citizen's signed bytes, as received
	BodyReceipt     = "receipt"         // the gateway's signed receipt (XML)
	BodyEvidence    = "evidence"        // signed OCSP answer or a note of the CRL, for the admission
	BodyDelivery    = "delivery"        // what the provider is given, signed by the gateway
	BodyResult      = "result"          // the provider's signed bytes, as received
	BodyAttachment  = "attachment/"     // + SHA-256
	BodyFact        = "record/"         // + record kind
	BodyQuarantine  = "quarantine/"     // + SHA-256
	BodyResultProof = "result-evidence" // revocation evidence for the result
)

// Encode returns the dossier as the journal keeps it.
func (d *Dossier) Encode() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic("gateway: a dossier is always JSON: " + err.Error())
	}
	return b
}

// ReadDossier is the reverse of Encode.
func ReadDossier(b []byte) (*Dossier, error) {
	d := new(Dossier)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, Errorf(Internal, "read a dossier: %w", err)
	}
	return d, nil
}
