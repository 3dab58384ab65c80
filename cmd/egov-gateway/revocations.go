package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"text/tabwriter"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// keepRevocations lets what is learned of certificates outlive the process. It comes after the journal,
// which sees to it that one process at a time uses the data directory.
func (b *builder) keepRevocations() error {
	return b.checker.Keep(filepath.Join(b.c.path(b.c.Data), "revocation"))
}

// fetchPath is where the admin address is told to fetch the lists.
const fetchPath = "/revocation/fetch"

// fetchLongest is how long an operator waits for the lists.
const fetchLongest = 2*revocation.DefaultCRLTimeout + 30*time.Second

// A fetchedList is the outcome of one list, as the admin address tells it.
type fetchedList struct {
	Issuer     string         `json:"issuer"`
	Kind       string         `json:"kind"`
	Reason     gateway.Reason `json:"reason,omitempty"` // why it was not loaded, or proves nothing
	Error      string         `json:"error,omitempty"`
	ThisUpdate time.Time      `json:"this_update,omitzero"` // of what is held now
	NextUpdate time.Time      `json:"next_update,omitzero"`
}

// fetchRevocations fetches every list now and tells of each. A page of another site cannot make an
// operator's browser do it.
func (b *builder) fetchRevocations() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), fetchLongest)
		defer cancel()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(fetchLongest + 10*time.Second)) // a slow line is why one asks
		all, err := b.checker.Fetch(ctx)
		if err != nil {
			http.Error(w, "the lists did not come in time; the downloads go on", http.StatusGatewayTimeout)
			return
		}
		out := make([]fetchedList, 0, len(all))
		for _, f := range all {
			one := fetchedList{Issuer: f.Issuer, Kind: f.Kind, ThisUpdate: f.ThisUpdate, NextUpdate: f.NextUpdate}
			if err := cmp.Or(f.Err, f.Stale); err != nil {
				one.Reason, one.Error = gateway.ReasonOf(err), err.Error()
			}
			out = append(out, one)
		}
		b.log.Info("the revocation lists were fetched by hand", "lists", len(out))
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(out) //nolint:errcheck // the caller has gone
	}))
}

type revocationCmd struct {
	Fetch revocationFetchCmd `cmd:"" help:"Make the running gateway fetch every revocation list now, and say of each what came. Exit 0 all prove something, 1 not."`
}

type revocationFetchCmd struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"Configuration file of the running gateway; its admin address is asked."`
}

// Run asks the running gateway and prints a line for each list.
func (f *revocationFetchCmd) Run(out streams) error {
	c, err := parseConfig(f.Config)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.Admin)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := http.Client{Timeout: fetchLongest + 10*time.Second}
	resp, err := client.Post("http://"+net.JoinHostPort(host, port)+fetchPath, "", nil)
	if err != nil {
		return fmt.Errorf("no gateway answers at its admin address: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answers %d: %s", resp.StatusCode, body)
	}
	var all []fetchedList
	if err := json.Unmarshal(body, &all); err != nil {
		return errors.New("what answers at the admin address is no gateway of this version")
	}
	table, failed := tabwriter.NewWriter(out.out, 0, 0, 2, ' ', 0), false
	for _, l := range all {
		state := "ok"
		if l.Error != "" {
			state, failed = l.Error, true
		}
		until := "-"
		if !l.NextUpdate.IsZero() {
			until = "next update " + l.NextUpdate.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", l.Issuer, l.Kind, until, state)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if failed {
		return exitError(exitFailed)
	}
	return nil
}
