package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

type serveCmd struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"Configuration file (YAML)."`
	Strict bool   `help:"Refuse a configuration that config check warns of, but for a calendar that ends, at the start and at every reload."`
}

// Run serves until SIGINT or SIGTERM, then drains.
func (s *serveCmd) Run(out streams) error {
	c, err := LoadConfig(s.Config)
	if err != nil {
		return err
	}
	c.strict = s.Strict
	return c.serve(out, nil, nil)
}

// serve serves under the clock now; nil is the machine's own.
func serve(file string, out streams, now func() time.Time, wrap func(store) store) error {
	c, err := LoadConfig(file)
	if err != nil {
		return err
	}
	return c.serve(out, now, wrap)
}

// gcPercent lets the heap grow to five times what is in use before it is swept: little is in use,
// and a tenth of the processor time is saved. GOGC in the environment says otherwise.
const gcPercent = 400

func (c *Config) serve(out streams, now func() time.Time, wrap func(store) store) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if now, err = c.Clock.shifted(now); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c.level = new(slog.LevelVar)
	c.level.Set(levelOf(c.Log))
	svc, err := start(c, now, logger(out, c.level), wrap)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "doors %s\nadmin %s\n", svc.doors.Addr(), svc.admin.Addr())
	select {
	case <-ctx.Done():
	case err = <-svc.doors.Done():
	case err = <-svc.admin.Done():
	}
	if cerr := svc.Close(); err == nil {
		err = cerr
	}
	return err
}

func logger(out streams, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(out.err, &slog.HandlerOptions{Level: level}))
}

//go:embed example.yaml
var exampleConfig []byte

type configExampleCmd struct{}

// Run prints a configuration file with every field and what it is for.
func (configExampleCmd) Run(out streams) error {
	_, err := out.out.Write(exampleConfig)
	return err
}

type configCmd struct {
	Example configExampleCmd `cmd:"" help:"Print a configuration file with every field and what it is for."`
	Check   configCheckCmd   `cmd:"" help:"Say whether a configuration file can be used: fields, files, keys, certificates."`
}

type configCheckCmd struct {
	File   string `arg:"" type:"path" help:"Configuration file (YAML)."`
	Strict bool   `help:"Refuse what is warned of, too, but for a calendar that ends."`
}

// Run builds everything that needs no network and no journal, and looks for dangerous settings.
func (k *configCheckCmd) Run(out streams) error {
	c, err := parseConfig(k.File)
	if err != nil {
		return err
	}
	found := c.examine(time.Now())
	if err := errors.Join(c.check(), refusals(found, k.Strict)); err != nil { // all of it at once
		return fmt.Errorf("configuration %s is refused:\n%w", k.File, c.located(err))
	}
	b := &builder{c: c, now: time.Now, log: slog.New(slog.DiscardHandler), m: newMetrics(time.Now),
		made: map[string]party{}, parts: new(parts)}
	for _, step := range []func() error{c.readAll, b.words, b.pki,
		func() error { _, err := b.shards(); return err },
		func() error { _, err := b.walker(); return err },
		func() error { _, err := b.plan(); return err },
		func() error { _, err := c.keyring(); return err },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("configuration %s is refused:\n%w", k.File, c.located(err))
		}
	}
	for _, d := range found {
		fmt.Fprintln(out.err, "warning:", d)
	}
	if notice := c.inClear(); notice != "" {
		fmt.Fprintln(out.err, "warning:", notice)
	}
	fmt.Fprintln(out.out, "ok")
	return nil
}
