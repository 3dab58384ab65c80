package revocation_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/peer"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/revocation"
)

// An authority is a CA run by the openssl tool in a folder: its responder answers one request
// a process, so nothing listens anywhere.
type authority struct {
	t   testing.TB
	dir string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	tool.Path(t, "openssl", "openssl")
	a := &authority{t, t.TempDir()}
	p := pki(t)
	for _, id := range []string{"issuing", "ocsp-responder", "citizen-02"} {
		a.write(id+".pem", string(p.Must(id).CertificatePEM))
		a.write(id+".key", string(p.Must(id).KeyPEM))
	}
	var index strings.Builder
	revoked := time.Now().Add(-time.Hour).UTC().Format("060102150405Z")
	line := func(status, when, id string) {
		fmt.Fprintf(&index, "%s\t360101000000Z\t%s\t%s\tunknown\t/CN=%s\n", status, when, strings.ToUpper(p.Must(id).Serial), id)
	}
	line("V", "", "citizen-01")
	line("R", revoked+",keyCompromise", "citizen-revoked")
	line("R", revoked+",certificateHold,holdInstructionReject", "citizen-suspended")
	line("R", revoked, "citizen-03")
	a.write("index.txt", index.String())
	a.write("index.txt.attr", "unique_subject = no\n")
	a.write("crlnumber", "0A\n")
	a.write("ca.cnf", fmt.Sprintf("[ca]\ndefault_ca=d\n[d]\ndatabase=%[1]s/index.txt\ncrlnumber=%[1]s/crlnumber\ncertificate=%[1]s/issuing.pem\n"+
		"private_key=%[1]s/issuing.key\ndefault_md=sha256\ndefault_crl_days=7\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid:always\n", a.dir))
	return a
}

func (a *authority) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) run(stdin []byte, args ...string) ([]byte, error) {
	cmd := peer.Command(a.t.Context(), time.Now(), "openssl", args...)
	cmd.Dir, cmd.Stdin = a.dir, bytes.NewReader(stdin)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("openssl %s: %w: %s", args[0], err, complaint.String())
	}
	return out, nil
}

// answers lets the openssl responder answer as signer.
func (a *authority) answers(signer string, more ...string) func(context.Context, string, []byte) ([]byte, error) {
	return func(_ context.Context, url string, body []byte) ([]byte, error) {
		if body == nil {
			return nil, errAway
		}
		request, answer := filepath.Join(a.dir, "request"), filepath.Join(a.dir, "answer")
		if err := os.WriteFile(request, body, 0o600); err != nil {
			return nil, err
		}
		args := append([]string{"ocsp", "-index", "index.txt", "-CA", "issuing.pem", "-rsigner", signer + ".pem", "-rkey", signer + ".key",
			"-reqin", request, "-respout", answer}, more...)
		if _, err := a.run(nil, args...); err != nil {
			return nil, err
		}
		return os.ReadFile(answer)
	}
}

// crl lets openssl ca sign the list.
func (a *authority) crl() []byte {
	a.t.Helper()
	if _, err := a.run(nil, "ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem"); err != nil {
		a.t.Fatal(err)
	}
	der, err := a.run(nil, "crl", "-in", "crl.pem", "-outform", "DER")
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// R4c, with openssl as the other side.
func TestOpenSSLAsResponderAndAuthority(t *testing.T) {
	p := pki(t)
	a := newAuthority(t)
	list := a.crl()
	tests := []struct {
		name, citizen string
		signer        string // "": no responder
		more          []string
		crl           bool
		want          gateway.Reason
		method        string
	}{
		{"good", "citizen-01", "ocsp-responder", nil, false, "", "ocsp"},
		{"good with nextUpdate", "citizen-01", "ocsp-responder", []string{"-nmin", "5"}, false, "", "ocsp"},
		{"good, responder named by key", "citizen-01", "ocsp-responder", []string{"-resp_key_id"}, false, "", "ocsp"},
		{"good, signed by the CA itself", "citizen-01", "issuing", nil, false, "", "ocsp"},
		{"good, without the responder's certificate", "citizen-01", "ocsp-responder", []string{"-resp_no_certs"}, false, gateway.EvidenceUntrusted, ""},
		{"good, with SHA-512", "citizen-01", "ocsp-responder", []string{"-rmd", "sha512"}, false, "", "ocsp"},
		{"good, with SHA-1", "citizen-01", "ocsp-responder", []string{"-rmd", "sha1"}, false, gateway.EvidenceUntrusted, ""},
		{"good, says a person's certificate", "citizen-01", "citizen-02", nil, false, gateway.EvidenceUntrusted, ""},
		{"revoked", "citizen-revoked", "ocsp-responder", nil, false, gateway.Revoked, "ocsp"},
		{"revoked without reason", "citizen-03", "ocsp-responder", nil, false, gateway.Revoked, "ocsp"},
		{"on hold", "citizen-suspended", "ocsp-responder", nil, false, gateway.Suspended, "ocsp"},
		{"unknown", "citizen-unknown", "ocsp-responder", nil, false, gateway.StatusUnknown, ""},
		{"unknown, and not in the list", "citizen-unknown", "ocsp-responder", nil, true, "", "crl"},
		{"not in the list", "citizen-01", "", nil, true, "", "crl"},
		{"in the list", "citizen-revoked", "", nil, true, gateway.Revoked, "crl"},
		{"in the list without reason", "citizen-03", "", nil, true, gateway.Revoked, "crl"},
		{"in the list on hold", "citizen-suspended", "", nil, true, gateway.Suspended, "crl"},
		{"good, but in the list", "citizen-revoked", "ocsp-responder", nil, true, gateway.Revoked, "crl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(rootCRL, rootListOf(p, time.Now()).make(p))
			ask := a.answers(tt.signer, tt.more...)
			k := s.refreshed(func(c *revocation.Config) {
				c.Now, c.OCSPTimeout = time.Now, 20*time.Second
				c.Fetch = func(ctx context.Context, url string, body []byte) ([]byte, error) {
					switch {
					case url == ocspURL && tt.signer != "":
						return ask(ctx, url, body)
					case url == crlURL && tt.crl:
						return list, nil
					case url == rootCRL:
						return s.fetch(ctx, url, body)
					}
					return nil, errAway
				}
			})
			e, err := k.Check(context.Background(), pathOf(t, p, tt.citizen, "issuing", "root"), time.Now())
			wantReason(t, err, tt.want)
			if tt.method != "" && e.Method != tt.method {
				t.Errorf("proven by %q, want %q", e.Method, tt.method)
			}
		})
	}
}

// Our request and our reading of the tool's answer agree with the tool's reading of both.
func TestOpenSSLReadsOurRequestsAndAnswers(t *testing.T) {
	p := pki(t)
	a := newAuthority(t)
	a.write("answer.der", string(answer{}.make(p, nil)))
	text, err := a.run(nil, "ocsp", "-respin", "answer.der", "-noverify", "-resp_text")
	if err != nil || !bytes.Contains(text, []byte("Cert Status: good")) {
		t.Errorf("%v\n%s", err, text)
	}
	a.write("list.der", string(list{base: 5, revoked: []item{{serial: []byte{5}, reason: 8}}}.make(p)))
	text, err = a.run(nil, "crl", "-in", "list.der", "-inform", "DER", "-noout", "-text", "-CAfile", "issuing.pem")
	if err != nil || !bytes.Contains(text, []byte("Delta CRL Indicator: critical")) || !bytes.Contains(text, []byte("Remove From CRL")) {
		t.Errorf("%v\n%s", err, text)
	}
}
