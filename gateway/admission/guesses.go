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
	// maxProven and provenLife bound what is remembered of right credentials, twice over.
	maxProven  = 1 << 13
	provenLife = 12 * time.Hour
)

// mostMistakes is the count from which the delay grows no more.
const mostMistakes = FreeMistakes + 5

// delayAfter is how long nothing is compared after so many mistakes.
func delayAfter(mistakes int) time.Duration {
	if mistakes < FreeMistakes {
		return 0
	}
	return min(time.Second<<(mistakes-FreeMistakes), LongestDelay)
}

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

	mu       sync.Mutex // guards all below
	guessers map[netip.Prefix]*list.Element
	// levels hold the guessers by their mistakes, each with the one that erred last at its end.
	levels       [mostMistakes + 1]list.List
	turned       time.Time
	fresh, older map[[sha256.Size]byte]struct{} // proven credentials
}

// A guesser is an address that erred.
type guesser struct {
	prefix   netip.Prefix
	mistakes int // at most mostMistakes
	last     time.Time
}

func newGuesses(c Config) *Guesses {
	key := make([]byte, 32)
	rand.Read(key) //nolint:errcheck // never fails
	return &Guesses{now: c.Now, refused: c.Guessed, log: c.Log, key: key, guessers: map[netip.Prefix]*list.Element{}}
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
	prefix := prefixOf(c.Address)
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
	if e := g.guessers[prefix]; e != nil && !proven {
		g.drop(e)
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
	begun, err := g.refuse(door, prefixOf(address), err)
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
	g.forget(g.now(), len(g.guessers))
	return len(g.guessers)
}

// wait is how long nothing of the address is compared; it needs mu.
func (g *Guesses) wait(prefix netip.Prefix, now time.Time) time.Duration {
	e := g.guessers[prefix]
	if e == nil {
		return 0
	}
	one := e.Value.(*guesser)
	return one.last.Add(delayAfter(one.mistakes)).Sub(now)
}

// mistake counts one and returns the delay that it begins; it needs mu.
func (g *Guesses) mistake(door string, prefix netip.Prefix, err error, now time.Time) time.Duration {
	g.forget(now, 2)
	one := &guesser{prefix: prefix}
	if e := g.guessers[prefix]; e != nil {
		if was := g.drop(e); now.Before(was.last.Add(MistakesLife)) {
			one = was
		}
	} else if len(g.guessers) >= MaxGuessers {
		g.evict()
	}
	one.mistakes, one.last = min(one.mistakes+1, mostMistakes), now
	g.guessers[prefix] = g.levels[one.mistakes].PushBack(one)
	g.refused(door, gateway.ReasonOf(err))
	return delayAfter(one.mistakes)
}

// putOff is the refusal to compare.
func (g *Guesses) putOff(door string, wait time.Duration) error {
	g.refused(door, gateway.GuessLimit)
	return &delayed{gateway.Errorf(gateway.GuessLimit, "too many wrong credentials came from this address; nothing is compared for %d s",
		seconds(wait)), wait}
}

// drop needs mu.
func (g *Guesses) drop(e *list.Element) *guesser {
	one := e.Value.(*guesser)
	g.levels[one.mistakes].Remove(e)
	delete(g.guessers, one.prefix)
	return one
}

// forget drops up to most guessers whose time is over; it needs mu.
func (g *Guesses) forget(now time.Time, most int) {
	for i := range g.levels {
		for e := g.levels[i].Front(); e != nil && most > 0; e = g.levels[i].Front() {
			if now.Before(e.Value.(*guesser).last.Add(MistakesLife)) {
				break
			}
			g.drop(e)
			most--
		}
	}
}

// evict makes place: of those with the fewest mistakes the one that erred first goes. So addresses that err
// once drive out one another, and nobody whose delay runs. It needs mu.
func (g *Guesses) evict() {
	for i := range g.levels {
		if e := g.levels[i].Front(); e != nil {
			g.drop(e)
			return
		}
	}
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
