package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

type verifyCmd struct {
	Trust         []string  `type:"path" placeholder:"FILE_OR_DIR" help:"Trusted roots: PEM or DER files, or folders of them. Needed unless --pinned is given."`
	Untrusted     []string  `type:"path" placeholder:"FILE" help:"Further certificates to build paths with."`
	CRL           []string  `name:"crl" type:"path" placeholder:"FILE" help:"Revocation lists, full or delta (DER or PEM)."`
	OCSPResponse  []string  `name:"ocsp-response" type:"path" placeholder:"FILE" help:"OCSP answers (DER)."`
	Revocation    string    `enum:"required,if-present,off" default:"required" help:"Whether revocation must be proven (${enum})."`
	CRLScope      string    `name:"crl-scope" enum:"path,leaf" default:"path" help:"Ask revocation of the whole path or of the signer alone (${enum})."`
	At            time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"RFC3339" help:"The instant to judge for. Default: now. Lists from after it judge it, too: what they revoke later was good, and the line says so."`
	IIN           string    `name:"iin" placeholder:"DIGITS" help:"The IIN that must be the signer's."`
	Purpose       string    `enum:"sign-person,sign-head,sign-legal,sign-staff,information-system,any" default:"any" help:"Role the key must have; sign-legal is the head or who has the right to sign, sign-staff any employee too; any drops the rules of Kazakhstan for purpose and subject (${enum})."`
	Pinned        string    `type:"path" placeholder:"CERT" help:"Trust exactly this signer's certificate; its validity is still judged."`
	Profile       string    `enum:"document,co-signed,wsse" default:"document" help:"How the document is signed (${enum})."`
	AllowGOST2004 bool      `name:"allow-gost-2004" help:"Accept GOST 34.310-2004, for archives."`
	MaxBytes      int       `default:"16777216" help:"Largest document that is read."`
	Cert          bool      `help:"The FILEs are certificates (PEM or DER): judge path and revocation alone."`
	Explain       bool      `help:"For a wrong digest, say on standard error how it was computed and what probably happened to the document."`
	TestAnchor    bool      `help:"The trusted roots are test roots: wrong check digits of IINs pass."`
	Corpus        string    `type:"path" placeholder:"DIR_OR_ZIP" help:"Judge every document of a corpus by its own clock and trust material, and score the answers: exit 0 all as expected, 1 not. Prints the entries that are not; the score goes to standard error."`
	Jobs          int       `placeholder:"N" help:"With --corpus: documents judged side by side; default: one for each processor."`
	All           bool      `help:"With --corpus: print every entry."`
	Verifier      string    `placeholder:"COMMAND" help:"With --corpus: score another verifier, started for each document; see corpus adapter."`
	Files         []string  `arg:"" optional:"" name:"file" help:"Signed documents, or certificates with --cert."`
}

// A report is one line of output.
type report struct {
	File          string          `json:"file"`
	Status        gateway.Status  `json:"status"`
	Reason        gateway.Reason  `json:"reason,omitempty"`
	Detail        string          `json:"detail,omitempty"`
	Checks        []gateway.Check `json:"checks"`
	Signers       []signerReport  `json:"signers"`
	ContentSHA256 string          `json:"content_sha256,omitempty"`
}

// A signerReport reveals the IIN: who runs the command holds the document anyway.
type signerReport struct {
	Subject   string    `json:"subject"`
	IIN       string    `json:"iin,omitempty"`
	BIN       string    `json:"bin,omitempty"`
	Serial    string    `json:"serial"`
	Algorithm string    `json:"algorithm"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// evidence is a verification.Revocation over the files of the command line alone.
type evidence struct {
	crls, answers [][]byte
	options       revocation.OfflineOptions
	ifPresent     bool
}

// Check implements verification.Revocation. With if-present, having nothing to say is no fault.
func (e *evidence) Check(_ context.Context, path *trust.Path, at time.Time) (revocation.Evidence, error) {
	ev, err := revocation.Offline(path, at, e.crls, e.answers, e.options)
	if e.ifPresent && gateway.ReasonOf(err) == gateway.StatusUnavailable {
		return revocation.Evidence{Method: "none"}, nil
	}
	return ev, err
}

// usage is a mistake in the command's words.
func usage(out streams, format string, args ...any) error {
	fmt.Fprintf(out.err, "egov-gateway: "+format+"\n", args...)
	return exitError(exitUsage)
}

// Run judges every file and writes one line for each.
func (v *verifyCmd) Run(out streams) error {
	switch {
	case v.Corpus != "" && len(v.Files) > 0:
		return usage(out, "--corpus and files exclude each other")
	case v.Corpus != "":
		return v.runCorpus(out)
	case len(v.Files) == 0:
		return usage(out, "files or --corpus are needed")
	}
	if v.At.IsZero() {
		v.At = time.Now()
	}
	if len(v.Trust) == 0 && v.Pinned == "" {
		return usage(out, "--trust or --pinned is needed")
	}
	w := verification.Want{At: v.At, Purpose: trust.Purpose(v.Purpose)}
	var err error
	if v.IIN != "" {
		parse := gateway.ParseIIN
		if v.TestAnchor {
			parse = gateway.ParseTestIIN
		}
		if w.Citizen, err = parse(v.IIN); err != nil {
			return usage(out, "--iin: %v", gateway.DetailOf(err))
		}
	}
	verifier, err := v.verifier(&w)
	if err != nil {
		return usage(out, "%v", err)
	}
	enc := json.NewEncoder(out.out)
	enc.SetEscapeHTML(false)
	code := 0
	for _, file := range v.Files {
		o := v.one(verifier, file, w)
		r := report{File: file, Status: o.Verdict.Status, Reason: o.Verdict.Reason, Detail: o.Verdict.Detail, Checks: o.Verdict.Checks, ContentSHA256: o.Verdict.ContentSHA256, Signers: []signerReport{}}
		for _, s := range o.Verdict.Signers {
			r.Signers = append(r.Signers, signerReport{Subject: s.Subject, IIN: s.IIN.Reveal(), BIN: s.BIN.String(), Serial: s.Serial, Algorithm: s.Algorithm, NotBefore: s.NotBefore, NotAfter: s.NotAfter})
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
		if v.Explain && r.Reason == gateway.DigestMismatch {
			if err := v.explain(out, file); err != nil {
				return err
			}
		}
		switch {
		case r.Status == gateway.Refused:
			code = exitFailed
		case r.Status == gateway.Indeterminate && code == 0:
			code = exitIndeterminate
		}
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

func (v *verifyCmd) verifier(w *verification.Want) (*verification.Verifier, error) {
	tc := trust.Config{AllowGOST2004: v.AllowGOST2004}
	anchors, err := trust.LoadFiles(v.Trust...)
	if err != nil {
		return nil, fmt.Errorf("--trust: %w", err)
	}
	for _, c := range anchors {
		// A folder may hold roots and issuing CAs: only what signed itself is an anchor.
		if c.SelfIssued() {
			tc.Anchors = append(tc.Anchors, trust.Anchor{Certificate: c, Test: v.TestAnchor})
		} else {
			tc.Intermediates = append(tc.Intermediates, c)
		}
	}
	if v.Pinned != "" {
		pinned, err := trust.LoadFiles(v.Pinned)
		if err != nil {
			return nil, fmt.Errorf("--pinned: %w", err)
		}
		if len(pinned) != 1 {
			return nil, fmt.Errorf("--pinned: %d certificates where one is expected", len(pinned))
		}
		w.Pinned = pinned[0]
		tc.Anchors = append(tc.Anchors, trust.Anchor{Certificate: pinned[0]})
	}
	if w.Untrusted, err = trust.LoadFiles(v.Untrusted...); err != nil {
		return nil, fmt.Errorf("--untrusted: %w", err)
	}
	store, err := trust.New(tc)
	if err != nil {
		return nil, err
	}
	c := verification.Config{Trust: store, AllowGOST2004: v.AllowGOST2004}
	if v.Revocation != "off" {
		e := &evidence{ifPresent: v.Revocation == "if-present", options: revocation.OfflineOptions{Scope: revocation.Scope(v.CRLScope), AllowGOST2004: v.AllowGOST2004}}
		for _, f := range v.CRL {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("--crl: %w", err)
			}
			e.crls = append(e.crls, pemOrDER(b))
		}
		for _, f := range v.OCSPResponse {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("--ocsp-response: %w", err)
			}
			e.answers = append(e.answers, b)
		}
		c.Revocation = e
	}
	return verification.New(c)
}

func (v *verifyCmd) one(verifier *verification.Verifier, file string, w verification.Want) verification.Outcome {
	unreadable := func(err error) verification.Outcome {
		return verification.SignatureFailed(gateway.Errorf(gateway.ConfigInvalid, "%w", err), v.At)
	}
	info, err := os.Stat(file)
	if err == nil && info.Size() > int64(v.MaxBytes) {
		return verification.SignatureFailed(gateway.Errorf(gateway.DocumentTooLarge, "the file has %d bytes, --max-bytes is %d", info.Size(), v.MaxBytes), v.At)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return unreadable(err)
	}
	if v.Cert {
		cert, err := trust.ParseCertificate(pemOrDER(data))
		if err != nil {
			return verification.CertificateFailed(err, v.At)
		}
		return verifier.JudgeCertificate(context.Background(), cert, w)
	}
	opened, err := verifier.OpenAs(data, v.MaxBytes, xmlsig.Profile(v.Profile))
	if err != nil {
		return verification.SignatureFailed(err, v.At)
	}
	return verifier.Judge(context.Background(), opened, w)
}

// explain writes for a person what [xmlsig.Explain] finds.
func (v *verifyCmd) explain(out streams, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	x, err := xmlsig.Explain(data, xmlsig.Options{Profile: xmlsig.Profile(v.Profile), Limits: xmlsig.Limits{MaxBytes: v.MaxBytes}, AllowGOST2004: v.AllowGOST2004})
	if x == nil {
		return err
	}
	_, err = fmt.Fprintf(out.err, "%s: %s", file, x)
	return err
}

type canonicalizeCmd struct {
	Method string `required:"" placeholder:"URI" help:"Canonicalisation method: the URI of c14n 1.0, c14n 1.1 or exclusive c14n, with or without comments."`
	File   string `arg:"" type:"path" help:"XML document."`
}

// Run writes the canonical bytes and nothing else.
func (c *canonicalizeCmd) Run(out streams) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	canonical, err := xmlsig.Canonicalize(c.Method, b)
	if err != nil {
		return err
	}
	_, err = out.out.Write(canonical)
	return err
}

type signCmd struct {
	Key          string `required:"" type:"path" placeholder:"P12_OR_PEM" help:"Private key and certificate: a key file of the NCA (PKCS #12), or PEM without a password."`
	PasswordFile string `type:"path" placeholder:"FILE" help:"File with the password of a PKCS #12 key file; the end of its line does not count."`
	In           string `required:"" type:"path" placeholder:"FILE" help:"Document to sign."`
	Out          string `type:"path" placeholder:"FILE" help:"Where to write; default: standard output."`
	Profile      string `enum:"document,wsse" default:"document" help:"How to sign (${enum})."`
	Layout       string `enum:"compact,kalkan" default:"compact" help:"How the signature is written (${enum})."`
}

// key reads the key file, which is PEM or PKCS #12.
func (s *signCmd) key(out streams) (*xmlsig.Key, error) {
	raw, err := os.ReadFile(s.Key)
	if err != nil {
		return nil, err
	}
	isPEM := bytes.Contains(raw, []byte("-----BEGIN "))
	switch {
	case isPEM && s.PasswordFile != "":
		return nil, usage(out, "--password-file is for PKCS #12; %s is PEM", s.Key)
	case isPEM:
		return xmlsig.LoadPEM(raw)
	case s.PasswordFile == "":
		return nil, usage(out, "--password-file is needed for a PKCS #12 key file")
	}
	password, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return nil, err
	}
	return xmlsig.LoadPKCS12(raw, strings.TrimRight(string(password), "\r\n"))
}

// Run signs; what is written was verified first.
func (s *signCmd) Run(out streams) error {
	key, err := s.key(out)
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(s.In)
	if err != nil {
		return err
	}
	o := xmlsig.SignOptions{Profile: xmlsig.Profile(s.Profile)}
	if s.Layout == "kalkan" {
		o.Layout = xmlsig.LayoutKalkan
	}
	signed, err := xmlsig.Sign(doc, key, o)
	if err != nil {
		return err
	}
	if s.Out == "" {
		_, err = out.out.Write(signed)
		return err
	}
	if err := os.WriteFile(s.Out, signed, 0o600); err != nil {
		return errors.Join(errors.New("the signed document was not written"), err)
	}
	return nil
}
