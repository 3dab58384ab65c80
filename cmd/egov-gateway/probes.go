package main

import (
	"context"
	"errors"
	"fmt"

	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/xmlsig"
)

// probes do the job in the small: write to the journal and read from it, judge the anchors and the
// gateway's own certificate, look at the revocation sources, sign and verify, make the terms of
// each shard's services.
func (b *builder) probes(shards []string) []httpserver.Probe {
	all := []httpserver.Probe{
		{Name: "journal", Check: func(ctx context.Context) error { _, err := b.store.Stats(ctx); return err }},
		{Name: "trust", Check: func(context.Context) error {
			for _, a := range *b.anchors.Load() {
				if now := b.now(); now.Before(a.Certificate.NotBefore) || now.After(a.Certificate.NotAfter) {
					return fmt.Errorf("the anchor with serial %s is outside its validity", a.Certificate.SerialHex())
				}
			}
			return nil
		}},
		{Name: "revocation", Check: func(context.Context) error { return errors.Join(b.checker.Ready(), b.checker.Steady()) }},
		{Name: "signature", Check: func(context.Context) error {
			own, now := b.key.Certificate(), b.now()
			if now.Before(own.NotBefore) || now.After(own.NotAfter) {
				return errors.New("the gateway's own certificate is outside its validity")
			}
			signed, err := xmlsig.Sign([]byte("<ready/>"), b.key, xmlsig.SignOptions{})
			if err == nil {
				_, err = b.verifier.Open(signed, len(signed))
			}
			return err
		}},
	}
	for _, shard := range shards {
		all = append(all,
			httpserver.Probe{Name: "journal", Shard: shard, Check: func(ctx context.Context) error {
				_, _, err := b.store.List(ctx, journal.Query{Shard: shard, Limit: 1})
				return err
			}},
			httpserver.Probe{Name: "terms", Shard: shard, Check: func(context.Context) error { return b.terms(shard) }})
	}
	return all
}

// doorProbe says for whom a door is full. The gateway is not ready while it is full for everybody it
// knows: that strangers, or one party beyond its share, are sent away takes no instance out of service.
func doorProbe(name string, report func() admission.Report) httpserver.Probe {
	return httpserver.Probe{Name: name,
		Check: func(context.Context) error { return report().Err() },
		Note:  func() string { return report().String() }}
}

// terms makes those of a request received now, for each service of the shard.
func (b *builder) terms(shard string) error {
	now, served := b.now(), 0
	for _, p := range b.forms.Applying(now) {
		if p.Shard != shard {
			continue
		}
		served++
		at, err := p.Registration(now)
		if err == nil {
			_, err = p.Plan(at)
		}
		if err != nil {
			return fmt.Errorf("passport %s: %w", p.ID, err)
		}
	}
	if served == 0 {
		return errors.New("no passport applies now")
	}
	return nil
}
