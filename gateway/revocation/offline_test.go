package revocation_test

import (
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// R4c, for the command line: only the evidence given counts, at the instant given.
func TestOffline(t *testing.T) {
	p := pki(t)
	me := serialOf(p.Must("citizen-01"))
	root := list{issuer: p.Must("root")}
	caRevoked := list{issuer: p.Must("root"), revoked: []item{{serial: serialOf(p.Must("issuing")), reason: 2}}}
	is := func(reason int) []item { return []item{{serial: me, reason: reason}} }
	point := func(url string) [][]byte {
		return [][]byte{extension(true, oid(2, 5, 29, 28), tlv(0x30, tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(url))))))}
	}
	garbled := list{mangle: func([]byte) []byte { return []byte("no list") }}
	tests := []struct {
		name    string
		crls    []list
		answers []answer
		at      time.Time
		scope   revocation.Scope
		want    gateway.Reason
		method  string
	}{
		{"both lists clean", []list{root, {}}, nil, now, "", "", "crl"},
		{"the lists in the other order", []list{{}, root}, nil, now, "", "", "crl"},
		{"nothing given", nil, nil, now, "", gateway.StatusUnavailable, ""},
		{"nothing about the CA", []list{{}}, nil, now, "", gateway.StatusUnavailable, ""},
		{"nothing about the CA, and only the leaf is asked about", []list{{}}, nil, now, revocation.ScopeLeaf, "", "crl"},
		{"revoked", []list{root, {revoked: is(1)}}, nil, now, "", gateway.Revoked, "crl"},
		{"revoked, and nothing about the CA", []list{{revoked: is(1)}}, nil, now, "", gateway.Revoked, "crl"},
		{"on hold", []list{root, {revoked: is(6)}}, nil, now, "", gateway.Suspended, "crl"},
		{"the CA was revoked", []list{caRevoked, {}}, nil, now, "", gateway.IssuerRevoked, "crl"},
		{"the CA was revoked, and only the leaf is asked about", []list{caRevoked, {}}, nil, now, revocation.ScopeLeaf, "", "crl"},
		{"a good answer", []list{root}, []answer{{noNonce: true}}, now, "", "", "ocsp"},
		{"a good answer that names the certificate by SHA-1", []list{root}, []answer{{singles: []single{{status: 'g', sha1: true}}}}, now, "", "", "ocsp"},
		{"a good answer and a list that revokes", []list{root, {revoked: is(1)}}, []answer{{}}, now, "", gateway.Revoked, "crl"},
		{"an answer that revokes and a clean list", []list{root, {}}, []answer{{singles: revokedFor(1)}}, now, "", gateway.Revoked, "ocsp"},
		{"two answers, the second revokes", []list{root}, []answer{{}, {singles: revokedFor(1)}}, now, "", gateway.Revoked, "ocsp"},
		{"a forged answer and a good one", []list{root}, []answer{{signer: p.Must("citizen-02")}, {}}, now, "", "", "ocsp"},
		{"a forged answer alone", []list{root}, []answer{{signer: p.Must("citizen-02")}}, now, "", gateway.EvidenceUntrusted, ""},
		{"a forged answer and a clean list", []list{root, {}}, []answer{{signer: p.Must("citizen-02")}}, now, "", "", "crl"},
		{"an unknown answer", []list{root}, []answer{{singles: []single{{status: 'u'}}}}, now, "", gateway.StatusUnknown, ""},
		{"a forged list and a real one", []list{root, {key: p.Must("citizen-02").Signer}, {}}, nil, now, "", "", "crl"},
		{"a forged list that revokes and a real one", []list{root, {key: p.Must("citizen-02").Signer, revoked: is(1)}, {}}, nil, now, "", "", "crl"},
		{"a forged list alone", []list{root, {key: p.Must("citizen-02").Signer}}, nil, now, "", gateway.EvidenceUntrusted, ""},
		{"garbage alone", []list{root, garbled}, nil, now, "", gateway.EvidenceUntrusted, ""},
		{"an expired list", []list{root, {}}, nil, now.AddDate(0, 1, 0), "", gateway.EvidenceStale, ""},
		{"an old list that is still in its time", []list{{issuer: p.Must("root"), nextUpdate: now.AddDate(0, 1, 0)}, {nextUpdate: now.AddDate(0, 1, 0)}}, nil, now.AddDate(0, 0, 20), "", "", "crl"},
		{"lists from after the instant that do not name it", []list{root, {}}, nil, now.AddDate(0, 0, -1), "", "", "crl"},
		{"a list from after the instant: revoked before", []list{root, {revoked: is(4)}}, nil, now.AddDate(0, 0, -1), "", gateway.Revoked, "crl"},
		{"a list from after the instant: on hold before", []list{root, {revoked: is(6)}}, nil, now.AddDate(0, 0, -1), "", gateway.Suspended, "crl"},
		{"a list from after the instant: revoked since", []list{root, {revoked: is(4)}}, nil, now.AddDate(0, -1, -1), "", "", "crl"},
		{"a list from after the instant: on hold since", []list{root, {revoked: is(6)}}, nil, now.AddDate(0, -1, -1), "", "", "crl"},
		{"a list from after the instant: compromised since, and invalid before", []list{root, {revoked: []item{{serial: me, reason: 1,
			extensions: [][]byte{extension(false, oid(2, 5, 29, 24), general(now.AddDate(0, -2, 0)))}}}}}, nil, now.AddDate(0, -1, -1), "", gateway.Revoked, "crl"},
		{"a list of the instant and one from after it: revoked since", []list{root, {thisUpdate: now.AddDate(0, -1, -2)}, {number: 6, revoked: is(4)}}, nil, now.AddDate(0, -1, -1), "", "", "crl"},
		{"a list of the instant: on hold, and one from after it that does not name it", []list{root, {thisUpdate: now.AddDate(0, 0, -2), revoked: is(6)}, {number: 6}}, nil, now.AddDate(0, 0, -1), "", gateway.Suspended, "crl"},
		{"a delta from after the instant that revokes since", []list{root, {base: 5, number: 20, revoked: is(4)}}, nil, now.AddDate(0, -1, -1), "", "", "crl+delta"},
		{"a delta from after the instant that does not name it", []list{root, {base: 5, number: 20}}, nil, now.AddDate(0, 0, -1), "", gateway.StatusUnknown, ""},
		{"a list from after the certificate's end that does not name it", []list{{issuer: p.Must("root"), thisUpdate: now.AddDate(9, 0, 0)}, {thisUpdate: p.Must("citizen-01").X509().NotAfter.Add(time.Hour)}},
			nil, now, "leaf", gateway.StatusUnknown, ""},
		{"a list from after the certificate's end: revoked since", []list{{thisUpdate: p.Must("citizen-01").X509().NotAfter.Add(time.Hour), revoked: is(4)}},
			nil, now.AddDate(0, -1, -1), "leaf", "", "crl"},
		{"the list of the root is from after the instant: the CA was revoked since", []list{caRevoked, {}}, nil, now.AddDate(0, -1, -1), "", "", "crl"},
		{"the list of the root is from after the instant: the CA was revoked before", []list{caRevoked, {}}, nil, now.AddDate(0, 0, -1), "", gateway.IssuerRevoked, "crl"},
		{"two lists, the newer one revokes", []list{root, {thisUpdate: now.Add(-2 * time.Hour)}, {revoked: is(1)}}, nil, now, "", gateway.Revoked, "crl"},
		{"a delta that revokes", []list{root, {thisUpdate: now.Add(-2 * time.Hour)}, {base: 5, revoked: is(1)}}, nil, now, "", gateway.Revoked, "crl+delta"},
		{"a delta that removes a hold", []list{root, {thisUpdate: now.Add(-2 * time.Hour), revoked: is(6)}, {base: 5, revoked: is(8)}}, nil, now, "", "", "crl+delta"},
		{"a delta alone", []list{root, {base: 5}}, nil, now, "", gateway.EvidenceScope, ""},
		{"a list of the certificate's own distribution point", []list{root, {extensions: point("http://pki.test-only.invalid/crl/issuing.crl")}}, nil, now, "", "", "crl"},
		{"a list of another distribution point", []list{root, {extensions: point("http://pki.test-only.invalid/crl/other.crl")}}, nil, now, "", gateway.EvidenceScope, ""},
		{"lists of strangers", []list{root, {issuer: p.Must("other-issuing")}, {issuer: p.Must("other-root")}}, nil, now, "", gateway.StatusUnavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var crls, answers [][]byte
			for _, l := range tt.crls {
				crls = append(crls, l.make(p))
			}
			for _, a := range tt.answers {
				answers = append(answers, a.make(p, nil))
			}
			e, err := revocation.Offline(pathOf(t, p, "citizen-01", "issuing", "root"), tt.at, crls, answers, revocation.OfflineOptions{Scope: tt.scope})
			wantReason(t, err, tt.want)
			since := strings.Contains(tt.name, ": revoked since") || strings.Contains(tt.name, ": on hold since") || strings.Contains(tt.name, "that revokes since")
			if since != e.RevokedLater.Equal(now.AddDate(0, -1, 0)) {
				t.Errorf("revoked later: %v, reason %d", e.RevokedLater, e.LaterReason)
			}
			if tt.method != "" && tt.want != gateway.IssuerRevoked && e.Method != tt.method {
				t.Errorf("proven by %q, want %q", e.Method, tt.method)
			}
		})
	}
	_, err := revocation.Offline(pathOf(t, p, "citizen-01"), now, [][]byte{list{}.make(p)}, nil, revocation.OfflineOptions{})
	wantReason(t, err, gateway.StatusUnavailable)
}
