// Command egov-statesim is the world outside the gateway as a process of its own: six state
// information systems, an OCSP responder and CRL server, the providers of the passports and the
// portal's address for notices. TEST ONLY: it signs with the committed test keys.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	testpki "egov-gateway/certs-testdata"

	"github.com/alecthomas/kong"
)

// banner is the first line printed.
const banner = "TEST ONLY: simulated state systems, providers and certification authority; nothing here is real and every key is public."

type options struct {
	Listen    string   `help:"Address to listen on; the controls under /sim/ answer on loopback only." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
	Gateway   string   `help:"Base URL of the gateway to which providers report." default:"http://127.0.0.1:8080" placeholder:"URL"`
	Factor    float64  `help:"Providers work that many times faster than the time limits." default:"1"`
	Share     float64  `help:"Share of its time limit that a provider's step takes, before --factor." default:"0.5"`
	Seed      uint64   `help:"Seed of the faults' dice." default:"1"`
	Threshold float64  `help:"Monthly income for each family member, in tenge, above which aid is refused." default:"150000"`
	Faults    string   `help:"JSON file with faults from the start: {\"income\": [{\"kind\": \"hang\", \"calls\": 2}]}." type:"existingfile" placeholder:"FILE"`
	At        string   `help:"Live at this instant (RFC 3339), to replay requests of another time to a gateway with clock: {replay: true}." placeholder:"RFC3339"`
	Token     []string `help:"Bearer token of a provider; test-token-ID for those not named." placeholder:"ID=TOKEN"`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("egov-statesim"), kong.Description(banner), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "egov-statesim:", err)
		stop()
		os.Exit(1)
	}
}

// run serves until ctx ends, then lets the calls under way finish.
func run(ctx context.Context, o options, out, logs io.Writer) error {
	fmt.Fprintln(out, banner)
	world, err := build(o, slog.New(slog.NewTextHandler(logs, nil)))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on http://%s, reporting to %s\n", l.Addr(), o.Gateway)
	server := &http.Server{Handler: world.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		world.Run(ctx)
	}()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close() // a call that hangs on demand never finishes
	}
	<-worked
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func build(o options, log *slog.Logger) (*statesim.World, error) {
	pki, err := testpki.Load()
	if err != nil {
		return nil, err
	}
	providers, err := testworld.Providers()
	if err != nil {
		return nil, err
	}
	if err := setTokens(providers, o.Token); err != nil {
		return nil, err
	}
	c, err := testworld.Config(pki, strings.TrimRight(o.Gateway, "/"), providers...)
	if err != nil {
		return nil, err
	}
	c.Factor, c.Share, c.Seed, c.IncomeThreshold, c.Log = o.Factor, o.Share, o.Seed, o.Threshold, log
	if o.At != "" {
		at, err := time.Parse(time.RFC3339, o.At)
		if err != nil {
			return nil, fmt.Errorf("--at: %w", err)
		}
		offset := time.Until(at)
		c.Now = func() time.Time { return time.Now().Add(offset).Round(0) }
	}
	if o.Faults != "" {
		raw, err := os.ReadFile(o.Faults)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(raw, &c.Faults); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Faults, err)
		}
	}
	return statesim.New(c)
}

// setTokens gives providers the tokens of the command line.
func setTokens(providers []testworld.Provider, tokens []string) error {
next:
	for _, t := range tokens {
		id, token, ok := strings.Cut(t, "=")
		if !ok || token == "" {
			return errors.New("--token wants ID=TOKEN")
		}
		for i := range providers {
			if providers[i].ID == id {
				providers[i].Token = token
				continue next
			}
		}
		return fmt.Errorf("--token: no provider %q in the passports", id)
	}
	return nil
}
