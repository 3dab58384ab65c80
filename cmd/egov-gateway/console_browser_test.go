package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
)

// busyRegions puts requests of every kind into the gateway: on the way, late, parked, decided, refused.
func busyRegions(t *testing.T, l *lab) (parked, decided gateway.RequestID) {
	t.Helper()
	decided = l.mustAccept(t, l.draft("citizen-01", petropavl), "citizen-01").ID
	l.await(t, decided, closed)
	fault := func(target string, kinds ...statesim.FaultKind) {
		t.Helper()
		var faults []statesim.Fault
		for _, k := range kinds {
			faults = append(faults, statesim.Fault{Kind: k})
		}
		if err := l.world.SetFaults(target, faults...); err != nil {
			t.Fatal(err)
		}
	}
	fault("kordaj", statesim.Silent)
	late := l.mustAccept(t, l.draft("citizen-02", kordaj), "citizen-02").ID
	l.await(t, late, func(p intake.Progress) bool { return p.State == gateway.StateDelivered })
	l.clock.HopTo(l.clock.Now().Add(12 * 24 * time.Hour))
	if err := l.svc.checker.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	fault("taraz", statesim.Reject)
	for n := range 5 {
		citizen := fmt.Sprintf("citizen-%02d", n+3)
		parked = l.mustAccept(t, l.draft(citizen, taraz), citizen).ID
	}
	l.await(t, parked, func(p intake.Progress) bool { return p.State == gateway.StateParked })
	for n := range 4 {
		citizen := fmt.Sprintf("citizen-%02d", n+1)
		l.mustAccept(t, l.draft(citizen, petropavl), citizen)
		l.mustAccept(t, l.draft(citizen, kordaj), citizen)
	}
	// Refusals at the door, and a state system that is away.
	key, err := l.key("citizen-05")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		signed, err := l.draft("citizen-05", taraz).Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.submitSigned(bytes.Replace(signed, []byte("21000"), []byte("91000"), 1), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, citizen := range []string{"citizen-expired", "citizen-revoked", "citizen-suspended"} {
		l.mustSubmit(t, l.draft(citizen, taraz), citizen)
	}
	l.mustSubmit(t, l.draft("citizen-05", taraz), "citizen-07")
	fault("gbdrn", statesim.Unavailable)
	for _, citizen := range []string{"citizen-06", "citizen-07", "citizen-08"} {
		l.mustAccept(t, l.draft(citizen, kordaj), citizen)
	}
	return parked, decided
}

// R22: in a real browser an operator sees what flows, why a request stopped and its way on the
// decree's diagram, and sets it going again. Every page in every language has no serious
// violation of WCAG 2.2 AA.
func TestTheConsoleInABrowser(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	l, logs := newTestLab(t, monday, nil)
	parked, decided := busyRegions(t, l)
	if err := l.svc.watchDeadlines(t.Context()); err != nil {
		t.Fatal(err)
	}

	b.open(l.console)
	b.inEveryLanguage("sign-in")
	b.fill("#token", "a wrong token of some length")
	b.press(".stack button")
	b.sees("operator")
	b.accessible("refusal")
	b.open(l.console)
	b.fill("#token", l.operator)
	b.press(".stack button")
	b.inEveryLanguage("regions")
	b.sees("Zhambyl", "North Kazakhstan", "Waiting for an operator")
	b.shot("console-regions")
	b.do(chromedp.EmulateViewport(320, 800)) // a telephone, or a page at 400 %: WCAG 1.4.10
	for _, lang := range []string{"kk", "ru", "en"} {
		b.open(l.console + "?lang=" + lang)
		if got := b.js("document.documentElement.scrollWidth"); got != "320" {
			t.Errorf("the first page in %s is %s pixels wide on a screen of 320", lang, got)
		}
	}
	b.shot("console-regions-narrow")
	b.do(chromedp.EmulateViewport(1360, 900))
	b.top("readme-regions", 960)

	for _, page := range []string{"requests?shard=zhambyl&state=delivered", "parked?shard=zhambyl", "deadlines?shard=zhambyl", "systems", "revocation", "certificates", "refusals"} {
		b.open(l.console + page)
		name, _, _ := strings.Cut(page, "?")
		b.inEveryLanguage(name)
		b.shot("console-" + name)
	}
	b.sees("The document was changed after it was signed")

	// A request by its id; the address never holds anything else.
	b.fill("#find", string(decided))
	b.press(".find button")
	b.inEveryLanguage("request")
	b.shot("console-request")
	b.sees(string(decided), "Notice of assignment", "Identity document", "SHA-256")
	if got := b.js("document.querySelector('img.way').naturalWidth > 0"); got != "true" {
		t.Error("the diagram is not drawn")
	}

	// The live page of a parked request: it is set going again in another window, and the page
	// shows it without being loaded anew.
	if err := l.world.SetFaults("taraz"); err != nil {
		t.Fatal(err)
	}
	b.open(l.console + "requests/" + string(parked))
	b.inEveryLanguage("parked request")
	b.shot("console-parked-request")
	b.top("readme-request", 1030)
	b.press("main form button")
	b.sees("Preview", string(parked)[:8])
	b.accessible("preview")
	b.shot("console-preview")
	b.press(".actions button")
	b.sees("Resumed", string(parked)[:8])
	b.accessible("outcome")
	b.open(l.console + "requests/" + string(parked))
	b.awaits("the delivery", `document.querySelector("main").innerText.includes("Resumed by an operator") && document.querySelector("h1 .state").className.includes("delivered")`)
	b.js("window.stays = true")
	l.await(t, parked, closed)
	b.awaits("the result on the open page", `window.stays === true && document.querySelector("h1 .state").className.includes("closed")`)

	b.open(l.console + "actions")
	b.inEveryLanguage("actions")
	b.sees("resumed", string(parked))
	b.shot("console-actions")

	// Without scripts the same pages say the same.
	text := logs.String()
	for _, e := range l.pki.Entries() {
		if e.IIN != "" && strings.Contains(text, e.IIN) {
			t.Error("the log holds an IIN")
		}
	}
	b.press(".out button")
	if got := b.js("location.pathname"); got != "/console/sign-in" {
		t.Errorf("signed out to %s", got)
	}
}
