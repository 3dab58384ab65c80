package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/sealing"
)

type journalCmd struct {
	Stats   journalStatsCmd   `cmd:"" help:"Count requests by region and state."`
	Show    journalShowCmd    `cmd:"" help:"Show one request: state, plan, events. No personal data."`
	Stuck   journalStuckCmd   `cmd:"" help:"List requests that are parked or long due."`
	Redrive journalRedriveCmd `cmd:"" help:"Set parked requests going again; the running gateway sees it at once."`
	Backup  journalBackupCmd  `cmd:"" help:"Write a consistent, verified copy while the gateway runs."`
	Verify  journalVerifyCmd  `cmd:"" help:"Read everything and check it: database, events, every body. Exit 1 if something is wrong."`
	Rekey   journalRekeyCmd   `cmd:"" help:"Seal what is kept under another data key, while the gateway runs or not."`
}

// dataFlag says which journal; output is a table for people, JSON on request.
type dataFlag struct {
	Data        string `xor:"where" required:"" type:"path" placeholder:"DIR" help:"Data directory of the gateway."`
	Config      string `xor:"where" required:"" type:"path" placeholder:"FILE" help:"Configuration file of a gateway, for a journal in Redis too."`
	Attachments string `type:"path" placeholder:"DIR" help:"Directory of the attached documents, if it is not the one inside the data directory."`
	DataKey     string `type:"path" placeholder:"FILE" help:"Data key, if the journal is sealed and no configuration names its key."`
	JSON        bool   `name:"json" help:"JSON on standard output instead of a table."`
}

// config is that of the gateway, nil if a directory was named instead.
func (d *dataFlag) config() (*Config, error) {
	if d.Config == "" {
		return nil, nil
	}
	return LoadConfig(d.Config)
}

// keyring opens what is sealed; nil when no key was named.
func (d *dataFlag) keyring() (*sealing.Keyring, error) {
	if d.DataKey != "" {
		k, err := readDataKey(d.DataKey)
		if err != nil {
			return nil, err
		}
		return sealing.NewKeyring(k)
	}
	c, err := d.config()
	if c == nil {
		return nil, err
	}
	return c.keyring()
}

func (d *dataFlag) attach() (operated, error) {
	keys, err := d.keyring()
	if err != nil {
		return nil, err
	}
	c, err := d.config()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return attachData(d.Data, keys)
	}
	return attachConfigured(c, keys)
}

// copies opens the attached documents.
func (d *dataFlag) copies() (*attachment.Store, error) {
	keys, err := d.keyring()
	if err != nil {
		return nil, err
	}
	c, err := d.config()
	if err != nil {
		return nil, err
	}
	switch {
	case d.Attachments != "":
		return attachment.Open(d.Attachments, keys)
	case c != nil:
		return attachment.Open(c.attachmentsDir(), keys)
	}
	return attachment.Open(attachments(d.Data), keys)
}

func (d *dataFlag) print(out io.Writer, v any, table func(w io.Writer)) error {
	if d.JSON {
		return json.NewEncoder(out).Encode(v)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	table(w)
	return w.Flush()
}

type journalStatsCmd struct{ dataFlag }

func (c *journalStatsCmd) Run(out streams) error {
	a, err := c.attach()
	if err != nil {
		return err
	}
	defer a.Close()
	st, err := a.Stats(context.Background())
	if err != nil {
		return err
	}
	return c.print(out.out, st, func(w io.Writer) {
		fmt.Fprintln(w, "shard\tstate\trequests")
		for _, shard := range slices.Sorted(maps.Keys(st.ByShard)) {
			states := st.ByShard[shard]
			for _, s := range gateway.States {
				if n := states[s]; n > 0 {
					fmt.Fprintf(w, "%s\t%s\t%d\n", shard, s, n)
				}
			}
		}
	})
}

// A card is what an operator sees of a request.
type card struct {
	ID       gateway.RequestID `json:"id"`
	State    gateway.State     `json:"state"`
	Shard    string            `json:"shard"`
	Provider string            `json:"provider"`
	Service  string            `json:"service"`
	Attempt  int               `json:"attempt"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
	Wake     time.Time         `json:"wake,omitzero"`
	Reason   gateway.Reason    `json:"reason,omitempty"` // of the newest event that has one
	Dossier  json.RawMessage   `json:"dossier,omitempty"`
	Events   []gateway.Event   `json:"events,omitempty"`
}

func cardOf(it journal.Item) card {
	c := card{ID: it.ID, State: it.State, Shard: it.Shard, Provider: it.Provider, Service: it.Service, Attempt: it.Attempt, Created: it.Created, Updated: it.Updated, Wake: it.Wake}
	for _, e := range it.Events {
		if e.Reason != "" {
			c.Reason = e.Reason
		}
	}
	return c
}

type journalShowCmd struct {
	dataFlag
	ID string `arg:"" help:"Request id."`
}

func (c *journalShowCmd) Run(out streams) error {
	a, err := c.attach()
	if err != nil {
		return err
	}
	defer a.Close()
	id, err := gateway.ParseRequestID(c.ID)
	if err != nil {
		return usage(out, "%s: %v", c.ID, gateway.DetailOf(err))
	}
	it, err := a.Get(context.Background(), id)
	if errors.Is(err, journal.ErrNotFound) {
		return fmt.Errorf("no request %s", id)
	}
	if err != nil {
		return err
	}
	k := cardOf(it)
	k.Dossier, k.Events = it.Doc, it.Events
	return c.print(out.out, k, func(w io.Writer) {
		fmt.Fprintf(w, "request\t%s\nstate\t%s\nregion\t%s\nprovider\t%s\naccepted\t%s\nchanged\t%s\n", k.ID, k.State, k.Shard, k.Provider, k.Created.Format(time.RFC3339), k.Updated.Format(time.RFC3339))
		if d, err := gateway.ReadDossier(it.Doc); err == nil {
			fmt.Fprintf(w, "due\t%s\n", d.DueAt.Format(time.RFC3339))
			for _, s := range d.Steps {
				done := "-"
				if !s.CompletedAt.IsZero() {
					done = s.CompletedAt.Format(time.RFC3339)
				}
				fmt.Fprintf(w, "step %s\tdue %s\tdone %s\n", s.Code, s.DueAt.Format(time.RFC3339), done)
			}
		}
		for _, e := range k.Events {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s %s %s\n", e.Seq, e.At.Format(time.RFC3339), e.Kind, e.Subject, e.Note, e.Reason)
		}
	})
}

type journalStuckCmd struct {
	dataFlag
	Older time.Duration `default:"15m" help:"Work counts as stuck when it has been due that long."`
	Limit int           `default:"200" help:"At most so many."`
}

func (c *journalStuckCmd) Run(out streams) error {
	a, err := c.attach()
	if err != nil {
		return err
	}
	defer a.Close()
	items, err := a.Stuck(context.Background(), time.Now().Add(-c.Older), c.Limit)
	if err != nil {
		return err
	}
	cards := make([]card, 0, len(items))
	for _, it := range items {
		cards = append(cards, cardOf(it))
	}
	return c.print(out.out, cards, func(w io.Writer) {
		fmt.Fprintln(w, "request\tstate\tregion\tprovider\tattempts\tsince\treason")
		for _, k := range cards {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", k.ID, k.State, k.Shard, k.Provider, k.Attempt, k.Updated.Format(time.RFC3339), k.Reason)
		}
	})
}

type journalRedriveCmd struct {
	dataFlag
	IDs      []string `arg:"" optional:"" name:"id" help:"Request ids."`
	All      bool     `help:"All parked requests that --provider and --reason leave."`
	Provider string   `placeholder:"ID" help:"With --all: only those of this provider."`
	Reason   string   `placeholder:"REASON" help:"With --all: only those that were parked for this reason, like provider.rejected."`
	DryRun   bool     `help:"Only list them."`
}

func (c *journalRedriveCmd) Run(out streams) error {
	if c.All == (len(c.IDs) > 0) {
		return usage(out, "name requests, or give --all")
	}
	a, err := c.attach()
	if err != nil {
		return err
	}
	defer a.Close()
	var ids []gateway.RequestID
	for _, s := range c.IDs {
		id, err := gateway.ParseRequestID(s)
		if err != nil {
			return usage(out, "%s: %v", s, gateway.DetailOf(err))
		}
		ids = append(ids, id)
	}
	if c.All {
		if ids, err = c.parked(context.Background(), a); err != nil {
			return err
		}
	}
	for _, id := range ids {
		it, err := a.Get(context.Background(), id)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if it.State != gateway.StateParked {
			return fmt.Errorf("%s is %s, not parked", id, it.State)
		}
		if c.DryRun {
			fmt.Fprintln(out.out, id, it.Provider, cardOf(it).Reason)
			continue
		}
		if err := a.Signal(context.Background(), id, redriveOf(it.Version, time.Now())); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		fmt.Fprintln(out.out, id, "set going again")
	}
	return nil
}

// parked selects the parked requests that the flags leave.
func (c *journalRedriveCmd) parked(ctx context.Context, a operated) (ids []gateway.RequestID, err error) {
	err = journal.Each(ctx, a, journal.Query{State: gateway.StateParked, Limit: 500}, func(it journal.Item) error {
		if c.Provider != "" && it.Provider != c.Provider {
			return nil
		}
		if c.Reason != "" {
			full, err := a.Get(ctx, it.ID)
			if err != nil {
				return fmt.Errorf("%s: %w", it.ID, err)
			}
			if string(cardOf(full).Reason) != c.Reason {
				return nil
			}
		}
		ids = append(ids, it.ID)
		return nil
	})
	return ids, err
}

type journalBackupCmd struct {
	dataFlag
	To string `required:"" type:"path" placeholder:"DIR" help:"Empty or missing directory to write to. Keep it as safe as the journal: it holds personal data, sealed if the journal is; the data key is not in it."`
}

func (c *journalBackupCmd) Run(out streams) error {
	a, err := c.attach()
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Backup(context.Background(), c.To); err != nil {
		return err
	}
	// Documents were on disk before the request that names them: this copy holds all that the
	// snapshot knows.
	from, err := c.copies()
	if err != nil {
		return err
	}
	keys, err := c.keyring()
	if err != nil {
		return err
	}
	to, err := attachment.Open(attachments(c.To), keys)
	if err != nil {
		return err
	}
	if err := from.Copy(to); err != nil {
		return err
	}
	fmt.Fprintln(out.out, "backed up and verified:", c.To)
	return nil
}

type journalVerifyCmd struct{ dataFlag }

func (c *journalVerifyCmd) Run(out streams) error {
	a, err := c.attach()
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.Verify(context.Background())
	if err != nil {
		return err
	}
	copies, err := c.copies()
	if err != nil {
		return err
	}
	documents, faults, err := verifyDocuments(context.Background(), a, copies)
	if err != nil {
		return err
	}
	report := struct {
		*journalReport
		Documents int `json:"documents"`
	}{r, documents}
	r.Faults = append(r.Faults, faults...)
	if err := c.print(out.out, report, func(w io.Writer) {
		fmt.Fprintf(w, "requests\t%d\nbodies\t%d\nbytes\t%d\ndocuments\t%d\nfaults\t%d\n", r.Items, r.Bodies, r.Bytes, documents, len(r.Faults))
		for _, f := range r.Faults {
			fmt.Fprintln(w, f)
		}
	}); err != nil {
		return err
	}
	if len(r.Faults) > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// verifyDocuments reads every attached document that a request names.
func verifyDocuments(ctx context.Context, a operated, copies *attachment.Store) (n int, faults []string, err error) {
	err = journal.Each(ctx, a, journal.Query{Limit: 500}, func(it journal.Item) error {
		d, err := gateway.ReadDossier(it.Doc)
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", it.ID, err))
			return nil
		}
		if it.State == gateway.StateErased {
			return nil
		}
		for _, doc := range d.Attachments {
			n++
			if _, err := copies.Get(it.ID, doc.SHA256); err != nil {
				faults = append(faults, fmt.Sprintf("%s: document %s: %v", it.ID, doc.SHA256, err))
			}
		}
		return nil
	})
	return n, faults, err
}
