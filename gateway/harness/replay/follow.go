package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
)

// followers is how many cabinets are looked into at once.
const followers = 8

// tokenLife is well below the longest that a cabinet takes.
const tokenLife = 20 * time.Minute

// audience of a citizen's token, as the cabinet's contract says.
const audience = "egov-gateway-cabinet"

// A followed request was accepted and has an outcome to come.
type followed struct {
	target   int
	e        *corpus.Entry
	id       gateway.RequestID
	sent     time.Time
	accepted time.Time
}

// A follower looks into cabinets, the oldest request first: requests end roughly in the order in
// which they were accepted, so most are asked about once.
type follower struct {
	r    *run
	wg   sync.WaitGroup
	mu   sync.Mutex
	cond *sync.Cond
	list []followed // guarded by mu
	end  bool       // guarded by mu: nothing more is added
	ctx  context.Context
	stop context.CancelFunc
}

func newFollower(r *run) *follower {
	f := &follower{r: r}
	f.cond = sync.NewCond(&f.mu)
	f.ctx, f.stop = context.WithCancel(context.Background())
	if r.c.Follow {
		for range followers {
			f.wg.Go(f.work)
		}
	}
	return f
}

func (f *follower) add(target int, e *corpus.Entry, id gateway.RequestID, sent time.Time) {
	f.mu.Lock()
	f.list = append(f.list, followed{target, e, id, sent, time.Now()})
	f.mu.Unlock()
	f.cond.Signal()
}

func (f *follower) next() (followed, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.list) == 0 {
		if f.end {
			return followed{}, false
		}
		f.cond.Wait()
	}
	x := f.list[0]
	f.list = f.list[1:]
	return x, true
}

// wait returns when every outcome is known or given up.
func (f *follower) wait(ctx context.Context) error {
	f.mu.Lock()
	f.end = true
	f.mu.Unlock()
	f.cond.Broadcast()
	defer f.stop()
	stop := context.AfterFunc(ctx, f.stop)
	defer stop()
	f.wg.Wait()
	return ctx.Err()
}

func (f *follower) work() {
	for {
		x, ok := f.next()
		if !ok {
			return
		}
		deadline := x.accepted.Add(f.r.c.FollowTimeout)
		var kind gateway.ResultKind
		var ground string
		var err error
		for pause := 20 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
			kind, ground, err = f.r.c.Targets[x.target].outcome(f.ctx, x.e.Applicant, x.id)
			if kind != "" || f.ctx.Err() != nil || time.Now().After(deadline) {
				break
			}
			select {
			case <-time.After(pause):
			case <-f.ctx.Done():
			}
		}
		if f.ctx.Err() != nil && kind == "" {
			continue // nobody waited for it long enough
		}
		f.r.report.outcome(x.target, x.e, kind, ground, time.Since(x.sent), err)
	}
}

// outcome reads a citizen's cabinet; "" while nothing is decided.
func (t *Target) outcome(ctx context.Context, iin string, id gateway.RequestID) (gateway.ResultKind, string, error) {
	token, err := t.citizenToken(iin)
	if err != nil {
		return "", "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL+"/cabinet/api/requests/"+string(id), nil)
	if err != nil {
		return "", "", err
	}
	req.Header["Authorization"] = []string{"Bearer " + token}
	resp, err := t.client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return "", "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("the cabinet answers %d", resp.StatusCode)
	}
	var k struct {
		Decision *struct {
			Kind    gateway.ResultKind `json:"kind"`
			Ground  string             `json:"ground"`
			Verdict struct {
				Status gateway.Status `json:"status"`
			} `json:"verdict"`
		} `json:"decision"`
	}
	if err := json.Unmarshal(body, &k); err != nil {
		return "", "", fmt.Errorf("the cabinet's answer: %w", err)
	}
	switch {
	case k.Decision == nil:
		return "", "", nil
	case k.Decision.Verdict.Status != gateway.Verified:
		return "", "", fmt.Errorf("the cabinet shows a result that is %s", k.Decision.Verdict.Status)
	}
	return k.Decision.Kind, k.Decision.Ground, nil
}

type citizenToken struct {
	token string
	until time.Time
}

// citizenToken is what the portal gives a citizen for the cabinet.
func (t *Target) citizenToken(iin string) (string, error) {
	now := t.Now()
	if v, ok := t.tokens.Load(iin); ok && now.Before(v.(citizenToken).until) {
		return v.(citizenToken).token, nil
	}
	if t.CabinetKey == nil {
		return "", fmt.Errorf("no key of the portal to open cabinets with")
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"iin": iin, "iss": t.Portal, "aud": audience, "iat": now.Unix(), "exp": now.Add(tokenLife).Unix()}).SignedString(t.CabinetKey)
	if err == nil {
		t.tokens.Store(iin, citizenToken{token, now.Add(tokenLife / 2)})
	}
	return token, err
}
