package main

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// reissue makes a key like that of an entry, of the same authority and organisation, in another role there.
func (l *lab) reissue(t *testing.T, id string, arcs ...int) *xmlsig.Key {
	t.Helper()
	e, ca := l.pki.Must(id), l.pki.Must("issuing")
	like, err := x509.ParseCertificate(e.DER)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(ca.DER)
	if err != nil {
		t.Fatal(err)
	}
	legal := asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), RawSubject: like.RawSubject, NotBefore: like.NotBefore, NotAfter: like.NotAfter,
		KeyUsage: like.KeyUsage, PolicyIdentifiers: like.PolicyIdentifiers, Policies: like.Policies,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{legal, append(append(asn1.ObjectIdentifier{}, legal...), arcs...)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, like.PublicKey, ca.Signer)
	if err != nil {
		t.Fatal(err)
	}
	key, err := xmlsig.NewKey(der, e.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// R24, R25: a step is reported by whoever of the provider's people did it; a result carries the signature of
// those whom the region's act names. Systems sign neither.
func TestR25WhoseSignatureAResultCarries(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	tests := []struct {
		name               string
		arcs               []int
		step, sko, zhambyl bool // may sign a step; a result in Petropavl; one in Taraz
	}{
		{"the first head", []int{1}, true, true, true},
		{"an employee with the right to sign", []int{2}, true, true, true},
		{"an employee", []int{5}, true, false, true},
		{"who signs financial documents", []int{3}, false, false, false},
		{"who handles the staff's affairs", []int{4}, false, false, false},
		{"the information system", []int{6}, false, false, false},
		{"a named information system", []int{6, 17}, false, false, false},
	}
	for _, provider := range []struct{ id, head, territory string }{
		{"petropavl", "provider-sko-head", petropavl}, {"taraz", "provider-zhambyl-head", taraz},
	} {
		token, err := os.ReadFile(filepath.Join(l.dir, provider.id+".token"))
		if err != nil {
			t.Fatal(err)
		}
		r := l.mustAccept(t, l.draft("citizen-01", provider.territory), "citizen-01")
		// What is claimed lies in the future: who may sign is told so, and nothing is recorded.
		later := l.clock.Now().Add(48 * time.Hour).Format(time.RFC3339)
		inner := map[string]string{
			"step": fmt.Sprintf("<requestId>%s</requestId><code>register</code><completedAt>%s</completedAt>", r.ID, later),
			"result": fmt.Sprintf(`<requestId>%s</requestId><number>1</number><decidedAt>%s</decidedAt><providerBin>%s</providerBin><providerName><kk>A</kk><ru>A</ru></providerName>
<refusal><ground>data-unreliable</ground><explanation><kk>A</kk><ru>A</ru></explanation></refusal>`, r.ID, later, l.pki.Must(provider.head).BIN),
		}
		for _, tt := range tests {
			for kind, may := range map[string]bool{"step": tt.step, "result": provider.id == "petropavl" && tt.sko || provider.id == "taraz" && tt.zhambyl} {
				t.Run(provider.id+"/"+kind+"/"+tt.name, func(t *testing.T) {
					want := gateway.FormInvalid
					if !may {
						want = gateway.ExtendedKeyUsage
					}
					doc := mustSign(t, l.reissue(t, provider.head, tt.arcs...), []byte(fmt.Sprintf(`<%[1]s xmlns="urn:egov-gateway:%[1]s:1">%[2]s</%[1]s>`, kind, inner[kind])))
					status, _, body := call(t, http.MethodPost, l.base+"/v1/providers/"+provider.id+"/"+kind+"s", doc, "Content-Type", "application/xml",
						"Authorization", "Bearer "+string(token))
					if got := problemOf(t, body).Reason; status != http.StatusUnprocessableEntity || got != want {
						t.Errorf("%d %s, want %s", status, body, want)
					}
				})
			}
		}
	}
}
