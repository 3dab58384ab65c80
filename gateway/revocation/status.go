package revocation

import (
	"net/url"
	"time"

	"egov-gateway/gateway"
)

// A SourceStatus is what is held about one issuer, for operators.
type SourceStatus struct {
	Label      string
	Responders []ResponderStatus
	Lists      []ListStatus
	// UsableTill is when the lists stop to prove anything; zero without lists.
	UsableTill time.Time
	// Trouble is why the lists prove nothing now: "" when they do, or when none is configured.
	Trouble gateway.Reason
}

// A ResponderStatus is one OCSP responder.
type ResponderStatus struct {
	Host string // host and port of its address
	Open bool   // spared after repeated failures
}

// A ListStatus is a CRL that is held.
type ListStatus struct {
	Kind                   string // full, delta
	ThisUpdate, NextUpdate time.Time
	Entries                int
}

// Sources tells what is held about every issuer, in the order of the configuration. It asks nobody.
func (c *Checker) Sources() []SourceStatus {
	now := c.now()
	var all []SourceStatus
	for _, s := range *c.sources.Load() {
		one := SourceStatus{Label: s.label}
		for i, address := range s.issuer.OCSP {
			host := address
			if u, err := url.Parse(address); err == nil && u.Host != "" {
				host = u.Host
			}
			one.Responders = append(one.Responders, ResponderStatus{Host: host, Open: s.breakers[i].open()})
		}
		l := s.lists.Load()
		if l.base != nil {
			one.Lists = append(one.Lists, ListStatus{"full", l.base.ThisUpdate, l.base.NextUpdate, l.base.Len()})
		}
		if l.delta != nil {
			one.Lists = append(one.Lists, ListStatus{"delta", l.delta.ThisUpdate, l.delta.NextUpdate, l.delta.Len()})
		}
		if s.issuer.CRL != "" {
			until, err := s.freshness(now)
			one.UsableTill, one.Trouble = until, gateway.ReasonOf(err)
		}
		all = append(all, one)
	}
	return all
}
