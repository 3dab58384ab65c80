package testpki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// Check reports whether fsys holds exactly the PKI that the manifest describes: every file is
// listed and says TEST ONLY in its first line, every certificate parses, is signed by the
// issuer named, belongs to its key, and carries the names, numbers and serial of its entry.
// All faults are joined in the error.
func Check(fsys fs.FS) error {
	p, err := LoadFS(fsys)
	if err != nil {
		return err
	}
	listed := map[string]bool{"README.md": true, "manifest.json": true}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	ids := make(map[string]bool)
	for _, plan := range roster() {
		ids[plan.ID] = true
		if p.byID[plan.ID] == nil {
			fault("%s is missing from the manifest", plan.ID)
		}
	}
	for _, e := range p.entries {
		listed[e.Certificate], listed[e.Key] = true, true
		if !ids[e.ID] {
			fault("%s is not in the roster", e.ID)
		}
		for _, err := range p.faultsOf(e) {
			fault("%s: %w", e.ID, err)
		}
	}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir(), strings.HasSuffix(name, ".go"), listed[name]:
			return nil
		}
		fault("%s is not in the manifest", name)
		return nil
	})
	return errors.Join(append(faults, err)...)
}

func (p *PKI) faultsOf(e *Entry) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, text := range [][]byte{e.CertificatePEM, e.KeyPEM} {
		if !bytes.HasPrefix(text, []byte("TEST ONLY")) {
			fault("a file does not start with TEST ONLY")
		}
		if _, rest := pem.Decode(text); len(bytes.TrimSpace(rest)) > 0 {
			fault("a file holds more than one PEM block")
		}
	}
	c, err := x509.ParseCertificate(e.DER)
	if err != nil {
		return append(faults, err)
	}
	if got := hex.EncodeToString(c.SerialNumber.Bytes()); got != e.Serial || len(got) != 40 {
		fault("serial %s, manifest %s", got, e.Serial)
	}
	ours, err := trust.ParseCertificate(e.DER)
	if err != nil {
		return append(faults, err)
	}
	if string(ours.Key.Kind()) != string(e.Algorithm) {
		fault("a key of kind %s, manifest %s", ours.Key.Kind(), e.Algorithm)
	}
	if !e.owns(ours) {
		fault("the key is another certificate's")
	}
	issuer := p.byID[e.Issuer]
	if issuer == nil {
		return append(faults, fmt.Errorf("issuer %s is not listed", e.Issuer))
	}
	if by, err := trust.ParseCertificate(issuer.DER); err != nil || ours.SignedBy(by) != nil {
		fault("not signed by %s", e.Issuer)
	}
	if e.Algorithm == RSA { // the standard library knows no GOST
		if err := c.CheckSignatureFrom(issuer.X509()); err != nil {
			fault("not signed by %s: %w", e.Issuer, err)
		}
	}
	return append(faults, e.subjectFaults(c)...)
}

// owns reports whether the entry's key signs what the certificate's key verifies.
func (e *Entry) owns(c *trust.Certificate) bool {
	hash, opts := trust.SHA256, crypto.SignerOpts(crypto.SHA256)
	if e.Algorithm == GOST2015 {
		hash, opts = trust.Streebog512, crypto.Hash(0)
	}
	h := hash.New()
	h.Write([]byte(e.ID))
	sig, err := e.Signer.Sign(rand.Reader, h.Sum(nil), opts)
	return err == nil && c.Key.VerifyDigest(hash, h.Sum(nil), sig) == nil
}

func (e *Entry) subjectFaults(c *x509.Certificate) (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !strings.Contains(c.Subject.CommonName, "TEST ONLY") {
		fault("the subject does not say TEST ONLY")
	}
	var iins, bins []string
	for _, a := range c.Subject.Names {
		v, _ := a.Value.(string)
		switch {
		case a.Type.Equal([]int{2, 5, 4, 5}):
			iins = append(iins, strings.TrimPrefix(v, "IIN"))
		case a.Type.Equal([]int{2, 5, 4, 11}):
			bins = append(bins, strings.TrimPrefix(v, "BIN"))
		case a.Type.Equal([]int{2, 5, 4, 10}) && v != e.Organisation:
			fault("organisation differs from the manifest")
		case a.Type.Equal([]int{2, 5, 4, 4}) && v != "TEST ONLY "+e.Surname:
			fault("surname differs from the manifest")
		}
	}
	if first(iins) != e.IIN || first(bins) != e.BIN {
		fault("IIN or BIN differs from the manifest")
	}
	for _, s := range iins {
		if n, err := gateway.ParseIIN(s); err != nil && e.Expect != gateway.IINChecksum {
			fault("an IIN is not valid")
		} else if err == nil && n.Reveal()[6] != '1' && n.Reveal()[6] != '2' {
			fault("an IIN could belong to a living person")
		}
	}
	for _, s := range bins {
		if _, err := gateway.ParseBIN(s); err != nil || s[5] != '9' {
			fault("a BIN is not valid, or could have been issued")
		}
	}
	for _, urls := range [][]string{c.OCSPServer, c.IssuingCertificateURL, c.CRLDistributionPoints} {
		for _, u := range urls {
			if !strings.HasPrefix(u, Host+"/") {
				fault("a URL points outside %s", Host)
			}
		}
	}
	return faults
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
