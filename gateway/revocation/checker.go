package revocation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

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
	// CRLMirrors and DeltaMirrors are further addresses of the same lists, asked in this order when the
	// one before gives none.
	CRLMirrors, DeltaMirrors []string
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

	// FetchCRL, when set, gets CRLs in place of Fetch. tag is the ETag of the list held, "" for
	// none; when the publisher has nothing newer, it returns unchanged and no octets.
	FetchCRL func(ctx context.Context, url, tag string) (raw []byte, newTag string, unchanged bool, err error)
	// Shared, when set, spares the responders what another gateway asked already.
	Shared Shared
	// SharedTimeout bounds one look at it; 0 means [DefaultSharedTimeout].
	SharedTimeout time.Duration
	// Late, when set, is told of certificates that were decided good although they had been
	// revoked by then, when newer evidence says so. It must return soon.
	Late       func(Late)
	LateWindow time.Duration // decisions are remembered that long; 0 means [DefaultLateWindow]
	// Watch lists further certificates, by a name, whose end is in the metrics: the gateway's own, say.
	Watch map[string]*trust.Certificate
	// Watching, if set, names more of them each time the metrics are read.
	Watching func() []Watched

	Now func() time.Time // nil means time.Now
	// Monotonic is a clock that nobody sets. nil means the monotonic reading in Now's times; when
	// they have none, as in most tests, jumps of the clock go unnoticed.
	Monotonic func() time.Duration
	Log       *slog.Logger          // nil discards
	Metrics   prometheus.Registerer // nil registers nothing
}

// A Watched certificate is one whose end is in the metrics.
type Watched struct {
	Role, Name string // from closed lists: a file or a serial is no name
	NotAfter   time.Time
}

// A Checker proves that certificates are not revoked. It is safe for concurrent use.
type Checker struct {
	config  Config
	sources atomic.Pointer[[]*source]
	changed chan struct{} // tells Run that sources is another list
	disk    disk

	configuring sync.Mutex           // guards the next two, and changes of sources
	dir         string               // "" when nothing is kept beyond the process
	known       map[string]*holdings // by the issuer's name and key: of all that were ever configured

	fetching singleflight.Group
	now      func() time.Time
	clock    *clock
	shelf    *shelf // nil without Config.Shared
	log      *slog.Logger
	metrics  *metrics
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
	c.SharedTimeout = cmp.Or(c.SharedTimeout, DefaultSharedTimeout)
	c.CRLTimeout = cmp.Or(c.CRLTimeout, DefaultCRLTimeout)
	c.CRLEvery = cmp.Or(c.CRLEvery, DefaultCRLEvery)
	c.DeltaEvery = cmp.Or(c.DeltaEvery, DefaultDeltaEvery)
	c.Memory = cmp.Or(c.Memory, DefaultMemory)
	c.LateWindow = cmp.Or(c.LateWindow, DefaultLateWindow)
	k := &Checker{config: c, now: c.Now, log: c.Log, changed: make(chan struct{}, 1), disk: realDisk{}, known: map[string]*holdings{}}
	if k.now == nil {
		k.now = time.Now
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	k.clock = newClock(k.now(), c.Monotonic)
	if err := k.SetIssuers(c.Issuers); err != nil {
		return nil, err
	}
	var err error
	if k.metrics, err = newMetrics(c.Metrics, k); err != nil {
		return nil, err
	}
	k.shelf = newShelf(c.Shared, c.SharedTimeout, k.metrics, k.now)
	return k, nil
}

// SetIssuers replaces the configured issuers while the checker runs. What the lists and the ledger
// know of an issuer's certificates is kept whatever its settings are now, answers that were good only
// if its settings did not change; certificates of an issuer that is gone are refused at once. On an
// error everything stays as it was.
func (c *Checker) SetIssuers(issuers []Issuer) error {
	c.configuring.Lock()
	defer c.configuring.Unlock()
	if len(issuers) == 0 {
		return errors.New("revocation: Config.Issuers is empty: nothing could ever be proven good")
	}
	var old, list []*source
	if p := c.sources.Load(); p != nil {
		old = *p
	}
	for n, i := range issuers {
		if at := slices.IndexFunc(old, func(s *source) bool { return s.configured.same(i) }); at >= 0 {
			list = append(list, old[at])
			continue
		}
		s, err := c.newSource(i)
		if err != nil {
			return fmt.Errorf("revocation: issuer %d: %w", n+1, err)
		}
		if err := c.open(s); err != nil {
			return err
		}
		list = append(list, s)
	}
	for n, s := range list {
		if slices.ContainsFunc(list[:n], func(t *source) bool { return t.label == s.label }) {
			return fmt.Errorf("revocation: two issuers are called %q", s.label)
		}
	}
	c.sources.Store(&list)
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

// same reports whether both are configured alike.
func (i Issuer) same(j Issuer) bool {
	return i.Certificate.Equal(j.Certificate) && i.Label == j.Label && slices.Equal(i.OCSP, j.OCSP) &&
		i.CRL == j.CRL && i.DeltaCRL == j.DeltaCRL &&
		slices.Equal(i.CRLMirrors, j.CRLMirrors) && slices.Equal(i.DeltaMirrors, j.DeltaMirrors) &&
		slices.EqualFunc(i.Responders, j.Responders, (*trust.Certificate).Equal) && i.RequireNonce == j.RequireNonce && i.NonceSize == j.NonceSize &&
		i.AcceptSHA1 == j.AcceptSHA1 && i.AllowGOST2004 == j.AllowGOST2004 && i.OCSPMaxAge == j.OCSPMaxAge && i.CRLMaxAge == j.CRLMaxAge && i.DeltaMaxAge == j.DeltaMaxAge
}

// addresses of the full or the delta list, first choice first; empty when there is none.
func (i Issuer) addresses(delta bool) []string {
	first, more := i.CRL, i.CRLMirrors
	if delta {
		first, more = i.DeltaCRL, i.DeltaMirrors
	}
	if first == "" {
		return nil
	}
	return append([]string{first}, more...)
}

// publishes reports whether a list may say that it is of the distribution point uri.
func (i Issuer) publishes(uri string) bool {
	return slices.Contains(i.addresses(false), uri)
}

// holdingsOf returns what is held of an issuer's certificates; it needs configuring.
func (c *Checker) holdingsOf(issuer *trust.Certificate) *holdings {
	key := string(issuer.RawSubject) + string(issuer.RawSPKI)
	h := c.known[key]
	if h == nil {
		h = newHoldings()
		c.known[key] = h
	}
	return h
}

func (c *Checker) newSource(i Issuer) (*source, error) {
	v, err := newVerifier(i, c.config.Skew, cmp.Or(i.OCSPMaxAge, c.config.OCSPMaxAge))
	if err != nil {
		return nil, err
	}
	configured := i
	i.NonceSize = cmp.Or(i.NonceSize, DefaultNonce)
	switch {
	case i.NonceSize < 8 || i.NonceSize > 32:
		return nil, errors.New("a nonce has 8 to 32 octets")
	case len(i.OCSP) == 0 && i.CRL == "":
		return nil, errors.New("neither a responder nor a CRL is configured")
	case i.DeltaCRL != "" && i.CRL == "":
		return nil, errors.New("a delta CRL without the full one")
	case i.CRL == "" && len(i.CRLMirrors) > 0, i.DeltaCRL == "" && len(i.DeltaMirrors) > 0:
		return nil, errors.New("a mirror of a CRL without the CRL's own address")
	}
	s := &source{configured: configured, issuer: i, label: i.Label, keyHash: keyHashOf(i.Certificate), verifier: v,
		memory: newMemory(c.config.Memory), clock: c.clock, holdings: c.holdingsOf(i.Certificate)}
	s.wake = [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}
	if c.config.Late != nil {
		s.decided = newDecisions(c.config.LateWindow)
	}
	if s.label == "" {
		s.label = i.Certificate.SerialHex()[:min(8, len(i.Certificate.SerialHex()))]
	}
	for range i.OCSP {
		s.breakers = append(s.breakers, new(breaker))
	}
	s.ages = ages{c.config.Skew, cmp.Or(i.CRLMaxAge, c.config.CRLMaxAge), cmp.Or(i.DeltaMaxAge, c.config.DeltaMaxAge)}
	s.verifier.signer = s.responder.Store
	s.verifier.listed = func(serial []byte) bool {
		_, f, err := s.said(serial)
		return err != nil || f.state != good
	}
	s.verifier.clean = func(serial []byte) bool {
		_, f, err := s.said(serial)
		if err != nil || f.state != good {
			return false
		}
		_, err = s.freshness(c.now())
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
	return c.CheckProven(ctx, path, at, time.Time{})
}

// CheckProven is [Checker.Check] for a document that is proven to have existed at an earlier
// instant, by a verified timestamp or a journal: a revocation after it does not count, unless
// the key was compromised and is said to have been so before. A zero instant proves nothing.
// A certificate that has ended since is judged only by evidence from before its end, because
// a CA may strike what has expired off its lists.
func (c *Checker) CheckProven(ctx context.Context, path *trust.Path, at, proven time.Time) (Evidence, error) {
	start := c.now()
	var e Evidence
	err := c.clock.look(start)
	if err == nil {
		e, err = c.check(ctx, path, at, proven, start)
	}
	c.metrics.checked(e, err, start)
	return e, err
}

func (c *Checker) check(ctx context.Context, path *trust.Path, at, proven, now time.Time) (Evidence, error) {
	if at.After(now.Add(c.config.Skew)) {
		return Evidence{}, gateway.Errorf(gateway.ClockUnreliable, "asked about an instant after now")
	}
	chain := path.Certificates
	var doubt error
	until := time.Time{}
	for i := len(chain) - 2; i >= 1; i-- {
		f, err := c.one(ctx, chain[i], chain[i+1], proven, now)
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
	f, err := c.one(ctx, chain[0], issuer, proven, now)
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
	for _, s := range *c.sources.Load() {
		i := s.issuer.Certificate
		if bytes.Equal(i.RawSubject, chain[0].RawIssuer) && chain[0].SignedBy(i) == nil {
			return i, nil
		}
	}
	return nil, gateway.Errorf(gateway.ConfigInvalid, "no issuer is configured that could tell whether the certificate was revoked")
}

func (c *Checker) sourceOf(issuer *trust.Certificate) *source {
	for _, s := range *c.sources.Load() {
		i := s.issuer.Certificate
		if i == issuer || bytes.Equal(i.RawSubject, issuer.RawSubject) && bytes.Equal(i.RawSPKI, issuer.RawSPKI) {
			return s
		}
	}
	return nil
}

// one decides about a single certificate.
func (c *Checker) one(ctx context.Context, cert, issuer *trust.Certificate, proven, now time.Time) (finding, error) {
	s, f, err := c.found(ctx, cert, issuer, now)
	if !proven.IsZero() {
		return f, historical(cert, f, err, proven, now)
	}
	if err == nil && s.decided != nil {
		s.decided.note(cert.Serial, now)
	}
	return f, err
}

// since is from when on a revoked key is not to be trusted.
func (f finding) since() time.Time {
	if (f.reason == KeyCompromise || f.reason == CACompromise) && !f.invalidSince.IsZero() && f.invalidSince.Before(f.revokedAt) {
		return f.invalidSince
	}
	return f.revokedAt
}

// historical turns what is found now into what it says of an earlier, proven instant.
func historical(cert *trust.Certificate, f finding, err error, proven, now time.Time) error {
	switch gateway.ReasonOf(err) {
	case "":
		if f.evidence.ThisUpdate.After(cert.NotAfter) {
			return gateway.Errorf(gateway.StatusUnknown, "the evidence is from after the certificate's end, so it does not show what was before; judge with the evidence of the time")
		}
	case gateway.Revoked, gateway.Suspended:
		since := f.since()
		if proven.Before(since) && !proven.After(now) {
			return nil
		}
	}
	return err
}

func (c *Checker) found(ctx context.Context, cert, issuer *trust.Certificate, now time.Time) (*source, finding, error) {
	s := c.sourceOf(issuer)
	if s == nil {
		return nil, finding{}, gateway.Errorf(gateway.ConfigInvalid, "no revocation source is configured for an issuer of the path")
	}
	listed, fresh, err := s.inLists(cert, now)
	if err != nil {
		return s, finding{}, err
	}
	if listed.state == revoked {
		return s, listed, listed.err()
	}
	said, failure := c.responder(ctx, s, cert, now)
	f, err := weigh(said, failure, listed, fresh)
	return s, f, err
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
