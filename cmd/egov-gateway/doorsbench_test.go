package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/xmlsig"
)

// TEST ONLY: what an honest portal gets while others attack a gateway on loopback. The gateway is a
// process of its own; attackers, portal and world share the machine with it, and their time is in
// what is measured.

// Load of the honest portal.
const (
	honestRate = 30 // requests a second
	honestTime = 15 * time.Second
)

// A siege is one row of the table.
type siege struct {
	name    string
	attack  func(ctx context.Context, b *besieged, wg *sync.WaitGroup)
	prepare func(b *besieged) error // before the attack, if set
}

// A besieged gateway.
type besieged struct {
	*rig
	address  string
	provider string // token of taraz
	other    string // token of portal3.kz
	flood    []byte
	sent     atomic.Int64 // octets of answers without end
	endless  *httptest.Server
}

// forgetful makes the gateway begin anew, so that it knows no certificate, with responders whose answers
// have a gigabyte.
func (b *besieged) forgetful() error {
	b.endless = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/ocsp-response")
		piece := make([]byte, 64<<10)
		for range 16384 {
			n, err := w.Write(piece)
			b.sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	b.stop(false)
	if err := b.reconfigure(func(c *Config) {
		for i := range c.Revocation {
			c.Revocation[i].OCSP = []string{b.endless.URL}
		}
	}); err != nil {
		return err
	}
	_, err := b.start(true)
	return err
}

func (b *besieged) dial(from string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	return d.Dial("tcp", b.address)
}

func (b *besieged) secure(from string, protocols ...string) (net.Conn, error) {
	c, err := b.dial(from)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the handshake tells
	if err := t.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	c.SetDeadline(time.Time{}) //nolint:errcheck // see above
	return t, nil
}

// repeat does something again and again until the siege is over, in n places at once. They begin one
// after the other: what many handshakes in one moment cost on a machine that client and gateway share
// is not what is measured.
func repeat(ctx context.Context, wg *sync.WaitGroup, n int, f func(ctx context.Context, place int)) {
	for place := range n {
		wg.Go(func() {
			time.Sleep(2 * time.Second * time.Duration(place) / time.Duration(n))
			for ctx.Err() == nil {
				f(ctx, place)
				select {
				case <-ctx.Done():
				case <-time.After(2 * time.Second):
				}
			}
		})
	}
}

// hold keeps a connection until the gateway ends it, or the siege is over.
func hold(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	io.Copy(io.Discard, c) //nolint:errcheck // its end is what counts
	c.Close()
}

func sieges() []siege {
	return []siege{
		{name: "alone", attack: func(context.Context, *besieged, *sync.WaitGroup) {}},
		{name: "2,000 strangers hold connections", attack: func(ctx context.Context, b *besieged, wg *sync.WaitGroup) {
			repeat(ctx, wg, 2000, func(ctx context.Context, place int) {
				if c, err := b.dial(fmt.Sprintf("127.3.%d.3", place%100)); err == nil {
					hold(ctx, c)
				}
			})
		}},
		{name: "130 announce 15 MB", attack: func(ctx context.Context, b *besieged, wg *sync.WaitGroup) {
			repeat(ctx, wg, 130, func(ctx context.Context, place int) {
				if c, err := b.secure(fmt.Sprintf("127.4.%d.3", place)); err == nil {
					io.WriteString(c, announces15MB) //nolint:errcheck // its end is what counts
					hold(ctx, c)
				}
			})
		}},
		{name: "5 HTTP/2 connections, 250 streams each", attack: func(ctx context.Context, b *besieged, wg *sync.WaitGroup) {
			for n := range 5 {
				tr := &http.Transport{ForceAttemptHTTP2: true, MaxConnsPerHost: 1, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
					DialContext: func(context.Context, string, string) (net.Conn, error) { return b.dial(fmt.Sprintf("127.5.0.%d", 1+n)) }}
				repeat(ctx, wg, 250, func(ctx context.Context, _ int) {
					body, w := io.Pipe()
					stop := context.AfterFunc(ctx, func() { w.Close() })
					defer stop()
					req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.facts.Base+"/shep/sync", body)
					if err != nil {
						return
					}
					req.Header.Set("Content-Type", "text/xml")
					if resp, err := tr.RoundTrip(req); err == nil {
						resp.Body.Close()
					}
					w.Close()
				})
			}
		}},
		{name: "a portal uploads a byte a second, 64 times", attack: func(ctx context.Context, b *besieged, wg *sync.WaitGroup) {
			repeat(ctx, wg, 64, func(ctx context.Context, _ int) {
				c, err := b.secure("127.6.0.3")
				if err != nil {
					return
				}
				go func() {
					fmt.Fprintf(c, "POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nAuthorization: Bearer %s\r\nContent-Length: 8388608\r\n\r\n", b.other)
					for {
						if _, err := c.Write([]byte("<")); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				hold(ctx, c)
			})
		}},
		{name: "a provider floods with 250,000 elements", attack: func(ctx context.Context, b *besieged, wg *sync.WaitGroup) {
			tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64}
			repeat(ctx, wg, 64, func(ctx context.Context, _ int) {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.facts.Base+"/v1/providers/taraz/steps", bytes.NewReader(b.flood))
				if err != nil {
					return
				}
				req.Header = http.Header{"Content-Type": {"application/xml"}, "Authorization": {"Bearer " + b.provider}}
				if resp, err := tr.RoundTrip(req); err == nil {
					io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the load counts
					resp.Body.Close()
				}
			})
		}},
		{name: "OCSP answers of a gigabyte", attack: func(context.Context, *besieged, *sync.WaitGroup) {}, prepare: (*besieged).forgetful},
		{name: "alone again", attack: func(context.Context, *besieged, *sync.WaitGroup) {}},
	}
}

// A toll is what the honest portal got.
type toll struct {
	sent, accepted int
	p99            time.Duration
	resident       int64
}

// besiege sends the honest portal's documents at their pace during an attack.
func besiege(b *besieged, s siege, docs [][]byte) (t toll) {
	ctx, cancel := context.WithCancel(context.Background())
	var attackers sync.WaitGroup
	s.attack(ctx, b, &attackers)
	time.Sleep(2 * time.Second)
	honest := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return b.dial(honestAddress) }}}
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / honestRate)
	for _, doc := range docs {
		<-tick.C
		t.resident = max(t.resident, b.gateway.spent().resident)
		wg.Go(func() {
			req, err := http.NewRequest(http.MethodPost, b.facts.Base+"/v1/requests", bytes.NewReader(doc))
			if err != nil {
				return
			}
			req.Header = http.Header{"Content-Type": {"application/xml"}, "Authorization": {"Bearer " + b.facts.Token}}
			begin := time.Now()
			resp, err := honest.Do(req)
			if err != nil {
				return
			}
			io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the status counts
			resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			if resp.StatusCode == http.StatusAccepted {
				took = append(took, time.Since(begin))
			}
		})
	}
	wg.Wait()
	tick.Stop()
	cancel()
	attackers.Wait()
	slices.Sort(took)
	t.sent, t.accepted = len(docs), len(took)
	if len(took) > 0 {
		t.p99 = took[len(took)*99/100]
	}
	return t
}

func citizenNumber(n int) string { return fmt.Sprintf("citizen-%02d", n+1) }

func BenchmarkDoors(b *testing.B) {
	b.Setenv(runAsGateway, "1") // the besieged gateway is this program
	pki, err := testpki.Load()
	if err != nil {
		b.Fatal(err)
	}
	r, err := (&bench{dir: b.TempDir()}).newRig(0, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer r.close()
	dir := r.facts.Dir
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cert, key := selfSigned(b)
	write("doors.crt", cert)
	write("doors.key", key)
	other := strings.Repeat("portal3-", 4)
	write("portal3.token", []byte(other))
	if err := r.reconfigure(func(c *Config) {
		c.TLS = &TLS{Certificate: "doors.crt", Key: "doors.key"}
		c.Portals = append(c.Portals, Portal{Name: "portal3.kz", TokenFile: "portal3.token"})
		c.Portals[0].Addresses = []netip.Prefix{netip.MustParsePrefix(honestAddress + "/32")}
	}); err != nil {
		b.Fatal(err)
	}
	if _, err := r.start(true); err != nil {
		b.Fatal(err)
	}
	r.facts.Base = strings.Replace(r.facts.Base, "http:", "https:", 1)
	token, err := os.ReadFile(filepath.Join(dir, "taraz.token"))
	if err != nil {
		b.Fatal(err)
	}
	l := &lab{dir: dir, pki: pki, clock: &hopClock{offset: r.facts.Offset}, keys: map[string]*xmlsig.Key{}}
	citizens := make([]*xmlsig.Key, 8)
	for n := range citizens {
		if citizens[n], err = l.key(citizenNumber(n)); err != nil {
			b.Fatal(err)
		}
	}
	flood, err := xmlsig.Sign([]byte(`<step xmlns="urn:egov-gateway:step:1">`+strings.Repeat("<a/>", 240_000)+`</step>`), citizens[0], xmlsig.SignOptions{})
	if err != nil {
		b.Fatal(err)
	}
	castle := &besieged{rig: r, address: strings.TrimPrefix(r.facts.Base, "https://"), provider: string(token), other: other, flood: flood}
	defer func() {
		if castle.endless != nil {
			castle.endless.CloseClientConnections()
			castle.endless.Close()
		}
	}()
	var table strings.Builder
	fmt.Fprintf(&table, "\n%s, %d of %d processors, an honest portal sends %d requests a second\n\n| siege | accepted | p99 | resident | |\n|---|---|---|---|---|\n",
		time.Now().Format(time.DateOnly), runtime.GOMAXPROCS(0), runtime.NumCPU(), honestRate)
	var alone toll
	for i, s := range sieges() {
		docs := make([][]byte, honestRate*int(honestTime/time.Second))
		if s.prepare != nil {
			if err := s.prepare(castle); err != nil {
				b.Fatal(err)
			}
		}
		for n := range docs {
			one := n % len(citizens)
			if docs[n], err = l.draft(citizenNumber(one), taraz).Sign(citizens[one]); err != nil {
				b.Fatal(err)
			}
		}
		t := besiege(castle, s, docs)
		if s.prepare != nil && castle.sent.Load() == 0 {
			b.Error("no responder was asked")
		}
		if i == 0 {
			alone = t
		}
		verdict := "held"
		if t.accepted*10 < alone.accepted*9 || t.p99 > 3*alone.p99 || t.resident > 400<<20 {
			verdict = "did not hold"
		}
		fmt.Fprintf(&table, "| %s | %d of %d | %v | %d MB | %s |\n", s.name, t.accepted, t.sent, t.p99.Round(100*time.Microsecond), t.resident>>20, verdict)
	}
	fmt.Println(table.String())
}

// selfSigned is a certificate of the doors.
func selfSigned(b *testing.B) (cert, key []byte) {
	b.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TEST ONLY"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		b.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		b.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
