package admission_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
)

// A guessed door has one right secret, and a clock that the test moves.
type guessed struct {
	*admission.Guesses
	now      time.Time
	compared int // how often a secret was looked at
	told     map[string]int
}

func newGuessed() *guessed {
	g := &guessed{now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), told: map[string]int{}}
	g.Guesses = admission.New(admission.Config{Now: func() time.Time { return g.now },
		Guessed: func(door string, r gateway.Reason) { g.told[door+" "+string(r)]++ }}).Guesses()
	return g
}

var errWrong = gateway.Errorf(gateway.PortalUnauthenticated, "wrong")

// try shows a secret; "right" is right.
func (g *guessed) try(door, address, secret string) error {
	return g.Compare(admission.Credential{Door: door, Address: address, Digest: sha256.Sum256([]byte(secret))}, func() error {
		g.compared++
		if secret != "right" {
			return errWrong
		}
		return nil
	})
}

const (
	wrong = gateway.PortalUnauthenticated
	late  = gateway.GuessLimit
)

// An attempt is a secret shown after a while, and its answer.
type attempt struct {
	after   time.Duration
	address string // "" for 192.0.2.1
	secret  string
	want    gateway.Reason
	retry   int // seconds that the answer names
}

func times(n int, a attempt) (all []attempt) {
	for range n {
		all = append(all, a)
	}
	return all
}

func TestGuessingIsDelayed(t *testing.T) {
	guess := attempt{secret: "guess", want: wrong}
	five := times(5, guess)
	at := func(address string, a attempt) attempt { a.address = address; return a }
	plus := func(a []attempt, more ...attempt) []attempt { return append(append([]attempt{}, a...), more...) }
	tests := []struct {
		name     string
		attempts []attempt
	}{
		{"five mistakes are free", five},
		{"then nothing is looked at for a second", plus(five, attempt{0, "", "guess", late, 1}, attempt{999 * time.Millisecond, "", "guess", late, 1},
			attempt{time.Millisecond, "", "guess", wrong, 0})},
		{"not even what is right, so that a guess tells nothing", plus(five, attempt{0, "", "right", late, 1}, attempt{time.Second, "", "right", "", 0})},
		{"the delay doubles up to thirty seconds", plus(five,
			attempt{1 * time.Second, "", "guess", wrong, 0}, attempt{0, "", "guess", late, 2},
			attempt{2 * time.Second, "", "guess", wrong, 0}, attempt{0, "", "guess", late, 4},
			attempt{4 * time.Second, "", "guess", wrong, 0}, attempt{0, "", "guess", late, 8},
			attempt{8 * time.Second, "", "guess", wrong, 0}, attempt{0, "", "guess", late, 16},
			attempt{16 * time.Second, "", "guess", wrong, 0}, attempt{0, "", "guess", late, 30},
			attempt{30 * time.Second, "", "guess", wrong, 0}, attempt{0, "", "guess", late, 30})},
		{"what was not looked at makes no delay longer", plus(five, plus(times(50, attempt{0, "", "guess", late, 1}), attempt{time.Second, "", "guess", wrong, 0})...)},
		{"a right one ends the count", plus(times(4, guess), attempt{secret: "right"}, guess, guess, guess, guess, guess, attempt{0, "", "guess", late, 1})},
		{"one that was right before passes during a delay", plus([]attempt{{secret: "right"}}, plus(five, attempt{secret: "right"}, attempt{0, "", "guess", late, 1})...)},
		{"and ends no count, or its holder's neighbours would guess for nothing", plus([]attempt{{secret: "right"}}, guess, guess, guess, guess, attempt{secret: "right"}, guess,
			attempt{secret: "right"}, attempt{0, "", "guess", late, 1})},
		{"where it was right before, and nowhere else", plus([]attempt{{address: "198.51.100.1:1", secret: "right"}}, plus(five, attempt{0, "", "right", late, 1})...)},
		{"another port is the same address", plus(five, at("192.0.2.1:999", attempt{0, "", "guess", late, 1}))},
		{"as IPv6 writes it, too", plus(five, at("[::ffff:192.0.2.1]:999", attempt{0, "", "guess", late, 1}))},
		{"another address is not delayed", plus(five, at("192.0.2.2:1", guess), at("192.0.2.2:1", attempt{secret: "right"}))},
		{"a network of IPv6 is one address", plus(times(5, at("[2001:db8::1]:1", guess)), at("[2001:db8::ffff:2]:1", attempt{0, "", "guess", late, 1}),
			at("[2001:db8:0:1::1]:1", guess))},
		{"mistakes are forgotten", plus(five, plus([]attempt{{15 * time.Minute, "", "guess", wrong, 0}}, times(4, guess)...)...)},
		{"a right one is remembered for hours", plus([]attempt{{secret: "right"}}, plus(times(5, attempt{2 * time.Hour, "", "right", "", 0}), plus(five, attempt{secret: "right"})...)...)},
		{"and forgotten after a day", plus([]attempt{{secret: "right"}, {25 * time.Hour, "", "guess", wrong, 0}, guess, guess, guess, guess}, attempt{0, "", "right", late, 1})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuessed()
			for i, a := range tt.attempts {
				g.now = g.now.Add(a.after)
				if a.address == "" {
					a.address = "192.0.2.1:4711"
				}
				before := g.compared
				err := g.try("rest", a.address, a.secret)
				retry, named := admission.RetryAfter(err)
				if gateway.ReasonOf(err) != a.want || named != (a.want == late) || retry != a.retry {
					t.Fatalf("attempt %d: %v, after %d s, want %q after %d s", i, err, retry, a.want, a.retry)
				}
				if looked := g.compared > before; looked == (a.want == late) {
					t.Fatalf("attempt %d: looked at: %t", i, looked)
				}
			}
		})
	}
}

// An address whose mistakes are over begins anew, however many others still wait to be forgotten.
func TestMistakesOfManyAreForgotten(t *testing.T) {
	g := newGuessed()
	last := "192.0.2.1:1"
	for i := range 4 * admission.FreeMistakes {
		address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i / 4)}), 1).String()
		g.try("rest", address, "guess") //nolint:errcheck // counted
	}
	for range 5 {
		g.try("rest", last, "guess") //nolint:errcheck // counted
	}
	g.now = g.now.Add(admission.MistakesLife)
	for i := range 4 {
		if err := g.try("rest", last, "guess"); gateway.ReasonOf(err) != wrong {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
}

// Whoever begins a delay has his address in the log, once for each delay.
func TestGuessersHaveAFace(t *testing.T) {
	var logs bytes.Buffer
	g := admission.New(admission.Config{Log: slog.New(slog.NewTextHandler(&logs, nil))}).Guesses()
	for range 20 {
		g.Refuse("cabinet", "192.0.2.1:4711", errWrong) //nolint:errcheck // the log tells
	}
	if strings.Count(logs.String(), "\n") != 1 || !strings.Contains(logs.String(), "door=cabinet remote=192.0.2.1:4711 seconds=1") {
		t.Errorf("%s", &logs)
	}
}

// What was right and is wrong now, as its holder did not hear of the new one, has lost its leave.
func TestAReplacedCredentialHasNoLeave(t *testing.T) {
	g := newGuessed()
	right := true
	show := func() gateway.Reason {
		return gateway.ReasonOf(g.Compare(admission.Credential{Door: "rest", Address: "192.0.2.1:1"}, func() error {
			if right {
				return nil
			}
			return errWrong
		}))
	}
	if show() != "" {
		t.Fatal("refused")
	}
	right = false
	for i := range 5 {
		if r := show(); r != wrong {
			t.Fatalf("%d: %q", i, r)
		}
	}
	right = true
	if r := show(); r != late {
		t.Errorf("it passes a delay that itself began: %q", r)
	}
}

// All doors count together, and each tells what it refused.
func TestDoorsCountTogether(t *testing.T) {
	g := newGuessed()
	for _, door := range []string{"rest", "shep", "provider", "console"} {
		if err := g.try(door, "192.0.2.1:1", "guess"); gateway.ReasonOf(err) != wrong {
			t.Fatal(err)
		}
	}
	signed := gateway.Errorf(gateway.CitizenUnauthenticated, "not signed")
	if err := g.Refuse("cabinet", "192.0.2.1:1", signed); err != signed { //nolint:errorlint // the very same
		t.Fatal(err)
	}
	for _, door := range []string{"rest", "shep"} {
		if err := g.try(door, "192.0.2.1:1", "guess"); gateway.ReasonOf(err) != late {
			t.Errorf("%s: %v", door, err)
		}
	}
	if err := g.Refuse("cabinet", "192.0.2.1:1", signed); gateway.ReasonOf(err) != late {
		t.Error(err)
	}
	want := fmt.Sprint(map[string]int{"rest " + string(wrong): 1, "shep " + string(wrong): 1, "provider " + string(wrong): 1, "console " + string(wrong): 1,
		"cabinet " + string(gateway.CitizenUnauthenticated): 1, "rest " + string(late): 1, "shep " + string(late): 1, "cabinet " + string(late): 1})
	if got := fmt.Sprint(g.told); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Guesses that come at once are not more than those that come one after the other.
func TestGuessesAtOnce(t *testing.T) {
	g := newGuessed()
	done := make(chan error)
	for range 200 {
		go func() { done <- g.try("rest", "192.0.2.1:1", "guess") }()
	}
	for range 200 {
		<-done
	}
	if g.compared != admission.FreeMistakes {
		t.Errorf("%d were compared", g.compared)
	}
}

// A million addresses neither grow the table nor drive out whoever's delay runs.
func TestManyAddressesDoNotGrowTheTable(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	g := newGuessed()
	for range 6 {
		g.now = g.now.Add(time.Second)
		g.try("rest", "192.0.2.1:1", "guess") //nolint:errcheck // the delay tells
	}
	before, most, all := heap(), 0, 1_000_000
	if testing.Short() {
		all = 2 * admission.MaxGuessers
	}
	for i := range all {
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, byte(i >> 16), byte(i >> 8), byte(i)}) // each of a network of its own
		g.try("rest", netip.AddrPortFrom(a, 1).String(), "guess")                           //nolint:errcheck // counted
		if i%(all/10) == 0 {
			most = max(most, g.Len())
		}
	}
	grown := heap() - before
	if most = max(most, g.Len()); most != admission.MaxGuessers {
		t.Errorf("%d addresses, want %d", most, admission.MaxGuessers)
	}
	t.Logf("%d addresses in %d KB", most, grown>>10)
	if grown > 32<<20 {
		t.Errorf("%d bytes", grown)
	}
	if err := g.try("rest", "192.0.2.1:1", "guess"); gateway.ReasonOf(err) != late {
		t.Errorf("a guesser's count is gone: %v", err)
	}
	g.now = g.now.Add(admission.MistakesLife)
	if n := g.Len(); n != 0 {
		t.Errorf("%d addresses are never forgotten", n)
	}
}

// However many credentials prove right, what is remembered of them is bounded, and so are its leaves.
func TestProvenCredentialsAreBounded(t *testing.T) {
	g := newGuessed()
	show := func(i int) error {
		return g.Compare(admission.Credential{Door: "rest", Address: "192.0.2.1:1", Claimed: fmt.Sprint(i)}, func() error { return nil })
	}
	for i := range 50_000 {
		show(i) //nolint:errcheck // all are right
	}
	for range 5 {
		g.try("rest", "192.0.2.1:1", "guess") //nolint:errcheck // the delay tells
	}
	if err := show(0); gateway.ReasonOf(err) != late {
		t.Errorf("the first of 50,000 is still remembered: %v", err)
	}
	if err := show(49_999); err != nil {
		t.Errorf("the last one is not: %v", err)
	}
}

// One customer of an IPv6 provider has 65,536 networks of /64: hopping among them buys some guesses, not a free run, and
// delays nobody of another network.
func TestHoppingWithinANetworkIsDelayed(t *testing.T) {
	g := newGuessed()
	const tries = 20_000
	for i := range tries {
		g.now = g.now.Add(10 * time.Minute / tries)
		g.try("rest", fmt.Sprintf("[2001:db8:7:%x::1]:1", i%65536), "guess") //nolint:errcheck // counted
	}
	// 64 at once, five while the delay doubles, and two a minute.
	if most := admission.FreeMistakesOfNetwork + 5 + 20 + 1; g.compared > most || g.compared < admission.FreeMistakesOfNetwork {
		t.Errorf("%d of %d were compared, at most %d should be", g.compared, tries, most)
	}
	if err := g.try("rest", "[2001:db8:8::1]:1", "right"); err != nil {
		t.Errorf("another network: %v", err)
	}
}
