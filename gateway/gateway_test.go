package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"egov-gateway/gateway"
)

func TestParseIIN(t *testing.T) {
	tests := []struct {
		name, in string
		want     gateway.Reason
	}{
		{"valid, born 1890", "900101200010", ""},
		{"wrong check digit", "900101200011", gateway.IINInvalid},
		{"month 34, as in the NCA's test certificates", "123456789011", gateway.IINInvalid},
		{"day 00", "900100200010", gateway.IINInvalid},
		{"century digit 7", "900101700018", gateway.IINInvalid},
		{"eleven digits", "90010120001", gateway.IINInvalid},
		{"thirteen digits", "9001012000100", gateway.IINInvalid},
		{"a letter", "90010120001O", gateway.IINInvalid},
		{"Arabic-Indic digits", "٩٠٠١٠١٢٠٠٠١٠", gateway.IINInvalid},
		{"full-width digits", "９００１０１２０００１０", gateway.IINInvalid},
		{"a blank before", " 90010120001", gateway.IINInvalid},
		{"empty", "", gateway.IINInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := gateway.ParseIIN(tt.in)
			if gateway.ReasonOf(err) != tt.want {
				t.Fatalf("got %v", err)
			}
			if err != nil && len(tt.in) >= 11 && strings.Contains(err.Error(), tt.in) {
				t.Error("the error holds the number")
			}
			if err == nil && n.Reveal() != tt.in {
				t.Errorf("got %s", n.Reveal())
			}
		})
	}
}

func TestAnIINIsMaskedWhereverItIsPrinted(t *testing.T) {
	n, err := gateway.ParseIIN("900101200010")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%s", "%+v", "%#v", "%q"} {
		if s := fmt.Sprintf(format, n); strings.Contains(s, "900101") {
			t.Errorf("%s prints %s", format, s)
		}
	}
	if (gateway.IIN{}).Equal(gateway.IIN{}) {
		t.Error("nobody equals nobody")
	}
	if !n.Equal(n) {
		t.Error("an IIN does not equal itself")
	}
}

// The two passes of the check digit, against the published rule written plainly.
func TestCheckDigitAgainstTheRule(t *testing.T) {
	first := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	second := []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2}
	weigh := func(s string, w []int) int {
		t := 0
		for i := range 11 {
			t += int(s[i]-'0') * w[i]
		}
		return t % 11
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := fmt.Sprintf("%02d%02d%02d%d%04d", rapid.IntRange(0, 99).Draw(rt, "year"), rapid.IntRange(1, 12).Draw(rt, "month"), rapid.IntRange(1, 28).Draw(rt, "day"),
			rapid.IntRange(1, 2).Draw(rt, "century"), rapid.IntRange(0, 9999).Draw(rt, "serial"))
		want := weigh(s, first)
		if want == 10 {
			want = weigh(s, second)
		}
		for d := range 10 {
			_, err := gateway.ParseIIN(s + fmt.Sprint(d))
			if (err == nil) != (d == want) {
				rt.Fatalf("check digit %d of a number whose rule gives %d: %v", d, want, err)
			}
		}
	})
}

func TestParseBIN(t *testing.T) {
	tests := []struct {
		name, in string
		want     gateway.Reason
	}{
		{"an IIN is no BIN", "900101200010", gateway.BINInvalid},
		{"kind digit 3", "990130000001", gateway.BINInvalid},
		{"the NCA's test BIN", "123456789021", gateway.BINInvalid},
		{"short", "99014000", gateway.BINInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := gateway.ParseBIN(tt.in); gateway.ReasonOf(err) != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEveryReasonHasAClassAndAWord(t *testing.T) {
	for _, r := range gateway.Reasons() {
		if c := r.Class(); c != gateway.Permanent && c != gateway.Retry && c != gateway.Operator {
			t.Errorf("%s has class %d", r, c)
		}
		if s := gateway.StatusOf(r); s == gateway.Verified {
			t.Errorf("%s counts as verified", r)
		}
	}
	if gateway.StatusOf("nobody.knows") != gateway.Indeterminate {
		t.Error("an unknown reason must not be good")
	}
}

func TestVerdictDecides(t *testing.T) {
	check := func(n gateway.CheckName, r gateway.Reason) gateway.Check {
		return gateway.Check{Name: n, Reason: r, Status: gateway.StatusOf(r)}
	}
	tests := []struct {
		name   string
		checks []gateway.Check
		status gateway.Status
		reason gateway.Reason
	}{
		{"nothing was checked", nil, gateway.Indeterminate, gateway.Internal},
		{"all passed", []gateway.Check{check(gateway.CheckSignature, ""), check(gateway.CheckPath, "")}, gateway.Verified, ""},
		{"one could not be checked", []gateway.Check{check(gateway.CheckPath, ""), check(gateway.CheckRevocation, gateway.StatusUnavailable)}, gateway.Indeterminate, gateway.StatusUnavailable},
		{"a refusal outweighs what could not be checked", []gateway.Check{check(gateway.CheckPath, gateway.EvidenceStale), check(gateway.CheckRevocation, gateway.Revoked)}, gateway.Refused, gateway.Revoked},
		{"a check that was not made is not passed", []gateway.Check{check(gateway.CheckPath, ""), {Name: gateway.CheckRevocation, Status: gateway.Indeterminate}}, gateway.Indeterminate, gateway.Internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := gateway.Verdict{Checks: tt.checks}
			v.Decide()
			if v.Status != tt.status || v.Reason != tt.reason {
				t.Errorf("got %s %s", v.Status, v.Reason)
			}
		})
	}
}

func TestRequestIDsAreDerived(t *testing.T) {
	a := gateway.NewRequestID("egov.kz", "m", [32]byte{1})
	if a != gateway.NewRequestID("egov.kz", "m", [32]byte{1}) || a == gateway.NewRequestID("egov.kz", "m", [32]byte{2}) || a == gateway.NewRequestID("egov.k", "zm", [32]byte{1}) {
		t.Error("ids do not follow the content")
	}
	for _, bad := range []string{"", "x", strings.ToUpper(string(a)), string(a) + "0", "../" + string(a)[3:]} {
		if _, err := gateway.ParseRequestID(bad); gateway.ReasonOf(err) != gateway.NotFound {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
