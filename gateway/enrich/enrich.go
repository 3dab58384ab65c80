// Package enrich fetches the records that a service needs from state information systems,
// side by side under one deadline, and keeps partial answers.
package enrich

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
)

// DefaultDeadline is how long all sources together may take.
const DefaultDeadline = 10 * time.Second

// A Source is one state information system.
type Source interface {
	// Name is the system's name, a label from a closed list.
	Name() string
	// Kinds are the records it answers.
	Kinds() []gateway.RecordKind
	// Fetch asks for one record. The error carries a Reason source.…; a record that the
	// system does not hold is a Fact with FactNoData, not an error.
	Fetch(context.Context, gateway.Inquiry) (gateway.Fact, error)
}

// Config is what an Enricher needs.
type Config struct {
	Sources []Source // at most one per record kind; required
	// Deadline bounds one Fetch of all records. 0 means DefaultDeadline.
	Deadline time.Duration
	Now      func() time.Time // nil means time.Now
	// Observe, if set, is told of every call.
	Observe func(source string, kind gateway.RecordKind, r gateway.Reason, took time.Duration)
}

// An Enricher is safe for concurrent use.
type Enricher struct{ now atomic.Pointer[desk] }

// A desk is what an Enricher works with.
type desk struct {
	Config
	byKind map[gateway.RecordKind]Source
}

// New checks that no record has two sources.
func New(c Config) (*Enricher, error) {
	if c.Deadline == 0 {
		c.Deadline = DefaultDeadline
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	d := &desk{Config: c, byKind: map[gateway.RecordKind]Source{}}
	for _, s := range c.Sources {
		for _, k := range s.Kinds() {
			if other, ok := d.byKind[k]; ok {
				return nil, fmt.Errorf("enrich: both %s and %s answer %s", other.Name(), s.Name(), k)
			}
			d.byKind[k] = s
		}
	}
	e := new(Enricher)
	e.now.Store(d)
	return e, nil
}

// Replace makes e ask the sources of next, with its deadline. Questions under way end as they began.
func (e *Enricher) Replace(next *Enricher) { e.now.Store(next.now.Load()) }

// Has reports whether a source is configured for the record.
func (e *Enricher) Has(k gateway.RecordKind) bool { return e.now.Load().byKind[k] != nil }

// A Question is one record about one person.
type Question struct {
	Kind    gateway.RecordKind
	Person  string // "applicant", "member-1" …
	Subject gateway.IIN
}

// Fetch asks every question whose record kind the signed consent allows, and no other (R14).
// The facts come in the order of the questions; what did not answer is a Fact with
// FactUnavailable and its Reason.
func (e *Enricher) Fetch(ctx context.Context, request, consentRef string, consent []gateway.RecordKind, questions []Question) []gateway.Fact {
	d := e.now.Load()
	ctx, cancel := context.WithTimeout(ctx, d.Deadline)
	defer cancel()
	facts := make([]gateway.Fact, len(questions))
	var wg sync.WaitGroup
	for i, q := range questions {
		if !slices.Contains(consent, q.Kind) {
			facts[i] = gateway.Fact{Kind: q.Kind, Person: q.Person, Status: gateway.FactUnavailable, Reason: gateway.ConsentMissing, ObservedAt: d.Now()}
			continue
		}
		wg.Go(func() {
			facts[i] = d.one(ctx, gateway.Inquiry{Kind: q.Kind, Person: q.Person, Subject: q.Subject, Request: request, Consent: consentRef})
		})
	}
	wg.Wait()
	return facts
}

func (d *desk) one(ctx context.Context, q gateway.Inquiry) gateway.Fact {
	s := d.byKind[q.Kind]
	if s == nil {
		return gateway.Fact{Kind: q.Kind, Person: q.Person, Status: gateway.FactUnavailable, Reason: gateway.ConfigInvalid, ObservedAt: d.Now()}
	}
	start := time.Now()
	f, err := s.Fetch(ctx, q)
	if err != nil {
		r := gateway.ReasonOf(err)
		if r == gateway.Internal && errors.Is(err, context.DeadlineExceeded) {
			r = gateway.SourceTimeout
		}
		f = gateway.Fact{Kind: q.Kind, Source: s.Name(), Status: gateway.FactUnavailable, Reason: r, ObservedAt: d.Now()}
	}
	f.Person = q.Person
	if d.Observe != nil {
		d.Observe(s.Name(), q.Kind, f.Reason, time.Since(start))
	}
	return f
}

// Note is the fact without its data.
func Note(f gateway.Fact) gateway.FactNote {
	return gateway.FactNote{Kind: f.Kind, Person: f.Person, Source: f.Source, Status: f.Status, ObservedAt: f.ObservedAt, MessageID: f.MessageID, Reason: f.Reason}
}
