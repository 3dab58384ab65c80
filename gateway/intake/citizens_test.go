package intake

import (
	"strconv"
	"testing"
	"time"

	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
)

func TestCitizensHaveAQuota(t *testing.T) {
	start := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	limit := passport.Quota{Requests: 2, Per: passport.Duration(time.Hour)}
	steps := []struct {
		citizen journal.CitizenKey
		service string
		after   time.Duration
		want    time.Duration // since the start, when there is room again; 0 is at once
	}{
		{"a", "aid", 0, 0}, {"a", "aid", 10 * time.Minute, 0},
		{"a", "aid", 20 * time.Minute, time.Hour},
		{"b", "aid", 20 * time.Minute, 0},       // another citizen
		{"a", "complaint", 20 * time.Minute, 0}, // another service
		{"a", "aid", time.Hour - time.Second, time.Hour},
		{"a", "aid", time.Hour, 0}, // the first is an hour ago
		{"a", "aid", time.Hour, time.Hour + 10*time.Minute},
		{"a", "aid", 40 * time.Hour, 0}, // long after the memory turned
	}
	var q quotas
	for i, s := range steps {
		again, ok := q.take(quotaKey(s.citizen, s.service), limit, start.Add(s.after))
		if ok != (s.want == 0) || !ok && !again.Equal(start.Add(s.want)) {
			t.Errorf("step %d: %t, again at %v", i+1, ok, again)
		}
	}
	t.Run("what was not accepted is free", func(t *testing.T) {
		var q quotas
		key := quotaKey("a", "aid")
		for i := range 10 {
			at := start.Add(time.Duration(i) * time.Second)
			if _, ok := q.take(key, limit, at); !ok {
				t.Fatalf("number %d was refused", i+1)
			}
			q.giveBack(key, at)
		}
		if len(q.young)+len(q.old) != 0 {
			t.Error("something is remembered")
		}
	})
	t.Run("the memory is bounded", func(t *testing.T) {
		var q quotas
		for i := range 3 * rememberedCitizens {
			q.take(quotaKey(journal.CitizenKey(strconv.Itoa(i)), "aid"), limit, start)
		}
		if n := len(q.young) + len(q.old); n > 2*rememberedCitizens {
			t.Errorf("%d citizens", n)
		}
	})
}
