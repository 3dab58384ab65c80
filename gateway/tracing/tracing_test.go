package tracing_test

import (
	"strings"
	"testing"

	"egov-gateway/gateway/tracing"
)

const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParent(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"sampled", good, good},
		{"not sampled", good[:53] + "00", good[:53] + "00"},
		{"flags nobody knows are left out", good[:53] + "ff", good},
		{"nothing", "", ""},
		{"of a later version", "01" + good[2:], ""},
		{"no trace", "00-" + strings.Repeat("0", 32) + good[35:], ""},
		{"no span", good[:36] + strings.Repeat("0", 16) + good[52:], ""},
		{"capitals", strings.ToUpper(good), ""},
		{"too long", good + "-00", ""},
		{"no digits", strings.Replace(good, "4bf9", "zzzz", 1), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tracing.Parent(tracing.With(t.Context(), tt.in)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzWith(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, s string) {
		if got := tracing.Parent(tracing.With(t.Context(), s)); got != "" && got[:53] != s[:53] {
			t.Errorf("%q from %q", got, s)
		}
	})
}
