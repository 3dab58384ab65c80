package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
)

// Console is the operators' view, /console.
type Console struct {
	// Listen is an address of its own; "" serves it at Admin, without TLS.
	Listen string `yaml:"listen"`
	// ProxyProtocol says that the balancers pass connections to Listen on as they are, as at the doors.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	// BaseURL is how operators' browsers reach it.
	BaseURL string `yaml:"base_url"`
	// TLS of Listen; with ClientCA operators show client certificates.
	TLS  *TLS  `yaml:"tls"`
	OIDC *OIDC `yaml:"oidc"`
	// Operators are those who may sign in.
	Operators []Operator `yaml:"operators"`
}

// OIDC is a sign-in of operators at an identity provider.
type OIDC struct {
	Issuer           string `yaml:"issuer"`
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file" file:"secret"` // "" for a public client
	// Claim of the ID token that operators[].subject is compared with; "" means sub.
	Claim string `yaml:"claim"`
}

// Operator may sign in to the console in one of three ways.
type Operator struct {
	Name string `yaml:"name"` // in the audit
	// View and Act are shards, or "*"; who may act may view.
	View              []string `yaml:"view"`
	Act               []string `yaml:"act"`
	ClientCertificate string   `yaml:"client_certificate" file:"public"`
	Subject           string   `yaml:"subject"`                       // as in oidc.claim
	TestTokenFile     string   `yaml:"test_token_file" file:"secret"` // TEST ONLY
}

func (k *Console) check() (errs []error) {
	if k == nil {
		return nil
	}
	if k.OIDC != nil && (k.OIDC.Issuer == "" || k.OIDC.ClientID == "" || k.BaseURL == "") {
		errs = append(errs, errors.New("console.oidc: issuer, client_id and console.base_url are needed"))
	}
	if k.TLS != nil && k.Listen == "" {
		errs = append(errs, errors.New("console.tls: console.listen is needed; the admin address has no TLS"))
	}
	if len(k.Operators) == 0 {
		errs = append(errs, errors.New("console.operators: at least one is needed"))
	}
	for i, o := range k.Operators {
		at := fmt.Sprintf("console.operators[%d]", i)
		switch {
		case o.Name == "":
			errs = append(errs, fmt.Errorf("%s.name is missing", at))
		case o.ClientCertificate == "" && o.Subject == "" && o.TestTokenFile == "":
			errs = append(errs, fmt.Errorf("%s: client_certificate or subject is needed", at))
		case o.ClientCertificate != "" && (k.TLS == nil || k.TLS.ClientCA == ""):
			errs = append(errs, fmt.Errorf("%s.client_certificate: console.tls.client_ca is needed", at))
		case o.Subject != "" && k.OIDC == nil:
			errs = append(errs, fmt.Errorf("%s.subject: console.oidc is needed", at))
		case len(o.View) == 0 && len(o.Act) == 0:
			errs = append(errs, fmt.Errorf("%s: view or act is needed", at))
		}
	}
	return errs
}

// operators are those of the configuration. A region that no passport has is a mistake; one that
// another gateway works is not, because several share a list.
func (b *builder) operators() (all []console.Operator, provider *console.OIDC, err error) {
	k := b.c.Console
	if k == nil {
		return nil, nil, nil
	}
	for i, o := range k.Operators {
		at := fmt.Sprintf("console.operators[%d]", i)
		for _, s := range slices.Concat(o.View, o.Act) {
			if s != console.Everywhere && !slices.ContainsFunc(b.forms.All(), func(p *passport.Passport) bool { return p.Shard == s }) {
				return nil, nil, fmt.Errorf("%s: no passport has the shard %s", at, s)
			}
		}
		q := console.Operator{Name: o.Name, View: o.View, Act: o.Act, Subject: o.Subject}
		if o.ClientCertificate != "" {
			if q.CertificateSHA256, err = b.c.pinned(at+".client_certificate", o.ClientCertificate); err != nil {
				return nil, nil, err
			}
		}
		if q.TokenSHA256, err = b.c.tokenHash(at+".test_token_file", o.TestTokenFile); err != nil {
			return nil, nil, err
		}
		all = append(all, q)
	}
	if k.OIDC != nil {
		secret, err := b.c.secretFile("console.oidc.client_secret_file", k.OIDC.ClientSecretFile)
		if err != nil {
			return nil, nil, err
		}
		provider = &console.OIDC{Issuer: k.OIDC.Issuer, ClientID: k.OIDC.ClientID, ClientSecret: secret, Claim: k.OIDC.Claim,
			RedirectURL: strings.TrimSuffix(k.BaseURL, "/") + "/console/oidc/callback"}
	}
	return all, provider, nil
}

// console makes the operators' view; nil without one.
func (b *builder) console(p *livePlan, queues []string, kick func()) (*console.Console, error) {
	k := b.c.Console
	if k == nil {
		return nil, nil
	}
	shards, err := b.shards()
	if err != nil {
		return nil, err
	}
	for _, p := range b.c.Providers {
		var where []string
		for _, pass := range b.forms.All() {
			if _, ok := pass.ProviderByID(p.ID); ok && !slices.Contains(where, pass.Shard) {
				where = append(where, pass.Shard)
			}
		}
		b.watch.serves(p.ID, where)
	}
	cc := console.Config{Journal: b.store, Audit: b.store, Forms: b.forms, Texts: b.texts, Shards: shards, Queues: queues,
		Operators: p.operators, OIDC: p.oidc, SignInRefused: b.m.signInRefused, House: b.house,
		Systems: b.watch.list, Revocation: b.revocationSources, Certificates: b.calendar, SecureCookie: k.TLS != nil || strings.HasPrefix(k.BaseURL, "https:"), Now: b.now, Log: b.log,
		Redrive: func(ctx context.Context, id gateway.RequestID, version int64) error {
			_, _, err := b.store.Signal(ctx, id, redriveOf(version, b.now()))
			if err == nil {
				kick()
			}
			return err
		}}
	return console.New(cc)
}

// serveConsole serves it at its own address; nil when it has none.
func (b *builder) serveConsole(con *console.Console) (*httpserver.Server, error) {
	k := b.c.Console
	if con == nil || k.Listen == "" {
		return nil, nil
	}
	mux := http.NewServeMux()
	con.Register(mux)
	return httpserver.Start(httpserver.Config{Address: k.Listen, Handler: b.guard(pages("console", consolePlaces), mux, con.Refuse),
		TLS: liveTLS(&b.parts.consoleTLS), Log: b.log, Trusted: b.c.Balancers, ProxyProtocol: k.ProxyProtocol, Connections: small(),
		Draining: con.Close})
}

// redriveOf is an operator's order. The version makes it once-only: the same order twice for one
// parking is one, and an order never concerns a later parking.
func redriveOf(version int64, at time.Time) journal.Signal {
	return journal.Signal{Key: fmt.Sprintf("redrive/%d", version), Kind: pipeline.SignalRedrive, At: at.UTC()}
}

// pinned is the SHA-256 of a client certificate.
func (c *Config) pinned(name, file string) (sum [32]byte, err error) {
	raw, err := c.read(file)
	if err != nil {
		return sum, fmt.Errorf("%s: %w", name, err)
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return sum, fmt.Errorf("%s: %s holds no certificate in PEM", name, file)
	}
	return sha256.Sum256(block.Bytes), nil
}

// keyPair reads a certificate with its chain and its key, for a listener or for calls.
func (c *Config) keyPair(name, certificate, key string) (tls.Certificate, error) {
	crt, err := c.read(certificate)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.certificate: %w", name, err)
	}
	k, err := c.read(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.key: %w", name, err)
	}
	pair, err := tls.X509KeyPair(crt, k)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s.key: %s and the certificate %s make no pair: %w", name, key, certificate, err)
	}
	return pair, nil
}

// addAnchors adds the certificates of a PEM file, which must hold one at least.
func (c *Config) addAnchors(pool *x509.CertPool, name, file string) error {
	raw, err := c.read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !pool.AppendCertsFromPEM(raw) {
		return fmt.Errorf("%s: %s holds no certificate in PEM", name, file)
	}
	return nil
}

// cipherSuites are those of TLS 1.2 that authenticate what they encrypt; TLS 1.3 has no others.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// serverTLS makes the TLS of an address; nil for none.
func (c *Config) serverTLS(name string, t *TLS) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	pair, err := c.keyPair(name, t.Certificate, t.Key)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: cipherSuites, Certificates: []tls.Certificate{pair}, NextProtos: httpProtocols()}
	if t.ClientCA != "" {
		out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if err := c.addAnchors(out.ClientCAs, name+".client_ca", t.ClientCA); err != nil {
			return nil, err
		}
	}
	out.VerifyConnection = func(s tls.ConnectionState) error { return issuedBy(out.ClientCAs, s.PeerCertificates) }
	return out, nil
}

// named are the configured state systems, as they are called in metrics.
func (s *Sources) named() map[string]*Source {
	all := map[string]*Source{"gbdfl": s.GBDFL, "gbdrn": s.GBDRN, "socialpayments": s.SocialPayments, "income": s.Income, "alimony": s.Alimony, "employment": s.Employment}
	maps.DeleteFunc(all, func(_ string, one *Source) bool { return one == nil })
	return all
}

// systems remembers how each called system did last.
type systems struct {
	now func() time.Time
	mu  sync.Mutex
	all map[string]*console.System // by name; guarded by mu
}

// watched lists the systems that the configuration names, before any is called.
func watched(c *Config, now func() time.Time) *systems {
	s := &systems{now: now, all: map[string]*console.System{}}
	add := func(name, role, shard string) { s.all[name] = &console.System{Name: name, Role: role, Shard: shard} }
	for name := range c.Sources.named() {
		add(name, "register", "")
	}
	for _, p := range c.Providers {
		if p.Region == "" {
			add(p.ID, "provider", "")
		}
	}
	for _, r := range c.Regions {
		add(regionName(r.Shard), "region", r.Shard)
	}
	for _, p := range c.Portals {
		if p.NotifyURL != "" {
			add("portal", "portal", "")
		}
	}
	if c.SHEP != nil {
		for _, p := range c.SHEP.Participants {
			if p.PushURL != "" {
				add(p.Name, "portal", "")
			}
		}
	}
	add("revocation", "revocation", "")
	return s
}

// serves says in which regions a provider works; one of several is everybody's.
func (s *systems) serves(provider string, shards []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all[provider]; one != nil && len(shards) == 1 {
		one.Shard = shards[0]
	}
}

func (s *systems) observe(o upstream.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[o.Name]
	if one == nil {
		one = &console.System{Name: o.Name, Role: "portal"}
		s.all[o.Name] = one
	}
	one.Open, one.At, one.Reason, one.Status, one.Took = o.Open, s.now(), o.Reason, o.Status, o.Duration
	one.Calls++
	if one.Failed++; o.Reason == "" {
		one.Failed = 0
	}
}

func (s *systems) list() []console.System {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]console.System, 0, len(s.all))
	for _, one := range s.all {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b console.System) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// called is told of every outgoing call.
func (b *builder) called(ctx context.Context, o upstream.Observation) {
	b.m.call(ctx, o)
	if b.watch != nil {
		b.watch.observe(o)
	}
}

func (b *builder) revocationSources() []console.RevocationSource {
	names := map[string]string{}
	c := b.taken.Load()
	for _, r := range c.Revocation {
		if certs, err := trust.LoadFiles(c.path(r.Certificate)); err == nil && len(certs) == 1 {
			cert := certs[0]
			names[cert.SerialHex()[:min(8, len(cert.SerialHex()))]] = fileName(r.Certificate)
		}
	}
	var all []console.RevocationSource
	for _, s := range b.checker.Sources() {
		one := console.RevocationSource{Issuer: cmp.Or(names[s.Label], s.Label), UsableTill: s.UsableTill, Trouble: s.Trouble}
		for _, r := range s.Responders {
			one.Responders = append(one.Responders, console.Responder{Host: r.Host, Open: r.Open})
		}
		for _, l := range s.Lists {
			one.Lists = append(one.Lists, console.List(l))
		}
		all = append(all, one)
	}
	return all
}

// fileName is a file's name without folder and ending: it stands for what it holds.
func fileName(path string) string {
	path = path[strings.LastIndexByte(path, '/')+1:]
	if dot := strings.LastIndexByte(path, '.'); dot > 0 {
		path = path[:dot]
	}
	return path
}

// calendar lists the certificates that the gateway depends on, as the configuration names them now.
func (b *builder) calendar() (all []console.Certificate) {
	conf := b.taken.Load()
	add := func(role, name string, c *trust.Certificate) {
		all = append(all, console.Certificate{Role: role, Name: name, Serial: c.SerialHex(), NotAfter: c.NotAfter})
	}
	file := func(role, name, path string) {
		if path == "" {
			return
		}
		if certs, err := trust.LoadFiles(conf.path(path)); err == nil {
			for _, c := range certs {
				add(role, name, c)
			}
		}
	}
	for i, a := range *b.anchors.Load() {
		name := "anchor"
		if i < len(conf.Trust) {
			name = fileName(conf.Trust[i].Certificate)
		}
		add("anchor", name, a.Certificate)
	}
	for _, f := range conf.Intermediates {
		file("intermediate", fileName(f), f)
	}
	add("own", "gateway", b.key.Certificate())
	if conf.SHEP != nil {
		for _, p := range conf.SHEP.Participants {
			for _, f := range p.Certificates {
				file("partner", p.Name, f)
			}
		}
	}
	for _, r := range conf.Regions {
		for _, f := range r.Certificates {
			file("partner", regionName(r.Shard), f)
		}
	}
	for name, source := range conf.Sources.named() {
		for _, f := range source.Certificates {
			file("partner", name, f)
		}
	}
	web := func(role, name, path string) {
		if path == "" {
			return
		}
		raw, err := os.ReadFile(conf.path(path))
		if err != nil {
			return
		}
		// Certificates of the web are not of the NCA's profile.
		if block, _ := pem.Decode(raw); block != nil {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				all = append(all, console.Certificate{Role: role, Name: name, Serial: c.SerialNumber.Text(16), NotAfter: c.NotAfter})
			}
		}
	}
	for _, p := range conf.Portals {
		web("partner", p.Name, p.ClientCertificate)
	}
	if t := conf.TLS; t != nil {
		web("tls", "listen", t.Certificate)
		web("tls", "client_ca", t.ClientCA)
	}
	if k := conf.Console; k != nil && k.TLS != nil {
		web("tls", "console", k.TLS.Certificate)
		web("tls", "console client_ca", k.TLS.ClientCA)
	}
	return all
}
