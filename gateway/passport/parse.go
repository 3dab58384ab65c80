package passport

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"egov-gateway/gateway"
	"egov-gateway/gateway/plainyaml"
)

// A Located is one thing wrong with a passport, and where.
type Located struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // 1-based; of the nearest existing parent when something is missing
	Column  int    `json:"column"` // 1-based
	Path    string `json:"path"`   // like steps[2].limit
	Message string `json:"message"`
}

func (l Located) String() string {
	where := l.File + ":" + strconv.Itoa(l.Line) + ":" + strconv.Itoa(l.Column)
	if l.Path != "" {
		where += ": " + l.Path
	}
	return where + ": " + l.Message
}

// Faults are all that is wrong with the passports of a folder.
type Faults []Located

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, l := range f {
		lines[i] = l.String()
	}
	return "passport: " + strings.Join(lines, "; ")
}

// ParseFile checks one passport file against the schemas and calendar of fsys.
func ParseFile(fsys fs.FS, name string, data []byte) (*Passport, Faults, error) {
	cal, err := LoadCalendar(fsys)
	if err != nil {
		return nil, nil, err
	}
	p, faults := Parse(fsys, path.Base(name), data, cal)
	return p, faults, nil
}

// reading is the work on one file.
type reading struct {
	name   string
	file   *ast.File
	p      *Passport
	faults Faults
}

// Parse reads one passport. Every fault is found at once, but for YAML that cannot be read
// at all. The schema that it names comes from fsys.
func Parse(fsys fs.FS, name string, data []byte, cal *Calendar) (*Passport, Faults) {
	r := &reading{name: name, p: &Passport{calendar: cal}}
	var err error
	if r.file, err = plainyaml.Parse(data); err != nil {
		r.yaml(err)
		return nil, r.faults
	}
	if err := plainyaml.Decode(r.file, r.p); err != nil {
		r.yaml(err)
		return nil, r.faults
	}
	r.check(fsys)
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return r.p, nil
}

var position = regexp.MustCompile(`^\[(\d+):(\d+)\] ([^\n]*)`)

// yaml takes line and column from what the YAML library says.
func (r *reading) yaml(err error) {
	l := Located{File: r.name, Line: 1, Column: 1, Message: strings.SplitN(err.Error(), "\n", 2)[0]}
	if m := position.FindStringSubmatch(err.Error()); m != nil {
		l.Line, _ = strconv.Atoi(m[1])
		l.Column, _ = strconv.Atoi(m[2])
		l.Message = m[3]
	}
	r.faults = append(r.faults, l)
}

// bad notes a fault at a path like steps[2].limit; what does not exist is located at its
// nearest parent.
func (r *reading) bad(at, format string, args ...any) {
	l := Located{File: r.name, Line: 1, Column: 1, Path: at, Message: fmt.Sprintf(format, args...)}
	for p := at; ; {
		if p == "" {
			break
		}
		if query, err := yaml.PathString("$." + p); err == nil {
			if node, err := query.FilterFile(r.file); err == nil && node != nil {
				if t := firstToken(node); t != nil {
					l.Line, l.Column = t.Line, t.Column
				}
				break
			}
		}
		cut := strings.LastIndexAny(p, ".[")
		if cut < 0 {
			break
		}
		p = p[:cut]
	}
	r.faults = append(r.faults, l)
}

type place struct{ Line, Column int }

// firstToken finds where a node begins; a mapping's own token is its first colon.
func firstToken(n ast.Node) *place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return firstToken(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return firstToken(n.Key)
	case *ast.SequenceNode:
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return firstToken(n.Values[0])
		}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return &place{t.Position.Line, t.Position.Column}
	}
	return nil
}

var (
	codePattern = regexp.MustCompile(`\A[a-z][a-z0-9-]*\z`)
	katoPattern = regexp.MustCompile(`\A[0-9]{2,9}\z`)
	mailPattern = regexp.MustCompile(`\A[^@\s]+@[^@\s]+\.[^@\s]+\z`)
)

func (r *reading) code(at, v string) {
	if !codePattern.MatchString(v) {
		r.bad(at, "a code of small letters, digits and dashes is expected")
	}
}

func (r *reading) texts(at string, t gateway.Texts) {
	for l := range t {
		if !slices.Contains(gateway.Languages, l) {
			r.bad(at, "%q is none of kk, ru, en", l)
		}
	}
	for _, l := range gateway.Languages {
		if strings.TrimSpace(t[l]) == "" {
			r.bad(at, "the text in %s is missing", l)
		}
	}
}

func oneOf[T ~string](r *reading, at string, v T, allowed ...T) {
	if !slices.Contains(allowed, v) {
		words := make([]string, len(allowed))
		for i, a := range allowed {
			words[i] = string(a)
		}
		r.bad(at, "%q is none of %s", v, strings.Join(words, ", "))
	}
}

func (r *reading) check(fsys fs.FS) {
	p := r.p
	r.code("id", p.ID)
	r.code("service", p.Service)
	r.code("shard", p.Shard)
	if strings.TrimSpace(p.Version) == "" {
		r.bad("version", "a version is expected")
	}
	r.texts("name", p.Name)
	r.texts("source", p.Source)
	for at, d := range map[string]Date{"applies_from": p.AppliesFrom, "applies_to": p.AppliesTo} {
		if d.wrong {
			r.bad(at, "a date like 2026-11-23 is expected")
		}
	}
	if p.AppliesFrom.IsZero() {
		r.bad("applies_from", "the first day on which requests fall under this version is expected")
	}
	if !p.AppliesTo.IsZero() && p.AppliesTo.Before(p.AppliesFrom.Time) {
		r.bad("applies_to", "it lies before applies_from")
	}
	r.list("channels", p.Channels, "portal", "state-corporation")
	r.list("applicants", p.Applicants, "natural-person")
	r.hours()
	if p.CreatedAt.Past <= 0 || p.CreatedAt.Future <= 0 {
		r.bad("created_at", "past and future are durations above zero, like 72h and 10m")
	}
	if p.ResultSigners != "" {
		oneOf(r, "result_signers", p.ResultSigners, SignersHead, SignersRightToSign, SignersEmployee)
	}
	if q := p.PerCitizen; q != nil && (q.Requests < 1 || q.Requests > MostRequests || q.Per <= 0 || time.Duration(q.Per) > LongestQuota) {
		r.bad("per_citizen", "1 to 100 requests per at most 24h are expected, like {requests: 10, per: 1h}")
	}
	r.records()
	r.attachments()
	r.steps()
	r.results()
	if p.AnswerPlace != nil {
		r.texts("answer_place", p.AnswerPlace)
	}
	if p.Retention.DocumentsDays <= 0 || p.Retention.ProofDays < p.Retention.DocumentsDays {
		r.bad("retention", "documents_days is above zero, and proof_days not below it")
	}
	r.providers()
	r.form(fsys)
}

func (r *reading) list(at string, v []string, allowed ...string) {
	if len(v) == 0 {
		r.bad(at, "at least one of %s is expected", strings.Join(allowed, ", "))
	}
	for i, x := range v {
		oneOf(r, fmt.Sprintf("%s[%d]", at, i), x, allowed...)
	}
}

func (r *reading) hours() {
	from, err1 := clock(r.p.Working.From)
	to, err2 := clock(r.p.Working.To)
	if err := errors.Join(err1, err2); err != nil || from >= to {
		r.bad("working_hours", "from and to are times of day like \"09:00\", from before to")
	}
	r.p.hours = Hours{from, to}
}

func clock(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", s)
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

func (r *reading) records() {
	seen := map[gateway.RecordKind]bool{}
	for i := range r.p.Records {
		rule, at := &r.p.Records[i], fmt.Sprintf("records[%d]", i)
		oneOf(r, at+".kind", rule.Kind, gateway.RecordKinds...)
		oneOf(r, at+".need", rule.Need, Mandatory, Optional, Later)
		if rule.Of == "" {
			rule.Of = OfApplicant
		}
		oneOf(r, at+".of", rule.Of, OfApplicant, OfAdults)
		if seen[rule.Kind] {
			r.bad(at+".kind", "the record %s is named twice", rule.Kind)
		}
		seen[rule.Kind] = true
	}
}

func (r *reading) attachments() {
	a := r.p.Attachments
	if a.TotalBytes <= 0 || a.TotalBytes > 100<<20 {
		r.bad("attachments.total_bytes", "a number of bytes up to 100 MB is expected")
	}
	seen := map[string]bool{}
	for i, d := range a.Documents {
		at := fmt.Sprintf("attachments.documents[%d]", i)
		r.code(at+".kind", d.Kind)
		oneOf(r, at+".need", d.Need, Required, Optional)
		if seen[d.Kind] {
			r.bad(at+".kind", "the document %s is named twice", d.Kind)
		}
		seen[d.Kind] = true
		if d.When != nil && d.When.Field == "" {
			r.bad(at+".when", "a field is expected")
		}
		if d.When != nil && d.Need != Required {
			r.bad(at+".when", "a condition goes with need: required")
		}
	}
}

func (r *reading) steps() {
	if len(r.p.Steps) == 0 {
		r.bad("steps", "at least one step is expected")
	}
	seen := map[string]bool{}
	for i, s := range r.p.Steps {
		at := fmt.Sprintf("steps[%d]", i)
		r.code(at+".code", s.Code)
		if seen[s.Code] {
			r.bad(at+".code", "the step %s is named twice", s.Code)
		}
		seen[s.Code] = true
		if !s.Limit.valid() {
			r.bad(at+".limit", "exactly one of minutes, hours, calendar_days, working_days is expected, above zero")
		}
		if s.Limit.tooLong() {
			r.bad(at+".limit", "a limit is at most %d days, or as many hours of working time", MaxLimit)
		}
		r.texts(at+".name", s.Name)
	}
}

func (r *reading) results() {
	if len(r.p.Results) == 0 {
		r.bad("results", "at least one kind of result is expected")
	}
	for i, k := range r.p.Results {
		oneOf(r, fmt.Sprintf("results[%d]", i), k, gateway.ResultKinds...)
	}
	refuses := slices.Contains(r.p.Results, gateway.ResultRefusal)
	if refuses && len(r.p.Grounds) == 0 {
		r.bad("refusal_grounds", "a refusal must be grounded: at least one ground is expected")
	}
	if !refuses && len(r.p.Grounds) > 0 {
		r.bad("refusal_grounds", "grounds go with the result refusal")
	}
	seen := map[string]bool{}
	for i, g := range r.p.Grounds {
		at := fmt.Sprintf("refusal_grounds[%d]", i)
		r.code(at+".code", g.Code)
		if seen[g.Code] {
			r.bad(at+".code", "the ground %s is named twice", g.Code)
		}
		seen[g.Code] = true
		r.texts(at+".text", g.Text)
	}
}

func (r *reading) providers() {
	if len(r.p.Providers) == 0 {
		r.bad("providers", "at least one provider is expected")
	}
	ids, territories := map[string]bool{}, map[string]string{}
	for i, q := range r.p.Providers {
		at := fmt.Sprintf("providers[%d]", i)
		r.code(at+".id", q.ID)
		if ids[q.ID] {
			r.bad(at+".id", "the provider %s is named twice", q.ID)
		}
		ids[q.ID] = true
		if len(q.KATO) == 0 {
			r.bad(at+".kato", "at least one territory is expected")
		}
		for n, k := range q.KATO {
			if !katoPattern.MatchString(k) {
				r.bad(fmt.Sprintf("%s.kato[%d]", at, n), "the first two to nine digits of a KATO code are expected")
			}
			if other, ok := territories[k]; ok {
				r.bad(fmt.Sprintf("%s.kato[%d]", at, n), "the territory %s is that of %s", k, other)
			}
			territories[k] = q.ID
		}
		r.texts(at+".name", q.Name)
		if q.Address != nil {
			r.texts(at+".address", q.Address)
		}
		if q.Email != "" && !mailPattern.MatchString(q.Email) {
			r.bad(at+".email", "an e-mail address is expected")
		}
	}
}

func (r *reading) form(fsys fs.FS) {
	f := &r.p.FormRules
	if f.Schema == "" || strings.Contains(f.Schema, "/") {
		r.bad("form.schema", "the name of a schema file is expected")
		return
	}
	xsd, err := fs.ReadFile(fsys, f.Schema)
	if err != nil {
		r.bad("form.schema", "there is no schema %s", f.Schema)
		return
	}
	form, err := CompileForm(xsd, nil)
	if err != nil {
		r.bad("form.schema", "%s: %v", f.Schema, err)
		return
	}
	for i, rule := range f.Rules {
		at := fmt.Sprintf("form.rules[%d]", i)
		oneOf(r, at+".rule", rule.Rule, formRules...)
		if n := arity[rule.Rule]; n > 0 && len(rule.At) != n || len(rule.At) == 0 {
			r.bad(at+".at", "%s fields are expected", map[bool]string{true: strconv.Itoa(n), false: "one or more"}[n > 0])
		}
		for k, field := range rule.At {
			if !form.has(field) {
				r.bad(fmt.Sprintf("%s.at[%d]", at, k), "the form has no field %s", field)
			}
		}
		if rule.When != nil && !form.has(rule.When.Field) {
			r.bad(at+".when.field", "the form has no field %s", rule.When.Field)
		}
		if rule.Rule == FormPrefix && (rule.Digits < 1 || rule.Digits > 9) {
			r.bad(at+".digits", "a number from 1 to 9 is expected")
		}
	}
	for i, d := range r.p.Attachments.Documents {
		if d.When != nil && d.When.Field != "" && !form.has(d.When.Field) {
			r.bad(fmt.Sprintf("attachments.documents[%d].when.field", i), "the form has no field %s", d.When.Field)
		}
	}
	form.rules, form.zone = f.Rules, r.p.calendar.Zone()
	r.p.form = form
}
