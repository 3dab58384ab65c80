// Command egov-gateway takes citizens' signed requests from the e-government portal to the
// providers of state services, and their signed results back.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	_ "time/tzdata" // working hours do not depend on the machine's own zone files

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitFailed        = 1 // verify: some refused
	exitIndeterminate = 2 // verify: some could not be checked, none refused
	exitUsage         = 64
)

// exitError carries an exit code out of a command.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

type cli struct {
	Serve        serveCmd        `cmd:"" help:"Run the gateway."`
	Config       configCmd       `cmd:"" help:"Work on the configuration file."`
	Demo         demoCmd         `cmd:"" help:"Start gateway and simulator on loopback and walk a day of requests through them. TEST ONLY keys."`
	Verify       verifyCmd       `cmd:"" help:"Check signed documents, or certificates, offline. One JSON object per line; exit 0 all verified, 1 some refused, 2 some could not be checked, 64 usage."`
	Canonicalize canonicalizeCmd `cmd:"" help:"Write the canonical bytes of a document to standard output."`
	Sign         signCmd         `cmd:"" help:"Sign a document with a key and certificate."`
	Replay       replayCmd       `cmd:"" help:"Send a corpus to a running gateway and compare verdicts, reasons and outcomes. Exit 0 as expected, 1 not."`
	Record       recordCmd       `cmd:"" help:"Run the gateway like serve, and record a corpus of requests like those that come: test identities in place of people, nothing personal in it."`
	Bench        benchCmd        `cmd:"" help:"Measure this program on this machine and print the table of the README."`
	BenchWorld   benchWorldCmd   `cmd:"" hidden:""`
	BenchDoor    benchDoorCmd    `cmd:"" hidden:""`
	Corpus       corpusCmd       `cmd:"" help:"Make and check corpora: signed documents with what must become of each. TEST ONLY."`
	Passport     passportCmd     `cmd:"" help:"Work on service passports."`
	Journal      journalCmd      `cmd:"" help:"Look at a gateway's journal, back it up, check it, set parked work going again."`
	Revocation   revocationCmd   `cmd:"" help:"Make a running gateway fetch its revocation lists now."`
	Monitoring   monitoringCmd   `cmd:"" help:"Metrics, alert rules, dashboards and the runbook."`
	Support      supportCmd      `cmd:"" name:"support-bundle" help:"Gather what a supporter needs, without personal data and secrets."`
	Certs        certsCmd        `cmd:"" help:"Check or make the test PKI. TEST ONLY."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// streams are where a command writes.
type streams struct{ out, err io.Writer }

func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	code := -1
	parser, err := kong.New(&c, kong.Name("egov-gateway"),
		kong.Description("The gateway between Kazakhstan's e-government portal and the providers of state services."),
		kong.Writers(stdout, stderr), kong.UsageOnError(), kong.Exit(func(n int) { code = n; panic(exitError(n)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, "egov-gateway:", err)
		return exitFailed
	}
	ctx, err := parse(parser, args)
	if code >= 0 { // --help
		return code
	}
	if err != nil {
		fmt.Fprintln(stderr, "egov-gateway:", err)
		return exitUsage
	}
	err = ctx.Run(streams{stdout, stderr})
	if e, ok := errors.AsType[exitError](err); ok {
		return int(e)
	}
	if err != nil {
		fmt.Fprintln(stderr, "egov-gateway:", err)
		return exitFailed
	}
	return 0
}

// parse returns when kong wants to exit, for --help say, instead of exiting.
func parse(p *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitError); !ok {
				panic(r)
			}
		}
	}()
	return p.Parse(args)
}
