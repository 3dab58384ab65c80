package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/revocation/redisevidence"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/verification"
)

// pki builds trust, revocation and the verifier over both.
func (b *builder) pki() error {
	store, anchors, err := trustStore(b.c)
	if err != nil {
		return err
	}
	b.anchors.Store(&anchors)
	// The checker has its own breaker for each responder, and asks the next source rather than the same again.
	client, err := upstream.New(upstream.Config{Name: "revocation", Timeout: 30 * time.Second, Retries: -1, BreakerFailures: 1 << 30, MaxResponse: revocation.MaxCRLBytes,
		Reasons: upstream.Reasons{Unavailable: gateway.StatusUnavailable}, Observe: b.called})
	if err != nil {
		return err
	}
	// What is told of late revocations is counted and logged by the checker itself.
	rc := revocation.Config{Fetch: client.Fetch, FetchCRL: client.FetchNewer, Now: b.now, Log: b.log, Metrics: b.m.reg, Late: func(revocation.Late) {},
		Watch: map[string]*trust.Certificate{"gateway": b.key.Certificate()}}
	if rc.Issuers, err = issuers(b.c); err != nil {
		return err
	}
	if b.c.SharedEvidence != "" {
		client, err := redisevidence.Open(b.c.SharedEvidence)
		if err != nil {
			return fmt.Errorf("shared_evidence: %w", err)
		}
		b.shared = client
		if rc.Shared, err = redisevidence.New(redisevidence.Config{Client: client}); err != nil {
			return err
		}
	}
	if b.checker, err = revocation.New(rc); err != nil {
		return err
	}
	b.verifier, err = verification.New(verification.Config{Trust: store, Revocation: b.checker, Observe: b.m.verdict})
	return err
}

func trustStore(c *Config) (*trust.Store, []trust.Anchor, error) {
	var tc trust.Config
	for i, a := range c.Trust {
		cert, err := c.certificate(fmt.Sprintf("trust[%d]", i), a.Certificate)
		if err != nil {
			return nil, nil, err
		}
		tc.Anchors = append(tc.Anchors, trust.Anchor{Certificate: cert, Test: a.Test})
	}
	for i, file := range c.Intermediates {
		cert, err := c.certificate(fmt.Sprintf("intermediates[%d]", i), file)
		if err != nil {
			return nil, nil, err
		}
		tc.Intermediates = append(tc.Intermediates, cert)
	}
	store, err := trust.New(tc)
	return store, tc.Anchors, err
}

func issuers(c *Config) (all []revocation.Issuer, err error) {
	for i, r := range c.Revocation {
		cert, err := c.certificate(fmt.Sprintf("revocation[%d].certificate", i), r.Certificate)
		if err != nil {
			return nil, err
		}
		all = append(all, revocation.Issuer{Certificate: cert, OCSP: r.OCSP, CRL: r.CRL, DeltaCRL: r.DeltaCRL, CRLMaxAge: time.Duration(r.CRLMaxAge), RequireNonce: r.RequireNonce})
	}
	return all, nil
}

// reload reads the configuration file again and takes over trust, intermediates and
// revocation; the rest needs a restart. On an error everything stays as it was.
func (b *builder) reload() error {
	c, err := LoadConfig(b.c.file)
	if err != nil {
		return err
	}
	known, err := issuers(c)
	if err != nil {
		return err
	}
	store, anchors, err := trustStore(c)
	if err != nil {
		return err
	}
	if err := b.checker.SetIssuers(known); err != nil {
		return err
	}
	b.verifier.SetTrust(store)
	b.anchors.Store(&anchors)
	return nil
}

func (b *builder) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			if err := b.reload(); err != nil {
				b.log.Error("the configuration was not reloaded; trust stays as it was", "error", err)
			} else {
				b.log.Info("trust, intermediates and revocation were reloaded")
			}
		case <-ctx.Done():
			return
		}
	}
}
