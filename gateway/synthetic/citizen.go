package synthetic

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

// Defaults of Config.
const (
	DefaultEvery   = time.Minute
	DefaultTimeout = 30 * time.Second // of one walk
	poll           = 50 * time.Millisecond
)

// Verifier makes the six checks; [verification.Verifier] is one.
type Verifier interface {
	Open(doc []byte, maxBytes int) (*verification.Document, error)
	Judge(ctx context.Context, d *verification.Document, w verification.Want) verification.Outcome
}

// Config is what a Citizen needs; every field without a default is required.
type Config struct {
	Base     string       // address of the doors
	Client   *http.Client // reaches Base
	Token    string       // of the portal Name
	Cabinet  ed25519.PrivateKey
	Key      *xmlsig.Key // a person's
	IIN      gateway.IIN // that of Key
	Verifier Verifier
	Provider gateway.BIN
	Walks    []Passport

	Every   time.Duration    // 0 means DefaultEvery
	Timeout time.Duration    // 0 means DefaultTimeout
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil discards
	// Observe, if set, is told of every walk.
	Observe func(Walk)
}

// A Citizen walks. It is safe for concurrent use.
type Citizen struct {
	c Config

	mu    sync.Mutex
	done  map[string][]walked // guarded by mu, by shard: whose removal was not seen yet
	fails map[string]int      // guarded by mu, by shard: walks in a row that ended at the door
}

type walked struct {
	id gateway.RequestID
	at time.Time
}

// NewCitizen checks the configuration.
func NewCitizen(c Config) (*Citizen, error) {
	if c.Base == "" || c.Client == nil || c.Token == "" || c.Cabinet == nil || c.Key == nil || c.IIN.IsZero() || c.Verifier == nil || c.Provider.IsZero() || len(c.Walks) == 0 {
		return nil, errors.New("synthetic: every field of Config without a default is required")
	}
	if c.Every == 0 {
		c.Every = DefaultEvery
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Citizen{c: c, done: map[string][]walked{}, fails: map[string]int{}}, nil
}

// Run walks through all shards side by side, every Config.Every, until ctx ends.
func (z *Citizen) Run(ctx context.Context) {
	tick := time.NewTicker(z.c.Every)
	defer tick.Stop()
	for {
		var wg sync.WaitGroup
		for _, p := range z.c.Walks {
			wg.Go(func() { z.Walk(ctx, p) })
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Walk goes through one shard.
func (z *Citizen) Walk(ctx context.Context, p Passport) Walk {
	start := time.Now()
	inner, cancel := context.WithTimeout(ctx, z.c.Timeout)
	defer cancel()
	stage, err := z.walk(inner, p)
	w := Walk{Shard: p.Shard, Reason: gateway.ReasonOf(err), Duration: time.Since(start)}
	if ctx.Err() != nil {
		return w // the gateway ends: that says nothing
	}
	if err != nil {
		w.Stage = stage
		z.c.Log.Warn("the synthetic citizen did not come through", "shard", p.Shard, "stage", stage, "reason", string(w.Reason), "error", err)
	}
	z.mu.Lock()
	if w.Stage == StageDoor {
		z.fails[p.Shard]++
	} else {
		z.fails[p.Shard] = 0
	}
	z.mu.Unlock()
	if z.c.Observe != nil {
		z.c.Observe(w)
	}
	return w
}

// Refused returns an error when the last two walks through a shard ended at the door.
func (z *Citizen) Refused(shard string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := z.fails[shard]; n > 1 {
		return fmt.Errorf("the synthetic citizen was not accepted %d times in a row", n)
	}
	return nil
}

func (z *Citizen) walk(ctx context.Context, p Passport) (stage string, err error) {
	id, err := z.submit(ctx, p)
	if err != nil {
		return StageDoor, err
	}
	if err := z.follow(ctx, id); err != nil {
		return StageJournal, err
	}
	if err := z.result(ctx, id); err != nil {
		return StageResult, err
	}
	if err := z.cabinet(ctx, id); err != nil {
		return StageCabinet, err
	}
	return StageRemoval, z.removal(ctx, p.Shard, id)
}

// submit signs a request and brings it to the door.
func (z *Citizen) submit(ctx context.Context, p Passport) (gateway.RequestID, error) {
	doc := fmt.Appendf(nil, `<request xmlns="urn:egov-gateway:synthetic:request:1"><messageId>%s</messageId><serviceCode>%s</serviceCode><portal>%s</portal><createdAt>%s</createdAt><language>kk</language><applicant><iin>%s</iin></applicant><provider><territory>%s</territory></provider></request>`,
		messageID(), Name, Name, z.c.Now().UTC().Format(time.RFC3339), z.c.IIN.Reveal(), p.Territory())
	signed, err := xmlsig.Sign(doc, z.c.Key, xmlsig.SignOptions{})
	if err != nil {
		return "", err
	}
	var receipt struct {
		ID string `json:"id"`
	}
	if err := ask(ctx, z.c.Client, question{z.c.Base + "/v1/requests", z.c.Token, signed}, http.StatusAccepted, &receipt); err != nil {
		return "", err
	}
	return gateway.ParseRequestID(receipt.ID)
}

func messageID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// follow waits until the provider's result was verified.
func (z *Citizen) follow(ctx context.Context, id gateway.RequestID) error {
	for {
		var progress struct {
			State    gateway.State   `json:"state"`
			Timeline []gateway.Event `json:"timeline"`
		}
		if err := z.get(ctx, z.url(id), &progress); err != nil {
			return err
		}
		switch progress.State {
		case gateway.StateDecided, gateway.StateClosed:
			return nil
		case gateway.StateParked:
			return gateway.Errorf(reasonOf(progress.Timeline), "the request was parked")
		}
		select {
		case <-ctx.Done():
			if r := reasonOf(progress.Timeline); r != gateway.Internal {
				return gateway.Errorf(r, "still %s", progress.State)
			}
			return gateway.Errorf(gateway.Overload, "still %s", progress.State)
		case <-time.After(poll):
		}
	}
}

// reasonOf is that of the newest event which has one.
func reasonOf(timeline []gateway.Event) gateway.Reason {
	for _, e := range slices.Backward(timeline) {
		if e.Reason != "" {
			return e.Reason
		}
	}
	return gateway.Internal
}

func (z *Citizen) url(id gateway.RequestID) string { return z.c.Base + "/v1/requests/" + string(id) }

// result reads the provider's document and judges it as if it came from a stranger.
func (z *Citizen) result(ctx context.Context, id gateway.RequestID) error {
	var raw []byte
	if err := z.get(ctx, z.url(id)+"/result", &raw); err != nil {
		return err
	}
	d, err := z.c.Verifier.Open(raw, len(raw))
	if err != nil {
		return err
	}
	out := z.c.Verifier.Judge(ctx, d, verification.Want{At: z.c.Now(), Purpose: trust.PurposeSignLegal, Organisation: z.c.Provider})
	return out.Verdict.Err()
}

// cabinet signs in and looks.
func (z *Citizen) cabinet(ctx context.Context, id gateway.RequestID) error {
	now := z.c.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, cabinet.Claims{IIN: z.c.IIN.Reveal(), RegisteredClaims: jwt.RegisteredClaims{Issuer: Name,
		Audience: jwt.ClaimStrings{cabinet.Audience}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute))}}).SignedString(z.c.Cabinet)
	if err != nil {
		return err
	}
	var seen struct {
		Decision *gateway.Result `json:"decision"`
	}
	if err := ask(ctx, z.c.Client, question{url: z.c.Base + "/cabinet/api/requests/" + string(id), token: token}, http.StatusOK, &seen); err != nil {
		return err
	}
	if seen.Decision == nil || seen.Decision.Verdict.Status != gateway.Verified {
		return gateway.Errorf(gateway.Internal, "the cabinet shows no verified decision")
	}
	return nil
}

// removal looks for what should be gone: it would fill the journal.
func (z *Citizen) removal(ctx context.Context, shard string, id gateway.RequestID) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	now := z.c.Now()
	all := append(z.done[shard], walked{id, now})
	for len(all) > 0 && now.Sub(all[0].at) > 2*Keep+time.Minute {
		err := z.get(ctx, z.url(all[0].id), &struct{}{})
		if err == nil {
			z.done[shard] = all
			return gateway.Errorf(gateway.Internal, "the request of an earlier walk is still there")
		}
		if gateway.ReasonOf(err) != gateway.NotFound {
			z.done[shard] = all
			return err
		}
		all = all[1:]
	}
	z.done[shard] = all
	return nil
}

// get asks the portals' door. The error carries the reason that the door gave.
func (z *Citizen) get(ctx context.Context, url string, into any) error {
	return ask(ctx, z.c.Client, question{url: url, token: z.c.Token}, http.StatusOK, into)
}

// A question is one call of the gateway's own doors.
type question struct {
	url, token string
	body       []byte // XML; nil gets
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// ask makes one call. It is not package upstream's: that takes 503 as "not now" and hides why.
func ask(ctx context.Context, c *http.Client, q question, want int, into any) error {
	method := http.MethodGet
	if q.body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, q.url, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+q.token)
	if q.body != nil {
		req.Header.Set("Content-Type", "application/xml")
	}
	resp, err := c.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return gateway.Errorf(gateway.Overload, "the gateway's own door does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return gateway.Errorf(gateway.Overload, "the gateway's own door does not answer: %w", err)
	}
	if resp.StatusCode != want {
		var problem struct {
			Reason gateway.Reason `json:"reason"`
		}
		if json.Unmarshal(body, &problem) != nil || !slices.Contains(gateway.Reasons(), problem.Reason) {
			problem.Reason = gateway.Internal
		}
		return gateway.Errorf(problem.Reason, "the door answered %d", resp.StatusCode)
	}
	switch to := into.(type) {
	case nil:
		return nil
	case *[]byte:
		*to = body
		return nil
	}
	return json.Unmarshal(body, into)
}
