package statesim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A RevocationState is what an authority says of a certificate.
type RevocationState string

const (
	Good        RevocationState = "good"
	Revoked     RevocationState = "revoked"
	Hold        RevocationState = "hold"         // certificateHold
	NeverIssued RevocationState = "never-issued" // OCSP: revoked 1970-01-01, certificateHold (RFC 6960 §2.2); on no CRL
	Unknown     RevocationState = "unknown"      // OCSP: unknown; on no CRL
)

// A Revocation says what an authority knows of one certificate.
type Revocation struct {
	Authority string          `json:"authority,omitempty"` // "" means the first
	Serial    string          `json:"serial"`              // hex
	State     RevocationState `json:"state"`
	Reason    string          `json:"reason,omitempty"` // CRLReason by its RFC 5280 name
	At        time.Time       `json:"at,omitzero"`      // zero means the world's now
}

// reasonCodes are those of RFC 5280 §5.3.1.
var reasonCodes = map[string]int{"": 0, "unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4,
	"cessationOfOperation": 5, "certificateHold": 6, "privilegeWithdrawn": 9, "aACompromise": 10}

const removeFromCRL = 8

// an authority is a CA with its register of revoked certificates.
type authority struct {
	Authority
	ca, responder    *x509.Certificate
	keySHA1, keySHA2 []byte // hashes of the CA's key, as in a CertID
	nameSHA1, name2  []byte

	mu       sync.Mutex            // guards all below
	state    map[string]Revocation // by serial, decimal
	base     []byte                // the published CRL
	baseAt   time.Time
	baseNo   int64
	baseList map[string]Revocation // what base says
	delta    []byte
	deltaAt  time.Time
	deltaNo  int64
	changed  bool // since delta
}

func newAuthority(c Authority) (*authority, error) {
	if c.ID == "" || c.Issuer.isZero() || c.Responder.isZero() {
		return nil, errors.New("ID, Issuer and Responder are required")
	}
	ca, err := x509.ParseCertificate(c.Issuer.Certificate)
	if err != nil {
		return nil, err
	}
	responder, err := x509.ParseCertificate(c.Responder.Certificate)
	if err != nil {
		return nil, err
	}
	for _, i := range []Identity{c.Issuer, c.Responder} {
		if _, ok := i.Signer.Public().(*rsa.PublicKey); !ok && (i.Algorithm == nil || i.Digest == nil) {
			return nil, errors.New("an Identity without Algorithm and Digest needs an RSA key")
		}
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(ca.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, err
	}
	key1, key2 := sha1.Sum(spki.Key.Bytes), sha256.Sum256(spki.Key.Bytes)
	name1, name2 := sha1.Sum(ca.RawSubject), sha256.Sum256(ca.RawSubject)
	return &authority{Authority: c, ca: ca, responder: responder, state: make(map[string]Revocation),
		keySHA1: key1[:], keySHA2: key2[:], nameSHA1: name1[:], name2: name2[:]}, nil
}

// Revoke sets what authorities know of certificates: OCSP and the delta CRL say so at once, the
// full CRL when it is published next ([World.PublishCRLs], or after half its life). Good takes a
// certificate off the list, as after a hold.
func (w *World) Revoke(list ...Revocation) error {
	for _, r := range list {
		a := w.authority(r.Authority)
		serial, ok := new(big.Int).SetString(r.Serial, 16)
		if _, known := reasonCodes[r.Reason]; a == nil || !ok || !known {
			return fmt.Errorf("statesim: revocation with authority %q, reason %q or a serial number that does not exist", r.Authority, r.Reason)
		}
		if r.At.IsZero() {
			r.At = w.c.Now()
		}
		switch r.State {
		case Hold:
			r.Reason = "certificateHold"
		case Good, Revoked, NeverIssued, Unknown:
		default:
			return fmt.Errorf("statesim: revocation state %q", r.State)
		}
		a.mu.Lock()
		if r.State == Good {
			delete(a.state, serial.String())
		} else {
			a.state[serial.String()] = r
		}
		a.changed = true
		a.mu.Unlock()
	}
	return nil
}

// PublishCRLs publishes new full CRLs of all authorities now.
func (w *World) PublishCRLs() error {
	for _, a := range w.authorities {
		a.mu.Lock()
		err := a.publish(w.c.Now(), w.c.CRLLife)
		a.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *World) authority(id string) *authority {
	for _, a := range w.authorities {
		if id == "" || a.ID == id {
			return a
		}
	}
	return nil
}

// listed reports whether a CRL names the certificate.
func (r Revocation) listed() bool { return r.State == Revoked || r.State == Hold }

// publish signs a new full CRL. The caller holds mu, or is alone.
func (a *authority) publish(now time.Time, life time.Duration) error {
	der, err := a.crl(a.baseNo+1, now, life, a.state, nil, 0)
	if err != nil {
		return err
	}
	a.baseNo++
	a.base, a.baseAt = der, now
	a.baseList = make(map[string]Revocation)
	for serial, r := range a.state {
		if r.listed() {
			a.baseList[serial] = r
		}
	}
	a.delta, a.changed = nil, true
	return nil
}

// crls returns the full CRL and the delta to it, signing anew what is due.
func (a *authority) crls(now time.Time, life time.Duration) (base, delta []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.baseAt) || now.Sub(a.baseAt) > life/2 {
		if err := a.publish(now, life); err != nil {
			return nil, nil, err
		}
	}
	deltaLife := life / 4
	if a.delta == nil || a.changed || now.Before(a.deltaAt) || now.Sub(a.deltaAt) > deltaLife/2 {
		changes := make(map[string]Revocation)
		for serial, r := range a.state {
			if old, ok := a.baseList[serial]; r.listed() && (!ok || old != r) {
				changes[serial] = r
			}
		}
		var removed []string
		for serial := range a.baseList {
			if r, ok := a.state[serial]; !ok || !r.listed() {
				removed = append(removed, serial)
			}
		}
		// As with the NCA, deltas have a number series of their own.
		if a.delta, err = a.crl(a.deltaNo+1, now, deltaLife, changes, removed, a.baseNo); err != nil {
			return nil, nil, err
		}
		a.deltaNo++
		a.deltaAt, a.changed = now, false
	}
	return a.base, a.delta, nil
}

// crl signs a list; with base above 0 it is a delta to that full CRL (RFC 5280 §5.2.4).
func (a *authority) crl(number int64, now time.Time, life time.Duration, list map[string]Revocation, removed []string, base int64) ([]byte, error) {
	t := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: now.UTC().Truncate(time.Second), NextUpdate: now.Add(life).UTC().Truncate(time.Second), SignatureAlgorithm: x509.SHA256WithRSA}
	for serial, r := range list {
		if r.listed() {
			n, _ := new(big.Int).SetString(serial, 10)
			t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: r.At.UTC().Truncate(time.Second), ReasonCode: reasonCodes[r.Reason]})
		}
	}
	for _, serial := range removed {
		n, _ := new(big.Int).SetString(serial, 10)
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: now.UTC().Truncate(time.Second), ReasonCode: removeFromCRL})
	}
	slices.SortFunc(t.RevokedCertificateEntries, func(x, y x509.RevocationListEntry) int { return x.SerialNumber.Cmp(y.SerialNumber) })
	if base > 0 {
		der, err := asn1.Marshal(base)
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: der}}
	}
	if a.Issuer.Algorithm == nil {
		return x509.CreateRevocationList(rand.Reader, t, a.ca, a.Issuer.Signer)
	}
	// The standard library writes the list with a key that is thrown away, then it is signed again.
	lent, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t.SignatureAlgorithm = x509.ECDSAWithSHA256
	der, err := x509.CreateRevocationList(rand.Reader, t, a.ca, lent)
	if err != nil {
		return nil, err
	}
	return a.Issuer.signAgain(der)
}

// signAgain replaces algorithm and signature of a CRL.
func (i Identity) signAgain(der []byte) ([]byte, error) {
	in := cryptobyte.String(der)
	var outer, tbs, version, algorithm cryptobyte.String
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1(&tbs, cbasn1.SEQUENCE) || !tbs.ReadASN1Element(&version, cbasn1.INTEGER) || !tbs.ReadASN1(&algorithm, cbasn1.SEQUENCE) {
		return nil, errors.New("not a CRL")
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(version)
		b.AddBytes(i.Algorithm)
		b.AddBytes(tbs)
	})
	list, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	signature, err := i.sign(list)
	if err != nil {
		return nil, err
	}
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(list)
		b.AddBytes(i.Algorithm)
		b.AddASN1BitString(signature)
	})
	return out.Bytes()
}

// damage turns over one bit of the signature that ends a DER structure.
func damage(der []byte) []byte {
	out := slices.Clone(der)
	out[len(out)-1] ^= 1
	return out
}

// sign signs as Algorithm and Digest say.
func (i Identity) sign(msg []byte) ([]byte, error) {
	if i.Digest != nil {
		h := i.Digest()
		h.Write(msg)
		return i.Signer.Sign(rand.Reader, h.Sum(nil), crypto.Hash(0))
	}
	digest := sha256.Sum256(msg)
	return i.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
}

// algorithm adds the AlgorithmIdentifier of sign.
func (i Identity) algorithm(b *cryptobyte.Builder) {
	if i.Algorithm != nil {
		b.AddBytes(i.Algorithm)
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11})
		b.AddASN1NULL()
	})
}

// crlName splits a CRL's file name.
func crlName(file string) (delta, ok bool) {
	name, isCRL := strings.CutSuffix(file, ".crl")
	return name == "delta", isCRL && (name == "base" || name == "delta")
}
