package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/plainyaml"
)

// Config is the one configuration file of `serve`. Paths are relative to the file. Secrets
// stand in files of their own, never in this one.
type Config struct {
	// Listen is the address of the portal's, providers' and citizens' doors.
	Listen string `yaml:"listen"`
	// Admin is the address of metrics and health; keep it inside the operator's network.
	Admin string `yaml:"admin"`
	// BaseURL is how portals reach Listen; status URLs in receipts start with it.
	BaseURL string `yaml:"base_url"`
	// Balancers are networks like 10.0.0.0/24 whose word about a client's address counts (Forwarded,
	// X-Forwarded-For); none means that every caller is the client.
	Balancers Networks `yaml:"balancers"`
	// ProxyProtocol says that the balancers pass connections to Listen on as they are, each with a header of
	// the PROXY protocol (version 1 or 2) before it; then no other word of theirs counts.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	// Data is the directory of the journal; one process at a time.
	Data string `yaml:"data"`
	// Journal moves the journal into Redis, for several gateways.
	Journal JournalConfig `yaml:"journal"`
	// Attachments is the directory of the attached documents; "" means attachments inside Data.
	Attachments string `yaml:"attachments"`
	// Schemas is a folder whose passports, calendar, texts and form schemas take the place of
	// those inside the program; "" means those.
	Schemas string `yaml:"schemas" file:"folder"`
	// Shards that this instance works; empty means all that have a passport.
	Shards []string `yaml:"shards"`
	// Secret is a file with at least 32 bytes that key the journal's index of citizens. Losing
	// it empties every cabinet.
	Secret string `yaml:"secret" file:"secret"`
	// DataKey is a file with 64 hex digits or 32 bytes, or credential:NAME for one of systemd's: what is
	// kept is sealed under it. Losing it loses everything kept; "" keeps it in clear.
	DataKey string `yaml:"data_key" file:"key"`
	// DataKeyOld is the one before, while `journal rekey` has not ended.
	DataKeyOld string `yaml:"data_key_old" file:"key"`
	// Key is a PEM file: the gateway's private key and certificate (an information system's).
	Key   string   `yaml:"key" file:"key"`
	TLS   *TLS     `yaml:"tls"`
	Trust []Anchor `yaml:"trust"`
	// Intermediates are certificates of issuing CAs (PEM or DER files).
	Intermediates []string `yaml:"intermediates" file:"public"`
	Revocation    []Issuer `yaml:"revocation"`
	// ListsEvery is how often the revocation lists of all issuers are fetched.
	ListsEvery Pace `yaml:"lists_every"`
	// SharedEvidence is redis://host:port/db, where the gateways of a shard share signed answers and
	// lists; "" means that each asks for itself. Nothing there is trusted.
	SharedEvidence string     `yaml:"shared_evidence"`
	Portals        []Portal   `yaml:"portals"`
	Providers      []Provider `yaml:"providers"`
	Regions        []Region   `yaml:"regions"`
	SHEP           *SHEP      `yaml:"shep"`
	Sources        Sources    `yaml:"sources"`
	// Outgoing is how systems are called by https, but for those that have settings of their own.
	Outgoing    *ClientTLS    `yaml:"outgoing"`
	Pipeline    Pipeline      `yaml:"pipeline"`
	Cabinet     CabinetConfig `yaml:"cabinet"`
	Credentials Credentials   `yaml:"credentials"`
	Console     *Console      `yaml:"console"`
	Limits      Limits        `yaml:"limits"`
	Audit       Audit         `yaml:"audit"`
	Synthetic   *Synthetic    `yaml:"synthetic"`
	Tracing     *Tracing      `yaml:"tracing"`
	// Clock shifts the clock for replays; absent in production.
	Clock *ClockConfig `yaml:"clock"`
	Log   string       `yaml:"log"` // debug, info, warn, error; "" means info

	dir, file string
	seen      *digests
	strict    bool // warnings refuse
	// tokenNow judges the age of citizens' tokens where the gateway's own clock is moved by hand:
	// in demonstrations. nil means the gateway's.
	tokenNow func() time.Time
	// guessNow measures how long guesses wait, in tests; nil means time.Now.
	guessNow func() time.Time
	level    *slog.LevelVar // of the log; nil when somebody else's
	// taken is told of every submission, while the gateway records.
	taken func(intake.Submission, error)
}

// TLS of the doors.
type TLS struct {
	Certificate string `yaml:"certificate" file:"public"`
	Key         string `yaml:"key" file:"key"`
	// ClientCA lets portals show a client certificate issued by it.
	ClientCA string `yaml:"client_ca" file:"public"`
}

// Anchor is a trusted root.
type Anchor struct {
	Certificate string `yaml:"certificate" file:"public"`
	// Test relaxes the check digit of IINs for certificates under this root. Never in production.
	Test bool `yaml:"test"`
}

// Issuer is a CA and where its revocation evidence is found.
type Issuer struct {
	Certificate string `yaml:"certificate" file:"public"`
	// OCSP, CRL and DeltaCRL are one address or several of the same, the first choice first.
	OCSP     Addresses `yaml:"ocsp"`
	CRL      Addresses `yaml:"crl"`
	DeltaCRL Addresses `yaml:"delta_crl"`
	// CRLMaxAge is how old the newest list may be, like 26h; measure the CA's real pace first.
	CRLMaxAge Duration `yaml:"crl_max_age"`
	// DeltaMaxAge is how old the newest delta may be while it makes an older full list fresh; OCSPMaxAge how
	// long an answer counts after its thisUpdate.
	DeltaMaxAge Duration `yaml:"delta_max_age"`
	OCSPMaxAge  Duration `yaml:"ocsp_max_age"`
	// Responders are certificates of responders that are trusted although the CA did not certify them for that.
	Responders   []string `yaml:"responders" file:"public"`
	RequireNonce bool     `yaml:"require_nonce"`
	// AllowGOST2004 takes answers of responders with keys of GOST 34.310-2004.
	AllowGOST2004 bool `yaml:"allow_gost_2004"`
}

// Pace is how often revocation lists are fetched, sooner when one ends sooner.
type Pace struct {
	Full  Duration `yaml:"full"`  // 0 means 1h
	Delta Duration `yaml:"delta"` // 0 means 10m
}

// Portal is a client of the REST door. Token or ClientCertificate is needed.
type Portal struct {
	Name              string `yaml:"name"`
	TokenFile         string `yaml:"token_file" file:"secret"`
	ClientCertificate string `yaml:"client_certificate" file:"public"`
	// CabinetKey is a PEM file with the Ed25519 public key by which the portal signs citizens' tokens.
	CabinetKey      string `yaml:"cabinet_key" file:"public"`
	NotifyURL       string `yaml:"notify_url"`
	NotifyTokenFile string `yaml:"notify_token_file" file:"secret"`
	// Concurrent bounds the portal's requests that are read or worked on at once, beyond which it is
	// answered 429; 0 leaves it its share of half the room, and the other half with all.
	Concurrent int `yaml:"concurrent"`
	// Addresses are the networks it calls from: connections from there have a part that no stranger
	// takes, and its own token is looked at whoever guesses from there. They prove nothing.
	Addresses Networks `yaml:"addresses"`
}

// Provider is the way to a provider named in a passport.
type Provider struct {
	ID  string `yaml:"id"`
	URL string `yaml:"url"`
	BIN string `yaml:"bin"`
	// TokenFile holds the token by which the provider knows the gateway.
	TokenFile string `yaml:"token_file" file:"secret"`
	// CallbackTokenFile holds the token by which the gateway knows the provider.
	CallbackTokenFile string `yaml:"callback_token_file" file:"secret"`
	// Region is the shard whose gateway reaches the provider; then only ID and BIN are needed, and
	// Retry if the defaults do not do.
	Region  string   `yaml:"region"`
	Timeout Duration `yaml:"timeout"`
	Retry   Retry    `yaml:"retry"`
	// TLS takes the place of outgoing for this provider.
	TLS *ClientTLS `yaml:"tls"`
}

// Retry is how long the gateway tries by itself before it asks an operator.
type Retry struct {
	// Attempts of one step before the request is parked. 0 means 500.
	Attempts int `yaml:"attempts"`
	// Longest rest between two of them. 0 means 15m.
	Longest Duration `yaml:"longest"`
}

// Sources are the state information systems.
type Sources struct {
	Deadline       Duration `yaml:"deadline"` // for all records together; 0 means 10s
	GBDFL          *Source  `yaml:"gbdfl"`
	GBDRN          *Source  `yaml:"gbdrn"`
	SocialPayments *Source  `yaml:"social_payments"`
	Income         *Source  `yaml:"income"`
	Alimony        *Source  `yaml:"alimony"`
	Employment     *Source  `yaml:"employment"`
}

// Source is one state information system behind SHEP.
type Source struct {
	URL          string `yaml:"url"`
	ServiceID    string `yaml:"service_id"`
	SenderID     string `yaml:"sender_id"`
	PasswordFile string `yaml:"password_file" file:"secret"`
	RouteID      string `yaml:"route_id"`
	PublicKey    string `yaml:"public_key"` // gbdfl only
	// Certificates are pinned: questions are signed with the gateway's key, and one of these must
	// have signed the answer. Empty: neither is signed.
	Certificates []string `yaml:"certificates" file:"public"`
	Timeout      Duration `yaml:"timeout"`
	// TLS takes the place of outgoing for this system.
	TLS *ClientTLS `yaml:"tls"`
}

// Pipeline bounds the work on accepted requests.
type Pipeline struct {
	// Workers is how many requests are worked on at once. 0 means 16.
	Workers int `yaml:"workers"`
	// Lease is how long a request belongs to a worker, and so how long the work of an instance that
	// hangs waits for another; no step may take longer. 0 means 1m.
	Lease Duration `yaml:"lease"`
}

// CabinetConfig is that of the citizens' pages.
type CabinetConfig struct {
	// PortalURL is where citizens sign in.
	PortalURL string `yaml:"portal_url"`
	// Origins are further sites, like https://portal.example.kz, whose pages may sign citizens in and out.
	Origins []string `yaml:"origins"`
}

// Credentials are the secrets and certificates by which others are known here.
type Credentials struct {
	// Overlap is how long one that was replaced is still good beside the new one. 0 means not at all. One
	// that was taken out, and an operator's, is dead at once in any case.
	Overlap Duration `yaml:"overlap"`
}

// Limits of the REST door, in bytes but for Concurrent.
type Limits struct {
	Document int   `yaml:"document"`
	Body     int64 `yaml:"body"`
	// InFlight bounds all bodies being read or worked on together, counted as they come.
	InFlight int64 `yaml:"in_flight"`
	// Concurrent bounds the requests worked on at once; beyond, 503 within milliseconds.
	Concurrent int `yaml:"concurrent"`
	// Connections bounds those at Listen; 0 means half of the file limit, at most 4096.
	// ConnectionsPerAddress bounds those of one address, or of one /64 of IPv6; 0 means a quarter of them.
	// A quarter of all is kept for the addresses of portals, participants and regions.
	Connections           int `yaml:"connections"`
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// PerCitizenOff lifts the passports' per_citizen. TEST ONLY: for measurements, where one citizen
	// stands for all.
	PerCitizenOff bool `yaml:"per_citizen_off"`
	// Quarantine bounds the bytes of one provider's refused documents that are kept within a day; of
	// further ones only the digest is. 0 means 16 MiB.
	Quarantine int64 `yaml:"quarantine"`
	// DiskFree is the room on the journal's disk, in bytes, below which nothing more is accepted.
	DiskFree uint64 `yaml:"disk_free"`
}

// Audit says how long is kept what leaves no request behind.
type Audit struct {
	// Refusals of known portals at the doors. 0 means 2160h (90 days).
	Refusals Duration `yaml:"refusals"`
	// Actions of operators, looks included. 0 means 43800h (5 years).
	Actions Duration `yaml:"actions"`
}

// Duration is written like 10s.
type Duration time.Duration

// UnmarshalYAML reads what time.ParseDuration reads. The error has the line.
func (d *Duration) UnmarshalYAML(n ast.Node) error {
	if n.Type() == ast.NullType {
		return nil
	}
	v, err := time.ParseDuration(n.GetToken().Value)
	if err != nil || v < 0 {
		return &yaml.SyntaxError{Message: fmt.Sprintf("%q is no duration like 90s, 10m or 24h, of zero or more", n.GetToken().Value),
			Token: n.GetToken()}
	}
	*d = Duration(v)
	return nil
}

// Networks are addresses that belong together, each written like 10.0.0.0/24.
type Networks []netip.Prefix

// UnmarshalYAML reads a list. The error has the line; a network of all addresses would be everybody.
func (all *Networks) UnmarshalYAML(n ast.Node) error {
	*all = nil
	if n.Type() == ast.NullType {
		return nil
	}
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return &yaml.SyntaxError{Message: "a list of networks is expected, like [10.0.0.0/24]", Token: n.GetToken()}
	}
	for _, v := range list.Values {
		written := v.GetToken().Value
		p, err := netip.ParsePrefix(written)
		if err != nil || p.Bits() == 0 {
			return &yaml.SyntaxError{Message: fmt.Sprintf("%s is no network like 10.0.0.0/24; write a single address as 10.0.0.5/32", written),
				Token: v.GetToken()}
		}
		*all = append(*all, p)
	}
	return nil
}

// LoadConfig reads a configuration file. Unknown fields are refused with their line.
func LoadConfig(file string) (*Config, error) {
	c, err := parseConfig(file)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", file, c.located(err))
	}
	return c, nil
}

// located puts before each line of an error that begins with a setting where the setting stands.
func (c *Config) located(err error) error {
	if err == nil {
		return nil
	}
	x := &examination{c: c}
	if source, err := os.ReadFile(c.file); err == nil {
		x.tree, _ = plainyaml.Parse(source) // it was parsed before
	}
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		if m := faultOfSetting.FindStringSubmatch(l); m != nil && isSetting(m[1]) {
			lines[i] = fmt.Sprintf("%s:%d: %s", filepath.Base(c.file), x.line(m[1]), l)
		}
	}
	return &locatedError{strings.Join(lines, "\n"), err}
}

// faultOfSetting finds the setting that a fault begins with.
var faultOfSetting = regexp.MustCompile(`^(([a-z_]+)(?:\[\d+\]|\.[a-z0-9_]+)*)(?:: | is missing)`)

// isSetting reports whether a name like portals[0].token_file begins with a field of the configuration.
func isSetting(name string) bool {
	first, _, _ := strings.Cut(strings.ReplaceAll(name, "[", "."), ".")
	for f := range reflect.TypeFor[Config]().Fields() {
		if f.IsExported() && f.Tag.Get("yaml") == first {
			return true
		}
	}
	return false
}

// A locatedError is another one, with lines.
type locatedError struct {
	text string
	err  error
}

func (e *locatedError) Error() string { return e.text }
func (e *locatedError) Unwrap() error { return e.err }

// parseConfig reads a configuration file whose settings may make no sense together.
func parseConfig(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c := &Config{dir: filepath.Dir(file), file: file, seen: new(digests)}
	if err := plainyaml.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", file, err)
	}
	return c, nil
}

func (c *Config) check() error {
	var errs []error
	need := func(name, v string) {
		if v == "" {
			errs = append(errs, fmt.Errorf("%s is missing", name))
		}
	}
	need("listen", c.Listen)
	need("admin", c.Admin)
	need("base_url", c.BaseURL)
	need("data", c.Data)
	need("secret", c.Secret)
	need("key", c.Key)
	for i, p := range c.Balancers {
		if p.Bits() <= 0 {
			errs = append(errs, fmt.Errorf("balancers[%d]: %s is no network like 10.0.0.0/24", i, p))
		}
	}
	if c.ProxyProtocol && len(c.Balancers) == 0 {
		errs = append(errs, errors.New("proxy_protocol: balancers must name who sends its header"))
	}
	if c.Console != nil && c.Console.ProxyProtocol && (len(c.Balancers) == 0 || c.Console.Listen == "") {
		errs = append(errs, errors.New("console.proxy_protocol: console.listen, and balancers that send its header, are needed"))
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.Log)); c.Log != "" && err != nil {
		errs = append(errs, fmt.Errorf("log: %q is not debug, info, warn or error", c.Log))
	}
	if _, err := c.Clock.instant(); err != nil {
		errs = append(errs, err)
	}
	if err := c.Journal.check(); err != nil {
		errs = append(errs, err)
	}
	if len(c.Journal.Redis) > 0 && c.Attachments == "" {
		errs = append(errs, errors.New("attachments: with the journal in Redis a directory that all its gateways share is needed"))
	}
	if err := c.checkDataKeys(); err != nil {
		errs = append(errs, err)
	}
	if len(c.Trust) == 0 {
		errs = append(errs, errors.New("trust: at least one anchor is needed"))
	}
	if len(c.Revocation) == 0 {
		errs = append(errs, errors.New("revocation: at least one issuer is needed; nothing is accepted without proof"))
	}
	for i, r := range c.Revocation {
		if r.Certificate == "" || len(r.OCSP) == 0 && len(r.CRL) == 0 {
			errs = append(errs, fmt.Errorf("revocation[%d]: certificate, and ocsp or crl, are needed", i))
		}
	}
	if len(c.Portals) == 0 && (c.SHEP == nil || len(c.SHEP.Participants) == 0) {
		errs = append(errs, errors.New("portals: at least one is needed, here or in shep.participants"))
	}
	errs = append(errs, c.SHEP.check()...)
	errs = append(errs, c.checkRegions()...)
	errs = append(errs, c.checkSynthetic()...)
	if err := c.Tracing.check(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, c.Console.check()...)
	for i, p := range c.Portals {
		need(fmt.Sprintf("portals[%d].name", i), p.Name)
		if p.TokenFile == "" && p.ClientCertificate == "" {
			errs = append(errs, fmt.Errorf("portals[%d]: token_file or client_certificate is needed", i))
		}
		if p.ClientCertificate != "" && (c.TLS == nil || c.TLS.ClientCA == "") {
			errs = append(errs, fmt.Errorf("portals[%d]: client_certificate needs tls.client_ca", i))
		}
	}
	if c.Pipeline.Workers < 0 {
		errs = append(errs, errors.New("pipeline.workers: a number above zero is expected"))
	}
	if c.Limits.Connections < 0 || c.Limits.ConnectionsPerAddress < 0 || c.Limits.Quarantine < 0 {
		errs = append(errs, errors.New("limits: connections, connections_per_address and quarantine must not be below 0"))
	}
	if l := time.Duration(c.Pipeline.Lease); l != 0 && l < time.Second {
		errs = append(errs, errors.New("pipeline.lease: at least 1s is needed"))
	}
	for i, p := range c.Portals {
		if slices.ContainsFunc(c.Portals[:i], func(q Portal) bool { return q.Name == p.Name }) {
			errs = append(errs, fmt.Errorf("portals[%d].name: %s stands twice", i, p.Name))
		}
	}
	for i, p := range c.Providers {
		if slices.ContainsFunc(c.Providers[:i], func(q Provider) bool { return q.ID == p.ID }) {
			errs = append(errs, fmt.Errorf("providers[%d].id: %s stands twice", i, p.ID))
		}
		if p.Region != "" {
			need(fmt.Sprintf("providers[%d].id", i), p.ID)
			need(fmt.Sprintf("providers[%d].bin", i), p.BIN)
			continue
		}
		for name, v := range map[string]string{"id": p.ID, "url": p.URL, "bin": p.BIN, "token_file": p.TokenFile, "callback_token_file": p.CallbackTokenFile} {
			need(fmt.Sprintf("providers[%d].%s", i, name), v)
		}
	}
	return errors.Join(errs...)
}

// attachments is where the attached documents of the journal in data lie by default.
func attachments(data string) string { return filepath.Join(data, "attachments") }

func (c *Config) attachmentsDir() string {
	if c.Attachments != "" {
		return c.path(c.Attachments)
	}
	return attachments(c.path(c.Data))
}

func (c *Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// secretFile reads a secret without the line end that editors leave.
func (c *Config) secretFile(name, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := c.read(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if len(s) < 16 {
		return "", fmt.Errorf("%s: %s holds fewer than 16 characters", name, file)
	}
	return s, nil
}

func (c *Config) tokenHash(name, file string) ([32]byte, error) {
	s, err := c.secretFile(name, file)
	if err != nil || s == "" {
		return [32]byte{}, err
	}
	return sha256.Sum256([]byte(s)), nil
}

func (c *Config) ed25519Key(file string) (ed25519.PublicKey, error) {
	b, err := c.read(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", file)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	pub, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 public key", file)
	}
	return pub, nil
}

func (c *Config) indexSecret() ([]byte, error) {
	s, err := c.secretFile("secret", c.Secret)
	if err != nil {
		return nil, err
	}
	b := []byte(s)
	if h, err := hex.DecodeString(s); err == nil {
		b = h
	}
	if len(b) < 32 {
		return nil, errors.New("secret: at least 32 bytes are needed (64 hex digits)")
	}
	return b, nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (d Duration) MarshalYAML() ([]byte, error) { return []byte(time.Duration(d).String()), nil }
