// Package shep speaks the message interface of the e-government gateway (ШЭП, SHEP): the
// SyncChannel v10 contract, SOAP 1.1, document/literal wrapped.
//
// The contract has no elementFormDefault, so everything below the operation's own element is
// unqualified. It is written so, and read so, with one leniency: senders in the field qualify
// "data" with whatever namespace is at hand, so "data" is found by its local name.
//
// Answers are foreign bytes: [xmlsig.Scan] is the only parser that sees them, and children are
// accepted only in the contract's order and number.
package shep
