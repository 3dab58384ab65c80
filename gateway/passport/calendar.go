package passport

import (
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"egov-gateway/gateway"
)

// A Calendar knows the working days and hours of Kazakhstan (R11). It is immutable and safe
// for concurrent use.
//
// Fixed holidays and their moving are rules in code, with the dates from which they hold
// (law 267-II of 13.12.2001, as changed by law 306-VIII from 01.07.2026); what the
// government announces each year comes from a data file. A year that the file does not
// know is an error, never a guess.
type Calendar struct {
	zone  *time.Location
	years map[int]yearData
	off   map[int]map[date]bool // by year, computed once
	work  map[date]bool         // days off that are worked instead
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
	if err := yaml.UnmarshalWithOptions(data, &c.years, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("calendar: %w", err)
	}
	for y, data := range c.years {
		off, err := c.year(y, data)
		if err != nil {
			return nil, fmt.Errorf("calendar: year %d: %w", y, err)
		}
		c.off[y] = off
	}
	return c, nil
}

func (c *Calendar) year(y int, data yearData) (map[date]bool, error) {
	parse := func(s string) (date, error) {
		t, err := time.Parse(time.DateOnly, s)
		if err == nil && t.Year() != y {
			err = fmt.Errorf("%s is of another year", s)
		}
		return dateOf(t), err
	}
	off := map[date]bool{}
	ait, err := parse(data.KurbanAit)
	if err != nil {
		return nil, fmt.Errorf("kurban_ait: %w", err)
	}
	off[ait] = true
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

// End is the first instant that the calendar no longer knows: deadlines beyond it cannot be
// computed, and requests whose term reaches it are not accepted.
func (c *Calendar) End() time.Time {
	last := 0
	for y := range c.years {
		last = max(last, y)
	}
	return time.Date(last+1, 1, 1, 0, 0, 0, 0, c.zone)
}

// Zone is the time zone of all working hours.
func (c *Calendar) Zone() *time.Location { return c.zone }

// WorkingDay reports whether t's date is one. The error names a year without data and
// carries [gateway.ConfigInvalid].
func (c *Calendar) WorkingDay(t time.Time) (bool, error) { return c.working(dateOf(t.In(c.zone))) }

func (c *Calendar) working(d date) (bool, error) {
	off, ok := c.off[d.y]
	if !ok {
		return false, gateway.Errorf(gateway.ConfigInvalid, "the working calendar has no data for the year %d: add it to calendar.yaml", d.y)
	}
	if c.work[d] {
		return true, nil
	}
	return !d.weekend() && !off[d], nil
}

// Hours are a provider's working hours, as offsets from midnight.
type Hours struct{ From, To time.Duration }

func (c *Calendar) at(d date, offset time.Duration) time.Time {
	return time.Date(d.y, d.m, d.d, 0, 0, 0, 0, c.zone).Add(offset)
}

func (c *Calendar) nextWorking(d date) (date, error) {
	for range 60 {
		ok, err := c.working(d)
		if err != nil || ok {
			return d, err
		}
		d = d.add(1)
	}
	return d, gateway.Errorf(gateway.ConfigInvalid, "the working calendar has sixty days off in a row after %d-%02d-%02d", d.y, d.m, d.d)
}

// Register returns when a request received at t counts as registered: t itself inside the
// working hours of a working day, else the next opening (S 1-1; R11).
func (c *Calendar) Register(t time.Time, h Hours) (time.Time, error) {
	t = t.In(c.zone)
	d := dateOf(t)
	working, err := c.working(d)
	if err != nil {
		return time.Time{}, err
	}
	switch {
	case working && t.Before(c.at(d, h.From)):
		return c.at(d, h.From), nil
	case working && t.Before(c.at(d, h.To)):
		return t, nil
	}
	if d, err = c.nextWorking(d.add(1)); err != nil {
		return time.Time{}, err
	}
	return c.at(d, h.From), nil
}

// A Limit is a step's time limit; exactly one field is set.
type Limit struct {
	Minutes      int `yaml:"minutes" json:"minutes,omitempty"`
	Hours        int `yaml:"hours" json:"hours,omitempty"`
	CalendarDays int `yaml:"calendar_days" json:"calendar_days,omitempty"`
	WorkingDays  int `yaml:"working_days" json:"working_days,omitempty"`
}

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

// Add returns the deadline of a limit that starts at t, which lies in working hours.
// Minutes and hours run in working hours only; calendar days run through, and a term that
// would end on a day off ends at the same hour of the next working day; working days are
// counted as such.
func (c *Calendar) Add(t time.Time, l Limit, h Hours) (time.Time, error) {
	t, err := c.Register(t, h)
	if err != nil {
		return time.Time{}, err
	}
	d := dateOf(t)
	clock := t.Sub(c.at(d, 0))
	switch {
	case l.CalendarDays > 0:
		if d, err = c.nextWorking(d.add(l.CalendarDays)); err != nil {
			return time.Time{}, err
		}
		return c.at(d, clock), nil
	case l.WorkingDays > 0:
		for range l.WorkingDays {
			if d, err = c.nextWorking(d.add(1)); err != nil {
				return time.Time{}, err
			}
		}
		return c.at(d, clock), nil
	}
	left := time.Duration(l.Minutes)*time.Minute + time.Duration(l.Hours)*time.Hour
	for {
		end := c.at(d, h.To)
		if room := end.Sub(t); left <= room {
			return t.Add(left), nil
		} else {
			left -= room
		}
		if d, err = c.nextWorking(d.add(1)); err != nil {
			return time.Time{}, err
		}
		t = c.at(d, h.From)
	}
}
