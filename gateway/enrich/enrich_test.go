package enrich_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/enrich"
)

// source is a state system that answers after a while.
type source struct {
	name  string
	kinds []gateway.RecordKind
	after time.Duration
	err   error
	asked atomic.Int32
}

func (s *source) Name() string                { return s.name }
func (s *source) Kinds() []gateway.RecordKind { return s.kinds }

func (s *source) Fetch(ctx context.Context, q gateway.Inquiry) (gateway.Fact, error) {
	s.asked.Add(1)
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
		return gateway.Fact{}, ctx.Err()
	}
	if s.err != nil {
		return gateway.Fact{}, s.err
	}
	return gateway.Fact{Kind: q.Kind, Source: s.name, Status: gateway.FactFound, Data: []byte("<data/>")}, nil
}

var citizen = func() gateway.IIN {
	n, err := gateway.ParseIIN("900101200010")
	if err != nil {
		panic(err)
	}
	return n
}()

func questions(kinds []gateway.RecordKind) []enrich.Question {
	var all []enrich.Question
	for _, k := range kinds {
		all = append(all, enrich.Question{Kind: k, Person: "applicant", Subject: citizen})
	}
	return all
}

// R8: the systems are asked side by side under one deadline, and partial answers are kept.
func TestSourcesAreAskedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &source{name: "a", kinds: []gateway.RecordKind{gateway.RecordIdentity, gateway.RecordAddress}, after: 3 * time.Second}
		b := &source{name: "b", kinds: []gateway.RecordKind{gateway.RecordProperty}, after: time.Hour}
		c := &source{name: "c", kinds: []gateway.RecordKind{gateway.RecordIncome}, err: gateway.Errorf(gateway.SourceFault, "SCE909")}
		e, err := enrich.New(enrich.Config{Sources: []enrich.Source{a, b, c}, Deadline: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		kinds := []gateway.RecordKind{gateway.RecordIdentity, gateway.RecordAddress, gateway.RecordProperty, gateway.RecordIncome, gateway.RecordAlimony}
		start := time.Now()
		facts := e.Fetch(t.Context(), "id", "consent", kinds, questions(kinds))
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v, the deadline is 5s", took)
		}
		type outcome struct {
			status gateway.FactStatus
			reason gateway.Reason
		}
		var got []outcome
		for i, f := range facts {
			if f.Kind != kinds[i] {
				t.Errorf("fact %d is of kind %s", i, f.Kind)
			}
			got = append(got, outcome{f.Status, f.Reason})
		}
		want := []outcome{{gateway.FactFound, ""}, {gateway.FactFound, ""}, {gateway.FactUnavailable, gateway.SourceTimeout}, {gateway.FactUnavailable, gateway.SourceFault}, {gateway.FactUnavailable, gateway.ConfigInvalid}}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// R14: no record is fetched without the signed consent.
func TestNothingIsAskedWithoutConsent(t *testing.T) {
	a := &source{name: "a", kinds: []gateway.RecordKind{gateway.RecordIdentity, gateway.RecordAddress}}
	e, err := enrich.New(enrich.Config{Sources: []enrich.Source{a}})
	if err != nil {
		t.Fatal(err)
	}
	facts := e.Fetch(t.Context(), "id", "consent", []gateway.RecordKind{gateway.RecordAddress}, questions(a.kinds))
	if a.asked.Load() != 1 || facts[0].Reason != gateway.ConsentMissing || facts[1].Status != gateway.FactFound {
		t.Errorf("asked %d times: %+v", a.asked.Load(), facts)
	}
}

func TestTwoSourcesForOneRecordAreRefused(t *testing.T) {
	a := &source{name: "a", kinds: []gateway.RecordKind{gateway.RecordIdentity}}
	b := &source{name: "b", kinds: []gateway.RecordKind{gateway.RecordIdentity}}
	if _, err := enrich.New(enrich.Config{Sources: []enrich.Source{a, b}}); err == nil {
		t.Error("no error")
	}
}
