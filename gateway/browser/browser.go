// Package browser is what the citizen's and the operators' pages have in common: the headers
// that bind a browser, the choice of language, the files beside a page, and the stream by which
// an open page hears that it has changed. It knows nothing of what the pages show.
package browser

import (
	_ "embed"
	"io"
	"net/http"

	"egov-gateway/gateway"
	"egov-gateway/gateway/message"
)

// Headers binds a browser to the least that a page needs: nothing is kept, framed or loaded from
// elsewhere, no script stands in the page, and no other site learns its address.
func Headers(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// Kinds of files beside a page.
const (
	Style = "text/css; charset=utf-8"
	Code  = "text/javascript; charset=utf-8"
)

// Asset serves a file that belongs to the pages and holds nothing of anybody: a browser keeps it
// for five minutes.
func Asset(content, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		Headers(h)
		h.Set("Content-Type", kind)
		h.Set("Cache-Control", "public, max-age=300")
		io.WriteString(w, content) //nolint:errcheck // the client may be gone
	}
}

// Script keeps a page fresh: it listens to the address in the data-live attribute of the element
// "main", and loads that element anew when it hears of a change, but never under the hands of
// somebody who is filling in a form. A button with data-print prints.
//
//go:embed live.js
var Script string

// A LanguageChoice is where the language of a set of pages is remembered.
type LanguageChoice struct {
	Cookie string // its name
	Path   string // of the pages
	Secure bool   // for https only
}

// Of is what the address asks for by "lang", which is remembered for a year, else what was
// remembered, else what the browser prefers, else Kazakh. Call it before the header is written.
func (c LanguageChoice) Of(w http.ResponseWriter, r *http.Request) gateway.Language {
	if l := message.Negotiate(r.URL.Query().Get("lang"), ""); l != "" {
		http.SetCookie(w, &http.Cookie{Name: c.Cookie, Value: string(l), Path: c.Path, MaxAge: 365 * 86400, HttpOnly: true, Secure: c.Secure, SameSite: http.SameSiteLaxMode})
		return l
	}
	if cookie, err := r.Cookie(c.Cookie); err == nil {
		if l := message.Negotiate(cookie.Value, ""); l != "" {
			return l
		}
	}
	return message.Negotiate(r.Header.Get("Accept-Language"), gateway.Kazakh)
}
