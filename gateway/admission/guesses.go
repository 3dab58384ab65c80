package admission

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// Bounds of what wrong credentials cost those who show them.
const (
	// FreeMistakes is how many wrong credentials of one address are compared without a delay. After the
	// last of them, and after each further one, nothing of that address is compared for 1 s, 2 s, 4 s and
	// so on, up to LongestDelay.
	FreeMistakes = 5
	LongestDelay = 30 * time.Second
	// MistakesLife is how long after the last of them mistakes are forgotten.
	MistakesLife = 15 * time.Minute
	// MaxGuessers bounds the addresses whose mistakes are counted: about 20 MB.
	MaxGuessers = 1 << 16
	// FreeMistakesOfNetwork are those of a whole IPv6 network (/48), which one customer has with 65,536
	// addresses (/64) in it; MaxNetworks bounds how many are counted.
	FreeMistakesOfNetwork = 64
	MaxNetworks           = 1 << 14
	// maxProven and provenLife bound what is remembered of right credentials, twice over.
	maxProven  = 1 << 13
	provenLife = 12 * time.Hour
)

// steps is how often the delay doubles.
const steps = 5

// Guesses makes guessing slow: it counts the wrong credentials of each address, at all doors together,
// and refuses to compare for a growing time. It is safe for concurrent use.
//
// During a delay a credential that was right before from that address, at that door, is compared all the
// same: a stranger behind a shared address does not shut out those whom the gateway knows from there. That
// lets such a stranger go on guessing at their credentials, and at no others.
type Guesses struct {
	now     func() time.Time
	refused func(door string, r gateway.Reason)
	log     *slog.Logger
	key     []byte // of this process: what is remembered of a credential tells nothing about it

	mu        sync.Mutex // guards all below
	addresses tally
	networks  tally // of IPv6
	turned    time.Time

	fresh, older map[[sha256.Size]byte]struct{} // proven credentials
}

// A tally counts the mistakes of prefixes; it needs a lock.
type tally struct {
	free, most int // mistakes without a delay; prefixes
	guessers   map[netip.Prefix]*list.Element
	// levels hold the guessers by their mistakes, each with the one that erred last at its end.
	levels []list.List
}

// A guesser is a prefix that erred.
type guesser struct {
	prefix   netip.Prefix
	mistakes int
	last     time.Time
}

func newTally(free, most int) tally {
	return tally{free: free, most: most, guessers: map[netip.Prefix]*list.Element{}, levels: make([]list.List, free+steps+1)}
}

// delayAfter is how long nothing is compared after so many mistakes.
func (t *tally) delayAfter(mistakes int) time.Duration {
	if mistakes < t.free {
		return 0
	}
	return min(time.Second<<(mistakes-t.free), LongestDelay)
}

// wait is how long nothing of the prefix is compared.
func (t *tally) wait(prefix netip.Prefix, now time.Time) time.Duration {
	e := t.guessers[prefix]
	if e == nil {
		return 0
	}
	one := e.Value.(*guesser)
	return one.last.Add(t.delayAfter(one.mistakes)).Sub(now)
}

// mistake counts one and returns the delay that it begins.
func (t *tally) mistake(prefix netip.Prefix, now time.Time) time.Duration {
	t.forget(now, 2)
	one := &guesser{prefix: prefix}
	if e := t.guessers[prefix]; e != nil {
		if was := t.drop(e); now.Before(was.last.Add(MistakesLife)) {
			one = was
		}
	} else if len(t.guessers) >= t.most {
		t.evict()
	}
	one.mistakes, one.last = min(one.mistakes+1, t.free+steps), now
	t.guessers[prefix] = t.levels[one.mistakes].PushBack(one)
	return t.delayAfter(one.mistakes)
}

func (t *tally) drop(e *list.Element) *guesser {
	one := e.Value.(*guesser)
	t.levels[one.mistakes].Remove(e)
	delete(t.guessers, one.prefix)
	return one
}

// forget drops up to most guessers whose time is over.
func (t *tally) forget(now time.Time, most int) {
	for i := range t.levels {
		for e := t.levels[i].Front(); e != nil && most > 0; e = t.levels[i].Front() {
			if now.Before(e.Value.(*guesser).last.Add(MistakesLife)) {
				break
			}
			t.drop(e)
			most--
		}
	}
}

// evict makes place: of those with the fewest mistakes the one that erred first goes. So prefixes that err
// once drive out one another, and nobody whose delay runs.
func (t *tally) evict() {
	for i := range t.levels {
		if e := t.levels[i].Front(); e != nil {
			t.drop(e)
			return
		}
	}
}

func newGuesses(c Config) *Guesses {
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // never fails
	return &Guesses{now: c.Now, refused: c.Guessed, log: c.Log, key: key,
		addresses: newTally(FreeMistakes, MaxGuessers), networks: newTally(FreeMistakesOfNetwork, MaxNetworks)}
}

// A Credential is what somebody shows to prove who it is.
type Credential struct {
	Door    string // a metrics label
	Address string // of the caller, as in http.Request.RemoteAddr
	Claimed string // who it says it is, where it says so
	Digest  [sha256.Size]byte
}

// Compare calls right, which returns nil for a right credential and its refusal for a wrong one, unless the
// address made too many mistakes lately: then nothing is compared, and the error carries
// [gateway.GuessLimit] and the time that [RetryAfter] tells. Right must not block or take long: addresses
// wait for one another, so that many guesses at once are not more than one after the other.
func (g *Guesses) Compare(c Credential, right func() error) error {
	prefix := addressOf(c.Address)
	begun, err := g.compare(c, prefix, g.mark(prefix, c), right)
	g.tell(c.Door, c.Address, begun)
	return err
}

// compare is Compare; begun is the delay that a mistake began.
func (g *Guesses) compare(c Credential, prefix netip.Prefix, mark [sha256.Size]byte, right func() error) (begun time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	g.turn(now)
	_, proven := g.fresh[mark]
	if !proven {
		_, proven = g.older[mark]
	}
	if !proven {
		if wait := g.wait(prefix, now); wait > 0 {
			return 0, g.putOff(c.Door, wait)
		}
	}
	if err := right(); err != nil {
		delete(g.fresh, mark)
		delete(g.older, mark)
		return g.mistake(c.Door, prefix, err, now), err
	}
	g.fresh[mark] = struct{}{}
	// One that is known ends no count: else an honest portal behind the same address, or a guesser with a
	// credential of its own, would make guesses free.
	if e := g.addresses.guessers[prefix]; e != nil && !proven {
		g.addresses.drop(e)
	}
	return 0, nil
}

// tell is called without mu: nobody waits for the log.
func (g *Guesses) tell(door, address string, begun time.Duration) {
	if begun > 0 {
		g.log.Warn("credentials are guessed", "door", door, "remote", address, "seconds", seconds(begun))
	}
}

// Refuse counts a credential that is not compared but verified, a signed token say, and was found wrong
// for the reason err. Nobody guesses a signature, so a right one needs no leave. It returns err, or during
// a delay the error of [Guesses.Compare].
func (g *Guesses) Refuse(door, address string, err error) error {
	begun, err := g.refuse(door, addressOf(address), err)
	g.tell(door, address, begun)
	return err
}

func (g *Guesses) refuse(door string, prefix netip.Prefix, err error) (begun time.Duration, _ error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if wait := g.wait(prefix, now); wait > 0 {
		return 0, g.putOff(door, wait)
	}
	return g.mistake(door, prefix, err, now), err
}

// Len is how many addresses made mistakes lately.
func (g *Guesses) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addresses.forget(g.now(), len(g.addresses.guessers))
	return len(g.addresses.guessers)
}

// wait is how long nothing of the address is compared; it needs mu.
func (g *Guesses) wait(prefix netip.Prefix, now time.Time) time.Duration {
	wait := g.addresses.wait(prefix, now)
	if network, ok := networkOf(prefix); ok {
		wait = max(wait, g.networks.wait(network, now))
	}
	return wait
}

// mistake counts one and returns the delay that it begins; it needs mu.
func (g *Guesses) mistake(door string, prefix netip.Prefix, err error, now time.Time) time.Duration {
	begun := g.addresses.mistake(prefix, now)
	if network, ok := networkOf(prefix); ok {
		begun = max(begun, g.networks.mistake(network, now))
	}
	g.refused(door, gateway.ReasonOf(err))
	return begun
}

// putOff is the refusal to compare.
func (g *Guesses) putOff(door string, wait time.Duration) error {
	g.refused(door, gateway.GuessLimit)
	return &delayed{gateway.Errorf(gateway.GuessLimit, "too many wrong credentials came from this address; nothing is compared for %d s",
		seconds(wait)), wait}
}

// mark is what is remembered of a right credential.
func (g *Guesses) mark(prefix netip.Prefix, c Credential) (m [sha256.Size]byte) {
	h := hmac.New(sha256.New, g.key)
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00", c.Door, prefix, c.Claimed) //nolint:errcheck // never fails
	h.Write(c.Digest[:])
	h.Sum(m[:0])
	return m
}

// turn forgets the older half of what was proven, in time or when there is too much; it needs mu.
func (g *Guesses) turn(now time.Time) {
	if len(g.fresh) < maxProven && now.Before(g.turned.Add(provenLife)) {
		return
	}
	g.older = g.fresh
	if !now.Before(g.turned.Add(2 * provenLife)) {
		g.older = nil
	}
	g.fresh, g.turned = map[[sha256.Size]byte]struct{}{}, now
}

// delayed is an error with the time after which another attempt is looked at.
type delayed struct {
	err  error
	wait time.Duration
}

func (d *delayed) Error() string { return d.err.Error() }
func (d *delayed) Unwrap() error { return d.err }

// RetryAfter is how long a caller who was refused with err should wait, in whole seconds above zero; ok is
// false when the error does not say.
func RetryAfter(err error) (s int, ok bool) {
	d, ok := errors.AsType[*delayed](err)
	if !ok {
		return 0, false
	}
	return seconds(d.wait), true
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
