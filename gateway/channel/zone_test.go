package channel_test

import (
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway/channel"
)

// field.md 11: whoever is off by just an hour reads what the likely cause is.
func TestAnHourOffNamesTheOldZone(t *testing.T) {
	now := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	for off, told := range map[time.Duration]bool{
		time.Hour: true, time.Hour + 3*time.Minute: true, -time.Hour - 2*time.Minute: true,
		30 * time.Minute: false, 2 * time.Hour: false, -90 * time.Minute: false, 0: false,
	} {
		if got := strings.Contains(channel.OldZone(now.Add(off), now), "+06:00"); got != told {
			t.Errorf("off by %v: told %t", off, got)
		}
	}
}
