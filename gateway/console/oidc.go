package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"egov-gateway/gateway"
)

// OIDC is a sign-in at an identity provider: OpenID Connect Core 1.0, code flow with PKCE
// (RFC 7636). The ID token is verified: signature, issuer, audience, times and nonce.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret string // "" for a public client
	RedirectURL  string // of /console/oidc/callback, as operators' browsers see it
	// Claim is the one that names the operator; "" means sub. An e-mail address counts only when
	// the token says that it is verified.
	Claim string
	// Client asks the identity provider. nil means one with a deadline of ten seconds.
	Client *http.Client
}

// signInLife is how long a sign-in may take.
const signInLife = 10 * time.Minute

const stateCookie = "console_sign_in"

type oidcDoor struct {
	c   OIDC
	now func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider     // found at the first sign-in, so that the gateway starts without it; guarded by mu
	pending  map[string]pending // by state; guarded by mu
}

// pending is a sign-in that was begun.
type pending struct {
	nonce, verifier string
	until           time.Time
}

func newOIDCDoor(c OIDC, now func() time.Time) *oidcDoor {
	if c.Claim == "" {
		c.Claim = "sub"
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 10 * time.Second}
	}
	return &oidcDoor{c: c, now: now, pending: map[string]pending{}}
}

func (d *oidcDoor) find(ctx context.Context) (*oidc.Provider, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.provider != nil {
		return d.provider, nil
	}
	// The provider keeps this context for the keys that it fetches later.
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), d.c.Client), d.c.Issuer)
	if err != nil {
		return nil, gateway.Errorf(gateway.OperatorUnauthenticated, "the identity provider does not answer: %w", err)
	}
	d.provider = p
	return p, nil
}

func (d *oidcDoor) flow(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: d.c.ClientID, ClientSecret: d.c.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: d.c.RedirectURL, Scopes: []string{oidc.ScopeOpenID, "email", "profile"}}
}

// begin returns where the browser is sent, and the state.
func (d *oidcDoor) begin(ctx context.Context) (url, state string, err error) {
	p, err := d.find(ctx)
	if err != nil {
		return "", "", err
	}
	one := pending{nonce: rand.Text(), verifier: oauth2.GenerateVerifier(), until: d.now().Add(signInLife)}
	state = rand.Text()
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, old := range d.pending {
		if d.now().After(old.until) || len(d.pending) > 1000 {
			delete(d.pending, k)
		}
	}
	d.pending[state] = one
	return d.flow(p).AuthCodeURL(state, oidc.Nonce(one.nonce), oauth2.S256ChallengeOption(one.verifier)), state, nil
}

// end turns the code into the name of an operator. A state counts once.
func (d *oidcDoor) end(ctx context.Context, state, code string) (string, error) {
	d.mu.Lock()
	one, ok := d.pending[state]
	delete(d.pending, state)
	d.mu.Unlock()
	refused := func(why string) (string, error) {
		return "", gateway.Errorf(gateway.OperatorUnauthenticated, "%s", why)
	}
	if !ok || d.now().After(one.until) {
		return refused("the sign-in was not begun here, or took too long")
	}
	p, err := d.find(ctx)
	if err != nil {
		return "", err
	}
	ctx = oidc.ClientContext(ctx, d.c.Client)
	token, err := d.flow(p).Exchange(ctx, code, oauth2.VerifierOption(one.verifier))
	if err != nil {
		return refused("the identity provider does not take the code")
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return refused("the identity provider gave no ID token")
	}
	id, err := p.VerifierContext(ctx, &oidc.Config{ClientID: d.c.ClientID, Now: d.now}).Verify(ctx, raw)
	if err != nil {
		return refused("the ID token does not verify")
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(one.nonce)) != 1 {
		return refused("the ID token answers another sign-in")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return refused("the ID token's claims cannot be read")
	}
	name, _ := claims[d.c.Claim].(string)
	if verified, _ := claims["email_verified"].(bool); d.c.Claim == "email" && !verified {
		return refused("the e-mail address is not verified")
	}
	if name == "" {
		return refused("the ID token lacks the claim that names an operator")
	}
	return name, nil
}

func (c *Console) startOIDC(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	door := c.admitted.Load().oidc
	if door == nil {
		c.refuse(v, gateway.Errorf(gateway.NotFound, "there is no such sign-in"))
		return
	}
	url, state, err := door.begin(r.Context())
	if err != nil {
		c.c.Log.Error("console", "reason", string(gateway.ReasonOf(err)), "error", err)
		c.refuse(v, err)
		return
	}
	// The browser that began is the one that ends: nobody is signed in by somebody else's link.
	http.SetCookie(w, &http.Cookie{Name: stateCookie, Value: state, Path: "/console/oidc", MaxAge: int(signInLife / time.Second), HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, url, http.StatusSeeOther)
}

func (c *Console) endOIDC(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	q := r.URL.Query()
	cookie, err := r.Cookie(stateCookie)
	admitted := c.admitted.Load()
	if admitted.oidc == nil || err != nil || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(q.Get("state"))) != 1 {
		c.unknown(v)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: stateCookie, Path: "/console/oidc", MaxAge: -1, HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
	name, err := admitted.oidc.end(r.Context(), q.Get("state"), q.Get("code"))
	if err != nil {
		c.c.Log.Warn("console sign-in", "reason", string(gateway.ReasonOf(err)), "error", err)
		c.unknown(v)
		return
	}
	for _, o := range admitted.operators {
		if o.Subject != "" && o.Subject == name {
			if _, err := c.begin(w, r, o, byOIDC); err != nil {
				c.refuse(v, err)
				return
			}
			http.Redirect(w, r, "/console/", http.StatusSeeOther)
			return
		}
	}
	c.unknown(v)
}
