package verification_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
)

var load = sync.OnceValues(testpki.Load)

// A stage is a verifier, and the CAs of the test PKI behind it as the simulator plays them.
type stage struct {
	t        testing.TB
	pki      *testpki.PKI
	world    *statesim.World
	handler  http.Handler
	checker  *revocation.Checker
	verifier *verification.Verifier

	mu    sync.Mutex // guards clock
	clock time.Time
	asked atomic.Int64 // OCSP questions
	away  atomic.Bool  // nobody answers
	slow  atomic.Int64 // nanoseconds before an answer
}

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *stage) set(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = t
}

func newStage(t testing.TB, edit func(*revocation.Config)) *stage {
	t.Helper()
	s := &stage{t: t, clock: testpki.At}
	var err error
	if s.pki, err = load(); err != nil {
		t.Fatal(err)
	}
	wc, err := testworld.Config(s.pki, "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	wc.Now, wc.Log = s.now, slog.New(slog.DiscardHandler)
	if s.world, err = statesim.New(wc); err != nil {
		t.Fatal(err)
	}
	s.handler = s.world.Handler()
	c := revocation.Config{Fetch: s.fetch, Now: s.now, Issuers: s.issuers()}
	if edit != nil {
		edit(&c)
	}
	if s.checker, err = revocation.New(c); err != nil {
		t.Fatal(err)
	}
	if err := s.checker.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s.verifier, err = verification.New(verification.Config{Trust: s.store("root", "gost-root"), Revocation: s.checker}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) issuers() []revocation.Issuer {
	return []revocation.Issuer{
		{Certificate: s.certificate("issuing"), Label: "issuing", OCSP: []string{"http://sim/ocsp"}, CRL: "http://sim/crl/issuing/base.crl", DeltaCRL: "http://sim/crl/issuing/delta.crl"},
		{Certificate: s.certificate("root"), Label: "root", OCSP: []string{"http://sim/ocsp"}, CRL: "http://sim/crl/root/base.crl"},
		{Certificate: s.certificate("gost-issuing"), Label: "gost-issuing", OCSP: []string{"http://sim/ocsp"}, CRL: "http://sim/crl/gost-issuing/base.crl", DeltaCRL: "http://sim/crl/gost-issuing/delta.crl"},
		{Certificate: s.certificate("gost-root"), Label: "gost-root", OCSP: []string{"http://sim/ocsp"}, CRL: "http://sim/crl/gost-root/base.crl"},
	}
}

func (s *stage) certificate(id string) *trust.Certificate {
	s.t.Helper()
	c, err := trust.ParseCertificate(s.pki.Must(id).DER)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *stage) store(anchors ...string) *trust.Store {
	s.t.Helper()
	c := trust.Config{Intermediates: []*trust.Certificate{s.certificate("issuing"), s.certificate("gost-issuing")}}
	for _, id := range anchors {
		c.Anchors = append(c.Anchors, trust.Anchor{Certificate: s.certificate(id)})
	}
	st, err := trust.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *stage) fetch(ctx context.Context, url string, body []byte) ([]byte, error) {
	if body != nil {
		s.asked.Add(1)
	}
	if s.away.Load() {
		return nil, errors.New("connection refused")
	}
	if d := time.Duration(s.slow.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if body != nil {
		r = httptest.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/ocsp-request")
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, errors.New(http.StatusText(w.Code))
	}
	return w.Body.Bytes(), nil
}

func (s *stage) want(id string) verification.Want {
	s.t.Helper()
	n, err := gateway.ParseIIN(s.pki.Must(id).IIN)
	if err != nil {
		s.t.Fatal(err)
	}
	return verification.Want{At: s.now(), Purpose: trust.PurposeSignPerson, Citizen: n}
}

func (s *stage) judge(id string) verification.Outcome {
	s.t.Helper()
	return s.verifier.JudgeCertificate(context.Background(), s.certificate(id), s.want(id))
}

func (s *stage) expect(out verification.Outcome, want gateway.Reason) {
	s.t.Helper()
	if out.Verdict.Reason != want || out.Verdict.Status != gateway.StatusOf(want) {
		s.t.Errorf("%s %q (%s), want %q", out.Verdict.Status, out.Verdict.Reason, out.Verdict.Detail, want)
	}
}
