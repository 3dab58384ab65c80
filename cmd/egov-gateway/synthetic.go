package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/identity"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/synthetic"
	"egov-gateway/gateway/xmlsig"
)

// Synthetic is the citizen who walks the whole way to see that it works; see package synthetic.
type Synthetic struct {
	// Key is a PEM file: private key and certificate of the person in whose name it is done.
	Key string `yaml:"key" file:"key"`
	// ProviderKey is a PEM file: key and certificate of somebody who may sign for an organisation.
	ProviderKey string `yaml:"provider_key" file:"key"`
	// Every is how often; 0 means 1m.
	Every Duration `yaml:"every"`
}

func (c *Config) checkSynthetic() (errs []error) {
	if c.Synthetic == nil {
		return nil
	}
	if c.Synthetic.Key == "" || c.Synthetic.ProviderKey == "" {
		errs = append(errs, errors.New("synthetic: key and provider_key are needed"))
	}
	if e := time.Duration(c.Synthetic.Every); e != 0 && e < time.Second {
		errs = append(errs, errors.New("synthetic.every: at least 1s is needed"))
	}
	for i, p := range c.Portals {
		if p.Name == synthetic.Name {
			errs = append(errs, fmt.Errorf("portals[%d].name: %s is the gateway's own", i, synthetic.Name))
		}
	}
	for i, p := range c.Providers {
		if p.ID == synthetic.Name {
			errs = append(errs, fmt.Errorf("providers[%d].id: %s is the gateway's own", i, synthetic.Name))
		}
	}
	return errs
}

// A walker is the synthetic citizen with what the doors must know of it.
type walker struct {
	b        *builder
	passes   []synthetic.Passport
	citizen  *xmlsig.Key
	provider *xmlsig.Key
	iin      gateway.IIN
	bin      gateway.BIN
	client   *http.Client
	token    string // of the portal
	callback string // of the provider
	cabinet  ed25519.PrivateKey
	walks    *synthetic.Citizen  // made last
	answers  []dispatch.Provider // made once: it remembers what it was given

	mu   sync.Mutex
	last map[string]time.Time // guarded by mu, by shard: the last walk that came through
}

// walker reads the keys and adds the passports of the walks to the register; nil without one.
func (b *builder) walker() (*walker, error) {
	s := b.c.Synthetic
	if s == nil {
		return nil, nil
	}
	shards, err := b.shards()
	if err != nil {
		return nil, err
	}
	w := &walker{b: b, token: secret(), callback: secret(), last: map[string]time.Time{}}
	load := func(name, file string) (*xmlsig.Key, identity.Holder, error) {
		raw, err := b.c.read(file)
		if err != nil {
			return nil, identity.Holder{}, fmt.Errorf("%s: %w", name, err)
		}
		key, err := xmlsig.LoadPEM(raw)
		if err != nil {
			return nil, identity.Holder{}, fmt.Errorf("%s: %w", name, err)
		}
		holder, err := identity.Of(key.Certificate(), false)
		if err != nil {
			return nil, holder, fmt.Errorf("%s: %w", name, err)
		}
		return key, holder, nil
	}
	var holder identity.Holder
	if w.citizen, holder, err = load("synthetic.key", s.Key); err != nil {
		return nil, err
	}
	if w.iin = holder.IIN; w.iin.IsZero() {
		return nil, errors.New("synthetic.key: a person's certificate is needed")
	}
	if w.provider, holder, err = load("synthetic.provider_key", s.ProviderKey); err != nil {
		return nil, err
	}
	if w.bin = holder.BIN; w.bin.IsZero() {
		return nil, errors.New("synthetic.provider_key: the certificate of an organisation's employee is needed")
	}
	for name, key := range map[string]*xmlsig.Key{"synthetic-citizen": w.citizen, "synthetic-provider": w.provider} {
		b.walkers = append(b.walkers, revocation.Watched{Role: "own", Name: name, NotAfter: key.Certificate().NotAfter})
	}
	var files []passport.File
	for _, shard := range shards {
		if b.c.region(shard) != nil {
			continue // the region's own gateway walks there
		}
		for _, p := range b.forms.All() {
			if p.Shard == shard && len(p.Providers) > 0 && len(p.Providers[0].KATO) > 0 {
				pass := synthetic.Passport{Shard: shard, KATO: p.Providers[0].KATO[0]}
				name, data := pass.YAML()
				w.passes, files = append(w.passes, pass), append(files, passport.File{Name: name, Data: data})
				break
			}
		}
	}
	contracts, err := schemasFrom(b.c.path(b.c.Schemas))
	if err != nil {
		return nil, err
	}
	if b.forms, err = passport.Load(contracts, files...); err != nil {
		return nil, fmt.Errorf("synthetic: %w", err)
	}
	for _, p := range b.forms.All() {
		if synthetic.RealShard(p.Shard) != "" {
			p.Retention.Short = synthetic.Keep
		}
	}
	if _, w.cabinet, err = ed25519.GenerateKey(nil); err != nil {
		return nil, err
	}
	w.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: b.ownDoor(), TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second}}
	return w, nil
}

// ownDoor trusts the certificate of the gateway's own doors and no other.
func (b *builder) ownDoor() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error { //nolint:gosec // pinned below
		now := b.parts.doorsTLS.Load()
		if now == nil || len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, now.Certificates[0].Certificate[0]) {
			return x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign, Detail: "it is not that of the gateway's own doors"}
		}
		return nil
	}}
}

// address is how the gateway reaches its own doors.
func (c *Config) ownAddress() (string, error) {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if c.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// shards are those of the walks' requests; none without a walker.
func (w *walker) shards() (all []string) {
	if w == nil {
		return nil
	}
	for _, p := range w.passes {
		all = append(all, synthetic.Shard(p.Shard))
	}
	return all
}

// cabinetKeys are those of the walks' portal.
func (w *walker) cabinetKeys() []ed25519.PublicKey {
	return []ed25519.PublicKey{w.cabinet.Public().(ed25519.PublicKey)}
}

// portal is the walks' one.
func (w *walker) portal() []intake.Portal {
	return []intake.Portal{{Name: synthetic.Name, TokenSHA256: sha256.Sum256([]byte(w.token))}}
}

// name is that of the walks' portal for the door; "" without a walker.
func (w *walker) name() string {
	if w == nil {
		return ""
	}
	return synthetic.Name
}

// sender is the walks' provider.
func (w *walker) sender() ([]dispatch.Provider, error) {
	if w.answers != nil {
		return w.answers, nil
	}
	base, err := w.b.c.ownAddress()
	if err != nil {
		return nil, err
	}
	p := &synthetic.Provider{Base: base, Client: w.client, Token: w.callback, Key: w.provider, BIN: w.bin, Verifier: w.b.verifier, Now: w.b.now}
	w.answers = []dispatch.Provider{{ID: synthetic.Name, BIN: w.bin, TokenSHA256: sha256.Sum256([]byte(w.callback)), Sender: p}}
	return w.answers, nil
}

// start makes the citizen and its metrics; run it with Run.
func (w *walker) start() (err error) {
	base, err := w.b.c.ownAddress()
	if err != nil {
		return err
	}
	m := w.b.m
	walks := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "egov_gateway_synthetic_walks_total", Help: "Walks of the synthetic citizen by where they ended; stage is \"none\" for those that came through."}, []string{"shard", "stage", "reason"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "egov_gateway_synthetic_duration_seconds", Help: "Time of a walk that came through, from the door to the cabinet.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"shard"})
	w.b.m.reg.MustRegister(walks, took, walkAges{w, prometheus.NewDesc("egov_gateway_synthetic_last_success_age_seconds", "Time since the synthetic citizen came through last, or since the start.", []string{"shard"}, nil)})
	for _, p := range w.passes {
		w.last[p.Shard] = w.b.now()
	}
	real := m.synthetic
	m.synthetic = func(name, shard string) bool {
		return name == synthetic.Name || synthetic.RealShard(shard) != "" || real(name, shard)
	}
	w.walks, err = synthetic.NewCitizen(synthetic.Config{Base: base, Client: w.client, Token: w.token, Cabinet: w.cabinet, Key: w.citizen, IIN: w.iin, Verifier: w.b.verifier, Provider: w.bin,
		Walks: w.passes, Every: time.Duration(w.b.c.Synthetic.Every), Now: w.b.now, Log: w.b.log, Observe: func(k synthetic.Walk) {
			walks.WithLabelValues(k.Shard, or(k.Stage, "none"), label(k.Reason, "none")).Inc()
			if k.Stage != "" {
				return
			}
			took.WithLabelValues(k.Shard).Observe(k.Duration.Seconds())
			w.mu.Lock()
			defer w.mu.Unlock()
			w.last[k.Shard] = w.b.now()
		}})
	return err
}

// probes say whether the walks are accepted.
func (w *walker) probes() (all []httpserver.Probe) {
	if w == nil {
		return nil
	}
	for _, p := range w.passes {
		all = append(all, httpserver.Probe{Name: "synthetic", Shard: p.Shard, Check: func(context.Context) error { return w.walks.Refused(p.Shard) }})
	}
	return all
}

// walkAges tells how long ago a walk came through.
type walkAges struct {
	w    *walker
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c walkAges) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c walkAges) Collect(ch chan<- prometheus.Metric) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for shard, at := range c.w.last {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, c.w.b.now().Sub(at).Seconds(), shard)
	}
}
