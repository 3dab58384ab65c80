package revocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// Refresh downloads every configured list once. It tries all of them and joins the errors; a
// list that is refused leaves the one held in its place.
func (c *Checker) Refresh(ctx context.Context) error {
	var errs []error
	for _, f := range c.fetchAll(ctx) {
		errs = append(errs, f.Err)
	}
	return errors.Join(errs...)
}

// A Fetched says how the download of one list ended.
type Fetched struct {
	Issuer string // label
	Kind   string // full, delta
	Err    error  // why it was not loaded; the list held stays. nil also when the publisher has nothing newer
	// ThisUpdate and NextUpdate are those of the list that is held now; zero without one.
	ThisUpdate, NextUpdate time.Time
	// Stale is why what is held proves nothing now, though it may have been loaded well; nil when it does.
	Stale error
}

// Fetch downloads every configured list now, whatever [Checker.Run] does, and tells of each in the order
// of the configuration. Of many calls at once one downloads and all get its outcome. It ends with ctx,
// and the downloads then go on for those who wait. It is what an operator asks for by hand.
func (c *Checker) Fetch(ctx context.Context) ([]Fetched, error) {
	done := c.fetching.DoChan("", func() (any, error) { return c.fetchAll(context.WithoutCancel(ctx)), nil })
	select {
	case r := <-done:
		return slices.Clone(r.Val.([]Fetched)), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// FetchSoon makes [Checker.Run] download every list now and not at its next time. It does not wait.
func (c *Checker) FetchSoon() {
	for _, s := range *c.sources.Load() {
		s.wakeLoad(false)
		s.wakeLoad(true)
	}
}

func (s *source) wakeLoad(delta bool) {
	select {
	case s.wake[index(delta)] <- struct{}{}:
	default:
	}
}

func (c *Checker) fetchAll(ctx context.Context) (all []Fetched) {
	var wg sync.WaitGroup
	sources := *c.sources.Load()
	lists := make([][]Fetched, len(sources))
	for i, s := range sources {
		wg.Go(func() {
			for _, delta := range []bool{false, true} {
				if len(s.issuer.addresses(delta)) > 0 {
					lists[i] = append(lists[i], c.fetched(s, delta, c.download(ctx, s, delta)))
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(lists...)
}

func (c *Checker) fetched(s *source, delta bool, err error) Fetched {
	f := Fetched{Issuer: s.label, Kind: kindOf(delta), Err: err, Stale: s.unfresh(delta, c.now())}
	if held := s.lists.Load().of(delta); held != nil {
		f.ThisUpdate, f.NextUpdate = held.ThisUpdate, held.NextUpdate
	}
	return f
}

func kindOf(delta bool) string {
	if delta {
		return "delta"
	}
	return "full"
}

// of returns one of the lists, nil when it is not held.
func (l *lists) of(delta bool) *CRL {
	if delta {
		return l.delta
	}
	return l.base
}

// unfresh is why a list that is held is to be got again soon; nil when it proves something.
func (s *source) unfresh(delta bool, now time.Time) error {
	if !delta {
		_, err := s.freshness(now)
		return err
	}
	l := s.lists.Load()
	if l.delta == nil {
		return errNoList
	}
	if until := s.deltaEnds(l.delta); s.clock.since(&l.confirmed, now).After(until) {
		return gateway.Errorf(gateway.EvidenceStale, "the newest delta CRL is too old (usable until %s)", until.Format(time.RFC3339))
	}
	return nil
}

func (s *source) deltaEnds(delta *CRL) time.Time {
	return earliest(delta.NextUpdate, delta.ThisUpdate.Add(s.ages.delta))
}

// download gets a list from the first address that gives one which proves something.
func (c *Checker) download(ctx context.Context, s *source, delta bool) error {
	var failure error
	loaded := false
	for _, address := range s.issuer.addresses(delta) {
		err := c.downloadFrom(ctx, s, address, delta)
		failure = cmp.Or(failure, err)
		if loaded = loaded || err == nil; err == nil && s.unfresh(delta, c.now()) == nil {
			break
		}
	}
	kind := kindOf(delta)
	if !loaded && gateway.ReasonOf(failure) == gateway.StatusUnavailable {
		if borrowed := c.borrowList(ctx, s, delta); borrowed != nil && c.load(s, borrowed, "", "", delta, true) == nil {
			c.log.Info("a CRL was taken from the shared layer", "issuer", s.label, "kind", kind)
		} else if !delta {
			s.lament(failure)
		}
	}
	if loaded {
		failure = nil
	}
	stale := s.unfresh(delta, c.now())
	if c.metrics.loaded(s, kind, cmp.Or(failure, stale)); failure == nil && stale != nil {
		c.tellStale(s, delta, stale)
	}
	if l := s.lists.Load(); delta && l.base != nil && l.delta != nil && compareNumbers(l.delta.BaseNumber, l.base.Number) > 0 {
		s.wakeLoad(false) // there is a newer full list than ours
	}
	if failure != nil {
		return fmt.Errorf("%s CRL of issuer %s: %w", kind, s.label, failure)
	}
	return nil
}

// tellStale writes once for each list that what the publisher has is too old.
func (c *Checker) tellStale(s *source, delta bool, why error) {
	held := s.lists.Load().of(delta)
	if held == nil || s.told[index(delta)].Swap(held) == held {
		return
	}
	c.log.Warn("a CRL proves nothing as it was downloaded; it is asked for again every minute", "issuer", s.label, "kind", kindOf(delta),
		"this_update", held.ThisUpdate, "next_update", held.NextUpdate, "reason", gateway.ReasonOf(why), "error", why)
}

func (c *Checker) downloadFrom(ctx context.Context, s *source, address string, delta bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.CRLTimeout)
	defer cancel()
	raw, etag, unchanged, err := c.fetchList(ctx, s, address, delta)
	switch {
	case err != nil:
		return gateway.Errorf(gateway.StatusUnavailable, "get the CRL: %w", err)
	case unchanged:
		s.confirm(c.clock.stamp(c.now()))
		return nil
	}
	return c.load(s, raw, etag, address, delta, false)
}

// fetchList gets a list, unless the publisher says that the one held is its newest. A list
// that proves nothing any more is got again whatever the publisher says.
func (c *Checker) fetchList(ctx context.Context, s *source, address string, delta bool) (raw []byte, etag string, unchanged bool, err error) {
	if c.config.FetchCRL == nil {
		raw, err = c.config.Fetch(ctx, address, nil)
		return raw, "", false, err
	}
	asked := ""
	if _, stale := s.freshness(c.now()); stale == nil {
		asked = s.tagOf(address, delta)
	}
	raw, etag, unchanged, err = c.config.FetchCRL(ctx, address, asked)
	if err == nil && unchanged && asked == "" {
		err = errors.New("unchanged, though nothing was held")
	}
	return raw, etag, unchanged, err
}

// load takes a list in, and tells of what it reveals.
func (c *Checker) load(s *source, raw []byte, etag, address string, delta, borrowed bool) error {
	raw, err := unwrapCRL(raw)
	if err != nil {
		return s.refuse(err, delta)
	}
	before := s.lists.Load()
	now := c.now()
	unsaved, err := s.load(raw, tag{etag: etag, address: address}, delta, now, c.clock.stamp(now))
	if unsaved != nil {
		c.log.Error("what is known of certificates is not on the disk", "issuer", s.label, "error", unsaved)
	}
	if err != nil {
		return err
	}
	after := s.lists.Load()
	if list := after.of(delta); list != before.of(delta) {
		c.lateInLists(s)
		if !borrowed {
			c.lendList(s, delta, list, raw)
		}
	}
	return nil
}

// lament remembers why there is no list, for the first check that needs one.
func (s *source) lament(err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	if held := *s.lists.Load(); held.base == nil {
		held.trouble = err
		s.lists.Store(held.ready())
	}
}

// refuse is lament for what was no list at all; it returns err.
func (s *source) refuse(err error, delta bool) error {
	if !delta {
		s.lament(err)
	}
	return err
}

// Run loads every list at once and then at its pace, sooner after a failure, until ctx ends.
// It returns nil then. Failures are logged with their reason; nothing else stops it.
func (c *Checker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := make(map[*source]context.CancelFunc)
	defer func() {
		for _, stop := range running {
			stop()
		}
	}()
	look := time.NewTicker(clockEvery)
	defer look.Stop()
	for {
		sources := *c.sources.Load()
		for s, stop := range running {
			if !slices.Contains(sources, s) {
				stop()
				delete(running, s)
			}
		}
		for _, s := range sources {
			if running[s] == nil {
				running[s] = c.follow(ctx, &wg, s)
			}
		}
		select {
		case <-c.changed:
		case <-look.C:
			if err := c.Steady(); err != nil {
				c.log.Error("the clock is not steady", "reason", gateway.ReasonOf(err), "error", err)
			}
			for _, s := range sources {
				if err := s.ledger.retry(); err != nil {
					c.log.Error("what is known of certificates is not on the disk", "issuer", s.label, "error", err)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// follow polls the lists of one issuer until the function it returns is called.
func (c *Checker) follow(ctx context.Context, wg *sync.WaitGroup, s *source) context.CancelFunc {
	ctx, stop := context.WithCancel(ctx)
	if s.issuer.CRL != "" {
		wg.Go(func() { c.poll(ctx, s, false, c.config.CRLEvery) })
	}
	if s.issuer.DeltaCRL != "" {
		wg.Go(func() { c.poll(ctx, s, true, c.config.DeltaEvery) })
	}
	return stop
}

// retryEvery is the pace after a download that failed, and while what is held proves nothing.
const retryEvery = time.Minute

// listMargin is how long before its nextUpdate a list is replaced at the latest; a tenth of its life if
// that is less.
const listMargin = 5 * time.Minute

// nextLoad is when a list is to be loaded again: at its pace, before the CA's own date for the next one,
// and every minute while what is held proves nothing.
func (s *source) nextLoad(delta bool, every time.Duration, now time.Time) time.Duration {
	least := min(every, retryEvery)
	l := s.lists.Load()
	held := l.of(delta)
	if held == nil || s.unfresh(delta, now) != nil {
		return least
	}
	until := held.NextUpdate
	if delta {
		until = s.deltaEnds(held)
	} else if end, err := s.freshness(now); err == nil && !l.together {
		until = end
	}
	margin := min(listMargin, held.NextUpdate.Sub(held.ThisUpdate)/10)
	wait := max(least, min(every, until.Sub(s.clock.since(&l.confirmed, now))-margin))
	// Gateways that started together do not ask together.
	return wait - wait/20 + rand.N(wait/10+1)
}

func (c *Checker) poll(ctx context.Context, s *source, delta bool, every time.Duration) {
	for {
		err := c.download(ctx, s, delta)
		wait := s.nextLoad(delta, every, c.now())
		if err != nil && ctx.Err() == nil {
			c.log.Warn("a CRL was not loaded; the one held stays", "reason", gateway.ReasonOf(err), "error", err)
			wait = min(every, retryEvery)
		}
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-s.wake[index(delta)]:
			again.Stop()
		case <-ctx.Done():
			again.Stop()
			return
		}
	}
}

// Ready returns nil when every issuer has a source that can answer now: a fresh list, or a
// responder that answered when last asked. One that was never asked counts only for an issuer
// without a list: otherwise nobody could ever be the first to ask. The error names the issuers
// that have none.
func (c *Checker) Ready() error {
	var faults []error
	for _, s := range *c.sources.Load() {
		until, err := s.freshness(c.now())
		if at := time.Unix(0, s.lists.Load().confirmed.wall); gateway.ReasonOf(err) == gateway.EvidenceStale && at.After(until) {
			err = fmt.Errorf("%w; the publisher had nothing newer at %s and is asked every minute", err, at.UTC().Format(time.RFC3339))
		}
		for _, b := range s.breakers {
			if err != nil && b.answers(s.issuer.CRL == "") {
				err = nil
			}
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("revocation: issuer %s: %w", s.label, err))
		}
	}
	return errors.Join(faults...)
}
