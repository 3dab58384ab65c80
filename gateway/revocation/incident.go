package revocation

import (
	"fmt"
	"time"
)

// MaxIncident is how long one call of [Checker.Widen] can last.
const MaxIncident = 24 * time.Hour

// An incident is an operator's decision to believe old lists for a while.
type incident struct {
	maxAge time.Duration
	until  time.Time
}

// Widen lets the lists of one issuer, named by its label, be as old as maxAge until the given
// instant, while the CA publishes nothing and its responders are away. nextUpdate still ends
// a list: an expired list proves nothing whatever an operator wishes. Decisions made so carry
// [Evidence.Degraded]. An until that is past ends the incident.
func (c *Checker) Widen(label string, maxAge time.Duration, until time.Time) error {
	now := c.now()
	if until.After(now.Add(MaxIncident)) {
		return fmt.Errorf("revocation: an incident lasts at most %v at a time", MaxIncident)
	}
	for _, s := range *c.sources.Load() {
		if s.label == label {
			s.incident.Store(&incident{maxAge, until})
			c.log.Warn("an operator widened the age of lists", "issuer", label, "max_age", maxAge, "until", until)
			return nil
		}
	}
	return fmt.Errorf("revocation: no issuer %q is configured", label)
}
