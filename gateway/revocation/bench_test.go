package revocation_test

import (
	"context"
	"crypto/x509"
	"runtime"
	"testing"

	"egov-gateway/gateway/revocation"
)

func BenchmarkCheckRemembered(b *testing.B) {
	s := newStage(b)
	s.answer(ocspURL, answer{})
	k := s.refreshed(nil)
	path := pathOf(b, s.pki, "citizen-01", "issuing", "root")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Check(context.Background(), path, now); err != nil {
			b.Fatal(err)
		}
	}
}

// Reading an answer and checking two signatures: the responder's certificate and the answer.
func BenchmarkOCSPAnswer(b *testing.B) {
	p := pki(b)
	raw := [][]byte{answer{noNonce: true}.make(p, nil)}
	path := pathOf(b, p, "citizen-01", "issuing", "root")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := revocation.Offline(path, now, nil, raw, revocation.OfflineOptions{Scope: revocation.ScopeLeaf}); err != nil {
			b.Fatal(err)
		}
	}
}

// The list of a million: reading it, what it keeps, and the standard library beside it.
func BenchmarkMillionEntries(b *testing.B) {
	p := pki(b)
	entries, _ := million(1_000_000)
	raw := bulk(p.Must("issuing").X509().RawSubject, entries)
	kept := func(b *testing.B, read func() any) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var keep any
		for b.Loop() {
			keep = read()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-kept")
		runtime.KeepAlive(keep)
	}
	b.Run("ours", func(b *testing.B) {
		kept(b, func() any {
			c, err := revocation.ParseCRL(raw)
			if err != nil {
				b.Fatal(err)
			}
			return c
		})
	})
	b.Run("crypto/x509", func(b *testing.B) {
		kept(b, func() any {
			c, err := x509.ParseRevocationList(raw)
			if err != nil {
				b.Fatal(err)
			}
			return c
		})
	})
}
