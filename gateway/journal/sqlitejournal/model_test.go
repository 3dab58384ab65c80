package sqlitejournal_test

import (
	"testing"

	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/journaltest"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/sealing"
)

func TestAgainstTheModel(t *testing.T) {
	inClearAndSealed(t, func(t *testing.T, keys *sealing.Keyring) {
		journaltest.RunModel(t, func(t *testing.T) (journal.Store, func() journal.Store) {
			c := sqlitejournal.Config{Dir: t.TempDir(), Keys: keys}
			open := func() journal.Store {
				s, err := sqlitejournal.Open(c)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			return open(), open
		})
	})
}
