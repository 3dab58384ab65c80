package revocation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// Refresh downloads every configured list once. It tries all of them and joins the errors; a
// list that is refused leaves the one held in its place.
func (c *Checker) Refresh(ctx context.Context) error {
	sources := *c.sources.Load()
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() { errs[i] = errors.Join(c.download(ctx, s, false), c.download(ctx, s, true)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Checker) download(ctx context.Context, s *source, delta bool) error {
	url, kind := s.issuer.CRL, "full"
	if delta {
		url, kind = s.issuer.DeltaCRL, "delta"
	}
	if url == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.CRLTimeout)
	defer cancel()
	raw, etag, unchanged, err := c.fetchList(ctx, s, url, delta)
	switch {
	case err != nil:
		err = gateway.Errorf(gateway.StatusUnavailable, "get the CRL: %w", err)
		if borrowed := c.borrowList(ctx, s, delta); borrowed != nil && c.load(s, borrowed, "", delta, true) == nil {
			c.log.Info("a CRL was taken from the shared layer", "issuer", s.label, "kind", kind)
		} else if !delta {
			s.lament(err)
		}
	case !unchanged:
		err = c.load(s, raw, etag, delta, false)
	}
	c.metrics.loaded(s, kind, err)
	if err != nil {
		return fmt.Errorf("%s CRL of issuer %s: %w", kind, s.label, err)
	}
	return nil
}

// fetchList gets a list, unless the publisher says that the one held is its newest. A list
// that proves nothing any more is got again whatever the publisher says.
func (c *Checker) fetchList(ctx context.Context, s *source, url string, delta bool) (raw []byte, etag string, unchanged bool, err error) {
	if c.config.FetchCRL == nil {
		raw, err = c.config.Fetch(ctx, url, nil)
		return raw, "", false, err
	}
	asked := ""
	if _, stale := s.lists.Load().fresh(s.ages, c.now()); stale == nil {
		asked = s.tagOf(delta)
	}
	raw, etag, unchanged, err = c.config.FetchCRL(ctx, url, asked)
	if err == nil && unchanged && asked == "" {
		err = errors.New("unchanged, though nothing was held")
	}
	return raw, etag, unchanged, err
}

// load takes a list in, and tells of what it reveals.
func (c *Checker) load(s *source, raw []byte, etag string, delta, borrowed bool) error {
	before := s.lists.Load()
	if err := s.load(raw, etag, delta, c.now()); err != nil {
		return err
	}
	after := s.lists.Load()
	list, old := after.base, before.base
	if delta {
		list, old = after.delta, before.delta
	}
	if list != old {
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

// retryEvery is the pace after a download that failed.
const retryEvery = time.Minute

func (c *Checker) poll(ctx context.Context, s *source, delta bool, every time.Duration) {
	for {
		wait := every
		if err := c.download(ctx, s, delta); err != nil && ctx.Err() == nil {
			c.log.Warn("a CRL was not loaded; the one held stays", "reason", gateway.ReasonOf(err), "error", err)
			wait = min(every, retryEvery)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
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
		_, err := s.lists.Load().fresh(s.ages, c.now())
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
