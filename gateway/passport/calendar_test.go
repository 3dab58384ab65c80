package passport_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"egov-gateway/gateway/passport"
)

var office = passport.Hours{From: 9 * time.Hour, To: 18*time.Hour + 30*time.Minute}

// draw is an instant before, within or beyond the years with data: from 2019 to 2045.
func draw(rt *rapid.T) time.Time {
	from := time.Date(2019, 1, 3, 0, 0, 0, 0, time.UTC)
	return from.Add(time.Duration(rapid.Int64Range(0, int64(26*365*24*time.Hour)/int64(time.Second)).Draw(rt, "at")) * time.Second)
}

// R11: registration is the instant itself in working hours, else the nearest opening after it.
func TestRegistrationIsTheNearestOpening(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		at := draw(rt).In(c.Zone())
		reg := c.Register(at, office)
		if reg.Equal(at) {
			return
		}
		if reg.Before(at) || reg.Format("15:04:05") != "09:00:00" || !c.WorkingDay(reg) {
			rt.Fatalf("%v is registered at %v", at, reg)
		}
		// Nothing between the two was an opening that was passed over.
		for d := at; d.Before(reg.Add(-24 * time.Hour)); d = d.Add(24 * time.Hour) {
			next := time.Date(d.Year(), d.Month(), d.Day(), 9, 0, 0, 0, c.Zone())
			if next.After(at) && next.Before(reg) && c.WorkingDay(next) {
				rt.Fatalf("%v is registered at %v although %v was open", at, reg, next)
			}
		}
	})
}

// R12: minutes and hours run in working hours only, and all of them do.
func TestMinutesAndHoursRunInWorkingHours(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		start := c.Register(draw(rt), office)
		minutes := rapid.IntRange(1, 3000).Draw(rt, "minutes")
		due := c.Add(start, passport.Limit{Minutes: minutes}, office)
		var worked time.Duration
		for d := time.Date(start.Year(), start.Month(), start.Day(), 0, 0, 0, 0, c.Zone()); d.Before(due); d = d.AddDate(0, 0, 1) {
			if !c.WorkingDay(d.Add(12 * time.Hour)) {
				continue
			}
			from, to := d.Add(office.From), d.Add(office.To)
			if start.After(from) {
				from = start
			}
			if due.Before(to) {
				to = due
			}
			if to.After(from) {
				worked += to.Sub(from)
			}
		}
		if want := time.Duration(minutes) * time.Minute; worked != want {
			rt.Fatalf("from %v to %v are %v of working time, want %v", start, due, worked, want)
		}
	})
}

// R12: calendar days run through; only a last day that is not worked moves, to the next that is.
func TestCalendarDaysMoveOnlyAtTheirEnd(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		start := c.Register(draw(rt), office)
		days := rapid.IntRange(1, 60).Draw(rt, "days")
		due := c.Add(start, passport.Limit{CalendarDays: days}, office)
		nominal := start.In(c.Zone()).AddDate(0, 0, days)
		if due.Before(nominal) || due.In(c.Zone()).Format("15:04") != start.In(c.Zone()).Format("15:04") || !c.WorkingDay(due) {
			rt.Fatalf("%d days after %v is %v", days, start, due)
		}
		for d := nominal; d.Before(due); d = d.AddDate(0, 0, 1) {
			if c.WorkingDay(d) {
				rt.Fatalf("%d days after %v is %v although %v is worked", days, start, due, d)
			}
		}
	})
}

// R12: working days are counted as such, the first being the one after the start.
func TestWorkingDaysAreCounted(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		start := c.Register(draw(rt), office)
		days := rapid.IntRange(1, 30).Draw(rt, "days")
		due := c.Add(start, passport.Limit{WorkingDays: days}, office)
		n := 0
		for d := start.In(c.Zone()).AddDate(0, 0, 1); !d.After(due); d = d.AddDate(0, 0, 1) {
			if c.WorkingDay(d) {
				n++
			}
		}
		if n != days || !c.WorkingDay(due) {
			rt.Fatalf("%d working days lie between %v and %v, want %d", n, start, due, days)
		}
	})
}

// The last year that calendar.yaml knows. When the government has announced another one, it goes
// into the file and here.
func TestTheLastYearWithData(t *testing.T) {
	if end := load(t).Calendar().End(); !end.Equal(at(t, "2028-01-01 00:00 +0500")) {
		t.Errorf("the data end at %v", end)
	}
}

// A term is provisional when a day of it lies in a year without data, and only then.
func TestATermBeyondTheDataIsProvisional(t *testing.T) {
	r := load(t)
	p := passportOf(t, r, "housing-aid-zhambyl") // five steps, the third of 7 days and the fourth of one
	tests := []struct {
		name, received, due string
		provisional         int // steps, counted from the last
	}{
		{"within one year with data", "2026-11-23 10:00 +0500", "2026-12-01 10:30 +0500", 0},
		{"from a year with data into the next", "2026-12-29 10:00 +0500", "2027-01-06 10:30 +0500", 0},
		{"up to the last day with data", "2027-12-22 10:00 +0500", "2027-12-30 10:30 +0500", 0},
		{"only the later steps reach the year without data", "2027-12-27 10:00 +0500", "2028-01-06 10:30 +0500", 3},
		{"received in the last hour with data, registered in a year without", "2027-12-31 23:30 +0500", "2028-01-13 09:30 +0500", 5},
		{"within a year without data", "2029-06-05 10:00 +0500", "2029-06-13 10:30 +0500", 5},
		{"before the data", "2021-11-02 10:00 +0600", "2021-11-10 10:30 +0600", 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := p.Plan(p.Registration(at(t, tt.received)))
			if due := plan[len(plan)-1].DueAt; !due.Equal(at(t, tt.due)) {
				t.Errorf("due %v, want %s", due, tt.due)
			}
			for i, s := range plan {
				if want := i >= len(plan)-tt.provisional; s.Provisional != want {
					t.Errorf("step %s, due %v: provisional %v, want %v", s.Code, s.DueAt, s.Provisional, want)
				}
			}
		})
	}
}

// Provisional is asked of local days: the year ends at midnight of the country.
func TestProvisionalIsAskedOfLocalDays(t *testing.T) {
	c := load(t).Calendar()
	last, first := at(t, "2027-12-31 23:59 +0500"), at(t, "2028-01-01 00:00 +0500")
	for name, tt := range map[string]struct {
		from, to time.Time
		want     bool
	}{
		"up to the last minute with data":     {monday, last, false},
		"up to midnight":                      {monday, first, true},
		"the same instants by another clock":  {monday, last.UTC(), false},
		"wholly after the data":               {first, first, true},
		"from before the data":                {at(t, "2021-12-31 23:59 +0600"), monday, true},
		"from the first instant of the data":  {at(t, "2022-01-01 00:00 +0600"), monday, false},
		"over all the data, and on both ends": {at(t, "2021-01-01 00:00 +0600"), first, true},
	} {
		if got := c.Provisional(tt.from, tt.to); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Operators are told in one line, from 90 days before the end on and for as long as it lasts.
func TestOperatorsAreToldOfTheCalendarsEnd(t *testing.T) {
	c := load(t).Calendar()
	const line = "calendar.yaml has no data from 1 January 2028 on: terms that reach it are computed by the law alone and are provisional"
	for name, tt := range map[string]struct {
		days int // before the end
		want string
	}{
		"91 days before": {91, ""}, "89 days before": {89, line}, "at the end": {0, line}, "four years after": {-4 * 365, line},
	} {
		if got := c.Notice(c.End().AddDate(0, 0, -tt.days)); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Whatever instants come from outside, at once and of any year, the terms are made and nothing is kept of them.
func TestAnyYearIsComputedAndNothingGrows(t *testing.T) {
	c := load(t).Calendar()
	years := func() {
		var wg sync.WaitGroup
		for part := range 4 {
			wg.Go(func() {
				for y := 1 + part; y < 10000; y += 4 {
					start := time.Date(y, 12, 31, 9, 0, 0, 0, time.UTC)
					if due := c.Add(start, passport.Limit{WorkingDays: 1}, office); !due.After(start) {
						t.Errorf("one working day after %v is %v", start, due)
					}
				}
			})
		}
		wg.Wait()
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	years()
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d bytes are kept", after-before)
	}
	runtime.KeepAlive(c)
}

func TestCalendarDataThatCannotBeUsed(t *testing.T) {
	moved := func(n int) string {
		var b strings.Builder
		for d := time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC); n > 0; d = d.AddDate(0, 0, 1) {
			if d.Weekday() != time.Saturday && d.Weekday() != time.Sunday {
				n--
				fmt.Fprintf(&b, "{off: %s, worked: 2026-12-26},", d.Format(time.DateOnly))
			}
		}
		return "2026: {kurban_ait: 2026-05-27, moved: [" + b.String() + "]}"
	}
	tests := []struct{ name, data, want string }{
		{"one year", "2026: {kurban_ait: 2026-05-27, moved: []}", ""},
		{"four weeks off in a row", moved(20), ""},
		{"five weeks off in a row", moved(25), "days off in a row"},
		{"no year", "# nothing is known\n", "no year"},
		{"a year left out", "2026: {kurban_ait: 2026-05-27, moved: []}\n2028: {kurban_ait: 2028-05-05, moved: []}", "the year 2027 is missing"},
		{"no date of the Ait", "2026: {moved: []}", "kurban_ait"},
		{"a day of another year", "2026: {kurban_ait: 2025-06-06, moved: []}", "of another year"},
		{"a field that nobody knows", "2026: {kurban_ait: 2026-05-27, mooved: []}", "mooved"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := passport.NewCalendar([]byte(tt.data))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func BenchmarkATermOfThirtyWorkingDays(b *testing.B) {
	c := load(b).Calendar()
	for name, start := range map[string]time.Time{
		"with data": monday, "after the data": monday.AddDate(5, 0, 0), "far from the data": monday.AddDate(50, 0, 0),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c.Add(start, passport.Limit{WorkingDays: 30}, office)
			}
		})
	}
}
