package revocation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// Refresh downloads every configured list once. It tries all of them and joins the errors; a
// list that is refused leaves the one held in its place.
func (c *Checker) Refresh(ctx context.Context) error {
	errs := make([]error, len(c.sources))
	var wg sync.WaitGroup
	for i, s := range c.sources {
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
	raw, err := c.config.Fetch(ctx, url, nil)
	if err != nil {
		err = gateway.Errorf(gateway.StatusUnavailable, "get the CRL: %w", err)
		if !delta {
			s.lament(err)
		}
	} else {
		err = s.load(raw, delta, c.now())
	}
	c.metrics.loaded(s, kind, err)
	if err != nil {
		return fmt.Errorf("%s CRL of issuer %s: %w", kind, s.label, err)
	}
	return nil
}

// lament remembers why there is no list, for the first check that needs one.
func (s *source) lament(err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	if held := *s.lists.Load(); held.base == nil {
		held.trouble = err
		s.lists.Store(&held)
	}
}

// Run loads every list at once and then at its pace, sooner after a failure, until ctx ends.
// It returns nil then. Failures are logged with their reason; nothing else stops it.
func (c *Checker) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range c.sources {
		if s.issuer.CRL != "" {
			wg.Go(func() { c.poll(ctx, s, false, c.config.CRLEvery) })
		}
		if s.issuer.DeltaCRL != "" {
			wg.Go(func() { c.poll(ctx, s, true, c.config.DeltaEvery) })
		}
	}
	wg.Wait()
	<-ctx.Done()
	return nil
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
	for _, s := range c.sources {
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
