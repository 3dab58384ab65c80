package revocation

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// Shared keeps signed answers and lists where other gateways find them. Nothing in it is
// trusted: whatever comes out is verified as if it came from the network, so a forged entry
// costs a signature check and no more. Implementations must be safe for concurrent use and
// end with ctx.
type Shared interface {
	// Get returns the octets under key, nil without error when there are none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put keeps octets under key for at most life.
	Put(ctx context.Context, key string, raw []byte, life time.Duration) error
	// Lease reports whether the caller is now the only one that holds key, for at most life.
	Lease(ctx context.Context, key string, life time.Duration) (bool, error)
}

// Bounds of the shared layer. It must never cost more than it saves.
const (
	// DefaultSharedTimeout bounds one look at the shared layer.
	DefaultSharedTimeout = 100 * time.Millisecond

	sharedPause    = 5 * time.Second // nobody looks after a failure
	sharedLease    = 1500 * time.Millisecond
	sharedWait     = 300 * time.Millisecond // for the answer of whoever holds the lease
	sharedPoll     = 25 * time.Millisecond
	sharedOCSPLife = time.Hour
	sharedCRLLife  = 26 * time.Hour
	sharedCRLTime  = 30 * time.Second
	sharedWriters  = 8
)

// A shelf is the shared layer behind its bounds.
type shelf struct {
	shared  Shared
	limit   time.Duration // for one look
	metrics *metrics
	now     func() time.Time
	until   atomic.Int64 // nobody looks before that instant, Unix nanoseconds
	writers chan struct{}
}

func newShelf(s Shared, limit time.Duration, m *metrics, now func() time.Time) *shelf {
	if s == nil {
		return nil
	}
	return &shelf{shared: s, limit: limit, metrics: m, now: now, writers: make(chan struct{}, sharedWriters)}
}

func (h *shelf) away() bool { return h.now().UnixNano() < h.until.Load() }

func (h *shelf) done(op string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
		h.until.Store(h.now().Add(sharedPause).UnixNano())
	}
	h.metrics.shared.WithLabelValues(op, outcome).Inc()
}

func (h *shelf) get(ctx context.Context, key string, limit time.Duration) []byte {
	if h.away() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	raw, err := h.shared.Get(ctx, key)
	h.done("get", err)
	if err != nil {
		return nil
	}
	return raw
}

// put writes in the background; when too many writes are under way it is left out.
func (h *shelf) put(limit time.Duration, life time.Duration, pairs ...keyed) {
	if h.away() || life <= 0 {
		return
	}
	select {
	case h.writers <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-h.writers }()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		for _, p := range pairs {
			err := h.shared.Put(ctx, p.key, p.raw, life)
			h.done("put", err)
			if err != nil {
				return
			}
		}
	}()
}

type keyed struct {
	key string
	raw []byte
}

// lease reports whether the caller should ask; it should when the layer is away, too.
func (h *shelf) lease(ctx context.Context, key string) bool {
	if h.away() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	mine, err := h.shared.Lease(ctx, key, sharedLease)
	h.done("lease", err)
	return mine || err != nil
}

func (s *source) ocspKey(serial []byte) string {
	return fmt.Sprintf("ocsp:%s:%x", s.keyHash, serial)
}

// revokedKey is where an answer that revokes stands until the certificate's end: under a key of its own,
// so that no later answer takes its place.
func (s *source) revokedKey(serial []byte) string {
	return fmt.Sprintf("revoked:%s:%x", s.keyHash, serial)
}

// revokedElsewhere returns what revoked cert for good, if another gateway was told so. It counts without
// our nonce, and however old it is.
func (c *Checker) revokedElsewhere(ctx context.Context, s *source, cert *trust.Certificate) (f finding, ok bool) {
	raw := c.shelf.get(ctx, s.revokedKey(cert.Serial), c.shelf.limit)
	if raw == nil {
		return finding{}, false
	}
	f, err := s.verifier.judge(raw, cert.Serial, nil, c.now())
	if err != nil || f.state != revoked {
		c.metrics.shared.WithLabelValues("get", "refused").Inc()
		c.log.Warn("an answer in the shared layer was refused", "issuer", s.label, "reason", gateway.ReasonOf(err))
		return finding{}, false
	}
	return f, true
}

// borrowed returns what another gateway was told of cert, or ok false when this one must ask.
// An answer without our nonce counts for nothing where nonces are required.
func (c *Checker) borrowed(ctx context.Context, s *source, cert *trust.Certificate, ahead bool) (f finding, ok bool) {
	if c.shelf == nil {
		return finding{}, false
	}
	if f, ok = c.revokedElsewhere(ctx, s, cert); ok || s.issuer.RequireNonce {
		return f, ok
	}
	key := s.ocspKey(cert.Serial)
	spoiled := false
	look := func() bool {
		raw := c.shelf.get(ctx, key, c.shelf.limit)
		if raw == nil {
			return false
		}
		now, err := c.now(), error(nil)
		if f, err = s.verifier.judge(raw, cert.Serial, nil, now); err != nil {
			if gateway.ReasonOf(err) != gateway.EvidenceStale {
				spoiled = true // nobody waits beside an entry that somebody else may have put there
				c.metrics.shared.WithLabelValues("get", "refused").Inc()
				c.log.Warn("an answer in the shared layer was refused", "issuer", s.label, "reason", gateway.ReasonOf(err))
			}
			return false
		}
		if f.state != good && f.state != revoked {
			return false // what may change soon is asked anew
		}
		// Whoever renews ahead wants a younger answer than the one that is at its half.
		return !ahead || f.state == revoked || f.evidence.UsableUntil.Sub(now) > s.verifier.maxAge/2
	}
	if look() {
		return f, true
	}
	if spoiled || c.shelf.lease(ctx, "lease:"+key) {
		return finding{}, false
	}
	for end := time.Now().Add(sharedWait); time.Now().Before(end) && ctx.Err() == nil && !spoiled && !c.shelf.away(); {
		time.Sleep(sharedPoll)
		if look() {
			return f, true
		}
	}
	return finding{}, false
}

// lend keeps a new answer for the others.
func (c *Checker) lend(s *source, serial []byte, f finding, until time.Time) {
	if c.shelf == nil || f.state != good && f.state != revoked {
		return
	}
	if f.state == revoked {
		c.shelf.put(c.shelf.limit*2, until.Sub(c.now()), keyed{s.revokedKey(serial), f.evidence.Raw})
		return
	}
	c.shelf.put(c.shelf.limit*2, min(sharedOCSPLife, until.Sub(c.now())), keyed{s.ocspKey(serial), f.evidence.Raw})
}

func (s *source) crlKey(delta bool, number string) string {
	kind := "base"
	if delta {
		kind = "delta"
	}
	return "crl:" + s.keyHash + ":" + kind + ":" + number
}

// lendList keeps a list that was downloaded and verified, and its number under "latest".
func (c *Checker) lendList(s *source, delta bool, list *CRL, raw []byte) {
	if c.shelf == nil {
		return
	}
	c.shelf.put(sharedCRLTime, min(sharedCRLLife, list.NextUpdate.Sub(c.now())),
		keyed{s.crlKey(delta, list.NumberHex()), raw}, keyed{s.crlKey(delta, "latest"), []byte(list.NumberHex())})
}

// borrowList returns the newest list that another gateway downloaded, for when the publisher
// is away; nil when there is none or it is the one held.
func (c *Checker) borrowList(ctx context.Context, s *source, delta bool) []byte {
	if c.shelf == nil {
		return nil
	}
	number := string(c.shelf.get(ctx, s.crlKey(delta, "latest"), c.shelf.limit))
	held := s.lists.Load().of(delta)
	if number == "" || len(number) > 64 || held != nil && held.NumberHex() == number {
		return nil
	}
	return c.shelf.get(ctx, s.crlKey(delta, number), sharedCRLTime)
}

func keyHashOf(issuer *trust.Certificate) string {
	return hex.EncodeToString(newCertID(oidSHA256, issuer, issuer.Serial).keyHash)
}
