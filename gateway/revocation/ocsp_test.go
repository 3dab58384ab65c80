package revocation_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
)

// R4c: what an OCSP answer may and may not prove. In every row there is no CRL to fall back
// on, unless crl is set, so the reason is what the answer itself earned.
func TestOCSPAnswers(t *testing.T) {
	p := pki(t)
	unknownCritical := extension(true, oid(1, 2, 3, 4), null)
	tests := []struct {
		name   string
		answer answer
		edit   func(*revocation.Issuer)
		crl    bool // a fresh CRL without entries is at hand
		want   gateway.Reason
		method string
	}{
		{name: "#1 good", method: "ocsp"},
		{name: "good, signed by the CA itself", answer: answer{signer: p.Must("issuing"), noEmbedded: true}, method: "ocsp"},
		{name: "good, responder named by key", answer: answer{byKey: true}, method: "ocsp"},
		{name: "good, no reason to lack a nonce but it lacks one", answer: answer{noNonce: true}, method: "ocsp"},
		{name: "#47 revoked: keyCompromise", answer: answer{singles: revokedFor(1)}, want: gateway.Revoked, method: "ocsp"},
		{name: "#47 revoked without reason", answer: answer{singles: revokedFor(-1)}, want: gateway.Revoked, method: "ocsp"},
		{name: "#47 revoked, though a fresh CRL does not list it yet", answer: answer{singles: revokedFor(1)}, crl: true, want: gateway.Revoked, method: "ocsp"},
		{name: "#48 revoked: certificateHold", answer: answer{singles: revokedFor(6)}, want: gateway.Suspended, method: "ocsp"},
		{name: "#49 never issued: 1970, hold, extended-revoke", answer: answer{extendedRevoke: true, singles: []single{{status: 'r', reason: 6, at: time.Unix(0, 0)}}}, want: gateway.NeverIssued, method: "ocsp"},
		{name: "#49 the same without extended-revoke is a hold", answer: answer{singles: []single{{status: 'r', reason: 6, at: time.Unix(0, 0)}}}, want: gateway.Suspended, method: "ocsp"},
		{name: "#50 unknown, fresh CRL without it", answer: answer{singles: []single{{status: 'u'}}}, crl: true, method: "crl"},
		{name: "#50 unknown, no CRL", answer: answer{singles: []single{{status: 'u'}}}, want: gateway.StatusUnknown},
		{name: "#51 signed by another person", answer: answer{signer: p.Must("citizen-02")}, want: gateway.EvidenceUntrusted},
		{name: "#51 signed by another person, fresh CRL", answer: answer{signer: p.Must("citizen-02")}, crl: true, method: "crl"},
		{name: "#51 signed by the certificate's own holder", answer: answer{signer: p.Must("citizen-01")}, want: gateway.EvidenceUntrusted},
		{name: "#52 a responder of another CA", answer: answer{signer: p.Must("ocsp-responder-other")}, want: gateway.EvidenceUntrusted},
		{name: "#52 a responder of the root, not of the issuing CA", answer: answer{signer: p.Must("ocsp-responder-root")}, want: gateway.EvidenceUntrusted},
		{name: "the CA's name, another key", answer: answer{signer: p.Must("same-name-issuing"), noEmbedded: true}, want: gateway.EvidenceUntrusted},
		{name: "a responder of another CA that is pinned", answer: answer{signer: p.Must("ocsp-responder-other"), noEmbedded: true}, edit: func(i *revocation.Issuer) {
			i.Responders = []*trust.Certificate{certificate(t, p.Must("ocsp-responder-other").DER)}
		}, method: "ocsp"},
		{name: "#55 names another responder than the one that signed", answer: answer{responderName: p.Must("citizen-02").X509().RawSubject}, want: gateway.EvidenceUntrusted},
		{name: "the responder's certificate is not there", answer: answer{noEmbedded: true}, want: gateway.EvidenceUntrusted},
		{name: "#56 CertID with another issuer name", answer: answer{singles: []single{{status: 'g', spoilName: true}}}, want: gateway.EvidenceUntrusted},
		{name: "#56 CertID with another issuer key", answer: answer{singles: []single{{status: 'g', spoilKey: true}}}, want: gateway.EvidenceUntrusted},
		{name: "#57 CertID in SHA-1 though asked in SHA-256", answer: answer{singles: []single{{status: 'g', sha1: true}}}, want: gateway.EvidenceUntrusted},
		{name: "#57 the same, fresh CRL", answer: answer{singles: []single{{status: 'g', sha1: true}}}, crl: true, method: "crl"},
		{name: "#57 the same, allowed by configuration", answer: answer{singles: []single{{status: 'g', sha1: true}}}, edit: func(i *revocation.Issuer) { i.AcceptSHA1 = true }, method: "ocsp"},
		{name: "#58 good, then revoked", answer: answer{singles: []single{{status: 'g'}, {status: 'r', reason: 1, at: now}}}, want: gateway.Revoked, method: "ocsp"},
		{name: "#58 hold, then revoked", answer: answer{singles: []single{{status: 'r', reason: 6, at: now}, {status: 'r', reason: 1, at: now}}}, want: gateway.Revoked, method: "ocsp"},
		{name: "#58 good, then unknown", answer: answer{singles: []single{{status: 'g'}, {status: 'u'}}}, want: gateway.StatusUnknown},
		{name: "#59 about another serial only", answer: answer{singles: []single{{status: 'g', serial: []byte{9}}}}, want: gateway.EvidenceUntrusted},
		{name: "about another serial first, then this", answer: answer{singles: []single{{status: 'r', reason: 1, at: now, serial: []byte{9}}, {status: 'g'}}}, method: "ocsp"},
		{name: "#60 unknown critical extension of the response", answer: answer{responseExtensions: [][]byte{unknownCritical}}, want: gateway.EvidenceUntrusted},
		{name: "#60 unknown critical extension of the statement", answer: answer{singles: []single{{status: 'g', extensions: [][]byte{unknownCritical}}}}, want: gateway.EvidenceUntrusted},
		{name: "an extension twice", answer: answer{responseExtensions: [][]byte{extension(false, oid(1, 2, 3), null), extension(false, oid(1, 2, 3), null)}}, want: gateway.EvidenceUntrusted},
		{name: "#61 another nonce", answer: answer{nonce: make([]byte, 32)}, want: gateway.NonceMismatch},
		{name: "#61 a nonce cut short", answer: answer{nonce: make([]byte, 8)}, want: gateway.NonceMismatch},
		{name: "#61 no nonce where one is required", answer: answer{noNonce: true}, edit: func(i *revocation.Issuer) { i.RequireNonce = true }, want: gateway.NonceMismatch},
		{name: "#62 good of twenty minutes ago without nextUpdate", answer: answer{noNonce: true, producedAt: now.Add(-20 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(-20 * time.Minute)}}}, want: gateway.EvidenceStale},
		{name: "#62 the same with a nextUpdate tomorrow", answer: answer{noNonce: true, producedAt: now.Add(-20 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(-20 * time.Minute), nextUpdate: now.AddDate(0, 0, 1)}}}, want: gateway.EvidenceStale},
		{name: "#62 the same, the issuer is allowed an hour", answer: answer{producedAt: now.Add(-20 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(-20 * time.Minute)}}}, edit: func(i *revocation.Issuer) { i.OCSPMaxAge = time.Hour }, method: "ocsp"},
		{name: "produced now about the state of an hour ago", answer: answer{singles: []single{{status: 'g', thisUpdate: now.Add(-time.Hour)}}}, want: gateway.EvidenceStale},
		{name: "ten minutes old to the second", answer: answer{singles: []single{{status: 'g', thisUpdate: now.Add(-10 * time.Minute)}}}, method: "ocsp"},
		{name: "a second older", answer: answer{singles: []single{{status: 'g', thisUpdate: now.Add(-10*time.Minute - time.Second)}}}, want: gateway.EvidenceStale},
		{name: "nextUpdate passed a second ago", answer: answer{singles: []single{{status: 'g', thisUpdate: now.Add(-time.Minute), nextUpdate: now.Add(-time.Second)}}}, want: gateway.EvidenceStale},
		{name: "nextUpdate before thisUpdate", answer: answer{singles: []single{{status: 'g', nextUpdate: now.Add(-time.Second)}}}, want: gateway.EvidenceUntrusted},
		{name: "revoked an hour ago by an old answer is still revoked", answer: answer{singles: []single{{status: 'r', reason: 1, at: now.Add(-time.Hour), thisUpdate: now.Add(-time.Hour)}}}, want: gateway.Revoked, method: "ocsp"},
		{name: "#63 thisUpdate ten minutes ahead", answer: answer{producedAt: now.Add(10 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(10 * time.Minute)}}}, want: gateway.EvidenceFuture},
		{name: "two minutes ahead is a clock's error", answer: answer{producedAt: now.Add(2 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(2 * time.Minute)}}}, method: "ocsp"},
		{name: "produced before it was true", answer: answer{producedAt: now.Add(-5 * time.Minute)}, want: gateway.EvidenceUntrusted},
		{name: "signed with SHA-1", answer: answer{sha1Signature: true}, want: gateway.EvidenceUntrusted},
		{name: "one bit of the signature flipped", answer: answer{noEmbedded: true, signer: p.Must("issuing"), mangle: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }}, want: gateway.EvidenceUntrusted},
		{name: "a byte after the answer", answer: answer{mangle: func(b []byte) []byte { return append(b, 0) }}, want: gateway.EvidenceUntrusted},
		{name: "#65 tryLater", answer: answer{mangle: func([]byte) []byte { return []byte{0x30, 3, 0x0a, 1, 3} }}, want: gateway.StatusUnavailable},
		{name: "#65 unauthorized, fresh CRL", answer: answer{mangle: func([]byte) []byte { return []byte{0x30, 3, 0x0a, 1, 6} }}, crl: true, method: "crl"},
		{name: "#65 a page of HTML", answer: answer{mangle: func([]byte) []byte { return []byte("<html>ok</html>") }}, want: gateway.EvidenceUntrusted},
		{name: "#65 a page of HTML, fresh CRL", answer: answer{mangle: func([]byte) []byte { return []byte("<html>ok</html>") }}, crl: true, method: "crl"},
		{name: "#65 nothing, fresh CRL", answer: answer{mangle: func([]byte) []byte { return nil }}, crl: true, method: "crl"},
		{name: "successful without content", answer: answer{mangle: func([]byte) []byte { return []byte{0x30, 3, 0x0a, 1, 0} }}, want: gateway.EvidenceUntrusted},
		{name: "#66 ten megabytes, fresh CRL", answer: answer{mangle: func(b []byte) []byte { return append(b, make([]byte, 10<<20)...) }}, crl: true, method: "crl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.answer(ocspURL, tt.answer)
			if tt.crl {
				s.publish(crlURL, list{}.make(s.pki))
			}
			k := s.refreshed(func(c *revocation.Config) {
				if tt.edit != nil {
					tt.edit(&c.Issuers[0])
				}
			})
			e, err := s.check(k)
			wantReason(t, err, tt.want)
			if e.Method != tt.method {
				t.Errorf("proven by %q, want %q", e.Method, tt.method)
			}
			if tt.want == "" && (len(e.Raw) == 0 || e.UsableUntil.Before(now) || e.ThisUpdate.IsZero()) {
				t.Errorf("evidence is incomplete: %d octets, %v to %v", len(e.Raw), e.ThisUpdate, e.UsableUntil)
			}
		})
	}
}

// A responder's own certificate: who may answer for the CA.
func TestResponderCertificates(t *testing.T) {
	p := pki(t)
	base := func() responder {
		return responder{from: now.AddDate(0, -1, 0), to: now.AddDate(0, 1, 0), eku: true, usage: true, noCheck: true}
	}
	tests := []struct {
		name string
		edit func(*responder)
		crl  func(serial []byte) *list
		want gateway.Reason
	}{
		{"certified for it", func(*responder) {}, nil, ""},
		{"without the right to sign OCSP", func(r *responder) { r.eku = false }, nil, gateway.EvidenceUntrusted},
		{"its key usage forbids signing", func(r *responder) { r.usage = false }, nil, gateway.EvidenceUntrusted},
		{"#53 expired", func(r *responder) { r.to = now.Add(-time.Second) }, nil, gateway.EvidenceUntrusted},
		{"#53 not yet valid", func(r *responder) { r.from = now.Add(time.Second) }, nil, gateway.EvidenceUntrusted},
		{"a CA certificate with the right usages", func(r *responder) { r.ca = true }, nil, gateway.EvidenceUntrusted},
		{"an unknown critical extension", func(r *responder) { r.critical = true }, nil, gateway.EvidenceUntrusted},
		{"without nocheck and no CRL", func(r *responder) { r.noCheck = false }, nil, gateway.EvidenceUntrusted},
		{"without nocheck, not in a fresh CRL", func(r *responder) { r.noCheck = false }, func([]byte) *list { return &list{} }, ""},
		{"without nocheck, the CRL is old", func(r *responder) { r.noCheck = false }, func([]byte) *list { return &list{thisUpdate: now.AddDate(0, 0, -3)} }, gateway.EvidenceUntrusted},
		{"#54 without nocheck, revoked in the CRL", func(r *responder) { r.noCheck = false }, func(s []byte) *list {
			return &list{thisUpdate: now.AddDate(0, 0, -3), revoked: []item{{serial: s, reason: 1}}}
		}, gateway.EvidenceUntrusted},
		{"with nocheck, and yet revoked in the CRL", func(*responder) {}, func(s []byte) *list {
			return &list{thisUpdate: now.AddDate(0, 0, -3), revoked: []item{{serial: s, reason: 1}}}
		}, gateway.EvidenceUntrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := base()
			tt.edit(&r)
			signer := r.make(t, p)
			s := newStage(t)
			s.answer(ocspURL, answer{signer: signer})
			if tt.crl != nil {
				s.publish(crlURL, tt.crl(serialOf(signer)).make(p))
			}
			e, err := s.check(s.refreshed(nil))
			if tt.crl != nil && tt.want == gateway.EvidenceUntrusted && err == nil && e.Method == "crl" {
				t.Fatal("the CRL of this row must not prove anything")
			}
			wantReason(t, err, tt.want)
		})
	}
}

func TestTheSecondResponderIsAskedWhenTheFirstIsSlowOrWrong(t *testing.T) {
	hang := func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
	away := func(context.Context, []byte) ([]byte, error) { return nil, errAway }
	s := newStage(t)
	good := func(_ context.Context, nonce []byte) ([]byte, error) { return answer{}.make(s.pki, nonce), nil }
	forged := func(_ context.Context, nonce []byte) ([]byte, error) {
		return answer{signer: s.pki.Must("citizen-02")}.make(s.pki, nonce), nil
	}
	revoked := func(_ context.Context, nonce []byte) ([]byte, error) {
		return answer{singles: revokedFor(1)}.make(s.pki, nonce), nil
	}
	type responder = func(context.Context, []byte) ([]byte, error)
	tests := []struct {
		name          string
		first, second responder
		want          gateway.Reason
	}{
		{"the first hangs", hang, good, ""},
		{"the first is away", away, good, ""},
		{"the first forges", forged, good, ""},
		{"the first hangs, the second says revoked", hang, revoked, gateway.Revoked},
		{"#66 both hang", hang, hang, gateway.StatusUnavailable},
		{"#69 both are away", away, away, gateway.StatusUnavailable},
		{"one forges, one is away", forged, away, gateway.EvidenceUntrusted},
		{"one is away, one forges", away, forged, gateway.EvidenceUntrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.respond(ocspURL, tt.first)
			s.respond(ocspURL2, tt.second)
			k := s.refreshed(func(c *revocation.Config) {
				c.Issuers[0].OCSP = []string{ocspURL, ocspURL2}
				if tt.want == gateway.StatusUnavailable {
					c.OCSPTimeout = 200 * time.Millisecond
				}
			})
			start := time.Now()
			_, err := s.check(k)
			wantReason(t, err, tt.want)
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestAResponderThatFailsIsSpared(t *testing.T) {
	s := newStage(t)
	s.publish(crlURL, list{}.make(s.pki))
	k := s.refreshed(nil)
	for i := range 40 {
		s.set(now.Add(time.Duration(i) * 3 * time.Second)) // past the two seconds of one certificate's failure
		if _, err := s.check(k); err != nil {
			t.Fatal(err)
		}
	}
	// Five failures, then one probe each five seconds of the remaining 105.
	if asked := s.asked.Load(); asked < 10 || asked > 5+22 {
		t.Errorf("%d questions to a dead responder", asked)
	}
	s.answer(ocspURL, answer{producedAt: now.Add(3 * time.Minute), singles: []single{{status: 'g', thisUpdate: now.Add(3 * time.Minute)}}})
	s.set(now.Add(3 * time.Minute))
	if e, err := s.check(k); err != nil || e.Method != "ocsp" {
		t.Errorf("after the responder came back: %q, %v", e.Method, err)
	}
}

func TestACallerWhoLeavesDoesNotWait(t *testing.T) {
	s := newStage(t)
	s.respond(ocspURL, func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
	k := s.refreshed(func(c *revocation.Config) { c.OCSPTimeout = 10 * time.Minute })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	_, err := k.Check(ctx, pathOf(t, s.pki, "citizen-01", "issuing", "root"), now)
	wantReason(t, err, gateway.StatusUnavailable)
	if !errors.Is(err, context.Canceled) || time.Since(start) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func FuzzParseOCSP(f *testing.F) {
	p := pki(f)
	f.Add(answer{}.make(p, make([]byte, 32)))
	f.Add(answer{byKey: true, noEmbedded: true, singles: revokedFor(1)}.make(p, nil))
	f.Add(answer{extendedRevoke: true, singles: []single{{status: 'u', nextUpdate: now.Add(time.Hour)}}}.make(p, nil))
	f.Add([]byte{0x30, 3, 0x0a, 1, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := revocation.ParseOCSP(bytes.Clone(in))
		switch gateway.ReasonOf(err) {
		case "":
			if len(a.Statements) == 0 || a.ProducedAt.IsZero() {
				t.Error("an answer that says nothing")
			}
		case gateway.EvidenceUntrusted, gateway.StatusUnavailable:
		default:
			t.Errorf("reason of %v", err)
		}
	})
}
