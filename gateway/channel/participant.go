package channel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
)

// Defaults of a Participant.
const (
	DefaultRate     = 50       // messages a second
	DefaultMaxBytes = 15 << 20 // of one message: what SHEP carries
)

// A Participant is an information system that speaks SHEP with the gateway: a portal, or another
// gateway. Password, Certificates and Organisation are ways to know it; all that are set must
// hold, and one has to be set.
type Participant struct {
	Name     string // a metrics label, and the name of its queue; required
	SenderID string // as SHEP's register has it; required

	// PasswordSHA256 is the SHA-256 of the sender's password, which itself is never kept.
	PasswordSHA256 [32]byte
	// FormerSHA256 are passwords that were replaced and are still good beside it.
	FormerSHA256 [][32]byte
	// Certificates are pinned: one of them must have signed the message.
	Certificates []*trust.Certificate
	// Organisation's information systems may sign, with any certificate that a trusted CA issued.
	Organisation gateway.BIN

	// CertificateSHA256 is the SHA-256 of the DER of its TLS client certificate, and Addresses are
	// where it calls from. They prove nothing about a message: they tell, before it is read, whose room
	// it takes. Who shows one of its Certificates as client certificate is recognised as well.
	CertificateSHA256 [32]byte
	Addresses         []netip.Prefix

	// Services are the ids of SHEP's register under which it may send, each with the code of the
	// service in the passports.
	Services map[string]string
	// Portals are those it may speak for, as in the form's element "portal". None means its Name.
	Portals []string
	// Gateway says that it is a gateway, which may relay what it accepted from its portals.
	Gateway bool
	// Providers are those reached through it, whose steps and results it hands over.
	Providers []string

	// Rate bounds its messages, per second; it may send twice as many at once. 0 means [DefaultRate].
	Rate float64
	// MaxBytes bounds one message. 0 means [DefaultMaxBytes].
	MaxBytes int
	// Push carries messages to it; nil leaves them until it asks (PULL).
	Push *shep.AsyncClient
	// Fetch asks a gateway, every FetchEvery, for what it holds for this one; nil lets it push.
	Fetch      *shep.AsyncClient
	FetchEvery time.Duration
}

// signs reports whether the participant's messages must be signed; it then gets signed answers.
func (p *Participant) signs() bool { return len(p.Certificates) > 0 || !p.Organisation.IsZero() }

// serviceID is the id under which SHEP's register has a service of this participant.
func (p *Participant) serviceID(code string) string {
	best := ""
	for id, c := range p.Services {
		if c == code && (best == "" || id < best) {
			best = id
		}
	}
	return best
}

// A Directory holds the configured participants. It is safe for concurrent use.
type Directory struct{ now atomic.Pointer[roll] }

// A roll is what a Directory holds at a time.
type roll struct {
	all      []*Participant
	bySender map[string]*Participant
	byPortal map[string]*Participant
	known    []*trust.Certificate
	buckets  map[string]*bucket
}

// NewDirectory checks that every participant can be told apart and recognised.
func NewDirectory(all []Participant) (*Directory, error) {
	r := &roll{bySender: map[string]*Participant{}, byPortal: map[string]*Participant{}, buckets: map[string]*bucket{}}
	for _, p := range all {
		if p.Name == "" || p.SenderID == "" {
			return nil, errors.New("channel: a participant needs Name and SenderID")
		}
		if p.PasswordSHA256 == [32]byte{} && !p.signs() {
			return nil, fmt.Errorf("channel: the participant %s needs a password, a certificate or an organisation", p.Name)
		}
		if r.bySender[p.SenderID] != nil || r.buckets[p.Name] != nil {
			return nil, fmt.Errorf("channel: the participant %s stands twice, or its sender id does", p.Name)
		}
		if p.Rate == 0 {
			p.Rate = DefaultRate
		}
		if p.MaxBytes == 0 {
			p.MaxBytes = DefaultMaxBytes
		}
		if len(p.Portals) == 0 && len(p.Providers) == 0 {
			p.Portals = []string{p.Name}
		}
		for _, mine := range p.Addresses {
			for _, q := range r.all {
				if slices.ContainsFunc(q.Addresses, mine.Overlaps) {
					return nil, fmt.Errorf("channel: %s and %s share addresses in %s", q.Name, p.Name, mine)
				}
			}
		}
		for _, name := range p.Portals {
			if r.byPortal[name] != nil {
				return nil, fmt.Errorf("channel: %s and %s both speak for the portal %s", r.byPortal[name].Name, p.Name, name)
			}
			r.byPortal[name] = &p
		}
		r.all, r.bySender[p.SenderID], r.known = append(r.all, &p), &p, append(r.known, p.Certificates...)
		r.buckets[p.Name] = &bucket{rate: p.Rate, left: max(1, 2*p.Rate)}
	}
	d := new(Directory)
	d.now.Store(r)
	return d, nil
}

// Replace makes d hold what next holds. Who stays has no more messages than before; calls at hand
// end as they began.
func (d *Directory) Replace(next *Directory) {
	was, now := d.now.Load(), next.now.Load()
	for name, b := range now.buckets {
		if old := was.buckets[name]; old != nil && old.rate == b.rate {
			now.buckets[name] = old
		}
	}
	d.now.Store(now)
}

// Queues names the shards of the journal in which messages to participants wait.
func (d *Directory) Queues() []string {
	var all []string
	for _, p := range d.now.Load().all {
		all = append(all, queue(p))
	}
	return all
}

// portal returns the participant who speaks for a portal.
func (d *Directory) portal(name string) *Participant { return d.now.Load().byPortal[name] }

// named returns the participant of that name.
func (d *Directory) named(name string) *Participant { return d.of("shep:" + name) }

// Names are those of the participants, sorted.
func (d *Directory) Names() []string { return slices.Sorted(maps.Keys(d.now.Load().buckets)) }

// queue is the shard of the journal that holds a participant's messages.
func queue(p *Participant) string { return "shep:" + p.Name }

// of returns the participant whose queue it is.
func (d *Directory) of(shard string) *Participant {
	for _, p := range d.now.Load().all {
		if queue(p) == shard {
			return p
		}
	}
	return nil
}

// find returns the participant that claims to have sent a message. Without a sender id the
// signer is asked for.
func (d *Directory) find(senderID string, signer *trust.Certificate) *Participant {
	now := d.now.Load()
	if senderID != "" {
		return now.bySender[senderID]
	}
	if signer == nil {
		return nil
	}
	for _, p := range now.all {
		if slices.ContainsFunc(p.Certificates, signer.Equal) {
			return p
		}
	}
	return nil
}

// caller is the participant whose connection it is, by its client certificate or its address; nil for
// a stranger, whom only the message can prove to be somebody.
func (d *Directory) caller(r *http.Request) *Participant {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		der := r.TLS.PeerCertificates[0].Raw
		sum := sha256.Sum256(der)
		for _, p := range d.now.Load().all {
			pinned := func(c *trust.Certificate) bool { return bytes.Equal(c.Raw, der) }
			if p.CertificateSHA256 == sum || slices.ContainsFunc(p.Certificates, pinned) {
				return p
			}
		}
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	ip := at.Addr().Unmap()
	for _, p := range d.now.Load().all {
		if slices.ContainsFunc(p.Addresses, func(n netip.Prefix) bool { return n.Contains(ip) }) {
			return p
		}
	}
	return nil
}

// passwordHolds compares the SHA-256 of a password in constant time.
func (p *Participant) passwordHolds(sum [32]byte) bool {
	good := subtle.ConstantTimeCompare(sum[:], p.PasswordSHA256[:])
	for _, former := range p.FormerSHA256 {
		good |= subtle.ConstantTimeCompare(sum[:], former[:])
	}
	return good == 1
}

// take takes one message's worth of the participant's rate; one who has been taken out has none.
func (d *Directory) take(p *Participant, now time.Time) bool {
	b := d.now.Load().buckets[p.Name]
	return b != nil && b.take(now)
}

// await takes one message's worth of the participant's rate as soon as there is one, or returns the
// error of ctx. It takes none from a participant who has been taken out.
func (d *Directory) await(ctx context.Context, p *Participant, now func() time.Time) error {
	for {
		b := d.now.Load().buckets[p.Name]
		if b == nil {
			return gateway.Errorf(gateway.PortalUnauthenticated, "the participant is not configured any more")
		}
		if b.take(now()) {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(b.refill()):
		}
	}
}

// A bucket fills with rate tokens a second, up to two seconds' worth.
type bucket struct {
	rate float64

	mu   sync.Mutex // guards left and at
	left float64
	at   time.Time
}

// refill is how long one token takes to come.
func (b *bucket) refill() time.Duration {
	return time.Duration(float64(time.Second) / max(b.rate, 0.001))
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() && now.After(b.at) {
		b.left = math.Min(b.left+now.Sub(b.at).Seconds()*b.rate, max(1, 2*b.rate))
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
