package peer_test

import (
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway/harness/peer"
	"egov-gateway/gateway/harness/tool"
)

func TestAPeerLivesAtTheTestsInstant(t *testing.T) {
	tool.Path(t, "faketime", "faketime")
	for name, at := range map[string]time.Time{
		"now":                    time.Now(),
		"an instant of the past": time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC),
		"a year ahead":           time.Now().AddDate(1, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			out, err := peer.Command(t.Context(), at, "date", "-u", "+%FT%TZ").Output()
			if err != nil {
				t.Fatal(err)
			}
			says, err := time.Parse(time.RFC3339, strings.TrimSpace(string(out)))
			if err != nil || says.Sub(at).Abs() > 10*time.Minute {
				t.Errorf("it is %v, and the peer says %v, %v", at, says, err)
			}
		})
	}
}
