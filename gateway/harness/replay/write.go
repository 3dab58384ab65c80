package replay

import (
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the report for a terminal.
func (r *Report) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "sent\t%d in %.1f s, %.0f a second", r.Sent, r.SendSeconds, r.Reached)
	if r.Rate > 0 {
		fmt.Fprintf(w, " (open loop at %.0f; latency counts from the intended instant)\n", r.Rate)
	} else {
		fmt.Fprintf(w, " (closed loop, %d clients)\n", r.Concurrency)
	}
	if r.Skipped > 0 {
		fmt.Fprintf(w, "skipped\t%d for verifiers only\n", r.Skipped)
	}
	fmt.Fprintf(w, "client\t%.0f %% of one processor, %.0f %% of the machine\n\n", 100*r.ClientCPU, 100*r.MachineCPU)
	for _, g := range r.Gateways {
		fmt.Fprintf(w, "%s\tnumber\tp50\tp90\tp99\tp99.9\tmax, ms\n", g.Name)
		for _, row := range g.rows() {
			l := row.Latency
			fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\n", row.Name, l.Count, l.P50, l.P90, l.P99, l.P999, l.Max)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "class\tsent\tmismatch\n")
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		fmt.Fprintf(w, "%s\t%d\t%d\n", name, r.Classes[name].Sent, r.Classes[name].Mismatch)
	}
	for _, m := range r.Listed[:min(len(r.Listed), 20)] {
		fmt.Fprintf(w, "\nmismatch\t%s %s (%s) %s: want %s, got %s", m.Target, m.ID, m.Class, m.Kind, m.Want, m.Got)
	}
	if len(r.Gateways) == 2 {
		fmt.Fprintf(w, "\n%d answered differently; the second gateway was slower with %d of %d", r.Different, r.Slower, r.Sent)
		for _, d := range r.Differences[:min(len(r.Differences), 20)] {
			fmt.Fprintf(w, "\ndifferent\t%s (%s): %s, %s", d.ID, d.Class, d.First, d.Second)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%s\n", r.Verdict())
	return w.Flush()
}

// Verdict is the report in a sentence.
func (r *Report) Verdict() string {
	if r.OK() {
		return fmt.Sprintf("all %d entries as expected", r.Sent)
	}
	if r.Mismatches == 0 {
		return fmt.Sprintf("as expected, but %d of %d entries were answered differently", r.Different, r.Sent)
	}
	return fmt.Sprintf("%d mismatches in %d entries", r.Mismatches, r.Sent)
}

// OK reports whether everything was as expected, and two gateways agreed.
func (r *Report) OK() bool { return r.Mismatches == 0 && r.Different == 0 && r.Sent > 0 }

type row struct {
	Name    string
	Latency Latency
}

func (g *Gateway) rows() []row {
	var all []row
	for _, x := range []row{{"accepted", g.Accepted}, {"refused", g.Refused}, {"sent away", g.Busy}, {"until the cabinet", g.Journey}} {
		if x.Latency.Count > 0 {
			all = append(all, x)
		}
	}
	return all
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Kind    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes a test case for each class, and one for each mismatch or difference listed.
func (r *Report) WriteJUnit(out io.Writer) error {
	s := junitSuite{Name: "replay", Time: fmt.Sprintf("%.3f", r.Seconds), Stamp: r.Started.Format(time.RFC3339)}
	add := func(class, name string, f *junitFailure) {
		s.Cases = append(s.Cases, junitCase{class, name, f})
		if s.Tests++; f != nil {
			s.Failures++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		c := r.Classes[name]
		var f *junitFailure
		if c.Mismatch > 0 {
			f = &junitFailure{"class", fmt.Sprintf("%d of %d not as expected", c.Mismatch, c.Sent), ""}
		}
		add(name, fmt.Sprintf("%d entries", c.Sent), f)
	}
	for _, m := range r.Listed {
		add(m.Class, m.ID, &junitFailure{m.Kind, "want " + m.Want + ", got " + m.Got, m.Comment})
	}
	for _, d := range r.Differences {
		add(d.Class, d.ID+" at both gateways", &junitFailure{"difference", d.First + ", " + d.Second, d.Comment})
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(out)
	e.Indent("", "  ")
	if err := e.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

//go:embed report.html
var page string

// WriteHTML writes one page that needs nothing else: tables and plots.
func (r *Report) WriteHTML(out io.Writer) error {
	t, err := template.New("").Funcs(template.FuncMap{
		"ms":    func(v float64) string { return fmt.Sprintf("%.2f", v) },
		"rows":  func(g *Gateway) []row { return g.rows() },
		"names": func(m map[string]*Class) []string { return slices.Sorted(maps.Keys(m)) },
		"percentiles": func(all []*Gateway) plot {
			p := plot{Title: "Latency of all answers by percentile", Y: "ms", X: "percentile"}
			for _, g := range all {
				var line [][2]float64
				for _, x := range g.Percentiles {
					// The tail has as much room as the body: one over the share that is slower.
					line = append(line, [2]float64{math.Log10(1 / (1 - min(x[0], 99.999)/100)), x[1]})
				}
				p.add(g.Name, line)
			}
			for _, at := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999} {
				p.Ticks = append(p.Ticks, tick{math.Log10(1 / (1 - at/100)), fmt.Sprint(at)})
			}
			return p.drawn()
		},
		"timeline": func(all []*Gateway, what string) plot {
			p := plot{Title: map[string]string{"answered": "Answers in each second", "p50": "Median latency in each second", "p99": "99th percentile in each second"}[what], Y: map[string]string{"answered": ""}[what], X: "s"}
			if what != "answered" {
				p.Y = "ms"
			}
			last := 1.0
			for _, g := range all {
				var line [][2]float64
				for _, s := range g.Seconds {
					v := map[string]float64{"answered": float64(s.Answered), "p50": s.P50, "p99": s.P99}[what]
					line = append(line, [2]float64{float64(s.At), v})
					last = max(last, float64(s.At))
				}
				p.add(g.Name, line)
			}
			for i := range 6 {
				p.Ticks = append(p.Ticks, tick{last * float64(i) / 5, fmt.Sprintf("%.0f", last*float64(i)/5)})
			}
			return p.drawn()
		},
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(out, r)
}

type tick struct {
	At   float64
	Text string
}

// A plot is lines over ticks, in coordinates of the picture once drawn.
type plot struct {
	Title, X, Y string
	Ticks       []tick
	Marks       []tick // of y
	Lines       []line
	top, right  float64
}

type line struct {
	Name, Color, Points string
	values              [][2]float64
}

// Size of a plot's picture; the space around the axes is inside.
const (
	plotWidth, plotHeight = 640, 240
	plotLeft, plotBottom  = 60, 30
)

func (p *plot) add(name string, values [][2]float64) {
	for _, v := range values {
		p.top, p.right = max(p.top, v[1]), max(p.right, v[0])
	}
	p.Lines = append(p.Lines, line{Name: name, Color: []string{"#0b6", "#b30"}[len(p.Lines)%2], values: values})
}

// drawn turns values into coordinates.
func (p plot) drawn() plot {
	top := 1.0
	for top < p.top {
		for _, f := range []float64{2, 2.5, 2} {
			if top < p.top {
				top *= f
			}
		}
	}
	for top/10 > p.top && top > 1e-6 {
		top /= 10
	}
	for _, t := range p.Ticks {
		p.right = max(p.right, t.At)
	}
	x := func(v float64) float64 {
		return plotLeft + v/max(p.right, 1e-9)*(plotWidth-plotLeft-20)
	}
	y := func(v float64) float64 { return plotHeight - plotBottom - v/top*(plotHeight-plotBottom-20) }
	for i := range p.Ticks {
		p.Ticks[i].At = x(p.Ticks[i].At)
	}
	for i := range 5 {
		v := top * float64(i) / 4
		p.Marks = append(p.Marks, tick{y(v), fmt.Sprintf("%.4g", v)})
	}
	for i := range p.Lines {
		var b strings.Builder
		for _, v := range p.Lines[i].values {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(v[0]), y(v[1]))
		}
		p.Lines[i].Points = b.String()
	}
	return p
}
