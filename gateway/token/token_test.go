package token_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/token"
)

func TestTokens(t *testing.T) {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	const header, claims = `{"alg":"EdDSA"}`, `{"iat":1795410000,"exp":1795410300.5,"nbf":1}`
	tests := []struct {
		name, header, claims string
		want                 gateway.Reason
	}{
		{"as it should be", header, claims, ""},
		{"no instants", header, `{}`, ""},
		{"an instant that is null", header, `{"nbf":null}`, ""},
		{"crit", `{"alg":"EdDSA","crit":["b64"],"b64":false}`, claims, gateway.DocumentMalformed},
		{"an empty crit", `{"alg":"EdDSA","crit":[]}`, claims, gateway.DocumentMalformed},
		{"crit that is null", `{"alg":"EdDSA","crit":null}`, claims, gateway.DocumentMalformed},
		{"crit in capital letters", `{"alg":"EdDSA","CRIT":["x"]}`, claims, gateway.DocumentMalformed},
		{"exp as a string", header, `{"exp":"1795410300"}`, gateway.DocumentMalformed},
		{"nbf as a string", header, `{"nbf":"1"}`, gateway.DocumentMalformed},
		{"iat as a string", header, `{"iat":"1795410000"}`, gateway.DocumentMalformed},
		{"exp as a date", header, `{"exp":"2026-11-29T00:00:00Z"}`, gateway.DocumentMalformed},
		{"exp as an object", header, `{"exp":{"n":1}}`, gateway.DocumentMalformed},
		{"exp as true", header, `{"exp":true}`, gateway.DocumentMalformed},
		{"the last second of the year 9999", header, `{"exp":253402300799}`, ""},
		{"the year 10000", header, `{"exp":253402300800}`, gateway.DocumentMalformed},
		{"the first second of the year 1", header, `{"iat":-62135596800}`, ""},
		{"before the year 1", header, `{"iat":-62135596801}`, gateway.DocumentMalformed},
		{"more than any clock", header, `{"exp":1e300}`, gateway.DocumentMalformed},
		{"more than a float", header, `{"exp":1e999}`, gateway.DocumentMalformed},
		{"exp in capital letters, after the other", header, `{"exp":1795410300,"EXP":"9"}`, gateway.DocumentMalformed},
		{"claims that are no object", header, `[]`, gateway.DocumentMalformed},
		{"a header that is null", `null`, claims, gateway.DocumentMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := token.Check(part(tt.header) + "." + part(tt.claims) + ".c2ln")
			if gateway.ReasonOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	for _, raw := range []string{"", "a.b", "a.b.c.d", part(header) + "." + part(claims), "!." + part(claims) + ".x", part(header) + ".!.x", strings.Repeat(".", 1000)} {
		if err := token.Check(raw); gateway.ReasonOf(err) != gateway.DocumentMalformed {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
