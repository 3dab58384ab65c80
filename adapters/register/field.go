package register

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway/xmlsig"
)

// A Field is one element of a register's answer.
type Field struct {
	Name string
	Is   Format  // of a text; nil for an element that holds Of
	Of   []Field // children in order
	Min  int
	Max  int // 0 means 1
}

// A Format accepts the text of a field.
type Format func(string) bool

// frame is the beginning of every stand-in's answer.
var frame = []Field{
	One("messageId", String), One("messageDate", DateTime), One("requestId", String), One("iin", IIN),
	{Name: "messageResult", Min: 1, Of: []Field{One("code", String), One("nameRu", String), One("nameKz", String)}},
}

// One is a mandatory text.
func One(name string, is Format) Field { return Field{Name: name, Is: is, Min: 1} }

// Maybe is an optional text.
func Maybe(name string, is Format) Field { return Field{Name: name, Is: is} }

// Check returns nil if el's children are exactly fields, in order and number. The error names
// fields and never their values.
func Check(el xmlsig.Element, ns string, fields []Field) error {
	if el.HasText() {
		return fmt.Errorf("%s holds text between its elements", el.Local())
	}
	children := slices.Collect(el.Children())
	for _, f := range fields {
		n := 0
		for ; len(children) > 0 && children[0].Is(ns, f.Name) && n < max(f.Max, 1); n++ {
			if err := f.check(children[0], ns); err != nil {
				return err
			}
			children = children[1:]
		}
		if n < f.Min {
			return fmt.Errorf("%s lacks %s, or it is out of order", el.Local(), f.Name)
		}
	}
	if len(children) > 0 {
		return fmt.Errorf("%s holds an element that the contract does not know there", el.Local())
	}
	return nil
}

func (f Field) check(el xmlsig.Element, ns string) error {
	if f.Is == nil {
		return Check(el, ns, f.Of)
	}
	for range el.Children() {
		return fmt.Errorf("%s holds elements instead of text", f.Name)
	}
	if !f.Is(strings.TrimSpace(el.Text())) {
		return fmt.Errorf("%s is not in its format", f.Name)
	}
	return nil
}

// String accepts any text of 1 to 500 bytes.
func String(s string) bool { return s != "" && len(s) <= 500 }

// Date accepts an xs:date, with or without an offset.
func Date(s string) bool {
	for _, layout := range []string{"2006-01-02", "2006-01-02Z07:00"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// DateTime accepts an xs:dateTime, with or without an offset.
func DateTime(s string) bool {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// Month accepts an xs:gYearMonth without an offset.
func Month(s string) bool { _, err := time.Parse("2006-01", s); return err == nil }

// Bool accepts an xs:boolean.
func Bool(s string) bool { return s == "true" || s == "false" || s == "1" || s == "0" }

// Match accepts what the whole of pattern matches.
func Match(pattern string) Format { return regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString }

// OneOf accepts the listed values.
func OneOf(values ...string) Format { return func(s string) bool { return slices.Contains(values, s) } }

// Formats of identifiers and amounts.
var (
	IIN   = Match(`[0-9]{12}`)
	BIN   = Match(`[0-9]{12}`)
	KATO  = Match(`[0-9]{9}`)
	Code  = Match(`[a-z][a-z0-9-]{0,39}`)
	Money = Match(`[0-9]{1,10}(\.[0-9]{1,2})?`) // tenge
)
