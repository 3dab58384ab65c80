package passport

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"egov-gateway/gateway"
)

// A Register holds every version of every passport. It is immutable and safe for concurrent use.
type Register struct {
	all      []*Passport
	calendar *Calendar
}

// A File is a passport beside those of passports/.
type File struct {
	Name string
	Data []byte
}

// Load reads calendar.yaml, every passports/*.yaml, the files, and the schemas they name. The error is
// [Faults] when a passport cannot be used: each with file, line and column.
func Load(fsys fs.FS, files ...File) (*Register, error) {
	cal, err := LoadCalendar(fsys)
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(fsys, "passports/*.yaml")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("passport: no passports/*.yaml")
	}
	var all []File
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("passport: %w", err)
		}
		all = append(all, File{path.Base(name), data})
	}
	r := &Register{calendar: cal}
	var faults Faults
	for _, f := range append(all, files...) {
		p, bad := Parse(fsys, f.Name, f.Data, cal)
		if len(bad) > 0 {
			faults = append(faults, bad...)
			continue
		}
		if bad := r.add(f.Name, p); bad != nil {
			faults = append(faults, *bad)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return r, nil
}

// LoadCalendar reads calendar.yaml.
func LoadCalendar(fsys fs.FS) (*Calendar, error) {
	data, err := fs.ReadFile(fsys, "calendar.yaml")
	if err != nil {
		return nil, fmt.Errorf("passport: %w", err)
	}
	cal, err := NewCalendar(data)
	if err != nil {
		return nil, fmt.Errorf("passport: calendar.yaml: %w", err)
	}
	return cal, nil
}

// add refuses a version twice, and two versions of one passport that apply at the same time.
func (r *Register) add(file string, p *Passport) *Located {
	for _, q := range r.all {
		if q.ID != p.ID {
			continue
		}
		if q.Version == p.Version {
			return &Located{File: file, Line: 1, Message: fmt.Sprintf("version %s of %s exists already", p.Version, p.ID)}
		}
		if q.applies(p.calendar.at(dateOf(p.AppliesFrom.Time), 0)) || p.applies(q.calendar.at(dateOf(q.AppliesFrom.Time), 0)) {
			return &Located{File: file, Line: 1, Message: fmt.Sprintf("versions %s and %s of %s apply at the same time", q.Version, p.Version, p.ID)}
		}
	}
	r.all = append(r.all, p)
	return nil
}

// Calendar returns the calendar that all passports share.
func (r *Register) Calendar() *Calendar { return r.calendar }

// All returns every version of every passport.
func (r *Register) All() []*Passport { return r.all }

// Applying returns the passports under which a request received at t falls.
func (r *Register) Applying(t time.Time) []*Passport {
	var all []*Passport
	for _, p := range r.all {
		if p.applies(t) {
			all = append(all, p)
		}
	}
	return all
}

// Form returns the form whose root element has that namespace and name, of a passport that
// applies at t. Which region's rules hold is known only when the form names the territory.
// The error carries [gateway.FormNamespace].
func (r *Register) Form(space, local string, t time.Time) (*Form, error) {
	for _, p := range r.Applying(t) {
		if p.form.Space() == space && p.form.Local() == local {
			return p.form, nil
		}
	}
	return nil, gateway.Errorf(gateway.FormNamespace, "no service has a form with that root element")
}

// longestName and mostDigits bound the names out of documents that are repeated in logs and answers.
const (
	longestName = 40
	mostDigits  = 4
)

// nameOf is a name out of somebody's document as it may be repeated in a log and an answer: names of
// schemas are short, ASCII and have few digits. Any other is not repeated, it may be made to say something
// to whoever reads the log, or be a person's.
func nameOf(s string) string {
	digits := 0
	for i := range len(s) {
		switch b := s[i]; {
		case b >= '0' && b <= '9':
			digits++
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '_' || b == '.':
		default:
			return "?"
		}
	}
	if len(s) > longestName || digits > mostDigits {
		return "?"
	}
	return s
}

// Offers reports whether any passport is for the service at t.
func (r *Register) Offers(service string, t time.Time) bool {
	return slices.ContainsFunc(r.Applying(t), func(p *Passport) bool { return p.Service == service })
}

// Version returns the very version under which a request was accepted.
func (r *Register) Version(id, version string) (*Passport, error) {
	for _, p := range r.all {
		if p.ID == id && p.Version == version {
			return p, nil
		}
	}
	return nil, gateway.Errorf(gateway.ConfigInvalid, "version %s of the passport %s is not configured", version, id)
}
