package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/shep"
)

// Region is the gateway of a shard, to which this one relays requests (R6). Providers name it.
type Region struct {
	Shard string `yaml:"shard"`
	URL   string `yaml:"url"` // of its AsyncChannel
	// SenderID is under which it calls here; it knows this gateway as shep.sender_id.
	SenderID     string   `yaml:"sender_id"`
	Certificates []string `yaml:"certificates" file:"public"` // pinned
	// Addresses are the networks it calls from, as those of a participant.
	Addresses Networks `yaml:"addresses"`
	// Services are ids of SHEP's register with the service codes of the passports.
	Services map[string]string `yaml:"services"`
	// Fetch is how often its messages are asked for; 0 means that it pushes them.
	Fetch    Duration `yaml:"fetch"`
	Timeout  Duration `yaml:"timeout"`
	Rate     float64  `yaml:"rate"`
	MaxBytes int      `yaml:"max_bytes"`
	// TLS takes the place of outgoing for this region.
	TLS *ClientTLS `yaml:"tls"`
}

// regionName is a region's label in metrics and its name as a participant.
func regionName(shard string) string { return "region-" + shard }

func (c *Config) checkRegions() (errs []error) {
	for i, r := range c.Regions {
		at := fmt.Sprintf("regions[%d]", i)
		if r.Shard == "" || r.URL == "" || r.SenderID == "" || len(r.Certificates) == 0 || len(r.Services) == 0 {
			errs = append(errs, fmt.Errorf("%s: shard, url, sender_id, certificates and services are needed", at))
		}
		if slices.ContainsFunc(c.Regions[:i], func(q Region) bool { return q.Shard == r.Shard }) {
			errs = append(errs, fmt.Errorf("%s.shard: %s stands twice", at, r.Shard))
		}
	}
	if len(c.Regions) > 0 && c.SHEP == nil {
		errs = append(errs, errors.New("regions: shep.sender_id is needed, under which the regions know this gateway"))
	}
	for i, p := range c.Providers {
		if p.Region != "" && c.region(p.Region) == nil {
			errs = append(errs, fmt.Errorf("providers[%d].region: %s is not in regions", i, p.Region))
		}
	}
	return errs
}

func (c *Config) region(shard string) *Region {
	for i := range c.Regions {
		if c.Regions[i].Shard == shard {
			return &c.Regions[i]
		}
	}
	return nil
}

// regionClient makes the client for a region's gateway, once.
func (b *builder) regionClient(r *Region) (*shep.AsyncClient, error) {
	if c := b.regions[r.Shard]; c != nil {
		return c, nil
	}
	partners, err := b.c.certificates("regions."+r.Shard+".certificates", r.Certificates)
	if err != nil {
		return nil, err
	}
	b.m.setRole(regionName(r.Shard), roleRegion)
	c, err := keep(b, "region/"+r.Shard, struct {
		Region   Region
		Sender   string
		Outgoing *ClientTLS
	}{*r, b.c.SHEP.SenderID, b.c.Outgoing}, func() (*shep.AsyncClient, error) {
		return b.asyncClient(regionName(r.Shard), r.URL, shep.Sender{ID: b.c.SHEP.SenderID}, partners, r.Timeout, gateway.ProviderUnavailable, r.TLS)
	})
	if err != nil {
		return nil, fmt.Errorf("regions.%s: %w", r.Shard, err)
	}
	if b.regions == nil {
		b.regions = map[string]*shep.AsyncClient{}
	}
	b.regions[r.Shard] = c
	return c, nil
}

// relayedProvider is a provider that is reached through the gateway of its region.
func (b *builder) relayedProvider(name string, p Provider, bin gateway.BIN) (dispatch.Provider, error) {
	r := b.c.region(p.Region)
	if !b.inShard(p.ID, r.Shard) {
		return dispatch.Provider{}, fmt.Errorf("%s.region: no passport of the shard %s names the provider %s", name, r.Shard, p.ID)
	}
	client, err := b.regionClient(r)
	if err != nil {
		return dispatch.Provider{}, err
	}
	sender, err := dispatch.NewRegionSender(client, func(ctx context.Context, id gateway.RequestID) (string, error) {
		it, err := b.store.Get(ctx, id)
		if err != nil {
			return "", err
		}
		for service, code := range r.Services {
			if code == it.Service {
				return service, nil
			}
		}
		return "", gateway.Errorf(gateway.ConfigInvalid, "regions: %s has no id for the service %s", r.Shard, it.Service)
	})
	return dispatch.Provider{ID: p.ID, BIN: bin, Sender: sender, Relayed: true}, err
}

func (b *builder) inShard(provider, shard string) bool {
	for _, p := range b.forms.All() {
		if _, ok := p.ProviderByID(provider); ok && p.Shard == shard {
			return true
		}
	}
	return false
}

// regionParticipants are the regions as who calls here.
func (b *builder) regionParticipants() (all []channel.Participant, err error) {
	for i := range b.c.Regions {
		r := &b.c.Regions[i]
		p := channel.Participant{Name: regionName(r.Shard), SenderID: r.SenderID, Services: r.Services, Rate: r.Rate, MaxBytes: r.MaxBytes,
			Addresses: r.Addresses, FetchEvery: time.Duration(r.Fetch)}
		if p.Certificates, err = b.c.certificates("regions."+r.Shard+".certificates", r.Certificates); err != nil {
			return nil, err
		}
		for _, q := range b.c.Providers {
			if q.Region == r.Shard {
				p.Providers = append(p.Providers, q.ID)
			}
		}
		if len(p.Providers) == 0 {
			return nil, fmt.Errorf("regions[%d]: no provider is reached through %s", i, r.Shard)
		}
		if p.FetchEvery > 0 {
			if p.Fetch, err = b.regionClient(r); err != nil {
				return nil, err
			}
		}
		all = append(all, p)
	}
	return all, nil
}
