package passport_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"egov-gateway/gateway/passport"
)

var office = passport.Hours{From: 9 * time.Hour, To: 18*time.Hour + 30*time.Minute}

func draw(rt *rapid.T) time.Time {
	from := time.Date(2022, 1, 3, 0, 0, 0, 0, time.UTC)
	return from.Add(time.Duration(rapid.Int64Range(0, int64(5*365*24*time.Hour)/int64(time.Second)).Draw(rt, "at")) * time.Second)
}

func working(rt *rapid.T, c *passport.Calendar, t time.Time) bool {
	ok, err := c.WorkingDay(t)
	if err != nil {
		rt.Fatal(err)
	}
	return ok
}

// R11: registration is the instant itself in working hours, else the nearest opening after it.
func TestRegistrationIsTheNearestOpening(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		at := draw(rt).In(c.Zone())
		reg, err := c.Register(at, office)
		if err != nil {
			rt.Fatal(err)
		}
		if reg.Equal(at) {
			return
		}
		if reg.Before(at) || reg.Format("15:04:05") != "09:00:00" || !working(rt, c, reg) {
			rt.Fatalf("%v is registered at %v", at, reg)
		}
		// Nothing between the two was an opening that was passed over.
		for d := at; d.Before(reg.Add(-24 * time.Hour)); d = d.Add(24 * time.Hour) {
			next := time.Date(d.Year(), d.Month(), d.Day(), 9, 0, 0, 0, c.Zone())
			if next.After(at) && next.Before(reg) && working(rt, c, next) {
				rt.Fatalf("%v is registered at %v although %v was open", at, reg, next)
			}
		}
	})
}

// R12: minutes and hours run in working hours only, and all of them do.
func TestMinutesAndHoursRunInWorkingHours(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		start, err := c.Register(draw(rt), office)
		if err != nil {
			rt.Fatal(err)
		}
		minutes := rapid.IntRange(1, 3000).Draw(rt, "minutes")
		due, err := c.Add(start, passport.Limit{Minutes: minutes}, office)
		if err != nil {
			rt.Fatal(err)
		}
		var worked time.Duration
		for d := time.Date(start.Year(), start.Month(), start.Day(), 0, 0, 0, 0, c.Zone()); d.Before(due); d = d.AddDate(0, 0, 1) {
			if !working(rt, c, d.Add(12*time.Hour)) {
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
		start, err := c.Register(draw(rt), office)
		if err != nil {
			rt.Fatal(err)
		}
		days := rapid.IntRange(1, 60).Draw(rt, "days")
		due, err := c.Add(start, passport.Limit{CalendarDays: days}, office)
		if err != nil {
			rt.Fatal(err)
		}
		nominal := start.In(c.Zone()).AddDate(0, 0, days)
		if due.Before(nominal) || due.In(c.Zone()).Format("15:04") != start.In(c.Zone()).Format("15:04") || !working(rt, c, due) {
			rt.Fatalf("%d days after %v is %v", days, start, due)
		}
		for d := nominal; d.Before(due); d = d.AddDate(0, 0, 1) {
			if working(rt, c, d) {
				rt.Fatalf("%d days after %v is %v although %v is worked", days, start, due, d)
			}
		}
	})
}

// R12: working days are counted as such, the first being the one after the start.
func TestWorkingDaysAreCounted(t *testing.T) {
	c := load(t).Calendar()
	rapid.Check(t, func(rt *rapid.T) {
		start, err := c.Register(draw(rt), office)
		if err != nil {
			rt.Fatal(err)
		}
		days := rapid.IntRange(1, 30).Draw(rt, "days")
		due, err := c.Add(start, passport.Limit{WorkingDays: days}, office)
		if err != nil {
			rt.Fatal(err)
		}
		n := 0
		for d := start.In(c.Zone()).AddDate(0, 0, 1); !d.After(due); d = d.AddDate(0, 0, 1) {
			if working(rt, c, d) {
				n++
			}
		}
		if n != days || !working(rt, c, due) {
			rt.Fatalf("%d working days lie between %v and %v, want %d", n, start, due, days)
		}
	})
}
