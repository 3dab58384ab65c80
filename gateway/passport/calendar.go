package passport

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"egov-gateway/gateway/plainyaml"
)

// A Calendar knows the working days and hours of Kazakhstan (R11). It is immutable and safe
// for concurrent use.
//
// Fixed holidays and their moving are rules in code, with the dates from which they hold
// (law 267-II of 13.12.2001, as changed by law 306-VIII from 01.07.2026); what the
// government announces each year comes from a data file. A year without data is computed by
// the law alone and refuses nobody; [Calendar.Provisional] tells which terms rest on one.
type Calendar struct {
	zone        *time.Location
	first, last int                   // years with data; none between them is missing
	off         map[int]map[date]bool // by year, of those with data and some after them
	work        map[date]bool         // days off that are worked instead
}

type yearData struct {
	KurbanAit string `yaml:"kurban_ait"`
	Moved     []struct {
		Off    string `yaml:"off"`
		Worked string `yaml:"worked"`
	} `yaml:"moved"`
}

type date struct {
	y int
	m time.Month
	d int
}

func dateOf(t time.Time) date { y, m, d := t.Date(); return date{y, m, d} }

func (d date) time() time.Time           { return time.Date(d.y, d.m, d.d, 12, 0, 0, 0, time.UTC) }
func (d date) add(days int) date         { return dateOf(d.time().AddDate(0, 0, days)) }
func (d date) before(e date) bool        { return d.time().Before(e.time()) }
func (d date) weekend() bool             { w := d.time().Weekday(); return w == time.Saturday || w == time.Sunday }
func (d date) within(from, to date) bool { return !d.before(from) && (to == date{} || d.before(to)) }

// A fixed holiday holds from its first day to, not including, its last.
type fixedHoliday struct {
	m        time.Month
	d        int
	from, to date
	// moves: a holiday on a day off moves to the next working day (art. 5); a mere day off does not.
	moves bool
}

var reform = date{2026, 7, 1} // law 306-VIII of 11.06.2026

var fixedHolidays = []fixedHoliday{
	{1, 1, date{2002, 1, 1}, date{}, true}, {1, 2, date{2002, 1, 1}, date{}, true}, // New Year
	{1, 7, date{2006, 1, 1}, date{}, false},                                                                                   // Orthodox Christmas, a day off
	{3, 8, date{2002, 1, 1}, date{}, true},                                                                                    // Women's Day
	{3, 15, reform, date{}, true},                                                                                             // Constitution Day
	{3, 21, date{2010, 1, 1}, date{}, true}, {3, 22, date{2002, 1, 1}, date{}, true}, {3, 23, date{2010, 1, 1}, date{}, true}, // Nauryz
	{5, 1, date{2002, 1, 1}, date{}, true},             // Unity Day
	{5, 7, date{2013, 1, 1}, date{}, true},             // Defender's Day
	{5, 9, date{2002, 1, 1}, date{}, true},             // Victory Day
	{7, 6, date{2009, 1, 1}, date{}, true},             // Capital Day
	{8, 30, date{2002, 1, 1}, reform, true},            // Constitution Day until 2026
	{10, 25, date{2022, 1, 1}, date{}, true},           // Republic Day
	{12, 1, date{2013, 1, 1}, date{2022, 1, 1}, true},  // First President's Day
	{12, 16, date{2002, 1, 1}, date{}, true},           // Independence Day
	{12, 17, date{2002, 1, 1}, date{2022, 1, 1}, true}, // its second day
}

// NewCalendar reads the yearly data and computes every year in it. The zone is that of the
// country's capital, from tzdata: UTC+5 since 2024-03-01.
func NewCalendar(data []byte) (*Calendar, error) {
	zone, err := time.LoadLocation("Asia/Almaty")
	if err != nil {
		return nil, fmt.Errorf("calendar: %w", err)
	}
	c := &Calendar{zone: zone, off: map[int]map[date]bool{}, work: map[date]bool{}}
	var years map[int]yearData
	if err := plainyaml.Unmarshal(data, &years); err != nil {
		return nil, fmt.Errorf("calendar: %w", err)
	}
	if len(years) == 0 {
		return nil, errors.New("calendar: no year is in it")
	}
	known := slices.Sorted(maps.Keys(years))
	c.first, c.last = known[0], known[len(known)-1]
	for y := c.first; y <= c.last; y++ {
		data, ok := years[y]
		if !ok {
			return nil, fmt.Errorf("calendar: the year %d is missing between %d and %d", y, c.first, c.last)
		}
		off, err := c.announced(y, data)
		if err != nil {
			return nil, fmt.Errorf("calendar: year %d: %w", y, err)
		}
		c.off[y] = off
	}
	for y := c.last + 1; y <= c.last+computedAhead; y++ {
		c.off[y] = lawful(y)
	}
	return c, c.checkRuns()
}

// computedAhead is how many years after the data are computed once rather than for every term.
const computedAhead = 10

// longestRun is more days off in a row than any holidays with their weekends make.
const longestRun = 30

// checkRuns refuses data by which no day is worked for longer than that: looking for the next
// working day always ends.
func (c *Calendar) checkRuns() error {
	run := 0
	for d := (date{c.first, 1, 1}); d.y <= c.last; d = d.add(1) {
		if run++; c.working(d) {
			run = 0
		}
		if run > longestRun {
			return fmt.Errorf("calendar: more than %d days off in a row up to %s", longestRun, d.time().Format(time.DateOnly))
		}
	}
	return nil
}

// announced returns the days off of a year that the government has spoken about.
func (c *Calendar) announced(y int, data yearData) (map[date]bool, error) {
	parse := func(s string) (date, error) {
		t, err := time.Parse(time.DateOnly, s)
		if err == nil && t.Year() != y {
			err = fmt.Errorf("%s is of another year", s)
		}
		return dateOf(t), err
	}
	ait, err := parse(data.KurbanAit)
	if err != nil {
		return nil, fmt.Errorf("kurban_ait: %w", err)
	}
	off := lawful(y, ait)
	for _, m := range data.Moved {
		o, err := parse(m.Off)
		if err != nil {
			return nil, fmt.Errorf("moved: %w", err)
		}
		w, err := parse(m.Worked)
		if err != nil {
			return nil, fmt.Errorf("moved: %w", err)
		}
		off[o], c.work[w] = true, true
	}
	return off, nil
}

// lawful returns the days off of a year, beside weekends, by the rules of the law: fixed holidays
// with their moves, and other days off that do not move.
func lawful(y int, others ...date) map[date]bool {
	off := make(map[date]bool, len(fixedHolidays)+1)
	for _, d := range others {
		off[d] = true
	}
	var moving []date
	for _, h := range fixedHolidays {
		d := date{y, h.m, h.d}
		if !d.within(h.from, h.to) {
			continue
		}
		if h.moves && d.weekend() {
			moving = append(moving, d)
			continue
		}
		off[d] = true
	}
	// Several holidays on days off move in a row, each to the next day that is still worked.
	slices.SortFunc(moving, func(a, b date) int { return a.time().Compare(b.time()) })
	for _, d := range moving {
		next := d.add(1)
		for next.weekend() || off[next] {
			next = next.add(1)
		}
		off[next] = true
	}
	return off
}

// daysOff returns those of any year, beside weekends. A year far from the data is computed each
// time anew: whatever years come from outside, nothing grows. Kurban Ait and moved days are not in it,
// since no rule tells them; so a term can only come out shorter for the Ait that is not counted,
// which is in the citizen's favour.
func (c *Calendar) daysOff(y int) map[date]bool {
	if off, ok := c.off[y]; ok {
		return off
	}
	return lawful(y)
}

// EndsSoon is how long before [Calendar.End] operators are told of it.
const EndsSoon = 90 * 24 * time.Hour

// End is the first instant of the first year without data: days of that year and later ones are
// computed by the law alone, and terms that reach it are provisional.
func (c *Calendar) End() time.Time { return time.Date(c.last+1, 1, 1, 0, 0, 0, 0, c.zone) }

// Notice says in one line, for operators, that the data end within [EndsSoon] of now or have
// ended; "" while they last longer.
func (c *Calendar) Notice(now time.Time) string {
	if end := c.End(); now.Before(end.Add(-EndsSoon)) {
		return ""
	}
	const line = "calendar.yaml has no data from 1 January %d on: terms that reach it are computed by the law alone and are provisional"
	return fmt.Sprintf(line, c.last+1)
}

// Provisional reports whether any day from the one of from to the one of to lies in a year
// without data, before or after those of the file.
func (c *Calendar) Provisional(from, to time.Time) bool {
	return from.In(c.zone).Year() < c.first || to.In(c.zone).Year() > c.last
}

// Zone is the time zone of all working hours.
func (c *Calendar) Zone() *time.Location { return c.zone }

// WorkingDay reports whether t's date is one.
func (c *Calendar) WorkingDay(t time.Time) bool { return c.working(dateOf(t.In(c.zone))) }

func (c *Calendar) working(d date) bool {
	if c.work[d] {
		return true
	}
	return !d.weekend() && !c.daysOff(d.y)[d]
}

// Hours are a provider's working hours, as offsets from midnight.
type Hours struct{ From, To time.Duration }

func (c *Calendar) at(d date, offset time.Duration) time.Time {
	return time.Date(d.y, d.m, d.d, 0, 0, 0, 0, c.zone).Add(offset)
}

// nextWorking returns d itself, or the first working day after it.
func (c *Calendar) nextWorking(d date) date {
	for !c.working(d) {
		d = d.add(1)
	}
	return d
}

// Register returns when a request received at t counts as registered: t itself inside the
// working hours of a working day, else the next opening (S 1-1; R11).
func (c *Calendar) Register(t time.Time, h Hours) time.Time {
	t = t.In(c.zone)
	d := dateOf(t)
	switch working := c.working(d); {
	case working && t.Before(c.at(d, h.From)):
		return c.at(d, h.From)
	case working && t.Before(c.at(d, h.To)):
		return t
	}
	return c.at(c.nextWorking(d.add(1)), h.From)
}

// A Limit is a step's time limit; exactly one field is set.
type Limit struct {
	Minutes      int `yaml:"minutes" json:"minutes,omitempty"`
	Hours        int `yaml:"hours" json:"hours,omitempty"`
	CalendarDays int `yaml:"calendar_days" json:"calendar_days,omitempty"`
	WorkingDays  int `yaml:"working_days" json:"working_days,omitempty"`
}

// MaxLimit is the longest limit of one step: ten years of days, or as many hours of working time.
const MaxLimit = 3660

func (l Limit) valid() bool {
	n := 0
	for _, v := range []int{l.Minutes, l.Hours, l.CalendarDays, l.WorkingDays} {
		if v < 0 {
			return false
		}
		if v > 0 {
			n++
		}
	}
	return n == 1
}

func (l Limit) tooLong() bool {
	return l.Minutes > 60*MaxLimit || max(l.Hours, l.CalendarDays, l.WorkingDays) > MaxLimit
}

// Add returns the deadline of a limit that starts at t, which lies in working hours.
// Minutes and hours run in working hours only; calendar days run through, and a term that
// would end on a day off ends at the same hour of the next working day; working days are
// counted as such.
func (c *Calendar) Add(t time.Time, l Limit, h Hours) time.Time {
	t = c.Register(t, h)
	d := dateOf(t)
	clock := t.Sub(c.at(d, 0))
	switch {
	case l.CalendarDays > 0:
		return c.at(c.nextWorking(d.add(l.CalendarDays)), clock)
	case l.WorkingDays > 0:
		for range l.WorkingDays {
			d = c.nextWorking(d.add(1))
		}
		return c.at(d, clock)
	}
	left := time.Duration(l.Minutes)*time.Minute + time.Duration(l.Hours)*time.Hour
	for {
		room := c.at(d, h.To).Sub(t)
		if left <= room {
			return t.Add(left)
		}
		left -= room
		d = c.nextWorking(d.add(1))
		t = c.at(d, h.From)
	}
}
