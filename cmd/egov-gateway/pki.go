package main

import (
	"fmt"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/revocation/redisevidence"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/verification"
)

// listRedirects is how many redirects a publisher of revocation lists may send us through.
const listRedirects = 3

// pki builds trust, revocation and the verifier over both.
func (b *builder) pki() error {
	store, anchors, err := trustStore(b.c)
	if err != nil {
		return err
	}
	b.anchors.Store(&anchors)
	if err := b.noteCertificates(b.c); err != nil {
		return err
	}
	// The checker has its own breaker for each responder, and asks the next source rather than the same again.
	conf, err := b.c.clientTLS("outgoing", nil)
	if err != nil {
		return err
	}
	uc := upstream.Config{Name: "revocation", Timeout: revocation.DefaultCRLTimeout, Retries: -1, NoBreaker: true,
		MaxResponse: revocation.MaxCRLBytes, MaxRedirects: listRedirects,
		Reasons: upstream.Reasons{Unavailable: gateway.StatusUnavailable}, TLS: conf, Observe: b.called}
	publishers, err := upstream.New(uc)
	if err != nil {
		return err
	}
	// An answer is small; what is larger is not read at all. A question goes nowhere but to the responder.
	uc.MaxResponse, uc.MaxRedirects, uc.Timeout = revocation.MaxOCSPBytes, 0, 30*time.Second
	responders, err := upstream.New(uc)
	if err != nil {
		return err
	}
	// What is told of late revocations is counted and logged by the checker itself.
	rc := revocation.Config{Fetch: responders.Fetch, FetchCRL: publishers.FetchNewer, Now: b.now, Log: b.log, Metrics: b.m.reg,
		Late: func(revocation.Late) {}, Watching: b.watched,
		CRLEvery: time.Duration(b.c.ListsEvery.Full), DeltaEvery: time.Duration(b.c.ListsEvery.Delta)}
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
		one := revocation.Issuer{Certificate: cert, OCSP: r.OCSP, CRL: r.CRL.First(), CRLMirrors: r.CRL.Others(),
			DeltaCRL: r.DeltaCRL.First(), DeltaMirrors: r.DeltaCRL.Others(), CRLMaxAge: time.Duration(r.CRLMaxAge), DeltaMaxAge: time.Duration(r.DeltaMaxAge),
			OCSPMaxAge: time.Duration(r.OCSPMaxAge), RequireNonce: r.RequireNonce, AllowGOST2004: r.AllowGOST2004}
		for n, file := range r.Responders {
			responder, err := c.certificate(fmt.Sprintf("revocation[%d].responders[%d]", i, n), file)
			if err != nil {
				return nil, err
			}
			one.Responders = append(one.Responders, responder)
		}
		all = append(all, one)
	}
	return all, nil
}
