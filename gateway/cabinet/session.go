package cabinet

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/journal"
)

// Bounds of what is remembered. Sessions live in memory: a restart signs everybody out, and behind a
// balancer a citizen's requests must come to the gateway that he entered by.
const (
	maxSessions = 50_000
	// maxSpent bounds the tokens that were exchanged and have not ended yet.
	maxSpent = 200_000
	// maxForm bounds the form of a sign-in, in bytes: a portal's token has some hundreds.
	maxForm = 16 << 10
)

// A session is one citizen's, in one browser. It ends when the portal's token would have.
type session struct {
	who    journal.CitizenKey
	portal string
	key    ed25519.PublicKey // by which the portal vouched for the citizen
	until  time.Time
}

// sessions are all that are open, and the tokens that were exchanged for them.
type sessions struct {
	now func() time.Time

	mu    sync.Mutex
	all   map[[sha256.Size]byte]*session  // by SHA-256 of the cookie; guarded by mu
	spent map[[sha256.Size]byte]time.Time // until when a token would count; guarded by mu
	swept time.Time                       // guarded by mu
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: map[[sha256.Size]byte]*session{}, spent: map[[sha256.Size]byte]time.Time{}}
}

// spentLonger is beside the end of a token: it counts for that long after it, as clocks differ.
const spentLonger = time.Minute

// open exchanges a token for a session, once, and returns the value of its cookie.
func (s *sessions) open(p proof) (string, error) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	if _, ok := s.spent[p.once]; ok {
		return "", errSignIn
	}
	if len(s.spent) >= maxSpent {
		return "", gateway.Errorf(gateway.Overload, "%d citizens' tokens are remembered", len(s.spent))
	}
	for k := range s.all { // a flood of sign-ins ends sessions, it does not fill the memory
		if len(s.all) < maxSessions {
			break
		}
		delete(s.all, k)
	}
	cookie := rand.Text()
	s.spent[p.once] = p.until.Add(spentLonger)
	s.all[sha256.Sum256([]byte(cookie))] = &session{who: p.who, portal: p.portal, key: p.key, until: p.until}
	return cookie, nil
}

// sweep forgets what has ended, once in a while; it needs mu.
func (s *sessions) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Minute && len(s.spent) < maxSpent && len(s.all) < maxSessions {
		return
	}
	s.swept = now
	for k, one := range s.all {
		if now.After(one.until) {
			delete(s.all, k)
		}
	}
	for k, until := range s.spent {
		if now.After(until) {
			delete(s.spent, k)
		}
	}
}

// get returns the session of a cookie, nil when there is none.
func (s *sessions) get(cookie string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[sha256.Sum256([]byte(cookie))]
	if one == nil || s.now().After(one.until) {
		return nil
	}
	return one
}

// isSpent reports whether a token was exchanged.
func (s *sessions) isSpent(p proof) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.spent[p.once]
	return ok
}

func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(cookie)))
}

func (s *sessions) endWhere(gone func(*session) bool) (ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, one := range s.all {
		if gone(one) {
			delete(s.all, k)
			ended++
		}
	}
	return ended
}

// cookie is where a browser keeps its session. Over https no other site of the domain can set it
// (RFC 6265bis, __Host-).
func (c *Cabinet) cookie(value string, age int) *http.Cookie {
	k := &http.Cookie{Name: "cabinet", Value: value, Path: "/cabinet/", MaxAge: age, HttpOnly: true, Secure: c.c.SecureCookie,
		SameSite: http.SameSiteLaxMode}
	if c.c.SecureCookie {
		k.Name, k.Path = "__Host-cabinet", "/"
	}
	return k
}

// running is the session of a request, nil when there is none.
func (c *Cabinet) running(r *http.Request) *session {
	cookie, err := r.Cookie(c.cookie("", 0).Name)
	if err != nil {
		return nil
	}
	s := c.sessions.get(cookie.Value)
	if s == nil || !(*c.portals.Load()).has(s.portal, s.key) {
		return nil
	}
	return s
}

// originsOf lets pages of the cabinet and of the portal send forms here, and nobody else's. A program
// that is no browser names no site, and has no citizen's cookie either.
func originsOf(c Config) (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	all := c.Origins
	if c.PortalURL != "" {
		u, err := url.Parse(c.PortalURL)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("cabinet: PortalURL %q is no address", c.PortalURL)
		}
		all = append(all[:len(all):len(all)], u.Scheme+"://"+u.Host)
	}
	for _, origin := range all {
		if err := p.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("cabinet: %w", err)
		}
	}
	return p, nil
}

// signIn takes the portal's token from a form, so that it stands in no address, and exchanges it for
// a session of the gateway's own.
func (c *Cabinet) signIn(w http.ResponseWriter, r *http.Request) {
	cookie, err := "", c.ownForm(r)
	if err == nil {
		err = admission.BoundForm(w, r, maxForm)
	}
	if err == nil {
		var p proof
		if p, err = c.check(r, r.PostFormValue("token")); err == nil {
			cookie, err = c.sessions.open(p)
		}
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if old, err := r.Cookie(c.cookie("", 0).Name); err == nil {
		c.sessions.end(old.Value)
	}
	http.SetCookie(w, c.cookie(cookie, 0))
	http.Redirect(w, r, "/cabinet/", http.StatusSeeOther)
}

func (c *Cabinet) signOut(w http.ResponseWriter, r *http.Request) {
	if err := c.ownForm(r); err != nil {
		c.refuse(w, r, err)
		return
	}
	if old, err := r.Cookie(c.cookie("", 0).Name); err == nil {
		c.sessions.end(old.Value)
		c.news.Look()
	}
	http.SetCookie(w, c.cookie("", -1))
	http.Redirect(w, r, "/cabinet/", http.StatusSeeOther)
}

// ownForm wants a form of the portal's or the cabinet's pages: no other site signs a citizen in, as
// somebody else say, or out.
func (c *Cabinet) ownForm(r *http.Request) error {
	if err := c.origins.Check(r); err != nil {
		return gateway.Errorf(gateway.FormForged, "the form comes from another site")
	}
	return nil
}
