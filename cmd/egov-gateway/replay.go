package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/replay"
)

type replayCmd struct {
	Corpus string `arg:"" type:"path" help:"Folder or zip file; see corpus generate."`
	gatewayFlags
	Against     string            `placeholder:"URL" help:"A second gateway that gets the same: verdicts, reasons and latencies of both are compared."`
	AgainstName string            `default:"second" help:"Name of the second gateway in reports."`
	AgainstFile string            `name:"against-token-file" type:"path" placeholder:"FILE" help:"Token at the second gateway; default: the same."`
	Door        string            `enum:"entry,rest,shep" default:"entry" help:"Which door: rest, shep, or that of each entry, rest for one that has none (${enum})."`
	Rate        float64           `placeholder:"N" help:"Open loop: entries a second. Latency counts from the instant at which an entry was due. Default: closed loop."`
	Concurrency int               `placeholder:"N" help:"Clients of the closed loop (default 16), or the most entries under way in an open loop (default 2048)."`
	Limit       int64             `placeholder:"N" help:"Only the first N entries."`
	At          time.Time         `format:"2006-01-02T15:04:05Z07:00" placeholder:"RFC3339" help:"The instant at which the gateway lives, if it does not say so itself. Entries whose clock is another are not sent."`
	AnyClock    bool              `help:"Send even though the gateway's clock is not the corpus'."`
	Services    map[string]string `name:"shep-service" placeholder:"CODE=ID" help:"A service code of the forms with its id at SHEP. Default: housing-aid=EGOV-S-HOUSING;complaint=EGOV-S-COMPLAINT."`
	FollowFor   time.Duration     `default:"2m" help:"How long a cabinet may take to show the outcome."`
	reportFlags
}

// gatewayFlags say how a portal speaks to a gateway.
type gatewayFlags struct {
	URL          string `name:"url" required:"" placeholder:"URL" help:"The gateway's address, without a path."`
	TokenFile    string `type:"path" placeholder:"FILE" help:"File with the portal's token (REST)."`
	CA           string `name:"ca" type:"path" placeholder:"FILE" help:"Certificates of authorities that the gateway's TLS certificate may come from. Default: the system's."`
	SenderID     string `default:"EGOV" help:"The portal's id at SHEP."`
	PasswordFile string `type:"path" placeholder:"FILE" help:"File with the portal's password at SHEP."`
	CabinetKey   string `type:"path" placeholder:"FILE" help:"The portal's private key for citizens' tokens (Ed25519, PEM): accepted requests are followed to the cabinet. Without it only the doors are compared."`
	Portal       string `default:"egov.kz" help:"The portal's name."`
}

// reportFlags say where reports go.
type reportFlags struct {
	JSON  string `name:"json" type:"path" placeholder:"FILE" help:"Write the report as JSON."`
	JUnit string `name:"junit" type:"path" placeholder:"FILE" help:"Write the report as JUnit XML."`
	HTML  string `name:"html" type:"path" placeholder:"FILE" help:"Write the report as one page with plots."`
}

// Run replays, and ends with exit code 1 when anything was not as expected.
func (c *replayCmd) Run(out streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := corpus.Open(c.Corpus)
	if err != nil {
		return err
	}
	defer r.Close()
	first, err := c.target("gateway")
	if err != nil {
		return err
	}
	if len(c.Services) > 0 {
		first.Services = c.Services
	}
	targets := []*replay.Target{first}
	if c.Against != "" {
		other := c.gatewayFlags
		other.URL = c.Against
		if c.AgainstFile != "" {
			other.TokenFile = c.AgainstFile
		}
		second, err := other.target(c.AgainstName)
		if err != nil {
			return err
		}
		second.Services = first.Services
		targets = append(targets, second)
	}
	for _, t := range targets {
		if err := c.checkClock(ctx, t, r.Header, out); err != nil {
			return err
		}
	}
	total := r.Header.Entries
	if c.Limit > 0 {
		total = min(total, c.Limit)
	}
	bar := progress(out.err, total, "entries")
	report, err := replay.Run(ctx, replay.Config{Corpus: r, Targets: targets, Door: corpus.Door(strings.TrimPrefix(c.Door, "entry")), Rate: c.Rate, Concurrency: c.Concurrency, Limit: c.Limit,
		Follow: c.CabinetKey != "", FollowTimeout: c.FollowFor, Sent: func() { bar.Add(1) }}) //nolint:errcheck // a picture
	bar.Finish() //nolint:errcheck // a picture
	if err != nil {
		return err
	}
	return c.write(out, report)
}

// checkClock refuses a gateway that lives at another time than the corpus.
func (c *replayCmd) checkClock(ctx context.Context, t *replay.Target, h corpus.Header, out streams) error {
	now, shifted, err := t.Clock(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", t.URL, err)
	}
	if shifted {
		fmt.Fprintf(out.err, "%s is in replay mode: its clock says %s\n", t.URL, now.UTC().Format(time.RFC3339))
	} else if !c.At.IsZero() {
		now = c.At
		t.SetClock(now)
	}
	last := h.Clock.Add(time.Duration(h.Lasts))
	if h.Lasts == 0 {
		last = h.Clock.Add(time.Hour)
	}
	if !c.AnyClock && (now.Before(h.Clock.Add(-time.Minute)) || now.After(last)) {
		return fmt.Errorf("%s lives at %s, the corpus from %s to %s: start the gateway with clock: {replay: true, at: %s}, or make a corpus for its time (corpus generate --clock)",
			t.URL, now.UTC().Format(time.RFC3339), h.Clock.Format(time.RFC3339), last.Format(time.RFC3339), h.Clock.Format(time.RFC3339))
	}
	return nil
}

func readSecret(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	return strings.TrimRight(string(b), "\r\n"), err
}

// shepIDs are the service codes of the passports with the ids of SHEP's register that replays take
// for them.
func shepIDs() map[string]string {
	ids := map[string]string{}
	for id, code := range labServices() {
		ids[code] = id
	}
	return ids
}

func (f *gatewayFlags) target(name string) (*replay.Target, error) {
	t := &replay.Target{Name: name, URL: f.URL, SenderID: f.SenderID, Portal: f.Portal, Services: shepIDs()}
	var err error
	if t.Token, err = readSecret(f.TokenFile); err != nil {
		return nil, err
	}
	if t.Password, err = readSecret(f.PasswordFile); err != nil {
		return nil, err
	}
	if f.CA != "" {
		raw, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		t.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		if !t.TLS.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", f.CA)
		}
	}
	if f.CabinetKey == "" {
		return t, nil
	}
	raw, err := os.ReadFile(f.CabinetKey)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", f.CabinetKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.CabinetKey, err)
	}
	var ok bool
	if t.CabinetKey, ok = key.(ed25519.PrivateKey); !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 private key", f.CabinetKey)
	}
	return t, nil
}

// write prints the table and writes the files that are asked for.
func (f *reportFlags) write(out streams, r *replay.Report) error {
	if err := r.WriteTable(out.out); err != nil {
		return err
	}
	for name, to := range map[string]func(io.Writer) error{f.JSON: r.WriteJSON, f.JUnit: r.WriteJUnit, f.HTML: r.WriteHTML} {
		if name == "" {
			continue
		}
		file, err := os.Create(name)
		if err != nil {
			return err
		}
		if err := errors.Join(to(file), file.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if !r.OK() {
		return exitError(exitFailed)
	}
	return nil
}
