package main

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// outgoingRows are the settings by which the gateway is known to those whom it calls by https, and they to
// it. At the provider the call itself shows it; of the others, that the party was made anew.
func outgoingRows(t *testing.T, web webPKI) (rows map[string]func(*changing), change func(*changing, *Config)) {
	t.Helper()
	var shown atomic.Value // serial of the certificate that was shown last
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			shown.Store(r.TLS.PeerCertificates[0].SerialNumber.String())
		}
	}))
	cert, key := web.issue("provider", false)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)

	names := []string{"outgoing", "providers[]", "regions[]", "shep.participants[].push"}
	for name := range sources {
		names = append(names, "sources."+name)
	}
	file := func(of, kind string) string { return strings.NewReplacer("[]", "", ".", "-").Replace(of) + "." + kind }
	change = func(w *changing, c *Config) {
		settings := func(of string) *ClientTLS {
			crt, key := web.issue(of, true)
			return &ClientTLS{CA: []string{w.file(file(of, "ca"), web.serverCA)}, Certificate: w.file(file(of, "crt"), crt), Key: w.file(file(of, "key"), key)}
		}
		c.Outgoing = settings("outgoing")
		for i := range c.Providers {
			if c.Providers[i].ID == "taraz" {
				c.Providers[i].URL, c.Providers[i].TLS = server.URL+"/taraz", settings("providers[]")
			}
		}
		c.Regions[0].TLS = settings("regions[]")
		c.SHEP.Participants[len(c.SHEP.Participants)-1].PushTLS = settings("shep.participants[].push")
		for name, s := range c.Sources.named() {
			if name == "socialpayments" {
				name = "social_payments"
			}
			s.TLS = settings("sources." + name)
		}
	}

	send := func(w *changing) error {
		return w.svc.reloader.b.parts.providers.Send(w.t.Context(), "taraz", "id", []byte("<delivery/>"))
	}
	rows = map[string]func(*changing){}
	party := map[string]string{"regions[]": "region/zhambyl", "shep.participants[].push": "participant/pushed.kz"}
	for name := range sources {
		party["sources."+name] = "source/" + name
	}
	for _, of := range names {
		setting := of + ".tls."
		switch of {
		case "outgoing":
			setting = "outgoing."
		case "shep.participants[].push":
			setting = "shep.participants[].push_tls."
		}
		anew := func(kinds ...string) func(*changing) {
			return func(w *changing) {
				crt, key := web.issue("next", true)
				other, _, _, _ := issue(w.t, "another CA", nil, nil)
				next := map[string]string{"crt": crt, "key": key, "ca": string(other)}
				old := map[string]string{}
				for _, kind := range kinds {
					old[kind] = w.content(file(of, kind))
				}
				write := func() {
					for _, kind := range kinds {
						w.file(file(of, kind), next[kind])
					}
				}
				switch of {
				case "outgoing":
					w.waits("outgoing", write)
					for _, kind := range kinds {
						w.file(file(of, kind), old[kind])
					}
					w.restored(file(of, kinds[0]), old[kinds[0]])
				case "providers[]":
					if err := send(w); err != nil {
						w.t.Fatalf("before: %v", err)
					}
					before := shown.Load()
					write()
					if waiting, err := w.svc.reloader.reload(); err != nil || len(waiting) > 0 {
						w.t.Fatalf("%q waits, %v", waiting, err)
					}
					err := send(w)
					if kinds[0] == "ca" {
						if err == nil {
							w.t.Error("the provider is believed by the anchor of before")
						}
						w.replace(file(of, "ca"), old["ca"])
						if err := send(w); err != nil {
							w.t.Errorf("with its anchor again: %v", err)
						}
						return
					}
					if err != nil || shown.Load() == before {
						w.t.Errorf("the certificate of before is shown: %v", err)
					}
				default:
					before := w.svc.reloader.b.made[party[of]]
					write()
					if waiting, err := w.svc.reloader.reload(); err != nil || len(waiting) > 0 {
						w.t.Fatalf("%q waits, %v", waiting, err)
					}
					if now := w.svc.reloader.b.made[party[of]]; before.made == nil || now.made == before.made {
						w.t.Errorf("%s goes on with what was made before", party[of])
					}
				}
			}
		}
		rows[setting+"ca"] = anew("ca")
		rows[setting+"certificate"], rows[setting+"key"] = anew("crt", "key"), anew("crt", "key") // a pair is replaced as one
	}
	return rows, change
}
