// Package enrich fetches the records that a service needs from state information systems,
// side by side under one deadline, and keeps partial answers.
package enrich

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
type Enricher struct {
	c      Config
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
	e := &Enricher{c: c, byKind: map[gateway.RecordKind]Source{}}
	for _, s := range c.Sources {
		for _, k := range s.Kinds() {
			if other, ok := e.byKind[k]; ok {
				return nil, fmt.Errorf("enrich: both %s and %s answer %s", other.Name(), s.Name(), k)
			}
			e.byKind[k] = s
		}
	}
	return e, nil
}

// Has reports whether a source is configured for the record.
func (e *Enricher) Has(k gateway.RecordKind) bool { return e.byKind[k] != nil }

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
	ctx, cancel := context.WithTimeout(ctx, e.c.Deadline)
	defer cancel()
	facts := make([]gateway.Fact, len(questions))
	var wg sync.WaitGroup
	for i, q := range questions {
		if !slices.Contains(consent, q.Kind) {
			facts[i] = gateway.Fact{Kind: q.Kind, Person: q.Person, Status: gateway.FactUnavailable, Reason: gateway.ConsentMissing, ObservedAt: e.c.Now()}
			continue
		}
		wg.Go(func() {
			facts[i] = e.one(ctx, gateway.Inquiry{Kind: q.Kind, Person: q.Person, Subject: q.Subject, Request: request, Consent: consentRef})
		})
	}
	wg.Wait()
	return facts
}

func (e *Enricher) one(ctx context.Context, q gateway.Inquiry) gateway.Fact {
	s := e.byKind[q.Kind]
	if s == nil {
		return gateway.Fact{Kind: q.Kind, Person: q.Person, Status: gateway.FactUnavailable, Reason: gateway.ConfigInvalid, ObservedAt: e.c.Now()}
	}
	start := time.Now()
	f, err := s.Fetch(ctx, q)
	if err != nil {
		r := gateway.ReasonOf(err)
		if r == gateway.Internal && errors.Is(err, context.DeadlineExceeded) {
			r = gateway.SourceTimeout
		}
		f = gateway.Fact{Kind: q.Kind, Source: s.Name(), Status: gateway.FactUnavailable, Reason: r, ObservedAt: e.c.Now()}
	}
	f.Person = q.Person
	if e.c.Observe != nil {
		e.c.Observe(s.Name(), q.Kind, f.Reason, time.Since(start))
	}
	return f
}

// Note is the fact without its data.
func Note(f gateway.Fact) gateway.FactNote {
	return gateway.FactNote{Kind: f.Kind, Person: f.Person, Source: f.Source, Status: f.Status, ObservedAt: f.ObservedAt, MessageID: f.MessageID, Reason: f.Reason}
}
