package revocation_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// running starts a checker whose lists come from fetch, under the clock of a synctest bubble.
func running(t *testing.T, s *stage, fetch func(url string) ([]byte, error)) *revocation.Checker {
	t.Helper()
	k := s.checker(func(c *revocation.Config) {
		c.Now = time.Now
		c.Issuers[0].OCSP = nil
		c.Fetch = func(_ context.Context, url string, _ []byte) ([]byte, error) {
			if url == rootCRL {
				return list{issuer: s.pki.Must("root"), thisUpdate: time.Now()}.make(s.pki), nil
			}
			return fetch(url)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return k
}

// A list is loaded again before its own end, whatever the pace, and every minute while it proves nothing.
func TestListsHealByThemselves(t *testing.T) {
	tests := []struct {
		name        string
		life        time.Duration   // of each list; 0: as published says
		late        time.Duration   // how long after the end of a list the next one is published
		healthy     []time.Duration // when the gateway must be ready, since the start
		sick        []time.Duration // when it cannot be
		least, most int64           // loads of the full list in two hours
	}{
		{"lists that live for twenty minutes", 20 * time.Minute, -10 * time.Minute, []time.Duration{time.Minute, 20 * time.Minute, 30 * time.Minute, 60 * time.Minute, 119 * time.Minute}, nil, 6, 60},
		{"lists that live for a week", 7 * 24 * time.Hour, -time.Hour, []time.Duration{time.Minute, 119 * time.Minute}, nil, 2, 4},
		{"a list that is published ten minutes late", 40 * time.Minute, 10 * time.Minute, []time.Duration{time.Minute, 39 * time.Minute, 52 * time.Minute}, []time.Duration{45 * time.Minute}, 12, 60},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				start := time.Now()
				var loads atomic.Int64
				current := start // thisUpdate of what is published
				k := running(t, s, func(url string) ([]byte, error) {
					if url != crlURL {
						return nil, errAway
					}
					loads.Add(1)
					for !time.Now().Before(current.Add(tt.life + tt.late)) {
						current = current.Add(tt.life + tt.late)
					}
					return list{thisUpdate: current, nextUpdate: current.Add(tt.life), number: 5 + int(current.Sub(start)/time.Minute)}.make(s.pki), nil
				})
				ready := func(at time.Duration, want bool) {
					t.Helper()
					if err := k.Ready(); (err == nil) != want {
						t.Errorf("after %v: ready %v, want %t", at, err, want)
					}
				}
				for minute := range 120 {
					time.Sleep(time.Duration(minute+1)*time.Minute + time.Second - time.Since(start))
					at := time.Duration(minute+1) * time.Minute
					for _, h := range tt.healthy {
						if h == at {
							ready(at, true)
						}
					}
					for _, h := range tt.sick {
						if h == at {
							ready(at, false)
						}
					}
				}
				if n := loads.Load(); n < tt.least || n > tt.most {
					t.Errorf("%d loads in two hours, want %d to %d", n, tt.least, tt.most)
				}
			})
		})
	}
}

// S1-1: the list is too old as it is downloaded, and the publisher is well a few minutes later.
func TestAListThatWasStaleAsDownloadedIsAskedForEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var well atomic.Bool
		var loads atomic.Int64
		k := running(t, s, func(url string) ([]byte, error) {
			if url != crlURL {
				return nil, errAway
			}
			loads.Add(1)
			at := time.Now()
			if !well.Load() {
				at = at.AddDate(0, 0, -8)
			}
			return list{thisUpdate: at}.make(s.pki), nil
		})
		time.Sleep(7*time.Minute + time.Second)
		if err := k.Ready(); err == nil || !strings.Contains(err.Error(), "the publisher had nothing newer at") {
			t.Errorf("with a stale list: %v", err)
		}
		if n := loads.Load(); n < 7 || n > 9 {
			t.Errorf("%d loads in seven minutes", n)
		}
		well.Store(true)
		time.Sleep(65 * time.Second)
		if err := k.Ready(); err != nil {
			t.Errorf("a minute after the publisher is well: %v", err)
		}
	})
}

// Loads happen at once when somebody asks, and when a delta shows that there is a newer full list.
func TestListsAreLoadedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var full, deltas, base atomic.Int64
		base.Store(5)
		start := time.Now()
		k := running(t, s, func(url string) ([]byte, error) {
			if url == crlURL {
				full.Add(1)
				return list{number: int(base.Load()), thisUpdate: time.Now()}.make(s.pki), nil
			}
			deltas.Add(1)
			return list{number: 50, base: int(base.Load()), thisUpdate: time.Now()}.make(s.pki), nil
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if full.Load() != 1 || deltas.Load() != 1 {
			t.Fatalf("%d full and %d delta lists at the start", full.Load(), deltas.Load())
		}
		k.FetchSoon()
		synctest.Wait()
		if full.Load() != 2 || deltas.Load() != 2 {
			t.Errorf("%d full and %d delta lists after somebody asked", full.Load(), deltas.Load())
		}
		base.Store(6)
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		if full.Load() != 3 || deltas.Load() != 3 {
			t.Errorf("%d full and %d delta lists after a delta for a newer full list (%v)", full.Load(), deltas.Load(), time.Since(start))
		}
	})
}

// An operator's request downloads once, however many ask, and tells of each list.
func TestFetchTellsOfEachList(t *testing.T) {
	s := newStage(t)
	s.publish(crlURL, list{thisUpdate: now.AddDate(0, 0, -8), nextUpdate: now.AddDate(0, 0, -1)}.make(s.pki))
	var loads atomic.Int64
	gate := make(chan struct{})
	k := s.checker(func(c *revocation.Config) {
		c.Fetch = func(ctx context.Context, url string, body []byte) ([]byte, error) {
			loads.Add(1)
			<-gate
			return s.fetch(ctx, url, body)
		}
	})
	var wg sync.WaitGroup
	outcomes := make([][]revocation.Fetched, 10)
	for i := range outcomes {
		wg.Go(func() {
			var err error
			if outcomes[i], err = k.Fetch(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	for loads.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // all have asked; one that has not asks again, which is allowed
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.Fetch(gone); err == nil {
		t.Error("a caller who has gone was told something")
	}
	close(gate)
	wg.Wait()
	for _, all := range outcomes {
		if len(all) != 3 {
			t.Fatalf("%d lists", len(all))
		}
		for i, want := range []struct {
			issuer, kind string
			err, stale   gateway.Reason
		}{{"issuing", "full", "", gateway.EvidenceStale}, {"issuing", "delta", gateway.StatusUnavailable, gateway.StatusUnavailable}, {"root", "full", "", ""}} {
			got := all[i]
			if got.Issuer != want.issuer || got.Kind != want.kind || gateway.ReasonOf(got.Err) != want.err || gateway.ReasonOf(got.Stale) != want.stale {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		if !all[0].NextUpdate.Equal(now.AddDate(0, 0, -1)) || all[1].NextUpdate != (time.Time{}) {
			t.Errorf("dates %v and %v", all[0].NextUpdate, all[1].NextUpdate)
		}
	}
	if n := loads.Load(); n > 6 {
		t.Errorf("%d downloads for ten callers", n)
	}
}

// Of several addresses the first that gives a list which proves something counts.
func TestTheNextAddressIsAskedWhenOneGivesNothing(t *testing.T) {
	p := pki(t)
	const second = "crl://mirror"
	fresh := func(number int) []byte { return list{number: number}.make(p) }
	stale := list{thisUpdate: now.AddDate(0, 0, -8), nextUpdate: now.AddDate(0, 0, -1)}.make(p)
	tests := []struct {
		name           string
		first, mirror  []byte // nil: away
		held           []byte // before
		load, want     gateway.Reason
		asked          int // addresses
		mirrorAskedToo bool
	}{
		{"the first is well", fresh(5), fresh(6), nil, "", "", 1, false},
		{"the first is away", nil, fresh(6), nil, "", "", 2, true},
		{"the first gives a page of HTML", []byte("<html>"), fresh(6), nil, "", "", 2, true},
		{"the first gives a stale list", stale, fresh(6), nil, "", "", 2, true},
		{"the first gives an older list than the one held", list{number: 4, thisUpdate: now.Add(-2 * time.Hour)}.make(p), fresh(6), fresh(5), "", "", 2, true},
		{"the first gives a forged list", list{key: p.Must("citizen-02").Signer}.make(p), fresh(6), nil, "", "", 2, true},
		{"both are away", nil, nil, nil, gateway.StatusUnavailable, gateway.StatusUnavailable, 2, true},
		{"both are away and one is held", nil, nil, fresh(5), gateway.StatusUnavailable, "", 2, true},
		{"both give stale lists", stale, stale, nil, "", gateway.EvidenceStale, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			var asked []string
			k := s.checker(func(c *revocation.Config) {
				c.Issuers[0].OCSP, c.Issuers[0].DeltaCRL, c.Issuers[0].CRLMirrors = nil, "", []string{second}
				c.FetchCRL = func(ctx context.Context, url, tag string) ([]byte, string, bool, error) {
					if url == rootCRL {
						raw, err := s.fetch(ctx, url, nil)
						return raw, "", false, err
					}
					asked = append(asked, url)
					if tag != "" && tag != "tag of "+url {
						t.Errorf("%s was asked with the %s", url, tag)
					}
					raw := map[string][]byte{crlURL: tt.first, second: tt.mirror}[url]
					if len(asked) == 1 && tt.held != nil {
						raw = tt.held
					}
					if raw == nil {
						return nil, "", false, errAway
					}
					return raw, "tag of " + url, false, nil
				}
			})
			if tt.held != nil {
				if err := k.Refresh(context.Background()); err != nil {
					t.Fatal(err)
				}
				asked = asked[:0]
				asked = append(asked, "held")
			}
			err := k.Refresh(context.Background())
			wantReason(t, err, tt.load)
			if tt.held != nil {
				asked = asked[1:]
			}
			if len(asked) != tt.asked || asked[0] != crlURL || tt.mirrorAskedToo != (asked[len(asked)-1] == second) {
				t.Errorf("asked %v", asked)
			}
			_, err = s.check(k)
			wantReason(t, err, tt.want)
		})
	}
}

// What is no list is called what it is, and a list in PEM is one.
func TestWhatCameInThePlaceOfAList(t *testing.T) {
	p := pki(t)
	der := list{}.make(p)
	in := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	tests := []struct {
		name string
		raw  []byte
		says string // "": it is a list
	}{
		{"DER", der, ""},
		{"PEM", in("X509 CRL"), ""},
		{"PEM after blanks", append([]byte("\n\r\n"), in("X509 CRL")...), ""},
		{"PEM of a certificate", in("CERTIFICATE"), "PEM of another kind"},
		{"PEM and more", append(in("X509 CRL"), in("X509 CRL")...), "bytes after the CRL in PEM"},
		{"PEM cut off", in("X509 CRL")[:100], "PEM that is not whole"},
		{"nothing", []byte{}, "an empty file"},
		{"blanks", []byte(" \n"), "nothing but blanks"},
		{"a page", []byte("<!DOCTYPE html><html>"), "a page of HTML"},
		{"a page after a mark of byte order", []byte("\ufeff\n<html>"), "a page of HTML"},
		{"JSON", []byte(`{"error":"not found"}`), "JSON came"},
		{"gzip", []byte{0x1f, 0x8b, 8, 0}, "a gzip file"},
		{"text", []byte("not found"), "not one DER CertificateList"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(crlURL, tt.raw)
			k := s.checker(func(c *revocation.Config) { c.Issuers[0].OCSP, c.Issuers[0].DeltaCRL = nil, "" })
			err := k.Refresh(context.Background())
			_, checked := s.check(k)
			if tt.says == "" {
				if err != nil || checked != nil {
					t.Errorf("%v, %v", err, checked)
				}
				return
			}
			wantReason(t, err, gateway.EvidenceUntrusted)
			wantReason(t, checked, gateway.EvidenceUntrusted)
			if !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}
