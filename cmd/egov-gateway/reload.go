package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"egov-gateway/gateway/httpserver"
)

// A reloader takes over a changed configuration while requests go on: trust, intermediates,
// revocation, everybody's tokens, passwords, keys and certificates with the settings beside them, the
// gateway's own key, the certificates and client CAs of the listeners, limits.disk_free and the level
// of the log. What a file holds counts, not how it is called. Everything is checked before anything is
// taken; on an error all stays as it was. Any other change needs a restart, and log, metrics and
// /readyz name it.
type reloader struct {
	b   *builder
	now func() time.Time // measures the overlap

	mu      sync.Mutex  // held during a reload; guards the next four
	current *livePlan   // without what is added for a while
	formers []former    // what is still good beside it
	ends    *time.Timer // of the first of them
	closed  bool

	generation atomic.Int64
	hash       atomic.Uint64
	failed     atomic.Bool
	waiting    atomic.Pointer[[]string] // settings that wait for a restart
	latest     *Config                  // taken last; guarded by mu
}

func newReloader(b *builder, current *livePlan) *reloader {
	r := &reloader{b: b, current: current, now: time.Now, latest: b.c}
	r.waiting.Store(new([]string))
	r.generation.Store(1)
	r.hash.Store(b.c.hash())
	flag := func(v bool) float64 {
		if v {
			return 1
		}
		return 0
	}
	b.m.gauge("config_generation", "Configurations taken since the start.", func() float64 { return float64(r.generation.Load()) })
	b.m.gauge("config_hash", "Digest of the configuration in use, without addresses and directories of the instance: equal for equal ones.",
		func() float64 { return float64(r.hash.Load()) })
	b.m.gauge("config_reload_ok", "0 after a configuration was refused, until one is taken.", func() float64 { return flag(!r.failed.Load()) })
	b.m.gauge("config_restart_needed", "1 while a changed setting waits for a restart.",
		func() float64 { return flag(len(*r.waiting.Load()) > 0) })
	b.m.gauge("config_overlapping", "Tokens, passwords, keys and certificates that were replaced and are still good for a while.",
		func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return float64(len(r.formers))
		})
	b.m.gauge("config_warnings", "Settings that are dangerous outside a laboratory; the log names them, and so does config check.",
		func() float64 { return float64(b.warned.Load()) })
	b.m.reg.MustRegister(waitingCollector{r, prometheus.NewDesc("egov_gateway_config_setting_waits",
		"1 while a change of this setting, or of a file it names, waits for a restart.", []string{"setting"}, nil)})
	return r
}

// waitingCollector tells of each setting that waits for a restart.
type waitingCollector struct {
	r    *reloader
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c waitingCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c waitingCollector) Collect(ch chan<- prometheus.Metric) {
	for _, name := range *c.r.waiting.Load() {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, name)
	}
}

// probe is never a reason not to be ready; it says what waits, and that the next start would fail.
func (r *reloader) probe() httpserver.Probe {
	return httpserver.Probe{Name: "configuration", Note: func() string {
		var notes []string
		if r.failed.Load() {
			notes = append(notes, "the file was refused at the last reload, and the one before is in use: see the log, or egov-gateway config check")
		}
		if waiting := *r.waiting.Load(); len(waiting) > 0 {
			notes = append(notes, "waits for a restart: "+strings.Join(waiting, ", "))
		}
		return or(strings.Join(notes, "; "), "ok")
	}}
}

// hash tells configurations apart. 48 bits are exact in a float64.
func (c *Config) hash() uint64 {
	shared := *c
	shared.Listen, shared.Admin, shared.BaseURL, shared.Data, shared.dir, shared.file = "", "", "", "", "", ""
	h := sha256.New()
	if raw, err := yaml.Marshal(&shared); err == nil {
		h.Write(raw) //nolint:errcheck // never fails
	}
	for _, file := range c.publicFiles() {
		raw, _ := os.ReadFile(c.path(file)) // one that is away was named before
		fmt.Fprintf(h, "%d\x00", len(raw))
		h.Write(raw) //nolint:errcheck // never fails
	}
	return binary.BigEndian.Uint64(h.Sum(nil)[:8]) >> 16
}

// publicFiles are those with certificates.
func (c *Config) publicFiles() (all []string) {
	for _, a := range c.Trust {
		all = append(all, a.Certificate)
	}
	all = append(all, c.Intermediates...)
	for _, r := range c.Revocation {
		all = append(all, r.Certificate)
	}
	return all
}

// frozen is the configuration with nothing in it but what only a start reads. Of files it has what they
// hold in the place of their names.
func (c *Config) frozen() Config {
	f := *c
	f.dir, f.file, f.level, f.seen = "", "", nil, nil
	f.Trust, f.Intermediates, f.Revocation, f.Log, f.Limits.DiskFree, f.Key = nil, nil, nil, "", 0, ""
	f.Sources, f.Credentials = Sources{}, Credentials{}
	f.Secret, f.Schemas, f.Journal.PasswordFile = c.seen.of(c.Secret), c.seen.of(c.Schemas), ""
	f.DataKey, f.DataKeyOld = c.heldKey(c.DataKey), c.heldKey(c.DataKeyOld)
	f.TLS = presence(c.TLS)
	// The clients of portals and of revocation are made at the start; whoever else is called takes it over.
	f.Outgoing = c.Outgoing.held(c.seen)
	if s := c.Synthetic; s != nil {
		f.Synthetic = &Synthetic{Key: c.seen.of(s.Key), ProviderKey: c.seen.of(s.ProviderKey), Every: s.Every}
	}
	f.Portals = nil
	if slices.ContainsFunc(c.Portals, func(p Portal) bool { return p.CabinetKey != "" }) {
		f.Portals = []Portal{{CabinetKey: "of one portal at least"}} // without one there is no cabinet
	}
	f.Providers = nil
	for _, p := range c.Providers {
		if p.Retry != (Retry{}) {
			f.Providers = append(f.Providers, Provider{ID: p.ID, Retry: p.Retry})
		}
	}
	f.Regions = nil
	for _, r := range c.Regions { // each has a queue, and one that is asked for messages somebody who asks
		one := Region{Shard: r.Shard}
		if r.Fetch > 0 {
			one.Fetch = 1
		}
		f.Regions = append(f.Regions, one)
	}
	if s := c.SHEP; s != nil {
		door := *s
		door.Participants = nil
		for _, p := range s.Participants { // each has a queue
			door.Participants = append(door.Participants, Participant{Name: p.Name})
		}
		f.SHEP = &door
	}
	if k := c.Console; k != nil {
		f.Console = &Console{Listen: k.Listen, BaseURL: k.BaseURL, TLS: presence(k.TLS)}
	}
	return f
}

// presence is all of a TLS that only a start reads: whether there is one.
func presence(t *TLS) *TLS {
	if t == nil {
		return nil
	}
	return new(TLS)
}

// waitFor names the settings in which two configurations differ and that only a start reads.
func (c *Config) waitFor(next *Config) (names []string) {
	old, now := reflect.ValueOf(c.frozen()), reflect.ValueOf(next.frozen())
	for i := range old.NumField() {
		field := old.Type().Field(i)
		if field.IsExported() && !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			names = append(names, field.Tag.Get("yaml"))
		}
	}
	return names
}

// asRunning is a new configuration with the settings that the parts were made with and cannot change.
func (c *Config) asRunning(next *Config) *Config {
	out := *next
	out.Shards, out.Limits, out.Schemas, out.Synthetic = c.Shards, c.Limits, c.Schemas, c.Synthetic
	if c.SHEP != nil && next.SHEP != nil {
		door := *next.SHEP
		door.SenderID = c.SHEP.SenderID
		out.SHEP = &door
	}
	if c.Console != nil && next.Console != nil {
		pages := *next.Console
		pages.BaseURL = c.Console.BaseURL
		out.Console = &pages
	}
	return &out
}

// changed names the settings of next that differ from those of c, and the settings whose files hold
// something else than before or are new.
func (c *Config) changed(next *Config) []string {
	names := []string{}
	old, now := reflect.ValueOf(*c), reflect.ValueOf(*next)
	for i := range old.NumField() {
		field := old.Type().Field(i)
		if field.IsExported() && !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			names = append(names, field.Tag.Get("yaml"))
		}
	}
	for _, f := range next.namedFiles() {
		if was := c.seen.of(f.file); was != next.seen.of(f.file) && !slices.Contains(names, f.setting) {
			names = append(names, f.setting)
		}
	}
	return names
}

// reload reads the configuration file again. It returns the settings that wait for a restart.
func (r *reloader) reload() (waiting []string, err error) {
	_, waiting, err = r.renew()
	return waiting, err
}

// renew reloads, and says what differs from before too.
func (r *reloader) renew() (changed, waiting []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.failed.Store(err != nil) }()
	c, err := LoadConfig(r.b.c.file)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = c.located(err) }()
	if err := c.readAll(); err != nil {
		return nil, nil, err
	}
	if _, err := c.indexSecret(); err != nil {
		return nil, nil, err
	}
	c.strict = r.b.c.strict
	dangers := c.examine(r.b.now())
	if err := refusals(dangers, c.strict); err != nil {
		return nil, nil, err
	}
	next := &builder{c: r.b.c.asRunning(c), now: r.b.now, log: r.b.log, m: r.b.m, watch: r.b.watch, forms: r.b.forms, texts: r.b.texts,
		key: r.b.key, store: r.b.store,
		before: r.b.made, made: map[string]party{}}
	known, err := issuers(c)
	if err != nil {
		return nil, nil, err
	}
	store, anchors, err := trustStore(c)
	if err != nil {
		return nil, nil, err
	}
	if err := next.noteCertificates(c); err != nil {
		return nil, nil, err
	}
	p, err := next.plan()
	if err != nil {
		return nil, nil, err
	}
	gone, renewed := replaced(r.current, p)
	late := formers(r.formers, renewed, p, r.now(), time.Duration(c.Credentials.Overlap))
	// From here on nothing can fail but the first, and the second if the first did not.
	if err := r.b.checker.SetIssuers(known); err != nil {
		return nil, nil, err
	}
	ended, err := r.b.parts.take(p.with(late))
	if err != nil {
		return nil, nil, err
	}
	r.b.checker.FetchSoon() // whoever reloads wants what is newest
	r.b.key.Replace(p.key)
	r.b.verifier.SetTrust(store)
	r.b.anchors.Store(&anchors)
	r.b.certificates.Store(next.certificates.Load())
	r.b.made = next.made
	r.b.warnOf(dangers)
	r.b.taken.Store(c)
	if r.b.setPassword != nil {
		r.b.setPassword(p.redis)
	}
	if r.b.disk != nil {
		r.b.disk(c.Limits.DiskFree)
	}
	if r.b.c.level != nil {
		r.b.c.level.Set(levelOf(c.Log))
	}
	r.current, r.formers = p, late
	r.end(p, gone, ended)
	r.overlap(late)
	waiting = r.b.c.waitFor(c)
	r.waiting.Store(&waiting)
	r.hash.Store(c.hash())
	r.generation.Add(1)
	changed, r.latest = r.latest.changed(c), c
	return changed, waiting, nil
}

// end cuts off who came in by what is no longer good: sessions, open pages, connections. Citizens' sessions
// have ended before, by the keys of the portals.
func (r *reloader) end(p *livePlan, gone []credential, sessions int) {
	parts, connections := r.b.parts, 0
	gone = slices.DeleteFunc(slices.Clone(gone), func(g credential) bool {
		return slices.ContainsFunc(r.formers, func(f former) bool { return f.same(g) })
	})
	if parts.console != nil {
		sessions += parts.console.SetOperators(p.operators, p.oidc)
	}
	ends := func(server *httpserver.Server, kind string, conf *tls.Config) int {
		if server == nil {
			return 0
		}
		return server.EndConnections(func(chain []*x509.Certificate) bool {
			sum := sha256.Sum256(chain[0].Raw)
			return slices.ContainsFunc(gone, func(g credential) bool {
				return g.kind == kind && g.sum == sum
			}) || conf == nil || issuedBy(conf.ClientCAs, chain) != nil
		})
	}
	connections += ends(parts.doors, portalPinned, parts.doorsTLS.Load())
	connections += ends(parts.own, operatorAny, parts.consoleTLS.Load())
	if len(gone) > 0 || sessions > 0 || connections > 0 {
		r.b.log.Info("credentials were taken back", "credentials", told(gone), "sessions_ended", sessions, "connections_ended", connections)
	}
}

// overlap keeps what is still good beside the current plan, until the first of it ends; it needs mu.
func (r *reloader) overlap(late []former) {
	r.formers = late
	if r.ends != nil {
		r.ends.Stop()
		r.ends = nil
	}
	if len(late) == 0 || r.closed {
		return
	}
	first := late[0].until
	for _, f := range late {
		if f.until.Before(first) {
			first = f.until
		}
	}
	r.b.log.Info("replaced credentials are still good for a while", "credentials", told(credentialsOf(late)), "first_ends",
		first.UTC().Format(time.RFC3339))
	r.ends = time.AfterFunc(first.Sub(r.now()), r.endOverlap)
}

func credentialsOf(all []former) (out []credential) {
	for _, f := range all {
		out = append(out, f.credential)
	}
	return out
}

// endOverlap takes back what has been good for long enough.
func (r *reloader) endOverlap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	var over []credential
	late := slices.DeleteFunc(slices.Clone(r.formers), func(f former) bool {
		ended := !f.until.After(r.now())
		if ended {
			over = append(over, f.credential)
		}
		return ended
	})
	ended, err := r.b.parts.take(r.current.with(late))
	if err != nil {
		r.b.log.Error("replaced credentials could not be taken back: restart the gateway", "error", err)
		return
	}
	r.formers = late
	r.end(r.current, over, ended)
	r.overlap(late)
}

// close ends the timer.
func (r *reloader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.overlap(nil)
}

func levelOf(name string) slog.Level {
	l := slog.LevelInfo
	if name != "" {
		l.UnmarshalText([]byte(name)) //nolint:errcheck // checked with the configuration
	}
	return l
}

func (r *reloader) onHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			r.take()
		case <-ctx.Done():
			return
		}
	}
}

// take reloads and says what came of it.
func (r *reloader) take() {
	changed, waiting, err := r.renew()
	switch {
	case err != nil:
		r.b.log.Error("the configuration was not reloaded; everything stays as it was", "error", err)
		r.b.checker.FetchSoon() // lists are no part of the configuration
	case len(waiting) > 0:
		r.b.log.Warn("trust, revocation and credentials were reloaded; the rest waits for a restart", "generation", r.generation.Load(),
			"changed", changed, "settings", strings.Join(waiting, ", "))
	default:
		r.b.log.Info("trust, revocation and credentials were reloaded", "generation", r.generation.Load(), "changed", changed)
	}
}
