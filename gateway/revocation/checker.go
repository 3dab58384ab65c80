package revocation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// Defaults of [Config] and [Issuer].
const (
	DefaultSkew        = 120 * time.Second
	DefaultOCSPMaxAge  = 10 * time.Minute
	DefaultCRLMaxAge   = 26 * time.Hour
	DefaultDeltaMaxAge = 2 * time.Hour
	DefaultOCSPTimeout = 1500 * time.Millisecond
	DefaultHedge       = 400 * time.Millisecond
	DefaultCRLTimeout  = 2 * time.Minute
	DefaultCRLEvery    = time.Hour
	DefaultDeltaEvery  = 10 * time.Minute
	DefaultMemory      = 64 << 20
	DefaultNonce       = 32
)

// How long an answer that is not good spares the responder the same question.
const (
	heldFor    = time.Minute
	unknownFor = 30 * time.Second
	failedFor  = 2 * time.Second
)

// An Issuer is a CA whose certificates are checked, and where its evidence is found. URLs in
// certificates are never used: a GOST certificate of the NCA names the RSA list.
type Issuer struct {
	Certificate *trust.Certificate // required
	Label       string             // in metrics and logs; "" means the first eight digits of the serial
	OCSP        []string           // responders, first choice first
	CRL         string             // full list; "" if there is none
	DeltaCRL    string
	// Responders are trusted to sign answers although the CA did not certify them for that.
	Responders []*trust.Certificate

	// RequireNonce refuses answers that leave the nonce out.
	RequireNonce bool
	// NonceSize is 8 to 32 octets; 0 means [DefaultNonce].
	NonceSize int
	// AcceptSHA1 takes answers that name the certificate by SHA-1 although asked by SHA-256.
	AcceptSHA1 bool
	// AllowGOST2004 takes answers of responders whose certified key is of GOST 34.310-2004.
	AllowGOST2004 bool

	// Measure the CA's real pace before relying on the defaults; a root may publish once a month.
	OCSPMaxAge  time.Duration // 0 means that of Config
	CRLMaxAge   time.Duration
	DeltaMaxAge time.Duration
}

// Config of a [Checker].
type Config struct {
	// Issuers lists every CA whose certificates can be in a path, roots included. At least one.
	Issuers []Issuer
	// Fetch posts an OCSP request, or gets a CRL when body is nil. It must bound what it reads
	// by [MaxOCSPBytes] or [MaxCRLBytes]. Required.
	Fetch func(ctx context.Context, url string, body []byte) ([]byte, error)

	Skew        time.Duration // evidence may be dated that far ahead; 0 means [DefaultSkew]
	OCSPMaxAge  time.Duration // an answer is believed that long after thisUpdate; 0 means [DefaultOCSPMaxAge]
	CRLMaxAge   time.Duration // a full list alone; 0 means [DefaultCRLMaxAge]
	DeltaMaxAge time.Duration // a full list with a delta: the delta's age; 0 means [DefaultDeltaMaxAge]
	OCSPTimeout time.Duration // for one question, all responders together; 0 means [DefaultOCSPTimeout]
	Hedge       time.Duration // when the next responder is asked as well; 0 means [DefaultHedge]
	CRLTimeout  time.Duration // 0 means [DefaultCRLTimeout]
	CRLEvery    time.Duration // pace of [Checker.Run]; 0 means [DefaultCRLEvery]
	DeltaEvery  time.Duration // 0 means [DefaultDeltaEvery]
	Memory      int           // octets of OCSP answers remembered per issuer; 0 means [DefaultMemory]

	Now     func() time.Time      // nil means time.Now
	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nothing
}

// A Checker proves that certificates are not revoked. It is safe for concurrent use.
type Checker struct {
	config  Config
	sources []*source
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics
}

// New checks the configuration; it asks nobody. Call [Checker.Refresh] or [Checker.Run] to load the lists.
func New(c Config) (*Checker, error) {
	switch {
	case c.Fetch == nil:
		return nil, errors.New("revocation: Config.Fetch is required")
	case len(c.Issuers) == 0:
		return nil, errors.New("revocation: Config.Issuers is empty: nothing could ever be proven good")
	}
	c.Skew = cmp.Or(c.Skew, DefaultSkew)
	c.OCSPMaxAge = cmp.Or(c.OCSPMaxAge, DefaultOCSPMaxAge)
	c.CRLMaxAge = cmp.Or(c.CRLMaxAge, DefaultCRLMaxAge)
	c.DeltaMaxAge = cmp.Or(c.DeltaMaxAge, DefaultDeltaMaxAge)
	c.OCSPTimeout = cmp.Or(c.OCSPTimeout, DefaultOCSPTimeout)
	c.Hedge = cmp.Or(c.Hedge, DefaultHedge)
	c.CRLTimeout = cmp.Or(c.CRLTimeout, DefaultCRLTimeout)
	c.CRLEvery = cmp.Or(c.CRLEvery, DefaultCRLEvery)
	c.DeltaEvery = cmp.Or(c.DeltaEvery, DefaultDeltaEvery)
	c.Memory = cmp.Or(c.Memory, DefaultMemory)
	k := &Checker{config: c, now: c.Now, log: c.Log}
	if k.now == nil {
		k.now = time.Now
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	for n, i := range c.Issuers {
		s, err := k.newSource(i)
		if err != nil {
			return nil, fmt.Errorf("revocation: issuer %d: %w", n+1, err)
		}
		k.sources = append(k.sources, s)
	}
	var err error
	k.metrics, err = newMetrics(c.Metrics, k)
	return k, err
}

func (c *Checker) newSource(i Issuer) (*source, error) {
	v, err := newVerifier(i, c.config.Skew, cmp.Or(i.OCSPMaxAge, c.config.OCSPMaxAge))
	if err != nil {
		return nil, err
	}
	i.NonceSize = cmp.Or(i.NonceSize, DefaultNonce)
	switch {
	case i.NonceSize < 8 || i.NonceSize > 32:
		return nil, errors.New("a nonce has 8 to 32 octets")
	case len(i.OCSP) == 0 && i.CRL == "":
		return nil, errors.New("neither a responder nor a CRL is configured")
	case i.DeltaCRL != "" && i.CRL == "":
		return nil, errors.New("a delta CRL without the full one")
	}
	s := &source{issuer: i, label: i.Label, verifier: v, memory: newMemory(c.config.Memory)}
	if s.label == "" {
		s.label = i.Certificate.SerialHex()[:min(8, len(i.Certificate.SerialHex()))]
	}
	for range i.OCSP {
		s.breakers = append(s.breakers, new(breaker))
	}
	s.ages = ages{c.config.Skew, cmp.Or(i.CRLMaxAge, c.config.CRLMaxAge), cmp.Or(i.DeltaMaxAge, c.config.DeltaMaxAge)}
	s.lists.Store(new(lists))
	s.verifier.listed = func(serial []byte) bool {
		f, err := s.lists.Load().find(serial)
		return err != nil || f.state != good
	}
	s.verifier.clean = func(serial []byte) bool {
		l := s.lists.Load()
		f, err := l.find(serial)
		if err != nil || f.state != good {
			return false
		}
		_, err = l.fresh(s.ages, c.now())
		return err == nil
	}
	return s, nil
}

// Check returns nil only when every certificate of the path below the anchor is proven not
// revoked: by a fresh OCSP answer, else by a fresh CRL. at is the time of receipt; a
// revocation counts even if it came later, and evidence must be fresh now, when it is asked.
//
// The error carries [gateway.Revoked], [gateway.Suspended], [gateway.NeverIssued],
// [gateway.IssuerRevoked] — or, when nothing is proven, [gateway.StatusUnknown],
// [gateway.StatusUnavailable], [gateway.EvidenceStale], [gateway.EvidenceFuture],
// [gateway.EvidenceUntrusted], [gateway.EvidenceScope], [gateway.EvidenceConflict],
// [gateway.NonceMismatch], [gateway.ClockUnreliable] or [gateway.ConfigInvalid]. The evidence
// of a refusal is returned beside it where there is one.
//
// At most one question per certificate is under way, whoever waits for it. The call ends
// within the OCSP timeout or when ctx ends. Sources: RFC 6960 §3.2, RFC 5280 §6.3.
func (c *Checker) Check(ctx context.Context, path *trust.Path, at time.Time) (Evidence, error) {
	start := c.now()
	e, err := c.check(ctx, path, at, start)
	c.metrics.checked(e, err, start)
	return e, err
}

func (c *Checker) check(ctx context.Context, path *trust.Path, at, now time.Time) (Evidence, error) {
	if at.After(now.Add(c.config.Skew)) {
		return Evidence{}, gateway.Errorf(gateway.ClockUnreliable, "asked about an instant after now")
	}
	chain := path.Certificates
	var doubt error
	until := time.Time{}
	for i := len(chain) - 2; i >= 1; i-- {
		f, err := c.one(ctx, chain[i], chain[i+1], now)
		switch gateway.ReasonOf(err) {
		case "":
			if until.IsZero() || f.evidence.UsableUntil.Before(until) {
				until = f.evidence.UsableUntil
			}
		case gateway.Revoked, gateway.Suspended, gateway.NeverIssued:
			return f.evidence, gateway.Errorf(gateway.IssuerRevoked, "a CA of the path: %s", gateway.DetailOf(err))
		default:
			doubt = cmp.Or(doubt, err)
		}
	}
	issuer, err := c.issuerOf(chain)
	if err != nil {
		return Evidence{}, err
	}
	f, err := c.one(ctx, chain[0], issuer, now)
	if err == nil || gateway.ReasonOf(err).Class() != gateway.Permanent && doubt != nil {
		err = doubt
	}
	if !until.IsZero() && until.Before(f.evidence.UsableUntil) {
		f.evidence.UsableUntil = until
	}
	return f.evidence, err
}

// issuerOf returns who issued the leaf. A pinned leaf comes without its issuer, so it is
// looked for among those configured.
func (c *Checker) issuerOf(chain []*trust.Certificate) (*trust.Certificate, error) {
	if len(chain) > 1 {
		return chain[1], nil
	}
	for _, s := range c.sources {
		i := s.issuer.Certificate
		if bytes.Equal(i.RawSubject, chain[0].RawIssuer) && chain[0].SignedBy(i) == nil {
			return i, nil
		}
	}
	return nil, gateway.Errorf(gateway.ConfigInvalid, "no issuer is configured that could tell whether the certificate was revoked")
}

func (c *Checker) sourceOf(issuer *trust.Certificate) *source {
	for _, s := range c.sources {
		i := s.issuer.Certificate
		if bytes.Equal(i.RawSubject, issuer.RawSubject) && bytes.Equal(i.RawSPKI, issuer.RawSPKI) {
			return s
		}
	}
	return nil
}

// one decides about a single certificate.
func (c *Checker) one(ctx context.Context, cert, issuer *trust.Certificate, now time.Time) (finding, error) {
	s := c.sourceOf(issuer)
	if s == nil {
		return finding{}, gateway.Errorf(gateway.ConfigInvalid, "no revocation source is configured for an issuer of the path")
	}
	listed, fresh, err := s.inLists(cert, now)
	if err != nil {
		return finding{}, err
	}
	if listed.state == revoked {
		return listed, listed.err()
	}
	said, failure := c.responder(ctx, s, cert, now)
	return weigh(said, failure, listed, fresh)
}

// weigh is the whole decision between what the responder said (or why it did not) and what
// the lists say (and why they prove nothing, when they are not fresh). The lists do not
// revoke for good here; that was decided before the responder was asked.
func weigh(said finding, failure error, listed finding, fresh error) (finding, error) {
	onHold := listed.state == held
	if failure == nil {
		switch said.state {
		case good:
			// A hold is lifted only by newer good.
			if onHold && !said.evidence.ThisUpdate.After(listed.evidence.ThisUpdate) {
				return listed, listed.err()
			}
			return said, nil
		case unknown:
			failure = said.err()
		default:
			return said, said.err()
		}
	}
	switch {
	case onHold:
		return listed, listed.err()
	case fresh == nil:
		return listed, nil
	case gateway.ReasonOf(failure) == gateway.StatusUnavailable && gateway.ReasonOf(fresh) != gateway.StatusUnavailable:
		return finding{}, fresh
	}
	return finding{}, failure
}
