// Package statesim is the world outside the gateway, as HTTP handlers. TEST ONLY.
//
// It plays six state information systems behind SHEP, an OCSP responder and CRL server, the
// providers of the service, and the portal's address for notices. It is written from the
// schemas and shares no code with the gateway or its adapters, so that a misunderstanding on one
// side cannot hide behind the same misunderstanding on the other. Everyone in it was born in
// the 1800s; faults are made on demand.
//
// Time is injected: what a provider does is due at instants of [Config].Now, so a test or a
// demonstration moves one clock in hops, asking [World.NextDue] and calling [World.Work].
package statesim

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// An Identity is a certificate (DER) and its key.
type Identity struct {
	Certificate []byte
	Signer      crypto.Signer
	// Algorithm is the AlgorithmIdentifier (DER) of the key's signatures, and Digest makes the hash
	// that Signer gets. Both nil mean SHA-256 with RSA; authorities may have others, providers not.
	Algorithm []byte
	Digest    func() hash.Hash
}

func (i Identity) isZero() bool { return len(i.Certificate) == 0 || i.Signer == nil }

// An Authority is a CA for which the world answers OCSP requests and publishes CRLs.
type Authority struct {
	ID        string   // names its CRLs: /crl/{id}/base.crl
	Issuer    Identity // the CA
	Responder Identity // delegated OCSP responder, issued by the CA
}

// A Provider is an organisation that provides the service.
type Provider struct {
	ID     string // as in paths
	NameKK string
	NameRU string
	BIN    string
	// Token is what the gateway shows to the provider, and the provider to the gateway.
	Token    string
	Head     Identity // signs results
	Executor Identity // signs steps; zero means Head
}

// A Citizen is one of the people that the registers know.
type Citizen struct {
	IIN        string // with a century digit of the 1800s
	Surname    string
	Name       string
	Patronymic string
	Level      Level // "" means Low; whom the configuration does not list is a Dependant
}

// A Level says what the registers hold about a citizen.
type Level string

const (
	Low     Level = "low"     // a small salary: aid is assigned
	High    Level = "high"    // a large salary: refused, income-above-threshold
	Jobless Level = "jobless" // registered unemployed, social aid only, no income record
	// Dependant: identity and address, and no record of property or of any income.
	Dependant Level = "dependant"
	Absent    Level = "absent"   // no register knows the person: refused, data-unreliable
	Mistaken  Level = "mistaken" // the identity register has another surname: refused, data-unreliable
)

// Config of a [World]. The zero value of everything but GatewayURL with Providers works.
type Config struct {
	// GatewayURL is where providers report: no path, no slash at the end.
	GatewayURL string
	// GatewayCertificate (DER) is who signs deliveries. Empty means that none is accepted.
	GatewayCertificate []byte
	Authorities        []Authority
	Providers          []Provider
	Citizens           []Citizen
	Revocations        []Revocation
	Faults             map[string][]Fault

	// Foreign signs results under the fault foreign-bin, Expired under expired-signer, Wrong
	// (a citizen's key, say) under wrong-signer.
	Foreign, Expired, Wrong Identity

	// Factor makes providers work that many times faster than the limits allow. 0 means 1.
	Factor float64
	// Share of its limit that a step takes, before Factor. 0 means 0.5.
	Share float64
	// Desks is how many requests the providers work on at once, all together. 0 means 8.
	Desks int
	// IncomeThreshold is the monthly income for each family member, in tenge, above which aid is
	// refused. 0 means 150,000.
	IncomeThreshold float64
	// CRLLife is nextUpdate minus thisUpdate. 0 means 24 hours.
	CRLLife time.Duration

	Seed   uint64           // of the faults' dice
	Client *http.Client     // of the providers; nil means one with a timeout of 10 s
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil discards
}

// A World is the simulated outside. It is safe for concurrent use.
type World struct {
	c           Config
	client      *http.Client
	authorities []*authority
	gateway     *x509.Certificate
	citizens    map[string]Citizen
	providers   map[string]*provider
	wake        chan struct{} // tells Run of new work
	working     sync.Mutex    // one Work at a time

	mu      sync.Mutex // guards all below
	dice    *rand.Rand
	faults  map[string][]*Fault
	calls   []Call
	seen    map[string]int // calls of every door
	jobs    []*job
	notices map[string]*Notice
}

// New checks c and makes a World.
func New(c Config) (*World, error) {
	def(&c.Factor, 1)
	def(&c.Share, 0.5)
	def(&c.Desks, 8)
	def(&c.IncomeThreshold, 150_000)
	def(&c.CRLLife, 24*time.Hour)
	if c.Factor < 0 || c.Share < 0 || c.Desks < 0 {
		return nil, errors.New("statesim: Factor, Share and Desks must be above 0")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &World{
		c: c, client: c.Client, wake: make(chan struct{}, 1),
		citizens: make(map[string]Citizen), providers: make(map[string]*provider),
		dice: rand.New(rand.NewPCG(c.Seed, 1)), faults: make(map[string][]*Fault), seen: make(map[string]int), notices: make(map[string]*Notice),
	}
	if w.client == nil {
		w.client = &http.Client{Timeout: 10 * time.Second}
	}
	for _, p := range c.Citizens {
		if !bornIn1800s(p.IIN) {
			return nil, errors.New("statesim: a citizen's IIN is not of the 1800s: it could belong to a living person")
		}
		w.citizens[p.IIN] = p
	}
	for _, p := range c.Providers {
		if p.ID == "" || p.Token == "" || p.Head.isZero() || strings.ContainsAny(p.ID, "/ ") {
			return nil, fmt.Errorf("statesim: provider %q needs ID, Token and Head", p.ID)
		}
		if c.GatewayURL == "" {
			return nil, errors.New("statesim: providers need Config.GatewayURL")
		}
		if p.Executor.isZero() {
			p.Executor = p.Head
		}
		w.providers[p.ID] = &provider{Provider: p, taken: make(map[string]*job)}
	}
	if len(c.GatewayCertificate) > 0 {
		cert, err := x509.ParseCertificate(c.GatewayCertificate)
		if err != nil {
			return nil, fmt.Errorf("statesim: GatewayCertificate: %w", err)
		}
		w.gateway = cert
	}
	for _, a := range c.Authorities {
		parsed, err := newAuthority(a)
		if err != nil {
			return nil, fmt.Errorf("statesim: authority %q: %w", a.ID, err)
		}
		w.authorities = append(w.authorities, parsed)
	}
	if err := w.Revoke(c.Revocations...); err != nil {
		return nil, err
	}
	for _, a := range w.authorities {
		if err := a.publish(c.Now(), c.CRLLife); err != nil {
			return nil, fmt.Errorf("statesim: authority %q: %w", a.ID, err)
		}
	}
	for target, f := range c.Faults {
		if err := w.SetFaults(target, f...); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Handler returns all doors:
//
//	POST /shep/{system}                              a state system's SyncChannel
//	POST /ocsp                                       OCSP for all authorities
//	GET  /crl/base.crl, /crl/delta.crl               of the first authority
//	GET  /crl/{authority}/base.crl, …/delta.crl      of any
//	PUT  /providers/{provider}/requests/{requestID}  a delivery
//	POST /portal/notices                             a notice for the portal
//	GET  /sim/state; GET, POST, DELETE /sim/faults; POST /sim/revocations   control, loopback only
func (w *World) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /shep/{system}", w.serveSHEP)
	mux.HandleFunc("POST /ocsp", w.serveOCSP)
	mux.HandleFunc("GET /crl/{file}", w.serveCRL)
	mux.HandleFunc("GET /crl/{authority}/{file}", w.serveCRL)
	mux.HandleFunc("PUT /providers/{provider}/requests/{request}", w.serveDelivery)
	mux.HandleFunc("POST /portal/notices", w.serveNotice)
	control := http.NewServeMux()
	control.HandleFunc("GET /sim/state", w.serveState)
	control.HandleFunc("GET /sim/faults", w.serveFaults)
	control.HandleFunc("POST /sim/faults", w.serveSetFaults)
	control.HandleFunc("DELETE /sim/faults", w.serveClearFaults)
	control.HandleFunc("POST /sim/revocations", w.serveRevocations)
	mux.Handle("/sim/", loopbackOnly(control))
	return mux
}

// Run does the work as it falls due, until ctx ends. It looks at the clock at least five times a
// second, because an injected clock may hop.
func (w *World) Run(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		w.Work(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-w.wake:
		}
	}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
