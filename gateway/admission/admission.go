// Package admission is the one way in through every door: who first, then room by what is really
// allocated, then work. It knows no door by itself; a door asks it with the name of whom it
// recognised, or with none.
//
// Half of a door's room is divided among the parties it knows, so that nobody can take the share of
// another; the other half is for whoever needs it. Strangers have a small room of their own, each
// address a part of that, and little time. Rooms hold bytes that were allocated, never bytes that
// were announced. Nobody waits to be let in; only the processors are waited for, and there the
// parties take turns.
package admission

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// Stranger is the name under which all who are not known are counted.
const Stranger = "stranger"

// busyFor is how long after its last refusal for want of room a door calls itself full.
const busyFor = 5 * time.Second

// Config of a House.
type Config struct {
	// Processors is how many computations go on at once. 0 means half of the processors, so that the
	// other half is there for those who only wait, write or are sent away.
	Processors int
	// Refused, if set, is told of everybody who is sent away. Party is a name that a door was given,
	// or [Stranger]. It must not block.
	Refused func(door, party string, r gateway.Reason)
	// Waited, if set, is told how long a computation waited for its turn.
	Waited func(d time.Duration)
	// Guessed, if set, is told of every wrong credential, and with [gateway.GuessLimit] of every one that
	// was not looked at. It must not block.
	Guessed func(door string, r gateway.Reason)
	Log     *slog.Logger     // of those who guess; nil discards
	Now     func() time.Time // of when a door was full, and of how long guesses wait; nil means time.Now
}

// A House is what all doors share: the processors, and the memory of who guesses.
type House struct {
	c       Config
	turns   turns
	guesses *Guesses
}

// New makes a house without doors.
func New(c Config) *House {
	if c.Processors <= 0 {
		c.Processors = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if c.Refused == nil {
		c.Refused = func(string, string, gateway.Reason) {}
	}
	if c.Waited == nil {
		c.Waited = func(time.Duration) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Guessed == nil {
		c.Guessed = func(string, gateway.Reason) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &House{c: c, turns: turns{free: c.Processors, waiting: map[string][]chan struct{}{}}, guesses: newGuesses(c)}
}

// Guesses is where all doors count wrong credentials.
func (h *House) Guesses() *Guesses { return h.guesses }

// A Party is somebody whom a door knows.
type Party struct {
	Name string
	// Most bounds its places, whatever room there is. 0 is no bound of its own.
	Most int
}

// A Room is an amount of places and of bytes.
type Room struct {
	Places int
	Bytes  int64
}

// DoorConfig is what a door has room for. Zero places or bytes are no bound.
type DoorConfig struct {
	Name string // a metrics label; required
	// Known is the room of all parties together.
	Known Room
	// Strangers is the room of all others together; one address may have a quarter of it. Without
	// places no stranger is let in.
	Strangers Room
	// Pace is how quickly bodies must come. The zero Pace is [DefaultPace], [StrangersPace].
	Pace, StrangersPace Pace
}

// A Door counts who is inside. It is safe for concurrent use.
type Door struct {
	house *House
	c     DoorConfig

	mu        sync.Mutex // guards all below
	parties   map[string]*account
	listed    int  // of parties, those with a share
	share     Room // that nobody else can take
	strangers account
	addresses map[netip.Prefix]*account
	refused   time.Time // when somebody was last sent away because the whole room was taken
}

// An account is what one party, or all strangers, or one address, has taken.
type account struct {
	name    string
	listed  bool
	most    int
	used    Room
	refused time.Time
}

// NewDoor adds a door to the house.
func (h *House) NewDoor(c DoorConfig, parties ...Party) *Door {
	if c.Pace == (Pace{}) {
		c.Pace = DefaultPace
	}
	if c.StrangersPace == (Pace{}) {
		c.StrangersPace = StrangersPace
	}
	d := &Door{house: h, c: c, parties: map[string]*account{}, addresses: map[netip.Prefix]*account{}}
	d.strangers.name = Stranger
	d.SetParties(parties)
	return d
}

// SetParties replaces those who have a share. Who is inside stays.
func (d *Door) SetParties(all []Party) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.parties {
		a.listed, a.most = false, 0
	}
	for _, p := range all {
		a := d.account(p.Name)
		a.listed, a.most = true, p.Most
	}
	d.listed = 0
	for name, a := range d.parties {
		switch {
		case a.listed:
			d.listed++
		case a.used == Room{}:
			delete(d.parties, name)
		}
	}
	d.share = Room{}
	if n := max(1, d.listed); d.listed > 0 {
		d.share = Room{Places: d.c.Known.Places / (2 * n), Bytes: d.c.Known.Bytes / int64(2*n)}
	}
}

// account needs mu.
func (d *Door) account(name string) *account {
	a := d.parties[name]
	if a == nil {
		a = &account{name: name}
		d.parties[name] = a
	}
	return a
}

// A Place is somebody inside a door, until Leave. Its methods are for one goroutine.
type Place struct {
	door    *Door
	account *account
	address *account // of a stranger; nil for the known
	prefix  netip.Prefix
	bytes   int64
	left    bool
}

// Enter takes a place for a party, or for a stranger when the name is empty. Address is that of
// the connection, as in http.Request.RemoteAddr. The error carries [gateway.PortalLimit] when the
// party's own bound is reached, else [gateway.Overload].
func (d *Door) Enter(party, address string) (*Place, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if party != "" {
		a := d.account(party)
		p := &Place{door: d, account: a}
		if err := d.take(a, Room{Places: 1}, a.used == Room{}); err != nil {
			d.forget(p)
			return nil, err
		}
		return p, nil
	}
	p := &Place{door: d, account: &d.strangers, prefix: prefixOf(address)}
	if p.address = d.addresses[p.prefix]; p.address == nil {
		p.address = &account{name: Stranger}
		d.addresses[p.prefix] = p.address
	}
	if err := d.takeAsStranger(p, Room{Places: 1}); err != nil {
		d.forget(p)
		return nil, err
	}
	return p, nil
}

// Check says whether the party would be let in now. The error is that of Enter.
func (d *Door) Check(party string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.account(party)
	defer d.forget(&Place{door: d, account: a})
	err := d.take(a, Room{Places: 1}, false)
	if err == nil {
		a.used.Places--
	}
	return err
}

// take adds n to a known party's account if there is room; it needs mu. Alone says that nobody but
// the asking place is inside: it gets all the bytes it needs, so that no message is too large for ever.
func (d *Door) take(a *account, n Room, alone bool) error {
	if a.most > 0 && n.Places > 0 && a.used.Places+n.Places > a.most {
		return d.sendAway(a, gateway.Errorf(gateway.PortalLimit,
			"%d requests of this party are being worked on; it may have %d", a.used.Places, a.most))
	}
	want := Room{a.used.Places + n.Places, a.used.Bytes + n.Bytes}
	all, beyond := Room{}, Room{}
	for _, other := range d.parties {
		used := other.used
		if other == a {
			used = want
		}
		all.Places, all.Bytes = all.Places+used.Places, all.Bytes+used.Bytes
		own := d.shareOf(other)
		beyond.Places, beyond.Bytes = beyond.Places+max(0, used.Places-own.Places), beyond.Bytes+max(0, used.Bytes-own.Bytes)
	}
	own := d.shareOf(a)
	places := d.c.Known.Places > 0 && n.Places > 0
	bytes := d.c.Known.Bytes > 0 && n.Bytes > 0 && !(alone && all.Bytes == n.Bytes+a.used.Bytes)
	common := Room{d.c.Known.Places - d.listed*d.share.Places, d.c.Known.Bytes - int64(d.listed)*d.share.Bytes}
	noPlace := places && want.Places > own.Places && beyond.Places > common.Places
	noBytes := bytes && want.Bytes > own.Bytes && beyond.Bytes > common.Bytes
	if noPlace && all.Places > d.c.Known.Places || noBytes && all.Bytes > d.c.Known.Bytes {
		d.refused = d.house.c.Now() // not even another party would have found room
	}
	switch {
	case noPlace:
		return d.sendAway(a, gateway.Errorf(gateway.Overload, "%d requests are being worked on", all.Places-n.Places))
	case noBytes:
		return d.sendAway(a, gateway.Errorf(gateway.Overload, "%d MB are in use", (all.Bytes-n.Bytes)>>20))
	}
	a.used = want
	return nil
}

func (d *Door) shareOf(a *account) Room {
	if !a.listed {
		return Room{}
	}
	return d.share
}

// takeAsStranger needs mu.
func (d *Door) takeAsStranger(p *Place, n Room) error {
	all, one, most := &d.strangers.used, &p.address.used, d.c.Strangers
	quarter := Room{max(1, most.Places/4), max(most.Bytes/4, 1)}
	// One message of a stranger may need the whole room when nobody else does.
	alone := all.Bytes == p.bytes
	switch {
	case n.Places > 0 && (all.Places+n.Places > most.Places || one.Places+n.Places > quarter.Places):
		return d.sendAway(&d.strangers, gateway.Errorf(gateway.Overload, "%d strangers are inside, %d of this address", all.Places, one.Places))
	case n.Bytes > 0 && (all.Bytes+n.Bytes > most.Bytes || !alone && one.Bytes+n.Bytes > quarter.Bytes):
		return d.sendAway(&d.strangers, gateway.Errorf(gateway.Overload, "strangers use %d MB", all.Bytes>>20))
	}
	all.Places, all.Bytes = all.Places+n.Places, all.Bytes+n.Bytes
	one.Places, one.Bytes = one.Places+n.Places, one.Bytes+n.Bytes
	return nil
}

// sendAway needs mu.
func (d *Door) sendAway(a *account, err error) error {
	a.refused = d.house.c.Now()
	d.house.c.Refused(d.c.Name, a.name, gateway.ReasonOf(err))
	return err
}

// forget drops accounts that hold nothing; it needs mu.
func (d *Door) forget(p *Place) {
	if p.address != nil && p.address.used == (Room{}) {
		delete(d.addresses, p.prefix)
	}
	if a := p.account; p.address == nil && !a.listed && a.used == (Room{}) {
		delete(d.parties, a.name)
	}
}

// Reserve takes room for n bytes that are about to be allocated. The error carries [gateway.Overload].
func (p *Place) Reserve(n int64) error {
	d := p.door
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if p.address != nil {
		err = d.takeAsStranger(p, Room{Bytes: n})
	} else {
		err = d.take(p.account, Room{Bytes: n}, p.account.used.Bytes == p.bytes)
	}
	if err == nil {
		p.bytes += n
	}
	return err
}

// Release gives n reserved bytes back.
func (p *Place) Release(n int64) {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	p.give(Room{Bytes: n})
}

// give needs mu.
func (p *Place) give(n Room) {
	p.bytes -= n.Bytes
	for _, a := range []*account{p.account, p.address} {
		if a != nil {
			a.used = Room{a.used.Places - n.Places, a.used.Bytes - n.Bytes}
		}
	}
}

// Prove moves the place and its bytes to the room of the party that a message turned out to be
// from. On an error, which is that of Enter, it stays where it was.
func (p *Place) Prove(party string) error {
	d := p.door
	d.mu.Lock()
	defer d.mu.Unlock()
	to := d.account(party)
	if p.account == to {
		return nil
	}
	from := *p
	if err := d.take(to, Room{1, p.bytes}, to.used == Room{}); err != nil {
		d.forget(&Place{door: d, account: to})
		return err
	}
	p.give(Room{1, p.bytes})
	d.forget(&from)
	p.account, p.address, p.bytes = to, nil, from.bytes
	return nil
}

// Leave gives the place and its bytes back. It may be called again.
func (p *Place) Leave() {
	d := p.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	p.give(Room{1, p.bytes})
	d.forget(p)
}

// Party is the name under which the place is counted.
func (p *Place) Party() string { return p.account.name }

// A Report says how full a door is.
type Report struct {
	Door             string
	Known, Strangers Room // taken
	Config           DoorConfig
	// SentAway are those for whom there was no room within the last five seconds.
	SentAway []string
	// Full says that there was none for anybody who is known.
	Full bool
}

// Report tells how full the door is now.
func (d *Door) Report() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.house.c.Now()
	lately := func(at time.Time) bool { return !at.IsZero() && now.Before(at.Add(busyFor)) }
	r := Report{Door: d.c.Name, Strangers: d.strangers.used, Config: d.c, Full: lately(d.refused)}
	for _, a := range d.parties {
		r.Known.Places, r.Known.Bytes = r.Known.Places+a.used.Places, r.Known.Bytes+a.used.Bytes
		if lately(a.refused) {
			r.SentAway = append(r.SentAway, a.name)
		}
	}
	slices.Sort(r.SentAway)
	if lately(d.strangers.refused) {
		r.SentAway = append(r.SentAway, Stranger)
	}
	return r
}

// Err is [gateway.Overload] while the door is full for everybody it knows.
func (r Report) Err() error {
	if !r.Full {
		return nil
	}
	return gateway.Errorf(gateway.Overload,
		"requests are sent away: %d are being worked on, %d MB are in use", r.Known.Places, r.Known.Bytes>>20)
}

// String is "ok", or for whom the door is full.
func (r Report) String() string {
	if len(r.SentAway) == 0 {
		return "ok"
	}
	return fmt.Sprintf("full for %s", strings.Join(r.SentAway, ", "))
}

// Merge is the report of two doors that a request passes one after the other.
func (r Report) Merge(other Report) Report {
	r.Full = r.Full || other.Full
	for _, name := range other.SentAway {
		if !slices.Contains(r.SentAway, name) {
			r.SentAway = append(r.SentAway, name)
		}
	}
	r.Known = Room{max(r.Known.Places, other.Known.Places), max(r.Known.Bytes, other.Known.Bytes)}
	return r
}

// prefixOf is what counts as one address of a connection.
func prefixOf(address string) netip.Prefix { return PrefixOf(parseAddress(address)) }

// addressOf is the address itself, or the /64 of an IPv6 address, within which its holder changes it at will.
func addressOf(address string) netip.Prefix { return prefix(parseAddress(address), 64) }

func parseAddress(address string) netip.Addr {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, _ := netip.ParseAddr(host) // one that cannot be read counts as one with its like
	return ip
}

// PrefixOf is what counts as one address where room is divided: an IPv4 address, or the /48 of an IPv6
// address, which one customer has.
func PrefixOf(ip netip.Addr) netip.Prefix { return prefix(ip, 48) }

// networkOf is the /48 that an IPv6 prefix lies in.
func networkOf(p netip.Prefix) (netip.Prefix, bool) {
	if !p.Addr().Is6() {
		return netip.Prefix{}, false
	}
	return PrefixOf(p.Addr()), true
}

func prefix(ip netip.Addr, bits6 int) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = bits6
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
