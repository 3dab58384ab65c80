package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"egov-gateway/gateway/httpserver"
)

// ClientTLS is how the gateway calls a system by https.
type ClientTLS struct {
	// CA are PEM files with the anchors that the system's certificate must lead to; none means those of
	// the machine.
	CA []string `yaml:"ca" file:"public"`
	// Certificate and Key are PEM files by which the system knows the gateway; "" shows none.
	Certificate string `yaml:"certificate" file:"public"`
	Key         string `yaml:"key" file:"key"`
}

// clientTLS makes the settings for one system, whose own take the place of the common ones as a whole. nil
// means the machine's anchors and no certificate.
func (c *Config) clientTLS(name string, own *ClientTLS) (*tls.Config, error) {
	t := cmp.Or(own, c.Outgoing)
	if t == nil {
		return nil, nil
	}
	if own == nil {
		name = "outgoing"
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	for i, file := range t.CA {
		if conf.RootCAs == nil {
			conf.RootCAs = x509.NewCertPool()
		}
		if err := c.addAnchors(conf.RootCAs, fmt.Sprintf("%s.ca[%d]", name, i), file); err != nil {
			return nil, err
		}
	}
	if (t.Certificate == "") != (t.Key == "") {
		return nil, fmt.Errorf("%s: certificate and key belong together", name)
	}
	if t.Certificate != "" {
		pair, err := c.keyPair(name, t.Certificate, t.Key)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// held is with what the files hold in the place of their names.
func (t *ClientTLS) held(seen *digests) *ClientTLS {
	if t == nil {
		return nil
	}
	out := &ClientTLS{Certificate: seen.of(t.Certificate), Key: seen.of(t.Key)}
	for _, file := range t.CA {
		out.CA = append(out.CA, seen.of(file))
	}
	return out
}

// unanchored names the https addresses that the gateway calls with the machine's anchors.
func (c *Config) unanchored() (all []string) {
	look := func(name, url string, own *ClientTLS) {
		t := cmp.Or(own, c.Outgoing)
		if strings.HasPrefix(strings.ToLower(url), "https:") && (t == nil || len(t.CA) == 0) {
			all = append(all, name)
		}
	}
	for i, p := range c.Providers {
		look(fmt.Sprintf("providers[%d].url", i), p.URL, p.TLS)
	}
	for name, s := range c.Sources.named() {
		look("sources."+name+".url", s.URL, s.TLS)
	}
	for i, p := range c.Portals {
		look(fmt.Sprintf("portals[%d].notify_url", i), p.NotifyURL, nil)
	}
	for i, r := range c.Regions {
		look(fmt.Sprintf("regions[%d].url", i), r.URL, r.TLS)
	}
	if c.SHEP != nil {
		for i, p := range c.SHEP.Participants {
			look(fmt.Sprintf("shep.participants[%d].push_url", i), p.PushURL, p.PushTLS)
		}
	}
	return all
}

// checkAnchors says that the machine has no anchors, where some are needed: every call by https would
// fail, and nothing else would say why.
func (c *Config) checkAnchors(machine func() (*x509.CertPool, error)) error {
	needed := c.unanchored()
	if len(needed) == 0 {
		return nil
	}
	pool, err := machine()
	if err == nil && pool.Equal(x509.NewCertPool()) {
		err = errors.New("it has none")
	}
	if err != nil {
		return fmt.Errorf("%s: an https address needs the anchors of this machine, and they cannot be used (%w): "+
			"install its CA certificates, or name the anchors in outgoing.ca", strings.Join(needed, ", "), err)
	}
	return nil
}

// outgoingProbe says that systems which are called by https cannot be believed. It makes nothing unready:
// what is accepted waits for them.
func (b *builder) outgoingProbe() httpserver.Probe {
	err := b.c.checkAnchors(x509.SystemCertPool)
	return httpserver.Probe{Name: "outgoing", Note: func() string {
		if err != nil {
			return err.Error()
		}
		return "ok"
	}}
}
