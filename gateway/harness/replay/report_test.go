package replay_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/replay"
)

// What stands in a manifest, a configuration or an answer may be meant for whoever reads the report.
const (
	hostileID      = `e1]]>"'<script>alert(1)</script>`
	hostileClass   = `class</td><img src="http://evil.example/x.png" onerror='alert(2)'>&amp;` + "\x01"
	hostileName    = `</title></svg><iframe src="//evil.example"></iframe>{{.}}`
	hostileComment = `" onmouseover="alert(3)" x="<link rel=stylesheet href=http://evil.example/x.css>`
	hostileReason  = `</failure><style>@import url(http://evil.example/y.css)</style>`
)

// hostile is a replay to two gateways: of three entries one is as expected, one at one of them.
func hostile(t *testing.T) *replay.Report {
	t.Helper()
	first, second := newFake(t, map[string]reply{"<two/>": {status: 422, reason: hostileReason}}).target(), newFake(t, nil).target()
	first.Name, second.Name = hostileName, "second"
	r := read(t,
		corpus.Entry{ID: "one", Class: "plain", Admission: accepted()},
		corpus.Entry{ID: "two", Class: hostileClass, Admission: accepted(), Comment: hostileComment},
		corpus.Entry{ID: hostileID, Class: hostileClass, Admission: refused(gateway.Revoked), Comment: hostileComment})
	return run(t, replay.Config{Corpus: r, Targets: []*replay.Target{first, second}, Concurrency: 1})
}

func TestTheJSONReportIsRead(t *testing.T) {
	r := hostile(t)
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got replay.Report
	d := json.NewDecoder(&b)
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("more follows the report: %v", err)
	}
	if got.Sent != 3 || got.Mismatches != 3 || got.Different != 1 || got.Kinds["verdict"] != 3 || got.Corpus.Seed != 7 || !slices.Equal(got.Listed, r.Listed) || !slices.Equal(got.Differences, r.Differences) {
		t.Errorf("read %+v", got.Listed)
	}
	if len(got.Gateways) != 2 || got.Gateways[0].Name != hostileName || got.Gateways[0].Accepted != r.Gateways[0].Accepted || got.Gateways[0].Accepted.Count != 2 || got.Gateways[0].Refused.Count != 1 {
		t.Errorf("gateways %+v", got.Gateways)
	}
	if c := got.Classes[hostileClass]; c == nil || c.Sent != 2 || c.Mismatch != 3 || *got.Classes["plain"] != (replay.Class{Sent: 1}) {
		t.Errorf("classes %+v", got.Classes)
	}
}

func TestTheJUnitReportIsRead(t *testing.T) {
	type failure struct {
		Kind    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type suite struct {
		XMLName  xml.Name
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Class   string   `xml:"classname,attr"`
			Name    string   `xml:"name,attr"`
			Failure *failure `xml:"failure"`
		} `xml:"testcase"`
	}
	good := run(t, replay.Config{Corpus: read(t, corpus.Entry{ID: "one", Class: "plain", Admission: accepted()}, corpus.Entry{ID: "two", Class: "other", Admission: accepted()}), Targets: []*replay.Target{newFake(t, nil).target()}})
	class := strings.ReplaceAll(hostileClass, "\x01", "\uFFFD") // XML has no such character
	tests := []struct {
		name            string
		report          *replay.Report
		cases, failures []string // class and name
	}{
		{"two classes that are as expected", good, []string{"other 1 entries", "plain 1 entries"}, nil},
		{"a class and what is wrong in it", hostile(t),
			[]string{class + " 2 entries", "plain 1 entries", class + " " + hostileID, class + " " + hostileID, class + " two", class + " two at both gateways"},
			[]string{"class: 3 of 2 not as expected", "verdict: want refused revocation.revoked, got verified", "verdict: want refused revocation.revoked, got verified", "verdict: want verified, got refused " + hostileReason,
				"difference: refused " + hostileReason + ", verified"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tt.report.WriteJUnit(&b); err != nil {
				t.Fatal(err)
			}
			var s suite
			d := xml.NewDecoder(&b)
			if err := d.Decode(&s); err != nil {
				t.Fatalf("not well-formed: %v", err)
			}
			for tok, err := d.Token(); !errors.Is(err, io.EOF); tok, err = d.Token() {
				if text, ok := tok.(xml.CharData); err != nil || !ok || strings.TrimSpace(string(text)) != "" {
					t.Fatalf("more follows the suite: %v %v", tok, err)
				}
			}
			var cases, failures []string
			for _, c := range s.Cases {
				cases = append(cases, c.Class+" "+c.Name)
				if f := c.Failure; f != nil {
					failures = append(failures, f.Kind+": "+f.Message)
					if f.Kind != "class" && f.Text != hostileComment {
						t.Errorf("%s: the comment is %q", c.Name, f.Text)
					}
				}
			}
			if s.XMLName.Local != "testsuite" || s.Tests != len(s.Cases) || s.Failures != len(failures) {
				t.Errorf("%s counts %d tests and %d failures, it holds %d and %d", s.XMLName.Local, s.Tests, s.Failures, len(s.Cases), len(failures))
			}
			if !slices.Equal(cases, tt.cases) {
				t.Errorf("cases\n%q, want\n%q", cases, tt.cases)
			}
			if !slices.Equal(failures, tt.failures) {
				t.Errorf("failures\n%q, want\n%q", failures, tt.failures)
			}
		})
	}
}

var (
	tag       = regexp.MustCompile(`<(/?[a-zA-Z!][a-zA-Z0-9]*)([^<>]*)>`)
	attribute = regexp.MustCompile(`^\s+([a-z][a-zA-Z0-9-]*)(?:="([^"]*)")?`)
)

// The page loads nothing and runs nothing: it has only those elements and attributes that its
// template has, whatever it tells of.
func TestTheHTMLReportIsOnePage(t *testing.T) {
	var b bytes.Buffer
	if err := hostile(t).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	elements := strings.Fields("!doctype html head meta title style body h1 h2 p table tr th td svg text line polyline")
	attributes := strings.Fields("html lang charset name content class title viewBox width height role aria-label x y x1 x2 y1 y2 stroke stroke-width fill points text-anchor dominant-baseline")
	open := 0
	for _, m := range tag.FindAllStringSubmatch(page, -1) {
		name := strings.TrimPrefix(m[1], "/")
		if open++; !slices.Contains(elements, name) {
			t.Errorf("an element %s", m[0])
		}
		for rest := strings.TrimSuffix(m[2], "/"); strings.TrimSpace(rest) != ""; {
			a := attribute.FindStringSubmatch(rest)
			if a == nil || !slices.Contains(attributes, a[1]) {
				t.Fatalf("an attribute in %s", m[0])
			}
			rest = rest[len(a[0]):]
		}
	}
	if left := tag.ReplaceAllString(page, ""); strings.ContainsAny(left, "<>") || open < 100 {
		t.Errorf("%d tags, and a bracket that is none", open)
	}
	style := page[strings.Index(page, "<style>"):strings.Index(page, "</style>")]
	if strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("the style loads something")
	}
	for name, want := range map[string]string{"the entry": "&lt;script&gt;alert(1)&lt;/script&gt;", "the class": "class&lt;/td&gt;&lt;img src=", "the gateway": "&lt;iframe src=", "the reason": "&lt;style&gt;@import", "the comment": "&lt;link rel=stylesheet",
		"a plot": "<polyline", "the verdict": "3 mismatches in 3 entries"} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is not there: %s", name, want)
		}
	}
}

func TestTheTableSaysTheVerdict(t *testing.T) {
	entries := []corpus.Entry{{ID: "one", Class: "plain", Admission: accepted()}, {ID: "two", Class: "plain", Verdict: accepted()}}
	wrong := map[string]reply{"<one/>": {status: 422, reason: gateway.Revoked}}
	tests := []struct {
		name    string
		replies []map[string]reply
		rate    float64
		want    []string
	}{
		{"as expected", []map[string]reply{nil}, 0, []string{"all 1 entries as expected", "closed loop, 16 clients", "1 for verifiers only", "accepted"}},
		{"an open loop", []map[string]reply{nil}, 50, []string{"all 1 entries as expected", "open loop at 50; latency counts from the intended instant"}},
		{"not as expected", []map[string]reply{wrong}, 0, []string{"1 mismatches in 1 entries", "one (plain) verdict: want verified, got refused revocation.revoked", "refused"}},
		{"two that differ", []map[string]reply{nil, wrong}, 0, []string{"1 mismatches in 1 entries", "1 answered differently", "one (plain): verified, refused revocation.revoked"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var targets []*replay.Target
			for _, r := range tt.replies {
				targets = append(targets, newFake(t, r).target())
			}
			var b bytes.Buffer
			if err := run(t, replay.Config{Corpus: read(t, entries...), Targets: targets, Rate: tt.rate}).WriteTable(&b); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%q is not in\n%s", want, b.String())
				}
			}
		})
	}
	if (&replay.Report{}).OK() {
		t.Error("a replay of nothing is as expected")
	}
}
