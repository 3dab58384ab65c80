// Package diagram draws the way of a request on the decree's own functional-interaction
// diagram (Z annex 1; R22): who is involved as lanes, processes 1 to 7 and conditions 1 and 2
// as the decree numbers them, and the documents that are handed over. What has happened is
// drawn full, what is at hand is marked, what is not reached is pale.
package diagram

import (
	"fmt"
	"html"
	"strings"

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
	ID   string // key of its text: diagram.ID
	kind kind
	lane int // index into Lanes
	x    int // column
}

// Lanes are the participants, top to bottom; keys of texts.
var Lanes = []string{"applicant", "portal", "gateway", "provider"}

// Nodes are the symbols in the order of the decree.
var Nodes = []Node{
	{"start", start, 0, 0},
	{"process1", process, 1, 1},
	{"condition1", condition, 1, 2},
	{"process2", failure, 1, 3},
	{"process3", process, 1, 4},
	{"process4", process, 0, 5},
	{"condition2", condition, 2, 6},
	{"process5", failure, 2, 7},
	{"process6", process, 2, 8},
	{"work", process, 3, 9},
	{"process7", document, 1, 10},
	{"end", end, 0, 11},
}

var edges = [][2]string{{"start", "process1"}, {"process1", "condition1"}, {"condition1", "process2"}, {"condition1", "process3"}, {"process3", "process4"}, {"process4", "condition2"},
	{"condition2", "process5"}, {"condition2", "process6"}, {"process6", "work"}, {"work", "process7"}, {"process7", "end"}}

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
	column, row  = 118, 116
	left, top    = 130, 30
	width, depth = 100, 62
)

// SVG draws the diagram. text gives the words for a key like diagram.process6.
func SVG(marks map[string]Mark, text func(key string) string) string {
	var b strings.Builder
	w, h := left+column*len(Nodes)+20, top+row*len(Lanes)+10
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="t" font-family="system-ui, sans-serif" font-size="11">`, w, h)
	fmt.Fprintf(&b, `<title id="t">%s</title>`, html.EscapeString(text("diagram.title")))
	b.WriteString(`<style>.lane{fill:#f6f8fa;stroke:#c5ced6}.lane-name{font-weight:600}.done{fill:#d7ebdc;stroke:#1c6b34}.current{fill:#fff3cd;stroke:#8a5a00;stroke-width:3}.ahead{fill:#fff;stroke:#9aa5ae;stroke-dasharray:4 3}.not-used{fill:#fff;stroke:#c5ced6;opacity:.55}.edge{stroke:#51606b;fill:none;marker-end:url(#a)}</style>`)
	b.WriteString(`<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#51606b"/></marker></defs>`)
	for i, lane := range Lanes {
		y := top + row*i
		fmt.Fprintf(&b, `<rect class="lane" x="4" y="%d" width="%d" height="%d"/>`, y, w-8, row)
		words(&b, text("diagram.lane."+lane), 10, y+row/2, 17, "start", "lane-name")
	}
	at := map[string][2]int{}
	for _, n := range Nodes {
		at[n.ID] = [2]int{left + column*n.x + width/2, top + row*n.lane + row/2}
	}
	for _, e := range edges {
		from, to := at[e[0]], at[e[1]]
		fmt.Fprintf(&b, `<path class="edge" d="M%d,%d L%d,%d"/>`, from[0]+width/2, from[1], to[0]-width/2-2, to[1])
	}
	for _, n := range Nodes {
		shape(&b, n, at[n.ID][0], at[n.ID][1], marks[n.ID])
		words(&b, text("diagram."+n.ID), at[n.ID][0], at[n.ID][1], 15, "middle", "")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func shape(b *strings.Builder, n Node, x, y int, m Mark) {
	switch n.kind {
	case start, end:
		fmt.Fprintf(b, `<ellipse class="%s" data-node="%s" cx="%d" cy="%d" rx="%d" ry="%d"/>`, m, n.ID, x, y, width/2, depth/2)
	case condition:
		fmt.Fprintf(b, `<path class="%s" data-node="%s" d="M%d,%d L%d,%d L%d,%d L%d,%d z"/>`, m, n.ID, x, y-depth/2-8, x+width/2, y, x, y+depth/2+8, x-width/2, y)
	case document:
		fmt.Fprintf(b, `<path class="%s" data-node="%s" d="M%d,%d h%d l12,12 v%d h-%d z"/>`, m, n.ID, x-width/2, y-depth/2, width-12, depth-12, width)
	default:
		rx := 4
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
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" class="%s">%s</text>`, x, y+4+(2*i-len(lines)+1)*7, anchor, class, html.EscapeString(l))
	}
}
