package cabinet_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"egov-gateway/gateway/harness/growth"
)

// A token is read before its signature can be checked. Whatever stands in it costs time and memory by its
// length alone, in the form of a sign-in and in the header.
func TestHostileTokensAreLinear(t *testing.T) {
	plain := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	fill := func(s string, n int) string { return strings.Repeat(s, n/len(s)+1) }
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	signature := "." + plain(strings.Repeat("s", 64))
	head := plain(`{"alg":"EdDSA"}`)
	claims := func(s string) string { return head + "." + plain(`{"iss":"egov.kz",`+s+`}`) + signature }
	tests := []struct {
		name  string
		token func(n int) string
	}{
		{"dots", func(n int) string { return fill(".", n) }},
		{"letters", func(n int) string { return fill("a", n) }},
		{"a header of spaces", func(n int) string { return plain(`{`+fill(" ", n)+`}`) + "." + plain(`{}`) + signature }},
		{"a header of nested lists", func(n int) string { return plain(`{"a":`+fill("[", n)) + "." + plain(`{}`) + signature }},
		{"a header with one member many times", func(n int) string {
			return plain(`{`+fill(`"alg":"EdDSA",`, n)+`"typ":"JWT"}`) + "." + plain(`{}`) + signature
		}},
		{"nested lists", func(n int) string { return claims(`"a":` + fill("[", n/2) + fill("]", n/2)) }},
		{"nested objects", func(n int) string { return claims(`"a":` + fill(`{"a":`, n) + "1" + fill("}", n/5)) }},
		{"lists that do not end", func(n int) string { return claims(`"a":` + fill("[", n)) }},
		{"many members", func(n int) string { return claims(numbered(`"a%d":1,`, n) + `"b":1`) }},
		{"one member many times", func(n int) string { return claims(fill(`"iss":"egov.kz",`, n) + `"b":1`) }},
		{"many audiences", func(n int) string { return claims(`"aud":[` + numbered(`"a%d",`, n) + `"cabinet"]`) }},
		{"a long number", func(n int) string { return claims(`"exp":` + fill("9", n)) }},
		{"a number of zeros", func(n int) string { return claims(`"exp":0.` + fill("0", n) + "1") }},
		{"a long exponent", func(n int) string { return claims(`"exp":1e` + fill("9", n)) }},
		{"a long text", func(n int) string { return claims(`"jti":"` + fill("x", n) + `"`) }},
		{"an escaped text", func(n int) string { return claims(`"jti":"` + fill(`\u0041`, n) + `"`) }},
		{"halves of surrogates", func(n int) string { return claims(`"jti":"` + fill(`\ud800`, n) + `"`) }},
		{"a long signature", func(n int) string { return head + "." + plain(`{"iss":"egov.kz"}`) + "." + fill("A", n) }},
		{"what is no base64", func(n int) string { return head + "." + fill("*", n) + signature }},
	}
	d := newDoorstep(t, nil)
	inForm := func(token string) int {
		return d.send("/cabinet/session", url.Values{"token": {token}}, nil, "Origin", "https://egov.kz").StatusCode
	}
	inHeader := func(token string) int {
		r := httptest.NewRequest(http.MethodGet, "https://gateway.example.kz/cabinet/api/requests", nil)
		return d.answer(r, nil, "Authorization", "Bearer "+token).StatusCode
	}
	if d.api(d.token("1")) != http.StatusOK {
		t.Fatal("a good token does not open the cabinet")
	}
	for _, tt := range tests {
		for door, ask := range map[string]func(string) int{"form": inForm, "header": inHeader} {
			t.Run(tt.name+"/"+door, func(t *testing.T) {
				var tokens [4][]byte
				for i, n := range []int{1 << 10, 2 << 10, 4 << 10, 8 << 10} {
					tokens[i] = []byte(tt.token(n))
					if code := ask(string(tokens[i])); code < 400 || code > 499 {
						t.Fatalf("%d octets are answered %d", len(tokens[i]), code)
					}
				}
				growth.Check(t, growth.Shape{Inputs: tokens, Runs: 20, Work: func(token []byte) { ask(string(token)) },
					// The page of the refusal, and some copies.
					Memory: func(octets int) int { return 40*octets + 128<<10 }})
			})
		}
	}
}
