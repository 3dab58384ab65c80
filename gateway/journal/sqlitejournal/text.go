package sqlitejournal

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"egov-gateway/gateway"
)

// The events and the places of an item are JSON in the database, for whoever looks at it with
// other tools. This file reads and writes the very form that encoding/json gives them, at a
// tenth of its cost; for any other form it leaves the reading to encoding/json.

// places are where the bodies of one item lie, by name in ascending order.
type places []named

type named struct {
	name string
	place
}

// readPlaces reads the JSON object of an item's bodies.
func readPlaces(object []byte) (places, error) {
	t := text{b: object, s: string(object)}
	if all, ok := t.places(); ok {
		return all, nil
	}
	m := map[string]place{}
	if err := json.Unmarshal(object, &m); err != nil {
		return nil, err
	}
	all := make(places, 0, len(m))
	for name, p := range m {
		all = append(all, named{name, p})
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// at is the index of a name, or the one where it belongs.
func (all places) at(name string) (int, bool) {
	return slices.BinarySearchFunc(all, name, func(n named, name string) int { return strings.Compare(n.name, name) })
}

// with puts a place in, or in the stead of the one of that name.
func (all places) with(name string, p place) places {
	i, found := all.at(name)
	if found {
		all[i].place = p
		return all
	}
	return slices.Insert(all, i, named{name, p})
}

// encode is the JSON object, as encoding/json would write it.
func (all places) encode() ([]byte, error) {
	b := make([]byte, 0, 2+128*len(all))
	b = append(b, '{')
	for i, n := range all {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := appendString(b, n.name)
		if err != nil {
			return nil, err
		}
		b = n.place.append(append(name, ':'))
	}
	return append(b, '}'), nil
}

// readPlace reads the JSON object of one message's body.
func readPlace(object []byte) (p place, err error) {
	t := text{b: object, s: string(object)}
	if p, ok := t.place(); ok && t.end() {
		return p, nil
	}
	return p, json.Unmarshal(object, &p)
}

// readEvents reads the JSON array of an item's events.
func readEvents(array []byte) ([]gateway.Event, error) {
	t := text{b: array, s: string(array)}
	if all, ok := t.events(); ok {
		return all, nil
	}
	var all []gateway.Event
	err := json.Unmarshal(array, &all)
	return all, err
}

// A text is read from its beginning. What it reads points into s.
type text struct {
	b []byte
	s string // the same
	i int
}

func (t *text) end() bool { return t.i == len(t.s) }

// word takes w if it comes next.
func (t *text) word(w string) bool {
	if !strings.HasPrefix(t.s[t.i:], w) {
		return false
	}
	t.i += len(w)
	return true
}

// number takes a number without a sign, of at most 18 digits.
func (t *text) number() (n int64, ok bool) {
	start := t.i
	for t.i < len(t.s) && t.s[t.i]-'0' <= 9 {
		n = n*10 + int64(t.s[t.i]-'0')
		t.i++
	}
	digits := t.i - start
	return n, digits > 0 && digits <= 18 && (digits == 1 || t.s[start] != '0')
}

// str takes the rest of a string in which nothing is escaped, and its closing mark.
func (t *text) str() (string, bool) {
	start, ascii := t.i, true
	for ; t.i < len(t.s); t.i++ {
		switch c := t.s[t.i]; {
		case c == '"':
			out := t.s[start:t.i]
			t.i++
			return out, ascii || utf8.ValidString(out)
		case c == '\\' || c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

func (t *text) places() (places, bool) {
	if !t.word("{") {
		return nil, false
	}
	all := make(places, 0, strings.Count(t.s, `:{"s":`))
	for first := true; !t.word("}"); first = false {
		if !first && !t.word(",") || !t.word(`"`) {
			return nil, false
		}
		name, ok := t.str()
		if !ok || !t.word(":") || len(all) > 0 && all[len(all)-1].name >= name {
			return nil, false
		}
		p, ok := t.place()
		if !ok {
			return nil, false
		}
		all = append(all, named{name, p})
	}
	return all, t.end()
}

func (t *text) place() (p place, ok bool) {
	if !t.word(`{"s":`) {
		return p, false
	}
	segment, ok := t.number()
	if !ok || !t.word(`,"o":`) {
		return p, false
	}
	if p.Offset, ok = t.number(); !ok || !t.word(`,"l":`) {
		return p, false
	}
	if p.Length, ok = t.number(); !ok || !t.word(`,"h":"`) || len(t.s)-t.i < digestText+1 || p.SHA256.UnmarshalText(t.b[t.i:t.i+digestText]) != nil {
		return p, false
	}
	p.Segment = int(segment)
	t.i += digestText
	if !t.word(`"`) {
		return p, false
	}
	if t.word(`,"k":`) {
		key, ok := t.number()
		if !ok {
			return p, false
		}
		p.Key = sealer(key)
	}
	p.Erased = t.word(`,"e":true`)
	return p, t.word("}")
}

func (t *text) events() ([]gateway.Event, bool) {
	if !t.word("[") {
		return nil, false
	}
	all := make([]gateway.Event, 0, strings.Count(t.s, `{"seq":`))
	for first := true; !t.word("]"); first = false {
		if !first && !t.word(",") {
			return nil, false
		}
		e, ok := t.event()
		if !ok {
			return nil, false
		}
		all = append(all, e)
	}
	return all, t.end()
}

func (t *text) event() (e gateway.Event, ok bool) {
	if !t.word(`{"seq":`) {
		return e, false
	}
	seq, ok := t.number()
	if !ok || !t.word(`,"at":"`) {
		return e, false
	}
	e.Seq = int(seq)
	start := t.i
	if _, ok = t.str(); !ok || e.At.UnmarshalText(t.b[start:t.i-1]) != nil {
		return e, false
	}
	if !t.word(`,"kind":"`) {
		return e, false
	}
	kind, ok := t.str()
	e.Kind = gateway.EventKind(kind)
	if ok && t.word(`,"subject":"`) {
		e.Subject, ok = t.str()
	}
	if ok && t.word(`,"source":"`) {
		e.Source, ok = t.str()
	}
	if ok && t.word(`,"note":"`) {
		e.Note, ok = t.str()
	}
	if ok && t.word(`,"reason":"`) {
		var reason string
		reason, ok = t.str()
		e.Reason = gateway.Reason(reason)
	}
	return e, ok && t.word("}")
}

// appendString writes a string as encoding/json does.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			return append(b, quoted...), err
		}
	}
	return append(append(append(b, '"'), s...), '"'), nil
}
