package console

import (
	"errors"
	"slices"
	"time"
)

// CheckOperators says why they could not be told apart or could not sign in.
func CheckOperators(all []Operator, o *OIDC) error {
	if len(all) == 0 {
		return errors.New("console: nobody may sign in: Config.Operators is empty")
	}
	for i, o := range all {
		if o.Name == "" || o.CertificateSHA256 == [32]byte{} && o.Subject == "" && o.TokenSHA256 == [32]byte{} {
			return errors.New("console: an operator needs a name and a way to sign in")
		}
		for _, p := range all[:i] {
			if p.Name == o.Name || o.Subject != "" && p.Subject == o.Subject ||
				o.CertificateSHA256 != [32]byte{} && p.CertificateSHA256 == o.CertificateSHA256 ||
				o.TokenSHA256 != [32]byte{} && p.TokenSHA256 == o.TokenSHA256 {
				return errors.New("console: " + o.Name + " and " + p.Name + " cannot be told apart")
			}
		}
	}
	if o != nil && (o.Issuer == "" || o.ClientID == "" || o.RedirectURL == "") {
		return errors.New("console: OIDC.Issuer, ClientID and RedirectURL are required")
	}
	return nil
}

// admitted are those who may sign in, and how, at a time.
type admitted struct {
	operators []*Operator
	settings  *OIDC // nil without that sign-in
	oidc      *oidcDoor
}

func admit(all []Operator, o *OIDC, now func() time.Time) *admitted {
	a := &admitted{settings: o}
	for _, one := range all {
		a.operators = append(a.operators, &one)
	}
	if o != nil {
		a.oidc = newOIDCDoor(*o, now)
	}
	return a
}

// same reports whether nothing about the operator has changed: neither rights nor ways to sign in.
func (o *Operator) same(p *Operator) bool {
	return o.Name == p.Name && slices.Equal(o.View, p.View) && slices.Equal(o.Act, p.Act) && o.CertificateSHA256 == p.CertificateSHA256 &&
		o.Subject == p.Subject && o.TokenSHA256 == p.TokenSHA256
}

// vouches reports whether both believe the same identity provider about the same thing.
func (o *OIDC) vouches(p *OIDC) bool {
	return o != nil && p != nil && o.Issuer == p.Issuer && o.ClientID == p.ClientID && o.Claim == p.Claim
}

// gone reports whether a session's operator is no longer admitted.
func (a *admitted) gone(s *session) bool { return !slices.Contains(a.operators, s.operator) }

// SetOperators replaces those who may sign in, and the identity provider; nil admits nobody. An
// operator who is gone, or has other rights or other ways to sign in, is signed out at once and his
// open pages hear no more. So is who signed in at an identity provider that is no longer asked. A
// sign-in that was begun goes on only if nothing about the identity provider has changed. It returns
// how many sessions ended. Check the arguments with [CheckOperators] before.
func (c *Console) SetOperators(all []Operator, o *OIDC) (ended int) {
	was, next := c.admitted.Load(), admit(all, o, c.c.Now)
	for i, one := range next.operators {
		for _, before := range was.operators {
			if before.same(one) {
				next.operators[i] = before
			}
		}
	}
	vouched := was.settings.vouches(o)
	if vouched && *was.settings == *o {
		next.oidc = was.oidc
	}
	c.admitted.Store(next)
	ended = c.sessions.endWhere(func(s *session) bool { return next.gone(s) || s.how == byOIDC && !vouched })
	c.news.Look()
	return ended
}
