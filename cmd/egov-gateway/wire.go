package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"egov-gateway/adapters/alimony"
	"egov-gateway/adapters/employment"
	"egov-gateway/adapters/gbdfl"
	"egov-gateway/adapters/gbdrn"
	"egov-gateway/adapters/income"
	"egov-gateway/adapters/register"
	"egov-gateway/adapters/socialpayments"
	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/dispatch"
	"egov-gateway/gateway/enrich"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/httpserver"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/private"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/route"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/synthetic"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/schemas"
)

// A service is the running gateway: the only place where all parts meet.
type service struct {
	store    store
	metrics  *metrics
	reloader *reloader
	spans    *sdktrace.TracerProvider // nil without tracing
	checker  *revocation.Checker
	shared   io.Closer // nil without shared evidence
	engine   *pipeline.Engine
	mail     *pipeline.Engine // messages to SHEP's participants; nil without them
	doors    *httpserver.Server
	admin    *httpserver.Server
	console  *httpserver.Server // nil when it has no address of its own
	// watchDeadlines looks at the deadlines now, as the console does from time to time; nil without one.
	watchDeadlines func(context.Context) error

	stop func()
	wg   sync.WaitGroup
}

// A builder gathers what the parts share while they are made, in the order of the way.
type builder struct {
	c   *Config
	now func() time.Time
	// shiftedClock says that now is not the machine's clock: a replay's or a laboratory's.
	shiftedClock bool
	log          *slog.Logger
	wrap         func(store) store // nil for the journal as it is
	m            *metrics
	house        *admission.House // who is inside any of the doors
	// watch remembers how each called system did, for the console.
	watch *systems

	before, made map[string]party // by name: of the configuration before, and of this one
	parts        *parts
	setPassword  func(string)           // of Redis; nil with the journal in the data directory
	warned       atomic.Int64           // how many settings are dangerous
	taken        atomic.Pointer[Config] // the configuration in use
	forms        *passport.Register
	texts        *message.Catalogue
	key          *xmlsig.Key
	secret       []byte
	store        store
	copies       *attachment.Store
	anchors      atomic.Pointer[[]trust.Anchor]
	certificates atomic.Pointer[[]revocation.Watched] // anchors and intermediates
	walkers      []revocation.Watched                 // the synthetic citizen's certificates
	disk         func(minFree uint64)                 // sets limits.disk_free; nil with the journal in Redis
	shared       io.Closer
	checker      *revocation.Checker
	verifier     *verification.Verifier
	regions      map[string]*shep.AsyncClient // by shard
	problem      func(http.ResponseWriter, *http.Request, error)
}

// start builds every part and begins to serve under the clock; nil is the machine's own. On an error nothing is left running. wrap, if set,
// puts something between the service and its journal; the service itself never does.
//
// Order of the end: the doors close and finish the requests at hand, then the engine finishes
// its steps, then the journal closes; what is not finished is durable and goes on at the next
// start.
func start(c *Config, clock func() time.Time, log *slog.Logger, wrap func(store) store) (_ *service, err error) {
	now := clock
	if clock == nil {
		now = time.Now
	}
	b := &builder{c: c, now: now, shiftedClock: clock != nil, log: log, wrap: wrap, m: newMetrics(now), watch: watched(c, now),
		made: map[string]party{}, parts: new(parts)}
	b.taken.Store(c)
	b.house = admission.New(admission.Config{Refused: b.m.refusedAtDoor, Waited: b.m.waited, Guessed: b.m.guessed, Log: log, Now: c.guessNow})
	b.m.doors.setGuessers(b.house.Guesses().Len)
	b.m.doors.setTurns(b.house.Waiting)
	s := &service{metrics: b.m}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.spans, err = b.tracer(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{c.readAll, b.examine, b.words, b.pki, b.journal, b.keepRevocations} {
		if err := step(); err != nil {
			s.store, s.checker, s.shared = b.store, b.checker, b.shared
			return nil, err
		}
	}
	s.store, s.checker, s.shared = b.store, b.checker, b.shared

	shards, err := b.shards()
	if err != nil {
		return nil, err
	}
	walk, err := b.walker()
	if err != nil {
		return nil, err
	}
	queues := slices.Concat(shards, walk.shards())
	b.parts.walk = walk
	made, err := b.plan()
	if err != nil {
		return nil, err
	}
	p, err := made.withWalker(walk)
	if err != nil {
		return nil, err
	}
	providers, err := dispatch.NewDirectory(p.providers)
	if err != nil {
		return nil, err
	}
	routes := route.NewTable(b.forms, func(p *passport.Passport, id string) bool {
		return slices.Contains(queues, p.Shard) && providers.Has(id)
	})
	notices, err := b.notices(p.addresses)
	if err != nil {
		return nil, err
	}
	mail, err := b.post(p.participants)
	if err != nil {
		return nil, err
	}
	var notifier flow.Notifier = notices
	if mail != nil {
		notifier, b.parts.participants = notifiers{notices, mail.outbox}, mail.directory
	}
	b.parts.providers, b.parts.enricher, b.parts.notices = providers, p.enricher, notices
	b.parts.doorsTLS.Store(p.doors)
	b.parts.consoleTLS.Store(p.console)
	f, err := flow.New(flow.Config{Journal: b.store, Forms: b.forms, Enricher: p.enricher, Provider: providers, Documents: b.copies, Key: b.key, Notifier: notifier, Now: now, Open: b.open})
	if err != nil {
		return nil, err
	}
	var trace func(context.Context, journal.Item, string) (context.Context, func(gateway.Reason))
	if s.spans != nil {
		trace = stepTraced(s.spans)
	}
	budgets := map[string]pipeline.Budget{}
	for _, p := range c.Providers {
		budgets[p.ID] = pipeline.Budget{Attempts: p.Retry.Attempts, Longest: time.Duration(p.Retry.Longest)}
	}
	if s.engine, err = pipeline.New(pipeline.Config{Store: b.store, Shards: queues, Steps: f.Steps(), Ordered: flow.Ordered, Budgets: budgets,
		Workers: c.Pipeline.Workers, Lease: time.Duration(c.Pipeline.Lease), Now: now, Log: log, Observe: b.m.step, Trace: trace}); err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	desk, err := intake.New(intake.Config{Portals: p.portals, Verifier: b.verifier, Forms: b.forms, Routes: routes, Journal: b.store, Audit: b.store, Documents: b.copies, Key: b.key, Secret: b.secret,
		Texts: b.texts, BaseURL: c.BaseURL, Synthetic: walk.name(), MaxDocument: c.Limits.Document, MaxBody: c.Limits.Body, InFlight: c.Limits.InFlight, Concurrent: c.Limits.Concurrent,
		House: b.house, Guests: mail.participants, PerCitizen: !c.Limits.PerCitizenOff,
		Now: now, Log: log, Accepted: s.engine.Kick, Taken: c.taken, Observe: b.m.request})
	if err != nil {
		return nil, err
	}
	desk.Register(mux)
	b.parts.desk = desk
	s.reloader = newReloader(b, made)
	counter, err := b.counter(providers, s.engine.Kick)
	if err != nil {
		return nil, err
	}
	counter.Register(mux)
	b.parts.counter = counter
	for _, room := range append(desk.Rooms(), counter.Report) {
		b.m.doors.addDoor(room)
	}
	b.m.doors.setQuarantine(counter.Quarantined)
	doorProbes := []httpserver.Probe{doorProbe("door", desk.Report), doorProbe("door-provider", counter.Report),
		{Name: "connections", Note: func() string { return b.m.doors.connections("doors") }}}
	if mail != nil {
		door, err := mail.door(b, desk, counter)
		if err != nil {
			return nil, err
		}
		door.Register(mux)
		b.parts.mail = door
		b.m.doors.addDoor(door.Report)
		doorProbes = append(doorProbes, doorProbe("door-shep", door.Report))
		s.wg.Go(func() { door.Collect(ctx) })
	}
	streams := func() {}
	if len(p.keys) > 0 {
		cab, err := cabinet.New(cabinet.Config{Portals: p.keys, Origins: c.Cabinet.Origins, Journal: b.store, Forms: b.forms, Texts: b.texts, Secret: b.secret, Problem: b.problem,
			SecureCookie: strings.HasPrefix(c.BaseURL, "https:"), PortalURL: c.Cabinet.PortalURL, Now: now, TokenNow: c.tokenNow,
			Guesses: b.house.Guesses(), Log: log})
		if err != nil {
			return nil, err
		}
		inner := http.NewServeMux()
		cab.Register(inner)
		mux.Handle("/cabinet/", b.guard(pages("cabinet", cabinetPlaces), inner, cab.Refuse))
		streams, b.parts.cabinet = cab.Close, cab
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b.problem(w, r, gateway.Errorf(gateway.NotFound, "nothing is served at this address"))
	})

	admin := http.NewServeMux()
	if walk != nil {
		if err := walk.start(); err != nil {
			return nil, err
		}
	}
	doors, loud := c.Clock.loudly(mux, now, log, b.m.reg)
	if s.spans != nil {
		doors = traced(s.spans, doors)
	}
	ready := httpserver.NewReadiness(slices.Concat(b.probes(shards), walk.probes(), loud, doorProbes, []httpserver.Probe{s.reloader.probe()}), log)
	ready.Register(admin)
	admin.HandleFunc("GET /debug/goroutines", goroutines)
	admin.Handle("POST "+fetchPath, b.fetchRevocations())
	var messages []string
	if mail != nil {
		messages = mail.directory.Queues()
	}
	b.monitor(shards, messages, ready)
	admin.Handle("GET /metrics", promhttp.HandlerFor(b.m.reg, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)}))
	con, err := b.console(p, messages, func() {
		s.engine.Kick()
		if mail != nil {
			mail.engine.Kick()
		}
	})
	if err != nil {
		return nil, err
	}
	drained := func() {}
	if con != nil {
		drained, s.watchDeadlines = con.Close, con.Watch
		s.wg.Go(func() { con.Run(ctx) })
		b.m.doors.addDoor(con.SignIns)
		if c.Console.Listen == "" {
			con.Register(admin)
		}
	}
	b.parts.console = con
	if s.console, err = b.serveConsole(con); err != nil {
		return nil, err
	}
	b.parts.own = s.console
	bounds := c.connections()
	if !c.ProxyProtocol {
		bounds.Known = append(bounds.Known, c.Balancers...) // a balancer brings everybody's
	}
	if s.doors, err = httpserver.Start(httpserver.Config{Address: c.Listen, Handler: doors, TLS: liveTLS(&b.parts.doorsTLS), Log: log, Metrics: b.m.reg,
		Trusted: c.Balancers, ProxyProtocol: c.ProxyProtocol, Connections: bounds, Draining: streams}); err != nil {
		return nil, err
	}
	b.parts.doors = s.doors
	if s.admin, err = httpserver.Start(httpserver.Config{Address: c.Admin, Handler: admin, Log: log, Connections: small(),
		Draining: drained}); err != nil {
		return nil, err
	}
	for name, server := range map[string]*httpserver.Server{"doors": s.doors, "admin": s.admin, "console": s.console} {
		if server != nil {
			b.m.doors.addServer(name, server)
		}
	}
	s.wg.Go(func() {
		if err := b.checker.Run(ctx); err != nil {
			log.Error("revocation", "error", err)
		}
	})
	s.wg.Go(func() { s.engine.Run(ctx) })
	if mail != nil {
		s.mail = mail.engine
		s.wg.Go(func() { mail.engine.Run(ctx) })
	}
	s.wg.Go(func() { s.reloader.onHangup(ctx) })
	s.wg.Go(func() { b.sweep(ctx) })
	s.wg.Go(func() { watch(ctx, ready) })
	if walk != nil {
		s.wg.Go(func() { walk.walks.Run(ctx) })
	}
	log.Info("serving", "doors", s.doors.Addr(), "admin", s.admin.Addr(), "shards", shards)
	return s, nil
}

// Close ends the service in the order that start describes.
func (s *service) Close() error {
	var errs []error
	if s.doors != nil {
		errs = append(errs, s.doors.Close())
	}
	if s.console != nil {
		errs = append(errs, s.console.Close())
	}
	s.stop()
	if s.reloader != nil {
		s.reloader.close()
	}
	s.wg.Wait()
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if s.spans != nil { // the last spans; a collector that is away holds up nothing
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		s.spans.Shutdown(ctx) //nolint:errcheck // see above
	}
	if s.checker != nil {
		s.checker.Close()
	}
	if s.shared != nil {
		errs = append(errs, s.shared.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// words loads what is embedded: passports, calendar, texts.
func (b *builder) words() (err error) {
	contracts, err := schemasFrom(b.c.path(b.c.Schemas))
	if err != nil {
		return err
	}
	if b.forms, err = passport.Load(contracts); err != nil {
		return err
	}
	if b.texts, err = message.Load(contracts, b.forms.Calendar().Zone()); err != nil {
		return err
	}
	b.problem = func(w http.ResponseWriter, r *http.Request, err error) { intake.WriteProblem(w, r, b.texts, err) }
	if b.secret, err = b.c.indexSecret(); err != nil {
		return err
	}
	b.key, err = b.c.ownKey()
	return err
}

// ownKey is the gateway's own.
func (c *Config) ownKey() (*xmlsig.Key, error) {
	raw, err := c.read(c.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	key, err := xmlsig.LoadPEM(raw)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", c.Key, err)
	}
	return key, nil
}

func (c *Config) certificate(name, file string) (*trust.Certificate, error) {
	raw, err := c.read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	all, err := trust.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, file, err)
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("%s: %s holds %d certificates, one is expected", name, file, len(all))
	}
	return all[0], nil
}

func (b *builder) journal() (err error) {
	keys, err := b.c.keyring()
	if err != nil {
		return err
	}
	if notice := b.c.inClear(); notice != "" {
		b.log.Warn(notice)
	}
	if b.store, err = b.openStore(keys); err != nil {
		return err
	}
	if b.wrap != nil {
		b.store = b.wrap(b.store)
	}
	private.Keep(b.log, b.c.attachmentsDir())
	b.copies, err = attachment.Open(b.c.attachmentsDir(), keys)
	return err
}

// orphanAge is how long documents wait for the acceptance they belong to.
const orphanAge = 24 * time.Hour

// sweep takes away documents whose acceptance a crash cut off, once a day.
func (b *builder) sweep(ctx context.Context) {
	for {
		n, err := b.copies.Sweep(orphanAge, func(id gateway.RequestID) (bool, error) {
			_, err := b.store.Get(ctx, id)
			if errors.Is(err, journal.ErrNotFound) {
				return false, nil
			}
			return true, err
		})
		if err != nil && ctx.Err() == nil {
			b.log.Error("sweep attachments", "error", err)
		}
		if n > 0 {
			b.log.Info("swept documents of requests that were never accepted", "requests", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(orphanAge):
		}
	}
}

// open verifies the stored request again before its fields are used.
func (b *builder) open(doc []byte) (xmlsig.Element, error) {
	d, err := b.verifier.Open(doc, max(b.c.Limits.Document, intake.DefaultMaxDocument))
	if err != nil {
		return xmlsig.Element{}, err
	}
	return d.Root(), nil
}

// shards are those this gateway works; nothing is accepted for any other.
func (b *builder) shards() ([]string, error) {
	var all []string
	for _, p := range b.forms.All() {
		if !slices.Contains(all, p.Shard) && synthetic.RealShard(p.Shard) == "" {
			all = append(all, p.Shard)
		}
	}
	for i, name := range b.c.Shards {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("shards[%d]: no passport has the shard %s", i, name)
		}
		if slices.Contains(b.c.Shards[:i], name) {
			return nil, fmt.Errorf("shards[%d]: %s stands twice", i, name)
		}
	}
	if len(b.c.Shards) > 0 {
		return b.c.Shards, nil
	}
	return all, nil
}

// providers are those of the configuration.
func (b *builder) providers() (all []dispatch.Provider, err error) {
	for i, p := range b.c.Providers {
		name := fmt.Sprintf("providers[%d]", i)
		known := slices.ContainsFunc(b.forms.All(), func(q *passport.Passport) bool { _, ok := q.ProviderByID(p.ID); return ok })
		if !known {
			return nil, fmt.Errorf("%s: no passport names the provider %s", name, p.ID)
		}
		bin, err := gateway.ParseBIN(p.BIN)
		if err != nil {
			return nil, fmt.Errorf("%s.bin: %w", name, err)
		}
		if p.Region != "" {
			q, err := b.relayedProvider(name, p, bin)
			if err != nil {
				return nil, err
			}
			all = append(all, q)
			continue
		}
		token, err := b.c.secretFile(name+".token_file", p.TokenFile)
		if err != nil {
			return nil, err
		}
		callback, err := b.c.tokenHash(name+".callback_token_file", p.CallbackTokenFile)
		if err != nil {
			return nil, err
		}
		b.m.setRole(p.ID, roleProvider)
		// A new token alone keeps the client, and with it whether the provider is spared just now.
		whose := struct {
			URL, Timeout  string
			TLS, Outgoing *ClientTLS
		}{p.URL, time.Duration(p.Timeout).String(), p.TLS, b.c.Outgoing}
		client, err := keep(b, "provider/"+p.ID, whose, func() (*upstream.Client, error) {
			conf, err := b.c.clientTLS(name+".tls", p.TLS)
			if err != nil {
				return nil, err
			}
			return upstream.New(upstream.Config{Name: p.ID, Timeout: time.Duration(p.Timeout), TLS: conf, Observe: b.called,
				Reasons: upstream.Reasons{Unavailable: gateway.ProviderUnavailable}})
		})
		if err != nil {
			return nil, err
		}
		sender, err := dispatch.NewHTTPSender(client, p.URL, token)
		if err != nil {
			return nil, err
		}
		all = append(all, dispatch.Provider{ID: p.ID, BIN: bin, TokenSHA256: callback, Sender: sender})
	}
	return all, nil
}

func (b *builder) counter(d *dispatch.Directory, received func()) (*dispatch.Counter, error) {
	form := func(file string) (*passport.Form, error) {
		xsd, err := schemas.FS.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return passport.CompileForm(xsd, nil)
	}
	step, err := form("step.xsd")
	if err != nil {
		return nil, err
	}
	result, err := form("result.xsd")
	if err != nil {
		return nil, err
	}
	return dispatch.NewCounter(dispatch.Config{Providers: d, Verifier: b.verifier, Forms: b.forms, Step: step, Result: result, Journal: b.store,
		House: b.house, Quarantine: b.c.Limits.Quarantine, Problem: b.problem,
		Now: b.now, Log: b.log, Received: received, Observe: b.m.callback, Signed: b.m.signedBy})
}

// enricher makes one adapter for each configured state system.
func (b *builder) enricher() (*enrich.Enricher, error) {
	s := b.c.Sources
	var all []enrich.Source
	add := func(name string, c *Source, make func(register.Config) (enrich.Source, error)) error {
		if c == nil {
			return nil
		}
		password, err := b.c.secretFile("sources."+name+".password_file", c.PasswordFile)
		if err != nil {
			return err
		}
		partners, err := b.c.certificates("sources."+name+".certificates", c.Certificates)
		if err != nil {
			return err
		}
		var key *xmlsig.Key
		if len(partners) > 0 {
			key = b.key
		}
		whose := struct {
			Source   *Source
			Outgoing *ClientTLS
		}{c, b.c.Outgoing}
		src, err := keep(b, "source/"+name, whose, func() (enrich.Source, error) {
			conf, err := b.c.clientTLS("sources."+name+".tls", c.TLS)
			if err != nil {
				return nil, err
			}
			return make(register.Config{Key: key, Partners: partners, URL: c.URL, ServiceID: c.ServiceID, SenderID: c.SenderID, Password: password, RouteID: c.RouteID,
				Client: upstream.Config{Timeout: time.Duration(c.Timeout), TLS: conf, Observe: b.called}, Now: b.now})
		})
		if err != nil {
			return fmt.Errorf("sources.%s: %w", name, err)
		}
		b.m.setRole(src.Name(), roleRegister)
		all = append(all, src)
		return nil
	}
	err := errors.Join(
		add("gbdfl", s.GBDFL, func(c register.Config) (enrich.Source, error) {
			return gbdfl.New(gbdfl.Config{Config: c, PublicKey: s.GBDFL.PublicKey})
		}),
		add("gbdrn", s.GBDRN, func(c register.Config) (enrich.Source, error) { return gbdrn.New(c) }),
		add("social_payments", s.SocialPayments, func(c register.Config) (enrich.Source, error) { return socialpayments.New(c) }),
		add("income", s.Income, func(c register.Config) (enrich.Source, error) { return income.New(c) }),
		add("alimony", s.Alimony, func(c register.Config) (enrich.Source, error) { return alimony.New(c) }),
		add("employment", s.Employment, func(c register.Config) (enrich.Source, error) { return employment.New(c) }),
	)
	if err != nil {
		return nil, err
	}
	e, err := enrich.New(enrich.Config{Sources: all, Deadline: time.Duration(s.Deadline), Now: b.now, Observe: b.m.source})
	if err != nil {
		return nil, err
	}
	shards, err := b.shards()
	if err != nil {
		return nil, err
	}
	for _, p := range b.forms.All() {
		if !slices.Contains(shards, p.Shard) || b.c.region(p.Shard) != nil {
			continue
		}
		for _, r := range p.Records {
			if r.Need == passport.Mandatory && !e.Has(r.Kind) {
				return nil, fmt.Errorf("sources: the passport %s needs the record %s, and no source is configured for it", p.ID, r.Kind)
			}
		}
	}
	return e, nil
}

func (b *builder) notices(addresses map[string]flow.Address) (*flow.HTTPNotifier, error) {
	conf, err := b.c.clientTLS("outgoing", nil)
	if err != nil {
		return nil, err
	}
	client, err := upstream.New(upstream.Config{Name: "portal", TLS: conf, Reasons: upstream.Reasons{Unavailable: gateway.PortalUnavailable}, Observe: b.called})
	if err != nil {
		return nil, err
	}
	return flow.NewHTTPNotifier(client, addresses), nil
}

// addresses are where portals are told.
func (b *builder) addresses() (map[string]flow.Address, error) {
	all := map[string]flow.Address{}
	for i, p := range b.c.Portals {
		token, err := b.c.secretFile(fmt.Sprintf("portals[%d].notify_token_file", i), p.NotifyTokenFile)
		if err != nil {
			return nil, err
		}
		all[p.Name] = flow.Address{URL: p.NotifyURL, Token: token}
	}
	return all, nil
}

func (b *builder) portals() (all []intake.Portal, keys cabinet.Keys, err error) {
	keys = cabinet.Keys{}
	for i, p := range b.c.Portals {
		name := fmt.Sprintf("portals[%d]", i)
		q := intake.Portal{Name: p.Name, Concurrent: p.Concurrent, Addresses: p.Addresses}
		if q.TokenSHA256, err = b.c.tokenHash(name+".token_file", p.TokenFile); err != nil {
			return nil, nil, err
		}
		if p.ClientCertificate != "" {
			if q.CertificateSHA256, err = b.c.pinned(name+".client_certificate", p.ClientCertificate); err != nil {
				return nil, nil, err
			}
		}
		for _, other := range all {
			if q.TokenSHA256 != [32]byte{} && q.TokenSHA256 == other.TokenSHA256 {
				return nil, nil, fmt.Errorf("%s.token_file: %s and %s have the same token", name, other.Name, p.Name)
			}
			if q.CertificateSHA256 != [32]byte{} && q.CertificateSHA256 == other.CertificateSHA256 {
				return nil, nil, fmt.Errorf("%s.client_certificate: %s and %s have the same certificate", name, other.Name, p.Name)
			}
		}
		if p.CabinetKey != "" {
			key, err := b.c.ed25519Key(p.CabinetKey)
			if err != nil {
				return nil, nil, fmt.Errorf("%s.cabinet_key: %w", name, err)
			}
			keys[p.Name] = []ed25519.PublicKey{key}
		}
		all = append(all, q)
	}
	return all, keys, nil
}
