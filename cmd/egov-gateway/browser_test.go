package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"egov-gateway/gateway/harness/tool"
)

// A browser is a real one, headless, with a profile of its own.
type browser struct {
	t   *testing.T
	ctx context.Context
	axe string // the source of axe-core
}

// axeFile is put there by .ci/deps.
const axeFile = "../../bin/axe/node_modules/axe-core/axe.min.js"

func newBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED with -short: the browser tests take half a minute; they run without")
	}
	path := tool.Path(t, "chromium", "chromium")
	axe, err := os.ReadFile(axeFile)
	if err != nil {
		tool.Missing(t, "axe-core is missing: run .ci/deps (npm, from the package npm)")
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1360, 900)}
	for _, flag := range []string{"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, end := chromedp.NewContext(alloc)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(func() { cancel(); end(); stop() })
	b := &browser{t, ctx, string(axe)}
	// The first action starts the browser, which lives as long as that action's context.
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return b
}

// do runs actions, each within ten seconds.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for _, a := range actions {
		ask(b, a)
	}
}

func ask[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("%v\non %s", err, b.where())
	}
	return v
}

// where tells what the page is, for a failure.
func (b *browser) where() string {
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 1500)`))
	if err != nil {
		return err.Error()
	}
	return text
}

func (b *browser) open(url string) { b.t.Helper(); b.do(chromedp.Navigate(url)) }

// press clicks and waits for the page that follows.
func (b *browser) press(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("press %s: %v\non %s", selector, err, b.where())
	}
}

// js evaluates an expression to a text.
func (b *browser) js(expression string) string {
	b.t.Helper()
	return ask(b, chromedp.Evaluate[string]("String("+expression+")"))
}

// text is what the page says.
func (b *browser) text() string { b.t.Helper(); return b.js("document.body.innerText") }

// sees fails unless the page says all of it.
func (b *browser) sees(all ...string) {
	b.t.Helper()
	text := strings.ToLower(b.text())
	for _, want := range all {
		if !strings.Contains(text, strings.ToLower(want)) {
			b.t.Errorf("%s does not say %q:\n%s", b.js("location.pathname"), want, text[:min(len(text), 1500)])
		}
	}
}

// awaits waits until an expression holds, without loading the page anew.
func (b *browser) awaits(what, expression string) {
	b.t.Helper()
	for end := time.Now().Add(2 * time.Minute); b.js(expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s never happened:\n%s", what, b.text())
		}
	}
}

// accessible fails when axe-core finds a serious or critical violation of WCAG 2.2 AA.
func (b *browser) accessible(name string) {
	b.t.Helper()
	for _, f := range b.violations() {
		b.t.Errorf("%s (%s): %s", name, b.js("location.pathname"), f)
	}
}

func (b *browser) violations() []string {
	b.t.Helper()
	script := b.axe + `;axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"]}).then(r => r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.map(v => v.impact + " " + v.id + ": " + v.help + " at " + v.nodes.slice(0, 3).map(n => n.target.join(" ") + " (" + (n.any.concat(n.all)[0] || {}).message + ")").join("; ")))`
	return ask(b, chromedp.Evaluate[[]string](script, chromedp.EvalAwaitPromise))
}

// inEveryLanguage checks the page at hand in the three languages and leaves it in English.
func (b *browser) inEveryLanguage(name string) {
	b.t.Helper()
	address := b.js("location.href")
	address = regexp.MustCompile(`[?&]lang=..|#.*`).ReplaceAllString(address, "")
	texts := map[string]string{}
	for _, lang := range []string{"kk", "ru", "en"} {
		sep := "?"
		if strings.Contains(address, "?") {
			sep = "&"
		}
		b.open(address + sep + "lang=" + lang)
		if got := b.js("document.documentElement.lang"); got != lang {
			b.t.Errorf("%s in %s says lang=%q", name, lang, got)
		}
		if other, ok := texts[b.js("document.querySelector('main').innerText")]; ok {
			b.t.Errorf("%s says the same in %s and %s", name, lang, other)
		}
		texts[b.js("document.querySelector('main').innerText")] = lang
		for _, sign := range []string{"console.", "cabinet.", "portal.", "%!"} {
			if text := b.text(); strings.Contains(text, sign) && !strings.Contains(text, "console.example") {
				b.t.Errorf("%s in %s shows a bare key or a wrong value: %s", name, lang, around(text, sign))
			}
		}
		b.accessible(name + " " + lang)
	}
}

func around(text, sign string) string {
	i := strings.Index(text, sign)
	return text[max(0, i-60):min(len(text), i+60)]
}

// shot keeps a picture of the whole page under bin/screens.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := filepath.Join("..", "..", "bin", "screens")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	png := ask(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
	if len(png) < 5000 {
		b.t.Errorf("the picture %s has %d bytes", name, len(png))
	}
}

// top keeps a picture of the upper part of the page, for the README.
func (b *browser) top(name string, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(1360, height))
	png := ask(b, chromedp.CaptureScreenshot())
	b.do(chromedp.EmulateViewport(1360, 900))
	if err := os.WriteFile(filepath.Join("..", "..", "bin", "screens", name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
	if len(png) < 5000 || len(png) >= 200<<10 {
		b.t.Errorf("the picture %s has %d bytes", name, len(png))
	}
}

// fill types into a field, whatever it held before.
func (b *browser) fill(selector, value string) {
	b.t.Helper()
	b.js(fmt.Sprintf("document.querySelector(%q).value = ''", selector))
	b.do(chromedp.SendKeys(chromedp.CSS(selector), value))
	if got := b.js(fmt.Sprintf("document.querySelector(%q).value", selector)); got != value {
		b.t.Fatalf("%s holds %q", selector, got)
	}
}
