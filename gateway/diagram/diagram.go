// Package diagram draws the way of a request on the decree's own functional-interaction
// diagram (Z annex 1; R22): who is involved as lanes, processes 1 to 7 and conditions 1 and 2
// as the decree numbers them, and the documents that are handed over. What has happened is
// drawn full, what is at hand is marked, what is not reached is pale.
package diagram

import (
	"fmt"
	"html"
	"strings"
	"time"

	"egov-gateway/gateway"
)

// A Mark says how far a node of the diagram is.
type Mark string

const (
	Done    Mark = "done"
	Current Mark = "current"
	Ahead   Mark = "ahead"
	NotUsed Mark = "not-used" // a refusal that did not happen
)

// A kind is a symbol of the decree's legend.
type kind int

const (
	start     kind = iota // сообщение начальное
	process               // процесс
	condition             // условие
	failure               // ошибка
	document              // электронный документ
	end                   // сообщение завершающее
)

// A Node is one symbol.
type Node struct {
	ID       string // key of its text: diagram.ID
	kind     kind
	row, col int // a lane has one row, or two when a refusal hangs below its condition
}

// A lane is a participant with its rows.
type lane struct {
	name string
	rows int
}

var lanes = []lane{{"applicant", 1}, {"portal", 2}, {"gateway", 2}, {"provider", 1}}

// Lanes are the participants, top to bottom; keys of texts.
var Lanes = func() (names []string) {
	for _, l := range lanes {
		names = append(names, l.name)
	}
	return names
}()

// Nodes are the symbols in the order of the decree.
var Nodes = []Node{
	{"start", start, 0, 0},
	{"process1", process, 1, 0},
	{"condition1", condition, 1, 1},
	{"process2", failure, 2, 1},
	{"process3", process, 1, 2},
	{"process4", process, 0, 3},
	{"condition2", condition, 3, 3},
	{"process5", failure, 4, 3},
	{"process6", process, 3, 4},
	{"work", process, 5, 5},
	{"process7", document, 1, 6},
	{"end", end, 0, 6},
}

// An edge leads from the side of one node to the side of another: r right, l left, t top, b
// bottom. A message between two participants is drawn broken, as in the decree's legend, and
// control flow inside one full.
type edge struct{ from, out, to, in string }

var edges = []edge{
	{"start", "b", "process1", "t"}, {"process1", "r", "condition1", "l"}, {"condition1", "b", "process2", "t"}, {"condition1", "r", "process3", "l"},
	{"process3", "r", "process4", "b-"}, {"process4", "b", "condition2", "t"}, {"condition2", "b", "process5", "t"}, {"condition2", "r", "process6", "l"},
	{"process6", "r", "work", "t"}, {"work", "r", "process7", "b"}, {"process7", "t", "end", "b"},
}

// Marks tells how far each node is for an accepted request: whatever the journal holds has
// passed conditions 1 and 2.
func Marks(state gateway.State, result bool) map[string]Mark {
	m := map[string]Mark{}
	for _, n := range Nodes {
		m[n.ID] = Done
	}
	m["process2"], m["process5"] = NotUsed, NotUsed
	set := func(v Mark, ids ...string) {
		for _, id := range ids {
			m[id] = v
		}
	}
	switch {
	case result:
	case state == gateway.StateDelivered:
		set(Current, "work")
		set(Ahead, "process7", "end")
	default:
		set(Current, "process6")
		set(Ahead, "work", "process7", "end")
	}
	return m
}

const (
	column, row  = 158, 104
	left, top    = 118, 6
	width, depth = 134, 56
)

// A Way is what is drawn.
type Way struct {
	Marks map[string]Mark
	// Notes are short lines below a node: when it was passed, how often it was tried.
	Notes map[string][]string
	// Text gives the words for a key like diagram.process6.
	Text func(key string) string
}

// SVG draws the diagram without notes.
func SVG(marks map[string]Mark, text func(key string) string) string {
	return Draw(Way{Marks: marks, Text: text})
}

const style = `.lane{fill:#f7f9fb;stroke:#d5dde4}.lane-name{font-weight:600;font-size:12.5px;fill:#33434f}` +
	`.done{fill:#e2f1e6;stroke:#2e7d4a;stroke-width:1.4}.current{fill:#fff1c9;stroke:#9a6200;stroke-width:2.6}` +
	`.ahead{fill:#fff;stroke:#8696a3;stroke-dasharray:5 3}.not-used{fill:#fff;stroke:#c5ced6}` +
	`text{fill:#14212b}.pale{fill:#5b6a76}.note{font-size:11px;fill:#44525d;stroke:#f7f9fb;stroke-width:4px;paint-order:stroke}` +
	`.flow{stroke:#4a5a66;fill:none;stroke-width:1.3;marker-end:url(#a)}.message{stroke-dasharray:6 4}` +
	`.tick{fill:none;stroke:#2e7d4a;stroke-width:2}.at{fill:#9a6200}`

// Draw draws the diagram.
func Draw(w Way) string {
	var b strings.Builder
	rows := 0
	for _, l := range lanes {
		rows += l.rows
	}
	wide, high := left+column*7+8, top+row*rows+6
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="t" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif" font-size="12.5">`, wide, high)
	fmt.Fprintf(&b, `<title id="t">%s</title><style>%s</style>`, html.EscapeString(w.Text("diagram.title")), style)
	b.WriteString(`<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#4a5a66"/></marker></defs>`)
	y, laneOf := top, map[int]string{}
	for n, first := 0, 0; n < len(lanes); n++ {
		l := lanes[n]
		fmt.Fprintf(&b, `<rect class="lane" x="4" y="%d" width="%d" height="%d" rx="6"/>`, y+2, wide-8, row*l.rows-4)
		words(&b, w.Text("diagram.lane."+l.name), 16, y+row*l.rows/2, 12, "start", "lane-name")
		for i := range l.rows {
			laneOf[first+i] = l.name
		}
		first += l.rows
		y += row * l.rows
	}
	at := map[string]Node{}
	for _, n := range Nodes {
		at[n.ID] = n
	}
	for _, e := range edges {
		class := "flow"
		if laneOf[at[e.from].row] != laneOf[at[e.to].row] {
			class = "flow message"
		}
		fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, class, path(at[e.from], e.out, at[e.to], e.in))
	}
	for _, n := range Nodes {
		x, y := center(n)
		m := w.Marks[n.ID]
		shape(&b, n, x, y, m)
		class := ""
		if m == NotUsed || m == Ahead {
			class = "pale"
		}
		words(&b, w.Text("diagram."+n.ID), x, y, 17, "middle", class)
		switch m {
		case Done:
			fmt.Fprintf(&b, `<path class="tick" d="M%d,%d l4,4 l8,-9"/>`, x+width/2-17, y-depth/2-3)
		case Current:
			fmt.Fprintf(&b, `<circle class="at" cx="%d" cy="%d" r="5"/>`, x+width/2-10, y-depth/2)
		}
		below, beside, anchor := depth/2+14, x, "middle"
		if n.kind == condition { // an edge leaves below
			below, beside, anchor = below+8, x-7, "end"
		}
		for i, line := range w.Notes[n.ID] {
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="%s" class="note">%s</text>`, beside, y+below+13*i, anchor, html.EscapeString(line))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// center is the middle of a node; it stands a little above that of its row, for the notes.
func center(n Node) (x, y int) {
	return left + column*n.col + column/2, top + row*n.row + row/2 - 10
}

// port is where an edge leaves or enters: the side, and for "b-" the left part of the bottom.
func port(n Node, side string) (x, y int) {
	x, y = center(n)
	h := depth / 2
	if n.kind == condition {
		h += 6
	}
	switch side {
	case "r":
		return x + width/2, y
	case "l":
		return x - width/2 - 2, y
	case "t":
		return x, y - h - 2
	case "b-":
		return x - width/4, y + h + 2
	}
	return x, y + h + 1
}

// path bends at most once.
func path(from Node, out string, to Node, in string) string {
	x1, y1 := port(from, out)
	x2, y2 := port(to, in)
	if x1 == x2 || y1 == y2 {
		return fmt.Sprintf("M%d,%d L%d,%d", x1, y1, x2, y2)
	}
	return fmt.Sprintf("M%d,%d L%d,%d L%d,%d", x1, y1, x2, y1, x2, y2)
}

func shape(b *strings.Builder, n Node, x, y int, m Mark) {
	switch n.kind {
	case start, end:
		fmt.Fprintf(b, `<ellipse class="%s" data-node="%s" cx="%d" cy="%d" rx="%d" ry="%d"/>`, m, n.ID, x, y, width/2, depth/2)
	case condition:
		w, h := width/2, depth/2+6
		fmt.Fprintf(b, `<path class="%s" data-node="%s" d="M%d,%d L%d,%d L%d,%d L%d,%d L%d,%d L%d,%d z"/>`, m, n.ID, x-w+22, y-h, x+w-22, y-h, x+w, y, x+w-22, y+h, x-w+22, y+h, x-w, y)
	case document:
		fmt.Fprintf(b, `<path class="%s" data-node="%s" d="M%d,%d h%d l14,14 v%d h-%d z"/>`, m, n.ID, x-width/2, y-depth/2, width-14, depth-14, width)
	default:
		rx := 6
		if n.kind == failure {
			rx = depth / 2
		}
		fmt.Fprintf(b, `<rect class="%s" data-node="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`, m, n.ID, x-width/2, y-depth/2, width, depth, rx)
	}
}

// words breaks a text into lines of about n letters around the middle y.
func words(b *strings.Builder, text string, x, y, n int, anchor, class string) {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > n {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	lines = append(lines, line)
	for i, l := range lines {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" class="%s">%s</text>`, x, y+4+(2*i-len(lines)+1)*15/2, anchor, class, html.EscapeString(l))
	}
}

// Times tells when an accepted request passed the nodes of which the journal knows it.
func Times(d *gateway.Dossier, events []gateway.Event) map[string]time.Time {
	all := map[string]time.Time{}
	put := func(node string, at time.Time) {
		if !at.IsZero() {
			all[node] = at
		}
	}
	put("condition2", d.ReceivedAt)
	for _, e := range events {
		switch e.Kind {
		case gateway.EventDelivered:
			put("process6", e.At)
		case gateway.EventStep:
			put("work", e.At)
		case gateway.EventNotified:
			put("end", e.At)
		}
	}
	if d.Result != nil {
		put("process7", d.Result.ReceivedAt)
	}
	return all
}
