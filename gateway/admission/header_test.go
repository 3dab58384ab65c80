package admission_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
)

func TestBearerToken(t *testing.T) {
	tests := []struct {
		name, header, want string
		ok                 bool
	}{
		{"as everybody writes it", "Bearer abc", "abc", true},
		{"in small letters", "bearer abc", "abc", true},
		{"in capital letters", "BEARER abc", "abc", true},
		{"a second space is a part of the token, and opens nothing", "Bearer  abc", " abc", true},
		{"the token keeps its case and what stands in it", "bearer aB=c d", "aB=c d", true},
		{"another scheme", "Basic abc", "", false},
		{"a longer word", "Bearers abc", "", false},
		{"no token", "Bearer", "", false},
		{"a token alone", "abc", "", false},
		{"nothing", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", tt.header)
			if got, ok := admission.BearerToken(r); got != tt.want || ok != tt.ok {
				t.Errorf("%q, %v; want %q, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestCodedBodiesAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		want   gateway.Reason
	}{
		{"no header", nil, ""},
		{"an empty one", []string{""}, ""},
		{"identity", []string{"identity"}, ""},
		{"identity in capital letters, twice", []string{"IDENTITY, identity"}, ""},
		{"gzip", []string{"gzip"}, gateway.MediaType},
		{"a coding nobody knows", []string{"x-zip"}, gateway.MediaType},
		{"after identity", []string{"identity, br"}, gateway.MediaType},
		{"in a second header", []string{"identity", "deflate"}, gateway.MediaType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
			r.Header["Content-Encoding"] = tt.header
			err := admission.CheckEncoding(r)
			if gateway.ReasonOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && !strings.Contains(gateway.DetailOf(err), "Content-Encoding") {
				t.Errorf("%v does not name the header", err)
			}
		})
	}
}
