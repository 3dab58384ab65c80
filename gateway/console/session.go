package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
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
	how      proof
	csrf     string

	mu    sync.Mutex
	begun time.Time
	used  time.Time            // guarded by mu
	noted map[string]time.Time // guarded by mu
}

// A proof is how an operator signed in.
type proof int

const (
	byToken       proof = iota
	byCertificate       // of the connection, which must stay
	byOIDC
)

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
func (s *sessions) open(o *Operator, how proof) (string, *session) {
	now := s.now()
	one := &session{operator: o, how: how, csrf: rand.Text(), begun: now, used: now, noted: map[string]time.Time{}}
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

// get returns the session of a cookie, nil when there is none. Only what the operator does keeps it
// from falling asleep, not what an open page does by itself.
func (s *sessions) get(cookie string, used bool) *session {
	now := s.now()
	s.mu.Lock()
	one := s.all[sha256.Sum256([]byte(cookie))]
	s.mu.Unlock()
	if one == nil || one.ended(now) {
		return nil
	}
	if used {
		one.mu.Lock()
		defer one.mu.Unlock()
		one.used = now
	}
	return one
}

func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(cookie)))
}

// endWhere ends the sessions for which gone holds.
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

// certified is the operator whose certificate the connection shows.
func (c *Console) certified(r *http.Request) *Operator {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	for _, o := range c.admitted.Load().operators {
		if o.CertificateSHA256 != [32]byte{} && o.CertificateSHA256 == sum {
			return o
		}
	}
	return nil
}

// session returns the session of a request. A known certificate begins one, but for a browser whose
// session has ended: there somebody has to come to the keyboard first, and so for what a page asks
// by itself.
func (c *Console) session(w http.ResponseWriter, r *http.Request) (*session, error) {
	byItself := r.Header.Get("X-Live") != ""
	if s := c.running(r, !byItself); s != nil {
		return s, nil
	}
	by := c.certified(r)
	if _, err := r.Cookie(cookieName); err == nil && by != nil && !byItself {
		c.setCookie(w, "", -1)
		by = nil
	}
	if by == nil || byItself {
		return nil, gateway.Errorf(gateway.OperatorUnauthenticated, "sign in")
	}
	return c.begin(w, r, by, byCertificate)
}

// running is the session that the request's cookie names, nil when it is not there any more: it has
// ended, the certificate is not on this connection, or the operator is no longer who he was.
func (c *Console) running(r *http.Request, used bool) *session {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	s := c.sessions.get(cookie.Value, used)
	if s == nil || c.admitted.Load().gone(s) || s.how == byCertificate && s.operator != c.certified(r) {
		return nil
	}
	return s
}

func (c *Console) setCookie(w http.ResponseWriter, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/console/", MaxAge: age, HttpOnly: true, Secure: c.c.SecureCookie,
		SameSite: http.SameSiteLaxMode})
}

// begin opens a session, once the sign-in is written down.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, o *Operator, how proof) (*session, error) {
	v := visit{session: &session{operator: o}, w: w, r: r}
	if err := c.note(v, ActionSignIn, "", "", ""); err != nil {
		return nil, err
	}
	cookie, s := c.sessions.open(o, how)
	c.setCookie(w, cookie, 0)
	return s, nil
}

// signInWithToken is for demonstrations: TEST ONLY.
func (c *Console) signInWithToken(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	if err := c.forgery.Check(r); err != nil {
		c.refuse(v, gateway.Errorf(gateway.FormForged, "the sign-in comes from another site"))
		return
	}
	if err := admission.BoundForm(w, r, 4<<10); err != nil {
		c.refuse(v, err)
		return
	}
	var who *Operator
	shown := admission.Credential{Door: "console", Address: r.RemoteAddr, Digest: sha256.Sum256([]byte(r.PostFormValue("token")))}
	err := c.c.House.Guesses().Compare(shown, func() error {
		for _, o := range c.admitted.Load().operators {
			if o.TokenSHA256 != [32]byte{} && subtle.ConstantTimeCompare(o.TokenSHA256[:], shown.Digest[:]) == 1 {
				who = o
				return nil
			}
		}
		return errSignIn
	})
	if err != nil {
		c.refuseSignIn(v, WayToken, err)
		return
	}
	if _, err := c.begin(w, r, who, byToken); err != nil {
		c.refuse(v, err)
		return
	}
	http.Redirect(w, r, "/console/", http.StatusSeeOther)
}

// errSignIn is the refusal of who is no operator, whatever he lacks.
var errSignIn = gateway.Errorf(gateway.OperatorUnauthenticated, "the sign-in was not accepted")

// refuseOIDC refuses who comes back from the identity provider, or says so. That counts as a guess of his
// address; an operator who was sent there from here is let in whoever guesses beside him.
func (c *Console) refuseOIDC(v visit) {
	c.refuseSignIn(v, WayOIDC, c.c.House.Guesses().Refuse("console", v.r.RemoteAddr, errSignIn))
}

// refuseSignIn refuses a stranger. That is counted and logged, with his address; nothing durable is written
// for somebody who may come as often as he likes, and nothing that would drive out what operators did.
func (c *Console) refuseSignIn(v visit, way string, err error) {
	c.c.Log.Warn("a sign-in was refused", "door", "console", "way", way, "remote", v.r.RemoteAddr)
	if c.c.SignInRefused != nil {
		c.c.SignInRefused(way)
	}
	c.refuse(v, err)
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	c.order(func(v visit) error {
		if err := c.note(v, ActionSignOut, "", "", ""); err != nil {
			return err
		}
		if cookie, err := r.Cookie(cookieName); err == nil {
			c.sessions.end(cookie.Value)
			c.news.Look()
		}
		c.setCookie(w, "", -1)
		http.Redirect(w, r, "/console/sign-in", http.StatusSeeOther)
		return nil
	})(w, r)
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	if c.running(r, true) != nil {
		http.Redirect(w, r, "/console/", http.StatusSeeOther)
		return
	}
	c.render(v, http.StatusOK, page{Name: "sign-in", Data: c.doors()})
}

// doors are the ways to sign in that the configuration has.
type doors struct{ Token, OIDC, Certificate bool }

func (c *Console) doors() (d doors) {
	admitted := c.admitted.Load()
	d.OIDC = admitted.oidc != nil
	for _, o := range admitted.operators {
		d.Token = d.Token || o.TokenSHA256 != [32]byte{}
		d.Certificate = d.Certificate || o.CertificateSHA256 != [32]byte{}
	}
	return d
}
