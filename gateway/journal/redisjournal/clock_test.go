package redisjournal_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

// Each opening is another gateway beside those before it.
func TestTheServersClockDecides(t *testing.T) {
	server, n := newServer(t), atomic.Int64{}
	journaltest.RunClocks(t, func(t *testing.T) journaltest.AheadOpener {
		name := fmt.Sprintf("clocks %d", n.Add(1))
		return func(ahead time.Duration) journal.Store {
			c := redisjournal.Config{Redis: []string{server.url()}, Name: name, Dir: t.TempDir(), Now: func() time.Time { return time.Now().Add(ahead) }}
			s, err := redisjournal.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		}
	})
}
