package statesim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// A FaultKind names one way in which a door of the world fails.
type FaultKind string

// Faults of every door.
const (
	Latency     FaultKind = "latency"     // answers rightly, after Delay (real time)
	Unavailable FaultKind = "unavailable" // 503
	Reset       FaultKind = "reset"       // the connection is cut
	Hang        FaultKind = "hang"        // no answer until the caller leaves
	Garbage     FaultKind = "garbage"     // status 200 and bytes that are nothing
)

// Faults of state systems.
const (
	SOAPFault        FaultKind = "fault"             // a SOAP fault SCE909
	ErrorStatus      FaultKind = "error-status"      // SCSE001 without business data
	ErrorResult      FaultKind = "error-result"      // a messageResult code nobody knows
	NoData           FaultKind = "no-data"           // knows nobody
	WrongIIN         FaultKind = "wrong-iin"         // a complete answer about another person
	WrongRequest     FaultKind = "wrong-request"     // answers another question
	WrongCorrelation FaultKind = "wrong-correlation" // answers in another chain of messages
	MissingField     FaultKind = "missing-field"     // a mandatory element is left out
	EmptyAnswer      FaultKind = "empty-answer"      // success without business data
	Oversized        FaultKind = "oversized"         // 32 MB
	ForeignXML       FaultKind = "foreign-xml"       // well-formed, of another namespace
)

// Faults of the OCSP responder and the CRLs.
const (
	TryLater      FaultKind = "try-later"      // OCSP status tryLater
	Stale         FaultKind = "stale"          // thisUpdate a week ago; a CRL past its nextUpdate
	Future        FaultKind = "future"         // dated a day ahead
	NoNonce       FaultKind = "no-nonce"       // the nonce is not echoed
	WrongNonce    FaultKind = "wrong-nonce"    // another nonce
	WrongCertID   FaultKind = "wrong-cert-id"  // about another certificate
	BadSignature  FaultKind = "bad-signature"  // one bit of the signature is wrong
	ForeignSigner FaultKind = "foreign-signer" // signed by Config.Foreign
)

// Faults of providers. Reject refuses deliveries, the others concern what is reported.
const (
	Reject        FaultKind = "reject"         // a delivery is answered 422
	Silent        FaultKind = "silent"         // takes the delivery and never reports
	Late          FaultKind = "late"           // each step takes three times its limit
	NoSteps       FaultKind = "no-steps"       // only the result is reported
	WrongSigner   FaultKind = "wrong-signer"   // the result is signed by Config.Wrong
	ForeignBIN    FaultKind = "foreign-bin"    // the result is signed by Config.Foreign
	ExpiredSigner FaultKind = "expired-signer" // the result is signed by Config.Expired
	Unsigned      FaultKind = "unsigned"       // the result has no signature
	Tampered      FaultKind = "tampered"       // the result is changed after signing
	OtherRequest  FaultKind = "other-request"  // the result names another request
	Twice         FaultKind = "twice"          // the same result is sent again
	Contradiction FaultKind = "contradiction"  // a second, different result follows
)

// Targets of faults besides the six state systems. "providers" means every provider; the id of
// one means that one.
const (
	TargetOCSP      = "ocsp"
	TargetCRL       = "crl"
	TargetProviders = "providers"
	TargetPortal    = "portal"
)

var (
	anyFaults      = []FaultKind{Latency, Unavailable, Reset, Hang, Garbage}
	systemFaults   = append([]FaultKind{SOAPFault, ErrorStatus, ErrorResult, NoData, WrongIIN, WrongRequest, WrongCorrelation, MissingField, EmptyAnswer, Oversized, ForeignXML}, anyFaults...)
	ocspFaults     = append([]FaultKind{TryLater, Stale, Future, NoNonce, WrongNonce, WrongCertID, BadSignature, ForeignSigner}, anyFaults...)
	crlFaults      = append([]FaultKind{Stale, Future, BadSignature}, anyFaults...)
	deliveryFaults = append([]FaultKind{Reject}, anyFaults...)
	paceFaults     = []FaultKind{Silent, Late, NoSteps}
	resultFaults   = []FaultKind{WrongSigner, ForeignBIN, ExpiredSigner, Unsigned, Tampered, OtherRequest, Twice, Contradiction}
)

// A Fault makes a door fail.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Calls that fail; it counts down. 0 means all, until the fault is cleared.
	Calls int `json:"calls,omitempty"`
	// Rate is the share of calls that fail, above 0 up to 1. 0 means every call.
	Rate float64 `json:"rate,omitempty"`
	// DelayMS of latency, in milliseconds of real time.
	DelayMS int `json:"delay_ms,omitempty"`

	used bool // Calls ran out
}

// SetFaults replaces the faults of a target; none means that it works again. Of several, the
// first that strikes counts, except that latency adds to what follows it.
func (w *World) SetFaults(target string, faults ...Fault) error {
	allowed, err := w.allowed(target)
	if err != nil {
		return err
	}
	list := make([]*Fault, 0, len(faults))
	for _, f := range faults {
		if !slices.Contains(allowed, f.Kind) {
			return fmt.Errorf("statesim: %s has no fault %q", target, f.Kind)
		}
		if f.Rate < 0 || f.Rate > 1 || f.Calls < 0 || f.DelayMS < 0 {
			return fmt.Errorf("statesim: fault %s of %s is out of range", f.Kind, target)
		}
		for kind, who := range map[FaultKind]Identity{WrongSigner: w.c.Wrong, ForeignBIN: w.c.Foreign, ForeignSigner: w.c.Foreign, ExpiredSigner: w.c.Expired} {
			if f.Kind == kind && who.isZero() {
				return fmt.Errorf("statesim: fault %s needs an identity in the Config", f.Kind)
			}
		}
		f.used = false
		list = append(list, &f)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[target] = list
	return nil
}

// ClearFaults makes everything work again.
func (w *World) ClearFaults() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.faults)
}

func (w *World) allowed(target string) ([]FaultKind, error) {
	_, isProvider := w.providers[target]
	switch {
	case systems[target].kinds != nil:
		return systemFaults, nil
	case target == TargetOCSP:
		return ocspFaults, nil
	case target == TargetCRL:
		return crlFaults, nil
	case target == TargetPortal:
		return anyFaults, nil
	case target == TargetProviders || isProvider:
		return slices.Concat(deliveryFaults, paceFaults, resultFaults), nil
	}
	return nil, fmt.Errorf("statesim: no target %q", target)
}

// strike returns the fault of one of kinds that hits this call of target, "" for none, and how
// long the call is held up before.
func (w *World) strike(kinds []FaultKind, targets ...string) (FaultKind, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var wait time.Duration
	for _, target := range targets {
		for _, f := range w.faults[target] {
			if f.used || !slices.Contains(kinds, f.Kind) || f.Rate > 0 && w.dice.Float64() >= f.Rate {
				continue
			}
			if f.Calls > 0 {
				f.Calls--
				f.used = f.Calls == 0
			}
			if f.Kind == Latency {
				wait += time.Duration(f.DelayMS) * time.Millisecond
				continue
			}
			return f.Kind, wait
		}
	}
	return "", wait
}

// door counts a call and lets the faults that every door has act. It reports false when there
// is nothing more to answer.
func (w *World) door(rw http.ResponseWriter, r *http.Request, name string, kinds []FaultKind, targets ...string) (FaultKind, bool) {
	w.mu.Lock()
	w.seen[name]++
	w.mu.Unlock()
	fault, wait := w.strike(kinds, targets...)
	if !sleep(r.Context(), wait) {
		return fault, false
	}
	switch fault {
	case Unavailable:
		http.Error(rw, "TEST ONLY: unavailable on demand", http.StatusServiceUnavailable)
	case Reset:
		if h, ok := rw.(http.Hijacker); ok {
			if c, _, err := h.Hijack(); err == nil {
				c.Close()
			}
		}
	case Hang:
		// The server sees that the caller left only once the body is read.
		io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
		<-r.Context().Done()
	case Garbage:
		io.WriteString(rw, "\x00<<garbage on demand>>")
	default:
		return fault, true
	}
	return fault, false
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *World) currentFaults() map[string][]Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string][]Fault)
	for target, list := range w.faults {
		for _, f := range list {
			if !f.used {
				out[target] = append(out[target], *f)
			}
		}
	}
	return out
}

func (w *World) serveFaults(rw http.ResponseWriter, _ *http.Request) {
	writeJSON(rw, http.StatusOK, w.currentFaults())
}

// serveSetFaults takes {"target": [fault, …], …}; targets that are not named stay as they are.
func (w *World) serveSetFaults(rw http.ResponseWriter, r *http.Request) {
	var all map[string][]Fault
	if !readJSON(rw, r, &all) {
		return
	}
	for target, faults := range all {
		if err := w.SetFaults(target, faults...); err != nil {
			writeJSON(rw, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
	}
	w.serveFaults(rw, r)
}

func (w *World) serveClearFaults(rw http.ResponseWriter, r *http.Request) {
	w.ClearFaults()
	w.serveFaults(rw, r)
}

// maxBody bounds what any door reads.
const maxBody = 64 << 20

func readJSON(rw http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		writeJSON(rw, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return false
	}
	return true
}

func writeJSON(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	json.NewEncoder(rw).Encode(v)
}
