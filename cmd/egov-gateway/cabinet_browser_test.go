package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"egov-gateway/gateway"
)

// R1, R2, R3, R5, R7, R10, R22: a citizen signs in with IIN and password, fills the form, signs
// it, sees a refusal with its cause and then the receipt, and follows the request in the cabinet
// until the result, without loading the page anew. Every page in every language has no serious
// violation of WCAG 2.2 AA.
func TestACitizenInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.tokenNow = time.Now
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	portal, err := l.servePortal()
	if err != nil {
		t.Fatal(err)
	}
	citizen := l.pki.Must("citizen-01")

	// What judges the pages finds what is wrong: a picture without words, and pale words.
	b.open("data:text/html,<html lang=en><title>x</title><main><img src=x><p style='color:%23ccc'>pale</p></main></html>")
	if found := strings.Join(b.violations(), "\n"); !strings.Contains(found, "image-alt") || !strings.Contains(found, "color-contrast") {
		t.Fatalf("axe-core finds %q", found)
	}

	// The cabinet without a session says so, with the way to the portal.
	b.open(l.base + "/cabinet/")
	b.inEveryLanguage("cabinet without a session")
	b.sees("You are not signed in")
	b.press("a.button")
	b.inEveryLanguage("portal sign-in")
	b.shot("portal-sign-in")
	b.fill("#iin", citizen.IIN)
	b.fill("#password", "not the password")
	b.press(".stack button")
	b.sees("Sign-in refused")
	b.accessible("portal refusal")
	b.fill("#iin", citizen.IIN)
	b.fill("#password", demoPassword)
	b.press(".stack button")
	b.inEveryLanguage("form")
	b.sees(citizen.Surname)
	b.shot("portal-form")

	choose := func(selector, value string) {
		t.Helper()
		b.js("document.querySelector('" + selector + "').value = '" + value + "'")
	}
	refusals := []struct {
		name, key, iban string
		want            gateway.Reason
	}{
		{"R5 another citizen's key", "other", "", gateway.IINMismatch},
		{"R5 changed after it was signed", "changed", "", gateway.DigestMismatch},
		{"R2 a wrong bank account", "own", "KZ87125KZT5004100100", gateway.FormInvalid},
	}
	for _, r := range refusals {
		b.open(portal)
		choose("#key", r.key)
		if r.iban != "" {
			b.fill("#iban", r.iban)
		}
		b.press("form[action='/apply'] button")
		b.sees("refused", string(r.want))
		b.accessible(r.name)
	}
	b.shot("portal-refusal")

	b.open(portal)
	b.press("form[action='/apply'] button")
	b.sees("The request was accepted", "Result due")
	b.accessible("receipt")
	b.shot("portal-receipt")
	id := b.js("document.querySelector('#number').innerText")

	b.press("button.cabinet")
	b.inEveryLanguage("cabinet list")
	b.sees("Assignment of housing aid", id[:8])
	b.shot("cabinet-list")
	b.press(".requests h2 a")
	b.awaits("the delivery", `document.querySelector(".track .current").innerText.includes("With the provider")`)
	b.inEveryLanguage("request on the way")
	b.sees("State database of natural persons", "To decide on your request", "With the provider")
	b.shot("cabinet-request")

	// Time passes in another window: the open page shows each step, then the result.
	b.js("window.stays = true")
	steps := `document.querySelectorAll(".steps .mood.met").length`
	before := b.js(steps)
	post := func() {
		t.Helper()
		if status, _, body := call(t, "POST", portal+"time", nil); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	post()
	b.awaits("a step on the open page", "window.stays === true && "+steps+" > "+before)
	for range 20 {
		if p, err := l.progress(gateway.RequestID(id)); err == nil && p.Result != nil {
			break
		}
		post()
	}
	b.awaits("the result on the open page", `window.stays === true && document.querySelector(".result") !== null`)
	b.inEveryLanguage("request with its result")
	b.sees("Notice of assignment", "Verified", "Download the original")
	b.shot("cabinet-result")
	original := b.js(`document.querySelector(".result .button").href`)
	xml := ask(b, chromedp.Evaluate[string](`fetch("`+original+`").then(r => r.text())`, chromedp.EvalAwaitPromise))
	if !strings.Contains(xml, "<ds:Signature") && !strings.Contains(xml, "Signature xmlns") {
		t.Errorf("the original is not the signed file: %.200s", xml)
	}
	b.press(".result > p > a:not(.button)")
	b.inEveryLanguage("result to print")
	b.sees("Result of a state service", "Verified", "SHA-256")
	b.shot("cabinet-print")

	b.press("form[action='/cabinet/sign-out'] button")
	b.sees("You are not signed in")
}
