package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// callback posts a document to the door of the provider taraz.
func (l *lab) callback(t *testing.T, kind string, doc []byte) int {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(l.dir, "taraz.token"))
	if err != nil {
		t.Error(err)
		return 0
	}
	req, err := http.NewRequest(http.MethodPost, l.base+"/v1/providers/taraz/"+kind, bytes.NewReader(doc))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header = http.Header{"Content-Type": {"application/xml"}, "Authorization": {"Bearer " + string(token)}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the status counts
	return resp.StatusCode
}

// withoutSteps is a lab whose provider does nothing by itself, and a request that it has.
func withoutSteps(t *testing.T, change func(*Config)) (*lab, gateway.RequestID) {
	t.Helper()
	l := newDoorsLab(t, change)
	l.fault(t, "gbdrn", statesim.Fault{Kind: statesim.Unavailable})
	return l, gateway.RequestID(l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01").ID)
}

// size is that of all files below a directory.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What a provider sends and nobody of it signed leaves a digest behind; what it signed leaves itself,
// within the provider's budget.
func TestTheQuarantineKeepsLittle(t *testing.T) {
	tests := []struct {
		name   string
		signer string
		bytes  int // of each document
		count  int
		kept   int64 // bytes, at least
		most   int64
	}{
		{"signed by a citizen", "citizen-02", 900_000, 20, 0, 3 << 20}, // of the WAL; the documents are 18 MB
		{"signed by the provider, within its budget", "provider-zhambyl-head", 100_000, 2, 150_000, 3 << 20},
		{"signed by the provider, beyond its budget", "provider-zhambyl-head", 400_000, 12, 400_000, 3 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, id := withoutSteps(t, func(c *Config) { c.Limits.Quarantine = 500_000 })
			key, err := l.key(tt.signer)
			if err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(l.dir, "data")
			before := size(t, data)
			for n := range tt.count {
				doc := fmt.Sprintf(`<step xmlns="urn:egov-gateway:step:1"><requestId>%s</requestId><code>%d%s</code></step>`, id, n, strings.Repeat("x", tt.bytes))
				if status := l.callback(t, "steps", mustSign(t, key, []byte(doc))); status != http.StatusUnprocessableEntity {
					t.Fatalf("%d", status)
				}
			}
			it := l.quarantined(t, id, tt.count)
			var kept int64
			for name, b := range it.Bodies {
				if strings.HasPrefix(name, gateway.BodyQuarantine) {
					kept += b.Size
				}
			}
			if kept < tt.kept || kept > 500_000+int64(tt.count)*500 {
				t.Errorf("%d bytes are kept in quarantine", kept)
			}
			if grown := size(t, data) - before; grown > tt.most {
				t.Errorf("the journal grew by %d bytes", grown)
			}
		})
	}
}

// quarantined waits until the flow has taken in so many refused documents.
func (l *lab) quarantined(t *testing.T, id gateway.RequestID, n int) journal.Item {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		it, err := l.svc.store.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for name := range it.Bodies {
			if strings.HasPrefix(name, gateway.BodyQuarantine) {
				found++
			}
		}
		if found >= n || time.Now().After(end) {
			if found != n {
				t.Errorf("%d notes, want %d", found, n)
			}
			return it
		}
	}
}

// A provider that floods its door takes a bounded part of the memory, and of the processors only its turns.
func TestAProvidersFloodIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	l, id := withoutSteps(t, nil)
	key, err := l.key("citizen-02")
	if err != nil {
		t.Fatal(err)
	}
	doc := mustSign(t, key, []byte(fmt.Sprintf(`<step xmlns="urn:egov-gateway:step:1"><requestId>%s</requestId>%s</step>`, id, strings.Repeat("<a/>", 240_000))))
	before := heap()
	var wg sync.WaitGroup
	var full atomic.Int64
	for range 64 {
		wg.Go(func() {
			switch status := l.callback(t, "steps", doc); status {
			case http.StatusServiceUnavailable: // beyond the provider's share
				full.Add(1)
			case http.StatusBadRequest: // so many tags are no step
			default:
				t.Errorf("%d", status)
			}
		})
	}
	most := watchHeap()
	for range 5 {
		if status, _, body := l.restPost(t, []byte(l.mustSigned(t, l.draft("citizen-02", taraz), "citizen-02"))); status != http.StatusAccepted {
			t.Errorf("a portal meanwhile: %d %s", status, body)
		}
	}
	wg.Wait()
	used := most() - before
	t.Logf("%d MB at most, %d of 64 were sent away", used>>20, full.Load())
	if used > 400<<20 {
		t.Errorf("%d MB were in use", used>>20)
	}
}

// watchHeap looks at what is in use until the function that it returns is called, which says what it
// was at most, in bytes.
func watchHeap() func() int64 {
	done, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapAlloc))
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(done); return <-peak }
}
