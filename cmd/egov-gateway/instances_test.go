package main

import (
	"fmt"
	"log/slog"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
)

// BenchmarkInstances is how many requests a second one and two gateways on one Redis bring to
// their end while every state system takes 200 ms: two should do nearly twice as much, or the
// engine would be what holds them up. Each gateway works on two requests at once; eight citizens send them, whose own keep their order.
func BenchmarkInstances(b *testing.B) {
	var alone float64
	for _, instances := range []int{1, 2} {
		b.Run(fmt.Sprintf("%d", instances), func(b *testing.B) {
			rate := bringToTheEnd(b, instances, max(b.N, 96))
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate, "requests/s")
			if instances == 1 {
				alone = rate
			} else if alone > 0 {
				b.ReportMetric(rate/alone, "x-one")
			}
		})
	}
}

func bringToTheEnd(b *testing.B, instances, requests int) float64 {
	l, err := newLab(b.TempDir(), time.Now(), nil, slog.New(slog.DiscardHandler), func(c *statesim.Config) { c.Factor = 1e6 })
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go l.world.Run(b.Context()) //nolint:errcheck // ends with the benchmark
	for _, system := range []string{"gbdfl", "gbdrn", "socialpayments", "income", "alimony", "employment"} {
		if err := l.world.SetFaults(system, statesim.Fault{Kind: statesim.Latency, DelayMS: 200}); err != nil {
			b.Fatal(err)
		}
	}
	url, _ := newRedis(b)
	l.onRedis(b, url)
	c, err := LoadConfig(l.config)
	if err != nil {
		b.Fatal(err)
	}
	c.Pipeline.Workers = 2
	l.write(b, c, l.config)
	labs := []*lab{l}
	var running []*exec.Cmd
	for len(labs) < instances {
		labs = append(labs, l.second(b))
	}
	for _, o := range labs {
		running = append(running, o.process(b))
	}
	docs := map[string][][]byte{}
	for n := range requests {
		citizen := fmt.Sprintf("citizen-%02d", n%8+1)
		key, err := l.key(citizen)
		if err != nil {
			b.Fatal(err)
		}
		doc, err := l.draft(citizen, taraz).Sign(key)
		if err != nil {
			b.Fatal(err)
		}
		door := labs[n%instances]
		docs[door.base] = append(docs[door.base], doc)
	}
	before := len(l.world.Notices())
	start := time.Now()
	for base, all := range docs {
		load(b, base+"/v1/requests", l.token, all)
	}
	for deadline := time.Now().Add(3 * time.Minute); len(l.world.Notices())-before < requests; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d came to their end", len(l.world.Notices())-before, requests)
		}
	}
	took := time.Since(start)
	for _, cmd := range running {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	}
	return float64(requests) / took.Seconds()
}
