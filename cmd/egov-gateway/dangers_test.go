package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/parser"

	testpki "egov-gateway/certs-testdata"
)

// harmless is a configuration without any danger, but for its TEST roots and test tokens.
func harmless(t *testing.T) *lab {
	t.Helper()
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// F13: what can never be meant is refused, what is dangerous outside a laboratory is warned of, each
// with its line and with what to do.
func TestDangerousSettings(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	write := func(l *lab, name, content string, mode os.FileMode) string {
		path := filepath.Join(l.dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	tests := []struct {
		name    string
		change  func(l *lab, c *Config)
		setting string
		weight  weight
		says    string
	}{
		{"doors on every address without TLS", func(_ *lab, c *Config) { c.Listen = "0.0.0.0:8443" }, "listen", warned, "without TLS"},
		{"doors on every address, written short", func(_ *lab, c *Config) { c.Listen = ":8443" }, "listen", warned, "without TLS"},
		{"a door that is no address", func(_ *lab, c *Config) { c.Listen = "8443" }, "listen", refused, "host:port"},
		{"admin on every address", func(_ *lab, c *Config) { c.Admin = "[::]:9090" }, "admin", warned, "127.0.0.1"},
		{"the console on every address without TLS", func(_ *lab, c *Config) { c.Console.Listen = "10.0.0.1:9443" }, "console.listen", warned,
			"console.tls"},
		{"base_url without TLS", func(_ *lab, c *Config) { c.BaseURL = "http://gateway.example.kz" }, "base_url", warned, "https://"},
		{"base_url is a script", func(_ *lab, c *Config) { c.BaseURL = "javascript:alert(1)" }, "base_url", refused, "https://host"},
		{"portal_url is a script", func(_ *lab, c *Config) { c.Cabinet.PortalURL = "javascript:alert(1)" }, "cabinet.portal_url", refused,
			"https://host"},
		{"a provider without TLS", func(_ *lab, c *Config) { c.Providers[0].URL = "http://petropavl.example.kz/" }, "providers[0].url", warned,
			"token"},
		{"a provider over FTP", func(_ *lab, c *Config) { c.Providers[1].URL = "ftp://taraz.example.kz/" }, "providers[1].url", refused,
			"https://host"},
		{"a provider at no address", func(_ *lab, c *Config) { c.Providers[0].URL = "petropavl" }, "providers[0].url", refused, "https://host"},
		{"a password in an address", func(_ *lab, c *Config) { c.Providers[0].URL = "https://me:secret@petropavl.example.kz/" },
			"providers[0].url", refused, "take it out"},
		{"a register without TLS", func(_ *lab, c *Config) { c.Sources.GBDFL.URL = "http://shep.example.kz/" }, "sources.gbdfl.url", warned,
			"personal records"},
		{"notices without TLS", func(_ *lab, c *Config) { c.Portals[0].NotifyURL = "http://portal.example.kz/" }, "portals[0].notify_url",
			warned, "decisions"},
		{"an identity provider without TLS", func(_ *lab, c *Config) {
			c.Console.BaseURL, c.Console.OIDC = "https://console.example.kz", &OIDC{Issuer: "http://id.example.kz", ClientID: "console"}
		}, "console.oidc.issuer", warned, "tokens"},
		{"a responder over FTP", func(_ *lab, c *Config) { c.Revocation[1].OCSP[0] = "ftp://ocsp.example.kz" }, "revocation[1].ocsp[0]", refused,
			"https://host"},
		{"a token of white space", func(l *lab, c *Config) {
			c.Portals[0].TokenFile = write(l, "white", strings.Repeat(" ", 16), 0o600)
		}, "portals[0].token_file", refused, "openssl rand"},
		{"a token of one letter", func(l *lab, c *Config) {
			c.Providers[0].CallbackTokenFile = write(l, "aaa", strings.Repeat("a", 40), 0o600)
		}, "providers[0].callback_token_file", refused, "openssl rand"},
		{"a token of four letters", func(l *lab, c *Config) {
			c.Portals[0].TokenFile = write(l, "abcd", strings.Repeat("abcd", 8), 0o600)
		}, "portals[0].token_file", warned, "openssl rand"},
		{"an index secret of zeros", func(l *lab, c *Config) { c.Secret = write(l, "zeros", strings.Repeat("0", 64), 0o600) }, "secret", refused,
			"openssl rand"},
		{"one token for two providers", func(_ *lab, c *Config) { c.Providers[1].TokenFile = c.Providers[0].TokenFile },
			"providers[1].token_file", refused, "pass for the other"},
		{"one token for a portal and a provider", func(l *lab, c *Config) {
			c.Providers[2].CallbackTokenFile = write(l, "copy", l.token+"\n", 0o600)
		}, "providers[2].callback_token_file", refused, "pass for the other"},
		{"one token both ways", func(*lab, *Config) {}, "providers[0].callback_token_file", warned, "both ways"},
		{"a token that everybody may read", func(l *lab, c *Config) {
			c.Portals[0].TokenFile = write(l, "open", secret(), 0o644)
		}, "portals[0].token_file", warned, "chmod 0600"},
		{"the gateway's key, which everybody may change", func(l *lab, c *Config) {
			raw, _ := os.ReadFile(filepath.Join(l.dir, c.Key))
			c.Key = write(l, "open.pem", string(raw), 0o606)
		}, "key", refused, "chmod o-w"},
		{"an anchor that the group may change", func(l *lab, _ *Config) {
			if err := os.Chmod(filepath.Join(l.dir, "root.pem"), 0o664); err != nil {
				t.Fatal(err)
			}
		}, "trust[0].certificate", warned, "chmod g-w"},
		{"a negative limit", func(_ *lab, c *Config) { c.Limits.InFlight = -1 }, "limits.in_flight", refused, "below zero"},
		{"a negative share", func(_ *lab, c *Config) { c.Portals[0].Concurrent = -4 }, "portals[0].concurrent", refused, "below zero"},
		{"a negative number of attempts", func(_ *lab, c *Config) { c.Providers[0].Retry.Attempts = -1 }, "providers[0].retry.attempts", refused,
			"below zero"},
		{"the published TEST root", func(*lab, *Config) {}, "trust[0].certificate", warned, "everybody can sign"},
		{"check digits that are not looked at", func(_ *lab, c *Config) { c.Trust[1].Test = true }, "trust[1].test", warned, "check digits"},
		{"a token in the place of an operator's sign-in", func(*lab, *Config) {}, "console.operators[0].test_token_file", warned, "for tests"},
		{"a replay's clock", func(_ *lab, c *Config) { c.Clock = &ClockConfig{Replay: true, At: "2026-11-23T05:00:00Z"} }, "clock.replay",
			warned, "revoked"},
		{"Redis without TLS", func(_ *lab, c *Config) {
			c.Journal.Redis, c.Attachments = Addresses{"redis://:secret@redis.example.kz:6379/0"}, "attachments"
		}, "journal.redis", warned, "rediss://"},
		{"Redis without a password", func(_ *lab, c *Config) {
			c.Journal.Redis, c.Attachments = Addresses{"rediss://redis.example.kz:6379/0"}, "attachments"
		}, "journal.redis", warned, "password"},
		{"shared evidence at no address", func(_ *lab, c *Config) { c.SharedEvidence = "redis.example.kz" }, "shared_evidence", refused,
			"redis://host"},
		{"a cabinet that nobody can enter", func(_ *lab, c *Config) { c.Cabinet.PortalURL = "" }, "cabinet.portal_url", warned,
			"sign citizens in"},
		{"a journal in clear", func(_ *lab, c *Config) { c.DataKey = "" }, "data_key", warned, "openssl rand -hex 32"},
		{"a calendar that has ended", func(l *lab, c *Config) {
			c.Schemas = "schemas"
			if err := os.Mkdir(filepath.Join(l.dir, c.Schemas), 0o700); err != nil {
				t.Fatal(err)
			}
			write(l, "schemas/calendar.yaml", "2025: {kurban_ait: 2025-06-06, moved: []}\n", 0o600)
		}, "schemas", tolerated, "no data from 1 January 2026"},
		{"a calendar that ends soon", func(l *lab, c *Config) {
			c.Schemas = "schemas"
			if err := os.Mkdir(filepath.Join(l.dir, c.Schemas), 0o700); err != nil {
				t.Fatal(err)
			}
			write(l, "schemas/calendar.yaml", "2026: {kurban_ait: 2026-05-27, moved: []}\n", 0o600)
		}, "schemas", tolerated, "no data from 1 January 2027"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := harmless(t)
			l.mustReconfigure(t, func(c *Config) { tt.change(l, c) })
			c, err := parseConfig(l.config)
			if err != nil {
				t.Fatal(err)
			}
			found := c.examine(l.clock.Now())
			i := slices.IndexFunc(found, func(d danger) bool { return d.setting == tt.setting && strings.Contains(d.text, tt.says) })
			if i < 0 || found[i].weight != tt.weight {
				t.Fatalf("found %v", found)
			}
			raw, err := os.ReadFile(l.config)
			if err != nil {
				t.Fatal(err)
			}
			word := indices.ReplaceAllString(tt.setting[strings.LastIndexByte(tt.setting, '.')+1:], "")
			if line := strings.Split(string(raw), "\n")[found[i].line-1]; !strings.Contains(line, word) && !strings.Contains(tt.setting, "ocsp") &&
				tt.setting != "cabinet.portal_url" {
				t.Errorf("line %d is %q, not that of %s", found[i].line, line, tt.setting)
			}
			// The start and the check agree, and name the line.
			said := fmt.Sprintf("%s:%d: %s: ", filepath.Base(l.config), found[i].line, tt.setting)
			var out, errs bytes.Buffer
			code := run([]string{"config", "check", l.config}, &out, &errs)
			if (code != 0) != (tt.weight == refused) && tt.setting != "journal.redis" || !strings.Contains(errs.String(), said) {
				t.Errorf("config check: %d %s", code, &errs)
			}
			errs.Reset()
			// The TEST roots are refused in any case; what is tolerated is no reason.
			if code := run([]string{"config", "check", "--strict", l.config}, &out, &errs); code == 0 ||
				strings.Contains(errs.String(), said) == (tt.weight == tolerated) {
				t.Errorf("config check --strict: %d %s", code, &errs)
			}
			if tt.weight == refused {
				if err := l.startGateway(); err == nil || !strings.Contains(err.Error(), tt.setting) {
					t.Errorf("the gateway starts: %v", err)
				}
			}
		})
	}
}

// A certificate of a listener that has ended lets nobody in.
func TestAnExpiredCertificateOfTheDoorsIsRefused(t *testing.T) {
	l := harmless(t)
	web := newWebPKI(t)
	cert, key := web.issue("doors", false)
	for name, content := range map[string]string{"doors.crt": cert, "doors.key": key} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.mustReconfigure(t, func(c *Config) { c.TLS = &TLS{Certificate: "doors.crt", Key: "doors.key"} })
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	at := func(wall time.Time) bool {
		x := &examination{c: c, now: l.clock.Now(), wall: wall}
		webCertificates(x)
		return slices.ContainsFunc(x.found, func(d danger) bool { return d.weight == refused && d.setting == "tls.certificate" })
	}
	if at(time.Now()) {
		t.Error("a certificate that is valid is refused")
	}
	if !at(time.Now().Add(2 * time.Hour)) {
		t.Error("a certificate that has ended is taken")
	}
}

// Calls by https without any anchor all fail: that is told with the line of the first address, and refused
// where the rest is.
func TestMissingAnchorsAreADanger(t *testing.T) {
	l := harmless(t)
	l.mustReconfigure(t, func(c *Config) {
		c.Providers[0].URL, c.Providers[1].URL = "https://petropavl.example.kz/", "https://taraz.example.kz/"
	})
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	empty := func() (*x509.CertPool, error) { return x509.NewCertPool(), nil }
	some := func() (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		pool.AddCert(&x509.Certificate{Raw: []byte("root")})
		return pool, nil
	}
	tests := []struct {
		name    string
		machine func() (*x509.CertPool, error)
		own     *ClientTLS
		want    bool
	}{
		{"a machine without anchors", empty, nil, true},
		{"a machine with some", some, nil, false},
		{"anchors of the configuration", empty, &ClientTLS{CA: []string{"root.pem"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.Outgoing = tt.own
			x := &examination{c: c, machine: tt.machine}
			x.tree, _ = parser.ParseBytes(raw, 0)
			machineAnchors(x)
			if !tt.want {
				if len(x.found) > 0 {
					t.Errorf("%v", x.found)
				}
				return
			}
			if len(x.found) != 1 || x.found[0].setting != "providers[0].url" || !strings.Contains(x.found[0].text, "outgoing.ca") ||
				!strings.Contains(strings.Split(string(raw), "\n")[x.found[0].line-1], "petropavl.example.kz") {
				t.Fatalf("%v", x.found)
			}
			if refusals(x.found, false) != nil || refusals(x.found, true) == nil {
				t.Error("it is refused without --strict, or taken with it")
			}
		})
	}
}

// All faults are told at once, those of sense and those of danger.
func TestConfigCheckTellsAllFaultsAtOnce(t *testing.T) {
	l := harmless(t)
	l.mustReconfigure(t, func(c *Config) {
		c.BaseURL, c.Providers[0].URL, c.Limits.Body, c.Pipeline.Workers = "javascript:x", "ftp://x/", -5, -1
	})
	var out, errs bytes.Buffer
	if code := run([]string{"config", "check", l.config}, &out, &errs); code == 0 {
		t.Fatal("taken")
	}
	for _, want := range []string{"base_url", "providers[0].url", "limits.body", "pipeline.workers"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%s is not told of: %s", want, &errs)
		}
	}
}

// The gateway says at its start what is dangerous, counts it, and with --strict does not start; at a
// reload a setting that is refused changes nothing.
func TestServeTellsOfDangers(t *testing.T) {
	l, logs := newTestLab(t, monday, nil)
	if n := l.sample(t, "egov_gateway_config_warnings"); n < 3 ||
		!strings.Contains(logs.String(), `"msg":"a dangerous setting","setting":"trust[0].certificate","line":`) {
		t.Errorf("%v warnings", n)
	}
	before := l.sample(t, "egov_gateway_config_warnings")
	good, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	l.mustReconfigure(t, func(c *Config) { c.Portals[0].NotifyURL = "http://portal.example.kz/" })
	if _, err := l.svc.reloader.reload(); err != nil || l.sample(t, "egov_gateway_config_warnings") != before+1 {
		t.Errorf("after a reload: %v, %v", l.sample(t, "egov_gateway_config_warnings"), err)
	}
	l.mustReconfigure(t, func(c *Config) { c.Portals[0].NotifyURL = "ftp://portal.example.kz/" })
	if _, err := l.svc.reloader.reload(); err == nil || !strings.Contains(err.Error(), "portals[0].notify_url") {
		t.Errorf("an address that is none was taken over: %v", err)
	}
	if err := os.WriteFile(l.config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"serve", "--strict", "--config", l.config}, &out, &errs); code == 0 ||
		!strings.Contains(errs.String(), "trust[0].certificate") {
		t.Errorf("serve --strict: %d %s", code, &errs)
	}
}

// The program knows the authorities of the published TEST PKI by their fingerprints.
func TestThePublishedTestRootsAreKnown(t *testing.T) {
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, e := range pki.Entries() {
		if !strings.Contains(string(e.Role), "root") && !strings.Contains(string(e.Role), "-ca") {
			continue
		}
		known++
		x := &examination{c: &Config{dir: t.TempDir()}}
		if err := os.WriteFile(filepath.Join(x.c.dir, "ca.pem"), e.CertificatePEM, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := x.certificate("ca.pem").Fingerprint()
		if !slices.Contains(testRoots(), hex.EncodeToString(sum[:])) {
			t.Errorf("%s is not known", e.ID)
		}
	}
	if known != len(testRoots()) {
		t.Errorf("%d authorities, %d known", known, len(testRoots()))
	}
}

// The settings that hold addresses of the web are those that are looked at.
func TestEveryAddressIsLookedAt(t *testing.T) {
	var known []string
	for _, a := range webAddresses() {
		known = append(known, a.pattern)
	}
	for v := range settingsOf(reflect.TypeFor[Config](), "") {
		word := v[strings.LastIndexByte(v, '.')+1:]
		if (strings.HasSuffix(word, "url") || word == "ocsp" || word == "ocsp[]" || strings.HasSuffix(word, "crl") ||
			strings.HasPrefix(word, "origins") || word == "issuer" || word == "endpoint") &&
			!slices.Contains(known, v) && !slices.Contains(known, v+"[]") {
			t.Errorf("the setting %s looks like an address, and nothing says what it may be", v)
		}
	}
}
