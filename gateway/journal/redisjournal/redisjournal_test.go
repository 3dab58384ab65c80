package redisjournal_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/redisjournal"
)

// TestMain keeps the client's own words about dying servers out of the output.
func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	os.Exit(m.Run())
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func contains(s, part string) bool { return strings.Contains(s, part) }

// Each test of the suite has a journal of its own, by its name, in one Redis.
func maker(urls ...string) journaltest.Maker {
	var n atomic.Int64
	return func(t *testing.T) (journal.Store, func() journal.Store) {
		t.Helper()
		c := redisjournal.Config{Redis: urls, Name: fmt.Sprintf("suite %d", n.Add(1)), Dir: t.TempDir(), CallersClock: true}
		open := func() journal.Store {
			s, err := redisjournal.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		return open(), open
	}
}

func TestConformanceOnOneServer(t *testing.T) {
	journaltest.Run(t, maker(newServer(t).url()))
}

func TestConformanceOnACluster(t *testing.T) {
	var urls []string
	for _, s := range newCluster(t) {
		urls = append(urls, s.url())
	}
	journaltest.Run(t, maker(urls...))
}

func replaceID(s string, id gateway.RequestID) string { return strings.ReplaceAll(s, "ID", string(id)) }

func TestAgainstTheModel(t *testing.T) { journaltest.RunModel(t, maker(newServer(t).url())) }
