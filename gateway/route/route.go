// Package route decides, without any I/O, who serves a request: service and territory lead
// to a passport, its region's shard, and a provider (R6, R15).
package route

import (
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/passport"
)

// A Route is where a request goes.
type Route struct {
	Passport *passport.Passport
	Provider *passport.Provider
}

// A Table knows the passports and which providers can be reached. It is immutable.
type Table struct {
	register  *passport.Register
	reachable func(p *passport.Passport, provider string) bool
}

// NewTable makes a table; reachable tells whether this gateway works the passport's shard and
// has an address for the provider.
func NewTable(r *passport.Register, reachable func(p *passport.Passport, provider string) bool) *Table {
	return &Table{r, reachable}
}

// Find returns the route for a request received at an instant, or an error with [gateway.ServiceUnknown] or
// [gateway.TerritoryUnknown]; the latter lists the territories that are served.
func (t *Table) Find(r *gateway.Request, at time.Time) (Route, error) {
	if !t.register.Offers(r.Service, at) {
		return Route{}, gateway.Errorf(gateway.ServiceUnknown, "no passport for the service code; known are %s", strings.Join(t.services(at), ", "))
	}
	var (
		best   Route
		digits int
	)
	for _, p := range t.register.Applying(at) {
		if p.Service != r.Service {
			continue
		}
		for i := range p.Providers {
			if n := p.Providers[i].Serves(r.Territory); n > digits && t.reachable(p, p.Providers[i].ID) {
				best, digits = Route{p, &p.Providers[i]}, n
			}
		}
	}
	if digits == 0 {
		return Route{}, gateway.Errorf(gateway.TerritoryUnknown, "no provider serves the territory; served are KATO %s", strings.Join(t.Served(r.Service, at), ", "))
	}
	return best, nil
}

func (t *Table) services(at time.Time) []string {
	var all []string
	for _, p := range t.register.Applying(at) {
		if !slices.Contains(all, p.Service) {
			all = append(all, p.Service)
		}
	}
	slices.Sort(all)
	return all
}

// Served lists the KATO prefixes that a service is offered in at an instant.
func (t *Table) Served(service string, at time.Time) []string {
	var all []string
	for _, p := range t.register.Applying(at) {
		if p.Service != service {
			continue
		}
		for _, q := range p.Providers {
			if t.reachable(p, q.ID) {
				all = append(all, q.KATO...)
			}
		}
	}
	slices.Sort(all)
	return all
}
