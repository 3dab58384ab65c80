package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// A RequestID names an accepted request: 32 lower-case hex digits. It is derived from what
// was signed, so the same submission always has the same id; it is the idempotency key
// toward providers and the chain id toward state systems.
type RequestID string

// NewRequestID derives the id from the portal, the portal's message id and the SHA-256 of
// the canonical signed bytes.
func NewRequestID(portal, messageID string, content [32]byte) RequestID {
	h := sha256.New()
	h.Write([]byte("egov-gateway request 1\x00" + portal + "\x00" + messageID + "\x00"))
	h.Write(content[:])
	return RequestID(hex.EncodeToString(h.Sum(nil)[:16]))
}

// ParseRequestID accepts only what NewRequestID can have made; the error carries [NotFound],
// because no request has such a name.
func ParseRequestID(s string) (RequestID, error) {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 16 || hex.EncodeToString(b) != s {
		return "", Errorf(NotFound, "a request id is 32 lower-case hex digits")
	}
	return RequestID(s), nil
}

// A State is where an accepted request stands.
type State string

const (
	// StateAccepted: durable and acknowledged; records are fetched next.
	StateAccepted State = "accepted"
	// StateEnriched: the records that must be there are there; delivery is next.
	StateEnriched State = "enriched"
	// StateDelivered: the provider has it and works; steps and the result are awaited.
	StateDelivered State = "delivered"
	// StateDecided: the provider's signed result was verified and lies in the cabinet; the portal is told next.
	StateDecided State = "decided"
	// StateClosed: nothing is left to do.
	StateClosed State = "closed"
	// StateErased: the time to keep the documents has passed; what they were and how they were
	// judged remains until the time to keep the proof has passed too.
	StateErased State = "erased"
	// StateParked: stopped for an operator; nothing is lost, nothing goes on by itself.
	StateParked State = "parked"
)

// States lists all states in the order of the way.
var States = []State{StateAccepted, StateEnriched, StateDelivered, StateDecided, StateClosed, StateErased, StateParked}

// OpenStates lists those in which the limits of a result and of the steps run: the citizen
// waits for the provider. A parked request is one, whoever it waits for.
var OpenStates = []State{StateAccepted, StateEnriched, StateDelivered, StateParked}

// An EventKind names what happened. The list is closed; catalogues have a text for each.
type EventKind string

const (
	EventAccepted    EventKind = "accepted"
	EventRecord      EventKind = "record"       // Subject: record kind; Note: found, no-data, unavailable; Source: who was asked
	EventEnriched    EventKind = "enriched"     //
	EventDelivered   EventKind = "delivered"    // Subject: provider
	EventStep        EventKind = "step"         // Subject: step code; At: when the provider completed it
	EventStepOverdue EventKind = "step-overdue" // Subject: step code
	EventResult      EventKind = "result"       // Subject: assignment or refusal
	EventQuarantined EventKind = "quarantined"  // a step or result that did not verify; Reason says why
	EventNotified    EventKind = "notified"     // the portal took the notice
	EventRetry       EventKind = "retry"        // Reason says why; the work is tried again
	EventParked      EventKind = "parked"       //
	EventRedriven    EventKind = "redriven"     // an operator set the work going again
	EventErased      EventKind = "erased"       // the documents were erased; their digests stay
)

// EventKinds lists all kinds.
var EventKinds = []EventKind{EventAccepted, EventRecord, EventEnriched, EventDelivered, EventStep, EventStepOverdue, EventResult,
	EventQuarantined, EventNotified, EventRetry, EventParked, EventRedriven, EventErased}

// An Event is one thing that happened to a request. It holds no personal data.
type Event struct {
	Seq     int       `json:"seq"` // 1, 2, 3 … within the request
	At      time.Time `json:"at"`
	Kind    EventKind `json:"kind"`
	Subject string    `json:"subject,omitempty"`
	Source  string    `json:"source,omitempty"`
	Note    string    `json:"note,omitempty"`
	Reason  Reason    `json:"reason,omitempty"`
}
