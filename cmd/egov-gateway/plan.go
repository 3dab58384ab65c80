package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"sync/atomic"

	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/enrich"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/synthetic"
	"egov-gateway/gateway/xmlsig"
)

// A livePlan is what a configuration makes of all that is taken over while the gateway runs: who is known
// at which door and by what, and what the gateway itself is known by. It is made completely before any
// of it is used.
type livePlan struct {
	key          *xmlsig.Key
	portals      []intake.Portal
	keys         cabinet.Keys
	providers    []dispatch.Provider
	participants []channel.Participant // nil without that door
	enricher     *enrich.Enricher
	addresses    map[string]flow.Address
	operators    []console.Operator
	oidc         *console.OIDC
	doors        *tls.Config // nil without TLS
	console      *tls.Config // nil without TLS
	redis        string      // password; "" for none
}

// plan makes all of it. Nothing in it needs the network.
func (b *builder) plan() (p *livePlan, err error) {
	p = new(livePlan)
	if p.key, err = b.c.ownKey(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { p.providers, err = b.providers(); return err },
		func() error { p.enricher, err = b.enricher(); return err },
		func() error { p.addresses, err = b.addresses(); return err },
		func() error { p.participants, err = b.participants(); return err },
		func() error { p.portals, p.keys, err = b.portals(); return err },
		func() error { p.doors, err = b.c.serverTLS("tls", b.c.TLS); return err },
		func() error { p.operators, p.oidc, err = b.operators(); return err },
		func() error {
			if b.c.Console != nil {
				p.console, err = b.c.serverTLS("console.tls", b.c.Console.TLS)
			}
			return err
		},
		func() error {
			p.redis, err = b.c.secretFile("journal.password_file", b.c.Journal.PasswordFile)
			return err
		},
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if p.participants != nil {
		if _, err := channel.NewDirectory(p.participants); err != nil {
			return nil, err
		}
	}
	if b.c.Console != nil {
		if err := console.CheckOperators(p.operators, p.oidc); err != nil {
			return nil, err
		}
	}
	_, err = dispatch.NewDirectory(p.providers)
	return p, err
}

// A party is something made for one of those whom the gateway calls. Whoever's settings have not
// changed keeps what was made before, with its connections and what is known of its health.
type party struct {
	mark string
	made any
}

// keep makes a party, unless one with the same settings was made for the configuration before.
func keep[T any](b *builder, name string, settings any, make func() (T, error)) (T, error) {
	mark := b.c.mark(settings)
	one, ok := b.before[name]
	if !ok || one.mark != mark {
		made, err := make()
		if err != nil {
			return made, err
		}
		one = party{mark, made}
	}
	b.made[name] = one
	return one.made.(T), nil
}

// parts are what runs and takes a plan over.
type parts struct {
	desk         *intake.Desk
	providers    *dispatch.Directory
	enricher     *enrich.Enricher
	notices      *flow.HTTPNotifier
	participants *channel.Directory // nil without that door
	counter      *dispatch.Counter
	mail         *channel.Door      // nil without that door
	cabinet      *cabinet.Cabinet   // nil without one
	console      *console.Console   // nil without one
	doors        *httpserver.Server // set last, like the next
	own          *httpserver.Server // the console's; nil when it has none
	doorsTLS     atomic.Pointer[tls.Config]
	consoleTLS   atomic.Pointer[tls.Config]

	walk *walker // adds its own portal, provider and key
}

// withWalker adds what the synthetic citizen needs, which stands in no configuration.
func (p *livePlan) withWalker(w *walker) (*livePlan, error) {
	if w == nil {
		return p, nil
	}
	out := *p
	own, err := w.sender()
	if err != nil {
		return nil, err
	}
	out.providers = slices.Concat(own, p.providers)
	keys := cabinet.Keys{}
	for name, all := range p.keys {
		keys[name] = all
	}
	out.portals, keys[synthetic.Name] = slices.Concat(p.portals, w.portal()), w.cabinetKeys()
	out.keys = keys
	return &out, nil
}

// take makes everything that runs go by the plan, and counts the sessions of citizens that ended with it.
// An error changes nothing.
func (all *parts) take(p *livePlan) (ended int, err error) {
	p, err = p.withWalker(all.walk)
	if err != nil {
		return 0, err
	}
	providers, err := dispatch.NewDirectory(p.providers)
	if err != nil {
		return 0, err
	}
	if all.participants != nil {
		participants, err := channel.NewDirectory(p.participants)
		if err != nil {
			return 0, err
		}
		all.participants.Replace(participants)
		all.mail.ShareRoom()
	}
	all.providers.Replace(providers)
	all.counter.ShareRoom()
	all.enricher.Replace(p.enricher)
	all.notices.SetAddresses(p.addresses)
	all.desk.SetPortals(p.portals)
	if all.cabinet != nil {
		ended = all.cabinet.SetPortals(p.keys)
	}
	if p.doors != nil && all.doorsTLS.Load() != nil {
		all.doorsTLS.Store(p.doors)
	}
	if p.console != nil && all.consoleTLS.Load() != nil {
		all.consoleTLS.Store(p.console)
	}
	return ended, nil
}

// liveTLS is that of a listener whose certificate and client CA change while it runs; nil for none.
func liveTLS(now *atomic.Pointer[tls.Config]) *tls.Config {
	if now.Load() == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return now.Load(),
			nil
	}}
}

// httpProtocols are those of every listener; net/http adds them to no configuration but its own.
func httpProtocols() []string { return []string{"h2", "http/1.1"} }

// issuedBy says whether a client's certificate is one of the CA's; it is asked at each handshake, also
// one that resumes a session from before the CA was replaced.
func issuedBy(pool *x509.CertPool, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return nil
	}
	if pool == nil {
		return errors.New("client certificates are not taken")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}
