package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
)

// A publisher stands between the gateway and the lists of the simulated CAs, and can keep the full ones back.
type publisher struct {
	*httptest.Server
	away atomic.Bool  // the full lists
	none atomic.Bool  // all lists
	slow atomic.Int64 // how long a list takes from its first octet to its last, nanoseconds
}

// publishedLab is a lab whose lists come by a publisher; the gateway runs.
func publishedLab(t *testing.T) (*lab, *publisher, *logBuffer) {
	t.Helper()
	l, logs := newTestLab(t, monday, nil)
	sim, err := url.Parse(l.sim)
	if err != nil {
		t.Fatal(err)
	}
	p := new(publisher)
	forward := httputil.NewSingleHostReverseProxy(sim)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.none.Load() || p.away.Load() && strings.HasSuffix(r.URL.Path, "/base.crl") {
			http.Error(w, "under maintenance", http.StatusServiceUnavailable)
			return
		}
		r.Header.Del("If-None-Match")
		if pause := time.Duration(p.slow.Load()); pause > 0 {
			rec := httptest.NewRecorder()
			forward.ServeHTTP(rec, r)
			_, _ = w.Write(rec.Body.Bytes()[:10])
			w.(http.Flusher).Flush()
			time.Sleep(pause)
			_, _ = w.Write(rec.Body.Bytes()[10:])
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	through := func(a Addresses) (out Addresses) {
		for _, one := range a {
			out = append(out, strings.Replace(one, l.sim, p.URL, 1))
		}
		return out
	}
	l.svc.Close()
	l.mustReconfigure(t, func(c *Config) {
		for i := range c.Revocation {
			c.Revocation[i].CRL, c.Revocation[i].DeltaCRL = through(c.Revocation[i].CRL), through(c.Revocation[i].DeltaCRL)
		}
	})
	l.mustStart(t)
	return l, p, logs
}

// fetchLists runs the command of the operators.
func (l *lab) fetchLists() (code int, said string) {
	var out, errs bytes.Buffer
	code = run([]string{"revocation", "fetch", "--config", l.config}, &out, &errs)
	return code, out.String() + errs.String()
}

// expect submits a request of citizen-01 and looks at the answer.
func (l *lab) expectReason(t *testing.T, when string, want gateway.Reason) {
	t.Helper()
	a := l.mustSubmit(t, l.draft("citizen-01", taraz), "citizen-01")
	got := gateway.Reason("")
	if a.status != http.StatusAccepted {
		got = problemOf(t, a.body).Reason
	}
	if got != want {
		t.Errorf("%s: %d %s, want %q", when, a.status, a.body, want)
	}
}

// R4c: a key that was reported stolen stays refused while the full list that says so cannot be had, and
// after a restart.
func TestARevocationKnownFromADeltaIsNotForgotten(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state statesim.RevocationState
		want  gateway.Reason
	}{{"revoked", statesim.Revoked, gateway.Revoked}, {"on hold", statesim.Hold, gateway.Suspended}} {
		t.Run(tt.name, func(t *testing.T) {
			l, p, _ := publishedLab(t)
			l.fault(t, statesim.TargetOCSP, statesim.Fault{Kind: statesim.Unavailable})
			if code, said := l.fetchLists(); code != 0 {
				t.Fatalf("exit %d: %s", code, said)
			}
			l.expectReason(t, "before", "")
			if err := l.world.Revoke(statesim.Revocation{Authority: "issuing", Serial: l.pki.Must("citizen-01").Serial, State: tt.state, Reason: "keyCompromise"}); err != nil {
				t.Fatal(err)
			}
			l.clock.HopTo(l.clock.Now().Add(time.Minute)) // lists are dated in seconds
			l.fetchLists()
			l.expectReason(t, "the delta says so", tt.want)

			l.clock.HopTo(l.clock.Now().Add(time.Minute))
			if err := l.world.PublishCRLs(); err != nil { // the full list has it; the delta to that is empty
				t.Fatal(err)
			}
			p.away.Store(true)
			code, said := l.fetchLists()
			if code != exitFailed || strings.Count(said, "answered 503") != 4 || strings.Count(said, "ok\n") != 2 {
				t.Errorf("exit %d: %s", code, said)
			}
			l.expectReason(t, "the next delta is for a full list that cannot be had", tt.want)

			l.svc.Close()
			p.none.Store(true)
			l.mustStart(t)
			l.expectReason(t, "after a restart, with every publisher away", tt.want)

			p.none.Store(false)
			p.away.Store(false)
			if code, said := l.fetchLists(); code != 0 {
				t.Errorf("exit %d: %s", code, said)
			}
			l.expectReason(t, "the full list has come", tt.want)
		})
	}
}

// A list that is too old as it is downloaded is asked for again, by SIGHUP and by the operators' command
// at once; the gateway says what is the matter.
func TestListsThatWereStaleAreFetchedAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		heal func(t *testing.T, l *lab)
	}{
		{"SIGHUP", func(_ *testing.T, l *lab) { l.svc.reloader.take() }},
		{"the operators' command", func(t *testing.T, l *lab) {
			if code, said := l.fetchLists(); code != 0 || strings.Count(said, "ok\n") != 6 {
				t.Errorf("exit %d: %s", code, said)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, logs := newTestLab(t, monday, nil)
			l.svc.Close()
			l.mustReconfigure(t, func(c *Config) { c.Data = "another" })
			l.fault(t, statesim.TargetCRL, statesim.Fault{Kind: statesim.Stale})
			l.fault(t, statesim.TargetOCSP, statesim.Fault{Kind: statesim.Unavailable})
			l.mustStart(t)
			eventually(t, "it says that the lists are stale", func() bool { return strings.Count(logs.String(), "a CRL proves nothing as it was downloaded") >= 6 })
			l.expectReason(t, "stale lists", gateway.EvidenceStale)
			code, said := l.fetchLists()
			if code != exitFailed || !strings.Contains(said, string(gateway.EvidenceStale)) {
				t.Errorf("exit %d: %s", code, said)
			}
			status, _, ready := call(t, http.MethodGet, l.admin+"/readyz", nil)
			if status == http.StatusOK || !strings.Contains(string(ready), "the publisher had nothing newer at") {
				t.Errorf("%d %s", status, ready)
			}
			if n := l.sample(t, `egov_gateway_revocation_crl_loads_total{issuer="`+labelOf(l, "issuing")+`",kind="full",reason="revocation.stale"}`); n < 1 {
				t.Errorf("%v loads of a stale list are counted", n)
			}
			l.fault(t, statesim.TargetCRL)
			tt.heal(t, l)
			eventually(t, "the gateway is ready", func() bool {
				status, _, _ := call(t, http.MethodGet, l.admin+"/readyz", nil)
				return status == http.StatusOK
			})
			l.expectReason(t, "well again", "")
		})
	}
}

// labelOf is what the gateway calls an issuer in metrics.
func labelOf(l *lab, id string) string { return strings.ToLower(l.pki.Must(id).Serial[:8]) }

// A page of another site cannot make an operator's browser fetch the lists, and no GET does.
func TestOnlyOperatorsFetchLists(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	for _, tt := range []struct {
		name, method string
		header       []string
		want         int
	}{
		{"a program", http.MethodPost, nil, http.StatusOK},
		{"a page of another site", http.MethodPost, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://example.kz"}, http.StatusForbidden},
		{"a link", http.MethodGet, nil, http.StatusMethodNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if status, _, body := call(t, tt.method, l.admin+fetchPath, nil, tt.header...); status != tt.want {
				t.Errorf("%d %s, want %d", status, body, tt.want)
			}
		})
	}
	l.svc.Close()
	if code, said := l.fetchLists(); code != exitFailed || !strings.Contains(said, "no gateway answers") {
		t.Errorf("without a gateway: exit %d: %s", code, said)
	}
}

// Addresses of lists and responders are one or several.
func TestSeveralAddressesOfAListInTheConfiguration(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	l.mustReconfigure(t, func(c *Config) {
		c.Revocation[0].CRL = Addresses{"http://one.example/a.crl", "http://two.example/a.crl"}
		c.Revocation[0].DeltaCRL = Addresses{"http://one.example/d.crl"}
		c.Revocation[0].OCSP = Addresses{"http://one.example/ocsp", "http://two.example/ocsp"}
	})
	c, err := LoadConfig(l.config)
	if err != nil {
		t.Fatal(err)
	}
	all, err := issuers(c)
	if err != nil {
		t.Fatal(err)
	}
	got := all[0]
	if got.CRL != "http://one.example/a.crl" || len(got.CRLMirrors) != 1 || got.CRLMirrors[0] != "http://two.example/a.crl" ||
		got.DeltaCRL != "http://one.example/d.crl" || len(got.DeltaMirrors) != 0 || len(got.OCSP) != 2 {
		t.Errorf("%+v", got)
	}
	l.mustReconfigure(t, func(c *Config) {
		c.Revocation[0].CRL = Addresses{"http://one.example/a.crl", "ftp://two.example/a.crl"}
	})
	var out, errs bytes.Buffer
	if code := run([]string{"config", "check", l.config}, &out, &errs); code == 0 || !strings.Contains(errs.String(), "revocation[0].crl[1]") {
		t.Errorf("exit %d: %s", code, &errs)
	}
}

// A full list has the two minutes that the documentation promises, and not the half a minute of a question.
func TestAFullListMayTakeItsTime(t *testing.T) {
	t.Parallel()
	l, p, _ := publishedLab(t)
	p.slow.Store(int64(31 * time.Second))
	if code, said := l.fetchLists(); code != 0 {
		t.Errorf("exit %d: %s", code, said)
	}
}
