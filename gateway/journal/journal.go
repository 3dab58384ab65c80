// Package journal is the gateway's durable memory: what was accepted, what happened to it,
// and what is to be done next.
//
// [Store] is the contract, journaltest its conformance suite. A store is the only place
// that says a thing is durable; everything else repeats itself until a store has answered.
package journal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"egov-gateway/gateway"
)

// A Store keeps items. It is safe for concurrent use. Every error but those named is an
// engine error: the write may or may not have happened, and repeating the same call is safe.
// Times are kept to the microsecond, in UTC.
//
// The store's own clock decides what is due: that of the process for a store of one process, that of the
// server for one that several share. Of the instants of a call what counts is how far they lie from the
// caller's now: what a gateway whose clock is an hour ahead puts off for a minute is due in a minute.
type Store interface {
	// Create keeps a new item with its bodies and first events. When it returns nil, all of
	// it is on disk and survives the loss of power. For a message id already used with the
	// same content it returns the first item and [ErrDuplicate], which is just as durable;
	// with other content it returns [ErrReplay] and nothing is kept. [gateway.Overload] and
	// [gateway.JournalFull] come at once, without waiting, when a bound is reached.
	Create(ctx context.Context, n New) (Item, error)

	// Claim leases up to o.Max items whose wake time has come, the longest waiting first,
	// and raises their version, which fences off whoever held them before. The lease is
	// durable when it returns.
	Claim(ctx context.Context, o ClaimOptions) ([]Lease, error)

	// Advance records the outcome of the work done under a lease: state, document, events,
	// bodies, next wake time and consumed signals, all or nothing, and ends the lease. It is
	// durable when it returns nil, and what it erased or removed cannot be read again.
	// [ErrLeaseLost] means that somebody else claimed the item since; nothing was written.
	Advance(ctx context.Context, l Lease, s Step) error

	// Signal leaves a message for an item and wakes it at once, whatever its At says: that is
	// information, and its writer's clock may be any. It is durable when it returns nil.
	// The same key again, with whatever content, is not kept a second time: fresh is false
	// and the first message comes back, without its body once it was consumed. [ErrNotFound]
	// for an unknown id.
	Signal(ctx context.Context, id gateway.RequestID, s Signal) (first Signal, fresh bool, err error)

	// Get returns an item with all its events. It reads what was durable at the call.
	Get(ctx context.Context, id gateway.RequestID) (Item, error)

	// Body returns one of an item's bodies, checked against its SHA-256. It reads what was
	// durable at the call. [ErrErased] when retention took it.
	Body(ctx context.Context, id gateway.RequestID, name string) ([]byte, error)

	// List returns items, newest first unless q.Oldest, without events and bodies, and the cursor
	// of the next page, "" at the end. It reads what was durable at the call. A page of a query by
	// Service may be short, or empty, although there is a next one: a store that has no index for
	// it looks at a bounded number of items for each page.
	List(ctx context.Context, q Query) ([]Item, string, error)

	// Stats counts items by shard and state, and proves by a write that the store still works.
	Stats(ctx context.Context) (Stats, error)

	// Close ends the store after the calls in flight; later calls fail.
	io.Closer
}

// An Audit keeps what leaves no item: refusals of known parties at the door, and what operators did and
// looked at. It holds no personal data. Both are kept for a time of the store's configuration, refusals
// and actions each for their own.
type Audit interface {
	// Record keeps one entry. It is durable when it returns nil. A refusal is not kept while the store
	// has too little room for anything but the work on what was accepted ([gateway.JournalFull]); an
	// action is.
	Record(ctx context.Context, e AuditEntry) error
	// Recent returns the newest refusals, newest first.
	Recent(ctx context.Context, limit int) ([]AuditEntry, error)
	// Actions returns the newest entries with an Action, newest first. However many refusals
	// came since, they are there.
	Actions(ctx context.Context, limit int) ([]AuditEntry, error)
}

// An AuditEntry is one refusal, or one action of an operator.
type AuditEntry struct {
	At            time.Time
	Door          string // rest, provider, cabinet, console
	Party         string // configured name of the caller, "" when unknown
	Reason        gateway.Reason
	ContentSHA256 string // hex, of the canonical signed bytes when they verified
	// Action is what an operator did or looked at; "" makes the entry a refusal.
	Action  string
	Subject string // of the action: a request's id, a page
	Shard   string // of the action's subject, "" when it has none
}

// How long a store keeps audit entries when its configuration says nothing.
const (
	DefaultRefusalsKeep = 90 * 24 * time.Hour
	DefaultActionsKeep  = 5 * 365 * 24 * time.Hour
)

var (
	// ErrDuplicate: the same message with the same content was accepted before.
	ErrDuplicate = errors.New("journal: already accepted")
	// ErrReplay: the message id was used before with other content.
	ErrReplay = errors.New("journal: message id already used with other content")
	// ErrLeaseLost: the item was claimed by somebody else since.
	ErrLeaseLost = errors.New("journal: lease lost")
	// ErrNotFound: no such item or body.
	ErrNotFound = errors.New("journal: not found")
	// ErrErased: the body was there; retention took it, and its digest remains.
	ErrErased = errors.New("journal: erased")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("journal: closed")
)

// A CitizenKey stands for a citizen in indexes: the journal never holds an IIN in clear
// outside bodies.
type CitizenKey string

// KeyOf derives the index key of an IIN under a secret of the installation (at least 32 bytes).
func KeyOf(secret []byte, iin gateway.IIN) CitizenKey {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("citizen\x00" + iin.Reveal()))
	return CitizenKey(hex.EncodeToString(m.Sum(nil)[:16]))
}

// A New is a request to be kept.
type New struct {
	ID        gateway.RequestID
	Portal    string   // with MessageID: the once-only key
	MessageID string   //
	Content   [32]byte // SHA-256 of the canonical signed bytes
	Citizen   CitizenKey
	Service   string
	Shard     string
	Provider  string
	Created   time.Time
	Wake      time.Time
	Doc       []byte // the flow's own record of the request; the journal does not read it
	Events    []gateway.Event
	Bodies    map[string][]byte
}

// An Item is a kept request. Events is filled by Get, Claim and Create only, Bodies by Get and Claim.
type Item struct {
	ID        gateway.RequestID
	Portal    string
	MessageID string
	Content   [32]byte
	Citizen   CitizenKey
	Service   string
	Shard     string
	Provider  string
	State     gateway.State
	Version   int64
	Attempt   int // tries of the step at hand that failed
	Created   time.Time
	Updated   time.Time
	Wake      time.Time // zero when nothing is planned
	Doc       []byte
	Events    []gateway.Event
	Bodies    map[string]BodyNote
}

// A BodyNote is what stays of a body for ever: what it was, whether or not it is still there.
type BodyNote struct {
	SHA256 [32]byte
	Size   int64
	Erased bool
}

// A Signal is a message for an item from outside: a provider's step or result, an operator's order.
type Signal struct {
	Key  string // once-only within the item
	Kind string
	At   time.Time // as its writer's clock had it
	Body []byte
	// SHA256 is that of Body. The store sets it, and keeps it when the body goes.
	SHA256 [32]byte
}

// ClaimOptions says what to claim.
type ClaimOptions struct {
	Shards []string // only these; empty claims nothing
	Now    time.Time
	Lease  time.Duration
	Max    int
	// Ordered are the states in which an item waits for every older item of the same shard,
	// citizen and service that is in one of them too: one citizen's requests keep their order.
	Ordered []gateway.State
}

// A Lease is the right to advance an item until Until, or until somebody claims it after that.
type Lease struct {
	Item  Item
	Inbox []Signal // in order of arrival
	Until time.Time
	// Token is the store's own mark of this lease beside the item's version, which a failover
	// may give a second time.
	Token string
}

// A Step is the outcome of work on an item.
type Step struct {
	State    gateway.State
	Attempt  int
	Wake     time.Time // zero: only a signal wakes it
	Doc      []byte
	Events   []gateway.Event // Seq is given by the store
	Bodies   map[string][]byte
	Consumed []string // keys of signals that need not be seen again; their bodies go, their digests stay
	// Erase names bodies that go while their digests stay.
	Erase []string
	// Remove ends the item with everything that belongs to it; State and the rest do not matter.
	Remove bool
	At     time.Time
}

// LetterPrefix begins the name of every shard that holds messages to participants instead of
// citizens' requests. A store may index the two differently.
const LetterPrefix = "shep:"

// A Query selects items; empty fields select all.
type Query struct {
	Citizen CitizenKey
	Shard   string
	State   gateway.State
	// Service selects items of one service. Together with State and a Shard of [LetterPrefix] a page costs
	// what it holds, however many items of other services stand between them, where the store indexes them.
	Service string
	// DueBefore selects what should have been worked on before that instant.
	DueBefore time.Time
	// Oldest turns the order round: the items come as they were created. A cursor is good for the
	// order in which it was given.
	Oldest bool
	Cursor string
	Limit  int // 0 means 50
}

// Stats is the store's own account.
type Stats struct {
	ByShard map[string]map[gateway.State]int
	// OldestDue is the wake time of the longest waiting unleased item, zero if none.
	OldestDue time.Time
}
