package redisevidence_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
)

// A shard is several gateways' checkers over one Redis, and one responder.
type shard struct {
	t       testing.TB
	pki     *testpki.PKI
	world   *statesim.World
	redis   *server
	asked   atomic.Int64
	away    atomic.Bool   // the responder
	noLists atomic.Bool   // the publisher of lists
	clock   atomic.Int64  // Unix nanoseconds
	pace    time.Duration // of the responder
}

func newShard(t testing.TB) *shard {
	t.Helper()
	s := &shard{t: t, redis: newServer(t)}
	s.clock.Store(testpki.At.UnixNano())
	var err error
	if s.pki, err = testpki.Load(); err != nil {
		t.Fatal(err)
	}
	c, err := testworld.Config(s.pki, "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	c.Now, c.Log = s.now, slog.New(slog.DiscardHandler)
	if s.world, err = statesim.New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shard) now() time.Time { return time.Unix(0, s.clock.Load()).UTC() }

func (s *shard) fetch(ctx context.Context, url string, body []byte) ([]byte, error) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if body != nil {
		s.asked.Add(1)
		time.Sleep(s.pace)
		r = httptest.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/ocsp-request")
	}
	if body != nil && s.away.Load() || body == nil && s.noLists.Load() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	s.world.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, errors.New(http.StatusText(w.Code))
	}
	return w.Body.Bytes(), nil
}

func (s *shard) certificate(id string) *trust.Certificate {
	s.t.Helper()
	c, err := trust.ParseCertificate(s.pki.Must(id).DER)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// gateway makes the checker of one more gateway; without shared, one that has no Redis.
func (s *shard) gateway(edit func(*revocation.Config)) (*revocation.Checker, *redis.Client) {
	s.t.Helper()
	store, client := s.redis.store()
	c := revocation.Config{Fetch: s.fetch, Now: s.now, Shared: store, SharedTimeout: time.Minute, Issuers: []revocation.Issuer{
		{Certificate: s.certificate("issuing"), Label: "issuing", OCSP: []string{"http://sim/ocsp"}, CRL: "http://sim/crl/issuing/base.crl"},
		{Certificate: s.certificate("root"), Label: "root", CRL: "http://sim/crl/root/base.crl"},
	}}
	if edit != nil {
		edit(&c)
	}
	k, err := revocation.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return k, client
}

func (s *shard) check(k *revocation.Checker, id string) (revocation.Evidence, error) {
	path := &trust.Path{Certificates: []*trust.Certificate{s.certificate(id), s.certificate("issuing"), s.certificate("root")}}
	return k.Check(context.Background(), path, s.now())
}

func (s *shard) expect(k *revocation.Checker, id string, want gateway.Reason) {
	s.t.Helper()
	if _, err := s.check(k, id); gateway.ReasonOf(err) != want {
		s.t.Errorf("%s: %v, want %q", id, err, want)
	}
}

// settled waits until the background writes have arrived.
func (s *shard) settled(c *redis.Client, keys int) []string {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		all := c.Keys(context.Background(), "egov-gateway:*").Val()
		evidence := all[:0]
		for _, k := range all {
			if !strings.Contains(k, "lease:") {
				evidence = append(evidence, k)
			}
		}
		if len(evidence) == keys {
			return evidence
		}
		if time.Now().After(end) {
			s.t.Fatalf("the shared layer holds %q, want %d keys", evidence, keys)
		}
	}
}

func TestOneGatewayAsksForAll(t *testing.T) {
	s := newShard(t)
	a, client := s.gateway(nil)
	if err := a.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.settled(client, 4) // two lists and their numbers
	s.expect(a, "citizen-01", "")
	s.expect(a, "citizen-revoked", gateway.Revoked) // by the list, without a question
	s.expect(a, "citizen-suspended", gateway.Suspended)
	s.expect(a, "citizen-never-issued", gateway.NeverIssued)
	keys := s.settled(client, 5)
	for _, k := range keys {
		if life := client.PTTL(context.Background(), k).Val(); life <= 0 || life > 26*time.Hour {
			t.Errorf("%s lives %v", k, life)
		}
	}
	s.asked.Store(0)
	b, _ := s.gateway(func(c *revocation.Config) { c.Issuers[1].CRL = "http://sim/crl/root/base.crl" })
	if err := b.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.expect(b, "citizen-01", "")
	if n := s.asked.Load(); n != 0 {
		t.Errorf("the second gateway asked %d times", n)
	}
	s.expect(b, "citizen-suspended", gateway.Suspended) // what may change soon is not shared
	if n := s.asked.Load(); n != 1 {
		t.Errorf("%d questions about a suspended certificate", n)
	}

	// Where nonces are required an answer to another's question is no answer.
	s.asked.Store(0)
	c, _ := s.gateway(func(c *revocation.Config) { c.Issuers[0].RequireNonce = true })
	if err := c.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.expect(c, "citizen-01", "")
	if s.asked.Load() != 1 {
		t.Error("a shared answer counted although nonces are required")
	}
}

// Eight gateways meet the same cold certificate at once.
func TestGatewaysDoNotAskAtOnce(t *testing.T) {
	s := newShard(t)
	s.pace = 50 * time.Millisecond
	var all []*revocation.Checker
	for range 8 {
		k, _ := s.gateway(nil)
		if err := k.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	var wg sync.WaitGroup
	for _, k := range all {
		for range 5 {
			wg.Go(func() { s.expect(k, "citizen-02", "") })
		}
	}
	wg.Wait()
	// Nobody waits longer than 0.3 s for another, so on a busy machine one may lose patience.
	if n := s.asked.Load(); n < 1 || n > 2 {
		t.Errorf("%d questions of eight gateways", n)
	}
}

// #87: nothing in Redis is believed.
func TestForgedEvidenceIsIgnored(t *testing.T) {
	s := newShard(t)
	a, client := s.gateway(nil)
	if err := a.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.expect(a, "citizen-01", "")
	keys := s.settled(client, 5)
	ctx := context.Background()
	var key string
	for _, k := range keys {
		if strings.Contains(k, ":ocsp:") {
			key = k
		}
	}
	genuine, err := client.Get(ctx, key).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	suspended := strings.Replace(key, s.pki.Must("citizen-01").Serial, s.pki.Must("citizen-suspended").Serial, 1)
	flipped := bytes.Clone(genuine)
	flipped[len(flipped)/2] ^= 1
	tests := []struct {
		name  string
		value []byte
	}{
		{"the good answer about another certificate", genuine},
		{"a bit flipped", flipped},
		{"the word good", []byte("good")},
		{"nothing", nil},
		{"ten megabytes", bytes.Repeat([]byte{0x30, 0x84}, 5<<20)},
		{"a certificate", s.pki.Must("citizen-suspended").DER},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := client.Set(ctx, suspended, tt.value, time.Minute).Err(); err != nil {
				t.Fatal(err)
			}
			reg := prometheus.NewRegistry()
			b, _ := s.gateway(func(c *revocation.Config) { c.Metrics = reg })
			if err := b.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
			s.asked.Store(0)
			s.expect(b, "citizen-suspended", gateway.Suspended)
			if s.asked.Load() != 1 {
				t.Errorf("%d questions", s.asked.Load())
			}
			// The other's answer is refetched, not overwritten by what may change soon.
			if len(tt.value) > 0 && refused(t, reg) != 1 {
				t.Errorf("%v refusals are counted", refused(t, reg))
			}
		})
	}
	t.Run("an answer that has ended", func(t *testing.T) {
		s.clock.Add(int64(20 * time.Minute))
		b, _ := s.gateway(nil)
		if err := b.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		s.asked.Store(0)
		s.expect(b, "citizen-01", "")
		if s.asked.Load() != 1 {
			t.Error("it was believed")
		}
	})
}

func refused(t *testing.T, reg *prometheus.Registry) (n float64) {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "egov_gateway_revocation_shared_total" && l.GetValue() == "refused" {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// #88: with Redis down, slow or hanging the verdicts are the same and nobody waits for it.
func TestVerdictsWithoutRedis(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*server)
	}{
		{"as it should be", func(*server) {}},
		{"#88 down", func(r *server) { r.stop() }},
		{"#88 nobody listens", func(r *server) { r.wire.Close() }},
		{"#88 slow by half a minute", func(r *server) { r.delay.Store(int64(30 * time.Second)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShard(t)
			k, _ := s.gateway(func(c *revocation.Config) { c.SharedTimeout = revocation.DefaultSharedTimeout })
			if err := k.Refresh(context.Background()); err != nil {
				t.Fatal(err)
			}
			tt.spoil(s.redis)
			for i := range 8 {
				start := time.Now()
				s.expect(k, fmt.Sprintf("citizen-%02d", i+1), "")
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("certificate %d took %v", i+1, took)
				}
			}
			start := time.Now()
			s.expect(k, "citizen-revoked", gateway.Revoked)
			s.expect(k, "citizen-suspended", gateway.Suspended)
			s.expect(k, "citizen-never-issued", gateway.NeverIssued)
			s.away.Store(true)
			s.expect(k, "citizen-expired", "") // the list decides
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("the others took %v", took)
			}
		})
	}
}

// A gateway that starts while the publisher is away takes the lists that another one got.
func TestAListIsTakenFromAnotherGateway(t *testing.T) {
	s := newShard(t)
	ctx := context.Background()
	a, client := s.gateway(nil)
	if err := a.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	keys := s.settled(client, 4)
	s.noLists.Store(true)
	s.away.Store(true)
	start := func() *revocation.Checker {
		t.Helper()
		k, _ := s.gateway(nil)
		if err := k.Refresh(ctx); gateway.ReasonOf(err) != gateway.StatusUnavailable {
			t.Errorf("the publisher is away, and loading says %v", err)
		}
		return k
	}
	k := start()
	s.expect(k, "citizen-01", "")
	s.expect(k, "citizen-revoked", gateway.Revoked)

	// The list of one issuer under the name of the other, and a latest that does not exist.
	var issuing, root string
	for _, key := range keys {
		if !strings.HasSuffix(key, ":latest") {
			if raw := client.Get(ctx, key).Val(); strings.Contains(raw, string(s.certificate("citizen-revoked").Serial)) {
				issuing = key
			} else {
				root = key
			}
		}
	}
	other := client.Get(ctx, root).Val()
	if issuing == "" || client.Set(ctx, issuing, other, time.Hour).Err() != nil {
		t.Fatal("the lists are not where they should be")
	}
	s.expect(start(), "citizen-01", gateway.StatusUnavailable)
	if err := client.Del(ctx, issuing).Err(); err != nil {
		t.Fatal(err)
	}
	s.expect(start(), "citizen-01", gateway.StatusUnavailable)
	block, _ := pem.Decode(s.pki.Must("root").CertificatePEM)
	if err := client.Set(ctx, issuing, block.Bytes, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	s.expect(start(), "citizen-01", gateway.StatusUnavailable)
}

// What revoked a certificate for one gateway revokes it for all, whatever a responder says afterwards.
func TestARevocationIsSharedForGood(t *testing.T) {
	s := newShard(t)
	revocation1 := statesim.Revocation{Authority: "issuing", Serial: s.pki.Must("citizen-01").Serial, State: statesim.Revoked, Reason: "keyCompromise"}
	if err := s.world.Revoke(revocation1); err != nil {
		t.Fatal(err)
	}
	start := func(nonce bool) *revocation.Checker {
		t.Helper()
		k, _ := s.gateway(func(c *revocation.Config) { c.Issuers[0].RequireNonce = nonce })
		if err := k.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
		return k
	}
	a, client := s.gateway(nil)
	if err := a.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.expect(a, "citizen-01", gateway.Revoked)
	keys := s.settled(client, 5)
	var key string
	for _, k := range keys {
		if strings.Contains(k, ":revoked:") {
			key = k
		}
	}
	if key == "" {
		t.Fatalf("the shared layer holds %q and no revocation", keys)
	}
	if life := client.PTTL(context.Background(), key).Val(); life < 24*time.Hour {
		t.Errorf("%q lives %v, though the certificate does not end before years", key, life)
	}
	genuine := client.Get(context.Background(), key).Val()

	revocation1.State = statesim.Good
	if err := s.world.Revoke(revocation1); err != nil {
		t.Fatal(err)
	}
	s.expect(start(true), "citizen-01", gateway.Revoked) // also where nonces are required
	s.expect(start(false), "citizen-01", gateway.Revoked)

	for name, forged := range map[string]string{
		"a bit flipped": genuine[:len(genuine)-1] + string(genuine[len(genuine)-1]^1),
		"the word":      "revoked",
	} {
		other := strings.Replace(key, strings.ToLower(s.pki.Must("citizen-01").Serial), strings.ToLower(s.pki.Must("citizen-02").Serial), 1)
		for _, at := range []string{key, other} {
			if err := client.Set(context.Background(), at, forged, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("forged: "+name, func(t *testing.T) {
			s.expect(start(false), "citizen-01", "")
			s.expect(start(true), "citizen-02", "")
		})
	}
	other := strings.Replace(key, strings.ToLower(s.pki.Must("citizen-01").Serial), strings.ToLower(s.pki.Must("citizen-03").Serial), 1)
	if err := client.Set(context.Background(), other, genuine, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	s.expect(start(false), "citizen-03", "") // an answer about another
}
