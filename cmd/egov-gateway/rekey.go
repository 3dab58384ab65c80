package main

import (
	"context"
	"errors"
	"fmt"

	"egov-gateway/gateway/attachment"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

type journalRekeyCmd struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"Configuration file of the gateway. Its data_key and data_key_old open what is kept."`
	To     string `required:"" type:"path" placeholder:"NEWKEYFILE" help:"File with the new data key. A gateway that runs must have it as data_key already, and the one before as data_key_old."`
}

// Run wraps the keys of all that is kept under the new data key: first those in the journal, then those of
// the attached documents, and forgets the old one when nothing is left under it. Whatever cuts it off,
// running it again goes on from there.
func (k *journalRekeyCmd) Run(out streams) error {
	c, err := LoadConfig(k.Config)
	if err != nil {
		return err
	}
	known, err := c.dataKeys()
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return errors.New("data_key is not set: nothing is sealed that could change its key")
	}
	to, err := readDataKey(k.To)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	keys, err := sealing.NewKeyring(to, known...)
	if err != nil {
		return err
	}
	copies, err := attachment.Open(c.attachmentsDir(), keys)
	if err != nil {
		return err
	}
	if len(c.Journal.Redis) > 0 {
		n, err := copies.Rekey()
		if err != nil {
			return err
		}
		fmt.Fprintf(out.out, "wrapped anew: the keys of %d requests' attached documents; the journal in Redis is in clear\n", n)
		return nil
	}
	ctx := context.Background()
	a, err := sqlitejournal.Attach(c.path(c.Data), keys)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.Rekey(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	items, err := r.Run(ctx)
	if err != nil {
		return err
	}
	folders, err := copies.Rekey()
	if err != nil {
		return err
	}
	if err := r.Finish(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out.out, "wrapped anew: %d keys of requests and messages, %d of attached documents\n", items, folders)
	fmt.Fprintf(out.out, "nothing is left under another key than %s: data_key must be that one now, data_key_old can go\n", to.ID())
	return nil
}
