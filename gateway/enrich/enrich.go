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

// Fetch asks for every record in kinds that consent allows, and for no other (R14). The
// facts come in the order of kinds; what did not answer is a Fact with FactUnavailable and
// its Reason.
func (e *Enricher) Fetch(ctx context.Context, subject gateway.IIN, request, consentRef string, consent, kinds []gateway.RecordKind) []gateway.Fact {
	ctx, cancel := context.WithTimeout(ctx, e.c.Deadline)
	defer cancel()
	facts := make([]gateway.Fact, len(kinds))
	var wg sync.WaitGroup
	for i, k := range kinds {
		if !slices.Contains(consent, k) {
			facts[i] = gateway.Fact{Kind: k, Status: gateway.FactUnavailable, Reason: gateway.ConsentMissing, ObservedAt: e.c.Now()}
			continue
		}
		wg.Go(func() {
			facts[i] = e.one(ctx, gateway.Inquiry{Kind: k, Subject: subject, Request: request, Consent: consentRef})
		})
	}
	wg.Wait()
	return facts
}

func (e *Enricher) one(ctx context.Context, q gateway.Inquiry) gateway.Fact {
	s := e.byKind[q.Kind]
	if s == nil {
		return gateway.Fact{Kind: q.Kind, Status: gateway.FactUnavailable, Reason: gateway.ConfigInvalid, ObservedAt: e.c.Now()}
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
	if e.c.Observe != nil {
		e.c.Observe(s.Name(), q.Kind, f.Reason, time.Since(start))
	}
	return f
}

// Note is the fact without its data.
func Note(f gateway.Fact) gateway.FactNote {
	return gateway.FactNote{Kind: f.Kind, Source: f.Source, Status: f.Status, ObservedAt: f.ObservedAt, MessageID: f.MessageID, Reason: f.Reason}
}
