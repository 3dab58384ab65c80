package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/xmlsig"
	"egov-gateway/gateway/xmlsig/pkcs12/pkcs12test"
)

// A desk is a folder with everything that an integrator could hand to the offline commands.
type desk struct {
	t   *testing.T
	dir string
	pki *testpki.PKI
}

const (
	form     = `<form xmlns="urn:form"><name>жер</name><row/></form>`
	envelope = `<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body><m:a xmlns:m="urn:m">1</m:a></S:Body></S:Envelope>`
)

func newDesk(t *testing.T) *desk {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t, t.TempDir(), pki}
	for _, id := range []string{"root", "issuing", "other-root", "citizen-01", "citizen-02", "citizen-revoked", "citizen-expired", "citizen-bad-check-digit", "citizen-authentication", "provider-sko-head", "system-portal"} {
		e := pki.Must(id)
		d.write(id+".pem", e.CertificatePEM)
		d.write(id+".der", e.DER)
		d.write(id+".key.pem", slices.Concat(e.KeyPEM, e.CertificatePEM))
	}
	d.write("anchors/root.pem", pki.Must("root").CertificatePEM)
	d.write("anchors/issuing.crt", pki.Must("issuing").DER)
	d.write("both.pem", slices.Concat(pki.Must("root").CertificatePEM, pki.Must("issuing").CertificatePEM))
	for _, id := range []string{"citizen-01", "citizen-revoked", "citizen-suspended", "citizen-unknown", "citizen-expired", "citizen-bad-check-digit", "citizen-authentication", "provider-sko-head"} {
		d.write(id+".xml", d.sign(id, form, xmlsig.ProfileDocument))
	}
	good := d.read("citizen-01.xml")
	d.write("tampered.xml", bytes.Replace(good, []byte("жер"), []byte("су"), 1))
	d.write("indented.xml", bytes.Replace(good, []byte("<row/>"), []byte("\n  <row/>"), 1))
	d.write("wrong-value.xml", bytes.Replace(good, []byte("<ds:SignatureValue>"), []byte("<ds:SignatureValue>AAAA"), 1))
	d.write("unsigned.xml", []byte(form))
	d.write("broken.xml", []byte("<form>"))
	d.write("two.xml", d.sign("provider-sko-head", string(good), xmlsig.ProfileCoSigned))
	d.write("message.xml", d.sign("system-portal", envelope, xmlsig.ProfileWSSE))
	d.write("issuing.crl", d.crl("issuing", "citizen-revoked"))
	d.write("issuing.crl.pem", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: d.read("issuing.crl")}))
	d.write("root.crl", d.crl("root"))
	d.write("root-revokes.crl", d.crl("root", "issuing"))
	d.write("revokes-01.crl", d.crl("issuing", "citizen-01"))
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name string, b []byte) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.path(name), b, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(name string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d *desk) sign(id, doc string, p xmlsig.Profile) []byte {
	d.t.Helper()
	k, err := xmlsig.NewKey(d.pki.Must(id).DER, d.pki.Must(id).Signer)
	if err != nil {
		d.t.Fatal(err)
	}
	b, err := xmlsig.Sign([]byte(doc), k, xmlsig.SignOptions{Profile: p})
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d *desk) crl(issuer string, revoked ...string) []byte {
	d.t.Helper()
	e := d.pki.Must(issuer)
	list := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: testpki.At.Add(-time.Hour), NextUpdate: testpki.At.Add(24 * time.Hour)}
	for _, id := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: d.pki.Must(id).X509().SerialNumber, RevocationTime: testpki.At.Add(-2 * time.Hour), ReasonCode: 1})
	}
	b, err := x509.CreateRevocationList(rand.Reader, list, e.X509(), e.Signer)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// ocsp writes what the simulated responder says of the certificates at [testpki.At].
func (d *desk) ocsp(ids ...string) {
	d.t.Helper()
	l, err := newLab(d.t.TempDir(), testpki.At.Add(-time.Minute), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	defer l.Close()
	for _, id := range ids {
		question, err := ocsp.CreateRequest(d.pki.Must(id).X509(), d.pki.Must("issuing").X509(), &ocsp.RequestOptions{Hash: crypto.SHA256})
		if err != nil {
			d.t.Fatal(err)
		}
		resp, err := http.Post(l.sim+"/ocsp", "application/ocsp-request", bytes.NewReader(question))
		if err != nil {
			d.t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			d.t.Fatal(resp.Status, err)
		}
		d.write(id+".ocsp", answer)
	}
}

// run runs a command line in which @name stands for a file of the desk.
func (d *desk) run(line string, args ...string) (code int, out, errs string) {
	all := append(strings.Fields(line), args...)
	for i, a := range all {
		if name, ok := strings.CutPrefix(a, "@"); ok {
			all[i] = d.path(name)
		}
	}
	var stdout, stderr bytes.Buffer
	code = run(all, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func (d *desk) reports(t *testing.T, out string) []report {
	t.Helper()
	var all []report
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\n"), "\n") {
		dec := json.NewDecoder(strings.NewReader(line))
		dec.DisallowUnknownFields()
		var r report
		if err := dec.Decode(&r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// R3, R4a, R4b, R4c, R5: every flag of verify, what it changes, and the exit code that follows.
func TestVerifyCommand(t *testing.T) {
	d := newDesk(t)
	d.ocsp("citizen-01", "citizen-revoked", "citizen-suspended", "citizen-unknown")
	const at = " --at 2026-11-02T06:00:00Z "
	const trusted = at + "--trust @root.pem --untrusted @issuing.pem "
	const off = trusted + "--revocation off "
	iin := d.pki.Must("citizen-01").IIN
	tests := []struct {
		name, line string
		code       int
		want       gateway.Reason
	}{
		{"a good document", off + "@citizen-01.xml", 0, ""},
		{"roots and issuers from one folder", at + "--trust @anchors --revocation off @citizen-01.xml", 0, ""},
		{"roots and issuers from one file", at + "--trust @both.pem --revocation off @citizen-01.xml", 0, ""},
		{"--trust twice", at + "--trust @other-root.pem --trust @root.der --untrusted @issuing.der --revocation off @citizen-01.xml", 0, ""},
		{"another root", at + "--trust @other-root.pem --revocation off @citizen-01.xml", 1, gateway.NoIssuer},
		{"no issuer", at + "--trust @root.pem --revocation off @citizen-01.xml", 1, gateway.NoIssuer},
		{"an untrusted root does not help", at + "--trust @other-root.pem --untrusted @issuing.pem --untrusted @root.pem --revocation off @citizen-01.xml", 1, gateway.NotAnchored},

		{"changed content", off + "@tampered.xml", 1, gateway.DigestMismatch},
		{"no signature", off + "@unsigned.xml", 1, gateway.SignatureMissing},
		{"no XML", off + "@broken.xml", 1, gateway.DocumentMalformed},
		{"no file", off + "@none.xml", 2, gateway.ConfigInvalid},
		{"a document longer than --max-bytes", off + "--max-bytes 100 @citizen-01.xml", 1, gateway.DocumentTooLarge},
		{"a document as long as --max-bytes", fmt.Sprintf("%s--max-bytes %d @citizen-01.xml", off, len(d.read("citizen-01.xml"))), 0, ""},

		{"before the certificate", "--at 2025-11-02T06:00:00Z --trust @root.pem --untrusted @issuing.pem --revocation off @citizen-01.xml", 1, gateway.CertificateNotYetValid},
		{"after the certificate", "--at 2040-01-01T00:00:00+05:00 --trust @root.pem --untrusted @issuing.pem --revocation off @citizen-01.xml", 1, gateway.CertificateExpired},
		{"an expired certificate", off + "@citizen-expired.xml", 1, gateway.CertificateExpired},

		{"the right IIN", off + "--iin " + iin + " @citizen-01.xml", 0, ""},
		{"another's IIN", off + "--iin " + d.pki.Must("citizen-02").IIN + " @citizen-01.xml", 1, gateway.IINMismatch},
		{"a head's key for a person's IIN", off + "--iin " + d.pki.Must("provider-sko-head").IIN + " @provider-sko-head.xml", 1, gateway.NotACitizen},
		{"the wrong check digit of a test certificate", off + "--purpose sign-person @citizen-bad-check-digit.xml", 1, gateway.IINChecksum},
		{"the same below a test anchor", off + "--test-anchor --purpose sign-person @citizen-bad-check-digit.xml", 0, ""},

		{"a person's key for a person", off + "--purpose sign-person @citizen-01.xml", 0, ""},
		{"a person's key for an organisation", off + "--purpose sign-legal @citizen-01.xml", 1, gateway.ExtendedKeyUsage},
		{"a head's key for an organisation", off + "--purpose sign-legal @provider-sko-head.xml", 0, ""},
		{"a head's key for a person", off + "--purpose sign-person @provider-sko-head.xml", 1, gateway.ExtendedKeyUsage},
		{"a sign-in key for a person", off + "--purpose sign-person @citizen-authentication.xml", 1, gateway.KeyUsage},
		{"a sign-in key for any purpose", off + "--purpose any @citizen-authentication.xml", 0, ""},

		{"the pinned signer", at + "--pinned @citizen-01.pem --revocation off @citizen-01.xml", 0, ""},
		{"another signer than the pinned one", at + "--pinned @citizen-02.pem --revocation off @citizen-01.xml", 1, gateway.NotAnchored},
		{"the pinned signer, expired", at + "--pinned @citizen-expired.der --revocation off @citizen-expired.xml", 1, gateway.CertificateExpired},
		{"a path is no pin", trusted + "--pinned @citizen-02.pem --revocation off @citizen-01.xml", 1, gateway.NotAnchored},

		{"revocation is required by default", trusted + "@citizen-01.xml", 2, gateway.StatusUnavailable},
		{"no evidence, if present", trusted + "--revocation if-present @citizen-01.xml", 0, ""},
		{"lists of both CAs", trusted + "--crl @issuing.crl --crl @root.crl @citizen-01.xml", 0, ""},
		{"a list in PEM", trusted + "--crl @issuing.crl.pem --crl @root.crl @citizen-01.xml", 0, ""},
		{"the list of the leaf's CA alone", trusted + "--crl @issuing.crl @citizen-01.xml", 2, gateway.StatusUnavailable},
		{"the same, leaf alone", trusted + "--crl-scope leaf --crl @issuing.crl @citizen-01.xml", 0, ""},
		{"a list of another CA", trusted + "--crl-scope leaf --crl @root.crl @citizen-01.xml", 2, gateway.StatusUnavailable},
		{"revoked", trusted + "--crl @issuing.crl --crl @root.crl @citizen-revoked.xml", 1, gateway.Revoked},
		{"revoked, if present", trusted + "--revocation if-present --crl @issuing.crl --crl-scope leaf @citizen-revoked.xml", 1, gateway.Revoked},
		{"revoked, but not asked", off + "--crl @issuing.crl @citizen-revoked.xml", 0, ""},
		{"a revoked CA", trusted + "--crl @issuing.crl --crl @root-revokes.crl @citizen-01.xml", 1, gateway.IssuerRevoked},
		{"a list after its time", "--at 2026-11-05T06:00:00Z --trust @root.pem --untrusted @issuing.pem --crl-scope leaf --crl @issuing.crl @citizen-01.xml", 2, gateway.EvidenceStale},
		{"an OCSP answer", trusted + "--crl-scope leaf --ocsp-response @citizen-01.ocsp @citizen-01.xml", 0, ""},
		{"an OCSP answer and the root's list", trusted + "--crl @root.crl --ocsp-response @citizen-01.ocsp @citizen-01.xml", 0, ""},
		{"an OCSP answer: revoked", trusted + "--crl-scope leaf --ocsp-response @citizen-revoked.ocsp @citizen-revoked.xml", 1, gateway.Revoked},
		{"an OCSP answer: suspended", trusted + "--crl-scope leaf --ocsp-response @citizen-01.ocsp --ocsp-response @citizen-suspended.ocsp @citizen-suspended.xml", 1, gateway.Suspended},
		{"an OCSP answer: good, the list: revoked", trusted + "--crl-scope leaf --ocsp-response @citizen-01.ocsp --crl @revokes-01.crl @citizen-01.xml", 1, gateway.Revoked},
		{"an OCSP answer: unknown", trusted + "--crl-scope leaf --ocsp-response @citizen-unknown.ocsp @citizen-unknown.xml", 2, gateway.StatusUnknown},
		{"an OCSP answer: unknown, the list: not revoked", trusted + "--crl-scope leaf --ocsp-response @citizen-unknown.ocsp --crl @issuing.crl @citizen-unknown.xml", 0, ""},
		{"an OCSP answer about another", trusted + "--crl-scope leaf --ocsp-response @citizen-01.ocsp @citizen-revoked.xml", 2, gateway.EvidenceUntrusted},
		{"an OCSP answer an hour later", "--at 2026-11-02T08:00:00Z --trust @root.pem --untrusted @issuing.pem --crl-scope leaf --ocsp-response @citizen-01.ocsp @citizen-01.xml", 2, gateway.EvidenceStale},
		{"an OCSP answer an hour before", "--at 2026-11-02T04:00:00Z --trust @root.pem --untrusted @issuing.pem --crl-scope leaf --ocsp-response @citizen-01.ocsp @citizen-01.xml", 2, gateway.EvidenceFuture},

		{"two signatures are too many for a document", off + "@two.xml", 1, gateway.SignatureMultiple},
		{"two signatures", off + "--profile co-signed @two.xml", 0, ""},
		{"one signature, co-signed", off + "--profile co-signed @citizen-01.xml", 0, ""},
		{"two signers for one purpose", off + "--profile co-signed --purpose sign-person @two.xml", 1, gateway.ExtendedKeyUsage},
		{"a message", off + "--profile wsse @message.xml", 0, ""},
		{"a message is no document", off + "@message.xml", 1, gateway.SignatureMisplaced},
		{"a document is no message", off + "--profile wsse @citizen-01.xml", 1, gateway.SignatureReference},

		{"a certificate in PEM", off + "--cert @citizen-01.pem", 0, ""},
		{"a certificate in DER", off + "--cert @citizen-01.der", 0, ""},
		{"an expired certificate alone", off + "--cert @citizen-expired.pem", 1, gateway.CertificateExpired},
		{"a revoked certificate alone", trusted + "--cert --crl-scope leaf --crl @issuing.crl @citizen-revoked.der", 1, gateway.Revoked},
		{"a certificate without evidence", trusted + "--cert @citizen-01.pem", 2, gateway.StatusUnavailable},
		{"a certificate for a person", off + "--cert --purpose sign-person @provider-sko-head.pem", 1, gateway.ExtendedKeyUsage},
		{"a document is no certificate", off + "--cert @citizen-01.xml", 1, gateway.CertificateMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := d.run("verify " + tt.line)
			if code != tt.code {
				t.Fatalf("exit %d, want %d\n%s%s", code, tt.code, out, errs)
			}
			all := d.reports(t, out)
			if len(all) != 1 || all[0].Reason != tt.want || !strings.HasSuffix(tt.line, filepath.Base(all[0].File)) {
				t.Fatalf("%+v, want %q", all, tt.want)
			}
			status := map[int]gateway.Status{0: gateway.Verified, 1: gateway.Refused, 2: gateway.Indeterminate}[code]
			if all[0].Status != status || errs != "" {
				t.Errorf("status %s, standard error %q", all[0].Status, errs)
			}
		})
	}
}

// The exit code is that of the worst file; every file has its line, in order.
func TestVerifyManyFiles(t *testing.T) {
	d := newDesk(t)
	const common = "verify --at 2026-11-02T06:00:00Z --trust @anchors --crl-scope leaf --crl @issuing.crl "
	for files, want := range map[string]int{
		"@citizen-01.xml @citizen-01.xml":                 0,
		"@citizen-01.xml @none.xml @citizen-01.xml":       2,
		"@none.xml @tampered.xml @citizen-01.xml":         1,
		"@tampered.xml @none.xml":                         1,
		"@citizen-01.xml @citizen-01.xml @broken.xml":     1,
		"@citizen-01.xml @citizen-revoked.xml @none.xml ": 1,
	} {
		code, out, errs := d.run(common + files)
		n := 0
		for _, f := range strings.Fields(files) {
			if strings.HasSuffix(f, ".xml") {
				n++
			}
		}
		if all := d.reports(t, out); code != want || len(all) != n {
			t.Errorf("%s: exit %d, want %d, %d lines\n%s", files, code, want, len(all), errs)
		}
	}
}

// The line of a verified document, field by field as harnesses read it.
func TestVerifyLine(t *testing.T) {
	d := newDesk(t)
	code, out, _ := d.run("verify --at 2026-11-02T06:00:00Z --trust @anchors --crl @issuing.crl --crl @root.crl --purpose sign-person @citizen-01.xml")
	if code != 0 || strings.Count(out, "\n") != 1 {
		t.Fatal(code, out)
	}
	var line map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out), &line); err != nil {
		t.Fatal(err)
	}
	canonical, err := xmlsig.Canonicalize(xmlsig.C14N10, []byte(form))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(canonical)
	e := d.pki.Must("citizen-01")
	r := d.reports(t, out)[0]
	if r.File != d.path("citizen-01.xml") || r.Status != gateway.Verified || r.ContentSHA256 != hex.EncodeToString(sum[:]) || len(r.Signers) != 1 || len(r.Checks) != len(gateway.Checks) {
		t.Fatalf("%s", out)
	}
	for i, c := range r.Checks {
		if c.Name != gateway.Checks[i] || c.Status != gateway.Verified {
			t.Errorf("check %d is %+v", i, c)
		}
	}
	if r.Checks[5].Evidence != "crl" {
		t.Errorf("evidence %q", r.Checks[5].Evidence)
	}
	s := r.Signers[0]
	x := e.X509()
	if s.IIN != e.IIN || s.BIN != "" || s.Serial != e.Serial || s.Algorithm != xmlsig.RSASHA256 || !s.NotBefore.Equal(x.NotBefore) || !s.NotAfter.Equal(x.NotAfter) || !strings.Contains(s.Subject, "TEST ONLY") && !strings.Contains(s.Subject, e.Surname) {
		t.Errorf("%+v", s)
	}
	for _, key := range []string{"file", "status", "checks", "signers", "content_sha256"} {
		if line[key] == nil {
			t.Errorf("no %s in %s", key, out)
		}
	}
	if line["reason"] != nil || line["detail"] != nil {
		t.Errorf("a verified document has a reason: %s", out)
	}

	_, out, _ = d.run("verify --at 2026-11-02T06:00:00Z --trust @anchors --revocation off --purpose sign-legal @provider-sko-head.xml")
	if s := d.reports(t, out)[0].Signers[0]; s.BIN != d.pki.Must("provider-sko-head").BIN {
		t.Errorf("BIN %q", s.BIN)
	}
	_, out, _ = d.run("verify --at 2026-11-02T06:00:00Z --trust @anchors --revocation off --profile co-signed @two.xml")
	if all := d.reports(t, out)[0].Signers; len(all) != 2 || all[0].Serial != e.Serial || all[1].Serial != d.pki.Must("provider-sko-head").Serial {
		t.Errorf("the signers in signing order: %+v", all)
	}
	_, out, _ = d.run("verify --at 2026-11-02T06:00:00Z --trust @anchors --revocation off @tampered.xml")
	if r := d.reports(t, out)[0]; r.Detail == "" || len(r.Signers) != 0 || r.ContentSHA256 != "" || !strings.Contains(out, `"signers":[]`) || r.Checks[0].Reason != gateway.DigestMismatch {
		t.Errorf("%s", out)
	}
}

func TestVerifyExplains(t *testing.T) {
	d := newDesk(t)
	const common = "verify --at 2026-11-02T06:00:00Z --trust @anchors --revocation off --explain "
	code, out, errs := d.run(common + "@indented.xml @tampered.xml @citizen-01.xml @wrong-value.xml")
	if all := d.reports(t, out); code != 1 || len(all) != 4 || all[0].Reason != gateway.DigestMismatch {
		t.Fatalf("exit %d\n%s", code, out)
	}
	canonical, err := xmlsig.Canonicalize(xmlsig.C14N10, []byte(strings.Replace(form, "<row/>", "\n  <row/>", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		d.path("indented.xml") + ": line 2: the digest of the signed content is not the stated one", "indented after signing", xmlsig.DigestSHA256, xmlsig.C14N10,
		fmt.Sprintf("%d bytes, SHA-256 %x", len(canonical), sha256.Sum256(canonical)), d.path("tampered.xml") + ": line 1", "the content itself was changed",
	} {
		if !strings.Contains(errs, part) {
			t.Errorf("%q is not in\n%s", part, errs)
		}
	}
	if n := strings.Count(errs, "stated digest"); n != 2 {
		t.Errorf("%d explanations\n%s", n, errs)
	}
	if _, _, errs := d.run(strings.ReplaceAll(common, "--explain", "") + "@tampered.xml"); errs != "" {
		t.Errorf("an explanation that nobody asked for: %s", errs)
	}
}

func TestUsage(t *testing.T) {
	d := newDesk(t)
	d.write("empty/none.txt", nil)
	d.write("citizen.p12", pkcs12test.File{Password: "x"}.Encode())
	d.write("password", []byte("x"))
	for _, line := range []string{
		"", "nonsense", "verify", "verify @citizen-01.xml", "verify --trust @root.pem", "verify --trust @none.pem @citizen-01.xml", "verify --trust @empty @citizen-01.xml",
		"verify --trust @citizen-01.key.pem @citizen-01.xml", "verify --trust @issuing.pem @citizen-01.xml", "verify --trust @root.pem --untrusted @none.pem @citizen-01.xml",
		"verify --trust @root.pem --crl @none.crl @citizen-01.xml", "verify --trust @root.pem --ocsp-response @none.ocsp @citizen-01.xml",
		"verify --trust @root.pem --revocation perhaps @citizen-01.xml", "verify --trust @root.pem --crl-scope all @citizen-01.xml", "verify --trust @root.pem --at yesterday @citizen-01.xml",
		"verify --trust @root.pem --iin 123 @citizen-01.xml", "verify --trust @root.pem --purpose fun @citizen-01.xml", "verify --trust @root.pem --profile detached @citizen-01.xml",
		"verify --pinned @none.pem @citizen-01.xml", "verify --pinned @both.pem @citizen-01.xml", "verify --trust @root.pem --nonsense @citizen-01.xml", "verify --trust @root.pem --max-bytes many @citizen-01.xml",
		"canonicalize", "canonicalize @unsigned.xml", "canonicalize --method x",
		"sign", "sign --key @citizen-01.key.pem", "sign --in @unsigned.xml", "sign --key @citizen-01.key.pem --in @unsigned.xml --profile detached", "sign --key @citizen-01.key.pem --in @unsigned.xml --layout wide",
		"sign --key @citizen.p12 --in @unsigned.xml", "sign --key @citizen-01.key.pem --password-file @password --in @unsigned.xml",
	} {
		code, out, errs := d.run(line)
		if code != exitUsage || out != "" && !strings.Contains(out, "Usage:") || errs == "" || strings.Contains(errs, "%!") {
			t.Errorf("%s: exit %d, %q, %q", line, code, out, errs)
		}
	}
}

// canonicalize writes what xmllint writes.
func TestCanonicalizeCommand(t *testing.T) {
	d := newDesk(t)
	d.write("c.xml", []byte("<?xml version=\"1.0\"?>\r\n<!-- a --><r b='2' a=\"1\"  xmlns:u='urn:u' xmlns=\"urn:r\"><u:x/><![CDATA[<&]]>\r\n<e xml:lang='kk'/><!-- b -->жер&#13;</r><!-- c -->\n"))
	tool.Path(t, "xmllint", "libxml2-utils")
	for method, flag := range map[string]string{xmlsig.C14N10Comments: "--c14n", xmlsig.C14N11Comments: "--c14n11", xmlsig.ExcC14NComments: "--exc-c14n"} {
		want, err := exec.Command("xmllint", flag, d.path("c.xml")).Output()
		if err != nil {
			t.Fatal(err)
		}
		code, out, errs := d.run("canonicalize @c.xml --method", method)
		if code != 0 || out != string(want) || errs != "" {
			t.Errorf("%s: exit %d\n%s\n%s%s", flag, code, want, out, errs)
		}
		without, ok := strings.CutSuffix(method, "WithComments")
		if without = strings.TrimSuffix(without, "#"); strings.Contains(method, "exc") {
			without += "#"
		}
		if code, out, _ := d.run("canonicalize @c.xml --method", without); !ok || code != 0 || strings.Contains(out, "<!--") || !strings.Contains(out, "жер") {
			t.Errorf("%s: exit %d\n%s", without, code, out)
		}
	}
	for line, want := range map[string]gateway.Reason{
		"canonicalize --method urn:x @c.xml": gateway.SignatureAlgorithm, "canonicalize --method " + xmlsig.C14N10 + " @broken.xml": gateway.DocumentMalformed,
	} {
		if code, out, errs := d.run(line); code != exitFailed || out != "" || !strings.Contains(errs, string(want)) {
			t.Errorf("%s: exit %d %q %q", line, code, out, errs)
		}
	}
	if code, _, errs := d.run("canonicalize @none.xml --method", xmlsig.C14N10); code != exitFailed || !strings.Contains(errs, "none.xml") {
		t.Errorf("exit %d %q", code, errs)
	}
}

// R3: what sign writes, verify verifies; from PEM and from a key file of the NCA, in every
// profile and layout, to a file and to standard output.
func TestSignCommand(t *testing.T) {
	d := newDesk(t)
	pkcs8, _ := pem.Decode(d.pki.Must("citizen-01").KeyPEM)
	d.write("citizen.p12", pkcs12test.File{Password: "TEST only 1", Keys: [][]byte{pkcs8.Bytes}, Certificates: [][]byte{d.pki.Must("issuing").DER, d.pki.Must("citizen-01").DER}, BER: true}.Encode())
	d.write("password", []byte("TEST only 1\n"))
	d.write("wrong-password", []byte("TEST only 2\n"))
	d.write("message-to-sign.xml", []byte(envelope))
	const pin = "verify --at 2026-11-02T06:00:00Z --pinned @citizen-01.pem --revocation off "
	for _, key := range []string{"--key @citizen-01.key.pem", "--key @citizen.p12 --password-file @password"} {
		for _, profile := range []string{"document", "wsse"} {
			for _, layout := range []string{"", " --layout compact", " --layout kalkan"} {
				line := "sign " + key + " --profile " + profile + layout + " --in @" + map[string]string{"document": "unsigned.xml", "wsse": "message-to-sign.xml"}[profile]
				if code, out, errs := d.run(line + " --out @signed.xml"); code != 0 || out != "" || errs != "" {
					t.Fatalf("%s: exit %d %q %q", line, code, out, errs)
				}
				if info, err := os.Stat(d.path("signed.xml")); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v %v", info, err)
				}
				if code, out, errs := d.run(pin + "--profile " + profile + " @signed.xml"); code != 0 {
					t.Errorf("%s: exit %d %s%s", line, code, out, errs)
				}
				code, out, errs := d.run(line)
				if code != 0 || errs != "" {
					t.Fatalf("%s: exit %d %q", line, code, errs)
				}
				if strings.Contains(layout, "kalkan") != strings.Contains(out, "&#13;\n") && profile == "document" {
					t.Errorf("%s: another layout\n%s", line, out)
				}
				d.write("piped.xml", []byte(out))
				if code, out, errs := d.run(pin + "--profile " + profile + " @piped.xml"); code != 0 {
					t.Errorf("%s: exit %d %s%s", line, code, out, errs)
				}
			}
		}
	}
	for line, want := range map[string]string{
		"--key @none.pem --in @unsigned.xml":                                      "none.pem",
		"--key @citizen-01.pem --in @unsigned.xml":                                "no private key",
		"--key @citizen-01.key.pem --in @none.xml":                                "none.xml",
		"--key @citizen-01.key.pem --in @broken.xml":                              string(gateway.DocumentMalformed),
		"--key @citizen-01.key.pem --in @citizen-01.xml":                          string(gateway.SignatureMultiple),
		"--key @citizen-01.key.pem --in @unsigned.xml --profile wsse":             string(gateway.SignatureReference),
		"--key @citizen-01.key.pem --in @unsigned.xml --out @none/signed.xml":     "not written",
		"--key @citizen.p12 --password-file @wrong-password --in @unsigned.xml":   "password",
		"--key @citizen.p12 --password-file @none --in @unsigned.xml":             "none",
		"--key @citizen-01.der --password-file @password --in @unsigned.xml":      "not PKCS #12",
		"--key @citizen.p12 --password-file @citizen-01.pem --in @unsigned.xml":   "password",
		"--key @citizen-01.key.pem --in @anchors --profile document":              "anchors",
		"--key @citizen-01.key.pem --in @message.xml --profile wsse":              string(gateway.SignatureMultiple),
		"--key @citizen-01.key.pem --in @issuing.der --out @never-written-either": string(gateway.DocumentMalformed),
	} {
		if code, out, errs := d.run("sign " + line); code != exitFailed || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d %q %q, want %q", line, code, out, errs, want)
		}
	}
	if _, err := os.Stat(d.path("never-written-either")); err == nil {
		t.Error("a file was written though nothing was signed")
	}
}

// Every flag of the offline commands that harnesses rely on is in their help, with a sentence.
func TestHelpNamesEveryFlag(t *testing.T) {
	for command, flags := range map[string]string{
		"verify":       "trust untrusted crl ocsp-response revocation crl-scope at iin purpose pinned profile allow-gost-2004 max-bytes cert explain test-anchor corpus jobs all verifier",
		"canonicalize": "method",
		"sign":         "key password-file in out profile layout",
	} {
		var out, errs bytes.Buffer
		if code := run([]string{command, "--help"}, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%s --help: exit %d %s", command, code, &errs)
		}
		lines := strings.Split(out.String(), "\n")
		for _, f := range strings.Fields(flags) {
			i := slices.IndexFunc(lines, func(l string) bool {
				l = strings.TrimSpace(l)
				return strings.HasPrefix(l, "--"+f+"=") || strings.HasPrefix(l, "--"+f+" ") || l == "--"+f
			})
			switch {
			case i < 0:
				t.Errorf("%s --help does not name --%s", command, f)
			case len(strings.Fields(lines[i])) == 1 && (i+1 == len(lines) || !strings.HasPrefix(lines[i+1], "      ")):
				t.Errorf("%s --help does not say what --%s does", command, f)
			}
		}
		for _, l := range lines {
			l = strings.TrimSpace(l)
			if name, ok := strings.CutPrefix(l, "--"); ok {
				name = name[:strings.IndexAny(name+" ", "= ")]
				if !slices.Contains(strings.Fields(flags), name) {
					t.Errorf("%s has the flag --%s, which no test knows", command, name)
				}
			}
		}
	}
}
