// Package message holds the texts for people: one catalogue per language, complete, the
// state language first (R21). Words of law live in the catalogues, not in code.
package message

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/plainyaml"
)

// A Catalogue is immutable and safe for concurrent use.
type Catalogue struct {
	texts map[gateway.Language]map[string]string
	zone  *time.Location
}

// Load reads messages/kk.yaml, ru.yaml and en.yaml. It fails when one of them lacks a key
// that another has, or a text for a Reason, a state, an event or a status.
func Load(fsys fs.FS, zone *time.Location) (*Catalogue, error) {
	c := &Catalogue{texts: map[gateway.Language]map[string]string{}, zone: zone}
	for _, l := range gateway.Languages {
		file := "messages/" + string(l) + ".yaml"
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("message: %w", err)
		}
		texts := map[string]string{}
		if err := plainyaml.Unmarshal(data, &texts); err != nil {
			return nil, fmt.Errorf("message: %s: %w", file, err)
		}
		c.texts[l] = texts
	}
	for _, key := range append(c.Keys(), required()...) {
		for _, l := range gateway.Languages {
			if strings.TrimSpace(c.texts[l][key]) == "" {
				return nil, fmt.Errorf("message: messages/%s.yaml has no text for %s", l, key)
			}
		}
	}
	return c, nil
}

// required are the keys that the closed lists of the gateway ask for.
func required() []string {
	var keys []string
	for _, r := range gateway.Reasons() {
		keys = append(keys, "reason."+string(r))
	}
	for _, s := range gateway.States {
		keys = append(keys, "state."+string(s))
	}
	for _, k := range gateway.EventKinds {
		keys = append(keys, "event."+string(k))
	}
	for _, n := range gateway.Checks {
		keys = append(keys, "check."+string(n))
	}
	for _, k := range gateway.RecordKinds {
		keys = append(keys, "record."+string(k))
	}
	return append(keys, "status.verified", "status.refused", "status.indeterminate")
}

// Keys returns every key of any language, sorted.
func (c *Catalogue) Keys() []string {
	var keys []string
	for _, texts := range c.texts {
		for k := range texts {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Text returns the text for key in l, with args put in as by fmt.Sprintf. An unknown key
// comes back as itself: a citizen sees a word rather than nothing.
func (c *Catalogue) Text(l gateway.Language, key string, args ...any) string {
	s, ok := c.texts[l][key]
	if !ok {
		if s, ok = c.texts[gateway.Kazakh][key]; !ok {
			return key
		}
	}
	if len(args) > 0 {
		return fmt.Sprintf(s, args...)
	}
	return s
}

// Plural returns the text key.one, key.few, key.many or key.other for n things, with n put
// in, by the plural rules of CLDR: Kazakh and English know one and other, Russian all four.
func (c *Catalogue) Plural(l gateway.Language, key string, n int) string {
	form := "other"
	switch {
	case l != gateway.Russian && n == 1:
		form = "one"
	case l != gateway.Russian:
	case n%10 == 1 && n%100 != 11:
		form = "one"
	case n%10 >= 2 && n%10 <= 4 && (n%100 < 12 || n%100 > 14):
		form = "few"
	default:
		form = "many"
	}
	return c.Text(l, key+"."+form, n)
}

// Reason returns the sentence for a Reason.
func (c *Catalogue) Reason(l gateway.Language, r gateway.Reason) string {
	return c.Text(l, "reason."+string(r))
}

// All returns the text for key in the three languages.
func (c *Catalogue) All(key string) gateway.Texts {
	t := gateway.Texts{}
	for _, l := range gateway.Languages {
		t[l] = c.Text(l, key)
	}
	return t
}

// DateTime writes t in the country's time as 23.11.2026, 10:00, or 23 November 2026, 10:00 in English.
func (c *Catalogue) DateTime(l gateway.Language, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.In(c.zone)
	if l == gateway.English {
		return t.Format("2 January 2006, 15:04")
	}
	return t.Format("02.01.2006, 15:04")
}

// Acceptance returns the notice of acceptance with the date and time of the result (R10). Of a
// provisional date it says so, and why.
func (c *Catalogue) Acceptance(l gateway.Language, d *gateway.Dossier) string {
	notice := c.Text(l, "notice.accepted", c.DateTime(l, d.RegisteredAt), c.DateTime(l, d.DueAt))
	if d.Provisional {
		notice += " " + c.Text(l, "notice.provisional", d.DueAt.In(c.zone).Year())
	}
	return notice
}

// Amount writes a decimal number of tenge as each language does: 9 894,40 in Kazakh and
// Russian (with no-break spaces), 9,894.40 in English. What is no decimal number comes back
// as it is.
func (c *Catalogue) Amount(l gateway.Language, decimal string) string {
	whole, fraction, has := strings.Cut(decimal, ".")
	for _, r := range whole + fraction {
		if r < '0' || r > '9' {
			return decimal
		}
	}
	group, point := "\u00a0", ","
	if l == gateway.English {
		group, point = ",", "."
	}
	var b strings.Builder
	for i, r := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteString(group)
		}
		b.WriteRune(r)
	}
	if has {
		b.WriteString(point + fraction)
	}
	return b.String()
}

// Negotiate picks the language that an Accept-Language header prefers among the three;
// fallback when it names none of them (RFC 9110 §12.5.4).
func Negotiate(header string, fallback gateway.Language) gateway.Language {
	best, weight := fallback, 0.0
	for part := range strings.SplitSeq(header, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if l := gateway.Language(primary); q > weight && slices.Contains(gateway.Languages, l) {
			best, weight = l, q
		}
	}
	return best
}
