package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/goccy/go-yaml"

	"egov-gateway/gateway/intake"
)

// A reloader takes over a changed configuration while requests go on: trust, intermediates,
// revocation, portals' tokens, certificates and shares, the certificate of the doors,
// limits.disk_free and the level of the log. Everything is checked before anything is taken; on
// an error all stays as it was. Any other change needs a restart, and the log names it.
type reloader struct {
	b     *builder
	desk  *intake.Desk
	extra []intake.Portal // that stand in no configuration

	mu         sync.Mutex // held during a reload
	generation atomic.Int64
	hash       atomic.Uint64
	failed     atomic.Bool
	restart    atomic.Bool
}

func newReloader(b *builder, desk *intake.Desk, extra []intake.Portal) *reloader {
	r := &reloader{b: b, desk: desk, extra: extra}
	r.generation.Store(1)
	r.hash.Store(b.c.hash())
	flag := func(v bool) float64 {
		if v {
			return 1
		}
		return 0
	}
	b.m.gauge("config_generation", "Configurations taken since the start.", func() float64 { return float64(r.generation.Load()) })
	b.m.gauge("config_hash", "Digest of the configuration in use, without addresses and directories of the instance: equal for equal ones.", func() float64 { return float64(r.hash.Load()) })
	b.m.gauge("config_reload_ok", "0 after a configuration was refused, until one is taken.", func() float64 { return flag(!r.failed.Load()) })
	b.m.gauge("config_restart_needed", "1 while a changed setting waits for a restart.", func() float64 { return flag(r.restart.Load()) })
	return r
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

// frozen names the settings in which two configurations differ and that only a start reads.
func (c *Config) frozen(next *Config) (names []string) {
	strip := func(c Config) Config {
		c.Trust, c.Intermediates, c.Revocation, c.Log, c.Limits.DiskFree, c.dir, c.file, c.level = nil, nil, nil, "", 0, "", "", nil
		portals := make([]Portal, len(c.Portals))
		for i, p := range c.Portals {
			// Of a portal that came or went, only the cabinet, the notices and its part of the connections
			// wait for a restart.
			portals[i] = Portal{Name: p.Name, CabinetKey: p.CabinetKey, NotifyURL: p.NotifyURL, NotifyTokenFile: p.NotifyTokenFile,
				Addresses: p.Addresses}
		}
		c.Portals = portals
		return c
	}
	old, now := reflect.ValueOf(strip(*c)), reflect.ValueOf(strip(*next))
	for i := range old.NumField() {
		field := old.Type().Field(i)
		if field.IsExported() && !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			names = append(names, field.Tag.Get("yaml"))
		}
	}
	return names
}

// reload reads the configuration file again. It returns the settings that wait for a restart.
func (r *reloader) reload() (waiting []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.failed.Store(err != nil) }()
	c, err := LoadConfig(r.b.c.file)
	if err != nil {
		return nil, err
	}
	next := &builder{c: c, now: r.b.now, log: r.b.log}
	known, err := issuers(c)
	if err != nil {
		return nil, err
	}
	store, anchors, err := trustStore(c)
	if err != nil {
		return nil, err
	}
	if err := next.noteCertificates(c); err != nil {
		return nil, err
	}
	portals, _, err := next.portals()
	if err != nil {
		return nil, err
	}
	if _, err := next.tls(); err != nil {
		return nil, err
	}
	// From here on nothing can fail but the first.
	if err := r.b.checker.SetIssuers(known); err != nil {
		return nil, err
	}
	r.b.verifier.SetTrust(store)
	r.b.anchors.Store(&anchors)
	r.b.certificates.Store(next.certificates.Load())
	r.desk.SetPortals(append(portals, r.extra...))
	if r.b.c.TLS != nil && c.TLS != nil {
		r.b.pair.Store(next.pair.Load())
	}
	if r.b.disk != nil {
		r.b.disk(c.Limits.DiskFree)
	}
	if r.b.c.level != nil {
		r.b.c.level.Set(levelOf(c.Log))
	}
	waiting = r.b.c.frozen(c)
	r.restart.Store(len(waiting) > 0)
	r.hash.Store(c.hash())
	r.generation.Add(1)
	return waiting, nil
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
	waiting, err := r.reload()
	switch {
	case err != nil:
		r.b.log.Error("the configuration was not reloaded; everything stays as it was", "error", err)
	case len(waiting) > 0:
		r.b.log.Warn("trust, revocation and portals were reloaded; the rest waits for a restart", "generation", r.generation.Load(), "settings", strings.Join(waiting, ", "))
	default:
		r.b.log.Info("trust, revocation and portals were reloaded", "generation", r.generation.Load())
	}
}
