package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/adapters/statesim"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/console"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/xmlsig"
)

// A lab is a gateway and the simulated world around it on loopback, both over real HTTP,
// under one clock that can be moved. TEST ONLY keys. The demonstration and the end-to-end
// tests use it.
type lab struct {
	system string // whose key the gateway has
	dir    string
	config string // the gateway's configuration file
	pki    *testpki.PKI
	clock  *hopClock
	skew   atomic.Int64 // of the world's clocks as they say in their answers, nanoseconds
	world  *statesim.World
	svc    *service

	base, admin, sim string // URLs
	console          string // URL of the operators' pages
	portal           string // address of the demonstration's portal, if it is served
	operator, viewer string // tokens of two operators: of all regions, and one who only looks at Zhambyl
	token, password  string // the portal's, at the REST door and at SHEP's channels
	portalKey        ed25519.PrivateKey
	tokenNow         func() time.Time // citizens' tokens; nil means clock. People do not sign in anew because days are skipped
	guessNow         func() time.Time // how long guesses wait; nil means the machine's clock
	log              *slog.Logger

	servers []*http.Server
	keysMu  sync.Mutex
	keys    map[string]*xmlsig.Key // guarded by keysMu
}

// hopClock runs at the pace of the real clock and can be moved ahead.
type hopClock struct {
	mu     sync.Mutex
	offset time.Duration // guarded by mu
}

func newHopClock(at time.Time) *hopClock { return &hopClock{offset: time.Until(at)} }

func (c *hopClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset).Round(0)
}

// HopTo moves the clock ahead to t; it never goes back.
func (c *hopClock) HopTo(t time.Time) {
	d := t.Sub(c.Now())
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// labProvider is a provider of the lab: id as in the passports, and its keys in the test PKI.
type labProvider struct{ id, head, executor string }

var labProviders = []labProvider{{"petropavl", "provider-sko-head", "provider-sko-executor"}, {"taraz", "provider-zhambyl-head", "provider-zhambyl-executor"},
	{"kordaj", "provider-foreign-head", "provider-foreign-executor"}}

// newLab starts the world, changed as the caller says, and writes the gateway's configuration into dir; startGateway
// starts the gateway itself.
func newLab(dir string, at time.Time, levels map[string]statesim.Level, log *slog.Logger, change ...func(*statesim.Config)) (*lab, error) {
	return newLabAs("system-gateway", dir, newHopClock(at), levels, log, change...)
}

// newLabAs is newLab for a gateway with another key of the test PKI, under a clock that labs may share.
func newLabAs(system, dir string, clock *hopClock, levels map[string]statesim.Level, log *slog.Logger, change ...func(*statesim.Config)) (*lab, error) {
	l, ln, tokens, err := prepareLab(system, dir, clock, log)
	if err != nil {
		return nil, err
	}
	wc := l.worldConfig(levels, tokens)
	for _, f := range change {
		f(&wc)
	}
	if l.world, err = statesim.New(wc); err != nil {
		return nil, err
	}
	// The world's clocks agree with the lab's, but for the skew.
	world := l.world.Handler()
	l.serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", l.clock.Now().Add(time.Duration(l.skew.Load())).UTC().Format(http.TimeFormat))
		world.ServeHTTP(w, r)
	}))
	return l, nil
}

// prepareLab is a lab whose world is still to be served on ln; tokens are the providers'.
func prepareLab(system, dir string, clock *hopClock, log *slog.Logger) (l *lab, ln net.Listener, tokens map[string]string, err error) {
	l = &lab{system: system, dir: dir, clock: clock, log: log, token: secret(), password: secret(), operator: secret(), viewer: secret(), keys: map[string]*xmlsig.Key{}}
	if l.pki, err = testpki.Load(); err != nil {
		return nil, nil, nil, err
	}
	if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, nil, nil, err
	}
	l.sim = "http://" + ln.Addr().String()
	var doors, admin, consoleAddress string
	for _, address := range []*string{&doors, &admin, &consoleAddress, &l.portal} {
		if *address, err = freeAddress(); err != nil {
			return nil, nil, nil, err
		}
	}
	l.base, l.admin, l.console = "http://"+doors, "http://"+admin, "http://"+consoleAddress+"/console/"
	tokens, err = l.writeConfig(doors, admin, consoleAddress)
	return l, ln, tokens, err
}

// freePorts are those that freeAddress takes: below the ones that the system gives to connections, or any
// call out could take an address before its listener has begun.
const freePortsFrom, freePorts = 10_000, 22_000

// nextPort is a place in them that differs from one process to the next.
var nextPort atomic.Uint32

// freeAddress is one at which nobody listens, and that it gives to nobody else.
func freeAddress() (address string, err error) {
	nextPort.CompareAndSwap(0, mathrand.Uint32N(freePorts)+1)
	for range 1000 {
		address = fmt.Sprintf("127.0.0.1:%d", freePortsFrom+nextPort.Add(1)%freePorts)
		var ln net.Listener
		if ln, err = net.Listen("tcp", address); err == nil {
			return address, ln.Close()
		}
	}
	return "", err
}

func secret() string {
	var b [32]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

func (l *lab) serve(ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	l.servers = append(l.servers, srv)
	go srv.Serve(ln) //nolint:errcheck // ends with Close
}

func (l *lab) identity(id string) statesim.Identity {
	e := l.pki.Must(id)
	i := statesim.Identity{Certificate: e.DER, Signer: e.Signer}
	if e.Algorithm == testpki.GOST2015 {
		i.Algorithm, i.Digest = testpki.GOSTSignatureAlgorithm(), testpki.NewGOSTDigest
	}
	return i
}

func (l *lab) worldConfig(levels map[string]statesim.Level, tokens map[string]string) statesim.Config {
	c := statesim.Config{
		GatewayURL: l.base, GatewayCertificate: l.pki.Must(l.system).DER, Now: l.clock.Now, Log: l.log,
		Authorities: []statesim.Authority{
			{ID: "issuing", Issuer: l.identity("issuing"), Responder: l.identity("ocsp-responder")},
			{ID: "root", Issuer: l.identity("root"), Responder: l.identity("ocsp-responder-root")},
			{ID: "gost-issuing", Issuer: l.identity("gost-issuing"), Responder: l.identity("gost-ocsp-responder")},
			{ID: "gost-root", Issuer: l.identity("gost-root"), Responder: l.identity("gost-ocsp-responder-root")},
		},
		Foreign: l.identity("provider-sko-head"), Expired: l.identity("citizen-expired"), Wrong: l.identity("citizen-08"),
	}
	for _, p := range labProviders {
		head := l.pki.Must(p.head)
		c.Providers = append(c.Providers, statesim.Provider{ID: p.id, NameKK: head.Organisation, NameRU: head.Organisation, BIN: head.BIN, Token: tokens[p.id],
			Head: l.identity(p.head), Executor: l.identity(p.executor)})
	}
	known := map[string]bool{} // the first of several certificates says who the person is
	for _, e := range l.pki.Entries() {
		if !known[e.IIN] && e.IIN != "" && e.BIN == "" && e.Surname != "" && (e.IIN[6] == '1' || e.IIN[6] == '2') {
			c.Citizens = append(c.Citizens, statesim.Citizen{IIN: e.IIN, Surname: e.Surname, Name: e.Name, Patronymic: e.Patronymic, Level: levels[e.ID]})
			known[e.IIN] = true
		}
		if r, ok := revocationOf(e); ok {
			c.Revocations = append(c.Revocations, r)
		}
	}
	return c
}

// writeConfig writes the gateway's configuration and secrets; it returns the providers' tokens.
func (l *lab) writeConfig(doors, admin, consoleAddress string) (map[string]string, error) {
	gw := l.pki.Must(l.system)
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	l.portalKey = key
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"gateway.pem": append(append([]byte{}, gw.KeyPEM...), gw.CertificatePEM...), "root.pem": l.pki.Must("root").CertificatePEM,
		"gost-root.pem": l.pki.Must("gost-root").CertificatePEM, "gost-issuing.pem": l.pki.Must("gost-issuing").CertificatePEM,
		"issuing.pem": l.pki.Must("issuing").CertificatePEM, "issuing-revoked.pem": l.pki.Must("issuing-revoked").CertificatePEM,
		"secret": []byte(secret()), "portal.token": []byte(l.token), "operator.token": []byte(l.operator), "viewer.token": []byte(l.viewer), "shep.password": []byte(l.password), "system-portal.crt": l.pki.Must("system-portal").CertificatePEM, "portal.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}),
	}
	source := func(system string) *Source {
		return &Source{URL: l.sim + "/shep/" + system, ServiceID: "TEST-" + system, SenderID: "egov-gateway", PublicKey: "TEST ONLY", Timeout: Duration(3 * time.Second)}
	}
	c := Config{
		Listen: doors, Admin: admin, BaseURL: l.base, Data: "data", Secret: "secret", Key: "gateway.pem",
		Trust: []Anchor{{Certificate: "root.pem"}, {Certificate: "gost-root.pem"}}, Intermediates: []string{"issuing.pem", "issuing-revoked.pem", "gost-issuing.pem"},
		Revocation: []Issuer{
			{Certificate: "issuing.pem", OCSP: []string{l.sim + "/ocsp"}, CRL: Addresses{l.sim + "/crl/issuing/base.crl"}, DeltaCRL: Addresses{l.sim + "/crl/issuing/delta.crl"}},
			{Certificate: "root.pem", OCSP: []string{l.sim + "/ocsp"}, CRL: Addresses{l.sim + "/crl/root/base.crl"}},
			{Certificate: "gost-issuing.pem", OCSP: []string{l.sim + "/ocsp"}, CRL: Addresses{l.sim + "/crl/gost-issuing/base.crl"}, DeltaCRL: Addresses{l.sim + "/crl/gost-issuing/delta.crl"}},
			{Certificate: "gost-root.pem", OCSP: []string{l.sim + "/ocsp"}, CRL: Addresses{l.sim + "/crl/gost-root/base.crl"}},
		},
		SHEP: &SHEP{SenderID: "egov-gateway", Participants: []Participant{
			{Name: "egov.kz", SenderID: "EGOV", PasswordFile: "shep.password", Services: labServices()},
			{Name: "bank.kz", SenderID: "BANK", Certificates: []string{"system-portal.crt"}, Services: labServices()},
		}},
		Console: &Console{Listen: consoleAddress, Operators: []Operator{{Name: "operator", Act: []string{console.Everywhere}, TestTokenFile: "operator.token"}, {Name: "viewer", View: []string{"zhambyl"}, TestTokenFile: "viewer.token"}}},
		Limits:  Limits{PerCitizenOff: true},
		Cabinet: CabinetConfig{PortalURL: "http://" + l.portal + "/"},
		Portals: []Portal{{Name: "egov.kz", TokenFile: "portal.token", CabinetKey: "portal.pem", NotifyURL: l.sim + "/portal/notices"}},
		Sources: Sources{Deadline: Duration(5 * time.Second), GBDFL: source("gbdfl"), GBDRN: source("gbdrn"), SocialPayments: source("socialpayments"), Income: source("income"), Alimony: source("alimony"), Employment: source("employment")},
	}
	tokens := map[string]string{}
	for _, p := range labProviders {
		tokens[p.id] = secret()
		files[p.id+".token"] = []byte(tokens[p.id])
		c.Providers = append(c.Providers, Provider{ID: p.id, URL: l.sim + "/providers/" + p.id, BIN: l.pki.Must(p.head).BIN, TokenFile: p.id + ".token", CallbackTokenFile: p.id + ".token", Timeout: Duration(5 * time.Second)})
	}
	if files["gateway.yaml"], err = yaml.Marshal(&c); err != nil {
		return nil, err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(l.dir, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	l.config = filepath.Join(l.dir, "gateway.yaml")
	return tokens, nil
}

// labServices are the lab's ids of SHEP's register with the service codes of the passports.
func labServices() map[string]string {
	return map[string]string{"EGOV-S-HOUSING": "housing-aid", "EGOV-S-COMPLAINT": "complaint"}
}

// reconfigure changes the configuration file before the gateway is started.
func (l *lab) reconfigure(change func(*Config)) error {
	c, err := LoadConfig(l.config)
	if err != nil {
		return err
	}
	change(c)
	raw, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(l.config, raw, 0o600)
}

// startGateway starts the gateway from its configuration file, under the lab's clock.
func (l *lab) startGateway() error {
	c, err := LoadConfig(l.config)
	if err != nil {
		return err
	}
	c.tokenNow, c.guessNow = l.tokenNow, l.guessNow
	l.svc, err = start(c, l.clock.Now, l.log, nil)
	return err
}

// Close ends the gateway and the world.
func (l *lab) Close() {
	if l.svc != nil {
		l.svc.Close()
	}
	for _, s := range l.servers {
		s.Close()
	}
}

// key returns an identity's signing key.
func (l *lab) key(id string) (*xmlsig.Key, error) {
	l.keysMu.Lock()
	defer l.keysMu.Unlock()
	if k, ok := l.keys[id]; ok {
		return k, nil
	}
	e, err := l.pki.Entry(id)
	if err != nil {
		return nil, err
	}
	k, err := xmlsig.NewKey(e.DER, e.Signer)
	if err == nil {
		l.keys[id] = k
	}
	return k, err
}

// Territories of the lab's providers.
const (
	petropavl = "591010000"
	taraz     = "311010000"
	kordaj    = "314820100"
)

// draft is a request of that citizen, made now.
func (l *lab) draft(citizen, territory string) harness.Draft {
	e := l.pki.Must(citizen)
	d := harness.Draft{CreatedAt: l.clock.Now(), Territory: territory, Applicant: harness.Person{IIN: e.IIN, Surname: e.Surname, GivenName: e.Name, Patronymic: e.Patronymic}}
	if territory == petropavl {
		d.Documents = harness.RequiredDocuments(citizen)
	}
	return d
}

// citizenToken is what the portal gives a citizen for the cabinet.
func (l *lab) citizenToken(iin string, life time.Duration) (string, error) {
	now := l.clock.Now()
	if l.tokenNow != nil {
		now = l.tokenNow()
	}
	return jwt.NewWithClaims(jwt.SigningMethodEdDSA, cabinet.Claims{IIN: iin, RegisteredClaims: jwt.RegisteredClaims{ID: secret(), Issuer: "egov.kz",
		Audience: jwt.ClaimStrings{cabinet.Audience}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life))}}).SignedString(l.portalKey)
}

// pass moves the clock from one piece of the provider's work to the next until done holds,
// and lets gateway and world do what has fallen due. hop, if set, is told of each move.
func (l *lab) pass(ctx context.Context, done func() bool, hop func(time.Time)) error {
	for {
		l.world.Work(ctx)
		// What the world reported is in the journal; give the engine a moment to take it in.
		for range 40 {
			if done() {
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("time passes, but what is awaited does not happen: %w", err)
		}
		next, ok := l.world.NextDue()
		if !ok {
			next = l.clock.Now().Add(time.Minute)
		}
		l.clock.HopTo(next.Add(time.Millisecond))
		if err := l.svc.checker.Refresh(ctx); err != nil {
			l.log.Warn("refresh", "error", err)
		}
		l.svc.engine.Kick()
		if hop != nil {
			hop(l.clock.Now())
		}
	}
}

// revocationOf is what the simulator's CA says of an entry that is not good.
func revocationOf(e *testpki.Entry) (statesim.Revocation, bool) {
	if e.Status.State == "" || e.Status.State == testpki.Good {
		return statesim.Revocation{}, false
	}
	return statesim.Revocation{Authority: e.Issuer, Serial: e.Serial, State: statesim.RevocationState(e.Status.State), Reason: e.Status.Reason, At: e.Status.At}, true
}
