// Package passport reads service passports: what a region asks of a request for a service,
// which records and documents belong to it, the provider's steps and time limits, and who
// the providers are. The regulation is data; nothing in this package names a service.
package passport

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"egov-gateway/gateway"
)

// A Passport is one service in one region. It is immutable and safe for concurrent use.
type Passport struct {
	ID        string        `yaml:"id"`
	Version   string        `yaml:"version"`
	Service   string        `yaml:"service"`
	Shard     string        `yaml:"shard"`
	Name      gateway.Texts `yaml:"name"`
	Source    gateway.Texts `yaml:"source"`
	FormRules FormRules     `yaml:"form"`
	CreatedAt Window        `yaml:"created_at"`
	Working   struct {
		From string `yaml:"from"`
		To   string `yaml:"to"`
	} `yaml:"working_hours"`
	Records     []RecordRule         `yaml:"records"`
	Attachments AttachmentRules      `yaml:"attachments"`
	Steps       []Step               `yaml:"steps"`
	Results     []gateway.ResultKind `yaml:"results"`
	Grounds     []Ground             `yaml:"refusal_grounds"`
	Providers   []Provider           `yaml:"providers"`

	form     *Form
	hours    Hours
	calendar *Calendar
}

// FormRules name the form's schema and the fields with rules that XML Schema cannot say.
// Paths are element names below the root, joined by "/".
type FormRules struct {
	Schema string   `yaml:"schema"`
	IIN    []string `yaml:"iin"`  // fields with an IIN's check digit
	IBAN   []string `yaml:"iban"` // fields with an IBAN's check digits (ISO 13616)
}

// A Window is how far created-at may lie from the time of receipt.
type Window struct {
	Past   Duration `yaml:"past"`
	Future Duration `yaml:"future"`
}

// A Duration is written like 72h or 10m.
type Duration time.Duration

// UnmarshalYAML reads what time.ParseDuration reads.
func (d *Duration) UnmarshalYAML(b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// A Need says how much a record or document matters.
type Need string

const (
	Mandatory Need = "mandatory" // a record that is waited for
	Optional  Need = "optional"  // a record asked for once; a document that may be attached
	Later     Need = "later"     // a record asked for again until the request is delivered
	Required  Need = "required"  // a document that must be attached
)

// A RecordRule is one record to fetch (R8).
type RecordRule struct {
	Kind gateway.RecordKind `yaml:"kind"`
	Need Need               `yaml:"need"`
}

// AttachmentRules say which documents belong to a request (R9).
type AttachmentRules struct {
	TotalBytes int64          `yaml:"total_bytes"`
	Documents  []DocumentRule `yaml:"documents"`
}

// A DocumentRule is one kind of document.
type DocumentRule struct {
	Kind string     `yaml:"kind"`
	Need Need       `yaml:"need"`
	When *Condition `yaml:"when"`
}

// A Condition holds when the form has the field, and, if Is is set, with that value.
type Condition struct {
	Field string `yaml:"field"`
	Is    string `yaml:"is"`
}

// A Step is one of the provider's steps (R12).
type Step struct {
	Code  string        `yaml:"code"`
	Limit Limit         `yaml:"limit"`
	Name  gateway.Texts `yaml:"name"`
}

// A Ground is a reason the provider may give for a refusal (R13).
type Ground struct {
	Code string        `yaml:"code"`
	Text gateway.Texts `yaml:"text"`
}

// A Provider is a local executive body that serves territories (R15).
type Provider struct {
	ID      string        `yaml:"id"`
	KATO    []string      `yaml:"kato"` // first digits of the territories served
	Name    gateway.Texts `yaml:"name"`
	Address gateway.Texts `yaml:"address"`
	Email   string        `yaml:"email"`
	Phone   string        `yaml:"phone"`
}

// Serves reports whether the provider's territories hold k, and by how many digits.
func (p *Provider) Serves(k gateway.KATO) int {
	n := 0
	for _, prefix := range p.KATO {
		if strings.HasPrefix(string(k), prefix) {
			n = max(n, len(prefix))
		}
	}
	return n
}

// Form returns the compiled form.
func (p *Passport) Form() *Form { return p.form }

// Registration returns when a request received at t counts as registered (R11).
func (p *Passport) Registration(t time.Time) (time.Time, error) {
	return p.calendar.Register(t, p.hours)
}

// Plan returns the deadline of every step for a request registered at t; each step starts
// where the one before ends at the latest. The last one is the date and time of the result.
func (p *Passport) Plan(registered time.Time) ([]gateway.StepPlan, error) {
	plan := make([]gateway.StepPlan, 0, len(p.Steps))
	t := registered
	for _, s := range p.Steps {
		var err error
		if t, err = p.calendar.Add(t, s.Limit, p.hours); err != nil {
			return nil, err
		}
		plan = append(plan, gateway.StepPlan{Code: s.Code, DueAt: t})
	}
	return plan, nil
}

// Step returns the step of that code.
func (p *Passport) Step(code string) (Step, bool) {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Code == code })
	if i < 0 {
		return Step{}, false
	}
	return p.Steps[i], true
}

// Ground returns the refusal ground of that code.
func (p *Passport) Ground(code string) (Ground, bool) {
	i := slices.IndexFunc(p.Grounds, func(g Ground) bool { return g.Code == code })
	if i < 0 {
		return Ground{}, false
	}
	return p.Grounds[i], true
}

// ProviderByID returns the provider of that id.
func (p *Passport) ProviderByID(id string) (*Provider, bool) {
	i := slices.IndexFunc(p.Providers, func(q Provider) bool { return q.ID == id })
	if i < 0 {
		return nil, false
	}
	return &p.Providers[i], true
}

// A Register holds all passports.
type Register struct {
	all      []*Passport
	calendar *Calendar
}

// Load reads calendar.yaml, every passports/*.yaml and the schemas they name. The error
// names the file, and the line of a fault in YAML.
func Load(fsys fs.FS) (*Register, error) {
	data, err := fs.ReadFile(fsys, "calendar.yaml")
	if err != nil {
		return nil, fmt.Errorf("passport: %w", err)
	}
	cal, err := NewCalendar(data)
	if err != nil {
		return nil, fmt.Errorf("passport: calendar.yaml: %w", err)
	}
	files, err := fs.Glob(fsys, "passports/*.yaml")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("passport: no passports/*.yaml")
	}
	r := &Register{calendar: cal}
	ids := map[string]string{}
	for _, file := range files {
		p, err := read(fsys, file, cal)
		if err != nil {
			return nil, fmt.Errorf("passport: %s: %w", path.Base(file), err)
		}
		if other, ok := ids[p.ID]; ok {
			return nil, fmt.Errorf("passport: %s: id %s is that of %s", path.Base(file), p.ID, other)
		}
		ids[p.ID] = path.Base(file)
		r.all = append(r.all, p)
	}
	return r, nil
}

func read(fsys fs.FS, file string, cal *Calendar) (*Passport, error) {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, err
	}
	p := &Passport{calendar: cal}
	if err := yaml.UnmarshalWithOptions(data, p, yaml.Strict()); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	xsd, err := fs.ReadFile(fsys, p.FormRules.Schema)
	if err != nil {
		return nil, fmt.Errorf("form schema: %w", err)
	}
	if p.form, err = CompileForm(xsd, p.FormRules); err != nil {
		return nil, fmt.Errorf("form schema %s: %w", p.FormRules.Schema, err)
	}
	return p, nil
}

func (p *Passport) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, v := range map[string]string{"id": p.ID, "version": p.Version, "service": p.Service, "shard": p.Shard, "form.schema": p.FormRules.Schema} {
		if v == "" {
			bad("%s is missing", name)
		}
	}
	texts := func(what string, t gateway.Texts) {
		for _, l := range gateway.Languages {
			if t[l] == "" {
				bad("%s has no text in %s", what, l)
			}
		}
	}
	texts("name", p.Name)
	texts("source", p.Source)
	from, err1 := clock(p.Working.From)
	to, err2 := clock(p.Working.To)
	if err1 != nil || err2 != nil || from >= to {
		bad("working_hours: from and to are times of day like \"09:00\", from before to")
	}
	p.hours = Hours{from, to}
	if p.CreatedAt.Past <= 0 || p.CreatedAt.Future <= 0 {
		bad("created_at: past and future are durations above zero")
	}
	for _, r := range p.Records {
		if !slices.Contains(gateway.RecordKinds, r.Kind) {
			bad("records: unknown kind %q", r.Kind)
		}
		if r.Need != Mandatory && r.Need != Optional && r.Need != Later {
			bad("records: %s: need is mandatory, optional or later", r.Kind)
		}
	}
	if p.Attachments.TotalBytes <= 0 {
		bad("attachments: total_bytes is missing")
	}
	for _, d := range p.Attachments.Documents {
		if d.Kind == "" || d.Need != Required && d.Need != Optional {
			bad("attachments: %q: need is required or optional", d.Kind)
		}
	}
	if len(p.Steps) == 0 {
		bad("steps are missing")
	}
	seen := map[string]bool{}
	for _, s := range p.Steps {
		if s.Code == "" || seen[s.Code] {
			bad("steps: code %q is empty or repeated", s.Code)
		}
		seen[s.Code] = true
		if !s.Limit.valid() {
			bad("steps: %s: the limit is one of minutes, hours, calendar_days, working_days, above zero", s.Code)
		}
		texts("step "+s.Code, s.Name)
	}
	for _, k := range p.Results {
		if k != gateway.ResultAssignment && k != gateway.ResultRefusal {
			bad("results: unknown kind %q", k)
		}
	}
	for _, g := range p.Grounds {
		texts("refusal ground "+g.Code, g.Text)
	}
	if len(p.Providers) == 0 {
		bad("providers are missing")
	}
	for _, q := range p.Providers {
		if q.ID == "" || len(q.KATO) == 0 {
			bad("providers: %q needs an id and kato", q.ID)
		}
		texts("provider "+q.ID, q.Name)
	}
	return errors.Join(errs...)
}

func clock(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", s)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

// Calendar returns the calendar that all passports share.
func (r *Register) Calendar() *Calendar { return r.calendar }

// All returns every passport.
func (r *Register) All() []*Passport { return r.all }

// Form returns the form whose root element has that namespace and name. Forms with the same
// schema are alike until the territory tells the region. The error carries
// [gateway.FormNamespace].
func (r *Register) Form(space, local string) (*Form, error) {
	for _, p := range r.all {
		if p.form.Space() == space && p.form.Local() == local {
			return p.form, nil
		}
	}
	return nil, gateway.Errorf(gateway.FormNamespace, "no service has a form with the root element {%s}%s", clip(space), clip(local))
}

func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// Offers reports whether any passport is for the service.
func (r *Register) Offers(service string) bool {
	return slices.ContainsFunc(r.all, func(p *Passport) bool { return p.Service == service })
}

// ByID returns the passport of that id.
func (r *Register) ByID(id string) (*Passport, bool) {
	i := slices.IndexFunc(r.all, func(p *Passport) bool { return p.ID == id })
	if i < 0 {
		return nil, false
	}
	return r.all[i], true
}
