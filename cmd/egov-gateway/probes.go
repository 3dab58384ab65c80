package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/xmlsig"
)

// probes do the job in the small: write to the journal and read from it, judge the anchors and the
// gateway's own certificate, look at the revocation sources, sign and verify, find each shard's
// passports. The calendar's end makes nothing unready; it is only told of.
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
		{Name: "calendar", Note: func() string { return or(b.forms.Calendar().Notice(b.now()), "ok") }},
		b.outgoingProbe(),
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

// terms are those of a request received now: they can be made when a passport of the shard applies.
func (b *builder) terms(shard string) error {
	if !slices.ContainsFunc(b.forms.Applying(b.now()), func(p *passport.Passport) bool { return p.Shard == shard }) {
		return errors.New("no passport applies now")
	}
	return nil
}
