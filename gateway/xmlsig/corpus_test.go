package xmlsig_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// envInt reads a number that makes a test longer or repeats an earlier run.
func envInt(t testing.TB, name string, def int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// A generator writes random documents that use everything the canonical form is about. One
// seed always gives the same document, with comments or without.
type generator struct {
	r        *rand.Rand
	b        strings.Builder
	comments bool
	newline  string
	id       int
}

func generate(seed uint64, comments bool) string {
	g := &generator{r: rand.New(rand.NewPCG(seed, 0xE60)), comments: comments}
	g.newline = pick(g, "\n", "\n", "\r\n", "\r")
	if g.chance(3) {
		g.b.WriteString(pick(g, `<?xml version="1.0"?>`, `<?xml version='1.0' encoding='utf-8'?>`, `<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>`))
		g.b.WriteString(pick(g, "", g.newline))
	}
	if g.chance(4) {
		g.comment()
		g.b.WriteString(pick(g, "", g.newline, "  "))
	}
	g.element(map[string]string{}, 0)
	if g.chance(4) {
		g.b.WriteString(pick(g, "", g.newline, " "))
		g.comment()
	}
	g.b.WriteString(pick(g, "", g.newline))
	return g.b.String()
}

func (g *generator) chance(n int) bool { return g.r.IntN(n) == 0 }

func pick(g *generator, of ...string) string { return of[g.r.IntN(len(of))] }

var (
	locals   = []string{"a", "b", "data", "Id", "өтініш", "заявление", "имя", "x-1", "_.y", "𐀀z", "e·2", "é"}
	prefixes = []string{"", "", "p", "q", "ds", "ns1", "П", "a-b", "P"}
	// No & here: libxml2 forgets to escape it in a declaration (TestCanonicalForm has the row).
	uris = []string{"urn:a", "urn:b", "http://example.kz/x?a=1;b=2", "http://www.w3.org/2000/09/xmldsig#", "urn:%D2%9B", "urn:a'&#x62;", "http://example.kz/", "urn:aa", "urn:A"}
)

// element writes one element; scope holds the literal URIs of the prefixes in scope.
func (g *generator) element(scope map[string]string, depth int) {
	inner := map[string]string{}
	for k, v := range scope {
		inner[k] = v
	}
	var parts []string
	declared := map[string]bool{}
	for range g.r.IntN(4) {
		p := prefixes[g.r.IntN(len(prefixes))]
		if declared[p] {
			continue
		}
		declared[p] = true
		uri := uris[g.r.IntN(len(uris))]
		if old, ok := inner[p]; ok && g.chance(3) {
			uri = old // a declaration that says nothing new
		}
		if p == "" && g.chance(3) {
			uri = ""
		}
		inner[p] = uri
		if p == "" {
			parts = append(parts, "xmlns"+g.equals()+g.quote(uri))
		} else {
			parts = append(parts, "xmlns:"+p+g.equals()+g.quote(uri))
		}
	}
	if g.chance(30) {
		parts = append(parts, `xmlns:xml="http://www.w3.org/XML/1998/namespace"`)
	}
	var bound []string
	for _, p := range prefixes {
		if uri, ok := inner[p]; ok && uri != "" && p != "" {
			bound = append(bound, p)
		}
	}
	used := map[string]bool{}
	for range g.r.IntN(5) {
		local, prefix, uri := locals[g.r.IntN(len(locals))], "", ""
		if len(bound) > 0 && g.chance(2) {
			prefix = bound[g.r.IntN(len(bound))]
			uri = inner[prefix]
		}
		if used[uri+"|"+local] {
			continue
		}
		used[uri+"|"+local] = true
		if prefix != "" {
			local = prefix + ":" + local
		}
		parts = append(parts, local+g.equals()+g.quote(g.value()))
	}
	if g.chance(4) {
		g.id++
		for _, x := range []string{`xml:lang="kk"`, `xml:space="preserve"`, `xml:base="http://example.kz/b/"`, fmt.Sprintf(`xml:id="i%d"`, g.id)} {
			if g.chance(2) {
				parts = append(parts, x)
			}
		}
	}
	if g.chance(2) {
		g.r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	name := locals[g.r.IntN(len(locals))]
	if len(bound) > 0 && g.chance(2) {
		name = bound[g.r.IntN(len(bound))] + ":" + name
	}
	g.b.WriteString("<" + name)
	for _, p := range parts {
		g.b.WriteString(pick(g, " ", " ", " ", "  ", "\t", g.newline+" ") + p)
	}
	g.b.WriteString(pick(g, "", "", "", " ", g.newline))
	if g.chance(5) {
		g.b.WriteString("/>")
		return
	}
	g.b.WriteString(">")
	for range g.r.IntN(6) {
		switch k := g.r.IntN(8); {
		case k < 3 && depth < 6:
			g.element(inner, depth+1)
		case k == 3:
			g.comment()
		case k == 4:
			g.b.WriteString("<![CDATA[" + pick(g, "", "<&>\"' ", "]]", "]", g.newline, "қазақ", "&amp;") + "]]>")
		case k == 5:
			g.b.WriteString(g.newline + "  ")
		default:
			g.b.WriteString(g.text())
		}
	}
	g.b.WriteString("</" + name + pick(g, "", "", " ", g.newline) + ">")
}

func (g *generator) equals() string { return pick(g, "=", "=", "=", "=", " =", "= ", "\t=\n") }

func (g *generator) quote(v string) string {
	if g.chance(4) {
		return "'" + strings.ReplaceAll(v, "'", "&apos;") + "'"
	}
	return `"` + v + `"`
}

func (g *generator) value() string {
	return g.join("", "1", "тест", "&lt;", "&amp;", "&gt;", ">", "&quot;", "&apos;", "'", "&#9;", "&#xA;", "&#13;", "&#x9;", "&#xD;", "\t", g.newline, " ", "&#x436;", "&#x20;", "𐀀", "\u00A0", "\u0085")
}

func (g *generator) text() string {
	return g.join("x", "тест", "&lt;", "&amp;", "&gt;", ">", "]] ", "]", `"`, "'", "&quot;", "&#9;", "&#xA;", "&#13;", "&#xD;", "&#xd;", "\t", g.newline, " ", "&#x1F600;", "\u2028", "\uFEFF")
}

func (g *generator) join(of ...string) string {
	var b strings.Builder
	for range g.r.IntN(6) {
		b.WriteString(of[g.r.IntN(len(of))])
	}
	return strings.ReplaceAll(b.String(), "]]>", "]] >")
}

func (g *generator) comment() {
	c := "<!--" + pick(g, "", " x ", "<a>&b;", "- - ", g.newline, "жазба", "]]>") + "-->"
	if g.comments {
		g.b.WriteString(c)
	}
}
