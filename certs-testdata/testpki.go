// Package testpki is the committed test PKI: certificates and private keys in the shape of
// those that the National Certification Authority issues, for tests, the simulator and the
// demonstration. Every subject says TEST ONLY, no IIN in it can belong to a living person
// (all are born 18xx), no BIN in it was ever issued (the sixth digit is 9), and every URL in
// it is on a host that cannot exist.
//
// manifest.json says of each entry what it is for and what a verifier must say of it;
// README.md is the same list for people. Nothing here may become a production anchor.
package testpki

import (
	"crypto"
	"crypto/x509"
	"embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"time"

	"egov-gateway/gateway"
)

// FS holds the committed files.
//
//go:embed README.md manifest.json rsa gost
var FS embed.FS

// A Role says what an entry is in the PKI.
type Role string

const (
	RoleRoot         Role = "root"
	RoleIssuing      Role = "issuing-ca"
	RoleCitizen      Role = "citizen"
	RoleEmployee     Role = "employee"
	RoleHead         Role = "head"
	RoleProviderHead Role = "provider-head"
	RoleExecutor     Role = "provider-executor"
	RoleSystem       Role = "information-system"
	RoleOCSP         Role = "ocsp"
)

// An Algorithm is a kind of key.
type Algorithm string

const (
	RSA      Algorithm = "RSA"
	GOST2015 Algorithm = "GOST2015-512"
)

// A State is what the CA says of a certificate, for whoever plays its OCSP responder and CRL.
type State string

const (
	Good        State = "good"
	Revoked     State = "revoked"
	Hold        State = "hold"         // certificateHold
	NeverIssued State = "never-issued" // extended-revoke: revoked 1970-01-01, certificateHold
	Unknown     State = "unknown"      // OCSP only; no CRL lists it
)

// A Status is a [State] since an instant.
type Status struct {
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"` // CRLReason by its RFC 5280 name
	At     time.Time `json:"at,omitzero"`
}

// An Entry is one certificate with its key and everything known about it.
type Entry struct {
	ID      string `json:"id"`
	Role    Role   `json:"role"`
	Purpose string `json:"purpose"` // one sentence: what the entry is for
	Issuer  string `json:"issuer"`  // id; of itself for a root
	// Algorithm of the entry's key and of its issuer's.
	Algorithm Algorithm `json:"algorithm"`

	Certificate string `json:"certificate"` // file, PEM
	Key         string `json:"key"`         // file, PKCS #8 PEM
	Serial      string `json:"serial"`      // hex, lower case
	// Trusted: the entry is the anchor of the test PKI for its kind of keys. Other roots are there to
	// be refused.
	Trusted bool `json:"trusted,omitempty"`

	IIN          string `json:"iin,omitempty"`
	BIN          string `json:"bin,omitempty"`
	Surname      string `json:"surname,omitempty"`
	Name         string `json:"name,omitempty"`
	Patronymic   string `json:"patronymic,omitempty"`
	Organisation string `json:"organisation,omitempty"`

	Status Status `json:"status"`
	// Expect is the reason with which a verifier refuses the entry in its role (an employee's or
	// a head's key: as a citizen's) at [At]; "" for one that must be accepted.
	Expect gateway.Reason `json:"expect"`
	// Also lists reasons of checks after the first that fails.
	Also []gateway.Reason `json:"also,omitempty"`

	DER            []byte        `json:"-"`
	CertificatePEM []byte        `json:"-"`
	KeyPEM         []byte        `json:"-"`
	Signer         crypto.Signer `json:"-"`
}

// At is an instant at which every entry is as the manifest says; tests pin their clock to it.
var At = time.Date(2026, 11, 2, 6, 0, 0, 0, time.UTC)

// X509 parses the certificate with crypto/x509; it panics on the impossible.
func (e *Entry) X509() *x509.Certificate {
	c, err := x509.ParseCertificate(e.DER)
	if err != nil {
		panic(fmt.Sprintf("testpki: %s: %v", e.ID, err))
	}
	return c
}

// A PKI is a loaded test PKI. It is immutable and safe for concurrent use.
type PKI struct {
	entries []*Entry
	byID    map[string]*Entry
}

// manifest is manifest.json.
type manifest struct {
	Warning string   `json:"warning"`
	Entries []*Entry `json:"entries"`
}

// Load reads the committed PKI.
func Load() (*PKI, error) { return LoadFS(FS) }

// LoadFS reads a PKI that [Generate] made, manifest.json at its top.
func LoadFS(fsys fs.FS) (*PKI, error) {
	raw, err := fs.ReadFile(fsys, "manifest.json")
	if err != nil {
		return nil, fmt.Errorf("testpki: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("testpki: manifest.json: %w", err)
	}
	p := &PKI{entries: m.Entries, byID: make(map[string]*Entry)}
	for _, e := range p.entries {
		if p.byID[e.ID] != nil {
			return nil, fmt.Errorf("testpki: %s is listed twice", e.ID)
		}
		p.byID[e.ID] = e
		if err := e.read(fsys); err != nil {
			return nil, fmt.Errorf("testpki: %s: %w", e.ID, err)
		}
	}
	return p, nil
}

func (e *Entry) read(fsys fs.FS) (err error) {
	if e.CertificatePEM, err = fs.ReadFile(fsys, e.Certificate); err != nil {
		return err
	}
	b, _ := pem.Decode(e.CertificatePEM)
	if b == nil || b.Type != "CERTIFICATE" {
		return fmt.Errorf("no certificate in %s", e.Certificate)
	}
	e.DER = b.Bytes
	if e.KeyPEM, err = fs.ReadFile(fsys, e.Key); err != nil {
		return err
	}
	b, _ = pem.Decode(e.KeyPEM)
	if b == nil || b.Type != "PRIVATE KEY" {
		return fmt.Errorf("no PKCS #8 key in %s", e.Key)
	}
	if e.Algorithm == GOST2015 {
		e.Signer, err = parseGOSTKey(b.Bytes)
		return err
	}
	k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return err
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return fmt.Errorf("the key in %s cannot sign", e.Key)
	}
	e.Signer = s
	return nil
}

// Entry returns the entry with that id.
func (p *PKI) Entry(id string) (*Entry, error) {
	if e := p.byID[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("testpki: no entry %q", id)
}

// Must is [PKI.Entry] for tests: it panics on an unknown id.
func (p *PKI) Must(id string) *Entry {
	e, err := p.Entry(id)
	if err != nil {
		panic(err)
	}
	return e
}

// Entries returns all entries in the order of the manifest.
func (p *PKI) Entries() []*Entry { return append([]*Entry(nil), p.entries...) }

// OfKind returns the entries with that kind of key in the order of the manifest.
func (p *PKI) OfKind(a Algorithm) []*Entry {
	var out []*Entry
	for _, e := range p.entries {
		if e.Algorithm == a {
			out = append(out, e)
		}
	}
	return out
}

// WithRole returns the RSA entries of that role in the order of the manifest.
func (p *PKI) WithRole(r Role) []*Entry {
	var out []*Entry
	for _, e := range p.entries {
		if e.Role == r && e.Algorithm == RSA {
			out = append(out, e)
		}
	}
	return out
}
