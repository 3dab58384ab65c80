package revocation_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// The rows that an attacker could try with either kind of keys, under an RSA and under a GOST CA.
func TestEvidenceUnderBothKindsOfKeys(t *testing.T) {
	p := pki(t)
	for _, kind := range []struct{ name, own, other string }{{"RSA", "", "gost-"}, {"GOST", "gost-", ""}} {
		own := func(id string) string { return kind.own + id }
		me := serialOf(p.Must(own("citizen-01")))
		other := kind.other
		flip := func(at int) func([]byte) []byte {
			return func(b []byte) []byte {
				b = bytes.Clone(b)
				b[len(b)-at] ^= 1
				return b
			}
		}
		is := func(reason int) []item { return []item{{serial: me, reason: reason}} }
		tests := []struct {
			name   string
			answer *answer // nil: the responder is away
			list   *list   // nil: none
			want   gateway.Reason
			method string
		}{
			{"#1 #2 good", &answer{}, nil, "", "ocsp"},
			{"signed by the CA itself", &answer{signer: p.Must(own("issuing"))}, nil, "", "ocsp"},
			{"the responder named by its key", &answer{byKey: true}, nil, "", "ocsp"},
			{"#47 revoked, keyCompromise", &answer{singles: revokedFor(1)}, nil, gateway.Revoked, "ocsp"},
			{"#48 on hold", &answer{singles: revokedFor(6)}, nil, gateway.Suspended, "ocsp"},
			{"#49 never issued", &answer{singles: []single{{status: 'r', reason: 6, at: time.Unix(0, 0)}}, extendedRevoke: true}, nil, gateway.NeverIssued, "ocsp"},
			{"#50 unknown, a clean list", &answer{singles: []single{{status: 'u'}}}, &list{}, "", "crl"},
			{"unknown, no list", &answer{singles: []single{{status: 'u'}}}, nil, gateway.StatusUnknown, ""},
			{"#51 signed by a person", &answer{signer: p.Must(own("citizen-02"))}, nil, gateway.EvidenceUntrusted, ""},
			{"#52 a responder of another CA", &answer{signer: p.Must(own("ocsp-responder-other"))}, nil, gateway.EvidenceUntrusted, ""},
			{"a responder of the root", &answer{signer: p.Must(own("ocsp-responder-root"))}, nil, gateway.EvidenceUntrusted, ""},
			{"the responder of the other kind of keys", &answer{signer: p.Must(other + "ocsp-responder")}, nil, gateway.EvidenceUntrusted, ""},
			{"the CA of the other kind of keys", &answer{signer: p.Must(other + "issuing")}, nil, gateway.EvidenceUntrusted, ""},
			{"#17 under the other kind's identifier", &answer{algorithm: algorithmOf(p.Must(other + "issuing").Signer)}, nil, gateway.EvidenceUntrusted, ""},
			{"#55 the responder's id is another's", &answer{responderName: p.Must(own("citizen-02")).X509().RawSubject}, nil, gateway.EvidenceUntrusted, ""},
			{"#56 another issuer's name in the CertID", &answer{singles: []single{{status: 'g', spoilName: true}}}, nil, gateway.EvidenceUntrusted, ""},
			{"#56 another issuer's key in the CertID", &answer{singles: []single{{status: 'g', spoilKey: true}}}, nil, gateway.EvidenceUntrusted, ""},
			{"the answer is about the CA of the other kind", &answer{issuer: p.Must(other + "issuing")}, nil, gateway.EvidenceUntrusted, ""},
			{"#58 good, then revoked", &answer{singles: append([]single{{status: 'g'}}, revokedFor(1)...)}, nil, gateway.Revoked, "ocsp"},
			{"#61 another nonce", &answer{nonce: make([]byte, 32)}, nil, gateway.NonceMismatch, ""},
			{"#62 twenty minutes old", &answer{producedAt: now.Add(-20 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(-20 * time.Minute)}}}, nil, gateway.EvidenceStale, ""},
			{"#63 of the future", &answer{producedAt: now.Add(10 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(10 * time.Minute)}}}, nil, gateway.EvidenceFuture, ""},
			{"#67 away, listed", nil, &list{revoked: is(1)}, gateway.Revoked, "crl"},
			{"away, on hold in the list", nil, &list{revoked: is(6)}, gateway.Suspended, "crl"},
			{"#6 away, a clean list without NULL inside", nil, &list{innerPlain: true}, "", "crl"},
			{"#70 a list signed by another key", nil, &list{key: p.Must(own("other-issuing")).Signer}, gateway.EvidenceUntrusted, ""},
			{"a list signed by the other kind's CA", nil, &list{key: p.Must(other + "issuing").Signer}, gateway.EvidenceUntrusted, ""},
			{"#84 the list of the other kind's CA", nil, &list{issuer: p.Must(other + "issuing"), revoked: is(1)}, gateway.EvidenceUntrusted, ""},
			{"a bit of the list's signature flipped", nil, &list{mangle: flip(10)}, gateway.EvidenceUntrusted, ""},
			{"#16 r and s of zero under the list", nil, &list{mangle: func(b []byte) []byte {
				b = bytes.Clone(b)
				clear(b[len(b)-128:])
				return b
			}}, gateway.EvidenceUntrusted, ""},
			{"#69 nothing", nil, nil, gateway.StatusUnavailable, ""},
		}
		for _, tt := range tests {
			t.Run(kind.name+" "+tt.name, func(t *testing.T) {
				s := newStage(t)
				if tt.answer != nil {
					a := *tt.answer
					if a.issuer == nil {
						a.issuer = p.Must(own("issuing"))
					}
					a.subject = p.Must(own("citizen-01"))
					if a.signer == nil {
						a.signer = p.Must(own("ocsp-responder"))
					}
					s.answer(ocspURL, a)
				}
				if tt.list != nil {
					l := *tt.list
					if l.issuer == nil {
						l.issuer = p.Must(own("issuing"))
					}
					s.publish(crlURL, l.make(p))
				}
				s.publish(rootCRL, list{issuer: p.Must(own("root"))}.make(p))
				k := s.refreshed(func(c *revocation.Config) {
					c.Issuers = []revocation.Issuer{
						{Certificate: certificate(t, p.Must(own("issuing")).DER), Label: "issuing", OCSP: []string{ocspURL}, CRL: crlURL},
						{Certificate: certificate(t, p.Must(own("root")).DER), Label: "root", CRL: rootCRL},
					}
					c.OCSPTimeout = 5 * time.Second
				})
				e, err := k.Check(context.Background(), pathOf(t, p, own("citizen-01"), own("issuing"), own("root")), now)
				wantReason(t, err, tt.want)
				if e.Method != tt.method {
					t.Errorf("proven by %q, want %q", e.Method, tt.method)
				}
			})
		}
	}
}
