// Package testworld fills a [statesim.Config] from the committed test PKI, for the simulator's
// own process, the demonstration and tests. TEST ONLY.
package testworld

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"egov-gateway/adapters/statesim"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/schemas"

	"github.com/goccy/go-yaml"
)

// A Provider says which entries of the PKI play a provider.
type Provider struct {
	ID     string // as in the passports
	Entry  string // "provider-sko" stands for provider-sko-head and provider-sko-executor
	Token  string // "" means [Token] of the id
	NameKK string // "" means the organisation of the head's certificate
	NameRU string
}

// Providers are all those of the passports; the PKI has one organisation for each region.
func Providers() ([]Provider, error) {
	entries := map[string]string{"north-kazakhstan": "provider-sko", "zhambyl": "provider-zhambyl", "national": "provider-zhambyl"}
	files, err := fs.Glob(schemas.FS, "passports/*.yaml")
	if err != nil {
		return nil, err
	}
	var out []Provider
	for _, file := range files {
		raw, err := fs.ReadFile(schemas.FS, file)
		if err != nil {
			return nil, err
		}
		var passport struct {
			Shard     string `yaml:"shard"`
			Providers []struct {
				ID   string `yaml:"id"`
				Name struct {
					KK string `yaml:"kk"`
					RU string `yaml:"ru"`
				} `yaml:"name"`
			} `yaml:"providers"`
		}
		if err := yaml.Unmarshal(raw, &passport); err != nil {
			return nil, fmt.Errorf("testworld: %s: %w", file, err)
		}
		entry, ok := entries[passport.Shard]
		if !ok {
			continue // the test PKI has keys for no provider of that region: nobody plays it
		}
		for _, p := range passport.Providers {
			out = append(out, Provider{ID: p.ID, Entry: entry, NameKK: p.Name.KK, NameRU: p.Name.RU})
		}
	}
	return out, nil
}

// Token is the default token of a provider, the gateway's to it and its to the gateway.
func Token(provider string) string { return "test-token-" + provider }

// Levels are the citizens for whom the registers hold something else than a small salary.
func Levels() map[string]statesim.Level {
	return map[string]statesim.Level{"citizen-05": statesim.Jobless, "citizen-06": statesim.High, "citizen-07": statesim.Mistaken, "citizen-08": statesim.Absent}
}

// Config returns a world with the PKI's two authorities of each kind of keys, its citizens and the given providers.
// Time, faults and pace are left for the caller to set.
func Config(pki *testpki.PKI, gatewayURL string, providers ...Provider) (statesim.Config, error) {
	c := statesim.Config{GatewayURL: gatewayURL}
	var missing error
	entry := func(id string) *testpki.Entry {
		e, err := pki.Entry(id)
		if err != nil {
			missing = err
			return &testpki.Entry{}
		}
		return e
	}
	identity := func(id string) statesim.Identity {
		e := entry(id)
		i := statesim.Identity{Certificate: e.DER, Signer: e.Signer}
		if e.Algorithm == testpki.GOST2015 {
			i.Algorithm, i.Digest = testpki.GOSTSignatureAlgorithm(), testpki.NewGOSTDigest
		}
		return i
	}
	c.GatewayCertificate = entry("system-gateway").DER
	c.Authorities = []statesim.Authority{
		{ID: "issuing", Issuer: identity("issuing"), Responder: identity("ocsp-responder")},
		{ID: "root", Issuer: identity("root"), Responder: identity("ocsp-responder-root")},
		{ID: "gost-issuing", Issuer: identity("gost-issuing"), Responder: identity("gost-ocsp-responder")},
		{ID: "gost-root", Issuer: identity("gost-root"), Responder: identity("gost-ocsp-responder-root")},
	}
	c.Foreign, c.Expired, c.Wrong = identity("provider-foreign-head"), identity("citizen-expired"), identity("citizen-01")
	for _, p := range providers {
		head := entry(p.Entry + "-head")
		sp := statesim.Provider{ID: p.ID, BIN: head.BIN, Token: p.Token, NameKK: p.NameKK, NameRU: p.NameRU,
			Head: identity(p.Entry + "-head"), Executor: identity(p.Entry + "-executor")}
		if sp.Token == "" {
			sp.Token = Token(p.ID)
		}
		if sp.NameKK == "" {
			sp.NameKK = head.Organisation
		}
		if sp.NameRU == "" {
			sp.NameRU = head.Organisation
		}
		c.Providers = append(c.Providers, sp)
	}
	levels := Levels()
	known := make(map[string]bool)
	for _, e := range pki.Entries() {
		if e.IIN != "" && !known[e.IIN] {
			known[e.IIN] = true
			c.Citizens = append(c.Citizens, statesim.Citizen{IIN: e.IIN, Surname: e.Surname, Name: e.Name, Patronymic: e.Patronymic, Level: levels[e.ID]})
		}
		if r, ok := revocation(e); ok {
			c.Revocations = append(c.Revocations, r)
		}
	}
	if missing != nil {
		return statesim.Config{}, fmt.Errorf("testworld: %w", missing)
	}
	return c, nil
}

// revocation is what the entry's authority knows of it; false for an entry that is good or of
// an authority that the world does not play.
func revocation(e *testpki.Entry) (statesim.Revocation, bool) {
	states := map[testpki.State]statesim.RevocationState{testpki.Revoked: statesim.Revoked, testpki.Hold: statesim.Hold,
		testpki.NeverIssued: statesim.NeverIssued, testpki.Unknown: statesim.Unknown}
	state, ok := states[e.Status.State]
	if played := strings.TrimPrefix(e.Issuer, "gost-"); !ok || played != "issuing" && played != "root" {
		return statesim.Revocation{}, false
	}
	at := e.Status.At
	if at.IsZero() {
		at = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return statesim.Revocation{Authority: e.Issuer, Serial: e.Serial, State: state, Reason: e.Status.Reason, At: at}, true
}
