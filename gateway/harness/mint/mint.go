// Package mint makes signed documents of the test PKI, good ones and every kind of bad one, with
// what must be said of each: the entries of corpora. TEST ONLY.
//
// What is made depends on the seed alone; the bytes of GOST signatures do not, for they hold
// randomness. Nothing in it is written from the verifier's code: expectations come from the
// tables here, and a test compares them with the verifier's.
package mint

import (
	"errors"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
)

// Config of a Generator.
type Config struct {
	PKI   *testpki.PKI // required
	Clock time.Time    // required; see the corpus' header
	Seed  uint64
	// Citizens is how many people the requests come from: those of the PKI, and further ones made
	// here. 0 means those of the PKI.
	Citizens int
}

// A Generator makes entries. It is safe for concurrent use once it is made.
type Generator struct {
	c      Config
	pki    *testpki.PKI
	office *office
	maker  *testpki.Entry // the citizen whose certificates are made in all variations
	leaves []issue
	belows []issue
	people []person
}

// New checks the configuration and issues the certificates that are special.
func New(c Config) (*Generator, error) {
	if c.PKI == nil || c.Clock.IsZero() {
		return nil, errors.New("mint: Config needs PKI and Clock")
	}
	g := &Generator{c: c, pki: c.PKI, office: newOffice(c.PKI, c.Clock, c.Seed), maker: c.PKI.Must("citizen-06")}
	g.leaves, g.belows = g.office.leaves(g.maker), g.office.below(g.maker)
	return g, g.populate()
}

// Untrusted are the certificates, DER, of CAs that were made for the trials.
func (g *Generator) Untrusted() [][]byte {
	var all [][]byte
	for _, x := range g.belows {
		all = append(all, x.ca)
	}
	return all
}

// An attack turns a validly signed document into another one.
type attack struct {
	name string
	make func(s seed) string
	want gateway.Reason // "" for a change that is none
}
