package gateway

import (
	"encoding/json"
	"time"
)

// A Dossier is what the gateway knows of an accepted request beside the documents
// themselves: plan, outcome and proof. It names nobody.
type Dossier struct {
	Door         string       `json:"door,omitempty"`  // by which the request came first
	Trace        string       `json:"trace,omitempty"` // traceparent of its acceptance (W3C Trace Context)
	Passport     string       `json:"passport"`        // id of the passport the request was accepted under
	Version      string       `json:"version"`         // and its version
	Language     Language     `json:"language"`
	ReceivedAt   time.Time    `json:"received_at"`
	RegisteredAt time.Time    `json:"registered_at"`         // start of the terms (R11)
	DueAt        time.Time    `json:"due_at"`                // date and time of the result (R10)
	Provisional  bool         `json:"provisional,omitempty"` // the term reaches a year whose days off nobody had announced
	Admission    Verdict      `json:"admission"`
	Evidence     string       `json:"evidence,omitempty"` // name of the body with the revocation evidence
	Consent      []RecordKind `json:"consent,omitempty"`
	Attachments  []Attachment `json:"attachments,omitempty"`
	Steps        []StepPlan   `json:"steps"`
	Records      []FactNote   `json:"records,omitempty"`
	Result       *Result      `json:"result,omitempty"`
	// Quarantined counts documents for this request that did not verify and were never shown.
	Quarantined int `json:"quarantined,omitempty"`
	// ClosedAt is from when the passport's retention counts.
	ClosedAt time.Time `json:"closed_at,omitzero"`
}

// Forget takes out what was decided about the person and who at the provider's took it; dates,
// digests, verdicts and the kind of the result stay as proof.
func (d *Dossier) Forget() {
	for i := range d.Steps {
		d.Steps[i].Registration = nil
	}
	if r := d.Result; r != nil {
		d.Result = &Result{Kind: r.Kind, Number: r.Number, DecidedAt: r.DecidedAt, ReceivedAt: r.ReceivedAt, Provider: r.Provider, Verdict: r.Verdict}
	}
}

// A StepPlan is one of the provider's steps with its time limit (R12).
type StepPlan struct {
	Code        string    `json:"code"`
	DueAt       time.Time `json:"due_at"`
	Provisional bool      `json:"provisional,omitempty"` // as in Dossier, up to this step's DueAt
	CompletedAt time.Time `json:"completed_at,omitzero"`
	Overdue     bool      `json:"overdue,omitempty"` // the limit passed before the step was reported
	// Registration is what the provider's office gave with a step that registers (R19).
	Registration *Registration `json:"registration,omitempty"`
}

// A Registration says under which number and by whom something was taken (S 9-1).
type Registration struct {
	Number     string `json:"number"`
	AcceptedBy string `json:"accepted_by"` // surname and initials of the official
}

// A DeadlineState says how a step or a request stands to its limit.
type DeadlineState string

const (
	OnTime  DeadlineState = "on-time"
	DueSoon DeadlineState = "due-soon" // less than a tenth of the term, or less than DueSoonWithin, is left
	Overdue DeadlineState = "overdue"
	Met     DeadlineState = "met"    // done inside the limit
	Missed  DeadlineState = "missed" // done after it
)

// DeadlineStates lists them in the order of urgency.
var DeadlineStates = []DeadlineState{OnTime, DueSoon, Overdue, Met, Missed}

// DueSoonWithin is the longest time before a limit that counts as soon.
const DueSoonWithin = 24 * time.Hour

// Deadline tells how something begun at from, with its limit at due, stands at now; done is
// when it was completed, zero if it was not.
func Deadline(from, due, done, now time.Time) DeadlineState {
	switch {
	case !done.IsZero() && done.After(due):
		return Missed
	case !done.IsZero():
		return Met
	case !now.Before(due):
		return Overdue
	case due.Sub(now) < min(DueSoonWithin, due.Sub(from)/10):
		return DueSoon
	}
	return OnTime
}

// DeadlineAt tells how the whole request stands at now.
func (d *Dossier) DeadlineAt(now time.Time) DeadlineState {
	var done time.Time
	if d.Result != nil {
		done = d.Result.ReceivedAt
	}
	return Deadline(d.RegisteredAt, d.DueAt, done, now)
}

// StepStates tells how each step stands at now; a step begins where the one before is due.
func (d *Dossier) StepStates(now time.Time) []DeadlineState {
	states := make([]DeadlineState, len(d.Steps))
	from := d.RegisteredAt
	for i, s := range d.Steps {
		states[i] = Deadline(from, s.DueAt, s.CompletedAt, now)
		from = s.DueAt
	}
	return states
}

// A FactNote is a Fact without its data.
type FactNote struct {
	Kind RecordKind `json:"kind"`
	// Person is whom the record is about: "applicant", or "member-1", "member-2" … in the order of the form.
	Person     string     `json:"person"`
	Source     string     `json:"source"`
	Status     FactStatus `json:"status"`
	ObservedAt time.Time  `json:"observed_at"`
	MessageID  string     `json:"message_id,omitempty"`
	Reason     Reason     `json:"reason,omitempty"`
}

// A ResultKind is a kind of result that a passport may name; housing aid has the first two (R17).
type ResultKind string

const (
	ResultAssignment ResultKind = "assignment" // notice of assignment
	ResultRefusal    ResultKind = "refusal"    // reasoned refusal
	ResultAnswer     ResultKind = "answer"     // to a complaint (R19)
)

// ResultKinds lists all kinds.
var ResultKinds = []ResultKind{ResultAssignment, ResultRefusal, ResultAnswer}

// A Result is the provider's verified decision.
type Result struct {
	Kind        ResultKind `json:"kind"`
	Number      string     `json:"number"`
	DecidedAt   time.Time  `json:"decided_at"`
	ReceivedAt  time.Time  `json:"received_at"`
	Ground      string     `json:"ground,omitempty"` // of a refusal
	Explanation Texts      `json:"explanation,omitempty"`
	Outcome     string     `json:"outcome,omitempty"` // of an answer: satisfied, partly, rejected
	Amount      string     `json:"amount,omitempty"`  // tenge a month
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
