package cabinet_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway/cabinet"
)

// Tokens that are rightly signed and say what no token may open no cabinet: neither as a bearer token nor
// for a session.
func TestTokensThatSayTooMuch(t *testing.T) {
	p := newPlace(t)
	iat, exp := now.Unix(), now.Add(10*time.Minute).Unix()
	claims := func(instants string) string {
		return `{"iss":"egov.kz","aud":"` + cabinet.Audience + `","iin":"900101300007",` + instants + `}`
	}
	good := claims(fmt.Sprintf(`"iat":%d,"exp":%d`, iat, exp))
	const header = `{"alg":"EdDSA","typ":"JWT"}`
	tests := []struct {
		name, scheme, header, claims string
		opens                        bool
	}{
		{"an ordinary token", "Bearer", header, good, true},
		{"the scheme in small letters", "bearer", header, good, true},
		{"the scheme in capital letters", "BEARER", header, good, true},
		{"another scheme", "Basic", header, good, false},
		{"crit that names nothing", "Bearer", `{"alg":"EdDSA","crit":[]}`, good, false},
		{"crit that names an extension", "Bearer", `{"alg":"EdDSA","crit":["urn:x"],"urn:x":1}`, good, false},
		{"crit that names a known header", "Bearer", `{"alg":"EdDSA","crit":["exp"],"exp":1}`, good, false},
		{"exp as a string", "Bearer", header, claims(fmt.Sprintf(`"iat":%d,"exp":"%d"`, iat, exp)), false},
		{"iat as a string", "Bearer", header, claims(fmt.Sprintf(`"iat":"%d","exp":%d`, iat, exp)), false},
		{"nbf as a string", "Bearer", header, claims(fmt.Sprintf(`"iat":%d,"exp":%d,"nbf":"%d"`, iat, exp, iat)), false},
		{"nbf before the year 1", "Bearer", header, claims(fmt.Sprintf(`"iat":%d,"exp":%d,"nbf":-62135596801`, iat, exp)), false},
		{"exp after the year 9999", "Bearer", header, claims(fmt.Sprintf(`"iat":%d,"exp":253402300800`, iat)), false},
		{"an instant with a fraction", "Bearer", header, claims(fmt.Sprintf(`"iat":%d.5,"exp":%d`, iat-1, exp)), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// A token counts once for a session, so each is another.
			said := strings.Replace(tt.claims, `{`, `{"jti":"`+tt.name+`",`, 1)
			signed := base64.RawURLEncoding.EncodeToString([]byte(tt.header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(said))
			token := signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(p.key, []byte(signed)))
			req, err := http.NewRequest(http.MethodGet, p.server.URL+"/cabinet/api/requests", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", tt.scheme+" "+token)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if opens := resp.StatusCode == http.StatusOK; opens != tt.opens {
				t.Errorf("as a bearer token: %d", resp.StatusCode)
			}
			if tt.scheme != "Bearer" {
				return
			}
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			if resp, err = client.PostForm(p.server.URL+"/cabinet/session", url.Values{"token": {token}}); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if opens := resp.StatusCode == http.StatusSeeOther; opens != tt.opens {
				t.Errorf("for a session: %d", resp.StatusCode)
			}
		})
	}
	t.Run("a compressed form", func(t *testing.T) {
		req, err := http.NewRequest(http.MethodPost, p.server.URL+"/cabinet/session", strings.NewReader("token=x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Content-Encoding": {"gzip"}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%d", resp.StatusCode)
		}
	})
}
