package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// How long an operator stays signed in. Sessions live in memory: a restart signs everybody out.
const (
	SessionLife = 8 * time.Hour
	SessionIdle = 30 * time.Minute
	maxSessions = 2000
	// noteAgain is when a page that keeps itself fresh is written down once more.
	noteAgain = 10 * time.Minute
)

const cookieName = "console"

// A session is one operator's, in one browser.
type session struct {
	operator *Operator
	certs    bool // signed in by the certificate of the connection, which must stay
	csrf     string

	mu    sync.Mutex
	begun time.Time
	used  time.Time            // guarded by mu
	noted map[string]time.Time // guarded by mu
}

// proves reports whether the token is that of the session's pages.
func (s *session) proves(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(s.csrf)) == 1
}

// news reports whether the action is to be written down: always, unless a page only refreshes itself.
func (s *session) news(action string, now time.Time, refresh bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.noted[action]; refresh && ok && now.Sub(last) < noteAgain {
		return false
	}
	if len(s.noted) > 500 {
		clear(s.noted)
	}
	s.noted[action] = now
	return true
}

// sessions are all that are open.
type sessions struct {
	now func() time.Time
	mu  sync.Mutex
	all map[[32]byte]*session // by SHA-256 of the cookie; guarded by mu
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, all: map[[32]byte]*session{}}
}

func (s *session) ended(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.begun) > SessionLife || now.Sub(s.used) > SessionIdle
}

// open begins a session and returns the value of its cookie.
func (s *sessions) open(o *Operator, certs bool) (string, *session) {
	now := s.now()
	one := &session{operator: o, certs: certs, csrf: rand.Text(), begun: now, used: now, noted: map[string]time.Time{}}
	cookie := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, old := range s.all {
		if old.ended(now) {
			delete(s.all, k)
		}
	}
	for k := range s.all { // a flood of sign-ins ends sessions, it does not fill the memory
		if len(s.all) < maxSessions {
			break
		}
		delete(s.all, k)
	}
	s.all[sha256.Sum256([]byte(cookie))] = one
	return cookie, one
}

// get returns the session of a cookie, nil when there is none.
func (s *sessions) get(cookie string) *session {
	now := s.now()
	s.mu.Lock()
	one := s.all[sha256.Sum256([]byte(cookie))]
	s.mu.Unlock()
	if one == nil || one.ended(now) {
		return nil
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	one.used = now
	return one
}

func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(cookie)))
}

// certified is the operator whose certificate the connection shows.
func (c *Console) certified(r *http.Request) *Operator {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	for i := range c.c.Operators {
		if o := &c.c.Operators[i]; o.CertificateSHA256 != [32]byte{} && o.CertificateSHA256 == sum {
			return o
		}
	}
	return nil
}

// session returns the session of a request. A known certificate begins one.
func (c *Console) session(w http.ResponseWriter, r *http.Request) (*session, error) {
	by := c.certified(r)
	if cookie, err := r.Cookie(cookieName); err == nil {
		if s := c.sessions.get(cookie.Value); s != nil && (!s.certs || s.operator == by) {
			return s, nil
		}
	}
	if by == nil {
		return nil, gateway.Errorf(gateway.OperatorUnauthenticated, "sign in")
	}
	return c.begin(w, r, by, true)
}

// begin opens a session, once the sign-in is written down.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, o *Operator, certs bool) (*session, error) {
	v := visit{session: &session{operator: o}, w: w, r: r}
	if err := c.note(v, ActionSignIn, "", "", ""); err != nil {
		return nil, err
	}
	cookie, s := c.sessions.open(o, certs)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/console/", HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
	return s, nil
}

// signInWithToken is for demonstrations: TEST ONLY.
func (c *Console) signInWithToken(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := c.forgery.Check(r); err != nil {
		c.refuse(v, gateway.Errorf(gateway.FormForged, "the sign-in comes from another site"))
		return
	}
	sum := sha256.Sum256([]byte(r.PostFormValue("token")))
	for i := range c.c.Operators {
		o := &c.c.Operators[i]
		if o.TokenSHA256 == [32]byte{} || subtle.ConstantTimeCompare(o.TokenSHA256[:], sum[:]) != 1 {
			continue
		}
		if _, err := c.begin(w, r, o, false); err != nil {
			c.refuse(v, err)
			return
		}
		http.Redirect(w, r, "/console/", http.StatusSeeOther)
		return
	}
	c.refuseSignIn(v, WayToken)
}

// refuseSignIn refuses a stranger. That is counted and logged, with his address; nothing durable is written
// for somebody who may come as often as he likes, and nothing that would drive out what operators did.
func (c *Console) refuseSignIn(v visit, way string) {
	c.c.Log.Warn("a sign-in was refused", "door", "console", "way", way, "remote", v.r.RemoteAddr)
	if c.c.SignInRefused != nil {
		c.c.SignInRefused(way)
	}
	c.refuse(v, gateway.Errorf(gateway.OperatorUnauthenticated, "the sign-in was not accepted"))
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	c.order(func(v visit) error {
		if err := c.note(v, ActionSignOut, "", "", ""); err != nil {
			return err
		}
		if cookie, err := r.Cookie(cookieName); err == nil {
			c.sessions.end(cookie.Value)
		}
		http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/console/", MaxAge: -1, HttpOnly: true, Secure: c.c.SecureCookie, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/console/sign-in", http.StatusSeeOther)
		return nil
	})(w, r)
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	if s, err := c.session(w, r); err == nil && s != nil {
		http.Redirect(w, r, "/console/", http.StatusSeeOther)
		return
	}
	c.render(v, http.StatusOK, page{Name: "sign-in", Data: c.doors()})
}

// doors are the ways to sign in that the configuration has.
type doors struct{ Token, OIDC, Certificate bool }

func (c *Console) doors() (d doors) {
	d.OIDC = c.oidc != nil
	for _, o := range c.c.Operators {
		d.Token = d.Token || o.TokenSHA256 != [32]byte{}
		d.Certificate = d.Certificate || o.CertificateSHA256 != [32]byte{}
	}
	return d
}
