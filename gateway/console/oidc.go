package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"egov-gateway/gateway"
	"egov-gateway/gateway/token"
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

// SignInsAtOnce bounds the calls of the identity provider that are under way for those who come back from there.
// One address may have a quarter of them.
const SignInsAtOnce = 8

const stateCookie = "console_sign_in"

// usedMax bounds the states that are remembered as used. One that is pushed out still fails at the identity
// provider, whose codes count once.
const usedMax = 10_000

// An oidcDoor keeps nothing of a sign-in that was only begun: that travels sealed in the cookie of the
// browser that began, so that however many begin push nobody out.
type oidcDoor struct {
	c    OIDC
	now  func() time.Time
	seal cipher.AEAD // under a key of this process

	finding  singleflight.Group
	provider atomic.Pointer[oidc.Provider] // found at the first sign-in, so that the gateway starts without it

	mu   sync.Mutex
	used map[string]time.Time // states that came back, until they end; guarded by mu
}

// pending is a sign-in that was begun.
type pending struct {
	State, Nonce, Verifier string
	Until                  time.Time
}

func newOIDCDoor(c OIDC, now func() time.Time) *oidcDoor {
	if c.Claim == "" {
		c.Claim = "sub"
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 10 * time.Second}
	}
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // never fails
	seal, err := sealer(key)
	if err != nil {
		panic(err) // a key of 32 octets is always one
	}
	return &oidcDoor{c: c, now: now, seal: seal, used: map[string]time.Time{}}
}

// sealer is AES-GCM with a nonce of its own for each sealing.
func sealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// find asks the identity provider what it is, once for all who wait for that.
func (d *oidcDoor) find(ctx context.Context) (*oidc.Provider, error) {
	if p := d.provider.Load(); p != nil {
		return p, nil
	}
	found, err, _ := d.finding.Do("", func() (any, error) {
		// The provider keeps this context for the keys that it fetches later.
		p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), d.c.Client), d.c.Issuer)
		if err == nil {
			d.provider.Store(p)
		}
		return p, err
	})
	if err != nil {
		return nil, gateway.Errorf(gateway.OperatorUnauthenticated, "the identity provider does not answer: %w", err)
	}
	return found.(*oidc.Provider), nil
}

func (d *oidcDoor) flow(p *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: d.c.ClientID, ClientSecret: d.c.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: d.c.RedirectURL, Scopes: []string{oidc.ScopeOpenID, "email", "profile"}}
}

// begin returns where the browser is sent, and what its cookie holds.
func (d *oidcDoor) begin(ctx context.Context) (url, cookie string, err error) {
	p, err := d.find(ctx)
	if err != nil {
		return "", "", err
	}
	one := pending{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Until: d.now().Add(signInLife)}
	plain, err := json.Marshal(one)
	if err != nil {
		return "", "", err
	}
	cookie = base64.RawURLEncoding.EncodeToString(d.seal.Seal(nil, nil, plain, nil))
	return d.flow(p).AuthCodeURL(one.State, oidc.Nonce(one.Nonce), oauth2.S256ChallengeOption(one.Verifier)), cookie, nil
}

// open reads a cookie that begin made; ok is false for any other, for another state, and for one that was
// used or took too long. It uses up nothing.
func (d *oidcDoor) open(cookie, state string) (one pending, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return one, false
	}
	plain, err := d.seal.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(plain, &one) != nil {
		return one, false
	}
	if subtle.ConstantTimeCompare([]byte(one.State), []byte(state)) != 1 || d.now().After(one.Until) {
		return one, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, again := d.used[one.State]
	return one, !again
}

// spend uses the state up; ok is false when it was before.
func (d *oidcDoor) spend(one pending) (ok bool) {
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.used[one.State]; again {
		return false
	}
	for k, until := range d.used {
		if now.After(until) || len(d.used) >= usedMax {
			delete(d.used, k)
		}
	}
	d.used[one.State] = one.Until
	return true
}

// errNotBegun is the refusal of a state that is not this browser's, or is not good any more.
var errNotBegun = gateway.Errorf(gateway.OperatorUnauthenticated, "the sign-in was not begun here, or took too long")

// end turns the code into the name of an operator. A state counts once, for the browser that began, whatever
// the identity provider says.
func (d *oidcDoor) end(ctx context.Context, one pending, code string) (string, error) {
	refused := func(why string) (string, error) {
		return "", gateway.Errorf(gateway.OperatorUnauthenticated, "%s", why)
	}
	if !d.spend(one) {
		return "", errNotBegun
	}
	p, err := d.find(ctx)
	if err != nil {
		return "", err
	}
	ctx = oidc.ClientContext(ctx, d.c.Client)
	tokens, err := d.flow(p).Exchange(ctx, code, oauth2.VerifierOption(one.Verifier))
	if err != nil {
		return refused("the identity provider does not take the code")
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return refused("the identity provider gave no ID token")
	}
	if err := token.Check(raw); err != nil {
		return refused("the ID token does not verify: " + gateway.DetailOf(err))
	}
	id, err := p.VerifierContext(ctx, &oidc.Config{ClientID: d.c.ClientID, Now: d.now}).Verify(ctx, raw)
	if err != nil {
		return refused("the ID token does not verify")
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(one.Nonce)) != 1 {
		return refused("the ID token answers another sign-in")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return refused("the ID token's claims cannot be read")
	}
	// OpenID Connect Core 1.0 §3.1.3.7, 4 and 5: a token for several names who is meant.
	if azp, given := claims["azp"]; given && azp != d.c.ClientID || !given && len(id.Audience) > 1 {
		return refused("the ID token is for another client")
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
	url, sealed, err := door.begin(r.Context())
	if err != nil {
		c.c.Log.Error("console", "reason", string(gateway.ReasonOf(err)), "error", err)
		c.refuse(v, err)
		return
	}
	// The browser that began is the one that ends: nobody is signed in by somebody else's link.
	http.SetCookie(w, &http.Cookie{Name: stateCookie, Value: sealed, Path: "/console/oidc", MaxAge: int(signInLife / time.Second), HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, url, http.StatusSeeOther)
}

func (c *Console) endOIDC(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	q := r.URL.Query()
	cookie, err := r.Cookie(stateCookie)
	admitted := c.admitted.Load()
	if admitted.oidc == nil || err != nil {
		c.refuseOIDC(v)
		return
	}
	forget := func() {
		http.SetCookie(w, &http.Cookie{Name: stateCookie, Path: "/console/oidc", MaxAge: -1, HttpOnly: true, Secure: c.c.SecureCookie,
			SameSite: http.SameSiteLaxMode})
	}
	refuse := func(err error) {
		c.c.Log.Warn("console sign-in", "reason", string(gateway.ReasonOf(err)), "error", err)
		c.refuseOIDC(v)
	}
	one, ok := admitted.oidc.open(cookie.Value, q.Get("state"))
	if !ok {
		forget()
		refuse(errNotBegun)
		return
	}
	// Who began may be anybody, and the identity provider is called for him. Who finds no place keeps his state
	// and cookie, and may ask for the same page again.
	place, err := c.signIns.Enter("", r.RemoteAddr)
	if err != nil {
		c.refuse(v, err)
		return
	}
	defer place.Leave()
	forget()
	name, err := admitted.oidc.end(r.Context(), one, q.Get("code"))
	if err != nil {
		refuse(err)
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
	c.refuseOIDC(v)
}
