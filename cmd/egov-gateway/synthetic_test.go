package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/synthetic"
)

// withSynthetic lets the test PKI's citizen-08 walk as often as said.
func (l *lab) withSynthetic(every time.Duration) error {
	for file, id := range map[string]string{"synthetic-citizen.pem": "citizen-08", "synthetic-provider.pem": "provider-sko-head"} {
		e := l.pki.Must(id)
		if err := os.WriteFile(filepath.Join(l.dir, file), append(append([]byte{}, e.KeyPEM...), e.CertificatePEM...), 0o600); err != nil {
			return err
		}
	}
	return l.reconfigure(func(c *Config) {
		c.Synthetic = &Synthetic{Key: "synthetic-citizen.pem", ProviderKey: "synthetic-provider.pem", Every: Duration(every)}
	})
}

func newSyntheticLab(t *testing.T, every time.Duration) (*lab, *logBuffer) {
	t.Helper()
	var logs logBuffer
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.withSynthetic(every); err != nil {
		t.Fatal(err)
	}
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	return l, &logs
}

// sample returns the value of a series in /metrics, -1 if it is not there.
func (l *lab) sample(t *testing.T, series string) float64 {
	t.Helper()
	_, _, metrics := get(t, l.admin+"/metrics")
	for line := range strings.Lines(string(metrics)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			if err := json.Unmarshal([]byte(strings.TrimSpace(rest)), &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	return -1
}

// eventually waits at most so long for a condition.
// patience is how long a test waits for what must come: a busy machine is no failure.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func cameThrough(shard string) string {
	return `egov_gateway_synthetic_walks_total{reason="none",shard="` + shard + `",stage="none"}`
}

// The synthetic citizen comes through in every shard, and no statistic or cabinet of others shows it.
func TestTheSyntheticCitizenWalks(t *testing.T) {
	l, logs := newSyntheticLab(t, time.Second)
	for _, shard := range []string{"north-kazakhstan", "zhambyl"} {
		eventually(t, "walks through "+shard, func() bool { return l.sample(t, cameThrough(shard)) >= 2 })
		if status, _, body := get(t, l.admin+"/readyz/"+shard); status != http.StatusOK || !bytes.Contains(body, []byte(`"synthetic":"ok"`)) {
			t.Errorf("%s: %d %s", shard, status, body)
		}
	}
	if status, _, _ := get(t, l.admin+"/readyz/atlantis"); status != http.StatusNotFound {
		t.Errorf("a shard that does not exist: %d", status)
	}
	_, _, metrics := get(t, l.admin+"/metrics")
	for line := range strings.Lines(string(metrics)) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, `"synthetic`) && !strings.Contains(line, `probe="synthetic"`) && !strings.Contains(line, "certificate_expiry") {
			t.Errorf("a statistic counts the walks: %s", line)
		}
	}
	if v := l.sample(t, `egov_gateway_items{shard="zhambyl",state="closed"}`); v != 0 {
		t.Errorf("%v closed requests", v)
	}
	if n := len(l.world.Calls()) + len(l.world.Notices()); n != 0 {
		t.Errorf("%d calls of the outside world", n)
	}
	other, _ := l.citizenToken(l.pki.Must("citizen-01").IIN, 10*time.Minute)
	if _, _, body := get(t, l.base+"/cabinet/api/requests", "Authorization", "Bearer "+other); !bytes.Contains(body, []byte(`"requests":[]`)) {
		t.Errorf("somebody else's cabinet: %s", body)
	}
	t.Run("no portal may use its service", func(t *testing.T) {
		d := l.draft("citizen-01", taraz)
		d.Service = synthetic.Name
		if a := l.mustSubmit(t, d, "citizen-01"); problemOf(t, a.body).Reason != gateway.ServiceUnknown {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("what it leaves is removed", func(t *testing.T) {
		before, err := l.svc.store.Stats(t.Context())
		if err != nil || before.ByShard[synthetic.Shard("zhambyl")][gateway.StateClosed] == 0 {
			t.Fatalf("%+v %v", before, err)
		}
		// Evidence must stay fresh: a few minutes at a time.
		l.clock.HopTo(l.clock.Now().Add(3 * time.Minute))
		eventually(t, "documents of walks are erased", func() bool {
			st, err := l.svc.store.Stats(t.Context())
			return err == nil && st.ByShard[synthetic.Shard("zhambyl")][gateway.StateErased] > 0
		})
		l.clock.HopTo(l.clock.Now().Add(3 * time.Minute))
		eventually(t, "their proof is removed", func() bool {
			st, err := l.svc.store.Stats(t.Context())
			return err == nil && st.ByShard[synthetic.Shard("zhambyl")][gateway.StateErased] == 0
		})
		if v := l.sample(t, `egov_gateway_synthetic_walks_total{reason="internal",shard="zhambyl",stage="removal"}`); v > 0 {
			t.Errorf("%v walks found something left", v)
		}
	})
	noPersonalData(t, l, logs)
}

// A way that is blocked is told of: where, why, by metric and by /readyz; and it opens again.
func TestTheSyntheticCitizenIsStopped(t *testing.T) {
	l, _ := newSyntheticLab(t, time.Second)
	eventually(t, "a walk", func() bool { return l.sample(t, cameThrough("zhambyl")) >= 1 })
	for _, target := range []string{statesim.TargetOCSP, statesim.TargetCRL} {
		if err := l.world.SetFaults(target, statesim.Fault{Kind: statesim.Unavailable}); err != nil {
			t.Fatal(err)
		}
	}
	l.clock.HopTo(l.clock.Now().Add(72 * time.Hour)) // the lists held are too old now
	eventually(t, "it is refused", func() bool {
		status, _, _ := get(t, l.admin+"/readyz/zhambyl")
		return l.sample(t, `egov_gateway_synthetic_walks_total{reason="revocation.stale",shard="zhambyl",stage="door"}`) >= 2 && status != http.StatusOK
	})
	status, _, body := get(t, l.admin+"/readyz/zhambyl")
	if status != http.StatusServiceUnavailable || !bytes.Contains(body, []byte("the synthetic citizen was not accepted")) {
		t.Errorf("%d %s", status, body)
	}
	for _, target := range []string{statesim.TargetOCSP, statesim.TargetCRL} {
		if err := l.world.SetFaults(target); err != nil {
			t.Fatal(err)
		}
	}
	was := l.sample(t, cameThrough("zhambyl"))
	eventually(t, "it comes through again", func() bool { return l.sample(t, cameThrough("zhambyl")) > was })
}
