package intake_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/route"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"
)

// A held verifier keeps everybody who was let in until it is released, then refuses the document.
type held struct{ release chan struct{} }

func (h held) Open([]byte, int) (*verification.Document, error) {
	<-h.release
	return nil, gateway.Errorf(gateway.DocumentMalformed, "no document")
}

func (held) Judge(context.Context, *verification.Document, verification.Want) verification.Outcome {
	panic("nothing was opened")
}

// audited counts the entries by portal.
type audited struct {
	journal.Audit
	mu      sync.Mutex
	entries map[string]int // guarded by mu
}

func (a *audited) Record(_ context.Context, e journal.AuditEntry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries[e.Party]++
	return nil
}

func (a *audited) of(portal string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entries[portal]
}

type noJournal struct{ journal.Store }

type noDocuments struct{ intake.Documents }

// A door is a desk whose checks last until release is closed. It lives in a bubble.
type door struct {
	*intake.Desk
	t     *testing.T
	texts *message.Catalogue
	audit *audited
	held
	open sync.Once
}

// letGo ends the checks, those at hand and all later ones.
func (d *door) letGo() {
	d.open.Do(func() { close(d.release) })
	synctest.Wait()
}

func newDoor(t *testing.T, c intake.Config) *door {
	t.Helper()
	d := makeDoor(t, c)
	t.Cleanup(d.letGo)
	return d
}

// openDoor makes a door whose checks last no time. It lives anywhere.
func openDoor(t *testing.T, c intake.Config) *door {
	t.Helper()
	return openDoorOver(t, c, noJournal{})
}

func openDoorOver(t *testing.T, c intake.Config, j journal.Store) *door {
	t.Helper()
	c.Journal = j
	d := makeDoor(t, c)
	close(d.release)
	return d
}

func makeDoor(t *testing.T, c intake.Config) *door {
	t.Helper()
	if c.Journal == nil {
		c.Journal = noJournal{}
	}
	forms, err := passport.Load(schemas.FS)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, audit: &audited{entries: map[string]int{}}, held: held{make(chan struct{})}}
	if d.texts, err = message.Load(schemas.FS, forms.Calendar().Zone()); err != nil {
		t.Fatal(err)
	}
	c.Verifier, c.Forms, c.Texts, c.Audit, c.Documents = d.held, forms, d.texts, d.audit, noDocuments{}
	c.Routes, c.Key, c.Secret, c.BaseURL = route.NewTable(forms, func(*passport.Passport, string) bool { return true }), new(xmlsig.Key), []byte(strings.Repeat("s", 32)), "https://gateway.example"
	if d.Desk, err = intake.New(c); err != nil {
		t.Fatal(err)
	}
	return d
}

// A call is one submission under way.
type call struct {
	done chan struct{}
	err  error // once done
}

// take hands in a submission; what became of it is there as soon as all that can be done is done.
func (d *door) take(portal string) *call { return d.takeFrom("", portal) }

// takeFrom is take for one who was recognised as party and speaks for the portal.
func (d *door) takeFrom(party, portal string) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_, c.err = d.Take(context.Background(), intake.Submission{Door: "rest", Party: party, Portal: portal, Document: []byte("<a/>")})
	}()
	synctest.Wait()
	return c
}

// reason is "inside" while the submission is being worked on.
func (c *call) reason() gateway.Reason {
	synctest.Wait()
	select {
	case <-c.done:
		return gateway.ReasonOf(c.err)
	default:
		return inside
	}
}

const inside gateway.Reason = "inside"

func portals(shares map[string]int) (all []intake.Portal) {
	for _, name := range []string{"egov.kz", "bank.kz"} {
		all = append(all, intake.Portal{Name: name, TokenSHA256: sha256.Sum256([]byte(name)), Concurrent: shares[name]})
	}
	return all
}

// Who is let in, by who is inside; whoever is not is told at once.
func TestTheDoorIsBounded(t *testing.T) {
	tests := []struct {
		name       string
		concurrent int
		shares     map[string]int
		inside     []string
		asks       string
		want       gateway.Reason
		busy       gateway.Reason
	}{
		{"there is room", 3, nil, []string{"egov.kz", "egov.kz"}, "egov.kz", inside, ""},
		{"all places are taken", 2, nil, []string{"egov.kz", "bank.kz"}, "egov.kz", gateway.Overload, gateway.Overload},
		{"without a share a portal has all there is", 2, map[string]int{"bank.kz": 1}, []string{"egov.kz", "egov.kz"}, "egov.kz", gateway.Overload, gateway.Overload},
		{"a portal's share is used up, and the door is not busy for that", 5, map[string]int{"egov.kz": 2}, []string{"egov.kz", "egov.kz"}, "egov.kz", gateway.PortalLimit, ""},
		{"another portal's share is used up", 5, map[string]int{"egov.kz": 2}, []string{"egov.kz", "egov.kz"}, "bank.kz", inside, ""},
		{"others' requests do not count for a share", 5, map[string]int{"egov.kz": 2}, []string{"egov.kz", "bank.kz", "bank.kz"}, "egov.kz", inside, ""},
		{"a share is no right to a place", 2, map[string]int{"egov.kz": 5}, []string{"bank.kz", "bank.kz"}, "egov.kz", gateway.Overload, gateway.Overload},
		{"the own share is told of before the door's bound", 2, map[string]int{"egov.kz": 2}, []string{"egov.kz", "egov.kz"}, "egov.kz", gateway.PortalLimit, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen []gateway.Reason
				var mu sync.Mutex
				d := newDoor(t, intake.Config{Portals: portals(tt.shares), Concurrent: tt.concurrent, Observe: func(_ context.Context, o intake.Observation) {
					mu.Lock()
					defer mu.Unlock()
					seen = append(seen, o.Reason)
				}})
				var all []*call
				for i, portal := range tt.inside {
					if all = append(all, d.take(portal)); all[i].reason() != inside {
						t.Fatalf("number %d was sent away: %v", i+1, all[i].err)
					}
				}
				asked := d.take(tt.asks)
				if got := asked.reason(); got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
				if got := gateway.ReasonOf(d.Busy()); got != tt.busy {
					t.Errorf("the door calls itself %q, want %q", got, tt.busy)
				}
				// A flood of those who are sent away writes nothing.
				if n := d.audit.of(tt.asks); n != 0 {
					t.Errorf("%d entries in the audit", n)
				}
				mu.Lock()
				if tt.want != inside && !slices.Equal(seen, []gateway.Reason{tt.want}) {
					t.Errorf("observed %v", seen)
				}
				mu.Unlock()
				d.letGo()
				for _, c := range all {
					if got := c.reason(); got != gateway.DocumentMalformed {
						t.Errorf("one that was let in ends with %s", got)
					}
				}
				// Everybody has left: there are as many places as before.
				if got := d.take(tt.asks).reason(); got != gateway.DocumentMalformed {
					t.Errorf("when there is room again: %s", got)
				}
			})
		})
	}
}

func TestSharesAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, intake.Config{Portals: portals(map[string]int{"egov.kz": 1}), Concurrent: 4})
		first := d.take("egov.kz")
		ask := func(name string, want gateway.Reason) {
			t.Helper()
			if got := d.take("egov.kz").reason(); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		ask("a share of one, used up", gateway.PortalLimit)
		d.SetPortals(portals(map[string]int{"egov.kz": 2}))
		ask("a share of two, one at hand", inside)
		d.SetPortals(portals(map[string]int{"egov.kz": 1}))
		ask("a share of one, two at hand", gateway.PortalLimit)
		d.SetPortals(portals(nil))
		ask("no share any more", inside)
		if got := first.reason(); got != inside {
			t.Errorf("the request at hand ended: %s", got)
		}
	})
}

// Who speaks for several portals has one share of the desk, and one turn at the processors: however many names a
// gateway can say, it drives out nobody by them.
func TestManyPortalsOfOnePartyAreOneParty(t *testing.T) {
	const gate = "gate"
	many := []string{"a.kz", "b.kz", "c.kz", "d.kz", "e.kz", "f.kz"}
	tests := []struct {
		name          string
		party, portal string // of who asks when the gateway has taken all that it can
		want          gateway.Reason
	}{
		{"a portal of the REST door has its share", "", "egov.kz", inside},
		{"another has its own", "", "bank.kz", inside},
		{"one more name of the gateway finds no room", gate, "g.kz", gateway.Overload},
		{"nor does a name that it said before", gate, "a.kz", gateway.Overload},
		{"a name of a portal with a share does not lend it", gate, "egov.kz", gateway.Overload},
		{"another participant has its share", "second", "a.kz", inside},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Of sixteen places each of the four parties has two, and eight are for whoever needs them.
				d := newDoor(t, intake.Config{Portals: portals(nil), Guests: func() []string { return []string{gate, "second"} }, Concurrent: 16})
				in := 0
				for range 3 {
					for _, portal := range many {
						if d.takeFrom(gate, portal).reason() == inside {
							in++
						}
					}
				}
				if in != 10 {
					t.Errorf("%d of the gateway's are inside, want its share and what is common: 10", in)
				}
				if got := d.takeFrom(tt.party, tt.portal).reason(); got != tt.want {
					t.Errorf("%s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A participant that the configuration names anew has its share as soon as that is taken.
func TestSharesOfGuestsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var guests []string
		d := newDoor(t, intake.Config{Portals: portals(nil), Guests: func() []string { return guests }, Concurrent: 12})
		for range 12 {
			d.take("egov.kz")
		}
		if got := d.takeFrom("gate", "a.kz").reason(); got != gateway.Overload {
			t.Errorf("one that is not listed: %s, want %s", got, gateway.Overload)
		}
		guests = []string{"gate"}
		d.SetPortals(portals(nil))
		if got := d.takeFrom("gate", "a.kz").reason(); got != inside {
			t.Errorf("one that is listed now: %s, want %s", got, inside)
		}
	})
}

func TestTurnsAreThePartysNotThePortals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, intake.Config{Portals: portals(nil), Guests: func() []string { return []string{"gate"} }, House: admission.New(admission.Config{Processors: 1})})
		var gate []*call
		for _, portal := range []string{"a.kz", "b.kz", "c.kz", "d.kz"} {
			gate = append(gate, d.takeFrom("gate", portal))
		}
		rest := d.take("egov.kz")
		for range 3 { // the first has the processor; whose turn is next was settled when the second came
			d.release <- struct{}{}
			synctest.Wait()
		}
		if got := rest.reason(); got != gateway.DocumentMalformed {
			t.Errorf("after three turns the portal's request is %s", got)
		}
		if got := gate[2].reason(); got != inside {
			t.Errorf("the gateway's third is %s before a second turn of others", got)
		}
		if n := d.audit.of("a.kz"); n != 1 {
			t.Errorf("%d entries name the portal a.kz", n)
		}
	})
}

func TestTheDoorIsBusyForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, intake.Config{Portals: portals(nil), Concurrent: 1})
		busy := func(name string, want gateway.Reason) {
			t.Helper()
			if got := gateway.ReasonOf(d.Busy()); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		d.take("egov.kz")
		busy("full, and nobody was sent away", "")
		d.take("egov.kz")
		busy("somebody was sent away", gateway.Overload)
		time.Sleep(4 * time.Second)
		busy("four seconds later", gateway.Overload)
		d.take("bank.kz")
		time.Sleep(4 * time.Second)
		busy("four seconds after the last one", gateway.Overload)
		time.Sleep(time.Second)
		busy("five seconds after the last one", "")
	})
}

// A body brings its bytes at once and does not end before it is told to.
type body struct {
	left  int         // bytes to bring
	read  atomic.Bool // somebody waits for it, or has
	ended chan struct{}
	once  sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	b.read.Store(true)
	if n := min(b.left, len(p)); n > 0 {
		b.left -= n
		return n, nil
	}
	<-b.ended
	return 0, io.EOF
}

func (b *body) end() { b.once.Do(func() { close(b.ended) }) }

// post sends a body of which brought bytes come; its length is announced, or -1.
func (d *door) post(portal string, length int64, brought int) (w *httptest.ResponseRecorder, b *body, answered func() bool) {
	mux := http.NewServeMux()
	d.Register(mux)
	b = &body{left: brought, ended: make(chan struct{})}
	d.t.Cleanup(b.end)
	r := httptest.NewRequest(http.MethodPost, "/v1/requests", b)
	r.ContentLength = length
	r.Header.Set("Content-Type", "application/xml")
	r.Header.Set("Accept-Language", "ru")
	r.Header.Set("Authorization", "Bearer "+portal)
	w = httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		mux.ServeHTTP(w, r)
	}()
	return w, b, func() bool {
		synctest.Wait()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// The bytes of the bodies that are being read are bounded by what was brought. One of two portals
// has a quarter of the room for itself and half of it with the other.
func TestBytesAreBounded(t *testing.T) {
	type sent struct {
		portal    string
		announced int64 // units of 64 KiB, -1 for none
		brought   int
	}
	const unit = 64 << 10
	tests := []struct {
		name     string
		inFlight int64
		reading  []sent
		asks     sent
		want     gateway.Reason
		read     bool // before it is answered
	}{
		{"the first is let in, even if it is more than all that may be", 50, nil, sent{"egov.kz", 70, 70}, inside, true},
		{"beside one that is more than all that may be, the share is left", 50, []sent{{"bank.kz", 70, 70}}, sent{"egov.kz", 11, 11}, inside, true},
		{"and no more than the share", 50, []sent{{"bank.kz", 70, 70}}, sent{"egov.kz", 13, 13}, gateway.Overload, false},
		{"what fits beside the others", 100, []sent{{"bank.kz", 40, 40}}, sent{"egov.kz", 58, 58}, inside, true},
		{"what does not fit beside the others", 100, []sent{{"bank.kz", 40, 40}}, sent{"egov.kz", 61, 61}, gateway.Overload, false},
		{"of three, the third does not fit", 100, []sent{{"bank.kz", 35, 35}, {"bank.kz", 35, 35}}, sent{"bank.kz", 21, 21}, gateway.Overload, false},
		{"what is announced and not brought is in nobody's way", 100, []sent{{"bank.kz", 70, 0}, {"bank.kz", 70, 0}, {"bank.kz", -1, 0}}, sent{"egov.kz", 58, 58}, inside, true},
		{"a length that is not announced counts as it comes", 100, []sent{{"bank.kz", 74, 74}}, sent{"egov.kz", -1, 60}, gateway.Overload, true},
		{"more than the longest is refused unread", 100, nil, sent{"egov.kz", 1 << 20, 0}, gateway.BodyTooLarge, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, intake.Config{Portals: portals(nil), InFlight: tt.inFlight * unit, MaxBody: 80 * unit})
				d.letGo()
				send := func(s sent) (*httptest.ResponseRecorder, *body, func() bool) {
					length := s.announced
					if length > 0 {
						length *= unit
					}
					return d.post(s.portal, length, s.brought*unit)
				}
				var ends []*body
				for i, s := range tt.reading {
					w, b, answered := send(s)
					if ends = append(ends, b); answered() {
						t.Fatalf("number %d was sent away: %s", i+1, w.Body)
					}
				}
				w, b, answered := send(tt.asks)
				if got := !answered(); got != (tt.want == inside) {
					t.Fatalf("let in: %t, want %s: %s", got, tt.want, w.Body)
				}
				if tt.want != inside {
					var p intake.Problem
					if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Reason != tt.want || b.read.Load() != tt.read {
						t.Errorf("sent away with %d %s, read %t: %v", w.Code, w.Body, b.read.Load(), err)
					}
				}
				if tt.want == gateway.Overload && (w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5") {
					t.Errorf("sent away with %d %v", w.Code, w.Header())
				}
				for _, e := range ends {
					e.end()
				}
				b.end()
				synctest.Wait()
				// Their room is given back.
				_, _, answered = d.post("egov.kz", 70*unit, 70*unit)
				if answered() {
					t.Error("there is no room when all have left")
				}
			})
		})
	}
}

// One portal's uploads that do not come leave the others their places, whatever its share.
func TestSilentUploadsShutTheDoorForNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		shares map[string]int
		silent int // that are let in
	}{
		{"with a share of four", map[string]int{"bank.kz": 4}, 4},
		{"without a share", nil, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, intake.Config{Portals: portals(tt.shares), Concurrent: 2})
				d.letGo()
				silent := 0
				for range 64 {
					if _, _, answered := d.post("bank.kz", 8<<20, 1); !answered() {
						silent++
					}
				}
				if silent != tt.silent {
					t.Errorf("%d silent uploads are inside, want %d", silent, tt.silent)
				}
				for range 4 {
					w, b, answered := d.post("egov.kz", 40, 40)
					if b.end(); !answered() || w.Code != http.StatusBadRequest {
						t.Errorf("another portal: %d %s", w.Code, w.Body)
					}
				}
			})
		})
	}
}

// Who is sent away is answered before the body is read, with the words that any other refusal
// would have.
func TestWhoIsSentAwayIsNotRead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config intake.Config
		status int
		reason gateway.Reason
	}{
		{"no place is left", intake.Config{Portals: portals(nil), Concurrent: 1}, http.StatusServiceUnavailable, gateway.Overload},
		{"the portal's share is used up", intake.Config{Portals: portals(map[string]int{"egov.kz": 1})}, http.StatusTooManyRequests, gateway.PortalLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, tt.config)
				d.take("egov.kz")
				w, b, answered := d.post("egov.kz", 40, 0)
				if !answered() || b.read.Load() {
					t.Fatalf("read: %t", b.read.Load())
				}
				r := httptest.NewRequest(http.MethodPost, "/v1/requests", nil)
				r.Header.Set("Accept-Language", "ru")
				want := httptest.NewRecorder()
				intake.WriteProblem(want, r, d.texts, gateway.Errorf(tt.reason, "for the log"))
				if w.Code != tt.status || want.Code != tt.status || strings.TrimSpace(w.Body.String()) != strings.TrimSpace(want.Body.String()) {
					t.Errorf("%d %s, want %d %s", w.Code, w.Body, want.Code, want.Body)
				}
				for _, h := range []string{"Content-Type", "Content-Language", "Retry-After", "Cache-Control"} {
					if got := w.Header().Get(h); got == "" || got != want.Header().Get(h) {
						t.Errorf("%s: %q, want %q", h, got, want.Header().Get(h))
					}
				}
				// Nobody who is not known learns that the door is full.
				if w, _, answered := d.post("stranger", 40, 0); !answered() || w.Code != http.StatusUnauthorized {
					t.Errorf("a stranger: %d", w.Code)
				}
			})
		})
	}
}
