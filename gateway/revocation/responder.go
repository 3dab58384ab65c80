package revocation

import (
	"context"
	cryptorand "crypto/rand"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/singleflight"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

var errNoResponder = gateway.Errorf(gateway.StatusUnavailable, "no responder is configured")

// responder returns what OCSP says of a certificate, from memory when that is fresh.
func (c *Checker) responder(ctx context.Context, s *source, cert *trust.Certificate, now time.Time) (finding, error) {
	var m memo
	if s.memory.recall(cert.Serial, &m) && !c.clock.since(&m.learned, now).After(m.until) {
		if !m.renew.IsZero() && !now.Before(m.renew) && s.memory.postpone(cert.Serial, now, now.Add(breakerPause)) {
			c.ask(ctx, s, cert, true)
		}
		return m.finding, m.failure
	}
	if len(s.issuer.OCSP) == 0 {
		return finding{}, errNoResponder
	}
	select {
	case r := <-c.ask(ctx, s, cert, false):
		return r.Val.(finding), r.Err
	case <-ctx.Done():
		return finding{}, gateway.Errorf(gateway.StatusUnavailable, "gave up waiting for the responder: %w", ctx.Err())
	}
}

// ask joins the question about cert that is under way, or starts it; ahead, of an answer that
// is still good. The question ends within the OCSP timeout.
func (c *Checker) ask(ctx context.Context, s *source, cert *trust.Certificate, ahead bool) <-chan singleflight.Result {
	return s.flights.DoChan(string(cert.Serial), func() (any, error) {
		// The answer is for everybody who waits, so the first one's leaving does not end it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.OCSPTimeout)
		defer cancel()
		return c.question(ctx, s, cert, ahead)
	})
}

// question asks once and remembers the outcome.
func (c *Checker) question(ctx context.Context, s *source, cert *trust.Certificate, ahead bool) (finding, error) {
	// Somebody may have asked between the caller's look and this flight.
	var m memo
	if !ahead && s.memory.recall(cert.Serial, &m) && !c.clock.since(&m.learned, c.now()).After(m.until) {
		return m.finding, m.failure
	}
	f, lent := c.borrowed(ctx, s, cert, ahead)
	var err error
	if !lent {
		f, err = c.race(ctx, s, cert.Serial)
	}
	now := c.now()
	if err != nil {
		if gateway.ReasonOf(err) == gateway.StatusUnavailable {
			s.memory.stumble(cert.Serial, err, now.Add(failedFor), c.clock.stamp(now))
		} else {
			c.log.Warn("an OCSP answer was refused", "issuer", s.label, "reason", gateway.ReasonOf(err), "error", err)
		}
		return finding{}, err
	}
	until, renew := f.evidence.UsableUntil, time.Time{}
	switch f.state {
	case good:
		// From half of its life on, a little later for some than for others.
		life := max(until.Sub(now), 0)
		renew = now.Add(life/2 + rand.N(life/10+1))
	case revoked:
		until = cert.NotAfter
	case held:
		until = now.Add(heldFor)
	case neverIssued, unknown:
		until = now.Add(unknownFor)
	}
	if !lent {
		c.lend(s, cert.Serial, f, until)
	}
	if err := s.learn(cert.Serial, f); err != nil {
		c.log.Error("what an OCSP answer says is known to this process alone", "issuer", s.label, "error", err)
	}
	if _, known, _ := s.said(cert.Serial); f.state == good && known.state == held && !f.evidence.ThisUpdate.After(known.evidence.ThisUpdate) {
		until, renew = now.Add(heldFor), time.Time{} // it lifts nothing, so the next one is asked for soon
	}
	holds := s.memory.learn(cert.Serial, f, until, renew, c.clock.stamp(now))
	c.late(s, cert.Serial, holds)
	return holds, nil
}

// race asks the responders in their order: the next one when the last failed or is slow. The
// first verified answer wins; of failures, the one that is not mere silence is reported.
func (c *Checker) race(ctx context.Context, s *source, serial []byte) (finding, error) {
	type outcome struct {
		finding finding
		err     error
	}
	urls := s.issuer.OCSP
	outcomes := make(chan outcome, len(urls))
	failure := gateway.Errorf(gateway.StatusUnavailable, "no responder is asked: each failed too often of late")
	next, running := 0, 0
	launch := func() {
		for ; next < len(urls); next++ {
			if i := next; s.breakers[i].allow(c.now()) {
				next++
				running++
				go func() {
					f, err := c.exchange(ctx, s, i, serial)
					outcomes <- outcome{f, err}
				}()
				return
			}
		}
	}
	hedge := time.NewTimer(c.config.Hedge)
	defer hedge.Stop()
	for launch(); running > 0; {
		select {
		case o := <-outcomes:
			running--
			if o.err == nil {
				return o.finding, nil
			}
			if gateway.ReasonOf(failure) == gateway.StatusUnavailable {
				failure = o.err
			}
			launch()
		case <-hedge.C:
			launch()
			hedge.Reset(c.config.Hedge)
		case <-ctx.Done():
			return finding{}, gateway.Errorf(gateway.StatusUnavailable, "the responders did not answer in time")
		}
	}
	return finding{}, failure
}

// exchange asks one responder.
func (c *Checker) exchange(ctx context.Context, s *source, i int, serial []byte) (finding, error) {
	nonce := make([]byte, s.issuer.NonceSize)
	cryptorand.Read(nonce)
	request, err := marshalRequest(newCertID(oidSHA256, s.issuer.Certificate, serial), nonce)
	if err != nil {
		return finding{}, gateway.Errorf(gateway.Internal, "build an OCSP request: %w", err)
	}
	start := c.now()
	raw, err := c.config.Fetch(ctx, s.issuer.OCSP[i], request)
	now := c.now()
	var f finding
	if err != nil {
		err = gateway.Errorf(gateway.StatusUnavailable, "ask the OCSP responder: %w", err)
	} else {
		f, err = s.verifier.judge(raw, serial, nonce, now)
	}
	s.breakers[i].record(err == nil, now)
	c.metrics.asked(s, i, err, now.Sub(start))
	return f, err
}
