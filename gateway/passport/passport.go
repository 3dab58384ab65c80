// Package passport reads service passports: what a region asks of a request for a service,
// which records and documents belong to it, the provider's steps and time limits, and who
// the providers are. The regulation is data; nothing in this package names a service.
package passport

import (
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/plainyaml"
)

// A Passport is one version of one service in one region. It is immutable and safe for
// concurrent use.
type Passport struct {
	ID      string        `yaml:"id"`
	Version string        `yaml:"version"`
	Service string        `yaml:"service"`
	Shard   string        `yaml:"shard"`
	Name    gateway.Texts `yaml:"name"`
	Source  gateway.Texts `yaml:"source"` // the act
	// AppliesFrom and AppliesTo say for which requests, by their time of receipt: from the
	// start of the first day to the end of the last. An empty AppliesTo has no end.
	AppliesFrom Date      `yaml:"applies_from"`
	AppliesTo   Date      `yaml:"applies_to"`
	Channels    []string  `yaml:"channels"`   // portal, state-corporation
	Applicants  []string  `yaml:"applicants"` // who may apply: natural-person
	FormRules   FormRules `yaml:"form"`
	CreatedAt   Window    `yaml:"created_at"`
	// PerCitizen bounds the accepted requests of one citizen for this service; nil is no bound.
	PerCitizen *Quota `yaml:"per_citizen"`
	Working    struct {
		From string `yaml:"from"`
		To   string `yaml:"to"`
	} `yaml:"working_hours"`
	Representative Representation       `yaml:"representative"`
	Records        []RecordRule         `yaml:"records"`
	Attachments    AttachmentRules      `yaml:"attachments"`
	Steps          []Step               `yaml:"steps"`
	Results        []gateway.ResultKind `yaml:"results"`
	// ResultSigners are whose signature a result may carry (R25); empty means SignersRightToSign.
	ResultSigners Signers       `yaml:"result_signers"`
	Grounds       []Ground      `yaml:"refusal_grounds"`
	AnswerPlace   gateway.Texts `yaml:"answer_place"` // where the result is given; nil: the personal cabinet
	Retention     Retention     `yaml:"retention"`
	Providers     []Provider    `yaml:"providers"`

	form     *Form
	hours    Hours
	calendar *Calendar
}

// Signers say who may sign for a provider: each takes in those before it.
type Signers string

const (
	SignersHead        Signers = "head"
	SignersRightToSign Signers = "right-to-sign"
	SignersEmployee    Signers = "employee"
)

// A Quota is a number of requests within a time.
type Quota struct {
	Requests int      `yaml:"requests"`
	Per      Duration `yaml:"per"`
}

// Bounds of a Quota: as much as intake remembers of each citizen.
const (
	MostRequests = 100
	LongestQuota = 24 * time.Hour
)

// A Representation says whether somebody may act for the applicant (R16).
type Representation struct {
	Allowed bool `yaml:"allowed"`
}

// Retention says how long what is kept, after the request is closed.
type Retention struct {
	DocumentsDays int `yaml:"documents_days"` // the documents themselves
	ProofDays     int `yaml:"proof_days"`     // digests and verdicts
	// Short, when set, takes the place of both: for requests that nobody made.
	Short time.Duration `yaml:"-"`
}

// A Date is written like 2026-11-23.
type Date struct {
	time.Time
	wrong bool // was written, and is no date: Parse says where
}

// UnmarshalYAML reads a date.
func (d *Date) UnmarshalYAML(b []byte) error {
	var s string
	err := plainyaml.Unmarshal(b, &s)
	if err == nil {
		d.Time, err = time.Parse(time.DateOnly, s)
	}
	d.wrong = err != nil
	return nil
}

// A Window is how far created-at may lie from the time of receipt.
type Window struct {
	Past   Duration `yaml:"past"`
	Future Duration `yaml:"future"`
}

// A Duration is written like 72h or 10m; what is written otherwise is 0, which Parse refuses.
type Duration time.Duration

// UnmarshalYAML reads what time.ParseDuration reads.
func (d *Duration) UnmarshalYAML(b []byte) error {
	var s string
	if err := plainyaml.Unmarshal(b, &s); err != nil {
		return nil
	}
	v, _ := time.ParseDuration(s)
	*d = Duration(v)
	return nil
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
	// Of says whose record: applicant (the default), or adults for the applicant and every
	// adult member of the family that the form names.
	Of string `yaml:"of"`
}

// Whose record a rule asks for.
const (
	OfApplicant = "applicant"
	OfAdults    = "adults"
)

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
	// Registers: the provider gives a number and the official's name with this step (R19).
	Registers bool `yaml:"registers"`
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
func (p *Passport) Registration(t time.Time) time.Time { return p.calendar.Register(t, p.hours) }

// Plan returns the deadline of every step for a request registered at t; each step starts
// where the one before ends at the latest. The last one is the date and time of the result.
// A step is provisional when the time from registration to its deadline reaches a year whose
// days off nobody has announced.
func (p *Passport) Plan(registered time.Time) []gateway.StepPlan {
	plan := make([]gateway.StepPlan, 0, len(p.Steps))
	t := registered
	for _, s := range p.Steps {
		t = p.calendar.Add(t, s.Limit, p.hours)
		plan = append(plan, gateway.StepPlan{Code: s.Code, DueAt: t, Provisional: p.calendar.Provisional(registered, t)})
	}
	return plan
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

// applies reports whether a request received at t falls under this version.
func (p *Passport) applies(t time.Time) bool {
	t = t.In(p.calendar.zone)
	from := p.calendar.at(dateOf(p.AppliesFrom.Time), 0)
	return !t.Before(from) && (p.AppliesTo.IsZero() || t.Before(p.calendar.at(dateOf(p.AppliesTo.Time).add(1), 0)))
}
