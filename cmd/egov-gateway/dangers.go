package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/plainyaml"
	"egov-gateway/gateway/trust"
)

// A danger is a setting that can never be meant, and is refused, or one that is dangerous outside a
// laboratory, and is warned of.
type danger struct {
	file    string
	line    int // of the file, from 1; 0 when it is not known
	setting string
	weight  weight
	text    string // a sentence that says what to do
}

// A weight says whom a danger keeps from starting.
type weight int

const (
	// tolerated dangers come with time alone: a service that ran must start again, strict or not.
	tolerated weight = iota
	warned           // refused with --strict
	refused          // by everybody
)

func (d danger) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", d.file, d.line, d.setting, d.text)
}

// An examination looks for dangers.
type examination struct {
	c     *Config
	now   time.Time // by which certificates are judged
	wall  time.Time // by which browsers and portals judge those of the listeners
	found []danger
	// machine gives the anchors of this machine.
	machine func() (*x509.CertPool, error)
	tree    *ast.File // nil when the file is gone
}

// examine finds all dangers, in the order of the file.
func (c *Config) examine(now time.Time) []danger {
	x := &examination{c: c, now: now, wall: time.Now(), machine: x509.SystemCertPool}
	if source, err := os.ReadFile(c.file); err == nil {
		x.tree, _ = plainyaml.Parse(source) // it was parsed before
	}
	for _, rule := range rules() {
		rule(x)
	}
	slices.SortStableFunc(x.found, func(a, b danger) int { return a.line - b.line })
	return x.found
}

// refusals joins what is refused: what never can be meant, or with strict what is warned of too.
func refusals(all []danger, strict bool) error {
	var errs []error
	for _, d := range all {
		if d.weight == refused || d.weight == warned && strict {
			errs = append(errs, errors.New(d.String()))
		}
	}
	return errors.Join(errs...)
}

// warnings are those that are not refused.
func warnings(all []danger) []danger {
	return slices.DeleteFunc(slices.Clone(all), func(d danger) bool { return d.weight == refused })
}

func (x *examination) refuse(setting, format string, args ...any) {
	x.say(setting, refused, format, args)
}

func (x *examination) warn(setting, format string, args ...any) { x.say(setting, warned, format, args) }

func (x *examination) tolerate(setting, format string, args ...any) {
	x.say(setting, tolerated, format, args)
}

func (x *examination) say(setting string, w weight, format string, args []any) {
	x.found = append(x.found, danger{filepath.Base(x.c.file), x.line(setting), setting, w, fmt.Sprintf(format, args...)})
}

// line is where a setting stands; of one that was left out, where the settings above it do.
func (x *examination) line(setting string) int {
	for at := setting; x.tree != nil && at != ""; {
		if path, err := yaml.PathString("$." + at); err == nil {
			if node, err := path.FilterFile(x.tree); err == nil && node != nil {
				return firstLine(node)
			}
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	return 1
}

// firstLine is where a node begins, or for a block below a name its first entry.
func firstLine(node ast.Node) int {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return firstLine(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position.Line
	}
	return node.GetToken().Position.Line
}

// rules are all dangers that are known.
func rules() []func(*examination) {
	return []func(*examination){listeners, addresses, numbers, secretsAndModes, doubledSecrets, webCertificates, anchors, machineAnchors,
		clearJournal, calendarEnd, redisServers, laboratory}
}

// A value is a setting with its value.
type value struct {
	setting string
	v       reflect.Value
}

// pattern is the setting without the places in lists.
func (v value) pattern() string { return indices.ReplaceAllString(v.setting, "[]") }

var indices = regexp.MustCompile(`\[\d+\]`)

// values lists the settings below v that are no structures.
func values(v reflect.Value, at string) (all []value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return values(v.Elem(), at)
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, values(v.Index(i), fmt.Sprintf("%s[%d]", at, i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				all = append(all, values(v.Field(i), strings.TrimPrefix(at+"."+f.Tag.Get("yaml"), "."))...)
			}
		}
	case reflect.Map: // of texts, which are names
	default:
		return []value{{at, v}}
	}
	return all
}

// listeners are told from where they can be reached.
func listeners(x *examination) {
	c := x.c
	one := func(setting, address string, secure bool, what string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "" {
			x.refuse(setting, "%q is no address; write host:port", address)
			return
		}
		if !secure && !loopback(host) {
			x.warn(setting, "%s can be reached from other machines without TLS; %s", address, what)
		}
	}
	one("listen", c.Listen, c.TLS != nil, "set tls, or listen on 127.0.0.1 behind a proxy that has it")
	one("admin", c.Admin, false,
		"metrics, goroutines and a console without an address of its own are for the operator's network: use 127.0.0.1")
	if k := c.Console; k != nil && k.Listen != "" {
		one("console.listen", k.Listen, k.TLS != nil, "set console.tls, or listen on 127.0.0.1 behind a proxy that has it")
	}
}

// loopback reports whether only this machine reaches a host.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// An address is a setting that holds one of the web.
type address struct {
	pattern string
	// carries is what an eavesdropper would get; "" for what is public or signed.
	carries string
}

func webAddresses() []address {
	return []address{
		{"base_url", "portals' tokens and citizens' requests"},
		{"cabinet.portal_url", "where citizens sign in"},
		{"cabinet.origins[]", "citizens' tokens"},
		{"console.base_url", "operators' sessions"},
		{"console.oidc.issuer", "the client's secret and operators' tokens"},
		{"portals[].notify_url", "the portal's notice token and decisions about citizens"},
		{"providers[].url", "the provider's token and citizens' requests"},
		{"regions[].url", "citizens' requests"},
		{"shep.participants[].push_url", "the password and decisions about citizens"},
		{"sources.gbdfl.url", "the password and personal records"},
		{"sources.gbdrn.url", "the password and personal records"},
		{"sources.social_payments.url", "the password and personal records"},
		{"sources.income.url", "the password and personal records"},
		{"sources.alimony.url", "the password and personal records"},
		{"sources.employment.url", "the password and personal records"},
		{"revocation[].ocsp[]", ""}, // answers and lists are signed
		{"revocation[].crl[]", ""},
		{"revocation[].delta_crl[]", ""},
		{"tracing.endpoint", ""}, // no personal data
	}
}

// addresses are of the web, and what carries secrets is not in clear on a network.
func addresses(x *examination) {
	known := map[string]string{}
	for _, a := range webAddresses() {
		known[a.pattern] = a.carries
	}
	for _, v := range values(reflect.ValueOf(*x.c), "") {
		carries, ok := known[v.pattern()]
		if !ok || v.v.String() == "" {
			continue
		}
		u, err := url.Parse(v.v.String())
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			x.refuse(v.setting, "no address of the web; write https://host/…")
		case u.User != nil:
			x.refuse(v.setting, "a name or password stands in the address; take it out")
		case u.Scheme == "http" && carries != "" && !loopback(u.Hostname()):
			x.warn(v.setting, "%s would go over the network in clear; write https://", carries)
		}
	}
}

// numbers are nowhere below zero.
func numbers(x *examination) {
	for _, v := range values(reflect.ValueOf(*x.c), "") {
		if v.v.CanInt() && v.v.Int() < 0 || v.v.CanFloat() && v.v.Float() < 0 {
			x.refuse(v.setting, "%v is below zero; leave it out for the default", v.v.Interface())
		}
	}
}

// secretsAndModes look into the files with secrets, and at who else may read or change any file.
func secretsAndModes(x *examination) {
	mode := func(setting, file string, private bool) {
		info, err := os.Stat(file)
		if err != nil {
			return // told by who reads it
		}
		switch p := info.Mode().Perm(); {
		case p&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
			x.refuse(setting, "everybody on this machine may change %s (mode %04o); chmod o-w", filepath.Base(file), p)
		case private && p&0o004 != 0:
			x.warn(setting, "everybody on this machine may read %s (mode %04o); chmod 0600", filepath.Base(file), p)
		case p&0o020 != 0:
			x.warn(setting, "the group may change %s (mode %04o); chmod g-w", filepath.Base(file), p)
		}
	}
	mode("configuration", x.c.file, false)
	mode("configuration", filepath.Dir(x.c.file), false)
	for _, f := range x.c.namedFiles() {
		mode(f.setting, x.c.path(f.file), f.kind == secretFile || f.kind == keyFile)
		if f.kind != secretFile {
			continue
		}
		s, err := x.c.secretFile(f.setting, f.file)
		if err != nil {
			continue // told by who reads it
		}
		letters := map[rune]bool{}
		for _, r := range strings.TrimSpace(s) {
			letters[r] = true
		}
		switch {
		case len(letters) < 3:
			x.refuse(f.setting, "%s holds the same few characters over and over; make a new one: openssl rand -hex 32", f.file)
		case strings.TrimSpace(s) != s:
			x.warn(f.setting, "%s begins or ends with white space, which counts; take it out", f.file)
		case len(letters) < 6:
			x.warn(f.setting, "%s is easy to guess; make a new one: openssl rand -hex 32", f.file)
		}
	}
}

// A holder is who has a secret.
type holder struct{ setting, file, party string }

// doubledSecrets are those of two parties: either could pass for the other.
func doubledSecrets(x *examination) {
	var all []holder
	add := func(party, setting, file string) {
		if file != "" {
			all = append(all, holder{setting, file, party})
		}
	}
	c := x.c
	add("the index", "secret", c.Secret)
	add("Redis", "journal.password_file", c.Journal.PasswordFile)
	for i, p := range c.Portals {
		add(p.Name, fmt.Sprintf("portals[%d].token_file", i), p.TokenFile)
		add(p.Name, fmt.Sprintf("portals[%d].notify_token_file", i), p.NotifyTokenFile)
	}
	for i, p := range c.Providers {
		add(p.ID, fmt.Sprintf("providers[%d].token_file", i), p.TokenFile)
		add(p.ID, fmt.Sprintf("providers[%d].callback_token_file", i), p.CallbackTokenFile)
	}
	if c.SHEP != nil {
		for i, p := range c.SHEP.Participants {
			add(p.Name, fmt.Sprintf("shep.participants[%d].password_file", i), p.PasswordFile)
			add(p.Name, fmt.Sprintf("shep.participants[%d].push_password_file", i), p.PushPasswordFile)
		}
	}
	if c.Console != nil {
		for i, o := range c.Console.Operators {
			add("operator "+o.Name, fmt.Sprintf("console.operators[%d].test_token_file", i), o.TestTokenFile)
		}
		if c.Console.OIDC != nil {
			add("the identity provider", "console.oidc.client_secret_file", c.Console.OIDC.ClientSecretFile)
		}
	}
	for _, v := range values(reflect.ValueOf(c.Sources), "sources") { // all of them are behind one SHEP
		if strings.HasSuffix(v.setting, ".password_file") {
			add("SHEP", v.setting, v.v.String())
		}
	}
	first := map[[sha256.Size]byte]holder{}
	for _, h := range all {
		s, err := c.secretFile(h.setting, h.file)
		if err != nil {
			continue
		}
		sum := sha256.Sum256([]byte(s))
		other, known := first[sum]
		switch {
		case !known:
			first[sum] = h
		case other.party != h.party:
			x.refuse(h.setting, "%s and %s have the same secret (%s), so each can pass for the other; make one of its own", h.party, other.party,
				other.setting)
		case h.party != "SHEP":
			x.warn(h.setting, "%s has the same secret both ways (%s): who hears one passes for both; make one of its own", h.party, other.setting)
		}
	}
}

// webCertificates are those of the listeners.
func webCertificates(x *examination) {
	one := func(setting string, t *TLS) {
		if t == nil {
			return
		}
		raw, err := x.c.read(t.Certificate)
		if err != nil {
			return
		}
		block, _ := pem.Decode(raw)
		if block == nil {
			return
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return
		}
		if x.wall.After(cert.NotAfter) || x.wall.Before(cert.NotBefore) {
			x.refuse(setting+".certificate", "%s is valid from %s to %s only; nobody can connect: get a new one", t.Certificate,
				cert.NotBefore.UTC().Format(time.DateOnly), cert.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	one("tls", x.c.TLS)
	if x.c.Console != nil {
		one("console.tls", x.c.Console.TLS)
	}
	for _, f := range x.c.namedFiles() {
		if f.kind != publicFile && f.setting != "key" || strings.Contains(f.setting, "tls.") || strings.HasSuffix(f.setting, "cabinet_key") ||
			strings.HasSuffix(f.setting, "client_certificate") {
			continue
		}
		if cert := x.certificate(f.file); cert != nil && !cert.ValidAt(x.now) {
			x.warn(f.setting, "%s is valid from %s to %s only; replace it", f.file, cert.NotBefore.UTC().Format(time.DateOnly),
				cert.NotAfter.UTC().Format(time.DateOnly))
		}
	}
}

// certificate is the first one in a file of the configuration; nil for none.
func (x *examination) certificate(file string) *trust.Certificate {
	raw, err := x.c.read(file)
	if err != nil {
		return nil
	}
	if blocks := slices.Collect(certificateBlocks(raw)); len(blocks) > 0 {
		raw = blocks[0]
	}
	cert, err := trust.ParseCertificate(raw)
	if err != nil {
		return nil
	}
	return cert
}

func certificateBlocks(raw []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			var b *pem.Block
			if b, raw = pem.Decode(raw); b == nil || b.Type == "CERTIFICATE" && !yield(b.Bytes) {
				return
			}
		}
	}
}

// testRoots are the authorities of the published TEST PKI (certs-testdata), by the SHA-256 of their DER.
// Everybody has their private keys.
func testRoots() []string {
	return []string{
		"bf9f77c1250e8145bb570263674615550399310d4d5ecb514474d1bfc9c5e716", // root
		"8bb892d001735933204ab37bdb98fcf90bcbe0c6c17cc9884e636419dd993e34", // issuing
		"80e48c611bbc87c68ff7a4ef3e66e17b688b9883950ce4a2023a7c1f51f70437", // issuing-revoked
		"df63ac5fd630372905bc58780b7f7aa90b9f240022aad4dcf846a960edf8f2a6", // same-name-root
		"5ee93c321d655a3e21bc075e909ed4bd1a9ec8f9dca537c18c662ee2d45103e3", // same-name-issuing
		"7b678fc5a072acb66f049381d555705a20f487e70fbadd599775039b91d02bf7", // other-root
		"1e1e74b7853438658d6acbc4fc05e7b2ec2a094689684b848163045dba05e22c", // other-issuing
		"5d9eb71b713d0884623e52c4ba34e3fbda2e5c0d45454b83c297b9e99ebd669a", // gost-root
		"1a9fc4516b11ca1bd33b423f7cb35a3ec0c6dc9585d11bb0b4f93d1a443ae50c", // gost-issuing
		"15fddfa931ad7008f9146eaae18dd32a7579c12735025a2fca1e0ff572446ccf", // gost-other-root
		"e4ffe088003eb02743b2a2329126722c3484c8441fde3738a1347177527a2381", // gost-other-issuing
	}
}

// anchors must not be those whose keys everybody has.
func anchors(x *examination) {
	for i, a := range x.c.Trust {
		setting := fmt.Sprintf("trust[%d].certificate", i)
		if cert := x.certificate(a.Certificate); cert != nil {
			if sum := cert.Fingerprint(); slices.Contains(testRoots(), hex.EncodeToString(sum[:])) {
				x.warn(setting, "%s is a published TEST root: everybody can sign as any citizen; take it out of production", a.Certificate)
			}
		}
		if a.Test {
			x.warn(fmt.Sprintf("trust[%d].test", i), "check digits of IINs are not looked at under this root; take it out of production")
		}
	}
}

// machineAnchors are what calls by https stand on, but for those with anchors of their own.
func machineAnchors(x *examination) {
	needed := x.c.unanchored()
	if err := x.c.checkAnchors(x.machine); err != nil {
		x.warn(needed[0], "%v", err)
	}
}

// clearJournal lies where whoever gets the disk, or a copy of it, reads it.
func clearJournal(x *examination) {
	if x.c.DataKey == "" {
		x.warn("data_key", "documents, records and attached copies lie on the disk in clear; make a key: openssl rand -hex 32")
	}
}

// calendarEnd is told of and stops nobody: terms without data are computed by the law alone, and a service
// that is started again in January must not stay away because nobody has brought the new year's data.
func calendarEnd(x *examination) {
	contracts, err := schemasFrom(x.c.path(x.c.Schemas))
	if err != nil {
		return // told by who reads them
	}
	if calendar, err := passport.LoadCalendar(contracts); err == nil {
		if notice := calendar.Notice(x.now); notice != "" {
			x.tolerate("schemas", "%s", notice)
		}
	}
}

// redisServers hold the journal and the shared evidence.
func redisServers(x *examination) {
	one := func(setting, text string, password bool) {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" {
			x.refuse(setting, "no address of Redis; write redis://host:port/db or rediss://host:port/db")
			return
		}
		if loopback(u.Hostname()) {
			return
		}
		if u.Scheme == "redis" {
			x.warn(setting, "what is kept in Redis would go over the network in clear; write rediss://")
		}
		if _, in := u.User.Password(); !in && !password {
			x.warn(setting, "everybody who reaches Redis may read and change what is kept there; set a password")
		}
	}
	for i, a := range x.c.Journal.Redis {
		setting := fmt.Sprintf("journal.redis[%d]", i)
		if len(x.c.Journal.Redis) == 1 {
			setting = "journal.redis"
		}
		one(setting, a, x.c.Journal.PasswordFile != "")
	}
	if x.c.SharedEvidence != "" {
		one("shared_evidence", x.c.SharedEvidence, false)
	}
}

// laboratory are settings that only a laboratory means.
func laboratory(x *examination) {
	c := x.c
	if c.Console != nil {
		for i, o := range c.Console.Operators {
			if o.TestTokenFile != "" {
				x.warn(fmt.Sprintf("console.operators[%d].test_token_file", i),
					"a token in the place of a sign-in is for tests; use client_certificate or subject")
			}
		}
	}
	if c.Clock != nil && c.Clock.Replay {
		x.warn("clock.replay", "certificates are judged at another time, so revoked ones may be good; take it out of production")
	}
	if c.Cabinet.PortalURL == "" && len(c.Cabinet.Origins) == 0 &&
		slices.ContainsFunc(c.Portals, func(p Portal) bool { return p.CabinetKey != "" }) {
		x.warn("cabinet.portal_url", "no portal's page may sign citizens in; set it, or cabinet.origins")
	}
	if c.Journal.AcceptLoss {
		x.warn("journal.accept_loss", "acknowledged requests may be lost; make Redis durable instead")
	}
}

// examine refuses what can never be meant, and warns of what is dangerous.
func (b *builder) examine() error {
	found := b.c.examine(b.now())
	if err := refusals(found, b.c.strict); err != nil {
		return fmt.Errorf("configuration %s is refused:\n%w", b.c.file, err)
	}
	b.warnOf(found)
	return nil
}

// warnOf says what is dangerous.
func (b *builder) warnOf(found []danger) {
	all := warnings(found)
	for _, d := range all {
		b.log.Warn("a dangerous setting", "setting", d.setting, "line", d.line, "what", d.text)
	}
	b.warned.Store(int64(len(all)))
}
