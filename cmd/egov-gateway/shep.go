package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/channel"
	"egov-gateway/gateway/flow"
	"egov-gateway/gateway/pipeline"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/upstream"
	"egov-gateway/schemas"
)

// SHEP is the door of SHEP's channels, /shep/sync and /shep/async.
type SHEP struct {
	// SenderID is under which participants know this gateway.
	SenderID string `yaml:"sender_id"`
	// Window is how old a message may be by its own date; 0 means 1h.
	Window Duration `yaml:"window"`
	// MaxBytes of one message; 0 means 15 MiB.
	MaxBytes int `yaml:"max_bytes"`
	// InFlight bounds the bytes of all messages at hand of known participants, half of it in equal shares
	// that nobody else takes; strangers have half as much beside it. 0 means 64 MiB. Memory is about four
	// times that.
	InFlight int64 `yaml:"in_flight"`
	// AllowGOST2004 accepts transport signatures of GOST 34.310-2004.
	AllowGOST2004 bool          `yaml:"allow_gost_2004"`
	Participants  []Participant `yaml:"participants"`
}

// Participant is an information system that speaks SHEP: a portal or another gateway.
type Participant struct {
	Name         string   `yaml:"name"` // of a portal: as in the form's element "portal"
	SenderID     string   `yaml:"sender_id"`
	PasswordFile string   `yaml:"password_file" file:"secret"`
	Certificates []string `yaml:"certificates" file:"public"` // pinned
	BIN          string   `yaml:"bin"`                        // any information system's certificate of this organisation
	// Addresses are the networks it calls from, ClientCertificate is its TLS client certificate: by one
	// of them it is known before its message is read, and has room that no stranger takes. Neither
	// proves who sent a message.
	Addresses         Networks `yaml:"addresses"`
	ClientCertificate string   `yaml:"client_certificate" file:"public"`
	// Services are ids of SHEP's register with the service code of the passports.
	Services map[string]string `yaml:"services"`
	Rate     float64           `yaml:"rate"` // messages a second; 0 means 50
	MaxBytes int               `yaml:"max_bytes"`
	// Gateway may relay what it accepted from Portals; empty Portals means Name.
	Gateway bool     `yaml:"gateway"`
	Portals []string `yaml:"portals"`
	// PushURL is where its messages are pushed; "" leaves them until it asks.
	PushURL          string   `yaml:"push_url"`
	PushPasswordFile string   `yaml:"push_password_file" file:"secret"`
	PushTimeout      Duration `yaml:"push_timeout"`
	// PushTLS takes the place of outgoing for the pushes.
	PushTLS *ClientTLS `yaml:"push_tls"`
}

func (s *SHEP) check() (errs []error) {
	if s == nil {
		return nil
	}
	if s.SenderID == "" {
		errs = append(errs, errors.New("shep.sender_id is missing"))
	}
	for i, p := range s.Participants {
		at := fmt.Sprintf("shep.participants[%d]", i)
		if p.Name == "" || p.SenderID == "" {
			errs = append(errs, fmt.Errorf("%s: name and sender_id are needed", at))
		}
		if p.PasswordFile == "" && len(p.Certificates) == 0 && p.BIN == "" {
			errs = append(errs, fmt.Errorf("%s: password_file, certificates or bin is needed", at))
		}
		if len(p.Services) == 0 {
			errs = append(errs, fmt.Errorf("%s.services: at least one is needed", at))
		}
		if p.Rate < 0 || p.MaxBytes < 0 {
			errs = append(errs, fmt.Errorf("%s: rate and max_bytes must be above 0", at))
		}
	}
	return errs
}

func (c *Config) certificates(name string, files []string) (all []*trust.Certificate, err error) {
	for i, f := range files {
		cert, err := c.certificate(fmt.Sprintf("%s[%d]", name, i), f)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	return all, nil
}

// participants are those of SHEP's channels; nil when there is no such door.
func (b *builder) participants() ([]channel.Participant, error) {
	s := b.c.SHEP
	if s == nil {
		return nil, nil
	}
	all := []channel.Participant{}
	for i, p := range s.Participants {
		at := fmt.Sprintf("shep.participants[%d]", i)
		q := channel.Participant{Name: p.Name, SenderID: p.SenderID, Services: p.Services, Rate: p.Rate, MaxBytes: p.MaxBytes, Gateway: p.Gateway, Portals: p.Portals,
			Addresses: p.Addresses}
		for id, code := range p.Services {
			if !b.offers(code) {
				return nil, fmt.Errorf("%s.services: no passport has the service %s of %s", at, code, id)
			}
		}
		var err error
		if q.PasswordSHA256, err = b.c.tokenHash(at+".password_file", p.PasswordFile); err != nil {
			return nil, err
		}
		if q.Certificates, err = b.c.certificates(at+".certificates", p.Certificates); err != nil {
			return nil, err
		}
		if p.ClientCertificate != "" {
			if q.CertificateSHA256, err = b.c.pinned(at+".client_certificate", p.ClientCertificate); err != nil {
				return nil, err
			}
		}
		if p.BIN != "" {
			if q.Organisation, err = gateway.ParseBIN(p.BIN); err != nil {
				return nil, fmt.Errorf("%s.bin: %w", at, err)
			}
		}
		if p.PushURL != "" {
			password, err := b.c.secretFile(at+".push_password_file", p.PushPasswordFile)
			if err != nil {
				return nil, err
			}
			if q.Push, err = keep(b, "participant/"+p.Name, struct {
				Participant Participant
				Sender      string
				Outgoing    *ClientTLS
			}{p, s.SenderID, b.c.Outgoing}, func() (*shep.AsyncClient, error) {
				sender := shep.Sender{ID: s.SenderID, Password: password}
				return b.asyncClient(p.Name, p.PushURL, sender, q.Certificates, p.PushTimeout, gateway.PortalUnavailable, p.PushTLS)
			}); err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
		}
		all = append(all, q)
	}
	regions, err := b.regionParticipants()
	if err != nil {
		return nil, err
	}
	return append(all, regions...), nil
}

// asyncClient speaks AsyncChannel with a partner. Messages are signed when the partner is known
// by certificate, as its own must be.
func (b *builder) asyncClient(name, url string, sender shep.Sender, partners []*trust.Certificate, timeout Duration, unavailable gateway.Reason, own *ClientTLS) (*shep.AsyncClient, error) {
	conf, err := b.c.clientTLS(name+".tls", own)
	if err != nil {
		return nil, err
	}
	c := shep.AsyncConfig{Name: name, URL: url, Sender: sender, Partners: partners, Now: b.now,
		Upstream: upstream.Config{Timeout: time.Duration(timeout), Reasons: upstream.Reasons{Unavailable: unavailable}, Observe: b.called, TLS: conf}}
	if len(partners) > 0 {
		c.Key = b.key
	}
	return shep.NewAsyncClient(c)
}

// offers reports whether a passport has the service code.
func (b *builder) offers(code string) bool {
	for _, p := range b.forms.All() {
		if p.Service == code {
			return true
		}
	}
	return false
}

// A post is what carries messages to SHEP's participants.
type post struct {
	directory *channel.Directory
	outbox    *channel.Outbox
	engine    *pipeline.Engine
}

// post makes the outbox and the engine that empties it; nil without SHEP.
func (b *builder) post(participants []channel.Participant) (*post, error) {
	if participants == nil {
		return nil, nil
	}
	d, err := channel.NewDirectory(participants)
	if err != nil {
		return nil, err
	}
	p := &post{directory: d}
	if p.outbox, err = channel.NewOutbox(d, b.store, b.now, b.log, func() { p.engine.Kick() }); err != nil {
		return nil, err
	}
	// A participant may be away for a month: with the longest back-off that is some 3000 tries.
	p.engine, err = pipeline.New(pipeline.Config{Store: b.store, Shards: d.Queues(), Steps: p.outbox.Steps(), Ordered: p.outbox.Ordered(), Budget: pipeline.Budget{Attempts: 3000}, Now: b.now, Log: b.log, Observe: b.m.step})
	return p, err
}

// participants are their names.
func (p *post) participants() []string {
	if p == nil {
		return nil
	}
	return p.directory.Names()
}

// door makes the door of the channels.
func (p *post) door(b *builder, desk channel.Desk, results channel.Results) (*channel.Door, error) {
	s := b.c.SHEP
	return channel.New(channel.Config{Directory: p.directory, Outbox: p.outbox, Desk: desk, Results: results, Journal: b.store, Verifier: b.verifier, Key: b.key, SenderID: s.SenderID,
		Texts: b.texts, Contracts: schemas.FS, BaseURL: b.c.BaseURL, Window: time.Duration(s.Window), MaxBytes: s.MaxBytes, InFlight: s.InFlight, House: b.house,
		AllowGOST2004: s.AllowGOST2004, Now: b.now, Log: b.log, Observe: b.m.shep})
}

// notifiers tells each of several notifiers; all must have taken the notice.
type notifiers []flow.Notifier

func (all notifiers) Notify(ctx context.Context, portal string, id gateway.RequestID, n flow.Notice) error {
	for _, one := range all {
		if err := one.Notify(ctx, portal, id, n); err != nil {
			return err
		}
	}
	return nil
}
